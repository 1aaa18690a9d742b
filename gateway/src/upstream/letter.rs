//! What a kind of upstream adds to the shared session: how a message looks on the wire, and what an arrival means.

use bytes::Bytes;
use tidegate_core::{
    message::Message,
    upstream::{ArrivalKind, Reply},
};

/// A publish, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Without wildcards; the session checks length and characters before it sends.
    pub topic: String,
    /// Any bytes.
    pub payload: Bytes,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
}

/// Fixed header, topic length and packet id take at most this much of a packet (MQTT 3.1.1 §2.2, §3.3).
const PACKET_OVERHEAD: usize = 9;

impl Letter {
    /// Itself, if it can be sent at all; or why not. Asked before the client sees it, because the client would tear the connection
    /// down for it, and again in the next one.
    pub(super) fn fitting(self, max_packet: usize) -> Result<Self, String> {
        if self.topic.is_empty() || self.topic.len() > usize::from(u16::MAX) {
            return Err(format!("topic of {} bytes: 1 to 65535 are possible", self.topic.len()));
        }
        if self.topic.contains(['+', '#', '\0']) {
            return Err("topic holds a wildcard or a null character".to_owned());
        }
        let size = self.topic.len() + self.payload.len() + PACKET_OVERHEAD;
        if size > max_packet { Err(format!("packet of {size} bytes is larger than {max_packet}")) } else { Ok(self) }
    }
}

/// A kind's way of speaking. Pure: it does no I/O and keeps no state, so a session may ask it anything at any time.
pub trait Speech: Send + 'static {
    /// The message as this hub wants it, or why it can never be sent there.
    fn letter(&self, message: &Message) -> Result<Letter, String>;

    /// What we say beside messages; `None` where this kind of hub has no such thing.
    fn reply(&self, reply: &Reply) -> Option<Letter>;

    /// What a publish from the hub means; `None` for what is not for us, which is acknowledged and forgotten.
    fn arrival(&self, topic: &str, payload: &Bytes, retained: bool) -> Option<ArrivalKind>;
}
