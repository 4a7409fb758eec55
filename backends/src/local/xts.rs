//! XTS-AES (IEEE Std 1619-2007). The library has XTS-AES-256; XTS-AES-128 is built here on its ECB mode.

use super::cipher::refused;
use super::sys::{CipherCtx, CipherKind, SysResult};
use crate::error::{KsError, Result};
use zeroize::Zeroizing;

const BLOCK: usize = 16;
/// NIST SP 800-38E: "the length of the data unit [...] shall not exceed 2^20 AES blocks".
const DATA_UNIT_MAX: usize = BLOCK << 20;

/// Encrypts or decrypts one data unit. `key` has 32 or 64 octets.
pub(super) fn apply(key: &[u8], encrypt: bool, iv: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    if iv.len() != BLOCK {
        return Err(KsError::parameters(format!(
            "XTS takes a data unit number of 16 octets as IV, {} given",
            iv.len()
        )));
    }
    if data.len() < BLOCK || data.len() > DATA_UNIT_MAX {
        return Err(KsError::data(format!("XTS takes 16 octets to 16 MiB, {} given", data.len())));
    }
    let (data_key, tweak_key) = key.split_at(key.len() / 2);
    // FIPS 140 IG A.9: the two keys must differ.
    if data_key == tweak_key {
        return Err(KsError::key("the two halves of an XTS key are equal"));
    }
    let mut out = Vec::with_capacity(data.len() + 32);
    if key.len() == 64 {
        let mut ctx = CipherCtx::new(CipherKind::Aes256Xts, encrypt, key, iv).map_err(refused)?;
        ctx.update(data, &mut out).map_err(refused)?;
        return Ok(out);
    }
    xts128(data_key, tweak_key, encrypt, iv, data).map_err(refused)
}

fn xts128(data_key: &[u8], tweak_key: &[u8], encrypt: bool, iv: &[u8], data: &[u8]) -> SysResult<Vec<u8>> {
    let mut tweak = [0u8; BLOCK];
    tweak.copy_from_slice(&ecb(tweak_key, true, iv)?);
    let partial = data.len() % BLOCK;
    let whole = data.len() - partial;
    // With a partial block at the end, the last whole block takes part in the stealing.
    let plain_blocks = if partial == 0 { whole } else { whole - BLOCK };
    // Room for all from the start, so that no copy is left behind by growing.
    let mut out = Vec::with_capacity(data.len());
    out.extend_from_slice(&Zeroizing::new(blocks(data_key, encrypt, &mut tweak, &data[..plain_blocks])?));
    if partial != 0 {
        let (block, rest) = data[plain_blocks..].split_at(BLOCK);
        out.extend_from_slice(&Zeroizing::new(steal(data_key, encrypt, tweak, block, rest)?));
    }
    Ok(out)
}

/// XOR tweak, cipher, XOR tweak, for whole blocks; leaves `tweak` at the block that follows.
fn blocks(key: &[u8], encrypt: bool, tweak: &mut [u8; BLOCK], data: &[u8]) -> SysResult<Vec<u8>> {
    let mut tweaks = Vec::with_capacity(data.len());
    for _ in 0..data.len() / BLOCK {
        tweaks.extend_from_slice(tweak);
        double(tweak);
    }
    let mixed = Zeroizing::new(xor(data, &tweaks));
    let ciphered = Zeroizing::new(ecb(key, encrypt, &mixed)?);
    Ok(xor(&ciphered, &tweaks))
}

/// Ciphertext stealing (IEEE 1619 §5.3.2 and §5.4.2): the last whole block and the partial block swap roles.
fn steal(key: &[u8], encrypt: bool, tweak: [u8; BLOCK], block: &[u8], rest: &[u8]) -> SysResult<Vec<u8>> {
    let (mut first, mut second) = (tweak, tweak);
    double(if encrypt { &mut second } else { &mut first });
    let head = Zeroizing::new(blocks(key, encrypt, &mut first, block)?);
    let mut filled = Zeroizing::new(Vec::with_capacity(BLOCK));
    filled.extend_from_slice(rest);
    filled.extend_from_slice(&head[rest.len()..]);
    let mut out = Vec::with_capacity(2 * BLOCK);
    out.extend_from_slice(&Zeroizing::new(blocks(key, encrypt, &mut second, &filled)?));
    out.extend_from_slice(&head[..rest.len()]);
    Ok(out)
}

fn ecb(key: &[u8], encrypt: bool, data: &[u8]) -> SysResult<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() + 32);
    CipherCtx::new(CipherKind::Aes128Ecb, encrypt, key, &[])?.update(data, &mut out)?;
    Ok(out)
}

/// Multiplies by alpha in GF(2^128), least significant octet first (IEEE 1619 §5.2).
fn double(tweak: &mut [u8; BLOCK]) {
    let value = u128::from_le_bytes(*tweak);
    let carry = if value >> 127 == 1 { 0x87 } else { 0 };
    *tweak = ((value << 1) ^ carry).to_le_bytes();
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(x, y)| x ^ y).collect()
}
