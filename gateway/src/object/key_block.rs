//! Key blocks and key material: reading every registered form for use, writing every Key Format Type for Get.
//!
//! Serves KMIP 2.1 §3.1 (Key Block), §3.4 to §3.12 (transparent keys) and §11.25 (Key Format Type). A registered object
//! keeps its bytes as they came; converting happens only when another format is asked for, or for use. Leaves to others:
//! wrapping and unwrapping ([`crate::operation`]), which attributes a value tells (`facts`).

use keygate_backends::local::{KeyMaterial, KeyValueForm, Role};
use keygate_backends::{Class, Fault, KsError, SecretBytes};
use keygate_kmip::{
    Attributes, Certificate, CertificateType, CryptographicAlgorithm, Key, KeyBlock, KeyFormatType, KeyMaterial as Value,
    KeyValue, ManagedObject, ObjectType, Secret, TransparentKey,
};

pub use super::facts::facts;
use super::{AttributeSet, certificate, transparent};
use crate::operation::OperationError;

/// The key in an object, parsed for use. A certificate stands for its subject's public key.
///
/// # Errors
/// [`OperationError::KeyValueNotPresent`] if the value is kept elsewhere, [`OperationError::FeatureNotSupported`] for a
/// form that is not used here, [`OperationError::InvalidField`] for one that is malformed.
pub fn material_of(object: &ManagedObject, attributes: &AttributeSet) -> Result<KeyMaterial, OperationError> {
    let (role, block) = match object {
        ManagedObject::SymmetricKey(key) => (Role::Symmetric, &key.key_block),
        ManagedObject::PrivateKey(key) => (Role::Private, &key.key_block),
        ManagedObject::PublicKey(key) => (Role::Public, &key.key_block),
        ManagedObject::Certificate(certificate) => return certified_key(certificate),
        other => return Err(OperationError::InvalidField(format!("a {} is not a key", other.object_type()))),
    };
    let value = match &block.key_value {
        Some(KeyValue::Plain { material, .. }) => material,
        Some(KeyValue::Wrapped(_)) => return Err(wrapped()),
        None => return Err(OperationError::KeyValueNotPresent),
    };
    if block.key_wrapping_data.is_some() {
        return Err(wrapped());
    }
    let algorithm = block.cryptographic_algorithm.or_else(|| attributes.cryptographic_algorithm());
    let format = block.key_format_type;
    let material = match value {
        Value::Transparent(key) => transparent::read(role, format, key, algorithm)?,
        Value::Bytes(bytes) => {
            let algorithm = algorithm
                .or_else(|| implied_algorithm(format))
                .ok_or_else(|| OperationError::InvalidField("the key has no Cryptographic Algorithm".to_owned()))?;
            let format = opaque_is_raw(role, format);
            KeyMaterial::from_bytes(role, format, algorithm, attributes.recommended_curve(), bytes.expose_bytes())?
        }
    };
    Ok(material)
}

/// A key block of the material in a format; in the usual format of its kind if none is asked for.
///
/// # Errors
/// [`OperationError::KeyFormatNotSupported`] if such a key is not written in this format.
pub fn key_block_of(
    material: &KeyMaterial,
    format: Option<KeyFormatType>,
    object_type: ObjectType,
    algorithm: CryptographicAlgorithm,
    length: i32,
) -> Result<KeyBlock, OperationError> {
    let format = match format {
        Some(format) => format,
        None => default_format(object_type, algorithm)?,
    };
    let value = match material.to_form(format).map_err(not_in_this_format)? {
        KeyValueForm::Bytes(bytes) if format == KeyFormatType::TransparentSymmetricKey => {
            Value::Transparent(Box::new(TransparentKey { key: Some(secret(bytes)), ..TransparentKey::default() }))
        }
        KeyValueForm::Bytes(bytes) => Value::Bytes(secret(bytes)),
        form => Value::Transparent(Box::new(transparent::write(form, format))),
    };
    Ok(KeyBlock {
        key_format_type: format,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain { material: value, attributes: Attributes::default() }),
        cryptographic_algorithm: Some(algorithm),
        cryptographic_length: Some(length),
        key_wrapping_data: None,
    })
}

/// The object with its value in another format; as it is if it is in that format already.
///
/// # Errors
/// [`OperationError::KeyFormatNotSupported`] if it has no key block, is wrapped, or is not written in this format.
pub fn convert(mut object: ManagedObject, format: KeyFormatType, attributes: &AttributeSet) -> Result<ManagedObject, OperationError> {
    let object_type = object.object_type();
    let Some(block) = object.key_block() else {
        return Err(OperationError::KeyFormatNotSupported(format!("a {object_type} has no Key Format Type")));
    };
    if block.key_format_type == format {
        return Ok(object);
    }
    if object_type == ObjectType::SecretData && is_octets(block.key_format_type) && is_octets(format) {
        return Ok(relabelled(object, format));
    }
    if block.key_wrapping_data.is_some() || !matches!(block.key_value, Some(KeyValue::Plain { .. })) {
        return Err(OperationError::KeyFormatNotSupported("a wrapped key is not converted; ask for it as registered".to_owned()));
    }
    let (algorithm, length) = (block.cryptographic_algorithm, block.cryptographic_length);
    let material = material_of(&object, attributes).map_err(as_format_error)?;
    let mut converted = key_block_of(&material, Some(format), object_type, CryptographicAlgorithm::Aes, 0)?;
    converted.cryptographic_algorithm = algorithm;
    converted.cryptographic_length = length;
    if let Some(block) = object.key_block_mut() {
        keep_attributes(block, &mut converted);
        *block = converted;
    }
    Ok(object)
}

