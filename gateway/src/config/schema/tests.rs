//! The validator against schemas of every shape, and against random ones.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_core::problem::Problems;

use super::check;
use crate::config::{
    parse,
    tests::steady,
    tree::{Mark, Node, Value},
};

fn node(text: &str) -> Node {
    let parsed = parse::parse(&[(std::path::Path::new("x"), text)]);
    let table = parsed.tables.into_iter().next().flatten().expect("it is TOML");
    Node { mark: Mark::default(), value: Value::Table(table) }
}

fn problems(schema: &Json, text: &str) -> Vec<String> {
    let mut problems = Problems::default();
    check(schema, &node(text), "", &mut problems);
    problems.list().iter().map(ToString::to_string).collect()
}

/// A schema for one key.
fn key(schema: Json) -> Json {
    json!({ "properties": { "k": schema } })
}

fn about_key(schema: Json, value: &str) -> String {
    problems(&key(schema), &format!("k = {value}")).join(" | ")
}

#[test]
fn limits_of_numbers_are_kept_and_told() {
    let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
    assert_eq!(about_key(port.clone(), "65535"), "");
    assert_eq!(about_key(port, "70000"), "k: 70000 is too large; write a number from 1 to 65535");
    let share = json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5 });
    assert_eq!(about_key(share.clone(), "1"), "");
    assert_eq!(about_key(share.clone(), "0"), "k: 0 is too small; write more than 0 and less than 1.5");
    assert_eq!(about_key(share, "1.5"), "k: 1.5 is too large; write more than 0 and less than 1.5");
    let word = json!({ "type": "integer", "format": "uint32", "minimum": 0 });
    assert_eq!(about_key(word.clone(), "4294967296"), "k: 4294967296 is too large; write a number from 0 to 4294967295");
    assert_eq!(about_key(json!({ "type": "integer", "maximum": u64::MAX }), "9223372036854775807"), "");
    assert_eq!(about_key(word, "-1"), "k: -1 is too small; write a number from 0 to 4294967295");
}

#[test]
fn lists_and_texts_have_lengths_and_places() {
    let pair = json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer" }], "minItems": 2, "maxItems": 2 });
    assert_eq!(about_key(pair.clone(), "['a', 1]"), "");
    assert_eq!(about_key(pair.clone(), "[1, 'a']"), "k[0]: is a whole number; write text in quotes | k[1]: is text; write a whole number");
    assert_eq!(about_key(pair, "['a', 1, 1]"), "k: has 3 entries; at most 2 are possible");
    let set = json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true });
    assert_eq!(about_key(set, "['a', 'b', 'a']"), "k[2]: stands in the list twice; remove one of the two");
    let short = json!({ "type": "string", "minLength": 1, "maxLength": 3 });
    assert_eq!(about_key(short.clone(), "''"), "k: is empty; write something between the quotes");
    assert_eq!(about_key(short.clone(), "'äöü'"), "");
    assert_eq!(about_key(short, "'four'"), "k: has 4 characters; at most 3 are possible");
}

#[test]
fn constants_are_told_apart_by_value() {
    assert_eq!(about_key(json!({ "enum": [9600, 19200] }), "9600"), "");
    assert_eq!(about_key(json!({ "enum": [9600, 19200] }), "9601"), "k: is not a value known here; write 9600 or 19200");
    let described = json!({ "oneOf": [{ "type": "string", "const": "even" }, { "type": "string", "const": "odd" }] });
    assert_eq!(about_key(described.clone(), "'odd'"), "");
    assert_eq!(
        about_key(described.clone(), "'evne'"),
        "k: \"evne\" is not a word known here; did you mean \"even\"? write \"even\" or \"odd\""
    );
    assert_eq!(about_key(described, "1"), "k: is not a value known here; write \"even\" or \"odd\"");
}

#[test]
fn the_alternative_that_was_meant_is_found() {
    let either = json!({ "anyOf": [
        { "type": "string" },
        { "type": "object", "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } }, "required": ["a"] },
        { "type": "object", "properties": { "c": { "type": "integer" } }, "required": ["c"] },
        { "type": "null" },
    ] });
    assert_eq!(about_key(either.clone(), "'x'"), "");
    assert_eq!(about_key(either.clone(), "{ c = 1 }"), "");
    assert_eq!(about_key(either.clone(), "{ a = 1, b = 'x' }"), "k.b: is text; write a whole number");
    assert_eq!(about_key(either.clone(), "{ c = 1, d = 1 }"), "k.d: is not a key here; remove it");
    assert_eq!(about_key(either, "7"), "k: is a whole number; write text in quotes or a table { key = value }");
}

#[test]
fn parts_that_hold_together_know_each_others_keys() {
    let schema = json!({
        "properties": { "own": { "type": "boolean" } },
        "allOf": [{ "$ref": "#/$defs/shared" }],
        "anyOf": [{ "properties": { "user": {} }, "required": ["user"] }, {}],
        "$defs": { "shared": { "properties": { "shared": { "type": "integer" } }, "required": ["shared"] } },
    });
    assert_eq!(problems(&schema, "own = true\nshared = 1\nuser = 1"), Vec::<String>::new());
    assert_eq!(problems(&schema, "own = true\nshared = 1"), Vec::<String>::new());
    assert_eq!(
        problems(&schema, "own = 1\nshard = 1"),
        [
            "own: is a whole number; write true or false",
            "shared: is missing; add shared: a whole number",
            "shard: is not a key here; did you mean shared?",
        ]
    );
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema = json!({
        "$ref": "#/$defs/a",
        "$defs": {
            "a": { "anyOf": [{ "$ref": "#/$defs/b" }, { "$ref": "#/$defs/b" }] },
            "b": { "anyOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }], "allOf": [{ "$ref": "#/$defs/a" }] },
        },
    });
    assert!(problems(&schema, "a = 1").iter().any(|text| text.contains("too involved")));
    let list = json!({ "properties": { "next": { "$ref": "#" } } });
    assert_eq!(problems(&list, "next.next.next.netx = 1"), ["next.next.next.netx: is not a key here; did you mean next?"]);
}

/// JSON in which keywords stand where they may mean something.
fn any_schema() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        prop::sample::select("string integer object array # #/$defs/a tidegate-duration k a".split(' ').collect::<Vec<_>>())
            .prop_map(Json::from),
    ];
    let words: Vec<&str> = "type properties required additionalProperties patternProperties items prefixItems enum const minimum \
        exclusiveMaximum maxLength minItems uniqueItems format oneOf anyOf allOf $ref $defs examples a k"
        .split_whitespace()
        .collect();
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((prop::sample::select(words.clone()), inner), 0..6)
                .prop_map(|members| Json::Object(members.into_iter().map(|(word, value)| (word.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(steady(500))]

    #[test]
    fn no_schema_makes_it_panic_or_hang(schema in any_schema()) {
        for text in ["", "a = 1", "k = { a = [1, 'x', { k = {} }], k = 1979-05-27 }", "[[a]]\nk.a = nan\n[[a]]\nid = 'i'"] {
            problems(&schema, text);
        }
    }
}
