//! Searching for devices.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};

use crate::{
    Problem,
    extract::{Answer, Ask, Body},
    guard::{Operator, Viewer},
    shape::{List, ScanEstimate, ScanQuery, ScanRequest, ScanView},
    state::Shared,
};

/// Longest wait for news.
const MOST_WAIT: u8 = 30;

/// How long the answer may wait for news.
pub(super) fn patience(query: &ScanQuery) -> Result<Duration, Problem> {
    match query.wait_s.unwrap_or(0) {
        wait if wait > MOST_WAIT => {
            Err(Problem::invalid("waiting is bounded").field("wait_s", format!("{wait} is too long"), "write 0 to 30"))
        }
        wait => Ok(Duration::from_secs(u64::from(wait))),
    }
}

fn no_scan(id: &str) -> Problem {
    Problem::not_found(format!("there is no search '{id}'")).next("it may be forgotten: begin another one")
}

/// How long a search would take at most. Opens nothing.
#[utoipa::path(post, path = "/scans/estimate", tag = "scans", request_body = ScanRequest,
    responses((status = 200, body = ScanEstimate), (status = 422, body = Problem)))]
pub(super) async fn estimate(State(shared): State<Arc<Shared>>, _: Operator, Body(request): Body<ScanRequest>) -> Answer<ScanEstimate> {
    shared.site.estimate(&request).map(Json)
}

/// Begins to search. It reads and never writes, but a bus is busy with it. Ends two minutes after the last one who asked for it.
#[utoipa::path(post, path = "/scans", tag = "scans", request_body = ScanRequest,
    responses((status = 201, body = ScanView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Body(request): Body<ScanRequest>,
) -> Result<(StatusCode, Json<ScanView>), Problem> {
    // What cannot be is refused before it is recorded.
    shared.site.estimate(&request)?;
    shared.vault.record(who.act(shared.now(), "scan.start", &request.kind, &request.options.to_string())).await?;
    Ok((StatusCode::CREATED, Json(shared.site.start_scan(request, &who.name())?)))
}

/// Searches that run and the latest that have ended, newest first.
#[utoipa::path(get, path = "/scans", tag = "scans", responses((status = 200, body = List<ScanView>)))]
pub(super) async fn scans(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<List<ScanView>> {
    Ok(Json(List::whole(shared.site.scans())))
}

/// A search and what it has found; waits for news when asked to.
#[utoipa::path(get, path = "/scans/{id}", tag = "scans", params(("id" = String, Path), ScanQuery),
    responses((status = 200, body = ScanView), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn scan(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(id): Path<String>,
    Ask(query): Ask<ScanQuery>,
) -> Answer<ScanView> {
    shared.site.scan(&id, query.seen, patience(&query)?).await.map(Json).ok_or_else(|| no_scan(&id))
}

/// Ends a search; one that has ended is forgotten.
#[utoipa::path(delete, path = "/scans/{id}", tag = "scans", params(("id" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn end(State(shared): State<Arc<Shared>>, _: Operator, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    if shared.site.end_scan(&id) { Ok(StatusCode::NO_CONTENT) } else { Err(no_scan(&id)) }
}
