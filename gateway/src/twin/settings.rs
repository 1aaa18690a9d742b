//! What the hub wants, read from the twin's desired properties.
//!
//! ```json
//! {"tidegate":{"log_level":"debug","leaves":{"boiler":{
//!   "interval":"5s",
//!   "points":{"temperature":{"report":"change","deadband":0.5,"min_interval":"10s","heartbeat":"5min"}},
//!   "set":{"setpoint":21.5}}}}}
//! ```
//!
//! In the twin of a leaf with an identity of its own, what stands here under its name stands under `tidegate` itself.
//!
//! Anything else under `tidegate` is refused as a whole, with every reason in words: a setting that is half obeyed is worse than one that
//! is not. Other members of the desired properties are nobody's business here. A name with a dot, which twins do not take as a key, is
//! written with `%2E`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use tidegate_core::id::LeafId;

use crate::config::{DeviceKeys, LogLevel, Overlay, Setting};

/// Everything that a hub may set.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) log_level: Option<LogLevel>,
    /// Intervals and report policies.
    pub(super) overlay: Overlay,
    /// Values that points are to be set to, by leaf.
    pub(super) set: BTreeMap<String, Map<String, Json>>,
}

/// The keys of a point that say when it is reported.
const REPORT: [&str; 4] = ["report", "deadband", "min_interval", "heartbeat"];
/// Most reasons that are told.
const MOST_REASONS: usize = 8;

/// What the desired properties of a leaf's own twin say, as the gateway's would say it.
pub(super) fn of_leaf(leaf: &LeafId, desired: &Map<String, Json>) -> Map<String, Json> {
    let own = desired.get("tidegate").map(|own| json!({ "leaves": { key(leaf.as_str()): own } }));
    own.into_iter().map(|own| ("tidegate".to_owned(), own)).collect()
}

/// Puts other settings on top. Of two for one key, theirs hold.
pub(super) fn put_on_top(overlay: &mut Overlay, other: &Overlay) {
    for (leaf, keys) in other {
        let under = overlay.entry(leaf.clone()).or_default();
        under.own.extend(keys.own.clone());
        for (point, keys) in &keys.points {
            under.points.entry(point.clone()).or_default().extend(keys.clone());
        }
    }
}

/// Reads what stands under `tidegate`.
pub(super) fn read(desired: &Map<String, Json>, allowed: &[Setting]) -> Result<Settings, String> {
    let Some(own) = desired.get("tidegate") else { return Ok(Settings::default()) };
    let mut reader = Reader { allowed, settings: Settings::default(), reasons: Vec::new() };
    reader.own(own);
    match reader.reasons.as_slice() {
        [] => Ok(reader.settings),
        reasons => Err(reasons.iter().take(MOST_REASONS).cloned().collect::<Vec<_>>().join("; ")),
    }
}

struct Reader<'a> {
    allowed: &'a [Setting],
    settings: Settings,
    reasons: Vec<String>,
}

