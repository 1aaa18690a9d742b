//! The hub's service side for the command line: one question, one answer, both JSON, over the control socket.
//!
//! Questions go straight to the hub and not through the gateway's main loop: a method call may wait for minutes.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tidegate_core::{
    c2d::{Ack, NewC2d},
    device::{Device, Proof, Thumbprint},
    dialect::{identity::Identity, key::Key},
    twin::{Change, Object},
};
use tidegate_endpoint::{Expiry, Hub, HubError, MethodCall, NewProof, connection_string};

/// A question to the hub. Devices are named as their client ids: `device` or `device/module`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "hub", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DeskAsk {
    /// Register a device.
    Add {
        /// Which.
        device: String,
        /// How it is to prove itself.
        proof: ProofAsk,
        /// Not to be let in yet.
        disabled: bool,
    },
    /// Registered devices after this one.
    List {
        /// The last one seen.
        after: Option<String>,
    },
    /// One device, with its keys.
    Show {
        /// Which.
        device: String,
    },
    /// Change a device; what is not given stays.
    Change {
        /// Which.
        device: String,
        /// Whether it is let in.
        enabled: Option<bool>,
        /// Another proof.
        proof: Option<ProofAsk>,
        /// Why.
        reason: Option<String>,
    },
    /// Take a device away with all that belongs to it.
    Remove {
        /// Which.
        device: String,
    },
    /// Put a message into a device's queue.
    Send {
        /// Which.
        device: String,
        /// In base64.
        body: String,
        /// Its message id.
        message_id: Option<String>,
        /// Which feedback is wanted.
        ack: String,
        /// How long it is to wait.
        ttl_ms: Option<u64>,
        /// Its properties.
        properties: Vec<(String, String)>,
    },
    /// Take away what waits for a device.
    Purge {
        /// Which.
        device: String,
    },
    /// What became of messages.
    Feedback {
        /// Forget what is told.
        take: bool,
    },
    /// Call a method.
    Call {
        /// Which device's.
        device: String,
        /// Its name.
        method: String,
        /// JSON; left out: none.
        payload: Option<Json>,
        /// How long the device has.
        response_ms: u64,
        /// How long to wait for a device that is not there.
        connect_ms: u64,
    },
    /// Read a twin, or change it first.
    Twin {
        /// Which.
        device: String,
        /// For the tags.
        tags: Option<Object>,
        /// For the desired properties.
        desired: Option<Object>,
        /// Replace instead of patch.
        replace: bool,
    },
    /// What happened.
    Events {
        /// The last one seen.
        after: u64,
    },
    /// The certificate that devices must trust.
    Authority,
}

/// How a device is to prove itself. Secrets are in here: it is never logged.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum ProofAsk {
    /// By keys, in base64; made where they are not given.
    Keys {
        /// The first.
        primary: Option<String>,
        /// The second.
        secondary: Option<String>,
    },
    /// By certificates of these thumbprints.
    Thumbprints {
        /// The first.
        primary: String,
        /// The second.
        secondary: Option<String>,
    },
    /// By a certificate of an authority.
    Authority,
    /// By a password.
    Password {
        /// It.
        password: String,
    },
}

impl std::fmt::Debug for ProofAsk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProofAsk(hidden)")
    }
}

impl TryFrom<ProofAsk> for NewProof {
    type Error = HubError;
    fn try_from(ask: ProofAsk) -> Result<Self, HubError> {
        let key = |text: Option<String>| text.map(|text| Key::from_base64(&text)).transpose().map_err(|error| bad(&error));
        let print = |text: &str| Thumbprint::new(text).map_err(|error| bad(&error));
        Ok(match ask {
            ProofAsk::Keys { primary, secondary } => NewProof::Keys { primary: key(primary)?, secondary: key(secondary)? },
            ProofAsk::Thumbprints { primary, secondary } => {
                NewProof::Thumbprints { primary: print(&primary)?, secondary: secondary.as_deref().map(print).transpose()? }
            }
            ProofAsk::Authority => NewProof::Authority,
            ProofAsk::Password { password } => NewProof::Password(SecretString::from(password)),
        })
    }
}

fn bad(error: &dyn std::fmt::Display) -> HubError {
    HubError::Bad(error.to_string())
}

/// The answer; what is refused is `{"error": …, "code": …}`.
pub async fn answer(hub: &Hub, ask: DeskAsk) -> Json {
    match try_answer(hub, ask).await {
        Ok(answer) => answer,
        Err(error) => json!({ "error": error.to_string(), "code": error.code(), "name": error.name() }),
    }
}

