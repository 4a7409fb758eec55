//! `/v1/authorities`: the CAs of provisioning, and their rotation.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use der::pem::LineEnding;
use keygate_pki::{Certificate, OffsetDateTime, rotation::Generation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api, Within,
    body::{Asked, Wish},
    caller::{Acts, Sees},
    change::{Acknowledged, Revoking, to_the_end},
    error,
    etag::{IfMatch, Tagged},
    page::List,
    view::{RevokedView, milliseconds, pem},
};
use crate::{
    http::Problem,
    provisioning::{AuthorityView, ImportRequest, Reasoned},
    store::{AuthorityKey, OrganisationId, StoredTier},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(import))
        .routes(routes!(request))
        .routes(routes!(show, remove))
        .routes(routes!(request_again))
        .routes(routes!(renew))
        .routes(routes!(rekey))
        .routes(routes!(publish))
        .routes(routes!(activate))
        .routes(routes!(cross_sign))
        .routes(routes!(revoke))
        .routes(routes!(complete))
}

/// One generation of a CA: a key, and every certificate made for it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuthorityDetails {
    /// Its id, as in the addresses of its CRLs.
    pub id: String,
    /// `root`, `organisation` or `key`.
    pub tier: String,
    /// Id of the provisioning key it issues for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_key: Option<String>,
    /// Counts from 1.
    pub generation: u32,
    /// `initialised`, `published`, `active` or `retired`.
    pub stage: String,
    /// Since when; absent before it was published.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<OffsetDateTime>,
    /// Of a retired one: when the last certificate it signed ends.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub until: Option<OffsetDateTime>,
    /// Algorithm of its key.
    pub algorithm: String,
    /// Where its key is: `store`, `keystore`, `outside` or `destroyed`.
    pub key: String,
    /// Name of the keystore that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystore: Option<String>,
    /// Certificate or key came from elsewhere.
    pub imported: bool,
    /// Subject of its newest certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When the last of its certificates ends.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<OffsetDateTime>,
    /// Since when and why relying parties refuse what it signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RevokedView>,
    /// Its certificates, oldest first.
    pub certificates: Vec<AuthorityCertificateView>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

/// A certificate of a CA.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuthorityCertificateView {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Id of the CA that signed it, if it is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Start of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// The certificate; in the answer about one CA, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

/// A CA that waits for its certificate.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuthorityRequest {
    /// The CA.
    pub authority: AuthorityDetails,
    /// The PKCS#10 request for a CA elsewhere, PEM.
    pub request: String,
}

/// The key of a new generation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKeyChoice {
    /// `p256`, `p384`, `rsa-3072`, `ed25519`, `ml-dsa-65`.
    #[serde(default)]
    algorithm: Option<String>,
    /// The keystore that keeps it; without it, it is sealed in the store.
    #[serde(default)]
    keystore: Option<String>,
}

/// Nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// To activate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Activating {
    /// Without the time in which relying parties get to know the new certificate: some refuse clients until they have it.
    #[serde(default)]
    at_once: Option<Acknowledged>,
}

/// To certify the key of a CA by another one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CrossSigning {
    /// Id of the CA that signs.
    by: String,
}

/// A CA from elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Importing {
    /// `root` or `organisation`.
    tier: String,
    /// Its certificate, PEM.
    certificate: String,
    /// Its private key, PKCS#8 in PEM.
    #[schema(write_only)]
    key: String,
}

/// A certificate from elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Completing {
    /// PEM.
    certificate: String,
}

/// Lists the CAs that an organisation's clients depend on, the root first.
#[utoipa::path(get, path = "/v1/authorities", tag = "authorities", params(Within), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "All CAs, without their certificates' text.", body = List<AuthorityDetails>)))]
async fn list(sees: Sees, State(api): State<Api>, Asked(within): Asked<Within>) -> Result<axum::Json<List<AuthorityDetails>>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    let views = api.provisioning.authorities(organisation);
    let items = views.iter().map(|found| view(&api, found, false)).collect::<Result<_, _>>()?;
    Ok(axum::Json(List { items }))
}

/// Shows a CA with its certificates.
#[utoipa::path(get, path = "/v1/authorities/{id}", tag = "authorities", params(Id, Within),
    security(("administrator" = ["security:read"])), responses((status = 200, description = "The CA.", body = AuthorityDetails)))]
async fn show(
    sees: Sees,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    tagged(&api, organisation, &id)
}

/// Renews the certificate of a CA: same key, another serial number and validity.
#[utoipa::path(post, path = "/v1/authorities/{id}/renew", tag = "authorities", params(Id, Within), request_body = Nothing,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The CA.", body = AuthorityDetails)))]
async fn renew(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(Nothing {}): Wish<Nothing>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    let (by, provisioning, named) = (acts.deciding.clone(), api.provisioning.clone(), id.clone());
    to_the_end(async move { provisioning.renew_authority(&by, organisation, &named, seen).await }).await?;
    tagged(&api, organisation, &id)
}

