//! Refusals in the contract's form: an HTTP status and `{"result":"OPERATION_FAILED","reason":...,"message":...}`.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{http::Problem, identity::RestRefusal, operation::OperationError, respond::rest_reason};

/// When to try again while something here is busy.
const BUSY_RETRY: Duration = Duration::from_secs(5);
/// RFC 7617 §2: the challenge of HTTP Basic; §2.1: "UTF-8" is the only charset.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Keygate REST key server\", charset=\"UTF-8\"");

/// A refusal.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

/// The body of a refusal.
#[derive(Serialize, ToSchema)]
pub(super) struct Failure {
    /// `OPERATION_FAILED`.
    result: &'static str,
    /// A Result Reason of KMIP 2.1 §11.49 in capitals, such as `ITEM_NOT_FOUND`.
    reason: &'static str,
    /// What is wrong, and the rule.
    message: String,
}

impl Refused {
    /// What was sent is not accepted.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "INVALID_FIELD", message: message.into(), retry_after: None }
    }

    /// Nothing is served here.
    pub(super) fn no_path() -> Self {
        let message = "nothing is served at this path".to_owned();
        Self { status: StatusCode::NOT_FOUND, reason: "OPERATION_NOT_SUPPORTED", message, retry_after: None }
    }

    /// The path does not take this method.
    pub(super) fn no_method() -> Self {
        let message = "this path does not take this method".to_owned();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, reason: "OPERATION_NOT_SUPPORTED", message, retry_after: None }
    }

    /// With a time to try again.
    #[must_use]
    pub(super) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<OperationError> for Refused {
    fn from(error: OperationError) -> Self {
        let (status, reason) = rest_reason(&error);
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(BUSY_RETRY);
        Self { status, reason, message: error.to_string(), retry_after }
    }
}

impl From<RestRefusal> for Refused {
    fn from(refusal: RestRefusal) -> Self {
        let message = refusal.to_string();
        let reason = "AUTHENTICATION_NOT_SUCCESSFUL";
        match refusal {
            RestRefusal::Mismatch => Self { status: StatusCode::UNAUTHORIZED, reason, message, retry_after: None },
            RestRefusal::Throttled { retry_after } => {
                Self { status: StatusCode::TOO_MANY_REQUESTS, reason, message, retry_after: Some(retry_after) }
            }
            RestRefusal::Busy => Self { status: StatusCode::SERVICE_UNAVAILABLE, reason, message, retry_after: Some(BUSY_RETRY) },
        }
    }
}

/// Bodies and queries that cannot be read are found by what the admin API finds them with.
impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { status: problem.status, reason: "INVALID_MESSAGE", message: problem.detail, retry_after: problem.retry_after }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let failure = Failure { result: "OPERATION_FAILED", reason: self.reason, message: self.message };
        let mut response = (self.status, Json(failure)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, and never sooner than the wait ends.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000) as u64));
        }
        response
    }
}

/// An answer that no cache keeps: it may hold key material.
pub(super) fn done<T: Serialize>(status: StatusCode, body: &T) -> Response {
    (status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}
