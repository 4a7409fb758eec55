//! Encryption and decryption in parts: the state behind KMIP's Init Indicator, Correlation Value and Final Indicator.
//!
//! Schemes that need the whole message at once (CCM, XTS, key wrap, RSA) do not stream. A decrypting AEAD stream hands
//! plain text out before the tag is known; the caller decides whether it may.

use super::cipher::{self, block_len, tag_mismatch};
use super::generate::is_legacy;
use super::material::{KeyKind, PreparedKey};
use super::sys::CipherCtx;
use super::{padding, sys};
use crate::error::{KsError, Result};
use crate::names;
use crate::operation::{BlockPadding, EncryptionScheme};
use keygate_kmip::CryptographicAlgorithm;
use zeroize::Zeroizing;

/// Which way a stream runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Plain text in, cipher text out.
    Encrypt {
        /// See [`crate::EncryptOp::legacy`].
        legacy: bool,
    },
    /// Cipher text in, plain text out.
    Decrypt,
}

/// An encryption or decryption under way. It holds the key schedule, wiped on drop.
pub struct CipherStream {
    engine: Engine,
    encrypt: bool,
}

enum Engine {
    /// Modes in which every octet goes through at once.
    Plain(CipherCtx),
    /// ECB and CBC: whole blocks, padding here. `held` keeps the last block back when decrypting.
    Padded {
        ctx: CipherCtx,
        padding: BlockPadding,
        block: usize,
        total: usize,
        held: Zeroizing<Vec<u8>>,
    },
    Aead {
        ctx: CipherCtx,
        tag_len: usize,
    },
    ChaCha20(ChaCha),
}

impl CipherStream {
    /// Starts.
    pub fn new(
        key: &PreparedKey,
        scheme: &EncryptionScheme,
        direction: Direction,
        iv: &[u8],
        aad: &[u8],
    ) -> Result<Self> {
        let encrypt = direction != Direction::Decrypt;
        if let (Direction::Encrypt { legacy: false }, KeyKind::Symmetric(algorithm)) = (direction, key.kind())
            && is_legacy(algorithm)
        {
            return Err(KsError::unsupported(format!(
                "{} encrypts only where legacy encryption is allowed; it decrypts always",
                names::algorithm(algorithm)
            )));
        }
        let engine = match scheme {
            EncryptionScheme::Ctr | EncryptionScheme::Cfb | EncryptionScheme::Ofb => {
                Engine::Plain(cipher::context(key, scheme, encrypt, iv, aad)?)
            }
            EncryptionScheme::Ecb(padding) | EncryptionScheme::Cbc(padding) => Engine::Padded {
                ctx: cipher::context(key, scheme, encrypt, iv, aad)?,
                padding: *padding,
                block: block_len(key.kind()),
                total: 0,
                held: Zeroizing::new(Vec::new()),
            },
            EncryptionScheme::Gcm { tag_len } | EncryptionScheme::ChaCha20Poly1305 { tag_len } => {
                check_tag_len(*tag_len)?;
                Engine::Aead { ctx: cipher::context(key, scheme, encrypt, iv, aad)?, tag_len: *tag_len }
            }
            EncryptionScheme::ChaCha20 { counter } => Engine::ChaCha20(ChaCha::new(key, iv, *counter)?),
            _ => return Err(KsError::unsupported("this mode needs the whole message in one request")),
        };
        Ok(Self { engine, encrypt })
    }

    /// Takes a part and appends what is ready to `out`.
    pub fn update(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match &mut self.engine {
            Engine::Plain(ctx) | Engine::Aead { ctx, .. } => ctx.update(data, out).map_err(cipher::refused),
            Engine::ChaCha20(chacha) => chacha.update(data, out),
            Engine::Padded { ctx, padding, block, total, held } => {
                *total += data.len();
                if self.encrypt || *padding == BlockPadding::None {
                    return ctx.update(data, out).map_err(cipher::refused);
                }
                ctx.update(data, held).map_err(cipher::refused)?;
                let ready = held.len().saturating_sub(*block);
                out.extend_from_slice(&held[..ready]);
                *held = Zeroizing::new(held[ready..].to_vec());
                Ok(())
            }
        }
    }

