//! `POST /keys/{key}/versions`, `POST /keys/{key}/state`, `DELETE /keys/{key}`: rotation, states and the end of a key.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use keygate_kmip::{
    ActivateRequest, DestroyRequest, LinkType, ObjectType, Operation, ReKeyKeyPairRequest, ReKeyRequest, RequestPayload, ResponsePayload,
    RevocationReason, RevocationReasonCode, RevokeRequest, UniqueIdentifier,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::{Body, Query},
    caller::{KeysDelete, KeysRotate, KeysState, May},
    create::id_of,
    keys::Named,
    names::{KeyName, linked},
    run::{Task, Work, mixed_up},
    view::{KeyView, is_deletable},
};
use crate::{
    object::Lifecycle,
    operation::OperationError,
    store::{ObjectId, RestPermission},
};

/// Longest reason, in octets.
const REASON_BYTES_MAX: usize = 500;

/// Nothing: a rotation takes no parameters.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoWish {}

/// Makes a new version of a key, as KMIP Re-key does: it takes over name and attributes; the old version stays as it is, without the
/// name, and is linked to the new one.
#[utoipa::path(post, path = "/api/key/v1/keys/{key}/versions", tag = "keys", params(Named), request_body = NoWish,
    security(("basic" = ["keys:rotate"])),
    responses((status = 201, description = "The new version.", body = KeyView),
        (status = 409, description = "It was replaced already, or is deactivated.", body = Failure)))]
pub(super) async fn rotate(
    may: May<KeysRotate>,
    State(rest): State<Rest>,
    Path(key): Path<String>,
    Body(NoWish {}): Body<NoWish>,
) -> Result<Response, Refused> {
    let view = rest.run(&may, Rotate { key: KeyName::parse(&key)? }).await?;
    Ok(done(StatusCode::CREATED, &view))
}

struct Rotate {
    key: KeyName,
}

impl Task for Rotate {
    type Answer = KeyView;

    fn operation(&self) -> Operation {
        Operation::ReKey
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<KeyView, OperationError> {
        let id = self.key.resolve(work).await?;
        let identifier = Some(UniqueIdentifier::Text(id.to_string()));
        let permit = work.exchange.permit_id(id, Operation::ReKey).await?;
        let object = work.exchange.object(&permit);
        let is_pair = object.object_type == ObjectType::PrivateKey;
        // Versions of a key are a line: who names an older one does not know of the newest.
        if let Some(newer) = linked(object, LinkType::ReplacementObjectLink) {
            return Err(OperationError::WrongState(format!("this version was replaced by {newer}: rotate the newest")));
        }
        // Dates are inherited, and with them the end: the new version would never be active.
        if object.lifecycle == Lifecycle::Deactivated {
            return Err(OperationError::WrongState("object is Deactivated, cannot rotate: make a new key".to_owned()));
        }
        let payload = if is_pair {
            RequestPayload::ReKeyKeyPair(ReKeyKeyPairRequest {
                private_key_unique_identifier: identifier,
                offset: None,
                common: None,
                private_key: None,
                public_key: None,
                common_protection_storage_masks: None,
                private_protection_storage_masks: None,
                public_protection_storage_masks: None,
            })
        } else {
            RequestPayload::ReKey(ReKeyRequest { unique_identifier: identifier, offset: None, attributes: None, protection_storage_masks: None })
        };
        let made = match work.item(payload).await? {
            ResponsePayload::ReKey(made) => made.unique_identifier,
            ResponsePayload::ReKeyKeyPair(made) => made.private_key_unique_identifier,
            other => return Err(mixed_up(&other)),
        };
        KeyView::of(work, id_of(&made)?, &mut 0).await
    }
}

/// Which state a key shall have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StateWish {
    /// The state.
    state: Wanted,
    /// Why, in the client's words: kept with the key. At most 500 octets.
    #[serde(default)]
    reason: Option<String>,
    /// With DEACTIVATED, COMPROMISED and DESTROYED: of a pair, the public half goes with the private one. Without it: it stays.
    #[serde(default)]
    pair: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Wanted {
    Active,
    Deactivated,
    Compromised,
    Destroyed,
}

/// Brings a key into another state. DESTROYED needs the permission keys:delete as well.
#[utoipa::path(post, path = "/api/key/v1/keys/{key}/state", tag = "keys", params(Named), request_body = StateWish,
    security(("basic" = ["keys:state"])),
    responses((status = 200, description = "The key.", body = KeyView), (status = 409, description = "Its state does not lead there.", body = Failure)))]
