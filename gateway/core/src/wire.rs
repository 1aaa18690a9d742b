//! How messages look as JSON: the body that leaves us, the properties that the log keeps, and the view for people.
//! The only place that knows.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use crate::{
    clock::{TimeQuality, Timestamp},
    message::{Body, Message, Origin, Properties, SystemProperties},
};

/// The body as it leaves: an untimed body gets its `ts` here, as the first member, from the stamp that the
/// message has *now*.
pub fn body(message: &Message) -> Bytes {
    match &message.body {
        Body::Whole(bytes) => bytes.clone(),
        Body::Untimed(object) => {
            let rest = object.strip_prefix(b"{").unwrap_or(object);
            let comma = if rest.first() == Some(&b'}') { "" } else { "," };
            let head = format!("{{\"ts\":\"{}\"{comma}", message.taken.wall);
            let mut out = Vec::with_capacity(head.len() + rest.len());
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(rest);
            out.into()
        }
    }
}

const SYSTEM_KEYS: [&str; 6] = ["$.ct", "$.ce", "$.cid", "$.uid", "$.mid", "$.sub"];

/// System and application properties as one JSON object, for the log: system names as on the wire (`$.ct`), then the
/// application's. Empty text for a plain UTF-8 JSON message, which most are.
pub fn properties_to_text(system: &SystemProperties, properties: &Properties) -> String {
    if properties.is_empty() && *system == SystemProperties::json() {
        return String::new();
    }
    let values = [
        system.content_type.as_deref(),
        system.content_encoding.as_deref(),
        system.correlation_id.as_deref(),
        system.user_id.as_deref(),
        system.message_id.as_deref(),
        system.subject.as_deref(),
    ];
    let mut object = Map::new();
    for (key, value) in SYSTEM_KEYS.into_iter().zip(values) {
        if let Some(value) = value {
            object.insert(key.to_owned(), value.into());
        }
    }
    if let Some(origin) = &system.origin {
        object.insert(ORIGIN.to_owned(), origin_to_text(origin).into());
    }
    for (name, value) in properties.iter() {
        object.insert(name.to_owned(), value.into());
    }
    Json::Object(object).to_string()
}

/// Beside the names of the wire: where a message came from, which never goes up.
const ORIGIN: &str = "$.origin";

/// Five fields between spaces, so that a small message stays small in the log; none of them can hold a space.
fn origin_to_text(origin: &Origin) -> String {
    let word = |text: Option<&str>| text.filter(|text| !text.is_empty() && !text.contains(' ')).unwrap_or("-").to_owned();
    let [module, model] = [&origin.module, &origin.model].map(|text| word(text.as_deref()));
    format!("{} {} {} {module} {model}", word(Some(&origin.auth)), word(Some(&origin.generation)), origin.enqueued.0)
}

fn origin_from_text(text: &str) -> Option<Origin> {
    let mut fields = text.split(' ');
    let mut next = || fields.next();
    let auth = next()?;
    let (generation, enqueued) = (next()?.to_owned(), Timestamp(next()?.parse().ok()?));
    let optional = |text: &str| (text != "-").then(|| text.to_owned());
    let auth = ["sas", "x509", "password"].into_iter().find(|known| *known == auth).map_or_else(|| auth.to_owned().into(), Into::into);
    Some(Origin { auth, generation, enqueued, module: optional(next()?), model: optional(next()?) })
}

/// Reads what [`properties_to_text`] wrote. `None` for anything else: the row is damaged.
pub fn properties_from_text(text: &str) -> Option<(SystemProperties, Properties)> {
    if text.is_empty() {
        return Some((SystemProperties::json(), Properties::default()));
    }
    let mut object: Map<String, Json> = serde_json::from_str(text).ok()?;
    let mut take = |key: &str| match object.remove(key) {
        Some(Json::String(value)) => Some(value),
        _ => None,
    };
    let system = SystemProperties {
        content_type: take("$.ct").map(Into::into),
        content_encoding: take("$.ce").map(Into::into),
        correlation_id: take("$.cid"),
        user_id: take("$.uid"),
        message_id: take("$.mid"),
        subject: take("$.sub"),
        origin: match take(ORIGIN) {
            Some(text) => Some(Arc::new(origin_from_text(&text)?)),
            None => None,
        },
    };
    let mut properties = Properties::default();
    for (name, value) in &object {
        properties.insert(name, value.as_str()?).ok()?;
    }
    Some((system, properties))
}

/// A message as people and scripts see it: `tidegate queue --json`, exports.
pub fn view(message: &Message) -> Json {
    let bytes = body(message);
    let payload = serde_json::from_slice::<Json>(&bytes).unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&bytes).into_owned()));
    json!({
        "id": message.id.to_string(),
        "leaf": message.leaf.as_str(),
        "class": message.class.word(),
        "taken": message.taken.wall.to_string(),
        "time_quality": match message.taken.quality { TimeQuality::Synced => "synced", TimeQuality::Unsynced => "unsynced" },
        "properties": message.properties.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "body": payload,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        clock::{Clock, HandClock},
        id::{LeafId, MessageId},
        message::Class,
    };

    fn with_body(body: Body) -> Message {
        Message {
            id: MessageId::fresh(),
            leaf: LeafId::new("leaf-01").expect("valid"),
            class: Class::Telemetry,
            taken: HandClock::at(Timestamp(1_767_225_600_000)).now(),
            ttl: None,
            system: SystemProperties::json(),
            properties: Properties::default(),
            body,
        }
    }

    #[test]
    fn the_time_is_put_in_as_the_message_leaves() {
        let untimed = |text: &'static str| body(&with_body(Body::Untimed(Bytes::from_static(text.as_bytes()))));
        assert_eq!(untimed(r#"{"t":1}"#), r#"{"ts":"2026-01-01T00:00:00.000Z","t":1}"#);
        assert_eq!(untimed("{}"), r#"{"ts":"2026-01-01T00:00:00.000Z"}"#);
        assert_eq!(body(&with_body(Body::Whole(Bytes::from_static(b"\0raw")))), &b"\0raw"[..]);
    }

    #[test]
    fn plain_json_costs_nothing_to_keep() {
        assert_eq!(properties_to_text(&SystemProperties::json(), &Properties::default()), "");
    }

    proptest! {
        #[test]
        fn properties_survive_the_log(
            names in proptest::collection::btree_set("[a-z][a-z0-9!#%&'*+.^_`|~-]{0,12}", 0..5),
            value in "[ -~]{0,20}",
            cid in proptest::option::of("[a-z0-9]{1,10}"),
            origin in proptest::option::of(("[a-z]{1,8}", "[0-9a-f]{1,32}", proptest::option::of("[!-~]{2,9}"), any::<i64>())),
        ) {
            let mut properties = Properties::default();
            for name in &names {
                properties.insert(name, &value).expect("valid");
            }
            let origin = origin.map(|(auth, generation, module, at)| {
                let model = module.as_ref().map(|module| format!("dtmi:{module};1"));
                Arc::new(Origin { module, auth: auth.into(), generation, model, enqueued: Timestamp(at) })
            });
            let system = SystemProperties { correlation_id: cid, origin, ..SystemProperties::json() };
            let text = properties_to_text(&system, &properties);
            let (s, p) = properties_from_text(&text).expect("own text");
            prop_assert_eq!(s, system);
            prop_assert_eq!(p.iter().collect::<std::collections::BTreeMap<_, _>>(), properties.iter().collect());
        }

        #[test]
        fn damaged_properties_are_noticed_not_feared(text in ".{0,60}") {
            // Any answer is right; a panic is not.
            properties_from_text(&text);
        }
    }
}
