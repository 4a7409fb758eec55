//! `/v1/rest-users`: users of the REST key server, what they may do, and their passwords.

use std::collections::BTreeSet;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use keygate_pki::{OffsetDateTime, Profile};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Api, ApiCaller, Within,
    body::{Asked, Wish},
    caller::{Acts, Sees},
    change::to_the_end,
    error,
    etag::{IfMatch, Tagged},
    page::List,
    view::{milliseconds, pem},
};
use crate::{
    authority,
    http::Problem,
    rest::{AccountError, NewPassword, NewRestUser, RestAccounts, RestUserPatch, WithPassword},
    store::{RestPermission, RestUser, Versioned},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(show, change, remove))
}

/// A user of the REST key server.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RestUserView {
    /// Its id, as in the audit record.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The client it acts for, which owns the keys it makes.
    pub client: String,
    /// What it may do: `keys:create`, `crypto:encrypt`...
    pub permissions: Vec<String>,
    /// Refused everything while true.
    pub disabled: bool,
    /// Its organisation.
    pub organisation: String,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

/// A user, with what was made for it and what links to the gateway need.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LinkedRestUser {
    /// The user.
    #[serde(flatten)]
    pub user: RestUserView,
    /// The password that was just made: shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// What verifies the server certificate of the REST key server, PEM.
    pub ca: String,
}

impl Drop for LinkedRestUser {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

/// A user to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// 1 to 64 letters, digits and any of `_ . @ -`; unique in the gateway.
    name: String,
    /// Name or id of the client it acts for. Without it, a client of the user's name is made.
    #[serde(default)]
    client: Option<String>,
    /// What it may do.
    permissions: Vec<String>,
    /// 12 to 256 octets. Without it one is made and answered.
    #[serde(default)]
    password: Option<String>,
}

/// What changes. What is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChanges {
    /// What it may do from now on.
    #[serde(default)]
    permissions: Option<Vec<String>>,
    /// Refuse, or let in again.
    #[serde(default)]
    disabled: Option<bool>,
    /// Another password.
    #[serde(default)]
    password: Option<String>,
    /// Make another password and answer it.
    #[serde(default)]
    new_password: bool,
}

/// Lists the users, oldest first: those of one organisation where one is named, or the caller belongs to one.
#[utoipa::path(get, path = "/v1/rest-users", tag = "REST key server", params(Within), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The users.", body = List<RestUserView>)))]
async fn list(sees: Sees, State(api): State<Api>, Asked(within): Asked<Within>) -> Result<axum::Json<List<RestUserView>>, Problem> {
    let named = within.organisation.as_deref().map(|name| api.organisation(&sees, Some(name))).transpose()?;
    let only = named.or(sees.organisation);
    let users = api.rest_accounts().list();
    let users = users.iter().filter(|user| only.is_none_or(|only| only == user.organisation));
    Ok(axum::Json(List { items: users.map(|user| view(&api, user)).collect() }))
}

/// Adds a user.
#[utoipa::path(post, path = "/v1/rest-users", tag = "REST key server", params(Within), request_body = NewUser,
    security(("administrator" = ["security:write"])),
    responses((status = 201, description = "The user, with its password where one was made.", body = LinkedRestUser),
        (status = 409, description = "The name is taken.")))]
async fn add(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<NewUser>,
) -> Result<Tagged<LinkedRestUser>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let wanted = NewRestUser {
        name: wish.name,
        client: wish.client,
        permissions: permissions(&wish.permissions)?,
        password: wish.password.map(Zeroizing::new),
    };
    let (by, accounts) = (acts.deciding.clone(), api.rest_accounts());
    let added = to_the_end(async move { accounts.add(&by, organisation, wanted).await }).await?;
    Ok(Tagged::created(added.user.version, linked(&api, added)?))
}

