//! What a hub sends down, on its way to the leaves.
//!
//! Promise: a C2D message is acknowledged only when the inbox has it, or knows it, or has written down why not; until then its receipt
//! is unsigned, and the hub sends it again. A call is answered within its time-out or not at all, and never kept.
//!
//! A message names its leaf by the application property `leaf`, or by `leaf` in its body. Under a leaf's own identity it needs nothing.
//! For a device at the endpoint it is not looked into any further, and goes on as it is.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tidegate_core::{
    c2d::MAX_BODY,
    clock::Timestamp,
    dialect::bag,
    id::{LeafId, Name},
    message::{SystemProperties, is_id_property},
    upstream::{Arrival, ArrivalKind, Reply},
};
use tidegate_store::inbox::Origin;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use crate::{
    method::Methods,
    request::{Request, Spoken},
    router::{Asked, Router, Sign},
    twin::Event,
};

/// Longest name of who asks that is kept.
const MOST_WHO: usize = 128;
/// The property that names a message's leaf.
const LEAF: &str = "leaf";
const ID_RULE: &str = "its id is not 1 to 128 ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '";
/// Calls answered at once; more are told to come again.
const CALLS: usize = 16;

/// Methods that are answered under a leaf's identity; the others are the gateway's own affair.
const ABOUT_A_LEAF: [&str; 4] = ["read", "write", "points", "refresh"];

/// Takes the arrivals of one upstream.
#[derive(Debug)]
pub struct Downlink {
    name: Name,
    /// The leaf whose identity the connection has, if it is not the gateway's.
    own: Option<LeafId>,
    router: Router,
    sign: Sign,
    methods: Arc<Methods>,
    calls: Arc<Semaphore>,
    twin: Option<(mpsc::Sender<Event>, bool)>,
}

/// A C2D message, taken apart.
struct Commanded {
    /// System properties by their wire names, for a leaf that gets the message as it is.
    passed: Vec<(String, String)>,
    id: Option<String>,
    who: Option<String>,
    content_type: Option<String>,
    expires: Option<String>,
    properties: Vec<(String, String)>,
    body: Bytes,
}

impl Downlink {
    /// For the upstream of this name. `twin`: where a twin's events go, and whether this one's desired properties are obeyed; `None`
    /// for a kind of hub that has no twins.
    pub fn new(name: Name, router: Router, sign: Sign, methods: Arc<Methods>, twin: Option<(mpsc::Sender<Event>, bool)>) -> Self {
        Self { name, own: None, router, sign, methods, calls: Arc::new(Semaphore::new(CALLS)), twin }
    }

    /// For the connection of one leaf: whatever comes is for it, whatever leaf it names, and of methods only those about a leaf.
    pub fn of_leaf(self, leaf: LeafId) -> Self {
        Self { own: Some(leaf), ..self }
    }

    fn source(&self) -> String {
        self.own.as_ref().map_or_else(|| self.name.to_string(), |leaf| format!("{}/{leaf}", self.name))
    }

    /// A session has begun.
    pub async fn begun(&self, replies: &mpsc::Sender<Reply>) {
        if let Some((twin, obeyed)) = &self.twin {
            let event = Event::Begun { upstream: self.name.clone(), leaf: self.own.clone(), replies: replies.clone(), obeyed: *obeyed };
            // Nobody listens any more when we are stopping.
            twin.send(event).await.ok();
        }
    }

    /// Takes one arrival. Waits only for its turn at the inbox.
    pub async fn take(&self, arrival: Arrival, replies: &mpsc::Sender<Reply>) {
        let Arrival { kind, receipt, again } = arrival;
        match kind {
            ArrivalKind::CloudToDevice { system, expires, properties, body } => {
                let commanded = Commanded {
                    passed: passed(&system),
                    id: system.message_id,
                    who: system.user_id,
                    content_type: system.content_type.map(|text| text.into_owned()),
                    expires,
                    properties,
                    body,
                };
                let asked = Asked { receipt, again, ..self.asked(commanded) };
                if let Err(error) = self.router.submit(asked).await {
                    warn!(upstream = %self.name, %error, "a command could not be kept; it is not acknowledged");
                }
            }
            ArrivalKind::Method { name, request, body } => self.call(name, request, body, replies.clone()),
            ArrivalKind::Twin { topic, body } => {
                if let Some((twin, _)) = &self.twin {
                    twin.send(Event::Came { upstream: self.name.clone(), leaf: self.own.clone(), topic, body }).await.ok();
                }
            }
        }
    }

