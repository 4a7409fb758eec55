//! Enrolment over Secure Transport: RFC 7030 as corrected by RFC 8951.
//!
//! `/.well-known/est/[LABEL/]cacerts | simpleenroll | simplereenroll | csrattrs | serverkeygen`; a label is the name of an
//! organisation. A suspended key is answered 202 with Retry-After: the client waits and asks again.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use keygate_pki::{
    Certificate, Profile,
    est::{CsrAttribute, EstError, certs_only, csr_attributes, decode_body, encode_body},
};

use super::{
    credential::{Presented, Secret},
    refusal::{Refused, accepted},
};
use crate::{
    app::App,
    authority,
    http::{Peer, Problem},
    provisioning::{DEFAULT_ORGANISATION, EnrolRefusal, EnrolRequest, Enrolled, Renewing},
    store::OrganisationId,
};

const PKCS10: &str = "application/pkcs10";
const CERTS_ONLY: HeaderValue = HeaderValue::from_static("application/pkcs7-mime; smime-type=certs-only");
const CSR_ATTRIBUTES: HeaderValue = HeaderValue::from_static("application/csrattrs");
/// secp256r1 (RFC 5480 §2.1.1.1).
const P256: &str = "1.2.840.10045.3.1.7";
/// sha256 with ECDSA (RFC 5758 §3.2).
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";

type Label = Option<Path<String>>;

pub(super) fn routes() -> Router<Arc<App>> {
    let operations = || {
        Router::new()
            .route("/cacerts", get(cacerts))
            .route("/csrattrs", get(csrattrs))
            .route("/simpleenroll", post(simpleenroll))
            .route("/simplereenroll", post(simplereenroll))
            .route("/serverkeygen", post(serverkeygen))
    };
    // RFC 7030 §3.2.2: "an OPTIONAL arbitrary label" before the operation.
    Router::new().nest("/.well-known/est", operations()).nest("/.well-known/est/{label}", operations())
}

/// RFC 7030 §4.1.2: "Clients MAY request a copy of the current CA certificates"; no authentication.
async fn cacerts(State(app): State<Arc<App>>, label: Label) -> Result<Response, Problem> {
    let organisation = label.map_or_else(|| DEFAULT_ORGANISATION.to_owned(), |Path(label)| label);
    let organisation = app.provisioning.organisation(&organisation).map_err(|_| Problem::not_found())?;
    let views = app.provisioning.authorities(organisation);
    // RFC 7030 §4.1.3: the client's trust anchors from here on, so that of this server is among them.
    let own = authority::certificate(&app.store.directory(), Profile::RootCa).map_err(|_| failed())?;
    let used = views.iter().filter(|view| view.is_in_use()).flat_map(|view| view.certificates());
    let certificates: Vec<&Certificate> = used.chain([&own]).collect();
    let der = certs_only(&certificates).map_err(|_| failed())?;
    Ok(base64_answer(CERTS_ONLY, &der))
}

/// RFC 7030 §4.5: what requests should look like; a hint.
async fn csrattrs(State(app): State<Arc<App>>, label: Label) -> Result<Response, Problem> {
    labelled(&app, label)?;
    let oid = |text: &str| text.parse().map_err(|_| failed());
    let attributes = [CsrAttribute::EcKey(oid(P256)?), CsrAttribute::Oid(oid(ECDSA_SHA256)?)];
    let der = csr_attributes(&attributes).map_err(|_| failed())?;
    Ok(base64_answer(CSR_ATTRIBUTES, &der))
}

async fn simpleenroll(
    State(app): State<Arc<App>>,
    label: Label,
    Extension(peer): Extension<Peer>,
    Secret(secret): Secret,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let organisation = labelled(&app, label)?;
    let request = pkcs10(&headers, &body)?;
    let asked = EnrolRequest { secret: &secret, organisation, source: peer.address.ip(), request: &request, names: &[], make_key: false };
    issued(app.provisioning.enrol(&asked).await)
}

