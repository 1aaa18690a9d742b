//! The configuration: files, checks, edits, changes on trial, history.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value as Json1;

use crate::{
    Problem,
    extract::{Answer, Ask, Body},
    guard::{Admin, Operator, Viewer, Who},
    shape::{
        ApplyRequest, ApplyView, Before, CheckRequest, CheckView, ConfigView, EditRequest, EditView, FileView, HistoryBrief, HistoryView,
        KindsView, List, RevertRequest, SecretRequest, SecretView, limit,
    },
    state::Shared,
};

fn with_etag<T: serde::Serialize>(etag: &str, body: T) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The files, what is wrong with them, and the trial if there is one.
#[utoipa::path(get, path = "/config", tag = "configuration", responses((status = 200, body = ConfigView, headers(("ETag" = String)))))]
pub(super) async fn config(State(shared): State<Arc<Shared>>, _: Viewer) -> Result<Response, Problem> {
    let view = shared.site.config().await?;
    Ok(with_etag(&view.etag.clone(), view))
}

/// One file as it is.
#[utoipa::path(get, path = "/config/files/{*name}", tag = "configuration", params(("name" = String, Path)),
    responses((status = 200, body = FileView, headers(("ETag" = String))), (status = 404, body = Problem)))]
pub(super) async fn file(State(shared): State<Arc<Shared>>, _: Viewer, Path(name): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found(format!("there is no configuration file {name}"));
    let view = shared.site.config_file(&name).await?.ok_or_else(missing)?;
    Ok(with_etag(&view.etag.clone(), view))
}

/// All files as one JSON object.
#[utoipa::path(get, path = "/config/sections", tag = "configuration", responses((status = 200, body = Json1)))]
pub(super) async fn sections(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<Json1> {
    Ok(Json(shared.site.config_sections().await?))
}

/// JSON Schema (2020-12) of the configuration.
#[utoipa::path(get, path = "/config/schema", tag = "configuration", responses((status = 200, body = Json1)))]
pub(super) async fn schema(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<Json1> {
    Ok(Json(shared.site.config_schema()))
}

/// The kinds that sections may be of.
#[utoipa::path(get, path = "/kinds", tag = "configuration", responses((status = 200, body = KindsView)))]
pub(super) async fn kinds(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<KindsView> {
    Ok(Json(shared.site.kinds()))
}

/// Checks a proposal; changes nothing.
#[utoipa::path(post, path = "/config/check", tag = "configuration", request_body = CheckRequest,
    responses((status = 200, body = CheckView), (status = 422, body = Problem)))]
pub(super) async fn check(State(shared): State<Arc<Shared>>, _: Operator, Body(request): Body<CheckRequest>) -> Answer<CheckView> {
    Ok(Json(shared.site.check(request.files).await?))
}

/// Changes values by path, keeps comments, saves nothing.
#[utoipa::path(post, path = "/config/edit", tag = "configuration", request_body = EditRequest,
    responses((status = 200, body = EditView), (status = 422, body = Problem)))]
pub(super) async fn edit(State(shared): State<Arc<Shared>>, _: Operator, Body(request): Body<EditRequest>) -> Answer<EditView> {
    Ok(Json(shared.site.edit(request).await?))
}

/// What a conditional change must name.
fn if_match(headers: &HeaderMap) -> Result<String, Problem> {
    let needed = || {
        Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-needed", "Say which state you change")
            .next("send If-Match with the ETag of the configuration that you have read")
    };
    headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned).ok_or_else(needed)
}

/// Notes what came of it, in the history's words.
async fn noted<T>(shared: &Shared, who: &Who, what: &'static str, target: &str, done: Result<T, Problem>) -> Result<T, Problem> {
    let mut act = who.act(shared.now(), what, target, "");
    if let Err(problem) = &done {
        problem.code().clone_into(&mut act.result);
    }
    shared.vault.record(act).await?;
    done
}

/// Writes files and applies them: for good, or on trial.
#[utoipa::path(post, path = "/config/apply", tag = "configuration", request_body = ApplyRequest, params(("If-Match" = String, Header)),
    responses((status = 200, body = ApplyView, headers(("ETag" = String))), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 422, body = Problem), (status = 428, body = Problem)))]
pub(super) async fn apply(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    headers: HeaderMap,
    Body(request): Body<ApplyRequest>,
) -> Result<Response, Problem> {
    let etag = if_match(&headers)?;
    let names = request.files.keys().cloned().collect::<Vec<_>>().join(", ");
    let done = shared.site.apply(request, &etag, &who.name()).await;
    let view = noted(&shared, &who, "config.apply", &names, done).await?;
    Ok(with_etag(&view.etag.clone(), view))
}

