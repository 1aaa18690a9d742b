//! Values at fixed places of bytes: frames of serial lines, advertisements and characteristics. Types and orders are those of registers.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::{
    profile::{Real, Takes},
    reading::Value,
};

use super::{Kind, NotAValue, Order, Shape};

/// What bytes hold, as the configuration says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U24,
    I24,
    U32,
    I32,
    U48,
    I48,
    U64,
    I64,
    F16,
    F32,
    F64,
    Bcd16,
    Bcd32,
    Bcd64,
    String,
    Bytes,
}

/// How the bytes of a number lie, as the configuration says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawOrder {
    #[default]
    Abcd,
    Cdab,
    Badc,
    Dcba,
}

impl RawOrder {
    pub(crate) fn order(self) -> Order {
        match self {
            RawOrder::Abcd => Order::Abcd,
            RawOrder::Cdab => Order::Cdab,
            RawOrder::Badc => Order::Badc,
            RawOrder::Dcba => Order::Dcba,
        }
    }
}

impl Form {
    /// At this place, in this order. `length` is for text and bytes; `None` where it is missing.
    pub(crate) fn at(self, spot: Spot, order: Order, length: Option<usize>) -> Option<Piece> {
        let number = |kind: Kind| Piece::Number(spot, Shape { kind, order });
        let whole = |words: u8, signed: bool| number(Kind::Whole { words, signed });
        Some(match self {
            Form::Bool => Piece::Flag(spot),
            Form::U8 => Piece::Byte(spot, false),
            Form::I8 => Piece::Byte(spot, true),
            Form::U16 => whole(1, false),
            Form::I16 => whole(1, true),
            Form::U24 => Piece::Three(spot, false, order),
            Form::I24 => Piece::Three(spot, true, order),
            Form::U32 => whole(2, false),
            Form::I32 => whole(2, true),
            Form::U48 => whole(3, false),
            Form::I48 => whole(3, true),
            Form::U64 => whole(4, false),
            Form::I64 => whole(4, true),
            Form::F16 => number(Kind::F16),
            Form::F32 => number(Kind::F32),
            Form::F64 => number(Kind::F64),
            Form::Bcd16 => number(Kind::Bcd { words: 1 }),
            Form::Bcd32 => number(Kind::Bcd { words: 2 }),
            Form::Bcd64 => number(Kind::Bcd { words: 4 }),
            Form::String => Piece::Text(spot, length?),
            Form::Bytes => Piece::Bytes(spot, length?),
        })
    }
}

/// Where a value is, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Its first byte, from the frame's first; from its end when `from_end`.
    pub offset: usize,
    /// Whether the offset counts back from the frame's end: 1 is the last byte.
    pub from_end: bool,
}

/// Bytes of a frame and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A number, or a bit of a byte pair.
    Number(Spot, Shape),
    /// A bit of one byte, 0 the least significant.
    Bit(Spot, u8),
    /// A byte that is not 0.
    Flag(Spot),
    /// One byte.
    Byte(Spot, bool),
    /// UTF-8, ended by NUL or its length; trailing spaces are filling.
    Text(Spot, usize),
    /// As they are.
    Bytes(Spot, usize),
    /// A whole number of three bytes: signed, low byte first.
    Three(Spot, bool, Order),
}

/// What was found at a place.
pub(crate) type Found = Result<Value, NotAValue>;

fn number(shape: Shape, bytes: &[u8]) -> Found {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    shape.decode(&words)
}

fn text(bytes: &[u8]) -> Found {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| NotAValue("bytes that are no UTF-8 text"))?;
    Ok(Value::Text(text.trim_end_matches(' ').to_owned()))
}

fn low_first(order: Order) -> bool {
    matches!(order, Order::Dcba | Order::Cdab)
}