    fn asked(&self, commanded: Commanded) -> Asked {
        let names_leaf = |name: &str| name.eq_ignore_ascii_case(LEAF);
        let named = commanded.properties.iter().find(|(name, _)| names_leaf(name)).map(|(_, leaf)| leaf.clone());
        let named = self.own.as_ref().map(ToString::to_string).or(named);
        let mut spoken = Spoken::read(&commanded.body, commanded.content_type.as_deref());
        let whole = named.as_ref().or(spoken.leaf.as_ref()).is_some_and(|leaf| self.takes_messages(leaf));
        if whole && commanded.body.len() <= MAX_BODY {
            // What the hub itself said about the message was for us.
            let hubs =
                |name: &str| name.is_empty() || name == bag::ACK || name == bag::TO || name == bag::EXPIRES || name == bag::MESSAGE_ID;
            let own = commanded.properties.iter().filter(|(name, _)| !names_leaf(name) && !hubs(name)).cloned();
            let properties = commanded.passed.into_iter().chain(own).collect();
            spoken.request = Ok(Request::Message { properties, body: commanded.body });
        }
        let (expires, request) = match commanded.expires.as_deref().map(str::parse::<Timestamp>) {
            None => (None, spoken.request),
            Some(Ok(at)) => (Some(at), spoken.request),
            Some(Err(_)) => (None, spoken.request.and(Err("its expiry is not a time such as 2026-01-01T00:00:00Z".to_owned()))),
        };
        // An id that could not be a correlation id is no use to anybody, and could be as long as a topic.
        let (id, request) = match commanded.id.or(spoken.id) {
            Some(id) if is_id_property(&id) => (id, request),
            Some(_) => (String::new(), request.and(Err(ID_RULE.to_owned()))),
            None => (String::new(), request),
        };
        let who = commanded.who.unwrap_or_else(|| "hub".to_owned()).chars().take(MOST_WHO).collect();
        let origin = Origin { source: self.source(), who, id };
        Asked { origin, leaf: named.or(spoken.leaf), request, expires, again: false, receipt: None, sign: self.sign, teller: None }
    }

    fn takes_messages(&self, leaf: &str) -> bool {
        let route = LeafId::new(leaf).ok().and_then(|leaf| self.router.routes().find(&leaf));
        route.is_some_and(|route| route.taker.takes_messages())
    }

    /// Answers in a task of its own: a slow bus holds up neither the next call nor a message.
    fn call(&self, method: String, request: String, body: Bytes, replies: mpsc::Sender<Reply>) {
        let answer = |status, body: serde_json::Value| Reply::Method { request: request.clone(), status, body: body.to_string().into() };
        let Ok(place) = self.calls.clone().try_acquire_owned() else {
            warn!(upstream = %self.name, %method, "too many calls at once");
            let busy = json!({ "error": { "code": "busy", "message": format!("{CALLS} calls are being answered; try again") } });
            // The hub sends no faster than it is read, so there is room; if not, its caller sees a time-out.
            replies.try_send(answer(429, busy)).ok();
            return;
        };
        let own_route = self.own.as_ref().and_then(|leaf| self.router.routes().find(leaf));
        let through = own_route.and_then(|route| route.taker.call(&route.profile.id, &method, &body, self.methods.timeout));
        if let Some(through) = through {
            tokio::spawn(async move {
                let (status, body) = through.await;
                // The session may be over; then nobody waits any more.
                replies.send(Reply::Method { request, status, body }).await.ok();
                drop(place);
            });
            return;
        }
        let body = match &self.own {
            Some(_) if !ABOUT_A_LEAF.contains(&method.as_str()) => {
                let why = format!("a leaf has the methods {}", ABOUT_A_LEAF.join(", "));
                replies.try_send(answer(501, json!({ "error": { "code": "no-method", "message": why } }))).ok();
                return;
            }
            Some(leaf) => naming(&body, leaf),
            None => body,
        };
        let origin = Origin { source: self.source(), who: "hub".to_owned(), id: request.clone() };
        let methods = self.methods.clone();
        tokio::spawn(async move {
            let (status, body) = methods.answer(&method, &body, origin).await;
            debug!(%method, status, "call answered");
            // The session may be over; then nobody waits any more.
            replies.send(Reply::Method { request, status, body }).await.ok();
            drop(place);
        });
    }
}

/// System properties that mean the same one level further down.
fn passed(system: &SystemProperties) -> Vec<(String, String)> {
    let all = [
        (bag::CORRELATION_ID, system.correlation_id.as_deref()),
        (bag::USER_ID, system.user_id.as_deref()),
        (bag::CONTENT_TYPE, system.content_type.as_deref()),
        (bag::CONTENT_ENCODING, system.content_encoding.as_deref()),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

/// A call's body with the leaf put in. What is no JSON object stays as it is, and is told so.
fn naming(body: &Bytes, leaf: &LeafId) -> Bytes {
    let body_text = if body.is_empty() { b"{}" } else { body.as_ref() };
    match serde_json::from_slice::<serde_json::Value>(body_text) {
        Ok(serde_json::Value::Null) => json!({ "leaf": leaf }).to_string().into(),
        Ok(serde_json::Value::Object(mut map)) => {
            map.insert("leaf".to_owned(), json!(leaf));
            serde_json::Value::Object(map).to_string().into()
        }
        _ => body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_under_a_leafs_identity_is_about_that_leaf_whatever_it_says() {
        let leaf = LeafId::new("boiler").expect("valid");
        let named = |body: &'static str| String::from_utf8(naming(&Bytes::from(body), &leaf).to_vec()).expect("text");
        assert_eq!(named(r#"{"read":["t"],"leaf":"pump"}"#), r#"{"leaf":"boiler","read":["t"]}"#);
        assert_eq!((named(""), named("null")), (r#"{"leaf":"boiler"}"#.into(), r#"{"leaf":"boiler"}"#.into()));
        assert_eq!((named("[1]"), named("{")), ("[1]".into(), "{".into()));
    }
}
