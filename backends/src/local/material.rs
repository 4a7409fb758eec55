//! Key material at rest in memory, and parsed for use.

use super::components::{EcPrivate, EcPublic, RsaPrivate, RsaPublic};
use super::sys::{Nid, Pkey, PkeyId, SysError};
use crate::error::{KsError, Result};
use crate::lattice::{MlDsa, MlKem};
use crate::names;
use crate::secret::SecretBytes;
use keygate_kmip::{CryptographicAlgorithm, RecommendedCurve};
use std::fmt;

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A symmetric key of this algorithm.
    Symmetric(CryptographicAlgorithm),
    /// The private half of a pair.
    Private(PairKind),
    /// The public half of a pair.
    Public(PairKind),
}

/// The algorithm of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairKind {
    /// RSA.
    Rsa,
    /// ECDSA and ECDH on this curve.
    Ec(RecommendedCurve),
    /// Ed25519.
    Ed25519,
    /// X25519.
    X25519,
    /// ML-DSA.
    MlDsa(MlDsa),
    /// ML-KEM.
    MlKem(MlKem),
}

impl fmt::Display for PairKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa => f.write_str("RSA"),
            Self::Ec(curve) => write!(f, "EC on {}", names::curve(*curve)),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::X25519 => f.write_str("X25519"),
            Self::MlDsa(set) => set.fmt(f),
            Self::MlKem(set) => set.fmt(f),
        }
    }
}

/// A key's value in one canonical encoding: symmetric keys raw, private keys PKCS#8, public keys SubjectPublicKeyInfo.
///
/// A value that exists has been parsed: lengths fit the algorithm, points are on their curves, RSA numbers belong
/// together.
#[derive(Clone)]
pub struct KeyMaterial {
    kind: KeyKind,
    encoded: SecretBytes,
}

impl KeyMaterial {
    /// A symmetric key; its length must fit the algorithm, where this crate knows the algorithm.
    pub fn symmetric(algorithm: CryptographicAlgorithm, bytes: SecretBytes) -> Result<Self> {
        check_symmetric_len(algorithm, bytes.len())?;
        Ok(Self { kind: KeyKind::Symmetric(algorithm), encoded: bytes })
    }

