//! From what the file says to what the adapter runs on: every problem at once, each at its place and with the next step.
//! Opens nothing.

mod point;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value as Json;
use tidegate_core::{
    catalogue::AdapterPlan,
    id::LeafId,
    message::Properties,
    problem::{MAX_PROBLEMS, Problems, Severity},
    profile::{LeafProfile, PointProfile},
    quantity::Span,
};
use tokio_serial::{DataBits, Parity, StopBits};

use super::{
    Modbus,
    config::{RawBus, RawDevice, RawFunctions, RawParity, RawTransport},
    link::{Asked, bytes_on_line},
    plan::Limits,
    transport::{Bus, Framing, Line, Transport},
    unit::{Device, Functions, Point},
};

/// Modbus TCP's port (IANA).
pub(super) const DEFAULT_PORT: u16 = 502;
/// See [`RawBus::timeout`].
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Slow enough for every device, quick enough to see something.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// Below this a bus does nothing but answer us.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// Longer than this nobody waits for a value, and clocks can add it without a thought.
const LONGEST_INTERVAL: Duration = Duration::from_secs(7 * 86_400);
/// A bus must not be held up longer than this by one question.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What a device takes to begin its answer, for the estimate of how busy a line will be.
const TYPICAL_DELAY: Duration = Duration::from_millis(5);

/// A checked section: what [`Modbus`] is made of.
#[derive(Debug)]
pub struct Checked {
    /// The bus.
    pub(super) bus: Arc<Bus>,
    /// Close the connection after each poll.
    pub(super) close_after_poll: bool,
    /// The units.
    pub(super) devices: Vec<Arc<Device>>,
}

/// See [`tidegate_core::catalogue::AdapterKind::check`].
pub(super) fn check(section: &Json, problems: &mut Problems) -> Option<AdapterPlan> {
    let errors = |problems: &Problems| problems.list().iter().filter(|p| p.severity == Severity::Error).count();
    let before = errors(problems);
    let raw: RawBus = match serde_json::from_value(section.clone()) {
        Ok(raw) => raw,
        Err(error) => {
            problems.error(error.to_string(), "see `tidegate adapters modbus` for what it may say");
            return None;
        }
    };
    let bus = bus(&raw, problems);
    let units = devices(&raw, problems);
    // A full list may have swallowed an error of ours.
    let clean = errors(problems) == before && problems.list().len() < MAX_PROBLEMS;
    let bus = bus.filter(|_| clean)?;
    let (profiles, devices): (Vec<_>, Vec<_>) = units.into_iter().map(|(profile, device)| (profile, Arc::new(device))).unzip();
    warn_if_line_is_too_slow(&bus, &devices, problems);
    let exclusive = match &bus.transport {
        Transport::Serial(line) => vec![line.port.clone()],
        _ => Vec::new(),
    };
    let checked = Arc::new(Checked { bus: Arc::new(bus), close_after_poll: raw.close_after_poll.unwrap_or(false), devices });
    // Points of one interval are one message.
    let pace = checked.devices.iter().map(|device| Some(device.intervals().iter().map(|interval| 60.0 / interval.as_secs_f64()).sum()));
    let pace = pace.collect();
    Some(AdapterPlan { leaves: profiles, exclusive, pace, build: Arc::new(move |clock| Box::new(Modbus::new(checked.clone(), clock))) })
}

fn bus(raw: &RawBus, problems: &mut Problems) -> Option<Bus> {
    let connect_timeout = wait("connect_timeout", raw.connect_timeout, DEFAULT_CONNECT_TIMEOUT, problems);
    if connect_timeout.is_zero() {
        problems.key("connect_timeout").error("leaves no time to connect", "write a time such as \"5s\"");
    }
    let pause_after_connect = wait("pause_after_connect", raw.pause_after_connect, Duration::ZERO, problems);
    if raw.device.is_empty() {
        problems.key("device").warning("no device: nothing will be read", "add a [[adapter.device]] with its points");
    }
    let transport = transport(raw, problems)?;
    Some(Bus { transport, connect_timeout, pause_after_connect })
}

