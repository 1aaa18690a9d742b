//! Pairing with devices.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};

use super::scan::patience;
use crate::{
    Problem,
    extract::{Answer, Ask, Body},
    guard::{Operator, Viewer},
    shape::{PairAnswer, PairRequest, PairView, ScanQuery},
    state::Shared,
};

/// Longest passkey.
const MOST_DIGITS: usize = 16;

fn no_pairing(id: &str) -> Problem {
    Problem::not_found(format!("there is no pairing '{id}'")).next("it may be forgotten: begin another one")
}

/// Begins to pair with a device; one at a time. Ends a minute after the last one who asked for it.
#[utoipa::path(post, path = "/pairings", tag = "pairings", request_body = PairRequest,
    responses((status = 201, body = PairView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Body(request): Body<PairRequest>,
) -> Result<(StatusCode, Json<PairView>), Problem> {
    // What cannot be is refused before it is recorded.
    shared.site.check_pairing(&request)?;
    shared.vault.record(who.act(shared.now(), "pairing.start", &request.kind, &request.options.to_string())).await?;
    Ok((StatusCode::CREATED, Json(shared.site.start_pairing(request, &who.name())?)))
}

/// A pairing and what it asks; waits for news when asked to.
#[utoipa::path(get, path = "/pairings/{id}", tag = "pairings", params(("id" = String, Path), ScanQuery),
    responses((status = 200, body = PairView), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn pairing(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(id): Path<String>,
    Ask(query): Ask<ScanQuery>,
) -> Answer<PairView> {
    shared.site.pairing(&id, query.seen, patience(&query)?).await.map(Json).ok_or_else(|| no_pairing(&id))
}

/// Answers what the device wants of a person. The passkey is kept nowhere.
#[utoipa::path(post, path = "/pairings/{id}/answer", tag = "pairings", params(("id" = String, Path)), request_body = PairAnswer,
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    _: Operator,
    Path(id): Path<String>,
    Body(answer): Body<PairAnswer>,
) -> Result<StatusCode, Problem> {
    let fits = |passkey: &String| (1..=MOST_DIGITS).contains(&passkey.len()) && passkey.bytes().all(|b| b.is_ascii_alphanumeric());
    if answer.passkey.as_ref().is_some_and(|passkey| !fits(passkey)) {
        return Err(Problem::invalid("that is no passkey").field(
            "passkey",
            "is not 1 to 16 digits",
            "write the digits that the device shows",
        ));
    }
    shared.site.answer_pairing(&id, answer).ok_or_else(|| no_pairing(&id))??;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a pairing; one that has ended is forgotten.
#[utoipa::path(delete, path = "/pairings/{id}", tag = "pairings", params(("id" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn end(State(shared): State<Arc<Shared>>, _: Operator, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    if shared.site.end_pairing(&id) { Ok(StatusCode::NO_CONTENT) } else { Err(no_pairing(&id)) }
}
