//! RSA keys from and to their components and PKCS#1.

use super::{Bn, Owned, Pkey, SysError, SysResult, bn_to_be, check, last_error, primes, take_library_bytes};
use aws_lc_sys as ffi;
use std::ptr;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The numbers of an RSA key, big-endian without leading zeros. The private ones are empty where they are not known.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub(crate) struct RsaComponents {
    pub(crate) n: Vec<u8>,
    pub(crate) e: Vec<u8>,
    pub(crate) d: Vec<u8>,
    pub(crate) p: Vec<u8>,
    pub(crate) q: Vec<u8>,
    pub(crate) dp: Vec<u8>,
    pub(crate) dq: Vec<u8>,
    pub(crate) qinv: Vec<u8>,
}

impl Pkey {
    /// A fresh RSA key pair with the public exponent 65537.
    pub(crate) fn generate_rsa(bits: u32) -> SysResult<Self> {
        let e = Bn::from_be(&[1, 0, 1])?;
        // SAFETY: allocates an empty key, filled next.
        let rsa = Owned::new(unsafe { ffi::RSA_new() }, ffi::RSA_free)?;
        let bits = i32::try_from(bits).map_err(|_| SysError("modulus too long"))?;
        // SAFETY: both pointers are valid; no callback.
        check(unsafe { ffi::RSA_generate_key_ex(rsa.as_ptr(), bits, e.as_ptr(), ptr::null_mut()) })?;
        Self::from_rsa(rsa)
    }

    /// A public key from modulus and exponent.
    pub(crate) fn from_rsa_public(n: &[u8], e: &[u8]) -> SysResult<Self> {
        let (n, e) = (Bn::from_be(n)?, Bn::from_be(e)?);
        // SAFETY: the function copies the numbers.
        Self::from_rsa(Owned::new(unsafe { ffi::RSA_new_public_key(n.as_ptr(), e.as_ptr()) }, ffi::RSA_free)?)
    }

    /// A private key from its numbers, the primes recovered where they are missing; the library checks that all belong
    /// together.
    pub(crate) fn from_rsa_private(c: &RsaComponents) -> SysResult<Self> {
        if [&c.p, &c.q, &c.dp, &c.dq, &c.qinv].iter().any(|number| number.is_empty()) {
            return Self::from_rsa_numbers(&primes::recover(c)?);
        }
        Self::from_rsa_numbers(c)
    }

    fn from_rsa_numbers(c: &RsaComponents) -> SysResult<Self> {
        let [n, e, d, p] = [&c.n, &c.e, &c.d, &c.p].map(|bytes| Bn::from_be(bytes));
        let [q, dp, dq, qinv] = [&c.q, &c.dp, &c.dq, &c.qinv].map(|bytes| Bn::from_be(bytes));
        let (n, e, d, p, q, dp, dq, qinv) = (n?, e?, d?, p?, q?, dp?, dq?, qinv?);
        // SAFETY: the function copies the numbers.
        let raw = unsafe {
            ffi::RSA_new_private_key(
                n.as_ptr(),
                e.as_ptr(),
                d.as_ptr(),
                p.as_ptr(),
                q.as_ptr(),
                dp.as_ptr(),
                dq.as_ptr(),
                qinv.as_ptr(),
            )
        };
        Self::from_rsa(Owned::new(raw, ffi::RSA_free)?)
    }

    /// A PKCS#1 RSAPrivateKey.
    pub(crate) fn from_pkcs1_private(der: &[u8]) -> SysResult<Self> {
        // SAFETY: pointer and length describe `der`; trailing octets are refused by the function.
        Self::from_rsa(Owned::new(unsafe { ffi::RSA_private_key_from_bytes(der.as_ptr(), der.len()) }, ffi::RSA_free)?)
    }

    /// A PKCS#1 RSAPublicKey.
    pub(crate) fn from_pkcs1_public(der: &[u8]) -> SysResult<Self> {
        // SAFETY: pointer and length describe `der`; trailing octets are refused by the function.
        Self::from_rsa(Owned::new(unsafe { ffi::RSA_public_key_from_bytes(der.as_ptr(), der.len()) }, ffi::RSA_free)?)
    }

    /// PKCS#1 RSAPrivateKey DER.
    pub(crate) fn to_pkcs1_private(&self) -> SysResult<Vec<u8>> {
        self.rsa_bytes(ffi::RSA_private_key_to_bytes)
    }

    /// PKCS#1 RSAPublicKey DER.
    pub(crate) fn to_pkcs1_public(&self) -> SysResult<Vec<u8>> {
        self.rsa_bytes(ffi::RSA_public_key_to_bytes)
    }

    /// The key's numbers.
    pub(crate) fn rsa_components(&self) -> SysResult<RsaComponents> {
        let rsa = self.rsa()?;
        let [mut n, mut e, mut d, mut p, mut q, mut dp, mut dq, mut qinv] = [ptr::null(); 8];
        // SAFETY: the getters fill in borrowed pointers that live as long as the key, which `self` holds.
        unsafe {
            ffi::RSA_get0_key(rsa, &mut n, &mut e, &mut d);
            ffi::RSA_get0_factors(rsa, &mut p, &mut q);
            ffi::RSA_get0_crt_params(rsa, &mut dp, &mut dq, &mut qinv);
            let read = |bn| bn_to_be(bn, 0).map(Option::unwrap_or_default);
            Ok(RsaComponents {
                n: read(n)?,
                e: read(e)?,
                d: read(d)?,
                p: read(p)?,
                q: read(q)?,
                dp: read(dp)?,
                dq: read(dq)?,
                qinv: read(qinv)?,
            })
        }
    }

    fn from_rsa(rsa: Owned<ffi::RSA>) -> SysResult<Self> {
        let key = Self::empty()?;
        // SAFETY: set1 takes its own reference; `rsa` frees ours.
        check(unsafe { ffi::EVP_PKEY_set1_RSA(key.0.as_ptr(), rsa.as_ptr()) })?;
        Ok(key)
    }

    fn rsa(&self) -> SysResult<*const ffi::RSA> {
        // SAFETY: the key is valid; the borrowed pointer lives as long as `self`.
        let rsa = unsafe { ffi::EVP_PKEY_get0_RSA(self.0.as_ptr()) };
        if rsa.is_null() { Err(last_error()) } else { Ok(rsa) }
    }

    fn rsa_bytes(
        &self,
        write: unsafe extern "C" fn(*mut *mut u8, *mut usize, *const ffi::RSA) -> i32,
    ) -> SysResult<Vec<u8>> {
        let rsa = self.rsa()?;
        let (mut out, mut len) = (ptr::null_mut(), 0usize);
        // SAFETY: on success the function hands over a buffer of `len` octets.
        unsafe {
            check(write(&mut out, &mut len, rsa))?;
            Ok(take_library_bytes(out, len))
        }
    }
}
