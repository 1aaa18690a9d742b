//! The log, its gaps and messages, and the program's own events.

use std::sync::Arc;

use axum::{
    Json,
    body::Body as Content,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    Problem,
    extract::{Answer, Ask},
    guard::{Operator, Viewer},
    shape::{After, EventQuery, EventView, ExportFormat, ExportQuery, GapView, List, LogView, MessageQuery, MessageView, limit},
    state::Shared,
};

/// What the log keeps, and for whom.
#[utoipa::path(get, path = "/log", tag = "log", responses((status = 200, body = LogView)))]
pub(super) async fn log(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<LogView> {
    Ok(Json(shared.site.log().await?))
}

/// What was given up, newest first.
#[utoipa::path(get, path = "/log/gaps", tag = "log", params(After), responses((status = 200, body = List<GapView>)))]
pub(super) async fn gaps(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<After>) -> Answer<List<GapView>> {
    Ok(Json(List::whole(shared.site.gaps(limit(query.limit)).await?)))
}

/// Messages, oldest first.
#[utoipa::path(get, path = "/log/messages", tag = "log", params(MessageQuery),
    responses((status = 200, body = List<MessageView>), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn messages(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<MessageQuery>) -> Answer<List<MessageView>> {
    Ok(Json(shared.site.messages(query).await?))
}

pub(super) fn download(kind: &'static str, name: &str, content: impl Into<Content>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], content.into()).into_response()
}

/// Messages as a download.
#[utoipa::path(get, path = "/log/export", tag = "log", params(ExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Ask(query): Ask<ExportQuery>,
) -> Result<Response, Problem> {
    let format = query.format;
    let target = query.device.clone().unwrap_or_default();
    let content = Content::from_stream(shared.site.export(query).await?);
    shared.vault.record(who.act(shared.now(), "log.export", &target, "")).await?;
    Ok(match format {
        ExportFormat::Csv => download("text/csv; charset=utf-8", "tidegate-log.csv", content),
        ExportFormat::Jsonl => download("application/x-ndjson", "tidegate-log.jsonl", content),
    })
}

/// What the program said, newest first.
#[utoipa::path(get, path = "/events", tag = "log", params(EventQuery),
    responses((status = 200, body = List<EventView>), (status = 422, body = Problem)))]
pub(super) async fn events(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<EventQuery>) -> Answer<List<EventView>> {
    let most = limit(query.limit);
    let items = shared.site.events(&query)?;
    let next = items.last().filter(|_| items.len() == most).map(|event| event.id.to_string());
    Ok(Json(List { items, next }))
}

/// All of it that is remembered, as a download.
#[utoipa::path(get, path = "/events/export", tag = "log",
    responses((status = 200, content((String = "application/x-ndjson")))))]
pub(super) async fn export_events(State(shared): State<Arc<Shared>>, _: Operator) -> Result<Response, Problem> {
    let (events, _) = shared.site.events_after(0, usize::MAX);
    let lines = events.iter().filter_map(|event| serde_json::to_string(event).ok()).map(|line| line + "\n");
    Ok(download("application/x-ndjson", "tidegate-events.jsonl", Content::from(lines.collect::<String>())))
}
