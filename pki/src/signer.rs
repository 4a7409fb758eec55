//! The signing key of an issuer, in software or in a device.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair},
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ID_EC_PUBLIC_KEY, SECP_256_R_1, SECP_384_R_1,
};
use der::{Encode, asn1::BitString, pem::LineEnding};
use x509_cert::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::{error::PkiError, public_key::PublicKey};

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
}

impl SignatureAlgorithm {
    /// RFC 5758 §3.2: "the encoding MUST omit the parameters field".
    pub(crate) fn identifier(self) -> AlgorithmIdentifier {
        let oid = match self {
            Self::EcdsaP256Sha256 => ECDSA_WITH_SHA_256,
            Self::EcdsaP384Sha384 => ECDSA_WITH_SHA_384,
        };
        AlgorithmIdentifier { oid, parameters: None }
    }

    fn curve(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaP256Sha256 => SECP_256_R_1,
            Self::EcdsaP384Sha384 => SECP_384_R_1,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }
}

/// A private key held in this process: of an issuer, of a server, or made for a client.
pub struct PrivateKey {
    algorithm: SignatureAlgorithm,
    pair: EcdsaKeyPair,
    public: PublicKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Makes a key pair.
    pub fn generate(algorithm: SignatureAlgorithm) -> Result<Self, PkiError> {
        let document = EcdsaKeyPair::generate_pkcs8(algorithm.signing(), &SystemRandom::new())
            .map_err(|_| PkiError::Random)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads a PKCS#8 key of one of the algorithms.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, PkiError> {
        [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::EcdsaP384Sha384]
            .into_iter()
            .find_map(|algorithm| {
                let pair = EcdsaKeyPair::from_pkcs8(algorithm.signing(), pkcs8).ok()?;
                Some((algorithm, pair))
            })
            .ok_or(PkiError::PrivateKey("neither an EC P-256 nor an EC P-384 key in PKCS#8"))
            .and_then(|(algorithm, pair)| {
                let public = public_key_of(algorithm, &pair)?;
                Ok(Self { algorithm, pair, public, pkcs8: Zeroizing::new(pkcs8.to_vec()) })
            })
    }

    /// The PKCS#8 DER: to be sealed, or written for its owner.
    pub fn expose_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The PKCS#8 PEM: to be written for its owner.
    pub fn expose_pem(&self) -> Result<Zeroizing<String>, PkiError> {
        let der = der::SecretDocument::try_from(self.pkcs8.as_slice()).map_err(PkiError::Encode)?;
        der.to_pem("PRIVATE KEY", LineEnding::LF).map_err(PkiError::Encode)
    }
}

impl Signer for PrivateKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignerError> {
        self.pair
            .sign(&SystemRandom::new(), tbs)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SignerError("ECDSA signing failed".into()))
    }
}

fn public_key_of(algorithm: SignatureAlgorithm, pair: &EcdsaKeyPair) -> Result<PublicKey, PkiError> {
    let spki = SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifier {
            oid: ID_EC_PUBLIC_KEY,
            parameters: Some(der::Any::from(algorithm.curve())),
        },
        subject_public_key: BitString::from_bytes(pair.public_key().as_ref()).map_err(PkiError::Encode)?,
    };
    PublicKey::from_spki_der(&spki.to_der().map_err(PkiError::Encode)?)
}