    /// Ends an encryption: appends the rest and hands out the tag of an AEAD.
    pub fn finish_encrypt(self, out: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
        debug_assert!(self.encrypt, "the caller chose the direction");
        match self.engine {
            Engine::Plain(_) | Engine::ChaCha20(_) => Ok(None),
            Engine::Aead { mut ctx, tag_len } => {
                ctx.finish(out).map_err(cipher::refused)?;
                ctx.tag(tag_len).map(Some).map_err(cipher::refused)
            }
            Engine::Padded { mut ctx, padding, block, total, .. } => {
                let suffix = padding::suffix(padding, total, block)?;
                ctx.update(&suffix, out).map_err(cipher::refused)?;
                Ok(None)
            }
        }
    }

    /// Ends a decryption: checks the tag or the padding and appends the rest.
    pub fn finish_decrypt(self, tag: Option<&[u8]>, out: &mut Vec<u8>) -> Result<()> {
        debug_assert!(!self.encrypt, "the caller chose the direction");
        match self.engine {
            Engine::Plain(_) | Engine::ChaCha20(_) => Ok(()),
            Engine::Aead { mut ctx, tag_len } => {
                let tag = tag.filter(|tag| tag.len() == tag_len).ok_or_else(|| {
                    KsError::parameters(format!("the mode needs an authentication tag of {tag_len} octets to decrypt"))
                })?;
                ctx.set_expected_tag(tag).map_err(cipher::refused)?;
                ctx.finish(out).map_err(|_| tag_mismatch())
            }
            Engine::Padded { padding, block, total, held, .. } => {
                if total % block != 0 || (total == 0 && padding != BlockPadding::None && padding != BlockPadding::Zeros)
                {
                    return Err(KsError::data(format!("cipher text of {total} octets is not whole blocks of {block}")));
                }
                let keep = padding::message_len(padding, &held)?;
                out.extend_from_slice(&held[..keep]);
                Ok(())
            }
        }
    }
}

fn check_tag_len(len: usize) -> Result<()> {
    if (4..=16).contains(&len) {
        Ok(())
    } else {
        Err(KsError::parameters(format!("tag of {len} octets is not 4 to 16")))
    }
}

/// ChaCha20 by position in the key stream.
struct ChaCha {
    key: Zeroizing<[u8; 32]>,
    nonce: [u8; 8],
    /// Number of the next 64-octet block. RFC 8439 counts in 32 bits beside a 96-bit nonce, the original in 64 beside
    /// 64 bits.
    block: u64,
    /// Octets of that block already used.
    used: usize,
}

impl ChaCha {
    /// A nonce of 12 octets is RFC 8439's, one of 8 the original's; 16 octets are the counter (little-endian, first)
    /// and the nonce together.
    fn new(key: &PreparedKey, iv: &[u8], counter: u32) -> Result<Self> {
        if key.kind() != KeyKind::Symmetric(CryptographicAlgorithm::ChaCha20) {
            return Err(KsError::parameters("the mode takes a ChaCha20 key"));
        }
        let bytes = key.symmetric()?.expose();
        let key: [u8; 32] =
            bytes.try_into().map_err(|_| KsError::key(format!("ChaCha20 key of {} octets is not 32", bytes.len())))?;
        let (block, tail) = match iv.len() {
            8 => (u64::from(counter), iv),
            12 => (u64::from(counter) | u64::from(le32(&iv[..4])) << 32, &iv[4..]),
            16 => (u64::from(le32(&iv[..4])) | u64::from(le32(&iv[4..8])) << 32, &iv[8..]),
            other => {
                return Err(KsError::parameters(format!(
                    "ChaCha20 takes a nonce of 8, 12 or 16 octets, {other} given"
                )));
            }
        };
        let mut nonce = [0u8; 8];
        nonce.copy_from_slice(tail);
        Ok(Self { key: Zeroizing::new(key), nonce, block, used: 0 })
    }

    fn update(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        // The block function takes the counter's low word as such and its high word as the first word of the nonce.
        let last = self.block + ((self.used + data.len()) as u64).div_ceil(64);
        if last >> 32 != self.block >> 32 {
            return Err(KsError::data("the message runs past the end of ChaCha20's 32-bit block counter"));
        }
        let mut nonce = [0u8; 12];
        nonce[..4].copy_from_slice(&((self.block >> 32) as u32).to_le_bytes());
        nonce[4..].copy_from_slice(&self.nonce);
        let mut aligned = Zeroizing::new(vec![0u8; self.used]);
        aligned.extend_from_slice(data);
        let stream = sys::chacha20(&self.key, &nonce, self.block as u32, &aligned);
        out.extend_from_slice(&stream[self.used..]);
        let position = self.used + data.len();
        self.block += (position / 64) as u64;
        self.used = position % 64;
        Ok(())
    }
}

fn le32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &octet| value << 8 | u32::from(octet))
}
