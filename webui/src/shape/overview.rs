//! What is going on: the tide, devices by state, storage, health.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What is going on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// Which gateway this is.
    pub gateway: GatewayView,
    /// What time it believes it is.
    pub clock: ClockView,
    /// What the log holds.
    pub log: LogBrief,
    /// The hubs and brokers above.
    pub upstreams: Vec<UpstreamView>,
    /// The buses and lines below.
    pub adapters: Vec<AdapterView>,
    /// The devices, counted by state.
    pub devices: DeviceCounts,
    /// The disk.
    pub storage: StorageView,
    /// What is not right.
    pub health: Vec<HealthView>,
    /// In the demo: whether the link to the hub is up. Null elsewhere.
    pub link_switch: Option<bool>,
}

/// Which gateway this is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GatewayView {
    /// Its id.
    pub id: String,
    /// The program's version.
    pub version: String,
    /// When the program started.
    pub started: String,
    /// Seconds since then.
    pub uptime_s: u64,
    /// Whether it is a demo.
    pub demo: bool,
}

/// What time it is here.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClockView {
    /// The wall clock.
    pub now: String,
    /// Whether it is believed.
    pub trusted: bool,
}

/// What the log holds.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LogBrief {
    /// Messages kept, delivered ones that are still there included.
    pub depth: u64,
    /// What they count against the room.
    pub bytes: u64,
    /// The room.
    pub max_bytes: u64,
    /// The database file.
    pub file_bytes: u64,
    /// The next message's place.
    pub next_seq: u64,
    /// When the oldest was taken.
    pub oldest_at: Option<String>,
    /// Messages a second that came in, over the last ten seconds.
    pub rate_in: f64,
    /// What was given up, ever.
    pub given_up: GivenUp,
    /// By class, the first to give way first.
    pub classes: Vec<ClassView>,
}

/// What was given up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GivenUp {
    /// Spans.
    pub gaps: u64,
    /// Messages in them, summed over readers.
    pub messages: u64,
}

/// One class of messages.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClassView {
    /// `telemetry`, `status`, `outcome` or `alert`.
    pub class: String,
    /// Messages kept.
    pub depth: u64,
    /// What they count against the room.
    pub bytes: u64,
}

/// An upstream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UpstreamView {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: String,
    /// Where it connects to and as whom, once known.
    pub target: String,
    /// Whether there is a session.
    pub connected: bool,
    /// Sessions begun since the start.
    pub sessions: u64,
    /// Messages acknowledged since the start.
    pub delivered: u64,
    /// Messages that it can never take.
    pub rejected: u64,
    /// Published and not answered yet.
    pub in_flight: u64,
    /// Messages that wait for it, in flight included.
    pub outstanding: u64,
    /// When the oldest of them was taken.
    pub oldest_at: Option<String>,
    /// Messages a second that left, over the last ten seconds.
    pub rate_out: f64,
    /// Seconds until nothing waits, at the present rates; null when nothing waits or it does not fall.
    pub drain_s: Option<u64>,
    /// When the last message was acknowledged.
    pub last_delivered: Option<String>,
    /// Until when the token or certificate of the last connection is valid.
    pub proof_until: Option<String>,
    /// Whether it is renewed without anybody's doing, as tokens are.
    pub proof_renews: bool,
    /// Whether it runs.
    pub enabled: bool,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AdapterView {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: String,
    /// Whether its bus is open.
    pub connected: bool,
    /// Times the bus was opened.
    pub connects: u64,
    /// Reads done.
    pub reads: u64,
    /// Values that came.
    pub readings: u64,
    /// Devices or points that gave none.
    pub misses: u64,
    /// Messages handed to the log.
    pub messages: u64,
    /// Messages that can never be sent.
    pub rejected: u64,
    /// Devices that do not answer now.
    pub silent_devices: u64,
    /// Steps that were taken because nothing came although the bus was open, such as switching a radio off and on.
    pub recoveries: u64,
    /// Devices on it.
    pub devices: usize,
}

/// Devices by state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct DeviceCounts {
    /// All.
    pub total: usize,
    /// Every point good.
    pub good: usize,
    /// Some point uncertain, none bad.
    pub uncertain: usize,
    /// Some point bad.
    pub bad: usize,
    /// Every point bad.
    pub silent: usize,
    /// Nothing has come yet.
    pub unknown: usize,
}

/// The disk.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StorageView {
    /// The state folder.
    pub path: String,
    /// Free on its file system.
    pub free_bytes: u64,
    /// The file system.
    pub total_bytes: u64,
    /// Written by this process since it started, as the kernel counts it; null where it does not.
    pub written_bytes: Option<u64>,
    /// Commits since the start; each is one flush.
    pub flushes: u64,
    /// Messages that were appended since the start.
    pub appended: u64,
    /// Their bytes.
    pub appended_bytes: u64,
    /// How much of its erase cycles the flash memory has used, in percent, where it says so.
    pub flash_used: Option<u8>,
}

/// Something that is not right.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HealthView {
    /// Stable word of the catalogue.
    pub code: String,
    /// `note`, `warning` or `error`.
    pub level: String,
    /// The adapter, device or upstream that it concerns; empty for the gateway as a whole.
    pub subject: String,
    /// A few words.
    pub title: String,
    /// What was seen.
    pub detail: String,
    /// What usually causes it.
    pub cause: String,
    /// What to do next.
    pub next: String,
    /// Since when.
    pub since: String,
}

/// Something that was looked at on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CheckSeen {
    /// Stable word of the catalogue.
    pub code: String,
    /// `fine`, `skipped` (it could not be looked at), `note`, `warning` or `error`.
    pub verdict: String,
    /// What it concerns: a port, a file; empty for the machine as a whole.
    pub subject: String,
    /// What was seen.
    pub seen: String,
    /// What should be so.
    pub title: String,
    /// What usually causes it not to be.
    pub cause: String,
    /// What to do then.
    pub next: String,
}

/// Something that can be wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConditionView {
    /// Stable word.
    pub code: String,
    /// `note`, `warning` or `error`.
    pub level: String,
    /// A few words.
    pub title: String,
    /// What usually causes it.
    pub cause: String,
    /// What to do next.
    pub next: String,
}

/// The demo's link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// Whether it is up.
    pub up: bool,
}

/// What a stream is to tell.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveQuery {
    /// Up to 64 of `overview`, `health`, `devices`, `device:<id>`, `events`, `config`, separated by commas.
    pub topics: String,
    /// The id of the last event that was seen; browsers send it as `Last-Event-ID` by themselves.
    pub after: Option<String>,
}
