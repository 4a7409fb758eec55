//! The admin API, `/v1`: what security administrators see and do, as HTTP with JSON, and its OpenAPI document.
//!
//! One router serves two kinds of callers: administrators over `admin.listen`, by certificate ([`for_administrators`]), and the
//! command line over the local admin socket, or alone on the data directory ([`call`]). Resources are one module each; each
//! handler takes exactly one permission (`Sees` or `Acts`, of `caller`) and calls one function of the domain.
//!
//! Leaves to others: what is allowed and what happens (`provisioning`), certificates at the TLS handshake and bounds of size and
//! time (`http`), text for people (`cli`). RFC 9110 for methods, statuses and preconditions; RFC 9457 for refusals; RFC 8288 for
//! links to the next page.
//!
//! Rules for all paths: lists are objects with `items`; times are RFC 3339; a single resource has an ETag, and a change takes
//! `If-Match`, which is optional: without it the change is made to whatever is there. A change that was begun is finished even
//! when its caller goes away. `?organisation=NAME` names the tenant; without it, that of the caller.

mod admins;
mod audit;
mod authorities;
mod body;
mod caller;
mod certificates;
mod change;
mod error;
mod etag;
mod exports;
mod imports;
mod keys;
mod keystores;
mod local;
mod new_certificate;
mod organisations;
mod page;
mod rest_users;
mod rehome;
mod service;
#[cfg(test)]
mod tests;
mod view;

use std::sync::{Arc, LazyLock};

use axum::{Router, extract::State, http::header, middleware, response::IntoResponse};
use utoipa::OpenApi;
use utoipa::openapi::security::SecurityScheme;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use admins::{AdminView, AdminWithCertificate, IssuedCredential};
pub use audit::{AuditEvent, AuditPage};
pub use authorities::{AuthorityDetails, AuthorityRequest};
pub use caller::ApiCaller;
pub use certificates::{CertificateDetails, Certificates};
pub use exports::ExportView;
pub use keys::{CreatedKeyView, KeyDetails};
pub use keystores::{KeystoreStatus, KeystoreView, StepView, TestView};
pub use local::{LocalAnswer, LocalRequest, call};
pub use organisations::OrganisationView;
pub use page::List;
pub use rest_users::{LinkedRestUser, RestUserView};
pub use rehome::{LeftView, RehomeView};
pub use service::ServiceView;

use crate::{
    app::App,
    audit::Refusals,
    export::ExportReports,
    http::Problem,
    identity::DirectoryHandle,
    keystores::KeystoreService,
    provisioning::{KeyChoice, Provisioning, algorithm},
    store::{OrganisationId, Store},
};
pub(crate) use body::{Asked, Wish};
use caller::Sees;

/// What handlers work with; a cheap handle.
#[derive(Clone)]
pub struct Api {
    provisioning: Arc<Provisioning>,
    store: Store,
    directory: Arc<DirectoryHandle>,
    refusals: Arc<Refusals>,
    keystores: Arc<KeystoreService>,
    exports: Arc<ExportReports>,
}

impl Api {
    /// Of an open data directory.
    pub fn of(app: &App) -> Self {
        Self {
            provisioning: app.provisioning.clone(),
            store: app.store.clone(),
            directory: app.directory.clone(),
            refusals: app.refusals.clone(),
            keystores: app.keystores.clone(),
            exports: app.exports.clone(),
        }
    }

    /// The organisation a request is about. One that the caller does not belong to looks like one that is not there.
    fn organisation(&self, caller: &ApiCaller, named: Option<&str>) -> Result<OrganisationId, Problem> {
        let found = match named {
            Some(name) => self.provisioning.organisation(name)?,
            None => caller.organisation.unwrap_or(OrganisationId::DEFAULT),
        };
        match caller.organisation {
            Some(own) if own != found => Err(self.no_organisation(named).denied(caller::ANOTHER_ORGANISATION)),
            _ => Ok(found),
        }
    }

    fn no_organisation(&self, named: Option<&str>) -> Problem {
        let id = named.unwrap_or_default().chars().take(80).collect();
        crate::provisioning::ProvisioningError::NotFound { what: "organisation", id }.into()
    }

    fn organisation_name(&self, id: OrganisationId) -> String {
        self.provisioning.snapshot().organisations.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Where the key of a new authority is made, and of which kind. `None`: nothing is said, the domain's default counts.
    fn key_choice(&self, wanted: Option<&str>, keystore: Option<&str>) -> Result<Option<KeyChoice>, Problem> {
        if wanted.is_none() && keystore.is_none() {
            return Ok(None);
        }
        let mut choice = KeyChoice::default();
        if let Some(name) = wanted {
            choice.algorithm = algorithm(name)?;
        }
        if let Some(name) = keystore {
            let directory = self.store.directory();
            let found = directory.keystores.iter().find(|keystore| keystore.name == name);
            let found = found.ok_or_else(|| error::invalid(format!("there is no keystore \"{name}\"")))?;
            // The local keystore is the store itself: an authority's key is sealed in its row.
            choice.keystore = (found.kind != "local").then_some(found.id);
        }
        Ok(Some(choice))
    }
}

/// Which tenant is meant.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Within {
    /// Name of the organisation; without it, the caller's.
    #[serde(default)]
    organisation: Option<String>,
}

/// The routes, for requests that carry an [`ApiCaller`]; without one they are refused. Who lacks a permission is recorded.
pub fn router(api: Api) -> Router {
    let recorded = middleware::from_fn_with_state(api.clone(), caller::record_denied);
    routes().split_for_parts().0.with_state(api).layer(recorded)
}

/// As [`router`], for connections that a doorkeeper of administrators has let in.
pub fn for_administrators(api: Api) -> Router {
    router(api.clone()).layer(middleware::from_fn_with_state(api, caller::identify))
}

/// The OpenAPI 3.1 document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    let scheme = SecurityScheme::MutualTls {
        description: Some(
            "An administrator's certificate. The role that an operation needs stands in its security requirement; \
             security:write includes security:read."
                .into(),
        ),
        deprecated: None,
        extensions: None,
    };
    document.components.get_or_insert_default().add_security_scheme("administrator", scheme);
    document
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Keygate admin API",
    description = "Certificate provisioning, keystores, administrators, organisations and the audit record. Refusals are problem details \
                   (RFC 9457) with a stable `code`."
))]
struct Head;

fn routes() -> OpenApiRouter<Api> {
    let mut head = Head::openapi();
    head.info.version = env!("CARGO_PKG_VERSION").into();
    head.info.contact = None;
    OpenApiRouter::with_openapi(head)
        .routes(routes!(version))
        .routes(routes!(openapi))
        .merge(service::routes())
        .merge(keys::routes())
        .merge(authorities::routes())
        .merge(certificates::routes())
        .merge(admins::routes())
        .merge(organisations::routes())
        .merge(rest_users::routes())
        .merge(keystores::routes())
        .merge(rehome::routes())
        .merge(audit::routes())
        .merge(exports::routes())
        .merge(imports::routes())
}

/// Name and version of the gateway.
#[utoipa::path(get, path = "/v1/version", tag = "gateway", security(("administrator" = ["security:read"])),
    responses((status = 200, description = "Name and version.", body = serde_json::Value)))]
async fn version(_: Sees) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "name": "keygate", "version": env!("CARGO_PKG_VERSION") }))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "gateway", security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The OpenAPI document of this API.", body = serde_json::Value)))]
async fn openapi(_: Sees, State(_): State<Api>) -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| serde_json::to_string(&document()).unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}
