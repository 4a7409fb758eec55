//! Key derivation functions.

use super::{Md, SysResult, check};
use aws_lc_sys as ffi;

/// PBKDF2 with HMAC (RFC 8018 §5.2); fills `out`.
pub(crate) fn pbkdf2(md: Md, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) -> SysResult<()> {
    // SAFETY: every pointer goes with its slice's length; the digest is a static table.
    check(unsafe {
        ffi::PKCS5_PBKDF2_HMAC(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            iterations,
            md.as_ptr(),
            out.len(),
            out.as_mut_ptr(),
        )
    })
}

/// HKDF, extract and expand (RFC 5869); fills `out`.
pub(crate) fn hkdf(md: Md, secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> SysResult<()> {
    // SAFETY: every pointer goes with its slice's length; the digest is a static table.
    check(unsafe {
        ffi::HKDF(
            out.as_mut_ptr(),
            out.len(),
            md.as_ptr(),
            secret.as_ptr(),
            secret.len(),
            salt.as_ptr(),
            salt.len(),
            info.as_ptr(),
            info.len(),
        )
    })
}

/// KDF in counter mode with HMAC, a 32-bit counter before the fixed data (NIST SP 800-108r1 §4.1); fills `out`.
pub(crate) fn kbkdf_counter(md: Md, secret: &[u8], fixed: &[u8], out: &mut [u8]) -> SysResult<()> {
    // SAFETY: every pointer goes with its slice's length; the digest is a static table.
    check(unsafe {
        ffi::KBKDF_ctr_hmac(
            out.as_mut_ptr(),
            out.len(),
            md.as_ptr(),
            secret.as_ptr(),
            secret.len(),
            fixed.as_ptr(),
            fixed.len(),
        )
    })
}
