//! The service side of the hub for devices, over HTTP: the same handle that the command line asks.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use secrecy::ExposeSecret;
use serde_json::Value as Json;
use tidegate_core::{
    c2d::{Ack, Feedback, NewC2d},
    device::{Device, Proof, Thumbprint},
    dialect::identity::{Identity, is_host},
    twin::{Change, Twin},
};
use tidegate_endpoint::{Event, Expiry, Hub, HubError, MethodCall, NewProof, connection_string};
use tidegate_webui::{
    Problem, StatusCode,
    shape::{
        C2dRequest, C2dView, FeedbackView, HubAbout, HubDevice, HubDeviceChange, HubDoor, HubEvent, HubKeys, HubProof, MethodRequest,
        MethodView, NewHubDevice, TwinChange, TwinView,
    },
    site::HubDesk,
};

use super::Service;
use crate::desk::ProofAsk;

/// The longest waits that fit into an answer over HTTP, in seconds: for the device's answer, and for a device that is away.
const ANSWER: std::ops::RangeInclusive<u8> = 5..=60;
const AWAY: std::ops::RangeInclusive<u8> = 0..=10;

fn refused(error: &HubError) -> Problem {
    let (code, title, next) = match error {
        HubError::NotFound(_) => ("device-not-found", "There is no such device", "register it first"),
        HubError::Exists(_) => ("device-exists", "The device is registered already", "change it, or take another id"),
        HubError::Changed(_) => ("changed", "It has been changed since", "read it again, then change it"),
        HubError::Bad(_) | HubError::Twin(_) => ("refused", "The hub does not take this", ""),
        HubError::TooLarge { .. } => ("too-large", "It is too large", "send less"),
        HubError::QueueFull(_) => ("queue-full", "The device's queue is full", "wait until the device has taken some, or purge the queue"),
        HubError::Expiry => ("expiry", "The expiry is not possible", "at most 48 hours ahead"),
        HubError::NotOnline(_) => (
            "device-not-online",
            "The device is not there",
            "call again when it is there, wait longer for it, or send a message, which it gets when it comes",
        ),
        HubError::NoAnswer(_) => ("no-answer", "The device did not answer", "it may have done what was asked: look before asking again"),
        HubError::TooManyCalls => ("too-many-calls", "Too many calls wait for answers", "try again in a moment"),
        HubError::Records(why) => return Problem::internal("the hub's records", why),
    };
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Problem::new(status, code, title).detail(format!("{} {}: {error}", error.code(), error.name())).next(next)
}

fn identity(text: &str) -> Result<Identity, Problem> {
    Identity::from_client_id(text).map_err(|error| refused(&HubError::Bad(error.to_string())))
}

fn proof(asked: HubProof) -> Result<NewProof, Problem> {
    let ask = match asked {
        HubProof::Keys { primary, secondary } => ProofAsk::Keys { primary, secondary },
        HubProof::Thumbprints { primary, secondary } => ProofAsk::Thumbprints { primary, secondary },
        HubProof::Authority {} => ProofAsk::Authority,
        HubProof::Password { password } => ProofAsk::Password { password },
    };
    NewProof::try_from(ask).map_err(|error| refused(&error))
}

fn view(hub: &Hub, device: &Device) -> HubDevice {
    let connection = hub.connection(&device.identity);
    HubDevice {
        device: device.identity.to_string(),
        enabled: device.enabled,
        reason: device.reason.clone(),
        proof: device.proof.word().to_owned(),
        etag: format!("\"{}\"", device.etag),
        generation: device.generation.clone(),
        created: device.created.to_string(),
        changed: device.changed.to_string(),
        methods: connection.as_ref().map(|connection| connection.methods),
        connected: connection.as_ref().map(|connection| connection.since.to_string()),
        remote: connection.map(|connection| connection.remote.to_string()),
        waiting: None,
    }
}

