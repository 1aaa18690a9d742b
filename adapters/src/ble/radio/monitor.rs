//! Passive scanning: an advertisement monitor that bluetoothd keeps for us, with the beginnings of those formats that are wanted.
//!
//! The monitor is an object of ours on the bus (org.bluez.AdvertisementMonitor1, BlueZ's doc/advertisement-monitor-api.txt). It is
//! gone with the connection. What it finds arrives by the same signals as with active scanning.

use std::{collections::HashMap, sync::Arc};

use dbus::{
    Message,
    arg::PropMap,
    channel::{MatchingReceiver, Sender, default_reply},
    message::MatchRule,
};
use tokio::sync::Notify;

use crate::ble::{
    host::{Host, Trouble, boxed},
    radio::CALL,
};

const MANAGER: &str = "org.bluez.AdvertisementMonitorManager1";
const MONITOR: &str = "org.bluez.AdvertisementMonitor1";
const APPLICATION: &str = "/tidegate_air";
const PATH: &str = "/tidegate_air/monitor";

/// AD types (Bluetooth Assigned Numbers, 2.3).
const SERVICE_DATA: u8 = 0x16;
const MANUFACTURER_DATA: u8 = 0xff;

/// Advertisements that hold this kind of data, beginning so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::ble) struct Wanted {
    kind: u8,
    number: u16,
}

impl Wanted {
    pub(in crate::ble) const fn service(number: u16) -> Self {
        Self { kind: SERVICE_DATA, number }
    }

    pub(in crate::ble) const fn company(number: u16) -> Self {
        Self { kind: MANUFACTURER_DATA, number }
    }

    /// Start, AD type, content: both numbers are on the air with their low byte first.
    fn pattern(self) -> (u8, u8, Vec<u8>) {
        (0, self.kind, self.number.to_le_bytes().to_vec())
    }
}

/// A monitor of ours on one connection; BlueZ keeps it from `begin` to `end`.
#[derive(Debug)]
pub(super) struct Monitor {
    active: Arc<Notify>,
    released: Arc<Notify>,
}

fn unsupported() -> Trouble {
    let text = "this bluetoothd cannot scan passively: it needs BlueZ 5.56 or newer, mostly started with --experimental; or write scan = \"active\"";
    Trouble { name: "unsupported".to_owned(), text: text.to_owned() }
}

impl Monitor {
    /// Puts it on the bus, where BlueZ will look for it.
    pub(super) fn export(host: &Host, wanted: &[Wanted]) -> Self {
        let patterns: Vec<_> = wanted.iter().map(|wanted| wanted.pattern()).collect();
        let monitor = Self { active: Arc::new(Notify::new()), released: Arc::new(Notify::new()) };
        let (active, released) = (monitor.active.clone(), monitor.released.clone());
        host.connection.start_receive(
            MatchRule::new_method_call().with_namespaced_path(APPLICATION),
            Box::new(move |message, on| {
                match message.member().as_deref() {
                    Some("Activate") => active.notify_one(),
                    Some("Release") => released.notify_one(),
                    _ => {}
                }
                if let Some(reply) = answer(&message, &patterns) {
                    on.send(reply).ok();
                }
                true
            }),
        );
        monitor
    }

    /// Begins to listen. The refusal says what to do where bluetoothd has no monitors.
    pub(super) async fn begin(&self, host: &Host) -> Result<(), Trouble> {
        match host.get::<Vec<String>>(&host.adapter, MANAGER, "SupportedMonitorTypes", CALL).await {
            Ok(types) if types.iter().any(|kind| kind == "or_patterns") => {}
            Ok(_) => return Err(unsupported()),
            // The adapter is there, as switching it on has shown.
            Err(trouble) if trouble.is_nowhere() || trouble.is("InvalidArgs") => return Err(unsupported()),
            Err(trouble) => return Err(trouble),
        }
        let application = dbus::Path::new(APPLICATION).map_err(|why| Trouble { name: "path".to_owned(), text: why })?;
        host.call::<(), _>(&host.adapter, MANAGER, "RegisterMonitor", (application,), CALL).await?;
        // Registering says nothing yet: the controller may have no room for it.
        let why = tokio::select! {
            () = self.active.notified() => return Ok(()),
            () = self.released.notified() => "bluetoothd took the monitor and let it go again: the radio has no room for its patterns",
            () = tokio::time::sleep(CALL) => "bluetoothd took the monitor and never activated it",
        };
        Err(Trouble { name: "monitor".to_owned(), text: why.to_owned() })
    }

    /// Lets it go.
    pub(super) async fn end(&self, host: &Host) {
        if let Ok(application) = dbus::Path::new(APPLICATION) {
            host.call::<(), _>(&host.adapter, MANAGER, "UnregisterMonitor", (application,), CALL).await.ok();
        }
    }
}

fn properties(patterns: &[(u8, u8, Vec<u8>)]) -> PropMap {
    PropMap::from([("Type".to_owned(), boxed("or_patterns".to_owned())), ("Patterns".to_owned(), boxed(patterns.to_vec()))])
}

fn answer(message: &Message, patterns: &[(u8, u8, Vec<u8>)]) -> Option<Message> {
    match (&*message.path()?, message.member().as_deref()?) {
        (APPLICATION, "GetManagedObjects") => {
            let path = dbus::Path::new(PATH).ok()?;
            let interfaces = HashMap::from([(MONITOR.to_owned(), properties(patterns))]);
            Some(message.method_return().append1(HashMap::from([(path, interfaces)])))
        }
        (PATH, "GetAll") => Some(message.method_return().append1(properties(patterns))),
        (PATH, "Get") => {
            let (_, name) = message.read2::<String, String>().ok()?;
            let mut all = properties(patterns);
            all.remove(&name).map_or_else(|| default_reply(message), |value| Some(message.method_return().append1(value)))
        }
        (PATH, "Activate" | "Release" | "DeviceFound" | "DeviceLost") => Some(message.method_return()),
        _ => default_reply(message),
    }
}