/// A key pair's public half as an object, its value SubjectPublicKeyInfo.
///
/// # Errors
/// [`OperationError::KeyFormatNotSupported`] if the material is not a public key.
pub fn public_key(material: &KeyMaterial, algorithm: CryptographicAlgorithm, bits: u32) -> Result<ManagedObject, OperationError> {
    let key_block = key_block_of(material, None, ObjectType::PublicKey, algorithm, bits.cast_signed())?;
    Ok(ManagedObject::PublicKey(Key { key_block }))
}

/// The format in which the server writes a key that it made. KMIP 2.1 §11.25: for symmetric keys Raw, RSA private keys
/// PKCS#1, EC private keys ECPrivateKey, public keys X.509 (RSA: PKCS#1).
fn default_format(object_type: ObjectType, algorithm: CryptographicAlgorithm) -> Result<KeyFormatType, OperationError> {
    use CryptographicAlgorithm as A;
    match (object_type, algorithm) {
        (ObjectType::SymmetricKey, _) => Ok(KeyFormatType::Raw),
        (ObjectType::PrivateKey | ObjectType::PublicKey, A::Rsa) => Ok(KeyFormatType::Pkcs1),
        (ObjectType::PrivateKey, A::Ec | A::Ecdsa | A::Ecdh | A::Ecmqv) => Ok(KeyFormatType::EcPrivateKey),
        (ObjectType::PrivateKey, _) => Ok(KeyFormatType::Pkcs8),
        (ObjectType::PublicKey, _) => Ok(KeyFormatType::X509),
        (other, _) => Err(OperationError::KeyFormatNotSupported(format!("a {other} has no Key Format Type"))),
    }
}

fn certified_key(certificate: &Certificate) -> Result<KeyMaterial, OperationError> {
    if certificate.certificate_type != CertificateType::X509 {
        return Err(OperationError::FeatureNotSupported("only X.509 certificates are used as keys".to_owned()));
    }
    Ok(KeyMaterial::from_spki(&certificate::public_key_info(&certificate.value)?)?)
}

fn implied_algorithm(format: KeyFormatType) -> Option<CryptographicAlgorithm> {
    match format {
        // These name the algorithm themselves; the reader does not look at ours.
        KeyFormatType::Pkcs1 => Some(CryptographicAlgorithm::Rsa),
        KeyFormatType::Pkcs8 | KeyFormatType::X509 | KeyFormatType::EcPrivateKey => Some(CryptographicAlgorithm::Ec),
        _ => None,
    }
}

/// KMIP 2.1 §11.25: Opaque is for a format "that the server does not understand"; of a symmetric key whose algorithm is
/// known the octets are the key.
fn opaque_is_raw(role: Role, format: KeyFormatType) -> KeyFormatType {
    match (role, format) {
        (Role::Symmetric, KeyFormatType::Opaque) => KeyFormatType::Raw,
        (_, format) => format,
    }
}

fn is_octets(format: KeyFormatType) -> bool {
    matches!(format, KeyFormatType::Raw | KeyFormatType::Opaque)
}

fn relabelled(mut object: ManagedObject, format: KeyFormatType) -> ManagedObject {
    if let Some(block) = object.key_block_mut() {
        block.key_format_type = format;
    }
    object
}

fn keep_attributes(from: &mut KeyBlock, to: &mut KeyBlock) {
    if let (Some(KeyValue::Plain { attributes: from, .. }), Some(KeyValue::Plain { attributes: to, .. })) =
        (&mut from.key_value, &mut to.key_value)
    {
        std::mem::swap(from, to);
    }
}

fn secret(bytes: SecretBytes) -> Secret {
    Secret::new(bytes.into_exposed())
}

fn wrapped() -> OperationError {
    OperationError::FeatureNotSupported("the key is wrapped and is not used as it is".to_owned())
}

fn not_in_this_format(error: KsError) -> OperationError {
    match error.class() {
        Class::Unsupported | Class::BadInput(Fault::Key | Fault::Parameters) => {
            OperationError::KeyFormatNotSupported(error.to_string())
        }
        _ => error.into(),
    }
}

fn as_format_error(error: OperationError) -> OperationError {
    match error {
        OperationError::FeatureNotSupported(text) | OperationError::InvalidField(text) => {
            OperationError::KeyFormatNotSupported(text)
        }
        other => other,
    }
}
