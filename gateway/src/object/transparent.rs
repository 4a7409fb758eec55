//! Transparent keys: components in a KMIP structure <-> key material. KMIP 2.1 §3.4 to §3.12.
//!
//! DSA and Diffie-Hellman keys are kept as they came and neither used nor converted.

use keygate_backends::SecretBytes;
use keygate_backends::local::{EcPrivate, EcPublic, KeyMaterial, KeyValueForm, Role, RsaPrivate, RsaPublic};
use keygate_kmip::{BigInteger, CryptographicAlgorithm, KeyFormatType, RecommendedCurve, TransparentKey};

use crate::operation::OperationError;

/// Octets of a key on Curve25519, which is a string and not a number.
const CURVE25519_OCTETS: usize = 32;

/// Reads the components of a transparent key.
pub(super) fn read(
    role: Role,
    format: KeyFormatType,
    key: &TransparentKey,
    algorithm: Option<CryptographicAlgorithm>,
) -> Result<KeyMaterial, OperationError> {
    use KeyFormatType as F;
    match (role, format) {
        (Role::Symmetric, F::TransparentSymmetricKey) => {
            let algorithm = algorithm.ok_or_else(|| missing("Cryptographic Algorithm"))?;
            let bytes = key.key.as_ref().ok_or_else(|| missing("Key"))?;
            Ok(KeyMaterial::symmetric(algorithm, SecretBytes::copy_of(bytes.expose_bytes()))?)
        }
        (Role::Private, F::TransparentRsaPrivateKey) => Ok(rsa_private(key)?.to_material()?),
        (Role::Public, F::TransparentRsaPublicKey) => {
            let key = RsaPublic { modulus: number(&key.modulus, "Modulus")?, public_exponent: number(&key.public_exponent, "Public Exponent")? };
            Ok(key.to_material()?)
        }
        (Role::Private, F::TransparentEcPrivateKey | F::TransparentEcdsaPrivateKey | F::TransparentEcdhPrivateKey | F::TransparentEcmqvPrivateKey) => {
            let curve = key.recommended_curve.ok_or_else(|| missing("Recommended Curve"))?;
            let d = octets_of(curve, number(&key.d, "D")?);
            let key = EcPrivate { curve, d: SecretBytes::new(d), q: None };
            Ok(key.to_material(algorithm.unwrap_or(CryptographicAlgorithm::Ec))?)
        }
        (Role::Public, F::TransparentEcPublicKey | F::TransparentEcdsaPublicKey | F::TransparentEcdhPublicKey | F::TransparentEcmqvPublicKey) => {
            let curve = key.recommended_curve.ok_or_else(|| missing("Recommended Curve"))?;
            let q = key.q_string.clone().ok_or_else(|| missing("Q String"))?;
            Ok(EcPublic { curve, q }.to_material(algorithm.unwrap_or(CryptographicAlgorithm::Ec))?)
        }
        _ => Err(OperationError::FeatureNotSupported("transparent keys of this kind are kept but not used".to_owned())),
    }
}

/// Writes components. The caller has the bytes of a form that has none.
pub(super) fn write(form: KeyValueForm, format: KeyFormatType) -> TransparentKey {
    let mut key = TransparentKey::default();
    match form {
        KeyValueForm::Bytes(bytes) => key.key = Some(keygate_kmip::Secret::new(bytes.into_exposed())),
        KeyValueForm::RsaPrivate(rsa) => {
            key.modulus = present(&rsa.modulus);
            key.private_exponent = present(&rsa.private_exponent);
            key.public_exponent = present(&rsa.public_exponent);
            key.p = present(&rsa.p);
            key.q = present(&rsa.q);
            key.prime_exponent_p = present(&rsa.prime_exponent_p);
            key.prime_exponent_q = present(&rsa.prime_exponent_q);
            key.crt_coefficient = present(&rsa.crt_coefficient);
        }
        KeyValueForm::RsaPublic(rsa) => {
            key.modulus = present(&rsa.modulus);
            key.public_exponent = present(&rsa.public_exponent);
        }
        KeyValueForm::EcPrivate(ec) => {
            key.recommended_curve = Some(ec.curve);
            key.d = Some(BigInteger::from_unsigned(ec.d.expose()));
        }
        KeyValueForm::EcPublic(ec) => {
            key.recommended_curve = Some(ec.curve);
            key.q_string = Some(ec.q);
        }
    }
    debug_assert!(format != KeyFormatType::Raw, "Raw has no components");
    key
}

fn rsa_private(key: &TransparentKey) -> Result<RsaPrivate, OperationError> {
    let optional = |part: &Option<BigInteger>, name| part.as_ref().map_or(Ok(Vec::new()), |_| number(part, name));
    Ok(RsaPrivate {
        modulus: number(&key.modulus, "Modulus")?,
        public_exponent: optional(&key.public_exponent, "Public Exponent")?,
        private_exponent: optional(&key.private_exponent, "Private Exponent")?,
        p: optional(&key.p, "P")?,
        q: optional(&key.q, "Q")?,
        prime_exponent_p: optional(&key.prime_exponent_p, "Prime Exponent P")?,
        prime_exponent_q: optional(&key.prime_exponent_q, "Prime Exponent Q")?,
        crt_coefficient: optional(&key.crt_coefficient, "CRT Coefficient")?,
    })
}

fn number(part: &Option<BigInteger>, name: &str) -> Result<Vec<u8>, OperationError> {
    let part = part.as_ref().ok_or_else(|| missing(name))?;
    let magnitude = part.unsigned().ok_or_else(|| OperationError::InvalidField(format!("{name} is negative")))?;
    Ok(magnitude.to_vec())
}

fn octets_of(curve: RecommendedCurve, mut number: Vec<u8>) -> Vec<u8> {
    if curve == RecommendedCurve::Curve25519 && number.len() < CURVE25519_OCTETS {
        let mut padded = vec![0; CURVE25519_OCTETS - number.len()];
        padded.append(&mut number);
        return padded;
    }
    number
}

fn present(number: &[u8]) -> Option<BigInteger> {
    (!number.is_empty()).then(|| BigInteger::from_unsigned(number))
}

fn missing(name: &str) -> OperationError {
    OperationError::InvalidField(format!("the key has no {name}"))
}
