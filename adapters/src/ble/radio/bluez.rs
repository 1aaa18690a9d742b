//! BlueZ over D-Bus: scans on one adapter, actively or passively, and takes advertisements from the signals about its devices.
//!
//! One connection of our own, so that its end is the end of a task that we hold. Every call has a time limit. bluetoothd
//! restarting, its adapter vanishing or being switched off, and the end of the bus are each noticed by a signal and end
//! the radio with words; whoever drives it opens it again. What BlueZ remembers of earlier days is not taken for news: only signals count.

use std::{collections::HashMap, io, time::Duration};

use async_trait::async_trait;
use dbus::{
    Message,
    arg::{PropMap, RefArg, Variant, prop_cast},
    channel::Channel,
    message::MatchRule,
    nonblock::{MsgMatch, SyncConnection},
};
use dbus_tokio::connection::{IOResource, from_channel};
use tidegate_core::adapter::AdapterError;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use super::{CALL, Radio, Wanted, monitor::Monitor};
use crate::ble::{
    advert::{Address, Advert},
    host::{ADAPTER, BLUEZ, CHARACTERISTIC, DEVICE, Host, Signal, Trouble, boxed},
};

/// Adverts that wait to be taken. 200 sensors say so many in five seconds; beyond that the oldest news is not worth keeping.
const WAITING: usize = 1000;

/// Somebody else switches the radio as well: that is waited for.
const BUSY: Duration = Duration::from_millis(200);

/// A scan that has been on its way for so long never comes.
const STUCK: Duration = Duration::from_secs(3);

const SWITCHED_OFF: &str = "it was switched off";

