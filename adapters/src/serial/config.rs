//! What a `[[adapter]]` section with `kind = "serial"` may say. The comments here are the user's documentation: they
//! are what the schema carries to editors and forms. Checked into what the adapter runs on by `check`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::{message::Class, profile::RawPoint, quantity::Span};

use crate::value::place::{Form, RawOrder};

/// A serial line and the devices on it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLine {
    /// The serial port, best by a name that stays: "/dev/serial/by-id/…".
    pub(super) port: String,
    /// Bits per second; any number that the port's driver can make. Default 9600.
    #[schemars(range(min = 50, max = 12_000_000))]
    pub(super) baud: Option<u32>,
    /// "none", "even" or "odd". Default "none".
    pub(super) parity: Option<RawParity>,
    /// Bits per character, 5 to 8. Default 8.
    #[schemars(range(min = 5, max = 8))]
    pub(super) data_bits: Option<u8>,
    /// 1 or 2. Default 1.
    #[schemars(range(min = 1, max = 2))]
    pub(super) stop_bits: Option<u8>,
    /// "none", "hardware" (RTS/CTS) or "software" (XON/XOFF). Default "none".
    pub(super) flow: Option<RawFlow>,
    /// Has the kernel switch the direction of an RS-485 transceiver with RTS. Leave it out for adapters that do it by
    /// themselves, as nearly all on USB do.
    pub(super) rs485: Option<RawRs485>,
    /// How frames are told apart on the line.
    pub(super) frame: RawFrame,
    /// The checksum that {checksum} in requests stands for. Default: the frame's.
    pub(super) request_checksum: Option<RawChecksum>,
    /// How long a device that is asked may be silent before and within its answer. Default "1s".
    pub(super) timeout: Option<Span>,
    /// How often a request is repeated within one poll when the answer is missing or wrong. Default 1.
    #[schemars(range(min = 0, max = 10))]
    pub(super) retries: Option<u8>,
    /// Silence before each request. Default "0ms".
    pub(super) pause_between_requests: Option<Span>,
    /// Most frames in a second that are read; what comes beyond is counted and let go. Default 200.
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) max_rate: Option<u32>,
    /// The devices on the line.
    #[serde(default)]
    pub(super) device: Vec<RawDevice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawParity {
    None,
    Even,
    Odd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawFlow {
    None,
    Hardware,
    Software,
}

/// RS-485 direction by the kernel. Refused when the port's driver has no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRs485 {
    /// Wait between switching to sending and the first bit. Default "0ms".
    pub(super) delay_before: Option<Span>,
    /// Wait between the last bit and switching back. Default "0ms".
    pub(super) delay_after: Option<Span>,
    /// RTS is low while sending. Default false.
    pub(super) invert: Option<bool>,
    /// Four wires: hear while sending. Default false.
    pub(super) full_duplex: Option<bool>,
}

