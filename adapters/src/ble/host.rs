//! BlueZ behind one connection to its bus: calls that end in time, and devices' signals for whoever is connected to them.
//!
//! Every call has a limit of its own; libdbus keeps its limit only while the connection lives. The end of the connection ends every call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dbus::{
    arg::{AppendAll, PropMap, ReadAll, RefArg, Variant},
    nonblock::{Proxy, SyncConnection},
};
use tokio::{sync::mpsc, time::timeout};

use super::advert::Address;

pub(super) const BLUEZ: &str = "org.bluez";
pub(super) const ADAPTER: &str = "org.bluez.Adapter1";
pub(super) const DEVICE: &str = "org.bluez.Device1";
pub(super) const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Signals of one device that wait to be taken. Notifications beyond that are lost, and counted by who listens.
const WAITING: usize = 256;

/// Everything on the bus by path, and its interfaces with their properties.
pub(super) type Objects = HashMap<dbus::Path<'static>, HashMap<String, PropMap>>;

/// What BlueZ says of a device that we are connected to, or want to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Signal {
    /// BlueZ knows it now.
    Here,
    Connected(bool),
    /// Its services have been discovered, or are gone.
    Resolved(bool),
    /// A characteristic, by its path, says this.
    Value(String, Vec<u8>),
}

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Trouble {
    /// The error's name on the bus, such as `org.bluez.Error.NotPermitted`; `timeout` when nothing answered.
    pub(super) name: String,
    /// In words.
    pub(super) text: String,
}

impl Trouble {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.rsplit('.').next() == Some(name)
    }

    /// There is no such object on the bus.
    pub(super) fn is_nowhere(&self) -> bool {
        self.is("UnknownObject") || self.is("UnknownMethod") || self.is("DoesNotExist") || self.is("UnknownInterface")
    }
}

impl From<dbus::Error> for Trouble {
    fn from(error: dbus::Error) -> Self {
        let name = error.name().unwrap_or("failed").to_owned();
        let text = error.message().map_or_else(|| name.clone(), |message| format!("{}: {message}", name.trim_start_matches("org.bluez.")));
        Self { name, text }
    }
}

type Routes = Arc<Mutex<HashMap<String, mpsc::Sender<Signal>>>>;

/// BlueZ, and one of its adapters.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) connection: Arc<SyncConnection>,
    /// `/org/bluez/hci0`.
    pub(super) adapter: String,
    routes: Routes,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("adapter", &self.adapter).finish_non_exhaustive()
    }
}

/// Signals of one device, while it is kept.
#[derive(Debug)]
pub(super) struct Route {
    routes: Routes,
    path: String,
    pub(super) signals: mpsc::Receiver<Signal>,
}

impl Drop for Route {
    fn drop(&mut self) {
        lock(&self.routes).remove(&self.path);
    }
}

fn lock(routes: &Routes) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Signal>>> {
    // Whole between any two statements.
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn boxed(value: impl RefArg + 'static) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(value))
}

impl Host {
    pub(super) fn new(connection: Arc<SyncConnection>, adapter: String) -> Self {
        Self { connection, adapter, routes: Routes::default() }
    }

    /// Where BlueZ puts a device.
    pub(super) fn device(&self, address: Address) -> String {
        format!("{}/dev_{}", self.adapter, address.to_string().replace(':', "_"))
    }

    /// Signals about this device from now on.
    pub(super) fn route(&self, path: &str) -> Route {
        let (tell, signals) = mpsc::channel(WAITING);
        lock(&self.routes).insert(path.to_owned(), tell);
        Route { routes: self.routes.clone(), path: path.to_owned(), signals }
    }

    /// Tells whoever is connected to the device that this path belongs to. `make` is only asked when there is somebody.
    pub(super) fn tell(&self, path: &str, make: impl FnOnce() -> Vec<Signal>) {
        let device = path.strip_prefix(&self.adapter).and_then(|rest| rest.get(1..)).and_then(|rest| rest.split('/').next());
        let Some(device) = device else { return };
        let end = self.adapter.len() + 1 + device.len();
        let routes = lock(&self.routes);
        if let Some(route) = path.get(..end).and_then(|device| routes.get(device)) {
            make().into_iter().for_each(|signal| drop(route.try_send(signal)));
        }
    }

    pub(super) async fn call<R: ReadAll + 'static, A: AppendAll>(
        &self,
        path: &str,
        interface: &'static str,
        member: &'static str,
        args: A,
        limit: Duration,
    ) -> Result<R, Trouble> {
        let path = dbus::Path::new(path.to_owned()).map_err(|why| Trouble { name: "path".to_owned(), text: why })?;
        let proxy = Proxy::new(BLUEZ, path, limit, self.connection.clone());
        match timeout(limit, proxy.method_call::<R, _, _, _>(interface, member, args)).await {
            Ok(answer) => answer.map_err(|error| {
                let Trouble { name, text } = error.into();
                Trouble { name, text: format!("{member}: {text}") }
            }),
            Err(_) => Err(Trouble { name: "timeout".to_owned(), text: format!("{member}: no answer within {} s", limit.as_secs()) }),
        }
    }

    /// The unique name of whoever is BlueZ now.
    pub(super) async fn owner(&self, limit: Duration) -> Result<String, Trouble> {
        let bus = Proxy::new("org.freedesktop.DBus", "/org/freedesktop/DBus", limit, self.connection.clone());
        let asked = bus.method_call::<(String,), _, _, _>("org.freedesktop.DBus", "GetNameOwner", (BLUEZ,));
        let silent = |_| Trouble { name: "timeout".to_owned(), text: format!("D-Bus: no answer within {} s", limit.as_secs()) };
        let (name,) = timeout(limit, asked).await.map_err(silent)??;
        Ok(name)
    }

    pub(super) async fn get<T: for<'a> dbus::arg::Get<'a> + 'static>(
        &self,
        path: &str,
        interface: &'static str,
        property: &'static str,
        limit: Duration,
    ) -> Result<T, Trouble> {
        let (Variant(value),): (Variant<T>,) = self.call(path, PROPERTIES, "Get", (interface, property), limit).await?;
        Ok(value)
    }

    pub(super) async fn objects(&self, limit: Duration) -> Result<Objects, Trouble> {
        let (objects,): (Objects,) = self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", (), limit).await?;
        Ok(objects)
    }
}
