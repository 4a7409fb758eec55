//! A private key held in this process: of an issuer, of a server, or made for a client.
//!
//! Keys are kept and handed on as PKCS#8 version 1, the form every other program reads: EC with its curve, Ed25519 as
//! RFC 8410 §7, ML-DSA-65 as its 32-octet seed (RFC 9881), RSA as RFC 8017 A.1.2.

use aws_lc_rs::{
    encoding::AsDer,
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use const_oid::db::{
    fips204::ID_ML_DSA_65,
    rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1},
    rfc8410::ID_ED_25519,
};
use der::{Encode, asn1::BitString, pem::LineEnding};
use x509_cert::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::{
    error::PkiError,
    public_key::PublicKey,
    signer::{SignatureAlgorithm, Signer, SignerError},
};

/// Largest private key file that is read.
pub const PRIVATE_KEY_BYTES_MAX: usize = 32 * 1024;

/// A private key with its public half. Neither `Debug` nor `Display`; wiped when dropped.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Ecdsa(SignatureAlgorithm, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa65(PqdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Makes a key pair.
    pub fn generate(algorithm: SignatureAlgorithm) -> Result<Self, PkiError> {
        let pair = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384 => {
                EcdsaKeyPair::generate(ecdsa(algorithm)).map(|pair| Pair::Ecdsa(algorithm, pair))
            }
            SignatureAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            SignatureAlgorithm::MlDsa65 => PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).map(Pair::MlDsa65),
            SignatureAlgorithm::RsaPkcs1Sha256 => RsaKeyPair::generate(KeySize::Rsa3072).map(Pair::Rsa),
        };
        Self::from_pair(pair.map_err(|_| PkiError::Random)?)
    }

    /// Reads a PKCS#8 key of one of the algorithms.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, PkiError> {
        let pair = SignatureAlgorithm::ALL.into_iter().find_map(|algorithm| match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384 => {
                EcdsaKeyPair::from_pkcs8(ecdsa(algorithm), pkcs8).ok().map(|pair| Pair::Ecdsa(algorithm, pair))
            }
            SignatureAlgorithm::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok().map(Pair::Ed25519),
            SignatureAlgorithm::MlDsa65 => PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, pkcs8).ok().map(Pair::MlDsa65),
            SignatureAlgorithm::RsaPkcs1Sha256 => RsaKeyPair::from_pkcs8(pkcs8).ok().map(Pair::Rsa),
        });
        Self::from_pair(pair.ok_or(UNREADABLE)?)
    }

    /// Reads a key as another CA hands it over: PKCS#8, SEC 1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`), in PEM or
    /// DER, not encrypted. Of several PEM blocks, the first of these labels.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, PkiError> {
        if bytes.len() > PRIVATE_KEY_BYTES_MAX {
            return Err(PkiError::PrivateKey("larger than 32 KiB"));
        }
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        for (label, begin) in LABELS {
            let Some(start) = text.find(begin) else { continue };
            let end = format!("-----END {label}-----");
            let block =
                text[start..].find(&end).map(|stop| &text[start..start + stop + end.len()]).ok_or(UNREADABLE)?;
            let der =
                der::pem::decode_vec(block.as_bytes()).map(|(_, der)| Zeroizing::new(der)).map_err(|_| UNREADABLE)?;
            return Self::from_any_der(&der);
        }
        if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            return Err(PkiError::PrivateKey("it is encrypted: decrypt it first"));
        }
        Self::from_any_der(bytes)
    }

    fn from_any_der(der: &[u8]) -> Result<Self, PkiError> {
        if let Ok(key) = Self::from_pkcs8(der) {
            return Ok(key);
        }
        let ec = [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::EcdsaP384Sha384].into_iter().find_map(
            |algorithm| {
                EcdsaKeyPair::from_private_key_der(ecdsa(algorithm), der).ok().map(|pair| Pair::Ecdsa(algorithm, pair))
            },
        );
        let pair = ec.or_else(|| RsaKeyPair::from_der(der).ok().map(Pair::Rsa));
        Self::from_pair(pair.ok_or(UNREADABLE)?)
    }

    fn from_pair(pair: Pair) -> Result<Self, PkiError> {
        let public = pair.public_key()?;
        let pkcs8 = pair.expose_pkcs8().map_err(|_| PkiError::PrivateKey("it cannot be written as PKCS#8"))?;
        Ok(Self { pair, public, pkcs8 })
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
        self.pair.algorithm()
    }

    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignerError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(_, pair) => pair.sign(&random, tbs).map(|signature| signature.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.try_sign(tbs).map(|signature| signature.as_ref().to_vec()),
            Pair::MlDsa65(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                pair.sign(tbs, &mut signature).map(|length| {
                    signature.truncate(length);
                    signature
                })
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, tbs, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| SignerError("the software key failed to sign".into()))
    }
}

impl Pair {
    fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Ecdsa(algorithm, _) => *algorithm,
            Self::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Self::MlDsa65(_) => SignatureAlgorithm::MlDsa65,
            Self::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
        }
    }

    /// RFC 5958 §2: version 1 has no public key, which older readers would stumble over.
    fn expose_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        Ok(Zeroizing::new(match self {
            Self::Ecdsa(_, pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Self::Ed25519(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Self::MlDsa65(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Self::Rsa(pair) => pair.as_der()?.as_ref().to_vec(),
        }))
    }

    fn public_key(&self) -> Result<PublicKey, PkiError> {
        let (oid, parameters, key): (_, _, &[u8]) = match self {
            Self::Ecdsa(algorithm, pair) => {
                let curve = if *algorithm == SignatureAlgorithm::EcdsaP256Sha256 { SECP_256_R_1 } else { SECP_384_R_1 };
                (ID_EC_PUBLIC_KEY, Some(der::Any::from(curve)), pair.public_key().as_ref())
            }
            Self::Ed25519(pair) => (ID_ED_25519, None, pair.public_key().as_ref()),
            // RFC 9881: the BIT STRING holds the raw public key, in no further structure.
            Self::MlDsa65(pair) => (ID_ML_DSA_65, None, pair.public_key().as_ref()),
            // RFC 3279 §2.3.1: "The parameters field MUST have ASN.1 type NULL".
            Self::Rsa(pair) => (RSA_ENCRYPTION, Some(der::Any::null()), pair.public_key().as_ref()),
        };
        let spki = SubjectPublicKeyInfo {
            algorithm: AlgorithmIdentifier { oid, parameters },
            subject_public_key: BitString::from_bytes(key).map_err(PkiError::Encode)?,
        };
        PublicKey::from_spki_der(&spki.to_der().map_err(PkiError::Encode)?)
    }
}

fn ecdsa(algorithm: SignatureAlgorithm) -> &'static EcdsaSigningAlgorithm {
    if algorithm == SignatureAlgorithm::EcdsaP384Sha384 {
        &ECDSA_P384_SHA384_ASN1_SIGNING
    } else {
        &ECDSA_P256_SHA256_ASN1_SIGNING
    }
}

const UNREADABLE: PkiError = PkiError::PrivateKey("not an EC P-256, EC P-384, Ed25519, ML-DSA-65 or RSA private key");

const LABELS: [(&str, &str); 3] = [
    ("PRIVATE KEY", "-----BEGIN PRIVATE KEY-----"),
    ("EC PRIVATE KEY", "-----BEGIN EC PRIVATE KEY-----"),
    ("RSA PRIVATE KEY", "-----BEGIN RSA PRIVATE KEY-----"),
];
