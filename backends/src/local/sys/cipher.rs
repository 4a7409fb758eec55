//! Block and stream ciphers in every mode the library has.

use super::{Owned, SysError, SysResult, c_int, check};
use aws_lc_sys as ffi;
use std::ptr;

/// A cipher, a mode and a key size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CipherKind {
    Aes128Ecb,
    Aes192Ecb,
    Aes256Ecb,
    Aes128Cbc,
    Aes192Cbc,
    Aes256Cbc,
    Aes128Ctr,
    Aes192Ctr,
    Aes256Ctr,
    Aes128Cfb,
    Aes192Cfb,
    Aes256Cfb,
    Aes128Ofb,
    Aes192Ofb,
    Aes256Ofb,
    Aes128Gcm,
    Aes192Gcm,
    Aes256Gcm,
    Aes128Ccm,
    Aes192Ccm,
    Aes256Ccm,
    Aes256Xts,
    ChaCha20Poly1305,
    Des3Ecb,
    Des3Cbc,
    BlowfishEcb,
    BlowfishCbc,
    Cast5Ecb,
    Cast5Cbc,
}

impl CipherKind {
    fn table(self) -> *const ffi::EVP_CIPHER {
        // SAFETY: each function returns a static table.
        unsafe {
            match self {
                Self::Aes128Ecb => ffi::EVP_aes_128_ecb(),
                Self::Aes192Ecb => ffi::EVP_aes_192_ecb(),
                Self::Aes256Ecb => ffi::EVP_aes_256_ecb(),
                Self::Aes128Cbc => ffi::EVP_aes_128_cbc(),
                Self::Aes192Cbc => ffi::EVP_aes_192_cbc(),
                Self::Aes256Cbc => ffi::EVP_aes_256_cbc(),
                Self::Aes128Ctr => ffi::EVP_aes_128_ctr(),
                Self::Aes192Ctr => ffi::EVP_aes_192_ctr(),
                Self::Aes256Ctr => ffi::EVP_aes_256_ctr(),
                Self::Aes128Cfb => ffi::EVP_aes_128_cfb128(),
                Self::Aes192Cfb => ffi::EVP_aes_192_cfb128(),
                Self::Aes256Cfb => ffi::EVP_aes_256_cfb128(),
                Self::Aes128Ofb => ffi::EVP_aes_128_ofb(),
                Self::Aes192Ofb => ffi::EVP_aes_192_ofb(),
                Self::Aes256Ofb => ffi::EVP_aes_256_ofb(),
                Self::Aes128Gcm => ffi::EVP_aes_128_gcm(),
                Self::Aes192Gcm => ffi::EVP_aes_192_gcm(),
                Self::Aes256Gcm => ffi::EVP_aes_256_gcm(),
                Self::Aes128Ccm => ffi::EVP_aes_128_ccm(),
                Self::Aes192Ccm => ffi::EVP_aes_192_ccm(),
                Self::Aes256Ccm => ffi::EVP_aes_256_ccm(),
                Self::Aes256Xts => ffi::EVP_aes_256_xts(),
                Self::ChaCha20Poly1305 => ffi::EVP_chacha20_poly1305(),
                Self::Des3Ecb => ffi::EVP_des_ede3_ecb(),
                Self::Des3Cbc => ffi::EVP_des_ede3_cbc(),
                Self::BlowfishEcb => ffi::EVP_bf_ecb(),
                Self::BlowfishCbc => ffi::EVP_bf_cbc(),
                Self::Cast5Ecb => ffi::EVP_cast5_ecb(),
                Self::Cast5Cbc => ffi::EVP_cast5_cbc(),
            }
        }
    }

    fn is_aead(self) -> bool {
        self.is_ccm() || matches!(self, Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305)
    }

    fn is_ccm(self) -> bool {
        matches!(self, Self::Aes128Ccm | Self::Aes192Ccm | Self::Aes256Ccm)
    }

