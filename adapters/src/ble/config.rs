//! What a `[[adapter]]` section with `kind = "ble"` may say. The comments here are the user's documentation.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::{message::Class, profile::RawPoint, quantity::Span};

/// A Bluetooth radio and the sensors that it listens to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRadio {
    /// The Bluetooth adapter, as `bluetoothctl list` or `hciconfig` name it. Default "hci0". A path ("/run/receiver.sock") is
    /// a Unix socket into which another program writes what it hears (see the README).
    pub(super) radio: Option<String>,
    /// The Unix socket of the bus that BlueZ is on: "unix:path=/run/dbus/system_bus_socket". Default: the system bus.
    pub(super) bus: Option<String>,
    /// The sensors that are listened to; all others are passed over.
    #[serde(default)]
    pub(super) device: Vec<RawSensor>,
}

/// A sensor: one leaf.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSensor {
    /// The leaf's id.
    pub(super) id: String,
    /// Its Bluetooth address: "A4:C1:38:8D:18:B2". It must be one that stays, public or static random.
    pub(super) address: String,
    /// For encrypted advertisements: a file with the sensor's key (bindkey), 32 hexadecimal digits.
    pub(super) key_file: Option<String>,
    /// At most one message in this time, with the newest values; events such as a button press do not wait. Default "10s".
    pub(super) interval: Option<Span>,
    /// Silent for longer than this, its points are bad with the reason "timeout". Default: learned, ten times the longest
    /// pause heard so far, at least "1min" and at most "1h".
    pub(super) silent_after: Option<Span>,
    /// What gives way last when room is short: "telemetry", "status", "outcome" or "alert". Default "telemetry".
    pub(super) class: Option<Class>,
    /// How long its messages are worth sending. Default: as the upstream says.
    pub(super) ttl: Option<Span>,
    /// Application properties that each of its messages carries: { site = "hall 3" }.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
    /// What is taken from it.
    #[serde(default)]
    pub(super) point: Vec<RawField>,
}

/// A named value of a sensor.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RawField {
    /// The key of the value in the message.
    pub(super) name: String,
    /// The field of the advertisement, such as "temperature", or "rssi" (dBm) and "last_seen" (when it was heard). Default: the name.
    pub(super) field: Option<String>,
    /// Unit, scale, range, report policy.
    #[serde(flatten)]
    pub(super) about: RawPoint,
}
