//! Devices that can be connected to, as bluetoothd shows them: their state, their characteristics, their moods.

use std::collections::HashMap;

use dbus::{
    Message,
    arg::{PropMap, RefArg, Variant},
    blocking::Connection,
    channel::Sender,
};

use crate::stand_in::{HCI, boxed, changed};

const DEVICE: &str = "org.bluez.Device1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
const SERVICE: &str = "org.bluez.GattService1";
const BASE: &str = "-0000-1000-8000-00805f9b34fb";

#[derive(Debug, Clone, Default)]
pub(crate) struct Characteristic {
    /// 16-bit numbers of service and characteristic.
    pub(crate) service: u16,
    pub(crate) uuid: u16,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) value: Vec<u8>,
    /// Reads and writes are refused until it is paired.
    pub(crate) secret: bool,
    /// A write is acknowledged and changes nothing.
    pub(crate) stubborn: bool,
    /// The connection ends instead of an acknowledgement.
    pub(crate) drops: bool,
    /// The device answers a read with an error of its own.
    pub(crate) refuses: bool,
    pub(crate) notifying: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Device {
    /// bluetoothd has no object for it until it is heard or called.
    pub(crate) unknown: bool,
    /// So many attempts fail first.
    pub(crate) fails: u32,
    pub(crate) connected: bool,
    pub(crate) paired: bool,
    /// What pairing asks for.
    pub(crate) passkey: Option<u32>,
    pub(crate) characteristics: Vec<Characteristic>,
}

/// All of them by address, and who answers for pairings.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) devices: HashMap<&'static str, Device>,
    /// Whether there are advertisement monitors, and whether the radio has room for one.
    pub(crate) monitors: Option<bool>,
    /// Whether the radio is on, and how often it says that somebody else is switching it.
    pub(crate) powered: bool,
    pub(crate) switching: u32,
    /// A scan is said to be on its way until the radio is switched off.
    pub(crate) stuck: bool,
    /// The most connected at once so far.
    pub(crate) most: usize,
    agent: Option<(String, String)>,
    /// Calls of ours that wait for a reply: a pairing (the call and the device), or a monitor (its owner).
    waiting: HashMap<u32, Waiting>,
}

#[derive(Debug)]
enum Waiting {
    Passkey(Message, String),
    Monitor(Message),
}

pub(crate) fn path(address: &str) -> String {
    format!("{HCI}/dev_{}", address.replace(':', "_"))
}

fn full(uuid: u16) -> String {
    format!("0000{uuid:04x}{BASE}")
}

fn place(address: &str, of: &Characteristic) -> (String, String) {
    let service = format!("{}/service{:04x}", path(address), of.service);
    let characteristic = format!("{service}/char{:04x}", of.uuid);
    (service, characteristic)
}

fn error(message: &Message, name: &str, text: &str) -> Message {
    let text = std::ffi::CString::new(text).expect("text");
    message.error(&format!("org.bluez.Error.{name}").into(), &text)
}

