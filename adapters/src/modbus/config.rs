//! What a `[[adapter]]` section with `kind = "modbus"` may say. The comments here are the user's documentation: they
//! are what the schema carries to editors and forms. Checked into what the adapter runs on by `check`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::{message::Class, profile::RawPoint, quantity::Span};

use crate::value::place::RawOrder;

/// A Modbus bus and the units on it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBus {
    /// "tcp" (Modbus TCP), "rtu" (a serial line), "rtu-over-tcp" (RTU frames through a serial server).
    pub(super) transport: RawTransport,
    /// tcp and rtu-over-tcp: host name or address, with the port if it is not 502: "192.0.2.7:502".
    pub(super) address: Option<String>,
    /// rtu: the serial port, best by a name that stays: "/dev/serial/by-id/…".
    pub(super) port: Option<String>,
    /// rtu: bits per second. Default 9600.
    #[schemars(range(min = 300, max = 4_000_000))]
    pub(super) baud: Option<u32>,
    /// rtu: "none", "even" or "odd". Default "none"; the specification asks for even, most devices come with none.
    pub(super) parity: Option<RawParity>,
    /// rtu: bits per character, 7 or 8. Default 8, and RTU needs 8.
    #[schemars(range(min = 7, max = 8))]
    pub(super) data_bits: Option<u8>,
    /// rtu: 1 or 2. Default 1.
    #[schemars(range(min = 1, max = 2))]
    pub(super) stop_bits: Option<u8>,
    /// How long a unit may take to answer one request, beside the time that the bytes take on a serial line. Default "500ms":
    /// slow meters take 200 ms, a gateway in between as much again, and USB adapters hold bytes back for up to 16 ms.
    pub(super) timeout: Option<Span>,
    /// How often a request is repeated within one poll when the answer is missing or damaged. Default 1.
    #[schemars(range(min = 0, max = 10))]
    pub(super) retries: Option<u8>,
    /// Longest time for opening the connection or port. Default "5s".
    pub(super) connect_timeout: Option<Span>,
    /// Silence before each request, for slow devices. Default "0ms"; a serial line always has its 3.5 characters.
    pub(super) pause_between_requests: Option<Span>,
    /// Wait after connecting, for devices that are deaf at first. Default "0ms".
    pub(super) pause_after_connect: Option<Span>,
    /// tcp and rtu-over-tcp: close the connection after each poll, for devices that serve one client at a time. Default false.
    pub(super) close_after_poll: Option<bool>,
    /// The units on the bus.
    #[serde(default)]
    pub(super) device: Vec<RawDevice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawTransport {
    Tcp,
    Rtu,
    RtuOverTcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawParity {
    None,
    Even,
    Odd,
}

/// A unit on the bus: one leaf.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDevice {
    /// The leaf's id.
    pub(super) id: String,
    /// Its unit number (slave address): 1 to 247; on tcp also 0 and 255, which many devices use for themselves.
    #[schemars(range(min = 0, max = 255))]
    pub(super) unit: u8,
    /// How often its points are read; a point may have its own. Default "10s".
    pub(super) interval: Option<Span>,
    /// Most registers in one request. Default 125, the most there can be.
    #[schemars(range(min = 1, max = 125))]
    pub(super) max_registers: Option<u16>,
    /// Most bits in one request. Default 2000, the most there can be.
    #[schemars(range(min = 1, max = 2000))]
    pub(super) max_bits: Option<u16>,
    /// Most registers or bits between two points that are read and thrown away to save a request; 0 for never. Default 8.
    #[schemars(range(min = 0, max = 124))]
    pub(super) max_gap: Option<u16>,
    /// 1 when the manual counts registers from 1, so that its numbers can be written as they are. Default 0.
    #[schemars(range(min = 0, max = 1))]
    pub(super) address_base: Option<u8>,
    /// Byte order of its numbers: "abcd", "cdab", "badc" or "dcba", A the most significant byte. Default "abcd".
    pub(super) order: Option<RawOrder>,
    /// By which functions it is written: "either" (5 and 6 for one cell, 15 and 16 for several), "single" (5 and 6 only),
    /// "multiple" (15 and 16 only). Default "either".
    pub(super) write_functions: Option<RawFunctions>,
    /// Whether it has function 22 (mask write), which sets bits of a register and leaves the others alone in one request.
    /// Without it the register is read, changed and written. Default false: few devices have it.
    pub(super) mask_write: Option<bool>,
    /// How long it takes to show what was written to it. Default "0ms"; after 100 ms it is looked at a second time anyway.
    pub(super) write_settle: Option<Span>,
    /// As on the bus, for this unit alone.
    pub(super) timeout: Option<Span>,
    /// As on the bus, for this unit alone.
    #[schemars(range(min = 0, max = 10))]
    pub(super) retries: Option<u8>,
    /// As on the bus, for this unit alone.
    pub(super) pause_between_requests: Option<Span>,
    /// What gives way last when room is short: "telemetry", "status", "outcome" or "alert". Default "telemetry".
    pub(super) class: Option<Class>,
    /// How long its messages are worth sending. Default: as the upstream says.
    pub(super) ttl: Option<Span>,
    /// Application properties that each of its messages carries: { site = "hall 3" }.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
    /// What is read from it.
    #[serde(default)]
    pub(super) point: Vec<RawModbusPoint>,
}

/// A named value in a unit.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RawModbusPoint {
    /// The key of the value in the message.
    pub(super) name: String,
    /// "coil" (function 1), "discrete" (2), "holding" (3) or "input" (4).
    pub(super) register: RawTable,
    /// The first register or bit: a number, or hexadecimal as text ("0x64"). Without the leading digit that some manuals
    /// write for the table (40101 is holding 100, or 101 with address_base = 1).
    pub(super) address: RawAddress,
    /// What is in there. Default "bool" for bits and "u16" for registers.
    #[serde(rename = "type")]
    pub(super) kind: Option<RawKind>,
    /// The bit of a register, 0 the least significant; makes the point a "bool".
    #[schemars(range(min = 0, max = 15))]
    pub(super) bit: Option<u8>,
    /// For "string" and "bytes": how many registers.
    #[schemars(range(min = 1, max = 125))]
    pub(super) length: Option<u16>,
    /// For "string": how characters lie in registers: "high-first", "low-first" (two each), "high-only", "low-only" (one each). Default "high-first".
    pub(super) layout: Option<RawLayout>,
    /// Byte order, if it differs from the device's.
    pub(super) order: Option<RawOrder>,
    /// How often it is read, if it differs from the device's.
    pub(super) interval: Option<Span>,
    /// For writable points: whether reading shows what was written. Default true. With false, as for registers that start
    /// something and read as 0, a write is "sent" and never "done".
    pub(super) read_back: Option<bool>,
    /// What every point may say: unit, scale, offset, precision, labels, limits, when to report, what may be written.
    #[serde(flatten)]
    pub(super) point: RawPoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawTable {
    Coil,
    Discrete,
    Holding,
    Input,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawAddress {
    /// From 0, or from 1 with address_base = 1.
    Number(i64),
    /// "0x64", or a number as text.
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawKind {
    Bool,
    U8High,
    U8Low,
    I8High,
    I8Low,
    U16,
    I16,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawLayout {
    HighFirst,
    LowFirst,
    HighOnly,
    LowOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawFunctions {
    Either,
    Single,
    Multiple,
}