async fn try_answer(hub: &Hub, ask: DeskAsk) -> Result<Json, HubError> {
    let id = |text: &str| Identity::from_client_id(text).map_err(|error| bad(&error));
    Ok(match ask {
        DeskAsk::Add { device, proof, disabled } => view(hub, &hub.create(&id(&device)?, proof.try_into()?, !disabled, None).await?),
        DeskAsk::List { after } => {
            let after = after.as_deref().map(id).transpose()?;
            hub.devices(after.as_ref(), 1_000).await?.iter().map(|device| summary(hub, device)).collect()
        }
        DeskAsk::Show { device } => {
            let device = hub.device(&id(&device)?).await?;
            let mut shown = view(hub, &device);
            shown["waiting"] = hub.waiting(&device.identity).await?.into();
            shown
        }
        DeskAsk::Change { device, enabled, proof, reason } => {
            let proof = proof.map(NewProof::try_from).transpose()?;
            view(hub, &hub.change(&id(&device)?, None, proof, enabled, reason).await?)
        }
        DeskAsk::Remove { device } => summary(hub, &hub.delete(&id(&device)?, None).await?),
        DeskAsk::Send { device, body, message_id, ack, ttl_ms, properties } => {
            let body = BASE64_STANDARD.decode(body).map_err(|error| bad(&error))?;
            let ack = ack.parse::<Ack>().map_err(HubError::Bad)?;
            let expiry = ttl_ms.map_or(Expiry::Default, |ms| Expiry::After(Duration::from_millis(ms)));
            let new = NewC2d { message_id, ack, properties, body: body.into() };
            let sent = hub.send(&id(&device)?, new, expiry).await?;
            json!({ "message_id": sent.message_id, "expires": sent.expires.to_string() })
        }
        DeskAsk::Purge { device } => json!({ "purged": hub.purge(&id(&device)?).await? }),
        DeskAsk::Feedback { take } => feedback(hub, take).await?,
        DeskAsk::Call { device, method, payload, response_ms, connect_ms } => {
            let call = MethodCall {
                response_timeout: Duration::from_millis(response_ms),
                connect_timeout: Duration::from_millis(connect_ms),
                ..MethodCall::new(method, payload.map_or_else(String::new, |payload| payload.to_string()))
            };
            let answer = hub.call(&id(&device)?, call).await?;
            let body = String::from_utf8_lossy(&answer.body);
            json!({ "status": answer.status, "payload": serde_json::from_str::<Json>(&body).unwrap_or_else(|_| Json::from(body.as_ref())) })
        }
        DeskAsk::Twin { device, tags, desired, replace } => {
            let device = id(&device)?;
            let twin = if tags.is_none() && desired.is_none() {
                hub.twin(&device).await?
            } else {
                hub.change_twin(&device, Change { tags, desired, replace, ..Change::default() }).await?
            };
            twin.for_service()
        }
        DeskAsk::Events { after } => json!(hub.events_after(after, 1_000)),
        DeskAsk::Authority => json!({ "authority": hub.authority() }),
    })
}

async fn feedback(hub: &Hub, take: bool) -> Result<Json, HubError> {
    let records = hub.feedback().await?;
    let shown = records.iter().map(|record| {
        json!({
            "device": record.device,
            "message_id": record.message_id,
            "code": record.code.word(),
            "enqueued": record.enqueued.to_string(),
            "at": record.at.to_string(),
        })
    });
    let shown: Json = shown.collect();
    if let Some(last) = records.last().filter(|_| take) {
        hub.take_feedback(last.id).await?;
    }
    Ok(shown)
}

fn summary(hub: &Hub, device: &Device) -> Json {
    let connection = hub.connection(&device.identity);
    json!({
        "device": device.identity.to_string(),
        "enabled": device.enabled,
        "proof": device.proof.word(),
        "reason": device.reason,
        "connected": connection.as_ref().map(|connection| connection.since.to_string()),
        "remote": connection.map(|connection| connection.remote.to_string()),
    })
}

/// With what the device needs: whoever can open the control socket can read `state.db` as well.
fn view(hub: &Hub, device: &Device) -> Json {
    let mut view = summary(hub, device);
    let text = |key: &Key| key.to_base64().expose_secret().to_owned();
    let secrets = match &device.proof {
        Proof::Keys { primary, secondary } => json!({ "primary": text(primary), "secondary": text(secondary) }),
        Proof::Thumbprints { primary, secondary } => {
            json!({ "primary": primary.as_str(), "secondary": secondary.as_ref().map(Thumbprint::as_str) })
        }
        Proof::Authority | Proof::Password(_) => Json::Null,
    };
    view["secrets"] = secrets;
    view["etag"] = device.etag.into();
    view["generation"] = device.generation.as_str().into();
    view["created"] = device.created.to_string().into();
    view["changed"] = device.changed.to_string().into();
    let host = crate::endpoint::machine_name().unwrap_or_else(|| "localhost".to_owned());
    view["connection_string"] = connection_string(device, &host).map(|text| text.expose_secret().to_owned()).into();
    view["host"] = host.into();
    view
}