impl World {
    pub(crate) fn of(devices: impl IntoIterator<Item = (&'static str, Device)>) -> Self {
        Self { devices: devices.into_iter().collect(), ..Self::default() }
    }

    /// With advertisement monitors; `room` for one of ours.
    pub(crate) fn with_monitors(room: bool) -> Self {
        Self { monitors: Some(room), ..Self::default() }
    }

    /// The reply to a call that is about a device; `Some(None)` when it comes later, `None` when it is about something else.
    pub(crate) fn answer(&mut self, message: &Message, connection: &Connection) -> Option<Option<Message>> {
        let (at, member) = (message.path()?.to_string(), message.member()?.to_string());
        match (at.as_str(), member.as_str()) {
            ("/", "GetManagedObjects") => return Some(Some(message.method_return().append1(self.objects()))),
            ("/org/bluez", "RegisterAgent") => {
                let (agent, _) = message.read2::<dbus::Path<'_>, String>().expect("an agent");
                self.agent = Some((message.sender()?.to_string(), agent.to_string()));
                return Some(Some(message.method_return()));
            }
            (HCI, "ConnectDevice") => {
                let how = message.read1::<PropMap>().expect("how");
                let address = how.get("Address").and_then(|address| address.0.as_str()).expect("an address").to_owned();
                let device = self.devices.iter_mut().find(|(known, _)| **known == address);
                let Some((_, device)) = device else { return Some(Some(error(message, "Failed", "nobody there"))) };
                device.unknown = false;
                return Some(Some(message.method_return().append1(dbus::Path::new(path(&address)).expect("a path"))));
            }
            (HCI, "Get") => {
                let (_, property) = message.read2::<String, String>().expect("a property");
                if property == "Powered" {
                    return Some(Some(message.method_return().append1(Variant(self.powered))));
                }
                if property == "SupportedMonitorTypes" {
                    return Some(Some(match self.monitors {
                        Some(_) => message.method_return().append1(Variant(vec!["or_patterns".to_owned()])),
                        None => message.error(&"org.freedesktop.DBus.Error.InvalidArgs".into(), c"No such interface"),
                    }));
                }
            }
            (HCI, "Set") => {
                let (_, property, value): (String, String, Variant<bool>) = message.read3().expect("a property");
                if property == "Powered" {
                    self.switching = self.switching.saturating_sub(1);
                    // Somebody else has switched it on by now, and the answer stays what it was.
                    self.powered = value.0;
                    self.stuck &= value.0;
                    if self.switching > 0 {
                        return Some(Some(error(message, "InProgress", "Operation already in progress")));
                    }
                }
            }
            (HCI, "StartDiscovery") if self.stuck => return Some(Some(error(message, "InProgress", "Operation already in progress"))),
            (HCI, "RegisterMonitor") => {
                let (application,) = (message.read1::<dbus::Path<'_>>().expect("an application"),);
                let ask =
                    Message::call_with_args(message.sender()?, application, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ());
                let serial = connection.send(ask).expect("sent");
                self.waiting.insert(serial, Waiting::Monitor(message.duplicate().expect("memory")));
                return Some(Some(message.method_return()));
            }
            _ => {}
        }
        let address = *self.devices.keys().find(|address| at.starts_with(&path(address)))?;
        Some(self.of_device(address, &at, &member, message, connection))
    }

    fn of_device(&mut self, address: &'static str, at: &str, member: &str, message: &Message, connection: &Connection) -> Option<Message> {
        let connected_now = self.devices.values().filter(|device| device.connected).count();
        let device = self.devices.get_mut(address).expect("known");
        if device.unknown {
            return Some(
                message.error(&"org.freedesktop.DBus.Error.UnknownObject".into(), c"Method called on an object that doesn't exist"),
            );
        }
        match member {
            "Get" => {
                let (_, property) = message.read2::<String, String>().expect("a property");
                let state = match property.as_str() {
                    "Paired" => device.paired,
                    _ => device.connected,
                };
                Some(message.method_return().append1(Variant(state)))
            }
            "Connect" if device.fails > 0 => {
                device.fails -= 1;
                Some(error(message, "Failed", "le-connection-abort-by-local"))
            }
            "Connect" => {
                device.connected = true;
                self.most = self.most.max(connected_now + 1);
                let properties = PropMap::from([("Connected".to_owned(), boxed(true)), ("ServicesResolved".to_owned(), boxed(true))]);
                connection.send(changed(&path(address), DEVICE, properties)).ok();
                Some(message.method_return())
            }
            "Disconnect" => {
                device.hang_up(address, connection);
                Some(message.method_return())
            }
            "Pair" if device.passkey.is_none() => {
                device.paired = true;
                Some(message.method_return())
            }
            "Pair" => {
                let Some((sender, agent)) = self.agent.clone() else { return Some(error(message, "AuthenticationFailed", "no agent")) };
                let device = dbus::Path::new(path(address)).expect("a path");
                let ask = Message::call_with_args(sender, agent, "org.bluez.Agent1", "RequestPasskey", (device,));
                let serial = connection.send(ask).expect("sent");
                let mut kept = message.duplicate().expect("memory");
                kept.set_serial(message.get_serial().expect("a serial"));
                self.waiting.insert(serial, Waiting::Passkey(kept, address.to_owned()));
                None
            }
            "CancelPairing" => Some(message.method_return()),
            _ => {
                let paired = device.paired;
                let found = device.characteristics.iter_mut().position(|one| place(address, one).1 == at).expect("a characteristic");
                if !device.connected {
                    return Some(error(message, "Failed", "Not connected"));
                }
                let one = device.characteristics.get_mut(found).expect("found");
                if one.secret && !paired {
                    return Some(error(message, "NotAuthorized", "Insufficient Authentication"));
                }
                match member {
                    "ReadValue" if one.refuses => Some(error(message, "Failed", "Operation failed with ATT error: 0x80")),
                    "ReadValue" if one.flags.contains(&"read") => Some(message.method_return().append1(one.value.clone())),
                    "WriteValue" if one.drops => {
                        device.hang_up(address, connection);
                        Some(error(message, "Failed", "Not connected"))
                    }
                    "WriteValue" => {
                        let (value, how) = message.read2::<Vec<u8>, PropMap>().expect("a value");
                        let needs = if how.get("type").and_then(|how| how.0.as_str()) == Some("request") {
                            "write"
                        } else {
                            "write-without-response"
                        };
                        if !one.flags.contains(&needs) {
                            return Some(error(message, "NotSupported", "Operation is not supported"));
                        }
                        if !one.stubborn {
                            one.value = value;
                        }
                        Some(message.method_return())
                    }
                    "StartNotify" if one.flags.contains(&"notify") => {
                        one.notifying = true;
                        Some(message.method_return())
                    }
                    _ => Some(error(message, "NotSupported", "Operation is not supported")),
                }
            }
        }
    }

    /// A reply to a call of ours.
    pub(crate) fn replied(&mut self, reply: &Message, connection: &Connection) {
        let Some(waiting) = reply.get_reply_serial().and_then(|serial| self.waiting.remove(&serial)) else { return };
        match waiting {
            Waiting::Passkey(call, address) => {
                let (_, device) = self.devices.iter_mut().find(|(known, _)| **known == address).expect("known");
                let right = reply.read1::<u32>().ok() == device.passkey;
                device.paired |= right;
                connection
                    .send(if right { call.method_return() } else { error(&call, "AuthenticationFailed", "Authentication Failed") })
                    .ok();
            }
            Waiting::Monitor(call) => {
                type Exported = HashMap<dbus::Path<'static>, HashMap<String, PropMap>>;
                let exported = reply.read1::<Exported>().expect("objects");
                let monitor = exported.keys().next().expect("a monitor").clone();
                let member = if self.monitors == Some(true) { "Activate" } else { "Release" };
                let owner = call.sender().expect("a sender").to_string();
                connection.send(Message::call_with_args(owner, monitor, "org.bluez.AdvertisementMonitor1", member, ())).ok();
            }
        }
    }

    /// The device says a new value by itself.
    pub(crate) fn notify(&mut self, address: &str, uuid: u16, value: Vec<u8>, connection: &Connection) {
        let device = self.devices.get_mut(address).expect("known");
        let one = device.characteristics.iter_mut().find(|one| one.uuid == uuid).expect("a characteristic");
        one.value.clone_from(&value);
        if device.connected && one.notifying {
            let at = place(address, one).1;
            connection.send(changed(&at, CHARACTERISTIC, PropMap::from([("Value".to_owned(), boxed(value))]))).ok();
        }
    }

    fn objects(&self) -> HashMap<dbus::Path<'static>, HashMap<String, PropMap>> {
        let at = |path: String| dbus::Path::new(path).expect("a path");
        let mut objects = HashMap::new();
        for (address, device) in self.devices.iter().filter(|(_, device)| !device.unknown) {
            objects.insert(at(path(address)), HashMap::from([(DEVICE.to_owned(), PropMap::new())]));
            for one in device.characteristics.iter().filter(|_| device.connected) {
                let (service, characteristic) = place(address, one);
                let uuid = |uuid: u16| ("UUID".to_owned(), boxed(full(uuid)));
                objects.insert(at(service.clone()), HashMap::from([(SERVICE.to_owned(), PropMap::from([uuid(one.service)]))]));
                let flags: Vec<String> = one.flags.iter().map(|flag| (*flag).to_owned()).collect();
                let mut properties = PropMap::from([uuid(one.uuid), ("Flags".to_owned(), boxed(flags))]);
                properties.insert("Service".to_owned(), Variant(Box::new(at(service)) as Box<dyn RefArg>));
                objects.insert(at(characteristic), HashMap::from([(CHARACTERISTIC.to_owned(), properties)]));
            }
        }
        objects
    }
}

impl Device {
    pub(crate) fn hang_up(&mut self, address: &str, connection: &Connection) {
        if std::mem::take(&mut self.connected) {
            self.characteristics.iter_mut().for_each(|one| one.notifying = false);
            let properties = PropMap::from([("Connected".to_owned(), boxed(false)), ("ServicesResolved".to_owned(), boxed(false))]);
            connection.send(changed(&path(address), DEVICE, properties)).ok();
        }
    }
}