fn transport(raw: &RawBus, problems: &mut Problems) -> Option<Transport> {
    let framing = match raw.transport {
        RawTransport::Tcp => Framing::Mbap,
        RawTransport::RtuOverTcp => Framing::Rtu,
        RawTransport::Rtu => return line(raw, problems).map(Transport::Serial),
    };
    let only_rtu = [
        ("port", raw.port.is_some()),
        ("baud", raw.baud.is_some()),
        ("parity", raw.parity.is_some()),
        ("data_bits", raw.data_bits.is_some()),
        ("stop_bits", raw.stop_bits.is_some()),
    ];
    for (key, _) in only_rtu.iter().filter(|(_, given)| *given) {
        problems.key(key).error("is for a serial line", "leave it out, or write transport = \"rtu\"");
    }
    let mut problems = problems.key("address");
    let Some(address) = &raw.address else {
        problems.error("is missing", "write the device's host name or address: address = \"192.0.2.7:502\"");
        return None;
    };
    let parsed = host_and_port(address);
    if parsed.is_none() {
        problems.error("is not a host and port", "write \"192.0.2.7:502\", \"[2001:db8::7]:502\" or \"plc.example:502\"");
    }
    parsed.map(|(host, port)| Transport::Tcp { host, port, framing })
}

fn line(raw: &RawBus, problems: &mut Problems) -> Option<Line> {
    for (key, given) in [("address", raw.address.is_some()), ("close_after_poll", raw.close_after_poll.is_some())] {
        if given {
            problems.key(key).error("has no meaning on a serial line", "leave it out, or write transport = \"tcp\"");
        }
    }
    let data_bits = if raw.data_bits == Some(7) { DataBits::Seven } else { DataBits::Eight };
    if data_bits == DataBits::Seven {
        problems.key("data_bits").error("RTU frames need 8 bits", "write 8, or leave it out");
    }
    let stop_bits = if raw.stop_bits == Some(2) { StopBits::Two } else { StopBits::One };
    let parity = match raw.parity.unwrap_or(RawParity::None) {
        RawParity::None => Parity::None,
        RawParity::Even => Parity::Even,
        RawParity::Odd => Parity::Odd,
    };
    let Some(port) = raw.port.clone().filter(|port| port.starts_with('/')) else {
        problems.key("port").error("is not the path of a serial port", "write port = \"/dev/serial/by-id/…\" (see what is in that folder)");
        return None;
    };
    Some(Line { port, baud: raw.baud.unwrap_or(9600), parity, data_bits, stop_bits })
}

/// `host`, `host:port`, `[v6]:port` or a bare v6 address.
pub(super) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None if text.matches(':').count() == 1 => text.split_once(':').map(|(host, port)| (host, Some(port)))?,
        None => (text, None),
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => DEFAULT_PORT,
    };
    let fine = (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:%".contains(&b));
    fine.then(|| (host.to_owned(), port))
}

fn devices(raw: &RawBus, problems: &mut Problems) -> Vec<(LeafProfile, Device)> {
    let (mut ids, mut units) = (BTreeMap::new(), BTreeMap::new());
    let mut checked = Vec::new();
    let mut list = problems.key("device");
    for (at, device) in raw.device.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&device.id));
        if ids.insert(&device.id, at).is_some() {
            problems.key("id").error("is taken by another device of this adapter", "give each device an id of its own");
        }
        if let Some(other) = units.insert(device.unit, &device.id) {
            problems.key("unit").warning(
                format!("{} is also the unit of '{other}'", device.unit),
                "put all points of a unit under one device, or correct the number",
            );
        }
        checked.extend(self::device(raw, device, problems));
    }
    checked
}

