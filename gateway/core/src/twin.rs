//! A device twin: tags, desired and reported properties, and the rules by which they change (reference §4.3).
//!
//! Objects merge, `null` deletes, everything else replaces (RFC 7396); versions rise by one with each accepted change. Nothing here is
//! stored or sent, and nothing looks at the clock.

use serde_json::{Map, Value as Json, json};

use crate::clock::Timestamp;

/// A JSON object.
pub type Object = Map<String, Json>;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The longest string value, in bytes.
pub const MAX_STRING: usize = 4096;
/// How deep objects and arrays may lie in each other.
pub const MAX_DEPTH: usize = 10;
/// The largest desired or reported section, as compact JSON without `$version` and `$metadata`.
pub const MAX_SECTION: usize = 32 * 1024;
/// The largest tags section.
pub const MAX_TAGS: usize = 8 * 1024;
/// Integers from `-2^52` to `2^52 - 1`.
const INTEGERS: std::ops::RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;

/// One device's twin.
#[derive(Debug, Clone, PartialEq)]
pub struct Twin {
    /// Rises with every change of any section.
    pub version: u64,
    /// For the service only; a device never sees them.
    pub tags: Object,
    /// What the service wants the device to be.
    pub desired: Section,
    /// What the device says it is.
    pub reported: Section,
}

/// Desired or reported properties.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Without `$version` and `$metadata`.
    pub values: Object,
    /// Begins with 1; one more with each accepted change.
    pub version: u64,
    /// When, and at which version, each part last changed: the tree of values with `$lastUpdated` at every level.
    pub stamps: Object,
}

impl Default for Section {
    fn default() -> Self {
        Self { values: Object::new(), version: 1, stamps: Object::new() }
    }
}

impl Default for Twin {
    fn default() -> Self {
        Self { version: 1, tags: Object::new(), desired: Section::default(), reported: Section::default() }
    }
}

/// Which section, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Changed by the service.
    Tags,
    /// Changed by the service, pushed to the device.
    Desired,
    /// Changed by the device.
    Reported,
}

impl Twin {
    /// Merges a patch into one section. The twin is as it was when the rules refuse it.
    pub fn patch(&mut self, part: Part, patch: &Object, now: Timestamp) -> Result<(), TwinError> {
        let patch = &without_marks(patch);
        check(patch)?;
        let (values, most) = self.values(part);
        let mut merged = values.clone();
        merge(&mut merged, patch);
        check_size(&merged, most)?;
        self.put(part, merged, patch, now);
        Ok(())
    }

    /// Replaces one section whole. Returns the patch that does the same, with `null` for what is gone.
    pub fn replace(&mut self, part: Part, new: &Object, now: Timestamp) -> Result<Object, TwinError> {
        let new = without_marks(new);
        check(&new)?;
        let (old, most) = self.values(part);
        let patch = diff(old, &new);
        // What stands as null in a whole document means that it is not there.
        let mut values = Object::new();
        merge(&mut values, &new);
        check_size(&values, most)?;
        self.put(part, values, &patch, now);
        Ok(patch)
    }

    fn values(&self, part: Part) -> (&Object, usize) {
        match part {
            Part::Tags => (&self.tags, MAX_TAGS),
            Part::Desired => (&self.desired.values, MAX_SECTION),
            Part::Reported => (&self.reported.values, MAX_SECTION),
        }
    }

    fn put(&mut self, part: Part, values: Object, patch: &Object, now: Timestamp) {
        let section = match part {
            Part::Tags => {
                self.tags = values;
                self.version += 1;
                return;
            }
            Part::Desired => &mut self.desired,
            Part::Reported => &mut self.reported,
        };
        section.version += 1;
        section.values = values;
        stamp(&mut section.stamps, patch, now, (part == Part::Desired).then_some(section.version));
        self.version += 1;
    }

    /// As a device reads it: no tags, no metadata.
    pub fn for_device(&self) -> Json {
        json!({ "desired": self.desired.with_version(), "reported": self.reported.with_version() })
    }

    /// The sections as the service reads them, `$metadata` included.
    pub fn for_service(&self) -> Json {
        json!({
            "version": self.version,
            "tags": self.tags,
            "properties": { "desired": self.desired.with_metadata(), "reported": self.reported.with_metadata() },
        })
    }
}

/// A change of one or several sections at once: all of it, or nothing.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// For the tags.
    pub tags: Option<Object>,
    /// For the desired properties.
    pub desired: Option<Object>,
    /// For the reported properties.
    pub reported: Option<Object>,
    /// The sections given are replaced whole instead of patched.
    pub replace: bool,
    /// Only if the twin still has this version.
    pub if_version: Option<u64>,
    /// Only if the reported properties still have this version.
    pub if_reported: Option<u64>,
}

/// What became of a [`Change`].
#[derive(Debug, Clone)]
pub enum Changed {
    /// The twin as it is now.
    Done {
        /// Boxed, because it is large.
        twin: Box<Twin>,
        /// What changed of the desired properties, for the device.
        desired: Option<Object>,
    },
    /// There is no such device.
    Missing,
    /// It is not of the version that the change was meant for.
    Stale,
    /// It breaks a rule.
    Refused(TwinError),
}

impl Twin {
    /// Makes a change. After a refusal the twin is not to be used any more.
    pub fn change(&mut self, change: &Change, now: Timestamp) -> Result<Option<Object>, TwinError> {
        let mut pushed = None;
        for (part, object) in [(Part::Tags, &change.tags), (Part::Desired, &change.desired), (Part::Reported, &change.reported)] {
            let Some(object) = object else { continue };
            let patch = if change.replace {
                self.replace(part, object, now)?
            } else {
                self.patch(part, object, now)?;
                without_marks(object)
            };
            if part == Part::Desired {
                pushed = Some(patch);
            }
        }
        Ok(pushed)
    }
}

