//! Requests to the listeners of a gateway elsewhere: by an administrator's certificate to the admin listener. What makes the server
//! the one that is meant stands here once, for all commands with `--server`.

use std::{io, path::Path};

use axum::http::{HeaderMap, HeaderValue, Method, header};
use keygate_pki::PrivateKey;
use serde_json::Value;

use super::{
    args::{Trust, Via},
    ask::refused,
};
use crate::{
    admin::chain,
    api::{LocalAnswer, LocalRequest},
    cli::{Failure, code, enrol::certificates, files::secret_text_of},
    http_client::{HttpClient, HttpClientError, HttpClientParts, Roots, Route, ServerUrl},
};

/// Largest answer: a page of 1,000 certificates is some 700 KiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

impl Trust {
    /// Which certificates of a server are taken.
    pub(in crate::cli) fn roots(&self) -> Result<Roots, Failure> {
        if self.accept_invalid_certs {
            return Ok(Roots::pinned(self.fingerprint));
        }
        let missing = || Failure::new(code::USAGE, "--server needs --ca, or --accept-invalid-certs with --fingerprint");
        Ok(Roots::these(&certificates(self.ca.as_deref().ok_or_else(missing)?)?))
    }
}

/// A client for a server; with `identity`, files of a certificate and its key.
pub(in crate::cli) fn connect(server: &str, trust: &Trust, identity: Option<(&Path, &Path)>) -> Result<HttpClient, Failure> {
    let usage = |error: HttpClientError| Failure::new(code::USAGE, chain(&error));
    let identity = identity.map(|(cert, key)| {
        let key = secret_text_of(key)?;
        let key = PrivateKey::from_pem_or_der(key.as_bytes());
        let key = key.map_err(|error| Failure::new(code::USAGE, format!("--key: {}", chain(&error))))?;
        Ok::<_, Failure>((certificates(cert)?, key))
    });
    let identity = identity.transpose()?;
    let parts = HttpClientParts {
        server: server.parse::<ServerUrl>().map_err(usage)?,
        roots: trust.roots()?,
        identity: identity.as_ref().map(|(chain, key)| (chain.as_slice(), key)),
        route: Route::from_environment().map_err(usage)?,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    HttpClient::new(parts).map_err(usage)
}

/// A JSON request and what comes back, whatever its status.
pub(in crate::cli) fn ask(client: &HttpClient, method: &str, path: &str, body: Option<&Value>) -> Result<LocalAnswer, Failure> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| Failure::new(code::USAGE, error.to_string()))?;
    let body = body.map(ToString::to_string).unwrap_or_default();
    let headers = if body.is_empty() { HeaderMap::new() } else { json() };
    let reply = client.request(method, path, headers, body.as_bytes()).map_err(unreached)?;
    answered(reply.status, &reply.body)
}

impl Via {
    fn client(&self, server: &str) -> Result<HttpClient, Failure> {
        let file = |path: &Option<std::path::PathBuf>, argument: &str| {
            path.clone().ok_or_else(|| Failure::new(code::USAGE, format!("--server needs {argument}")))
        };
        let (cert, key) = (file(&self.cert, "--cert")?, file(&self.key, "--key")?);
        connect(server, &self.trust, Some((&cert, &key)))
    }
}

pub(super) fn answer(via: &Via, server: &str, request: &LocalRequest) -> Result<LocalAnswer, Failure> {
    ask(&via.client(server)?, &request.method, &request.path, request.body.as_ref())
}

/// Posts, and hands the octets of the answer on as they come. The value of Location, if the answer has one.
pub(super) fn fetch(
    via: &Via,
    server: &str,
    request: &LocalRequest,
    take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Option<String>, Failure> {
    let body = request.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let reply = via.client(server)?.fetch(&request.path, json(), body.as_bytes(), take).map_err(unreached)?;
    if !(200..300).contains(&reply.status) {
        return Err(refused(&answered(reply.status, &reply.body)?));
    }
    Ok(reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned))
}

fn json() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

fn unreached(error: HttpClientError) -> Failure {
    let hint = match &error {
        HttpClientError::Fingerprint { was_named: false, .. } => "\nhint: compare it with that of the server's certificate, by another way than this connection, then give --fingerprint",
        HttpClientError::Fingerprint { .. } => "\nhint: either the certificate was renewed, or somebody else answers",
        _ => "",
    };
    Failure::new(code::FAILED, format!("{}{hint}", chain(&error)))
}

fn answered(status: u16, body: &[u8]) -> Result<LocalAnswer, Failure> {
    let body = serde_json::from_slice(body);
    let body = body.map_err(|_| Failure::new(code::FAILED, format!("the server answers {status} without JSON: is it the right listener?")))?;
    Ok(LocalAnswer { status, etag: None, body })
}
