//! KMIP Hashing Algorithms.

use super::sys::{self, Md};
use crate::error::{KsError, Result};
use crate::names;
use keygate_kmip::HashingAlgorithm;

/// The library's table for a hash. MD2, Tiger and Whirlpool are refused: nobody should need them, and the library has
/// none.
pub(super) fn md(hash: HashingAlgorithm) -> Result<Md> {
    Ok(match hash {
        HashingAlgorithm::Md4 => Md::md4(),
        HashingAlgorithm::Md5 => Md::md5(),
        HashingAlgorithm::Sha1 => Md::sha1(),
        HashingAlgorithm::Sha224 => Md::sha224(),
        HashingAlgorithm::Sha256 => Md::sha256(),
        HashingAlgorithm::Sha384 => Md::sha384(),
        HashingAlgorithm::Sha512 => Md::sha512(),
        HashingAlgorithm::Ripemd160 => Md::ripemd160(),
        HashingAlgorithm::Sha512_224 => Md::sha512_224(),
        HashingAlgorithm::Sha512_256 => Md::sha512_256(),
        HashingAlgorithm::Sha3_224 => Md::sha3_224(),
        HashingAlgorithm::Sha3_256 => Md::sha3_256(),
        HashingAlgorithm::Sha3_384 => Md::sha3_384(),
        HashingAlgorithm::Sha3_512 => Md::sha3_512(),
        other => return Err(KsError::unsupported(format!("no hash {}", names::hash(other)))),
    })
}

/// Hashes a message.
pub fn hash(algorithm: HashingAlgorithm, data: &[u8]) -> Result<Vec<u8>> {
    sys::digest(md(algorithm)?, data)
        .map_err(|e| KsError::unsupported(format!("hash {} failed: {}", names::hash(algorithm), e.0)))
}

/// Octets of a hash.
pub fn hash_len(algorithm: HashingAlgorithm) -> Result<usize> {
    md(algorithm).map(Md::len)
}

/// A hash over several parts (KMIP streaming).
pub struct HashStream(sys::Hasher);

impl HashStream {
    /// Starts.
    pub fn new(algorithm: HashingAlgorithm) -> Result<Self> {
        sys::Hasher::new(md(algorithm)?).map(Self).map_err(failed)
    }

    /// Takes a part.
    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        self.0.update(data).map_err(failed)
    }

    /// The hash of all parts.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.0.finish().map_err(failed)
    }
}

fn failed(e: sys::SysError) -> KsError {
    KsError::unsupported(format!("hash failed: {}", e.0))
}
