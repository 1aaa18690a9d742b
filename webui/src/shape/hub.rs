//! The hub for the devices below: its registry, queues, twins and events.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{IntoParams, ToSchema};

/// The hub as a whole.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HubAbout {
    /// Whether it is configured to listen. The registry can be filled before.
    pub enabled: bool,
    /// Where it listens.
    pub listening: Vec<HubDoor>,
    /// The name by which devices reach it, as connection strings have it unless another is asked for.
    pub host: String,
    /// Whether there is an authority of its own for devices to trust: `GET /hub/authority`.
    pub has_authority: bool,
    /// Devices that are connected.
    pub sessions: u64,
    /// Sessions that began, since the start.
    pub accepted: u64,
    /// Connections that were refused, since the start.
    pub refused: u64,
    /// Messages taken from devices, since the start.
    pub messages: u64,
    /// C2D messages that devices acknowledged, since the start.
    pub c2d_delivered: u64,
    /// Method calls that devices answered, since the start.
    pub calls: u64,
}

/// A listener.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HubDoor {
    /// `tls`, `plain` or `websocket`.
    pub door: String,
    /// Address and port.
    pub address: String,
}

/// A device in the registry.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HubDevice {
    /// Its id; a module's is `device/module`.
    pub device: String,
    /// Whether it is let in.
    pub enabled: bool,
    /// Why, for whoever looks later.
    pub reason: Option<String>,
    /// `sas`, `selfSigned`, `certificateAuthority` or `password`.
    pub proof: String,
    /// For `If-Match`, as the header `ETag` has it.
    pub etag: String,
    /// Another one of the same name has another.
    pub generation: String,
    /// When it was made.
    pub created: String,
    /// When it was last changed.
    pub changed: String,
    /// Since when it is connected.
    pub connected: Option<String>,
    /// From where.
    pub remote: Option<String>,
    /// Whether it listens to method calls; null while it is not connected.
    pub methods: Option<bool>,
    /// C2D messages that wait for it; null in lists.
    pub waiting: Option<u64>,
}

/// How a device is to prove itself. Left out: by keys that are made for it.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "lowercase", deny_unknown_fields)]
pub enum HubProof {
    /// By tokens of these keys, in base64; made where they are not given.
    Keys {
        /// The one in connection strings.
        primary: Option<String>,
        /// The other one.
        secondary: Option<String>,
    },
    /// By one of these certificates: SHA-1 or SHA-256, in hexadecimal.
    Thumbprints {
        /// Tried first.
        primary: String,
        /// Tried second.
        secondary: Option<String>,
    },
    /// By a certificate of an authority in `endpoint.client_ca_file`.
    Authority {},
    /// By a password; the user name is the id.
    Password {
        /// 8 to 128 bytes.
        password: String,
    },
}

impl fmt::Debug for HubProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubProof(hidden)")
    }
}

/// A device to register.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHubDevice {
    /// Its id, or `device/module`.
    pub device: String,
    /// How it is to prove itself.
    pub proof: Option<HubProof>,
    /// Whether it is let in; it is when this is left out.
    pub enabled: Option<bool>,
    /// Why, for whoever looks later.
    pub reason: Option<String>,
}

/// What is to be changed of a device; what is left out stays.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HubDeviceChange {
    /// Whether it is let in. A session of one that is not ends at once.
    pub enabled: Option<bool>,
    /// Why, for whoever looks later.
    pub reason: Option<String>,
    /// Another proof: `{"by":"keys"}` makes fresh keys. Its session ends.
    pub proof: Option<HubProof>,
}

/// What a device needs to connect. It is secret.
#[derive(Clone, Serialize, ToSchema)]
pub struct HubKeys {
    /// Its id.
    pub device: String,
    /// How it proves itself.
    pub proof: String,
    /// The first key in base64, or the first thumbprint.
    pub primary: Option<String>,
    /// The second one.
    pub secondary: Option<String>,
    /// The name by which it reaches this machine.
    pub host: String,
    /// Ready to paste; null for a device with a password.
    pub connection_string: Option<String>,
}

impl fmt::Debug for HubKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubKeys({}, hidden)", self.device)
    }
}

