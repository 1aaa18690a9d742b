//! Checks a tree against a JSON Schema and names everything that is wrong with it, each at its place.
//!
//! The part of JSON Schema (2020-12) that `schemars` derives for configuration structs: `$ref` within the document, `type`,
//! `properties`, `required`, `additionalProperties`, `patternProperties` (keys are not matched), `items`, `prefixItems`, `enum`,
//! `const`, limits of numbers, texts and lists, `uniqueItems`, `allOf`, `anyOf` and `oneOf` (both: what fits best), and the formats
//! of [`tidegate_core::quantity`]. Other keywords are not looked at. Tables with `properties` are closed unless the schema says
//! otherwise, so that a mistyped key is never silently ignored.
//!
//! Holds for any schema and any tree, also for those that refer to themselves: the work is counted and the depth bounded.
//! Texts are repeated only where few can be right (a word from a list), never for keys that are not known: these may hold secrets.

mod choice;
mod scalar;
mod table;

pub(super) use table::UNKNOWN_KEY;
mod words;

use serde_json::{Map, Value as Json};
use tidegate_core::problem::{MAX_PROBLEMS, Problems};

use super::tree::{Node, Value};

/// Most values looked at, each time it is. A large section has 10 000; only alternatives within alternatives go beyond this.
const MAX_STEPS: usize = 2_000_000;
/// Deepest place, alternatives counted too. The tree itself has at most 32 levels.
const MAX_DEPTH: usize = 100;

/// Checks a value, recording every problem; `problems` stands at the value, and `label` is the key that it stands under.
pub(super) fn check(schema: &Json, node: &Node, label: &str, problems: &mut Problems) {
    let mut checker = Checker { root: schema, steps_left: MAX_STEPS, gave_up: false };
    checker.value(schema, At { node, label, depth: 0 }, problems);
    if checker.gave_up {
        problems.error("is too involved to be checked", "write it in fewer or flatter tables");
    }
}

/// The value that is looked at.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    /// The key it stands under, for advice.
    label: &'a str,
    depth: usize,
}

/// A schema that is an object, and those that hold for the same value.
type Facet<'s> = &'s Map<String, Json>;

struct Checker<'s> {
    /// What `$ref` refers into.
    root: &'s Json,
    steps_left: usize,
    /// Something was not looked at. Kept here, because what an alternative records is lost when another fits better.
    gave_up: bool,
}

/// Which keys of a table a schema knows.
#[derive(Debug, Default)]
struct Known<'s> {
    names: Vec<&'s str>,
    /// What the values of all other keys must be.
    others: Option<&'s Json>,
    /// It says which keys there are; without that, any may be.
    says: bool,
    /// It allows other keys, whatever they are.
    open: bool,
}

impl<'s> Known<'s> {
    fn knows(&self, key: &str) -> bool {
        self.open || !self.says || self.others.is_some() || self.names.contains(&key)
    }

    fn merge(&mut self, other: Known<'s>) {
        self.names.extend(other.names);
        self.others = self.others.or(other.others);
        self.says |= other.says;
        self.open |= other.open;
    }
}

impl<'s> Checker<'s> {
    /// Checks a value, unknown keys included.
    fn value(&mut self, schema: &'s Json, at: At<'_>, problems: &mut Problems) {
        if *schema == Json::Bool(false) {
            return problems.error("may not be set here", "remove it");
        }
        let facets = self.facets(schema);
        let known = self.open_value(&facets, &Known::default(), at, problems);
        if let Value::Table(table) = &at.node.value {
            self.unknown_keys(table, &known, at, problems);
        }
    }

    /// Checks a value, and says which keys are known instead of minding the others. `outer` is known already.
    fn open_value(&mut self, facets: &[Facet<'s>], outer: &Known<'s>, at: At<'_>, problems: &mut Problems) -> Known<'s> {
        let mut known = Known::default();
        if !self.may_go_on(at, problems) {
            known.open = true;
            return known;
        }
        if !self.type_fits(facets, at, problems) {
            return known;
        }
        match &at.node.value {
            Value::Table(table) => known = self.properties(facets, table, at, problems),
            Value::List(list) => self.list(facets, list, at, problems),
            _ => facets.iter().for_each(|facet| scalar::check(facet, at.node, problems)),
        }
        for facet in facets {
            for alternatives in ["oneOf", "anyOf"].iter().filter_map(|word| facet.get(*word)?.as_array()) {
                let mut so_far = Known { names: outer.names.clone(), ..Known::default() };
                so_far.names.extend(&known.names);
                known.merge(self.choice(alternatives, &so_far, at, problems));
            }
        }
        known
    }

    fn may_go_on(&mut self, at: At<'_>, problems: &Problems) -> bool {
        self.steps_left = self.steps_left.saturating_sub(1);
        self.gave_up |= self.steps_left == 0 || at.depth >= MAX_DEPTH;
        !self.gave_up && problems.list().len() < MAX_PROBLEMS
    }

    fn type_fits(&self, facets: &[Facet<'s>], at: At<'_>, problems: &mut Problems) -> bool {
        let what = match &at.node.value {
            Value::Date => "is a date, and no date belongs here",
            Value::Float(x) if !x.is_finite() => "is not a finite number",
            _ if facets.iter().all(|facet| words::admits(facet, at.node)) => return true,
            _ => {
                let (what, next) = words::wrong_type(facets, at.node, at.label);
                problems.error(what, next);
                return false;
            }
        };
        problems.error(what, format!("write {}", words::expected(facets)));
        false
    }

    /// All schemas that hold for a value at once: this, what it refers to, and all of `allOf`.
    fn facets(&self, schema: &'s Json) -> Vec<Facet<'s>> {
        let mut facets: Vec<Facet<'s>> = Vec::new();
        let mut waiting = vec![schema];
        while let Some(facet) = waiting.pop().and_then(Json::as_object) {
            if facets.iter().any(|seen| std::ptr::eq(*seen, facet)) {
                continue;
            }
            facets.push(facet);
            waiting.extend(facet.get("allOf").and_then(Json::as_array).into_iter().flatten());
            let target = facet.get("$ref").and_then(Json::as_str).and_then(|pointer| pointer.strip_prefix('#'));
            waiting.extend(target.and_then(|pointer| self.root.pointer(pointer)));
        }
        facets
    }
}

#[cfg(test)]
mod tests;
