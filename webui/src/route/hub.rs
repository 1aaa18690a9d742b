//! The service side of the hub: registry, C2D messages, methods, twins, events.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    Problem,
    extract::{Answer, Ask, Body},
    guard::{Admin, Operator, Viewer},
    shape::{
        After, C2dRequest, C2dView, FeedbackRead, FeedbackView, HostQuery, HubAbout, HubDevice, HubDeviceChange, HubEvent, HubEventQuery,
        HubKeys, List, MethodRequest, MethodView, NewHubDevice, Purged, TwinChange, TwinView, limit,
    },
    state::Shared,
};

/// Longest wait for an event.
const MOST_WAIT: u8 = 60;

/// The number in `If-Match`; `None` for any.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(text) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = text.to_str().unwrap_or("?").trim();
    if text == "*" {
        return Ok(None);
    }
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Problem::malformed("If-Match is not an ETag of this API").next("send what the header ETag said"))
}

fn with_etag<T: serde::Serialize>(status: StatusCode, etag: u64, body: T) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn shown(status: StatusCode, device: HubDevice) -> Response {
    let etag = device.etag.trim_matches('"').parse().unwrap_or(0);
    with_etag(status, etag, device)
}

/// The hub for devices below this gateway.
#[utoipa::path(get, path = "/hub", tag = "hub", responses((status = 200, body = HubAbout)))]
pub(super) async fn hub(State(shared): State<Arc<Shared>>, _: Viewer) -> Json<HubAbout> {
    Json(shared.site.hub())
}

/// The certificate that devices must trust, in PEM.
#[utoipa::path(get, path = "/hub/authority", tag = "hub",
    responses((status = 200, content((String = "application/x-pem-file"))), (status = 404, body = Problem)))]
pub(super) async fn authority(State(shared): State<Arc<Shared>>, _: Viewer) -> Result<Response, Problem> {
    let pem = shared.site.authority().ok_or_else(|| {
        Problem::not_found("there is no authority of its own").next("give devices the authority of the certificate that you brought")
    })?;
    let disposition = "attachment; filename=\"tidegate-ca.pem\"";
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file"), (header::CONTENT_DISPOSITION, disposition)], pem).into_response())
}

/// Registered devices and modules, by id.
#[utoipa::path(get, path = "/hub/devices", tag = "hub", params(After),
    responses((status = 200, body = List<HubDevice>), (status = 400, body = Problem)))]
pub(super) async fn devices(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<After>) -> Answer<List<HubDevice>> {
    let most = limit(query.limit);
    let mut items = shared.site.hub_devices(query.after.as_deref(), most + 1).await?;
    let more = items.len() > most;
    items.truncate(most);
    let next = items.last().filter(|_| more).map(|device| device.device.clone());
    Ok(Json(List { items, next }))
}

