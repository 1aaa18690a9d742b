//! Bytes as people write them, and requests with places for address, value and checksum.
//!
//! Pure. What a value becomes is bounded, and text with control characters is refused, so that a value can never
//! end the request that it stands in and begin another.

use tidegate_core::reading::Value;

use super::checksum::Place;

/// Widest number that a template may ask for: an `i64` has 20 characters.
const WIDEST: usize = 32;
/// Longest text that goes into a request.
const LONGEST_TEXT: usize = 256;

/// Bytes from text with escapes: `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH`.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            bytes.push(escape(&mut chars)?);
        } else {
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
        }
    }
    Ok(bytes)
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match chars.next() {
        Some('r') => Ok(b'\r'),
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some(c @ ('\\' | '{' | '}')) => Ok(c as u8),
        Some('x') => {
            let digits: String = chars.by_ref().take(2).collect();
            let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
            byte.ok_or_else(|| format!("\\x{digits} is no byte: two hexadecimal digits follow \\x"))
        }
        other => Err(format!("\\{} is no escape", other.map_or_else(String::new, String::from))),
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Address,
    Value(Format),
    Checksum,
}

/// How a value is written: `05`, `.1`, `7.2`, `04X`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Format {
    zeros: bool,
    width: usize,
    places: Option<usize>,
    hex: Option<bool>,
}

impl Template {
    /// From text with escapes and `{address}`, `{value}`, `{value:FORMAT}`, `{checksum}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => plain.push(escape(&mut chars)?),
                '{' => {
                    let inner: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    if !plain.is_empty() {
                        parts.push(Part::Bytes(std::mem::take(&mut plain)));
                    }
                    parts.push(part(&inner)?);
                }
                '}' => return Err("a } without {; write \\} for the character".to_owned()),
                c => plain.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Bytes(plain));
        }
        if parts.is_empty() { Err("is empty".to_owned()) } else { Ok(Self(parts)) }
    }

    /// Whether it needs an address.
    pub fn has_address(&self) -> bool {
        self.0.contains(&Part::Address)
    }

    /// Whether it needs a value.
    pub fn has_value(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value(_)))
    }

    /// Whether it needs a checksum.
    pub fn has_checksum(&self) -> bool {
        self.0.contains(&Part::Checksum)
    }

    /// The bytes to send, or why this value cannot be said so.
    pub fn render(&self, address: &str, value: Option<&Value>, checksum: Option<&Place>) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(plain) => bytes.extend_from_slice(plain),
                Part::Address => bytes.extend_from_slice(address.as_bytes()),
                Part::Value(format) => bytes.extend(format.write(value.ok_or("no value to write")?)?.into_bytes()),
                Part::Checksum => {
                    let place = checksum.ok_or("no checksum is configured")?;
                    let counted = bytes.get(place.skip..bytes.len().saturating_sub(place.gap)).unwrap_or_default();
                    let sum = place.write(counted);
                    bytes.extend(sum);
                }
            }
        }
        Ok(bytes)
    }
}

fn part(inner: &str) -> Result<Part, String> {
    match inner.split_once(':').unwrap_or((inner, "")) {
        ("address", "") => Ok(Part::Address),
        ("checksum", "") => Ok(Part::Checksum),
        ("value", format) => Format::parse(format).map(Part::Value).ok_or_else(|| format!("'{format}' is no format: 05, .1, 7.2, 04X")),
        _ => Err(format!("{{{inner}}} means nothing: there is {{address}}, {{value}} and {{checksum}}; write \\{{ for the character")),
    }
}

impl Format {
    fn parse(text: &str) -> Option<Self> {
        let (text, hex) = match (text.strip_suffix('X'), text.strip_suffix('x')) {
            (Some(rest), _) => (rest, Some(true)),
            (_, Some(rest)) => (rest, Some(false)),
            _ => (text, None),
        };
        let (width, places) = text.split_once('.').map_or((text, None), |(width, places)| (width, Some(places)));
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n <= WIDEST);
        let places = match places {
            Some(places) => Some(number(places)?),
            None => None,
        };
        let zeros = width.starts_with('0');
        let width = if width.is_empty() { 0 } else { number(width)? };
        (hex.is_none() || places.is_none()).then_some(Self { zeros, width, places, hex })
    }

    fn write(self, value: &Value) -> Result<String, String> {
        let width = self.width;
        let pad = |text: String| match self.zeros {
            false => format!("{text:>width$}"),
            true => {
                let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
                format!("{sign}{digits:0>digits_width$}", digits_width = width.saturating_sub(sign.len()))
            }
        };
        match (value, self.hex) {
            (Value::Int(n), Some(upper)) => {
                let n = u64::try_from(*n).map_err(|_| format!("{n} cannot be written in hexadecimal"))?;
                Ok(pad(if upper { format!("{n:X}") } else { format!("{n:x}") }))
            }
            (Value::Uint(n), Some(upper)) => Ok(pad(if upper { format!("{n:X}") } else { format!("{n:x}") })),
            (_, Some(_)) => Err("only whole numbers are written in hexadecimal".to_owned()),
            (Value::Bool(bit), None) => Ok(pad(u8::from(*bit).to_string())),
            (Value::Int(_) | Value::Uint(_), None) if self.places.is_none() => Ok(pad(value.to_string())),
            (Value::Int(_) | Value::Uint(_) | Value::Float(_), None) => {
                let number = value.as_f64().filter(|number| number.is_finite()).ok_or("not a number")?;
                Ok(pad(self.places.map_or_else(|| number.to_string(), |places| format!("{number:.places$}"))))
            }
            (Value::Text(text), None) => {
                let fine = text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control);
                if fine { Ok(pad(text.clone())) } else { Err("text with control characters, or too long".to_owned()) }
            }
            (Value::Bytes(_), None) => Err("bytes cannot be written by a template".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::checksum::{Sum, Writing},
        *,
    };

    fn render(template: &str, value: Value) -> Result<String, String> {
        let place = Place { sum: Sum::Xor, writing: Writing::Hex, skip: 1, gap: 1, after: 0 };
        let bytes = Template::parse(template)?.render("07", Some(&value), Some(&place))?;
        Ok(String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn requests_say_address_value_and_checksum() {
        assert_eq!(render("{address}SP{value:05.1}\\r", Value::Float(21.5)), Ok("07SP021.5\r".to_owned()));
        assert_eq!(render("$A,B*{checksum}", Value::Int(0)), Ok(format!("$A,B*{:02X}", b'A' ^ b',' ^ b'B')));
        assert_eq!(render("{value:04X}", Value::Int(255)), Ok("00FF".to_owned()));
        assert_eq!(render("{value:05}", Value::Int(-12)), Ok("-0012".to_owned()));
        assert_eq!(render("{value}", Value::Bool(false)), Ok("0".to_owned()));
        assert_eq!(render("{value:6}|", Value::Text("ab".to_owned())), Ok("    ab|".to_owned()));
    }

    #[test]
    fn a_value_cannot_end_its_request_and_begin_another() {
        for bad in ["1\rOPEN", "\u{2}", "a\nb", &"x".repeat(300)] {
            assert!(render("SAY {value}\\r", Value::Text(bad.to_owned())).is_err(), "{bad:?}");
        }
        assert!(render("{value:.1}", Value::Float(f64::NAN)).is_err());
    }

    #[test]
    fn what_means_nothing_is_refused_with_a_reason() {
        for bad in ["", "{what}", "}", "\\q", "\\x4", "{value:99}", "{value:z}", "{address:2}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(bytes("\\x02A\\r\\\\"), Ok(vec![2, b'A', b'\r', b'\\']));
    }
}
