//! What a command says: from the bytes that came down to what is to be done, or to the reason why not, in words.
//!
//! Pure. Whether the leaf and its points exist and take such values is for the router and the write guard; here stands only what can
//! be told from the command itself. Whatever the bytes are, the answer is a [`Request`] or a sentence, soon and in bounded memory.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value as Json;
use tidegate_core::id::PointName;

/// The largest command: what a hub takes (reference §3.1).
pub const MOST_BYTES: usize = 64 * 1024;
/// Most points in one command; more is a configuration, not a command.
pub const MOST_POINTS: usize = 256;

/// What is to be done, in the words of the person who asks: points by name, values in the point's unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Set these points, in this order.
    Write(Vec<(PointName, Json)>),
    /// Read these points now; none named means all.
    Read(Vec<PointName>),
    /// Bytes for a leaf that takes them as they are.
    Raw(Bytes),
    /// A message as it came, for a leaf that is a device with a program of its own.
    Message {
        /// System properties by their wire names, then the sender's own.
        properties: Vec<(String, String)>,
        /// What it says.
        body: Bytes,
    },
}

/// A command with what its body says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// Whom the body names.
    pub leaf: Option<String>,
    /// The id that the body gives itself, for senders that have no message id.
    pub id: Option<String>,
    /// What is to be done; for a refused one the reason in words.
    pub request: Result<Request, String>,
}

/// The object form, member by member.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Members {
    leaf: Option<Json>,
    id: Option<Json>,
    write: Option<Pairs>,
    read: Option<Json>,
    #[serde(flatten)]
    strangers: serde_json::Map<String, Json>,
}

impl Spoken {
    /// Reads a body. `content_type` is what the sender says it is.
    pub fn read(body: &Bytes, content_type: Option<&str>) -> Self {
        let refuse = |reason: String| Self { leaf: None, id: None, request: Err(reason) };
        if body.len() > MOST_BYTES {
            return refuse(format!("the command has {} bytes; at most {MOST_BYTES} are taken", body.len()));
        }
        let declared_raw = content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("octet-stream"));
        let looks_like_object = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
        if declared_raw || !looks_like_object {
            return match body.is_empty() {
                true => refuse("the command is empty; write {\"write\":{…}} or {\"read\":[…]}".to_owned()),
                false => Self { leaf: None, id: None, request: Ok(Request::Raw(body.clone())) },
            };
        }
        match serde_json::from_slice::<Members>(body) {
            Err(error) => refuse(format!("not understood: {error}")),
            Ok(members) => Self {
                leaf: members.leaf.as_ref().map(|leaf| leaf.as_str().map_or_else(|| leaf.to_string(), str::to_owned)),
                id: members.id.as_ref().and_then(Json::as_str).map(str::to_owned),
                request: members.request(),
            },
        }
    }
}

impl Members {
    fn request(self) -> Result<Request, String> {
        if let Some(stranger) = self.strangers.keys().next() {
            let shown: String = stranger.chars().take(40).collect();
            return Err(format!("'{shown}' is no member of a command; use leaf, id, and write or read"));
        }
        if self.leaf.as_ref().is_some_and(|leaf| !leaf.is_string()) {
            return Err("leaf is not a text".to_owned());
        }
        match (self.write, self.read) {
            (Some(pairs), None) => write_request(pairs.0),
            (None, Some(read)) => read_request(&read),
            (Some(_), Some(_)) => Err("write and read in one command; send two".to_owned()),
            (None, None) => Err("neither write nor read; write {\"write\":{\"point\":value}} or {\"read\":[\"point\"]}".to_owned()),
        }
    }
}

