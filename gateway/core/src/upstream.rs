//! The upper seam: a hub or broker above us.
//!
//! An [`Upstream`] makes one [`Session`] at a time. A session lives as long as its connection and no longer:
//! after any error everything of it is dropped and the next session begins from what the log says is outstanding.
//! The log is the only truth about what has been delivered; a session only reports what it saw.

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::{
    adapter::{Disposition, Receipt},
    clock::Timestamp,
    message::{Message, Properties, SystemProperties},
};

/// A hub or broker above us, with its kind and identity.
#[async_trait]
pub trait Upstream: Send {
    /// Connects and returns the session; bounded by the upstream's own time-outs; may be dropped at any await.
    /// Whoever runs it makes the pauses between attempts.
    async fn connect(&mut self) -> Result<Session, UpstreamError>;

    /// A folder for the little that it must remember across restarts, such as the hub that it was assigned to. Called once,
    /// before `connect`; without it nothing is remembered.
    fn keep_in(&mut self, _folder: &Path) {}

    /// Where it connects to and as whom, for people: `contoso.azure-devices.net as gw-01`.
    fn target(&self) -> String;

    /// Until when what it showed at the last connect is valid; `None` when that does not end or is not known.
    fn proof(&self) -> Option<Proof> {
        None
    }
}

/// What a connection proved itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// When it ends.
    pub until: Timestamp,
    /// Whether the upstream renews it by itself, as it does tokens; a certificate is somebody's work.
    pub renews: bool,
}

/// One connection to the hub.
#[derive(Debug)]
pub struct Session {
    /// Messages to send. The channel's capacity is what the session takes in flight; when it is full, wait.
    /// Drop it to end the session in good order (DISCONNECT).
    pub publish: mpsc::Sender<Parcel>,
    /// What became of each parcel, once each, in the order in which the hub answered. Parcels without a fate when the
    /// session ends have met `Fate::Retry`. The channel never holds more than what is in flight.
    pub fates: mpsc::Receiver<(u64, Fate)>,
    /// What the hub sends down.
    pub arrivals: mpsc::Receiver<Arrival>,
    /// What we say beside messages: answers to calls, questions about the twin. Bounded, never stored, lost with the session.
    pub replies: mpsc::Sender<Reply>,
    /// Why the session ended; resolves once, after the last fate has been sent.
    pub ended: oneshot::Receiver<UpstreamError>,
    /// Whether the hub kept our session from before (MQTT session present).
    pub resumed: bool,
}

/// A message with the ticket by which its fate will be told.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Chosen by the sender; unique among the parcels in flight.
    pub ticket: u64,
    /// What is to be sent.
    pub message: Arc<Message>,
}

/// What became of a message at one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The hub has acknowledged it.
    Delivered,
    /// Not known to be delivered; to be sent again.
    Retry,
    /// It can never be delivered here, and why: too large, not encodable. Recorded as a gap.
    Rejected(String),
}

/// Something that came down from the hub, not yet acknowledged.
#[derive(Debug)]
pub struct Arrival {
    /// What it is.
    pub kind: ArrivalKind,
    /// Signed once the arrival is durable; then the session acknowledges it to the hub. Unsigned, the hub sends it again.
    /// `None` for what the hub does not want acknowledged (methods, twin notifications).
    pub receipt: Option<Receipt>,
    /// The sender says that it may have sent this before (MQTT DUP).
    pub again: bool,
}

/// What we say to the hub beside messages. A kind of upstream that has no such thing lets it fall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer to a call.
    Method {
        /// As it came with the call.
        request: String,
        /// As in HTTP.
        status: u16,
        /// JSON.
        body: Bytes,
    },
    /// Asks for the whole twin; the answer comes as an arrival.
    TwinGet {
        /// Comes again in the answer.
        request: String,
    },
    /// Changes the reported properties; the answer comes as an arrival.
    Reported {
        /// Comes again in the answer.
        request: String,
        /// A JSON merge patch.
        patch: Bytes,
    },
}

/// What came down.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrivalKind {
    /// A one-way message.
    CloudToDevice {
        /// `$.mid`, correlation id and so on.
        system: SystemProperties,
        /// `$.exp` as the hub wrote it; the moment after which nobody wants it any more.
        expires: Option<String>,
        /// Application properties as received, nulls left out. Not limited as those that leave us.
        properties: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// A call that waits for an answer.
    Method {
        /// Its name, decoded.
        name: String,
        /// Opaque; to be copied into the answer.
        request: String,
        /// JSON or empty.
        body: Bytes,
    },
    /// A part of the twin: an answer or a notification, as its topic says.
    Twin {
        /// The topic, without decoding.
        topic: String,
        /// JSON or empty.
        body: Bytes,
    },
}

/// Why there is no session, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nobody there: name not found, refused, no route, time-out, TLS failed.
    #[error("cannot reach {target}: {why}")]
    Unreachable {
        /// Host and port.
        target: String,
        /// What the system said.
        why: String,
    },
    /// The hub is there and does not let us in.
    #[error("{target} refused us: {refusal}")]
    Refused {
        /// Host and port.
        target: String,
        /// How.
        refusal: Refusal,
    },
    /// The connection was there and is gone.
    #[error("lost {target}: {why}")]
    Lost {
        /// Host and port.
        target: String,
        /// What was seen.
        why: String,
    },
    /// We ended it ourselves to come back with a fresh token. Not a fault.
    #[error("{target}: reconnecting with a fresh token")]
    TokenRenewal {
        /// Host and port.
        target: String,
    },
    /// We ended it because we were asked to.
    #[error("{target}: closed")]
    Closed {
        /// Host and port.
        target: String,
    },
    /// The configuration cannot work (an unreadable key or certificate, say); trying again soon is no use.
    #[error("{target}: {why}")]
    Unusable {
        /// Host and port.
        target: String,
        /// What is wrong with it.
        why: String,
    },
}

/// How a hub refuses a connection (CONNACK return codes, MQTT 3.1.1 §3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 1: it does not speak MQTT 3.1.1.
    ProtocolVersion,
    /// 2: it does not like the client id.
    Identifier,
    /// 3: it has no room now.
    Unavailable,
    /// 4 or 5: key, clock, id or a disabled device. IoT Hub does not say which (reference §1.5).
    Credentials,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::ProtocolVersion => "it does not speak MQTT 3.1.1",
            Refusal::Identifier => "client id not accepted",
            Refusal::Unavailable => "unavailable at the moment",
            Refusal::Credentials => "credentials not accepted",
        })
    }
}

impl UpstreamError {
    /// What the uplink does next.
    pub fn disposition(&self) -> Disposition {
        match self {
            UpstreamError::Closed { .. } => Disposition::Stop,
            _ => Disposition::Reconnect,
        }
    }

    /// Whether trying again soon would only annoy the hub: refused credentials and unusable configuration are retried slowly.
    pub fn is_stubborn(&self) -> bool {
        match self {
            UpstreamError::Refused { refusal, .. } => *refusal != Refusal::Unavailable,
            UpstreamError::Unusable { .. } => true,
            _ => false,
        }
    }
}

/// For sessions that hand out properties: those that cannot leave are counted, never sent damaged.
pub fn carry(properties: &Properties, name: &str, value: &str) -> Properties {
    let mut all = properties.clone();
    // A leaf that chose the same name keeps its own value.
    all.insert(name, value).ok();
    all
}
