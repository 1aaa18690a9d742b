//! The log, its gaps, its messages, and the program's own events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::{IntoParams, ToSchema};

use super::{ClassView, GivenUp};

/// What the log keeps, and for whom.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LogView {
    /// Messages kept.
    pub depth: u64,
    /// What they count against the room.
    pub bytes: u64,
    /// The room.
    pub max_bytes: u64,
    /// The database file.
    pub file_bytes: u64,
    /// The next message's place.
    pub next_seq: u64,
    /// The oldest message.
    pub oldest: Option<Spot>,
    /// By class.
    pub classes: Vec<ClassView>,
    /// By reader.
    pub readers: Vec<ReaderView>,
    /// What was given up.
    pub given_up: GivenUp,
    /// Counted since the start, by name.
    pub counters: BTreeMap<String, u64>,
}

/// A place in the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Spot {
    /// The place.
    pub seq: u64,
    /// When the message was taken.
    pub at: String,
}

/// A reader of the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReaderView {
    /// An upstream's or consumer group's name.
    pub name: String,
    /// Messages that wait for it.
    pub outstanding: u64,
    /// The oldest of them.
    pub oldest: Option<Spot>,
    /// Messages delivered, ever.
    pub settled: u64,
}

/// A span that was given up.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GapView {
    /// For whom.
    pub reader: String,
    /// Of which device.
    pub device: String,
    /// Of which class.
    pub class: String,
    /// `ttl`, `room`, `corrupt` or `rejected`.
    pub reason: String,
    /// Messages.
    pub count: u64,
    /// When the first was taken.
    pub first: String,
    /// When the last was taken.
    pub last: String,
    /// The first one's place.
    pub first_seq: u64,
    /// The last one's place.
    pub last_seq: u64,
    /// Whether the hub has been told.
    pub told: bool,
}

/// Which messages.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MessageQuery {
    /// Of this device.
    pub device: Option<String>,
    /// `telemetry` (when left out), `status`, `outcome` or `alert`.
    pub class: Option<String>,
    /// RFC 3339, or milliseconds since 1970.
    pub from: Option<String>,
    /// Likewise.
    pub to: Option<String>,
    /// The `next` of the page before.
    pub after: Option<u64>,
    /// Messages, 1 to 1000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// Which messages to download, and how.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `csv` or `jsonl`.
    pub format: ExportFormat,
    /// Of this device.
    pub device: Option<String>,
    /// `telemetry` (when left out), `status`, `outcome` or `alert`.
    pub class: Option<String>,
    /// RFC 3339, or milliseconds since 1970.
    pub from: Option<String>,
    /// Likewise.
    pub to: Option<String>,
}

/// How a download looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// One line for each point of each message.
    Csv,
    /// One JSON object for each message.
    Jsonl,
}

/// A message of the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MessageView {
    /// Its place.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// Whose.
    pub device: String,
    /// Its class.
    pub class: String,
    /// When it was taken.
    pub at: String,
    /// `ok` or `unsynced`.
    pub time_quality: String,
    /// Application properties.
    pub properties: BTreeMap<String, String>,
    /// What the body is.
    pub content_type: Option<String>,
    /// JSON as it is, other text as text; null for bytes.
    pub body: Json,
    /// Bytes that are no text.
    pub body_base64: Option<String>,
}

/// Which events.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// The least important: `error`, `warn`, `info` (when left out), `debug` or `trace`.
    pub level: Option<String>,
    /// Only lines that contain this, whatever the case.
    pub text: Option<String>,
    /// The `next` of the page before.
    pub before: Option<u64>,
    /// Events, 1 to 1000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// Something that the program said.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventView {
    /// Rises with each.
    pub id: u64,
    /// When.
    pub at: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The part that said it.
    pub target: String,
    /// What it said.
    pub text: String,
    /// Names and values.
    pub fields: BTreeMap<String, String>,
}
