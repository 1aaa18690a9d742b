//! The site bus: topics beside the hub's dialect, for devices and programs of the site, behind the same door.
//!
//! # What is promised
//!
//! - Who may do what is in the configuration; nothing else is possible, and a device that tries loses its session, with an event.
//! - What a rule makes a leaf's message of is in the log before the PUBACK; a retained message of QoS 1 is on disk before it.
//! - Everything else is for those who listen now: at the lower of both QoS, in the order of each publisher. A listener that is too slow to
//!   take what it is sent loses its session and knows it; nothing is dropped from the middle.
//!
//! | power is cut … | then |
//! |---|---|
//! | before the PUBACK | the publisher sends again |
//! | after it | what a rule took is in the log, what is retained at QoS 1 is there; what only listeners were for has gone with them |

mod access;
pub mod filter;
mod tree;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tidegate_core::{clock::Stamp, dialect::identity::Identity, message::Message};
use tokio::sync::{Notify, mpsc};

pub use access::{ANYBODY, Access, DEVICE};

use self::{access::Rights, filter::matches, tree::Tree};

/// Filters of one session.
pub const MAX_SITE_FILTERS: usize = 64;
/// What waits for one listener; one that is further behind is ended.
pub const SITE_BACKLOG: usize = 1024;
/// Messages of QoS 1 that a listener has not acknowledged.
pub const SITE_WINDOW: usize = 32;
/// Retained messages, and their bytes.
pub const MAX_RETAINED: usize = 10_000;
/// Bytes of all retained messages with their topics.
pub const MAX_RETAINED_BYTES: usize = 16 << 20;

/// Makes leaves' messages of what is published on the site.
pub trait SiteRules: Send + Sync + fmt::Debug {
    /// The messages in what this device published; none when no rule takes the topic. An error names what is wrong with the payload.
    fn messages(&self, who: &Identity, topic: &str, payload: &Bytes, taken: Stamp) -> Result<Vec<Message>, String>;
}

/// A message on its way to a listener.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    /// 0 or 1.
    pub(crate) qos: u8,
    /// It was retained before the listener came.
    pub(crate) retained: bool,
}

/// A listener, as the bus sees it.
#[derive(Debug)]
struct Listener {
    who: Identity,
    queue: mpsc::Sender<Delivery>,
    /// Rung when it is too far behind.
    behind: Arc<Notify>,
    filters: BTreeMap<String, u8>,
}

#[derive(Debug, Default)]
struct Inner {
    tree: Tree,
    listeners: BTreeMap<u64, Listener>,
    retained: BTreeMap<Arc<str>, (Bytes, u8)>,
    retained_bytes: usize,
}

/// The bus.
#[derive(Debug)]
pub struct SiteBus {
    rights: Rights,
    rules: Arc<dyn SiteRules>,
    inner: Mutex<Inner>,
    numbers: AtomicU64,
    published: AtomicU64,
    delivered: AtomicU64,
}

/// Why something could not be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for another retained message: {MAX_RETAINED} messages or {MAX_RETAINED_BYTES} bytes")]
pub struct NoRoom;

