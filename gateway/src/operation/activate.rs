//! Activate. KMIP 2.1 §6.1.1, KMIP 1.4 §4.19.

use keygate_kmip::{ActivateRequest, ActivateResponse, Attribute, DateTime, Operation};

use super::{Exchange, OperationError};

/// Makes a Pre-Active object Active.
///
/// # Errors
/// [`OperationError::WrongState`] unless Pre-Active.
pub(super) async fn activate(exchange: &mut Exchange<'_>, request: ActivateRequest) -> Result<ActivateResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Activate).await?;
    let object = exchange.object(&permit);
    object.check_has_state()?;
    let active = object.lifecycle.activate()?;
    let now = DateTime(exchange.now);
    let id = permit.object();
    let object = exchange.change(&permit);
    object.lifecycle = active;
    object.attributes.set(Attribute::ActivationDate(now));
    exchange.set_placeholder(Some(id));
    Ok(ActivateResponse { unique_identifier: id.to_string().into() })
}
