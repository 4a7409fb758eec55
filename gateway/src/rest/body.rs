//! Bodies and queries, with refusals in the contract's form that repeat no value.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;

use super::answer::Refused;
use crate::api::{Asked, Wish};

/// A JSON body. None at all counts as `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        Wish::from_request(request, state).await.map(|Wish(wish)| Self(wish)).map_err(Refused::from)
    }
}

/// The query.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        Asked::from_request_parts(parts, state).await.map(|Asked(asked)| Self(asked)).map_err(Refused::from)
    }
}

/// The octets of a field in base64 (RFC 4648 §4).
pub(super) fn octets(field: &str, text: &str) -> Result<Vec<u8>, Refused> {
    STANDARD.decode(text).map_err(|_| Refused::invalid(format!("{field} is not base64")))
}
