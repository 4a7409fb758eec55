//! Derivation of keys from keys and passwords.

use super::hash::{hash, md};
use super::sys::{self, SysError};
use crate::error::{KsError, Result};
use crate::names;
use crate::secret::SecretBytes;
use keygate_kmip::HashingAlgorithm;

/// Longest key that is derived, in octets.
pub const DERIVED_MAX: usize = 8192;

/// Most PBKDF2 iterations that are done for one key: some seconds of one processor.
pub const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;

/// How a key comes from another secret. KMIP 2.1 §11.14 (Derivation Method).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation<'a> {
    /// The hash of the secret.
    Hash,
    /// HMAC of the data under the secret.
    Hmac {
        /// What the HMAC is of.
        data: &'a [u8],
    },
    /// HKDF, extract and expand (RFC 5869).
    Hkdf {
        /// Salt; may be empty.
        salt: &'a [u8],
        /// Info; may be empty.
        info: &'a [u8],
    },
    /// PBKDF2 with HMAC (RFC 8018 §5.2).
    Pbkdf2 {
        /// Salt.
        salt: &'a [u8],
        /// Iteration count.
        iterations: u32,
    },
    /// KDF in counter mode with HMAC (NIST SP 800-108r1 §4.1): 32-bit counter, then the fixed data.
    Counter {
        /// Label, context and length, as the client composed them.
        fixed: &'a [u8],
    },
}

/// Derives `len` octets. PBKDF2 takes as long as its iteration count asks for: call it off the runtime.
///
/// # Errors
/// A hash that does not go with the method, a length that the method cannot give, an iteration count of 0 or over
/// [`PBKDF2_ITERATIONS_MAX`].
pub fn derive(secret: &[u8], how: Derivation<'_>, algorithm: HashingAlgorithm, len: usize) -> Result<SecretBytes> {
    if len == 0 || len > DERIVED_MAX {
        return Err(KsError::parameters(format!("a derived key of {len} octets is not 1 to {DERIVED_MAX}")));
    }
    let md = md(algorithm)?;
    let filled = |fill: &dyn Fn(&mut [u8]) -> sys::SysResult<()>| {
        SecretBytes::fill_with(len, fill).map_err(|e: SysError| {
            KsError::parameters(format!("derivation with {} failed: {}", names::hash(algorithm), e.0))
        })
    };
    match how {
        Derivation::Hash => cut(hash(algorithm, secret)?, len),
        Derivation::Hmac { data } => {
            cut(sys::hmac(md, secret, data).map_err(|e| KsError::parameters(format!("HMAC failed: {}", e.0)))?, len)
        }
        // RFC 5869 §2.3: "L: length of output keying material in octets (<= 255*HashLen)".
        Derivation::Hkdf { .. } if len > 255 * md.len() => Err(too_long(255 * md.len(), len)),
        Derivation::Hkdf { salt, info } => filled(&|out| sys::hkdf(md, secret, salt, info, out)),
        Derivation::Pbkdf2 { iterations, .. } if iterations == 0 || iterations > PBKDF2_ITERATIONS_MAX => {
            Err(KsError::parameters(format!("Iteration Count {iterations} is not 1 to {PBKDF2_ITERATIONS_MAX}")))
        }
        Derivation::Pbkdf2 { salt, iterations } => filled(&|out| sys::pbkdf2(md, secret, salt, iterations, out)),
        Derivation::Counter { fixed } => filled(&|out| sys::kbkdf_counter(md, secret, fixed, out)),
    }
}

fn cut(bytes: Vec<u8>, len: usize) -> Result<SecretBytes> {
    let mut bytes = SecretBytes::new(bytes);
    if bytes.len() < len {
        return Err(too_long(bytes.len(), len));
    }
    bytes.truncate(len);
    Ok(bytes)
}

fn too_long(max: usize, len: usize) -> KsError {
    KsError::parameters(format!("the method gives at most {max} octets, {len} are asked for"))
}
