//! `[[adapter]]` and `[[upstream]]` sections: the keys that all of them have, and the rest by the rows of the catalogues.

use serde_json::{Map, Value as Json, json};
use tidegate_core::{
    catalogue::{AdapterPlan, UpstreamPlan},
    id::Name,
    problem::Problems,
};
use tidegate_store::Replay;

use super::{
    AdapterSection, Kinds, UpstreamSection, raw, rest, schema,
    tree::{Node, Table, Value, table_to_json},
};
use crate::router::Sign;

/// How much of what is sent may be old, when the file does not say.
const BACKFILL_PERCENT: u8 = 50;

/// What became of a section.
#[derive(Debug)]
pub(super) struct Checked<S> {
    /// What it calls itself, right or wrong; in the file's order.
    pub(super) name: Option<String>,
    /// It is to run.
    pub(super) enabled: bool,
    /// What runs; `None` exactly when an error was recorded.
    pub(super) section: Option<S>,
}

/// A catalogue's row, as far as both catalogues have it.
struct Row<P> {
    name: &'static str,
    schema: fn() -> Json,
    check: fn(&Json, &mut Problems) -> Option<P>,
}

/// What every section of a list has: the plan that its kind made of it, its place in words, and itself to compare with.
struct Common<P> {
    name: Option<Name>,
    kind: &'static str,
    plan: Option<P>,
    json: Json,
}

/// Checks an `[[adapter]]`; `problems` stands at it.
pub(super) fn adapter(node: &Node, kinds: &Kinds, problems: &mut Problems) -> Checked<AdapterSection> {
    let rows: Vec<_> = kinds.adapters.iter().map(|kind| Row { name: kind.name, schema: kind.schema, check: kind.check }).collect();
    check::<AdapterPlan, raw::RawAdapter, _>(node, &rows, problems, |_, common, _| {
        let fingerprint = common.json.to_string();
        Some(AdapterSection { name: common.name?, kind: common.kind, plan: common.plan?, fingerprint })
    })
}

/// Checks an `[[upstream]]`; `problems` stands at it.
pub(super) fn upstream(node: &Node, kinds: &Kinds, problems: &mut Problems) -> Checked<UpstreamSection> {
    let rows: Vec<_> = kinds.upstreams.iter().map(|kind| Row { name: kind.name, schema: kind.schema, check: kind.check }).collect();
    check::<UpstreamPlan, raw::RawUpstream, _>(node, &rows, problems, |raw, common, problems| {
        let replay = replay(&raw, problems);
        let fingerprint = common.json.to_string();
        let (name, plan) = (common.name?, common.plan?);
        if plan.in_flight > raw.window {
            let what = format!("{} is less than the {} that may be in flight", raw.window, plan.in_flight);
            problems.key("window").warning(what, format!("raise window to {} or lower in_flight", plan.in_flight));
        }
        let ttl = raw.ttl.map(|ttl| ttl.0);
        let sign = match raw.ack {
            raw::RawAck::Stored => Sign::Stored,
            raw::RawAck::Leaf => Sign::Leaf,
        };
        Some(UpstreamSection { name, kind: common.kind, window: raw.window, replay, ttl, sign, plan, fingerprint })
    })
}

fn replay(raw: &raw::RawUpstream, problems: &mut Problems) -> Replay {
    match (raw.replay, raw.backfill_percent) {
        (raw::RawReplay::LiveFirst, percent) => Replay::LiveFirst { backfill_percent: percent.unwrap_or(BACKFILL_PERCENT) },
        (raw::RawReplay::InOrder, None) => Replay::InOrder,
        (raw::RawReplay::InOrder, Some(_)) => {
            let next = "add replay = \"live-first\", or remove backfill_percent";
            problems.key("backfill_percent").error("has no effect without replay = \"live-first\"", next);
            Replay::InOrder
        }
    }
}

