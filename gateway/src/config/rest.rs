//! What is left of a section once everything that breaks its schema is cut out, so that its kind can name what else is wrong.
//!
//! A kind only ever sees what satisfies its schema. So a wrong value is cut out, and where it must be there, the list entry around it
//! (a device, a point). What the kind then says is told at the places of the file; what it says of a table out of which something
//! was cut is not told, because it may be wrong only for want of that.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidegate_core::problem::{Problem, Problems, Step};

use super::{
    schema,
    tree::{Node, Value},
};

/// Times that the schema is asked again. Each time what is missing because of a cut takes the entry around it, and nobody nests
/// entries deeper.
const MOST_ROUNDS: usize = 6;

/// Records what `check` finds in the part of a section that satisfies the schema. Nothing when no such part is left.
pub(super) fn check(section: &Node, schema: &Json, check: impl FnOnce(&Json, &mut Problems), problems: &mut Problems) {
    let mut cuts = Cuts::default();
    for _ in 0..MOST_ROUNDS {
        let rest = cuts.rest_of(section);
        let mut broken = Problems::default();
        schema::check(schema, &rest, "section", &mut broken);
        if broken.list().is_empty() {
            let mut found = Problems::default();
            check(&rest.to_json(), &mut found);
            for problem in found.list_mut() {
                cuts.put_back(&mut problem.path.0);
            }
            found.list_mut().retain(|problem| !cuts.may_be_why(&problem.path.0));
            problems.adopt(found);
            return;
        }
        if !broken.list_mut().iter_mut().all(|problem| cuts.cut(section, problem)) {
            return;
        }
    }
}

/// Whether a value is cut out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Cut {
    #[default]
    No,
    /// A key that nobody knows: nobody misses it.
    Unknown,
    Wrong,
}

/// What is cut out of a value. Entries go by their places in the file's list.
#[derive(Debug, Default)]
struct Cuts {
    whole: Cut,
    keys: BTreeMap<String, Cuts>,
    entries: BTreeMap<usize, Cuts>,
}

impl Cuts {
    fn inner(&self, step: &Step) -> Option<&Cuts> {
        match step {
            Step::Key(key) => self.keys.get(key),
            Step::Entry(at, _) => self.entries.get(at),
        }
    }

    fn at(&mut self, path: &[Step]) -> &mut Cuts {
        path.iter().fold(self, |cuts, step| match step {
            Step::Key(key) => cuts.keys.entry(key.clone()).or_default(),
            Step::Entry(at, _) => cuts.entries.entry(*at).or_default(),
        })
    }

    /// Cuts out what a problem with the rest is about. `false` when it is about the section itself.
    fn cut(&mut self, section: &Node, problem: &mut Problem) -> bool {
        let path = &mut problem.path.0;
        self.put_back(path);
        let is_cut = path.iter().try_fold(&*self, |cuts, step| cuts.inner(step)).is_some_and(|cuts| cuts.whole != Cut::No);
        if path.is_empty() || is_cut || path.iter().try_fold(section, |node, step| node.inner(step)).is_none() {
            let Some(entry) = path.iter().rposition(|step| matches!(step, Step::Entry(..))) else { return false };
            path.truncate(entry + 1);
        }
        self.at(path).whole = if problem.what == schema::UNKNOWN_KEY { Cut::Unknown } else { Cut::Wrong };
        true
    }

    fn rest_of(&self, node: &Node) -> Node {
        let rest = |cuts: Option<&Cuts>, node: &Node| match cuts {
            Some(cuts) if cuts.whole != Cut::No => None,
            Some(cuts) => Some(cuts.rest_of(node)),
            None => Some(node.clone()),
        };
        let value = match &node.value {
            Value::Table(table) => {
                Value::Table(table.iter().filter_map(|(key, node)| Some((key.clone(), rest(self.keys.get(key), node)?))).collect())
            }
            Value::List(list) => Value::List(list.iter().enumerate().filter_map(|(at, node)| rest(self.entries.get(&at), node)).collect()),
            plain => plain.clone(),
        };
        Node { mark: node.mark, value }
    }

    /// From a place in the rest to the place in the file.
    fn put_back(&self, path: &mut [Step]) {
        let mut cuts = Some(self);
        for step in path {
            let Some(here) = cuts else { return };
            if let Step::Entry(at, _) = step {
                for (gone, _) in here.entries.iter().filter(|(_, cuts)| cuts.whole != Cut::No) {
                    *at += usize::from(*gone <= *at);
                }
            }
            cuts = here.inner(step);
        }
    }

    /// Whether what was found at a place may be there only because something was cut: out of the same table, or out of the list.
    fn may_be_why(&self, path: &[Step]) -> bool {
        let lost_entries = |cuts: &Cuts| cuts.entries.values().any(|entry| entry.whole != Cut::No);
        let same_table = !path.iter().any(|step| matches!(step, Step::Entry(..)));
        let here = same_table && self.keys.values().any(|key| key.whole == Cut::Wrong);
        let list = match path {
            [] => lost_entries(self) || self.keys.values().any(lost_entries),
            [step] => self.inner(step).is_some_and(lost_entries),
            _ => false,
        };
        let inner = path.split_first().and_then(|(step, rest)| Some((self.inner(step)?, rest)));
        here || list || inner.is_some_and(|(cuts, rest)| cuts.may_be_why(rest))
    }
}
