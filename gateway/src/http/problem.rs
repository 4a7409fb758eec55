//! What an HTTP request is answered that cannot be served: problem details (RFC 9457).

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// RFC 9457 §3: the media type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An answer that says what is wrong. Text for the caller: lower case, no secrets, nothing about absent or forbidden things
/// that tells them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// What kind of problem it is, the same words each time.
    pub title: &'static str,
    /// What is wrong this time, and what would be right.
    pub detail: String,
    /// For programs: a word of its own for each kind of problem, kept stable.
    pub code: &'static str,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The permission that is missing, in words from a fixed set: for the audit record, not in the answer.
    pub denied: Option<&'static str>,
}

/// The permission that an answered request lacked: an extension of the response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denied(pub(crate) &'static str);

/// Why an act was refused that its caller may do, in the words of the answer: an extension of the response, for the audit record.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) String);

/// Characters of a reason that is kept.
const REASON_CHARS_MAX: usize = 200;

/// RFC 9457 §3.1; §3.2 lets us add "code". Without "type" it is `about:blank` (§3.1.1).
#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl Problem {
    /// A problem without a time to try again.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), code, retry_after: None, denied: None }
    }

    /// 400: the body did not come whole.
    pub(super) fn broken_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "broken-body", "bad request", "the body ended before it was whole")
    }

    /// 404: nothing is at this path.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "not found", "nothing is served at this path")
    }

    /// 405: the path does not take this method.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "method not allowed", "this path does not take this method")
    }

    /// 408: the body did not come in time.
    pub fn too_slow(limit: Duration) -> Self {
        let detail = format!("the body did not come within {} s", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "request timeout", detail)
    }

    /// 413: the body is larger than `max` octets.
    pub fn too_large(max: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "content too large", format!("a body has at most {max} octets here"))
    }

    /// 415: a body of another type than `expected`.
    pub fn unsupported_media_type(expected: &str) -> Self {
        let detail = format!("a request with a body needs a Content-Type, which must be {expected} here");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "unsupported media type", detail)
    }

    /// 503: the work took too long. It may have been done.
    pub fn deadline(limit: Duration) -> Self {
        let detail = format!("the request was not answered within {} s; it may have taken effect", limit.as_secs());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "deadline", "service unavailable", detail)
    }

    /// As a permission that is missing.
    #[must_use]
    pub fn denied(mut self, permission: &'static str) -> Self {
        self.denied = Some(permission);
        self
    }

    /// Whether a request that could be read was not let happen, as things stand: conflicts, lost races, what was not confirmed. What
    /// is absent or misspelt is not one.
    fn is_refused_act(&self) -> bool {
        matches!(self.status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED)
            || matches!(self.code, "acknowledgement-required" | "keystore-away")
    }

    /// With a time to try again, in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document { title: self.title, status: self.status.as_u16(), detail: &self.detail, code: self.code };
        // Four strings and a number: this does not fail.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        if let Some(permission) = self.denied {
            response.extensions_mut().insert(Denied(permission));
        } else if self.is_refused_act() {
            let reason = self.detail.lines().next().unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
            response.extensions_mut().insert(Refused(reason));
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        // RFC 9111 §4.2.2: some of these statuses may be stored where nothing forbids it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            // RFC 9110 §10.2.3: delay-seconds is "a non-negative decimal integer".
            let begun = u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().saturating_add(begun)));
        }
        response
    }
}

/// Gives the plain refusals of the router and its extractors (404, 405, 413, 415) the form of a [`Problem`]; whatever a handler has
/// given a form of its own stays.
pub(super) fn in_words(response: Response, body_bytes_max: usize) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| !kind.starts_with(b"text/plain")) {
        return response;
    }
    let problem = match response.status() {
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Problem::method_not_allowed(),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(body_bytes_max),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::unsupported_media_type("the one this path takes"),
        _ => return response,
    };
    // RFC 9110 §15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut answer = problem.into_response();
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}