    /// A private key from PKCS#8 PrivateKeyInfo DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let key = Pkey::from_pkcs8(der).map_err(|e| malformed("PKCS#8 private key", e))?;
        Self::private(&key)
    }

    /// A public key from SubjectPublicKeyInfo DER.
    pub fn from_spki(der: &[u8]) -> Result<Self> {
        let key = Pkey::from_spki(der).map_err(|e| malformed("SubjectPublicKeyInfo", e))?;
        Self::public(&key)
    }

    /// What the key is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The canonical encoding: raw, PKCS#8 DER or SubjectPublicKeyInfo DER. [`KeyMaterial::from_canonical`] reads it
    /// back.
    pub fn expose_canonical(&self) -> &[u8] {
        self.encoded.expose()
    }

    /// The reverse of [`KeyMaterial::expose_canonical`].
    pub fn from_canonical(kind: KeyKind, bytes: &[u8]) -> Result<Self> {
        let material = match kind {
            KeyKind::Symmetric(algorithm) => Self::symmetric(algorithm, SecretBytes::copy_of(bytes))?,
            KeyKind::Private(_) => Self::from_pkcs8(bytes)?,
            KeyKind::Public(_) => Self::from_spki(bytes)?,
        };
        if material.kind == kind { Ok(material) } else { Err(KsError::key("the key is of another kind than recorded")) }
    }

    /// The public half of a private key; a public key itself.
    pub fn public_half(&self) -> Result<Self> {
        match self.kind {
            KeyKind::Public(_) => Ok(self.clone()),
            KeyKind::Private(_) => Self::public(&self.pkey()?),
            KeyKind::Symmetric(_) => Err(KsError::key("a symmetric key has no public half")),
        }
    }

    /// KMIP Cryptographic Length in bits: of the symmetric key (168 and 112 for 3DES), the modulus or the curve's
    /// order; of ML-DSA and ML-KEM keys the length of the public key.
    pub fn bits(&self) -> Result<u32> {
        match self.kind {
            KeyKind::Symmetric(CryptographicAlgorithm::Des3) => Ok(if self.encoded.len() == 16 { 112 } else { 168 }),
            KeyKind::Symmetric(_) => u32::try_from(self.encoded.len() * 8).map_err(|_| KsError::key("key too long")),
            KeyKind::Private(PairKind::Ed25519 | PairKind::X25519)
            | KeyKind::Public(PairKind::Ed25519 | PairKind::X25519) => Ok(256),
            KeyKind::Private(PairKind::MlDsa(set)) | KeyKind::Public(PairKind::MlDsa(set)) => {
                Ok(u32::try_from(set.public_octets() * 8).unwrap_or(u32::MAX))
            }
            KeyKind::Private(PairKind::MlKem(set)) | KeyKind::Public(PairKind::MlKem(set)) => {
                Ok(u32::try_from(set.public_octets() * 8).unwrap_or(u32::MAX))
            }
            KeyKind::Private(_) | KeyKind::Public(_) => Ok(self.pkey()?.bits()),
        }
    }

    /// The private key of ML-DSA or ML-KEM as it is kept: its seed, or expanded where it came so; and expanded in either case.
    pub fn lattice_private(&self) -> Result<LatticePrivate> {
        match self.kind {
            KeyKind::Private(PairKind::MlDsa(_) | PairKind::MlKem(_)) => {
                let key = self.pkey()?;
                let expanded = key.expanded().map_err(|e| malformed("private key", e))?;
                Ok(LatticePrivate { seed: key.seed(), expanded })
            }
            _ => Err(KsError::key("the key is not an ML-DSA or ML-KEM private key")),
        }
    }

    /// The public key of ML-DSA or ML-KEM as FIPS 204 and FIPS 203 write it.
    pub fn lattice_public(&self) -> Result<Vec<u8>> {
        match self.kind {
            KeyKind::Private(PairKind::MlDsa(_) | PairKind::MlKem(_))
            | KeyKind::Public(PairKind::MlDsa(_) | PairKind::MlKem(_)) => {
                self.pkey()?.lattice_public().map_err(|e| malformed("key", e))
            }
            _ => Err(KsError::key("the key is not an ML-DSA or ML-KEM key")),
        }
    }

    /// A private key from its seed, or expanded: the length tells.
    pub fn from_lattice_private(kind: PairKind, key: &[u8]) -> Result<Self> {
        let made = match kind {
            PairKind::MlDsa(set) if key.len() == MlDsa::SEED_OCTETS => Pkey::ml_dsa_from_seed(set, key),
            PairKind::MlDsa(set) => Pkey::ml_dsa_from_expanded(set, key),
            PairKind::MlKem(set) if key.len() == MlKem::SEED_OCTETS => Pkey::ml_kem_from_seed(set, key),
            PairKind::MlKem(set) => Pkey::ml_kem_from_expanded(set, key),
            other => return Err(KsError::key(format!("{other} has no such private keys"))),
        };
        Self::private(&made.map_err(|e| malformed(&format!("{kind} private key"), e))?)
    }

    /// A public key as FIPS 204 and FIPS 203 write it.
    pub fn from_lattice_public(kind: PairKind, key: &[u8]) -> Result<Self> {
        let made = match kind {
            PairKind::MlDsa(set) => Pkey::ml_dsa_from_public(set, key),
            PairKind::MlKem(set) => Pkey::ml_kem_from_public(set, key),
            other => return Err(KsError::key(format!("{other} has no such public keys"))),
        };
        Self::public(&made.map_err(|e| malformed(&format!("{kind} public key"), e))?)
    }

    /// The numbers of an RSA private key.
    pub fn rsa_private(&self) -> Result<RsaPrivate> {
        match self.kind {
            KeyKind::Private(PairKind::Rsa) => {
                self.pkey()?.rsa_components().map(RsaPrivate::from).map_err(|e| malformed("RSA key", e))
            }
            _ => Err(KsError::key("the key is not an RSA private key")),
        }
    }

    /// The numbers of an RSA key's public half.
    pub fn rsa_public(&self) -> Result<RsaPublic> {
        match self.kind {
            KeyKind::Private(PairKind::Rsa) | KeyKind::Public(PairKind::Rsa) => {
                let c = self.pkey()?.rsa_components().map_err(|e| malformed("RSA key", e))?;
                Ok(RsaPublic { modulus: c.n.clone(), public_exponent: c.e.clone() })
            }
            _ => Err(KsError::key("the key is not an RSA key")),
        }
    }

    /// Curve and scalar of an EC, Ed25519 or X25519 private key.
    pub fn ec_private(&self) -> Result<EcPrivate> {
        match self.kind {
            KeyKind::Private(PairKind::Ec(curve)) => {
                let c = self.pkey()?.ec_components().map_err(|e| malformed("EC key", e))?;
                Ok(EcPrivate { curve, d: SecretBytes::copy_of(&c.d), q: Some(c.q.clone()) })
            }
            KeyKind::Private(PairKind::Ed25519 | PairKind::X25519) => {
                let d = self.pkey()?.raw_private().map_err(|e| malformed("EC key", e))?;
                Ok(EcPrivate { curve: RecommendedCurve::Curve25519, d: SecretBytes::new(d), q: None })
            }
            _ => Err(KsError::key("the key is not an EC private key")),
        }
    }

    /// Curve and point of an EC, Ed25519 or X25519 public half.
    pub fn ec_public(&self) -> Result<EcPublic> {
        match self.kind {
            KeyKind::Private(PairKind::Ec(curve)) | KeyKind::Public(PairKind::Ec(curve)) => {
                let c = self.pkey()?.ec_components().map_err(|e| malformed("EC key", e))?;
                Ok(EcPublic { curve, q: c.q.clone() })
            }
            KeyKind::Private(PairKind::Ed25519 | PairKind::X25519)
            | KeyKind::Public(PairKind::Ed25519 | PairKind::X25519) => {
                let q = self.pkey()?.raw_public().map_err(|e| malformed("EC key", e))?;
                Ok(EcPublic { curve: RecommendedCurve::Curve25519, q })
            }
            _ => Err(KsError::key("the key is not an EC key")),
        }
    }

    pub(super) fn private(key: &Pkey) -> Result<Self> {
        let kind = KeyKind::Private(pair_kind(key)?);
        let der = key.to_pkcs8().map_err(|e| malformed("private key", e))?;
        Ok(Self { kind, encoded: SecretBytes::new(der) })
    }

    pub(super) fn public(key: &Pkey) -> Result<Self> {
        let kind = KeyKind::Public(pair_kind(key)?);
        let der = key.to_spki().map_err(|e| malformed("public key", e))?;
        Ok(Self { kind, encoded: SecretBytes::new(der) })
    }

    pub(super) fn pkey(&self) -> Result<Pkey> {
        match self.kind {
            KeyKind::Private(_) => {
                Pkey::from_pkcs8(self.encoded.expose()).map_err(|e| malformed("PKCS#8 private key", e))
            }
            KeyKind::Public(_) => {
                Pkey::from_spki(self.encoded.expose()).map_err(|e| malformed("SubjectPublicKeyInfo", e))
            }
            KeyKind::Symmetric(_) => Err(KsError::key("the key is symmetric")),
        }
    }
}

