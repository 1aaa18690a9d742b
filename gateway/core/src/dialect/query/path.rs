//! A way into a JSON document: `weather.hist[1]`. Names are compared with case.

use std::ops::Range;

use serde_json::Value as Json;

use super::QueryError;

/// The longest way in; a body is hardly ever nested deeper than a twin may be (10 levels).
const MAX_STEPS: usize = 32;

/// Names and places, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Entry(usize),
}

/// Reads `name[n]?` joined by dots; `from` is its place in the query.
pub(super) fn parse(text: &str, from: usize) -> Result<Path, QueryError> {
    let mut steps = Vec::new();
    let mut at = from;
    for part in text.split('.') {
        let whole = at..at + part.len();
        let (name, index) = match part.split_once('[') {
            None => (part, None),
            Some((name, rest)) => (name, Some(index(rest, whole.clone())?)),
        };
        if name.is_empty() || name.contains(']') {
            return Err(QueryError::new(whole, "a name is missing in the path", "write names joined by dots: weather.temperature"));
        }
        steps.push(Step::Name(name.to_owned()));
        steps.extend(index.map(Step::Entry));
        at += part.len() + 1;
    }
    if steps.len() > MAX_STEPS {
        return Err(QueryError::new(from..from + text.len(), format!("a path has at most {MAX_STEPS} steps"), "shorten it"));
    }
    Ok(Path(steps))
}

fn index(rest: &str, whole: Range<usize>) -> Result<usize, QueryError> {
    let digits = rest.strip_suffix(']').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| QueryError::new(whole, "an entry is one number in brackets", "write name[0] for the first entry"))
}

impl Path {
    /// What is there; `None` when the way ends before.
    pub(super) fn find<'j>(&self, document: &'j Json) -> Option<&'j Json> {
        self.0.iter().try_fold(document, |json, step| match step {
            Step::Name(name) => json.get(name.as_str()),
            Step::Entry(at) => json.get(*at),
        })
    }

    /// Begins where a twin has something, and names something in it.
    pub(super) fn is_in_a_twin(&self) -> bool {
        let name = |at: usize| match self.0.get(at) {
            Some(Step::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        match (name(0), name(1)) {
            (Some("tags"), Some(_)) => true,
            (Some("properties"), Some("desired" | "reported")) => self.0.len() > 2,
            _ => false,
        }
    }

    pub(super) fn has_index(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Entry(_)))
    }
}
