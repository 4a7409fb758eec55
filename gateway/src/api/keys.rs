//! `/v1/provisioning-keys`: create, list, show, rename, suspend, reactivate, revoke.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::IntoResponse,
};
use keygate_pki::{OffsetDateTime, Reason, provisioning::EffectiveState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api, Within,
    body::{Asked, Wish},
    caller::{Acts, Sees},
    change::{Acknowledged, Revoking, to_the_end},
    etag::{IfMatch, Tagged},
    page::List,
    view::milliseconds,
};
use crate::{
    http::Problem,
    provisioning::{Key, KeyPatch, NewKeyRequest},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, change))
        .routes(routes!(suspend))
        .routes(routes!(reactivate))
        .routes(routes!(revoke))
}

/// A provisioning key. Its secret is not here: it was shown when the key was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyDetails {
    /// The id that clients present.
    pub id: String,
    /// Its name, unique in the organisation without regard to case.
    pub name: String,
    /// The organisation's name.
    pub organisation: String,
    /// Its own state: `active`, `suspended` or `revoked`.
    pub state: String,
    /// What counts: its own state, or `disabled` while the service is.
    pub effective_state: String,
    /// Since when it is in its own state.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What relying parties are told of a revoked key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// What it may be used for.
    pub limits: LimitsView,
    /// How many clients have enrolled with it, ever.
    pub uses: u64,
    /// Clients on record.
    pub clients: u64,
    /// Their certificates that are neither expired nor revoked by themselves.
    pub valid_certificates: u64,
    /// Id of the key that renews its clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// Ids of its issuing CAs, oldest first.
    pub authorities: Vec<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

/// Limits of a provisioning key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// When the secret stops to work.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires: Option<OffsetDateTime>,
    /// How many clients may enrol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// Networks that clients enrol from, separated by commas; absent: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Pattern of names that may be enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// Days of validity of clients' certificates.
    pub days: u32,
}

/// A key that was just made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedKeyView {
    /// The key.
    #[serde(flatten)]
    pub key: KeyDetails,
    /// `id.secret`: what an installer is handed. Shown this once.
    pub secret: String,
}

/// A key that is wished for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// 1 to 64 letters, digits, spaces and dashes; begins with a letter.
    name: String,
    /// When the secret stops to work.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires: Option<OffsetDateTime>,
    /// How many clients may enrol.
    #[serde(default)]
    uses: Option<u64>,
    /// Networks that clients enrol from, separated by commas.
    #[serde(default)]
    from: Option<String>,
    /// Pattern of names that may be enrolled.
    #[serde(default)]
    names: Option<String>,
    /// Days of validity of clients' certificates. Without it: 7.
    #[serde(default)]
    days: Option<u32>,
    /// Id of the key that renews this one's clients.
    #[serde(default)]
    successor: Option<String>,
    /// Of its CA's key: `p256` (the default), `p384`, `rsa-3072`, `ed25519`, `ml-dsa-65`.
    #[serde(default)]
    algorithm: Option<String>,
    /// The keystore that keeps its CA's key; without it, it is sealed in the store.
    #[serde(default)]
    keystore: Option<String>,
}

/// What changes. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changes {
    /// Another name.
    #[serde(default)]
    name: Option<String>,
    /// Id of the key that renews this one's clients; empty: none.
    #[serde(default)]
    successor: Option<String>,
}

/// Lists provisioning keys, oldest first.
#[utoipa::path(get, path = "/v1/provisioning-keys", tag = "provisioning keys", params(Within),
    security(("administrator" = ["security:read"])), responses((status = 200, description = "All keys.", body = List<KeyDetails>)))]
async fn list(sees: Sees, State(api): State<Api>, Asked(within): Asked<Within>) -> Result<axum::Json<List<KeyDetails>>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    let snapshot = api.provisioning.snapshot();
    let keys = snapshot.keys.values().filter(|key| key.row.organisation == organisation);
    Ok(axum::Json(List { items: keys.map(|key| view(&api, key)).collect() }))
}

/// Makes a provisioning key and its issuing CA. At most 3 keys of an organisation are active or suspended.
#[utoipa::path(post, path = "/v1/provisioning-keys", tag = "provisioning keys", params(Within), request_body = NewKey,
    security(("administrator" = ["security:write"])),
    responses((status = 201, description = "The key, with its secret, which is not shown again.", body = CreatedKeyView),
        (status = 409, description = "The name is taken, or all places are.")))]
async fn create(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<NewKey>,
) -> Result<axum::response::Response, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let choice = api.key_choice(wish.algorithm.as_deref(), wish.keystore.as_deref())?.unwrap_or_default();
    let wish = NewKeyRequest {
        name: wish.name,
        expires: wish.expires,
        uses_max: wish.uses,
        sources: wish.from.unwrap_or_default(),
        names: wish.names,
        days: wish.days,
        successor: wish.successor,
        choice,
    };
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    let made = to_the_end(async move { provisioning.create_key(&by, organisation, &wish).await }).await?;
    let location = HeaderValue::from_str(&format!("/v1/provisioning-keys/{}", made.key.public_id));
    let view = CreatedKeyView { key: view(&api, &made.key), secret: made.secret.to_string() };
    let mut response = Tagged::created(made.key.row.version, view).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Shows a provisioning key.