impl Section {
    /// The values and `$version`.
    pub fn with_version(&self) -> Json {
        let mut values = self.values.clone();
        values.insert("$version".to_owned(), self.version.into());
        Json::Object(values)
    }

    fn with_metadata(&self) -> Json {
        let mut all = self.with_version();
        all["$metadata"] = Json::Object(self.stamps.clone());
        all
    }
}

/// Merges a patch: objects merge, `null` deletes, everything else replaces. Nulls inside a new object are dropped.
pub fn merge(target: &mut Object, patch: &Object) {
    for (key, value) in patch {
        match value {
            Json::Null => drop(target.remove(key)),
            Json::Object(inner) => {
                let entry = target.entry(key.clone()).or_insert_with(|| Json::Object(Object::new()));
                if !entry.is_object() {
                    *entry = Json::Object(Object::new());
                }
                if let Json::Object(entry) = entry {
                    merge(entry, inner);
                }
            }
            other => drop(target.insert(key.clone(), other.clone())),
        }
    }
}

/// The patch that makes one document of another.
pub fn diff(from: &Object, to: &Object) -> Object {
    let mut patch = Object::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Json::Null);
    }
    for (key, new) in to {
        match (from.get(key), new) {
            (Some(old), new) if old == new => {}
            (Some(Json::Object(old)), Json::Object(new)) => drop(patch.insert(key.clone(), Json::Object(diff(old, new)))),
            (_, new) => drop(patch.insert(key.clone(), new.clone())),
        }
    }
    patch
}

fn without_marks(object: &Object) -> Object {
    object.iter().filter(|(key, _)| !matches!(key.as_str(), "$version" | "$metadata")).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// What a patch or a document may hold.
pub fn check(patch: &Object) -> Result<(), TwinError> {
    // The document itself is not counted as a level.
    check_object(patch, 0, false)?;
    Ok(())
}

fn check_object(object: &Object, depth: usize, in_array: bool) -> Result<(), TwinError> {
    if depth > MAX_DEPTH {
        return Err(TwinError::TooDeep);
    }
    for (key, value) in object {
        check_key(key)?;
        check_value(value, depth, in_array)?;
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), TwinError> {
    if key.len() > MAX_KEY {
        return Err(TwinError::NameTooLong);
    }
    if key.is_empty() || key.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '.' | '$' | '#')) {
        return Err(TwinError::BadName(key.chars().take(40).collect()));
    }
    Ok(())
}

fn check_value(value: &Json, depth: usize, in_array: bool) -> Result<(), TwinError> {
    match value {
        Json::Null if in_array => Err(TwinError::NullInArray),
        Json::String(text) if text.len() > MAX_STRING => Err(TwinError::ValueTooLong),
        Json::Number(number) if !number.is_f64() && !number.as_i64().is_some_and(|n| INTEGERS.contains(&n)) => Err(TwinError::Integer),
        Json::Object(object) => check_object(object, depth + 1, in_array),
        Json::Array(items) if depth + 1 > MAX_DEPTH && !items.is_empty() => Err(TwinError::TooDeep),
        Json::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1, true)),
        _ => Ok(()),
    }
}

fn check_size(values: &Object, most: usize) -> Result<(), TwinError> {
    let size = serde_json::to_string(values).map_or(usize::MAX, |text| text.len());
    if size > most { Err(TwinError::TooLarge { size, most }) } else { Ok(()) }
}

/// Notes when each part that the patch touches has changed; what it deletes has no stamp any more.
fn stamp(stamps: &mut Object, patch: &Object, now: Timestamp, version: Option<u64>) {
    stamps.insert("$lastUpdated".to_owned(), now.to_string().into());
    if let Some(version) = version {
        stamps.insert("$lastUpdatedVersion".to_owned(), version.into());
    }
    for (key, value) in patch {
        if value.is_null() {
            stamps.remove(key);
            continue;
        }
        let empty = Object::new();
        let inner = value.as_object().unwrap_or(&empty);
        let mut of_key = match stamps.remove(key) {
            Some(Json::Object(old)) if value.is_object() => old,
            _ => Object::new(),
        };
        stamp(&mut of_key, inner, now, version);
        stamps.insert(key.clone(), Json::Object(of_key));
    }
}

/// Why a change of a twin is refused. To a device all of them are status 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// Objects and arrays lie too deep in each other.
    #[error("twin: nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// An array may hold no nulls, nor objects with nulls.
    #[error("twin: null in an array")]
    NullInArray,
    /// An integer that not every client can keep.
    #[error("twin: integers are from -2^52 to 2^52 - 1")]
    Integer,
    /// A key with a character that none may have.
    #[error("twin: key '{0}': no control characters, white space, '.', '$' or '#', and not empty")]
    BadName(String),
    /// A key that is too long.
    #[error("twin: a key is longer than {MAX_KEY} bytes")]
    NameTooLong,
    /// A string that is too long.
    #[error("twin: a string is longer than {MAX_STRING} bytes")]
    ValueTooLong,
    /// The section would become too large.
    #[error("twin: {size} bytes, a section has room for {most}")]
    TooLarge {
        /// As compact JSON.
        size: usize,
        /// The limit.
        most: usize,
    },
}

impl TwinError {
    /// A stable word.
    pub fn word(&self) -> &'static str {
        match self {
            TwinError::TooDeep => "too_deep",
            TwinError::NullInArray => "null_in_array",
            TwinError::Integer => "int_out_of_range",
            TwinError::BadName(_) => "bad_name",
            TwinError::NameTooLong => "name_too_long",
            TwinError::ValueTooLong => "value_too_long",
            TwinError::TooLarge { .. } => "too_big",
        }
    }
}