/// The change on trial stays.
#[utoipa::path(post, path = "/config/trial/keep", tag = "configuration", responses((status = 200, body = ConfigView), (status = 409, body = Problem)))]
pub(super) async fn keep(State(shared): State<Arc<Shared>>, Admin(who): Admin) -> Answer<ConfigView> {
    let done = shared.site.keep_trial(&who.name()).await;
    noted(&shared, &who, "config.trial.keep", "", done).await.map(Json)
}

/// The change on trial goes.
#[utoipa::path(post, path = "/config/trial/rollback", tag = "configuration", responses((status = 200, body = ConfigView), (status = 409, body = Problem)))]
pub(super) async fn roll_back(State(shared): State<Arc<Shared>>, Admin(who): Admin) -> Answer<ConfigView> {
    let done = shared.site.roll_back_trial(&who.name()).await;
    noted(&shared, &who, "config.trial.rollback", "", done).await.map(Json)
}

/// Changes, newest first.
#[utoipa::path(get, path = "/config/history", tag = "configuration", params(Before), responses((status = 200, body = List<HistoryBrief>)))]
pub(super) async fn history(State(shared): State<Arc<Shared>>, _: Viewer, Ask(query): Ask<Before>) -> Answer<List<HistoryBrief>> {
    Ok(Json(shared.site.history(query.before, limit(query.limit)).await?))
}

fn no_change(id: &str) -> Problem {
    Problem::not_found(format!("there is no change {id} in the history"))
}

/// One change in full.
#[utoipa::path(get, path = "/config/history/{id}", tag = "configuration", params(("id" = String, Path)),
    responses((status = 200, body = HistoryView), (status = 404, body = Problem)))]
pub(super) async fn past(State(shared): State<Arc<Shared>>, _: Viewer, Path(id): Path<String>) -> Answer<HistoryView> {
    shared.site.past(&id).await?.map(Json).ok_or_else(|| no_change(&id))
}

/// Takes an earlier change back: the files that it changed become what they were before it.
#[utoipa::path(post, path = "/config/history/{id}/revert", tag = "configuration", request_body = RevertRequest,
    params(("id" = String, Path), ("If-Match" = String, Header)),
    responses((status = 200, body = ApplyView, headers(("ETag" = String))), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem)))]
pub(super) async fn revert(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(request): Body<RevertRequest>,
) -> Result<Response, Problem> {
    let etag = if_match(&headers)?;
    let past = shared.site.past(&id).await?.ok_or_else(|| no_change(&id))?;
    let apply = ApplyRequest { files: past.before, comment: format!("takes back change {id}"), trial_s: request.trial_s };
    let done = shared.site.apply(apply, &etag, &who.name()).await;
    let view = noted(&shared, &who, "config.revert", &id, done).await?;
    Ok(with_etag(&view.etag.clone(), view))
}

/// Largest secret: a certificate with its chain.
const MOST_SECRET: usize = 64 * 1024;

/// Keeps a secret, and says which file to name in the configuration. It can be replaced, and never be read here.
#[utoipa::path(put, path = "/config/secrets/{name}", tag = "configuration", params(("name" = String, Path)), request_body = SecretRequest,
    responses((status = 200, body = SecretView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn keep_secret(
    State(shared): State<Arc<Shared>>,
    Admin(who): Admin,
    Path(name): Path<String>,
    Body(request): Body<SecretRequest>,
) -> Answer<SecretView> {
    if tidegate_core::id::Name::new(&name).is_err() {
        let what = "is not a name";
        return Err(Problem::invalid("a secret needs a name").field(
            "name",
            what,
            "use 1 to 64 letters, digits, '_' or '-', and begin with a letter or digit",
        ));
    }
    let value = request.value.trim();
    if value.is_empty() || value.len() > MOST_SECRET {
        return Err(Problem::invalid("a secret has 1 byte to 64 KiB").field(
            "value",
            "is empty or too long",
            "paste it as it was given to you",
        ));
    }
    shared.vault.record(who.act(shared.now(), "config.secret", &name, "")).await?;
    shared.site.keep_secret(&name, value).await.map(Json)
}

/// The names of the secrets that are kept.
#[utoipa::path(get, path = "/config/secrets", tag = "configuration", responses((status = 200, body = List<SecretView>)))]
pub(super) async fn secrets(State(shared): State<Arc<Shared>>, _: Admin) -> Answer<List<SecretView>> {
    Ok(Json(List::whole(shared.site.secrets())))
}