/// The schema of a kind's section with the keys that every section has. Where both name a key, the common one holds.
pub(super) fn with_common_keys<R: schemars::JsonSchema>(mut kind: Json) -> Json {
    let common = raw::schema_of::<R>();
    if let Some(section) = kind.as_object_mut() {
        section.entry("type").or_insert_with(|| "object".into());
        let properties = section.entry("properties").or_insert_with(|| Json::Object(Map::new()));
        if let (Some(properties), Some(Json::Object(more))) = (properties.as_object_mut(), common.get("properties")) {
            properties.extend(more.clone());
        }
        let required = section.entry("required").or_insert_with(|| Json::Array(Vec::new()));
        if let (Some(required), Some(Json::Array(more))) = (required.as_array_mut(), common.get("required")) {
            required.extend(more.clone());
        }
    }
    kind
}

/// Takes the common keys out of a section: what is left is the kind's own.
fn without_common_keys<R: schemars::JsonSchema>(section: &Table) -> Table {
    let common = raw::schema_of::<R>();
    let own = section.iter().filter(|(key, _)| common["properties"].get(key.as_str()).is_none());
    own.map(|(key, node)| (key.clone(), node.clone())).collect()
}

fn check<P, R, S>(
    node: &Node,
    rows: &[Row<P>],
    problems: &mut Problems,
    finish: impl FnOnce(R, Common<P>, &mut Problems) -> Option<S>,
) -> Checked<S>
where
    R: schemars::JsonSchema + serde::de::DeserializeOwned,
{
    // On its own, so that a hundred warnings elsewhere cannot hide that this one has an error.
    let mut own = Problems::default();
    let section = inner(node, rows, &mut own, finish).filter(|_| !own.any_error());
    if section.is_none() && !own.any_error() {
        own.list_mut().truncate(tidegate_core::problem::MAX_PROBLEMS - 1);
        own.error("is not understood", "compare it with the example that `tidegate adapters` shows for its kind");
    }
    problems.adopt(own);
    let enabled = node.table().and_then(|table| table.get("enabled")).is_none_or(|node| node.to_json() != Json::Bool(false));
    let name = node.table().and_then(|table| table.get("name")?.text()).map(str::to_owned);
    Checked { name, enabled, section }
}

fn inner<P, R, S>(
    node: &Node,
    rows: &[Row<P>],
    problems: &mut Problems,
    finish: impl FnOnce(R, Common<P>, &mut Problems) -> Option<S>,
) -> Option<S>
where
    R: schemars::JsonSchema + serde::de::DeserializeOwned,
{
    let Some(table) = node.table() else {
        problems.error("is not a section", "begin each with its name in double brackets and put the keys below it");
        return None;
    };
    let named = table.get("kind").and_then(Node::text);
    let row = rows.iter().find(|row| Some(row.name) == named);
    let schema = match row {
        Some(row) => with_common_keys::<R>((row.schema)()),
        None => without_a_kind::<R, P>(rows),
    };
    schema::check(&schema, node, "section", problems);
    let name = table.get("name").and_then(Node::text);
    let name = name.and_then(|name| Name::new(name).map_err(|error| problems.key("name").error("is not a name", error.rule)).ok());
    let name_is_wrong = usize::from(name.is_none());
    let row = row?;
    if problems.list().len() > name_is_wrong {
        // The rest may be wrong too, and is named at once.
        let own = Node { mark: node.mark, value: Value::Table(without_common_keys::<R>(table)) };
        let check = |rest: &Json, problems: &mut Problems| drop((row.check)(rest, problems));
        rest::check(&own, &(row.schema)(), check, problems);
        return None;
    }
    let json = table_to_json(table);
    let plan = (row.check)(&table_to_json(&without_common_keys::<R>(table)), problems);
    let raw = serde_json::from_value(json.clone()).ok()?;
    finish(raw, Common { name, kind: row.name, plan, json }, problems)
}

/// The schema of a section whose kind is not known, and so neither which other keys there may be.
fn without_a_kind<R: schemars::JsonSchema, P>(rows: &[Row<P>]) -> Json {
    let mut schema = with_common_keys::<R>(json!({ "additionalProperties": true }));
    schema["properties"]["kind"]["enum"] = rows.iter().map(|row| row.name).collect();
    schema
}
