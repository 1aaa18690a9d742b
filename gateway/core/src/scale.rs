//! One raw value to the value that leaves. Pure.

use crate::{
    profile::PointProfile,
    reading::{Quality, Reason, Value},
};

/// A value as it leaves, with how far to trust it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// `None` when the quality is bad and there is nothing to show.
    pub value: Option<Value>,
    /// Good, or the reason why not.
    pub quality: Quality,
}

impl Shown {
    /// As a number, if it is shown as one; a bit is not.
    pub fn number(&self) -> Option<f64> {
        self.value.as_ref().and_then(|value| match value {
            Value::Bool(_) => None,
            other => other.as_f64(),
        })
    }
}

/// Most decimal places that a scale like 0.001 asks for by itself; beyond it a factor is no decimal fraction but a measured constant.
const MOST_IMPLIED_PLACES: u32 = 9;

/// Applies scale, offset, precision, labels and range.
///
/// A whole number stays whole without a scale. With one, the result has no more decimal places than scale and offset
/// together can give it: raw 213 × 0.1 is 21.3, not 21.300000000000001.
pub fn show(value: Option<Value>, quality: Quality, profile: &PointProfile) -> Shown {
    let Some(value) = value else { return Shown { value: None, quality } };
    match value {
        Value::Text(_) | Value::Bytes(_) => Shown { value: Some(value), quality },
        number if !profile.labels.is_empty() => label(number, quality, profile),
        Value::Bool(bit) if is_plain(profile) => Shown { value: Some(Value::Bool(bit)), quality },
        number => scaled(number, quality, profile),
    }
}

fn label(number: Value, quality: Quality, profile: &PointProfile) -> Shown {
    let raw = match number {
        Value::Bool(bit) => Some(i64::from(bit)),
        Value::Int(n) => Some(n),
        Value::Uint(n) => i64::try_from(n).ok(),
        _ => None,
    };
    match raw.and_then(|n| profile.labels.get(&n)) {
        Some(label) => Shown { value: Some(Value::Text(label.clone())), quality },
        None => Shown { value: Some(number), quality: worse(quality, Reason::Other("no-label")) },
    }
}

fn scaled(number: Value, quality: Quality, profile: &PointProfile) -> Shown {
    let whole = matches!(number, Value::Int(_) | Value::Uint(_) | Value::Bool(_));
    let Some(raw) = number.as_f64() else { return Shown { value: Some(number), quality } };
    if !raw.is_finite() {
        return Shown { value: None, quality: Quality::Bad(Reason::NotAValue) };
    }
    let result = raw * profile.scale + profile.offset;
    if !result.is_finite() {
        return Shown { value: None, quality: Quality::Bad(Reason::NotAValue) };
    }
    let places = profile.precision.map(u32::from).or_else(|| if whole { implied_places(profile) } else { None });
    let value = match places {
        _ if whole && is_plain(profile) => number,
        Some(places) => Value::Float(round(result, places)),
        None => Value::Float(result),
    };
    let seen = value.as_f64().unwrap_or(result);
    let outside = profile.min.is_some_and(|min| seen < min) || profile.max.is_some_and(|max| seen > max);
    Shown { value: Some(value), quality: if outside { worse(quality, Reason::OutOfRange) } else { quality } }
}

/// No scale, no offset.
fn is_plain(profile: &PointProfile) -> bool {
    profile.scale == 1.0 && profile.offset == 0.0
}

fn implied_places(profile: &PointProfile) -> Option<u32> {
    let places = places(profile.scale)?.max(places(profile.offset)?);
    (places <= MOST_IMPLIED_PLACES).then_some(places)
}

/// Decimal places of the shortest text that means this number; `None` if that text has an exponent.
fn places(number: f64) -> Option<u32> {
    let text = number.to_string();
    if text.contains('e') {
        return None;
    }
    u32::try_from(text.split_once('.').map_or(0, |(_, decimals)| decimals.len())).ok()
}

fn round(number: f64, places: u32) -> f64 {
    // Through decimal text: the result is then the double nearest to the decimal number that a person expects.
    format!("{number:.*}", places as usize).parse().unwrap_or(number)
}

/// A bad reading stays bad; a good or uncertain one becomes uncertain for this reason.
fn worse(quality: Quality, reason: Reason) -> Quality {
    match quality {
        Quality::Bad(_) => quality,
        _ => Quality::Uncertain(reason),
    }
}
