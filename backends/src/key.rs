//! What names a key, what describes one to be made, and where its secret half is held.

use crate::error::{KsError, Result};
use crate::lattice::{MlDsa, MlKem};
use crate::local::{KeyMaterial, PreparedKey};
use keygate_kmip::{CryptographicAlgorithm, RecommendedCurve};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The configured, stable name of a keystore. Never derived from the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeystoreId(Arc<str>);

impl KeystoreId {
    /// A name of 1 to 64 letters, digits, `-`, `_` or `.`.
    pub fn new(name: &str) -> Result<Self> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
            return Err(KsError::parameters(format!(
                "keystore name {name:?} is not 1 to 64 letters, digits, '-', '_' or '.'"
            )));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeystoreId {
    type Error = KsError;

    fn try_from(name: String) -> Result<Self> {
        Self::new(&name)
    }
}

impl From<KeystoreId> for String {
    fn from(id: KeystoreId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for KeystoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The 16 random octets by which a key is found again: the CKA_ID of its object on a token.
///
/// The caller draws it and records it (the intent) *before* it asks the keystore to make the key, so that a call with
/// an unknown outcome can be reconciled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// A fresh id from the cryptographic library's generator.
    pub fn random() -> Result<Self> {
        let mut id = [0u8; 16];
        crate::local::fill_random(&mut id)?;
        Ok(Self(id))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Which half or kind of key an id names; with the [`KeyId`] it is unique in a keystore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyClass {
    /// A private key.
    Private,
    /// A secret (symmetric) key.
    Secret,
}

/// What proves that a found key is the one that was made, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyCheck {
    /// SHA-256 of the SubjectPublicKeyInfo of a private key's public half.
    Public([u8; 32]),
    /// PKCS#11 key check value: the first 3 octets of an all-zero block encrypted in ECB mode.
    Kcv([u8; 3]),
    /// The keystore offers none (generic secrets).
    None,
}

/// The stable name of a key that stays in its keystore. Handles and sessions never leave the backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRef {
    /// Where it is.
    pub keystore: KeystoreId,
    /// Which one it is.
    pub id: KeyId,
    /// Which kind it is.
    pub class: KeyClass,
    /// What proves that it is still the same.
    pub check: KeyCheck,
}

/// A key to be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// A cipher or HMAC; also ciphers that only clients run.
    pub algorithm: CryptographicAlgorithm,
    /// Length in bits, as KMIP's Cryptographic Length counts it (168 for three-key 3DES).
    pub bits: u32,
}

/// A key pair to be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairSpec {
    /// RSA with a modulus of so many bits (2048, 3072 or 4096).
    Rsa {
        /// Bits of the modulus.
        bits: u32,
    },
    /// ECDSA or ECDH on a curve.
    Ec {
        /// The curve.
        curve: RecommendedCurve,
    },
    /// Ed25519 signatures.
    Ed25519,
    /// X25519 key agreement.
    X25519,
    /// ML-DSA signatures.
    MlDsa(MlDsa),
    /// ML-KEM key encapsulation.
    MlKem(MlKem),
}

impl PairSpec {
    /// Reads KMIP's Cryptographic Algorithm, Cryptographic Length and Recommended Curve.
    ///
    /// Where an elliptic curve algorithm comes with a length and no curve, the NIST prime curve of that length is
    /// meant. ML-DSA and ML-KEM have a code for each parameter set, which exists from KMIP 3.0 on.
    pub fn from_kmip(
        algorithm: CryptographicAlgorithm,
        bits: Option<u32>,
        curve: Option<RecommendedCurve>,
    ) -> Result<Self> {
        match algorithm {
            CryptographicAlgorithm::Rsa => Ok(Self::Rsa { bits: bits.unwrap_or(2048) }),
            CryptographicAlgorithm::Ed25519 => Ok(Self::Ed25519),
            CryptographicAlgorithm::Ec | CryptographicAlgorithm::Ecdsa | CryptographicAlgorithm::Ecdh => {
                ec_from_kmip(bits, curve)
            }
            other => lattice_from_kmip(other, bits).unwrap_or_else(|| Err(KsError::unsupported(format!("no key pairs of algorithm {}", crate::names::algorithm(other))))),
        }
    }
}

/// The parameter set says all; a length must be the one that keys of the set have (`KeyMaterial::bits`).
fn lattice_from_kmip(algorithm: CryptographicAlgorithm, bits: Option<u32>) -> Option<Result<PairSpec>> {
    let (spec, octets) = match (MlDsa::from_algorithm(algorithm), MlKem::from_algorithm(algorithm)) {
        (Some(set), _) => (PairSpec::MlDsa(set), set.public_octets()),
        (_, Some(set)) => (PairSpec::MlKem(set), set.public_octets()),
        _ => return None,
    };
    let name = crate::names::algorithm(algorithm);
    Some(match bits.filter(|&bits| usize::try_from(bits) != Ok(octets * 8)) {
        Some(bits) => Err(KsError::parameters(format!("{name} keys have {} bits, {bits} were given", octets * 8))),
        None => Ok(spec),
    })
}

fn ec_from_kmip(bits: Option<u32>, curve: Option<RecommendedCurve>) -> Result<PairSpec> {
    let curve = match (curve, bits) {
        (Some(RecommendedCurve::Curve25519), _) => return Ok(PairSpec::X25519),
        (Some(curve), _) => curve,
        (None, Some(224)) => RecommendedCurve::P224,
        (None, Some(256) | None) => RecommendedCurve::P256,
        (None, Some(384)) => RecommendedCurve::P384,
        (None, Some(521)) => RecommendedCurve::P521,
        (None, Some(other)) => {
            return Err(KsError::parameters(format!("no recommended curve has {other} bits; name the curve")));
        }
    };
    Ok(PairSpec::Ec { curve })
}

/// What a keystore gives back for a key that it made or took in.
pub enum Held {
    /// Envelope custody: the caller seals the material in its own store.
    Material(KeyMaterial),
    /// InBackend custody: the key stays where it is.
    Reference(KeyRef),
}

/// A key pair as a keystore gives it back. The public half always leaves.
pub struct HeldPair {
    /// The private half, wherever it is held.
    pub private: Held,
    /// The public half.
    pub public: KeyMaterial,
}

/// A key to be used: parsed material, or a reference to where it lives.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    /// Envelope custody.
    Material(&'a PreparedKey),
    /// InBackend custody.
    Reference(&'a KeyRef),
}
