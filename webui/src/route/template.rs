//! Models of devices that are known.

use std::sync::Arc;

use axum::{Json, extract::State};

use crate::{
    Problem,
    extract::{Answer, Body},
    guard::{Operator, Viewer},
    shape::{List, MatchRequest, MatchView, TemplateView},
    state::Shared,
};

/// Models of devices that are known: packaged ones, and the site's own.
#[utoipa::path(get, path = "/templates", tag = "templates", responses((status = 200, body = List<TemplateView>)))]
pub(super) async fn templates(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<List<TemplateView>> {
    Ok(Json(List::whole(shared.site.templates())))
}

/// Asks a device that was found what each model would be recognised by, and says which fit. Nothing is written to it.
#[utoipa::path(post, path = "/templates/match", tag = "templates", request_body = MatchRequest,
    responses((status = 200, body = List<MatchView>), (status = 409, body = Problem), (status = 422, body = Problem), (status = 502, body = Problem)))]
pub(super) async fn recognise(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Body(request): Body<MatchRequest>,
) -> Answer<List<MatchView>> {
    shared.vault.record(who.act(shared.now(), "template.match", "", "a section that is not saved")).await?;
    Ok(Json(List::whole(shared.site.recognise(request).await?)))
}
