//! The lower seam: a bus, line, radio or listener, and the leaves on it.

use std::{fmt, io, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    clock::Stamp,
    command::{Command, Outcome},
    id::{LeafId, PointName},
    message::Message,
    reading::{Quality, Reading, Reason, Value},
};

/// Drives one bus and the leaves on it.
///
/// Calls come one at a time, so an adapter needs no locks:
///
/// 1. `connect` first, and again after every `Err`;
/// 2. then `ready` and `read` in turn, with `execute` between turns;
/// 3. `close` last; `connect` may come again after it.
///
/// `ready` only waits, and may be dropped at any await. `read` and `execute` talk to the bus, are bounded
/// by the adapter's own time-outs and are never dropped half-way, so a link that still owes an answer is
/// never left behind by surprise. A leaf that misbehaves is a [`Miss`] in the harvest; `Err` is for the bus as a whole.
#[async_trait]
pub trait Adapter: Send {
    /// Opens the bus. Must be safe to call again.
    async fn connect(&mut self) -> Result<(), AdapterError>;
    /// Waits until there is something to read: a poll is due, or a leaf has spoken.
    async fn ready(&mut self);
    /// Reads what is due, in bounded time, and returns what came and what did not.
    async fn read(&mut self) -> Result<Harvest, AdapterError>;
    /// Carries out one command. An `Err` means that nobody knows what happened: the outcome is `uncertain`.
    async fn execute(&mut self, command: &Command) -> Result<Outcome, AdapterError>;
    /// Lets go of the bus.
    async fn close(&mut self);

    /// For people who are wiring: reads one leaf, or each in turn, once and now, and says how it was asked and what
    /// came. Called between `connect` and `close`, without `ready` and `read`. Takes as long as it takes: each leaf is
    /// bounded by its time-outs. Leaves that the adapter cannot ask (they speak when they like) are left out.
    async fn look(&mut self, _leaf: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
        Ok(Vec::new())
    }
}

/// What one look at a leaf showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The leaf.
    pub leaf: LeafId,
    /// What it says it is, such as `("vendor", "Contoso")`; empty when it does not say.
    pub identity: Vec<(String, String)>,
    /// Its points.
    pub lines: Vec<LookLine>,
}

/// One point, as it was asked and answered.
#[derive(Debug, Clone, PartialEq)]
pub struct LookLine {
    /// The point.
    pub point: PointName,
    /// As decoded, before scale and offset; `None` exactly when the quality is bad and nothing was decoded.
    pub value: Option<Value>,
    /// How far to trust it.
    pub quality: Quality,
    /// What was asked, such as `function 3, holding registers 100 to 109`.
    pub request: String,
    /// The point's share of the answer as it was on the wire, in hexadecimal; empty when there was none.
    pub raw: String,
    /// In words, when it is not good.
    pub detail: String,
    /// From the question to the answer; points that were asked together share it.
    pub took: Duration,
}

/// What one read brought.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Values of points, raw as decoded.
    pub readings: Vec<Reading>,
    /// Messages that leaves made themselves and that pass through as they are.
    pub messages: Vec<Message>,
    /// What was asked for and did not come.
    pub misses: Vec<Miss>,
    /// What the adapter has to say of its bus.
    pub remark: Option<Remark>,
    /// For leaves that wait for an acknowledgement: signed once all of the above is durable.
    pub receipt: Option<Receipt>,
}

/// What an adapter does by itself about a bus that is open and does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// Nothing comes any more, and a step was taken: which, in words.
    Stalled(String),
    /// It works again.
    Recovered,
}

/// A leaf, or some of its points, that gave no value. News, not an error.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    /// The leaf that was asked.
    pub leaf: LeafId,
    /// Which points; empty for all of the leaf.
    pub points: Vec<PointName>,
    /// Why.
    pub reason: Reason,
    /// For people: what was asked and what came instead, such as `no answer from unit 7 within 500 ms`.
    pub detail: String,
    /// When.
    pub taken: Stamp,
}

/// Tells a waiting sender that its message is durable. Dropped unsigned, the sender hears nothing and sends again.
#[must_use = "an unsigned receipt makes the sender send again"]
pub struct Receipt(oneshot::Sender<()>);

impl Receipt {
    /// A receipt and the end that learns of the signature: `Ok` when signed, `Err` when dropped.
    pub fn new() -> (Self, oneshot::Receiver<()>) {
        let (tx, rx) = oneshot::channel();
        (Self(tx), rx)
    }

    /// Only after the data is on disk.
    pub fn sign(self) {
        // Nobody may be waiting any more; the data is durable all the same.
        self.0.send(()).ok();
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

/// What is wrong with a bus as a whole.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// It could not be opened: no such port, connection refused, name not found.
    #[error("cannot open {what}: {source}")]
    Open {
        /// The port or address.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// It was open and is gone: unplugged, connection closed, a link that still owed an answer was dropped.
    #[error("lost {what}: {why}")]
    Lost {
        /// The port or address.
        what: String,
        /// What was seen.
        why: String,
    },
}

/// What a runner does about an error. Only runners look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The same thing again, after a pause.
    Retry,
    /// A new connection, after a pause.
    Reconnect,
    /// Give this one thing up, record it, go on.
    Discard,
    /// Nothing can be done from here; end.
    Stop,
}

impl AdapterError {
    /// Buses come back, so they are never given up on.
    pub fn disposition(&self) -> Disposition {
        Disposition::Reconnect
    }
}
