//! KMIP key formats: from and to the value of a key block.
//!
//! KMIP 2.1 §3.1 Key Block, §11.25 Key Format Type. Transparent keys come and go as numbers, which the caller puts into
//! KMIP structures. DSA and Diffie-Hellman keys and opaque values are not parsed here: the caller keeps them as they
//! came.

use super::components::{EcPrivate, EcPublic, RsaPrivate, RsaPublic, nid};
use super::material::{KeyKind, KeyMaterial, PairKind, malformed};
use super::sys::Pkey;
use crate::error::{KsError, Result};
use crate::lattice::{MlDsa, MlKem};
use crate::names;
use crate::secret::SecretBytes;
use keygate_kmip::{CryptographicAlgorithm, KeyFormatType, RecommendedCurve};

/// The value of a key block in one Key Format Type.
pub enum KeyValueForm {
    /// A byte string: Raw, PKCS#1, PKCS#8, X.509, EC Private Key; the key octets of Transparent Symmetric Key.
    Bytes(SecretBytes),
    /// Transparent RSA Private Key.
    RsaPrivate(RsaPrivate),
    /// Transparent RSA Public Key.
    RsaPublic(RsaPublic),
    /// Transparent EC (ECDSA, ECDH) Private Key.
    EcPrivate(EcPrivate),
    /// Transparent EC (ECDSA, ECDH) Public Key.
    EcPublic(EcPublic),
}

/// What the other fields of the key block and the object type say of a byte string.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// A Symmetric Key object.
    Symmetric,
    /// A Private Key object.
    Private,
    /// A Public Key object.
    Public,
}

impl KeyMaterial {
    /// Reads the byte string of a key block. `curve` serves Raw and EC Private Key values that do not name theirs.
    pub fn from_bytes(
        role: Role,
        format: KeyFormatType,
        algorithm: CryptographicAlgorithm,
        curve: Option<RecommendedCurve>,
        bytes: &[u8],
    ) -> Result<Self> {
        match (role, format) {
            (Role::Symmetric, KeyFormatType::Raw | KeyFormatType::TransparentSymmetricKey) => {
                Self::symmetric(algorithm, SecretBytes::copy_of(bytes))
            }
            (Role::Private, KeyFormatType::Pkcs8) => Self::from_pkcs8(bytes).and_then(|key| key.said(algorithm)),
            (Role::Public, KeyFormatType::X509) => Self::from_spki(bytes).and_then(|key| key.said(algorithm)),
            (Role::Private, KeyFormatType::Pkcs1) => {
                parsed("PKCS#1 private key", Pkey::from_pkcs1_private(bytes)).and_then(|k| Self::private(&k))
            }
            (Role::Public, KeyFormatType::Pkcs1) => {
                parsed("PKCS#1 public key", Pkey::from_pkcs1_public(bytes)).and_then(|k| Self::public(&k))
            }
            (Role::Private, KeyFormatType::EcPrivateKey) => {
                let nid = curve.map(nid).transpose()?;
                parsed("EC private key", Pkey::from_sec1(bytes, nid)).and_then(|k| Self::private(&k))
            }
            (Role::Private, KeyFormatType::Raw) => match lattice(algorithm) {
                Some(kind) => Self::from_lattice_private(kind, bytes),
                None => raw_private(algorithm, curve, bytes),
            },
            (Role::Public, KeyFormatType::Raw) => match lattice(algorithm) {
                Some(kind) => Self::from_lattice_public(kind, bytes),
                None => raw_public(algorithm, curve, bytes),
            },
            (role, other) => Err(KsError::unsupported(format!(
                "Key Format Type {} is not read for a {role:?} key",
                names::format(other)
            ))),
        }
    }

    /// A key block says the parameter set of an ML-DSA or ML-KEM key, which versions before KMIP 3.0 cannot: they do not bring such
    /// keys in under another name.
    fn said(self, algorithm: CryptographicAlgorithm) -> Result<Self> {
        let own = match self.kind() {
            KeyKind::Private(kind) | KeyKind::Public(kind) => lattice_algorithm(kind),
            KeyKind::Symmetric(_) => None,
        };
        match own {
            Some(own) if own != algorithm => Err(KsError::key(format!(
                "the key is for {}, its Cryptographic Algorithm says {}",
                names::algorithm(own),
                names::algorithm(algorithm)
            ))),
            _ => Ok(self),
        }
    }

