//! Bodies and queries, read strictly: what is wrong with one is a problem document, never a bare line of text.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::Problem;

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body must be JSON")
                .next("send Content-Type: application/json"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let read = T::deserialize(&mut reader).and_then(|body| reader.end().map(|()| body));
        read.map(Body).map_err(
            |error| {
                if error.is_data() { Problem::invalid(error.to_string()) } else { Problem::malformed(error.to_string()) }
            },
        )
    }
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
    } else {
        Problem::malformed("the body did not arrive whole")
    }
}

/// A query.
#[derive(Debug)]
pub(crate) struct Ask<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Ask(query)).map_err(|rejection| Problem::malformed(rejection.body_text()))
    }
}

/// What a route answers.
pub(crate) type Answer<T> = Result<Json<T>, Problem>;
