//! How schemas and values are told to people.

use serde_json::Value as Json;
use tidegate_core::quantity::{SIZE_FORMAT, SPAN_FORMAT};

use super::Facet;
use crate::config::tree::{Node, Value};

/// Most characters of a value that a problem repeats.
const MOST_SHOWN: usize = 40;

/// A text as it was written, shortened, in quotes.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(MOST_SHOWN).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("\"{start}{more}\"")
}

/// What a value is.
pub(super) fn found(node: &Node) -> &'static str {
    match node.value {
        Value::Bool(_) => "true or false",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with decimals",
        Value::Text(_) => "text",
        Value::Date => "a date",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn types(facet: Facet<'_>) -> Vec<&str> {
    match facet.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).filter(|one| *one != "null").collect(),
        _ => Vec::new(),
    }
}

/// Whether a value is of a type that the schema allows.
pub(super) fn admits(facet: Facet<'_>, node: &Node) -> bool {
    let types = types(facet);
    let fits = |one: &&str| match node.value {
        Value::Bool(_) => **one == *"boolean",
        Value::Integer(_) => **one == *"integer" || **one == *"number",
        Value::Float(_) => **one == *"number",
        Value::Text(_) => **one == *"string",
        Value::Date => false,
        Value::List(_) => **one == *"array",
        Value::Table(_) => **one == *"object",
    };
    !facet.contains_key("type") || types.iter().any(fits)
}

/// The few values that are allowed, where the schema itself lists them.
pub(super) fn own_constants<'s>(facet: Facet<'s>) -> Vec<&'s Json> {
    match (facet.get("const"), facet.get("enum").and_then(Json::as_array)) {
        (Some(one), _) => vec![one],
        (None, Some(several)) => several.iter().filter(|one| !one.is_null()).collect(),
        (None, None) => Vec::new(),
    }
}

/// The few values that are allowed, where the schemas list them, themselves or as alternatives.
pub(super) fn constants<'s>(facets: &[Facet<'s>]) -> Vec<&'s Json> {
    let own: Vec<_> = facets.iter().flat_map(|facet| own_constants(facet)).collect();
    if !own.is_empty() {
        return own;
    }
    // Words with a description each: `oneOf` of constants.
    let alternatives = facets.iter().filter_map(|facet| facet.get("oneOf").or_else(|| facet.get("anyOf"))?.as_array()).flatten();
    let each: Option<Vec<_>> = alternatives.map(|one| one.as_object().map(own_constants).filter(|own| !own.is_empty())).collect();
    each.unwrap_or_default().concat()
}

/// What belongs in a place, in words that go after "write".
pub(super) fn expected(facets: &[Facet<'_>]) -> String {
    let constants = constants(facets);
    if !constants.is_empty() {
        return either(&constants.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    let format = facets.iter().find_map(|facet| facet.get("format")?.as_str());
    let types = facets.iter().map(|facet| types(facet)).find(|types| !types.is_empty()).unwrap_or_default();
    let word = |one: &&str| match (*one, format) {
        ("string", Some(SPAN_FORMAT)) => "a duration with its unit, such as \"500ms\"",
        ("string", Some(SIZE_FORMAT)) => "a size with its unit, such as \"64MiB\"",
        ("string", _) => "text in quotes",
        ("integer", _) => "a whole number",
        ("number", _) => "a number",
        ("boolean", _) => "true or false",
        ("array", _) => "a list in [brackets]",
        _ => "a table { key = value }",
    };
    let words: Vec<_> = types.iter().map(word).map(str::to_owned).collect();
    if words.is_empty() { "a value".to_owned() } else { either(&words) }
}

/// Something that could be written there, as TOML.
pub(super) fn example(facets: &[Facet<'_>]) -> Option<String> {
    let given = facets.iter().find_map(|facet| facet.get("examples")?.get(0).or(facet.get("default")));
    Some(given.filter(|one| !one.is_null() && !one.is_object())?.to_string())
}

/// What is wrong with a value of the wrong type, and the next step.
pub(super) fn wrong_type(facets: &[Facet<'_>], node: &Node, label: &str) -> (String, String) {
    let format = facets.iter().find_map(|facet| facet.get("format")?.as_str());
    let wanted = |one: &str| facets.iter().any(|facet| types(facet).contains(&one));
    match (&node.value, format) {
        (Value::Integer(n), Some(SPAN_FORMAT)) => (format!("{n} has no unit"), format!("write \"{n}ms\" or \"{n}s\", as it is meant")),
        (Value::Integer(n), Some(SIZE_FORMAT)) => (format!("{n} has no unit"), format!("write \"{n}MiB\" or \"{n}B\", as it is meant")),
        (Value::Table(_), _) if wanted("array") && holds_tables(facets) => {
            ("stands in single brackets, and there may be several".to_owned(), format!("begin each with [[{label}]]"))
        }
        (Value::List(_), _) if wanted("object") => {
            ("is a list, and there is only one".to_owned(), format!("begin it with [{label}], in single brackets"))
        }
        (Value::Text(text), _) if wanted("integer") && text.parse::<i64>().is_ok() => quoted(text),
        (Value::Text(text), _) if wanted("number") && text.parse::<f64>().is_ok_and(f64::is_finite) => quoted(text),
        (Value::Text(text), _) if wanted("boolean") && matches!(text.as_str(), "true" | "false") => quoted(text),
        _ => (format!("is {}", found(node)), format!("write {}", expected(facets))),
    }
}

fn quoted(text: &str) -> (String, String) {
    ("is text, because of the quotes".to_owned(), format!("write {} without quotes", shown(text).trim_matches('"')))
}

fn holds_tables(facets: &[Facet<'_>]) -> bool {
    let items = facets.iter().find_map(|facet| facet.get("items"));
    items.is_none_or(|items| items.as_object().is_none_or(|items| items.contains_key("$ref") || types(items).contains(&"object")))
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[String]) -> String {
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// `"a", "b" or "c"`.
pub(super) fn quoted_list(words: &[&str]) -> String {
    either(&words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>())
}

/// The known word that was probably meant, if one is near enough to be more than a guess.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.chars().take(64).collect::<String>().to_lowercase().replace('-', "_");
    let word = plain(word);
    let near = |name: &&str| {
        let name = plain(name);
        let apart = strsim::osa_distance(&word, &name);
        let begins = word.len().min(name.len()) >= 3 && (name.starts_with(&word) || word.starts_with(&name));
        let limit = word.chars().count().max(name.chars().count()) / 3;
        (apart <= limit || begins).then_some(apart)
    };
    known.filter_map(|name| near(&name).map(|apart| (apart, name))).min().map(|(_, name)| name)
}
