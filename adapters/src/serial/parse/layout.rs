//! Values at fixed places of binary frames. Types and orders are those of registers.

use tidegate_core::reading::{Reason, Value};

use super::Got;
use crate::value::{Kind, Order, Shape};

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

/// `None` when the frame is too short for it.
pub(super) fn read(piece: &Piece, body: &[u8]) -> Option<Got> {
    let take = |spot: &Spot, count: usize| {
        let at = if spot.from_end { body.len().checked_sub(spot.offset)? } else { spot.offset };
        body.get(at..at.checked_add(count)?)
    };
    Some(match piece {
        Piece::Number(spot, shape) => number(*shape, take(spot, 2 * usize::from(shape.words()))?),
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
            let low_first = matches!(order, Order::Dcba | Order::Cdab);
            let add = |sum: i64, byte: &u8| sum << 8 | i64::from(*byte);
            let number = if low_first { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) };
            Ok(Value::Int(if *signed { number << 40 >> 40 } else { number }))
        }
    })
}

fn number(shape: Shape, bytes: &[u8]) -> Got {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    shape.decode(&words).map_err(|_| Reason::NotAValue)
}

fn text(bytes: &[u8]) -> Got {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Reason::NotAValue)?;
    Ok(Value::Text(text.trim_end_matches(' ').to_owned()))
}

impl Piece {
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
