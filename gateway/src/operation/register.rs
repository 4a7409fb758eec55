//! Register: a client brings an object. KMIP 2.1 §6.1.46, KMIP 1.4 §4.3.

use keygate_kmip::ttlv::Writer;
use keygate_kmip::{
    Attribute, AttributeInstance, Field, KeyFormatType, KeyMaterial, KeyValue, ManagedObject, ObjectType, ProtocolVersion,
    RegisterRequest, RegisterResponse, Tag,
};
use zeroize::Zeroizing;

use super::{Exchange, OperationError, generate, new_object, split_key};
use crate::object::{Material, Object, key_block};
use crate::store::Custody;

/// Takes the object in.
///
/// # Errors
/// An object that is not of the type it says, attributes that contradict its value or may not be given.
pub(super) async fn register(exchange: &mut Exchange<'_>, request: RegisterRequest) -> Result<RegisterResponse, OperationError> {
    if request.object.object_type() != request.object_type {
        return Err(OperationError::InvalidField(format!(
            "Object Type is {}, the object is a {}",
            request.object_type,
            request.object.object_type()
        )));
    }
    check_given(exchange, &request.object)?;
    let given = new_object::expand(exchange, request.attributes).await?;
    let (object, material) = take_in(exchange, given, request.object).await?;
    let id = object.id;
    exchange.insert(object, material);
    exchange.set_placeholder(Some(id));
    Ok(RegisterResponse { unique_identifier: id.to_string().into(), attributes: None })
}

/// Whether an object is within the server's limit and, if it is a part of a split key, one that can be.
///
/// # Errors
/// [`OperationError::InvalidField`].
pub(super) fn check_given(exchange: &Exchange<'_>, object: &ManagedObject) -> Result<(), OperationError> {
    let (size, limit) = (object.to_stored_bytes().len(), exchange.gateway.policy.object_bytes_max);
    if size > limit {
        return Err(OperationError::InvalidField(format!("object of {size} bytes is over the limit of {limit}")));
    }
    match object {
        ManagedObject::SplitKey(part) => split_key::check_registered(part),
        _ => Ok(()),
    }
}

/// The object record and its material. Shared with Derive Key and those of split keys.
pub(super) async fn take_in(
    exchange: &mut Exchange<'_>,
    given: Vec<AttributeInstance>,
    object: ManagedObject,
) -> Result<(Object, Material), OperationError> {
    let keystore = new_object::keystore_of(exchange, &given)?;
    let record = new_object::build(exchange, object.object_type(), given, (keystore, Custody::Envelope))?;
    keep(exchange, record, object).await
}

/// Completes a record by what its value tells, and takes the value to the record's keystore. Shared with Import.
pub(super) async fn keep(
    exchange: &mut Exchange<'_>,
    mut record: Object,
    object: ManagedObject,
) -> Result<(Object, Material), OperationError> {
    describe(exchange, &mut record, &object)?;
    if let ManagedObject::Template(template) = &object {
        // The attributes of a template are what it is: they are found and read as its own.
        for instance in &template.attributes.list {
            if !record.attributes.has(&instance.attribute.name()) {
                record.attributes.add(instance.attribute.clone());
            }
        }
    }
    let imports = matches!(record.object_type, ObjectType::SymmetricKey | ObjectType::PrivateKey);
    if imports {
        let (custody, material) = generate::import(exchange, record.keystore, object, &record.attributes).await?;
        record.custody = custody;
        if matches!(material, Material::Referenced(_)) {
            super::create::stays_in_the_device(&mut record);
        }
        return Ok((record, material));
    }
    Ok((record, Material::Held(Box::new(object))))
}

/// Attributes that the value itself tells. What the client says besides must not contradict it where that is certain.
fn describe(exchange: &Exchange<'_>, record: &mut Object, object: &ManagedObject) -> Result<(), OperationError> {
    for fact in key_block::facts(object)? {
        match &fact {
            Attribute::CryptographicAlgorithm(algorithm) => {
                let said = record.attributes.cryptographic_algorithm();
                if said.is_some_and(|said| said != *algorithm) && !is_family(said, *algorithm) {
                    return Err(OperationError::InvalidField(format!("Cryptographic Algorithm contradicts the key, which is {algorithm}")));
                }
                record.attributes.set_default(fact);
            }
            // Clients register keys whose length attribute is not that of the value; the client's word stands.
            _ => record.attributes.set_default(fact),
        }
    }
    if let Some(bytes) = value_bytes(object) {
        new_object::set_digest(record, &bytes);
        if exchange.version >= ProtocolVersion::V2_0 {
            add_digest_of_default_format(record, object);
        }
    }
    // KMIP 1.4 §3.41: the attribute tells that the value is not here; where it is, it goes without saying.
    if object.key_block().is_some_and(|block| block.key_value.is_none()) {
        record.attributes.set(Attribute::KeyValuePresent(false));
    }
    record.advance(exchange.now);
    Ok(())
}

/// KMIP 2.1 §4.21: "it SHALL have a mandatory attribute instance computed with the SHA-256 hashing algorithm and the default
/// Key Value Format for this object type and algorithm"; of an RSA key that is PKCS#1 (§11.25).
fn add_digest_of_default_format(record: &mut Object, object: &ManagedObject) {
    let format = object.key_block().map(|block| block.key_format_type);
    let transparent = [KeyFormatType::TransparentRsaPrivateKey, KeyFormatType::TransparentRsaPublicKey];
    if !format.is_some_and(|format| transparent.contains(&format)) {
        return;
    }
    let converted = key_block::convert(object.clone(), KeyFormatType::Pkcs1, &record.attributes);
    if let Some(bytes) = converted.ok().as_ref().and_then(value_bytes) {
        record.attributes.add(new_object::digest_of(&bytes, Some(KeyFormatType::Pkcs1)));
    }
}

/// EC, ECDSA and ECDH name the same keys.
fn is_family(said: Option<keygate_kmip::CryptographicAlgorithm>, found: keygate_kmip::CryptographicAlgorithm) -> bool {
    use keygate_kmip::CryptographicAlgorithm as A;
    let elliptic = |algorithm| matches!(algorithm, A::Ec | A::Ecdsa | A::Ecdh | A::Ecmqv);
    said.is_some_and(elliptic) && elliptic(found)
}

/// The bytes that the Digest attribute is of: key material in the clear or wrapped, certificate, opaque value. Of a
/// transparent key it is the encoded Key Material (KMIP 1.4 §3.17: the digest is of the value in its key format).
pub(super) fn value_bytes(object: &ManagedObject) -> Option<Zeroizing<Vec<u8>>> {
    let copied = |bytes: &[u8]| Some(Zeroizing::new(bytes.to_vec()));
    match object {
        ManagedObject::Certificate(certificate) => copied(&certificate.value),
        ManagedObject::CertificateRequest(request) => copied(&request.value),
        ManagedObject::OpaqueObject(opaque) => copied(opaque.value.expose_bytes()),
        ManagedObject::Template(_) => None,
        keyed => match keyed.key_block()?.key_value.as_ref()? {
            KeyValue::Plain { material: KeyMaterial::Bytes(bytes), .. } | KeyValue::Wrapped(bytes) => copied(bytes.expose_bytes()),
            KeyValue::Plain { material: material @ KeyMaterial::Transparent(_), .. } => {
                let mut writer = Writer::new();
                material.encode(Tag::KEY_MATERIAL, &mut writer, ProtocolVersion::V2_1);
                Some(writer.into_bytes())
            }
        },
    }
}