/// RFC 7030 §3.3.2: the certificate that authenticates the connection is the one that is renewed.
async fn simplereenroll(
    State(app): State<Arc<App>>,
    label: Label,
    Extension(peer): Extension<Peer>,
    Presented(certificate): Presented,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let organisation = labelled(&app, label)?;
    let request = pkcs10(&headers, &body)?;
    let asked = Renewing { certificate: &certificate, organisation, source: peer.address.ip(), request: Some(&request), keep_names: false, same_key: None };
    issued(app.provisioning.renew(&asked).await)
}

/// RFC 7030 §4.4: the key is made here and goes back in the first part, the certificate in the second.
async fn serverkeygen(
    State(app): State<Arc<App>>,
    label: Label,
    Extension(peer): Extension<Peer>,
    Secret(secret): Secret,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let organisation = labelled(&app, label)?;
    let request = pkcs10(&headers, &body)?;
    let asked = EnrolRequest { secret: &secret, organisation, source: peer.address.ip(), request: &request, names: &[], make_key: true };
    let done = app.provisioning.enrol(&asked).await.map_err(refused)?;
    let key = done.key.as_ref().ok_or_else(failed)?;
    let certificate = certs_only(&[&done.certificate]).map_err(|_| failed())?;
    const BOUNDARY: &str = "keygate-est-parts";
    let mut answer = zeroize::Zeroizing::new(String::with_capacity(16 * 1024));
    let key = zeroize::Zeroizing::new(encode_body(key.expose_pkcs8()));
    for (content_type, content) in [
        ("application/pkcs8", key.as_str()),
        ("application/pkcs7-mime; smime-type=certs-only", encode_body(&certificate).as_str()),
    ] {
        for part in ["--", BOUNDARY, "\r\nContent-Type: ", content_type, "\r\nContent-Transfer-Encoding: base64\r\n\r\n", content, "\r\n"] {
            answer.push_str(part);
        }
    }
    for part in ["--", BOUNDARY, "--\r\n"] {
        answer.push_str(part);
    }
    let content_type = HeaderValue::from_static("multipart/mixed; boundary=keygate-est-parts");
    // The response's own copy is freed after it was sent, and freed memory is wiped.
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, std::mem::take(&mut *answer)).into_response())
}

fn issued(done: Result<Enrolled, EnrolRefusal>) -> Result<Response, Refused> {
    let done = done.map_err(refused)?;
    // RFC 7030 §4.2.3: "a certs-only CMC Simple PKI Response ... containing only the certificate that was issued."
    let der = certs_only(&[&done.certificate]).map_err(|_| failed())?;
    Ok(base64_answer(CERTS_ONLY, &der))
}

fn refused(refusal: EnrolRefusal) -> Refused {
    match refusal {
        EnrolRefusal::Suspended { retry_after } => accepted(retry_after).into(),
        other => other.into(),
    }
}

fn pkcs10(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refused> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    // RFC 7030 §4.2.1: "the content-type is 'application/pkcs10'".
    if !media_type.eq_ignore_ascii_case(PKCS10) {
        return Err(Problem::unsupported_media_type(PKCS10).into());
    }
    let refused = |error: EstError| Problem::new(StatusCode::BAD_REQUEST, "request", "request refused", error.to_string());
    Ok(decode_body(body).map_err(refused)?)
}

/// The organisation that the label names.
fn labelled(app: &App, label: Label) -> Result<Option<OrganisationId>, Problem> {
    let named = |Path(label): Path<String>| app.provisioning.organisation(&label).map_err(|_| Problem::not_found());
    label.map(named).transpose()
}

/// RFC 8951 §3: base64 without line breaks is read by every client; the header says what older ones expect.
fn base64_answer(content_type: HeaderValue, der: &[u8]) -> Response {
    let encoding = (header::HeaderName::from_static("content-transfer-encoding"), HeaderValue::from_static("base64"));
    ([(header::CONTENT_TYPE, content_type), encoding], encode_body(der)).into_response()
}

fn failed() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error", "the answer could not be made")
}
