//! From the value that somebody asks for to the raw value that says it: the inverse of [`crate::scale`].
//!
//! A whole raw value is accepted when showing it gives the number that was asked for. So nothing is rounded into
//! something else, and what is right is decided by the same arithmetic that reads.

use serde_json::Value as Json;

use crate::{
    profile::{PointProfile, Real, Takes, WriteProfile},
    reading::{Quality, Value},
    scale::show,
};

/// Characters shown of what was asked for.
const MOST_SHOWN: usize = 40;
/// How much of a number arithmetic may disturb: four of its last bits. `0.1 + 0.2` is meant to be `0.3`.
const NOISE: f64 = 4.0 * f64::EPSILON;
/// Beyond this not every whole number is an `f64`, so a scaled one could be another than was asked for.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A number as it was asked for.
#[derive(Debug, Clone, Copy)]
enum Number {
    Whole(i128),
    Fraction(f64),
}

/// The raw value, or why there is none, in words.
pub(super) fn raw(wanted: &Json, profile: &PointProfile, write: &WriteProfile) -> Result<Value, String> {
    match write.takes {
        Takes::Nothing(why) => Err(why.to_owned()),
        Takes::Text { most_bytes } => text(wanted, most_bytes),
        Takes::Bytes { count } => bytes(wanted, count),
        Takes::Any if wanted.is_string() && profile.labels.is_empty() => text(wanted, usize::MAX),
        takes if !profile.labels.is_empty() => label(wanted, profile, takes),
        takes => number(wanted, profile, write, takes),
    }
}

