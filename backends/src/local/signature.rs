//! Digital signatures.

use super::hash::{hash, hash_len, md};
use super::material::{PairKind, PreparedKey};
use super::rsa::rsa;
use super::sys::{Padding, Pkey};
use crate::error::{KsError, Result};
use crate::operation::{SignInput, SignatureScheme};
use std::borrow::Cow;

/// Signs. ECDSA signatures are DER, RSA ones as long as the modulus, Ed25519 ones 64 octets, ML-DSA ones as long as
/// their parameter set says.
pub fn sign(key: &PreparedKey, scheme: SignatureScheme, input: SignInput<'_>) -> Result<Vec<u8>> {
    match scheme {
        SignatureScheme::Ed25519 => {
            let message = whole_message(input)?;
            ed25519(key, true)?.sign_message(message).map_err(|e| KsError::key(format!("Ed25519 refused: {}", e.0)))
        }
        SignatureScheme::MlDsa => {
            let message = whole_message(input)?;
            ml_dsa(key, true)?.sign_message(message).map_err(|e| KsError::key(format!("ML-DSA refused: {}", e.0)))
        }
        SignatureScheme::Ecdsa(_) => {
            let digest = digest_of(scheme, input)?;
            ec(key, true)?.sign_ecdsa(&digest).map_err(|e| KsError::key(format!("ECDSA refused: {}", e.0)))
        }
        SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPkcs1Bare | SignatureScheme::RsaPss { .. } => {
            let key = rsa(key, true)?;
            let digest = digest_of(scheme, input)?;
            check_rsa_len(key, scheme, &digest)?;
            key.sign_rsa(padding(scheme, true)?, &digest)
                .map_err(|e| KsError::data(format!("RSA signature refused: {}", e.0)))
        }
    }
}

/// Verifies with either half of a pair. A malformed signature is a wrong signature.
pub fn verify(key: &PreparedKey, scheme: SignatureScheme, input: SignInput<'_>, signature: &[u8]) -> Result<bool> {
    match scheme {
        SignatureScheme::Ed25519 => {
            let message = whole_message(input)?;
            ed25519(key, false)?
                .verify_message(message, signature)
                .map_err(|e| KsError::key(format!("Ed25519 refused: {}", e.0)))
        }
        SignatureScheme::MlDsa => {
            let message = whole_message(input)?;
            ml_dsa(key, false)?
                .verify_message(message, signature)
                .map_err(|e| KsError::key(format!("ML-DSA refused: {}", e.0)))
        }
        SignatureScheme::Ecdsa(_) => {
            let digest = digest_of(scheme, input)?;
            ec(key, false)?
                .verify_ecdsa(&digest, signature)
                .map_err(|e| KsError::key(format!("ECDSA refused: {}", e.0)))
        }
        SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPkcs1Bare | SignatureScheme::RsaPss { .. } => {
            let digest = digest_of(scheme, input)?;
            let key = rsa(key, false)?;
            key.verify_rsa(padding(scheme, false)?, &digest, signature)
                .map_err(|e| KsError::parameters(format!("RSA verification refused: {}", e.0)))
        }
    }
}

/// What the private key is applied to: the hash of the message, or the hash as given, whose length must fit.
pub(crate) fn digest_of(scheme: SignatureScheme, input: SignInput<'_>) -> Result<Cow<'_, [u8]>> {
    match (scheme.hash(), input) {
        (Some(algorithm), SignInput::Message(message)) => hash(algorithm, message).map(Cow::Owned),
        (Some(algorithm), SignInput::Digest(digest)) => {
            let len = hash_len(algorithm)?;
            if digest.len() == len {
                return Ok(Cow::Borrowed(digest));
            }
            Err(KsError::data(format!("Digested Data of {} octets, the hash has {len}", digest.len())))
        }
        (None, SignInput::Message(bytes) | SignInput::Digest(bytes)) => Ok(Cow::Borrowed(bytes)),
    }
}

fn whole_message(input: SignInput<'_>) -> Result<&[u8]> {
    match input {
        SignInput::Message(message) => Ok(message),
        SignInput::Digest(_) => Err(KsError::unsupported("the key signs the message, not a hash of it")),
    }
}

fn ed25519(key: &PreparedKey, private: bool) -> Result<&Pkey> {
    match key.pair(private)? {
        (key, PairKind::Ed25519) => Ok(key),
        (_, other) => Err(KsError::key(format!("the operation takes an Ed25519 key, this one is for {other}"))),
    }
}

fn ml_dsa(key: &PreparedKey, private: bool) -> Result<&Pkey> {
    match key.pair(private)? {
        (key, PairKind::MlDsa(_)) => Ok(key),
        (_, other) => Err(KsError::key(format!("the operation takes an ML-DSA key, this one is for {other}"))),
    }
}

fn ec(key: &PreparedKey, private: bool) -> Result<&Pkey> {
    match key.pair(private)? {
        (key, PairKind::Ec(_)) => Ok(key),
        (_, other) => Err(KsError::key(format!("the operation takes an EC key, this one is for {other}"))),
    }
}

fn padding(scheme: SignatureScheme, signing: bool) -> Result<Padding<'static>> {
    match scheme {
        SignatureScheme::RsaPkcs1(hash) => Ok(Padding::Pkcs1(Some(md(hash)?))),
        SignatureScheme::RsaPkcs1Bare => Ok(Padding::Pkcs1(None)),
        SignatureScheme::RsaPss { hash, mgf_hash, salt_len } => {
            // The library's -1 is the hash's length, -2 any length (verification only).
            let salt_len = match salt_len {
                Some(len) => i32::try_from(len).map_err(|_| KsError::parameters("Salt Length too long"))?,
                None if signing => -1,
                None => -2,
            };
            Ok(Padding::Pss { hash: md(hash)?, mgf: md(mgf_hash)?, salt_len })
        }
        SignatureScheme::Ecdsa(_) | SignatureScheme::Ed25519 | SignatureScheme::MlDsa => Err(KsError::parameters("not a scheme of RSA")),
    }
}

fn check_rsa_len(key: &Pkey, scheme: SignatureScheme, digest: &[u8]) -> Result<()> {
    let needed = match scheme {
        SignatureScheme::RsaPss { salt_len, .. } => digest.len() + salt_len.unwrap_or(digest.len()) + 2,
        _ => digest.len() + 11,
    };
    if needed <= key.size() {
        return Ok(());
    }
    Err(KsError::data(format!("the padded input needs {needed} octets, the RSA modulus has {}", key.size())))
}
