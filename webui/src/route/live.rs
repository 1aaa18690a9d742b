//! One stream of server-sent events for everything that lives on a page.
//!
//! A stream looks, at a steady pace, whether what it was asked for has changed, and sends what did: a value that changes a hundred times
//! between two looks is sent once. So a stream costs the same whatever the devices do, holds nothing back for a browser that reads
//! slowly, and needs no queue. Its place is the version of the values: a browser that comes back with it gets only what it missed.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tidegate_core::account::Digest;
use tokio::{sync::watch, time::Instant};

use crate::{
    Problem,
    extract::Ask,
    guard::{Viewer, Who},
    shape::{HealthView, List, LiveQuery, Overview},
    site::Watch,
    state::Shared,
};

/// How often a stream looks for values: with the way to the browser, well within the 300 ms that people notice.
const LOOK: Duration = Duration::from_millis(200);
/// How often the overview is made for those who want it.
const OVERVIEW: Duration = Duration::from_secs(1);
/// A line that says nothing, so that a dead connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Streams that one session may have, and all together. Each is a connection and five looks a second.
const FOR_ONE: usize = 8;
const FOR_ALL: usize = 32;
/// Topics of one stream.
const TOPICS: usize = 64;
/// Events sent at once.
const EVENTS: usize = 20;

/// The streams that are open, by session or token.
#[derive(Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Digest, usize>>>);

/// A place among them, given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Mutex<HashMap<Digest, usize>>>, Digest);

impl Streams {
    pub(super) fn enter(&self, who: Digest) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(&who).copied().unwrap_or(0);
        if own >= FOR_ONE || open.values().sum::<usize>() >= FOR_ALL {
            return None;
        }
        open.insert(who, own + 1);
        Some(Place(self.0.clone(), who))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.1) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.1)),
        }
    }
}

#[derive(Debug, Default)]
struct Topics {
    overview: bool,
    health: bool,
    events: bool,
    config: bool,
    watch: Watch,
}

fn topics(text: &str) -> Result<Topics, Problem> {
    let mut topics = Topics::default();
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if words.len() > TOPICS {
        return Err(
            Problem::invalid(format!("{} topics are too many", words.len())).next(format!("at most {TOPICS}; `devices` is all of them"))
        );
    }
    for word in words {
        match word.split_once(':') {
            None if word == "overview" => topics.overview = true,
            None if word == "health" => topics.health = true,
            None if word == "events" => topics.events = true,
            None if word == "config" => topics.config = true,
            None if word == "devices" => topics.watch.all = true,
            Some(("device", id)) if !id.is_empty() => topics.watch.devices.push(id.to_owned()),
            _ => {
                let word: String = word.chars().take(40).collect();
                return Err(
                    Problem::invalid(format!("'{word}' is no topic")).next("overview, health, devices, device:<id>, events, config")
                );
            }
        }
    }
    Ok(topics)
}

/// Everything that lives on a page, as server-sent events: `hello`, `values`, `overview`, `health`, `events`, `config`, `goodbye`.
#[utoipa::path(get, path = "/live", tag = "views", params(LiveQuery),
    responses((status = 200, content((String = "text/event-stream"))), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn live(
    State(shared): State<Arc<Shared>>,
    Viewer(who): Viewer,
    headers: HeaderMap,
    Ask(query): Ask<LiveQuery>,
) -> Result<Response, Problem> {
    let topics = topics(&query.topics)?;
    let place = shared.streams.enter(who.secret).ok_or_else(|| Problem::slow_down(10).detail("too many pages are open"))?;
    let after = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned).or(query.after);
    let stream = Stream::new(shared, who, topics, after.as_deref(), place);
    let events = stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // For proxies that would hold a stream back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One stream, and what its browser knows already.
struct Stream {
    shared: Arc<Shared>,
    who: Who,
    topics: Topics,
    _place: Place,
    greeted: bool,
    ended: bool,
    resumed: bool,
    /// The version of the values that were sent.
    version: u64,
    /// The place in the events.
    event: u64,
    overview: Option<Overview>,
    overview_due: Instant,
    health: Option<Vec<HealthView>>,
    health_changes: watch::Receiver<u64>,
    config_changes: watch::Receiver<u64>,
    config_sent: bool,
    account_changes: u64,
    next_look: Instant,
}

/// Told apart from the version before a restart.
fn epoch() -> u64 {
    static EPOCH: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| fastrand::u64(1..1 << 48));
    *EPOCH
}

