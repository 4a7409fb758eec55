//! Asymmetric keys as numbers: what KMIP's transparent key structures hold.

use super::material::{KeyMaterial, malformed};
use super::sys::{Nid, Pkey, PkeyId, RsaComponents};
use crate::error::{KsError, Result};
use crate::names;
use crate::secret::SecretBytes;
use keygate_kmip::{CryptographicAlgorithm, RecommendedCurve};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The numbers of an RSA private key, big-endian without leading zeros.
///
/// Reading one in, `p` to `qinv` may be empty: they are computed from `modulus`, `public_exponent` and
/// `private_exponent`.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct RsaPrivate {
    /// n.
    pub modulus: Vec<u8>,
    /// e.
    pub public_exponent: Vec<u8>,
    /// d.
    pub private_exponent: Vec<u8>,
    /// p, the first prime.
    pub p: Vec<u8>,
    /// q, the second prime.
    pub q: Vec<u8>,
    /// d mod (p - 1).
    pub prime_exponent_p: Vec<u8>,
    /// d mod (q - 1).
    pub prime_exponent_q: Vec<u8>,
    /// The inverse of q mod p.
    pub crt_coefficient: Vec<u8>,
}

impl From<RsaComponents> for RsaPrivate {
    fn from(c: RsaComponents) -> Self {
        Self {
            modulus: c.n.clone(),
            public_exponent: c.e.clone(),
            private_exponent: c.d.clone(),
            p: c.p.clone(),
            q: c.q.clone(),
            prime_exponent_p: c.dp.clone(),
            prime_exponent_q: c.dq.clone(),
            crt_coefficient: c.qinv.clone(),
        }
    }
}

impl RsaPrivate {
    /// Builds the key; the numbers must belong together.
    pub fn to_material(&self) -> Result<KeyMaterial> {
        if self.modulus.is_empty() || self.private_exponent.is_empty() || self.public_exponent.is_empty() {
            return Err(KsError::unsupported("an RSA private key needs modulus, public exponent and private exponent"));
        }
        let c = RsaComponents {
            n: self.modulus.clone(),
            e: self.public_exponent.clone(),
            d: self.private_exponent.clone(),
            p: self.p.clone(),
            q: self.q.clone(),
            dp: self.prime_exponent_p.clone(),
            dq: self.prime_exponent_q.clone(),
            qinv: self.crt_coefficient.clone(),
        };
        let key = Pkey::from_rsa_private(&c).map_err(|e| malformed("RSA private key", e))?;
        KeyMaterial::private(&key)
    }
}

/// The numbers of an RSA public key, big-endian without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPublic {
    /// n.
    pub modulus: Vec<u8>,
    /// e.
    pub public_exponent: Vec<u8>,
}

impl RsaPublic {
    /// Builds the key.
    pub fn to_material(&self) -> Result<KeyMaterial> {
        let key =
            Pkey::from_rsa_public(&self.modulus, &self.public_exponent).map_err(|e| malformed("RSA public key", e))?;
        KeyMaterial::public(&key)
    }
}

/// An EC private key by curve and scalar.
#[derive(Clone)]
pub struct EcPrivate {
    /// The curve; Curve25519 with an algorithm of Ed25519 is an Ed25519 seed.
    pub curve: RecommendedCurve,
    /// The scalar, big-endian (seed or scalar octets for the 25519 curves).
    pub d: SecretBytes,
    /// The point, where known; computed otherwise.
    pub q: Option<Vec<u8>>,
}

impl EcPrivate {
    /// Builds the key. `algorithm` tells Ed25519 from X25519 on Curve25519 and is not looked at otherwise.
    pub fn to_material(&self, algorithm: CryptographicAlgorithm) -> Result<KeyMaterial> {
        let key = match raw_id(self.curve, algorithm) {
            Some(id) => Pkey::from_raw_private(id, self.d.expose()),
            None => Pkey::from_ec_private(nid(self.curve)?, self.d.expose(), self.q.as_deref()),
        };
        KeyMaterial::private(&key.map_err(|e| malformed("EC private key", e))?)
    }
}

/// An EC public key by curve and point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcPublic {
    /// The curve.
    pub curve: RecommendedCurve,
    /// The point: SEC 1 octets, uncompressed going out, compressed or not coming in (32 raw octets for the 25519
    /// curves).
    pub q: Vec<u8>,
}

impl EcPublic {
    /// Builds the key. `algorithm` tells Ed25519 from X25519 on Curve25519 and is not looked at otherwise.
    pub fn to_material(&self, algorithm: CryptographicAlgorithm) -> Result<KeyMaterial> {
        let key = match raw_id(self.curve, algorithm) {
            Some(id) => Pkey::from_raw_public(id, &self.q),
            None => Pkey::from_ec_public(nid(self.curve)?, &self.q),
        };
        KeyMaterial::public(&key.map_err(|e| malformed("EC public key", e))?)
    }
}

/// The library's curve for a KMIP Recommended Curve.
pub(super) fn nid(curve: RecommendedCurve) -> Result<Nid> {
    Ok(match curve {
        RecommendedCurve::P224 => Nid::P224,
        RecommendedCurve::P256 => Nid::P256,
        RecommendedCurve::P384 => Nid::P384,
        RecommendedCurve::P521 => Nid::P521,
        RecommendedCurve::Secp256k1 => Nid::Secp256k1,
        other => {
            return Err(KsError::unsupported(format!(
                "no curve {}; P-224, P-256, P-384, P-521 and secp256k1 are there",
                names::curve(other)
            )));
        }
    })
}

fn raw_id(curve: RecommendedCurve, algorithm: CryptographicAlgorithm) -> Option<PkeyId> {
    match (curve, algorithm) {
        (_, CryptographicAlgorithm::Ed25519) => Some(PkeyId::Ed25519),
        (RecommendedCurve::Curve25519, _) => Some(PkeyId::X25519),
        _ => None,
    }
}
