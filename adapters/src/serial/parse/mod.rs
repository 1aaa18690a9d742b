//! Frames into values: what the configured messages make of a frame.
//!
//! Pure; takes any bytes and never panics. A frame either is like a message or it is not (`None`); if it is, each of the
//! message's points is a value, a reason why there is none, or not in this frame at all. Zero, false and the empty
//! text are values.

mod nmea;
mod scalar;
#[cfg(test)]
mod tests;
mod text;

use regex::bytes::Regex;
use tidegate_core::{
    id::PointName,
    reading::{Reason, Value},
};

use super::frame::Frame;

pub use crate::value::{Piece, Spot};
pub use nmea::Fix;
pub use scalar::{Scalar, Type};
pub use text::Path;

/// A message that a device sends.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Only frames whose body matches are of this message.
    pub only: Option<Regex>,
    /// How it is taken apart.
    pub parser: Parser,
    /// Its points.
    pub fields: Vec<Field>,
}

/// How a message is taken apart.
#[derive(Debug, Clone)]
pub enum Parser {
    /// By the groups of a regular expression, or by one for each point.
    Regex(Option<Regex>),
    /// As a JSON object or list.
    Json,
    /// As values between separators.
    Csv {
        /// Between values.
        separator: u8,
        /// Around a value that holds the separator.
        quote: Option<u8>,
    },
    /// As names with values.
    Pairs {
        /// Between pairs.
        between: Vec<u8>,
        /// Between a name and its value.
        equals: Vec<u8>,
    },
    /// As bytes at fixed places.
    Layout,
    /// As an NMEA 0183 sentence; the whole frame with `$` and checksum.
    Nmea,
}

/// A point in a message.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: PointName,
    /// Where it is.
    pub at: At,
    /// What it is, where it is text.
    pub scalar: Scalar,
    /// Whether frames of this message may lack it.
    pub optional: bool,
}

/// Where a point is in a message.
#[derive(Debug, Clone)]
pub enum At {
    /// The group of this name.
    Group(String),
    /// The first group of its own expression, or all of what that matches.
    Own(Regex),
    /// In JSON.
    Path(Path),
    /// A column, from 0.
    Column(usize),
    /// The value of this name.
    Key(Vec<u8>),
    /// Bytes.
    Bytes(Piece),
    /// Of an NMEA sentence.
    Fix(Fix),
    /// In no message: a point that is only written.
    Nowhere,
}

/// A point's value, or why there is none.
pub type Got = Result<Value, Reason>;

/// A point is not in a frame that should have it.
pub const NO_FIELD: Reason = Reason::Other("no-field");

impl Pattern {
    /// What the frame says, for each field that it has or should have; `None` when it is no frame of this message: it
    /// does not match, cannot be taken apart so, or has none of the fields.
    pub fn read(&self, frame: &Frame) -> Option<Vec<(usize, Got)>> {
        let body = frame.body();
        if self.only.as_ref().is_some_and(|only| !only.is_match(body)) {
            return None;
        }
        let source = text::Source::new(&self.parser, frame)?;
        let mut got = Vec::with_capacity(self.fields.len());
        // Receivers say many sentences that have none of our points.
        let mut is_like = matches!(self.parser, Parser::Nmea);
        for (at, field) in self.fields.iter().enumerate() {
            match source.get(field) {
                Some(value) => {
                    is_like = true;
                    got.push((at, value));
                }
                None if field.optional || matches!(field.at, At::Nowhere | At::Fix(_)) => {}
                None => got.push((at, Err(NO_FIELD))),
            }
        }
        is_like.then_some(got)
    }
}

impl Field {
    /// Whether it is ever read, or only written.
    pub fn is_read(&self) -> bool {
        !matches!(self.at, At::Nowhere)
    }
}
