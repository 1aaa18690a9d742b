//! Direct methods: what a hub may call, and what it is answered.
//!
//! A method runs at once, is bounded by `commands.method_timeout`, and is never stored. Only those on the list `commands.methods` are
//! answered at all. The answer is a status as in HTTP and a JSON object, an error always
//! `{"error":{"code":"…","message":"…"}}` with a sentence for people.
//!
//! | status | code | means |
//! |---|---|---|
//! | 200 | | done, with what was seen |
//! | 202 | | sent, and this leaf cannot confirm |
//! | 400 | `malformed` | the payload is not understood |
//! | 403 | `not-allowed` | not on the list |
//! | 404 | `no-leaf` | there is no such leaf |
//! | 422 | `rejected` | the leaf or a point of it does not take this |
//! | 429 | `busy` | too many calls at once |
//! | 501 | `no-method` | there is no such method |
//! | 502 | `failed` | begun, and observed not to have happened |
//! | 503 | `away` | the leaf cannot be reached now, or the gateway is stopping |
//! | 504 | `not-begun`, `uncertain` | the time was over before it was begun; after it was begun |

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use tidegate_core::{clock::Clock, command::Outcome, profile::LeafProfile};
use tidegate_store::{Log, Urgency, inbox::Origin};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    config::Method,
    control::{Ask, Request as ControlRequest},
    journal,
    normalise::{BodyStyle, message_of},
    outcome::Told,
    request::{Request, Spoken},
    router::{CallError, Caller, Router},
};

/// The largest answer (reference §4.1).
const MOST_ANSWER: usize = 128 * 1024;
/// Lines of the log in one answer when the caller does not say, and at most.
const LINES: (usize, usize) = (100, 500);

/// Answers calls.
#[derive(Debug)]
pub struct Methods {
    /// Those on the list.
    pub allowed: Vec<Method>,
    /// How long one may take.
    pub timeout: Duration,
    /// The way to the leaves.
    pub router: Router,
    /// Where what was read for `refresh` goes.
    pub log: Log,
    /// How it looks there.
    pub style: BodyStyle,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The main loop, which knows the whole gateway; `None` where there is none.
    pub control: Option<mpsc::Sender<ControlRequest>>,
}

/// A status and what goes with it.
type Answer = (u16, Json);

impl Methods {
    /// The status and the body for the hub.
    pub async fn answer(&self, name: &str, payload: &Bytes, origin: Origin) -> (u16, Bytes) {
        let (status, body) = match serde_json::from_value::<Method>(Json::from(name)) {
            Err(_) => error(501, "no-method", format!("there is no method '{}'", name.chars().take(100).collect::<String>())),
            Ok(method) if !self.allowed.contains(&method) => {
                error(403, "not-allowed", format!("'{name}' is not on the list commands.methods of this gateway"))
            }
            Ok(method) => self.carry_out(method, payload, origin).await,
        };
        let text = body.to_string();
        if text.len() > MOST_ANSWER {
            let (status, body) = error(413, "too-large", format!("the answer has {} bytes; at most {MOST_ANSWER} fit", text.len()));
            return (status, body.to_string().into());
        }
        (status, text.into())
    }

    async fn carry_out(&self, method: Method, payload: &Bytes, origin: Origin) -> Answer {
        let caller = Caller { origin, until: Instant::now() + self.timeout };
        match method {
            Method::Ping => (200, json!({ "now": self.clock.now().wall.to_string(), "version": env!("CARGO_PKG_VERSION") })),
            Method::Status => self.ask(Ask::Status).await,
            Method::Reload => self.ask(Ask::Reload).await,
            Method::Logs => logs(payload),
            Method::Points => self.points(payload),
            Method::Read | Method::Write => self.on_points(method, payload, caller).await,
            Method::Refresh => self.refresh(payload, caller).await,
        }
    }

    async fn ask(&self, ask: Ask) -> Answer {
        let stopping = || error(503, "away", "the gateway is stopping".to_owned());
        let Some(control) = &self.control else { return error(501, "no-method", "not in this program".to_owned()) };
        let (answer, answered) = oneshot::channel();
        let asked = async {
            control.send(ControlRequest { ask, who: "hub".to_owned(), answer }).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(Some(view)) => (200, view),
            Ok(None) => stopping(),
            Err(_) => error(504, "uncertain", "asked, and no answer within the time-out".to_owned()),
        }
    }

    /// `read` and `write` take what a C2D message takes.
    async fn on_points(&self, method: Method, payload: &Bytes, caller: Caller) -> Answer {
        let spoken = Spoken::read(payload, Some("application/json"));
        let request = match (method, spoken.request) {
            (_, Err(reason)) => return error(400, "malformed", reason),
            (Method::Read, Ok(request @ Request::Read(_))) | (Method::Write, Ok(request @ Request::Write(_))) => request,
            (Method::Read, Ok(_)) => return error(400, "malformed", "write {\"leaf\":\"…\",\"read\":[\"point\"]}".to_owned()),
            (_, Ok(_)) => return error(400, "malformed", "write {\"leaf\":\"…\",\"write\":{\"point\":value}}".to_owned()),
        };
        let Some(leaf) = spoken.leaf else { return error(400, "malformed", "it names no leaf".to_owned()) };
        match self.router.call(caller, &leaf, request).await {
            Ok(told) => told_answer(&told),
            Err(why) => call_error(&why),
        }
    }

