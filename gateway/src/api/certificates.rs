//! `/v1/certificates`: clients' certificates, by the thousand.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use keygate_pki::{OffsetDateTime, SubjectAltName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api, Within,
    body::{Asked, Wish},
    caller::{Acts, Sees},
    change::{Revoking, to_the_end},
    error,
    etag::{IfMatch, Tagged},
    keys::effective_name,
    page,
    view::{RevokedView, pem, seconds},
};
use crate::{
    http::Problem,
    provisioning::{CertificateFilter, IssuedView, revocation},
    store::Serial,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(revoke))
}

/// A client's certificate.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CertificateDetails {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Its own state: `valid`, `expired` or `revoked`.
    pub state: String,
    /// The state of its provisioning key that counts: it connects while that is `active` or `suspended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_state: Option<String>,
    /// Id of its provisioning key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The client; all renewals of one enrolment have the same.
    pub client: String,
    /// Subject.
    pub subject: String,
    /// Alternative names.
    pub names: Vec<String>,
    /// Start of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// SHA-256 of the certificate, hexadecimal.
    pub sha256: String,
    /// Id of the CA that signed it.
    pub authority: String,
    /// Whether it renews another one.
    pub renewed: bool,
    /// The address it was asked for from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When and why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RevokedView>,
    /// The certificate, PEM; in the answer about one, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

/// A page of certificates, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Certificates {
    /// The certificates.
    pub items: Vec<CertificateDetails>,
    /// The `after` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which certificates are listed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Name of the organisation; without it, the caller's.
    #[serde(default)]
    organisation: Option<String>,
    /// Most of a page, 1 to 1000. Without it: 100.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the one before.
    #[serde(default)]
    after: Option<String>,
    /// Id or name of a provisioning key.
    #[serde(default)]
    key: Option<String>,
    /// A client.
    #[serde(default)]
    client: Option<String>,
    /// `valid`, `expired` or `revoked`.
    #[serde(default)]
    state: Option<String>,
    /// A part of subject or names, without regard to case.
    #[serde(default)]
    name: Option<String>,
}

/// Lists certificates, newest first, a page at a time.
#[utoipa::path(get, path = "/v1/certificates", tag = "certificates", params(Filter), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "A page; the Link field names the next one.", body = Certificates)))]
async fn list(sees: Sees, State(api): State<Api>, uri: Uri, Asked(asked): Asked<Filter>) -> Result<Response, Problem> {
    let organisation = api.organisation(&sees, asked.organisation.as_deref())?;
    let key = asked.key.map(|key| api.provisioning.key(organisation, &key)).transpose()?;
    let filter = CertificateFilter {
        key: key.map(|key| key.row.id),
        client: asked.client.map(|id| id.parse().map_err(|_| error::invalid("client must be a client's id"))).transpose()?,
        state: asked.state.map(|state| state.parse()).transpose()?,
        name: asked.name.filter(|name| !name.is_empty()),
        after: asked.after.map(|id| id.parse().map_err(|_| error::invalid("after must be the next of a page"))).transpose()?,
        limit: page::limit(asked.limit)?,
    };
    let found = api.provisioning.certificates(organisation, &filter).await?;
    let items = found.certificates.iter().map(|found| view(found, false)).collect::<Result<_, _>>()?;
    let next = found.next.map(|id| id.to_string());
    Ok(page::page(&uri, next.as_deref(), &Certificates { items, next: next.clone() }))
}

/// Shows a certificate.
#[utoipa::path(get, path = "/v1/certificates/{serial}", tag = "certificates", params(Number, Within),
    security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The certificate.", body = CertificateDetails)))]
async fn show(
    sees: Sees,
    State(api): State<Api>,
    Path(serial): Path<String>,
    Asked(within): Asked<Within>,
) -> Result<Tagged<CertificateDetails>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    let found = api.provisioning.certificate(organisation, &number(&serial)?).await?;
    Ok(Tagged::new(found.row.version, view(&found, true)?))
}

/// Revokes a certificate, and what it was renewed to or from; with `superseded`, it alone.
#[utoipa::path(post, path = "/v1/certificates/{serial}/revoke", tag = "certificates", params(Number, Within),
    request_body = Revoking, security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The certificate.", body = CertificateDetails)))]
async fn revoke(
    acts: Acts,
    State(api): State<Api>,
    Path(serial): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Revoking>,
) -> Result<Tagged<CertificateDetails>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let (serial, (wish, told)) = (number(&serial)?, wish.into_parts()?);
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    if let Some(seen) = seen {
        // All that ever changes of a certificate is that it is revoked, once: a change after this look is refused as such.
        let version = api.provisioning.certificate(organisation, &serial).await?.row.version;
        if version != seen {
            return Err(error::changed());
        }
    }
    to_the_end(async move { provisioning.revoke_certificate(&by, organisation, &serial, &wish, told).await }).await?;
    let found = api.provisioning.certificate(organisation, &serial).await?;
    Ok(Tagged::new(found.row.version, view(&found, true)?))
}

/// A certificate in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
struct Number {
    /// Serial number in hexadecimal, with or without colons.
    serial: String,
}

fn number(text: &str) -> Result<Serial, Problem> {
    text.parse().map_err(|error: crate::store::SerialError| error::invalid(error.to_string()))
}

fn view(found: &IssuedView, with_text: bool) -> Result<CertificateDetails, Problem> {
    let row = &found.row;
    Ok(CertificateDetails {
        serial: row.serial.to_string(),
        state: found.state.name().into(),
        key_state: found.key.as_ref().map(|key| effective_name(key.effective).into()),
        key: found.key.as_ref().map(|key| key.public_id.to_string()),
        client: row.client.to_string(),
        subject: found.certificate.subject(),
        names: found.certificate.subject_alt_names().iter().map(SubjectAltName::value).collect(),
        not_before: seconds(row.not_before),
        not_after: seconds(row.not_after),
        sha256: hex::encode(row.sha256),
        authority: row.authority.0.simple().to_string(),
        renewed: row.renews.is_some(),
        source: row.source.map(|source| source.to_string()),
        revoked: revocation(row).map(RevokedView::of),
        pem: with_text.then(|| pem(&found.certificate)).transpose()?,
    })
}
