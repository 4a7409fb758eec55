//! The client's side of EST (RFC 7030, corrected by RFC 8951): the server's CA certificates, enrolment, renewal.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{
    Certificate,
    est::{EST_BODY_BYTES_MAX, EstError, decode_body, encode_body, parse_certs_only},
    provisioning::{PresentedSecret, SecretError},
};
use zeroize::Zeroizing;

use crate::http_client::{HttpClient, HttpClientError, Reply};

/// Largest answer that is read: base64 with line breaks of the largest message.
pub(super) const ANSWER_BYTES_MAX: usize = 2 * EST_BODY_BYTES_MAX;
/// Wait where a server that wants to be asked again does not say when.
const RETRY_DEFAULT: Duration = Duration::from_secs(60);
/// Most characters of a server's own words that are shown.
const WORDS_MAX: usize = 300;

/// A provisioning key as it was given: well formed, and wiped when dropped.
pub struct ProvisioningKey(Zeroizing<String>);

impl ProvisioningKey {
    /// Takes the text `id.secret`.
    ///
    /// # Errors
    /// If it is not of that form. Says nothing of its content.
    pub fn new(text: &[u8]) -> Result<Self, SecretError> {
        let text = Zeroizing::new(std::str::from_utf8(text).map_err(|_| SecretError::Pair)?.trim().to_owned());
        PresentedSecret::from_pair(&text)?;
        Ok(Self(text))
    }

    /// RFC 7617 §2: the user-id, a colon and the password, in base64.
    fn expose_basic(&self) -> Option<HeaderValue> {
        let (id, secret) = self.0.split_once('.')?;
        let pair = Zeroizing::new(format!("{id}:{secret}"));
        let text = Zeroizing::new(format!("Basic {}", Zeroizing::new(STANDARD.encode(pair.as_bytes())).as_str()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Why EST gave no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EstClientError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpClientError),
    /// An answer that is not of EST.
    #[error("the server's answer is not of EST")]
    Unreadable(#[source] EstError),
    /// The server refuses, and will refuse again.
    #[error("the server refuses ({status}): {words}{}", hint(*status))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its own words.
        words: String,
    },
    /// The server cannot answer now.
    #[error("the server cannot answer now ({status}): {words}")]
    Unavailable {
        /// HTTP status.
        status: u16,
        /// Its own words.
        words: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => "\nhint: the provisioning key is not known, revoked, or not the one that was meant",
        403 => "\nhint: the provisioning key is suspended, or its limits exclude this machine or these names",
        404 => "\nhint: is this the address of clients.listen?",
        _ => "",
    }
}

impl EstClientError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Http(error) => error.is_transient(),
            Self::Unavailable { .. } => true,
            Self::Unreadable(_) | Self::Refused { .. } => false,
        }
    }
}

/// What a request for a certificate leads to.
pub(super) enum Outcome {
    /// Certificates, in no order.
    Issued(Vec<Certificate>),
    /// Somebody has to agree first: the same request is to be repeated.
    Pending(Duration),
}

/// One EST server.
pub(super) struct EstClient(pub(super) HttpClient);

impl EstClient {
    /// RFC 7030 §4.1: the CA certificates.
    pub(super) fn ca_certificates(&self) -> Result<Vec<Certificate>, EstClientError> {
        let reply = self.0.request(Method::GET, "/.well-known/est/cacerts", HeaderMap::new(), b"")?;
        if reply.status == 200 { certificates(&reply) } else { Err(refusal(&reply)) }
    }

    /// RFC 7030 §4.2.1, with the provisioning key as user and password.
    pub(super) fn enrol(&self, request: &[u8], key: &ProvisioningKey) -> Result<Outcome, EstClientError> {
        let mut headers = HeaderMap::new();
        if let Some(basic) = key.expose_basic() {
            headers.insert(header::AUTHORIZATION, basic);
        }
        self.post("/.well-known/est/simpleenroll", headers, request)
    }

    /// RFC 7030 §4.2.2: the TLS client certificate says who asks.
    pub(super) fn renew(&self, request: &[u8]) -> Result<Outcome, EstClientError> {
        self.post("/.well-known/est/simplereenroll", HeaderMap::new(), request)
    }

    fn post(&self, path: &str, mut headers: HeaderMap, request: &[u8]) -> Result<Outcome, EstClientError> {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/pkcs10"));
        // RFC 8951 has clients leave it out; servers of RFC 7030 alone may want it, and others ignore it.
        headers.insert("content-transfer-encoding", HeaderValue::from_static("base64"));
        let reply = self.0.request(Method::POST, path, headers, encode_body(request).as_bytes())?;
        match reply.status {
            200 => certificates(&reply).map(Outcome::Issued),
            // RFC 7030 §4.2.3: "the server MUST reply with an HTTP 202 ... the server MUST include a Retry-After header".
            202 => Ok(Outcome::Pending(retry_after(&reply).unwrap_or(RETRY_DEFAULT).max(Duration::from_secs(1)))),
            _ => Err(refusal(&reply)),
        }
    }
}

fn certificates(reply: &Reply) -> Result<Vec<Certificate>, EstClientError> {
    decode_body(&reply.body).and_then(|der| parse_certs_only(&der)).map_err(EstClientError::Unreadable)
}

fn refusal(reply: &Reply) -> EstClientError {
    let (status, words) = (reply.status, words(reply));
    match status {
        429 | 500.. => EstClientError::Unavailable { status, words, after: retry_after(reply) },
        _ => EstClientError::Refused { status, words },
    }
}

/// RFC 9110 §10.2.3. A date rather than seconds is not read: the caller's own wait stands for it.
fn retry_after(reply: &Reply) -> Option<Duration> {
    reply.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What the server says: the detail of a problem (RFC 9457), or plain text. No control characters: this goes to a terminal.
fn words(reply: &Reply) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str().or_else(|| problem["title"].as_str()));
    let kind = reply.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let plain = kind.starts_with("text/plain").then(|| String::from_utf8_lossy(&reply.body).into_owned());
    let words = detail.map(str::to_owned).or(plain).unwrap_or_default();
    let words: String = words.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(WORDS_MAX).collect();
    if words.is_empty() { "it does not say why".into() } else { words }
}