impl Piece {
    /// `None` when there are not enough bytes for it.
    pub(crate) fn read(&self, body: &[u8]) -> Option<Found> {
        let take = |spot: &Spot, count: usize| {
            let at = if spot.from_end { body.len().checked_sub(spot.offset)? } else { spot.offset };
            body.get(at..at.checked_add(count)?)
        };
        Some(match self {
            Piece::Number(spot, shape) => number(*shape, take(spot, self.width())?),
            Piece::Bit(spot, bit) => Ok(Value::Bool(take(spot, 1)?.first()?.checked_shr(u32::from(*bit)).unwrap_or(0) & 1 == 1)),
            Piece::Flag(spot) => Ok(Value::Bool(*take(spot, 1)?.first()? != 0)),
            Piece::Byte(spot, signed) => {
                let byte = *take(spot, 1)?.first()?;
                Ok(Value::Int(if *signed { i64::from(byte as i8) } else { i64::from(byte) }))
            }
            Piece::Text(spot, length) => text(take(spot, *length)?),
            Piece::Bytes(spot, length) => Ok(Value::Bytes(take(spot, *length)?.to_vec())),
            Piece::Three(spot, signed, order) => {
                let bytes = take(spot, 3)?;
                let add = |sum: i64, byte: &u8| sum << 8 | i64::from(*byte);
                let number = if low_first(*order) { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) };
                Ok(Value::Int(if *signed { number << 40 >> 40 } else { number }))
            }
        })
    }

    /// The bytes that say this value, from the first to the last of the piece; `None` when it does not fit.
    /// A bit is only a part of its byte, and is never written so.
    pub(crate) fn write(&self, value: &Value) -> Option<Vec<u8>> {
        let whole = |least: i64, most: i64| match value {
            Value::Int(n) if (least..=most).contains(n) => Some(*n),
            Value::Uint(n) => i64::try_from(*n).ok().filter(|n| (least..=most).contains(n)),
            _ => None,
        };
        match self {
            Piece::Number(_, shape) => Some(shape.encode(value)?.iter().flat_map(|word| word.to_be_bytes()).collect()),
            Piece::Bit(..) => None,
            Piece::Flag(_) => match value {
                Value::Bool(on) => Some(vec![u8::from(*on)]),
                _ => whole(0, 1).map(|n| vec![n as u8]),
            },
            Piece::Byte(_, false) => whole(0, 255).map(|n| vec![n as u8]),
            Piece::Byte(_, true) => whole(-128, 127).map(|n| vec![n as u8]),
            Piece::Three(_, signed, order) => {
                let (least, most) = if *signed { (-0x80_0000, 0x7f_ffff) } else { (0, 0xff_ffff) };
                let [_, a, b, c] = (whole(least, most)? as u32).to_be_bytes();
                Some(if low_first(*order) { vec![c, b, a] } else { vec![a, b, c] })
            }
            Piece::Text(_, length) => match value {
                Value::Text(text) if text.len() <= *length && !text.contains('\0') => {
                    let mut bytes = text.clone().into_bytes();
                    bytes.resize(*length, 0);
                    Some(bytes)
                }
                _ => None,
            },
            Piece::Bytes(_, length) => match value {
                Value::Bytes(bytes) if bytes.len() == *length => Some(bytes.clone()),
                _ => None,
            },
        }
    }

    /// What may be written to it.
    pub(crate) fn takes(&self) -> Takes {
        let whole = |bits: u32, signed: bool| match signed {
            true => Takes::Whole { least: i64::MIN >> (64 - bits), most: u64::MAX >> (65 - bits) },
            false => Takes::Whole { least: 0, most: u64::MAX >> (64 - bits) },
        };
        match self {
            Piece::Bit(..) => Takes::Nothing("a bit cannot be written without the rest of its byte"),
            Piece::Flag(_) => Takes::Bit,
            Piece::Byte(_, signed) => whole(8, *signed),
            Piece::Three(_, signed, _) => whole(24, *signed),
            Piece::Text(_, length) => Takes::Text { most_bytes: *length },
            Piece::Bytes(_, length) => Takes::Bytes { count: *length },
            Piece::Number(_, shape) => match shape.kind {
                Kind::Whole { words, signed } => whole(16 * u32::from(words.clamp(1, 4)), signed),
                Kind::F16 => Takes::Real(Real::Half),
                Kind::F32 => Takes::Real(Real::Single),
                Kind::F64 => Takes::Real(Real::Double),
                Kind::Bcd { words } => Takes::Whole { least: 0, most: 10_u64.pow(4 * u32::from(words.min(4))) - 1 },
                Kind::Text { words, layout } => Takes::Text { most_bytes: usize::from(words) * layout.bytes_per_word() },
                Kind::Bytes { words } => Takes::Bytes { count: 2 * usize::from(words) },
                Kind::Bool | Kind::Bit(_) | Kind::Byte { .. } => Takes::Nothing("a part of a register"),
            },
        }
    }

    /// Where it is.
    pub(crate) fn spot(&self) -> Spot {
        match self {
            Piece::Number(spot, _)
            | Piece::Bit(spot, _)
            | Piece::Flag(spot)
            | Piece::Byte(spot, _)
            | Piece::Text(spot, _)
            | Piece::Bytes(spot, _)
            | Piece::Three(spot, ..) => *spot,
        }
    }

    /// How many bytes it takes.
    pub fn width(&self) -> usize {
        match self {
            Piece::Number(_, Shape { kind: Kind::Text { words, .. } | Kind::Bytes { words }, .. }) => 2 * usize::from(*words),
            Piece::Number(_, shape) => 2 * usize::from(shape.words()),
            Piece::Bit(..) | Piece::Flag(_) | Piece::Byte(..) => 1,
            Piece::Text(_, length) | Piece::Bytes(_, length) => *length,
            Piece::Three(..) => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read_and_what_does_not_fit_is_refused() {
        let spot = Spot { offset: 0, from_end: false };
        let same = [
            (Form::I16, Order::Dcba, Value::Int(-2), vec![0xfe, 0xff]),
            (Form::U24, Order::Dcba, Value::Int(0x01_02_03), vec![3, 2, 1]),
            (Form::I24, Order::Abcd, Value::Int(-1), vec![0xff, 0xff, 0xff]),
            (Form::F32, Order::Dcba, Value::Float(21.5), vec![0, 0, 0xac, 0x41]),
            (Form::I8, Order::Abcd, Value::Int(-128), vec![0x80]),
            (Form::Bool, Order::Abcd, Value::Bool(true), vec![1]),
            (Form::String, Order::Abcd, Value::Text("hi".to_owned()), vec![b'h', b'i', 0, 0]),
        ];
        for (form, order, value, bytes) in same {
            let piece = form.at(spot, order, Some(4)).expect("a piece");
            assert_eq!(piece.write(&value).as_ref(), Some(&bytes), "{form:?}");
            assert_eq!(piece.read(&bytes), Some(Ok(value)), "{form:?}");
        }
        for (form, value) in [(Form::U8, 256), (Form::I8, 128), (Form::U24, -1), (Form::I24, 0x80_0000), (Form::Bool, 2)] {
            assert_eq!(form.at(spot, Order::Abcd, None).expect("a piece").write(&Value::Int(value)), None, "{form:?}");
        }
    }
}
