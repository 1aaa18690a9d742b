//! What the files say, before anybody has asked whether they may: values, each with the line that it stands on.
//!
//! A tree is never deep ([`super::parse`] bounds it), so whatever walks it may recurse.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidegate_core::problem::Step;

/// The keys of a table and what they are set to.
pub(super) type Table = BTreeMap<String, Node>;

/// Where something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Which of the files, in the order in which they were read; the first is `tidegate.toml`.
    pub(super) file: usize,
    /// From 1; 0 when it stands on no line of its own.
    pub(super) line: usize,
}

/// A value and where it stands. In a table it stands where its key does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// A date or time. No key of ours takes one, so what it says is not kept.
    Date,
    List(Vec<Node>),
    Table(Table),
}

impl Node {
    /// The table, if it is one.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a table calls itself: its `name`, or its `id`.
    pub(super) fn own_name(&self) -> Option<&str> {
        let table = self.table()?;
        ["name", "id"].iter().find_map(|key| table.get(*key)?.text())
    }

    /// As JSON. What JSON cannot say (dates, NaN) becomes null; the schema check has refused it before.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::Bool(b) => Json::from(*b),
            Value::Integer(n) => Json::from(*n),
            Value::Float(x) => Json::from(*x),
            Value::Text(text) => Json::from(text.as_str()),
            Value::Date => Json::Null,
            Value::List(list) => list.iter().map(Node::to_json).collect(),
            Value::Table(table) => table_to_json(table),
        }
    }

    /// What stands one step deeper.
    pub(super) fn inner(&self, step: &Step) -> Option<&Node> {
        match (step, &self.value) {
            (Step::Key(key), Value::Table(table)) => table.get(key),
            (Step::Entry(at, _), Value::List(list)) => list.get(*at),
            _ => None,
        }
    }

    /// Where a place is, or the deepest part of it that exists.
    pub(super) fn locate(&self, place: &[Step]) -> Mark {
        let Some((step, rest)) = place.split_first() else { return self.mark };
        self.inner(step).map_or(self.mark, |inner| inner.locate(rest))
    }

    /// The steps to each list entry that has an `id` (a leaf, mostly), under that id, in the file's order.
    pub(super) fn ids(&self) -> BTreeMap<&str, Vec<Vec<Step>>> {
        let mut ids = BTreeMap::new();
        self.collect_ids(&mut Vec::new(), &mut ids);
        ids
    }

    fn collect_ids<'a>(&'a self, at: &mut Vec<Step>, ids: &mut BTreeMap<&'a str, Vec<Vec<Step>>>) {
        match &self.value {
            Value::Table(table) => {
                for (key, inner) in table {
                    at.push(Step::Key(key.clone()));
                    inner.collect_ids(at, ids);
                    at.pop();
                }
            }
            Value::List(list) => {
                for (index, entry) in list.iter().enumerate() {
                    at.push(Step::Entry(index, entry.own_name().map(str::to_owned)));
                    if let Some(id) = entry.table().and_then(|table| table.get("id")?.text()) {
                        ids.entry(id).or_default().push(at.clone());
                    }
                    entry.collect_ids(at, ids);
                    at.pop();
                }
            }
            _ => {}
        }
    }
}

/// A table as JSON; see [`Node::to_json`].
pub(super) fn table_to_json(table: &Table) -> Json {
    Json::Object(table.iter().map(|(key, node)| (key.clone(), node.to_json())).collect())
}
