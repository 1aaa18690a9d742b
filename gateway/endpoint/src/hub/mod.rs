//! The service side: what programs above do with devices below. The HTTP API and the command line are faces of this handle.
//!
//! Everything that returns `Ok` is durable, except method calls, which are not stored (reference §4.1). Nothing here speaks MQTT: what
//! concerns a connected device is handed to its session.

mod c2d;
mod method;
mod registry;
mod twin;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use tidegate_core::{
    clock::{Clock, Timestamp},
    dialect::identity::Identity,
};
use tokio::sync::{Mutex, Semaphore, broadcast, watch};

pub use c2d::{Expiry, Sent};
pub use method::MethodCall;
pub use registry::{NewProof, connection_string};

use crate::{
    error::HubError,
    event::{Event, Events},
    limits::MAX_HASHING,
    live::Live,
    records::{Outlet, Records},
    site::SiteBus,
};

/// The hub. Clones share it.
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Shared>);

/// What sessions and service share.
pub(crate) struct Shared {
    pub(crate) records: Arc<dyn Records>,
    pub(crate) outlet: Arc<dyn Outlet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rules: C2dRules,
    pub(crate) live: Arc<Live>,
    pub(crate) events: Events,
    pub(crate) tally: Tally,
    /// Passwords are hashed a few at a time.
    pub(crate) hashing: Arc<Semaphore>,
    /// Changes of desired properties reach a device in the order of their versions: one lock for a share of all devices.
    desired: [Mutex<()>; 16],
    /// Method calls that wait for an answer.
    calls: AtomicUsize,
    requests: AtomicU64,
    /// The site bus, where it is configured.
    site: OnceLock<Arc<SiteBus>>,
    /// Where it listens, once it does.
    pub(crate) addresses: watch::Sender<Vec<(Door, SocketAddr)>>,
    /// The certificate that devices must trust, in PEM, once there is one.
    pub(crate) authority: watch::Sender<Option<String>>,
}

/// How C2D messages are kept (reference §3.3).
#[derive(Debug, Clone, Copy)]
pub struct C2dRules {
    /// How long a message waits that names no expiry.
    pub default_ttl: std::time::Duration,
    /// How often it may be abandoned.
    pub max_deliveries: u32,
    /// How long feedback waits to be read.
    pub feedback_ttl: std::time::Duration,
}

impl Default for C2dRules {
    fn default() -> Self {
        let hour = std::time::Duration::from_secs(3600);
        Self { default_ttl: hour, max_deliveries: 10, feedback_ttl: hour }
    }
}

/// A kind of listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// MQTT over TLS.
    Tls,
    /// MQTT without.
    Plain,
    /// MQTT over WebSocket over TLS.
    WebSocket,
}

/// Counted since the process started.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) c2d_delivered: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) closed_for_cause: AtomicU64,
}

/// Counted since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions now.
    pub sessions: u64,
    /// Sessions that began.
    pub accepted: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Device-to-cloud messages taken.
    pub messages: u64,
    /// Their bodies' bytes.
    pub bytes: u64,
    /// C2D messages acknowledged by devices.
    pub c2d_delivered: u64,
    /// Method calls answered by devices.
    pub calls: u64,
    /// Sessions that we ended because of what the device did.
    pub closed_for_cause: u64,
}

/// A device that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Since when.
    pub since: Timestamp,
    /// From where.
    pub remote: SocketAddr,
    /// Whether it listens to method calls.
    pub methods: bool,
}

impl Hub {
    /// Over these records and this line up. Nobody is let in before [`crate::serve`].
    pub fn new(records: Arc<dyn Records>, outlet: Arc<dyn Outlet>, clock: Arc<dyn Clock>, rules: C2dRules) -> Self {
        Self(Arc::new(Shared {
            records,
            outlet,
            clock,
            rules,
            live: Arc::default(),
            events: Events::default(),
            tally: Tally::default(),
            hashing: Arc::new(Semaphore::new(MAX_HASHING)),
            desired: Default::default(),
            calls: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            site: OnceLock::new(),
            addresses: watch::Sender::new(Vec::new()),
            authority: watch::Sender::new(None),
        }))
    }

    /// Opens the site bus, with what is retained. Once, and before [`crate::serve`].
    pub async fn open_site(&self, bus: SiteBus) -> Result<(), HubError> {
        for (topic, payload) in self.0.records.retained().await? {
            if let Err(error) = bus.retain(&topic, &payload, 1) {
                tracing::warn!(topic, %error, "not retained any more");
            }
        }
        // Err when there is one already, which stays.
        self.0.site.set(Arc::new(bus)).ok();
        Ok(())
    }

    /// The site bus, where it is configured.
    pub fn site(&self) -> Option<&Arc<SiteBus>> {
        self.0.site.get()
    }

    /// Whether and how a device is connected.
    pub fn connection(&self, identity: &Identity) -> Option<Connection> {
        self.0.live.with(identity, |entry| Connection { since: entry.since, remote: entry.remote, methods: entry.methods.load(Relaxed) })
    }

    /// Everything that happens from now on. A listener that is too slow misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.listen()
    }

    /// The latest events with a higher number, oldest first, at most so many. Those of this process only.
    pub fn events_after(&self, number: u64, most: usize) -> Vec<Event> {
        self.0.events.after(number, most)
    }

    /// Since the process started.
    pub fn counters(&self) -> Counters {
        let tally = &self.0.tally;
        Counters {
            sessions: self.0.live.count() as u64,
            accepted: tally.accepted.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            messages: tally.messages.load(Relaxed),
            bytes: tally.bytes.load(Relaxed),
            c2d_delivered: tally.c2d_delivered.load(Relaxed),
            calls: tally.calls.load(Relaxed),
            closed_for_cause: tally.closed_for_cause.load(Relaxed),
        }
    }

    /// Where it listens; empty while it does not.
    pub fn addresses(&self) -> watch::Receiver<Vec<(Door, SocketAddr)>> {
        self.0.addresses.subscribe()
    }

    /// The authority that devices must trust, in PEM; `None` while there is none, or the operator brought a certificate of their own.
    pub fn authority(&self) -> Option<String> {
        self.0.authority.borrow().clone()
    }

    pub(crate) fn tell(&self, event: Event) {
        self.0.events.tell(event, self.now());
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now().wall
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