    /// Writes the value of a key block.
    pub fn to_form(&self, format: KeyFormatType) -> Result<KeyValueForm> {
        use KeyFormatType as F;
        match (self.kind(), format) {
            (KeyKind::Symmetric(_), F::Raw | F::TransparentSymmetricKey) => Ok(self.canonical_form()),
            (KeyKind::Private(_), F::Pkcs8) | (KeyKind::Public(_), F::X509) => Ok(self.canonical_form()),
            (KeyKind::Private(PairKind::Rsa), F::Pkcs1) => bytes(self.pkey()?.to_pkcs1_private()),
            (KeyKind::Public(PairKind::Rsa), F::Pkcs1) => bytes(self.pkey()?.to_pkcs1_public()),
            (KeyKind::Private(PairKind::Rsa), F::TransparentRsaPrivateKey) => {
                self.rsa_private().map(KeyValueForm::RsaPrivate)
            }
            (KeyKind::Public(PairKind::Rsa), F::TransparentRsaPublicKey) => {
                self.rsa_public().map(KeyValueForm::RsaPublic)
            }
            (KeyKind::Private(PairKind::Ec(_)), F::EcPrivateKey) => bytes(self.pkey()?.to_sec1()),
            (KeyKind::Private(PairKind::Rsa) | KeyKind::Public(PairKind::Rsa), other) => Err(self.no_such_form(other)),
            (KeyKind::Private(PairKind::MlDsa(_) | PairKind::MlKem(_)), F::Raw) => {
                let key = self.lattice_private()?;
                Ok(KeyValueForm::Bytes(key.seed.unwrap_or(key.expanded)))
            }
            (KeyKind::Public(PairKind::MlDsa(_) | PairKind::MlKem(_)), F::Raw) => {
                self.lattice_public().map(|key| KeyValueForm::Bytes(SecretBytes::new(key)))
            }
            (
                KeyKind::Private(PairKind::MlDsa(_) | PairKind::MlKem(_))
                | KeyKind::Public(PairKind::MlDsa(_) | PairKind::MlKem(_)),
                other,
            ) => Err(self.no_such_form(other)),
            (KeyKind::Private(_), F::Raw) => self.ec_private().map(|key| KeyValueForm::Bytes(key.d)),
            (KeyKind::Public(_), F::Raw) => self.ec_public().map(|key| KeyValueForm::Bytes(SecretBytes::new(key.q))),
            (
                KeyKind::Private(_),
                F::TransparentEcPrivateKey | F::TransparentEcdsaPrivateKey | F::TransparentEcdhPrivateKey,
            ) => self.ec_private().map(KeyValueForm::EcPrivate),
            (
                KeyKind::Public(_),
                F::TransparentEcPublicKey | F::TransparentEcdsaPublicKey | F::TransparentEcdhPublicKey,
            ) => self.ec_public().map(KeyValueForm::EcPublic),
            (_, other) => Err(self.no_such_form(other)),
        }
    }

    fn canonical_form(&self) -> KeyValueForm {
        KeyValueForm::Bytes(SecretBytes::copy_of(self.expose_canonical()))
    }

    fn no_such_form(&self, format: KeyFormatType) -> KsError {
        let what = match self.kind() {
            KeyKind::Symmetric(algorithm) => format!("symmetric {} key", names::algorithm(algorithm)),
            KeyKind::Private(kind) => format!("private {kind} key"),
            KeyKind::Public(kind) => format!("public {kind} key"),
        };
        KsError::unsupported(format!("a {what} is not written in Key Format Type {}", names::format(format)))
    }
}

/// The kind of pair that an algorithm of ML-DSA or ML-KEM names.
fn lattice(algorithm: CryptographicAlgorithm) -> Option<PairKind> {
    let dsa = MlDsa::from_algorithm(algorithm).map(PairKind::MlDsa);
    dsa.or_else(|| MlKem::from_algorithm(algorithm).map(PairKind::MlKem))
}

fn lattice_algorithm(kind: PairKind) -> Option<CryptographicAlgorithm> {
    match kind {
        PairKind::MlDsa(set) => Some(set.algorithm()),
        PairKind::MlKem(set) => Some(set.algorithm()),
        PairKind::Rsa | PairKind::Ec(_) | PairKind::Ed25519 | PairKind::X25519 => None,
    }
}

fn raw_private(
    algorithm: CryptographicAlgorithm,
    curve: Option<RecommendedCurve>,
    bytes: &[u8],
) -> Result<KeyMaterial> {
    let curve = raw_curve(algorithm, curve)?;
    EcPrivate { curve, d: SecretBytes::copy_of(bytes), q: None }.to_material(algorithm)
}

fn raw_public(algorithm: CryptographicAlgorithm, curve: Option<RecommendedCurve>, bytes: &[u8]) -> Result<KeyMaterial> {
    let curve = raw_curve(algorithm, curve)?;
    EcPublic { curve, q: bytes.to_vec() }.to_material(algorithm)
}

fn raw_curve(algorithm: CryptographicAlgorithm, curve: Option<RecommendedCurve>) -> Result<RecommendedCurve> {
    match (algorithm, curve) {
        (CryptographicAlgorithm::Ed25519, _) => Ok(RecommendedCurve::Curve25519),
        (CryptographicAlgorithm::Ec | CryptographicAlgorithm::Ecdsa | CryptographicAlgorithm::Ecdh, Some(curve)) => {
            Ok(curve)
        }
        (CryptographicAlgorithm::Ec | CryptographicAlgorithm::Ecdsa | CryptographicAlgorithm::Ecdh, None) => {
            Err(KsError::parameters("a raw EC key needs a Recommended Curve"))
        }
        (other, _) => Err(KsError::unsupported(format!("no raw keys of a pair for {}", names::algorithm(other)))),
    }
}

fn parsed(what: &str, key: Result<Pkey, super::sys::SysError>) -> Result<Pkey> {
    key.map_err(|e| malformed(what, e))
}

fn bytes(der: Result<Vec<u8>, super::sys::SysError>) -> Result<KeyValueForm> {
    der.map(|der| KeyValueForm::Bytes(SecretBytes::new(der))).map_err(|e| malformed("key", e))
}
