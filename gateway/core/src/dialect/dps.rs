//! The Device Provisioning Service over MQTT: which hub a device belongs to (reference §7).
//!
//! Names, topics and answers only; who connects, waits and asks again is the upstream's affair. Answers are read with
//! suspicion: whatever is missing or too long is [`Answer::Nonsense`].

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value as Json, json};

use super::{key::Key, sas};
use crate::{clock::Timestamp, id::HubDeviceId};

/// The service for all the world.
pub const GLOBAL_HOST: &str = "global.azure-devices-provisioning.net";
/// Everything that the service answers.
pub const ANSWERS: &str = "$dps/registrations/res/#";
/// The version that the SDKs use.
const API_VERSION: &str = "2019-03-31";
/// The policy by which the service knows its tokens.
const POLICY: &str = "registration";
/// How long to wait where an answer does not say.
const WAIT: Duration = Duration::from_secs(3);
/// The service takes five questions in ten seconds.
const LEAST_WAIT: Duration = Duration::from_secs(2);
/// Longer than this nobody is asked to wait for an assignment.
const MOST_WAIT: Duration = Duration::from_secs(120);
/// Characters of a message that are kept for people.
const MOST_SAID: usize = 200;

/// Who registers where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The scope id of the service, such as `0ne00000A0A`.
    pub id_scope: String,
    /// The device's id there; lower case, because group keys are derived from its letters.
    pub id: String,
}

/// Whether a text can be a registration id, in the form that we use.
pub fn is_registration_id(text: &str) -> bool {
    let right = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:".contains(&b);
    (1..=128).contains(&text.len())
        && text.bytes().all(right)
        && text.bytes().last().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether a text can be an id scope.
pub fn is_id_scope(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Registration {
    /// The MQTT user name. There is no `?` in it.
    pub fn user_name(&self) -> String {
        format!("{}/registrations/{}/api-version={API_VERSION}", self.id_scope, self.id)
    }

    /// A token for the service.
    pub fn password(&self, key: &Key, expires: Timestamp) -> SecretString {
        sas::make(&format!("{}/registrations/{}", self.id_scope, self.id), key, expires, Some(POLICY))
    }

    /// Topic and body that ask for a hub.
    pub fn register(&self, request: u32, payload: Option<Json>) -> (String, String) {
        let mut body = json!({ "registrationId": self.id });
        if let Some(payload) = payload {
            body["payload"] = payload;
        }
        (format!("$dps/registrations/PUT/iotdps-register/?$rid={request}"), body.to_string())
    }
}

/// Topic that asks how far it is; the body is empty.
pub fn status(request: u32, operation: &str) -> String {
    format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid={request}&operationId={operation}")
}

/// The hub of a device, and its id there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The hub's host name.
    pub hub: String,
    /// The device's id at the hub.
    pub device: HubDeviceId,
}

/// What the service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This is the hub.
    Assigned(Assignment),
    /// To be asked again about this operation, after this time.
    Wait {
        /// For [`status`].
        operation: String,
        /// How long.
        after: Duration,
    },
    /// Not now, but perhaps after this time.
    Busy {
        /// How long.
        after: Duration,
        /// In words.
        why: String,
    },
    /// No: the service knows why.
    Refused {
        /// As in HTTP; 401 and 403 are about the credentials, 404 about the id scope or the registration.
        status: u16,
        /// In words.
        why: String,
    },
    /// Not an answer that makes sense.
    Nonsense,
}

