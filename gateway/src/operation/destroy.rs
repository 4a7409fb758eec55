//! Destroy, and Obliterate of 3.0. KMIP 2.1 §6.1.14, KMIP 1.4 §4.21.

use keygate_kmip::{Attribute, DateTime, DestroyRequest, DestroyResponse, ObliterateRequest, ObliterateResponse, Operation};

use super::{Exchange, OperationError, generate};
use crate::object::Material;

/// Destroys the key material; the attributes stay.
///
/// # Errors
/// [`OperationError::WrongState`] if Active or destroyed already.
pub(super) async fn destroy(exchange: &mut Exchange<'_>, request: DestroyRequest) -> Result<DestroyResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Destroy).await?;
    let object = exchange.object(&permit);
    if object.is_archived() {
        return Err(OperationError::Archived);
    }
    if object.lifecycle.is_destroyed() {
        return Err(OperationError::Destroyed);
    }
    let destroyed = object.lifecycle.destroy()?;
    generate::destroy(exchange, &permit).await?;
    let now = DateTime(exchange.now);
    let id = permit.object();
    exchange.set_material(&permit, Material::None);
    let object = exchange.change(&permit);
    object.lifecycle = destroyed;
    object.attributes.set(Attribute::DestroyDate(now));
    exchange.set_placeholder(Some(id));
    Ok(DestroyResponse { unique_identifier: id.to_string().into() })
}

/// Removes the object with its attributes; nothing but the audit record knows of it afterwards. What Destroy would refuse is refused; an
/// object that is destroyed already may go.
///
/// # Errors
/// [`OperationError::WrongState`] if Active.
pub(super) async fn obliterate(exchange: &mut Exchange<'_>, request: ObliterateRequest) -> Result<ObliterateResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Obliterate).await?;
    let object = exchange.object(&permit);
    if object.is_archived() {
        return Err(OperationError::Archived);
    }
    if !object.lifecycle.is_destroyed() {
        object.lifecycle.destroy()?;
        generate::destroy(exchange, &permit).await?;
        exchange.set_material(&permit, Material::None);
    }
    exchange.remove(permit);
    exchange.set_placeholder(None);
    Ok(ObliterateResponse {})
}
