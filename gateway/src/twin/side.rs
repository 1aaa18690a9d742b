//! The twin at one upstream, as far as this session knows it: which questions are open, what the hub believes we reported.
//!
//! Nothing here talks: it says what is to be said. After a lost session everything begins with GET, so a change that was missed is
//! caught up.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Map, Value as Json};
use tidegate_core::{
    dialect::topic::Topic,
    twin::{diff, merge},
    upstream::Reply,
};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};
use tracing::{debug, warn};

/// A question without an answer is asked again after this.
const PATIENCE: Duration = Duration::from_secs(30);
/// After "too many" or a fault of the hub.
const LATER: Duration = Duration::from_secs(60);
/// Most reports in this time: news goes out at once, and states that flap do not become a flood.
const MOST: (usize, Duration) = (3, Duration::from_secs(30));

/// Most of them in the same time when it is about the hub's own settings: somebody waits to hear what became of them.
const MOST_OF_SETTINGS: usize = 10;

type Object = Map<String, Json>;

#[derive(Debug)]
pub(super) struct Side {
    replies: mpsc::Sender<Reply>,
    /// Its desired properties drive our settings.
    pub(super) obeyed: bool,
    /// Rises with each question.
    questions: u64,
    asked: Option<(String, Instant)>,
    ask_at: Option<Instant>,
    /// Known since GET was answered.
    pub(super) desired: Option<(u64, Object)>,
    reported: Object,
    sending: Option<(String, Object, Instant)>,
    not_before: Instant,
    /// When the latest reports were sent.
    sent: VecDeque<Instant>,
    /// What the hub would not take; not sent again as long as it is the same.
    refused: Option<Object>,
}

impl Side {
    /// A session has begun.
    pub(super) fn new(replies: mpsc::Sender<Reply>, obeyed: bool) -> Self {
        let now = Instant::now();
        Self {
            replies,
            obeyed,
            questions: 0,
            asked: None,
            ask_at: Some(now),
            desired: None,
            reported: Map::new(),
            sending: None,
            not_before: now,
            sent: VecDeque::new(),
            refused: None,
        }
    }

    /// Takes what came. `true` when the desired properties are known anew.
    pub(super) fn came(&mut self, topic: &str, body: &Bytes) -> bool {
        match Topic::parse(topic) {
            Some(Topic::TwinResponse { status, request, .. }) => self.answered(status, request, body),
            Some(Topic::DesiredPatch { version }) => self.patched(version, body),
            _ => false,
        }
    }

    fn answered(&mut self, status: u16, request: &str, body: &Bytes) -> bool {
        if self.asked.as_ref().is_some_and(|(asked, _)| asked == request) {
            self.asked = None;
            let twin = (status == 200).then(|| read_twin(body)).flatten();
            let Some((version, desired, reported)) = twin else {
                warn!(status, "the hub does not show the twin; asking again later");
                self.ask_at = Some(Instant::now() + LATER);
                return false;
            };
            self.desired = Some((version, desired));
            self.reported = reported;
            return true;
        }
        if let Some((_, patch, _)) = self.sending.take_if(|(sent, _, _)| sent == request) {
            match status {
                200..=299 => merge(&mut self.reported, &patch),
                429 | 500.. => self.not_before = Instant::now() + LATER,
                _ => {
                    warn!(status, "the hub does not take what we report");
                    let mut whole = self.reported.clone();
                    merge(&mut whole, &patch);
                    self.refused = Some(whole);
                }
            }
        }
        false
    }

    fn patched(&mut self, version: u64, body: &Bytes) -> bool {
        // Before GET is answered there is nothing to patch; the answer will hold this change too.
        let Some((known, desired)) = &mut self.desired else { return false };
        if version <= *known {
            debug!(version, known, "an older change of the desired properties");
            return false;
        }
        let patch = serde_json::from_slice::<Object>(body).ok().filter(|_| version == *known + 1);
        let Some(patch) = patch else {
            // One was missed, or this one cannot be read.
            self.ask_at = Some(Instant::now());
            return false;
        };
        merge(desired, &without_marks(patch));
        *known = version;
        true
    }

