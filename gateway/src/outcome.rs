//! The message that tells the hub what became of a command. Exactly one for each command.
//!
//! ```json
//! {"ts":"2026-01-01T00:00:00.000Z","command":"m1","leaf":"boiler","outcome":"done","values":{"setpoint":21.5}}
//! ```
//!
//! The correlation id is the command's own message id, the application properties `tidegate-kind = outcome` and `outcome` (the word)
//! are for routing. `ts` is when the outcome was known. Values are as they were seen, in the points' units.

use serde_json::{Map, Value as Json, json};
use tidegate_core::{
    clock::Stamp,
    command::Outcome,
    id::{LeafId, MessageId},
    message::{Body, Class, Message, Properties, SystemProperties, is_id_property},
};

/// What became of a command, with what was seen in the points' units.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The word.
    pub word: &'static str,
    /// What was seen; empty when nothing was.
    pub values: Map<String, Json>,
    /// Why, in words; empty for what needs no reason.
    pub reason: String,
}

impl Told {
    /// An outcome that shows no values.
    pub fn plain(outcome: &Outcome) -> Self {
        let reason = match outcome {
            Outcome::Rejected(reason) | Outcome::Failed(reason) | Outcome::Uncertain(reason) => reason.clone(),
            Outcome::Expired => "not begun in time".to_owned(),
            Outcome::Done(_) | Outcome::Sent => String::new(),
        };
        Self { word: outcome.word(), values: Map::new(), reason }
    }

    /// As JSON, without the command's own names.
    pub fn view(&self) -> Map<String, Json> {
        let mut object = Map::new();
        object.insert("outcome".to_owned(), self.word.into());
        if !self.values.is_empty() {
            object.insert("values".to_owned(), Json::Object(self.values.clone()));
        }
        if !self.reason.is_empty() {
            object.insert("reason".to_owned(), shortened(&self.reason).into());
        }
        object
    }
}

/// Longest reason and longest name that is repeated: what a stranger wrote must not grow on its way.
const MOST_TEXT: usize = 500;

fn shortened(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

/// Whom an outcome is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The command's id; empty when it had none.
    pub id: &'a str,
    /// The leaf as the command named it; empty when it named none.
    pub named: &'a str,
    /// The leaf that the message is from: the one named, or the gateway when there is no such leaf.
    pub from: &'a LeafId,
    /// How often it was begun.
    pub deliveries: u32,
}

/// The message.
pub fn message(about: About<'_>, told: &Told, now: Stamp) -> Message {
    let mut object = told.view();
    for (key, text) in [("command", about.id), ("leaf", about.named)] {
        if !text.is_empty() {
            object.insert(key.to_owned(), shortened(text).into());
        }
    }
    if about.deliveries > 1 {
        object.insert("deliveries".to_owned(), json!(about.deliveries));
    }
    let mut properties = Properties::default();
    for (name, value) in [("tidegate-kind", "outcome"), ("outcome", told.word)] {
        // Both are valid names and values.
        properties.insert(name, value).ok();
    }
    let correlation_id = is_id_property(about.id).then(|| about.id.to_owned());
    Message {
        id: MessageId::fresh(),
        leaf: about.from.clone(),
        class: Class::Outcome,
        taken: now,
        ttl: None,
        system: SystemProperties { correlation_id, ..SystemProperties::json() },
        properties,
        body: Body::Untimed(Json::Object(object).to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{
        clock::{Clock, HandClock, Timestamp},
        wire,
    };

    use super::*;

    fn sent(named: &str, told: &Told, deliveries: u32) -> Message {
        let from = LeafId::new("boiler").expect("valid");
        let now = HandClock::at(Timestamp(1_767_225_600_000)).now();
        message(About { id: "m1", named, from: &from, deliveries }, told, now)
    }

    #[test]
    fn outcomes_look_as_documented() {
        let done = Told { word: "done", values: Map::from_iter([("setpoint".to_owned(), json!(21.5))]), reason: String::new() };
        let message = sent("boiler", &done, 1);
        assert_eq!(
            wire::body(&message),
            r#"{"ts":"2026-01-01T00:00:00.000Z","command":"m1","leaf":"boiler","outcome":"done","values":{"setpoint":21.5}}"#
        );
        assert_eq!((message.class, message.system.correlation_id.as_deref()), (Class::Outcome, Some("m1")));
        let properties: Vec<_> = message.properties.iter().collect();
        assert_eq!(properties, [("tidegate-kind", "outcome"), ("outcome", "done")]);
        let words = [
            (Outcome::Sent, r#""outcome":"sent"}"#),
            (Outcome::Expired, r#""outcome":"expired","reason":"not begun in time"}"#),
            (Outcome::Rejected("no such point".into()), r#""outcome":"rejected","reason":"no such point"}"#),
            (Outcome::Failed("refused".into()), r#""outcome":"failed","reason":"refused"}"#),
            (Outcome::Uncertain("no answer".into()), r#""outcome":"uncertain","reason":"no answer"}"#),
        ];
        for (outcome, end) in words {
            let body = wire::body(&sent("", &Told::plain(&outcome), 2));
            let text = std::str::from_utf8(&body).expect("JSON").to_owned();
            assert_eq!(text, format!(r#"{{"ts":"2026-01-01T00:00:00.000Z","command":"m1","deliveries":2,{end}"#));
        }
    }

    #[test]
    fn what_a_stranger_wrote_does_not_grow_on_its_way() {
        let told = Told::plain(&Outcome::Rejected("x".repeat(100_000)));
        assert!(sent(&"y".repeat(100_000), &told, 1).check().is_ok());
        assert!(sent(&"ä".repeat(100_000), &told, 1).size() < 4_000);
    }
}
