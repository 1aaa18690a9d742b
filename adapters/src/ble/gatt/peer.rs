//! One device that is connected to: found, connected, its services discovered, bonded where that is wanted, and let go.
//!
//! Every step has a limit; what is not reached in time is given up and BlueZ is told so, so that no attempt goes on behind our back.

use std::time::Duration;

use dbus::arg::{PropMap, prop_cast};
use tidegate_core::reading::Reason;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    super::{
        advert::Address,
        host::{ADAPTER, CHARACTERISTIC, DEVICE, Host, Objects, Route, Signal, Trouble, boxed},
    },
    uuid::Uuid,
};

/// A device that BlueZ does not know is listened for so long: battery devices say who they are every few seconds.
const FIND: Duration = Duration::from_secs(10);
/// From wanting a connection to having one.
const CONNECT: Duration = Duration::from_secs(20);
/// From the connection to knowing all services.
const RESOLVE: Duration = Duration::from_secs(15);
/// People have to read and type a passkey.
const BOND: Duration = Duration::from_secs(90);
/// One read or write.
pub(super) const EXCHANGE: Duration = Duration::from_secs(10);
/// Another attempt is on its way: it is waited for.
const BUSY: Duration = Duration::from_millis(500);

/// Why nothing came of it: for a reading, and for people.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ble) struct Why {
    pub(in crate::ble) reason: Reason,
    pub(in crate::ble) detail: String,
}

impl Why {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// What BlueZ said while doing something.
    pub(super) fn of(doing: &str, trouble: &Trouble) -> Self {
        let bonding =
            ["AuthenticationFailed", "AuthenticationRejected", "AuthenticationCanceled", "AuthenticationTimeout", "NotAuthorized"];
        let unbonded =
            bonding.iter().any(|name| trouble.is(name)) || trouble.text.contains("nsufficient") || trouble.text.contains("ATT error: 0x05");
        match () {
            () if unbonded => Self::new(
                Reason::Other("not-bonded"),
                format!("{doing}: {}; pair with it: `tidegate adapters pair`, or the page", trouble.text),
            ),
            () if trouble.is("NotPermitted") || trouble.is("NotSupported") => {
                Self::new(Reason::Other("not-permitted"), format!("{doing}: {}", trouble.text))
            }
            // The device itself says no, over a connection that works.
            () if trouble.text.contains("ATT error") => Self::new(Reason::Other("refused"), format!("{doing}: {}", trouble.text)),
            () => Self::new(Reason::Timeout, format!("{doing}: {}", trouble.text)),
        }
    }
}

/// How to reach a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ble) enum AddressType {
    Public,
    Random,
}

/// A characteristic, where it is and what it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: String,
    service: Option<Uuid>,
    uuid: Uuid,
    flags: Vec<String>,
}

impl Place {
    pub(super) fn can(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }
}

#[derive(Debug)]
pub(in crate::ble) struct Peer {
    host: Host,
    pub(super) path: String,
    address: Address,
    route: Route,
    places: Vec<Place>,
}

impl Peer {
    /// Connected, with all services known.
    pub(in crate::ble) async fn connect(host: &Host, address: Address, kind: Option<AddressType>) -> Result<Self, Why> {
        let path = host.device(address);
        let route = host.route(&path);
        let mut peer = Self { host: host.clone(), path, address, route, places: Vec::new() };
        peer.find(kind).await?;
        let met = async {
            peer.link_up().await?;
            // What came before is about the connection before: its end may be told after it was asked for.
            while peer.route.signals.try_recv().is_ok() {}
            peer.resolve().await
        };
        if let Err(why) = met.await {
            peer.leave().await;
            return Err(why);
        }
        Ok(peer)
    }

    /// Until BlueZ knows it. One that was never heard, or so long ago that it was forgotten, must be heard again, or be told how to reach.
    async fn find(&mut self, kind: Option<AddressType>) -> Result<(), Why> {
        let until = Instant::now() + FIND;
        match self.host.get::<bool>(&self.path, DEVICE, "Connected", EXCHANGE).await {
            Ok(_) => return Ok(()),
            Err(trouble) if trouble.is_nowhere() => {}
            Err(trouble) => return Err(Why::of("looking for it", &trouble)),
        }
        while let Ok(Some(signal)) = timeout_at(until, self.route.signals.recv()).await {
            if signal == Signal::Here {
                return Ok(());
            }
        }
        let unheard = || format!("{} has not been heard within {} s", self.address, FIND.as_secs());
        let Some(kind) = kind else {
            return Err(Why::new(
                Reason::Timeout,
                format!("{}; say its address_type, and it is called without having been heard", unheard()),
            ));
        };
        let mut how = PropMap::new();
        how.insert("Address".to_owned(), boxed(self.address.to_string()));
        how.insert("AddressType".to_owned(), boxed(if kind == AddressType::Public { "public" } else { "random" }.to_owned()));
        let called = self.host.call::<(dbus::Path<'static>,), _>(&self.host.adapter, ADAPTER, "ConnectDevice", (how,), CONNECT).await;
        match called {
            Err(trouble) if trouble.is_nowhere() => {
                Err(Why::new(Reason::Timeout, format!("{}, and this bluetoothd calls nobody unheard (--experimental lets it)", unheard())))
            }
            Err(trouble) if !trouble.is("AlreadyExists") => Err(Why::of(&unheard(), &trouble)),
            _ => Ok(()),
        }
    }

    async fn link_up(&mut self) -> Result<(), Why> {
        let until = Instant::now() + CONNECT;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self.host.call::<(), _>(&self.path, DEVICE, "Connect", (), left).await {
                Ok(()) => return Ok(()),
                Err(trouble) if trouble.is("AlreadyConnected") => return Ok(()),
                Err(trouble) if trouble.is("InProgress") && Instant::now() + BUSY < until => sleep(BUSY).await,
                Err(trouble) => return Err(Why::of(&format!("connecting to {}", self.address), &trouble)),
            }
        }
    }

