//! The box as a whole: backup, support, restart.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};

use super::log::download;
use crate::{
    Problem,
    extract::{Answer, Body},
    guard::{Admin, Viewer},
    shape::{BackupText, BackupView, CertificateView, NetworkView},
    state::Shared,
};

/// The configuration in one document. Keys and passwords are not in it.
#[utoipa::path(get, path = "/backup", tag = "system", responses((status = 200, body = Object)))]
pub(super) async fn backup(State(shared): State<Arc<Shared>>, Admin(who): Admin) -> Result<Response, Problem> {
    shared.vault.record(who.act(shared.now(), "backup", "", "")).await?;
    let backup = shared.site.backup().await?;
    Ok(download("application/json", "tidegate-backup.json", format!("{backup:#}\n")))
}

/// What a backup would do. Changes nothing: its files are checked and applied like any other change.
#[utoipa::path(post, path = "/backup/read", tag = "system", request_body = BackupText,
    responses((status = 200, body = BackupView), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn read_backup(State(shared): State<Arc<Shared>>, _: Admin, Body(request): Body<BackupText>) -> Answer<BackupView> {
    Ok(Json(shared.site.read_backup(&request.text).await?))
}

/// A gzipped tar archive with what helps to help: versions, configuration, checks, status, events. No secret and no value of a device is in it.
#[utoipa::path(get, path = "/support-bundle", tag = "system", responses((status = 200, content((String = "application/gzip")))))]
pub(super) async fn support_bundle(State(shared): State<Arc<Shared>>, Admin(who): Admin) -> Result<Response, Problem> {
    shared.vault.record(who.act(shared.now(), "support-bundle", "", "")).await?;
    Ok(download("application/gzip", "tidegate-support.tar.gz", shared.site.support_bundle().await?))
}

/// Where this machine is on the network.
#[utoipa::path(get, path = "/network", tag = "system", responses((status = 200, body = NetworkView)))]
pub(super) async fn network(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<NetworkView> {
    Ok(Json(shared.site.network()))
}

/// The certificate that the page shows.
#[utoipa::path(get, path = "/certificate", tag = "system", responses((status = 200, body = CertificateView), (status = 404, body = Problem)))]
pub(super) async fn certificate(State(shared): State<Arc<Shared>>, _: Viewer) -> Answer<CertificateView> {
    shared.site.certificate()?.map(Json).ok_or_else(|| Problem::not_found("the page is served without TLS"))
}

/// Ends the program in good order so that systemd starts it again.
#[utoipa::path(post, path = "/restart", tag = "system", responses((status = 202), (status = 409, body = Problem)))]
pub(super) async fn restart(State(shared): State<Arc<Shared>>, Admin(who): Admin) -> Result<StatusCode, Problem> {
    shared.vault.record(who.act(shared.now(), "restart", "", "")).await?;
    shared.site.restart(&who.name()).await?;
    Ok(StatusCode::ACCEPTED)
}
