//! Commands to devices, and what became of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

/// What a device is to be told.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// Written in this order, through the write guard. 1 to 256 points.
    #[schema(min_items = 1, max_items = 256)]
    pub write: Vec<WriteRequest>,
    /// Seconds to wait for the outcome, 0 to 50; 5 when left out. The command goes on either way.
    #[schema(minimum = 0, maximum = 50)]
    pub wait_s: Option<u8>,
}

/// One value for one point.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteRequest {
    /// The point's name.
    pub point: String,
    /// A number in the point's unit, a text, true or false.
    #[schema(value_type = Object)]
    pub value: Json,
}

/// A command that was kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CommandView {
    /// Its id; the outcome that the hub is told carries it as its correlation id.
    pub id: String,
    /// `done`, `sent`, `rejected`, `expired`, `failed` or `uncertain`; null while it waits.
    pub outcome: Option<String>,
    /// What was seen on the device, in the points' units.
    #[schema(value_type = Object)]
    pub values: Map<String, Json>,
    /// Why, in words; empty where that needs none.
    pub reason: String,
}

/// A command in the inbox.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InboxEntry {
    /// Its place.
    pub seq: u64,
    /// `waiting`, `begun` or `dead`.
    pub state: &'static str,
    /// Of a dead one, its outcome.
    pub outcome: Option<String>,
    /// The device.
    pub device: String,
    /// Its id.
    pub id: String,
    /// The upstream it came from, or `local`.
    pub source: String,
    /// Who asked.
    pub who: String,
    /// What it says.
    pub what: String,
    /// When it came.
    pub came: String,
    /// How often it was begun.
    pub deliveries: u32,
    /// Why it is dead.
    pub reason: String,
}

/// Who had what written.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WriteAct {
    /// When.
    pub at: String,
    /// Who.
    pub who: String,
    /// The upstream it came from, or `local`.
    pub source: String,
    /// The device.
    pub device: String,
    /// `begun`, `again`, or the outcome.
    pub event: String,
    /// What was written, seen, or why not.
    pub what: String,
}
