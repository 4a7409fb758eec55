//! Asymmetric keys: parsing, writing, signatures and RSA encryption.

use super::{Md, Owned, lattice, SysError, SysResult, cbs, check, with_cbb};
use aws_lc_sys as ffi;
use std::ptr;

/// What kind of key a [`Pkey`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PkeyId {
    Rsa,
    Ec,
    Ed25519,
    X25519,
    MlDsa,
    MlKem,
}

/// A parsed key, private or public. Immutable once made, so threads may share it.
pub(crate) struct Pkey(pub(super) Owned<ffi::EVP_PKEY>);

// SAFETY: the library documents concurrent use of a key that nobody mutates; no function here mutates one after
// construction (RSA blinding state is behind the library's own lock).
unsafe impl Send for Pkey {}
// SAFETY: as above.
unsafe impl Sync for Pkey {}

/// The padding of an RSA operation.
#[derive(Clone, Copy)]
pub(crate) enum Padding<'a> {
    /// RSASSA-PKCS1-v1_5 with a DigestInfo for the hash, or RSAES-PKCS1-v1_5 and bare signing without one.
    Pkcs1(Option<Md>),
    /// RSASSA-PSS.
    Pss { hash: Md, mgf: Md, salt_len: i32 },
    /// RSAES-OAEP.
    Oaep { hash: Md, mgf: Md, label: &'a [u8] },
    /// Textbook RSA on a full-length block.
    None,
}

impl Pkey {
    /// Reads a PKCS#8 PrivateKeyInfo that fills the slice.
    pub(crate) fn from_pkcs8(der: &[u8]) -> SysResult<Self> {
        let mut cbs = cbs(der);
        // SAFETY: the CBS describes `der`; a null result is an error.
        let key = Owned::new(unsafe { ffi::EVP_parse_private_key(&mut cbs) }, ffi::EVP_PKEY_free);
        let key = match key {
            Ok(key) => Self(key),
            Err(error) => return lattice::ml_kem_from_both(der).map_err(|own| if own.0.is_empty() { error } else { own }),
        };
        match key.id() {
            _ if cbs.len != 0 => Err(SysError("trailing octets after the key")),
            Some(PkeyId::MlKem) => key.with_encapsulation_key(),
            _ => Ok(key),
        }
    }

    /// Reads a SubjectPublicKeyInfo that fills the slice.
    pub(crate) fn from_spki(der: &[u8]) -> SysResult<Self> {
        let mut cbs = cbs(der);
        // SAFETY: the CBS describes `der`; a null result is an error.
        let key = Self(Owned::new(unsafe { ffi::EVP_parse_public_key(&mut cbs) }, ffi::EVP_PKEY_free)?);
        match key.id() {
            _ if cbs.len != 0 => return Err(SysError("trailing octets after the key")),
            Some(PkeyId::MlKem) => key.check_encapsulation_key()?,
            _ => {}
        }
        Ok(key)
    }

    /// An Ed25519 seed or X25519 scalar.
    pub(crate) fn from_raw_private(id: PkeyId, bytes: &[u8]) -> SysResult<Self> {
        let nid = raw_nid(id)?;
        // SAFETY: pointer and length describe the slice; the function checks the length.
        let raw = unsafe { ffi::EVP_PKEY_new_raw_private_key(nid, ptr::null_mut(), bytes.as_ptr(), bytes.len()) };
        Owned::new(raw, ffi::EVP_PKEY_free).map(Self)
    }

    /// An Ed25519 or X25519 public key.
    pub(crate) fn from_raw_public(id: PkeyId, bytes: &[u8]) -> SysResult<Self> {
        let nid = raw_nid(id)?;
        // SAFETY: pointer and length describe the slice; the function checks the length.
        let raw = unsafe { ffi::EVP_PKEY_new_raw_public_key(nid, ptr::null_mut(), bytes.as_ptr(), bytes.len()) };
        Owned::new(raw, ffi::EVP_PKEY_free).map(Self)
    }

