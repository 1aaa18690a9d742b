//! What has changed between two configurations, so that applying one restarts only what changed.
//!
//! Sections are compared as they are written, comments and order of keys aside: writing a default out counts as a change.
//! Files that a section only names (keys, certificates, templates) are not looked at.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tidegate_core::id::Name;

use super::Config;

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Adapters that run or have run.
    pub adapters: Changes,
    /// Upstreams that run or have run.
    pub upstreams: Changes,
    /// The gateway's own sections that have changed, such as `log`: they take effect when the process starts again.
    pub restart_needed: Vec<String>,
}

/// What has changed among sections of one kind. A section that was switched off counts as removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Only in the new one.
    pub added: Vec<Name>,
    /// Only in the old one.
    pub removed: Vec<Name>,
    /// In both, and not equal.
    pub changed: Vec<Name>,
}

impl Difference {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// For `tidegate reload` and the page.
    pub fn view(&self) -> Json {
        json!({ "adapters": self.adapters.view(), "upstreams": self.upstreams.view(), "restart_needed": self.restart_needed })
    }
}

impl Changes {
    fn view(&self) -> Json {
        let names = |names: &[Name]| names.iter().map(|name| Json::from(name.as_str())).collect::<Json>();
        json!({ "added": names(&self.added), "removed": names(&self.removed), "changed": names(&self.changed) })
    }
}

/// What has changed from the old to the new.
pub fn difference(old: &Config, new: &Config) -> Difference {
    let own = [
        ("gateway", old.gateway != new.gateway),
        ("log", old.log != new.log),
        ("body", old.body != new.body),
        ("clock", old.clock != new.clock),
        ("metrics", old.metrics != new.metrics),
        ("endpoint", old.endpoint != new.endpoint),
        ("web", old.web != new.web),
        ("diagnostics", old.diagnostics != new.diagnostics),
        ("commands", old.commands != new.commands),
        ("twin", old.twin != new.twin),
    ];
    let adapters = |config: &Config| prints(config.adapters.iter().map(|section| (&section.name, &section.fingerprint)));
    let upstreams = |config: &Config| prints(config.upstreams.iter().map(|section| (&section.name, &section.fingerprint)));
    Difference {
        adapters: changes(&adapters(old), &adapters(new)),
        upstreams: changes(&upstreams(old), &upstreams(new)),
        restart_needed: own.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()).collect(),
    }
}

type Prints = BTreeMap<Name, String>;

fn prints<'a>(sections: impl Iterator<Item = (&'a Name, &'a String)>) -> Prints {
    sections.map(|(name, print)| (name.clone(), print.clone())).collect()
}

fn changes(old: &Prints, new: &Prints) -> Changes {
    let missing_in = |there: &Prints, here: &Prints| here.keys().filter(|name| !there.contains_key(*name)).cloned().collect();
    let changed = new.iter().filter(|(name, print)| old.get(*name).is_some_and(|before| before != *print));
    Changes { added: missing_in(old, new), removed: missing_in(new, old), changed: changed.map(|(name, _)| name.clone()).collect() }
}
