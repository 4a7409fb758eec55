//! The test that a link answers to, and what the user that links may do.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    caller::{Anything, May},
};

/// What a user is and may do. The fields of the vendor's form that recommends the least: all are as recommended, whatever the user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    /// Its name.
    user: String,
    /// The client it acts for, which owns the keys it makes.
    owner: String,
    /// `RESTful API`: the only kind there is.
    license_type: &'static str,
    /// False: it cannot use KMIP.
    kmip_enabled: bool,
    /// False: it cannot manage users.
    user_administration: bool,
    /// False: it cannot change its password.
    change_password: bool,
    /// What it may do.
    permissions: Vec<&'static str>,
}

/// Answers `Success` to a user with the right password.
#[utoipa::path(get, path = "/api/key/v1/test", tag = "link", security(("basic" = [])),
    responses((status = 200, description = "Name, password, address and certificate are right.", content_type = "text/plain", body = String),
        (status = 401, description = "Unknown user, or wrong password.", body = Failure),
        (status = 429, description = "Too many wrong passwords from this address: Retry-After says how long to wait.", body = Failure)))]
pub(super) async fn test(_: May<Anything>) -> &'static str {
    "Success\n"
}

/// Shows what the user may do, so that whoever links can see that it is no more than needed.
#[utoipa::path(get, path = "/api/key/v1/account", tag = "link", security(("basic" = [])),
    responses((status = 200, description = "The account.", body = Account), (status = 401, description = "Unknown user, or wrong password.", body = Failure)))]
pub(super) async fn account(may: May<Anything>, State(_): State<Rest>) -> Result<Response, Refused> {
    let caller = may.caller();
    let account = Account {
        user: caller.user.as_ref().map(|user| user.name.to_string()).unwrap_or_default(),
        owner: caller.name.to_string(),
        license_type: "RESTful API",
        kmip_enabled: false,
        user_administration: false,
        change_password: false,
        permissions: may.user.permissions.iter().map(|permission| permission.name()).collect(),
    };
    Ok(done(StatusCode::OK, &account))
}