    pub(super) fn empty() -> SysResult<Self> {
        // SAFETY: allocates an empty key, which the caller fills before use.
        Owned::new(unsafe { ffi::EVP_PKEY_new() }, ffi::EVP_PKEY_free).map(Self)
    }

    /// PKCS#8 DER of a private key.
    pub(crate) fn to_pkcs8(&self) -> SysResult<Vec<u8>> {
        if self.id() == Some(PkeyId::MlDsa) && self.seed().is_none() {
            return self.expanded_pkcs8();
        }
        // SAFETY: both pointers are valid during the call.
        with_cbb(|cbb| unsafe { ffi::EVP_marshal_private_key(cbb, self.0.as_ptr()) })
    }

    /// SubjectPublicKeyInfo DER of the public half.
    pub(crate) fn to_spki(&self) -> SysResult<Vec<u8>> {
        // SAFETY: both pointers are valid during the call.
        with_cbb(|cbb| unsafe { ffi::EVP_marshal_public_key(cbb, self.0.as_ptr()) })
    }

    /// The 32 raw octets of an Ed25519 or X25519 public key.
    pub(crate) fn raw_public(&self) -> SysResult<Vec<u8>> {
        let mut out = vec![0u8; 32];
        let mut len = out.len();
        // SAFETY: the output has `len` octets.
        check(unsafe { ffi::EVP_PKEY_get_raw_public_key(self.0.as_ptr(), out.as_mut_ptr(), &mut len) })?;
        out.truncate(len);
        Ok(out)
    }

    /// The 32 raw octets of an Ed25519 seed or X25519 scalar.
    pub(crate) fn raw_private(&self) -> SysResult<Vec<u8>> {
        let mut out = vec![0u8; 32];
        let mut len = out.len();
        // SAFETY: the output has `len` octets.
        check(unsafe { ffi::EVP_PKEY_get_raw_private_key(self.0.as_ptr(), out.as_mut_ptr(), &mut len) })?;
        out.truncate(len);
        Ok(out)
    }

    /// The kind of key, `None` for one that this crate does not use.
    pub(crate) fn id(&self) -> Option<PkeyId> {
        // SAFETY: the key is valid.
        match unsafe { ffi::EVP_PKEY_id(self.0.as_ptr()) } {
            ffi::EVP_PKEY_RSA => Some(PkeyId::Rsa),
            ffi::EVP_PKEY_EC => Some(PkeyId::Ec),
            ffi::EVP_PKEY_ED25519 => Some(PkeyId::Ed25519),
            ffi::EVP_PKEY_X25519 => Some(PkeyId::X25519),
            ffi::EVP_PKEY_PQDSA => Some(PkeyId::MlDsa),
            ffi::EVP_PKEY_KEM => Some(PkeyId::MlKem),
            _ => None,
        }
    }

    /// Bits of the modulus or of the curve's order.
    pub(crate) fn bits(&self) -> u32 {
        // SAFETY: the key is valid.
        u32::try_from(unsafe { ffi::EVP_PKEY_bits(self.0.as_ptr()) }).unwrap_or(0)
    }

