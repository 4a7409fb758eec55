//! A public key that has been checked: known type, sane size, a point on its curve.

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
    },
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1},
        rfc8410::ID_ED_25519,
    },
};
use der::{Decode, Encode, Sequence, asn1::Uint};
use x509_cert::SubjectPublicKeyInfo;

use crate::{certificate::SpkiHash, error::PkiError};

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
    /// RSA of 2048 to 8192 bits.
    Rsa,
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

    pub(crate) fn check(spki: SubjectPublicKeyInfo) -> Result<Self, &'static str> {
        let key_type = key_type(&spki)?;
        let bits = spki.subject_public_key.as_bytes().ok_or("key is not a whole number of octets")?;
        if key_type == KeyType::Rsa {
            check_rsa(bits)?;
        }
        ParsedPublicKey::new(parser(key_type), bits).map_err(|_| match key_type {
            KeyType::Rsa => "RSA key is damaged",
            KeyType::EcP256 | KeyType::EcP384 | KeyType::EcP521 => "point is not on its curve",
            KeyType::Ed25519 => "not an Ed25519 key",
        })?;
        let der = spki.to_der().map_err(|_| "key cannot be encoded")?;
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

    /// RFC 7093 §2 (1): "the leftmost 160-bits of the SHA-256 hash of the value of the BIT STRING subjectPublicKey".
    pub(crate) fn key_identifier(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.raw()).as_ref()[..20].to_vec()
    }

    pub(crate) fn spki(&self) -> &SubjectPublicKeyInfo {
        &self.spki
    }

    /// The contents of the BIT STRING: EC point, RSAPublicKey or the 32 octets of Ed25519.
    pub(crate) fn raw(&self) -> &[u8] {
        self.spki.subject_public_key.raw_bytes()
    }
}

fn key_type(spki: &SubjectPublicKeyInfo) -> Result<KeyType, &'static str> {
    let parameters = spki.algorithm.parameters.as_ref();
    match spki.algorithm.oid {
        // RFC 3279 §2.3.1: "The parameters field MUST have ASN.1 type NULL"; some requesters leave it out.
        RSA_ENCRYPTION => match parameters {
            None => Ok(KeyType::Rsa),
            Some(any) if any.is_null() => Ok(KeyType::Rsa),
            Some(_) => Err("RSA key with parameters"),
        },
        ID_EC_PUBLIC_KEY => {
            let curve = parameters
                .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
                .ok_or("EC key without a named curve")?;
            match curve {
                SECP_256_R_1 => Ok(KeyType::EcP256),
                SECP_384_R_1 => Ok(KeyType::EcP384),
                SECP_521_R_1 => Ok(KeyType::EcP521),
                _ => Err("EC curve is not P-256, P-384 or P-521"),
            }
        }
        // RFC 8410 §3: "the parameters MUST be absent".
        ID_ED_25519 if parameters.is_none() => Ok(KeyType::Ed25519),
        _ => Err("key type is not RSA, EC or Ed25519"),
    }
}

/// RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey {
    modulus: Uint,
    public_exponent: Uint,
}

fn check_rsa(key: &[u8]) -> Result<(), &'static str> {
    let key = RsaPublicKey::from_der(key).map_err(|_| "RSA key is damaged")?;
    let modulus = key.modulus.as_bytes();
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err("RSA key is not of 2048 to 8192 bits");
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    // RFC 8017 §3.1: e is "an integer between 3 and n - 1".
    if !is_odd(modulus) || !is_odd(key.public_exponent.as_bytes()) || key.public_exponent.as_bytes() == [1] {
        return Err("RSA key is damaged");
    }
    Ok(())
}

fn parser(key_type: KeyType) -> &'static dyn VerificationAlgorithm {
    match key_type {
        KeyType::EcP256 => &ECDSA_P256_SHA256_ASN1,
        KeyType::EcP384 => &ECDSA_P384_SHA384_ASN1,
        KeyType::EcP521 => &ECDSA_P521_SHA512_ASN1,
        KeyType::Ed25519 => &ED25519,
        KeyType::Rsa => &RSA_PKCS1_2048_8192_SHA256,
    }
}