    fn key_len(self) -> usize {
        // SAFETY: the table is static.
        unsafe { ffi::EVP_CIPHER_key_length(self.table()) as usize }
    }

    fn iv_len(self) -> usize {
        // SAFETY: the table is static.
        unsafe { ffi::EVP_CIPHER_iv_length(self.table()) as usize }
    }
}

/// A cipher in use: the library's own padding is off, whole blocks go in and come out.
pub(crate) struct CipherCtx {
    ctx: Owned<ffi::EVP_CIPHER_CTX>,
    kind: CipherKind,
}

// SAFETY: the context is owned and used by one thread at a time.
unsafe impl Send for CipherCtx {}

impl CipherCtx {
    /// Starts a cipher. `tag` is the expected tag when decrypting with an AEAD; `tag_len` and `message_len` matter to
    /// CCM alone.
    pub(crate) fn new(kind: CipherKind, encrypt: bool, key: &[u8], iv: &[u8]) -> SysResult<Self> {
        if key.len() != kind.key_len() {
            return Err(SysError("key length does not fit the cipher"));
        }
        if !kind.is_aead() && iv.len() != kind.iv_len() {
            return Err(SysError("IV length does not fit the cipher"));
        }
        let ctx = Self::blank(kind, encrypt)?;
        if kind.is_aead() {
            ctx.control(ffi::EVP_CTRL_AEAD_SET_IVLEN, iv.len(), ptr::null_mut())?;
        }
        ctx.set_key_and_iv(key, iv, encrypt)?;
        Ok(ctx)
    }

    /// Starts CCM, which must know the tag (its length when encrypting, its value when decrypting) and the length of
    /// the message beforehand.
    pub(crate) fn new_ccm(
        kind: CipherKind,
        key: &[u8],
        iv: &[u8],
        tag: CcmTag<'_>,
        message_len: usize,
    ) -> SysResult<Self> {
        if !kind.is_ccm() || key.len() != kind.key_len() {
            return Err(SysError("key length does not fit the cipher"));
        }
        let encrypt = matches!(tag, CcmTag::Length(_));
        let ctx = Self::blank(kind, encrypt)?;
        ctx.control(ffi::EVP_CTRL_AEAD_SET_IVLEN, iv.len(), ptr::null_mut())?;
        match tag {
            CcmTag::Length(len) => ctx.control(ffi::EVP_CTRL_AEAD_SET_TAG, len, ptr::null_mut())?,
            CcmTag::Expected(tag) => ctx.set_expected_tag(tag)?,
        }
        ctx.set_key_and_iv(key, iv, encrypt)?;
        ctx.announce_length(message_len)?;
        Ok(ctx)
    }

    /// The tag that [`CipherCtx::finish`] will compare with.
    pub(crate) fn set_expected_tag(&self, tag: &[u8]) -> SysResult<()> {
        // The library copies the tag and does not write through the pointer.
        self.control(ffi::EVP_CTRL_AEAD_SET_TAG, tag.len(), tag.as_ptr().cast_mut().cast())
    }

    /// Additional authenticated data, before the first update.
    pub(crate) fn aad(&mut self, aad: &[u8]) -> SysResult<()> {
        if aad.is_empty() {
            return Ok(());
        }
        let mut written = 0i32;
        // SAFETY: a null output marks AAD; pointer and length describe `aad`.
        check(unsafe {
            ffi::EVP_CipherUpdate(self.ctx.as_ptr(), ptr::null_mut(), &mut written, aad.as_ptr(), c_int(aad.len())?)
        })
    }

    /// Transforms a part; what comes out may lag behind by less than one block.
    pub(crate) fn update(&mut self, data: &[u8], out: &mut Vec<u8>) -> SysResult<()> {
        let start = out.len();
        out.resize(start + data.len() + 32, 0);
        let mut written = 0i32;
        // SAFETY: the output has room for the input and one block more, the most the library writes.
        let done = check(unsafe {
            ffi::EVP_CipherUpdate(
                self.ctx.as_ptr(),
                out[start..].as_mut_ptr(),
                &mut written,
                data.as_ptr(),
                c_int(data.len())?,
            )
        });
        out.truncate(start + usize::try_from(written).unwrap_or(0));
        done
    }

