//! Which signature algorithms are accepted from others, for which keys: in requests and in imported certificates.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, ML_DSA_65, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use const_oid::{
    ObjectIdentifier,
    db::{
        fips204::ID_ML_DSA_65,
        rfc5912::{
            ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_RSASSA_PSS, ID_SHA_256, ID_SHA_384,
            ID_SHA_512, SHA_1_WITH_RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
        },
        rfc8410::ID_ED_25519,
    },
};
use der::{Decode, Reader, Sequence, SliceReader};
use x509_cert::AlgorithmIdentifier;

use crate::public_key::{KeyType, PublicKey};

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureFault {
    /// The algorithm is unknown or does not fit the key.
    #[error("signature algorithm {0} is not accepted for this key")]
    Algorithm(ObjectIdentifier),
    /// The signature is another's, or over other bytes.
    #[error("the signature does not verify")]
    Wrong,
}

/// Checks `signature` over `signed` with `key`.
pub(crate) fn verify(
    key: &PublicKey,
    algorithm: &AlgorithmIdentifier,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let known = verification(key.key_type(), algorithm).ok_or(SignatureFault::Algorithm(algorithm.oid))?;
    UnparsedPublicKey::new(known, key.raw()).verify(signed, signature).map_err(|_| SignatureFault::Wrong)
}

/// Whether signatures by SHA-1, which programs of long ago make, are accepted beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sha1 {
    /// With RSA keys.
    Accepted,
    /// With none.
    Refused,
}

/// As [`verify`], with SHA-1 as it is said.
pub(crate) fn verify_with(
    key: &PublicKey,
    algorithm: &AlgorithmIdentifier,
    signed: &[u8],
    signature: &[u8],
    sha1: Sha1,
) -> Result<(), SignatureFault> {
    if sha1 == Sha1::Accepted && key.key_type() == KeyType::Rsa && algorithm.oid == SHA_1_WITH_RSA_ENCRYPTION {
        let known = &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY;
        return UnparsedPublicKey::new(known, key.raw()).verify(signed, signature).map_err(|_| SignatureFault::Wrong);
    }
    verify(key, algorithm, signed, signature)
}

/// The bytes of the first part of a signed structure as they were sent: a signature is over these, not over a re-encoding.
pub(crate) fn first_part(der: &[u8]) -> der::Result<&[u8]> {
    let mut outer = SliceReader::new(der)?;
    let header = der::Header::decode(&mut outer)?;
    header.tag().assert_eq(der::Tag::Sequence)?;
    outer.tlv_bytes()
}

/// RFC 4055 §3.1: `RSASSA-PSS-params`. A mask of another hash than the signature's fails to verify.
#[derive(Sequence)]
struct RsaPssHash {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifier>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt: Option<u32>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u32>,
}

fn verification(key: KeyType, algorithm: &AlgorithmIdentifier) -> Option<&'static dyn VerificationAlgorithm> {
    const SHA256: ObjectIdentifier = ECDSA_WITH_SHA_256;
    const SHA384: ObjectIdentifier = ECDSA_WITH_SHA_384;
    const SHA512: ObjectIdentifier = ECDSA_WITH_SHA_512;
    Some(match (key, algorithm.oid) {
        (KeyType::EcP256, SHA256) => &ECDSA_P256_SHA256_ASN1,
        (KeyType::EcP256, SHA384) => &ECDSA_P256_SHA384_ASN1,
        (KeyType::EcP256, SHA512) => &ECDSA_P256_SHA512_ASN1,
        (KeyType::EcP384, SHA256) => &ECDSA_P384_SHA256_ASN1,
        (KeyType::EcP384, SHA384) => &ECDSA_P384_SHA384_ASN1,
        (KeyType::EcP384, SHA512) => &ECDSA_P384_SHA512_ASN1,
        (KeyType::EcP521, SHA256) => &ECDSA_P521_SHA256_ASN1,
        (KeyType::EcP521, SHA384) => &ECDSA_P521_SHA384_ASN1,
        (KeyType::EcP521, SHA512) => &ECDSA_P521_SHA512_ASN1,
        // RFC 8410 §3: "For all of the OIDs, the parameters MUST be absent." RFC 9881 says the same of ML-DSA.
        (KeyType::Ed25519, ID_ED_25519) if algorithm.parameters.is_none() => &ED25519,
        (KeyType::MlDsa65, ID_ML_DSA_65) if algorithm.parameters.is_none() => &ML_DSA_65,
        (KeyType::Rsa, SHA_256_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA256,
        (KeyType::Rsa, SHA_384_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA384,
        (KeyType::Rsa, SHA_512_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA512,
        (KeyType::Rsa, ID_RSASSA_PSS) => {
            let parameters: RsaPssHash = algorithm.parameters.as_ref()?.decode_as().ok()?;
            // RFC 4055 §3.1: "the recommended value is the number of octets in the hash value"; no other is verified here.
            match (parameters.hash?.oid, parameters.salt?) {
                (ID_SHA_256, 32) => &RSA_PSS_2048_8192_SHA256,
                (ID_SHA_384, 48) => &RSA_PSS_2048_8192_SHA384,
                (ID_SHA_512, 64) => &RSA_PSS_2048_8192_SHA512,
                _ => return None,
            }
        }
        _ => return None,
    })
}