impl Reader<'_> {
    fn own(&mut self, own: &Json) {
        for (key, value) in self.object("tidegate", own) {
            match key.as_str() {
                "log_level" if self.may(Setting::LogLevel, "log_level") => match serde_json::from_value(value.clone()) {
                    Ok(level) => self.settings.log_level = Some(level),
                    Err(_) => self.refuse("log_level: write error, warn, info, debug or trace"),
                },
                "log_level" => {}
                "leaves" => {
                    for (leaf, value) in self.object("leaves", &value) {
                        self.leaf(&name(&leaf), &value);
                    }
                }
                other => self.refuse(&format!("'{}' is no setting; there are log_level and leaves", short(other))),
            }
        }
    }

    fn leaf(&mut self, leaf: &str, value: &Json) {
        let mut keys = DeviceKeys::default();
        for (key, value) in self.object(leaf, value) {
            match key.as_str() {
                "interval" if self.may(Setting::Interval, "interval") => drop(keys.own.insert(key, value)),
                "interval" => {}
                "points" => {
                    for (point, value) in self.object("points", &value) {
                        self.point(leaf, &name(&point), &value, &mut keys);
                    }
                }
                "set" if self.may(Setting::Set, "set") => {
                    let values = self.object("set", &value).into_iter().map(|(point, value)| (name(&point), value)).collect();
                    self.settings.set.insert(leaf.to_owned(), values);
                }
                "set" => {}
                other => self.refuse(&format!("{leaf}: '{}' is no setting; there are interval, points and set", short(other))),
            }
        }
        if keys != DeviceKeys::default() {
            self.settings.overlay.insert(leaf.to_owned(), keys);
        }
    }

    fn point(&mut self, leaf: &str, point: &str, value: &Json, keys: &mut DeviceKeys) {
        for (key, value) in self.object(point, value) {
            let setting = match key.as_str() {
                "interval" => Setting::Interval,
                key if REPORT.contains(&key) => Setting::Report,
                other => {
                    self.refuse(&format!("{leaf}.{point}: '{}' is no setting; there are interval and {}", short(other), REPORT.join(", ")));
                    continue;
                }
            };
            if self.may(setting, &key) {
                keys.points.entry(point.to_owned()).or_default().insert(key, value);
            }
        }
    }

    fn object(&mut self, what: &str, value: &Json) -> Map<String, Json> {
        match value {
            Json::Object(object) => object.clone(),
            _ => {
                self.refuse(&format!("{what} is not an object"));
                Map::new()
            }
        }
    }

    fn may(&mut self, setting: Setting, key: &str) -> bool {
        let may = self.allowed.contains(&setting);
        if !may {
            self.refuse(&format!("{key} may not be set from afar: it is not on the list twin.allow of this gateway"));
        }
        may
    }

    fn refuse(&mut self, reason: &str) {
        self.reasons.push(short(reason));
    }
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

fn name(key: &str) -> String {
    key.replace("%2E", ".").replace("%2e", ".")
}

/// A name as a twin takes it for a key.
pub(super) fn key(name: &str) -> String {
    name.replace('.', "%2E")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Setting; 4] = [Setting::Interval, Setting::Report, Setting::Set, Setting::LogLevel];

    fn of(desired: Json, allowed: &[Setting]) -> Result<Settings, String> {
        read(desired.as_object().expect("an object"), allowed)
    }

    #[test]
    fn settings_are_read_as_documented() {
        let desired = json!({"other":1,"tidegate":{"log_level":"debug","leaves":{"hall%2Eboiler":{"interval":"5s",
            "points":{"t":{"report":"change","deadband":0.5}},"set":{"setpoint":21.5}}}}});
        let settings = of(desired, &ALL).expect("understood");
        assert_eq!(settings.log_level, Some(LogLevel::Debug));
        let keys = &settings.overlay["hall.boiler"];
        assert_eq!((&keys.own["interval"], &keys.points["t"]["deadband"]), (&json!("5s"), &json!(0.5)));
        assert_eq!(settings.set["hall.boiler"]["setpoint"], json!(21.5));
    }

    #[test]
    fn what_is_not_allowed_or_not_known_is_refused_as_a_whole() {
        for (own, allowed, part) in [
            (json!({"leaves":{"b":{"interval":"5s"}}}), &[Setting::Set][..], "may not be set from afar"),
            (json!({"leaves":{"b":{"address":"192.0.2.1"}}}), &ALL, "'address' is no setting"),
            (json!({"leaves":{"b":{"points":{"t":{"writable":true}}}}}), &ALL, "'writable' is no setting"),
            (json!({"log_level":"loud"}), &ALL, "log_level"),
            (json!({"leaves":[]}), &ALL, "not an object"),
            (json!(7), &ALL, "not an object"),
        ] {
            let reason = of(json!({ "tidegate": own }), allowed).expect_err("refused");
            assert!(reason.contains(part), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn no_text_can_hurt(text in r#"\{"tidegate":\{"(leaves|log_level|x)":[\{"\[:a-z0-9\]\}]{0,40}\}\}"#) {
            if let Ok(Json::Object(desired)) = serde_json::from_str(&text) {
                read(&desired, &ALL).ok();
            }
        }
    }
}
