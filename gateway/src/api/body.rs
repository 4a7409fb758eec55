//! Bodies and queries of requests, with refusals that say what is wrong and repeat no value: it may be a secret.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::error::unreadable;
use crate::http::Problem;

/// A JSON body. None at all counts as `{}`.
pub(crate) struct Wish<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Wish<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_json = kind.eq_ignore_ascii_case("application/json");
        let body = Bytes::from_request(request, state).await.map_err(|_| unreadable("the body did not come whole"))?;
        if body.is_empty() {
            return parse(b"{}").map(Self);
        }
        if !is_json {
            return Err(Problem::unsupported_media_type("application/json"));
        }
        parse(&body).map(Self)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("at line {} column {}", error.line(), error.column());
        if !error.is_data() {
            return unreadable(format!("the body is not JSON {place}"));
        }
        // These name a field; the others repeat the value.
        let text = error.to_string();
        let named = ["missing field", "unknown field", "duplicate field"].iter().any(|kind| text.starts_with(kind));
        unreadable(if named { text } else { format!("a value in the body is not of the kind that belongs there, {place}") })
    })
}

/// The query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| unreadable(error.body_text()))
    }
}
