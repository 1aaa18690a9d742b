//! The built-in endpoint: messages for programs, by long poll or as a stream.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde::Serialize;

use super::live::Place;
use crate::{
    Problem,
    extract::{Answer, Ask, Body},
    guard::{Operator, Viewer, Who},
    shape::{ConsumeQuery, ConsumedPage, GroupView, List, ProgressRequest},
    site::Consumer,
    state::Shared,
};

/// Longest wait of one request.
const MOST_WAIT: u8 = 60;
/// A stream says at least this often that it is there, and looks whether its reader may still read.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Messages for programs, by partition, at least once: a page, or with `Accept: text/event-stream` a stream of pages (`messages`, whose
/// id is the page's `next`; `goodbye` at the end). Reading in a group is for operators.
#[utoipa::path(get, path = "/messages", tag = "messages", params(ConsumeQuery),
    responses((status = 200, content((ConsumedPage = "application/json"), (String = "text/event-stream"))),
        (status = 400, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn messages(
    State(shared): State<Arc<Shared>>,
    Viewer(who): Viewer,
    headers: HeaderMap,
    Ask(mut query): Ask<ConsumeQuery>,
) -> Result<Response, Problem> {
    if query.group.is_some() {
        who.at_least_operator()?;
    }
    let wait = query.wait_s.unwrap_or(0);
    if wait > MOST_WAIT {
        return Err(Problem::invalid("waiting is bounded").field("wait_s", format!("{wait} is too long"), "write 0 to 60"));
    }
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if !text(header::ACCEPT).is_some_and(|kinds| kinds.contains("text/event-stream")) {
        let mut consumer = shared.site.consumer(query).await?;
        let stop = shared.stop.clone();
        return tokio::select! {
            page = consumer.page(Duration::from_secs(u64::from(wait))) => page.map(|page| Json(page).into_response()),
            () = stop.cancelled() => Err(Problem::stopping()),
        };
    }
    if let Some(last) = headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|last| !last.is_empty()) {
        query.after = Some(last.to_owned());
    }
    let place = shared.streams.enter(who.secret).ok_or_else(|| Problem::slow_down(10).detail("too many streams are open"))?;
    let consumer = shared.site.consumer(query).await?;
    let reading = Reading { account_changes: shared.doorman.changes(), shared, who, consumer, _place: place, ended: false };
    let events = stream::unfold(reading, |mut reading| async move {
        let event = reading.next().await?;
        Some((Ok::<_, Infallible>(event), reading))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A stream that is read.
struct Reading {
    shared: Arc<Shared>,
    who: Who,
    consumer: Box<dyn Consumer>,
    _place: Place,
    account_changes: u64,
    ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Event> {
        while !self.ended {
            if self.shared.stop.is_cancelled() {
                return Some(self.end(&Goodbye { why: "stopping", problem: None }));
            }
            if !self.who.may_stay(&self.shared, &mut self.account_changes).await {
                return Some(self.end(&Goodbye { why: "session-ended", problem: None }));
            }
            let stop = self.shared.stop.clone();
            let page = tokio::select! {
                page = self.consumer.page(KEEP_ALIVE) => page,
                () = stop.cancelled() => continue,
            };
            match page {
                Ok(page) if page.items.is_empty() && page.missed.is_empty() => {}
                Ok(page) => return Some(event("messages", &page).id(page.next)),
                Err(problem) => return Some(self.end(&Goodbye { why: "problem", problem: Some(problem) })),
            }
        }
        None
    }

    fn end(&mut self, goodbye: &Goodbye) -> Event {
        self.ended = true;
        event("goodbye", goodbye)
    }
}

/// Why a stream ends.
#[derive(Serialize)]
struct Goodbye {
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

fn event<T: Serialize>(name: &str, data: &T) -> Event {
    // Our own shapes have no keys that JSON could not carry.
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned()))
}

/// Consumer groups, who reads in them, and how far they have come.
#[utoipa::path(get, path = "/messages/groups", tag = "messages", responses((status = 200, body = List<GroupView>)))]
pub(super) async fn groups(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<List<GroupView>> {
    Ok(Json(List::whole(shared.site.groups().await?)))
}

/// Says what a consumer has dealt with, for readers of a stream. It is on disk when this answers.
#[utoipa::path(post, path = "/messages/groups/{group}/progress", tag = "messages", params(("group" = String, Path)),
    request_body = ProgressRequest,
    responses((status = 204), (status = 400, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn progress(
    State(shared): State<Arc<Shared>>,
    _: Operator,
    Path(group): Path<String>,
    Body(request): Body<ProgressRequest>,
) -> Result<StatusCode, Problem> {
    shared.site.progress(&group, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets how far a group has come. Whoever reads in it begins anew.
#[utoipa::path(delete, path = "/messages/groups/{group}", tag = "messages", params(("group" = String, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn forget(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(group): Path<String>,
) -> Result<StatusCode, Problem> {
    shared.site.forget_group(&group).await?;
    shared.vault.record(who.act(shared.now(), "messages.group.forget", &group, "")).await?;
    Ok(StatusCode::NO_CONTENT)
}
