//! What relying parties fetch over plain HTTP: CRLs, CA certificates, trust bundles, and OCSP.
//!
//! Everything here is signed or public, and says nothing about who asks. Paths are in certificates: they never change.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use keygate_pki::{OcspRequest, OffsetDateTime};
use time::{format_description::FormatItem, macros::format_description};

use super::Problem;
use crate::{
    app::App,
    provisioning::{File, Published},
    store::EntryId,
};

/// How long caches may keep what is fetched.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300, must-revalidate");
/// Of an OCSP answer, which changes the moment a state does.
const OCSP_MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=60, must-revalidate");
const CRL: &str = "application/pkix-crl";
const CERTIFICATE: &str = "application/pkix-cert";
const PEM: &str = "application/x-pem-file";
const JSON: &str = "application/json";
const OCSP_REQUEST: &str = "application/ocsp-request";
const OCSP_RESPONSE: HeaderValue = HeaderValue::from_static("application/ocsp-response");
/// RFC 9110 §5.6.7: IMF-fixdate.
const HTTP_DATE: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The routes of `public.listen`.
pub(super) fn routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/crl/{file}", get(list))
        .route("/crl/{authority}/{file}", get(shard))
        .route("/ca/{file}", get(authority))
        .route("/trust/{file}", get(trust))
        .route("/ocsp", post(ocsp))
        .route("/ocsp/{*request}", get(ocsp_by_path))
        .with_state(app.clone())
}

/// `/crl/AUTHORITY.crl`: all of an authority's certificates, DER. `/crl/ORGANISATION.pem`: every list a party needs, PEM.
async fn list(State(app): State<Arc<App>>, Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let published = app.provisioning.published();
    if let Some(organisation) = file.strip_suffix(".pem") {
        return Ok(answer(bundle(&published, organisation)?.lists_pem(), PEM, &headers));
    }
    let id = file.strip_suffix(".crl").and_then(entry_id);
    let list = id.and_then(|id| published.lists.get(&(id, None))).ok_or_else(Problem::not_found)?;
    Ok(answer(list, CRL, &headers))
}

/// `/crl/AUTHORITY/SHARD.crl`: the distribution point of a client's certificate.
async fn shard(
    State(app): State<Arc<App>>,
    Path((authority, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let shard = file.strip_suffix(".crl").and_then(|shard| shard.parse::<u32>().ok());
    let published = app.provisioning.published();
    let list = entry_id(&authority).zip(shard).and_then(|(id, shard)| published.lists.get(&(id, Some(shard))));
    Ok(answer(list.ok_or_else(Problem::not_found)?, CRL, &headers))
}

/// `/ca/AUTHORITY.cer`: its newest certificate, DER. `/ca/ORGANISATION.pem`: all CAs above its clients, PEM.
async fn authority(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(organisation) = file.strip_suffix(".pem") {
        return Ok(answer(&bundle(&app.provisioning.published(), organisation)?.authorities_pem, PEM, &headers));
    }
    let id = file.strip_suffix(".cer").and_then(entry_id).ok_or_else(Problem::not_found)?;
    let certificate = app.provisioning.authority_certificate(id).ok_or_else(Problem::not_found)?;
    Ok(answer(&certificate, CERTIFICATE, &headers))
}

/// `/trust/ORGANISATION.pem` and `.json`: the issuing CAs whose clients are good at the moment.
async fn trust(State(app): State<Arc<App>>, Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let published = app.provisioning.published();
    if let Some(organisation) = file.strip_suffix(".pem") {
        return Ok(answer(&bundle(&published, organisation)?.trust_pem, PEM, &headers));
    }
    let organisation = file.strip_suffix(".json").ok_or_else(Problem::not_found)?;
    Ok(answer(&bundle(&published, organisation)?.trust_json, JSON, &headers))
}

fn bundle<'a>(published: &'a Published, organisation: &str) -> Result<&'a crate::provisioning::Bundle, Problem> {
    published.bundles.get(organisation).ok_or_else(Problem::not_found)
}

fn entry_id(text: &str) -> Option<EntryId> {
    // The simple form only: each authority has one address.
    text.parse::<uuid::fmt::Simple>().ok().map(|id| EntryId(id.into_uuid()))
}

/// RFC 6960 appendix A.1: POST with the DER of the request.
async fn ocsp(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(OCSP_REQUEST) {
        return Problem::unsupported_media_type(OCSP_REQUEST).into_response();
    }
    let answer = match OcspRequest::from_der(&body) {
        Ok(request) => app.provisioning.ocsp(&request).await,
        Err(error) => error.failure().response(),
    };
    ([(header::CONTENT_TYPE, OCSP_RESPONSE), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer).into_response()
}

/// RFC 5019 §5: GET, so that caches can help. The path as it came: clients escape it or not.
async fn ocsp_by_path(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().strip_prefix("/ocsp/").unwrap_or_default();
    match OcspRequest::from_get_path(path) {
        Ok(request) => {
            let now = app.provisioning.now();
            let file = File::new(app.provisioning.ocsp(&request).await, now, now + time::Duration::MINUTE);
            let mut response = answer_as(&file, OCSP_RESPONSE, OCSP_MAX_AGE, &headers);
            if request.has_nonce() {
                // An answer to one question of one asker.
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            response
        }
        Err(error) => ([(header::CONTENT_TYPE, OCSP_RESPONSE)], error.failure().response()).into_response(),
    }
}

fn answer(file: &File, content_type: &'static str, asked: &HeaderMap) -> Response {
    answer_as(file, HeaderValue::from_static(content_type), MAX_AGE, asked)
}

fn answer_as(file: &File, content_type: HeaderValue, cache: HeaderValue, asked: &HeaderMap) -> Response {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // RFC 9110 §13.1.2: weak comparison, a list, or "*".
    let mut known = known.flat_map(|list| list.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    let is_known = known.any(|tag| tag == "*" || tag == file.etag);
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Bytes::from_owner(file.body.clone()).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, cache);
    let dates = [(header::LAST_MODIFIED, http_date(file.made)), (header::EXPIRES, http_date(file.next))];
    let etag = HeaderValue::from_str(&file.etag).ok();
    for (name, value) in dates.into_iter().chain([(header::ETAG, etag)]) {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    response
}

fn http_date(moment: OffsetDateTime) -> Option<HeaderValue> {
    let text = moment.to_offset(time::UtcOffset::UTC).format(HTTP_DATE).ok()?;
    HeaderValue::from_str(&text).ok()
}
