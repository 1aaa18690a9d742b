//! The log: every message on its way up, on disk, until every upstream has it or it is recorded as given up.
//!
//! # The promise
//!
//! What [`Log::append`] has returned for, or a receipt was signed for, is on disk (SQLite in WAL mode, `synchronous=FULL`:
//! one flush per commit). Each message on disk is, for each reader, exactly one of: *outstanding*, *delivered*, or counted in
//! the *gap ledger* with the reason. Order is `seq`, never a clock.
//!
//! | power is cut … | then |
//! |---|---|
//! | after the leaf measured, before `append` returned | lost, at most `commit_interval` of lazily appended readings; whoever waits for a receipt gets none and sends again |
//! | after `append` returned | it will be delivered, or be in the gap ledger |
//! | after publish, before the settle was committed | leased again under the same id: at most `window` messages of each reader |
//! | between two steps of a command | as [`inbox`] says |
//! | inside a commit | the whole commit is there or none of it: messages, places, totals and gaps move together |
//! | while a wrong time is corrected | corrected in chunks; what is left is corrected when the time is known again |
//! | while room is made | the rows dropped and the gap that counts them are one transaction |
//!
//! # How it is kept
//!
//! One thread owns the writing connection and commits what came while the last commit ran ([`Urgency::Now`]), or what came in
//! the last `commit_interval` ([`Urgency::Lazy`]). A second thread owns a read-only connection and serves leases, so a slow flush
//! does not hold up a drain. Each class has tables of its own, keyed by `seq`: appending is at the right edge of a tree, giving way at
//! the left, and nothing else is indexed (`gateway/decisions/0001`). A class lies in two halves, so that what everybody has passed
//! goes at a stroke, without its pages being written once more (`gateway/decisions/0014`).
//!
//! A reader's place is a few spans of `seq` per class; each span is leased and settled from its lower end. Places, totals and
//! the next `seq` are rows of one small table, so that a commit touches one page for all of them.
//!
//! Nothing here knows about MQTT, and no error of a reader can lose a row: an unsettled message is leased again.
//!
//! What is kept beside the log (devices, twins, queues of C2D messages, users) is in a file of its own: [`State`].

mod commit;
mod cursor;
mod error;
mod feed;
mod fetch;
mod gap;
mod history;
pub mod inbox;
mod log;
mod partition;
mod place;
mod reader;
mod request;
mod room;
mod row;
mod salvage;
mod schema;
mod share;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod writer;

pub use error::StoreError;
pub use feed::{Fed, Feed, Item, Start, enqueued};
pub use gap::{Gap, GapReason};
pub use history::{History, Page, Past};
pub use inbox::Inbox;
pub use log::{Counters, Log, LogOptions, Opening, Slot, Urgency};
pub use partition::{PARTITIONS, partition};
pub use place::Replay;
pub use reader::{Leased, Reader, ReaderOptions};
pub use salvage::Salvage;
pub use state::{MAX_GROUPS, Progress, State, StateError, StateOpening, StateSalvage};
pub use status::{ClassStatus, Inspection, ReaderStatus, Status, inspect};
