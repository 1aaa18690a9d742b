//! Who listens to what, by the levels of the filters: finding those who take a topic costs its levels and the listeners, not all filters.

use std::collections::{BTreeMap, HashMap};

/// One level.
#[derive(Debug, Default)]
pub(super) struct Tree {
    levels: HashMap<Box<str>, Tree>,
    any: Option<Box<Tree>>,
    /// Listeners whose filter ends here, and at which QoS.
    here: BTreeMap<u64, u8>,
    /// Listeners whose filter ends in `#` here.
    below: BTreeMap<u64, u8>,
}

impl Tree {
    pub(super) fn add(&mut self, filter: &str, listener: u64, qos: u8) {
        let mut tree = self;
        for level in filter.split('/') {
            tree = match level {
                "#" => {
                    tree.below.insert(listener, qos);
                    return;
                }
                "+" => tree.any.get_or_insert_default(),
                other => tree.levels.entry(other.into()).or_default(),
            };
        }
        tree.here.insert(listener, qos);
    }

    pub(super) fn remove(&mut self, filter: &str, listener: u64) {
        let (level, rest) = filter.split_once('/').map_or((filter, None), |(level, rest)| (level, Some(rest)));
        if level == "#" {
            self.below.remove(&listener);
            return;
        }
        let child = if level == "+" { self.any.as_deref_mut() } else { self.levels.get_mut(level) };
        let Some(child) = child else { return };
        match rest {
            Some(rest) => child.remove(rest, listener),
            None => drop(child.here.remove(&listener)),
        }
        // Filters that come and go leave nothing behind.
        if child.is_empty() {
            if level == "+" { self.any = None } else { drop(self.levels.remove(level)) }
        }
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    /// Whoever takes this topic, each once and at the highest QoS of their filters that do.
    pub(super) fn takers(&self, topic: &str) -> BTreeMap<u64, u8> {
        let mut found = BTreeMap::new();
        let levels: Vec<&str> = topic.split('/').collect();
        self.find(&levels, &mut found);
        found
    }

    fn find(&self, levels: &[&str], found: &mut BTreeMap<u64, u8>) {
        take(&self.below, found);
        let Some((level, rest)) = levels.split_first() else {
            take(&self.here, found);
            return;
        };
        let named = self.levels.get(*level);
        named.into_iter().chain(self.any.as_deref()).for_each(|tree| tree.find(rest, found));
    }
}

fn take(from: &BTreeMap<u64, u8>, found: &mut BTreeMap<u64, u8>) {
    for (listener, qos) in from {
        let known = found.entry(*listener).or_insert(*qos);
        *known = (*known).max(*qos);
    }
}
