//! Single values: lists of words, limits, and quantities with their units.

use serde_json::Value as Json;
use tidegate_core::{
    problem::Problems,
    quantity::{ByteSize, SIZE_FORMAT, SPAN_FORMAT, Span},
};

use super::{Facet, table::one_of, words};
use crate::config::tree::{Node, Value};

/// Checks a single value whose type is right.
pub(super) fn check(facet: Facet<'_>, node: &Node, problems: &mut Problems) {
    let constants = words::own_constants(facet);
    if !constants.is_empty() {
        return constant(&constants, node, problems);
    }
    match &node.value {
        Value::Text(text) => self::text(facet, text, problems),
        Value::Integer(n) => number(facet, Number::Whole(i128::from(*n)), problems),
        Value::Float(x) => number(facet, Number::Real(*x), problems),
        _ => {}
    }
}

/// One of a few values.
pub(super) fn constant(constants: &[&Json], node: &Node, problems: &mut Problems) {
    let json = node.to_json();
    if constants.iter().any(|constant| **constant == json) {
        return;
    }
    let words: Vec<_> = constants.iter().filter_map(|constant| constant.as_str()).collect();
    match node.text() {
        Some(text) if words.len() == constants.len() => {
            let (what, next) = one_of(text, &words);
            problems.error(what, next);
        }
        _ => {
            let all: Vec<_> = constants.iter().map(ToString::to_string).collect();
            problems.error("is not a value known here", format!("write {}", words::either(&all)));
        }
    }
}

fn text(facet: Facet<'_>, text: &str, problems: &mut Problems) {
    let quantity = match facet.get("format").and_then(Json::as_str) {
        Some(SPAN_FORMAT) => text.parse::<Span>().err(),
        Some(SIZE_FORMAT) => text.parse::<ByteSize>().err(),
        _ => None,
    };
    if let Some(error) = quantity {
        let what = format!("{} is not a {}", words::shown(text), error.what);
        return problems.error(what, format!("write a whole number and a unit: {}", error.example));
    }
    let length = text.chars().count() as u64;
    let limit = |word: &str| facet.get(word).and_then(Json::as_u64);
    match (limit("minLength"), limit("maxLength")) {
        (Some(1..), _) if length == 0 => problems.error("is empty", "write something between the quotes"),
        (Some(least), _) if length < least => {
            problems.error(format!("has {length} characters"), format!("at least {least} are needed"));
        }
        (_, Some(most)) if length > most => problems.error(format!("has {length} characters"), format!("at most {most} are possible")),
        _ => {}
    }
}

#[derive(Debug, Clone, Copy)]
enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    fn of(json: &Json) -> Option<Self> {
        let whole = json.as_i64().map(i128::from).or(json.as_u64().map(i128::from));
        whole.map(Number::Whole).or(json.as_f64().map(Number::Real))
    }

    fn below(self, other: Self) -> bool {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a < b,
            // Whole numbers above 2^53 lose their last digits here, which no limit of ours minds.
            (Number::Whole(a), Number::Real(b)) => (a as f64) < b,
            (Number::Real(a), Number::Whole(b)) => a < b as f64,
            (Number::Real(a), Number::Real(b)) => a < b,
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Whole(n) => n.fmt(f),
            Number::Real(x) => x.fmt(f),
        }
    }
}

fn number(facet: Facet<'_>, number: Number, problems: &mut Problems) {
    let limit = |word: &str| facet.get(word).and_then(Number::of);
    let (format_least, format_most) = match facet.get("format").and_then(Json::as_str) {
        Some("int32") => (Some(Number::Whole(i128::from(i32::MIN))), Some(Number::Whole(i128::from(i32::MAX)))),
        Some("uint32") => (Some(Number::Whole(0)), Some(Number::Whole(i128::from(u32::MAX)))),
        _ => (None, None),
    };
    let (least, most) = (limit("minimum").or(format_least), limit("maximum").or(format_most));
    let (above, below) = (limit("exclusiveMinimum"), limit("exclusiveMaximum"));
    let too_small = least.is_some_and(|least| number.below(least)) || above.is_some_and(|above| !above.below(number));
    let too_large = most.is_some_and(|most| most.below(number)) || below.is_some_and(|below| !number.below(below));
    if too_small || too_large {
        let bounds = [
            least.map(|n| format!("{n} or more")),
            above.map(|n| format!("more than {n}")),
            most.map(|n| format!("{n} or less")),
            below.map(|n| format!("less than {n}")),
        ];
        let next = match (least, most) {
            (Some(least), Some(most)) => format!("write a number from {least} to {most}"),
            _ => format!("write {}", bounds.into_iter().flatten().collect::<Vec<_>>().join(" and ")),
        };
        problems.error(format!("{number} is too {}", if too_small { "small" } else { "large" }), next);
    }
}