fn device(bus: &RawBus, raw: &RawDevice, problems: &mut Problems) -> Option<(LeafProfile, Device)> {
    if raw.unit > 247 && !(raw.unit == 255 && bus.transport == RawTransport::Tcp) {
        problems.key("unit").error("is not a unit number", "write 1 to 247 (255 only on tcp)");
    } else if raw.unit == 0 && bus.transport != RawTransport::Tcp {
        problems.key("unit").error("0 calls all units at once, and none answers", "write the unit's own number, 1 to 247");
    }
    let interval = interval(raw.interval, DEFAULT_INTERVAL, problems);
    let own = |own: Option<Span>, of_bus: Option<Span>| own.or(of_bus);
    let timeout = wait("timeout", own(raw.timeout, bus.timeout), DEFAULT_TIMEOUT, problems);
    if timeout.is_zero() {
        problems.key("timeout").error("leaves no time to answer", "write a time such as \"500ms\"");
    }
    let pause = wait("pause_between_requests", own(raw.pause_between_requests, bus.pause_between_requests), Duration::ZERO, problems);
    let write_settle = wait("write_settle", raw.write_settle, Duration::ZERO, problems);
    let limits = Limits { registers: raw.max_registers.unwrap_or(125), bits: raw.max_bits.unwrap_or(2000), gap: raw.max_gap.unwrap_or(8) };
    if raw.point.is_empty() {
        problems.key("point").warning("no point: nothing will be read", "add a [[adapter.device.point]]");
    }
    let (profiles, points): (Vec<PointProfile>, Vec<Point>) = point::points(raw, interval, &limits, problems).into_iter().unzip();
    let mut properties = Properties::default();
    for (name, value) in &raw.properties {
        if let Err(error) = properties.insert(name, value) {
            problems.key("properties").key(name).error(error.to_string(), "change the name or the value");
        }
    }
    let id =
        LeafId::new(&raw.id).map_err(|error| problems.key("id").error(format!("'{}' is not a leaf id", error.text), error.rule)).ok()?;
    let profile =
        LeafProfile { id: id.clone(), points: profiles, class: raw.class.unwrap_or_default(), ttl: raw.ttl.map(|ttl| ttl.0), properties };
    let asked = Asked { unit: raw.unit, timeout, pause };
    let retries = raw.retries.or(bus.retries).unwrap_or(1);
    let functions = functions(raw);
    Some((profile, Device { id, asked, retries, limits, functions, masks: raw.mask_write == Some(true), write_settle, points }))
}

fn functions(raw: &RawDevice) -> Functions {
    match raw.write_functions.unwrap_or(RawFunctions::Either) {
        RawFunctions::Either => Functions::Either,
        RawFunctions::Single => Functions::Single,
        RawFunctions::Multiple => Functions::Multiple,
    }
}

fn wait(key: &str, given: Option<Span>, default: Duration, problems: &mut Problems) -> Duration {
    let wait = given.map_or(default, |span| span.0);
    if wait > LONGEST_WAIT {
        problems.key(key).error(format!("{} is too long: it would hold up the whole bus", Span(wait)), "write at most \"60s\"");
    }
    wait.min(LONGEST_WAIT)
}

fn interval(given: Option<Span>, default: Duration, problems: &mut Problems) -> Duration {
    let interval = given.map_or(default, |span| span.0);
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        problems.key("interval").error(format!("{} cannot be kept", Span(interval)), "write a time from \"10ms\" to \"7d\"");
    }
    interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

fn warn_if_line_is_too_slow(bus: &Bus, devices: &[Arc<Device>], problems: &mut Problems) {
    let Transport::Serial(line) = &bus.transport else { return };
    let mut busy = 0.0;
    for device in devices {
        for (requests, interval) in device.polls().iter().zip(device.intervals()) {
            let pause = device.asked.pause.max(line.silence());
            let time: Duration = requests.iter().map(|request| line.time_for(bytes_on_line(request.spot)) + pause + TYPICAL_DELAY).sum();
            busy += time.as_secs_f64() / interval.as_secs_f64();
        }
    }
    if busy > 1.0 {
        problems.key("baud").warning(
            format!("at {} baud the polls take {:.0} % of the line's time, so slots will be skipped", line.baud, busy * 100.0),
            "make intervals longer, or the line faster",
        );
    }
}

#[cfg(test)]
mod tests;
