//! Attributes that the value of an object tells by itself, for Register to fill in.
//!
//! KMIP 2.1 §4.12 to §4.15, §4.6 to §4.8, §4.26, §4.36. A key whose value is wrapped, or in a form that is only kept,
//! tells what its key block says and no more.

use keygate_backends::local::{KeyKind, KeyMaterial, PairKind};
use keygate_kmip::{
    Attribute, CertificateType, CryptographicAlgorithm, CryptographicDomainParameters, KeyBlock, KeyFormatType,
    ManagedObject, RecommendedCurve,
};

use super::{AttributeSet, certificate, key_block};
use crate::operation::OperationError;

/// The attributes that an object's value tells.
///
/// # Errors
/// [`OperationError::InvalidField`] for an X.509 certificate that is none.
pub fn facts(object: &ManagedObject) -> Result<Vec<Attribute>, OperationError> {
    match object {
        ManagedObject::Certificate(certificate) => {
            let mut found = vec![
                Attribute::CertificateType(certificate.certificate_type),
                Attribute::CertificateLength(i32::try_from(certificate.value.len()).unwrap_or(i32::MAX)),
            ];
            if certificate.certificate_type == CertificateType::X509 {
                found.push(Attribute::KeyFormatType(KeyFormatType::X509));
                found.extend(certificate::facts(&certificate.value)?);
            }
            Ok(found)
        }
        ManagedObject::OpaqueObject(opaque) => Ok(vec![Attribute::OpaqueDataType(opaque.data_type)]),
        keyed => Ok(keyed.key_block().map(|block| of_key_block(keyed, block)).unwrap_or_default()),
    }
}

/// Algorithm, length and curve of a key.
pub(super) fn of_material(material: &KeyMaterial) -> Vec<Attribute> {
    let (algorithm, curve) = match material.kind() {
        KeyKind::Symmetric(algorithm) => (algorithm, None),
        KeyKind::Private(pair) | KeyKind::Public(pair) => of_pair(pair),
    };
    let mut found = vec![Attribute::CryptographicAlgorithm(algorithm)];
    let bits = material.bits().ok().and_then(|bits| i32::try_from(bits).ok());
    found.extend(bits.map(Attribute::CryptographicLength));
    found.extend(curve.map(|curve| {
        Attribute::CryptographicDomainParameters(CryptographicDomainParameters { qlength: None, recommended_curve: Some(curve) })
    }));
    found
}

fn of_pair(pair: PairKind) -> (CryptographicAlgorithm, Option<RecommendedCurve>) {
    match pair {
        PairKind::Rsa => (CryptographicAlgorithm::Rsa, None),
        PairKind::Ec(curve) => (CryptographicAlgorithm::Ecdsa, Some(curve)),
        PairKind::Ed25519 => (CryptographicAlgorithm::Ed25519, None),
        PairKind::X25519 => (CryptographicAlgorithm::Ecdh, Some(RecommendedCurve::Curve25519)),
        PairKind::MlDsa(set) => (set.algorithm(), None),
        PairKind::MlKem(set) => (set.algorithm(), None),
    }
}

/// What the key block says comes first, what the value says fills the gaps.
fn of_key_block(object: &ManagedObject, block: &KeyBlock) -> Vec<Attribute> {
    let mut found = vec![Attribute::KeyFormatType(block.key_format_type)];
    found.extend(block.cryptographic_algorithm.or_else(|| named_by(block.key_format_type)).map(Attribute::CryptographicAlgorithm));
    found.extend(block.cryptographic_length.map(Attribute::CryptographicLength));
    let read = key_block::material_of(object, &AttributeSet::default());
    for fact in read.map(|material| of_material(&material)).unwrap_or_default() {
        if !found.iter().any(|known| known.tag() == fact.tag()) {
            found.push(fact);
        }
    }
    found
}

fn named_by(format: KeyFormatType) -> Option<CryptographicAlgorithm> {
    use KeyFormatType as F;
    match format {
        F::TransparentDsaPrivateKey | F::TransparentDsaPublicKey => Some(CryptographicAlgorithm::Dsa),
        F::TransparentDhPrivateKey | F::TransparentDhPublicKey => Some(CryptographicAlgorithm::Dh),
        F::TransparentRsaPrivateKey | F::TransparentRsaPublicKey | F::Pkcs1 => Some(CryptographicAlgorithm::Rsa),
        F::TransparentEcdsaPrivateKey | F::TransparentEcdsaPublicKey => Some(CryptographicAlgorithm::Ecdsa),
        F::TransparentEcdhPrivateKey | F::TransparentEcdhPublicKey => Some(CryptographicAlgorithm::Ecdh),
        F::TransparentEcmqvPrivateKey | F::TransparentEcmqvPublicKey => Some(CryptographicAlgorithm::Ecmqv),
        _ => None,
    }
}
