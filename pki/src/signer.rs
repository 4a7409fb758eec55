//! The signing key of an issuer, in software or in a device.

use const_oid::db::{
    fips204::ID_ML_DSA_65,
    rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, SHA_256_WITH_RSA_ENCRYPTION},
    rfc8410::ID_ED_25519,
};
use x509_cert::AlgorithmIdentifier;

use crate::public_key::{KeyType, PublicKey};

/// A key that signs certificates.
///
/// Contract: `sign` takes the whole to-be-signed bytes (not a digest) and returns the signature as it stands in the
/// certificate's BIT STRING (for ECDSA: DER of r and s). It may block: a device behind it takes its time. It may be
/// called from several threads. A refusal has no effect.
pub trait Signer: Send + Sync {
    /// The algorithm of [`Signer::sign`].
    fn algorithm(&self) -> SignatureAlgorithm;
    /// The public half.
    fn public_key(&self) -> &PublicKey;
    /// Signs `tbs`.
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignerError>;
}

/// Why a [`Signer`] did not sign.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SignerError(pub String);

/// The signature algorithms issuers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ML-DSA-65 with an empty context (RFC 9881).
    MlDsa65,
    /// RSA PKCS#1 v1.5 with SHA-256. Keys are made with 3072 bits; imported ones may have 2048 to 8192.
    RsaPkcs1Sha256,
}

impl SignatureAlgorithm {
    /// Every algorithm, in the order in which a key of unknown kind is tried.
    pub const ALL: [Self; 5] =
        [Self::EcdsaP256Sha256, Self::EcdsaP384Sha384, Self::Ed25519, Self::MlDsa65, Self::RsaPkcs1Sha256];

    /// The AlgorithmIdentifier as it stands in certificates, CRLs and OCSP responses.
    pub(crate) fn identifier(self) -> AlgorithmIdentifier {
        let (oid, parameters) = match self {
            // RFC 5758 §3.2: "the encoding MUST omit the parameters field".
            Self::EcdsaP256Sha256 => (ECDSA_WITH_SHA_256, None),
            Self::EcdsaP384Sha384 => (ECDSA_WITH_SHA_384, None),
            // RFC 8410 §3: "the parameters MUST be absent".
            Self::Ed25519 => (ID_ED_25519, None),
            // RFC 9881: the parameters are absent, of the key and of the signature alike.
            Self::MlDsa65 => (ID_ML_DSA_65, None),
            // RFC 4055 §5: the parameters of sha256WithRSAEncryption are NULL.
            Self::RsaPkcs1Sha256 => (SHA_256_WITH_RSA_ENCRYPTION, Some(der::Any::null())),
        };
        AlgorithmIdentifier { oid, parameters }
    }

    /// The type of the keys that sign so.
    pub fn key_type(self) -> KeyType {
        match self {
            Self::EcdsaP256Sha256 => KeyType::EcP256,
            Self::EcdsaP384Sha384 => KeyType::EcP384,
            Self::Ed25519 => KeyType::Ed25519,
            Self::MlDsa65 => KeyType::MlDsa65,
            Self::RsaPkcs1Sha256 => KeyType::Rsa,
        }
    }
}
