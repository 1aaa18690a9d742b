//! The envelope that leaves us: device-to-cloud messages and their properties.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::{Stamp, Timestamp},
    id::{LeafId, MessageId},
};

/// The largest message a hub takes: body + values of system properties + names and values of application
/// properties, in bytes. 256 KiB less one, because the .NET SDK refuses the full 256 KiB (reference §1.1, §2.3).
pub const MAX_MESSAGE: usize = 262_143;
/// The longest message or correlation id (reference §2.3).
pub const MAX_ID_PROPERTY: usize = 128;
/// The largest sum of property names and values. The bag travels in the topic, which MQTT limits to 65,535 bytes,
/// and each byte may take three when percent-encoded (reference §1.7 recommends 8 KiB).
pub const MAX_PROPERTIES: usize = 8 * 1024;

/// What gives way first when room is short, and what leaves first when the link is back: the last one leaves first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Values of points. Gives way first.
    #[default]
    Telemetry = 0,
    /// What the gateway or a leaf says about itself, gap reports included.
    Status = 1,
    /// What became of commands.
    Outcome = 2,
    /// What somebody must see. Gives way last.
    Alert = 3,
}

impl Class {
    /// All, the first to give way first.
    pub const ALL: [Class; 4] = [Class::Telemetry, Class::Status, Class::Outcome, Class::Alert];

    /// As stored.
    pub fn from_index(index: usize) -> Option<Class> {
        Self::ALL.get(index).copied()
    }

    /// The lower-case word for logs and tables.
    pub fn word(self) -> &'static str {
        match self {
            Class::Telemetry => "telemetry",
            Class::Status => "status",
            Class::Outcome => "outcome",
            Class::Alert => "alert",
        }
    }
}

/// What a message says about itself to the hub, beside what every message has (id, creation time).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemProperties {
    /// `$.ct`
    pub content_type: Option<Cow<'static, str>>,
    /// `$.ce`
    pub content_encoding: Option<Cow<'static, str>>,
    /// `$.cid`
    pub correlation_id: Option<String>,
    /// `$.uid`
    pub user_id: Option<String>,
    /// `$.mid` as the leaf chose it. `None` for messages that we made: their [`MessageId`] is used.
    pub message_id: Option<String>,
    /// `$.sub`, the component of a modelled device.
    pub subject: Option<String>,
    /// Who sent it to our own endpoint, and when it came; `None` for messages that did not come that way. Never leaves us upwards.
    pub origin: Option<Arc<Origin>>,
}

/// The connection by which a message came to our own endpoint: what a hub notes with each message (reference §2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The module, if it was one.
    pub module: Option<String>,
    /// How it had proved itself: `sas`, `x509` or `password`.
    pub auth: Cow<'static, str>,
    /// The device's generation in the registry.
    pub generation: String,
    /// The model that the device follows, a DTMI.
    pub model: Option<String>,
    /// When the message was accepted.
    pub enqueued: Timestamp,
}

impl SystemProperties {
    /// UTF-8 JSON, what every message is that we make ourselves.
    pub fn json() -> Self {
        Self { content_type: Some(Cow::Borrowed("application/json")), content_encoding: Some(Cow::Borrowed("utf-8")), ..Self::default() }
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        [
            self.content_type.as_deref(),
            self.content_encoding.as_deref(),
            self.correlation_id.as_deref(),
            self.user_id.as_deref(),
            self.message_id.as_deref(),
            self.subject.as_deref(),
        ]
        .into_iter()
        .flatten()
    }
}

/// Application properties: names and values in the order in which they were given, names unique without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(Arc<Vec<(String, String)>>);

impl Properties {
    /// Adds a property, or says why it cannot leave.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), MessageError> {
        let refuse = |why| Err(MessageError::Property { name: name.chars().take(40).collect(), why });
        if name.is_empty() || !name.bytes().all(is_property_byte) {
            return refuse("names are ASCII letters, digits and ! # $ % & ' * + - . ^ _ ` | ~");
        }
        if name.starts_with('$') {
            return refuse("names that begin with $ belong to the hub");
        }
        if !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return refuse("values are printable ASCII");
        }
        if self.get(name).is_some() {
            return refuse("names must differ by more than case");
        }
        if self.size() + name.len() + value.len() > MAX_PROPERTIES {
            return refuse("names and values together are at most 8 KiB");
        }
        Arc::make_mut(&mut self.0).push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// The value of a property; names are compared without regard to case, as the hub does.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// In the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of names and values.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.len()).sum()
    }
}

