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
    Some(places(profile.scale)?.max(places(profile.offset)?))
}

/// Decimal places of the shortest text that means this number; `None` when there are more than a decimal fraction would have.
fn places(number: f64) -> Option<u32> {
    // A whole number over a power of ten, both exact, divides to the double nearest to that decimal number.
    (0..=MOST_IMPLIED_PLACES).find(|places| {
        let tens = POWERS[*places as usize];
        (number * tens).round() / tens == number
    })
}

/// Exact as doubles, as all powers of ten are up to the 22nd.
const POWERS: [f64; MOST_IMPLIED_PLACES as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

fn round(number: f64, places: u32) -> f64 {
    /// Below this the product with a power of ten is off by less than a ten-thousandth.
    const EXACT_ENOUGH: f64 = (1_u64 << 40) as f64;
    if let Some(tens) = POWERS.get(places as usize) {
        let scaled = number * tens;
        let from_half = (scaled.abs().fract() - 0.5).abs();
        if scaled.abs() < EXACT_ENOUGH && from_half > 1e-3 {
            return scaled.round() / tens;
        }
    }
    // Near the middle, through decimal text: the result is then the double nearest to the decimal number that a person expects.
    format!("{number:.*}", places as usize).parse().unwrap_or(number)
}

/// A bad reading stays bad; a good or uncertain one becomes uncertain for this reason.
fn worse(quality: Quality, reason: Reason) -> Quality {
    match quality {
        Quality::Bad(_) => quality,
        _ => Quality::Uncertain(reason),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_text(number: f64, places: u32) -> f64 {
        format!("{number:.*}", places as usize).parse().expect("its own text")
    }

    proptest! {
        #[test]
        fn rounding_is_what_the_decimal_text_says(number in -1e7_f64..1e7, places in 0_u32..12) {
            prop_assert_eq!(round(number, places).to_bits(), by_text(number, places).to_bits());
        }

        #[test]
        fn so_it_is_in_the_middle_between_two(half in -100_000_i64..100_000, places in 0_u32..6) {
            let number = (half as f64 + 0.5) / 10_f64.powi(places as i32);
            prop_assert_eq!(round(number, places).to_bits(), by_text(number, places).to_bits());
        }

        #[test]
        fn places_are_those_of_the_shortest_text(whole in -1_000_000_i64..1_000_000, tens in 0_u32..9) {
            let number = by_text(whole as f64 / 10_f64.powi(tens as i32), tens);
            let text = number.to_string();
            prop_assert_eq!(places(number), Some(text.split_once('.').map_or(0, |(_, decimals)| decimals.len() as u32)));
        }
    }

    #[test]
    fn a_measured_constant_implies_no_places() {
        assert_eq!([places(1.0 / 3.0), places(1e-12)], [None; 2]);
        assert_eq!([places(0.1), places(1e9), places(0.001_25)], [Some(1), Some(0), Some(5)]);
    }
}