#[utoipa::path(get, path = "/v1/provisioning-keys/{id}", tag = "provisioning keys", params(Id, Within),
    security(("administrator" = ["security:read"])), responses((status = 200, description = "The key.", body = KeyDetails)))]
async fn show(
    sees: Sees,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
) -> Result<Tagged<KeyDetails>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    let key = api.provisioning.key(organisation, &id)?;
    Ok(tagged(&api, &key))
}

/// Changes name or successor.
#[utoipa::path(patch, path = "/v1/provisioning-keys/{id}", tag = "provisioning keys", params(Id, Within), request_body = Changes,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The key.", body = KeyDetails)))]
async fn change(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Changes>,
) -> Result<Tagged<KeyDetails>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let patch = KeyPatch { name: wish.name, successor: wish.successor };
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    let key = to_the_end(async move { provisioning.change_key(&by, organisation, &id, &patch, seen).await }).await?;
    Ok(tagged(&api, &key))
}

/// Suspends a key: no client enrols or renews with it; issued certificates still connect.
#[utoipa::path(post, path = "/v1/provisioning-keys/{id}/suspend", tag = "provisioning keys", params(Id, Within),
    request_body = Acknowledged, security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The key.", body = KeyDetails)))]
async fn suspend(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Acknowledged>,
) -> Result<Tagged<KeyDetails>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let (by, provisioning, wish) = (acts.deciding.clone(), api.provisioning.clone(), wish.into());
    let key = to_the_end(async move { provisioning.suspend_key(&by, organisation, &id, &wish, seen).await }).await?;
    Ok(tagged(&api, &key))
}

/// Reactivates a suspended key.
#[utoipa::path(post, path = "/v1/provisioning-keys/{id}/reactivate", tag = "provisioning keys", params(Id, Within),
    request_body = Acknowledged, security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The key.", body = KeyDetails)))]
async fn reactivate(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Acknowledged>,
) -> Result<Tagged<KeyDetails>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let (by, provisioning, wish) = (acts.deciding.clone(), api.provisioning.clone(), wish.into());
    let key = to_the_end(async move { provisioning.reactivate_key(&by, organisation, &id, &wish, seen).await }).await?;
    Ok(tagged(&api, &key))
}

/// Revokes a key for ever: every certificate of it is refused everywhere.
#[utoipa::path(post, path = "/v1/provisioning-keys/{id}/revoke", tag = "provisioning keys", params(Id, Within),
    request_body = Revoking, security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The key.", body = KeyDetails)))]
async fn revoke(
    acts: Acts,
    State(api): State<Api>,
    Path(id): Path<String>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Revoking>,
) -> Result<Tagged<KeyDetails>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let (by, provisioning, (wish, told)) = (acts.deciding.clone(), api.provisioning.clone(), wish.into_parts()?);
    let key = to_the_end(async move { provisioning.revoke_key(&by, organisation, &id, &wish, told, seen).await }).await?;
    Ok(tagged(&api, &key))
}

/// A provisioning key in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
struct Id {
    /// Id of the provisioning key; its name does too.
    id: String,
}

fn tagged(api: &Api, key: &Arc<Key>) -> Tagged<KeyDetails> {
    Tagged::new(key.row.version, view(api, key))
}

fn view(api: &Api, key: &Arc<Key>) -> KeyDetails {
    let (snapshot, row) = (api.provisioning.snapshot(), &key.row);
    let (clients, valid_certificates) = api.provisioning.counts(row.id);
    let successor = row.successor.and_then(|id| snapshot.keys.get(&id));
    KeyDetails {
        id: key.public_id.to_string(),
        name: row.name.clone(),
        organisation: api.organisation_name(row.organisation),
        state: key.state.name().into(),
        effective_state: effective_name(key.effective).into(),
        since: key.state.since(),
        reason: key.state.reason().map(str::to_owned),
        told: key.state.told().map(Reason::name).map(str::to_owned),
        limits: LimitsView {
            expires: key.limits.expires,
            uses: row.uses_max,
            from: Some(row.sources.clone()).filter(|sources| !sources.is_empty()),
            names: row.names.clone(),
            days: row.days,
        },
        uses: row.uses_cleared + clients,
        clients,
        valid_certificates,
        successor: successor.map(|key| key.public_id.to_string()),
        authorities: snapshot.issuers_of(row.id).map(|authority| authority.path_name()).collect(),
        created: milliseconds(row.created_ms),
    }
}

/// The name of what counts for a key's clients.
pub(super) fn effective_name(state: EffectiveState) -> &'static str {
    match state {
        EffectiveState::Active => "active",
        EffectiveState::Suspended => "suspended",
        EffectiveState::Disabled { .. } => "disabled",
        EffectiveState::Revoked { .. } => "revoked",
    }
}
