//! Routing queries: functions by their names, and errors that point into whatever anybody may write.

use proptest::prelude::*;

use super::{Query, Source, function::Function};

#[test]
fn every_function_is_found_by_its_name_in_any_case() {
    for name in ["abs", "AS_NUMBER", "Concat", "is_Null", "substring", "contains", "power"] {
        assert!(Function::named(name).is_some(), "{name}");
    }
}

/// Pieces of queries in any order: most are refused, and what compiles is evaluated without a panic.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("'x'"),
        Just("1"),
        Just("-2.5"),
        Just("0x1F"),
        Just("$body.a.b[1]"),
        Just("$twin.tags.x"),
        Just("$messageId"),
        Just("("),
        Just(")"),
        Just(","),
        Just("AND"),
        Just("OR"),
        Just("NOT"),
        Just("="),
        Just("<>"),
        Just("<"),
        Just("+"),
        Just("-"),
        Just("||"),
        Just("??"),
        Just("length("),
        Just("concat("),
        Just("is_defined("),
        Just("null"),
        Just("undefined"),
        Just("true"),
        Just("{$contentType}"),
        Just("\""),
        Just("'"),
        Just("\\"),
        Just("ä"),
        Just("/*"),
        Just("*/"),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn errors_always_point_into_the_query(text in prop_oneof![pieces(), "\\PC{0,60}"]) {
        if let Err(error) = Query::compile(&text, Source::Messages) {
            prop_assert!(error.at.start <= error.at.end && error.at.end <= text.len());
            prop_assert!(text.get(error.at.clone()).is_some(), "between two characters: {:?}", error.at);
            prop_assert!(error.pointed_at(&text).contains('^'));
        }
    }
}
