//! Settings that a hub has laid over the files: a few keys of devices and points, known by their names.
//!
//! Laid over before anything is checked, so that what the hub asks for is held against the same rules as what a person writes. Nothing is
//! written to the files.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidegate_core::problem::{Place, Problem, Step};

use super::{
    parse::problem,
    tree::{Mark, Node, Table, Value},
};

/// Keys of one device or point, and what they are set to.
pub type Keys = BTreeMap<String, Json>;

/// What is laid over one device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceKeys {
    /// Its own keys.
    pub own: Keys,
    /// Those of its points.
    pub points: BTreeMap<String, Keys>,
}

/// What is laid over the files: device ids and their keys.
pub type Overlay = BTreeMap<String, DeviceKeys>;

/// Sets the keys in the tree. A device or point that is not there is a problem.
pub(super) fn lay(overlay: &Overlay, root: &mut Node, problems: &mut Vec<Problem>) {
    for (id, keys) in overlay {
        let Some(device) = devices(root).find(|device| names(device, "id", id)) else {
            problems.push(missing(format!("there is no device '{id}'")));
            continue;
        };
        set(device, &keys.own);
        for (name, keys) in &keys.points {
            match entries(device, "point").find(|point| names(point, "name", name)) {
                Some(point) => set(point, keys),
                None => problems.push(missing(format!("'{id}' has no point '{name}'"))),
            }
        }
    }
}

fn missing(what: String) -> Problem {
    problem(None, None, Place(vec![Step::Key("desired".to_owned())]), what, "name devices and points as `tidegate read` shows them")
}

fn devices(root: &mut Node) -> impl Iterator<Item = &mut Table> {
    let adapters = match &mut root.value {
        Value::Table(root) => Some(entries(root, "adapter")),
        _ => None,
    };
    adapters.into_iter().flatten().flat_map(|adapter| entries(adapter, "device"))
}

fn entries<'a>(table: &'a mut Table, list: &str) -> impl Iterator<Item = &'a mut Table> + use<'a> {
    let nodes = match table.get_mut(list).map(|node| &mut node.value) {
        Some(Value::List(nodes)) => nodes.iter_mut(),
        _ => [].iter_mut(),
    };
    nodes.filter_map(|node| match &mut node.value {
        Value::Table(table) => Some(table),
        _ => None,
    })
}

fn names(table: &Table, key: &str, name: &str) -> bool {
    table.get(key).and_then(Node::text) == Some(name)
}

fn set(table: &mut Table, keys: &Keys) {
    for (key, value) in keys {
        table.insert(key.clone(), Node { mark: Mark::default(), value: node(value) });
    }
}

fn node(value: &Json) -> Value {
    match value {
        Json::Bool(bit) => Value::Bool(*bit),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Integer),
        Json::String(text) => Value::Text(text.clone()),
        // No key of these takes anything else; the check says so.
        Json::Null | Json::Array(_) | Json::Object(_) => Value::List(Vec::new()),
    }
}
