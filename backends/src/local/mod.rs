//! Cryptography in this process: the `local` keystore and the functions beneath it.
//!
//! Everything here is synchronous and takes microseconds, RSA private operations (0.3 ms for 2048 bits) and RSA key
//! generation (a second for 4096) excepted: callers put the latter on a blocking thread. Keys come as [`PreparedKey`]:
//! parsed once, shared between threads, wiped on drop. The cryptographic library is AWS-LC.
//!
//! Leaves to others: which key may do what (usage mask, state), sealing, KMIP's structures for transparent keys.

mod cipher;
mod components;
mod derive;
mod form;
mod generate;
mod hash;
mod kem;
mod keystore;
mod mac;
mod material;
pub(crate) mod padding;
mod rsa;
mod signature;
mod stream;
mod sys;
mod xts;

pub use cipher::{decrypt, encrypt, iv_len};
pub use components::{EcPrivate, EcPublic, RsaPrivate, RsaPublic};
pub use derive::{DERIVED_MAX, Derivation, PBKDF2_ITERATIONS_MAX, derive};
pub use form::{KeyValueForm, Role};
pub(crate) use generate::{check_rsa_bits, symmetric_octets};
pub use generate::{RSA_BITS_LEGACY, generate, generate_pair, is_legacy};
pub use hash::{HashStream, hash, hash_len};
pub use kem::{decapsulate, encapsulate};
pub use keystore::LocalKeystore;
pub(crate) use keystore::apply;
pub use mac::{MacStream, mac, mac_verify};
pub use material::{KeyKind, KeyMaterial, LatticePrivate, PairKind, PreparedKey};
pub(crate) use signature::digest_of;
pub use signature::{sign, verify};
pub use stream::{CipherStream, Direction};

use crate::error::{Class, KsError, Result};
use crate::secret::SecretBytes;

/// Fills the buffer with random octets from the cryptographic library's generator.
pub fn fill_random(out: &mut [u8]) -> Result<()> {
    sys::random(out).map_err(|_| KsError::new(Class::RetrySame, "the random generator failed"))
}

/// So many random octets.
pub fn random(len: usize) -> Result<SecretBytes> {
    SecretBytes::fill_with(len, fill_random)
}
