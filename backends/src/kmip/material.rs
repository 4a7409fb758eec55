//! Key blocks: material to be registered, and material that was fetched.

use crate::error::{Class, KsError, Result};
use crate::local::{KeyKind, KeyMaterial, PairKind, Role, RsaPublic};
use keygate_kmip::{
    Attributes, BigInteger, CryptographicAlgorithm, Key, KeyBlock, KeyFormatType, KeyMaterial as Value, KeyValue,
    ManagedObject, RecommendedCurve, Secret,
};

/// Cryptographic Algorithm of a kind of key.
pub(super) fn algorithm(kind: KeyKind) -> CryptographicAlgorithm {
    match kind {
        KeyKind::Symmetric(algorithm) => algorithm,
        KeyKind::Private(pair) | KeyKind::Public(pair) => match pair {
            PairKind::Rsa => CryptographicAlgorithm::Rsa,
            PairKind::Ec(_) | PairKind::X25519 => CryptographicAlgorithm::Ec,
            PairKind::Ed25519 => CryptographicAlgorithm::Ed25519,
            PairKind::MlDsa(set) => set.algorithm(),
            PairKind::MlKem(set) => set.algorithm(),
        },
    }
}

/// Recommended Curve of a kind of key.
pub(super) fn curve(kind: KeyKind) -> Option<RecommendedCurve> {
    match kind {
        KeyKind::Private(PairKind::Ec(curve)) | KeyKind::Public(PairKind::Ec(curve)) => Some(curve),
        KeyKind::Private(PairKind::X25519) | KeyKind::Public(PairKind::X25519) => Some(RecommendedCurve::Curve25519),
        _ => None,
    }
}

/// A symmetric or private key as Register sends it.
pub(super) fn to_object(material: &KeyMaterial) -> Result<ManagedObject> {
    let bits = i32::try_from(material.bits()?).map_err(|_| KsError::key("key too long"))?;
    let block = |key_format_type| KeyBlock {
        key_format_type,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain {
            material: Value::Bytes(Secret::new(material.expose_canonical().to_vec())),
            attributes: Attributes::default(),
        }),
        cryptographic_algorithm: Some(algorithm(material.kind())),
        cryptographic_length: Some(bits),
        key_wrapping_data: None,
    };
    match material.kind() {
        KeyKind::Symmetric(_) => Ok(ManagedObject::SymmetricKey(Key { key_block: block(KeyFormatType::Raw) })),
        KeyKind::Private(_) => Ok(ManagedObject::PrivateKey(Key { key_block: block(KeyFormatType::Pkcs8) })),
        KeyKind::Public(_) => Err(KsError::parameters("a public key needs no keystore")),
    }
}

/// The key in an object that was fetched. `curve` helps where the form does not name it.
pub(super) fn from_object(object: &ManagedObject, curve: Option<RecommendedCurve>) -> Result<KeyMaterial> {
    let (role, key) = match object {
        ManagedObject::SymmetricKey(key) => (Role::Symmetric, key),
        ManagedObject::PrivateKey(key) => (Role::Private, key),
        ManagedObject::PublicKey(key) => (Role::Public, key),
        other => return Err(unusable(&format!("a {} is not a key", other.object_type()))),
    };
    let block = &key.key_block;
    let value = match &block.key_value {
        Some(KeyValue::Plain { material, .. }) if block.key_wrapping_data.is_none() => material,
        _ => return Err(unusable("the key is wrapped or has no value")),
    };
    match value {
        Value::Bytes(bytes) => {
            // Forms that name their algorithm themselves come without one from some servers.
            let algorithm = block.cryptographic_algorithm.unwrap_or(CryptographicAlgorithm::Aes);
            KeyMaterial::from_bytes(role, block.key_format_type, algorithm, curve, bytes.expose_bytes())
        }
        Value::Transparent(key) => match (&key.key, &key.modulus, &key.public_exponent) {
            (Some(bytes), _, _) => {
                let algorithm = block.cryptographic_algorithm.ok_or_else(|| unusable("the key has no algorithm"))?;
                KeyMaterial::symmetric(algorithm, crate::SecretBytes::copy_of(bytes.expose_bytes()))
            }
            (None, Some(modulus), Some(exponent)) if matches!(role, Role::Public) => {
                let unsigned = |number: &BigInteger| {
                    number.unsigned().map(<[u8]>::to_vec).ok_or_else(|| unusable("a number of the key is negative"))
                };
                RsaPublic { modulus: unsigned(modulus)?, public_exponent: unsigned(exponent)? }.to_material()
            }
            _ => Err(KsError::unsupported("the key server sends a transparent key of a kind that is not read")),
        },
    }
    .map_err(|error| match error.class() {
        // The server is at fault, not the caller's request.
        Class::BadInput(_) => error.into_class(Class::Corrupt),
        _ => error,
    })
}

fn unusable(why: &str) -> KsError {
    KsError::new(Class::Corrupt, format!("what the key server sent cannot be used: {why}"))
}
