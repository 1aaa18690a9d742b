//! BlueZ over D-Bus: scans actively on one adapter and takes advertisements from the signals about its devices.
//!
//! One connection of our own, so that its end is the end of a task that we hold. Every call has a time limit. bluetoothd
//! restarting, its adapter vanishing or being switched off, and the end of the bus are each noticed by a signal and end
//! the radio with words; whoever drives it opens it again. What BlueZ remembers of earlier days is not taken for news: only signals count.

use std::{collections::HashMap, io, sync::Arc};

use async_trait::async_trait;
use dbus::{
    Message,
    arg::{PropMap, RefArg, Variant, prop_cast},
    channel::Channel,
    message::MatchRule,
    nonblock::{MsgMatch, Proxy, SyncConnection, stdintf::org_freedesktop_dbus::Properties},
};
use dbus_tokio::connection::{IOResource, from_channel};
use tidegate_core::adapter::AdapterError;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{CALL, Radio};
use crate::ble::advert::{Address, Advert};

const BLUEZ: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";

/// Adverts that wait to be taken. 200 sensors say so many in five seconds; beyond that the oldest news is not worth keeping.
const WAITING: usize = 1000;

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
    open: Option<Open>,
    gone: Option<&'static str>,
}

struct Open {
    connection: Arc<SyncConnection>,
    driver: JoinHandle<()>,
    heard: mpsc::Receiver<Heard>,
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
    pub(in crate::ble) fn new(name: String, bus: Option<String>) -> Self {
        Self { name, bus, open: None, gone: None }
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
        } else if text.contains("UnknownObject") || text.contains("UnknownMethod") || text.contains("doesn't exist") {
            "no such Bluetooth adapter: is it plugged in? See `bluetoothctl list`, or `rfkill list` when it is blocked"
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

    fn proxy(&self) -> Result<Proxy<'static, Arc<SyncConnection>>, AdapterError> {
        let open = self.open.as_ref().ok_or_else(|| self.lost("not open"))?;
        Ok(Proxy::new(BLUEZ, self.path(), CALL, open.connection.clone()))
    }

    /// A call with a limit of our own as well: libdbus keeps its limit only while the connection lives.
    async fn call(&self, method: &'static str) -> Result<(), AdapterError> {
        let proxy = self.proxy()?;
        let call = timeout(CALL, proxy.method_call::<(), _, _, _>(ADAPTER, method, ()));
        call.await.map_err(|_| self.cannot(format!("{method}: no answer within {} s", CALL.as_secs())))?.map_err(|e| self.cannot(e))
    }

    async fn power(&self, on: bool) -> Result<(), AdapterError> {
        let proxy = self.proxy()?;
        let set = timeout(CALL, proxy.set(ADAPTER, "Powered", on));
        set.await.map_err(|_| self.cannot("Powered: no answer"))?.map_err(|e| self.cannot(e))
    }

    async fn scan(&self) -> Result<(), AdapterError> {
        let proxy = self.proxy()?;
        let mut filter = PropMap::new();
        filter.insert("Transport".to_owned(), Variant(Box::new("le".to_owned()) as Box<dyn RefArg>));
        // Sensors say new values under the same address: without this BlueZ passes on only the first.
        filter.insert("DuplicateData".to_owned(), Variant(Box::new(true)));
        let set = timeout(CALL, proxy.method_call::<(), _, _, _>(ADAPTER, "SetDiscoveryFilter", (filter,)));
        set.await.map_err(|_| self.cannot("SetDiscoveryFilter: no answer"))?.map_err(|e| self.cannot(e))?;
        self.call("StartDiscovery").await
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
        let mut open = Open { connection, driver, heard, _matches: Vec::new() };
        for rule in self.rules() {
            let added = timeout(CALL, open.connection.add_match(rule)).await.map_err(|_| self.cannot("AddMatch: no answer"))?;
            let (tell, path) = (tell.clone(), self.path());
            open._matches.push(added.map_err(|e| self.cannot(e))?.msg_cb(move |message| {
                if let Some(heard) = understand(&message, &path) {
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
        self.power(true).await?;
        self.scan().await
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
        // Not scanning any more is what is wanted.
        self.call("StopDiscovery").await.ok();
        self.scan().await
    }

    async fn power_cycle(&mut self) -> Result<(), AdapterError> {
        self.power(false).await?;
        self.power(true).await?;
        self.scan().await?;
        // Switching it off was ours, and is no loss.
        if let Some(open) = &mut self.open {
            while open.heard.try_recv().is_ok() {}
        }
        self.gone = None;
        Ok(())
    }

    async fn close(&mut self) {
        if self.open.is_some() && self.gone.is_none() {
            self.call("StopDiscovery").await.ok();
        }
        self.open = None;
        self.gone = None;
    }
}

/// What a signal means for us; `None` when nothing.
fn understand(message: &Message, adapter: &str) -> Option<Heard> {
    match &*message.member()? {
        "PropertiesChanged" => {
            let (interface, changed): (String, PropMap) = message.read2().ok()?;
            let path = message.path()?.to_string();
            match interface.as_str() {
                DEVICE => advert(&path, adapter, &changed).map(Heard::Advert),
                ADAPTER if path == adapter && prop_cast::<bool>(&changed, "Powered") == Some(&false) => {
                    Some(Heard::Gone("it was switched off"))
                }
                _ => None,
            }
        }
        "InterfacesAdded" => {
            let (path, interfaces): (dbus::Path<'_>, HashMap<String, PropMap>) = message.read2().ok()?;
            advert(&path, adapter, interfaces.get(DEVICE)?).map(Heard::Advert)
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
