//! The built-in endpoint: messages by partition, for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{IntoParams, ToSchema};

/// Which messages.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsumeQuery {
    /// Read as one of this consumer group, which keeps how far it has come: `$Default`, or 1 to 64 of letters, digits, `.`, `_`, `-`.
    /// Left out: nothing is kept.
    pub group: Option<String>,
    /// Who reads, within the group: each reader its own name. Its partitions are its own until it has not asked for 60 s.
    pub consumer: Option<String>,
    /// Only this partition, 0 to 3; not with a group.
    #[param(minimum = 0, maximum = 3)]
    pub partition: Option<u8>,
    /// Where to begin, for whoever has no place yet: `latest` (when left out), `earliest`, `offset:…`, `sequence:…` or `time:…`, and
    /// then behind what it names.
    pub from: Option<String>,
    /// The `next` of a page: what came up to there is dealt with, and is not given to the group again.
    pub after: Option<String>,
    /// Seconds to wait for a message, 0 to 60; 0 when left out.
    #[param(minimum = 0, maximum = 60)]
    pub wait_s: Option<u8>,
    /// Messages, 1 to 1000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// Some messages.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConsumedPage {
    /// In the order of their offsets.
    pub items: Vec<ConsumedMessage>,
    /// Give it as `after`.
    pub next: String,
    /// The partitions that these are from. In a group others may have the rest.
    pub partitions: Vec<u8>,
    /// Messages that were given up before they could be read, by partition; the log's gaps say why.
    pub missed: BTreeMap<u8, u64>,
}

/// A message as IoT Hub's built-in endpoint shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConsumedMessage {
    /// Its partition: all messages of a device are in one, in their order.
    pub partition: u8,
    /// What the hub says about it: `iothub-connection-device-id`, `iothub-connection-auth-method`, `iothub-enqueuedtime`,
    /// `iothub-message-source`, `x-opt-sequence-number`, `x-opt-offset`, `x-opt-enqueued-time` and others.
    #[schema(value_type = Object)]
    pub annotations: Map<String, Json>,
    /// What its sender says about it.
    pub properties: ConsumedProperties,
    /// Its body: JSON where it is, else text.
    #[schema(value_type = Object)]
    pub payload: Json,
    /// Its body in base64, where it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// What a message's sender says about it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConsumedProperties {
    /// `content_type`, `content_encoding`, `message_id`, `correlation_id`, `user_id`, `subject`, `creation_time_utc`.
    pub system: BTreeMap<String, String>,
    /// Its own.
    pub application: BTreeMap<String, String>,
}

/// How far a group has come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GroupView {
    /// Its name.
    pub group: String,
    /// Who reads.
    pub consumers: Vec<ConsumerView>,
    /// Where it is.
    pub partitions: Vec<GroupPlace>,
}

/// A reader of a group.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConsumerView {
    /// Its name.
    pub consumer: String,
    /// What it reads.
    pub partitions: Vec<u8>,
    /// Whether it is asking now.
    pub waiting: bool,
}

/// How far a group has come in a partition.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GroupPlace {
    /// Which.
    pub partition: u8,
    /// The log's place that comes next.
    pub seq: u64,
    /// The sequence number that comes next, where it is known.
    pub sequence_number: Option<u64>,
    /// When it last went on.
    pub changed: String,
}

/// What a consumer has dealt with.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressRequest {
    /// The `next` of a page, or the `id` of an event.
    pub after: String,
}