    /// Ends the message. Decrypting with an AEAD, this is where the tag is checked; CCM checks it in
    /// [`CipherCtx::update`].
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> SysResult<()> {
        if self.kind.is_ccm() {
            return Ok(());
        }
        let start = out.len();
        out.resize(start + 32, 0);
        let mut written = 0i32;
        // SAFETY: the output has room for one block.
        let done =
            check(unsafe { ffi::EVP_CipherFinal_ex(self.ctx.as_ptr(), out[start..].as_mut_ptr(), &mut written) });
        out.truncate(start + usize::try_from(written).unwrap_or(0));
        done
    }

    /// The tag after encrypting.
    pub(crate) fn tag(&self, len: usize) -> SysResult<Vec<u8>> {
        let mut tag = vec![0u8; len];
        self.control(ffi::EVP_CTRL_AEAD_GET_TAG, len, tag.as_mut_ptr().cast())?;
        Ok(tag)
    }

    fn blank(kind: CipherKind, encrypt: bool) -> SysResult<Self> {
        // SAFETY: allocates a context, which the initialiser binds to the cipher.
        let ctx = Owned::new(unsafe { ffi::EVP_CIPHER_CTX_new() }, ffi::EVP_CIPHER_CTX_free)?;
        // SAFETY: all pointers are valid or null where the function allows it.
        check(unsafe {
            ffi::EVP_CipherInit_ex(
                ctx.as_ptr(),
                kind.table(),
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
                i32::from(encrypt),
            )
        })?;
        Ok(Self { ctx, kind })
    }

    fn set_key_and_iv(&self, key: &[u8], iv: &[u8], encrypt: bool) -> SysResult<()> {
        // SAFETY: key and IV have the lengths that the cipher reads, checked or set by the callers.
        check(unsafe {
            ffi::EVP_CipherInit_ex(
                self.ctx.as_ptr(),
                ptr::null(),
                ptr::null_mut(),
                key.as_ptr(),
                iv.as_ptr(),
                i32::from(encrypt),
            )
        })?;
        // SAFETY: the context is initialised. The function cannot fail.
        check(unsafe { ffi::EVP_CIPHER_CTX_set_padding(self.ctx.as_ptr(), 0) })
    }

    fn announce_length(&self, len: usize) -> SysResult<()> {
        let mut written = 0i32;
        // SAFETY: null input and output announce the message length to CCM.
        let code = unsafe {
            ffi::EVP_CipherUpdate(self.ctx.as_ptr(), ptr::null_mut(), &mut written, ptr::null(), c_int(len)?)
        };
        check(code)
    }

    fn control(&self, command: i32, len: usize, data: *mut std::ffi::c_void) -> SysResult<()> {
        // SAFETY: `data` is null or describes `len` octets that the command reads (set) or writes (get).
        check(unsafe { ffi::EVP_CIPHER_CTX_ctrl(self.ctx.as_ptr(), command, c_int(len)?, data) })
    }
}

/// What CCM must know of its tag before it starts.
#[derive(Clone, Copy)]
pub(crate) enum CcmTag<'a> {
    /// Encrypting: how long it shall be.
    Length(usize),
    /// Decrypting: what it must be.
    Expected(&'a [u8]),
}

/// ChaCha20 (RFC 8439 section 2.4): XORs the key stream into a copy of `data`.
pub(crate) fn chacha20(key: &[u8; 32], nonce: &[u8; 12], counter: u32, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0u8; data.len()];
    // SAFETY: output and input have `data.len()` octets, key 32 and nonce 12.
    unsafe {
        ffi::CRYPTO_chacha_20(out.as_mut_ptr(), data.as_ptr(), data.len(), key.as_ptr(), nonce.as_ptr(), counter)
    };
    out
}

