//! Rules between topics of the site and leaves: which topics carry a leaf's messages, and which topics its commands go to.
//!
//! Pure. `{leaf}` stands for one level, the leaf's id; `{point}` for one level, or for the rest where the rule's separator is `/`; `+` for a
//! level that does not matter.

use bytes::Bytes;
use serde_json::Value as Json;
use tidegate_core::{
    id::{LeafId, PointName},
    message::{Body, Class},
};
use tidegate_endpoint::site::filter;

const LEAF: &str = "{leaf}";
const POINT: &str = "{point}";

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name; leaves that it has found are kept under it.
    pub name: String,
    /// The topics that it takes.
    pub topic: String,
    /// Where commands go.
    pub command: Option<String>,
    /// The class of the messages.
    pub class: Class,
    /// What stands in topics for `_` in a point's name.
    pub separator: Option<char>,
    /// What is sent for true and false; as JSON has them when left out.
    pub words: Option<(String, String)>,
}

/// What a topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose message it is.
    pub leaf: LeafId,
    /// Where the topic names a point: which.
    pub point: Option<String>,
}

/// Rules for what is widespread, by name.
pub const READY_MADE: [&str; 4] = ["tasmota", "zigbee2mqtt", "shelly", "shelly-plus"];

/// Those of this name. Their topics: Tasmota's documentation (MQTT), zigbee2mqtt's (MQTT topics and messages), Shelly's API (generation 1:
/// MQTT; from generation 2 on: "MQTT control" and "status update").
pub fn ready_made(name: &str) -> Vec<Rule> {
    let rule = |name: &str, topic: &str, command: &str, separator, words: Option<(&str, &str)>| Rule {
        name: name.to_owned(),
        topic: topic.to_owned(),
        command: Some(command.to_owned()),
        class: Class::Telemetry,
        separator,
        words: words.map(|(on, off)| (on.to_owned(), off.to_owned())),
    };
    match name {
        "tasmota" => ["SENSOR", "STATE"]
            .map(|last| rule("tasmota", &format!("tele/{LEAF}/{last}"), "cmnd/{leaf}/{point}", None, Some(("ON", "OFF"))))
            .to_vec(),
        "zigbee2mqtt" => vec![rule(name, "zigbee2mqtt/{leaf}", "zigbee2mqtt/{leaf}/set", None, None)],
        "shelly" => vec![rule(name, "shellies/{leaf}/{point}", "shellies/{leaf}/{point}/command", Some('/'), Some(("on", "off")))],
        "shelly-plus" => vec![rule(name, "{leaf}/status/{point}", "{leaf}/command/{point}", Some(':'), Some(("on", "off")))],
        _ => Vec::new(),
    }
}

