//! What the endpoint needs from others: a place for what must survive, and the line up.
//!
//! Nothing here knows SQLite. Whoever implements these traits promises that what has returned `Ok`, or was signed for, is on disk.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{
    adapter::Receipt,
    c2d::{C2d, Enqueued, Feedback, NewC2d, Settled, Settlement},
    clock::Timestamp,
    device::{Device, NewDevice, Written},
    dialect::identity::Identity,
    message::Message,
    twin::{Change, Changed, Twin},
};

/// Why a record could not be read or kept. The text is for our own log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RecordsError(pub String);

/// What [`Records`] answers.
pub type Kept<T> = Result<T, RecordsError>;

/// Devices, twins, queues. Operations on one device happen in the order in which they are called.
#[async_trait]
pub trait Records: Send + Sync + fmt::Debug {
    /// Makes a registry entry and its twin.
    async fn create_device(&self, new: NewDevice) -> Kept<Written>;
    /// One entry.
    async fn device(&self, identity: &Identity) -> Kept<Option<Device>>;
    /// Entries after this one, by id.
    async fn devices(&self, after: Option<&Identity>, most: usize) -> Kept<Vec<Device>>;
    /// Replaces proof, status and reason; the generation stays.
    async fn change_device(&self, new: NewDevice, etag: Option<u64>) -> Kept<Written>;
    /// Takes an entry away with all that belongs to it; returns what it was.
    async fn delete_device(&self, identity: &Identity, etag: Option<u64>) -> Kept<Written>;

    /// A device's twin.
    async fn twin(&self, identity: &Identity) -> Kept<Option<Twin>>;
    /// Changes it, all or nothing.
    async fn change_twin(&self, identity: &Identity, change: Change, now: Timestamp) -> Kept<Changed>;

    /// Opens an MQTT session; whether there was one that goes on, and its subscription to C2D messages.
    async fn open_session(&self, identity: &Identity, keep: bool) -> Kept<(bool, Option<u8>)>;
    /// Notes the subscription of a session that is kept.
    async fn subscribe_session(&self, identity: &Identity, c2d: Option<u8>) -> Kept<()>;

    /// Puts a message into a device's queue.
    async fn enqueue_c2d(&self, identity: &Identity, new: NewC2d, expires: Timestamp, now: Timestamp) -> Kept<Enqueued>;
    /// A device's messages behind this id, oldest first.
    async fn c2d_after(&self, identity: &Identity, after: i64, most: usize) -> Kept<Vec<C2d>>;
    /// How many wait.
    async fn c2d_depth(&self, identity: &Identity) -> Kept<u64>;
    /// What a device says about messages; one answer for each.
    async fn settle_c2d(&self, identity: &Identity, ids: Vec<i64>, what: Settlement, most: u32, now: Timestamp) -> Kept<Vec<Settled>>;
    /// Takes away what waits; `None` when there is no such device.
    async fn purge_c2d(&self, identity: &Identity, now: Timestamp) -> Kept<Option<u64>>;
    /// Gives up what is too old; how many, and when the next one is due.
    async fn expire_c2d(&self, now: Timestamp, feedback_before: Timestamp) -> Kept<(u64, Option<Timestamp>)>;
    /// Feedback that nobody has taken, oldest first.
    async fn feedback(&self, most: usize) -> Kept<Vec<Feedback>>;
    /// Feedback up to this id has been read; how many records that was.
    async fn take_feedback(&self, up_to: i64) -> Kept<u64>;
    /// Keeps the retained message of a topic of the site; `None` takes it away.
    async fn keep_retained(&self, topic: &str, payload: Option<Bytes>) -> Kept<()>;
    /// All retained messages.
    async fn retained(&self) -> Kept<Vec<(String, Bytes)>>;
}

/// The line up: where device-to-cloud messages go.
#[async_trait]
pub trait Outlet: Send + Sync + fmt::Debug {
    /// Takes messages in this order. Waits while there is no room in the queue to the disk, which is the back-pressure. The receipt
    /// is signed once they are durable and dropped if they never will be; without one nobody waits, and they may take their time.
    async fn append(&self, messages: Vec<Message>, receipt: Option<Receipt>) -> Result<(), RecordsError>;
}
