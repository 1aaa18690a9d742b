//! Text into values, and the ways into messages.

use tidegate_core::reading::{Reason, Value};

use super::*;

fn number(text: &str) -> Got {
    Scalar::default().read(text.as_bytes())
}

#[test]
fn numbers_are_whole_unless_they_have_a_fraction() {
    let cases = [
        ("0", Value::Int(0)),
        ("-0", Value::Int(0)),
        ("+007", Value::Int(7)),
        (" 42 ", Value::Int(42)),
        ("18446744073709551615", Value::Uint(u64::MAX)),
        ("21.50", Value::Float(21.5)),
        (".5", Value::Float(0.5)),
        ("-   1.25", Value::Float(-1.25)),
        ("1e3", Value::Float(1000.0)),
    ];
    for (text, value) in cases {
        assert_eq!(number(text), Ok(value), "{text}");
    }
}

#[test]
fn what_is_no_number_is_none_and_never_zero() {
    for text in ["", " ", "-", "abc", "nan", "inf", "+-1", "1,5", "--1", "1e999", "0x10", "1 2"] {
        assert_eq!(number(text), Err(Reason::NotAValue), "{text}");
    }
    assert_eq!(Scalar::default().read(&[0xff, 0xfe]), Err(Reason::NotAValue));
}

#[test]
fn other_types_take_their_own_text() {
    let read = |kind, text: &str| Scalar { kind, comma: false }.read(text.as_bytes());
    assert_eq!(read(Type::Hex, "0xFF"), Ok(Value::Int(255)));
    assert_eq!(read(Type::Hex, "ffffffffffffffff"), Ok(Value::Uint(u64::MAX)));
    assert_eq!(read(Type::Hex, "+f"), Err(Reason::NotAValue));
    assert_eq!(read(Type::Bool, "OFF"), Ok(Value::Bool(false)));
    assert_eq!(read(Type::Bool, "2"), Err(Reason::NotAValue));
    assert_eq!(read(Type::Text, ""), Ok(Value::Text(String::new())));
    assert_eq!(read(Type::Text, "007"), Ok(Value::Text("007".to_owned())));
    assert_eq!(Scalar { kind: Type::Number, comma: true }.read(b"-21,5"), Ok(Value::Float(-21.5)));
}

#[test]
fn paths_are_keys_and_indices() {
    for good in ["a", "a.b", "a[0]", "[1].x", "a.b[0][1].c"] {
        assert!(good.parse::<Path>().is_ok(), "{good}");
    }
    for bad in ["", ".", "a..b", "a[", "a[x]", "a.[0]", &"a.".repeat(50)] {
        assert!(bad.parse::<Path>().is_err(), "{bad}");
    }
}
