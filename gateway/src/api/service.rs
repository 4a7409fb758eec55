//! `/v1/service`: an organisation's provisioning service, on or off.

use std::net::IpAddr;

use axum::extract::State;
use keygate_pki::{
    HttpUrl, OffsetDateTime,
    provisioning::{EffectiveState, ServiceState},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api, Within,
    body::{Asked, Wish},
    caller::{Acts, Sees},
    change::{Acknowledged, to_the_end},
    etag::{IfMatch, Tagged},
};
use crate::{http::Problem, provisioning::Reasoned, store::OrganisationId};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(enable)).routes(routes!(disable))
}

/// The service.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// The organisation's name.
    pub organisation: String,
    /// `enabled` or `disabled`.
    pub state: String,
    /// Since when; absent before it was ever enabled.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<OffsetDateTime>,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where certificates send relying parties for CRLs, OCSP and CA certificates.
    pub public_url: String,
    /// What should be put right before devices enrol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// How many provisioning keys are in which effective state.
    pub keys: KeyCounts,
}

/// Provisioning keys by effective state.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct KeyCounts {
    /// Issue, renew, connect.
    pub active: usize,
    /// Connect only.
    pub suspended: usize,
    /// Nothing, as long as the service is disabled.
    pub disabled: usize,
    /// Nothing, for good.
    pub revoked: usize,
}

/// To enable the service.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Enabling {
    /// Why, in the administrator's words.
    #[serde(default)]
    reason: Option<String>,
    /// "I understand the impact of this action and want to proceed".
    #[serde(default)]
    acknowledged: bool,
    /// Of the CA keys that are made the first time: `p256`, `p384`, `rsa-3072`, `ed25519`, `ml-dsa-65`.
    #[serde(default)]
    algorithm: Option<String>,
    /// The keystore that keeps them; without it they are sealed in the store.
    #[serde(default)]
    keystore: Option<String>,
}

/// Shows the provisioning service.
#[utoipa::path(get, path = "/v1/service", tag = "service", params(Within), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The service.", body = ServiceView)))]
async fn show(sees: Sees, State(api): State<Api>, Asked(within): Asked<Within>) -> Result<Tagged<ServiceView>, Problem> {
    let organisation = api.organisation(&sees, within.organisation.as_deref())?;
    Ok(view(&api, organisation))
}

/// Enables the service: each provisioning key has its own state again. The first time it makes the CAs.
#[utoipa::path(post, path = "/v1/service/enable", tag = "service", params(Within), request_body = Enabling,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "It is enabled.", body = ServiceView), (status = 409, description = "It was already.")))]
async fn enable(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Enabling>,
) -> Result<Tagged<ServiceView>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let choice = api.key_choice(wish.algorithm.as_deref(), wish.keystore.as_deref())?.unwrap_or_default();
    let reason = wish.reason.unwrap_or_else(|| "no reason given".into());
    let reasoned = Reasoned { reason, acknowledged: wish.acknowledged };
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    to_the_end(async move { provisioning.enable_service(&by, organisation, &reasoned, choice, seen).await }).await?;
    Ok(view(&api, organisation))
}

/// Disables the service: all clients that it enrolled are refused at once. No key's own state changes.
#[utoipa::path(post, path = "/v1/service/disable", tag = "service", params(Within), request_body = Acknowledged,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "It is disabled.", body = ServiceView), (status = 409, description = "It was already.")))]
async fn disable(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Acknowledged>,
) -> Result<Tagged<ServiceView>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let (by, provisioning) = (acts.deciding.clone(), api.provisioning.clone());
    let reasoned = wish.into();
    to_the_end(async move { provisioning.disable_service(&by, organisation, &reasoned, seen).await }).await?;
    Ok(view(&api, organisation))
}

fn view(api: &Api, organisation: OrganisationId) -> Tagged<ServiceView> {
    let snapshot = api.provisioning.snapshot();
    let (state, since) = match snapshot.service_state(organisation) {
        ServiceState::Enabled { since } => ("enabled", Some(since)),
        ServiceState::Disabled { since } => ("disabled", since),
    };
    let mut keys = KeyCounts::default();
    for key in snapshot.keys.values().filter(|key| key.row.organisation == organisation) {
        let count = match key.effective {
            EffectiveState::Active => &mut keys.active,
            EffectiveState::Suspended => &mut keys.suspended,
            EffectiveState::Disabled { .. } => &mut keys.disabled,
            EffectiveState::Revoked { .. } => &mut keys.revoked,
        };
        *count += 1;
    }
    let (row, public_url) = (snapshot.service(organisation), api.provisioning.public_url());
    let view = ServiceView {
        organisation: api.organisation_name(organisation),
        state: state.into(),
        since,
        reason: row.map(|row| row.reason.clone()),
        public_url: public_url.as_str().into(),
        warning: is_this_machine(&public_url).then(|| {
            "only this machine can reach the public address, and it is written into certificates: set public.url".into()
        }),
        keys,
    };
    Tagged::new(row.map_or(0, |row| row.version), view)
}

/// Whether an address leads nowhere but here.
fn is_this_machine(url: &HttpUrl) -> bool {
    let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // RFC 6761 §6.3: names below "localhost." resolve to loopback addresses.
    let by_name = host == "localhost" || host.ends_with(".localhost");
    by_name || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loopback by name or number, of both families, is noticed; others are not.
    #[test]
    fn a_public_address_of_this_machine_only_is_noticed() {
        let is = |url: &str| is_this_machine(&url.parse().expect("a URL"));
        for url in ["http://localhost:8080", "http://127.1.2.3/x", "http://[::1]:80/", "http://a.localhost/", "http://0.0.0.0:1"] {
            assert!(is(url), "{url}");
        }
        for url in ["http://pki.example.com:8080", "http://192.0.2.1/", "http://[2001:db8::1]/", "http://localhost.example/"] {
            assert!(!is(url), "{url}");
        }
    }
}