/// How frames are told apart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFrame {
    /// "line" (ended by LF, a CR before it taken off), "delimiter" (ended by `end`), "fixed" (`length` bytes), "length"
    /// (a number in the frame says), "enclosed" (between `start` and `end`), "idle" (ended by silence of `gap`).
    #[serde(rename = "type")]
    pub(super) kind: RawFraming,
    /// delimiter, enclosed: the bytes at the end, with escapes: '\r', '\x03'.
    pub(super) end: Option<String>,
    /// enclosed, and as a help to find frames after noise for fixed and length: the bytes at the beginning: '\x02'.
    pub(super) start: Option<String>,
    /// enclosed: bytes after the end that belong to the frame, such as a block check. Default 0.
    #[schemars(range(min = 0, max = 16))]
    pub(super) trailer: Option<u8>,
    /// enclosed: how bytes that would end the frame are written inside it.
    pub(super) escape: Option<RawEscape>,
    /// fixed: bytes in a frame, all of them.
    #[schemars(range(min = 1, max = 65_536))]
    pub(super) length: Option<u32>,
    /// length: where the number is, from 0. Default: behind the start bytes.
    #[schemars(range(min = 0, max = 255))]
    pub(super) offset: Option<u8>,
    /// length: how many bytes the number has. Default 1.
    #[schemars(range(min = 1, max = 4))]
    pub(super) width: Option<u8>,
    /// length: "high-first" or "low-first". Default "high-first".
    pub(super) order: Option<RawByteOrder>,
    /// length: what the number counts: "frame" (all bytes) or "rest" (those after the number). Default "rest".
    pub(super) counts: Option<RawCounts>,
    /// length: bytes that the number does not count and that are in the frame all the same, such as a checksum. May be negative. Default 0.
    #[schemars(range(min = -255, max = 255))]
    pub(super) plus: Option<i16>,
    /// idle: the silence that ends a frame. Default "20ms"; USB adapters hold bytes back for up to 16 ms.
    pub(super) gap: Option<Span>,
    /// Silence after which a frame that has begun is given up. Default "500ms".
    pub(super) timeout: Option<Span>,
    /// Longest frame in bytes; anything longer is noise. Default 1024.
    #[schemars(range(min = 2, max = 65_536))]
    pub(super) max_length: Option<u32>,
    /// The checksum in each frame.
    pub(super) checksum: Option<RawChecksum>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawFraming {
    Line,
    Delimiter,
    Fixed,
    Length,
    Enclosed,
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawByteOrder {
    HighFirst,
    LowFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawCounts {
    Frame,
    Rest,
}

/// How bytes that would end a frame are written inside it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEscape {
    /// "xor" (HDLC: `bytes`, then the byte exclusive-or `with`), "slip" (DB DC for C0, DB DD for DB), "double" (`bytes`
    /// stand twice: DLE DLE), "literal" (`bytes`, then the byte as it is).
    #[serde(rename = "type")]
    pub(super) kind: RawEscaping,
    /// The bytes that announce it: '\x7d' for HDLC, '\x10' for DLE.
    pub(super) bytes: Option<String>,
    /// xor: what the byte is changed by. Default 32.
    pub(super) with: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawEscaping {
    Xor,
    Slip,
    Double,
    Literal,
}

/// A checksum: how it is reckoned and where it stands.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChecksum {
    /// "nmea" (xor in hexadecimal behind a *), "sum8", "sum16", "xor", "lrc", "crc8", "crc8-maxim", "crc16-modbus",
    /// "crc16-ccitt", "crc16-ccitt-false", "crc16-xmodem", "crc16-x25", "crc32", …; the README has all of them.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// How it is written: "high-first", "low-first" or "hex". Default "high-first".
    pub(super) written: Option<RawWriting>,
    /// Bytes at the beginning of the frame that it does not count, such as the start byte. Default 0, for nmea 1.
    #[schemars(range(min = 0, max = 255))]
    pub(super) skip: Option<u8>,
    /// Bytes between the last one it counts and itself. Default 0, for nmea 1.
    #[schemars(range(min = 0, max = 255))]
    pub(super) gap: Option<u8>,
    /// Bytes after it that belong to the frame, such as the end byte. Default 0.
    #[schemars(range(min = 0, max = 255))]
    pub(super) after: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawWriting {
    HighFirst,
    LowFirst,
    Hex,
}

/// A device on the line: one leaf.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDevice {
    /// The leaf's id.
    pub(super) id: String,
    /// What {address} stands for in its requests, matches and patterns.
    pub(super) address: Option<String>,
    /// How often it is asked, where it has requests. Default "10s".
    pub(super) interval: Option<Span>,
    /// For devices that speak by themselves: without a good frame for this long, its values are bad. "0s" for never, as for
    /// a barcode reader. Default "60s".
    pub(super) silent_after: Option<Span>,
    /// As on the line, for this device alone.
    pub(super) timeout: Option<Span>,
    /// Whether commands may send it bytes as they are. Default false.
    pub(super) raw: Option<bool>,
    /// What gives way last when room is short: "telemetry", "status", "outcome" or "alert". Default "telemetry".
    pub(super) class: Option<Class>,
    /// How long its messages are worth sending. Default: as the upstream says.
    pub(super) ttl: Option<Span>,
    /// Application properties that each of its messages carries: { site = "hall 3" }.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
    /// The messages that it sends. Of several that a frame is like, the first counts.
    #[serde(default)]
    pub(super) message: Vec<RawMessage>,
}

/// A message that a device sends by itself, or as the answer to a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMessage {
    /// "regex", "json", "csv", "pairs" (name=value), "layout" (bytes at fixed places) or "nmea".
    pub(super) parser: RawParser,
    /// A regular expression that the frame must match to be this message; {address} stands for the device's.
    #[serde(rename = "match")]
    pub(super) only: Option<String>,
    /// regex: the expression with a named group for each point: '^(?<weight>[-+0-9.]+) kg'. May be left out when each point has its own.
    pub(super) pattern: Option<String>,
    /// csv: the byte between values; pairs: the bytes between pairs. Default ",".
    pub(super) separator: Option<String>,
    /// csv: the byte around values that hold the separator; "" for none. Default '"'.
    pub(super) quote: Option<String>,
    /// pairs: the bytes between name and value. Default "=".
    pub(super) equals: Option<String>,
    /// Numbers are written with a comma: 21,5. Default false.
    pub(super) decimal_comma: Option<bool>,
    /// What is sent to get it; without it the device speaks by itself. With escapes, {address} and {checksum}: '{address}RD\r'.
    pub(super) request: Option<String>,
    /// What is exchanged before the request, in order: { send = '/?!\r\n', until = '\r\n' }.
    #[serde(default)]
    pub(super) prelude: Vec<RawExchange>,
    /// How often it is asked for, if it differs from the device's.
    pub(super) interval: Option<Span>,
    /// The points in it.
    #[serde(default)]
    pub(super) point: Vec<RawSerialPoint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawParser {
    Regex,
    Json,
    Csv,
    Pairs,
    Layout,
    Nmea,
}

/// One exchange before a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExchange {
    /// What is sent, as a request is written.
    pub(super) send: String,
    /// The bytes that end what the device says to it.
    pub(super) until: String,
}

