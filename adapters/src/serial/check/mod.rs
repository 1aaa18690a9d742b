//! From what the file says to what the adapter runs on: every problem at once, each at its place and with the next step.
//! Opens nothing.

mod frame;
mod message;

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
use tokio_serial::{DataBits, FlowControl, Parity, StopBits};

use super::{
    Serial,
    config::{RawDevice, RawFlow, RawLine, RawParity},
    device::{Checked, Device},
    port::{Port, Rs485},
};

const DEFAULT_BAUD: u32 = 9600;
/// See [`RawLine::timeout`].
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_SILENT_AFTER: Duration = Duration::from_secs(60);
/// See [`RawLine::max_rate`]: ten times what a fast sensor sends.
const DEFAULT_RATE: u32 = 200;
/// A line must not be held up longer than this by one question.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What the ioctl takes: 32 bits of milliseconds, and nobody needs more than a second.
const LONGEST_DIRECTION: Duration = Duration::from_secs(1);
/// Clocks can add it without a thought.
const LONGEST_INTERVAL: Duration = Duration::from_secs(7 * 86_400);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// See [`tidegate_core::catalogue::AdapterKind::check`].
pub(super) fn check(section: &Json, problems: &mut Problems) -> Option<AdapterPlan> {
    let (checked, leaves) = checked(section, problems)?;
    let exclusive = vec![checked.port.path.clone()];
    let pace = checked.devices.iter().map(|device| device.pace()).collect();
    Some(AdapterPlan { leaves, exclusive, pace, build: Arc::new(move |clock| Box::new(Serial::new(checked.clone(), clock))) })
}

/// As the row's `check`, for who wants the adapter itself.
pub fn checked(section: &Json, problems: &mut Problems) -> Option<(Arc<Checked>, Vec<LeafProfile>)> {
    let errors = |problems: &Problems| problems.list().iter().filter(|p| p.severity == Severity::Error).count();
    let before = errors(problems);
    let raw: RawLine = match serde_json::from_value(section.clone()) {
        Ok(raw) => raw,
        Err(error) => {
            problems.error(error.to_string(), "see `tidegate adapters serial` for what it may say");
            return None;
        }
    };
    let port = port(&raw, problems);
    let spec = frame::spec(&raw.frame, &mut problems.key("frame"));
    let gap = frame::gap(&raw.frame, &mut problems.key("frame"));
    let own = raw.request_checksum.as_ref().map(|sum| frame::checksum(sum, &mut problems.key("request_checksum")));
    let request_checksum = own.unwrap_or_else(|| spec.as_ref().and_then(|spec| spec.checksum));
    let pause = wait("pause_between_requests", raw.pause_between_requests, Duration::ZERO, problems);
    let devices = devices(&raw, request_checksum.is_some(), problems);
    // A full list may have swallowed an error of ours.
    let clean = errors(problems) == before && problems.list().len() < MAX_PROBLEMS;
    let (port, spec) = (port?, spec.filter(|_| clean)?);
    let (leaves, devices): (Vec<_>, Vec<_>) = devices.into_iter().map(|(profile, device)| (profile, Arc::new(device))).unzip();
    let (retries, max_rate) = (raw.retries.unwrap_or(1), raw.max_rate.unwrap_or(DEFAULT_RATE));
    Some((Arc::new(Checked { port, spec, gap, request_checksum, retries, pause, max_rate, devices }), leaves))
}

