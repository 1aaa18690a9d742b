//! A bus of our own, and on it something that answers as bluetoothd does, and misbehaves on request.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use dbus::{
    Message,
    arg::{PropMap, RefArg, Variant},
    blocking::Connection,
    channel::{Channel, MatchingReceiver, Sender},
    message::{MatchRule, MessageType},
};

use crate::world::{World, path};

pub(crate) const HCI: &str = "/org/bluez/hci0";

/// A D-Bus daemon in a folder; ends with this.
pub(crate) struct Bus {
    daemon: Child,
    pub(crate) address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Its shell ends the daemon when nobody holds this end any more, however that came about.
        drop(self.daemon.stdin.take());
        self.daemon.wait().ok();
    }
}

/// `None` where there is no dbus-daemon, which is said; with CI set that is a failure.
#[allow(clippy::print_stderr, reason = "what was not tested is said aloud")]
pub(crate) fn bus() -> Option<Bus> {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("bus");
    let configuration = folder.path().join("bus.conf");
    fs::write(&configuration, conf(&socket)).expect("written");
    let is_there = Command::new("dbus-daemon").arg("--version").stdout(Stdio::null()).status().is_ok();
    let mut command = Command::new("sh");
    command.args(["-c", "dbus-daemon \"--config-file=$0\" --nofork --nopidfile </dev/null & cat >/dev/null; kill -KILL $! && wait"]);
    command.arg(&configuration).stdin(Stdio::piped());
    let Some(daemon) = is_there.then(|| command.spawn().expect("a shell")) else {
        assert!(std::env::var_os("CI").is_none(), "dbus-daemon is not there: tests/run installs it");
        eprintln!("!!! not tested: dbus-daemon is not there");
        return None;
    };
    let bus = Bus { daemon, address: format!("unix:path={}", socket.display()), _folder: folder };
    // There before anybody answers on it.
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(bus)
}

fn conf(socket: &Path) -> String {
    format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>custom</type>\
         <listen>unix:path={}</listen><policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
         <allow own=\"*\"/></policy></busconfig>",
        socket.display()
    )
}