    /// Says what is to be said now. `report` is what we would like the hub to know.
    pub(super) fn tick(&mut self, report: &Object) {
        let now = Instant::now();
        if self.asked.as_ref().is_some_and(|(_, at)| now - *at > PATIENCE) {
            (self.asked, self.ask_at) = (None, Some(now));
        }
        if self.asked.is_none() && self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = None;
            let request = self.question();
            if self.replies.try_send(Reply::TwinGet { request: request.clone() }).is_ok() {
                self.asked = Some((request, now));
            } else {
                self.ask_at = Some(now + LATER);
            }
        }
        if self.sending.as_ref().is_some_and(|(_, _, at)| now - *at > PATIENCE) {
            // Whether it was taken nobody knows; GET tells.
            (self.sending, self.ask_at) = (None, Some(now));
        }
        if self.desired.is_some() && self.asked.is_none() && self.sending.is_none() && now >= self.not_before {
            self.report(report, now);
        }
    }

    fn report(&mut self, report: &Object, now: Instant) {
        while self.sent.front().is_some_and(|at| now - *at >= MOST.1) {
            self.sent.pop_front();
        }
        // Only what is ours: other members of the document may be somebody else's.
        let ours: Object = self.reported.iter().filter(|(key, _)| report.contains_key(*key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        let patch = diff(&ours, report);
        if patch.is_empty() || self.refused.as_ref().is_some_and(|refused| diff(refused, report).is_empty()) {
            return;
        }
        let of_settings = patch.get("tidegate").is_some_and(|ours| ours.get("desired").is_some());
        if self.sent.len() >= if of_settings { MOST_OF_SETTINGS } else { MOST.0 } {
            return;
        }
        let request = self.question();
        let text = Bytes::from(Json::Object(patch.clone()).to_string());
        if self.replies.try_send(Reply::Reported { request: request.clone(), patch: text }).is_ok() {
            self.sending = Some((request, patch, now));
            self.sent.push_back(now);
        }
    }

    fn question(&mut self) -> String {
        self.questions += 1;
        format!("t{}", self.questions)
    }
}

/// Version of the desired properties, they themselves, and what is reported.
fn read_twin(body: &Bytes) -> Option<(u64, Object, Object)> {
    let mut twin: Object = serde_json::from_slice(body).ok()?;
    let mut section = |name: &str| match twin.remove(name) {
        Some(Json::Object(section)) => section,
        _ => Map::new(),
    };
    let (desired, reported) = (section("desired"), section("reported"));
    let version = desired.get("$version").and_then(Json::as_u64)?;
    Some((version, without_marks(desired), without_marks(reported)))
}

fn without_marks(section: Object) -> Object {
    section.into_iter().filter(|(key, _)| !key.starts_with('$')).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(json: Json) -> Object {
        json.as_object().expect("an object").clone()
    }

    fn said(replies: &mut mpsc::Receiver<Reply>) -> Option<Reply> {
        replies.try_recv().ok()
    }

    fn get(side: &mut Side, replies: &mut mpsc::Receiver<Reply>, desired: &Json, reported: &Json) -> bool {
        side.tick(&Map::new());
        let Some(Reply::TwinGet { request }) = said(replies) else { panic!("no question") };
        let body = json!({ "desired": desired, "reported": reported }).to_string();
        side.came(&format!("$iothub/twin/res/200/?$rid={request}"), &body.into())
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_whole_changes_follow_and_a_missed_one_is_caught_up() {
        let (tx, mut replies) = mpsc::channel(8);
        let mut side = Side::new(tx, true);
        assert!(!side.came("$iothub/twin/PATCH/properties/desired/?$version=9", &Bytes::from_static(b"{}")), "before GET");
        assert!(get(&mut side, &mut replies, &json!({"a":1,"$version":3}), &json!({"$version":1})));
        let patch =
            |version: u64, body: &'static str| (format!("$iothub/twin/PATCH/properties/desired/?$version={version}"), Bytes::from(body));
        let (topic, body) = patch(3, r#"{"a":7,"$version":3}"#);
        assert!(!side.came(&topic, &body), "older");
        let (topic, body) = patch(4, r#"{"a":null,"b":2,"$version":4}"#);
        assert!(side.came(&topic, &body));
        assert_eq!(side.desired, Some((4, object(json!({"b":2})))));
        let (topic, body) = patch(6, r#"{"c":3}"#);
        assert!(!side.came(&topic, &body), "one was missed");
        assert!(get(&mut side, &mut replies, &json!({"b":2,"c":3,"d":4,"$version":6}), &json!({"$version":1})));
        assert_eq!(side.desired.as_ref().map(|(version, _)| *version), Some(6));
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_changed_is_reported_and_not_in_floods() {
        let (tx, mut replies) = mpsc::channel(8);
        let mut side = Side::new(tx, true);
        get(&mut side, &mut replies, &json!({"$version":1}), &json!({"tidegate":{"x":1,"old":true},"other":5,"$version":1}));
        side.tick(&object(json!({"tidegate":{"x":1,"y":2}})));
        let Some(Reply::Reported { request, patch }) = said(&mut replies) else { panic!("nothing reported") };
        assert_eq!(patch, r#"{"tidegate":{"old":null,"y":2}}"#);
        side.came(&format!("$iothub/twin/res/204/?$rid={request}&$version=2"), &Bytes::new());
        let mut reports = 1;
        for y in 3..50 {
            side.tick(&object(json!({"tidegate":{"x":1,"y":y}})));
            if let Some(Reply::Reported { request, .. }) = said(&mut replies) {
                reports += 1;
                side.came(&format!("$iothub/twin/res/204/?$rid={request}&$version=3"), &Bytes::new());
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(reports, MOST.0);
        side.tick(&object(json!({"tidegate":{"x":1,"y":50,"desired":{"state":"rolled-back"}}})));
        let Some(Reply::Reported { request, .. }) = said(&mut replies) else { panic!("what became of settings waits") };
        side.came(&format!("$iothub/twin/res/204/?$rid={request}&$version=4"), &Bytes::new());
        tokio::time::advance(MOST.1).await;
        side.tick(&object(json!({"tidegate":{"x":1,"y":51,"desired":{"state":"rolled-back"}}})));
        assert!(matches!(said(&mut replies), Some(Reply::Reported { patch, .. }) if patch == r#"{"tidegate":{"y":51}}"#));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_hub_refuses_is_not_sent_again_until_it_differs() {
        let (tx, mut replies) = mpsc::channel(8);
        let mut side = Side::new(tx, true);
        get(&mut side, &mut replies, &json!({"$version":1}), &json!({"$version":1}));
        let report = object(json!({"tidegate":{"x":1}}));
        side.tick(&report);
        let Some(Reply::Reported { request, .. }) = said(&mut replies) else { panic!("nothing reported") };
        side.came(&format!("$iothub/twin/res/400/?$rid={request}"), &Bytes::new());
        side.tick(&report);
        assert!(said(&mut replies).is_none());
        side.tick(&object(json!({"tidegate":{"x":2}})));
        assert!(matches!(said(&mut replies), Some(Reply::Reported { .. })));
    }
}
