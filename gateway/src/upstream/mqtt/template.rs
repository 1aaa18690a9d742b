//! Topics and payloads with places for a message's values: `tidegate/{leaf}`, `{"id":"{id}","data":{body}}`.
//!
//! Only the known words are places; other braces stay as they are, because payloads are often JSON. In a topic a word that is not
//! known is a mistake, and so is one whose value could hold a `/`, `+` or `#`.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::{clock::TimeQuality, message::Message, upstream::carry, wire};

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Id,
    Leaf,
    Class,
    Time,
    Body,
    Properties,
}

const PLACES: [(&str, Place); 6] = [
    ("id", Place::Id),
    ("leaf", Place::Leaf),
    ("class", Place::Class),
    ("ts", Place::Time),
    ("body", Place::Body),
    ("properties", Place::Properties),
];

impl Template {
    /// A payload. Never fails.
    pub fn payload(text: &str) -> Self {
        Self::read(text).0
    }

    /// A topic, or what is wrong with it and what to do.
    pub fn topic(text: &str) -> Result<Self, (String, String)> {
        let (template, unknown) = Self::read(text);
        if let Some(word) = unknown.first() {
            return Err((format!("{{{word}}} is not known"), "write {id}, {leaf}, {class} or {ts}".to_owned()));
        }
        let unfit = |part: &Part| matches!(part, Part::Place(Place::Body | Place::Properties));
        if template.0.iter().any(unfit) {
            return Err(("a body or properties cannot stand in a topic".to_owned(), "use {id}, {leaf}, {class} or {ts}".to_owned()));
        }
        match is_topic(text) {
            Ok(()) => Ok(template),
            Err(why) => Err((why.to_owned(), "write a topic such as site-a/{leaf}".to_owned())),
        }
    }

    /// The template, and the words in braces that are no places.
    fn read(text: &str) -> (Self, Vec<String>) {
        let (mut parts, mut unknown, mut plain, mut rest) = (Vec::new(), Vec::new(), String::new(), text);
        while let Some(at) = rest.find('{') {
            let (before, braced) = rest.split_at(at);
            plain.push_str(before);
            match word(braced) {
                Some((word, after)) => {
                    match PLACES.iter().find(|(name, _)| *name == word) {
                        Some((_, place)) => {
                            parts.extend([Part::Text(std::mem::take(&mut plain)), Part::Place(*place)]);
                        }
                        None => {
                            unknown.push(word.chars().take(40).collect());
                            plain.push_str(&braced[..word.len() + 2]);
                        }
                    }
                    rest = after;
                }
                None => {
                    plain.push('{');
                    rest = &braced[1..];
                }
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        (Self(parts), unknown)
    }

    /// The text with a message's values.
    pub fn fill(&self, message: &Message) -> Bytes {
        // What most payloads are; costs no copy.
        if let [Part::Place(Place::Body)] = self.0.as_slice() {
            return wire::body(message);
        }
        let mut out = Vec::with_capacity(64 + message.size());
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Place(place) => fill_place(*place, message, &mut out),
            }
        }
        out.into()
    }
}

fn fill_place(place: Place, message: &Message, out: &mut Vec<u8>) {
    match place {
        Place::Id => out.extend_from_slice(message.id.to_string().as_bytes()),
        Place::Leaf => out.extend_from_slice(message.leaf.as_str().as_bytes()),
        Place::Class => out.extend_from_slice(message.class.word().as_bytes()),
        Place::Time => out.extend_from_slice(message.taken.wall.to_string().as_bytes()),
        Place::Body => out.extend_from_slice(&wire::body(message)),
        Place::Properties => out.extend_from_slice(properties(message).as_bytes()),
    }
}

/// As a JSON object, names sorted; a doubtful time shows.
fn properties(message: &Message) -> String {
    let all = match message.taken.quality {
        TimeQuality::Synced => message.properties.clone(),
        TimeQuality::Unsynced => carry(&message.properties, "time_quality", "unsynced"),
    };
    let sorted: BTreeMap<&str, &str> = all.iter().collect();
    serde_json::to_string(&sorted).unwrap_or_else(|_| "{}".to_owned())
}

/// `{word}` at the beginning: the word, and what follows.
fn word(braced: &str) -> Option<(&str, &str)> {
    let (word, after) = braced.strip_prefix('{')?.split_once('}')?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    is_word.then_some((word, after))
}

/// Whether a text, its places apart, can be published to.
pub(super) fn is_topic(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > 1024 {
        return Err("is longer than 1024 bytes");
    }
    if text.contains(['+', '#']) {
        return Err("holds a wildcard (+ or #), to which nobody can publish");
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::{
        clock::{Clock, HandClock, Timestamp},
        id::{LeafId, MessageId},
        message::{Body, Class, Properties, SystemProperties},
    };

    use super::*;

    fn message(body: &'static [u8]) -> Message {
        let mut properties = Properties::default();
        properties.insert("site", "hall \"3\"").expect("valid");
        properties.insert("line", "7").expect("valid");
        Message {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse::<MessageId>().expect("valid"),
            leaf: LeafId::new("boiler").expect("valid"),
            class: Class::Alert,
            taken: HandClock::at(Timestamp(1_767_225_600_000)).now(),
            ttl: None,
            system: SystemProperties::json(),
            properties,
            body: Body::Whole(Bytes::from_static(body)),
        }
    }

    fn filled(template: &str) -> String {
        String::from_utf8(Template::payload(template).fill(&message(b"{\"t\":1}")).to_vec()).expect("UTF-8")
    }

    #[test]
    fn known_words_are_places_and_other_braces_stay() {
        assert_eq!(filled("{body}"), "{\"t\":1}");
        assert_eq!(filled("{class}/{leaf}"), "alert/boiler");
        assert_eq!(
            filled(r#"{"id":"{id}","at":"{ts}","data":{body},"p":{properties}}"#),
            r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","at":"2026-01-01T00:00:00.000Z","data":{"t":1},"p":{"line":"7","site":"hall \"3\""}}"#
        );
        assert_eq!(filled("{unknown}{ body }{{leaf}}{"), "{unknown}{ body }{boiler}{");
    }

    #[test]
    fn bytes_that_are_no_text_pass_unchanged() {
        assert_eq!(Template::payload("{body}").fill(&message(b"\0\xff")), &b"\0\xff"[..]);
        assert_eq!(Template::payload("<{body}>").fill(&message(b"\0\xff")), &b"<\0\xff>"[..]);
    }

    #[test]
    fn a_doubtful_time_shows_in_the_properties() {
        let mut early = message(b"");
        early.taken.quality = TimeQuality::Unsynced;
        let text = Template::payload("{properties}").fill(&early);
        assert!(String::from_utf8_lossy(&text).contains(r#""time_quality":"unsynced""#));
    }

    #[test]
    fn a_topic_is_one_that_can_be_published_to() {
        let topic = Template::topic("plant/{class}/{leaf}").expect("valid").fill(&message(b""));
        assert_eq!(topic, "plant/alert/boiler");
        for bad in ["", "a/+/b", "a/#", "{body}", "x/{properties}", "x/{device}", "a\0b", &"x".repeat(2_000)] {
            assert!(Template::topic(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_template_can_be_filled_and_text_without_places_is_unchanged(text in "[{}a-z\" ]{0,60}") {
            let read = Template::read(&text).0;
            read.fill(&message(b"x"));
            if !PLACES.iter().any(|(name, _)| text.contains(&format!("{{{name}}}"))) {
                prop_assert_eq!(read.fill(&message(b"x")), text.as_bytes());
            }
        }
    }
}
