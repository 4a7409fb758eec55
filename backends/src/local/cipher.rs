//! Encryption and decryption of whole messages, and the choice of the library's cipher.

use super::material::{KeyKind, PreparedKey};
use super::stream::{CipherStream, Direction};
use super::sys::{AesWrap, CcmTag, CipherCtx, CipherKind, SysError};
use super::{rsa, xts};
use crate::error::{KsError, Result};
use crate::names;
use crate::operation::{DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Iv};
use crate::secret::SecretBytes;
use keygate_kmip::CryptographicAlgorithm;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Longest IV of GCM that is accepted. NIST SP 800-38D allows 2^64 - 1 bits; nobody needs more than a hash.
const GCM_IV_MAX: usize = 128;

/// Octets of the IV, counter or nonce that [`Iv::Random`] draws for a scheme; 0 for a scheme that takes none.
pub fn iv_len(key: KeyKind, scheme: &EncryptionScheme) -> usize {
    match scheme {
        EncryptionScheme::Cbc(_) => block_len(key),
        EncryptionScheme::Ctr
        | EncryptionScheme::Cfb
        | EncryptionScheme::Ofb
        | EncryptionScheme::Xts => 16,
        EncryptionScheme::Gcm { .. } | EncryptionScheme::Ccm { .. } => 12,
        EncryptionScheme::ChaCha20 { .. } | EncryptionScheme::ChaCha20Poly1305 { .. } => 12,
        EncryptionScheme::Ecb(_) | EncryptionScheme::KeyWrap | EncryptionScheme::KeyWrapPadded => 0,
        EncryptionScheme::RsaPkcs1 | EncryptionScheme::RsaOaep { .. } | EncryptionScheme::RsaRaw => 0,
    }
}

/// Encrypts a message. An IV given to a mode that takes none is not looked at (KMIP 2.1 §6.1.15: "where appropriate").
pub fn encrypt(key: &PreparedKey, op: &EncryptOp<'_>) -> Result<Encrypted> {
    check_aad(op.scheme, op.aad)?;
    let (iv, drawn) = resolve_iv(key.kind(), op.scheme, op.iv)?;
    let (data, tag) = match op.scheme {
        EncryptionScheme::RsaPkcs1 | EncryptionScheme::RsaOaep { .. } | EncryptionScheme::RsaRaw => {
            (rsa::encrypt(key, op.scheme, op.data)?, None)
        }
        EncryptionScheme::KeyWrap | EncryptionScheme::KeyWrapPadded => (wrap(key, op.scheme, op.data)?, None),
        EncryptionScheme::Xts => (xts::apply(xts_key(key)?, true, &iv, op.data)?, None),
        EncryptionScheme::Ccm { tag_len } => {
            let (data, tag) = ccm_encrypt(key, *tag_len, &iv, op.aad, op.data)?;
            (data, Some(tag))
        }
        _ => {
            let mut stream = CipherStream::new(key, op.scheme, Direction::Encrypt { legacy: op.legacy }, &iv, op.aad)?;
            let mut out = Vec::with_capacity(op.data.len() + 32);
            stream.update(op.data, &mut out)?;
            let tag = stream.finish_encrypt(&mut out)?;
            (out, tag)
        }
    };
    Ok(Encrypted { data, iv: drawn.then(|| iv.into_owned()), tag })
}

/// Decrypts a message. A wrong key, IV, tag or cipher text cannot be told apart in the error.
pub fn decrypt(key: &PreparedKey, op: &DecryptOp<'_>) -> Result<SecretBytes> {
    check_aad(op.scheme, op.aad)?;
    check_tag(op.scheme, op.tag)?;
    match op.scheme {
        EncryptionScheme::RsaPkcs1 | EncryptionScheme::RsaOaep { .. } | EncryptionScheme::RsaRaw => {
            rsa::decrypt(key, op.scheme, op.data)
        }
        EncryptionScheme::KeyWrap | EncryptionScheme::KeyWrapPadded => unwrap(key, op.scheme, op.data),
        EncryptionScheme::Xts => xts::apply(xts_key(key)?, false, op.iv, op.data).map(SecretBytes::new),
        EncryptionScheme::Ccm { .. } => ccm_decrypt(key, op.iv, op.aad, op.data, op.tag.unwrap_or_default()),
        _ => {
            let mut stream = CipherStream::new(key, op.scheme, Direction::Decrypt, op.iv, op.aad)?;
            let mut out = Zeroizing::new(Vec::with_capacity(op.data.len() + 64));
            stream.update(op.data, &mut out)?;
            stream.finish_decrypt(op.tag, &mut out)?;
            Ok(SecretBytes::new(std::mem::take(&mut *out)))
        }
    }
}

