//! The one place that says in HTTP why a client gets no certificate.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::credential::CHALLENGE;
use crate::{admin::chain, http::Problem, provisioning::EnrolRefusal};

/// When to ask again while something here does not answer.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// A refusal on its way out.
pub(super) struct Refused(Box<Response>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Response> for Refused {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        problem.into_response().into()
    }
}

impl From<EnrolRefusal> for Refused {
    fn from(refusal: EnrolRefusal) -> Self {
        response(refusal).into()
    }
}

fn response(refusal: EnrolRefusal) -> Response {
    let detail = match &refusal {
        // What failed inside is for our log.
        EnrolRefusal::Unavailable { .. } => refusal.to_string(),
        other => chain(other),
    };
    let problem = |status, code, title| Problem::new(status, code, title, detail.clone());
    match refusal {
        EnrolRefusal::Unauthorised => {
            let problem = problem(StatusCode::UNAUTHORIZED, "not-accepted", "not accepted");
            with_challenge(problem.into_response())
        }
        EnrolRefusal::Throttled { retry_after } => {
            let problem = problem(StatusCode::TOO_MANY_REQUESTS, "throttled", "too many attempts");
            problem.retry_after(retry_after).into_response()
        }
        EnrolRefusal::Suspended { retry_after } => {
            problem(StatusCode::FORBIDDEN, "suspended", "suspended").retry_after(retry_after).into_response()
        }
        EnrolRefusal::Disabled { retry_after } => {
            let problem = problem(StatusCode::SERVICE_UNAVAILABLE, "disabled", "service disabled");
            problem.retry_after(retry_after).into_response()
        }
        EnrolRefusal::Limit(_) => problem(StatusCode::FORBIDDEN, "limit", "beyond a limit").into_response(),
        EnrolRefusal::Quota { .. } => problem(StatusCode::FORBIDDEN, "quota", "quota used up").into_response(),
        EnrolRefusal::Request(_) => problem(StatusCode::BAD_REQUEST, "request", "request refused").into_response(),
        EnrolRefusal::Asked(_) => problem(StatusCode::BAD_REQUEST, "asked", "request refused").into_response(),
        EnrolRefusal::Unavailable { .. } => {
            let problem = problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not available");
            problem.retry_after(UNAVAILABLE_RETRY).into_response()
        }
    }
}

/// RFC 9110 §15.5.2: "The server generating a 401 response MUST send a WWW-Authenticate header field".
fn with_challenge(mut response: Response) -> Response {
    response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    response
}

/// RFC 7030 §4.2.3: "If the server responds with an HTTP 202, this indicates that the request has been accepted for processing
/// but that a response is not yet available. The server MUST include a Retry-After header".
pub(super) fn accepted(retry_after: Duration) -> Response {
    let mut response = StatusCode::ACCEPTED.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Quota;

    /// Who asks too often is told when to ask again, in whole seconds and not too early.
    #[tokio::test]
    async fn waiting_is_told_in_seconds() {
        let refusal = EnrolRefusal::Throttled { retry_after: Duration::from_millis(1_200) };
        let response = Refused::from(refusal).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    /// A quota is no matter of waiting: 403, with a code of its own, and which quota in words.
    #[tokio::test]
    async fn a_quota_answers_forbidden() {
        let refusal = EnrolRefusal::Quota { what: Quota::CertificatesPerClient, max: 32 };
        let response = Refused::from(refusal).into_response();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(response.headers().get(header::RETRY_AFTER).is_none());
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        let text = String::from_utf8_lossy(&body);
        for part in ["quota", "the quota of 32 valid certificates of a client is used up"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
