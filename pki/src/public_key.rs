//! A public key that has been checked: known type, sane size, a point on its curve.

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, ML_DSA_65, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
    },
};
use const_oid::{
    ObjectIdentifier,
    db::{
        fips204::ID_ML_DSA_65,
        rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1},
        rfc8410::ID_ED_25519,
    },
};
use der::{Decode, Encode, Sequence, asn1::Uint};
use x509_cert::SubjectPublicKeyInfo;

use crate::{certificate::SpkiHash, error::PkiError, weak_key};

/// The key types a certificate may be issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// EC on P-256.
    EcP256,
    /// EC on P-384.
    EcP384,
    /// EC on P-521.
    EcP521,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-65 (FIPS 204).
    MlDsa65,
    /// RSA of 2048 to 8192 bits.
    Rsa,
}

/// What is wrong with a public key. Whoever made the key is at fault in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// On a list of keys whose private half is known to others.
    #[error("key is on the block-list of keys known to others")]
    Blocked,
    /// An elliptic curve that is not accepted.
    #[error("EC curve is not P-256, P-384 or P-521")]
    Curve,
    /// Not the encoding of a key of its type.
    #[error("{0}")]
    Damaged(&'static str),
    /// RSA: p and q are so close that Fermat's method finds them.
    #[error("RSA key is factored by Fermat's method: its primes are too close")]
    FermatClose,
    /// Ed25519: a point of order 8 or less, for which anyone can sign.
    #[error("Ed25519 key is a point of low order")]
    LowOrder,
    /// EC: the point is at infinity or on another curve.
    #[error("point is not on its curve")]
    NotOnCurve,
    /// RSA: made by the library of CVE-2017-15361, hence factored with moderate effort.
    #[error("RSA key has the ROCA fingerprint (CVE-2017-15361)")]
    Roca,
    /// RSA: an even public exponent, which has no private counterpart.
    #[error("RSA exponent is even")]
    RsaExponentEven,
    /// RSA: an exponent that common libraries refuse to work with.
    #[error("RSA exponent has {bits} bits, more than {max}")]
    RsaExponentLarge {
        /// Bits given.
        bits: usize,
        /// Bits allowed.
        max: usize,
    },
    /// RSA: an exponent of 1 or, in a request, below 65537.
    #[error("RSA exponent is smaller than {min}")]
    RsaExponentSmall {
        /// Smallest exponent accepted.
        min: u32,
    },
    /// RSA: a modulus that anyone factors by trial division.
    #[error("RSA modulus is divisible by {0}")]
    RsaSmallFactor(u32),
    /// RSA: too few or too many bits.
    #[error("RSA key of {bits} bits is not of {min} to {max} bits")]
    RsaSize {
        /// Bits of the modulus.
        bits: usize,
        /// Fewest bits accepted.
        min: usize,
        /// Most bits accepted.
        max: usize,
    },
    /// A key of another algorithm.
    #[error("key type is not RSA, EC, Ed25519 or ML-DSA-65")]
    Type,
}

/// A SubjectPublicKeyInfo whose key has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key_type: KeyType,
    spki: SubjectPublicKeyInfo,
    der: Vec<u8>,
}

impl PublicKey {
    /// Reads and checks a SubjectPublicKeyInfo.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, PkiError> {
        let spki = SubjectPublicKeyInfo::from_der(der)
            .map_err(|source| PkiError::Der { what: "SubjectPublicKeyInfo", source })?;
        Self::check(spki).map_err(PkiError::PublicKey)
    }

    pub(crate) fn check(spki: SubjectPublicKeyInfo) -> Result<Self, KeyFault> {
        let key_type = key_type(&spki)?;
        let bits =
            spki.subject_public_key.as_bytes().ok_or(KeyFault::Damaged("key is not a whole number of octets"))?;
        match key_type {
            KeyType::Rsa => check_rsa(bits)?,
            KeyType::Ed25519 => weak_key::check_ed25519(bits)?,
            KeyType::EcP256 | KeyType::EcP384 | KeyType::EcP521 | KeyType::MlDsa65 => {}
        }
        ParsedPublicKey::new(parser(key_type), bits).map_err(|_| match key_type {
            KeyType::EcP256 | KeyType::EcP384 | KeyType::EcP521 => KeyFault::NotOnCurve,
            KeyType::Ed25519 => KeyFault::Damaged("not an Ed25519 key"),
            KeyType::MlDsa65 => KeyFault::Damaged("not an ML-DSA-65 key"),
            KeyType::Rsa => KeyFault::Damaged("RSA key is damaged"),
        })?;
        let der = spki.to_der().map_err(|_| KeyFault::Damaged("key cannot be encoded"))?;
        Ok(Self { key_type, spki, der })
    }

    /// The type of the key.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The SubjectPublicKeyInfo in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 over the SubjectPublicKeyInfo: the name of an issuer's key in the gateway.
    pub fn spki_hash(&self) -> SpkiHash {
        SpkiHash::of(&self.der)
    }

    pub(crate) fn key_identifier(&self) -> Vec<u8> {
        key_identifier(self.raw())
    }

    pub(crate) fn spki(&self) -> &SubjectPublicKeyInfo {
        &self.spki
    }

    /// The contents of the BIT STRING: EC point, RSAPublicKey, or the octets of Ed25519 and ML-DSA.
    pub(crate) fn raw(&self) -> &[u8] {
        self.spki.subject_public_key.raw_bytes()
    }
}

