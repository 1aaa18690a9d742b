//! Durations and sizes as people write them: `"500ms"`, `"64MiB"`. A bare number is refused,
//! because nobody can tell whether it means seconds or milliseconds.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a duration or size was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: write a whole number and a unit, such as {example}")]
pub struct QuantityError {
    /// "duration" or "size".
    pub what: &'static str,
    /// The refused text, shortened.
    pub text: String,
    /// Something that would have been accepted.
    pub example: &'static str,
}

/// The `format` that the JSON Schema of [`Span`] carries; the configuration check looks for it.
pub const SPAN_FORMAT: &str = "tidegate-duration";
/// The `format` that the JSON Schema of [`ByteSize`] carries.
pub const SIZE_FORMAT: &str = "tidegate-size";

/// A length of time: a whole number and `us`, `ms`, `s`, `min`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    /// For defaults in code.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

const SPAN_UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

impl FromStr for Span {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        number_and_unit(text, &SPAN_UNITS).map(|us| Self(Duration::from_micros(us))).ok_or_else(|| QuantityError {
            what: "duration",
            text: text.chars().take(40).collect(),
            example: "\"500ms\", \"5s\" or \"2h\"",
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        write_quantity(f, us, &SPAN_UNITS, "s")
    }
}

/// A number of bytes: a whole number and `B`, `kB`, `KiB`, `MB`, `MiB`, `GB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 7] =
    [("B", 1), ("kB", 1_000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20), ("GB", 1_000_000_000), ("GiB", 1 << 30)];

impl FromStr for ByteSize {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        number_and_unit(text, &SIZE_UNITS).map(Self).ok_or_else(|| QuantityError {
            what: "size",
            text: text.chars().take(40).collect(),
            example: "\"64MiB\" or \"2GB\"",
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, self.0, &SIZE_UNITS, "B")
    }
}

fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// In the largest unit that divides it without a rest.
fn write_quantity(f: &mut fmt::Formatter<'_>, n: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    if n == 0 {
        return write!(f, "0{zero}");
    }
    let (name, factor) = units.iter().filter(|(_, factor)| n.is_multiple_of(*factor)).max_by_key(|(_, factor)| factor).unwrap_or(&units[0]);
    write!(f, "{}{name}", n / factor)
}

macro_rules! quantity_schema {
    ($name:ident, $format:expr, $example:literal) => {
        impl TryFrom<String> for $name {
            type Error = QuantityError;
            fn try_from(text: String) -> Result<Self, QuantityError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(quantity: $name) -> String {
                quantity.to_string()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "examples": [$example] })
            }
        }
    };
}
quantity_schema!(Span, SPAN_FORMAT, "500ms");
quantity_schema!(ByteSize, SIZE_FORMAT, "64MiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let read = |text: &str| text.parse::<Span>().map(|s| s.0);
        assert_eq!(read("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read("2 h"), Ok(Duration::from_secs(7200)));
        assert_eq!(read("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "-5s", "1.5s", "5 m", "99999999999999999999s", "9999999999999999d", "5s "] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for us in [0, 1, 999, 1_000, 1_500_000, 60_000_000, 90_000_000, 86_400_000_000] {
            let span = Span(Duration::from_micros(us));
            assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(1_500).to_string().parse::<ByteSize>(), Ok(ByteSize(1_500)));
    }
}
