//! What the gateway is doing now, for those who watch: counters and states, shared, cheap to write.
//!
//! Parts write their own row; `tidegate status`, the demo and the watchdog read all of them. Nothing here decides anything,
//! and nothing here is durable: after a restart it begins at zero.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde_json::{Value as Json, json};
use tidegate_core::{
    adapter::Harvest,
    clock::Timestamp,
    id::{LeafId, Name},
    reading::Reason,
    upstream::Proof,
};
use tokio::sync::Notify;

/// All rows.
#[derive(Debug, Default, Clone)]
pub struct Board(Arc<Rows>);

#[derive(Debug, Default)]
struct Rows {
    bell: Arc<Notify>,
    adapters: Mutex<BTreeMap<Name, Arc<AdapterRow>>>,
    upstreams: Mutex<BTreeMap<Name, Arc<UpstreamRow>>>,
}

/// One adapter.
#[derive(Debug, Default)]
pub struct AdapterRow {
    /// Whether its bus is open.
    pub connected: AtomicBool,
    /// Reads done.
    pub reads: AtomicU64,
    /// Values that came, of any quality.
    pub readings: AtomicU64,
    /// Leaves or points that gave none.
    pub misses: AtomicU64,
    /// Messages handed to the log.
    pub messages: AtomicU64,
    /// Messages that can never be sent and were recorded as rejected.
    pub rejected: AtomicU64,
    /// Times the bus was opened.
    pub connects: AtomicU64,
    /// Leaves that do not answer now.
    pub silent: AtomicU64,
    /// Steps that were taken because nothing came although the bus was open.
    pub recoveries: AtomicU64,
    /// Of them, those that have given no value at all since they fell silent.
    absent: Mutex<BTreeSet<LeafId>>,
    /// [`Board::bell`]
    pub back: Arc<Notify>,
}

/// One upstream.
#[derive(Debug, Default)]
pub struct UpstreamRow {
    /// Whether there is a session.
    pub connected: AtomicBool,
    /// Sessions begun.
    pub sessions: AtomicU64,
    /// Messages that the hub acknowledged.
    pub delivered: AtomicU64,
    /// Messages that it can never take.
    pub rejected: AtomicU64,
    /// Published and not answered yet.
    pub in_flight: AtomicU64,
    /// Things that came down.
    pub arrivals: AtomicU64,
    /// Wall time in milliseconds of the last acknowledgement; 0 for none.
    pub last_delivered: AtomicU64,
    /// Where it connects to and as whom, once known.
    pub target: Mutex<String>,
    /// What the last connection proved itself with.
    pub proof: Mutex<Option<Proof>>,
    /// Leaves with identities of their own.
    leaves: Mutex<BTreeMap<LeafId, Arc<UpstreamRow>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere while the lock was held leaves rows that are still rows.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// The adapter's row, made when it is first asked for.
    pub fn adapter(&self, name: &Name) -> Arc<AdapterRow> {
        let fresh = || Arc::new(AdapterRow { back: self.0.bell.clone(), ..AdapterRow::default() });
        lock(&self.0.adapters).entry(name.clone()).or_insert_with(fresh).clone()
    }

    /// The upstream's row, made when it is first asked for.
    pub fn upstream(&self, name: &Name) -> Arc<UpstreamRow> {
        lock(&self.0.upstreams).entry(name.clone()).or_default().clone()
    }

    /// Rung when any bus opens or any leaf answers again.
    pub fn bell(&self) -> Arc<Notify> {
        self.0.bell.clone()
    }

    /// No longer configured.
    pub fn forget_adapter(&self, name: &Name) {
        lock(&self.0.adapters).remove(name);
    }

    /// No longer configured.
    pub fn forget_upstream(&self, name: &Name) {
        lock(&self.0.upstreams).remove(name);
    }

    /// Every adapter's row.
    pub fn adapters(&self) -> Vec<(Name, Arc<AdapterRow>)> {
        lock(&self.0.adapters).iter().map(|(n, r)| (n.clone(), r.clone())).collect()
    }

    /// Every upstream's row.
    pub fn upstreams(&self) -> Vec<(Name, Arc<UpstreamRow>)> {
        lock(&self.0.upstreams).iter().map(|(n, r)| (n.clone(), r.clone())).collect()
    }