impl SiteBus {
    /// Nobody is on it, and nothing is retained.
    pub fn new(access: Vec<Access>, rules: Arc<dyn SiteRules>) -> Self {
        Self {
            rights: Rights(access),
            rules,
            inner: Mutex::default(),
            numbers: AtomicU64::new(0),
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_rights(&self, who: &Identity) -> bool {
        self.rights.has(who)
    }

    pub(crate) fn may_publish(&self, who: &Identity, topic: &str) -> bool {
        filter::is_topic(topic) && self.rights.may_publish(who, topic)
    }

    pub(crate) fn may_subscribe(&self, who: &Identity, filter: &str) -> bool {
        filter::is_filter(filter) && self.rights.may_subscribe(who, filter)
    }

    pub(crate) fn messages(&self, who: &Identity, topic: &str, payload: &Bytes, taken: Stamp) -> Result<Vec<Message>, String> {
        self.rules.messages(who, topic, payload, taken)
    }

    /// Gives it to all who listen, and says how many that are; with `to`, how many of this device alone.
    pub fn publish(&self, topic: &str, payload: &Bytes, qos: u8, to: Option<&Identity>) -> usize {
        self.published.fetch_add(1, Relaxed);
        let (mut given, mut asked_for) = (0, 0);
        let inner = self.inner();
        let takers = inner.tree.takers(topic);
        if takers.is_empty() {
            return 0;
        }
        // Copied: the read buffer it lies in may be larger.
        let (topic, payload): (Arc<str>, _) = (topic.into(), Bytes::copy_from_slice(payload));
        for (number, granted) in takers {
            let Some(listener) = inner.listeners.get(&number) else { continue };
            let delivery = Delivery { topic: topic.clone(), payload: payload.clone(), qos: qos.min(granted), retained: false };
            match listener.queue.try_send(delivery) {
                Ok(()) => {
                    given += 1;
                    asked_for += usize::from(to.is_none_or(|to| *to == listener.who));
                }
                Err(_) => listener.behind.notify_one(),
            }
        }
        self.delivered.fetch_add(given, Relaxed);
        asked_for
    }

    /// Keeps a message for those who will listen; an empty one takes it away.
    pub(crate) fn retain(&self, topic: &str, payload: &Bytes, qos: u8) -> Result<(), NoRoom> {
        let mut inner = self.inner();
        let old = inner.retained.get(topic).map_or(0, |(payload, _)| topic.len() + payload.len());
        if payload.is_empty() {
            inner.retained.remove(topic);
            inner.retained_bytes -= old;
            return Ok(());
        }
        let bytes = inner.retained_bytes - old + topic.len() + payload.len();
        if bytes > MAX_RETAINED_BYTES || (old == 0 && inner.retained.len() >= MAX_RETAINED) {
            return Err(NoRoom);
        }
        inner.retained_bytes = bytes;
        // Copied: the read buffer it lies in may be larger.
        inner.retained.insert(topic.into(), (Bytes::copy_from_slice(payload), qos));
        Ok(())
    }

    /// Whether this device listens to something that the filter takes.
    pub fn is_heard(&self, filter: &str, by: &Identity) -> bool {
        let inner = self.inner();
        let own = inner.listeners.values().filter(|listener| listener.who == *by).flat_map(|listener| listener.filters.keys());
        own.into_iter().any(|own| filter::overlap(own, filter))
    }

    /// For `tidegate status`: published, delivered, listeners, retained messages.
    pub fn counts(&self) -> (u64, u64, usize, usize) {
        let inner = self.inner();
        (self.published.load(Relaxed), self.delivered.load(Relaxed), inner.listeners.len(), inner.retained.len())
    }

    pub(crate) fn join(self: &Arc<Self>, who: &Identity) -> Seat {
        let number = self.numbers.fetch_add(1, Relaxed);
        let ((queue, waiting), behind) = (mpsc::channel(SITE_BACKLOG), Arc::new(Notify::new()));
        self.inner().listeners.insert(number, Listener { who: who.clone(), queue, behind: behind.clone(), filters: BTreeMap::new() });
        Seat { bus: self.clone(), number, waiting, behind, ahead: VecDeque::new() }
    }
}

/// A session's end of the bus. Dropped, it listens no more.
#[derive(Debug)]
pub(crate) struct Seat {
    bus: Arc<SiteBus>,
    number: u64,
    pub(crate) waiting: mpsc::Receiver<Delivery>,
    pub(crate) behind: Arc<Notify>,
    /// Retained messages, which come before others.
    pub(crate) ahead: VecDeque<Delivery>,
}

impl Seat {
    /// Listens to a filter at this QoS. `false` when it listens to too many already.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> bool {
        let mut inner = self.bus.inner();
        let inner = &mut *inner;
        let Some(listener) = inner.listeners.get_mut(&self.number) else { return false };
        if listener.filters.len() >= MAX_SITE_FILTERS && !listener.filters.contains_key(filter) {
            return false;
        }
        listener.filters.insert(filter.to_owned(), qos);
        inner.tree.add(filter, self.number, qos);
        let kept = inner.retained.iter().filter(|(topic, _)| matches(filter, topic));
        self.ahead.extend(kept.map(|(topic, (payload, of))| Delivery {
            topic: topic.clone(),
            payload: payload.clone(),
            qos: qos.min(*of),
            retained: true,
        }));
        true
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) {
        let mut inner = self.bus.inner();
        let inner = &mut *inner;
        if inner.listeners.get_mut(&self.number).is_some_and(|listener| listener.filters.remove(filter).is_some()) {
            inner.tree.remove(filter, self.number);
        }
    }

    /// The next message without waiting.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        self.ahead.pop_front().or_else(|| self.waiting.try_recv().ok())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.bus.inner();
        if let Some(listener) = inner.listeners.remove(&self.number) {
            listener.filters.keys().for_each(|filter| inner.tree.remove(filter, self.number));
        }
    }
}

#[cfg(test)]
mod tests;
