//! The parameter sets of ML-DSA (FIPS 204 §4) and ML-KEM (FIPS 203 §8), with their lengths and names.

use crate::error::{KsError, Result};
use keygate_kmip::CryptographicAlgorithm;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Octets of the secret that ML-KEM gives both sides (FIPS 203 table 3).
pub const SHARED_SECRET_OCTETS: usize = 32;

/// A parameter set of ML-DSA: signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MlDsa {
    /// ML-DSA-44, of category 2.
    MlDsa44,
    /// ML-DSA-65, of category 3.
    MlDsa65,
    /// ML-DSA-87, of category 5.
    MlDsa87,
}

/// A parameter set of ML-KEM: key encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MlKem {
    /// ML-KEM-512, of category 1.
    MlKem512,
    /// ML-KEM-768, of category 3.
    MlKem768,
    /// ML-KEM-1024, of category 5.
    MlKem1024,
}

impl MlDsa {
    /// All sets.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// Octets of the seed that a private key is made from (FIPS 204 algorithm 1).
    pub const SEED_OCTETS: usize = 32;

    /// Octets of a public key (FIPS 204 table 2).
    pub fn public_octets(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// Octets of a signature (FIPS 204 table 2).
    pub fn signature_octets(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// KMIP's code, which exists from version 3.0 on.
    pub fn algorithm(self) -> CryptographicAlgorithm {
        match self {
            Self::MlDsa44 => CryptographicAlgorithm::MlDsa44,
            Self::MlDsa65 => CryptographicAlgorithm::MlDsa65,
            Self::MlDsa87 => CryptographicAlgorithm::MlDsa87,
        }
    }

    /// The set of KMIP's code.
    pub fn from_algorithm(algorithm: CryptographicAlgorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.algorithm() == algorithm)
    }
}

impl MlKem {
    /// All sets.
    pub const ALL: [Self; 3] = [Self::MlKem512, Self::MlKem768, Self::MlKem1024];

    /// Octets of the seed (d, then z) that a private key is made from (FIPS 203 §3.3).
    pub const SEED_OCTETS: usize = 64;

    /// Octets of a public (encapsulation) key (FIPS 203 table 3).
    pub fn public_octets(self) -> usize {
        match self {
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Octets of a cipher text (FIPS 203 table 3).
    pub fn ciphertext_octets(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }

    /// KMIP's code, which exists from version 3.0 on.
    pub fn algorithm(self) -> CryptographicAlgorithm {
        match self {
            Self::MlKem512 => CryptographicAlgorithm::MlKem512,
            Self::MlKem768 => CryptographicAlgorithm::MlKem768,
            Self::MlKem1024 => CryptographicAlgorithm::MlKem1024,
        }
    }

    /// The set of KMIP's code.
    pub fn from_algorithm(algorithm: CryptographicAlgorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.algorithm() == algorithm)
    }

    /// Refuses what is not as long as a cipher text. FIPS 203 §7.3 ciphertext type check: "If c is not a byte array of length
    /// 32(d_u k + d_v) [...] then input checking has failed."
    pub(crate) fn check_ciphertext(self, ciphertext: &[u8]) -> Result<()> {
        if ciphertext.len() == self.ciphertext_octets() {
            return Ok(());
        }
        let (has, given) = (self.ciphertext_octets(), ciphertext.len());
        Err(KsError::data(format!("a cipher text of {self} has {has} octets, {given} given")))
    }
}

impl fmt::Display for MlDsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        })
    }
}

impl fmt::Display for MlKem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MlKem512 => "ML-KEM-512",
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
        })
    }
}
