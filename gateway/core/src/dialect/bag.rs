//! The property bag: `key=value&key=value`, percent-encoded, at the end of a topic.
//!
//! Writing is exact. Reading comes in two tempers: [`decode`] makes the best of what a stranger wrote and never fails;
//! [`decode_strict`] refuses what IoT Hub closes a connection for. Which names are system properties is not decided here;
//! their names are constants so that nobody spells them twice.

use std::{borrow::Cow, collections::HashMap};

use percent_encoding::percent_decode_str;

use super::encode;

/// Message id.
pub const MESSAGE_ID: &str = "$.mid";
/// Correlation id.
pub const CORRELATION_ID: &str = "$.cid";
/// User id.
pub const USER_ID: &str = "$.uid";
/// Content type.
pub const CONTENT_TYPE: &str = "$.ct";
/// Content encoding.
pub const CONTENT_ENCODING: &str = "$.ce";
/// Creation time, RFC 3339 in UTC.
pub const CREATION_TIME: &str = "$.ctime";
/// The moment after which nobody wants a C2D message any more.
pub const EXPIRES: &str = "$.exp";
/// Where a C2D message was sent to.
pub const TO: &str = "$.to";
/// The component of a modelled device.
pub const SUBJECT: &str = "$.sub";
/// Which feedback the sender of a C2D message wants; the one system property without `$.`.
pub const ACK: &str = "iothub-ack";

/// A key and its value; `None` for a key without `=`.
pub type Pair = (String, Option<String>);

/// Appends one property to a bag, with the `&` that it needs.
pub fn push(bag: &mut String, key: &str, value: Option<&str>) {
    if !bag.is_empty() && !bag.ends_with('/') {
        bag.push('&');
    }
    bag.extend(encode(key));
    if let Some(value) = value {
        bag.push('=');
        bag.extend(encode(value));
    }
}

/// A whole bag, in the order given.
pub fn encode_all<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    pairs.into_iter().fold(String::new(), |mut bag, (key, value)| {
        push(&mut bag, key, value);
        bag
    })
}

/// Reads whatever was written. The last of several equal keys wins; empty keys are dropped; an escape that is none, or that is not
/// UTF-8, stays as it was written. In order of last assignment.
pub fn decode(bag: &str) -> Vec<Pair> {
    let pairs = trim(bag).split('&').map(split).filter(|(key, _)| !key.is_empty());
    last_of_each(pairs.map(|(key, value)| (lenient(key), value.map(lenient))))
}

/// Reads what IoT Hub reads, or says why it would close the connection. The last of several equal keys wins.
pub fn decode_strict(bag: &str) -> Result<Vec<Pair>, BagError> {
    let bag = trim(bag);
    if bag.is_empty() {
        return Ok(Vec::new());
    }
    if bag.contains('/') {
        return Err(BagError::RawSlash);
    }
    let mut pairs = Vec::new();
    for part in bag.split('&') {
        let (key, value) = split(part);
        if key.is_empty() {
            return Err(BagError::EmptyKey);
        }
        if value.is_some_and(|value| value.contains('=')) {
            return Err(BagError::SecondEquals);
        }
        pairs.push((strict(key)?, value.map(strict).transpose()?));
    }
    Ok(last_of_each(pairs))
}

/// Why IoT Hub would not read a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BagError {
    /// `=value`, or an `&` with nothing on one of its sides.
    #[error("property bag: a property has no name")]
    EmptyKey,
    /// `a=b=c`.
    #[error("property bag: '=' within a value is not encoded")]
    SecondEquals,
    /// `a=b/c`.
    #[error("property bag: '/' is not encoded")]
    RawSlash,
    /// `%zz`, `%2`, or bytes that are not UTF-8.
    #[error("property bag: bad percent-encoding")]
    BadEscape,
}

/// Old samples begin a bag with `?`; some clients end it with `/`.
fn trim(bag: &str) -> &str {
    let bag = bag.strip_prefix('?').unwrap_or(bag);
    bag.strip_suffix('/').unwrap_or(bag)
}

fn split(part: &str) -> (&str, Option<&str>) {
    part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)))
}

fn lenient(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text)).into_owned()
}

fn strict(text: &str) -> Result<String, BagError> {
    let bytes = text.as_bytes();
    let is_escape = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(at, b)| *b == b'%' && !is_escape(at)) {
        return Err(BagError::BadEscape);
    }
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| BagError::BadEscape)
}

/// By a map of places, because a hostile bag has thirty thousand keys.
fn last_of_each(pairs: impl IntoIterator<Item = Pair>) -> Vec<Pair> {
    let pairs: Vec<Pair> = pairs.into_iter().collect();
    let last: HashMap<&str, usize> = pairs.iter().enumerate().map(|(at, (key, _))| (key.as_str(), at)).collect();
    if last.len() == pairs.len() {
        return pairs;
    }
    let keep: Vec<bool> = pairs.iter().enumerate().map(|(at, (key, _))| last.get(key.as_str()) == Some(&at)).collect();
    pairs.into_iter().zip(keep).filter_map(|(pair, keep)| keep.then_some(pair)).collect()
}
