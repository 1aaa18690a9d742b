//! Why a session ended.

use crate::{
    event::{Event, EventKind},
    live::Dismissal,
    packet::Malformed,
    records::RecordsError,
};

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The device said goodbye.
    Disconnect,
    /// The connection is gone.
    Gone(String),
    /// Nothing was heard for one and a half times the keep-alive.
    Silent,
    /// Its token has ended.
    TokenExpired,
    /// It was told to end.
    Dismissed(Dismissal),
    /// It did not take what was sent to it.
    Slow,
    /// The log could not keep its messages, so it will send them again.
    NotKept(String),
    /// It did what the hub ends a connection for.
    Cause(Cause),
}

/// What a hub ends a connection for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("published with QoS 2, which is not offered")]
    Qos2,
    #[error("published to '{0}', which is no topic of its own")]
    Topic(String),
    #[error("subscribed to '{0}', which is no filter of its own")]
    Filter(String),
    #[error("subscribed to more than {} filters at once", crate::limits::MAX_FILTERS)]
    Filters,
    #[error("sent {0}, which devices do not send")]
    Packet(&'static str),
    #[error("a second CONNECT")]
    SecondConnect,
    #[error("{0}")]
    Message(String),
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        End::Cause(error.into())
    }
}

impl From<RecordsError> for End {
    fn from(error: RecordsError) -> Self {
        End::NotKept(error.0)
    }
}

impl End {
    /// Whether the device's will is to be published.
    pub(crate) fn leaves_a_will(&self) -> bool {
        // When we stop, devices come back; they have not died.
        !matches!(self, End::Disconnect | End::Dismissed(Dismissal::Stopping))
    }

    /// Whether it was the device's own doing.
    pub(crate) fn is_for_cause(&self) -> bool {
        matches!(self, End::Cause(_) | End::Silent | End::Slow | End::Dismissed(Dismissal::Behind))
    }

    fn words(&self) -> (String, Option<u32>) {
        let plain = |text: &str| (text.to_owned(), None);
        match self {
            End::Disconnect => plain("it said goodbye"),
            End::Gone(why) => (format!("the connection is gone: {why}"), None),
            End::Silent => plain("nothing was heard for one and a half times its keep-alive"),
            End::TokenExpired => ("its token has ended; it must come back with a new one".to_owned(), Some(401_003)),
            End::Dismissed(Dismissal::TakenOver) => ("another connection has its identity now".to_owned(), Some(400_027)),
            End::Dismissed(Dismissal::Disabled) => ("the device was disabled".to_owned(), Some(403_012)),
            End::Dismissed(Dismissal::Deleted) => ("the device was deleted".to_owned(), Some(404_001)),
            End::Dismissed(Dismissal::ProofChanged) => ("its keys or certificates were replaced".to_owned(), Some(401_003)),
            End::Dismissed(Dismissal::Behind) => plain("it is too far behind with what it was sent"),
            End::Dismissed(Dismissal::Stopping) => plain("the endpoint stops"),
            End::Slow => plain("it did not take what it was sent for 10 s"),
            End::NotKept(why) => (format!("its messages could not be kept: {why}"), Some(500_001)),
            End::Cause(Cause::Malformed(Malformed::TooLarge(size))) => (format!("a packet of {size} bytes is too large"), Some(413_001)),
            End::Cause(cause) => (cause.to_string(), Some(400_001)),
        }
    }

    /// As an event.
    pub(crate) fn event(&self, event: Event) -> Event {
        let (detail, code) = self.words();
        Event { kind: EventKind::DeviceDisconnected, detail, code, ..event }
    }
}