    /// For `tidegate status`.
    pub fn view(&self) -> Json {
        let adapters: Vec<Json> = self.adapters().iter().map(|(name, row)| row.view(name)).collect();
        let upstreams: Vec<Json> = self.upstreams().iter().map(|(name, row)| row.view(name)).collect();
        json!({ "adapters": adapters, "upstreams": upstreams })
    }
}

impl AdapterRow {
    fn view(&self, name: &Name) -> Json {
        json!({
            "name": name.as_str(),
            "connected": self.connected.load(Relaxed),
            "connects": self.connects.load(Relaxed),
            "reads": self.reads.load(Relaxed),
            "readings": self.readings.load(Relaxed),
            "misses": self.misses.load(Relaxed),
            "messages": self.messages.load(Relaxed),
            "rejected": self.rejected.load(Relaxed),
            "silent_leaves": self.silent.load(Relaxed),
            "recoveries": self.recoveries.load(Relaxed),
        })
    }
}

/// Who is there.
impl AdapterRow {
    /// The bus is open.
    pub fn opened(&self) {
        // Who was silent before may have been silent because of the bus.
        lock(&self.absent).clear();
        self.connected.store(true, Relaxed);
        self.back.notify_one();
    }

    /// The bus is gone.
    pub fn lost(&self) {
        self.connected.store(false, Relaxed);
    }

    /// What a read showed about who is there. One value from a leaf is enough, whatever else of it failed.
    pub fn heard(&self, harvest: &Harvest) {
        let mut absent = lock(&self.absent);
        for miss in &harvest.misses {
            if matches!(miss.reason, Reason::Timeout | Reason::PutAside | Reason::BusDown) {
                absent.insert(miss.leaf.clone());
            }
        }
        if absent.is_empty() {
            return;
        }
        let before = absent.len();
        for reading in harvest.readings.iter().filter(|reading| reading.value.is_some()) {
            absent.remove(&reading.leaf);
        }
        if absent.len() < before {
            self.back.notify_one();
        }
    }

    /// Why a leaf cannot be reached now.
    pub fn away(&self, leaf: &LeafId) -> Option<String> {
        if !self.connected.load(Relaxed) {
            return Some("its bus is down".to_owned());
        }
        lock(&self.absent).contains(leaf).then(|| "it does not answer".to_owned())
    }
}

impl UpstreamRow {
    fn view(&self, name: &Name) -> Json {
        let last = self.last_delivered.load(Relaxed);
        let leaves = lock(&self.leaves);
        let sum = |of: fn(&UpstreamRow) -> u64| leaves.values().map(|row| of(row)).sum::<u64>();
        let with_identities = json!({
            "count": leaves.len(),
            "connected": sum(|row| u64::from(row.connected.load(Relaxed))),
            "delivered": sum(|row| row.delivered.load(Relaxed)),
            "rejected": sum(|row| row.rejected.load(Relaxed)),
            "arrivals": sum(|row| row.arrivals.load(Relaxed)),
        });
        json!({
            "leaves": (!leaves.is_empty()).then_some(with_identities),
            "name": name.as_str(),
            "target": lock(&self.target).clone(),
            "connected": self.connected.load(Relaxed),
            "sessions": self.sessions.load(Relaxed),
            "delivered": self.delivered.load(Relaxed),
            "rejected": self.rejected.load(Relaxed),
            "in_flight": self.in_flight.load(Relaxed),
            "arrivals": self.arrivals.load(Relaxed),
            "last_delivered": (last > 0).then(|| Timestamp(last as i64).to_string()),
        })
    }

    /// These leaves have identities of their own; rows of others are forgotten.
    pub fn expect_leaves(&self, own: &BTreeSet<LeafId>) {
        lock(&self.leaves).retain(|leaf, _| own.contains(leaf));
    }

    /// The row of a leaf with an identity of its own, made when it is first asked for.
    pub fn leaf(&self, leaf: &LeafId) -> Arc<UpstreamRow> {
        lock(&self.leaves).entry(leaf.clone()).or_default().clone()
    }

    /// Where it connects to, once known.
    pub fn target(&self) -> String {
        lock(&self.target).clone()
    }

    /// Until when what it showed is valid.
    pub fn proof(&self) -> Option<Proof> {
        *lock(&self.proof)
    }

    /// Says what the connection proved itself with.
    pub fn prove(&self, proof: Option<Proof>) {
        *lock(&self.proof) = proof;
    }

    /// Says where it connects to.
    pub fn set_target(&self, target: String) {
        *lock(&self.target) = target;
    }
}

/// Adds to a counter.
pub fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Relaxed);
}
