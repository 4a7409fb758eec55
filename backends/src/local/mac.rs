//! Message authentication codes.

use super::material::PreparedKey;
use super::sys::{self, CipherCtx, SysError};
use super::{cipher, hash};
use crate::error::{KsError, Result};
use crate::operation::MacScheme;
use subtle::ConstantTimeEq;

/// Computes a MAC. `iv` is empty except for GMAC.
pub fn mac(key: &PreparedKey, scheme: MacScheme, iv: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    if let MacScheme::Hmac(algorithm) = scheme {
        refuse_iv(iv)?;
        return sys::hmac(hash::md(algorithm)?, key.symmetric()?.expose(), data).map_err(failed);
    }
    let mut stream = MacStream::new(key, scheme, iv)?;
    stream.update(data)?;
    stream.finish()
}

/// Compares a MAC in constant time. A MAC of another length is a wrong MAC, except that KMIP lets none be cut short.
pub fn mac_verify(key: &PreparedKey, scheme: MacScheme, iv: &[u8], data: &[u8], expected: &[u8]) -> Result<bool> {
    Ok(mac(key, scheme, iv, data)?.ct_eq(expected).into())
}

/// A MAC over several parts (KMIP streaming).
pub struct MacStream(State);

enum State {
    Cmac(sys::Cmac),
    Gmac(CipherCtx, usize),
    Hmac(sys::Hmac),
}

impl MacStream {
    /// Starts.
    pub fn new(key: &PreparedKey, scheme: MacScheme, iv: &[u8]) -> Result<Self> {
        let bytes = key.symmetric()?.expose();
        let state = match scheme {
            MacScheme::Hmac(algorithm) => {
                refuse_iv(iv)?;
                State::Hmac(sys::Hmac::new(hash::md(algorithm)?, bytes).map_err(failed)?)
            }
            MacScheme::Cmac => {
                refuse_iv(iv)?;
                cipher::check_aes_key(bytes)?;
                State::Cmac(sys::Cmac::new(bytes).map_err(failed)?)
            }
            MacScheme::Gmac { tag_len } => State::Gmac(cipher::gcm_context(bytes, iv, tag_len)?, tag_len),
        };
        Ok(Self(state))
    }

    /// Takes a part.
    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        match &mut self.0 {
            State::Cmac(ctx) => ctx.update(data),
            State::Gmac(ctx, _) => ctx.aad(data),
            State::Hmac(ctx) => ctx.update(data),
        }
        .map_err(failed)
    }

    /// The MAC of all parts.
    pub fn finish(self) -> Result<Vec<u8>> {
        match self.0 {
            State::Cmac(ctx) => ctx.finish(),
            State::Gmac(mut ctx, tag_len) => ctx.finish(&mut Vec::new()).and_then(|()| ctx.tag(tag_len)),
            State::Hmac(ctx) => ctx.finish(),
        }
        .map_err(failed)
    }
}

fn refuse_iv(iv: &[u8]) -> Result<()> {
    if iv.is_empty() { Ok(()) } else { Err(KsError::parameters("this MAC takes no IV")) }
}

fn failed(e: SysError) -> KsError {
    KsError::data(format!("MAC failed: {}", e.0))
}
