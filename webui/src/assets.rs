//! The page itself, out of the binary: files of `app/dist`, compressed once, with the headers that keep it to itself.
//!
//! Names with a hash in them never change and may be kept for ever; everything else is asked for again each time and answered with "not
//! modified" as long as it is the same. A path that is no file is one of the page's own screens.

use std::{
    collections::HashMap,
    io::Write,
    sync::{LazyLock, Mutex, PoisonError},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::Problem;

/// The built page. A binary built without it serves [`BARE`].
#[derive(RustEmbed)]
#[folder = "app/dist"]
#[allow_missing = true]
struct Built;

/// Shown where the page was not built in: the API works all the same.
const BARE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>Tidegate</title><h1>Tidegate</h1><p>This gateway runs. Its page was not built into this program.</p>\
<p>The API is there: <a href=\"/api/v1/docs\">what it can do</a>.</p>";

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Smaller files are not worth compressing.
const COMPRESSED_FROM: usize = 512;

/// Files in gzip, made when they are first asked for.
static COMPRESSED: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);

/// On every answer.
pub(crate) async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A file of the page.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "This cannot be done here").into_response();
    }
    let path = uri.path().trim_start_matches('/');
    let is_screen = path.is_empty() || !path.rsplit('/').next().unwrap_or_default().contains('.');
    let (name, file) = match Built::get(path) {
        Some(file) if !path.is_empty() => (path, Some(file)),
        _ if is_screen => ("index.html", Built::get("index.html")),
        _ => return Problem::not_found(format!("there is nothing at /{path}")).into_response(),
    };
    match file {
        Some(file) => answer(name, &file, &headers),
        None => ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], BARE).into_response(),
    }
}

fn answer(name: &str, file: &EmbeddedFile, asked: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", file.metadata.sha256_hash()[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let kept = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    let text = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(header::IF_NONE_MATCH).split(',').any(|known| known.trim().trim_start_matches("W/") == etag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = content_type(name, file.metadata.mimetype());
    if let Ok(kind) = HeaderValue::from_str(&kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    let plain = match &file.data {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => Bytes::copy_from_slice(bytes),
    };
    let takes_gzip = text(header::ACCEPT_ENCODING).split(',').any(|coding| coding.trim().split(';').next() == Some("gzip"));
    if !takes_gzip || plain.len() < COMPRESSED_FROM || !is_text(&kind) {
        return (headers, plain).into_response();
    }
    match compressed(&etag, &plain) {
        None => (headers, plain).into_response(),
        Some(bytes) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            (headers, bytes).into_response()
        }
    }
}

fn is_text(kind: &str) -> bool {
    ["text/", "application/json", "application/manifest+json", "image/svg"].iter().any(|text| kind.starts_with(text))
}

fn content_type(name: &str, guessed: &str) -> String {
    match name.rsplit('.').next() {
        Some("js" | "mjs") => "text/javascript; charset=utf-8".to_owned(),
        Some("webmanifest") => "application/manifest+json".to_owned(),
        _ if guessed.starts_with("text/") => format!("{guessed}; charset=utf-8"),
        _ => guessed.to_owned(),
    }
}

/// `None` when it could not be done, which writing to memory never is.
fn compressed(etag: &str, plain: &Bytes) -> Option<Bytes> {
    let mut known = COMPRESSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = known.get(etag) {
        return Some(bytes.clone());
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let bytes = Bytes::from(encoder.write_all(plain).and_then(|()| encoder.finish()).ok()?);
    known.insert(etag.to_owned(), bytes.clone());
    Some(bytes)
}
