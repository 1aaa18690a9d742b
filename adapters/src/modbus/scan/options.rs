//! What a search may say, and the ground that it covers.

use std::{net::Ipv4Addr, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_core::{quantity::Span, scan::ScanError};
use tokio_serial::{DataBits, Parity, StopBits};

use super::super::{
    check::{DEFAULT_PORT, host_and_port},
    config::{RawParity, RawTable, RawTransport},
    plan::Table,
    transport::{Framing, Line},
};

/// The speeds that devices come with, the most likely first.
const SPEEDS: [u32; 8] = [9600, 19_200, 38_400, 115_200, 57_600, 4800, 2400, 1200];
/// Odd parity is rare.
const PARITIES: [Parity; 3] = [Parity::None, Parity::Even, Parity::Odd];
/// The units under which a device of its own answers, the most likely first.
const OWN: [u8; 3] = [1, 255, 0];
/// The highest number that a unit on a line may have.
const LAST_UNIT: u8 = 247;
/// Hosts in one search: four networks of the usual size.
const MOST_HOSTS: usize = 1024;
/// Questions in one search.
const MOST_STEPS: usize = 65_536;
const TIMEOUT_TCP: Duration = Duration::from_millis(500);
/// Most devices begin to answer within 50 ms; on a line each that is not there costs twice this.
const TIMEOUT_LINE: Duration = Duration::from_millis(150);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How Modbus devices are searched for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// "tcp" (Modbus TCP), "rtu" (a serial line), "rtu-over-tcp" (RTU frames through a serial server). Default "tcp".
    transport: Option<RawTransport>,
    /// tcp and rtu-over-tcp: which hosts, separated by commas: "192.0.2.7", "192.0.2.7:1502", "192.0.2.10-40", "192.0.2.0/24". At most 1024.
    address: Option<String>,
    /// rtu: the serial port, such as "/dev/serial/by-id/…".
    port: Option<String>,
    /// rtu: at this speed only. Default: 9600, 19200, 38400, 115200, 57600, 4800, 2400 and 1200 in turn.
    #[schemars(range(min = 300, max = 4_000_000))]
    baud: Option<u32>,
    /// rtu: with this parity only. Default: "none", "even" and "odd".
    parity: Option<RawParity>,
    /// Which units: "1-32" or "1,5,17". Default: on a line "1-247"; over TCP 1, 255 and 0, and the first that answers will do.
    units: Option<String>,
    /// How long each may take to answer. Default "500ms" over TCP and "150ms" on a line.
    timeout: Option<Span>,
    /// What each is asked for: "holding", "input", "coil" or "discrete". Default "holding". A refusal is an answer too.
    register: Option<RawTable>,
    /// Which cell. Default 0.
    at: Option<u16>,
}

/// What is searched.
#[derive(Debug)]
pub(super) enum Ground {
    /// Names or addresses, with their ports.
    Hosts(Vec<(String, u16)>, Framing),
    /// One port in different ways.
    Line(Vec<Line>),
}

/// Options that make sense.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) ground: Ground,
    pub(super) units: Vec<u8>,
    /// One unit of a host is enough.
    pub(super) first_will_do: bool,
    pub(super) timeout: Duration,
    pub(super) table: Table,
    pub(super) at: u16,
    transport: &'static str,
}

fn wrong(option: &str, why: impl Into<String>) -> ScanError {
    ScanError::Option { option: option.to_owned(), why: why.into() }
}