/// Makes the next generation of a CA: a new key, certified, known to nobody yet. It is published, then activated.
#[utoipa::path(post, path = "/v1/authorities/{id}/rekey", tag = "authorities", params(Id, Within), request_body = NewKeyChoice,
    security(("administrator" = ["security:write"])),
    responses((status = 201, description = "The next generation.", body = AuthorityDetails)))]
async fn rekey(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<NewKeyChoice>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    let choice = api.key_choice(wish.algorithm.as_deref(), wish.keystore.as_deref())?;
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    let made = to_the_end(async move { provisioning.rekey_authority(&by, organisation, &id, choice, seen).await }).await?;
    Ok(Tagged::created(made.authority.row.version, view(&api, &made, true)?))
}

/// Publishes a new generation: relying parties begin to fetch its certificate.
#[utoipa::path(post, path = "/v1/authorities/{id}/publish", tag = "authorities", params(Id, Within), request_body = Nothing,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The CA.", body = AuthorityDetails)))]
async fn publish(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(Nothing {}): Wish<Nothing>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    let (by, provisioning, named) = (acts.deciding.clone(), api.provisioning.clone(), id.clone());
    to_the_end(async move { provisioning.publish_authority(&by, organisation, &named, seen).await }).await?;
    tagged(&api, organisation, &id)
}

/// Lets a published generation sign from now on, once what relying parties have cached has ended.
#[utoipa::path(post, path = "/v1/authorities/{id}/activate", tag = "authorities", params(Id, Within), request_body = Activating,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The CA.", body = AuthorityDetails)))]
async fn activate(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Activating>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    let at_once = wish.at_once.map(Reasoned::from);
    let (by, provisioning, named) = (acts.deciding.clone(), api.provisioning.clone(), id.clone());
    let work = async move { provisioning.activate_authority(&by, organisation, &named, at_once.as_ref(), seen).await };
    to_the_end(work).await?;
    tagged(&api, organisation, &id)
}

/// Certifies the key of a CA by one of the tier above, or of a root by another root.
#[utoipa::path(post, path = "/v1/authorities/{id}/cross-sign", tag = "authorities", params(Id, Within), request_body = CrossSigning,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The CA.", body = AuthorityDetails)))]
async fn cross_sign(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<CrossSigning>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    // What a root certifies, every organisation's relying parties trust.
    own(&api, &acts, &within, &wish.by)?;
    let (by, provisioning, named) = (acts.deciding.clone(), api.provisioning.clone(), id.clone());
    to_the_end(async move { provisioning.cross_sign_authority(&by, organisation, &named, &wish.by, seen).await }).await?;
    tagged(&api, organisation, &id)
}

/// Revokes a generation that signs no more certificates: whatever it signed is refused by everybody.
#[utoipa::path(post, path = "/v1/authorities/{id}/revoke", tag = "authorities", params(Id, Within), request_body = Revoking,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The CA.", body = AuthorityDetails)))]
async fn revoke(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Revoking>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    let (wish, told) = wish.into_parts()?;
    let (by, provisioning, named) = (acts.deciding.clone(), api.provisioning.clone(), id.clone());
    to_the_end(async move { provisioning.revoke_authority(&by, organisation, &named, &wish, told, seen).await }).await?;
    tagged(&api, organisation, &id)
}

/// Takes over an existing CA with its key, as the next generation of its tier.
#[utoipa::path(post, path = "/v1/authorities/import", tag = "authorities", params(Within), request_body = Importing,
    security(("administrator" = ["security:write"])), responses((status = 201, description = "The CA.", body = AuthorityDetails)))]
async fn import(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<Importing>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let tier = match wish.tier.as_str() {
        "root" => StoredTier::Root,
        "organisation" => StoredTier::Organisation,
        _ => return Err(error::invalid("tier must be root or organisation: CAs of provisioning keys are made here")),
    };
    if tier == StoredTier::Root {
        acts.for_all("the root")?;
    }
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    let work = async move {
        let import = ImportRequest { tier, certificate: wish.certificate.as_bytes(), key: wish.key.as_bytes() };
        provisioning.import_authority(&by, organisation, &import).await
    };
    let made = to_the_end(work).await?;
    Ok(Tagged::created(made.authority.row.version, view(&api, &made, true)?))
}

/// Makes the next generation of the organisation's CA for a CA elsewhere to certify.
#[utoipa::path(post, path = "/v1/authorities/request", tag = "authorities", params(Within), request_body = NewKeyChoice,
    security(("administrator" = ["security:write"])),
    responses((status = 201, description = "The CA and its request.", body = AuthorityRequest)))]
async fn request(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<NewKeyChoice>,
) -> Result<Response, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let choice = api.key_choice(wish.algorithm.as_deref(), wish.keystore.as_deref())?.unwrap_or_default();
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    let (made, request) = to_the_end(async move { provisioning.request_authority(&by, organisation, choice).await }).await?;
    Ok(Tagged::created(made.authority.row.version, with_request(&api, &made, &request)?).into_response())
}

/// Shows the request of a CA that waits for its certificate once more.
#[utoipa::path(get, path = "/v1/authorities/{id}/request", tag = "authorities", params(Id, Within),
    security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The CA and its request, signed anew.", body = AuthorityRequest),
        (status = 409, description = "It waits for no certificate.")))]