/// An ML-DSA or ML-KEM private key in its two forms.
pub struct LatticePrivate {
    /// What it is made from; `None` where that is not known.
    pub seed: Option<SecretBytes>,
    /// What is computed with.
    pub expanded: SecretBytes,
}

/// Longest RSA modulus that is used: the private operation of 8192 bits takes some 20 ms, and grows with the cube.
const RSA_BITS_MAX: u32 = 8192;

/// A key parsed for use: made once from its [`KeyMaterial`], then shared.
pub struct PreparedKey {
    kind: KeyKind,
    bits: u32,
    inner: Inner,
}

enum Inner {
    Symmetric(SecretBytes),
    Pair(Pkey),
}

impl PreparedKey {
    /// Parses the material.
    pub fn new(material: &KeyMaterial) -> Result<Self> {
        let (kind, bits) = (material.kind, material.bits()?);
        let inner = match kind {
            KeyKind::Symmetric(_) => Inner::Symmetric(material.encoded.clone()),
            KeyKind::Private(PairKind::Rsa) | KeyKind::Public(PairKind::Rsa) if bits > RSA_BITS_MAX => {
                return Err(KsError::unsupported(format!(
                    "RSA of {bits} bits is not used; {RSA_BITS_MAX} is the most"
                )));
            }
            KeyKind::Private(_) | KeyKind::Public(_) => Inner::Pair(material.pkey()?),
        };
        Ok(Self { kind, bits, inner })
    }