    /// Longest signature or ciphertext.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: the key is valid.
        usize::try_from(unsafe { ffi::EVP_PKEY_size(self.0.as_ptr()) }).unwrap_or(0)
    }

    /// RSA: signs a digest, or with `Padding::Pkcs1(None)` the bytes as they are.
    pub(crate) fn sign_rsa(&self, padding: Padding<'_>, digest: &[u8]) -> SysResult<Vec<u8>> {
        let ctx = self.context()?;
        // SAFETY: the context is valid.
        check(unsafe { ffi::EVP_PKEY_sign_init(ctx.as_ptr()) })?;
        set_padding(&ctx, padding)?;
        let mut out = vec![0u8; self.size()];
        let mut len = out.len();
        // SAFETY: the output has `len` octets, the longest signature; pointer and length describe `digest`.
        check(unsafe { ffi::EVP_PKEY_sign(ctx.as_ptr(), out.as_mut_ptr(), &mut len, digest.as_ptr(), digest.len()) })?;
        out.truncate(len);
        Ok(out)
    }

    /// RSA: whether the signature fits the digest.
    pub(crate) fn verify_rsa(&self, padding: Padding<'_>, digest: &[u8], signature: &[u8]) -> SysResult<bool> {
        let ctx = self.context()?;
        // SAFETY: the context is valid.
        check(unsafe { ffi::EVP_PKEY_verify_init(ctx.as_ptr()) })?;
        set_padding(&ctx, padding)?;
        // SAFETY: pointers and lengths describe the slices.
        let code = unsafe {
            ffi::EVP_PKEY_verify(ctx.as_ptr(), signature.as_ptr(), signature.len(), digest.as_ptr(), digest.len())
        };
        Ok(check(code).is_ok())
    }

    /// RSA encryption.
    pub(crate) fn encrypt(&self, padding: Padding<'_>, plain: &[u8]) -> SysResult<Vec<u8>> {
        let ctx = self.context()?;
        // SAFETY: the context is valid.
        check(unsafe { ffi::EVP_PKEY_encrypt_init(ctx.as_ptr()) })?;
        set_padding(&ctx, padding)?;
        let mut out = vec![0u8; self.size()];
        let mut len = out.len();
        // SAFETY: the output has `len` octets, the modulus length; pointer and length describe `plain`.
        check(unsafe { ffi::EVP_PKEY_encrypt(ctx.as_ptr(), out.as_mut_ptr(), &mut len, plain.as_ptr(), plain.len()) })?;
        out.truncate(len);
        Ok(out)
    }

    /// RSA decryption. Any failure is the same failure.
    pub(crate) fn decrypt(&self, padding: Padding<'_>, data: &[u8]) -> SysResult<Vec<u8>> {
        let ctx = self.context()?;
        // SAFETY: the context is valid.
        check(unsafe { ffi::EVP_PKEY_decrypt_init(ctx.as_ptr()) })?;
        set_padding(&ctx, padding)?;
        let mut out = vec![0u8; self.size()];
        let mut len = out.len();
        // SAFETY: the output has `len` octets, the modulus length; pointer and length describe `data`.
        check(unsafe { ffi::EVP_PKEY_decrypt(ctx.as_ptr(), out.as_mut_ptr(), &mut len, data.as_ptr(), data.len()) })?;
        out.truncate(len);
        Ok(out)
    }

    /// Ed25519, or ML-DSA with an empty context, over the whole message.
    pub(crate) fn sign_message(&self, message: &[u8]) -> SysResult<Vec<u8>> {
        // SAFETY: allocates a context, initialised next.
        let ctx = Owned::new(unsafe { ffi::EVP_MD_CTX_new() }, ffi::EVP_MD_CTX_free)?;
        // SAFETY: the key outlives the context, which takes a reference; no hash is named for these.
        check(unsafe {
            ffi::EVP_DigestSignInit(ctx.as_ptr(), ptr::null_mut(), ptr::null(), ptr::null_mut(), self.0.as_ptr())
        })?;
        let mut out = vec![0u8; self.size()];
        let mut len = out.len();
        // SAFETY: the output has `len` octets; pointer and length describe `message`.
        check(unsafe {
            ffi::EVP_DigestSign(ctx.as_ptr(), out.as_mut_ptr(), &mut len, message.as_ptr(), message.len())
        })?;
        out.truncate(len);
        Ok(out)
    }

    /// Ed25519, or ML-DSA with an empty context, over the whole message.
    pub(crate) fn verify_message(&self, message: &[u8], signature: &[u8]) -> SysResult<bool> {
        // SAFETY: allocates a context, initialised next.
        let ctx = Owned::new(unsafe { ffi::EVP_MD_CTX_new() }, ffi::EVP_MD_CTX_free)?;
        // SAFETY: as in `sign_message`.
        check(unsafe {
            ffi::EVP_DigestVerifyInit(ctx.as_ptr(), ptr::null_mut(), ptr::null(), ptr::null_mut(), self.0.as_ptr())
        })?;
        // SAFETY: pointers and lengths describe the slices.
        let code = unsafe {
            ffi::EVP_DigestVerify(ctx.as_ptr(), signature.as_ptr(), signature.len(), message.as_ptr(), message.len())
        };
        Ok(check(code).is_ok())
    }

    pub(super) fn context(&self) -> SysResult<Owned<ffi::EVP_PKEY_CTX>> {
        // SAFETY: the context takes its own reference to the key.
        Owned::new(unsafe { ffi::EVP_PKEY_CTX_new(self.0.as_ptr(), ptr::null_mut()) }, ffi::EVP_PKEY_CTX_free)
    }
}