    async fn resolve(&mut self) -> Result<(), Why> {
        let until = Instant::now() + RESOLVE;
        let known = self.host.get::<bool>(&self.path, DEVICE, "ServicesResolved", EXCHANGE).await;
        let mut resolved = known.map_err(|trouble| Why::of("asking for its services", &trouble))?;
        while !resolved {
            match timeout_at(until, self.route.signals.recv()).await {
                Ok(Some(Signal::Resolved(true))) => resolved = true,
                Ok(Some(Signal::Connected(false)) | None) => return Err(self.hung_up()),
                Ok(Some(_)) => {}
                Err(_) => {
                    return Err(Why::new(Reason::Timeout, format!("its services were not known within {} s", RESOLVE.as_secs())));
                }
            }
        }
        let objects = self.host.objects(EXCHANGE).await.map_err(|trouble| Why::of("asking for its services", &trouble))?;
        self.places = places(&self.path, &objects);
        Ok(())
    }

    pub(super) fn hung_up(&self) -> Why {
        Why::new(Reason::Timeout, format!("{} ended the connection", self.address))
    }

    /// Bonded, if it is not yet.
    pub(in crate::ble) async fn bond(&self) -> Result<bool, Why> {
        let paired = self.host.get::<bool>(&self.path, DEVICE, "Paired", EXCHANGE).await;
        if paired.map_err(|trouble| Why::of("asking whether it is paired", &trouble))? {
            return Ok(false);
        }
        match self.host.call::<(), _>(&self.path, DEVICE, "Pair", (), BOND).await {
            Ok(()) => Ok(true),
            Err(trouble) if trouble.is("AlreadyExists") => Ok(false),
            Err(trouble) => {
                self.host.call::<(), _>(&self.path, DEVICE, "CancelPairing", (), EXCHANGE).await.ok();
                Err(Why::new(Reason::Other("not-bonded"), format!("pairing with {}: {}", self.address, trouble.text)))
            }
        }
    }

    /// The one characteristic that is meant.
    pub(super) fn place(&self, service: Option<Uuid>, uuid: Uuid) -> Result<&Place, Why> {
        let mut found =
            self.places.iter().filter(|place| place.uuid == uuid && service.is_none_or(|service| place.service == Some(service)));
        match (found.next(), found.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => {
                let known: Vec<_> = self.places.iter().map(|place| place.uuid.to_string()).collect();
                let detail = format!("{} has no characteristic {uuid}; it has {}", self.address, known.join(", "));
                Err(Why::new(Reason::Other("no-such-characteristic"), detail))
            }
            (Some(_), Some(_)) => {
                let detail = format!("{} has more than one characteristic {uuid}: name its service as well", self.address);
                Err(Why::new(Reason::Other("no-such-characteristic"), detail))
            }
        }
    }

    pub(super) async fn read(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let (bytes,): (Vec<u8>,) = self.host.call(path, CHARACTERISTIC, "ReadValue", (PropMap::new(),), EXCHANGE).await?;
        Ok(bytes)
    }

    pub(super) async fn write(&self, path: &str, bytes: Vec<u8>, acknowledged: bool) -> Result<(), Trouble> {
        let mut how = PropMap::new();
        how.insert("type".to_owned(), boxed(if acknowledged { "request" } else { "command" }.to_owned()));
        self.host.call(path, CHARACTERISTIC, "WriteValue", (bytes, how), EXCHANGE).await
    }

    pub(super) async fn notify(&self, path: &str) -> Result<(), Trouble> {
        match self.host.call(path, CHARACTERISTIC, "StartNotify", (), EXCHANGE).await {
            Err(trouble) if trouble.is("InProgress") => Ok(()),
            other => other,
        }
    }

    /// The next thing that it says by itself; `None` when BlueZ is gone.
    pub(super) async fn signal(&mut self) -> Option<Signal> {
        self.route.signals.recv().await
    }

    /// Hangs up, or gives up an attempt.
    pub(in crate::ble) async fn leave(&self) {
        self.host.call::<(), _>(&self.path, DEVICE, "Disconnect", (), EXCHANGE).await.ok();
    }
}

/// The characteristics of one device.
fn places(device: &str, objects: &Objects) -> Vec<Place> {
    let below = format!("{device}/");
    let uuid = |properties: &PropMap| prop_cast::<String>(properties, "UUID").and_then(|text| text.parse::<Uuid>().ok());
    let mut places: Vec<_> = objects
        .iter()
        .filter(|(path, _)| path.starts_with(&below))
        .filter_map(|(path, interfaces)| {
            let properties = interfaces.get(CHARACTERISTIC)?;
            let service = prop_cast::<dbus::Path<'static>>(properties, "Service")
                .and_then(|service| uuid(objects.get(service)?.get("org.bluez.GattService1")?));
            let flags = prop_cast::<Vec<String>>(properties, "Flags").cloned().unwrap_or_default();
            Some(Place { path: path.to_string(), service, uuid: uuid(properties)?, flags })
        })
        .collect();
    places.sort_by(|a, b| a.path.cmp(&b.path));
    places
}