impl Stream {
    fn new(shared: Arc<Shared>, who: Who, topics: Topics, after: Option<&str>, place: Place) -> Self {
        let known = after.and_then(|id| {
            let mut parts = id.splitn(3, '-').map(|part| part.parse::<u64>().ok());
            (parts.next()?? == epoch()).then_some((parts.next()??, parts.next()??))
        });
        // What a browser says that it knows cannot be newer than what there is.
        let latest = *shared.site.event_changes().borrow();
        let (version, event) = known.map_or((0, latest.saturating_sub(EVENTS as u64)), |(version, event)| (version, event.min(latest)));
        Self {
            account_changes: shared.doorman.changes(),
            health_changes: shared.site.health_changes(),
            config_changes: shared.site.config_changes(),
            who,
            topics,
            _place: place,
            greeted: false,
            ended: false,
            resumed: known.is_some(),
            version: if version > shared.site.version() { 0 } else { version },
            event,
            overview: None,
            overview_due: Instant::now(),
            health: None,
            config_sent: false,
            next_look: Instant::now(),
            shared,
        }
    }

    fn event<T: Serialize>(&self, name: &str, data: &T) -> Event {
        let id = format!("{}-{}-{}", epoch(), self.version, self.event);
        // Our own shapes have no keys that JSON could not carry.
        let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
        Event::default().event(name).id(id).data(data)
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        if !self.greeted {
            self.greeted = true;
            let about = self.shared.site.about();
            return Some(self.event("hello", &json!({ "resumed": self.resumed, "version": about.version, "gateway": about.gateway })));
        }
        loop {
            if self.shared.stop.is_cancelled() {
                return Some(self.end("stopping"));
            }
            if !self.who.may_stay(&self.shared, &mut self.account_changes).await {
                return Some(self.end("session-ended"));
            }
            if let Some(event) = self.look().await {
                return Some(event);
            }
            self.next_look = (self.next_look + LOOK).max(Instant::now());
            tokio::select! {
                () = tokio::time::sleep_until(self.next_look) => {}
                () = self.shared.stop.cancelled() => {}
            }
        }
    }

    fn end(&mut self, why: &str) -> Event {
        self.ended = true;
        self.event("goodbye", &json!({ "why": why }))
    }

    /// The first thing that has changed.
    async fn look(&mut self) -> Option<Event> {
        let site = self.shared.site.clone();
        let version = site.version();
        if version > self.version && (self.topics.watch.all || !self.topics.watch.devices.is_empty()) {
            let values = site.values(&self.topics.watch, self.version);
            self.version = version;
            if !values.is_empty() {
                return Some(self.event("values", &values));
            }
        }
        if self.topics.health && (self.health.is_none() || self.health_changes.has_changed().unwrap_or(false)) {
            self.health_changes.mark_unchanged();
            let health = site.health();
            if self.health.as_ref() != Some(&health) {
                let event = self.event("health", &List::whole(health.clone()));
                self.health = Some(health);
                return Some(event);
            }
        }
        if self.topics.overview && Instant::now() >= self.overview_due {
            self.overview_due = Instant::now() + OVERVIEW;
            if let Ok(overview) = site.overview().await
                && self.overview.as_ref() != Some(&overview)
            {
                let event = self.event("overview", &overview);
                self.overview = Some(overview);
                return Some(event);
            }
        }
        if self.topics.events && *site.event_changes().borrow() > self.event {
            let (items, missed) = site.events_after(self.event, EVENTS);
            if let Some(last) = items.last() {
                self.event = last.id;
                return Some(self.event("events", &json!({ "items": items, "missed": missed })));
            }
        }
        if self.topics.config && (!self.config_sent || self.config_changes.has_changed().unwrap_or(false)) {
            self.config_changes.mark_unchanged();
            self.config_sent = true;
            if let Ok(config) = site.config().await {
                return Some(self.event("config", &config));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_words_and_nonsense_is_named() {
        let good = topics("overview, device:boiler,health,device:a:b,").expect("topics");
        assert!(good.overview && good.health && !good.events);
        assert_eq!(good.watch.devices, ["boiler", "a:b"]);
        for bad in ["nonsense", "device:", "device", "overview:x", &"device:x,".repeat(65)] {
            assert_eq!(topics(bad).expect_err("no topic").code(), "invalid", "{bad}");
        }
    }

    #[test]
    fn places_are_given_back() {
        let streams = Streams::default();
        let (a, b) = (Digest([1; 32]), Digest([2; 32]));
        let mut places: Vec<_> = (0..FOR_ONE).map(|_| streams.enter(a).expect("room")).collect();
        assert!(streams.enter(a).is_none() && streams.enter(b).is_some());
        places.pop();
        assert!(streams.enter(a).is_some());
        drop(places);
        assert!(streams.0.lock().expect("not poisoned").is_empty());
    }
}
