//! What a `[[adapter]]` section with `kind = "ble"` may say. The comments here are the user's documentation.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::{message::Class, profile::RawPoint, quantity::Span};

use crate::value::place::{Form, RawOrder};

/// A Bluetooth radio and the sensors that it listens to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRadio {
    /// The Bluetooth adapter, as `bluetoothctl list` or `hciconfig` name it. Default "hci0". A path ("/run/receiver.sock") is
    /// a Unix socket into which another program writes what it hears (see the README).
    pub(super) radio: Option<String>,
    /// The Unix socket of the bus that BlueZ is on: "unix:path=/run/dbus/system_bus_socket". Default: the system bus.
    pub(super) bus: Option<String>,
    /// "active" asks each sender for more (a scan response) and hears everything; "passive" only listens, and hears the formats that the
    /// sensors below are in. Passive needs a bluetoothd with advertisement monitors (BlueZ 5.56 and newer, mostly with
    /// --experimental), and is refused without. Default "active".
    pub(super) scan: Option<RawScan>,
    /// How many devices are connected to at the same time; the others wait for their turn. Most radios manage between 3 and 10. Default 3.
    #[schemars(range(min = 1, max = 32))]
    pub(super) connections: Option<u8>,
    /// The sensors that are listened to or connected to; all others are passed over.
    #[serde(default)]
    pub(super) device: Vec<RawSensor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawScan {
    Active,
    Passive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawAddressType {
    Public,
    Random,
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
    /// For points with a `characteristic`: how often the sensor is connected to and read. Each connection costs its battery. Default "1min".
    pub(super) read_interval: Option<Span>,
    /// Stay connected between two reads. It takes one of the `connections` for good. Default: only where a point has `notify`.
    pub(super) hold: Option<bool>,
    /// "public" or "random": lets it be connected to when it has not been heard since bluetoothd started. Default: it must be heard first.
    pub(super) address_type: Option<RawAddressType>,
    /// Pair with it when it is not paired yet, before anything is read. Default false: most sensors need none, and those that
    /// show a passkey are paired from the page or with `tidegate adapters pair`.
    pub(super) bond: Option<bool>,
    /// With bond: a file with the six digits of a fixed passkey.
    pub(super) passkey_file: Option<String>,
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

/// A named value of a sensor: a field of a format that is known, bytes of an advertisement (`from`), or bytes of a characteristic.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RawField {
    /// The key of the value in the message.
    pub(super) name: String,
    /// The field of the advertisement, such as "temperature", or "rssi" (dBm) and "last_seen" (when it was heard). Default: the name.
    pub(super) field: Option<String>,
    /// For formats that are not known: the data that holds it, "manufacturer:0499" or "service:181a" (16-bit numbers in hexadecimal).
    pub(super) from: Option<String>,
    /// With `from`: only advertisements whose data begins with these bytes, in hexadecimal: "10 05".
    pub(super) starts: Option<String>,
    /// The characteristic that it is read from, "2a19" or a whole UUID: the sensor is connected to.
    pub(super) characteristic: Option<String>,
    /// The service that the characteristic is in, where there are several of the same number.
    pub(super) service: Option<String>,
    /// With `from` or `characteristic`: the first byte, from 0; from the end when negative, -1 the last. Default 0.
    #[schemars(range(min = -65_536, max = 65_535))]
    pub(super) at: Option<i32>,
    /// With `from` or `characteristic`: "bool", "u8" to "i64", "f16", "f32", "f64", "bcd16", "bcd32", "bcd64", "string", "bytes".
    #[serde(rename = "type")]
    pub(super) kind: Option<Form>,
    /// The bit of a byte, 0 the least significant; makes the point a "bool".
    #[schemars(range(min = 0, max = 7))]
    pub(super) bit: Option<u8>,
    /// For "string" and "bytes": how many bytes.
    #[schemars(range(min = 1, max = 512))]
    pub(super) length: Option<u16>,
    /// Byte order, A the most significant: "abcd", "cdab", "badc" or "dcba". Default "dcba", the low byte first, as Bluetooth has it.
    pub(super) order: Option<RawOrder>,
    /// The sensor says new values of the characteristic by itself (notification or indication), and stays connected. Default false.
    pub(super) notify: Option<bool>,
    /// For writable points: true waits for the device's acknowledgement, false does not. Default: acknowledged where the device can.
    pub(super) acknowledged: Option<bool>,
    /// For writable points: read the characteristic after writing and compare, where it can be read. Default true.
    pub(super) read_back: Option<bool>,
    /// Unit, scale, range, report policy.
    #[serde(flatten)]
    pub(super) about: RawPoint,
}
