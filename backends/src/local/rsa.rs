//! RSA encryption.

use super::hash::{hash_len, md};
use super::material::{PairKind, PreparedKey};
use super::sys::{Padding, Pkey};
use crate::error::{KsError, Result};
use crate::operation::EncryptionScheme;
use crate::secret::SecretBytes;

pub(super) fn encrypt(key: &PreparedKey, scheme: &EncryptionScheme, plain: &[u8]) -> Result<Vec<u8>> {
    let key = rsa(key, false)?;
    let (padding, overhead) = padding(scheme)?;
    let max = key.size().saturating_sub(overhead);
    if plain.len() > max {
        return Err(KsError::data(format!(
            "{} octets are more than the {max} that this key and padding take",
            plain.len()
        )));
    }
    if *scheme == EncryptionScheme::RsaRaw && plain.len() != key.size() {
        return Err(KsError::data(format!(
            "RSA without padding takes exactly {} octets, {} given",
            key.size(),
            plain.len()
        )));
    }
    key.encrypt(padding, plain).map_err(|e| KsError::data(format!("RSA encryption refused: {}", e.0)))
}

/// Every failure past the length check is one error: RFC 8017 §7.1.2 and §7.2.2 "output 'decryption error' and stop",
/// with the note that an opponent must not learn which check failed.
pub(super) fn decrypt(key: &PreparedKey, scheme: &EncryptionScheme, data: &[u8]) -> Result<SecretBytes> {
    let key = rsa(key, true)?;
    if data.len() != key.size() {
        return Err(KsError::data(format!(
            "RSA cipher text of {} octets is not the modulus length {}",
            data.len(),
            key.size()
        )));
    }
    let (padding, _) = padding(scheme)?;
    key.decrypt(padding, data).map(SecretBytes::new).map_err(|_| KsError::integrity("RSA decryption failed"))
}

pub(super) fn rsa(key: &PreparedKey, private: bool) -> Result<&Pkey> {
    match key.pair(private)? {
        (key, PairKind::Rsa) => Ok(key),
        (_, other) => Err(KsError::key(format!("the operation takes an RSA key, this one is for {other}"))),
    }
}

/// The padding and how many octets of the modulus it takes.
fn padding(scheme: &EncryptionScheme) -> Result<(Padding<'_>, usize)> {
    match scheme {
        EncryptionScheme::RsaPkcs1 => Ok((Padding::Pkcs1(None), 11)),
        EncryptionScheme::RsaRaw => Ok((Padding::None, 0)),
        EncryptionScheme::RsaOaep { hash, mgf_hash, label } => {
            Ok((Padding::Oaep { hash: md(*hash)?, mgf: md(*mgf_hash)?, label }, 2 * hash_len(*hash)? + 2))
        }
        _ => Err(KsError::parameters("the mode is not one of RSA")),
    }
}
