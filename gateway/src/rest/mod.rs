//! The REST key server: the `eskm-style` contract, by which a file-encryption management server uses the gateway as its key server.
//! It is one more protocol over the operations: it translates, and decides nothing about keys.
//!
//! A request: HTTP Basic -> [`RestCaller`](crate::identity::RestCaller) -> permission and quota (`caller`) -> a task, which is one or
//! more operations in one commit (`run`) -> JSON. Refusals are worded in one place (`answer`, by the table in `respond`).
//!
//! Leaves to others: TLS, bounds of size and time (`http`), who a password belongs to (`identity`), what an operation means and who
//! may do it to which object (`operation`, `authorize`). `docs/rest-key-server.md` says what is the vendor's and what is ours.

mod account;
mod accounts;
mod answer;
mod body;
mod caller;
mod create;
mod crypto;
mod export;
mod keys;
mod life;
mod logs;
mod material;
mod names;
mod parameters;
mod run;
#[cfg(test)]
mod tests;
mod update;
mod view;
mod wishes;

use std::sync::Arc;

use axum::Router;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use accounts::{AccountError, NewPassword, NewRestUser, RestAccounts, RestUserPatch, WithPassword};

use crate::{app::App, audit::Refusals, identity::RestUsers, operation::Gateway, quota::RequestBuckets, telemetry::Metrics};

/// What the test command asks for: it answers `Success` to a user with the right password.
pub const TEST_PATH: &str = "/api/key/v1/test";

/// What handlers work with; a cheap handle.
#[derive(Clone)]
struct Rest {
    gateway: Arc<Gateway>,
    users: Arc<RestUsers>,
    quotas: Option<Arc<RequestBuckets>>,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    is_enabled: bool,
}

impl Rest {
    /// Served as soon as there is a user, unless it is switched off.
    fn is_served(&self) -> bool {
        self.is_enabled && self.users.any()
    }
}

/// The routes of the REST key server.
pub fn router(app: &App, gateway: &Arc<Gateway>) -> Router {
    let rest = Rest {
        gateway: gateway.clone(),
        users: app.rest_users.clone(),
        quotas: app.request_quotas.clone(),
        metrics: app.metrics.clone(),
        refusals: app.refusals.clone(),
        is_enabled: app.config.rest_enabled,
    };
    served(rest)
}

fn served(rest: Rest) -> Router {
    let router: Router<Rest> = rest_routes().split_for_parts().0;
    let nothing = || async { answer::Refused::no_path() };
    router
        .method_not_allowed_fallback(|| async { answer::Refused::no_method() })
        .route("/api/{*path}", axum::routing::any(nothing))
        .with_state(rest)
}

/// The OpenAPI 3.1 document of the contract as served here.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = rest_routes().into_openapi();
    let mut basic = Http::new(HttpAuthScheme::Basic);
    basic.description = Some(
        "Name and password of a REST user (RFC 7617), over TLS only. The permission that an operation needs stands in its security \
         requirement."
            .into(),
    );
    document.components.get_or_insert_default().add_security_scheme("basic", SecurityScheme::Http(basic));
    document
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Keygate REST key server",
    description = "Keys and cryptography by HTTP and JSON, for file-encryption management servers that link to a key server. Refusals \
                   are {\"result\":\"OPERATION_FAILED\",\"reason\",\"message\"}."
))]
struct Head;

fn rest_routes() -> OpenApiRouter<Rest> {
    let mut head = Head::openapi();
    head.info.version = env!("CARGO_PKG_VERSION").into();
    head.info.contact = None;
    OpenApiRouter::with_openapi(head)
        .routes(routes!(account::test))
        .routes(routes!(account::account))
        .routes(routes!(keys::list, create::create))
        .routes(routes!(keys::show, update::change, life::delete))
        .routes(routes!(export::export))
        .routes(routes!(life::rotate))
        .routes(routes!(life::state))
        .routes(routes!(crypto::encrypt))
        .routes(routes!(crypto::decrypt))
        .routes(routes!(crypto::sign))
        .routes(routes!(crypto::verify))
        .routes(routes!(crypto::mac))
        .routes(routes!(crypto::random))
        .routes(routes!(logs::read))
}
