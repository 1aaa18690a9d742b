//! A message as IoT Hub's built-in endpoint shows it (reference §2.5).

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value as Json};
use tidegate_core::{message::Message, wire};
use tidegate_store::{Item, enqueued};
use tidegate_webui::shape::{ConsumedMessage, ConsumedProperties};

/// How somebody who uses a key, a certificate or a password is said to have proved who they are.
fn auth_method(message: &Message) -> Option<String> {
    let origin = message.system.origin.as_ref()?;
    let scope = if origin.module.is_some() { "module" } else { "device" };
    Some(format!("{{\"scope\":\"{scope}\",\"type\":\"{}\",\"issuer\":\"iothub\",\"acceptingIpFilterRule\":null}}", origin.auth))
}

fn annotations(item: &Item) -> Map<String, Json> {
    let (message, at) = (&item.message, enqueued(&item.message).0);
    let mut all = Map::new();
    let mut say = |name: &str, value: Json| drop(all.insert(name.to_owned(), value));
    say("iothub-connection-device-id", message.leaf.as_str().into());
    if let Some(origin) = &message.system.origin {
        if let Some(module) = &origin.module {
            say("iothub-connection-module-id", module.as_str().into());
        }
        say("iothub-connection-auth-generation-id", origin.generation.as_str().into());
        if let Some(model) = &origin.model {
            say("dt-dataschema", model.as_str().into());
        }
    }
    if let Some(method) = auth_method(message) {
        say("iothub-connection-auth-method", method.into());
    }
    say("iothub-enqueuedtime", at.into());
    say("iothub-message-source", "Telemetry".into());
    say("x-opt-sequence-number", item.number.into());
    say("x-opt-offset", item.seq.to_string().into());
    say("x-opt-enqueued-time", at.into());
    all
}

fn system(message: &Message) -> BTreeMap<String, String> {
    let system = &message.system;
    let id = system.message_id.clone().unwrap_or_else(|| message.id.to_string());
    let all = [
        ("message_id", Some(id)),
        ("correlation_id", system.correlation_id.clone()),
        ("user_id", system.user_id.clone()),
        ("content_type", system.content_type.as_deref().map(str::to_owned)),
        ("content_encoding", system.content_encoding.as_deref().map(str::to_owned)),
        ("subject", system.subject.clone()),
        ("creation_time_utc", Some(message.taken.wall.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// As a consumer gets it.
pub(super) fn view(partition: usize, item: &Item) -> ConsumedMessage {
    let bytes = wire::body(&item.message);
    let payload = serde_json::from_slice::<Json>(&bytes).ok().or_else(|| std::str::from_utf8(&bytes).ok().map(Json::from));
    ConsumedMessage {
        partition: partition as u8,
        annotations: annotations(item),
        properties: ConsumedProperties {
            system: system(&item.message),
            application: item.message.properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        },
        payload_base64: payload.is_none().then(|| BASE64_STANDARD.encode(&bytes)),
        payload: payload.unwrap_or(Json::Null),
    }
}
