//! Key encapsulation: ML-KEM (FIPS 203).

use super::material::{PairKind, PreparedKey};
use super::sys::Pkey;
use crate::error::{KsError, Result};
use crate::lattice::MlKem;
use crate::operation::Encapsulated;
use crate::secret::SecretBytes;

/// Draws a secret of 32 octets and encapsulates it to a public key; the private half serves as well.
pub fn encapsulate(key: &PreparedKey) -> Result<Encapsulated> {
    let (key, set) = ml_kem(key, false)?;
    let (ciphertext, secret) = key
        .encapsulate(set)
        .map_err(|e| KsError::key(format!("{set} refused: {}", if e.0.is_empty() { "malformed" } else { e.0 })))?;
    Ok(Encapsulated { ciphertext, secret })
}

/// Recovers the secret. FIPS 203 §6.3: a cipher text of the right length that belongs to no secret gives another one
/// ("implicit rejection"), never an error.
pub fn decapsulate(key: &PreparedKey, ciphertext: &[u8]) -> Result<SecretBytes> {
    let (key, set) = ml_kem(key, true)?;
    set.check_ciphertext(ciphertext)?;
    key.decapsulate(ciphertext).map_err(|e| KsError::key(format!("{set} refused: {}", e.0)))
}

fn ml_kem(key: &PreparedKey, private: bool) -> Result<(&Pkey, MlKem)> {
    match key.pair(private)? {
        (key, PairKind::MlKem(set)) => Ok((key, set)),
        (_, other) => Err(KsError::key(format!("the operation takes an ML-KEM key, this one is for {other}"))),
    }
}