impl Search {
    pub(super) fn read(options: &Json) -> Result<Self, ScanError> {
        let raw = Options::deserialize(options)
            .map_err(|error| wrong("given", format!("{error} (transport, address, port, baud, parity, units, timeout, register, at)")))?;
        let transport = raw.transport.unwrap_or(RawTransport::Tcp);
        let on_line = transport == RawTransport::Rtu;
        let ground = match transport {
            RawTransport::Tcp => Ground::Hosts(hosts(&raw)?, Framing::Mbap),
            RawTransport::RtuOverTcp => Ground::Hosts(hosts(&raw)?, Framing::Rtu),
            RawTransport::Rtu => Ground::Line(lines(&raw)?),
        };
        let units = match &raw.units {
            Some(text) => units(text, on_line)?,
            None if transport == RawTransport::Tcp => OWN.to_vec(),
            None => (1..=LAST_UNIT).collect(),
        };
        let timeout = raw.timeout.map_or(if on_line { TIMEOUT_LINE } else { TIMEOUT_TCP }, |span| span.0);
        if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
            return Err(wrong("timeout", "write a time from 1ms to 10s"));
        }
        let table = match raw.register.unwrap_or(RawTable::Holding) {
            RawTable::Coil => Table::Coil,
            RawTable::Discrete => Table::Discrete,
            RawTable::Holding => Table::Holding,
            RawTable::Input => Table::Input,
        };
        let name = match transport {
            RawTransport::Tcp => "tcp",
            RawTransport::Rtu => "rtu",
            RawTransport::RtuOverTcp => "rtu-over-tcp",
        };
        let first_will_do = raw.units.is_none() && transport == RawTransport::Tcp;
        let search = Self { ground, units, first_will_do, timeout, table, at: raw.at.unwrap_or(0), transport: name };
        if search.steps() as usize > MOST_STEPS {
            return Err(wrong("units", format!("that would be {} questions, at most {MOST_STEPS} are asked: name fewer", search.steps())));
        }
        Ok(search)
    }

    /// Questions there will be at most.
    pub(super) fn steps(&self) -> u32 {
        let places = match &self.ground {
            Ground::Hosts(hosts, _) => hosts.len(),
            Ground::Line(lines) => lines.len(),
        };
        (places * self.units.len()) as u32
    }

    /// What each is asked for, in words.
    pub(super) fn cell(&self) -> String {
        let table = match self.table {
            Table::Coil => "coil",
            Table::Discrete => "discrete input",
            Table::Holding => "holding register",
            Table::Input => "input register",
        };
        format!("{table} {}", self.at)
    }

    /// A section that begins with these keys.
    pub(super) fn section(&self, keys: &str, unit: u8) -> String {
        format!(
            "[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"{}\"\n{keys}\n\n[[adapter.device]]\nid = \"unit-{unit}\"\nunit = {unit}",
            self.transport
        )
    }
}

/// As sections write it.
pub(super) fn word(parity: Parity) -> &'static str {
    match parity {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    }
}

fn lines(raw: &Options) -> Result<Vec<Line>, ScanError> {
    if raw.address.is_some() {
        return Err(wrong("address", "is for tcp and rtu-over-tcp; a line has a port"));
    }
    let port = raw.port.as_ref().filter(|port| port.starts_with('/') && !port.chars().any(char::is_control));
    let port = port.ok_or_else(|| wrong("port", "write the path of a serial port; `tidegate adapters scan serial` lists them"))?;
    if raw.baud.is_some_and(|baud| !(300..=4_000_000).contains(&baud)) {
        return Err(wrong("baud", "write a number from 300 to 4000000"));
    }
    let speeds = raw.baud.map_or_else(|| SPEEDS.to_vec(), |baud| vec![baud]);
    let parities = match raw.parity {
        None => PARITIES.to_vec(),
        Some(RawParity::None) => vec![Parity::None],
        Some(RawParity::Even) => vec![Parity::Even],
        Some(RawParity::Odd) => vec![Parity::Odd],
    };
    let line = |baud: u32, parity: Parity| Line { port: port.clone(), baud, parity, data_bits: DataBits::Eight, stop_bits: StopBits::One };
    let mut lines: Vec<_> = speeds.iter().flat_map(|baud| parities.iter().map(move |parity| line(*baud, *parity))).collect();
    if parities.len() > 1 {
        lines.sort_by_key(|line| line.parity == Parity::Odd);
    }
    Ok(lines)
}

fn hosts(raw: &Options) -> Result<Vec<(String, u16)>, ScanError> {
    for (key, given) in [("port", raw.port.is_some()), ("baud", raw.baud.is_some()), ("parity", raw.parity.is_some())] {
        if given {
            return Err(wrong(key, "is for a serial line: write transport \"rtu\", or leave it out"));
        }
    }
    let text = raw.address.as_deref().unwrap_or_default();
    let mut hosts = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let found = range(item).ok_or_else(|| {
            wrong(
                "address",
                format!("'{item}' is no host or range: write \"192.0.2.7\", \"192.0.2.7:1502\", \"192.0.2.10-40\" or \"192.0.2.0/24\""),
            )
        })?;
        hosts.extend(found);
        if hosts.len() > MOST_HOSTS {
            return Err(wrong("address", format!("more than {MOST_HOSTS} hosts: name fewer")));
        }
    }
    if hosts.is_empty() {
        return Err(wrong("address", "write which hosts: \"192.0.2.7\" or \"192.0.2.0/24\""));
    }
    Ok(hosts)
}

