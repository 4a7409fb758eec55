//! Enrolment as JSON: `POST /v1/enrol`, `/v1/renew`, `/v1/rekey`, `/v1/revoke`.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{State, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::post,
};
use keygate_pki::{Certificate, Reason, SubjectAltName};
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::{
    credential::{BEARER_CHALLENGE, CHALLENGE, Presented, Secret},
    refusal::Refused,
};
use crate::{
    app::App,
    http::{Peer, Problem},
    provisioning::{EnrolRefusal, EnrolRequest, Enrolled, Renewing},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/enrol", post(enrol))
        .route("/v1/renew", post(renew))
        .route("/v1/rekey", post(rekey))
        .route("/v1/revoke", post(revoke))
        .layer(map_response(both_challenges))
}

/// RFC 9110 §11.6.1: a 401 carries "at least one challenge applicable to the target resource"; here two schemes work.
async fn both_challenges(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, BEARER_CHALLENGE);
        response.headers_mut().append(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolBody {
    /// PKCS#10 in PEM.
    csr: String,
    /// Names beside those in the request: `IP: 192.0.2.1, DNS: example.com`.
    #[serde(default)]
    names: String,
    /// Make the key here, of the kind that the request shows.
    #[serde(default)]
    generate_key: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewBody {
    /// PKCS#10 in PEM; absent: the same key and names.
    #[serde(default)]
    csr: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RekeyBody {
    csr: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    /// RFC 5280 CRLReason by name.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Serialize)]
struct IssuedAnswer {
    client: String,
    serial: String,
    not_before: String,
    not_after: String,
    /// When two thirds of its life are over.
    renew_after: String,
    /// PEM.
    certificate: String,
    /// The CAs above it without the root, PEM.
    chain: Vec<String>,
    /// PKCS#8 in PEM, where it was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
}

impl Drop for IssuedAnswer {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.private_key);
    }
}

#[derive(Serialize)]
struct RevokedAnswer {
    revoked: usize,
}

type Body<T> = Result<Json<T>, JsonRejection>;

async fn enrol(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Secret(secret): Secret,
    body: Body<EnrolBody>,
) -> Result<Response, Refused> {
    let body = read(body)?;
    let names = SubjectAltName::parse_list(&body.names).map_err(|error| bad(error.to_string()))?;
    let asked = EnrolRequest {
        secret: &secret,
        organisation: None,
        source: peer.address.ip(),
        request: body.csr.as_bytes(),
        names: &names,
        make_key: body.generate_key,
    };
    issued(StatusCode::CREATED, app.provisioning.enrol(&asked).await)
}

async fn renew(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Presented(certificate): Presented,
    body: Body<RenewBody>,
) -> Result<Response, Refused> {
    let body = read(body)?;
    let request = body.csr.as_deref().map(str::as_bytes);
    let asked = Renewing { certificate: &certificate, organisation: None, source: peer.address.ip(), request, keep_names: true, same_key: Some(true) };
    issued(StatusCode::CREATED, app.provisioning.renew(&asked).await)
}

async fn rekey(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Presented(certificate): Presented,
    body: Body<RekeyBody>,
) -> Result<Response, Refused> {
    let body = read(body)?;
    let request = Some(body.csr.as_bytes());
    let asked = Renewing { certificate: &certificate, organisation: None, source: peer.address.ip(), request, keep_names: true, same_key: Some(false) };
    issued(StatusCode::CREATED, app.provisioning.renew(&asked).await)
}

/// A client gives its own certificates up: it is retired, or its key got into other hands.
async fn revoke(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Presented(certificate): Presented,
    body: Body<RevokeBody>,
) -> Result<Response, Refused> {
    let body = read(body)?;
    let reason = match body.reason {
        Some(name) => name.parse::<Reason>().map_err(|error| bad(error.to_string()))?,
        None => Reason::CessationOfOperation,
    };
    let certificate = Certificate::from_der(&certificate).map_err(|_| EnrolRefusal::Unauthorised)?;
    let provisioning = app.provisioning.clone();
    // Carried to its end also where the client goes away: the lists must say it.
    let done = tokio::spawn(async move { provisioning.give_up(&certificate, peer.address.ip(), reason).await }).await;
    match done {
        Ok(Ok(revoked)) => Ok(Json(RevokedAnswer { revoked }).into_response()),
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error", "not done").into()),
    }
}

fn issued(status: StatusCode, done: Result<Enrolled, EnrolRefusal>) -> Result<Response, Refused> {
    let done = done?;
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error", "the answer could not be made");
    let time = |moment: keygate_pki::OffsetDateTime| moment.format(&Rfc3339).unwrap_or_default();
    let pem = |certificate: &Certificate| certificate.to_pem().map_err(|_| failed());
    let (from, to) = (done.certificate.not_before(), done.certificate.not_after());
    let key = match &done.key {
        Some(key) => Some(key.expose_pem().map_err(|_| failed())?),
        None => None,
    };
    let answer = IssuedAnswer {
        client: done.client.to_string(),
        serial: hex::encode(done.certificate.serial()),
        not_before: time(from),
        not_after: time(to),
        renew_after: time(from + (to - from) * 2 / 3),
        certificate: pem(&done.certificate)?,
        chain: done.chain.iter().map(pem).collect::<Result<_, _>>()?,
        private_key: key.map(|mut key: Zeroizing<String>| std::mem::take(&mut *key)),
    };
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((status, no_store, Json(&answer)).into_response())
}

fn read<T>(body: Body<T>) -> Result<T, Refused> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::unsupported_media_type("application/json").into()),
        Err(error) => Err(bad(error.body_text()).into()),
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "body", "body refused", detail)
}