fn port(raw: &RawLine, problems: &mut Problems) -> Option<Port> {
    let data_bits = match raw.data_bits {
        Some(5) => DataBits::Five,
        Some(6) => DataBits::Six,
        Some(7) => DataBits::Seven,
        _ => DataBits::Eight,
    };
    let parity = match raw.parity.unwrap_or(RawParity::None) {
        RawParity::None => Parity::None,
        RawParity::Even => Parity::Even,
        RawParity::Odd => Parity::Odd,
    };
    let flow = match raw.flow.unwrap_or(RawFlow::None) {
        RawFlow::None => FlowControl::None,
        RawFlow::Hardware => FlowControl::Hardware,
        RawFlow::Software => FlowControl::Software,
    };
    if raw.rs485.is_some() && flow == FlowControl::Hardware {
        problems.key("flow").error("RTS cannot stop the other end and switch the direction at once", "leave flow out, or rs485");
    }
    let direction = |key: &str, given: Option<Span>, problems: &mut Problems| {
        let delay = given.map_or(Duration::ZERO, |span| span.0);
        if delay > LONGEST_DIRECTION {
            problems.key("rs485").key(key).error("is too long", "write at most \"1s\"");
        }
        delay
    };
    let rs485 = raw.rs485.map(|rs485| Rs485 {
        delay_before: direction("delay_before", rs485.delay_before, problems),
        delay_after: direction("delay_after", rs485.delay_after, problems),
        invert: rs485.invert == Some(true),
        full_duplex: rs485.full_duplex == Some(true),
    });
    if !raw.port.starts_with('/') {
        problems.key("port").error(
            "is not the path of a serial port",
            "write port = \"/dev/serial/by-id/…\" (`tidegate adapters scan serial` lists what is there)",
        );
        return None;
    }
    let stop_bits = if raw.stop_bits == Some(2) { StopBits::Two } else { StopBits::One };
    Some(Port { path: raw.port.clone(), baud: raw.baud.unwrap_or(DEFAULT_BAUD), parity, data_bits, stop_bits, flow, rs485 })
}

fn devices(raw: &RawLine, has_checksum: bool, problems: &mut Problems) -> Vec<(LeafProfile, Device)> {
    if raw.device.is_empty() {
        problems.key("device").warning("no device: nothing will be read", "add a [[adapter.device]] with its messages");
    }
    let mut ids = BTreeMap::new();
    let mut checked = Vec::new();
    let mut list = problems.key("device");
    for (at, device) in raw.device.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&device.id));
        if ids.insert(&device.id, at).is_some() {
            problems.key("id").error("is taken by another device of this adapter", "give each device an id of its own");
        }
        checked.extend(self::device(raw, device, has_checksum, problems));
    }
    checked
}

fn device(line: &RawLine, raw: &RawDevice, has_checksum: bool, problems: &mut Problems) -> Option<(LeafProfile, Device)> {
    let timeout = wait("timeout", raw.timeout.or(line.timeout), DEFAULT_TIMEOUT, problems);
    if timeout.is_zero() {
        problems.key("timeout").error("leaves no time to answer", "write a time such as \"1s\"");
    }
    let silent_after = raw.silent_after.map_or(DEFAULT_SILENT_AFTER, |span| span.0);
    if silent_after > LONGEST_INTERVAL {
        problems.key("silent_after").error("cannot be kept", "write at most \"7d\", or \"0s\" for never");
    }
    let address = raw.address.clone().unwrap_or_default();
    if !address.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        problems.key("address").error("is not printable ASCII", "write it as it stands in requests, such as \"01\"");
    }
    let context = message::Context { device: raw, address: &address, has_checksum };
    let (messages, profiles): (Vec<_>, Vec<Vec<PointProfile>>) = message::messages(&context, problems).into_iter().unzip();
    let mut properties = Properties::default();
    for (name, value) in &raw.properties {
        if let Err(error) = properties.insert(name, value) {
            problems.key("properties").key(name).error(error.to_string(), "change the name or the value");
        }
    }
    let id =
        LeafId::new(&raw.id).map_err(|error| problems.key("id").error(format!("'{}' is not a leaf id", error.text), error.rule)).ok()?;
    let profile = LeafProfile {
        id: id.clone(),
        points: profiles.into_iter().flatten().collect(),
        class: raw.class.unwrap_or_default(),
        ttl: raw.ttl.map(|ttl| ttl.0),
        properties,
    };
    Some((profile, Device { id, address, timeout, silent_after, raw: raw.raw == Some(true), messages }))
}

fn wait(key: &str, given: Option<Span>, default: Duration, problems: &mut Problems) -> Duration {
    let wait = given.map_or(default, |span| span.0);
    if wait > LONGEST_WAIT {
        problems.key(key).error(format!("{} is too long: it would hold up the whole line", Span(wait)), "write at most \"60s\"");
    }
    wait.min(LONGEST_WAIT)
}

fn interval(given: Option<Span>, problems: &mut Problems) -> Duration {
    let interval = given.map_or(DEFAULT_INTERVAL, |span| span.0);
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        problems.key("interval").error(format!("{} cannot be kept", Span(interval)), "write a time from \"10ms\" to \"7d\"");
    }
    interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}
