//! What a leaf measured: one point's value at a time, and how far to trust it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Stamp,
    id::{LeafId, PointName},
};

/// A value of a point. Zero, false and the empty text are values like any other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// One bit.
    Bool(bool),
    /// A whole number, as the leaf keeps it or after a scale that keeps it whole.
    Int(i64),
    /// A whole number beyond `i64`.
    Uint(u64),
    /// A number with a fraction. May be NaN or infinite as the leaf sent it; normalising makes that a bad reading.
    Float(f64),
    /// Text, or the label of an enumeration.
    Text(String),
    /// Bytes that mean nothing to us; they leave as hexadecimal text.
    Bytes(Vec<u8>),
}

impl Value {
    /// As a number, if it is one; a bit is 0 or 1.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Bool(bit) => Some(f64::from(u8::from(*bit))),
            Value::Int(n) => Some(*n as f64),
            Value::Uint(n) => Some(*n as f64),
            Value::Float(n) => Some(*n),
            Value::Text(_) | Value::Bytes(_) => None,
        }
    }
}

/// For people: `21.5`, `on`, `0a ff`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(bit) => bit.fmt(f),
            Value::Int(n) => n.fmt(f),
            Value::Uint(n) => n.fmt(f),
            Value::Float(n) => n.fmt(f),
            Value::Text(text) => f.write_str(text),
            Value::Bytes(bytes) => {
                for (i, byte) in bytes.iter().enumerate() {
                    write!(f, "{}{byte:02x}", if i == 0 { "" } else { " " })?;
                }
                Ok(())
            }
        }
    }
}

/// How far a reading is to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quality {
    /// As the leaf sent it, within its limits.
    Good,
    /// A value that may not be the truth, such as one outside the range that was declared for it.
    Uncertain(Reason),
    /// No value, or one that must not be used.
    Bad(Reason),
}

/// Why a reading is not good. Prints as a short kebab-case word, which is what the hub receives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The leaf did not answer in time.
    Timeout,
    /// The leaf answered that it will not: the Modbus exception code, for example.
    Refused(u8),
    /// An answer came and made no sense: wrong checksum, length or sender.
    Garbled,
    /// The bus, line or radio that the leaf is on is not there.
    BusDown,
    /// Not asked: the leaf has been silent and is only probed now and then.
    PutAside,
    /// Outside the range declared for the point.
    OutOfRange,
    /// The bits are no number (NaN, infinity, a digit above 9 in BCD, bytes that are no text).
    NotAValue,
    /// Anything else an adapter has to say, in kebab-case.
    Other(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Timeout => f.write_str("timeout"),
            Reason::Refused(code) => write!(f, "refused-{code}"),
            Reason::Garbled => f.write_str("garbled"),
            Reason::BusDown => f.write_str("bus-down"),
            Reason::PutAside => f.write_str("put-aside"),
            Reason::OutOfRange => f.write_str("out-of-range"),
            Reason::NotAValue => f.write_str("not-a-value"),
            Reason::Other(word) => f.write_str(word),
        }
    }
}

impl Quality {
    /// Whether the value may be used without a second thought.
    pub fn is_good(&self) -> bool {
        matches!(self, Quality::Good)
    }
}

/// `good`, `uncertain: out-of-range`, `bad: timeout`.
impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quality::Good => f.write_str("good"),
            Quality::Uncertain(reason) => write!(f, "uncertain: {reason}"),
            Quality::Bad(reason) => write!(f, "bad: {reason}"),
        }
    }
}

/// One point's value at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which leaf.
    pub leaf: LeafId,
    /// Which of its points.
    pub point: PointName,
    /// As decoded from the wire, before scale and offset. `None` exactly when the quality is bad and nothing was decoded.
    pub value: Option<Value>,
    /// How far to trust it.
    pub quality: Quality,
    /// When the leaf measured it, or when we read it if the leaf keeps no clock.
    pub taken: Stamp,
}
