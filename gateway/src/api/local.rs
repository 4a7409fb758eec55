//! Requests of the command line: the same router, in process.

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{Api, ApiCaller, router};

/// A request.
#[derive(Clone, Serialize, Deserialize)]
pub struct LocalRequest {
    /// `GET`, `POST`, `PATCH` or `DELETE`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The ETag that was seen.
    #[serde(default)]
    pub if_match: Option<String>,
    /// The body. It may hold a private key: this type has no Debug.
    #[serde(default)]
    pub body: Option<Value>,
}

/// An answer.
#[derive(Serialize, Deserialize)]
pub struct LocalAnswer {
    /// HTTP status.
    pub status: u16,
    /// The ETag.
    #[serde(default)]
    pub etag: Option<String>,
    /// The body: what was asked for, or problem details.
    pub body: Value,
}

impl std::fmt::Debug for LocalAnswer {
    /// Without the body: it may hold the secret of a new key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalAnswer({})", self.status)
    }
}

/// Does what is asked as `caller`. `None`: the request itself is none.
pub async fn call(api: Api, caller: ApiCaller, asked: LocalRequest) -> Option<LocalAnswer> {
    let method = Method::from_bytes(asked.method.as_bytes()).ok()?;
    let body = asked.body.map(|body| body.to_string());
    let mut request = Request::builder().method(method).uri(asked.path).body(Body::empty()).ok()?;
    if let Some(body) = body {
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Body::from(body);
    }
    if let Some(tag) = asked.if_match {
        request.headers_mut().insert(header::IF_MATCH, HeaderValue::from_str(&tag).ok()?);
    }
    request.extensions_mut().insert(caller);
    let response = router(api).oneshot(request).await.unwrap_or_else(|never| match never {});
    let (head, body) = response.into_parts();
    let etag = head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    // Answers are made here, whole and in memory.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Some(LocalAnswer { status: head.status.as_u16(), etag, body: serde_json::from_slice(&body).unwrap_or_else(|_| unworded(head.status)) })
}

/// The router's own refusals have no body.
fn unworded(status: StatusCode) -> Value {
    let reason = status.canonical_reason().unwrap_or_default().to_lowercase();
    serde_json::json!({ "title": reason, "status": status.as_u16(), "detail": reason, "code": "path" })
}