/// Starts a library context for a scheme that streams; padding is not the library's business.
pub(super) fn context(
    key: &PreparedKey,
    scheme: &EncryptionScheme,
    encrypt: bool,
    iv: &[u8],
    aad: &[u8],
) -> Result<CipherCtx> {
    let bytes = cipher_key(key)?;
    let kind = library_cipher(key.kind(), scheme, bytes.len())?;
    check_iv(scheme, block_len(key.kind()), iv)?;
    let iv = if matches!(scheme, EncryptionScheme::Ecb(_)) { &[] } else { iv };
    let mut ctx = CipherCtx::new(kind, encrypt, &bytes, iv).map_err(refused)?;
    ctx.aad(aad).map_err(refused)?;
    Ok(ctx)
}

/// A GCM context that only authenticates.
pub(super) fn gcm_context(key: &[u8], iv: &[u8], tag_len: usize) -> Result<CipherCtx> {
    check_aes_key(key)?;
    if !(4..=16).contains(&tag_len) {
        return Err(KsError::parameters(format!("tag of {tag_len} octets is not 4 to 16")));
    }
    check_iv(&EncryptionScheme::Gcm { tag_len }, 16, iv)?;
    CipherCtx::new(pick(key.len(), CipherKind::Aes128Gcm, CipherKind::Aes192Gcm, CipherKind::Aes256Gcm), true, key, iv)
        .map_err(refused)
}

/// Refuses a key that AES does not take.
pub(super) fn check_aes_key(key: &[u8]) -> Result<()> {
    match key.len() {
        16 | 24 | 32 => Ok(()),
        other => Err(KsError::key(format!("AES key of {other} octets is not 16, 24 or 32"))),
    }
}

/// Octets of a block.
pub(super) fn block_len(kind: KeyKind) -> usize {
    match kind {
        KeyKind::Symmetric(CryptographicAlgorithm::Des3 | CryptographicAlgorithm::Blowfish | CryptographicAlgorithm::Cast5) => 8,
        _ => 16,
    }
}

/// The key as the library takes it: two-key 3DES becomes K1 K2 K1 (NIST SP 800-67 §3.1 keying option 2).
fn cipher_key(key: &PreparedKey) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = key.symmetric()?.expose();
    let mut out = Zeroizing::new(Vec::with_capacity(32));
    out.extend_from_slice(bytes);
    if key.kind() == KeyKind::Symmetric(CryptographicAlgorithm::Des3) && bytes.len() == 16 {
        out.extend_from_slice(&bytes[..8]);
    }
    Ok(out)
}

fn library_cipher(kind: KeyKind, scheme: &EncryptionScheme, key_len: usize) -> Result<CipherKind> {
    use CipherKind as C;
    let KeyKind::Symmetric(algorithm) = kind else {
        return Err(KsError::key("a key of a pair does not encrypt with a block cipher"));
    };
    match (algorithm, scheme) {
        (CryptographicAlgorithm::Des3, EncryptionScheme::Ecb(_)) if key_len == 24 => Ok(C::Des3Ecb),
        (CryptographicAlgorithm::Des3, EncryptionScheme::Cbc(_)) if key_len == 24 => Ok(C::Des3Cbc),
        (CryptographicAlgorithm::Des3, EncryptionScheme::Ecb(_) | EncryptionScheme::Cbc(_)) => {
            Err(KsError::key(format!("3DES key of {key_len} octets is not 16 or 24")))
        }
        (CryptographicAlgorithm::Blowfish | CryptographicAlgorithm::Cast5, _) if key_len != 16 => {
            Err(KsError::unsupported(format!("{} encrypts here with keys of 16 octets, not {key_len}", names::algorithm(algorithm))))
        }
        (CryptographicAlgorithm::Blowfish, EncryptionScheme::Ecb(_)) => Ok(C::BlowfishEcb),
        (CryptographicAlgorithm::Blowfish, EncryptionScheme::Cbc(_)) => Ok(C::BlowfishCbc),
        (CryptographicAlgorithm::Cast5, EncryptionScheme::Ecb(_)) => Ok(C::Cast5Ecb),
        (CryptographicAlgorithm::Cast5, EncryptionScheme::Cbc(_)) => Ok(C::Cast5Cbc),
        (CryptographicAlgorithm::Aes, scheme) => {
            let (k128, k192, k256) = match scheme {
                EncryptionScheme::Ecb(_) => (C::Aes128Ecb, C::Aes192Ecb, C::Aes256Ecb),
                EncryptionScheme::Cbc(_) => (C::Aes128Cbc, C::Aes192Cbc, C::Aes256Cbc),
                EncryptionScheme::Ctr => (C::Aes128Ctr, C::Aes192Ctr, C::Aes256Ctr),
                EncryptionScheme::Cfb => (C::Aes128Cfb, C::Aes192Cfb, C::Aes256Cfb),
                EncryptionScheme::Ofb => (C::Aes128Ofb, C::Aes192Ofb, C::Aes256Ofb),
                EncryptionScheme::Gcm { .. } => (C::Aes128Gcm, C::Aes192Gcm, C::Aes256Gcm),
                EncryptionScheme::Ccm { .. } => (C::Aes128Ccm, C::Aes192Ccm, C::Aes256Ccm),
                _ => return Err(wrong_scheme(algorithm)),
            };
            match key_len {
                16 | 24 | 32 => Ok(pick(key_len, k128, k192, k256)),
                other => Err(KsError::key(format!("AES key of {other} octets is not 16, 24 or 32"))),
            }
        }
        (
            CryptographicAlgorithm::ChaCha20 | CryptographicAlgorithm::ChaCha20Poly1305,
            EncryptionScheme::ChaCha20Poly1305 { .. },
        ) => {
            if key_len == 32 {
                Ok(C::ChaCha20Poly1305)
            } else {
                Err(KsError::key(format!("ChaCha20 key of {key_len} octets is not 32")))
            }
        }
        (other, _) => Err(wrong_scheme(other)),
    }
}