/// A named value in a message.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RawSerialPoint {
    /// The key of the value in the message that leaves.
    pub(super) name: String,
    /// Where it is: the group of the pattern, the path in JSON ("a.b[0]"), the name in pairs; nmea: "latitude", "longitude",
    /// "altitude", "speed", "course", "satellites", "hdop", "fixed", "time", "date". Default: the point's name.
    pub(super) field: Option<String>,
    /// regex: an expression of its own, whose first group is the value.
    pub(super) pattern: Option<String>,
    /// csv: which column, from 1.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) column: Option<u16>,
    /// Text parsers: "number", "hex", "bool" or "text". Default "number"; for json whatever stands there. layout: "bool", "u8" to "i64", "f16",
    /// "f32", "f64", "bcd16", "bcd32", "bcd64", "string", "bytes".
    #[serde(rename = "type")]
    pub(super) kind: Option<RawKind>,
    /// layout: the first byte, from 0; from the end when negative, -1 the last.
    #[schemars(range(min = -65_536, max = 65_535))]
    pub(super) at: Option<i32>,
    /// layout: the bit of a byte, 0 the least significant; makes the point a "bool".
    #[schemars(range(min = 0, max = 7))]
    pub(super) bit: Option<u8>,
    /// layout: for "string" and "bytes", how many bytes.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) length: Option<u16>,
    /// layout: byte order, A the most significant: "abcd", "cdab", "badc" or "dcba". Default "abcd".
    pub(super) order: Option<RawOrder>,
    /// Frames may lack it. Default false: then a frame without it makes it bad.
    pub(super) optional: Option<bool>,
    /// For writable points: what is sent, with {value}, or a format as in {value:05.1}: '{address}SP{value}\r'.
    pub(super) write: Option<String>,
    /// For writable points: a regular expression that the confirming frame matches; with a group `value` it says what was set.
    pub(super) confirm: Option<String>,
    /// For writable points: a regular expression of frames that say no.
    pub(super) refuse: Option<String>,
    /// For writable points in messages with a request: ask after writing and compare. Default true.
    pub(super) read_back: Option<bool>,
    /// What every point may say: unit, scale, offset, precision, labels, limits, when to report, what may be written.
    #[serde(flatten)]
    pub(super) point: RawPoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawKind {
    Number,
    Hex,
    Bool,
    Text,
    U8,
    I8,
    U16,
    I16,
    U24,
    I24,
    U32,
    I32,
    U48,
    I48,
    U64,
    I64,
    F16,
    F32,
    F64,
    Bcd16,
    Bcd32,
    Bcd64,
    String,
    Bytes,
}

impl RawKind {
    /// What bytes of this kind hold; `None` for those that only text has.
    pub(super) fn form(self) -> Option<Form> {
        Some(match self {
            RawKind::Number | RawKind::Hex => return None,
            RawKind::Bool => Form::Bool,
            RawKind::U8 => Form::U8,
            RawKind::I8 => Form::I8,
            RawKind::U16 => Form::U16,
            RawKind::I16 => Form::I16,
            RawKind::U24 => Form::U24,
            RawKind::I24 => Form::I24,
            RawKind::U32 => Form::U32,
            RawKind::I32 => Form::I32,
            RawKind::U48 => Form::U48,
            RawKind::I48 => Form::I48,
            RawKind::U64 => Form::U64,
            RawKind::I64 => Form::I64,
            RawKind::F16 => Form::F16,
            RawKind::F32 => Form::F32,
            RawKind::F64 => Form::F64,
            RawKind::Bcd16 => Form::Bcd16,
            RawKind::Bcd32 => Form::Bcd32,
            RawKind::Bcd64 => Form::Bcd64,
            RawKind::Text | RawKind::String => Form::String,
            RawKind::Bytes => Form::Bytes,
        })
    }
}
