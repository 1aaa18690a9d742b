//! Known words, and every kind in every order there and back.

use proptest::prelude::*;

use super::*;

fn shape(kind: Kind, order: Order) -> Shape {
    Shape { kind, order }
}

fn read(kind: Kind, order: Order, words: &[u16]) -> Value {
    shape(kind, order).decode(words).expect("a value")
}

const I32: Kind = Kind::Whole { words: 2, signed: true };

#[test]
fn the_four_orders_are_what_their_letters_say() {
    let words = [
        (Order::Abcd, [0x0a0b, 0x0c0d]),
        (Order::Cdab, [0x0c0d, 0x0a0b]),
        (Order::Badc, [0x0b0a, 0x0d0c]),
        (Order::Dcba, [0x0d0c, 0x0b0a]),
    ];
    for (order, words) in words {
        assert_eq!(read(I32, order, &words), Value::Int(0x0a0b_0c0d), "{order:?}");
    }
}

#[test]
fn known_words_read_as_known_values() {
    let cases: [(Kind, &[u16], Value); 17] = [
        (Kind::F32, &[0x41ac, 0], Value::Float(21.5)),
        (Kind::F32, &[0x3dcc, 0xcccd], Value::Float(0.1)),
        (Kind::F64, &[0x3ff8, 0, 0, 0], Value::Float(1.5)),
        (Kind::F16, &[0x3555], Value::Float(0.333_251_953_125)),
        (Kind::F16, &[0x0001], Value::Float(1.0 / 16_777_216.0)),
        (Kind::Whole { words: 1, signed: true }, &[0xffff], Value::Int(-1)),
        (Kind::Whole { words: 1, signed: false }, &[0xffff], Value::Int(65_535)),
        (I32, &[0xffff, 0xfffe], Value::Int(-2)),
        (Kind::Whole { words: 3, signed: false }, &[1, 0, 0], Value::Int(1 << 32)),
        (Kind::Whole { words: 4, signed: false }, &[0xffff; 4], Value::Uint(u64::MAX)),
        (Kind::Whole { words: 4, signed: true }, &[0xffff; 4], Value::Int(-1)),
        (Kind::Bcd { words: 2 }, &[0x1234, 0x5678], Value::Int(12_345_678)),
        (Kind::Bcd { words: 4 }, &[0x9999; 4], Value::Int(9_999_999_999_999_999)),
        (Kind::Byte { high: true, signed: true }, &[0xfe01], Value::Int(-2)),
        (Kind::Byte { high: false, signed: false }, &[0xfe01], Value::Int(1)),
        (Kind::Bit(15), &[0x8000], Value::Bool(true)),
        (Kind::Bytes { words: 2 }, &[0x0102, 0x0304], Value::Bytes(vec![1, 2, 3, 4])),
    ];
    for (kind, words, value) in cases {
        assert_eq!(read(kind, Order::Abcd, words), value, "{kind:?}");
    }
}

#[test]
fn text_ends_at_nul_and_without_its_filling() {
    let text = |layout, words: &[u16]| read(Kind::Text { words: words.len() as u16, layout }, Order::Abcd, words);
    assert_eq!(text(Layout::HighFirst, &[0x5469, 0x6465, 0x0041]), Value::Text("Tide".into()));
    assert_eq!(text(Layout::LowFirst, &[0x6954, 0x6564, 0x2020]), Value::Text("Tide".into()));
    assert_eq!(text(Layout::HighOnly, &[0x5400, 0x6900]), Value::Text("Ti".into()));
    assert_eq!(text(Layout::LowOnly, &[0x0054, 0xff69]), Value::Text("Ti".into()));
}

#[test]
fn what_is_no_value_is_said_and_not_guessed() {
    assert!(shape(Kind::Bcd { words: 1 }, Order::Abcd).decode(&[0x12a4]).is_err());
    assert!(shape(Kind::Text { words: 1, layout: Layout::HighFirst }, Order::Abcd).decode(&[0xfffe]).is_err());
    assert!(shape(Kind::F32, Order::Abcd).decode(&[0x41ac]).is_err(), "one register of two");
}

#[test]
fn what_does_not_fit_is_not_encoded() {
    let refused = |kind, value| assert_eq!(shape(kind, Order::Abcd).encode(&value), None, "{kind:?}");
    refused(Kind::Whole { words: 1, signed: false }, Value::Int(-1));
    refused(Kind::Whole { words: 1, signed: true }, Value::Int(32_768));
    refused(Kind::Bcd { words: 1 }, Value::Int(10_000));
    refused(Kind::F16, Value::Float(70_000.0));
    refused(Kind::F32, Value::Float(1e300));
    refused(Kind::Text { words: 1, layout: Layout::LowOnly }, Value::Text("ab".into()));
    refused(Kind::Bit(3), Value::Int(2));
}

#[test]
fn every_half_survives() {
    for bits in 0..=u16::MAX {
        let number = half_from(bits);
        match number.is_nan() {
            true => assert!(half_from(half_into(number).expect("NaN has a half")).is_nan()),
            false => assert_eq!(half_into(number), Some(bits)),
        }
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Bool),
        (0_u8..16).prop_map(Kind::Bit),
        any::<(bool, bool)>().prop_map(|(high, signed)| Kind::Byte { high, signed }),
        (1_u8..=4, any::<bool>()).prop_map(|(words, signed)| Kind::Whole { words, signed }),
        Just(Kind::F16),
        Just(Kind::F32),
        Just(Kind::F64),
        (1_u8..=4).prop_map(|words| Kind::Bcd { words }),
        (1_u16..20, 0_usize..4).prop_map(|(words, at)| Kind::Text { words, layout: Layout::ALL[at] }),
        (1_u16..20).prop_map(|words| Kind::Bytes { words }),
    ]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (any_kind(), 0_usize..4).prop_map(|(kind, at)| shape(kind, Order::ALL[at]))
}

proptest! {
    #[test]
    fn any_words_are_read_without_fear_and_say_the_same_after_a_round_trip(shape in any_shape(), words in proptest::collection::vec(any::<u16>(), 20)) {
        let words = &words[..usize::from(shape.words())];
        if let Ok(value) = shape.decode(words) {
            let again = shape.encode(&value).expect("what was read can be written");
            let back = shape.decode(&again).expect("what was written can be read");
            // Debug text, because NaN is not equal to itself.
            prop_assert_eq!(format!("{back:?}"), format!("{value:?}"));
        }
    }

    #[test]
    fn whole_numbers_survive(n in any::<i64>(), words in 1_u8..=4, at in 0_usize..4) {
        let shape = shape(Kind::Whole { words, signed: true }, Order::ALL[at]);
        let unused = 64 - 16 * u32::from(words);
        let n = n >> unused;
        let encoded = shape.encode(&Value::Int(n)).expect("fits");
        prop_assert_eq!(shape.decode(&encoded), Ok(Value::Int(n)));
    }

    #[test]
    fn text_survives(text in "[a-zA-Z0-9äöü°.]{0,9}", at in 0_usize..4) {
        let shape = shape(Kind::Text { words: 20, layout: Layout::ALL[at] }, Order::Abcd);
        let encoded = shape.encode(&Value::Text(text.clone())).expect("fits");
        prop_assert_eq!(shape.decode(&encoded), Ok(Value::Text(text)));
    }
}