/// What the signals say.
#[derive(Debug)]
enum Heard {
    Advert(Advert),
    Gone(&'static str),
}

#[derive(Debug)]
pub(in crate::ble) struct BlueZ {
    /// `hci0`.
    name: String,
    /// A bus other than the system's.
    bus: Option<String>,
    /// What is listened for passively; `None` for an active scan.
    passive: Option<Vec<Wanted>>,
    open: Option<Open>,
    gone: Option<&'static str>,
}

struct Open {
    host: Host,
    driver: JoinHandle<()>,
    heard: mpsc::Receiver<Heard>,
    monitor: Option<Monitor>,
    /// Kept: a dropped match hears nothing.
    _matches: Vec<MsgMatch>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl BlueZ {
    pub(in crate::ble) fn new(name: String, bus: Option<String>, passive: Option<Vec<Wanted>>) -> Self {
        Self { name, bus, passive, open: None, gone: None }
    }

    fn path(&self) -> String {
        format!("/org/bluez/{}", self.name)
    }

    fn cannot(&self, error: impl ToString) -> AdapterError {
        let text = error.to_string();
        let next = if text.contains("ServiceUnknown") || text.contains("not provided by any") {
            "bluetoothd does not run: systemctl start bluetooth"
        } else if text.contains("AccessDenied") || text.contains("NotAuthorized") || text.contains("rejected") {
            "no permission: put the user into the group bluetooth"
        } else if text.contains("scan passively") || text.contains("the monitor") {
            return AdapterError::Open { what: format!("Bluetooth adapter {}", self.name), source: io::Error::other(text) };
        } else if text.contains("UnknownObject") || text.contains("UnknownMethod") || text.contains("doesn't exist") {
            "no such Bluetooth adapter: is it plugged in? See `bluetoothctl list`, or `rfkill list` when it is blocked"
        } else if text.contains("InProgress") {
            "bluetoothd waits for something that does not come: systemctl restart bluetooth"
        } else if text.contains("FileNotFound") || text.contains("Failed to connect") {
            "no D-Bus: is the package dbus installed and running?"
        } else {
            "see `journalctl -u bluetooth`"
        };
        AdapterError::Open { what: format!("Bluetooth adapter {}", self.name), source: io::Error::other(format!("{text}; {next}")) }
    }

    fn lost(&self, why: impl ToString) -> AdapterError {
        AdapterError::Lost { what: format!("Bluetooth adapter {}", self.name), why: why.to_string() }
    }

    /// Begins to scan. That we had to switch the radio off for it is no loss; anything else that happened meanwhile is.
    async fn scan_anew(&mut self, switched_off: bool) -> Result<(), AdapterError> {
        let switched_off = self.scan().await? || switched_off;
        let Some(open) = self.open.as_mut().filter(|_| switched_off) else { return Ok(()) };
        while let Ok(heard) = open.heard.try_recv() {
            match heard {
                Heard::Gone(why) if why != SWITCHED_OFF => self.gone = Some(why),
                // What it advertised before is said again.
                Heard::Gone(_) | Heard::Advert(_) => {}
            }
        }
        Ok(())
    }

    fn on(&self) -> Result<&Host, AdapterError> {
        self.open.as_ref().map(|open| &open.host).ok_or_else(|| self.lost("not open"))
    }

    async fn call(&self, method: &'static str) -> Result<(), AdapterError> {
        let host = self.on()?;
        host.call::<(), _>(&host.adapter, ADAPTER, method, (), CALL).await.map_err(|trouble| self.cannot(trouble))
    }

    /// On, from whatever it is. A radio that has just appeared is switched on by bluetoothd as well, and whoever comes second is told so,
    /// sometimes for ever (seen with BlueZ 5.66): what counts is that it is on.
    async fn switch_on(&self) -> Result<(), AdapterError> {
        let until = Instant::now() + CALL;
        loop {
            let host = self.on()?;
            if host.get::<bool>(&host.adapter, ADAPTER, "Powered", CALL).await.map_err(|trouble| self.cannot(trouble))? {
                return Ok(());
            }
            match self.power(true).await {
                Ok(()) => return Ok(()),
                Err(trouble) if trouble.is("InProgress") && Instant::now() + BUSY < until => sleep(BUSY).await,
                Err(trouble) => return Err(self.cannot(trouble)),
            }
        }
    }

    async fn power(&self, on: bool) -> Result<(), Trouble> {
        let gone = |error: AdapterError| Trouble { name: "gone".to_owned(), text: error.to_string() };
        let host = self.on().map_err(gone)?;
        host.call::<(), _>(&host.adapter, "org.freedesktop.DBus.Properties", "Set", (ADAPTER, "Powered", Variant(on)), CALL).await
    }

    /// Begins to scan. A start that is on its way, ours or another program's, is waited for; for one that bluetoothd has forgotten (seen with
    /// BlueZ 5.66 and a radio whose line was garbled) the radio is switched off and on, once in each attempt.
    /// Whether it was.
    async fn scan(&self) -> Result<bool, AdapterError> {
        let until = Instant::now() + STUCK;
        loop {
            match self.begin().await {
                Ok(()) => return Ok(false),
                Err(trouble) if trouble.is("InProgress") && Instant::now() < until => sleep(BUSY).await,
                Err(trouble) if trouble.is("InProgress") => break,
                Err(trouble) => return Err(self.cannot(trouble)),
            }
        }
        warn!(radio = %self.name, "bluetoothd waits for a scan that it has forgotten: the radio is switched off and on");
        self.power(false).await.map_err(|trouble| self.cannot(trouble))?;
        self.switch_on().await?;
        self.begin().await.map_err(|trouble| self.cannot(trouble))?;
        Ok(true)
    }

    async fn begin(&self) -> Result<(), Trouble> {
        let gone = || Trouble { name: "gone".to_owned(), text: "not open".to_owned() };
        let open = self.open.as_ref().ok_or_else(gone)?;
        let host = &open.host;
        if let Some(monitor) = &open.monitor {
            return monitor.begin(host).await;
        }
        // Sensors say new values under the same address: without duplicates BlueZ passes on only the first.
        let filter = PropMap::from([("Transport".to_owned(), boxed("le".to_owned())), ("DuplicateData".to_owned(), boxed(true))]);
        host.call::<(), _>(&host.adapter, ADAPTER, "SetDiscoveryFilter", (filter,), CALL).await?;
        host.call(&host.adapter, ADAPTER, "StartDiscovery", (), CALL).await
    }

    /// Not scanning any more is what is wanted: that nothing was to be stopped is no trouble.
    async fn stop(&self) {
        match self.open.as_ref().map(|open| (&open.host, &open.monitor)) {
            Some((host, Some(monitor))) => monitor.end(host).await,
            Some((_, None)) => drop(self.call("StopDiscovery").await),
            None => {}
        }
    }

    async fn connect(&mut self) -> Result<(), AdapterError> {
        let bus = self.bus.clone();
        // Connecting blocks: it is done where that harms nobody.
        let channel = tokio::task::spawn_blocking(move || match bus {
            Some(address) => Channel::open_private(&address).and_then(|mut channel| channel.register().map(|()| channel)),
            None => Channel::get_private(dbus::channel::BusType::System),
        });
        let channel = timeout(CALL, channel).await.map_err(|_| self.cannot("D-Bus: no answer"))?;
        let channel = channel.map_err(|e| self.cannot(e))?.map_err(|e| self.cannot(e))?;
        let (resource, connection): (IOResource<SyncConnection>, _) = from_channel(channel).map_err(|e| self.cannot(e))?;
        let (tell, heard) = mpsc::channel(WAITING);
        let ended = tell.clone();
        let driver = tokio::spawn(async move {
            resource.await;
            ended.send(Heard::Gone("D-Bus is gone")).await.ok();
        });
        let host = Host::new(connection.clone(), self.path());
        let mut open = Open { host: host.clone(), driver, heard, monitor: None, _matches: Vec::new() };
        open.monitor = self.passive.as_ref().map(|wanted| Monitor::export(&host, wanted));
        for rule in self.rules() {
            let added = timeout(CALL, connection.add_match(rule)).await.map_err(|_| self.cannot("AddMatch: no answer"))?;
            let (tell, host) = (tell.clone(), host.clone());
            open._matches.push(added.map_err(|e| self.cannot(e))?.msg_cb(move |message| {
                if let Some(heard) = understand(&message, &host) {
                    // Full: somebody floods the air. What is lost is one of many that say the same.
                    tell.try_send(heard).ok();
                }
                true
            }));
        }
        self.open = Some(open);
        Ok(())
    }

    fn rules(&self) -> [MatchRule<'static>; 4] {
        let path = dbus::Path::new(self.path()).unwrap_or_default();
        let signal = |interface: &'static str, member: &'static str| MatchRule::new_signal(interface, member).with_sender(BLUEZ);
        let mut owner = MatchRule::new_signal("org.freedesktop.DBus", "NameOwnerChanged").with_sender("org.freedesktop.DBus");
        owner.path = Some("/org/freedesktop/DBus".into());
        [
            signal("org.freedesktop.DBus.Properties", "PropertiesChanged").with_namespaced_path(path),
            signal("org.freedesktop.DBus.ObjectManager", "InterfacesAdded"),
            signal("org.freedesktop.DBus.ObjectManager", "InterfacesRemoved"),
            owner,
        ]
    }
}

#[async_trait]
impl Radio for BlueZ {
    async fn open(&mut self) -> Result<(), AdapterError> {
        self.close().await;
        self.connect().await?;
        self.switch_on().await?;
        self.scan_anew(false).await
    }

