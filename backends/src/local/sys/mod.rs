//! The audited corner: safe functions over `aws-lc-sys`.
//!
//! `aws-lc-rs` offers no ECB, OFB, CCM, XTS or GCM with odd IVs, no chosen PSS salt or MGF1 hash, no digested input for
//! RSA and no RSA or EC components. This module and its children are the only places of the crate (beside `pkcs11`)
//! with `unsafe`. Every C object is owned by a type that frees it, every length is checked against the C type before
//! the call, and the library's error queue is emptied on each failure. Knows nothing of KMIP; callers choose and check
//! parameters first.

mod cipher;
mod derive;
mod digest;
mod ec;
mod lattice;
mod pkey;
mod primes;
mod rsa;

pub(super) use cipher::{AesWrap, CcmTag, CipherCtx, CipherKind, chacha20};
pub(super) use derive::{hkdf, kbkdf_counter, pbkdf2};
pub(super) use digest::{Cmac, Hasher, Hmac, Md, digest, hmac};
pub(super) use ec::Nid;
pub(super) use pkey::{Padding, Pkey, PkeyId};
pub(super) use rsa::RsaComponents;

use aws_lc_sys as ffi;
use std::ffi::CStr;
use std::ptr::{self, NonNull};

/// The library refused; the text is its reason, empty when it gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SysError(pub(super) &'static str);

pub(super) type SysResult<T> = Result<T, SysError>;

/// Fills the buffer from the library's generator.
pub(super) fn random(out: &mut [u8]) -> SysResult<()> {
    // SAFETY: the pointer and length describe `out`.
    check(unsafe { ffi::RAND_bytes(out.as_mut_ptr(), out.len()) })
}

/// 1 is success for every function called here.
fn check(code: i32) -> SysResult<()> {
    if code == 1 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> SysError {
    // SAFETY: both functions touch the thread's own error queue; the reason string is static or null.
    unsafe {
        let reason = ffi::ERR_reason_error_string(ffi::ERR_peek_last_error());
        ffi::ERR_clear_error();
        if reason.is_null() {
            return SysError("");
        }
        SysError(CStr::from_ptr::<'static>(reason).to_str().unwrap_or(""))
    }
}

/// A length as the C `int` that many functions take.
fn c_int(len: usize) -> SysResult<i32> {
    i32::try_from(len).map_err(|_| SysError("longer than the library takes in one call"))
}

/// An owned C object and the function that frees it.
struct Owned<T> {
    raw: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes ownership of a fresh pointer; null means that the call behind it failed.
    fn new(raw: *mut T, free: unsafe extern "C" fn(*mut T)) -> SysResult<Self> {
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { raw, free }),
            None => Err(last_error()),
        }
    }

    fn as_ptr(&self) -> *mut T {
        self.raw.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the constructor that pairs with `free` and is freed once.
        unsafe { (self.free)(self.raw.as_ptr()) }
    }
}

/// A big number, wiped on drop.
struct Bn(Owned<ffi::BIGNUM>);

impl Bn {
    fn from_be(bytes: &[u8]) -> SysResult<Self> {
        // SAFETY: reads `len` octets of the slice; a null result means out of memory.
        let raw = unsafe { ffi::BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut()) };
        Owned::new(raw, ffi::BN_clear_free).map(Self)
    }

    fn as_ptr(&self) -> *const ffi::BIGNUM {
        self.0.as_ptr()
    }
}

/// Big-endian octets of a borrowed number, at least `width` long; `None` for an absent one.
///
/// # Safety
/// `bn` is null or valid for the duration of the call.
unsafe fn bn_to_be(bn: *const ffi::BIGNUM, width: usize) -> SysResult<Option<Vec<u8>>> {
    if bn.is_null() {
        return Ok(None);
    }
    // SAFETY: `bn` is valid by this function's contract; the output buffer has the length passed.
    unsafe {
        let len = (ffi::BN_num_bytes(bn) as usize).max(width);
        let mut out = vec![0u8; len];
        check(ffi::BN_bn2bin_padded(out.as_mut_ptr(), len, bn))?;
        Ok(Some(out))
    }
}

/// Runs a marshalling function against a growing buffer and returns what it wrote.
fn with_cbb(write: impl FnOnce(*mut ffi::CBB) -> i32) -> SysResult<Vec<u8>> {
    // SAFETY: a zeroed CBB is what CBB_init expects; on failure it is cleaned up, on success the bytes are copied,
    // wiped and freed.
    unsafe {
        let mut cbb: ffi::CBB = std::mem::zeroed();
        check(ffi::CBB_init(&mut cbb, 256))?;
        let mut out = ptr::null_mut();
        let mut len = 0usize;
        if write(&mut cbb) != 1 || ffi::CBB_finish(&mut cbb, &mut out, &mut len) != 1 {
            ffi::CBB_cleanup(&mut cbb);
            return Err(last_error());
        }
        Ok(take_library_bytes(out, len))
    }
}

/// Copies a buffer that the library allocated, wipes and frees the original.
///
/// # Safety
/// `data` points to `len` octets allocated by the library and owned by the caller.
unsafe fn take_library_bytes(data: *mut u8, len: usize) -> Vec<u8> {
    // SAFETY: by this function's contract; OPENSSL_free wipes nothing by itself in all versions, so wipe first.
    unsafe {
        let copy = std::slice::from_raw_parts(data, len).to_vec();
        ffi::OPENSSL_cleanse(data.cast(), len);
        ffi::OPENSSL_free(data.cast());
        copy
    }
}

/// A parser over a slice.
fn cbs(bytes: &[u8]) -> ffi::CBS {
    // SAFETY: CBS_init only stores the pointer and length; callers keep `bytes` alive while they use the CBS.
    unsafe {
        let mut cbs: ffi::CBS = std::mem::zeroed();
        ffi::CBS_init(&mut cbs, bytes.as_ptr(), bytes.len());
        cbs
    }
}
