//! `/v1/imports`: keys that an administrator brings, and the links between them.
//!
//! Whoever has the file has read and decrypted it: no password comes here. A request is at most 1 MiB, so a file is many of them;
//! each key stands by itself, and saying a request again takes nothing twice.

use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api, Within,
    body::{Asked, Wish},
    caller::Acts,
    change::to_the_end,
    error::{internal, invalid},
};
use crate::{
    admin::{AdminError, ErrorClass},
    http::Problem,
    import::{self, ImportOrder, ImportReport, LinkOrder, LinkReport},
    operation::Gateway,
};

/// Most keys of one request: each may be a call to a device.
const ITEMS_MAX: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(take)).routes(routes!(link))
}

/// Takes keys in, each by itself: the answer says what became of each. Register, with its rules and quotas, by an administrator.
#[utoipa::path(post, path = "/v1/imports", tag = "keys", params(Within), request_body = ImportOrder,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "What became of each key.", body = ImportReport),
        (status = 413, description = "More than 1 MiB."), (status = 422, description = "More than 1,000 keys.")))]
async fn take(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<ImportOrder>,
) -> Result<axum::Json<ImportReport>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    if wish.items.len() > ITEMS_MAX {
        return Err(invalid(format!("a request has at most {ITEMS_MAX} keys")));
    }
    let (gateway, by) = (gateway(&api)?, acts.deciding.clone());
    to_the_end(async move { import::take(&gateway, organisation, &by, wish).await.map_err(refused) })
        .await
        .map(axum::Json)
}

/// Links objects to each other: public to private keys, keys to certificates, replacements to what they replace. What is linked so
/// already stays; an object of another organisation is none.
#[utoipa::path(post, path = "/v1/imports/links", tag = "keys", params(Within), request_body = LinkOrder,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "How many links were made.", body = LinkReport),
        (status = 422, description = "Not Unique Identifiers or Link Types, or too many.")))]
async fn link(
    acts: Acts,
    State(api): State<Api>,
    Asked(within): Asked<Within>,
    Wish(wish): Wish<LinkOrder>,
) -> Result<axum::Json<LinkReport>, Problem> {
    let organisation = api.organisation(&acts, within.organisation.as_deref())?;
    let (gateway, by) = (gateway(&api)?, acts.deciding.clone());
    to_the_end(async move { import::restore(&gateway, organisation, &by, &wish).await.map_err(refused) })
        .await
        .map(axum::Json)
}

fn gateway(api: &Api) -> Result<std::sync::Arc<Gateway>, Problem> {
    api.provisioning.gateway().ok_or_else(|| invalid("the object layer is not open"))
}

pub(super) fn refused(error: AdminError) -> Problem {
    if error.class == ErrorClass::Failed { internal(&error) } else { invalid(error.message) }
}