    async fn refresh(&self, payload: &Bytes, caller: Caller) -> Answer {
        let leaf = match leaf_of(payload) {
            Ok(Some(leaf)) => leaf,
            Ok(None) => return error(400, "malformed", "write {\"leaf\":\"…\"}".to_owned()),
            Err(answer) => return answer,
        };
        let outcome = match self.router.call_raw(caller, &leaf, Request::Read(Vec::new())).await {
            Ok(outcome) => outcome,
            Err(why) => return call_error(&why),
        };
        let Outcome::Done(values) = outcome else { return told_answer(&Told::plain(&outcome)) };
        let Some(profile) = self.profile(&leaf) else { return call_error(&CallError::NoLeaf(leaf)) };
        let count = values.len();
        let Some(message) = message_of(&profile, &self.style, values, self.clock.now()) else {
            return error(502, "failed", "the leaf showed no value".to_owned());
        };
        let id = message.id.to_string();
        match self.log.append(vec![message], Urgency::Now).await {
            Ok(_) => (200, json!({ "message": id, "points": count })),
            Err(why) => error(503, "away", why.to_string()),
        }
    }

    fn profile(&self, leaf: &str) -> Option<Arc<LeafProfile>> {
        self.router.routes().all().into_iter().map(|route| route.profile).find(|profile| profile.id.as_str() == leaf)
    }

    fn points(&self, payload: &Bytes) -> Answer {
        match leaf_of(payload) {
            Err(answer) => answer,
            Ok(None) => {
                let leaf = |route: &crate::router::route::Route| {
                    json!({ "leaf": route.profile.id.as_str(), "adapter": route.group, "points": route.profile.points.len(),
                            "away": route.taker.away(&route.profile.id) })
                };
                (200, json!({ "leaves": self.router.routes().all().iter().map(leaf).collect::<Vec<_>>() }))
            }
            Ok(Some(leaf)) => match self.profile(&leaf) {
                None => call_error(&CallError::NoLeaf(leaf)),
                Some(profile) => (200, json!({ "leaf": leaf, "points": self.router.point_views(&profile) })),
            },
        }
    }
}

fn error(status: u16, code: &str, message: String) -> Answer {
    (status, json!({ "error": { "code": code, "message": message } }))
}

fn call_error(why: &CallError) -> Answer {
    let (status, code) = match why {
        CallError::NoLeaf(_) => (404, "no-leaf"),
        CallError::Away { .. } => (503, "away"),
        CallError::Refused(_) => (422, "rejected"),
        CallError::NotBegun => (504, "not-begun"),
        CallError::NoAnswer => (504, "uncertain"),
    };
    error(status, code, why.to_string())
}

fn told_answer(told: &Told) -> Answer {
    let status = match told.word {
        "done" => 200,
        "sent" => 202,
        "rejected" => 422,
        "failed" => 502,
        _ => 504,
    };
    match status {
        200 | 202 => (status, Json::Object(told.view())),
        _ => error(status, told.word, told.reason.clone()),
    }
}

/// The member `leaf` of a payload that has no other.
fn leaf_of(payload: &Bytes) -> Result<Option<String>, Answer> {
    let members = members(payload, &["leaf"])?;
    match members.get("leaf") {
        None => Ok(None),
        Some(Json::String(leaf)) => Ok(Some(leaf.clone())),
        Some(_) => Err(error(400, "malformed", "leaf is not a text".to_owned())),
    }
}

/// The members of a payload that is an object, `null` or empty.
fn members(payload: &Bytes, known: &[&str]) -> Result<Map<String, Json>, Answer> {
    let malformed = |why: String| error(400, "malformed", why);
    if payload.is_empty() {
        return Ok(Map::new());
    }
    let members = match serde_json::from_slice(payload) {
        Ok(Json::Null) => Map::new(),
        Ok(Json::Object(members)) => members,
        Ok(_) => return Err(malformed("the payload is not an object".to_owned())),
        Err(why) => return Err(malformed(format!("not understood: {why}"))),
    };
    let strangers: BTreeSet<&str> = members.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
    match strangers.first() {
        None => Ok(members),
        Some(stranger) => {
            Err(malformed(format!("'{}' is no member; use {}", stranger.chars().take(40).collect::<String>(), known.join(", "))))
        }
    }
}

fn logs(payload: &Bytes) -> Answer {
    let members = match members(payload, &["lines"]) {
        Ok(members) => members,
        Err(answer) => return answer,
    };
    let lines = match members.get("lines").map(Json::as_u64) {
        None => LINES.0,
        Some(Some(n)) => usize::try_from(n).unwrap_or(usize::MAX).min(LINES.1),
        Some(None) => return error(400, "malformed", "lines is not a whole number".to_owned()),
    };
    (200, json!({ "lines": journal::recent(lines) }))
}