fn event(event: Event) -> HubEvent {
    HubEvent {
        number: event.number,
        kind: serde_json::to_value(event.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
        at: event.at.to_string(),
        device: event.device,
        module: event.module,
        remote: event.remote.map(|remote| remote.to_string()),
        detail: event.detail,
        code: event.code,
        count: event.count,
    }
}

fn feedback(record: Feedback) -> FeedbackView {
    FeedbackView {
        id: record.id,
        device: record.device,
        message_id: record.message_id,
        code: record.code.word().to_owned(),
        enqueued: record.enqueued.to_string(),
        at: record.at.to_string(),
    }
}

fn body(request: &C2dRequest) -> Result<Bytes, Problem> {
    match (&request.body, &request.body_base64) {
        (Some(_), Some(_)) => Err(Problem::invalid("").field("body_base64", "stands beside body", "give one of the two")),
        (None, None) => Ok(Bytes::new()),
        (Some(Json::String(text)), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        (Some(json), None) => Ok(json.to_string().into()),
        (None, Some(text)) => {
            let bytes = BASE64_STANDARD.decode(text);
            bytes
                .map(Bytes::from)
                .map_err(|error| Problem::invalid("").field("body_base64", error.to_string(), "write base64 with padding"))
        }
    }
}

fn twin(twin: &Twin) -> (TwinView, u64) {
    let mut whole = twin.for_service();
    (TwinView { version: twin.version, tags: whole["tags"].take(), properties: whole["properties"].take() }, twin.version)
}

impl Service {
    fn desk(&self) -> &Hub {
        &self.ends.parts.hub
    }
}

#[async_trait]
impl HubDesk for Service {
    fn hub(&self) -> HubAbout {
        let (hub, facts) = (self.desk(), self.facts());
        let counters = hub.counters();
        let door = |(door, address): &(tidegate_endpoint::Door, std::net::SocketAddr)| HubDoor {
            door: format!("{door:?}").to_lowercase(),
            address: address.to_string(),
        };
        HubAbout {
            enabled: facts.endpoint,
            listening: hub.addresses().borrow().iter().map(door).collect(),
            host: facts.host.clone(),
            has_authority: hub.authority().is_some(),
            sessions: counters.sessions,
            accepted: counters.accepted,
            refused: counters.refused,
            messages: counters.messages,
            c2d_delivered: counters.c2d_delivered,
            calls: counters.calls,
        }
    }

    fn authority(&self) -> Option<String> {
        self.desk().authority()
    }

    async fn hub_devices(&self, after: Option<&str>, most: usize) -> Result<Vec<HubDevice>, Problem> {
        let after = after.map(identity).transpose()?;
        let devices = self.desk().devices(after.as_ref(), most).await.map_err(|error| refused(&error))?;
        Ok(devices.iter().map(|device| view(self.desk(), device)).collect())
    }

    async fn hub_device(&self, id: &str) -> Result<HubDevice, Problem> {
        let id = identity(id)?;
        let device = self.desk().device(&id).await.map_err(|error| refused(&error))?;
        let waiting = self.desk().waiting(&id).await.map_err(|error| refused(&error))?;
        Ok(HubDevice { waiting: Some(waiting), ..view(self.desk(), &device) })
    }

    async fn add_hub_device(&self, new: NewHubDevice) -> Result<HubDevice, Problem> {
        let proof = proof(new.proof.unwrap_or(HubProof::Keys { primary: None, secondary: None }))?;
        let made = self.desk().create(&identity(&new.device)?, proof, new.enabled.unwrap_or(true), new.reason).await;
        made.map(|device| view(self.desk(), &device)).map_err(|error| refused(&error))
    }

    async fn change_hub_device(&self, id: &str, etag: Option<u64>, change: HubDeviceChange) -> Result<HubDevice, Problem> {
        let proof = change.proof.map(proof).transpose()?;
        let changed = self.desk().change(&identity(id)?, etag, proof, change.enabled, change.reason).await;
        changed.map(|device| view(self.desk(), &device)).map_err(|error| refused(&error))
    }

    async fn remove_hub_device(&self, id: &str, etag: Option<u64>) -> Result<(), Problem> {
        self.desk().delete(&identity(id)?, etag).await.map(drop).map_err(|error| refused(&error))
    }

    async fn hub_keys(&self, id: &str, host: Option<&str>) -> Result<HubKeys, Problem> {
        let host = match host.filter(|host| !host.is_empty()) {
            Some(host) if is_host(host) => host.to_owned(),
            Some(_) => return Err(Problem::invalid("").field("host", "is not a host name", "write a name or an address")),
            None => self.facts().host.clone(),
        };
        let device = self.desk().device(&identity(id)?).await.map_err(|error| refused(&error))?;
        let (primary, secondary) = match &device.proof {
            Proof::Keys { primary, secondary } => {
                let text = |key: &tidegate_core::dialect::key::Key| Some(key.to_base64().expose_secret().to_owned());
                (text(primary), text(secondary))
            }
            Proof::Thumbprints { primary, secondary } => {
                (Some(primary.as_str().to_owned()), secondary.as_ref().map(Thumbprint::as_str).map(str::to_owned))
            }
            Proof::Authority | Proof::Password(_) => (None, None),
        };
        Ok(HubKeys {
            device: device.identity.to_string(),
            proof: device.proof.word().to_owned(),
            primary,
            secondary,
            connection_string: connection_string(&device, &host).map(|text| text.expose_secret().to_owned()),
            host,
        })
    }

    async fn send_c2d(&self, id: &str, request: C2dRequest) -> Result<C2dView, Problem> {
        let ack = request.ack.as_deref().map(str::parse::<Ack>).transpose();
        let ack =
            ack.map_err(|rule| Problem::invalid("").field("ack", rule, "write none, positive, negative or full"))?.unwrap_or_default();
        let body = body(&request)?;
        let expiry = request.ttl_s.map_or(Expiry::Default, |ttl| Expiry::After(Duration::from_secs(u64::from(ttl))));
        let new = NewC2d { message_id: request.message_id, ack, properties: request.properties.into_iter().collect(), body };
        let sent = self.desk().send(&identity(id)?, new, expiry).await.map_err(|error| refused(&error))?;
        Ok(C2dView { message_id: sent.message_id, expires: sent.expires.to_string() })
    }

    async fn purge_c2d(&self, id: &str) -> Result<u64, Problem> {
        self.desk().purge(&identity(id)?).await.map_err(|error| refused(&error))
    }

    async fn feedback(&self) -> Result<Vec<FeedbackView>, Problem> {
        let records = self.desk().feedback().await.map_err(|error| refused(&error))?;
        Ok(records.into_iter().map(feedback).collect())
    }

    async fn take_feedback(&self, up_to: i64) -> Result<(), Problem> {
        self.desk().take_feedback(up_to).await.map(drop).map_err(|error| refused(&error))
    }

    async fn call_method(&self, id: &str, request: MethodRequest) -> Result<MethodView, Problem> {
        let (timeout, wait) = (request.timeout_s.unwrap_or(30), request.wait_s.unwrap_or(0));
        for (name, value, range) in [("timeout_s", timeout, ANSWER), ("wait_s", wait, AWAY)] {
            if !range.contains(&value) {
                let next = format!("write {} to {}", range.start(), range.end());
                return Err(Problem::invalid("").field(name, format!("{value} is not possible over HTTP"), next));
            }
        }
        let call = MethodCall {
            response_timeout: Duration::from_secs(u64::from(timeout)),
            connect_timeout: Duration::from_secs(u64::from(wait)),
            ..MethodCall::new(request.method, request.payload.map_or_else(String::new, |payload| payload.to_string()))
        };
        let answer = self.desk().call(&identity(id)?, call).await.map_err(|error| refused(&error))?;
        let text = String::from_utf8_lossy(&answer.body);
        let payload = match text.is_empty() {
            true => Json::Null,
            false => serde_json::from_str(&text).unwrap_or_else(|_| Json::from(text.as_ref())),
        };
        Ok(MethodView { status: i64::from(answer.status), payload })
    }

    async fn twin(&self, id: &str) -> Result<(TwinView, u64), Problem> {
        self.desk().twin(&identity(id)?).await.map(|found| twin(&found)).map_err(|error| refused(&error))
    }

    async fn change_twin(&self, id: &str, version: Option<u64>, change: TwinChange, replace: bool) -> Result<(TwinView, u64), Problem> {
        let desired = change.properties.and_then(|properties| properties.desired);
        if change.tags.is_none() && desired.is_none() {
            return Err(Problem::invalid("nothing is to be changed").next("give tags, properties.desired, or both"));
        }
        let change = Change { tags: change.tags, desired, replace, if_version: version, ..Change::default() };
        self.desk().change_twin(&identity(id)?, change).await.map(|changed| twin(&changed)).map_err(|error| refused(&error))
    }

    async fn hub_events(&self, after: u64, most: usize, wait: Duration) -> Vec<HubEvent> {
        // Listening before the look, so that nothing is missed between the two.
        let mut listener = self.desk().events();
        let mut events = self.desk().events_after(after, most);
        if events.is_empty() && !wait.is_zero() {
            // Err when it was too slow or the hub is gone: either way, one look tells.
            tokio::time::timeout(wait, listener.recv()).await.ok();
            events = self.desk().events_after(after, most);
        }
        events.into_iter().map(event).collect()
    }
}
