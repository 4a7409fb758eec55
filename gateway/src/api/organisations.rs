//! `/v1/organisations`: tenants.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    body::Wish,
    caller::{Acts, Sees},
    change::to_the_end,
    page::List,
};
use crate::http::Problem;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, add))
}

/// An organisation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OrganisationView {
    /// Its id.
    pub id: String,
    /// Its name, as in the address of its trust bundle.
    pub name: String,
}

/// An organisation to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrganisation {
    /// 1 to 64 small letters, digits and dashes; begins with a letter.
    name: String,
}

/// Lists the organisations that the caller sees.
#[utoipa::path(get, path = "/v1/organisations", tag = "organisations", security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The organisations.", body = List<OrganisationView>)))]
async fn list(sees: Sees, State(api): State<Api>) -> Json<List<OrganisationView>> {
    let all = api.provisioning.organisations().into_iter();
    let seen = all.filter(|(id, _)| sees.organisation.is_none_or(|own| own == *id));
    Json(List { items: seen.map(|(id, name)| OrganisationView { id: id.to_string(), name }).collect() })
}

/// Adds an organisation.
#[utoipa::path(post, path = "/v1/organisations", tag = "organisations", request_body = NewOrganisation,
    security(("administrator" = ["security:write"])),
    responses((status = 201, description = "The organisation.", body = OrganisationView), (status = 409, description = "The name is taken.")))]
async fn add(acts: Acts, State(api): State<Api>, Wish(wish): Wish<NewOrganisation>) -> Result<(StatusCode, Json<OrganisationView>), Problem> {
    acts.for_all("a new organisation")?;
    let (by, provisioning, name) = (acts.deciding.clone(), api.provisioning.clone(), wish.name.clone());
    let id = to_the_end(async move { provisioning.add_organisation(&by, &name).await }).await?;
    Ok((StatusCode::CREATED, Json(OrganisationView { id: id.to_string(), name: wish.name })))
}