/// Shows a user.
#[utoipa::path(get, path = "/v1/rest-users/{name}", tag = "REST key server", params(Name), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The user, and what verifies the server it uses.", body = LinkedRestUser)))]
async fn show(sees: Sees, State(api): State<Api>, Path(name): Path<String>) -> Result<Tagged<LinkedRestUser>, Problem> {
    let user = find(&api, &sees, &name)?;
    Ok(Tagged::new(user.version, linked(&api, WithPassword { user, password: None })?))
}

/// Changes what a user may do, lets it in or not, or gives it another password. In force at once, sessions there are none.
#[utoipa::path(patch, path = "/v1/rest-users/{name}", tag = "REST key server", params(Name), request_body = UserChanges,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The user, with its password where one was made.", body = LinkedRestUser)))]
async fn change(
    acts: Acts,
    State(api): State<Api>,
    Path(name): Path<String>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<UserChanges>,
) -> Result<Tagged<LinkedRestUser>, Problem> {
    let user = find(&api, &acts, &name)?;
    let password = match (wish.password.map(Zeroizing::new), wish.new_password) {
        (Some(_), true) => return Err(error::invalid("give one of password and new_password")),
        (Some(given), false) => Some(NewPassword::Given(given)),
        (None, true) => Some(NewPassword::Made),
        (None, false) => None,
    };
    let permissions = wish.permissions.as_deref().map(permissions).transpose()?;
    let patch = RestUserPatch { permissions, disabled: wish.disabled, password };
    let (by, accounts, id) = (acts.deciding.clone(), api.rest_accounts(), user.id.to_string());
    let changed = to_the_end(async move { accounts.change(&by, &id, patch, seen).await }).await?;
    Ok(Tagged::new(changed.user.version, linked(&api, changed)?))
}

/// Removes a user for good. The client it acted for stays, with its keys.
#[utoipa::path(delete, path = "/v1/rest-users/{name}", tag = "REST key server", params(Name), security(("administrator" = ["security:write"])),
    responses((status = 204, description = "It is removed.")))]
async fn remove(acts: Acts, State(api): State<Api>, Path(name): Path<String>, IfMatch(seen): IfMatch) -> Result<StatusCode, Problem> {
    let user = find(&api, &acts, &name)?;
    let (by, accounts, id) = (acts.deciding.clone(), api.rest_accounts(), user.id.to_string());
    to_the_end(async move { accounts.remove(&by, &id, seen).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
struct Name {
    /// Its name, or its id.
    name: String,
}

impl Api {
    fn rest_accounts(&self) -> RestAccounts {
        RestAccounts { store: self.store.clone(), directory: self.directory.clone() }
    }
}

/// One that the caller does not see looks like one that is not there.
fn find(api: &Api, caller: &ApiCaller, name: &str) -> Result<Versioned<RestUser>, Problem> {
    let found = api.rest_accounts().find(name)?;
    if caller.organisation.is_some_and(|own| own != found.organisation) {
        return Err(AccountError::NotFound { what: "REST user", name: name.chars().take(80).collect() }.into());
    }
    Ok(found)
}

fn permissions(names: &[String]) -> Result<BTreeSet<RestPermission>, Problem> {
    names.iter().map(|name| name.parse().map_err(|error: crate::store::RestPermissionError| error::invalid(error.to_string()))).collect()
}

fn linked(api: &Api, made: WithPassword) -> Result<LinkedRestUser, Problem> {
    // The server certificate is verified by the root.
    let ca = authority::certificate(&api.store.directory(), Profile::RootCa)?;
    let password = made.password.map(|mut password| std::mem::take(&mut *password));
    Ok(LinkedRestUser { user: view(api, &made.user), password, ca: pem(&ca)? })
}

fn view(api: &Api, user: &RestUser) -> RestUserView {
    let directory = api.store.directory();
    let client = directory.clients.get(&user.client).map_or_else(|| user.client.to_string(), |client| client.name.clone());
    RestUserView {
        id: user.id.to_string(),
        name: user.name.clone(),
        client,
        permissions: user.permissions.iter().map(ToString::to_string).collect(),
        disabled: user.disabled,
        organisation: api.organisation_name(user.organisation),
        created: milliseconds(user.created_ms),
    }
}