    async fn hear(&mut self) -> Result<Advert, AdapterError> {
        if let Some(why) = self.gone {
            return Err(self.lost(why));
        }
        let Some(open) = &mut self.open else { return Err(self.lost("not open")) };
        match open.heard.recv().await {
            Some(Heard::Advert(advert)) => Ok(advert),
            Some(Heard::Gone(why)) => Err(self.lost(why)),
            None => Err(self.lost("D-Bus is gone")),
        }
    }

    fn heard(&mut self) -> Option<Advert> {
        match self.open.as_mut()?.heard.try_recv().ok()? {
            Heard::Advert(advert) => Some(advert),
            Heard::Gone(why) => {
                self.gone = Some(why);
                None
            }
        }
    }

    async fn restart_scan(&mut self) -> Result<(), AdapterError> {
        self.stop().await;
        self.scan_anew(false).await
    }

    async fn power_cycle(&mut self) -> Result<(), AdapterError> {
        self.power(false).await.map_err(|trouble| self.cannot(trouble))?;
        self.switch_on().await?;
        self.gone = None;
        self.scan_anew(true).await
    }

    async fn close(&mut self) {
        if self.open.is_some() && self.gone.is_none() {
            self.stop().await;
        }
        self.open = None;
        self.gone = None;
    }

