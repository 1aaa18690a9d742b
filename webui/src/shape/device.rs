//! Devices, their points and what was last seen of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::{IntoParams, ToSchema};

use super::HealthView;

/// How a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Every point is good.
    Good,
    /// Some point is uncertain, none is bad.
    Uncertain,
    /// Some point is bad.
    Bad,
    /// Every point is bad.
    Silent,
    /// Nothing has come yet.
    Unknown,
}

/// The latest of a point.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LatestView {
    /// Null when it is bad. Numbers beyond what JSON has, and bytes, are text.
    pub value: Json,
    /// `good`, `uncertain: …` or `bad: …`.
    pub quality: String,
    /// When it was taken, in milliseconds since 1970.
    pub at: i64,
    /// Its unit; left out in live values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A device in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeviceBrief {
    /// Its id.
    pub id: String,
    /// The adapter that it is on.
    pub adapter: String,
    /// What that speaks.
    pub kind: String,
    /// How it is.
    pub state: DeviceState,
    /// How many points it has.
    pub points: usize,
    /// When the latest value was taken.
    pub last_at: Option<String>,
    /// The class of its messages.
    pub class: String,
    /// The latest of its first 32 points.
    pub values: BTreeMap<String, LatestView>,
}

/// A device.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeviceView {
    /// Its id.
    pub id: String,
    /// The adapter that it is on.
    pub adapter: String,
    /// What that speaks.
    pub kind: String,
    /// How it is.
    pub state: DeviceState,
    /// When the latest value was taken.
    pub last_at: Option<String>,
    /// The class of its messages.
    pub class: String,
    /// How long its messages are worth sending, in seconds.
    pub ttl_s: Option<u64>,
    /// Its points, in the order of the configuration.
    pub points: Vec<PointView>,
    /// What is not right with it or its adapter.
    pub health: Vec<HealthView>,
    /// Where it is configured.
    pub section: SectionPlace,
    /// For how many seconds more each read of it is told among the events; null when it is not.
    pub watched_s: Option<u64>,
}

/// Where something is configured.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SectionPlace {
    /// The file, once known.
    pub file: Option<String>,
    /// The adapter's section in it.
    pub adapter: String,
}

/// A point.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PointView {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: Option<String>,
    /// Names of its whole numbers.
    pub labels: BTreeMap<String, String>,
    /// Values below are uncertain.
    pub min: Option<f64>,
    /// Values above are uncertain.
    pub max: Option<f64>,
    /// Decimal places.
    pub precision: Option<u8>,
    /// `always` or `change`.
    pub report: String,
    /// What may be written to it; null for a point that can only be read.
    pub writable: Option<WritableView>,
    /// What was last seen.
    pub latest: Option<LatestView>,
}

/// What may be written to a point.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WritableView {
    /// `number`, `boolean`, `label` or `text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Distance of the values that it takes.
    pub step: Option<f64>,
    /// The names that it takes.
    pub labels: BTreeMap<String, String>,
}

/// Which part of a point's past.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrendQuery {
    /// Up to 8 points, separated by commas.
    pub points: String,
    /// RFC 3339, or milliseconds since 1970; an hour before `to` when left out.
    pub from: Option<String>,
    /// Likewise; now when left out.
    pub to: Option<String>,
    /// Buckets for each point, 2 to 2000; 600 when left out.
    #[param(minimum = 2, maximum = 2000)]
    pub most: Option<usize>,
}

/// The past of some points, from the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Trend {
    /// The device.
    pub device: String,
    /// Milliseconds since 1970.
    pub from: i64,
    /// Milliseconds since 1970.
    pub to: i64,
    /// How far back the log reaches now.
    pub kept_since: Option<i64>,
    /// How long each bucket is.
    pub bucket_ms: i64,
    /// `false`: there was more than could be looked through; the answer begins later than asked.
    pub complete: bool,
    /// Each point.
    pub points: BTreeMap<String, Series>,
    /// Spans of this device that were given up.
    pub gaps: Vec<TrendGap>,
}

/// One point's past, in buckets that hold something.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Series {
    /// Its unit.
    pub unit: Option<String>,
    /// When the last value of each bucket was taken, in milliseconds since 1970.
    pub at: Vec<i64>,
    /// The last value; null when it was bad.
    pub last: Vec<Json>,
    /// The smallest number; null where there is none.
    pub min: Vec<Option<f64>>,
    /// The largest number; null where there is none.
    pub max: Vec<Option<f64>>,
}

/// A span that was given up.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrendGap {
    /// Milliseconds since 1970.
    pub from: i64,
    /// Milliseconds since 1970.
    pub to: i64,
    /// Messages.
    pub count: u64,
    /// `ttl`, `room`, `corrupt` or `rejected`.
    pub reason: String,
    /// For whom.
    pub reader: String,
}

/// What one look at a device showed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LookView {
    /// The device.
    pub device: String,
    /// What it says it is.
    pub identity: BTreeMap<String, String>,
    /// Its points.
    pub lines: Vec<LookLineView>,
}

/// One point, as it was asked and answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LookLineView {
    /// The point.
    pub point: String,
    /// After scale, offset and labels.
    pub value: Json,
    /// How far to trust it.
    pub quality: String,
    /// Its unit.
    pub unit: Option<String>,
    /// What was asked.
    pub request: String,
    /// The point's share of the answer, in hexadecimal.
    pub raw: String,
    /// In words, when it is not good.
    pub detail: String,
    /// From the question to the answer.
    pub took_ms: f64,
}

/// A device to be asked before it is configured.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LookRequest {
    /// One `[[adapter]]` section in TOML.
    pub section: String,
    /// Only this device.
    pub device: Option<String>,
}
