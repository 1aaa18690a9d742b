//! Who is connected now: one session per identity.
//!
//! A newcomer takes the place at once; the one before is told and given a moment to end, so that what it held (C2D messages that it had
//! not acknowledged) is free before the newcomer is served.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_core::{clock::Timestamp, dialect::identity::Identity};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::limits::{ORDERS, TAKE_OVER_PATIENCE};

/// What a session is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Call a method; the answer is for this one.
    Method { request: String, name: String, body: Bytes, answer: oneshot::Sender<MethodAnswer> },
    /// The desired properties have changed.
    Desired { version: u64, patch: Bytes },
    /// Hand over a C2D message that somebody else keeps.
    Message { topic: String, body: Bytes, answer: oneshot::Sender<Handed> },
}

/// How far a message came that was handed to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// The device has acknowledged it.
    Acknowledged,
    /// It has left, and the device does not acknowledge what it listens to at QoS 0.
    Sent,
}

/// What a device answered to a method call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodAnswer {
    /// The device's own status.
    pub status: i32,
    /// JSON, or empty.
    pub body: Bytes,
}

/// Why a session is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dismissal {
    /// Another connection has the identity now.
    TakenOver,
    /// The device was disabled.
    Disabled,
    /// The device was taken out of the registry.
    Deleted,
    /// Its keys or certificates were replaced.
    ProofChanged,
    /// It does not take what it is sent.
    Behind,
    /// The endpoint stops.
    Stopping,
}

/// One session as others see it.
#[derive(Debug)]
pub(crate) struct Entry {
    number: u64,
    pub(crate) orders: mpsc::Sender<Order>,
    /// Rung when its C2D queue has something new.
    pub(crate) bell: Arc<Notify>,
    /// Whether it listens to method calls.
    pub(crate) methods: Arc<AtomicBool>,
    /// Whether it listens to C2D messages.
    pub(crate) messages: Arc<AtomicBool>,
    dismissal: watch::Sender<Option<Dismissal>>,
    pub(crate) since: Timestamp,
    pub(crate) remote: SocketAddr,
}

impl Entry {
    /// Ends a session that has no room for another order.
    pub(crate) fn fall_behind(&self) {
        self.dismissal.send_replace(Some(Dismissal::Behind));
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Live {
    sessions: Mutex<HashMap<Identity, Entry>>,
    numbers: AtomicU64,
    /// Rung whenever a session begins to listen to method calls.
    pub(crate) listening: Notify,
    take_overs: Mutex<HashMap<Identity, (u32, Instant)>>,
}

/// A session's own end of its place; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    live: Arc<Live>,
    identity: Identity,
    number: u64,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) bell: Arc<Notify>,
    pub(crate) methods: Arc<AtomicBool>,
    pub(crate) messages: Arc<AtomicBool>,
    pub(crate) dismissal: watch::Receiver<Option<Dismissal>>,
    /// Take-overs of this identity within a minute, this one included.
    pub(crate) take_overs: u32,
}

/// Take-overs are counted over this long.
const PING_PONG: Duration = Duration::from_secs(60);

impl Live {
    fn sessions(&self) -> MutexGuard<'_, HashMap<Identity, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the identity's place, and waits until the session before has left or its time is up.
    pub(crate) async fn enter(self: &Arc<Self>, identity: &Identity, remote: SocketAddr, since: Timestamp) -> Place {
        let number = self.numbers.fetch_add(1, Relaxed);
        let (orders, order_ends) = mpsc::channel(ORDERS);
        let (dismissal, dismissed) = watch::channel(None);
        let (bell, methods, messages) = (Arc::new(Notify::new()), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (methods_too, messages_too) = (methods.clone(), messages.clone());
        let entry = Entry { number, orders, bell: bell.clone(), methods: methods_too, messages: messages_too, dismissal, since, remote };
        let before = self.sessions().insert(identity.clone(), entry);
        let mut take_overs = 0;
        if let Some(before) = before {
            take_overs = self.count_take_over(identity);
            before.dismissal.send_replace(Some(Dismissal::TakenOver));
            // Its receiver is dropped as the session ends.
            drop(tokio::time::timeout(TAKE_OVER_PATIENCE, before.dismissal.closed()).await);
        }
        Place {
            live: self.clone(),
            identity: identity.clone(),
            number,
            orders: order_ends,
            bell,
            methods,
            messages,
            dismissal: dismissed,
            take_overs,
        }
    }

    fn count_take_over(&self, identity: &Identity) -> u32 {
        let mut counts = self.take_overs.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, (_, since)| since.elapsed() < PING_PONG);
        let count = counts.entry(identity.clone()).or_insert((0, Instant::now()));
        count.0 += 1;
        count.0
    }

    /// Looks at a session.
    pub(crate) fn with<T>(&self, identity: &Identity, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.sessions().get(identity).map(look)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.sessions().len()
    }

    /// Tells a session, and those of its modules, to end.
    pub(crate) fn dismiss(&self, identity: &Identity, why: Dismissal) {
        for (of, entry) in self.sessions().iter() {
            if of == identity || (identity.module.is_none() && of.device == identity.device) {
                entry.dismissal.send_replace(Some(why));
            }
        }
    }

    /// Tells all of them to end.
    pub(crate) fn dismiss_all(&self) {
        for entry in self.sessions().values() {
            entry.dismissal.send_replace(Some(Dismissal::Stopping));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sessions = self.live.sessions();
        if sessions.get(&self.identity).is_some_and(|entry| entry.number == self.number) {
            sessions.remove(&self.identity);
        }
    }
}
