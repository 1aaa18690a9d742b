//! What only shows when all sections are seen together: names, leaf ids and serial ports that are used twice, interlocks on
//! points that do not exist, and nothing to do.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{
    id::{LeafId, Name, PointName},
    problem::{Problems, Step},
};

use super::{
    AdapterSection, UpstreamSection,
    section::Checked,
    tree::{Node, Value},
};

/// Tells people where a place is: `devices.d/boiler.toml:12`.
pub(super) type Tell<'a> = &'a dyn Fn(&[Step]) -> String;

/// Steps to an entry of a list at the root.
pub(super) fn entry<S>(list: &str, at: usize, checked: &Checked<S>) -> Vec<Step> {
    vec![Step::Key(list.to_owned()), Step::Entry(at, checked.name.clone())]
}

/// Names are used once within their list, whether the section runs or not.
pub(super) fn names<S>(list: &str, sections: &[Checked<S>], tell: Tell<'_>, problems: &mut Problems) {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, checked) in sections.iter().enumerate() {
        let Some(name) = checked.name.as_deref().filter(|name| Name::new(name).is_ok()) else { continue };
        if let Some(first) = first.get(name) {
            let place = tell(&entry(list, *first, &sections[*first]));
            let mut problems = problems.key(list);
            let mut problems = problems.entry(at, Some(name));
            problems.key("name").error(format!("is already used at {place}"), format!("give each {list} a name of its own"));
        } else {
            first.insert(name, at);
        }
    }
}

/// A leaf is on one adapter, and a port belongs to one adapter, of those that run.
pub(super) fn leaves_and_ports(root: &Node, sections: &[Checked<AdapterSection>], tell: Tell<'_>, problems: &mut Problems) {
    let mut leaves: BTreeMap<&LeafId, Vec<Step>> = BTreeMap::new();
    let mut ports: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, checked) in sections.iter().enumerate().filter(|(_, checked)| checked.enabled) {
        let Some(section) = &checked.section else { continue };
        let here = entry("adapter", at, checked);
        let mut places = places(root, at);
        for leaf in &section.plan.leaves {
            let inner = places.get_mut(leaf.id.as_str()).and_then(Iterator::next).unwrap_or_default();
            let place: Vec<Step> = here.iter().cloned().chain(inner).collect();
            if let Some(first) = leaves.get(&leaf.id) {
                let what = format!("leaf {} is also at {}", leaf.id, tell(first));
                record(problems, &place, what, "give one of them another id: to the hub they would be one device");
            } else {
                leaves.insert(&leaf.id, place);
            }
        }
        for port in &section.plan.exclusive {
            match ports.get(port.as_str()) {
                Some(first) if *first != at => {
                    let other = entry("adapter", *first, &sections[*first]);
                    let what =
                        format!("{port} is also used by adapter {} at {}", sections[*first].name.as_deref().unwrap_or(""), tell(&other));
                    record(problems, &here, what, "put the devices of both into one adapter, or change the port");
                }
                Some(_) => {}
                None => drop(ports.insert(port, at)),
            }
        }
    }
}

/// An interlock on a point that does not exist would refuse every write.
pub(super) fn interlocks(root: &Node, sections: &[Checked<AdapterSection>], problems: &mut Problems) {
    let running = |(_, checked): &(usize, &Checked<AdapterSection>)| checked.enabled;
    let plans =
        || sections.iter().enumerate().filter(running).filter_map(|(at, checked)| Some((at, checked, &checked.section.as_ref()?.plan)));
    let points: BTreeSet<(&LeafId, &PointName)> =
        plans().flat_map(|(_, _, plan)| &plan.leaves).flat_map(|leaf| leaf.points.iter().map(|point| (&leaf.id, &point.name))).collect();
    for (at, checked, plan) in plans() {
        let mut places = places(root, at);
        for leaf in &plan.leaves {
            let inner = places.get_mut(leaf.id.as_str()).and_then(Iterator::next).unwrap_or_default();
            let place: Vec<Step> = entry("adapter", at, checked).into_iter().chain(inner).collect();
            for point in &leaf.points {
                let Some(lock) = point.write.as_ref().and_then(|write| write.interlock.as_ref()) else { continue };
                let on = lock.leaf.as_ref().unwrap_or(&leaf.id);
                if !points.contains(&(on, &lock.point)) {
                    let what = format!("point {} has an interlock on {} of {on}, which does not exist", point.name, lock.point);
                    record(problems, &place, what, "name a point that is read, and its leaf if it is another one");
                }
            }
        }
    }
}

/// Where an adapter's section names its leaves; the second of two with one id comes second.
fn places(root: &Node, at: usize) -> BTreeMap<&str, std::vec::IntoIter<Vec<Step>>> {
    let list = root.table().and_then(|table| table.get("adapter")).map(|node| &node.value);
    let section = if let Some(Value::List(list)) = list { list.get(at) } else { None };
    section.map(Node::ids).unwrap_or_default().into_iter().map(|(id, places)| (id, places.into_iter())).collect()
}

fn record(problems: &mut Problems, place: &[Step], what: String, next: &str) {
    match place.split_first() {
        None => problems.error(what, next),
        Some((Step::Key(key), rest)) => record(&mut problems.key(key), rest, what, next),
        Some((Step::Entry(at, name), rest)) => record(&mut problems.entry(*at, name.as_deref()), rest, what, next),
    }
}

/// A gateway that reads nothing or sends nowhere runs, and is probably not what was meant.
pub(super) fn nothing_to_do(
    root: &Node,
    adapters: &[Checked<AdapterSection>],
    upstreams: &[Checked<UpstreamSection>],
    problems: &mut Problems,
) {
    // What is there and is no list is a problem already.
    let is_list = |key: &str| root.table().and_then(|table| table.get(key)).is_none_or(|node| matches!(node.value, Value::List(_)));
    // A hub for devices that speak for themselves has something to do without either.
    let endpoint = root.table().and_then(|table| table.get("endpoint")?.table());
    if endpoint.is_some_and(|keys| ["tls", "plain", "websocket"].iter().any(|key| keys.contains_key(*key))) {
        return;
    }
    if is_list("adapter") && !adapters.iter().any(|checked| checked.enabled) {
        let next = "add an [[adapter]]; `tidegate adapters` lists the kinds and shows an example of each";
        problems.warning("no adapter is switched on: nothing will be read", next);
    }
    if is_list("upstream") && !upstreams.iter().any(|checked| checked.enabled) {
        problems.warning("no upstream is switched on: messages will stay in the log", "add an [[upstream]]");
    }
}