/// Reference §2.3: the characters that pass every path of the hub.
fn is_property_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A message body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Leaves as it is.
    Whole(Bytes),
    /// A JSON object that begins with `{` and still lacks its `ts`. The time is put in as the message leaves,
    /// because it may be corrected while the message waits in the log.
    Untimed(Bytes),
}

impl Body {
    /// The bytes as stored.
    pub fn stored(&self) -> &Bytes {
        match self {
            Body::Whole(bytes) | Body::Untimed(bytes) => bytes,
        }
    }
}

/// A device-to-cloud message. Its place in the log is not part of it: the log gives it one.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Made once; the same however often the message is sent.
    pub id: MessageId,
    /// The leaf it is from; the gateway's own id for what the gateway says itself.
    pub leaf: LeafId,
    /// What gives way first when room is short.
    pub class: Class,
    /// When what it tells happened.
    pub taken: Stamp,
    /// How long it is worth sending, counted from `taken`; `None` for ever.
    pub ttl: Option<Duration>,
    /// What it says about itself to the hub.
    pub system: SystemProperties,
    /// What the application says about it.
    pub properties: Properties,
    /// What it says.
    pub body: Body,
}

/// Bytes that the hub counts and that are not in the message yet: message id, creation time, the `ts` member of the
/// body, and the properties that an upstream adds (`leaf`, `time_quality`).
pub const SIZE_RESERVE: usize = 512;

impl Message {
    /// Checks what the hub would refuse: size and the ids' characters. Everything that enters the log passes here.
    pub fn check(&self) -> Result<(), MessageError> {
        let size = self.size();
        if size + SIZE_RESERVE > MAX_MESSAGE {
            return Err(MessageError::TooLarge { size, most: MAX_MESSAGE - SIZE_RESERVE });
        }
        for (name, id) in [("message-id", &self.system.message_id), ("correlation-id", &self.system.correlation_id)] {
            if id.as_ref().is_some_and(|id| !is_id_property(id)) {
                return Err(MessageError::Property {
                    name: name.to_owned(),
                    why: "ids are 1 to 128 ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '",
                });
            }
        }
        Ok(())
    }

    /// Body, system property values, application property names and values, in bytes.
    pub fn size(&self) -> usize {
        self.body.stored().len() + self.system.values().map(str::len).sum::<usize>() + self.properties.size()
    }
}

/// Whether the text can be a message or correlation id (reference §2.3).
pub fn is_id_property(id: &str) -> bool {
    (1..=MAX_ID_PROPERTY).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@;$'".contains(&b))
}

/// Why something cannot be a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The hub would refuse it for its size.
    #[error("message of {size} bytes is too large: at most {most} fit")]
    TooLarge {
        /// As [`Message::size`] counts.
        size: usize,
        /// The limit.
        most: usize,
    },
    /// The hub would refuse a property.
    #[error("property '{name}': {why}")]
    Property {
        /// Its name, shortened.
        name: String,
        /// The rule.
        why: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, HandClock};

    fn message(body: usize) -> Message {
        Message {
            id: MessageId::fresh(),
            leaf: LeafId::new("leaf-01").expect("valid"),
            class: Class::Telemetry,
            taken: HandClock::at(Timestamp(0)).now(),
            ttl: None,
            system: SystemProperties::json(),
            properties: Properties::default(),
            body: Body::Whole(Bytes::from(vec![b'x'; body])),
        }
    }

    #[test]
    fn a_message_that_no_hub_takes_is_refused_on_entry() {
        assert!(message(200_000).check().is_ok());
        assert!(matches!(message(MAX_MESSAGE).check(), Err(MessageError::TooLarge { .. })));
    }

    #[test]
    fn property_names_and_values_are_what_passes_every_path() {
        let mut p = Properties::default();
        assert!(p.insert("site", "hall 3").is_ok());
        for (name, value) in [("", "x"), ("$.mid", "x"), ("a b", "x"), ("ä", "x"), ("SITE", "x"), ("ok", "ä"), ("ok", "\n")] {
            assert!(p.insert(name, value).is_err(), "{name}={value}");
        }
        assert_eq!(p.get("Site"), Some("hall 3"));
    }

    #[test]
    fn properties_cannot_grow_without_bound() {
        let mut p = Properties::default();
        let refused = (0..1_000).filter(|i| p.insert(&format!("p{i}"), &"x".repeat(100)).is_err()).count();
        assert!(refused > 0 && p.size() <= MAX_PROPERTIES);
    }

    #[test]
    fn classes_are_stored_by_their_place() {
        for (i, class) in Class::ALL.iter().enumerate() {
            assert_eq!((Class::from_index(i), *class as usize), (Some(*class), i));
        }
        assert_eq!(Class::from_index(4), None);
    }
}
