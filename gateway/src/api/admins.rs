//! `/v1/admins`: security administrators, their roles and certificates.

use axum::extract::{Path, State};
use keygate_pki::OffsetDateTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api, ApiCaller, Within,
    body::{Asked, Wish},
    caller::{ANOTHER_ORGANISATION, Acts, Sees},
    change::to_the_end,
    error,
    etag::{IfMatch, Tagged},
    new_certificate::NewCertificate,
    page::List,
    view::{milliseconds, seconds},
};
use crate::{
    http::Problem,
    provisioning::{AdminPatch, ProvisioningError},
    store::{Admin, Role, Versioned},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(show, change))
}

/// An administrator.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminView {
    /// Its id, as in the audit record.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `security:read` or `security:write`.
    pub role: String,
    /// Refused everything while true.
    pub disabled: bool,
    /// Its organisation; those of the default one see all.
    pub organisation: String,
    /// What it is recognised by.
    pub certificates: Vec<AdminCertificateView>,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

/// A certificate of an administrator.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminCertificateView {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub sha256: String,
    /// Start of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

/// A certificate that was issued or taken, with what its owner needs beside the key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IssuedCredential {
    /// The certificate, PEM.
    pub chain: String,
    /// What verifies this gateway's listeners, PEM.
    pub ca: String,
    /// End of the validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

/// An administrator, and the certificate it was just given.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminWithCertificate {
    /// The administrator.
    #[serde(flatten)]
    pub admin: AdminView,
    /// The new certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<IssuedCredential>,
}

/// An administrator to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAdmin {
    /// Its name, unique in the gateway.
    name: String,
    /// `security:read` or `security:write`.
    role: String,
    /// What it is recognised by.
    credential: NewCertificate,
}

/// What changes. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdminChanges {
    /// Another role.
    #[serde(default)]
    role: Option<String>,
    /// Refuse, or let in again.
    #[serde(default)]
    disabled: Option<bool>,
    /// A further certificate; expired ones are forgotten.
    #[serde(default)]
    credential: Option<NewCertificate>,
}

/// Lists administrators, oldest first: those of one organisation where one is named, or the caller belongs to one.
#[utoipa::path(get, path = "/v1/admins", tag = "administrators", params(Within), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The administrators.", body = List<AdminView>)))]
async fn list(sees: Sees, State(api): State<Api>, Asked(within): Asked<Within>) -> Result<axum::Json<List<AdminView>>, Problem> {
    let named = within.organisation.as_deref().map(|name| api.organisation(&sees, Some(name))).transpose()?;
    let only = named.or(sees.organisation);
    let admins = api.provisioning.admins();
    let admins = admins.iter().filter(|admin| only.is_none_or(|only| only == admin.organisation));
    Ok(axum::Json(List { items: admins.map(|admin| view(&api, admin)).collect() }))
}

/// Adds an administrator.
#[utoipa::path(post, path = "/v1/admins", tag = "administrators", params(Within), request_body = NewAdmin,
    security(("administrator" = ["security:write"])),
    responses((status = 201, description = "The administrator, with its certificate.", body = AdminWithCertificate),
        (status = 409, description = "The name is taken.")))]
async fn add(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<NewAdmin>,
) -> Result<Tagged<AdminWithCertificate>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let role = role(&wish.role)?;
    let (certificate, credential) = wish.credential.make(&api, &wish.name)?;
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    let work = async move { provisioning.add_admin(&by, organisation, &wish.name, role, certificate).await };
    let added = to_the_end(work).await?;
    Ok(Tagged::created(added.version, AdminWithCertificate { admin: view(&api, &added), credential: Some(credential) }))
}

/// Shows an administrator.
#[utoipa::path(get, path = "/v1/admins/{name}", tag = "administrators", params(Name), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The administrator.", body = AdminView)))]
async fn show(sees: Sees, State(api): State<Api>, Path(name): Path<String>) -> Result<Tagged<AdminView>, Problem> {
    let admin = find(&api, &sees, &name)?;
    Ok(Tagged::new(admin.version, view(&api, &admin)))
}

/// Changes an administrator's role, lets it in or not, or gives it a further certificate. One that acts always stays.
#[utoipa::path(patch, path = "/v1/admins/{name}", tag = "administrators", params(Name), request_body = AdminChanges,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The administrator.", body = AdminWithCertificate),
        (status = 409, description = "It is the last one that may act.")))]
async fn change(
    acts: Acts,
    State(api): State<Api>,
    Path(name): Path<String>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<AdminChanges>,
) -> Result<Tagged<AdminWithCertificate>, Problem> {
    let admin = find(&api, &acts, &name)?;
    let made = wish.credential.map(|wanted| wanted.make(&api, &admin.name)).transpose()?;
    let (certificate, credential) = made.map_or((None, None), |(certificate, credential)| (Some(certificate), Some(credential)));
    let patch = AdminPatch { role: wish.role.as_deref().map(role).transpose()?, disabled: wish.disabled, certificate };
    let (by, provisioning, id) = (acts.deciding.clone(), api.provisioning.clone(), admin.id.to_string());
    let changed = to_the_end(async move { provisioning.change_admin(&by, &id, patch, seen).await }).await?;
    Ok(Tagged::new(changed.version, AdminWithCertificate { admin: view(&api, &changed), credential }))
}

/// An administrator in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
struct Name {
    /// Its name, or its id.
    name: String,
}

/// One that the caller does not see looks like one that is not there.
fn find(api: &Api, caller: &ApiCaller, name: &str) -> Result<Versioned<Admin>, Problem> {
    let found = api.provisioning.admin(name)?;
    if caller.organisation.is_some_and(|own| own != found.organisation) {
        let absent = ProvisioningError::NotFound { what: "administrator", id: name.chars().take(80).collect() };
        return Err(Problem::from(absent).denied(ANOTHER_ORGANISATION));
    }
    Ok(found)
}

fn role(name: &str) -> Result<Role, Problem> {
    let found = [Role::SecurityRead, Role::SecurityWrite].into_iter().find(|role| role.name() == name);
    found.ok_or_else(|| error::invalid("role must be security:read or security:write"))
}

fn view(api: &Api, admin: &Versioned<Admin>) -> AdminView {
    let certificates = admin.certificates.iter().map(|certificate| AdminCertificateView {
        serial: certificate.serial.clone(),
        sha256: hex::encode(certificate.sha256),
        not_before: seconds(certificate.not_before),
        not_after: seconds(certificate.not_after),
    });
    AdminView {
        id: admin.id.to_string(),
        name: admin.name.clone(),
        role: admin.role.name().into(),
        disabled: admin.disabled,
        organisation: api.organisation_name(admin.organisation),
        certificates: certificates.collect(),
        created: milliseconds(admin.created_ms),
    }
}
