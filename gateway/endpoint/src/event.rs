//! What happened: devices that came, went and were refused, and why. Kept in memory, the latest first to be had; nothing waits for it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use tidegate_core::{clock::Timestamp, dialect::identity::Identity};
use tokio::sync::broadcast;

/// Events that can still be asked for.
const KEPT: usize = 1024;
/// Events that a slow listener may lag behind before it misses some.
const BACKLOG: usize = 256;

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// A device has a session.
    DeviceConnected,
    /// Its session ended; the detail says why.
    DeviceDisconnected,
    /// Somebody was not let in; the detail says why.
    ConnectionRefused,
    /// What a device published on the site could not become a message of a leaf; the detail says why.
    SiteMessageRefused,
    /// An identity was made.
    CreateDeviceIdentity,
    /// An identity was changed: enabled, disabled, other keys.
    UpdateDeviceIdentity,
    /// An identity was taken away.
    DeleteDeviceIdentity,
    /// A twin was changed by a patch.
    UpdateTwin,
    /// A section of a twin was replaced.
    ReplaceTwin,
}

/// One event.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Rises by one, from 1 at the start of the process.
    pub number: u64,
    /// What kind it is.
    pub kind: EventKind,
    /// When; the latest time where it happened several times in a row.
    pub at: Timestamp,
    /// The device's id, as far as it is known; of one that was refused, what it claimed.
    pub device: Option<String>,
    /// The module's id.
    pub module: Option<String>,
    /// Where it came from.
    pub remote: Option<SocketAddr>,
    /// In words.
    pub detail: String,
    /// The reference's code, such as 401003, where there is one.
    pub code: Option<u32>,
    /// How often it happened in a row.
    pub count: u64,
}

impl Event {
    /// About an identity.
    pub(crate) fn about(kind: EventKind, identity: &Identity, detail: impl Into<String>) -> Self {
        Self {
            number: 0,
            kind,
            at: Timestamp(0),
            device: Some(identity.device.to_string()),
            module: identity.module.as_ref().map(ToString::to_string),
            remote: None,
            detail: detail.into(),
            code: None,
            count: 1,
        }
    }

    /// The same again, from the same machine.
    fn repeats(&self, last: &Event) -> bool {
        matches!(self.kind, EventKind::ConnectionRefused | EventKind::SiteMessageRefused)
            && (last.kind, &last.device, &last.module, &last.detail) == (self.kind, &self.device, &self.module, &self.detail)
            && last.remote.map(|r| r.ip()) == self.remote.map(|r| r.ip())
    }
}

/// The latest events and those who listen.
#[derive(Debug)]
pub(crate) struct Events {
    kept: Mutex<(u64, VecDeque<Event>)>,
    listeners: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: Mutex::default(), listeners: broadcast::Sender::new(BACKLOG) }
    }
}

impl Events {
    pub(crate) fn tell(&self, mut event: Event, now: Timestamp) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        (event.number, event.at) = (kept.0, now);
        // A device that knocks all day with a wrong key must not push everything else out.
        if let Some(last) = kept.1.back_mut().filter(|last| event.repeats(last)) {
            event.count = last.count + 1;
            *last = event.clone();
        } else {
            if kept.1.len() == KEPT {
                kept.1.pop_front();
            }
            kept.1.push_back(event.clone());
        }
        drop(kept);
        // Err only when nobody listens.
        self.listeners.send(event).ok();
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.listeners.subscribe()
    }

    /// Those with a higher number, oldest first, at most so many of the latest.
    pub(crate) fn after(&self, number: u64, most: usize) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events: Vec<Event> = kept.1.iter().rev().take_while(|event| event.number > number).take(most).cloned().collect();
        events.reverse();
        events
    }
}