/// Registers a device.
#[utoipa::path(post, path = "/hub/devices", tag = "hub", request_body = NewHubDevice,
    responses((status = 201, body = HubDevice), (status = 400, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn add(State(shared): State<Arc<Shared>>, Admin(who): Admin, Body(new): Body<NewHubDevice>) -> Result<Response, Problem> {
    let act = who.act(shared.now(), "hub.device.add", &new.device, "");
    let device = shared.site.add_hub_device(new).await?;
    shared.vault.record(act).await?;
    Ok(shown(StatusCode::CREATED, device))
}

/// One device, with how many messages wait for it.
#[utoipa::path(get, path = "/hub/devices/{id}", tag = "hub", params(("id" = String, Path)),
    responses((status = 200, body = HubDevice), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn device(State(shared): State<Arc<Shared>>, _: Viewer, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(shown(StatusCode::OK, shared.site.hub_device(&id).await?))
}

/// Changes a device: keeps it out, lets it in, gives it other keys.
#[utoipa::path(patch, path = "/hub/devices/{id}", tag = "hub", params(("id" = String, Path), ("if-match" = Option<String>, Header)),
    request_body = HubDeviceChange,
    responses((status = 200, body = HubDevice), (status = 400, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<HubDeviceChange>,
) -> Result<Response, Problem> {
    let detail = match (change.enabled, &change.proof) {
        (_, Some(_)) => "another proof",
        (Some(true), None) => "enabled",
        (Some(false), None) => "disabled",
        (None, None) => "",
    };
    let act = who.act(shared.now(), "hub.device.change", &id, detail);
    let device = shared.site.change_hub_device(&id, if_match(&headers)?, change).await?;
    shared.vault.record(act).await?;
    Ok(shown(StatusCode::OK, device))
}

/// Takes a device away, with its modules, twin and queue.
#[utoipa::path(delete, path = "/hub/devices/{id}", tag = "hub", params(("id" = String, Path), ("if-match" = Option<String>, Header)),
    responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    shared.site.remove_hub_device(&id, if_match(&headers)?).await?;
    shared.vault.record(who.act(shared.now(), "hub.device.remove", &id, "")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a device needs to connect: its keys, and a connection string ready to paste.
#[utoipa::path(get, path = "/hub/devices/{id}/keys", tag = "hub", params(("id" = String, Path), HostQuery),
    responses((status = 200, body = HubKeys), (status = 400, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn keys(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    Ask(query): Ask<HostQuery>,
) -> Answer<HubKeys> {
    let keys = shared.site.hub_keys(&id, query.host.as_deref()).await?;
    shared.vault.record(who.act(shared.now(), "hub.device.keys", &id, "")).await?;
    Ok(Json(keys))
}

/// Puts a C2D message into a device's queue. It is on disk when this answers.
#[utoipa::path(post, path = "/hub/devices/{id}/messages", tag = "hub", params(("id" = String, Path)), request_body = C2dRequest,
    responses((status = 201, body = C2dView), (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Body(request): Body<C2dRequest>,
) -> Result<(StatusCode, Json<C2dView>), Problem> {
    let sent = shared.site.send_c2d(&id, request).await?;
    shared.vault.record(who.act(shared.now(), "hub.message.send", &id, &sent.message_id)).await?;
    Ok((StatusCode::CREATED, Json(sent)))
}

/// Takes away what waits for a device.
#[utoipa::path(delete, path = "/hub/devices/{id}/messages", tag = "hub", params(("id" = String, Path)),
    responses((status = 200, body = Purged), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn purge(State(shared): State<Arc<Shared>>, Operator(who): Operator, Path(id): Path<String>) -> Answer<Purged> {
    let purged = shared.site.purge_c2d(&id).await?;
    shared.vault.record(who.act(shared.now(), "hub.message.purge", &id, &purged.to_string())).await?;
    Ok(Json(Purged { purged }))
}

/// What became of messages whose sender asked for it, oldest first, at most 64. It comes again until it is taken.
#[utoipa::path(get, path = "/hub/feedback", tag = "hub", responses((status = 200, body = List<FeedbackView>)))]
pub(super) async fn feedback(State(shared): State<Arc<Shared>>, _: Operator) -> Answer<List<FeedbackView>> {
    Ok(Json(List::whole(shared.site.feedback().await?)))
}

/// Feedback up to this record has been read and is forgotten.
#[utoipa::path(delete, path = "/hub/feedback", tag = "hub", params(FeedbackRead), responses((status = 204), (status = 400, body = Problem)))]
pub(super) async fn take_feedback(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Ask(query): Ask<FeedbackRead>,
) -> Result<StatusCode, Problem> {
    shared.site.take_feedback(query.up_to).await?;
    shared.vault.record(who.act(shared.now(), "hub.feedback.take", &query.up_to.to_string(), "")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Calls a method of a device and waits for its answer. At most once: after a 504 the device may have carried it out.
#[utoipa::path(post, path = "/hub/devices/{id}/methods", tag = "hub", params(("id" = String, Path)), request_body = MethodRequest,
    responses((status = 200, body = MethodView), (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    Body(request): Body<MethodRequest>,
) -> Answer<MethodView> {
    // Before the device is asked: what it does afterwards cannot be called back.
    shared.vault.record(who.act(shared.now(), "hub.method.call", &id, &request.method)).await?;
    shared.site.call_method(&id, request).await.map(Json)
}

/// A device's twin.
#[utoipa::path(get, path = "/hub/devices/{id}/twin", tag = "hub", params(("id" = String, Path)),
    responses((status = 200, body = TwinView), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn twin(State(shared): State<Arc<Shared>>, _: Viewer, Path(id): Path<String>) -> Result<Response, Problem> {
    let (twin, version) = shared.site.twin(&id).await?;
    Ok(with_etag(StatusCode::OK, version, twin))
}

/// Merges into a device's tags and desired properties.
#[utoipa::path(patch, path = "/hub/devices/{id}/twin", tag = "hub", params(("id" = String, Path), ("if-match" = Option<String>, Header)),
    request_body = TwinChange,
    responses((status = 200, body = TwinView), (status = 400, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn patch_twin(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<TwinChange>,
) -> Result<Response, Problem> {
    let (twin, version) = shared.site.change_twin(&id, if_match(&headers)?, change, false).await?;
    shared.vault.record(who.act(shared.now(), "hub.twin.patch", &id, "")).await?;
    Ok(with_etag(StatusCode::OK, version, twin))
}

/// Replaces a device's tags, desired properties, or both.
#[utoipa::path(put, path = "/hub/devices/{id}/twin", tag = "hub", params(("id" = String, Path), ("if-match" = Option<String>, Header)),
    request_body = TwinChange,
    responses((status = 200, body = TwinView), (status = 400, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn replace_twin(
    State(shared): State<Arc<Shared>>,
    Operator(who): Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<TwinChange>,
) -> Result<Response, Problem> {
    let (twin, version) = shared.site.change_twin(&id, if_match(&headers)?, change, true).await?;
    shared.vault.record(who.act(shared.now(), "hub.twin.replace", &id, "")).await?;
    Ok(with_etag(StatusCode::OK, version, twin))
}

/// Devices that came, went and were refused, twins and identities that changed: since the start, the latest 1,024.
#[utoipa::path(get, path = "/hub/events", tag = "hub", params(HubEventQuery),
    responses((status = 200, body = List<HubEvent>), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn events(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<HubEventQuery>) -> Answer<List<HubEvent>> {
    let wait = query.wait_s.unwrap_or(0);
    if wait > MOST_WAIT {
        return Err(Problem::invalid("waiting is bounded").field("wait_s", format!("{wait} is too long"), "write 0 to 60"));
    }
    let items = shared.site.hub_events(query.after.unwrap_or(0), limit(query.limit), Duration::from_secs(u64::from(wait))).await;
    let next = items.last().map(|event| event.number.to_string());
    Ok(Json(List { items, next }))
}
