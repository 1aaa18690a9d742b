//! What is going on, and what is not right.

use std::sync::Arc;

use axum::{Json, extract::State};

use crate::{
    Problem,
    extract::{Answer, Body},
    guard::{Operator, Viewer},
    shape::{CheckSeen, ConditionView, HealthView, LinkRequest, List, Overview},
    state::Shared,
};

/// The tide, devices by state, storage, health.
#[utoipa::path(get, path = "/overview", tag = "views", responses((status = 200, body = Overview)))]
pub(super) async fn overview(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<Overview> {
    Ok(Json(shared.site.overview().await?))
}

/// What is not right, with cause and next step.
#[utoipa::path(get, path = "/health", tag = "views", responses((status = 200, body = List<HealthView>)))]
pub(super) async fn health(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<List<HealthView>> {
    Ok(Json(List::whole(shared.site.health())))
}

/// Everything that can be wrong.
#[utoipa::path(get, path = "/catalogue/health", tag = "views", responses((status = 200, body = List<ConditionView>)))]
pub(super) async fn conditions(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<List<ConditionView>> {
    Ok(Json(List::whole(shared.site.conditions())))
}

/// Looks the machine over: disk and flash wear, clock, power, memory, ports, radio, network, keys, certificates. Opens no device.
#[utoipa::path(get, path = "/checks", tag = "views", responses((status = 200, body = List<CheckSeen>)))]
pub(super) async fn checks(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<List<CheckSeen>> {
    Ok(Json(List::whole(shared.site.checks().await?)))
}

/// In the demo: cuts or restores the link to the hub, and stops the demo from doing so by itself.
#[utoipa::path(post, path = "/demo/link", tag = "views", request_body = LinkRequest,
    responses((status = 200, body = Overview), (status = 404, body = Problem)))]
pub(super) async fn link(State(shared): State<Arc<Shared>>, Operator(who): Operator, Body(request): Body<LinkRequest>) -> Answer<Overview> {
    if !shared.site.switch_link(request.up) {
        return Err(Problem::not_found("only a demo has a link that can be switched"));
    }
    shared.vault.record(who.act(shared.now(), "demo.link", if request.up { "up" } else { "down" }, "")).await?;
    Ok(Json(shared.site.overview().await?))
}
