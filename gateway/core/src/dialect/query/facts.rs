//! What a query may ask a message.

use std::borrow::Cow;

use serde_json::Value as Json;

/// One message, as the queries of all routes see it. The body is parsed when the first of them asks, and once.
pub trait Facts {
    /// An application property, its name compared without regard to case. `Some(None)` for one without a value.
    fn property(&self, name: &str) -> Option<Option<Cow<'_, str>>>;
    /// A system property by its routing keyword (reference §2.4), compared without regard to case: `contentType`.
    fn system(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The body, when [`BodyText::applies`] and it is a JSON object.
    fn body(&self) -> Option<&Json>;
    /// The twin of the device: `{"tags":…,"properties":{"desired":…,"reported":…}}`.
    fn twin(&self) -> Option<&Json>;
}

/// How a body says that it is JSON, and in which encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyText {
    /// One to four bytes for a character.
    Utf8,
    /// Two or four, with or without a byte order mark; without one little-endian.
    Utf16,
    /// Four.
    Utf32,
}

impl BodyText {
    /// Queries look into a body only when its content type is `application/json` and its encoding is one of Unicode's, given as
    /// content encoding or as the content type's charset (reference §6.4).
    pub fn applies(content_type: Option<&str>, content_encoding: Option<&str>) -> Option<Self> {
        let mut parts = content_type?.split(';').map(str::trim);
        parts.next().filter(|kind| kind.eq_ignore_ascii_case("application/json"))?;
        let charset = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        let word = content_encoding.filter(|word| !word.is_empty()).or(charset)?;
        [("utf-8", BodyText::Utf8), ("utf-16", BodyText::Utf16), ("utf-32", BodyText::Utf32)]
            .into_iter()
            .find_map(|(name, text)| word.eq_ignore_ascii_case(name).then_some(text))
    }

    /// The body as a JSON object; `None` for anything else.
    pub fn parse(self, body: &[u8]) -> Option<Json> {
        let json = match self {
            BodyText::Utf8 => serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()?,
            BodyText::Utf16 => serde_json::from_str(&utf16(body)?).ok()?,
            BodyText::Utf32 => serde_json::from_str(&utf32(body)?).ok()?,
        };
        Some(json).filter(Json::is_object)
    }
}

fn utf16(body: &[u8]) -> Option<String> {
    let units = body.chunks_exact(2);
    if !units.remainder().is_empty() {
        return None;
    }
    let big = body.starts_with(&[0xfe, 0xff]);
    let units = units.map(|unit| if big { u16::from_be_bytes([unit[0], unit[1]]) } else { u16::from_le_bytes([unit[0], unit[1]]) });
    let text: Option<String> = char::decode_utf16(units).map(Result::ok).collect();
    text.map(without_mark)
}

fn utf32(body: &[u8]) -> Option<String> {
    let units = body.chunks_exact(4);
    if !units.remainder().is_empty() {
        return None;
    }
    let big = body.starts_with(&[0, 0, 0xfe, 0xff]);
    let unit = |b: &[u8]| if big { u32::from_be_bytes([b[0], b[1], b[2], b[3]]) } else { u32::from_le_bytes([b[0], b[1], b[2], b[3]]) };
    let text: Option<String> = units.map(|bytes| char::from_u32(unit(bytes))).collect();
    text.map(without_mark)
}

fn without_mark(text: String) -> String {
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}
