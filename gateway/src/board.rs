//! What the gateway is doing now, for those who watch: counters and states, shared, cheap to write.
//!
//! Parts write their own row; `tidegate status`, the demo and the watchdog read all of them. Nothing here decides anything,
//! and nothing here is durable: after a restart it begins at zero.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde_json::{Value as Json, json};
use tidegate_core::{clock::Timestamp, id::Name};

/// All rows.
#[derive(Debug, Default, Clone)]
pub struct Board(Arc<Rows>);

#[derive(Debug, Default)]
struct Rows {
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere while the lock was held leaves rows that are still rows.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// The adapter's row, made when it is first asked for.
    pub fn adapter(&self, name: &Name) -> Arc<AdapterRow> {
        lock(&self.0.adapters).entry(name.clone()).or_default().clone()
    }

    /// The upstream's row, made when it is first asked for.
    pub fn upstream(&self, name: &Name) -> Arc<UpstreamRow> {
        lock(&self.0.upstreams).entry(name.clone()).or_default().clone()
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
        })
    }
}

impl UpstreamRow {
    fn view(&self, name: &Name) -> Json {
        let last = self.last_delivered.load(Relaxed);
        json!({
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

    /// Says where it connects to.
    pub fn set_target(&self, target: String) {
        *lock(&self.target) = target;
    }
}

/// Adds to a counter.
pub fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Relaxed);
}
