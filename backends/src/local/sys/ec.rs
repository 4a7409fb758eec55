//! Elliptic curve keys from and to their components and SEC 1, ECDSA on digests.

use super::{Bn, Owned, Pkey, SysError, SysResult, bn_to_be, cbs, check, last_error, with_cbb};
use aws_lc_sys as ffi;
use std::ptr;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A curve that the library has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nid {
    P224,
    P256,
    P384,
    P521,
    Secp256k1,
}

impl Nid {
    fn code(self) -> i32 {
        match self {
            Self::P224 => ffi::NID_secp224r1,
            Self::P256 => ffi::NID_X9_62_prime256v1,
            Self::P384 => ffi::NID_secp384r1,
            Self::P521 => ffi::NID_secp521r1,
            Self::Secp256k1 => ffi::NID_secp256k1,
        }
    }

    fn from_code(code: i32) -> Option<Self> {
        [Self::P224, Self::P256, Self::P384, Self::P521, Self::Secp256k1].into_iter().find(|nid| nid.code() == code)
    }

    /// Octets of a field element and of a scalar (equal for these curves).
    pub(crate) fn octets(self) -> usize {
        match self {
            Self::P224 => 28,
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// The numbers of an EC key: the scalar at full width (empty for a public key) and the point, uncompressed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct EcComponents {
    pub(crate) d: Vec<u8>,
    pub(crate) q: Vec<u8>,
}

impl Pkey {
    /// A fresh key pair.
    pub(crate) fn generate_ec(nid: Nid) -> SysResult<Self> {
        let key = blank(nid)?;
        // SAFETY: the key has its curve.
        check(unsafe { ffi::EC_KEY_generate_key(key.as_ptr()) })?;
        Self::from_ec(&key)
    }

    /// A private key from its scalar; the point is computed, or checked where it is given.
    pub(crate) fn from_ec_private(nid: Nid, d: &[u8], q: Option<&[u8]>) -> SysResult<Self> {
        let key = blank(nid)?;
        let d = Bn::from_be(d)?;
        // SAFETY: the key has its curve; the function copies the scalar and refuses one out of range.
        check(unsafe { ffi::EC_KEY_set_private_key(key.as_ptr(), d.as_ptr()) })?;
        // SAFETY: the borrowed group lives as long as `key`.
        let group = unsafe { ffi::EC_KEY_get0_group(key.as_ptr()) };
        let point = match q {
            Some(q) => point_from_octets(group, q)?,
            None => {
                let point = new_point(group)?;
                // SAFETY: all pointers are valid; a null context lets the library make one.
                check(unsafe {
                    ffi::EC_POINT_mul(group, point.as_ptr(), d.as_ptr(), ptr::null(), ptr::null(), ptr::null_mut())
                })?;
                point
            }
        };
        finish(&key, &point)
    }

    /// A public key from its point, compressed or not.
    pub(crate) fn from_ec_public(nid: Nid, q: &[u8]) -> SysResult<Self> {
        let key = blank(nid)?;
        // SAFETY: the borrowed group lives as long as `key`.
        let group = unsafe { ffi::EC_KEY_get0_group(key.as_ptr()) };
        let point = point_from_octets(group, q)?;
        finish(&key, &point)
    }

    /// A SEC 1 ECPrivateKey; the curve may be named inside or given.
    pub(crate) fn from_sec1(der: &[u8], nid: Option<Nid>) -> SysResult<Self> {
        let mut cbs = cbs(der);
        let holder = nid.map(blank).transpose()?;
        // SAFETY: the group is borrowed from `holder`, null lets the structure name its curve; the CBS describes `der`.
        let raw = unsafe {
            let group = holder.as_ref().map_or(ptr::null(), |key| ffi::EC_KEY_get0_group(key.as_ptr()));
            ffi::EC_KEY_parse_private_key(&mut cbs, group)
        };
        let key = Owned::new(raw, ffi::EC_KEY_free)?;
        if cbs.len != 0 {
            return Err(SysError("trailing octets after the key"));
        }
        // SAFETY: the key is complete.
        check(unsafe { ffi::EC_KEY_check_key(key.as_ptr()) })?;
        Self::from_ec(&key)
    }

    /// SEC 1 ECPrivateKey DER with curve and public key.
    pub(crate) fn to_sec1(&self) -> SysResult<Vec<u8>> {
        let key = self.ec()?;
        // SAFETY: both pointers are valid; flags 0 keep parameters and public key.
        with_cbb(|cbb| unsafe { ffi::EC_KEY_marshal_private_key(cbb, key, 0) })
    }

    /// The curve of an EC key.
    pub(crate) fn ec_curve(&self) -> SysResult<Nid> {
        let key = self.ec()?;
        // SAFETY: key and group are valid.
        let code = unsafe { ffi::EC_GROUP_get_curve_name(ffi::EC_KEY_get0_group(key)) };
        Nid::from_code(code).ok_or(SysError("curve is not one of P-224, P-256, P-384, P-521, secp256k1"))
    }

    /// The key's numbers.
    pub(crate) fn ec_components(&self) -> SysResult<EcComponents> {
        let (key, nid) = (self.ec()?, self.ec_curve()?);
        // SAFETY: borrowed pointers that live as long as `self`; the output is as long as an uncompressed point.
        unsafe {
            let d = bn_to_be(ffi::EC_KEY_get0_private_key(key), nid.octets())?.unwrap_or_default();
            let mut q = vec![0u8; 1 + 2 * nid.octets()];
            let form = ffi::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED;
            let (group, point) = (ffi::EC_KEY_get0_group(key), ffi::EC_KEY_get0_public_key(key));
            let len = ffi::EC_POINT_point2oct(group, point, form, q.as_mut_ptr(), q.len(), ptr::null_mut());
            if len != q.len() { Err(last_error()) } else { Ok(EcComponents { d, q }) }
        }
    }

    /// ECDSA over a digest, DER encoded.
    pub(crate) fn sign_ecdsa(&self, digest: &[u8]) -> SysResult<Vec<u8>> {
        let key = self.ec()?;
        // SAFETY: the key is valid.
        let mut out = vec![0u8; unsafe { ffi::ECDSA_size(key) }];
        let mut len = 0u32;
        // SAFETY: the output holds the longest signature; pointer and length describe `digest`.
        check(unsafe { ffi::ECDSA_sign(0, digest.as_ptr(), digest.len(), out.as_mut_ptr(), &mut len, key) })?;
        out.truncate(len as usize);
        Ok(out)
    }

    /// Whether a DER encoded ECDSA signature fits the digest.
    pub(crate) fn verify_ecdsa(&self, digest: &[u8], signature: &[u8]) -> SysResult<bool> {
        let key = self.ec()?;
        // SAFETY: pointers and lengths describe the slices.
        let code =
            unsafe { ffi::ECDSA_verify(0, digest.as_ptr(), digest.len(), signature.as_ptr(), signature.len(), key) };
        Ok(check(code).is_ok())
    }

    fn from_ec(ec: &Owned<ffi::EC_KEY>) -> SysResult<Self> {
        let key = Self::empty()?;
        // SAFETY: set1 takes its own reference; `ec` frees ours.
        check(unsafe { ffi::EVP_PKEY_set1_EC_KEY(key.0.as_ptr(), ec.as_ptr()) })?;
        Ok(key)
    }

    fn ec(&self) -> SysResult<*const ffi::EC_KEY> {
        // SAFETY: the key is valid; the borrowed pointer lives as long as `self`.
        let ec = unsafe { ffi::EVP_PKEY_get0_EC_KEY(self.0.as_ptr()) };
        if ec.is_null() { Err(last_error()) } else { Ok(ec) }
    }
}

fn blank(nid: Nid) -> SysResult<Owned<ffi::EC_KEY>> {
    // SAFETY: allocates a key that knows its curve.
    Owned::new(unsafe { ffi::EC_KEY_new_by_curve_name(nid.code()) }, ffi::EC_KEY_free)
}

fn new_point(group: *const ffi::EC_GROUP) -> SysResult<Owned<ffi::EC_POINT>> {
    // SAFETY: `group` is borrowed from a live key by all callers.
    Owned::new(unsafe { ffi::EC_POINT_new(group) }, ffi::EC_POINT_free)
}

fn point_from_octets(group: *const ffi::EC_GROUP, octets: &[u8]) -> SysResult<Owned<ffi::EC_POINT>> {
    let point = new_point(group)?;
    // SAFETY: pointer and length describe the slice; a point off the curve is refused.
    check(unsafe { ffi::EC_POINT_oct2point(group, point.as_ptr(), octets.as_ptr(), octets.len(), ptr::null_mut()) })?;
    Ok(point)
}

fn finish(key: &Owned<ffi::EC_KEY>, point: &Owned<ffi::EC_POINT>) -> SysResult<Pkey> {
    // SAFETY: all pointers are valid; the check covers range, curve membership and that the halves belong together.
    unsafe {
        check(ffi::EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()))?;
        check(ffi::EC_KEY_check_key(key.as_ptr()))?;
    }
    Pkey::from_ec(key)
}
