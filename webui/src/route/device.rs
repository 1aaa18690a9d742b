//! Devices, their points and their past.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    Problem,
    extract::{Answer, Ask},
    guard::{Operator, Viewer},
    shape::{After, DeviceBrief, DeviceView, List, Trend, TrendQuery, limit},
    state::Shared,
};

pub(super) fn no_device(id: &str) -> Problem {
    Problem::not_found(format!("there is no device {id}"))
}

/// Devices with their latest values.
#[utoipa::path(get, path = "/devices", tag = "devices", params(After), responses((status = 200, body = List<DeviceBrief>)))]
pub(super) async fn devices(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<After>) -> Answer<List<DeviceBrief>> {
    let most = limit(query.limit);
    let mut items = shared.site.devices(query.after.as_deref(), most + 1);
    let more = items.len() > most;
    items.truncate(most);
    let next = items.last().filter(|_| more).map(|device| device.id.clone());
    Ok(Json(List { items, next }))
}

/// A device and its points.
#[utoipa::path(get, path = "/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = DeviceView), (status = 404, body = Problem)))]
pub(super) async fn device(State(shared): State<Arc<Shared>>, _: Viewer, Path(id): Path<String>) -> Answer<DeviceView> {
    shared.site.device(&id).map(Json).ok_or_else(|| no_device(&id))
}

/// Tells each read of a device among the events, for ten minutes.
#[utoipa::path(post, path = "/devices/{id}/watch", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = DeviceView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn watch(State(shared): State<Arc<Shared>>, Operator(who): Operator, Path(id): Path<String>) -> Answer<DeviceView> {
    shared.vault.record(who.act(shared.now(), "device.watch", &id, "")).await?;
    shared.site.watch(&id, true)?.map(Json).ok_or_else(|| no_device(&id))
}

/// Tells them no longer.
#[utoipa::path(delete, path = "/devices/{id}/watch", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = DeviceView), (status = 404, body = Problem)))]
pub(super) async fn unwatch(State(shared): State<Arc<Shared>>, _: Operator, Path(id): Path<String>) -> Answer<DeviceView> {
    shared.site.watch(&id, false)?.map(Json).ok_or_else(|| no_device(&id))
}

/// The past of some points, as far as the log keeps it.
#[utoipa::path(get, path = "/devices/{id}/trend", tag = "devices", params(("id" = String, Path), TrendQuery),
    responses((status = 200, body = Trend), (status = 400, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn trend(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    Path(id): Path<String>,
    Ask(query): Ask<TrendQuery>,
) -> Answer<Trend> {
    shared.site.trend(&id, query).await?.map(Json).ok_or_else(|| no_device(&id))
}