fn shown(wanted: &Json) -> String {
    let text = wanted.to_string();
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn text(wanted: &Json, most_bytes: usize) -> Result<Value, String> {
    let Json::String(text) = wanted else { return Err(format!("takes text, and {} is none", shown(wanted))) };
    if text.len() > most_bytes {
        return Err(format!("takes {most_bytes} bytes of text, and this has {}", text.len()));
    }
    if text.contains('\0') || text.ends_with(' ') {
        return Err("takes text without NUL and without spaces at its end: the device fills with them".to_owned());
    }
    Ok(Value::Text(text.clone()))
}

/// Hexadecimal, as bytes leave us; spaces between them do no harm.
fn bytes(wanted: &Json, count: usize) -> Result<Value, String> {
    let refuse = || format!("takes {count} bytes in hexadecimal, and {} is not that", shown(wanted));
    let Json::String(text) = wanted else { return Err(refuse()) };
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let bytes: Option<Vec<u8>> = if digits.len() == 2 * count { digits.chunks_exact(2).map(pair).collect() } else { None };
    bytes.map(Value::Bytes).ok_or_else(refuse)
}

fn label(wanted: &Json, profile: &PointProfile, takes: Takes) -> Result<Value, String> {
    let found = match wanted {
        Json::String(text) => profile.labels.iter().find(|(_, label)| *label == text).map(|(number, _)| *number),
        Json::Bool(bit) if takes == Takes::Bit => Some(i64::from(*bit)),
        other => other.as_i64(),
    };
    let Some(number) = found.filter(|number| profile.labels.contains_key(number)) else {
        let labels: Vec<_> = profile.labels.values().map(String::as_str).collect();
        return Err(format!("{} is none of: {}", shown(wanted), labels.join(", ")));
    };
    fit(i128::from(number), takes).ok_or_else(|| format!("{} is {number}, which the device cannot hold", shown(wanted)))
}

fn number(wanted: &Json, profile: &PointProfile, write: &WriteProfile, takes: Takes) -> Result<Value, String> {
    let number = match wanted {
        Json::Bool(bit) if takes == Takes::Bit && is_plain(profile) => return Ok(Value::Bool(*bit)),
        Json::Bool(bit) if takes == Takes::Any && is_plain(profile) && is_free(write) => return Ok(Value::Bool(*bit)),
        Json::Number(number) => Number::of(number),
        _ => None,
    };
    let number = number.filter(|number| takes != Takes::Bit || !is_plain(profile) || matches!(number, Number::Whole(0 | 1)));
    let Some(number) = number else {
        let kind = if takes == Takes::Bit { "true or false" } else { "a number" };
        return Err(format!("takes {kind}, and {} is not that", shown(wanted)));
    };
    limits(number, write)?;
    step(number, write)?;
    let raw = match takes {
        Takes::Real(size) => real(number, profile, size)?,
        Takes::Any if !number.is_near_whole_raw(profile) => Value::Float(number.unscaled(profile)),
        takes => whole(number, profile, takes)?,
    };
    // A number that the leaf keeps in binary may lie a little beside what was asked for.
    match seen(&raw, profile) {
        Some(seen) if !matches!(raw, Value::Bool(_)) => limits(seen, write).map_err(|why| format!("as the device holds it, {why}")),
        _ => Ok(()),
    }?;
    Ok(raw)
}

impl Number {
    fn of(number: &serde_json::Number) -> Option<Self> {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map(Number::Whole).or_else(|| number.as_f64().filter(|n| n.is_finite()).map(Number::from_f64))
    }

    /// `21.0` is as whole as `21`.
    fn from_f64(number: f64) -> Self {
        if number.fract() == 0.0 && number.abs() <= EXACT { Number::Whole(number as i128) } else { Number::Fraction(number) }
    }

    fn as_f64(self) -> f64 {
        match self {
            Number::Whole(n) => n as f64,
            Number::Fraction(n) => n,
        }
    }

    fn unscaled(self, profile: &PointProfile) -> f64 {
        if is_plain(profile) { self.as_f64() } else { (self.as_f64() - profile.offset) / profile.scale }
    }

    fn is_near_whole_raw(self, profile: &PointProfile) -> bool {
        let raw = self.unscaled(profile);
        matches!(self, Number::Whole(_)) && is_plain(profile) || is_close(raw, raw.round(), 0.0) && raw.abs() <= EXACT
    }

    /// Exact, where comparing as `f64` would round the number first.
    fn is_below(self, limit: f64) -> bool {
        match self {
            Number::Whole(n) => n < limit.ceil() as i128,
            Number::Fraction(n) => n < limit,
        }
    }

    fn is_above(self, limit: f64) -> bool {
        match self {
            Number::Whole(n) => n > limit.floor() as i128,
            Number::Fraction(n) => n > limit,
        }
    }
}

fn is_plain(profile: &PointProfile) -> bool {
    profile.scale == 1.0 && profile.offset == 0.0
}

/// No limit and no step.
fn is_free(write: &WriteProfile) -> bool {
    write.min.is_none() && write.max.is_none() && write.step.is_none()
}

/// Equal but for noise, beside the largest number that went into it.
fn is_close(a: f64, b: f64, beside: f64) -> bool {
    (a - b).abs() <= NOISE * a.abs().max(b.abs()).max(beside.abs())
}

fn limits(number: Number, write: &WriteProfile) -> Result<(), String> {
    let words = Words(number);
    match (write.min, write.max) {
        (Some(min), _) if number.is_below(min) => Err(format!("{words} is below {min}, the least that may be written")),
        (_, Some(max)) if number.is_above(max) => Err(format!("{words} is above {max}, the most that may be written")),
        _ => Ok(()),
    }
}

fn step(number: Number, write: &WriteProfile) -> Result<(), String> {
    let Some(step) = write.step else { return Ok(()) };
    let (value, base) = (number.as_f64(), write.min.unwrap_or(0.0));
    let steps = (value - base) / step;
    if is_close(base + steps.round() * step, value, base) && steps.abs() <= EXACT {
        return Ok(());
    }
    let near = [steps.floor(), steps.ceil()].map(|steps| Words(Number::from_f64(tidy(base + steps * step))));
    Err(format!("{} is no step of {step} from {base}: nearest is {} or {}", Words(number), near[0], near[1]))
}

/// Without the noise of binary arithmetic: for words only.
fn tidy(number: f64) -> f64 {
    format!("{number:.12e}").parse().unwrap_or(number)
}

/// The whole raw value that shows as the number.
fn whole(number: Number, profile: &PointProfile, takes: Takes) -> Result<Value, String> {
    let beyond = || format!("{} is beyond what the device can hold", Words(number));
    if let (Number::Whole(n), true) = (number, is_plain(profile)) {
        return fit(n, takes).ok_or_else(beyond);
    }
    let raw = number.unscaled(profile);
    // Far out, neighbouring raw values are shown as one and the same number.
    let told_apart = profile.scale.abs() > 2.0 * NOISE * number.as_f64().abs().max(profile.offset.abs());
    if !(raw.abs() <= EXACT && told_apart) {
        return Err(beyond());
    }
    let value = fit(raw.round() as i128, takes).ok_or_else(beyond)?;
    match seen(&value, profile) {
        Some(back) if is_close(back.as_f64(), number.as_f64(), profile.offset) => Ok(value),
        _ => {
            let near = [raw.floor(), raw.ceil()].map(|raw| fit(raw as i128, takes).and_then(|raw| seen(&raw, profile)));
            let mut near: Vec<String> = near.into_iter().flatten().map(|back| Words(back).to_string()).collect();
            near.dedup();
            Err(format!("{} cannot be held exactly: nearest is {}", Words(number), near.join(" or ")))
        }
    }
}

/// The raw value nearest to the number, of a size that has a fraction.
fn real(number: Number, profile: &PointProfile, size: Real) -> Result<Value, String> {
    let raw = number.unscaled(profile);
    let nearest = size.nearest(raw).ok_or_else(|| format!("{} is beyond what the device can hold", Words(number)))?;
    // A fraction is a measure and means its neighbourhood; a whole number may be a count or a code, and means itself.
    match number {
        Number::Whole(n) if is_plain(profile) && nearest as i128 != n => {
            Err(format!("{n} cannot be held exactly: nearest is {}", Words(Number::from_f64(nearest))))
        }
        _ => Ok(Value::Float(nearest)),
    }
}

/// What a raw number is shown as.
fn seen(raw: &Value, profile: &PointProfile) -> Option<Number> {
    match show(Some(raw.clone()), Quality::Good, profile).value? {
        Value::Int(n) => Some(Number::Whole(i128::from(n))),
        Value::Uint(n) => Some(Number::Whole(i128::from(n))),
        Value::Bool(bit) => Some(Number::Whole(i128::from(bit))),
        other => other.as_f64().map(Number::from_f64),
    }
}

/// As a raw value of the leaf's type.
fn fit(number: i128, takes: Takes) -> Option<Value> {
    let (least, most) = match takes {
        Takes::Bit => (0, 1),
        Takes::Whole { least, most } => (i128::from(least), i128::from(most)),
        Takes::Real(size) => {
            let nearest = size.nearest(number as f64)?;
            return (nearest as i128 == number).then_some(Value::Float(nearest));
        }
        _ => (i128::from(i64::MIN), i128::from(u64::MAX)),
    };
    if !(least..=most).contains(&number) {
        return None;
    }
    match takes {
        Takes::Bit => Some(Value::Bool(number == 1)),
        _ => i64::try_from(number).map(Value::Int).or_else(|_| u64::try_from(number).map(Value::Uint)).ok(),
    }
}

impl Real {
    /// The nearest number of this size; `None` when it is too large for one.
    fn nearest(self, number: f64) -> Option<f64> {
        let nearest = match self {
            Real::Half => half(number),
            // As decoded: the shortest decimal that means it.
            Real::Single => (number as f32).to_string().parse().unwrap_or(number),
            Real::Double => number,
        };
        nearest.is_finite().then_some(nearest)
    }
}

/// Eleven bits, the smallest step 2 to the power of -24, the largest number 65504.
fn half(number: f64) -> f64 {
    let exponent = ((number.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-14);
    let step = 2_f64.powi(exponent - 10);
    let nearest = (number / step).round_ties_even() * step;
    if nearest.abs() > 65_504.0 { f64::INFINITY } else { nearest }
}

/// A number for people: not three hundred digits.
struct Words(Number);

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Number::Whole(n) => n.fmt(f),
            Number::Fraction(n) if n != 0.0 && !(1e-6..1e15).contains(&n.abs()) => write!(f, "{n:e}"),
            Number::Fraction(n) => n.fmt(f),
        }
    }
}