fn pick(key_len: usize, k128: CipherKind, k192: CipherKind, k256: CipherKind) -> CipherKind {
    match key_len {
        16 => k128,
        24 => k192,
        _ => k256,
    }
}

fn wrong_scheme(algorithm: CryptographicAlgorithm) -> KsError {
    KsError::parameters(format!("the mode does not go with a {} key", names::algorithm(algorithm)))
}

fn resolve_iv<'a>(kind: KeyKind, scheme: &EncryptionScheme, iv: Iv<'a>) -> Result<(Cow<'a, [u8]>, bool)> {
    match iv {
        Iv::Given(iv) => Ok((Cow::Borrowed(iv), false)),
        Iv::Random { len } => {
            let usual = iv_len(kind, scheme);
            let len = if usual == 0 { 0 } else { len.unwrap_or(usual) };
            if len > GCM_IV_MAX {
                return Err(KsError::parameters(format!("IV of {len} octets is longer than {GCM_IV_MAX}")));
            }
            let mut iv = vec![0; len];
            super::fill_random(&mut iv)?;
            Ok((Cow::Owned(iv), len > 0))
        }
    }
}

fn check_iv(scheme: &EncryptionScheme, block: usize, iv: &[u8]) -> Result<()> {
    let (what, legal) = match scheme {
        EncryptionScheme::Ecb(_) => return Ok(()),
        EncryptionScheme::Gcm { .. } => ("an IV of 1 to 128 octets", (1..=GCM_IV_MAX).contains(&iv.len())),
        EncryptionScheme::Ccm { .. } => ("a nonce of 7 to 13 octets", (7..=13).contains(&iv.len())),
        EncryptionScheme::ChaCha20Poly1305 { .. } => ("a nonce of 12 octets", iv.len() == 12),
        _ if block == 8 => ("an IV of 8 octets", iv.len() == 8),
        _ => ("an IV of 16 octets", iv.len() == 16),
    };
    if legal { Ok(()) } else { Err(KsError::parameters(format!("the mode takes {what}, {} octets given", iv.len()))) }
}

fn check_aad(scheme: &EncryptionScheme, aad: &[u8]) -> Result<()> {
    if aad.is_empty() || scheme.is_aead() {
        return Ok(());
    }
    Err(KsError::parameters("additional authenticated data goes with GCM, CCM and ChaCha20-Poly1305 only"))
}

fn check_tag(scheme: &EncryptionScheme, tag: Option<&[u8]>) -> Result<()> {
    match (scheme.tag_len(), tag) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(KsError::parameters("the mode has no authentication tag, one given")),
        (Some(_), None) => Err(KsError::parameters("the mode needs the authentication tag to decrypt")),
        (Some(len), Some(tag)) if tag.len() == len => Ok(()),
        (Some(len), Some(tag)) => Err(KsError::parameters(format!(
            "authentication tag of {} octets where the Tag Length is {len}",
            tag.len()
        ))),
    }
}

fn aes_only(key: &PreparedKey) -> Result<&[u8]> {
    match key.kind() {
        KeyKind::Symmetric(CryptographicAlgorithm::Aes) => Ok(key.symmetric()?.expose()),
        _ => Err(KsError::parameters("the mode takes an AES key")),
    }
}

fn xts_key(key: &PreparedKey) -> Result<&[u8]> {
    let bytes = aes_only(key)?;
    match bytes.len() {
        32 | 64 => Ok(bytes),
        other => Err(KsError::key(format!("XTS key of {other} octets is not 32 (XTS-AES-128) or 64 (XTS-AES-256)"))),
    }
}