/// One host, the hosts of a network without its own address and its broadcast, or a range of the last number.
fn range(item: &str) -> Option<Vec<(String, u16)>> {
    let (bare, port) = match item.split_once(':') {
        Some((bare, port)) if !port.contains(':') => (bare, port.parse().ok().filter(|port| *port != 0)?),
        _ => (item, DEFAULT_PORT),
    };
    let each = |from: u32, to: u32| (from..=to).map(|at| (Ipv4Addr::from(at).to_string(), port)).collect::<Vec<_>>();
    if let Some((address, bits)) = bare.split_once('/') {
        let (address, bits) =
            (u32::from(address.parse::<Ipv4Addr>().ok()?), bits.parse::<u32>().ok().filter(|bits| (16..=32).contains(bits))?);
        let size = u32::MAX.checked_shr(bits).unwrap_or(0);
        let first = address & !size;
        return Some(if size < 2 { each(first, first + size) } else { each(first + 1, first + size - 1) });
    }
    if let Some((from, last)) = bare.split_once('-')
        && let Ok(from) = from.parse::<Ipv4Addr>()
    {
        let to = from.octets();
        let to = Ipv4Addr::new(to[0], to[1], to[2], last.parse().ok()?);
        return (from <= to).then(|| each(from.into(), to.into()));
    }
    Some(vec![host_and_port(item)?])
}

fn units(text: &str, on_line: bool) -> Result<Vec<u8>, ScanError> {
    let known = if on_line { 1..=LAST_UNIT } else { 0..=u8::MAX };
    let mut units = Vec::new();
    for item in text.split(',').map(str::trim) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let number = |text: &str| text.trim().parse::<u8>().ok().filter(|unit| known.contains(unit));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(wrong(
                "units",
                format!("'{item}' is no unit or range: write \"1-32\" or \"1,5,17\", from {} to {}", known.start(), known.end()),
            ));
        };
        for unit in first..=last {
            if !units.contains(&unit) {
                units.push(unit);
            }
        }
    }
    if units.is_empty() { Err(wrong("units", "names none")) } else { Ok(units) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hosts_of(address: &str) -> Vec<String> {
        match Search::read(&json!({ "address": address })).expect("makes sense").ground {
            Ground::Hosts(hosts, _) => hosts.into_iter().map(|(host, port)| format!("{host}:{port}")).collect(),
            Ground::Line(_) => Vec::new(),
        }
    }

    #[test]
    fn hosts_are_names_ranges_and_networks() {
        assert_eq!(hosts_of("192.0.2.7"), ["192.0.2.7:502"]);
        assert_eq!(hosts_of("plc-3.example:1502, [2001:db8::7]:503"), ["plc-3.example:1502", "2001:db8::7:503"]);
        assert_eq!(hosts_of("192.0.2.9-11:1502"), ["192.0.2.9:1502", "192.0.2.10:1502", "192.0.2.11:1502"]);
        assert_eq!(hosts_of("192.0.2.77/30"), ["192.0.2.77:502", "192.0.2.78:502"]);
        assert_eq!(hosts_of("192.0.2.4/31"), ["192.0.2.4:502", "192.0.2.5:502"]);
        let whole = hosts_of("192.0.2.0/24");
        assert_eq!((whole.len(), &*whole[0], &*whole[253]), (254, "192.0.2.1:502", "192.0.2.254:502"));
    }

    #[test]
    fn what_makes_no_sense_is_named_with_what_to_write() {
        for (options, option) in [
            (json!({}), "address"),
            (json!({ "address": "a b" }), "address"),
            (json!({ "address": "192.0.2.0/8" }), "address"),
            (json!({ "address": "192.0.2.0/16" }), "address"),
            (json!({ "address": "192.0.2.9-3" }), "address"),
            (json!({ "address": "192.0.2.1", "baud": 9600 }), "baud"),
            (json!({ "address": "192.0.2.1", "units": "0-256" }), "units"),
            (json!({ "address": "192.0.2.1", "timeout": "0s" }), "timeout"),
            (json!({ "address": "192.0.2.1-254", "units": "" }), "units"),
            (json!({ "address": "192.0.2.0/22", "units": "0-255" }), "units"),
            (json!({ "transport": "rtu" }), "port"),
            (json!({ "transport": "rtu", "port": "COM1" }), "port"),
            (json!({ "transport": "rtu", "port": "/dev/ttyS0", "units": "0" }), "units"),
            (json!({ "transport": "rtu", "port": "/dev/ttyS0", "baud": 1 }), "baud"),
            (json!({ "transport": "rtu", "port": "/dev/ttyS0", "address": "192.0.2.1" }), "address"),
            (json!({ "transport": "ascii" }), "given"),
        ] {
            match Search::read(&options) {
                Err(ScanError::Option { option: named, .. }) => assert_eq!(named, option, "{options}"),
                other => panic!("{options}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_line_is_tried_at_every_speed_and_the_rare_parity_last() {
        let search = Search::read(&json!({ "transport": "rtu", "port": "/dev/ttyS0" })).expect("makes sense");
        let Ground::Line(lines) = &search.ground else { panic!("{search:?}") };
        assert_eq!((lines.len(), search.units.len(), search.steps()), (24, 247, 5928));
        assert_eq!((lines[0].baud, lines[0].parity, lines[1].parity), (9600, Parity::None, Parity::Even));
        assert!(lines[16..].iter().all(|line| line.parity == Parity::Odd));
    }
}
