//! From what the section says to what the adapter runs on. Opens nothing: keys are read when the adapter connects.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value as Json;
use tidegate_core::{
    catalogue::AdapterPlan,
    id::{LeafId, PointName},
    message::Properties,
    problem::Problems,
    profile::{LeafProfile, PointProfile},
};

use super::{
    Ble,
    advert::Address,
    config::{RawRadio, RawSensor},
    decode::unit_of,
};

const DEFAULT_RADIO: &str = "hci0";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// A checked section.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) radio: String,
    pub(super) bus: Option<String>,
    pub(super) sensors: Vec<Arc<Sensor>>,
}

/// A checked sensor.
#[derive(Debug)]
pub(super) struct Sensor {
    pub(super) id: LeafId,
    pub(super) address: Address,
    pub(super) key_file: Option<PathBuf>,
    pub(super) interval: Duration,
    pub(super) silent_after: Option<Duration>,
    /// Which field each point takes.
    pub(super) points: Vec<(PointName, String)>,
}

pub(super) fn check(section: &Json, problems: &mut Problems) -> Option<AdapterPlan> {
    let before = problems.list().iter().filter(|problem| problem.severity == tidegate_core::problem::Severity::Error).count();
    let raw: RawRadio = match serde_json::from_value(section.clone()) {
        Ok(raw) => raw,
        Err(error) => {
            problems.error(error.to_string(), "compare with `tidegate adapters ble`");
            return None;
        }
    };
    let radio = raw.radio.clone().unwrap_or_else(|| DEFAULT_RADIO.to_owned());
    if !is_radio(&radio) {
        problems
            .key("radio")
            .error("is neither a Bluetooth adapter nor a path", "write \"hci0\" (see `bluetoothctl list`) or the path of a socket");
    }
    if raw.bus.is_some() && radio.starts_with('/') {
        problems.key("bus").error("has no meaning for a socket", "leave it out");
    }
    if raw.bus.as_ref().is_some_and(|bus| !is_bus(bus)) {
        problems
            .key("bus")
            .error("is not the address of a Unix socket", "write \"unix:path=/run/dbus/system_bus_socket\", or leave it out");
    }
    if raw.device.is_empty() {
        problems.key("device").warning("no device: nothing will be heard", "add an [[adapter.device]] with the sensor's address");
    }
    let (mut ids, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    let mut checked = Vec::new();
    let mut list = problems.key("device");
    for (at, device) in raw.device.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&device.id));
        if ids.insert(&device.id, at).is_some() {
            problems.key("id").error("is taken by another device of this adapter", "give each device an id of its own");
        }
        let Some((profile, sensor)) = sensor(device, problems) else { continue };
        if let Some(other) = addresses.insert(sensor.address, &device.id) {
            problems.key("address").error(format!("is also that of '{other}'"), "put all points of a sensor under one device");
        }
        checked.push((profile, Arc::new(sensor)));
    }
    drop(list);
    let errors = problems.list().iter().filter(|problem| problem.severity == tidegate_core::problem::Severity::Error).count();
    if errors > before {
        return None;
    }
    let (leaves, sensors): (_, Vec<Arc<Sensor>>) = checked.into_iter().unzip();
    let pace = sensors.iter().map(|sensor| Some(60.0 / sensor.interval.as_secs_f64())).collect();
    let checked = Arc::new(Checked { radio: radio.clone(), bus: raw.bus, sensors });
    Some(AdapterPlan { leaves, exclusive: vec![radio], pace, build: Arc::new(move |clock| Box::new(Ble::new(checked.clone(), clock))) })
}

/// One Unix socket. Other transports of D-Bus reach other machines, and one of them (`unixexec:`) runs a program.
pub(super) fn is_bus(text: &str) -> bool {
    let socket = ["unix:path=/", "unix:abstract="].iter().any(|start| text.starts_with(start));
    socket && text.len() <= 256 && !text.contains([';', '\0'])
}

/// `hci0`, or a path from the root.
pub(super) fn is_radio(text: &str) -> bool {
    let number = text.strip_prefix("hci").is_some_and(|n| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()));
    number || Path::new(text).is_absolute()
}

fn sensor(raw: &RawSensor, problems: &mut Problems) -> Option<(LeafProfile, Sensor)> {
    let address = raw.address.parse::<Address>();
    if address.is_err() {
        problems.key("address").error("is not a Bluetooth address", "write \"A4:C1:38:8D:18:B2\"");
    }
    let key_file = raw.key_file.as_ref().map(PathBuf::from);
    if key_file.as_ref().is_some_and(|path| !path.is_absolute()) {
        problems
            .key("key_file")
            .error("is not a path from the root", "write the path of a file that holds the key: \"/etc/tidegate/secrets/fridge\"");
    }
    let interval = raw.interval.map_or(DEFAULT_INTERVAL, |span| span.0);
    if interval > LONGEST_INTERVAL {
        problems.key("interval").error("is too long", "write at most \"1d\"");
    }
    let silent_after = raw.silent_after.map(|span| span.0);
    if silent_after.is_some_and(|after| after < Duration::from_secs(1)) {
        problems.key("silent_after").error("is shorter than sensors pause", "write a time from \"1s\" up, or leave it out");
    }
    if raw.point.is_empty() {
        problems.key("point").warning("no point: nothing will be taken", "add a [[adapter.device.point]]");
    }
    let (profiles, points) = points(raw, problems).into_iter().unzip();
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
    Some((profile, Sensor { id, address: address.ok()?, key_file, interval, silent_after, points }))
}

fn points(raw: &RawSensor, problems: &mut Problems) -> Vec<(PointProfile, (PointName, String))> {
    let mut names = BTreeMap::new();
    let mut points = Vec::new();
    let mut list = problems.key("point");
    for (at, point) in raw.point.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&point.name));
        if names.insert(&point.name, at).is_some() {
            problems.key("name").error("is taken by another point of this device", "give each point a name of its own");
        }
        let name = match PointName::new(&point.name) {
            Ok(name) => name,
            Err(error) => {
                problems.key("name").error(format!("'{}' is not a point name", error.text), error.rule);
                continue;
            }
        };
        let field = point.field.clone().unwrap_or_else(|| point.name.clone());
        let mut profile = point.about.check(name.clone(), problems);
        let untouched = point.about.scale.is_none() && point.about.offset.is_none();
        if profile.unit.is_none() && untouched {
            profile.unit = unit_of(&field).map(str::to_owned);
        }
        points.push((profile, (name, field)));
    }
    points
}
