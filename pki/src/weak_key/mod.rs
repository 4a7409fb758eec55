//! Keys that are well formed and still prove nothing, because others can work out the private half.
//!
//! All of it is arithmetic on public numbers: nothing here is secret, and nothing signs or verifies.

mod block_list;
mod ed25519;
mod fermat;
mod roca;

use der::Decode;
use num_bigint::BigUint;

pub use block_list::{BLOCK_LIST_ENTRIES_MAX, BlockList, BlockListError};
pub(crate) use ed25519::check_ed25519;

use crate::public_key::{KeyFault, KeyType, PublicKey, RsaPublicKey, bits};

/// Fewest bits of an RSA key that a certificate is issued for.
pub const REQUEST_RSA_BITS_MIN: usize = 2048;
/// Most bits of an RSA key that a certificate is issued for: each verification with it costs every relying party.
pub const REQUEST_RSA_BITS_MAX: usize = 4096;

/// Refuses keys that must not be certified, beyond what [`PublicKey`] refuses to read.
pub(crate) fn check_requested(key: &PublicKey) -> Result<(), KeyFault> {
    // The curves, Ed25519 and ML-DSA have fixed parameters: a point that was read is as good as any other.
    if key.key_type() != KeyType::Rsa {
        return Ok(());
    }
    let rsa = RsaPublicKey::from_der(key.raw()).map_err(|_| KeyFault::Damaged("RSA key is damaged"))?;
    let size = bits(rsa.modulus.as_bytes());
    if !(REQUEST_RSA_BITS_MIN..=REQUEST_RSA_BITS_MAX).contains(&size) {
        return Err(KeyFault::RsaSize { bits: size, min: REQUEST_RSA_BITS_MIN, max: REQUEST_RSA_BITS_MAX });
    }
    // FIPS 186-5 A.1.1 (b): "The exponent e shall be an odd, positive integer such that 2^16 < e < 2^256."
    if bits(rsa.public_exponent.as_bytes()) <= 16 {
        return Err(KeyFault::RsaExponentSmall { min: 65_537 });
    }
    check_strength(key)
}

/// Refuses RSA keys whose modulus is factored.
pub(crate) fn check_strength(key: &PublicKey) -> Result<(), KeyFault> {
    if key.key_type() != KeyType::Rsa {
        return Ok(());
    }
    let rsa = RsaPublicKey::from_der(key.raw()).map_err(|_| KeyFault::Damaged("RSA key is damaged"))?;
    let modulus = BigUint::from_bytes_be(rsa.modulus.as_bytes());
    // CA/Browser Forum Baseline Requirements §6.1.6: "the modulus ... have no factors smaller than 752".
    if let Some(prime) = primes_below(752).find(|prime| &modulus % *prime == BigUint::ZERO) {
        return Err(KeyFault::RsaSmallFactor(prime));
    }
    if roca::has_fingerprint(&modulus) {
        return Err(KeyFault::Roca);
    }
    if fermat::is_close(&modulus) {
        return Err(KeyFault::FermatClose);
    }
    Ok(())
}

fn primes_below(end: u32) -> impl Iterator<Item = u32> {
    (2..end).filter(|number| (2..*number).take_while(|divisor| divisor * divisor <= *number).all(|d| number % d != 0))
}
