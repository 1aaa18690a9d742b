//! `[endpoint.site_bus]`, from what the file says to what the program runs on.

use std::collections::BTreeSet;

use tidegate_core::{
    id::{HubDeviceId, Name},
    message::Class,
    problem::Problems,
};
use tidegate_endpoint::site::{ANYBODY, Access, DEVICE, filter};

use super::raw::{RawAccess, RawSiteBus, RawSiteRule};
use crate::site::{
    SiteSection,
    rule::{Rule, ready_made},
};

/// Most entries of each list.
const MOST: usize = 256;

/// Problems are recorded; what is returned beside them is not run.
pub(super) fn check(raw: &RawSiteBus, problems: &mut Problems) -> SiteSection {
    if raw.access.is_empty() {
        problems.warning("lets nobody use it", "add [[endpoint.site_bus.access]] with device, publish and subscribe");
    }
    for (key, length) in [("access", raw.access.len()), ("rule", raw.rule.len())] {
        if length > MOST {
            problems.key(key).error(format!("has {length} entries"), format!("at most {MOST}; use \"*\" and {DEVICE}, or wildcards"));
        }
    }
    let access = raw.access.iter().enumerate().map(|(at, raw)| access(raw, &mut problems.key("access").entry(at, None))).collect();
    let mut rules = Vec::new();
    for (at, raw) in raw.rule.iter().enumerate() {
        rules.extend(rule(raw, &mut problems.key("rule").entry(at, raw.name.as_deref())));
    }
    // Two topics of a ready-made rule share a name and a command; two rules of one name would share leaves.
    let mut names = BTreeSet::new();
    for (at, raw) in raw.rule.iter().enumerate() {
        let name = raw.ready_made.map(|ready| ready.word().to_owned()).or_else(|| raw.name.clone());
        if let Some(name) = name.filter(|name| !names.insert(name.clone())) {
            problems.key("rule").entry(at, Some(&name)).error("is there twice", "give each rule its own name");
        }
    }
    if let Some(topic) = &raw.mirror
        && (!filter::is_topic(&topic.replace("{leaf}", "x")) || topic.matches("{leaf}").count() != 1 || topic.starts_with("devices/"))
    {
        problems.key("mirror").error("is no topic with {leaf} in it", "write a topic such as \"tidegate/{leaf}\"");
    }
    SiteSection { access, rules, mirror: raw.mirror.clone() }
}

fn access(raw: &RawAccess, problems: &mut Problems) -> Access {
    if raw.device != ANYBODY && HubDeviceId::new(&raw.device).is_err() {
        problems.key("device").error("is no device's id", "write the id as it is registered, or \"*\" for each of them");
    }
    for (key, filters) in [("publish", &raw.publish), ("subscribe", &raw.subscribe)] {
        for text in filters.iter().filter(|text| !filter::is_filter(&text.replace(DEVICE, "x")) || text.starts_with("devices/")) {
            let shown: String = text.chars().take(60).collect();
            let next =
                format!("write topics such as \"tele/{DEVICE}/#\": + for one level, # for the rest, none that begins with $ or devices/");
            problems.key(key).error(format!("'{shown}' is no filter of topics"), next);
        }
    }
    Access { device: raw.device.clone(), publish: raw.publish.clone(), subscribe: raw.subscribe.clone() }
}

fn rule(raw: &RawSiteRule, problems: &mut Problems) -> Vec<Rule> {
    if let Some(ready) = raw.ready_made {
        let others = [&raw.name, &raw.topic, &raw.command, &raw.separator, &raw.on, &raw.off];
        if others.iter().any(|other| other.is_some()) || raw.class.is_some() {
            problems.key("use").error("stands beside other keys", "leave them out, or write the rule out without use");
        }
        return ready_made(ready.word());
    }
    let (Some(name), Some(topic)) = (&raw.name, &raw.topic) else {
        problems.error("is no rule", "write use = \"tasmota\", or name and topic");
        return Vec::new();
    };
    if let Err(error) = Name::new(name) {
        problems.key("name").error(error.to_string(), "write 1 to 64 of letters, digits and . _ -");
    }
    let separator = raw.separator.as_ref().and_then(|text| {
        let mut characters = text.chars();
        let one = characters.next().filter(|c| characters.next().is_none() && c.is_ascii_punctuation() && !"_+#{}$".contains(*c));
        if one.is_none() {
            problems.key("separator").error("is not one character", "write one such as \"/\" or \":\"");
        }
        one
    });
    let words = match (&raw.on, &raw.off) {
        (Some(on), Some(off)) => Some((on.clone(), off.clone())),
        (None, None) => None,
        _ => {
            problems.key("on").error("stands alone", "give both on and off, or neither");
            None
        }
    };
    let rule = Rule {
        name: name.clone(),
        topic: topic.clone(),
        command: raw.command.clone(),
        class: raw.class.unwrap_or(Class::Telemetry),
        separator,
        words,
    };
    if let Some((key, what)) = rule.fault() {
        problems.key(key).error(what, "write a topic such as \"meters/{leaf}/values\"");
    }
    vec![rule]
}
