//! Commands to devices: they take the same way as the hub's, through the same guard, and stand in the same inbox.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};

use super::device::no_device;
use crate::{
    Problem,
    extract::{Answer, Ask, Body},
    guard::{Operator, Viewer},
    shape::{After, CommandRequest, CommandView, InboxEntry, Limit, List, WriteAct, limit},
    state::Shared,
};

/// Longest wait for an outcome.
const MOST_WAIT: u8 = 50;
/// What is waited when the request does not say.
const WAIT: u8 = 5;

/// Has points of a device written. It is on disk when this answers; the outcome is null when it is not known yet.
#[utoipa::path(post, path = "/devices/{id}/commands", tag = "commands", params(("id" = String, Path)), request_body = CommandRequest,
    responses((status = 200, body = CommandView), (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn command(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Body(request): Body<CommandRequest>,
) -> Answer<CommandView> {
    let wait = request.wait_s.unwrap_or(WAIT);
    if wait > MOST_WAIT {
        return Err(Problem::invalid("waiting is bounded").field("wait_s", format!("{wait} is too long"), "write 0 to 50"));
    }
    if request.write.is_empty() {
        return Err(Problem::invalid("nothing is to be written").field("write", "is empty", "name a point and its value"));
    }
    let act = who.act(shared.now(), "device.write", &id, "");
    shared.vault.record(act).await?;
    let wait = Duration::from_secs(u64::from(wait));
    shared.site.command(&id, request.write, &who.name(), wait).await?.map(Json).ok_or_else(|| no_device(&id))
}

/// Commands that wait, are being carried out, or are dead, in the order in which they came.
#[utoipa::path(get, path = "/inbox", tag = "commands", params(After),
    responses((status = 200, body = List<InboxEntry>), (status = 400, body = Problem)))]
pub(super) async fn inbox(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<After>) -> Answer<List<InboxEntry>> {
    let most = limit(query.limit);
    let after = query.after.as_deref().map(str::parse::<u64>).transpose();
    let after = after.map_err(|_| Problem::malformed("after is not a place in the inbox"))?;
    let mut items = shared.site.inbox(after.map_or(0, |seq| seq.saturating_add(1)), most + 1).await?;
    let more = items.len() > most;
    items.truncate(most);
    let next = items.last().filter(|_| more).map(|entry| entry.seq.to_string());
    Ok(Json(List { items, next }))
}

/// Has a dead command carried out after all: the same words as a new command. The dead one goes.
#[utoipa::path(post, path = "/inbox/{seq}/retry", tag = "commands", params(("seq" = u64, Path)),
    responses((status = 200, body = CommandView), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn retry(State(shared): State<Arc<Shared>>, Operator(who): Operator, Path(seq): Path<String>) -> Answer<CommandView> {
    let seq = place(&seq)?;
    shared.vault.record(who.act(shared.now(), "inbox.retry", &seq.to_string(), "")).await?;
    shared.site.retry(seq, &who.name(), Duration::from_secs(u64::from(WAIT))).await.map(Json)
}

/// Lets a dead command go.
#[utoipa::path(delete, path = "/inbox/{seq}", tag = "commands", params(("seq" = u64, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn let_go(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(seq): Path<String>,
) -> Result<StatusCode, Problem> {
    let seq = place(&seq)?;
    shared.vault.record(who.act(shared.now(), "inbox.delete", &seq.to_string(), "")).await?;
    shared.site.let_go(seq, &who.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who had what written, newest first.
#[utoipa::path(get, path = "/writes", tag = "commands", params(Limit), responses((status = 200, body = List<WriteAct>)))]
pub(super) async fn writes(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<Limit>) -> Answer<List<WriteAct>> {
    Ok(Json(List::whole(shared.site.writes(limit(query.limit)).await?)))
}

fn place(text: &str) -> Result<u64, Problem> {
    let seq = text.parse().ok().filter(|seq| i64::try_from(*seq).is_ok());
    seq.ok_or_else(|| Problem::not_found(format!("there is no dead command {}", text.chars().take(40).collect::<String>())))
}
