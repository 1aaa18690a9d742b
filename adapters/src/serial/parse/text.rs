//! Messages that are text: regular expressions, JSON, CSV, names with values.

use std::{borrow::Cow, collections::HashMap, str::FromStr};

use regex::bytes::Captures;
use serde_json::Value as Json;
use tidegate_core::reading::{Reason, Value};

use super::{
    super::frame::Frame,
    At, Field, Got, Parser, nmea,
    scalar::{Scalar, Type},
};

/// Steps in a path; nobody nests deeper.
const LONGEST_PATH: usize = 32;

/// A way into a JSON value: `a.b[0].c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl FromStr for Path {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (key, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
            if key.is_empty() && (indices.is_empty() || !steps.is_empty()) {
                return Err("has an empty key");
            }
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            for index in indices.split('[').skip(1) {
                let index = index.strip_suffix(']').and_then(|index| index.parse().ok()).ok_or("has an index that is not [0], [1], …")?;
                steps.push(Step::Index(index));
            }
        }
        if steps.len() > LONGEST_PATH { Err("is too long") } else { Ok(Self(steps)) }
    }
}

impl Path {
    fn find<'a>(&self, from: &'a Json) -> Option<&'a Json> {
        self.0.iter().try_fold(from, |at, step| match step {
            Step::Key(key) => at.get(key),
            Step::Index(index) => at.get(index),
        })
    }
}

/// A frame, taken apart as far as all its points need it.
pub(super) enum Source<'a> {
    Groups(Option<Captures<'a>>, &'a [u8]),
    Json(Json),
    Columns(Vec<Cow<'a, [u8]>>),
    Pairs(HashMap<&'a [u8], &'a [u8]>),
    Bytes(&'a [u8]),
    Nmea(Box<nmea::Sentence>),
}

impl<'a> Source<'a> {
    /// `None` when the frame is not like that.
    pub(super) fn new(parser: &Parser, frame: &'a Frame) -> Option<Self> {
        let body = frame.body();
        Some(match parser {
            Parser::Regex(None) => Source::Groups(None, body),
            Parser::Regex(Some(pattern)) => Source::Groups(Some(pattern.captures(body)?), body),
            Parser::Json => Source::Json(serde_json::from_slice(body).ok().filter(|json: &Json| json.is_object() || json.is_array())?),
            Parser::Csv { separator, quote } => Source::Columns(columns(body, *separator, *quote)),
            Parser::Pairs { between, equals } => Source::Pairs(pairs(body, between, equals)),
            Parser::Layout => Source::Bytes(body),
            Parser::Nmea => Source::Nmea(Box::new(nmea::Sentence::read(&frame.whole)?)),
        })
    }

    /// `None` when the point is not in it.
    pub(super) fn get(&self, field: &Field) -> Option<Got> {
        let text = |bytes: &[u8]| field.scalar.read(bytes);
        match (self, &field.at) {
            (Source::Groups(Some(groups), _), At::Group(name)) => groups.name(name).map(|found| text(found.as_bytes())),
            (Source::Groups(_, body), At::Own(pattern)) => {
                let groups = pattern.captures(body)?;
                groups.get(1).or_else(|| groups.get(0)).map(|found| text(found.as_bytes()))
            }
            (Source::Json(json), At::Path(path)) => path.find(json).map(|found| from_json(found, field.scalar)),
            (Source::Columns(columns), At::Column(at)) => columns.get(*at).map(|column| text(column)),
            (Source::Pairs(pairs), At::Key(key)) => pairs.get(key.as_slice()).map(|value| text(value)),
            (Source::Bytes(body), At::Bytes(piece)) => piece.read(body).map(|found| found.map_err(|_| Reason::NotAValue)),
            (Source::Nmea(sentence), At::Fix(fix)) => sentence.get(*fix),
            _ => None,
        }
    }
}

fn from_json(json: &Json, scalar: Scalar) -> Got {
    match json {
        Json::Bool(bit) => match scalar.kind {
            Type::Json | Type::Bool => Ok(Value::Bool(*bit)),
            Type::Number => Ok(Value::Int(i64::from(*bit))),
            Type::Hex | Type::Text => Ok(Value::Text(bit.to_string())),
        },
        Json::Number(number) if matches!(scalar.kind, Type::Json | Type::Number) => {
            let whole = number.as_i64().map(Value::Int).or_else(|| number.as_u64().map(Value::Uint));
            whole.or_else(|| number.as_f64().map(Value::Float)).ok_or(Reason::NotAValue)
        }
        Json::Number(number) => scalar.read(number.to_string().as_bytes()),
        Json::String(text) => scalar.read(text.as_bytes()),
        Json::Null => Err(Reason::NotAValue),
        Json::Array(_) | Json::Object(_) => Ok(Value::Text(json.to_string())),
    }
}

/// A doubled quote inside quotes is one quote.
fn columns(body: &[u8], separator: u8, quote: Option<u8>) -> Vec<Cow<'_, [u8]>> {
    let mut columns = Vec::new();
    let mut rest = body;
    loop {
        let blank = rest.iter().take_while(|byte| **byte == b' ').count();
        let (column, after) = match quote {
            Some(quote) if rest.get(blank) == Some(&quote) => quoted(&rest[blank + 1..], separator, quote),
            _ => {
                let end = rest.iter().position(|byte| *byte == separator).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        columns.push(column);
        match after.split_first() {
            Some((_, next)) => rest = next,
            None => return columns,
        }
    }
}

fn quoted(bytes: &[u8], separator: u8, quote: u8) -> (Cow<'_, [u8]>, &[u8]) {
    let mut column = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            byte if *byte != quote => column.push(*byte),
            _ if bytes.get(at + 1) == Some(&quote) => {
                column.push(quote);
                at += 1;
            }
            _ => break,
        }
        at += 1;
    }
    let rest = bytes.get(at + 1..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == separator).unwrap_or(rest.len());
    (Cow::Owned(column), &rest[end..])
}

/// The first of two with one name counts.
fn pairs<'a>(body: &'a [u8], between: &[u8], equals: &[u8]) -> HashMap<&'a [u8], &'a [u8]> {
    let mut pairs = HashMap::new();
    for part in split(body, between) {
        let mut sides = split(part, equals);
        if let Some(name) = sides.next()
            && name.len() < part.len()
        {
            let value = part.get(name.len() + equals.len()..).unwrap_or_default();
            pairs.entry(name.trim_ascii()).or_insert(value.trim_ascii());
        }
    }
    pairs
}

fn split<'a>(mut rest: &'a [u8], at: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let end = rest.windows(at.len().max(1)).position(|window| window == at);
        let (part, after) = match end {
            Some(end) => (&rest[..end], &rest[end + at.len()..]),
            None => (rest, &rest[rest.len()..]),
        };
        over = end.is_none();
        rest = after;
        Some(part)
    })
}