/// From pairs of names and values.
pub fn write_request(pairs: Vec<(String, Json)>) -> Result<Request, String> {
    if pairs.is_empty() || pairs.len() > MOST_POINTS {
        return Err(format!("write names {} points; 1 to {MOST_POINTS} are taken", pairs.len()));
    }
    let mut wanted: Vec<(PointName, Json)> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = point(&name)?;
        if wanted.iter().any(|(other, _)| *other == name) {
            return Err(format!("write names '{name}' twice"));
        }
        if !matches!(value, Json::Bool(_) | Json::Number(_) | Json::String(_)) {
            return Err(format!("the value for '{name}' is not a number, a text, true or false"));
        }
        wanted.push((name, value));
    }
    Ok(Request::Write(wanted))
}

fn read_request(read: &Json) -> Result<Request, String> {
    let names = read.as_array().ok_or("read is not a list of points")?;
    if names.len() > MOST_POINTS {
        return Err(format!("read names {} points; at most {MOST_POINTS} are taken", names.len()));
    }
    let names = names.iter().map(|name| point(name.as_str().ok_or("read holds something that is not a point's name")?));
    Ok(Request::Read(names.collect::<Result<_, _>>()?))
}

fn point(name: &str) -> Result<PointName, String> {
    PointName::new(name).map_err(|error| error.to_string())
}