fn raw_nid(id: PkeyId) -> SysResult<i32> {
    match id {
        PkeyId::Ed25519 => Ok(ffi::EVP_PKEY_ED25519),
        PkeyId::X25519 => Ok(ffi::EVP_PKEY_X25519),
        PkeyId::Rsa | PkeyId::Ec | PkeyId::MlDsa | PkeyId::MlKem => Err(SysError("no raw form for this kind of key")),
    }
}

fn set_padding(ctx: &Owned<ffi::EVP_PKEY_CTX>, padding: Padding<'_>) -> SysResult<()> {
    let raw = ctx.as_ptr();
    // SAFETY: the context is initialised for an operation; hash tables are static; the label's ownership passes to the
    // context on success.
    unsafe {
        match padding {
            Padding::None => check(ffi::EVP_PKEY_CTX_set_rsa_padding(raw, ffi::RSA_NO_PADDING)),
            Padding::Pkcs1(hash) => {
                check(ffi::EVP_PKEY_CTX_set_rsa_padding(raw, ffi::RSA_PKCS1_PADDING))?;
                hash.map_or(Ok(()), |hash| check(ffi::EVP_PKEY_CTX_set_signature_md(raw, hash.as_ptr())))
            }
            Padding::Pss { hash, mgf, salt_len } => {
                check(ffi::EVP_PKEY_CTX_set_rsa_padding(raw, ffi::RSA_PKCS1_PSS_PADDING))?;
                check(ffi::EVP_PKEY_CTX_set_signature_md(raw, hash.as_ptr()))?;
                check(ffi::EVP_PKEY_CTX_set_rsa_mgf1_md(raw, mgf.as_ptr()))?;
                check(ffi::EVP_PKEY_CTX_set_rsa_pss_saltlen(raw, salt_len))
            }
            Padding::Oaep { hash, mgf, label } => {
                check(ffi::EVP_PKEY_CTX_set_rsa_padding(raw, ffi::RSA_PKCS1_OAEP_PADDING))?;
                check(ffi::EVP_PKEY_CTX_set_rsa_oaep_md(raw, hash.as_ptr()))?;
                check(ffi::EVP_PKEY_CTX_set_rsa_mgf1_md(raw, mgf.as_ptr()))?;
                set_label(raw, label)
            }
        }
    }
}

/// # Safety
/// `raw` is a valid context set to OAEP.
unsafe fn set_label(raw: *mut ffi::EVP_PKEY_CTX, label: &[u8]) -> SysResult<()> {
    if label.is_empty() {
        return Ok(());
    }
    // SAFETY: the copy has `label.len()` octets; the context owns it once the call succeeds, and it is freed here when
    // it does not.
    unsafe {
        let copy = ffi::OPENSSL_memdup(label.as_ptr().cast(), label.len()).cast::<u8>();
        if copy.is_null() {
            return Err(SysError("out of memory"));
        }
        let code = ffi::EVP_PKEY_CTX_set0_rsa_oaep_label(raw, copy, label.len());
        if code != 1 {
            ffi::OPENSSL_free(copy.cast());
        }
        check(code)
    }
}
