//! Get. KMIP 2.1 §6.1.20, KMIP 1.4 §4.11.
//!
//! The busiest operation: an object that is asked for as it is takes one opening of its record and no conversion.

use keygate_backends::{Class, Key, KeyRef, OpCx};
use keygate_kmip::{
    GetRequest, GetResponse, KeyCompressionType, KeyWrapType, ManagedObject, ObjectType, Operation, Tag,
};

use std::time::Duration;

use super::{Exchange, OperationError, groups, wrap};
use crate::authorize::Permit;
use crate::object::{Material, Object, key_block};
use crate::store::Custody;

/// How long a key server may take to hand a key out.
const FETCH_DEADLINE: Duration = Duration::from_secs(10);

/// Hands an object out.
///
/// # Errors
/// A destroyed or archived object, one that must not leave or only wrapped, a format that it cannot be written in, a
/// wrapping key that may not be used.
pub(super) async fn get(exchange: &mut Exchange<'_>, request: GetRequest) -> Result<GetResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Get).await?;
    let object = hand_out(exchange, &permit, request).await?;
    mark_served(exchange, &permit);
    groups::served(exchange, &permit);
    exchange.set_placeholder(Some(permit.object()));
    Ok(GetResponse { object_type: object.object_type(), unique_identifier: permit.object().to_string().into(), object })
}

/// The object as it is asked for, if it may leave like this. Shared with Export.
pub(super) async fn hand_out(exchange: &mut Exchange<'_>, permit: &Permit, request: GetRequest) -> Result<ManagedObject, OperationError> {
    exchange.object(permit).check_present()?;
    let mut held = match exchange.material(permit)? {
        Material::Held(held) => *held,
        Material::Referenced(key) => fetch(exchange, permit, &key).await?,
        Material::None => return Err(OperationError::KeyValueNotPresent),
    };
    let object = exchange.object(permit);
    check_release(object, &held, &request)?;
    check_compression(&held, request.key_compression_type)?;
    let secret = is_secret(object.object_type);
    let form = wrap::Form::of(&held);
    if is_wrapped(&held) && (request.key_wrap_type == Some(KeyWrapType::NotWrapped) || request.key_wrapping_specification.is_some()) {
        held = wrap::unwrap_registered(exchange, permit.object(), held).await?;
    }
    if let Some(format) = request.key_format_type {
        held = key_block::convert(held, format, &exchange.object(permit).attributes)?;
    }
    if let Some(specification) = request.key_wrapping_specification {
        held = wrap::wrap(exchange, permit, held, form, specification).await?;
    }
    if secret {
        exchange.release_material();
    }
    Ok(held)
}

/// The value of a key that lives in a key server, where that hands it out and the key may leave at all.
async fn fetch(exchange: &Exchange<'_>, permit: &Permit, key: &KeyRef) -> Result<ManagedObject, OperationError> {
    let object = exchange.object(permit);
    if object.custody != Custody::Reference || !object.attributes.flag(Tag::EXTRACTABLE) {
        return Err(OperationError::NotExtractable);
    }
    let (object_type, length) = (object.object_type, object.attributes.cryptographic_length().unwrap_or_default());
    let algorithm = object.attributes.cryptographic_algorithm().ok_or(OperationError::Internal)?;
    let keystore = exchange.gateway.keystores.get(object.keystore)?;
    let material = match keystore.export(Key::Reference(key), OpCx::within(FETCH_DEADLINE)).await {
        Err(error) if error.class() == Class::Denied => return Err(OperationError::NotExtractable),
        other => other?,
    };
    let key_block = key_block::key_block_of(&material, None, object_type, algorithm, length)?;
    Ok(match object_type {
        ObjectType::PrivateKey => ManagedObject::PrivateKey(keygate_kmip::Key { key_block }),
        _ => ManagedObject::SymmetricKey(keygate_kmip::Key { key_block }),
    })
}

/// KMIP 2.1 §4.22: a key that is not Extractable does not leave. §4.54: "If True then the object MUST be wrapped" to leave.
pub(super) fn check_release(object: &Object, held: &ManagedObject, request: &GetRequest) -> Result<(), OperationError> {
    // A client may say of a public key that it is sensitive; that it is not extractable makes no difference to anybody.
    if is_secret(object.object_type) && !object.attributes.is_extractable() {
        return Err(OperationError::NotExtractable);
    }
    let leaves_wrapped = request.key_wrapping_specification.is_some()
        || is_wrapped(held) && request.key_wrap_type != Some(KeyWrapType::NotWrapped);
    if object.attributes.flag(Tag::SENSITIVE) && !leaves_wrapped {
        return Err(OperationError::Sensitive);
    }
    Ok(())
}

fn check_compression(held: &ManagedObject, asked: Option<KeyCompressionType>) -> Result<(), OperationError> {
    let Some(asked) = asked else { return Ok(()) };
    let has = held.key_block().and_then(|block| block.key_compression_type);
    let uncompressed = asked == KeyCompressionType::EcPublicKeyTypeUncompressed && has.is_none();
    if has == Some(asked) || uncompressed { Ok(()) } else { Err(OperationError::KeyCompressionNotSupported) }
}

/// KMIP 1.4 §3.34: "The server SHALL change the attribute value to False as soon as the object has been served to a client."
/// Once in an object's life, so that only its first Get is also a write.
fn mark_served(exchange: &mut Exchange<'_>, permit: &Permit) {
    if exchange.object(permit).attributes.flag(Tag::FRESH) {
        exchange.mark_served(permit);
    }
}

pub(super) fn is_secret(object_type: ObjectType) -> bool {
    !matches!(
        object_type,
        ObjectType::Certificate | ObjectType::CertificateRequest | ObjectType::PublicKey | ObjectType::Template
    )
}

pub(super) fn is_wrapped(held: &ManagedObject) -> bool {
    held.key_block().is_some_and(|block| block.key_wrapping_data.is_some())
}
