//! The JSON body: `{"temperature":21.5,"pump":true}`; the time is put in as the message leaves (`core::wire`).
//!
//! Beside the points a body may have three members, as the configuration's `[body]` section asks: `quality`
//! (the points that are not good, or all), `units`, and `times` (milliseconds after `ts` at which each point was read).
//! A point of bad quality is `null`.

use bytes::Bytes;
use tidegate_core::{
    clock::Stamp,
    message::Body,
    profile::LeafProfile,
    reading::{Quality, Value},
};

use super::Shown;

/// What a body tells beside the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodyStyle {
    /// Which qualities are listed.
    pub quality: QualityStyle,
    /// Whether units are listed.
    pub units: bool,
    /// Whether each point's own time is listed.
    pub times: bool,
}

/// Which points' qualities a body lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QualityStyle {
    /// Of each point in the body.
    Always,
    /// Of those that are not good.
    #[default]
    WhenNotGood,
    /// None. A bad reading is then only a `null`.
    Never,
}

/// `points` are places in the profile, with what to show and when it was read.
pub(super) fn write<'a>(
    style: &BodyStyle,
    profile: &LeafProfile,
    taken: Stamp,
    points: impl Iterator<Item = (usize, &'a Shown, Stamp)> + Clone,
) -> Body {
    let name = |at: usize| profile.points[at].name.as_str();
    let mut out = Object::new(Vec::with_capacity(64 + profile.points.len() * 24));
    for (at, shown, _) in points.clone() {
        out.key(name(at));
        value(&mut out.bytes, shown.value.as_ref());
    }
    let listed = |quality: &Quality| match style.quality {
        QualityStyle::Always => true,
        QualityStyle::WhenNotGood => !quality.is_good(),
        QualityStyle::Never => false,
    };
    out.object("quality", points.clone().filter(|(_, shown, _)| listed(&shown.quality)), |out, (at, shown, _)| {
        out.key(name(at));
        text(&mut out.bytes, &shown.quality.to_string());
    });
    let with_unit = points.clone().filter_map(|(at, _, _)| profile.points[at].unit.as_deref().map(|unit| (at, unit)));
    out.object("units", with_unit.filter(|_| style.units), |out, (at, unit)| {
        out.key(name(at));
        text(&mut out.bytes, unit);
    });
    out.object("times", points.filter(|_| style.times), |out, (at, _, at_time)| {
        out.key(name(at));
        json(&mut out.bytes, &(at_time.since_boot_ms as i64 - taken.since_boot_ms as i64));
    });
    Body::Untimed(Bytes::from(out.end()))
}

/// Writes one JSON object after another into a buffer. Keys are point names and our own words: none needs escaping.
struct Object {
    bytes: Vec<u8>,
}

impl Object {
    fn new(mut bytes: Vec<u8>) -> Self {
        bytes.push(b'{');
        Self { bytes }
    }

    fn key(&mut self, key: &str) {
        if self.bytes.last() != Some(&b'{') {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    /// A member object, left out when it would be empty.
    fn object<T>(&mut self, key: &str, entries: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return;
        }
        self.key(key);
        self.bytes.push(b'{');
        entries.for_each(|entry| write(self, entry));
        self.bytes.push(b'}');
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }
}

fn value(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        None => out.extend_from_slice(b"null"),
        Some(Value::Bool(bit)) => json(out, bit),
        Some(Value::Int(n)) => json(out, n),
        Some(Value::Uint(n)) => json(out, n),
        Some(Value::Float(n)) => json(out, n),
        Some(Value::Text(t)) => text(out, t),
        Some(bytes @ Value::Bytes(_)) => text(out, &bytes.to_string().replace(' ', "")),
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    json(out, text);
}

fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing numbers, booleans and text to memory cannot fail.
    serde_json::to_writer(out, value).ok();
}
