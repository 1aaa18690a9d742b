//! What a request gets that cannot be answered: a problem document (RFC 9457), for people and for programs.
//!
//! One message goes outward and another to the log: what the inside said stays inside.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tidegate_core::clock::Timestamp;
use tracing::error;
use utoipa::ToSchema;

use crate::vault::VaultError;

/// Why not, and what to do next.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `/api/v1/problems/<code>`.
    #[serde(rename = "type", serialize_with = "kind")]
    #[schema(rename = "type", value_type = String)]
    kind: &'static str,
    /// Stable word for programs.
    code: &'static str,
    /// A few words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was seen, with names and values.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    next: String,
    #[serde(flatten)]
    more: Box<More>,
}

/// What only some problems have.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
struct More {
    /// Which keys of the request are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    /// What is wrong with a proposed configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<crate::shape::ConfigProblem>,
    /// The state that a conditional change should have named.
    #[serde(skip)]
    etag: Option<String>,
    /// Seconds to wait.
    #[serde(skip)]
    retry_after: Option<u64>,
}

fn kind<S: serde::Serializer>(code: &&'static str, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&format_args!("/api/v1/problems/{code}"))
}

/// A key of the request that is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Field {
    /// The key, such as `points[2].address`.
    path: String,
    /// What is wrong with it.
    what: String,
    /// What to write instead.
    next: String,
}

impl Problem {
    /// By its status, code and title.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { kind: code, code, title, status: status.as_u16(), detail: String::new(), next: String::new(), more: Box::default() }
    }

    /// What was seen.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// A key that is wrong.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        self.more.fields.push(Field { path: path.into(), what: what.into(), next: next.into() });
        self
    }

    /// What is wrong with a configuration.
    #[must_use]
    pub fn problems(mut self, problems: Vec<crate::shape::ConfigProblem>) -> Self {
        self.more.problems = problems;
        self
    }

    /// The present state.
    #[must_use]
    pub fn etag(mut self, etag: impl Into<String>) -> Self {
        self.more.etag = Some(etag.into());
        self
    }

    /// The stable word.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Not readable at all.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request is not understood").detail(detail)
    }

    /// Read, understood, and wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Something in the request is wrong").detail(detail)
    }

    /// There is no such thing.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing").detail(what)
    }

    /// It is there already.
    pub fn exists(what: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "exists", "It is there already").detail(what)
    }

    /// Something else is going on that must end first.
    pub fn busy(what: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "busy", "Something else is going on").detail(what)
    }

    /// Nobody knows who asks.
    pub fn not_logged_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not-logged-in", "Log in first")
    }

    /// Too much at once.
    pub fn slow_down(seconds: u64) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "slow-down", "Too many requests");
        problem.more.retry_after = Some(seconds.max(1));
        problem.next(format!("wait {} s", seconds.max(1)))
    }

    /// The gateway is stopping, or a part of it does not answer.
    pub fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "The gateway is stopping")
    }

    /// Something failed inside; what it was is for the log only.
    pub fn internal(what: &str, why: impl std::fmt::Display) -> Self {
        error!(what, %why, "the page could not be served");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something failed inside")
            .detail(format!("{what} failed at {}", now()))
            .next("look into the gateway's events at that time")
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(0))
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        Problem::internal("keeping or finding accounts", error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A problem is text and numbers: writing it cannot fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.more.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(Ok(etag)) = self.more.etag.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ETAG, etag);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