/// The name in a connection string.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HostQuery {
    /// The name by which the device reaches this machine; the gateway's own when left out.
    pub host: Option<String>,
}

/// A message for a device.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct C2dRequest {
    /// A text is sent as it is, anything else as JSON. At most 64 KiB.
    #[schema(value_type = Object)]
    pub body: Option<Json>,
    /// Any bytes, in base64; not together with `body`.
    pub body_base64: Option<String>,
    /// Its properties.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Its id; made when left out.
    pub message_id: Option<String>,
    /// Which feedback is wanted: `none` (when left out), `positive`, `negative` or `full`.
    pub ack: Option<String>,
    /// Seconds that it waits for the device, 1 to 172800; as configured when left out.
    #[schema(minimum = 1, maximum = 172_800)]
    pub ttl_s: Option<u32>,
}

/// A message that is in its queue.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct C2dView {
    /// Its id.
    pub message_id: String,
    /// Until when it waits.
    pub expires: String,
}

/// How many messages were taken away.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Purged {
    /// Messages.
    pub purged: u64,
}

/// What became of a message whose sender asked for it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FeedbackView {
    /// Rises by the order in which it became known.
    pub id: i64,
    /// The device.
    pub device: String,
    /// The message.
    pub message_id: String,
    /// `Success`, `Expired`, `DeliveryCountExceeded`, `Rejected` or `Purged`.
    pub code: String,
    /// When the message was sent.
    pub enqueued: String,
    /// When its fate was known.
    pub at: String,
}

/// Which feedback has been read.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FeedbackRead {
    /// The last record's id.
    pub up_to: i64,
}

/// A method call.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MethodRequest {
    /// Its name: 1 to 100 characters.
    pub method: String,
    /// Any JSON; nothing is sent when it is left out.
    #[schema(value_type = Object)]
    pub payload: Option<Json>,
    /// Seconds that the device has, 5 to 60; 30 when left out.
    #[schema(minimum = 5, maximum = 60)]
    pub timeout_s: Option<u8>,
    /// Seconds to wait for a device that is not connected, 0 to 10; 0 when left out.
    #[schema(minimum = 0, maximum = 10)]
    pub wait_s: Option<u8>,
}

/// The device's answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MethodView {
    /// As the device says it.
    pub status: i64,
    /// Its JSON; text where it is none.
    #[schema(value_type = Object)]
    pub payload: Json,
}

/// A twin as the service sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TwinView {
    /// Rises with each change of any part.
    pub version: u64,
    /// Of the service alone.
    #[schema(value_type = Object)]
    pub tags: Json,
    /// `desired` and `reported`, each with `$version` and `$metadata`.
    #[schema(value_type = Object)]
    pub properties: Json,
}

/// What is to be changed of a twin.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TwinChange {
    /// Tags; null deletes.
    #[schema(value_type = Object)]
    pub tags: Option<Map<String, Json>>,
    /// Properties.
    pub properties: Option<TwinProperties>,
}

/// Properties of a twin that a service may change.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TwinProperties {
    /// Desired ones; null deletes.
    #[schema(value_type = Object)]
    pub desired: Option<Map<String, Json>>,
}

/// Something that happened at the hub.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HubEvent {
    /// Rises by one, from 1 at the start of the process.
    pub number: u64,
    /// `deviceConnected`, `deviceDisconnected`, `connectionRefused`, `createDeviceIdentity`, `updateDeviceIdentity`,
    /// `deleteDeviceIdentity`, `updateTwin` or `replaceTwin`.
    pub kind: String,
    /// When.
    pub at: String,
    /// The device; of one that was refused, what it claimed.
    pub device: Option<String>,
    /// The module.
    pub module: Option<String>,
    /// From where.
    pub remote: Option<String>,
    /// In words.
    pub detail: String,
    /// The hub's code, such as 401003.
    pub code: Option<u32>,
    /// How often it happened in a row.
    pub count: u64,
}

/// Which events.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HubEventQuery {
    /// Those with a higher number.
    pub after: Option<u64>,
    /// Seconds to wait for the first one, 0 to 60; 0 when left out.
    #[param(minimum = 0, maximum = 60)]
    pub wait_s: Option<u8>,
    /// Events, 1 to 1000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}
