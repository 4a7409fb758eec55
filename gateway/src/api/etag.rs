//! Entity tags: the version of a row, so that a change is made to what its author has seen.

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::error;
use crate::http::Problem;

/// The version that a change is for; `None`: whatever is there.
pub(super) struct IfMatch(pub(super) Option<u64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    /// RFC 9110 §13.1.1: `"*" / #entity-tag`. One tag is taken: a resource here has one representation.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut fields = parts.headers.get_all(header::IF_MATCH).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            let several = parts.headers.contains_key(header::IF_MATCH);
            return if several { Err(malformed()) } else { Ok(Self(None)) };
        };
        let text = field.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(Self(None));
        }
        // §13.1.1: "a recipient MUST use the strong comparison function": a weak tag matches nothing.
        if text.starts_with("W/") {
            return Err(error::changed());
        }
        let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|tag| !tag.contains('"'));
        // A tag that we did not give out is of no state there was.
        tag.ok_or_else(malformed)?.parse().map(|version| Self(Some(version))).map_err(|_| error::changed())
    }
}

fn malformed() -> Problem {
    error::unreadable("If-Match must be one ETag as it was answered, or *")
}

/// A single resource with its version.
pub(super) struct Tagged<T> {
    pub(super) status: StatusCode,
    pub(super) version: u64,
    pub(super) body: T,
}

impl<T> Tagged<T> {
    pub(super) fn new(version: u64, body: T) -> Self {
        Self { status: StatusCode::OK, version, body }
    }

    /// 201: it is new.
    pub(super) fn created(version: u64, body: T) -> Self {
        Self { status: StatusCode::CREATED, version, body }
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        // Digits and quotes are a field value.
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.version)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        // RFC 9111 §5.2.2.5: what only administrators may see is not stored on the way.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
