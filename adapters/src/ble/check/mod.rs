//! From what the section says to what the adapter runs on. Opens nothing: keys are read when the adapter connects.

mod point;

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
    profile::LeafProfile,
};

use super::{
    Ble,
    advert::Address,
    config::{RawAddressType, RawRadio, RawScan, RawSensor},
    decode::Map,
    gatt::{AddressType, Characteristic, Gatt},
};

const DEFAULT_RADIO: &str = "hci0";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// See [`RawSensor::read_interval`].
const DEFAULT_READ: Duration = Duration::from_secs(60);
const SHORTEST_READ: Duration = Duration::from_secs(1);
/// See [`RawRadio::connections`].
const DEFAULT_CONNECTIONS: usize = 3;
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// A checked section.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) radio: String,
    pub(super) bus: Option<String>,
    pub(super) passive: bool,
    pub(super) connections: usize,
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
    pub(super) points: Vec<Point>,
    /// How it is connected to; `None` for one that only advertises.
    pub(super) gatt: Option<Gatt>,
}

/// A point, and where its value comes from.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) name: PointName,
    pub(super) source: Source,
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A field of a known format.
    Field(String),
    /// Bytes of an advertisement.
    Bytes(Map),
    /// Bytes of a characteristic.
    Characteristic(Characteristic),
}

impl Source {
    /// By which its newest value is kept; no field of a format has a name like those of the others.
    pub(super) fn key(&self, point: &PointName) -> String {
        match self {
            Source::Field(field) => field.clone(),
            Source::Bytes(_) => format!("bytes:{point}"),
            Source::Characteristic(_) => Self::gatt_key(point),
        }
    }

    pub(super) fn gatt_key(point: &PointName) -> String {
        format!("gatt:{point}")
    }
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
    if radio.starts_with('/') {
        only_of_bluez(&raw, problems);
    }
    let connections = raw.connections.map_or(DEFAULT_CONNECTIONS, usize::from);
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
        if raw.scan == Some(RawScan::Passive) && sensor.gatt.as_ref().is_some_and(|gatt| gatt.kind.is_none()) && !sensor.advertises() {
            problems.key("address_type").warning(
                "a passive scan does not hear it, and bluetoothd calls nobody that it has not heard",
                "write \"public\" or \"random\", or scan = \"active\"",
            );
        }
        if let Some(other) = addresses.insert(sensor.address, &device.id) {
            problems.key("address").error(format!("is also that of '{other}'"), "put all points of a sensor under one device");
        }
        checked.push((profile, Arc::new(sensor)));
    }
    drop(list);
    slots(&checked, connections, problems);
    let errors = problems.list().iter().filter(|problem| problem.severity == tidegate_core::problem::Severity::Error).count();
    if errors > before {
        return None;
    }
    let (leaves, sensors): (_, Vec<Arc<Sensor>>) = checked.into_iter().unzip();
    let pace = sensors.iter().map(|sensor| Some(60.0 / sensor.pace().as_secs_f64())).collect();
    let passive = raw.scan == Some(RawScan::Passive);
    let checked = Arc::new(Checked { radio: radio.clone(), bus: raw.bus, passive, connections, sensors });
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

/// A socket only hears.
fn only_of_bluez(raw: &RawRadio, problems: &mut Problems) {
    let mut refuse = |key: &str, given: bool| {
        if given {
            problems
                .key(key)
                .error("has no meaning for a socket, which only hears", "leave it out, or name a Bluetooth adapter: radio = \"hci0\"");
        }
    };
    refuse("scan", raw.scan.is_some());
    refuse("connections", raw.connections.is_some());
    refuse("device", raw.device.iter().any(|device| device.point.iter().any(|point| point.characteristic.is_some())));
}