impl Rule {
    /// Why it cannot work, in words, with the key that is wrong.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let count = |text: &str, what: &str| text.split('/').filter(|level| *level == what).count();
        let is_odd = |text: &str| text.split('/').any(|level| level.contains(['{', '}']) && level != LEAF && level != POINT);
        for (key, text) in [("topic", Some(&self.topic)), ("command", self.command.as_ref())] {
            let Some(text) = text else { continue };
            let plain = text.replace(LEAF, "x").replace(POINT, "x");
            let fits = if key == "topic" { filter::is_filter(&plain) && !plain.contains('#') } else { filter::is_topic(&plain) };
            if !fits || is_odd(text) {
                return Some((key, format!("'{text}' is no topic with {LEAF} and {POINT} as whole levels")));
            }
            if count(text, LEAF) != 1 || count(text, POINT) > 1 {
                return Some((key, format!("needs {LEAF} once and {POINT} at most once")));
            }
        }
        if self.separator == Some('/') && count(&self.topic, POINT) == 1 && !self.topic.ends_with(POINT) {
            return Some(("topic", format!("{POINT} takes the rest of the topic, so it must be last")));
        }
        None
    }

    /// What this topic says, if it is one of the rule's.
    pub fn find(&self, topic: &str) -> Option<Found> {
        let (mut leaf, mut point) = (None, None);
        let mut levels = topic.split('/');
        let mut wanted = self.topic.split('/').peekable();
        while let Some(level) = wanted.next() {
            match level {
                LEAF => leaf = LeafId::new(levels.next()?).ok(),
                POINT if self.separator == Some('/') && wanted.peek().is_none() => {
                    let rest: Vec<&str> = levels.by_ref().collect();
                    point = Some(self.point_of(&rest.join("/"))?);
                }
                POINT => point = Some(self.point_of(levels.next()?)?),
                "+" => drop(levels.next()?),
                text => (levels.next()? == text).then_some(())?,
            }
        }
        levels.next().is_none().then_some(Found { leaf: leaf?, point })
    }

    fn point_of(&self, text: &str) -> Option<String> {
        let name = self.separator.map_or_else(|| text.to_owned(), |separator| text.replace(separator, "_"));
        PointName::new(&name).ok().map(|name| name.to_string())
    }

    /// The body of a leaf's message, and whether it is JSON: what was published, as it is, or an object of the point.
    pub fn body(&self, found: &Found, payload: &Bytes) -> Result<(Body, bool), String> {
        let text = || std::str::from_utf8(payload).map_err(|_| "it is neither JSON nor text".to_owned());
        let Some(point) = &found.point else {
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok();
            if !is_json {
                text()?;
            }
            // Copied: the read buffer it lies in may be larger.
            return Ok((Body::Whole(Bytes::copy_from_slice(payload)), is_json));
        };
        let value = match serde_json::from_slice::<Json>(payload) {
            Ok(value) => value,
            Err(_) => Json::from(text()?),
        };
        let object = Json::Object([(point.clone(), value)].into_iter().collect());
        Ok((Body::Untimed(object.to_string().into()), true))
    }

    /// What is published to have these points set.
    pub fn commands(&self, leaf: &LeafId, points: &[(PointName, Json)]) -> Vec<(String, Bytes)> {
        let Some(command) = &self.command else { return Vec::new() };
        let topic = command.replace(LEAF, leaf.as_str());
        if !topic.contains(POINT) {
            let object: serde_json::Map<String, Json> = points.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            return vec![(topic, Json::Object(object).to_string().into())];
        }
        let one = |(name, value): &(PointName, Json)| {
            let name = self.separator.map_or_else(|| name.to_string(), |separator| name.as_str().replace('_', &separator.to_string()));
            (topic.replace(POINT, &name), self.text(value).into())
        };
        points.iter().map(one).collect()
    }

    fn text(&self, value: &Json) -> String {
        match (value, &self.words) {
            (Json::Bool(true), Some((on, _))) => on.clone(),
            (Json::Bool(false), Some((_, off))) => off.clone(),
            (Json::String(text), _) => text.clone(),
            (other, _) => other.to_string(),
        }
    }

    /// The filter of all topics that commands for this leaf can go to.
    pub fn command_filter(&self, leaf: &LeafId) -> Option<String> {
        Some(self.command.as_ref()?.replace(LEAF, leaf.as_str()).replace(POINT, "+"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(name: &str, topic: &str, payload: &str) -> Option<(String, Json)> {
        let rules = ready_made(name);
        let (rule, found) = rules.iter().find_map(|rule| Some((rule, rule.find(topic)?)))?;
        let (body, _) = rule.body(&found, &Bytes::copy_from_slice(payload.as_bytes())).expect("a body");
        Some((found.leaf.to_string(), serde_json::from_slice(body.stored()).expect("JSON")))
    }

    fn commands(name: &str, points: &[(&str, Json)]) -> Vec<(String, String)> {
        let points: Vec<_> = points.iter().map(|(name, value)| (PointName::new(name).expect("valid"), value.clone())).collect();
        let commands = ready_made(name)[0].commands(&LeafId::new("x-1").expect("valid"), &points);
        commands.into_iter().map(|(topic, body)| (topic, String::from_utf8(body.to_vec()).expect("text"))).collect()
    }

    #[test]
    fn what_is_widespread_is_understood() {
        let sensor = r#"{"Time":"2026-11-25T10:00:00","AM2301":{"Temperature":21.5}}"#;
        assert_eq!(found("tasmota", "tele/x-1/SENSOR", sensor), Some(("x-1".to_owned(), serde_json::from_str(sensor).expect("JSON"))));
        assert!(found("tasmota", "tele/x-1/STATE", "{}").is_some());
        for other in ["tele/x-1/LWT", "tele/x-1", "stat/x-1/SENSOR", "tele/x 1/SENSOR", "tele/x-1/SENSOR/x"] {
            assert_eq!(found("tasmota", other, "{}"), None, "{other}");
        }
        assert_eq!(found("zigbee2mqtt", "zigbee2mqtt/door", r#"{"contact":true}"#), Some(("door".to_owned(), json!({ "contact": true }))));
        assert_eq!(found("zigbee2mqtt", "zigbee2mqtt/bridge/state", "{}"), None);
        assert_eq!(found("shelly", "shellies/x-1/relay/0", "on"), Some(("x-1".to_owned(), json!({ "relay_0": "on" }))));
        assert_eq!(found("shelly", "shellies/x-1/temperature", "21.5"), Some(("x-1".to_owned(), json!({ "temperature": 21.5 }))));
        let status = r#"{"id":0,"output":true}"#;
        assert_eq!(
            found("shelly-plus", "x-1/status/switch:0", status),
            Some(("x-1".to_owned(), json!({ "switch_0": { "id": 0, "output": true } })))
        );
    }

    #[test]
    fn commands_go_where_each_listens() {
        let one = |topic: &str, body: &str| vec![(topic.to_owned(), body.to_owned())];
        assert_eq!(commands("tasmota", &[("POWER", json!(true))]), one("cmnd/x-1/POWER", "ON"));
        assert_eq!(commands("tasmota", &[("Dimmer", json!(40)), ("Color", json!("FF"))]).len(), 2);
        assert_eq!(
            commands("zigbee2mqtt", &[("brightness", json!(7)), ("state", json!("ON"))]),
            one("zigbee2mqtt/x-1/set", r#"{"brightness":7,"state":"ON"}"#)
        );
        assert_eq!(commands("shelly", &[("relay_0", json!(false))]), one("shellies/x-1/relay/0/command", "off"));
        assert_eq!(commands("shelly-plus", &[("switch_0", json!("toggle"))]), one("x-1/command/switch:0", "toggle"));
    }

    #[test]
    fn a_rule_that_cannot_work_is_named() {
        let rule = |topic: &str, command: Option<&str>, separator| Rule {
            name: "r".to_owned(),
            topic: topic.to_owned(),
            command: command.map(str::to_owned),
            class: Class::Telemetry,
            separator,
            words: None,
        };
        for name in READY_MADE {
            assert!(ready_made(name).iter().all(|rule| rule.fault().is_none()), "{name}");
        }
        assert_eq!(rule("a/{leaf}/+/{point}", Some("b/{leaf}"), None).fault(), None);
        for (topic, command, separator, key) in [
            ("a/b", None, None, "topic"),
            ("a/x{leaf}", None, None, "topic"),
            ("a/{leaf}/#", None, None, "topic"),
            ("{leaf}/{leaf}", None, None, "topic"),
            ("$SYS/{leaf}", None, None, "topic"),
            ("a/{device}/{leaf}", None, None, "topic"),
            ("{leaf}/{point}/x", None, Some('/'), "topic"),
            ("{leaf}", Some("a/+/{leaf}"), None, "command"),
            ("{leaf}", Some("a"), None, "command"),
        ] {
            assert_eq!(rule(topic, command, separator).fault().map(|(key, _)| key), Some(key), "{topic}");
        }
    }
}
