//! Names of things. Each is checked once, when it is made, and right for ever after.
//!
//! Ids are shared text (`Arc<str>`): a clone costs one atomic addition, never an allocation,
//! because every reading and every message carries some.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text cannot be used as an id. The text is shortened, so that hostile input stays small in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: {rule}")]
pub struct IdError {
    /// What the text was meant to name, such as "leaf id".
    pub what: &'static str,
    /// The refused text, at most 40 characters of it.
    pub text: String,
    /// The rule in words, as a next step for the person who typed it.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text; see the type for the rule.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError { what: $what, text: text.chars().take(40).collect(), rule: $rule })
                }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

/// The longest leaf id and hub device id (IoT Hub identity registry).
pub const MAX_DEVICE_ID: usize = 128;
/// The longest name of an adapter, upstream, reader or point: it must stay readable in a log line.
pub const MAX_NAME: usize = 64;

text_id!(
    /// A leaf device: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, the last character alphanumeric or `-`.
    ///
    /// The set that is valid at once as hub device id, DPS registration id, topic level and file name
    /// (reference §1.2), so a leaf id never needs to be encoded anywhere.
    LeafId,
    "leaf id",
    "use 1 to 128 letters, digits, '.', '_' or '-'; begin with a letter or digit, end with a letter, digit or '-'",
    is_leaf_id
);

text_id!(
    /// The name of an adapter, an upstream or a reader: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
    Name,
    "name",
    "use 1 to 64 letters, digits, '_' or '-', and begin with a letter or digit",
    is_name
);

text_id!(
    /// The name of a point of a leaf; it becomes a key of the message body.
    ///
    /// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`; the members that a body has beside its points
    /// ([`RESERVED_POINTS`]) are refused.
    PointName,
    "point name",
    "use 1 to 64 letters, digits, '_', '-' or '.', begin with a letter, digit or '_', and not ts, quality, units or times",
    is_point_name
);

text_id!(
    /// A device or module id at the hub: 1 to 128 ASCII letters, digits and `- . + % _ # * ? ! ( ) , = @ $ '`
    /// (IoT Hub identity registry, reference §1.2). Wider than [`LeafId`], because hubs have older ids.
    HubDeviceId,
    "hub device id",
    "use 1 to 128 ASCII letters, digits and - . _ (the hub also has + % # * ? ! ( ) , = @ $ ')",
    is_hub_device_id
);

/// Members of a message body that are not points.
pub const RESERVED_POINTS: [&str; 4] = ["ts", "quality", "units", "times"];

fn is_leaf_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_DEVICE_ID).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
        && bytes.last().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_NAME).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(b))
}

fn is_point_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_NAME).contains(&bytes.len())
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b))
        && !RESERVED_POINTS.contains(&text)
}

fn is_hub_device_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_DEVICE_ID).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-.+%_#*?!(),=@$'".contains(b))
}

/// A message's own id: a UUID version 7 (RFC 9562 §5.7), made once, when the message is made.
/// It never changes, so whoever receives a message twice can tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(uuid::Uuid);

impl MessageId {
    /// A fresh id. Its time part is the wall clock and nothing relies on it.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// When it was made, in milliseconds since 1970 by the wall clock of that moment; 0 for an id of another kind.
    pub fn made_ms(&self) -> i64 {
        let time = self.0.get_timestamp().map_or((0, 0), |time| time.to_unix());
        i64::try_from(time.0).unwrap_or(0).saturating_mul(1000).saturating_add(i64::from(time.1) / 1_000_000)
    }

    /// From the 16 bytes that the log keeps.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message's place in the log. Rises by at least one for each message and is never used again,
/// across restarts too. This, and never a clock, is the order of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_ids_are_what_is_valid_everywhere() {
        for good in ["a", "boiler-7", "A.b_c-", "0", &"x".repeat(128)] {
            assert!(LeafId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a.", "a_", "a/b", "a+b", "a#", "ä", "a b", "a\0", &"x".repeat(129)] {
            assert!(LeafId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_point_cannot_take_the_name_of_a_body_member() {
        assert!(PointName::new("temperature").is_ok());
        for reserved in RESERVED_POINTS {
            assert!(PointName::new(reserved).is_err());
        }
    }

    #[test]
    fn a_hostile_id_stays_short_in_the_error() {
        let error = LeafId::new("/".repeat(100_000)).expect_err("slashes are refused");
        assert_eq!(error.text.len(), 40);
    }

    #[test]
    fn hub_ids_are_wider_than_leaf_ids() {
        assert!(HubDeviceId::new("a+b#c$d'e(f)=@").is_ok());
        assert!(HubDeviceId::new("a:b").is_err());
        assert!(HubDeviceId::new("a/b").is_err());
    }

    #[test]
    fn message_ids_survive_the_log() {
        let id = MessageId::fresh();
        assert_eq!(MessageId::from_bytes(*id.as_bytes()), id);
        assert_eq!(id.to_string().parse::<MessageId>().expect("its own text"), id);
    }
}