/// What it does beside answering.
#[derive(Debug)]
pub(crate) enum Act {
    /// A device's properties change: address, company data, service data.
    Advert(&'static str, Vec<(u16, Vec<u8>)>, Vec<(&'static str, Vec<u8>)>),
    SwitchOff,
    Unplug,
    /// A device is heard for the first time.
    Appear(&'static str),
    /// A device hangs up.
    HangUp(&'static str),
    /// A device says a characteristic's new value by itself.
    Notify(&'static str, u16, Vec<u8>),
}

/// Something that answers as bluetoothd does, until it is dropped.
pub(crate) struct Bluetoothd {
    acts: mpsc::Sender<Act>,
    end: Arc<AtomicBool>,
    /// Answers nothing any more.
    pub(crate) mute: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<String>>>,
    world: Arc<Mutex<World>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Bluetoothd {
    fn drop(&mut self) {
        self.end.store(true, Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Bluetoothd {
    pub(crate) fn start(address: &str) -> Self {
        Self::with(address, World::default())
    }

    /// With devices that can be connected to.
    pub(crate) fn with(address: &str, world: World) -> Self {
        let mut channel = Channel::open_private(address).expect("a bus");
        channel.register().expect("a bus");
        let connection = Connection::from(channel);
        let (end, mute, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (is_mute, log) = (mute.clone(), calls.clone());
        let world = Arc::new(Mutex::new(world));
        let (asked, told, played) = (world.clone(), world.clone(), world.clone());
        connection.start_receive(
            MatchRule::new_method_call(),
            Box::new(move |message, connection| {
                if !is_mute.load(Relaxed) {
                    answer(&message, connection, &log, &asked);
                }
                true
            }),
        );
        for kind in [MessageType::MethodReturn, MessageType::Error] {
            let told = told.clone();
            connection.start_receive(
                MatchRule::new().with_type(kind),
                Box::new(move |message, connection| {
                    told.lock().expect("no panic").replied(&message, connection);
                    true
                }),
            );
        }
        connection.request_name("org.bluez", false, true, true).expect("the name");
        let (acts, receiver) = mpsc::channel();
        let over = end.clone();
        let thread = std::thread::spawn(move || {
            while !over.load(Relaxed) {
                receiver.try_iter().for_each(|act| play(&act, &connection, &mut played.lock().expect("no panic")));
                connection.process(Duration::from_millis(5)).ok();
            }
        });
        Self { acts, end, mute, calls, world, thread: Some(thread) }
    }

    pub(crate) fn act(&self, act: Act) {
        self.acts.send(act).expect("it runs");
    }

    /// Looks at the devices, or changes them.
    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().expect("no panic"))
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no panic").clone()
    }
}

fn answer(message: &Message, connection: &Connection, log: &Mutex<Vec<String>>, world: &Mutex<World>) {
    let member = message.member().map(|m| m.to_string()).unwrap_or_default();
    let known = message.path().is_some_and(|path| &*path == HCI);
    let mut said = member.clone();
    if member == "Set" {
        let (_, property, value): (String, String, Variant<bool>) = message.read3().expect("a property");
        said = format!("{property}={}", value.0);
    } else if member == "SetDiscoveryFilter" {
        let (filter,): (PropMap,) = (message.read1().expect("a filter"),);
        let mut keys: Vec<_> = filter.iter().map(|(key, value)| format!("{key}={:?}", value.0)).collect();
        keys.sort();
        said = format!("filter {}", keys.join(" "));
    }
    log.lock().expect("no panic").push(said);
    if let Some(reply) = world.lock().expect("no panic").answer(message, connection) {
        reply.into_iter().for_each(|reply| {
            connection.send(reply).ok();
        });
        return;
    }
    let reply = match known {
        true => message.method_return(),
        false => message.error(&"org.freedesktop.DBus.Error.UnknownObject".into(), c"Method called on an object that doesn't exist"),
    };
    connection.send(reply).ok();
}

pub(crate) fn changed(path: &str, interface: &str, properties: PropMap) -> Message {
    let path = dbus::Path::new(path).expect("a path");
    Message::signal(&path, &"org.freedesktop.DBus.Properties".into(), &"PropertiesChanged".into()).append3(
        interface,
        properties,
        Vec::<String>::new(),
    )
}

pub(crate) fn boxed(value: impl RefArg + 'static) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(value))
}

fn play(act: &Act, connection: &Connection, world: &mut World) {
    let message = match act {
        Act::Advert(address, companies, services) => {
            let mut properties = PropMap::new();
            properties.insert("RSSI".to_owned(), boxed(-60_i16));
            let companies: std::collections::HashMap<u16, Variant<Vec<u8>>> =
                companies.iter().map(|(id, data)| (*id, Variant(data.clone()))).collect();
            let services: std::collections::HashMap<String, Variant<Vec<u8>>> =
                services.iter().map(|(id, data)| ((*id).to_owned(), Variant(data.clone()))).collect();
            if !companies.is_empty() {
                properties.insert("ManufacturerData".to_owned(), boxed(companies));
            }
            if !services.is_empty() {
                properties.insert("ServiceData".to_owned(), boxed(services));
            }
            changed(&format!("{HCI}/dev_{}", address.replace(':', "_")), "org.bluez.Device1", properties)
        }
        Act::Appear(address) => {
            world.devices.get_mut(address).expect("known").unknown = false;
            let root = dbus::Path::new("/").expect("a path");
            let interfaces = std::collections::HashMap::from([("org.bluez.Device1".to_owned(), PropMap::new())]);
            Message::signal(&root, &"org.freedesktop.DBus.ObjectManager".into(), &"InterfacesAdded".into())
                .append2(dbus::Path::new(path(address)).expect("a path"), interfaces)
        }
        Act::HangUp(address) => return world.devices.get_mut(address).expect("known").hang_up(address, connection),
        Act::Notify(address, uuid, value) => return world.notify(address, *uuid, value.clone(), connection),
        Act::SwitchOff => {
            let off = PropMap::from([("Powered".to_owned(), boxed(false))]);
            changed(HCI, "org.bluez.Adapter1", off)
        }
        Act::Unplug => {
            let root = dbus::Path::new("/").expect("a path");
            Message::signal(&root, &"org.freedesktop.DBus.ObjectManager".into(), &"InterfacesRemoved".into())
                .append2(dbus::Path::new(HCI).expect("a path"), vec!["org.bluez.Adapter1"])
        }
    };
    connection.send(message).ok();
}
