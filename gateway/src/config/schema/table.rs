//! Tables and lists: what stands in them, what is missing, and what nobody knows.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use tidegate_core::problem::{MAX_PROBLEMS, Problems};

use super::{
    At, Checker, Facet, Known,
    words::{self, nearest, quoted_list},
};
use crate::config::tree::{Node, Table};

/// What is said of a key that is not in the schema.
pub(in crate::config) const UNKNOWN_KEY: &str = "is not a key here";

impl<'s> Checker<'s> {
    /// Checks the keys that the schemas name, and that the required ones are there.
    pub(super) fn properties(&mut self, facets: &[Facet<'s>], table: &Table, at: At<'_>, problems: &mut Problems) -> Known<'s> {
        let mut known = Known::default();
        for facet in facets {
            known.merge(keys_of(facet));
            let properties = facet.get("properties").and_then(Json::as_object);
            for (key, schema) in properties.into_iter().flatten() {
                if let Some(node) = table.get(key) {
                    self.value(schema, At { node, label: key, depth: at.depth + 1 }, &mut problems.key(key));
                }
            }
        }
        for facet in facets {
            for key in facet.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
                if !table.contains_key(key) {
                    let next = self.how_to_add(facets, key);
                    problems.key(key).error("is missing", next);
                }
            }
        }
        known
    }

    fn how_to_add(&self, facets: &[Facet<'s>], key: &str) -> String {
        let facets = self.facets_of_key(facets, key);
        match words::example(&facets).or_else(|| self.example_table(&facets)) {
            Some(example) => format!("add {key} = {example}"),
            None => format!("add {key}: {}", words::expected(&facets)),
        }
    }

    /// A table with the keys that it must have, when there is an example for each.
    fn example_table(&self, facets: &[Facet<'s>]) -> Option<String> {
        let required = facets.iter().filter_map(|facet| facet.get("required")?.as_array()).flatten().filter_map(Json::as_str);
        let one = |key| Some(format!("{key} = {}", words::example(&self.facets_of_key(facets, key))?));
        let keys: Vec<String> = required.map(one).collect::<Option<_>>()?;
        (!keys.is_empty()).then(|| format!("{{ {} }}", keys.join(", ")))
    }

    fn facets_of_key(&self, facets: &[Facet<'s>], key: &str) -> Vec<Facet<'s>> {
        let schema = facets.iter().find_map(|facet| facet.get("properties")?.get(key));
        schema.map(|schema| self.facets(schema)).unwrap_or_default()
    }

    /// Keys that no schema knows, and those for which it only knows what their values must be.
    pub(super) fn unknown_keys(&mut self, table: &Table, known: &Known<'s>, at: At<'_>, problems: &mut Problems) {
        for (key, node) in table.iter().filter(|(key, _)| !known.names.contains(&key.as_str())) {
            if problems.list().len() == MAX_PROBLEMS {
                return;
            }
            if let Some(schema) = known.others {
                self.value(schema, At { node, label: key, depth: at.depth + 1 }, &mut problems.key(key));
            } else if !known.knows(key) {
                problems.key(key).error(UNKNOWN_KEY, instead_of(key, &known.names, table));
            }
        }
    }

    pub(super) fn list(&mut self, facets: &[Facet<'s>], list: &[Node], at: At<'_>, problems: &mut Problems) {
        for facet in facets {
            let first = facet.get("prefixItems").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
            for (index, node) in list.iter().enumerate() {
                if problems.list().len() == MAX_PROBLEMS {
                    return;
                }
                if let Some(schema) = first.get(index).or(facet.get("items")) {
                    let mut entry = problems.entry(index, node.own_name());
                    self.value(schema, At { node, label: at.label, depth: at.depth + 1 }, &mut entry);
                }
            }
            length(facet, list.len(), problems);
            if facet.get("uniqueItems") == Some(&Json::Bool(true)) {
                repeated(list, problems);
            }
        }
    }
}

fn keys_of(facet: Facet<'_>) -> Known<'_> {
    let properties = facet.get("properties").and_then(Json::as_object);
    let patterns = facet.get("patternProperties").and_then(Json::as_object);
    let additional = facet.get("additionalProperties").or_else(|| facet.get("unevaluatedProperties"));
    let closed = matches!(additional, Some(Json::Bool(false)));
    Known {
        names: properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect(),
        others: patterns.and_then(|patterns| patterns.values().next()).or(additional.filter(|schema| schema.is_object())),
        says: properties.is_some() || patterns.is_some() || closed,
        open: matches!(additional, Some(Json::Bool(true))),
    }
}

/// Most names listed for someone whose key resembles none of them.
const MOST_NAMES: usize = 16;

/// What was probably meant; of two that are near, the one that is not there yet.
fn instead_of(key: &str, names: &[&str], table: &Table) -> String {
    let free: BTreeSet<&str> = names.iter().copied().filter(|name| !table.contains_key(*name)).collect();
    if let Some(name) = nearest(key, free.iter().copied()).or_else(|| nearest(key, names.iter().copied())) {
        return format!("did you mean {name}?");
    }
    match free.len() {
        0 => "remove it".to_owned(),
        1..=MOST_NAMES => format!("remove it; known here and not set: {}", free.into_iter().collect::<Vec<_>>().join(", ")),
        _ => "remove it: nothing like it is known here".to_owned(),
    }
}

fn length(facet: Facet<'_>, length: usize, problems: &mut Problems) {
    let limit = |word: &str| facet.get(word).and_then(Json::as_u64);
    match (limit("minItems"), limit("maxItems")) {
        (Some(1), _) if length == 0 => problems.error("is empty", "put at least one entry into it"),
        (Some(least), _) if (length as u64) < least => {
            problems.error(format!("has {length} entries"), format!("at least {least} are needed"));
        }
        (_, Some(most)) if length as u64 > most => {
            problems.error(format!("has {length} entries"), format!("at most {most} are possible"));
        }
        _ => {}
    }
}

fn repeated(list: &[Node], problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for (index, node) in list.iter().enumerate() {
        if !seen.insert(node.to_json().to_string()) {
            problems.entry(index, node.own_name()).error("stands in the list twice", "remove one of the two");
        }
    }
}

/// For [`super::choice`]: which words a key may have in these schemas, if they name any.
pub(super) fn words_of_key<'s>(checker: &Checker<'s>, facets: &[Facet<'s>], key: &str) -> Option<Vec<&'s str>> {
    let words: Vec<_> = words::constants(&checker.facets_of_key(facets, key)).into_iter().filter_map(Json::as_str).collect();
    (!words.is_empty()).then_some(words)
}

/// For [`super::choice`].
pub(super) fn one_of(text: &str, words: &[&str]) -> (String, String) {
    let near = nearest(text, words.iter().copied()).map(|word| format!("did you mean \"{word}\"? ")).unwrap_or_default();
    (format!("{} is not a word known here", words::shown(text)), format!("{near}write {}", quoted_list(words)))
}
