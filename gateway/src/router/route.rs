//! Where commands can go: which leaves there are, what is known of their points, and who takes orders for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidegate_core::{guard::Guard, id::LeafId, profile::LeafProfile};
use tokio::sync::mpsc;

use crate::{board::AdapterRow, leaf::Order};

/// Takes orders for leaves: an adapter's runner. Whoever else has leaves to serve implements it and attaches them.
pub trait Taker: Send + Sync + fmt::Debug {
    /// Hands an order over without waiting; gives it back when there is no room now.
    fn offer(&self, order: Order) -> Result<(), Order>;

    /// Why the leaf cannot be reached now; `None` when it can be tried. An order for a leaf that is away waits in the inbox, where it
    /// can expire, and not with the taker.
    fn away(&self, leaf: &LeafId) -> Option<String>;

    /// Whether its leaves are devices with programs of their own, which get messages and method calls as they came.
    fn takes_messages(&self) -> bool {
        false
    }

    /// Whether points can be set that nobody has declared: what they are is known to the leaf alone.
    fn takes_any_point(&self) -> bool {
        false
    }

    /// Passes a method call through; `None` when its leaves have no methods of their own.
    fn call(&self, _leaf: &LeafId, _name: &str, _payload: &Bytes, _within: Duration) -> Option<BoxFuture<'static, (u16, Bytes)>> {
        None
    }
}

/// The way to one leaf.
#[derive(Debug, Clone)]
pub struct Route {
    /// The leaf and its points.
    pub profile: Arc<LeafProfile>,
    /// Who takes orders for it.
    pub taker: Arc<dyn Taker>,
    /// Guards what is written to it, and remembers when.
    pub guard: Arc<Mutex<Guard>>,
    /// The name of the adapter that it is on.
    pub group: String,
}

impl Route {
    /// The guard, for a moment.
    pub fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All ways.
#[derive(Debug, Default)]
pub struct Routes(RwLock<BTreeMap<LeafId, Route>>);

impl Routes {
    /// The way to a leaf.
    pub fn find(&self, leaf: &LeafId) -> Option<Route> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(leaf).cloned()
    }

    /// Every leaf that has a way.
    pub fn all(&self) -> Vec<Route> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// From now on these are the leaves of this group, and no others.
    pub fn attach(&self, group: &str, leaves: &[LeafProfile], taker: &Arc<dyn Taker>) {
        let mut guard = Guard::new(leaves);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, route| {
            let stays = route.group != group;
            if !stays {
                guard.remember(&route.guard());
            }
            stays
        });
        let guard = Arc::new(Mutex::new(guard));
        for profile in leaves {
            let (profile, guard) = (Arc::new(profile.clone()), guard.clone());
            let route = Route { profile, taker: taker.clone(), guard, group: group.to_owned() };
            all.insert(route.profile.id.clone(), route);
        }
    }

    /// As [`Routes::attach`], but for leaves that another group has, which stay there; those of the group `over` do not.
    pub fn attach_behind(&self, group: &str, over: Option<&str>, leaves: &[LeafProfile], taker: &Arc<dyn Taker>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let wanted: BTreeSet<&LeafId> = leaves.iter().map(|leaf| &leaf.id).collect();
        all.retain(|leaf, route| match over {
            Some(over) if route.group == over => !wanted.contains(leaf),
            _ => route.group != group || wanted.contains(leaf),
        });
        for profile in leaves.iter().filter(|leaf| !all.contains_key(&leaf.id)).cloned().collect::<Vec<_>>() {
            let guard = Arc::new(Mutex::new(Guard::new(std::slice::from_ref(&profile))));
            let route = Route { profile: Arc::new(profile), taker: taker.clone(), guard, group: group.to_owned() };
            all.insert(route.profile.id.clone(), route);
        }
    }

    /// The group is gone.
    pub fn detach(&self, group: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, route| route.group != group);
    }
}

/// An adapter's runner.
#[derive(Debug)]
pub struct Runner {
    /// Into its channel.
    pub orders: mpsc::Sender<Order>,
    /// Says whether its bus is open and which of its leaves are silent.
    pub row: Arc<AdapterRow>,
}

impl Taker for Runner {
    fn offer(&self, order: Order) -> Result<(), Order> {
        self.orders.try_send(order).map_err(mpsc::error::TrySendError::into_inner)
    }

    fn away(&self, leaf: &LeafId) -> Option<String> {
        self.row.away(leaf)
    }
}
