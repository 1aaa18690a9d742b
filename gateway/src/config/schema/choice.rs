//! `oneOf` and `anyOf`: finds the alternative that was meant, and names what is wrong with that one only.
//!
//! Told by, in this order: a list of words; the type (text or table); a key that says which (`transport = "tcp"`); and else
//! whichever fits with the fewest problems.

use serde_json::Value as Json;
use tidegate_core::problem::Problems;

use super::{
    At, Checker, Facet, Known, scalar,
    table::{one_of, words_of_key},
    words::{self, either, quoted_list},
};
use crate::config::tree::Table;

impl<'s> Checker<'s> {
    pub(super) fn choice(&mut self, alternatives: &'s [Json], outer: &Known<'s>, at: At<'_>, problems: &mut Problems) -> Known<'s> {
        let all: Vec<_> = alternatives.iter().map(|schema| self.facets(schema)).filter(|facets| !is_null(facets)).collect();
        let constants: Vec<_> = all.iter().map(|facets| words::constants(facets)).collect();
        if !all.is_empty() && constants.iter().all(|constants| !constants.is_empty()) {
            scalar::constant(&constants.concat(), at.node, problems);
            return Known::default();
        }
        let mut fitting: Vec<_> = all.iter().filter(|facets| facets.iter().all(|facet| words::admits(facet, at.node))).collect();
        if fitting.is_empty() && !all.is_empty() {
            let mut expected: Vec<String> = Vec::new();
            for facets in &all {
                expected.extend(Some(words::expected(facets)).filter(|one| !expected.contains(one)));
            }
            problems.error(format!("is {}", words::found(at.node)), format!("write {}", either(&expected)));
            return Known::default();
        }
        if let Some(table) = at.node.table() {
            match self.tag(&fitting, table) {
                Tag::None => {}
                Tag::Says(word, key) => {
                    fitting.retain(|facets| words_of_key(self, facets, key).is_some_and(|words| words.contains(&word.as_str())));
                }
                Tag::Wrong(key, what, next) => {
                    problems.key(key).error(what, next);
                    // Which keys belong is not known before this is mended.
                    return Known { open: true, ..Known::default() };
                }
            }
        }
        self.best(&fitting, outer, at, problems)
    }

    /// The key whose words tell the alternatives apart, and what the table says there.
    fn tag(&self, fitting: &[&Vec<Facet<'s>>], table: &Table) -> Tag<'s> {
        let Some((first, others)) = fitting.split_first().filter(|(_, others)| !others.is_empty()) else { return Tag::None };
        let keys = first.iter().filter_map(|facet| facet.get("properties")?.as_object()).flatten().map(|(key, _)| key.as_str());
        for key in keys {
            let Some(mut words) = words_of_key(self, first, key) else { continue };
            let rest: Option<Vec<_>> = others.iter().map(|facets| words_of_key(self, facets, key)).collect();
            let Some(rest) = rest.map(|rest| rest.concat()).filter(|rest| rest.iter().all(|word| !words.contains(word))) else { continue };
            words.extend(rest);
            return match table.get(key).map(|node| (node, node.text())) {
                Some((_, Some(text))) if words.contains(&text) => Tag::Says(text.to_owned(), key),
                Some((_, Some(text))) => {
                    let (what, next) = one_of(text, &words);
                    Tag::Wrong(key, what, next)
                }
                Some((node, None)) => Tag::Wrong(key, format!("is {}", words::found(node)), format!("write {}", quoted_list(&words))),
                None => Tag::Wrong(key, "is missing".to_owned(), format!("add {key} = {}", quoted_list(&words))),
            };
        }
        Tag::None
    }

    /// Tries each, and takes over the problems of the one that has fewest.
    fn best(&mut self, fitting: &[&Vec<Facet<'s>>], outer: &Known<'s>, at: At<'_>, problems: &mut Problems) -> Known<'s> {
        let at = At { depth: at.depth + 1, ..at };
        if let [only] = fitting {
            return self.open_value(only, outer, at, problems);
        }
        let mut best: Option<(usize, Problems, Known<'s>)> = None;
        for facets in fitting {
            let mut own = Problems::default();
            let known = self.open_value(facets, outer, at, &mut own);
            let is_unknown = |key: &&String| !known.knows(key) && !outer.names.contains(&key.as_str());
            let unknown = at.node.table().map_or(0, |table| table.keys().filter(is_unknown).count());
            let score = own.list().len() + unknown;
            if best.as_ref().is_none_or(|(least, _, _)| score < *least) {
                best = Some((score, own, known));
            }
        }
        let Some((_, own, known)) = best else { return Known::default() };
        problems.adopt(own);
        known
    }
}

/// What the key that tells alternatives apart has to say.
enum Tag<'s> {
    /// There is no such key.
    None,
    /// This word, at this key.
    Says(String, &'s str),
    /// Nothing that is known: the key, what is wrong, and the next step.
    Wrong(&'s str, String, String),
}

/// `null` is how schemas say "may be left out"; TOML has no such value.
fn is_null(facets: &[Facet<'_>]) -> bool {
    facets.iter().any(|facet| facet.get("type").and_then(Json::as_str) == Some("null"))
}