/// An object as pairs in the order in which they stand: points are set in that order, and a name that comes twice is a mistake.
struct Pairs(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of points and values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, Json>()? {
                    if pairs.len() > MOST_POINTS {
                        return Err(A::Error::custom(format!("write names more than {MOST_POINTS} points")));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// What the inbox keeps before raw bytes; no JSON text begins with it.
const RAW: u8 = 0;
/// Before a message: then four bytes say how long its properties are, as JSON, and its body is the rest.
const MESSAGE: u8 = 1;

impl Request {
    /// As the inbox keeps it.
    pub fn to_stored(&self) -> Bytes {
        match self {
            Request::Raw(bytes) => [&[RAW], &bytes[..]].concat().into(),
            Request::Message { properties, body } => {
                let properties = serde_json::json!(properties).to_string();
                let length = u32::try_from(properties.len()).unwrap_or(u32::MAX);
                [&[MESSAGE], &length.to_be_bytes()[..], properties.as_bytes(), body].concat().into()
            }
            Request::Read(names) => serde_json::json!({ "read": names }).to_string().into(),
            Request::Write(pairs) => {
                let members: Vec<String> = pairs.iter().map(|(name, value)| format!("{}:{value}", Json::from(name.as_str()))).collect();
                format!("{{\"write\":{{{}}}}}", members.join(",")).into()
            }
        }
    }

    /// Reads what [`Request::to_stored`] wrote.
    pub fn from_stored(stored: &Bytes) -> Result<Self, String> {
        match stored.first() {
            Some(&RAW) => Ok(Request::Raw(stored.slice(1..))),
            Some(&MESSAGE) => message_from_stored(stored).ok_or_else(|| "what is kept of the message is not understood".to_owned()),
            _ => Spoken::read(stored, None).request,
        }
    }

    /// For the audit and for people: `setpoint=21.5, pump=true`.
    pub fn in_words(&self) -> String {
        match self {
            Request::Write(pairs) => pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", "),
            Request::Read(names) if names.is_empty() => "read all".to_owned(),
            Request::Read(names) => format!("read {}", names.iter().map(PointName::as_str).collect::<Vec<_>>().join(", ")),
            Request::Raw(bytes) => format!("{} raw bytes", bytes.len()),
            Request::Message { body, .. } => format!("a message of {} bytes", body.len()),
        }
    }

    /// Whether it may change something.
    pub fn changes_something(&self) -> bool {
        !matches!(self, Request::Read(_))
    }
}

fn message_from_stored(stored: &Bytes) -> Option<Request> {
    let length = u32::from_be_bytes(stored.get(1..5)?.try_into().ok()?);
    let body = usize::try_from(length).ok()?.checked_add(5)?;
    let properties = serde_json::from_slice(stored.get(5..body)?).ok()?;
    Some(Request::Message { properties, body: stored.slice(body..) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(body: &'static str) -> Spoken {
        Spoken::read(&Bytes::from_static(body.as_bytes()), None)
    }

    fn name(text: &str) -> PointName {
        PointName::new(text).expect("valid")
    }

    #[test]
    fn points_are_set_in_the_order_in_which_they_stand() {
        let spoken = read(r#"{"leaf":"boiler","write":{"z":1,"a":true,"m":"auto"}}"#);
        assert_eq!(spoken.leaf.as_deref(), Some("boiler"));
        let wanted = vec![(name("z"), json!(1)), (name("a"), json!(true)), (name("m"), json!("auto"))];
        assert_eq!(spoken.request, Ok(Request::Write(wanted)));
    }

    #[test]
    fn what_is_no_command_is_refused_with_the_reason() {
        let reason = |body| read(body).request.expect_err(body);
        for (body, part) in [
            ("", "empty"),
            ("{", "not understood"),
            ("{}", "neither write nor read"),
            (r#"{"write":{}}"#, "names 0 points"),
            (r#"{"write":{"a":1,"a":2}}"#, "twice"),
            (r#"{"write":{"a":null}}"#, "not a number"),
            (r#"{"write":{"a":{"b":1}}}"#, "not a number"),
            (r#"{"write":{"no spaces":1}}"#, "not a point name"),
            (r#"{"write":[1]}"#, "object of points"),
            (r#"{"read":"a"}"#, "not a list"),
            (r#"{"read":[1]}"#, "not a point's name"),
            (r#"{"read":[],"write":{"a":1}}"#, "send two"),
            (r#"{"wrote":{"a":1}}"#, "'wrote' is no member"),
            (r#"{"leaf":7,"read":[]}"#, "leaf is not a text"),
        ] {
            assert!(reason(body).contains(part), "{body}: {}", reason(body));
        }
        let large = Bytes::from(vec![b'x'; MOST_BYTES + 1]);
        assert!(Spoken::read(&large, None).request.expect_err("too large").contains("65537 bytes"));
    }

    #[test]
    fn bytes_that_are_no_object_are_raw() {
        assert_eq!(read("\u{1}AT+Z").request, Ok(Request::Raw(Bytes::from_static(b"\x01AT+Z"))));
        let declared = Spoken::read(&Bytes::from_static(b"{"), Some("application/octet-stream"));
        assert_eq!(declared.request, Ok(Request::Raw(Bytes::from_static(b"{"))));
    }

    #[test]
    fn a_request_survives_the_inbox() {
        for body in [r#"{"write":{"z":1.5,"a":"x\"y"}}"#, r#"{"read":["a"]}"#, r#"{"read":[]}"#, "\0\u{1}raw"] {
            let request = read(body).request.expect(body);
            assert_eq!(Request::from_stored(&request.to_stored()), Ok(request));
        }
    }

    #[test]
    fn a_message_is_kept_whole_and_a_damaged_one_is_no_message() {
        let properties = vec![("$.cid".to_owned(), "c".to_owned()), ("größe".to_owned(), "a=b&c".to_owned())];
        for body in [&b""[..], b"\0\xff{", &[7; 70_000]] {
            let request = Request::Message { properties: properties.clone(), body: Bytes::copy_from_slice(body) };
            let stored = request.to_stored();
            assert_eq!(Request::from_stored(&stored), Ok(request));
            (0..stored.len().min(60)).for_each(|end| drop(Request::from_stored(&stored.slice(..end))));
        }
        for stored in [&[MESSAGE][..], &[MESSAGE, 255, 255, 255, 255], &[MESSAGE, 0, 0, 0, 1, b'x'], &[MESSAGE, 0, 0, 0, 9, b'[']] {
            assert!(Request::from_stored(&Bytes::copy_from_slice(stored)).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_can_hurt(body in prop_oneof!["\\{.{0,80}", "\\{\"(write|read|leaf)\":.{0,60}\\}", ".{0,40}"]) {
            let spoken = Spoken::read(&Bytes::from(body), None);
            if let Ok(request) = spoken.request {
                prop_assert_eq!(Request::from_stored(&request.to_stored()), Ok(request));
            }
        }
    }
}