/// RFC 7093 §2 (1): "the leftmost 160-bits of the SHA-256 hash of the value of the BIT STRING subjectPublicKey".
pub(crate) fn key_identifier(subject_public_key: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, subject_public_key).as_ref()[..20].to_vec()
}

fn key_type(spki: &SubjectPublicKeyInfo) -> Result<KeyType, KeyFault> {
    let parameters = spki.algorithm.parameters.as_ref();
    match spki.algorithm.oid {
        // RFC 3279 §2.3.1: "The parameters field MUST have ASN.1 type NULL"; some requesters leave it out.
        RSA_ENCRYPTION => match parameters {
            None => Ok(KeyType::Rsa),
            Some(any) if any.is_null() => Ok(KeyType::Rsa),
            Some(_) => Err(KeyFault::Damaged("RSA key with parameters")),
        },
        ID_EC_PUBLIC_KEY => {
            // RFC 5480 §2.1.1: "implicitCurve and specifiedCurve MUST NOT be used in PKIX."
            let curve = parameters
                .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
                .ok_or(KeyFault::Damaged("EC key without a named curve"))?;
            match curve {
                SECP_256_R_1 => Ok(KeyType::EcP256),
                SECP_384_R_1 => Ok(KeyType::EcP384),
                SECP_521_R_1 => Ok(KeyType::EcP521),
                _ => Err(KeyFault::Curve),
            }
        }
        // RFC 8410 §3: "For all of the OIDs, the parameters MUST be absent." RFC 9881 says the same of ML-DSA.
        ID_ED_25519 if parameters.is_none() => Ok(KeyType::Ed25519),
        ID_ML_DSA_65 if parameters.is_none() => Ok(KeyType::MlDsa65),
        _ => Err(KeyFault::Type),
    }
}

/// RFC 8017 appendix A.1.1.
#[derive(Sequence)]
pub(crate) struct RsaPublicKey {
    pub(crate) modulus: Uint,
    pub(crate) public_exponent: Uint,
}

/// Bits of a big-endian number.
pub(crate) fn bits(number: &[u8]) -> usize {
    number.len() * 8 - number.first().map_or(0, |first| first.leading_zeros() as usize)
}

fn check_rsa(key: &[u8]) -> Result<(), KeyFault> {
    let key = RsaPublicKey::from_der(key).map_err(|_| KeyFault::Damaged("RSA key is damaged"))?;
    let (modulus, exponent) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits(modulus)) {
        return Err(KeyFault::RsaSize { bits: bits(modulus), min: RSA_BITS_MIN, max: RSA_BITS_MAX });
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !is_odd(modulus) {
        return Err(KeyFault::RsaSmallFactor(2));
    }
    if !is_odd(exponent) {
        return Err(KeyFault::RsaExponentEven);
    }
    // RFC 8017 §3.1: e is "an integer between 3 and n - 1".
    if exponent == [1] {
        return Err(KeyFault::RsaExponentSmall { min: 3 });
    }
    if bits(exponent) > RSA_EXPONENT_BITS_MAX {
        return Err(KeyFault::RsaExponentLarge { bits: bits(exponent), max: RSA_EXPONENT_BITS_MAX });
    }
    Ok(())
}

fn parser(key_type: KeyType) -> &'static dyn VerificationAlgorithm {
    match key_type {
        KeyType::EcP256 => &ECDSA_P256_SHA256_ASN1,
        KeyType::EcP384 => &ECDSA_P384_SHA384_ASN1,
        KeyType::EcP521 => &ECDSA_P521_SHA512_ASN1,
        KeyType::Ed25519 => &ED25519,
        KeyType::MlDsa65 => &ML_DSA_65,
        KeyType::Rsa => &RSA_PKCS1_2048_8192_SHA256,
    }
}

const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;
/// Verifying costs time in proportion: the cryptographic library and BoringSSL stop at 33 bits.
const RSA_EXPONENT_BITS_MAX: usize = 33;