    /// What the key is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// KMIP Cryptographic Length.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The material again, canonically encoded.
    pub fn to_material(&self) -> Result<KeyMaterial> {
        match (&self.inner, self.kind) {
            (Inner::Symmetric(bytes), kind) => Ok(KeyMaterial { kind, encoded: bytes.clone() }),
            (Inner::Pair(key), KeyKind::Private(_)) => KeyMaterial::private(key),
            (Inner::Pair(key), _) => KeyMaterial::public(key),
        }
    }

    pub(super) fn symmetric(&self) -> Result<&SecretBytes> {
        match &self.inner {
            Inner::Symmetric(bytes) => Ok(bytes),
            Inner::Pair(_) => Err(KsError::key("the operation takes a symmetric key")),
        }
    }

    /// The key of a pair; `private` where the operation needs the private half.
    pub(super) fn pair(&self, private: bool) -> Result<(&Pkey, PairKind)> {
        match (&self.inner, self.kind) {
            (Inner::Pair(key), KeyKind::Private(kind)) => Ok((key, kind)),
            (Inner::Pair(key), KeyKind::Public(kind)) if !private => Ok((key, kind)),
            (Inner::Pair(_), _) => Err(KsError::key("the operation takes a private key, a public key was given")),
            (Inner::Symmetric(_), _) => Err(KsError::key("the operation takes a key of a pair")),
        }
    }
}

pub(super) fn malformed(what: &str, e: SysError) -> KsError {
    KsError::key(format!("{what} refused: {}", if e.0.is_empty() { "malformed" } else { e.0 }))
}

fn pair_kind(key: &Pkey) -> Result<PairKind> {
    Ok(match key.id() {
        Some(PkeyId::Rsa) => PairKind::Rsa,
        Some(PkeyId::Ed25519) => PairKind::Ed25519,
        Some(PkeyId::X25519) => PairKind::X25519,
        Some(PkeyId::Ec) => PairKind::Ec(match key.ec_curve().map_err(|e| malformed("EC key", e))? {
            Nid::P224 => RecommendedCurve::P224,
            Nid::P256 => RecommendedCurve::P256,
            Nid::P384 => RecommendedCurve::P384,
            Nid::P521 => RecommendedCurve::P521,
            Nid::Secp256k1 => RecommendedCurve::Secp256k1,
        }),
        Some(PkeyId::MlDsa) => PairKind::MlDsa(key.ml_dsa().map_err(|e| malformed("ML-DSA key", e))?),
        Some(PkeyId::MlKem) => PairKind::MlKem(key.ml_kem().map_err(|e| malformed("ML-KEM key", e))?),
        None => return Err(KsError::unsupported("the key is not RSA, EC, Ed25519, X25519, ML-DSA or ML-KEM")),
    })
}

fn check_symmetric_len(algorithm: CryptographicAlgorithm, len: usize) -> Result<()> {
    let (legal, rule) = match algorithm {
        // 64 octets are the two keys of XTS-AES-256.
        CryptographicAlgorithm::Aes => (matches!(len, 16 | 24 | 32 | 64), "16, 24, 32 or (XTS) 64"),
        CryptographicAlgorithm::Des3 => (matches!(len, 16 | 24), "16 or 24"),
        CryptographicAlgorithm::ChaCha20
        | CryptographicAlgorithm::ChaCha20Poly1305
        | CryptographicAlgorithm::Poly1305 => (len == 32, "32"),
        _ => (len > 0, "at least 1"),
    };
    if legal {
        return Ok(());
    }
    Err(KsError::key(format!("{} key of {len} octets is not {rule}", names::algorithm(algorithm))))
}