fn wrap(key: &PreparedKey, scheme: &EncryptionScheme, data: &[u8]) -> Result<Vec<u8>> {
    let bytes = aes_only(key)?;
    check_aes_key(bytes)?;
    let wrap = AesWrap::new(bytes).map_err(refused)?;
    if *scheme == EncryptionScheme::KeyWrapPadded {
        if data.is_empty() {
            return Err(KsError::data("key wrap with padding takes at least one octet"));
        }
        return wrap.wrap_padded(data).map_err(refused);
    }
    // RFC 3394 section 2: "The only restriction the key wrap algorithm places on n is that n be at least two."
    if !data.len().is_multiple_of(8) || data.len() < 16 {
        return Err(KsError::data(format!(
            "key wrap takes at least 16 octets in multiples of 8, {} given",
            data.len()
        )));
    }
    wrap.wrap(data).map_err(refused)
}

fn unwrap(key: &PreparedKey, scheme: &EncryptionScheme, data: &[u8]) -> Result<SecretBytes> {
    let bytes = aes_only(key)?;
    check_aes_key(bytes)?;
    let least = if *scheme == EncryptionScheme::KeyWrapPadded { 16 } else { 24 };
    if !data.len().is_multiple_of(8) || data.len() < least {
        return Err(KsError::data(format!(
            "a wrapped key has at least {least} octets in multiples of 8, {} given",
            data.len()
        )));
    }
    let wrap = AesWrap::new(bytes).map_err(refused)?;
    let plain = if *scheme == EncryptionScheme::KeyWrapPadded { wrap.unwrap_padded(data) } else { wrap.unwrap(data) };
    plain.map(SecretBytes::new).map_err(|_| KsError::integrity("unwrapping failed: wrong key or altered data"))
}

fn ccm_check(tag_len: usize, iv: &[u8], data_len: usize) -> Result<()> {
    if !(4..=16).contains(&tag_len) || !tag_len.is_multiple_of(2) {
        return Err(KsError::parameters(format!("CCM tag of {tag_len} octets is not 4, 6, 8, 10, 12, 14 or 16")));
    }
    check_iv(&EncryptionScheme::Ccm { tag_len }, 16, iv)?;
    // NIST SP 800-38C A.1: the length field has q = 15 - n octets, and the message fewer than 2^(8q) octets.
    let field_bits = 8 * (15 - iv.len()).min(7);
    if data_len as u64 >> field_bits != 0 {
        return Err(KsError::data(format!(
            "CCM with a nonce of {} octets takes less than 2^{field_bits} octets",
            iv.len()
        )));
    }
    Ok(())
}

fn ccm_encrypt(key: &PreparedKey, tag_len: usize, iv: &[u8], aad: &[u8], data: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    ccm_check(tag_len, iv, data.len())?;
    let bytes = cipher_key(key)?;
    let kind = library_cipher(key.kind(), &EncryptionScheme::Ccm { tag_len }, bytes.len())?;
    let run = || {
        let mut out = Vec::with_capacity(data.len() + 32);
        let mut ctx = CipherCtx::new_ccm(kind, &bytes, iv, CcmTag::Length(tag_len), data.len())?;
        ctx.aad(aad)?;
        ctx.update(data, &mut out)?;
        ctx.finish(&mut out)?;
        Ok((out, ctx.tag(tag_len)?))
    };
    run().map_err(refused)
}

fn ccm_decrypt(key: &PreparedKey, iv: &[u8], aad: &[u8], data: &[u8], tag: &[u8]) -> Result<SecretBytes> {
    ccm_check(tag.len(), iv, data.len())?;
    let bytes = cipher_key(key)?;
    let kind = library_cipher(key.kind(), &EncryptionScheme::Ccm { tag_len: tag.len() }, bytes.len())?;
    let mut out = Zeroizing::new(Vec::with_capacity(data.len() + 32));
    let mut ctx = CipherCtx::new_ccm(kind, &bytes, iv, CcmTag::Expected(tag), data.len()).map_err(refused)?;
    ctx.aad(aad).map_err(refused)?;
    ctx.update(data, &mut out).and_then(|()| ctx.finish(&mut out)).map_err(|_| tag_mismatch())?;
    Ok(SecretBytes::new(std::mem::take(&mut *out)))
}

/// The one answer to a failed authentication.
pub(super) fn tag_mismatch() -> KsError {
    KsError::integrity("decryption failed: authentication tag, key, nonce or data do not belong together")
}

/// The library refused what the checks before it let pass.
pub(super) fn refused(e: SysError) -> KsError {
    KsError::parameters(format!("the cipher refused its input: {}", e.0))
}
