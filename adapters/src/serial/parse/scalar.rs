//! Text into values of the declared type.

use tidegate_core::reading::{Reason, Value};

use super::Got;

/// Longest text that becomes a value; a frame is rarely longer, and a message must stay small.
const LONGEST_TEXT: usize = 4096;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Type {
    /// A decimal number; whole if it is written without a fraction.
    #[default]
    Number,
    /// A whole number in hexadecimal.
    Hex,
    /// A bit: 1, true, on, yes, or their opposites.
    Bool,
    /// Text as it is.
    Text,
    /// What JSON says it is.
    Json,
}

/// How text becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scalar {
    /// What it is.
    pub kind: Type,
    /// Whether numbers are written with a comma.
    pub comma: bool,
}

const NO: Got = Err(Reason::NotAValue);

impl Scalar {
    /// The value that the bytes say.
    pub fn read(self, bytes: &[u8]) -> Got {
        let Ok(text) = std::str::from_utf8(bytes) else { return NO };
        let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
        match self.kind {
            Type::Text | Type::Json if text.len() > LONGEST_TEXT => NO,
            Type::Text | Type::Json => Ok(Value::Text(text.to_owned())),
            Type::Number => self.number(trimmed),
            Type::Hex => hex(trimmed),
            Type::Bool => boolean(trimmed),
        }
    }

    fn number(self, text: &str) -> Got {
        // Scales write the sign apart from the digits: "-   1.25".
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, text[1..].trim_start()),
            Some(b'+') => (false, text[1..].trim_start()),
            _ => (false, text),
        };
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.' || (self.comma && c == ',')) {
            return NO;
        }
        let text = format!("{}{digits}", if negative { "-" } else { "" });
        let text = if self.comma { text.replacen(',', ".", 1) } else { text };
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            // "-0" is the whole number 0.
            return text.parse().map(Value::Int).or_else(|_| text.parse().map(Value::Uint)).or_else(|_| float(&text));
        }
        float(&text)
    }
}

fn float(text: &str) -> Got {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Float(number)),
        _ => NO,
    }
}

fn hex(text: &str) -> Got {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    match u64::from_str_radix(digits, 16) {
        Ok(number) if !digits.starts_with('+') => Ok(i64::try_from(number).map_or(Value::Uint(number), Value::Int)),
        _ => NO,
    }
}

fn boolean(text: &str) -> Got {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if is(&["1", "true", "on", "yes"]) => Ok(Value::Bool(true)),
        () if is(&["0", "false", "off", "no"]) => Ok(Value::Bool(false)),
        () => NO,
    }
}
