//! `GET /keys` and `GET /keys/{key}`: what is known of keys.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use keygate_kmip::{Attribute, Attributes, GetAttributesRequest, LocateRequest, Name, Operation, RequestPayload, ResponsePayload, UniqueIdentifier};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::Query,
    caller::{KeysRead, May},
    create::id_of,
    names::KeyName,
    run::{Task, Work, mixed_up},
    view::KeyView,
};
use crate::operation::OperationError;

/// Keys of a page where nothing is said.
const LIMIT: usize = 50;
/// Most keys of a page: each is read.
const LIMIT_MAX: usize = 200;
/// Farthest a page may begin: everything before it is read, too.
const OFFSET_MAX: usize = 100_000;

/// A key in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct Named {
    /// UUID, name, or `name#version` (written `%23`).
    key: String,
}

/// Which keys.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// How many keys come before the page, 0 to 100000: `nextOffset` of the page before. Newest keys come first.
    #[serde(default)]
    offset: usize,
    /// Most keys of the page, 1 to 200. Without it: 50.
    #[serde(default)]
    limit: Option<usize>,
    /// Only the key of this name.
    #[serde(default)]
    name: Option<String>,
    /// Only keys of this group.
    #[serde(default)]
    group: Option<String>,
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyPage {
    /// The keys, newest first.
    keys: Vec<KeyView>,
    /// The offset of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<usize>,
}

/// Lists the keys that the user's client may locate, those that were destroyed left out.
#[utoipa::path(get, path = "/api/key/v1/keys", tag = "keys", params(Which), security(("basic" = ["keys:read"])),
    responses((status = 200, description = "A page.", body = KeyPage), (status = 400, description = "A query that is not accepted.", body = Failure)))]
pub(super) async fn list(may: May<KeysRead>, State(rest): State<Rest>, Query(which): Query<Which>) -> Result<Response, Refused> {
    let limit = which.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refused::invalid(format!("limit must be 1 to {LIMIT_MAX}")));
    }
    if which.offset > OFFSET_MAX {
        return Err(Refused::invalid(format!("offset must be 0 to {OFFSET_MAX}")));
    }
    let page = rest.run(&may, List { offset: which.offset, limit, name: which.name, group: which.group }).await?;
    Ok(done(StatusCode::OK, &page))
}

struct List {
    offset: usize,
    limit: usize,
    name: Option<String>,
    group: Option<String>,
}

impl Task for List {
    type Answer = KeyPage;

    fn operation(&self) -> Operation {
        Operation::Locate
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<KeyPage, OperationError> {
        // One more than wanted says whether there is a next page.
        let most = (self.limit + 1).min(work.exchange.gateway.policy.locate_page_max);
        let count = |number: usize| i32::try_from(number).ok();
        let name = self.name.iter().map(|name| Attribute::Name(Name::text(name)).into());
        let list = name.chain(self.group.iter().map(|group| Attribute::ObjectGroup(group.clone()).into())).collect();
        let locate = LocateRequest {
            maximum_items: count(most),
            offset_items: count(self.offset).filter(|offset| *offset > 0),
            attributes: Attributes { templates: Vec::new(), list },
            ..LocateRequest::default()
        };
        let found = match work.item(RequestPayload::Locate(locate)).await? {
            ResponsePayload::Locate(found) => found.unique_identifiers,
            other => return Err(mixed_up(&other)),
        };
        let shown = found.len().min(self.limit);
        let next_offset = (found.len() == most).then_some(self.offset + shown);
        let (mut keys, mut walked) = (Vec::with_capacity(shown), 0);
        for identifier in &found[..shown] {
            match KeyView::of(work, id_of(identifier)?, &mut walked).await {
                Ok(view) => keys.push(view),
                // Located, and not to be read: Locate is granted alone.
                Err(OperationError::NotFound | OperationError::PermissionDenied(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(KeyPage { keys, next_offset })
    }
}

/// Shows a key.
#[utoipa::path(get, path = "/api/key/v1/keys/{key}", tag = "keys", params(Named), security(("basic" = ["keys:read"])),
    responses((status = 200, description = "The key.", body = KeyView), (status = 404, description = "No such key for this user.", body = Failure)))]
pub(super) async fn show(may: May<KeysRead>, State(rest): State<Rest>, Path(key): Path<String>) -> Result<Response, Refused> {
    let view = rest.run(&may, Show { key: KeyName::parse(&key)? }).await?;
    Ok(done(StatusCode::OK, &view))
}

struct Show {
    key: KeyName,
}

impl Task for Show {
    type Answer = KeyView;

    fn operation(&self) -> Operation {
        Operation::GetAttributes
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<KeyView, OperationError> {
        let id = self.key.resolve(work).await?;
        // The operation is what is on record; the answer is worded from the object itself.
        let asked = GetAttributesRequest { unique_identifier: Some(UniqueIdentifier::Text(id.to_string())), names: Vec::new() };
        work.item(RequestPayload::GetAttributes(asked)).await?;
        KeyView::with_public_value(work, id).await
    }
}
