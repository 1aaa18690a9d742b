//! Try it before it is saved: ask a device, connect to an upstream.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::device::no_device;
use crate::{
    Problem,
    extract::{Answer, Body},
    guard::Operator,
    shape::{List, LookRequest, LookView, UpstreamTestRequest, UpstreamTestView},
    state::Shared,
};

/// Asks a device that runs, now, and says how it was asked and what came.
#[utoipa::path(post, path = "/devices/{id}/look", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = LookView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 502, body = Problem)))]
pub(super) async fn look(State(shared): State<Arc<Shared>>, _: Operator, Path(id): Path<String>) -> Answer<LookView> {
    shared.site.look(&id).await?.map(Json).ok_or_else(|| no_device(&id))
}

/// Asks devices of a section that is not saved yet.
#[utoipa::path(post, path = "/look", tag = "devices", request_body = LookRequest,
    responses((status = 200, body = List<LookView>), (status = 409, body = Problem), (status = 422, body = Problem), (status = 502, body = Problem)))]
pub(super) async fn look_at(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Body(request): Body<LookRequest>,
) -> Answer<List<LookView>> {
    let act = who.act(shared.now(), "device.look", request.device.as_deref().unwrap_or_default(), "a section that is not saved");
    shared.vault.record(act).await?;
    Ok(Json(List::whole(shared.site.look_at(request).await?)))
}

/// Connects to an upstream and parts again, step by step.
#[utoipa::path(post, path = "/upstreams/test", tag = "upstreams", request_body = UpstreamTestRequest,
    responses((status = 200, body = UpstreamTestView), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn test_upstream(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Body(request): Body<UpstreamTestRequest>,
) -> Answer<UpstreamTestView> {
    let act = who.act(shared.now(), "upstream.test", request.name.as_deref().unwrap_or_default(), "");
    shared.vault.record(act).await?;
    Ok(Json(shared.site.test_upstream(request).await?))
}
