//! Devices at the endpoint as leaves of the router: what a hub above sends to one of them is handed to it as it came.
//!
//! Promise: the inbox keeps a message until the device has acknowledged it, so a device that is away is served when it is back, and one
//! whose session, or our process, ended in the middle is served again: at least once, as at the hub itself. `done` is a PUBACK of the
//! device; to one that listens at QoS 0 it can only be `sent`. Methods are passed through and never kept.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::json;
use tidegate_core::{
    c2d::NewC2d,
    command::{Action, Command, Outcome},
    dialect::identity::Identity,
    id::{HubDeviceId, LeafId},
    message::{Class, Properties},
    profile::LeafProfile,
};
use tidegate_endpoint::{Event, EventKind, Handed, Hub, HubError, MethodCall};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{
    leaf::Order,
    pulse::Pulse,
    router::{Router, route::Taker},
    unit::UnitError,
};

/// The group of these leaves among the router's ways.
pub(crate) const GROUP: &str = "endpoint";
/// The unit's name.
pub(crate) const UNIT: &str = "endpoint leaves";
/// The registry is read again at least this often, should it have been changed by another process.
pub(crate) const AGAIN: Duration = Duration::from_secs(60);
/// Devices in one page of the registry.
const PAGE: usize = 500;
/// What a device has for the answer to a method, at least and at most (reference §4.1).
const RESPONSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Takes orders for devices at the endpoint.
#[derive(Debug)]
pub(crate) struct Passage {
    /// The endpoint's service side.
    pub(crate) hub: Hub,
}

impl Passage {
    /// Makes a way to every device in the registry. Before any hub can send something to one: for a leaf that nobody knows it would be
    /// refused.
    pub(crate) async fn attach(self: &Arc<Self>, router: &Router) -> Result<(), HubError> {
        let taker: Arc<dyn Taker> = self.clone();
        router.routes().attach_behind(GROUP, None, &self.leaves().await?, &taker);
        Ok(())
    }

    /// Keeps the router's ways in step with the registry, until stopped. A leaf of an adapter that has a device's id goes before it.
    pub(crate) async fn run(self: Arc<Self>, router: Router, pulse: Pulse, stop: CancellationToken) -> Result<(), UnitError> {
        let mut events = self.hub.events();
        loop {
            pulse.beat();
            self.attach(&router).await?;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // Those that have happened by now are in what is read next: a thousand devices that are added take few rounds.
                () = changed(&mut events) => while events.try_recv().is_ok() {},
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn leaves(&self) -> Result<Vec<LeafProfile>, HubError> {
        let (mut leaves, mut after) = (Vec::new(), None);
        loop {
            let page = self.hub.devices(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(leaves) };
            after = Some(last.identity.clone());
            // A module takes no C2D messages, and an id that is none of a leaf cannot be named by a command.
            let devices = page.iter().filter(|device| device.identity.module.is_none());
            let ids = devices.filter_map(|device| LeafId::new(device.identity.device.as_str()).ok());
            leaves.extend(ids.map(|id| LeafProfile {
                id,
                points: Vec::new(),
                class: Class::Telemetry,
                ttl: None,
                properties: Properties::default(),
            }));
        }
    }
}

/// Until a device was added or taken away, or that may have been missed.
async fn changed(events: &mut tokio::sync::broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(event) if !matches!(event.kind, EventKind::CreateDeviceIdentity | EventKind::DeleteDeviceIdentity) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // The hub is gone; then so are we, soon.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The device with this leaf id.
fn identity(leaf: &LeafId) -> Option<Identity> {
    HubDeviceId::new(leaf.as_str()).ok().map(Identity::device)
}

impl Taker for Passage {
    fn offer(&self, order: Order) -> Result<(), Order> {
        let hub = self.hub.clone();
        // One at a time for each device, and only for those that are here: the router sees to both.
        tokio::spawn(async move {
            if let Some(command) = order.begin.await {
                // Whoever waits may have gone.
                order.outcome.send(hand(&hub, command).await).ok();
            }
        });
        Ok(())
    }

    fn away(&self, leaf: &LeafId) -> Option<String> {
        let here = identity(leaf).is_some_and(|identity| self.hub.listens(&identity));
        (!here).then(|| "it is not connected, or does not listen to its messages".to_owned())
    }

    fn takes_messages(&self) -> bool {
        true
    }

    fn call(&self, leaf: &LeafId, name: &str, payload: &Bytes, within: Duration) -> Option<BoxFuture<'static, (u16, Bytes)>> {
        let (identity, hub) = (identity(leaf)?, self.hub.clone());
        let call = MethodCall { response_timeout: within.clamp(RESPONSE.0, RESPONSE.1), ..MethodCall::new(name, payload.clone()) };
        Some(answer(hub, identity, call).boxed())
    }
}

async fn hand(hub: &Hub, command: Command) -> Outcome {
    let Action::Message { properties, body } = command.action else {
        return Outcome::Rejected(format!("'{}' is a device with a program of its own and takes messages, not points", command.leaf));
    };
    let Some(identity) = identity(&command.leaf) else { return Outcome::Rejected("its id is none of a device".to_owned()) };
    let message_id = Some(command.id).filter(|id| !id.is_empty());
    match hub.hand(&identity, NewC2d { message_id, properties, body, ..NewC2d::default() }).await {
        Ok(Handed::Acknowledged) => Outcome::Done(Vec::new()),
        Ok(Handed::Sent) => Outcome::Sent,
        // Nothing left us, or nobody knows; either way it may be done again, and the router does.
        Err(error @ (HubError::NotOnline(_) | HubError::NoAnswer(_))) => Outcome::Uncertain(error.to_string()),
        Err(error) => Outcome::Rejected(error.to_string()),
    }
}

/// The device's own status and words; where there are none, the hub's.
async fn answer(hub: Hub, identity: Identity, call: MethodCall) -> (u16, Bytes) {
    match hub.call(&identity, call).await {
        // A status that HTTP does not know is the device's own affair; the wire has room for it.
        Ok(answer) => (u16::try_from(answer.status).unwrap_or(500), answer.body),
        Err(error) => (error.status(), json!({ "error": { "code": error.name(), "message": error.to_string() } }).to_string().into()),
    }
}
