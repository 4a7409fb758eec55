//! Hashes, HMAC and CMAC.

use super::{Owned, SysError, SysResult, check, last_error};
use aws_lc_sys as ffi;
use std::ptr;

const DIGEST_MAX: usize = 64;

/// A hash function.
#[derive(Clone, Copy)]
pub(crate) struct Md(*const ffi::EVP_MD);

// SAFETY: an EVP_MD is an immutable static table.
unsafe impl Send for Md {}
// SAFETY: as above.
unsafe impl Sync for Md {}

macro_rules! hashes {
    ($($name:ident => $function:ident),* $(,)?) => {
        impl Md {
            $(
                pub(crate) fn $name() -> Self {
                    // SAFETY: returns a pointer to a static table.
                    Self(unsafe { ffi::$function() })
                }
            )*
        }
    };
}

hashes! {
    md5 => EVP_md5, sha1 => EVP_sha1, sha224 => EVP_sha224, sha256 => EVP_sha256, sha384 => EVP_sha384, sha512 => EVP_sha512,
    sha512_224 => EVP_sha512_224, sha512_256 => EVP_sha512_256,
    sha3_224 => EVP_sha3_224, sha3_256 => EVP_sha3_256, sha3_384 => EVP_sha3_384, sha3_512 => EVP_sha3_512,
    md4 => EVP_md4, ripemd160 => EVP_ripemd160,
}

impl Md {
    pub(super) fn as_ptr(self) -> *const ffi::EVP_MD {
        self.0
    }

    /// Octets of the digest.
    pub(crate) fn len(self) -> usize {
        // SAFETY: the table is valid for ever.
        unsafe { ffi::EVP_MD_size(self.0) }
    }
}

/// One-shot hash.
pub(crate) fn digest(md: Md, data: &[u8]) -> SysResult<Vec<u8>> {
    let mut out = [0u8; DIGEST_MAX];
    let mut len = 0u32;
    // SAFETY: `out` holds the longest digest; data pointer and length describe the slice.
    check(unsafe {
        ffi::EVP_Digest(data.as_ptr().cast(), data.len(), out.as_mut_ptr(), &mut len, md.0, ptr::null_mut())
    })?;
    Ok(out[..len as usize].to_vec())
}

/// One-shot HMAC.
pub(crate) fn hmac(md: Md, key: &[u8], data: &[u8]) -> SysResult<Vec<u8>> {
    let mut out = [0u8; DIGEST_MAX];
    let mut len = 0u32;
    // SAFETY: `out` holds the longest digest; an empty key is passed as a dangling but non-null pointer with length 0.
    let made = unsafe {
        ffi::HMAC(md.0, key.as_ptr().cast(), key.len(), data.as_ptr(), data.len(), out.as_mut_ptr(), &mut len)
    };
    if made.is_null() {
        return Err(last_error());
    }
    Ok(out[..len as usize].to_vec())
}

/// A hash over several parts.
pub(crate) struct Hasher(Owned<ffi::EVP_MD_CTX>);

// SAFETY: the context is owned and used by one thread at a time.
unsafe impl Send for Hasher {}

impl Hasher {
    pub(crate) fn new(md: Md) -> SysResult<Self> {
        // SAFETY: allocates a context, which the initialiser fills.
        let ctx = Owned::new(unsafe { ffi::EVP_MD_CTX_new() }, ffi::EVP_MD_CTX_free)?;
        // SAFETY: both pointers are valid.
        check(unsafe { ffi::EVP_DigestInit_ex(ctx.as_ptr(), md.0, ptr::null_mut()) })?;
        Ok(Self(ctx))
    }

    pub(crate) fn update(&mut self, data: &[u8]) -> SysResult<()> {
        // SAFETY: the context is initialised; pointer and length describe `data`.
        check(unsafe { ffi::EVP_DigestUpdate(self.0.as_ptr(), data.as_ptr().cast(), data.len()) })
    }

    pub(crate) fn finish(self) -> SysResult<Vec<u8>> {
        let mut out = [0u8; DIGEST_MAX];
        let mut len = 0u32;
        // SAFETY: `out` holds the longest digest.
        check(unsafe { ffi::EVP_DigestFinal_ex(self.0.as_ptr(), out.as_mut_ptr(), &mut len) })?;
        Ok(out[..len as usize].to_vec())
    }
}

/// An HMAC over several parts.
pub(crate) struct Hmac(Owned<ffi::HMAC_CTX>);

// SAFETY: the context is owned and used by one thread at a time.
unsafe impl Send for Hmac {}

impl Hmac {
    pub(crate) fn new(md: Md, key: &[u8]) -> SysResult<Self> {
        // SAFETY: allocates a context, which the initialiser fills.
        let ctx = Owned::new(unsafe { ffi::HMAC_CTX_new() }, ffi::HMAC_CTX_free)?;
        // SAFETY: key pointer and length describe the slice, which the call copies from.
        check(unsafe { ffi::HMAC_Init_ex(ctx.as_ptr(), key.as_ptr().cast(), key.len(), md.0, ptr::null_mut()) })?;
        Ok(Self(ctx))
    }

    pub(crate) fn update(&mut self, data: &[u8]) -> SysResult<()> {
        // SAFETY: the context is initialised; pointer and length describe `data`.
        check(unsafe { ffi::HMAC_Update(self.0.as_ptr(), data.as_ptr(), data.len()) })
    }

    pub(crate) fn finish(self) -> SysResult<Vec<u8>> {
        let mut out = [0u8; DIGEST_MAX];
        let mut len = 0u32;
        // SAFETY: `out` holds the longest digest.
        check(unsafe { ffi::HMAC_Final(self.0.as_ptr(), out.as_mut_ptr(), &mut len) })?;
        Ok(out[..len as usize].to_vec())
    }
}

/// AES-CMAC (NIST SP 800-38B) over several parts.
pub(crate) struct Cmac(Owned<ffi::CMAC_CTX>);

// SAFETY: the context is owned and used by one thread at a time.
unsafe impl Send for Cmac {}

impl Cmac {
    pub(crate) fn new(key: &[u8]) -> SysResult<Self> {
        // SAFETY: each returns a static table.
        let cipher = unsafe {
            match key.len() {
                16 => ffi::EVP_aes_128_cbc(),
                24 => ffi::EVP_aes_192_cbc(),
                32 => ffi::EVP_aes_256_cbc(),
                _ => return Err(SysError("AES key is not of 16, 24 or 32 octets")),
            }
        };
        // SAFETY: allocates a context, which the initialiser fills.
        let ctx = Owned::new(unsafe { ffi::CMAC_CTX_new() }, ffi::CMAC_CTX_free)?;
        // SAFETY: the key's length fits the cipher by the match above.
        check(unsafe { ffi::CMAC_Init(ctx.as_ptr(), key.as_ptr().cast(), key.len(), cipher, ptr::null_mut()) })?;
        Ok(Self(ctx))
    }

    pub(crate) fn update(&mut self, data: &[u8]) -> SysResult<()> {
        // SAFETY: the context is initialised; pointer and length describe `data`.
        check(unsafe { ffi::CMAC_Update(self.0.as_ptr(), data.as_ptr(), data.len()) })
    }

    pub(crate) fn finish(self) -> SysResult<Vec<u8>> {
        let mut out = [0u8; 16];
        let mut len = 0usize;
        // SAFETY: `out` holds one AES block.
        check(unsafe { ffi::CMAC_Final(self.0.as_ptr(), out.as_mut_ptr(), &mut len) })?;
        Ok(out[..len].to_vec())
    }
}
