//! Requests to the admin listener of a gateway elsewhere, by an administrator's certificate.

use std::path::Path;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use keygate_pki::PrivateKey;

use super::args::Via;
use crate::{
    admin::chain,
    api::{LocalAnswer, LocalRequest},
    cli::{Failure, code, enrol::certificates, files::secret_text_of},
    http_client::{HttpClient, HttpClientError, HttpClientParts, Roots, Route, ServerUrl},
};

/// Largest answer: a page of 1,000 certificates is some 700 KiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(super) fn answer(via: &Via, server: &str, request: &LocalRequest) -> Result<LocalAnswer, Failure> {
    let usage = |error: HttpClientError| Failure::new(code::USAGE, chain(&error));
    let server: ServerUrl = server.parse().map_err(usage)?;
    let identity = certificates(file(via.cert.as_deref(), "--cert")?)?;
    let key = secret_text_of(file(via.key.as_deref(), "--key")?)?;
    let key = PrivateKey::from_pem_or_der(key.as_bytes()).map_err(|error| Failure::new(code::USAGE, format!("--key: {}", chain(&error))))?;
    let roots = certificates(file(via.ca.as_deref(), "--ca")?)?;
    let parts = HttpClientParts {
        server,
        roots: Roots::these(&roots),
        identity: Some((&identity, &key)),
        route: Route::from_environment().map_err(usage)?,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let client = HttpClient::new(parts).map_err(usage)?;
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| Failure::new(code::USAGE, error.to_string()))?;
    let mut headers = HeaderMap::new();
    let body = request.body.as_ref().map(ToString::to_string).unwrap_or_default();
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let reply = client.request(method, &request.path, headers, body.as_bytes());
    let reply = reply.map_err(|error| Failure::new(code::FAILED, chain(&error)))?;
    let body = serde_json::from_slice(&reply.body);
    let body = body.map_err(|_| Failure::new(code::FAILED, format!("the server answers {} without JSON: is it admin.listen?", reply.status)))?;
    Ok(LocalAnswer { status: reply.status, etag: None, body })
}

fn file<'a>(path: Option<&'a Path>, argument: &str) -> Result<&'a Path, Failure> {
    path.ok_or_else(|| Failure::new(code::USAGE, format!("--server needs {argument}")))
}
