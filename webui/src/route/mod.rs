//! The routes: who may ask what, and the words of the answers. Each file is one part of the API.

mod account;
mod command;
mod configuration;
mod consumer;
mod device;
mod docs;
mod door;
mod hub;
mod live;
mod log;
mod overview;
mod pair;
mod scan;
mod system;
mod template;
mod trial;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, http::Uri, middleware};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::docs::Security;
use crate::{Problem, assets, guard, shape::ExportFormat, state::Shared};

pub(crate) use live::Streams;

/// Largest body of a request; configuration may be [`MAX_CONFIG`].
const MAX_BODY: usize = 1 << 20;
/// Largest body with configuration files: as much as the configuration may be in all, with JSON's escapes.
const MAX_CONFIG: usize = 6 << 20;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        version = "1",
        description = "The API of a Tidegate gateway. Errors are problem documents (RFC 9457). Log in for a cookie, or send `Authorization: Bearer tg_…`."
    ),
    modifiers(&Security),
    components(schemas(Problem, ExportFormat))
)]
struct Document;

fn api() -> OpenApiRouter<Arc<Shared>> {
    let large = OpenApiRouter::new()
        .routes(routes!(configuration::check))
        .routes(routes!(configuration::edit))
        .routes(routes!(configuration::apply))
        .routes(routes!(system::read_backup))
        .layer(DefaultBodyLimit::max(MAX_CONFIG));
    let ordinary = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(door::session))
        .routes(routes!(door::claim))
        .routes(routes!(door::login))
        .routes(routes!(door::logout))
        .routes(routes!(door::password))
        .routes(routes!(account::users, account::create_user))
        .routes(routes!(account::change_user, account::delete_user))
        .routes(routes!(account::tokens, account::create_token))
        .routes(routes!(account::delete_token))
        .routes(routes!(account::audit))
        .routes(routes!(overview::overview))
        .routes(routes!(overview::health))
        .routes(routes!(overview::conditions))
        .routes(routes!(overview::checks))
        .routes(routes!(overview::link))
        .routes(routes!(device::devices))
        .routes(routes!(device::device))
        .routes(routes!(device::trend))
        .routes(routes!(device::watch, device::unwatch))
        .routes(routes!(command::command))
        .routes(routes!(command::inbox))
        .routes(routes!(command::retry))
        .routes(routes!(command::let_go))
        .routes(routes!(command::writes))
        .routes(routes!(hub::hub))
        .routes(routes!(hub::authority))
        .routes(routes!(hub::devices, hub::add))
        .routes(routes!(hub::device, hub::change, hub::remove))
        .routes(routes!(hub::keys))
        .routes(routes!(hub::send, hub::purge))
        .routes(routes!(hub::feedback, hub::take_feedback))
        .routes(routes!(hub::call))
        .routes(routes!(hub::twin, hub::patch_twin, hub::replace_twin))
        .routes(routes!(hub::events))
        .routes(routes!(consumer::messages))
        .routes(routes!(consumer::groups))
        .routes(routes!(consumer::progress))
        .routes(routes!(consumer::forget))
        .routes(routes!(live::live))
        .routes(routes!(log::log))
        .routes(routes!(log::gaps))
        .routes(routes!(log::messages))
        .routes(routes!(log::export))
        .routes(routes!(log::events))
        .routes(routes!(log::export_events))
        .routes(routes!(configuration::config))
        .routes(routes!(configuration::file))
        .routes(routes!(configuration::sections))
        .routes(routes!(configuration::schema))
        .routes(routes!(configuration::kinds))
        .routes(routes!(configuration::secrets))
        .routes(routes!(configuration::keep_secret))
        .routes(routes!(configuration::keep))
        .routes(routes!(configuration::roll_back))
        .routes(routes!(configuration::history))
        .routes(routes!(configuration::past))
        .routes(routes!(configuration::revert))
        .routes(routes!(scan::estimate))
        .routes(routes!(scan::scans, scan::start))
        .routes(routes!(scan::scan, scan::end))
        .routes(routes!(pair::start))
        .routes(routes!(pair::pairing, pair::end))
        .routes(routes!(pair::answer))
        .routes(routes!(template::templates))
        .routes(routes!(template::recognise))
        .routes(routes!(system::backup))
        .routes(routes!(system::support_bundle))
        .routes(routes!(system::network))
        .routes(routes!(system::certificate))
        .routes(routes!(system::restart))
        .routes(routes!(trial::look))
        .routes(routes!(trial::look_at))
        .routes(routes!(trial::test_upstream))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    ordinary.merge(large)
}

/// The OpenAPI document, made of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, inner) = api().split_for_parts();
    let mut document = OpenApiRouter::<Arc<Shared>>::new().nest("/api/v1", OpenApiRouter::with_openapi(inner)).split_for_parts().1;
    document.info = Document::openapi().info;
    docs::finish(&mut document);
    document
}

/// Everything that the server answers.
pub(crate) fn all(shared: Arc<Shared>) -> Router {
    let (api, _) = api().split_for_parts();
    let api = api
        .merge(docs::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::watch));
    Router::new()
        .nest("/api/v1", api)
        .fallback(assets::serve)
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(assets::secure))
        .with_state(shared)
}

async fn no_route(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn no_method() -> Problem {
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "method", "This cannot be done here")
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let why = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    axum::response::IntoResponse::into_response(Problem::internal("a request", why.as_deref().unwrap_or("panic")))
}