impl Answer {
    /// `None` when the topic is no answer, or one to another request.
    pub fn read(topic: &str, body: &[u8], request: u32) -> Option<Self> {
        let (status, query) = topic.strip_prefix("$dps/registrations/res/")?.split_once("/?")?;
        let parameter = |name: &str| query.split('&').find_map(|part| part.split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v);
        if parameter("$rid") != Some(request.to_string().as_str()) {
            return None;
        }
        let Ok(status) = status.parse::<u16>() else { return Some(Answer::Nonsense) };
        let seconds = parameter("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let after = seconds.unwrap_or(WAIT).clamp(LEAST_WAIT, MOST_WAIT);
        let body: Json = serde_json::from_slice(body).unwrap_or_default();
        Some(match status {
            ..300 => Self::accepted(&body, after),
            429.. => Answer::Busy { after, why: why(status, &body) },
            _ => Answer::Refused { status, why: why(status, &body) },
        })
    }

    fn accepted(body: &Json, after: Duration) -> Self {
        let state = &body["registrationState"];
        match body["status"].as_str() {
            Some("assigned") => {
                let hub = state["assignedHub"].as_str().filter(|hub| super::identity::is_host(hub));
                let device = state["deviceId"].as_str().and_then(|id| HubDeviceId::new(id).ok());
                hub.zip(device).map_or(Answer::Nonsense, |(hub, device)| Answer::Assigned(Assignment { hub: hub.to_owned(), device }))
            }
            Some("assigning" | "unassigned") => match body["operationId"].as_str().filter(|id| is_operation(id)) {
                Some(operation) => Answer::Wait { operation: operation.to_owned(), after },
                None => Answer::Nonsense,
            },
            Some("failed") => Answer::Refused { status: 400, why: why(400, state) },
            Some("disabled") => Answer::Refused { status: 403, why: "the enrolment is disabled".to_owned() },
            _ => Answer::Nonsense,
        }
    }
}

/// It goes into a topic.
fn is_operation(id: &str) -> bool {
    (1..=256).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

fn why(status: u16, body: &Json) -> String {
    let said = body["message"].as_str().or_else(|| body["errorMessage"].as_str()).unwrap_or("no reason given");
    let said: String = said.chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
    match body["errorCode"].as_u64() {
        Some(code) => format!("{said} ({status}, {code})"),
        None => format!("{said} ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(topic: &str, body: &str) -> Option<Answer> {
        Answer::read(topic, body.as_bytes(), 1)
    }

    #[test]
    fn refusals_and_pauses_are_told_apart() {
        let refused = read("$dps/registrations/res/401/?$rid=1", r#"{"errorCode":401002,"message":"Unauthorized"}"#);
        assert_eq!(refused, Some(Answer::Refused { status: 401, why: "Unauthorized (401, 401002)".into() }));
        let busy = read("$dps/registrations/res/429/?retry-after=7&$rid=1", "");
        assert_eq!(busy, Some(Answer::Busy { after: Duration::from_secs(7), why: "no reason given (429)".into() }));
        let failed = r#"{"status":"failed","registrationState":{"errorCode":400207,"errorMessage":"no hub"}}"#;
        assert_eq!(
            read("$dps/registrations/res/200/?$rid=1", failed),
            Some(Answer::Refused { status: 400, why: "no hub (400, 400207)".into() })
        );
        assert_eq!(read("$dps/registrations/res/200/?$rid=2", failed), None, "an answer to another question");
        let hasty = r#"{"status":"assigning","operationId":"4.a"}"#;
        let wait = Answer::Wait { operation: "4.a".into(), after: LEAST_WAIT };
        assert_eq!(read("$dps/registrations/res/202/?$rid=1&retry-after=0", hasty), Some(wait));
    }

    #[test]
    fn an_assignment_that_cannot_be_meant_is_nonsense() {
        for state in [r#"{"assignedHub":"a/b","deviceId":"d"}"#, r#"{"assignedHub":"hub","deviceId":"a/b"}"#, "{}", "7"] {
            let body = format!(r#"{{"status":"assigned","registrationState":{state}}}"#);
            assert_eq!(read("$dps/registrations/res/200/?$rid=1", &body), Some(Answer::Nonsense), "{state}");
        }
        let wild = r#"{"status":"assigning","operationId":"a/#"}"#;
        assert_eq!(read("$dps/registrations/res/202/?$rid=1", wild), Some(Answer::Nonsense));
    }

    #[test]
    fn registration_ids_are_written_small() {
        for good in ["leaf-01", "line1.pump_2:a", "a-"] {
            assert!(is_registration_id(good), "{good}");
        }
        for bad in ["", "Leaf", "a.", "a/b", "a b", &"x".repeat(129)] {
            assert!(!is_registration_id(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read(topic in "(\\$dps/registrations/res/)?.{0,40}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            Answer::read(&topic, &body, 1);
            Answer::read(&format!("$dps/registrations/res/200/?$rid=1{topic}"), &body, 1);
        }
    }
}