pub(super) async fn state(
    may: May<KeysState>,
    State(rest): State<Rest>,
    Path(key): Path<String>,
    Body(wish): Body<StateWish>,
) -> Result<Response, Refused> {
    if wish.reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control)) {
        return Err(Refused::invalid(format!("reason has at most {REASON_BYTES_MAX} octets and no control characters")));
    }
    if wish.state == Wanted::Destroyed {
        may.also(&rest, RestPermission::KeysDelete)?;
    }
    let view = rest.run(&may, Become { key: KeyName::parse(&key)?, state: wish.state, reason: wish.reason, pair: wish.pair }).await?;
    Ok(done(StatusCode::OK, &view))
}

struct Become {
    key: KeyName,
    state: Wanted,
    reason: Option<String>,
    pair: bool,
}

impl Task for Become {
    type Answer = KeyView;

    fn operation(&self) -> Operation {
        match self.state {
            Wanted::Active => Operation::Activate,
            Wanted::Deactivated | Wanted::Compromised => Operation::Revoke,
            Wanted::Destroyed => Operation::Destroy,
        }
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<KeyView, OperationError> {
        let id = self.key.resolve(work).await?;
        self.bring(work, id).await?;
        if let Some(half) = public_half(work, id, self.pair && self.state != Wanted::Active).await? {
            let permit = work.exchange.permit_id(half, Operation::GetAttributes).await?;
            // It may have been deactivated before, by itself.
            if self.state != Wanted::Deactivated || work.exchange.object(&permit).lifecycle == Lifecycle::Active {
                self.bring(work, half).await?;
            }
        }
        KeyView::of(work, id, &mut 0).await
    }
}

impl Become {
    async fn bring(&self, work: &mut Work<'_, '_>, id: ObjectId) -> Result<(), OperationError> {
        let unique_identifier = Some(UniqueIdentifier::Text(id.to_string()));
        let code = match self.state {
            Wanted::Active => {
                return work.item(RequestPayload::Activate(ActivateRequest { unique_identifier })).await.map(drop);
            }
            Wanted::Deactivated => RevocationReasonCode::CessationOfOperation,
            Wanted::Compromised => RevocationReasonCode::KeyCompromise,
            Wanted::Destroyed => return destroy(work, id).await,
        };
        let revocation_reason = RevocationReason { code, message: self.reason.clone() };
        let revoke = RevokeRequest { unique_identifier, revocation_reason, compromise_occurrence_date: None };
        work.item(RequestPayload::Revoke(revoke)).await.map(drop)
    }
}

/// How a key ends.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Ending {
    /// Of a pair, the public half is destroyed with the private one. Without it: it stays.
    #[serde(default)]
    pair: bool,
}

/// The public half that goes with a key, if it is to and is not destroyed.
async fn public_half(work: &mut Work<'_, '_>, id: ObjectId, pair: bool) -> Result<Option<ObjectId>, OperationError> {
    let permit = work.exchange.permit_id(id, Operation::GetAttributes).await?;
    let object = work.exchange.object(&permit);
    let is_private = object.object_type == ObjectType::PrivateKey;
    let Some(half) = linked(object, LinkType::PublicKeyLink).filter(|_| pair && is_private) else { return Ok(None) };
    match work.exchange.permit_id(half, Operation::GetAttributes).await {
        Ok(permit) => Ok(Some(half).filter(|_| !work.exchange.object(&permit).lifecycle.is_destroyed())),
        Err(_) => Ok(None),
    }
}

/// Destroys the material of a key for ever. An active key is deactivated first, by its state.
#[utoipa::path(delete, path = "/api/key/v1/keys/{key}", tag = "keys", params(Named, Ending), security(("basic" = ["keys:delete"])),
    responses((status = 204, description = "It is destroyed."), (status = 403, description = "It was made as not deletable.", body = Failure),
        (status = 409, description = "It is active.", body = Failure)))]
pub(super) async fn delete(
    may: May<KeysDelete>,
    State(rest): State<Rest>,
    Path(key): Path<String>,
    Query(ending): Query<Ending>,
) -> Result<Response, Refused> {
    rest.run(&may, Delete { key: KeyName::parse(&key)?, pair: ending.pair }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

struct Delete {
    key: KeyName,
    pair: bool,
}

impl Task for Delete {
    type Answer = ();

    fn operation(&self) -> Operation {
        Operation::Destroy
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<(), OperationError> {
        let id = self.key.resolve(work).await?;
        let half = public_half(work, id, self.pair).await?;
        destroy(work, id).await?;
        match half {
            Some(half) => destroy(work, half).await,
            None => Ok(()),
        }
    }
}

async fn destroy(work: &mut Work<'_, '_>, id: ObjectId) -> Result<(), OperationError> {
    let permit = work.exchange.permit_id(id, Operation::Destroy).await?;
    if !is_deletable(work.exchange.object(&permit)) {
        return Err(OperationError::PermissionDenied("the key was made as not deletable".to_owned()));
    }
    let request = DestroyRequest { unique_identifier: Some(UniqueIdentifier::Text(id.to_string())) };
    work.item(RequestPayload::Destroy(request)).await.map(drop)
}
