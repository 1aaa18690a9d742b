//! Cloud-to-device messages as our own hub keeps them: one-way, per device, each ending in exactly one way (reference §3).

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;

use crate::clock::Timestamp;

/// Messages that may wait for one device, locked ones included.
pub const MAX_DEPTH: usize = 50;
/// The largest body.
pub const MAX_BODY: usize = 64 * 1024;
/// How long a device has for its acknowledgement before the message is free again. Fixed by the hub.
pub const LOCK: Duration = Duration::from_secs(60);
/// The longest time that a message may wait: 48 h.
pub const MAX_TTL: Duration = Duration::from_secs(48 * 3600);

/// Which feedback the sender wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// None.
    #[default]
    None,
    /// When it was completed.
    Positive,
    /// When it was given up.
    Negative,
    /// Both.
    Full,
}

impl Ack {
    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Ack::None => "none",
            Ack::Positive => "positive",
            Ack::Negative => "negative",
            Ack::Full => "full",
        }
    }

    /// Whether this end is one that the sender wants to know.
    pub fn wants(self, code: FeedbackCode) -> bool {
        match self {
            Ack::None => false,
            Ack::Positive => code == FeedbackCode::Success,
            Ack::Negative => code != FeedbackCode::Success,
            Ack::Full => true,
        }
    }
}

impl FromStr for Ack {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Ack::None, Ack::Positive, Ack::Negative, Ack::Full]
            .into_iter()
            .find(|ack| ack.word() == text)
            .ok_or_else(|| "ack is none, positive, negative or full".to_owned())
    }
}

/// One message in a device's queue.
#[derive(Debug, Clone, PartialEq)]
pub struct C2d {
    /// Its place: rises within a device, never used again.
    pub id: i64,
    /// When it was accepted.
    pub enqueued: Timestamp,
    /// When nobody wants it any more.
    pub expires: Timestamp,
    /// How often it was abandoned. Over MQTT it never is.
    pub deliveries: u32,
    /// Which feedback its sender wants.
    pub ack: Ack,
    /// `$.mid`
    pub message_id: Option<String>,
    /// All other properties, system ones by their wire names, in the order given.
    pub properties: Vec<(String, String)>,
    /// What it says.
    pub body: Bytes,
}

/// A message to be put into a queue.
#[derive(Debug, Clone, Default)]
pub struct NewC2d {
    /// `$.mid`; needed for feedback.
    pub message_id: Option<String>,
    /// Which feedback the sender wants.
    pub ack: Ack,
    /// As in [`C2d::properties`].
    pub properties: Vec<(String, String)>,
    /// What it says.
    pub body: Bytes,
}

/// What a device says about a message it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It has it. Over MQTT, a PUBACK.
    Complete,
    /// It will never take it.
    Reject,
    /// It cannot take it now.
    Abandon,
}

/// What became of a message, as its sender reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedbackCode {
    /// Completed.
    Success,
    /// Nobody took it in time.
    Expired,
    /// Abandoned too often.
    DeliveryCountExceeded,
    /// Rejected by the device.
    Rejected,
    /// Taken away by the service.
    Purged,
}

impl FeedbackCode {
    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            FeedbackCode::Success => "Success",
            FeedbackCode::Expired => "Expired",
            FeedbackCode::DeliveryCountExceeded => "DeliveryCountExceeded",
            FeedbackCode::Rejected => "Rejected",
            FeedbackCode::Purged => "Purged",
        }
    }

    /// From the wire.
    pub fn from_word(word: &str) -> Option<Self> {
        use FeedbackCode::{DeliveryCountExceeded, Expired, Purged, Rejected, Success};
        [Success, Expired, DeliveryCountExceeded, Rejected, Purged].into_iter().find(|code| code.word() == word)
    }
}

impl fmt::Display for FeedbackCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One record for the sender of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// Its place among all feedback; rises, never used again.
    pub id: i64,
    /// The device's id.
    pub device: String,
    /// Its generation.
    pub generation: String,
    /// The message's id.
    pub message_id: String,
    /// When the message was accepted.
    pub enqueued: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub code: FeedbackCode,
}

/// What became of a message that was to be put into a queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// It is on disk under this id.
    Accepted(i64),
    /// The queue has as many messages as it may.
    Full,
    /// There is no such device.
    Missing,
}

/// What became of a message that a device settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The device has it.
    Completed,
    /// It was given up.
    DeadLettered {
        /// Abandoned so often.
        deliveries: u32,
    },
    /// It waits again.
    Enqueued {
        /// Abandoned so often.
        deliveries: u32,
    },
    /// It is not there any more: settled before, expired or purged.
    Gone,
}
