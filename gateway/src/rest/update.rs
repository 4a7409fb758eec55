//! `PATCH /keys/{key}`: group and the client's own attributes.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use keygate_kmip::{
    AddAttributeRequest, Attribute, AttributeName, DeleteAttributeRequest, Operation, RequestPayload, SetAttributeRequest, Tag, UniqueIdentifier,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::Body,
    caller::{KeysUpdate, May},
    keys::Named,
    names::KeyName,
    run::{Task, Work},
    view::KeyView,
    wishes,
};
use crate::operation::OperationError;

/// What changes. What is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyChanges {
    /// Another group.
    #[serde(default)]
    group: Option<String>,
    /// Attributes of the client's own by name: a text is set, null removes. At most 32.
    #[serde(default)]
    attributes: BTreeMap<String, Option<String>>,
}

/// Changes attributes of a key, all of them or none.
#[utoipa::path(patch, path = "/api/key/v1/keys/{key}", tag = "keys", params(Named), request_body = KeyChanges,
    security(("basic" = ["keys:update"])),
    responses((status = 200, description = "The key.", body = KeyView), (status = 404, description = "No such key, or no such attribute to remove.", body = Failure)))]
pub(super) async fn change(
    may: May<KeysUpdate>,
    State(rest): State<Rest>,
    Path(key): Path<String>,
    Body(wish): Body<KeyChanges>,
) -> Result<Response, Refused> {
    wishes::attributes(&wish.attributes)?;
    if let Some(group) = &wish.group {
        wishes::group(group)?;
    }
    if wish.group.is_none() && wish.attributes.is_empty() {
        return Err(Refused::invalid("give group or attributes"));
    }
    let view = rest.run(&may, Update { key: KeyName::parse(&key)?, wish }).await?;
    Ok(done(StatusCode::OK, &view))
}

struct Update {
    key: KeyName,
    wish: KeyChanges,
}

impl Task for Update {
    type Answer = KeyView;

    fn operation(&self) -> Operation {
        Operation::SetAttribute
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<KeyView, OperationError> {
        let id = self.key.resolve(work).await?;
        let identifier = Some(UniqueIdentifier::Text(id.to_string()));
        if let Some(group) = &self.wish.group {
            // Object Group takes several values over KMIP; the contract knows one.
            let permit = work.exchange.permit_id(id, Operation::DeleteAttribute).await?;
            if work.exchange.object(&permit).attributes.has_tag(Tag::OBJECT_GROUP) {
                work.item(removal(&identifier, AttributeName::Standard(Tag::OBJECT_GROUP))).await?;
            }
            let attribute = Attribute::ObjectGroup(group.clone()).into();
            work.item(RequestPayload::AddAttribute(AddAttributeRequest { unique_identifier: identifier.clone(), attribute })).await?;
        }
        for (name, value) in &self.wish.attributes {
            let payload = match value {
                Some(value) => {
                    let attribute = wishes::custom(name, value).into();
                    RequestPayload::SetAttribute(SetAttributeRequest { unique_identifier: identifier.clone(), attribute })
                }
                None => removal(&identifier, AttributeName::Custom { vendor: "x".to_owned(), name: name.clone() }),
            };
            work.item(payload).await?;
        }
        KeyView::of(work, id, &mut 0).await
    }
}

fn removal(identifier: &Option<UniqueIdentifier>, name: AttributeName) -> RequestPayload {
    RequestPayload::DeleteAttribute(DeleteAttributeRequest { unique_identifier: identifier.clone(), current: None, name: Some(name), index: None })
}