/// AES key wrap: RFC 3394, and RFC 5649 with padding.
pub(crate) struct AesWrap {
    key: zeroize::Zeroizing<Vec<u8>>,
}

impl AesWrap {
    pub(crate) fn new(key: &[u8]) -> SysResult<Self> {
        match key.len() {
            16 | 24 | 32 => Ok(Self { key: zeroize::Zeroizing::new(key.to_vec()) }),
            _ => Err(SysError("AES key is not of 16, 24 or 32 octets")),
        }
    }

    pub(crate) fn wrap(&self, data: &[u8]) -> SysResult<Vec<u8>> {
        let mut out = vec![0u8; data.len() + 8];
        let out_ptr = out.as_mut_ptr();
        // SAFETY: a null IV selects the default of RFC 3394; the output has 8 octets more than the input.
        let len = self.with_schedule(false, |key| unsafe {
            ffi::AES_wrap_key(key, ptr::null(), out_ptr, data.as_ptr(), data.len())
        })?;
        written(out, len)
    }

    pub(crate) fn unwrap(&self, data: &[u8]) -> SysResult<Vec<u8>> {
        let mut out = vec![0u8; data.len()];
        let out_ptr = out.as_mut_ptr();
        // SAFETY: as above; the output is no longer than the input.
        let len = self.with_schedule(true, |key| unsafe {
            ffi::AES_unwrap_key(key, ptr::null(), out_ptr, data.as_ptr(), data.len())
        })?;
        written(out, len)
    }

    pub(crate) fn wrap_padded(&self, data: &[u8]) -> SysResult<Vec<u8>> {
        let mut out = vec![0u8; data.len() + 15];
        let (out_ptr, max) = (out.as_mut_ptr(), out.len());
        let mut len = 0usize;
        // SAFETY: RFC 5649 pads to 8 octets and adds 8: at most 15 more than the input.
        let code = self.with_schedule(false, |key| unsafe {
            ffi::AES_wrap_key_padded(key, out_ptr, &mut len, max, data.as_ptr(), data.len())
        })?;
        check(code)?;
        out.truncate(len);
        Ok(out)
    }

    pub(crate) fn unwrap_padded(&self, data: &[u8]) -> SysResult<Vec<u8>> {
        let mut out = vec![0u8; data.len()];
        let (out_ptr, max) = (out.as_mut_ptr(), out.len());
        let mut len = 0usize;
        // SAFETY: the result is shorter than the input.
        let code = self.with_schedule(true, |key| unsafe {
            ffi::AES_unwrap_key_padded(key, out_ptr, &mut len, max, data.as_ptr(), data.len())
        })?;
        check(code)?;
        out.truncate(len);
        Ok(out)
    }

    fn with_schedule(&self, decrypt: bool, run: impl FnOnce(*const ffi::AES_KEY) -> i32) -> SysResult<i32> {
        let bits = u32::try_from(self.key.len() * 8).map_err(|_| SysError("key too long"))?;
        // SAFETY: the schedule is filled by the library before use and wiped afterwards; the key has `bits` bits.
        unsafe {
            let mut schedule: ffi::AES_KEY = std::mem::zeroed();
            let set = if decrypt { ffi::AES_set_decrypt_key } else { ffi::AES_set_encrypt_key };
            if set(self.key.as_ptr(), bits, &mut schedule) != 0 {
                return Err(SysError("AES key refused"));
            }
            let code = run(&schedule);
            ffi::OPENSSL_cleanse((&raw mut schedule).cast(), size_of::<ffi::AES_KEY>());
            Ok(code)
        }
    }
}

/// AES_wrap_key and AES_unwrap_key answer the number of octets or -1.
fn written(mut out: Vec<u8>, len: i32) -> SysResult<Vec<u8>> {
    match usize::try_from(len) {
        Ok(len) if len <= out.len() && len > 0 => {
            out.truncate(len);
            Ok(out)
        }
        _ => Err(super::last_error()),
    }
}