/// Devices that stay connected must leave room for those that come and go.
fn slots(checked: &[(LeafProfile, Arc<Sensor>)], connections: usize, problems: &mut Problems) {
    let gatt = || checked.iter().filter_map(|(_, sensor)| sensor.gatt.as_ref());
    let (held, others) = (gatt().filter(|gatt| gatt.hold).count(), gatt().any(|gatt| !gatt.hold));
    if held + usize::from(others) > connections {
        let rest = if others { ", and others need one to take turns on" } else { "" };
        problems.key("connections").error(
            format!("{connections} are too few: {held} devices stay connected (hold or notify){rest}"),
            format!("write at least {}, if the radio manages them, or hold fewer", held + usize::from(others)),
        );
    }
}

impl Sensor {
    /// Whether it says anything without being connected to.
    pub(super) fn advertises(&self) -> bool {
        self.gatt.is_none() || self.points.iter().any(|point| !matches!(point.source, Source::Characteristic(_)))
    }

    /// The time between two of its messages, at least.
    fn pace(&self) -> Duration {
        match &self.gatt {
            Some(gatt) if !self.advertises() && !gatt.hold => gatt.every.max(self.interval),
            _ => self.interval,
        }
    }
}

fn gatt(raw: &RawSensor, problems: &mut Problems) -> Option<Gatt> {
    let connects = raw.point.iter().any(|point| point.characteristic.is_some());
    let given = [
        ("read_interval", raw.read_interval.is_some()),
        ("hold", raw.hold.is_some()),
        ("address_type", raw.address_type.is_some()),
        ("bond", raw.bond.is_some()),
        ("passkey_file", raw.passkey_file.is_some()),
    ];
    if !connects {
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            problems.key(key).error("has no effect: no point of it has a characteristic", "leave it out");
        }
        return None;
    }
    let every = raw.read_interval.map_or(DEFAULT_READ, |span| span.0);
    if every < SHORTEST_READ || every > LONGEST_INTERVAL {
        problems.key("read_interval").error("is out of range", "write a time from \"1s\" to \"1d\"");
    }
    let notifies = raw.point.iter().any(|point| point.notify == Some(true));
    if raw.hold == Some(false) && notifies {
        problems.key("hold").error("a device that notifies has to stay connected", "leave it out, or `notify` at its points");
    }
    let bond = raw.bond == Some(true);
    if raw.passkey_file.is_some() && !bond {
        problems.key("passkey_file").error("has no effect without bond = true", "add bond = true, or leave it out");
    }
    let passkey_file = absolute("passkey_file", raw.passkey_file.as_ref(), "/etc/tidegate/secrets/lock", problems);
    let kind = raw.address_type.map(AddressType::from);
    Some(Gatt { kind, every, hold: raw.hold == Some(true) || notifies, bond, passkey_file })
}

impl From<RawAddressType> for AddressType {
    fn from(kind: RawAddressType) -> Self {
        match kind {
            RawAddressType::Public => AddressType::Public,
            RawAddressType::Random => AddressType::Random,
        }
    }
}

fn absolute(key: &str, given: Option<&String>, example: &str, problems: &mut Problems) -> Option<PathBuf> {
    let path = given.map(PathBuf::from);
    if path.as_ref().is_some_and(|path| !path.is_absolute()) {
        problems.key(key).error("is not a path from the root", format!("write the path of a file that holds it: \"{example}\""));
    }
    path
}

fn sensor(raw: &RawSensor, problems: &mut Problems) -> Option<(LeafProfile, Sensor)> {
    let address = raw.address.parse::<Address>();
    if address.is_err() {
        problems.key("address").error("is not a Bluetooth address", "write \"A4:C1:38:8D:18:B2\"");
    }
    let key_file = absolute("key_file", raw.key_file.as_ref(), "/etc/tidegate/secrets/fridge", problems);
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
    let gatt = gatt(raw, problems);
    let (profiles, points) = point::points(raw, problems).into_iter().unzip();
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
    Some((profile, Sensor { id, address: address.ok()?, key_file, interval, silent_after, points, gatt }))
}
