//! Revoke, and Deactivate of 3.0. KMIP 2.1 §6.1.49, KMIP 1.4 §4.20.

use keygate_kmip::{Attribute, DateTime, DeactivateRequest, DeactivateResponse, Operation, RevocationReasonCode, RevokeRequest, RevokeResponse};

use super::{Exchange, OperationError};

/// Deactivates an object, or marks it compromised.
///
/// # Errors
/// [`OperationError::WrongState`] if it is to be deactivated and is not Active.
pub(super) async fn revoke(exchange: &mut Exchange<'_>, request: RevokeRequest) -> Result<RevokeResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Revoke).await?;
    let object = exchange.object(&permit);
    object.check_has_state()?;
    // "If the revocation reason is 'key compromise' or 'CA compromise', then the object is placed into the 'compromised'
    // state [...]. Otherwise, the object is placed into the 'deactivated' state".
    let compromised = matches!(
        request.revocation_reason.code,
        RevocationReasonCode::KeyCompromise | RevocationReasonCode::CaCompromise
    );
    let lifecycle = if compromised { object.lifecycle.compromise() } else { object.lifecycle.deactivate()? };
    let now = DateTime(exchange.now);
    let id = permit.object();
    let object = exchange.change(&permit);
    object.lifecycle = lifecycle;
    if compromised {
        object.attributes.set(Attribute::CompromiseDate(now));
        let occurred = request.compromise_occurrence_date.unwrap_or(now);
        object.attributes.set(Attribute::CompromiseOccurrenceDate(occurred));
    } else {
        object.attributes.set(Attribute::DeactivationDate(now));
    }
    object.attributes.set(Attribute::RevocationReason(request.revocation_reason));
    exchange.set_placeholder(Some(id));
    Ok(RevokeResponse { unique_identifier: id.to_string().into() })
}

/// Deactivates an object.
///
/// # Errors
/// [`OperationError::WrongState`] if it is not Active.
pub(super) async fn deactivate(exchange: &mut Exchange<'_>, request: DeactivateRequest) -> Result<DeactivateResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Deactivate).await?;
    let object = exchange.object(&permit);
    object.check_has_state()?;
    let lifecycle = object.lifecycle.deactivate()?;
    let now = DateTime(exchange.now);
    let id = permit.object();
    let object = exchange.change(&permit);
    object.lifecycle = lifecycle;
    object.attributes.set(Attribute::DeactivationDate(now));
    exchange.set_placeholder(Some(id));
    Ok(DeactivateResponse { unique_identifier: id.to_string().into() })
}