    fn host(&self) -> Option<Host> {
        self.open.as_ref().map(|open| open.host.clone())
    }
}

/// What a signal means for us; `None` when nothing.
fn understand(message: &Message, host: &Host) -> Option<Heard> {
    let adapter = host.adapter.as_str();
    match &*message.member()? {
        "PropertiesChanged" => {
            let (interface, changed): (String, PropMap) = message.read2().ok()?;
            let path = message.path()?.to_string();
            match interface.as_str() {
                DEVICE => {
                    host.tell(&path, || {
                        let connected = prop_cast::<bool>(&changed, "Connected").map(|up| Signal::Connected(*up));
                        let resolved = prop_cast::<bool>(&changed, "ServicesResolved").map(|all| Signal::Resolved(*all));
                        connected.into_iter().chain(resolved).collect()
                    });
                    advert(&path, adapter, &changed).map(Heard::Advert)
                }
                CHARACTERISTIC => {
                    let value = changed.get("Value").map(|Variant(value)| bytes(value));
                    host.tell(&path, || value.map(|value| Signal::Value(path.clone(), value)).into_iter().collect());
                    None
                }
                ADAPTER if path == adapter && prop_cast::<bool>(&changed, "Powered") == Some(&false) => Some(Heard::Gone(SWITCHED_OFF)),
                _ => None,
            }
        }
        "InterfacesAdded" => {
            let (path, interfaces): (dbus::Path<'_>, HashMap<String, PropMap>) = message.read2().ok()?;
            let device = interfaces.get(DEVICE)?;
            host.tell(&path, || vec![Signal::Here]);
            advert(&path, adapter, device).map(Heard::Advert)
        }
        "InterfacesRemoved" => {
            let (path, interfaces): (dbus::Path<'_>, Vec<String>) = message.read2().ok()?;
            (&*path == adapter && interfaces.iter().any(|name| name == ADAPTER)).then_some(Heard::Gone("it was unplugged"))
        }
        "NameOwnerChanged" => {
            let (name, old, _): (String, String, String) = message.read3().ok()?;
            (name == BLUEZ && !old.is_empty()).then_some(Heard::Gone("bluetoothd ended"))
        }
        _ => None,
    }
}

/// From a device's changed properties; `None` when they hold nothing that was on air.
fn advert(path: &str, adapter: &str, changed: &PropMap) -> Option<Advert> {
    let address = path.strip_prefix(adapter)?.strip_prefix("/dev_")?;
    let mut advert = Advert::new(address.parse::<Address>().ok()?);
    advert.rssi = prop_cast::<i16>(changed, "RSSI").copied();
    for (key, value) in entries(changed, "ManufacturerData") {
        if let Some(company) = key.as_u64().and_then(|id| u16::try_from(id).ok()) {
            advert.manufacturer.push((company, value));
        }
    }
    for (key, value) in entries(changed, "ServiceData") {
        if let Some(service) = key.as_str().and_then(short) {
            advert.service.push((service, value));
        }
    }
    (advert.rssi.is_some() || !advert.manufacturer.is_empty() || !advert.service.is_empty()).then_some(advert)
}

/// A dictionary of byte arrays.
fn entries<'a>(changed: &'a PropMap, name: &str) -> Vec<(&'a dyn RefArg, Vec<u8>)> {
    let Some(Variant(dictionary)) = changed.get(name) else { return Vec::new() };
    let Some(mut flat) = dictionary.as_iter() else { return Vec::new() };
    let mut entries = Vec::new();
    while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
        entries.push((key, bytes(value)));
    }
    entries
}

/// Bytes, in however many variants they are wrapped.
fn bytes(value: &dyn RefArg) -> Vec<u8> {
    let Some(items) = value.as_iter() else { return Vec::new() };
    items
        .flat_map(|item| match item.as_u64().and_then(|n| u8::try_from(n).ok()) {
            Some(byte) => vec![byte],
            None => bytes(item),
        })
        .collect()
}

/// The 16-bit number of a UUID that is built on the Bluetooth base.
fn short(uuid: &str) -> Option<u16> {
    let number = uuid.strip_prefix("0000")?.strip_suffix("-0000-1000-8000-00805f9b34fb")?;
    u16::from_str_radix(number, 16).ok()
}