async fn request_again(
    sees: Sees,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
) -> Result<Tagged<AuthorityRequest>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    let request = api.provisioning.authority_request(organisation, &id).await?;
    let found = api.provisioning.authority(organisation, &id)?;
    Ok(Tagged::new(found.authority.row.version, with_request(&api, &found, &request)?))
}

fn with_request(api: &Api, found: &AuthorityView, request: &[u8]) -> Result<AuthorityRequest, Problem> {
    let request = der::pem::encode_string("CERTIFICATE REQUEST", LineEnding::LF, request);
    Ok(AuthorityRequest { authority: view(api, found, true)?, request: request.map_err(|failure| error::internal(&failure))? })
}

/// Gives up a CA that was never published, such as one whose request nobody signs. Its key is destroyed.
#[utoipa::path(delete, path = "/v1/authorities/{id}", tag = "authorities", params(Id, Within),
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The CA as it was.", body = AuthorityDetails),
        (status = 409, description = "Others know it: it can be revoked, not removed.")))]
async fn remove(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
) -> Result<axum::Json<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    let was = view(&api, &api.provisioning.authority(organisation, &id)?, false)?;
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    to_the_end(async move { provisioning.remove_authority(&by, organisation, &id, seen).await }).await?;
    Ok(axum::Json(was))
}

/// Takes the certificate that a CA elsewhere has made for a request.
#[utoipa::path(post, path = "/v1/authorities/{id}/complete", tag = "authorities", params(Id, Within), request_body = Completing,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The CA.", body = AuthorityDetails)))]
async fn complete(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Completing>,
) -> Result<Tagged<AuthorityDetails>, Problem> {
    let organisation = own(&api, &acts, &within, &id)?;
    let (by, provisioning, named) = (acts.deciding.clone(), api.provisioning.clone(), id.clone());
    let work = async move { provisioning.complete_authority(&by, organisation, &named, wish.certificate.as_bytes(), seen).await };
    to_the_end(work).await?;
    tagged(&api, organisation, &id)
}

/// A CA in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
struct Id {
    /// Id of the CA.
    id: String,
}

/// The organisation, where the caller may change the CA: the root is everybody's.
fn own(api: &Api, acts: &Acts, within: &Within, id: &str) -> Result<OrganisationId, Problem> {
    let organisation = api.organisation(acts, within.organisation.as_deref())?;
    if api.provisioning.authority(organisation, id)?.authority.row.tier == StoredTier::Root {
        acts.for_all("the root")?;
    }
    Ok(organisation)
}

fn tagged(api: &Api, organisation: OrganisationId, id: &str) -> Result<Tagged<AuthorityDetails>, Problem> {
    let found = api.provisioning.authority(organisation, id)?;
    Ok(Tagged::new(found.authority.row.version, view(api, &found, true)?))
}

fn view(api: &Api, found: &AuthorityView, with_text: bool) -> Result<AuthorityDetails, Problem> {
    let (authority, row) = (&found.authority, &found.authority.row);
    let snapshot = api.provisioning.snapshot();
    let key = row.provisioning_key.and_then(|id| snapshot.keys.get(&id));
    let (key_place, keystore) = match &row.key {
        AuthorityKey::Local(_) => ("store", None),
        AuthorityKey::Keystore { keystore, .. } => ("keystore", Some(*keystore)),
        AuthorityKey::Outside => ("outside", None),
        AuthorityKey::Destroyed => ("destroyed", None),
    };
    let directory = api.store.directory();
    let keystore = keystore.map(|id| directory.keystores.iter().find(|known| known.id == id).map_or_else(|| id.to_string(), |known| known.name.clone()));
    let (stage, since, until) = match authority.generation {
        Generation::Initialised(_) => ("initialised", None, None),
        Generation::Published(state) => ("published", Some(state.since), None),
        Generation::Active(state) => ("active", Some(state.since), None),
        Generation::Retired(state) => ("retired", Some(state.since), Some(state.until)),
    };
    let certificates = authority.certificates.iter().map(|held| {
        Ok(AuthorityCertificateView {
            serial: hex::encode(held.certificate.serial()),
            issuer: held.issuer.map(|id| id.0.simple().to_string()),
            not_before: held.certificate.not_before(),
            not_after: held.certificate.not_after(),
            pem: with_text.then(|| pem(&held.certificate)).transpose()?,
        })
    });
    Ok(AuthorityDetails {
        id: authority.path_name(),
        tier: match row.tier {
            StoredTier::Root => "root",
            StoredTier::Organisation => "organisation",
            StoredTier::Key => "key",
        }
        .into(),
        provisioning_key: key.map(|key| key.public_id.to_string()),
        generation: row.generation,
        stage: stage.into(),
        since,
        until,
        algorithm: row.algorithm.clone(),
        key: key_place.into(),
        keystore,
        imported: row.imported,
        subject: authority.newest().ok().map(Certificate::subject),
        not_after: authority.not_after(),
        revoked: found.revoked.map(RevokedView::of),
        certificates: certificates.collect::<Result<_, Problem>>()?,
        created: milliseconds(row.created_ms),
    })
}
