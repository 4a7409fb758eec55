//! ML-DSA and ML-KEM: parameter sets, key encodings, encapsulation. Signatures go the way of all messages (`pkey.rs`).
//!
//! Private keys are kept as their seeds wherever there is one: RFC 9881 §6 and RFC 9935 §6 recommend it, and a seed is 32 or 64
//! octets. A key that came expanded stays so, for the way back does not exist.

use super::{Owned, Pkey, SysError, SysResult, cbs, check, last_error};
use crate::lattice::{MlDsa, MlKem, SHARED_SECRET_OCTETS};
use crate::secret::SecretBytes;
use aws_lc_sys as ffi;
use zeroize::Zeroizing;

impl Pkey {
    /// The pair of a seed (FIPS 204 §6.1).
    pub(crate) fn ml_dsa_from_seed(set: MlDsa, seed: &[u8]) -> SysResult<Self> {
        Self::from_pkcs8(&private_key_info(dsa_oid(set), 0x80, seed))
    }

    /// The pair of a seed (FIPS 203 §6.1).
    pub(crate) fn ml_kem_from_seed(set: MlKem, seed: &[u8]) -> SysResult<Self> {
        Self::from_pkcs8(&private_key_info(kem_oid(set), 0x80, seed))
    }

    /// An expanded private key (FIPS 204 §4).
    pub(crate) fn ml_dsa_from_expanded(set: MlDsa, key: &[u8]) -> SysResult<Self> {
        Self::from_pkcs8(&private_key_info(dsa_oid(set), 0x04, key))
    }

    /// A decapsulation key (FIPS 203 §7.3).
    pub(crate) fn ml_kem_from_expanded(set: MlKem, key: &[u8]) -> SysResult<Self> {
        Self::from_pkcs8(&private_key_info(kem_oid(set), 0x04, key))
    }

    /// A public key as the standards write it.
    pub(crate) fn ml_dsa_from_public(set: MlDsa, key: &[u8]) -> SysResult<Self> {
        // SAFETY: pointer and length describe the slice; the function checks the length.
        let raw = unsafe { ffi::EVP_PKEY_pqdsa_new_raw_public_key(dsa_nid(set), key.as_ptr(), key.len()) };
        Owned::new(raw, ffi::EVP_PKEY_free).map(Self)
    }

    /// An encapsulation key, checked as FIPS 203 §7.2 asks.
    pub(crate) fn ml_kem_from_public(set: MlKem, key: &[u8]) -> SysResult<Self> {
        // SAFETY: pointer and length describe the slice; the function checks the length.
        let raw = unsafe { ffi::EVP_PKEY_kem_new_raw_public_key(kem_nid(set), key.as_ptr(), key.len()) };
        let key = Owned::new(raw, ffi::EVP_PKEY_free).map(Self)?;
        key.check_encapsulation_key()?;
        Ok(key)
    }

    /// The parameter set of an ML-DSA key.
    pub(crate) fn ml_dsa(&self) -> SysResult<MlDsa> {
        // SAFETY: the key is valid.
        let nid = unsafe { ffi::EVP_PKEY_pqdsa_get_type(self.0.as_ptr()) };
        MlDsa::ALL.into_iter().find(|set| dsa_nid(*set) == nid).ok_or_else(last_error)
    }

    /// The parameter set of an ML-KEM key.
    pub(crate) fn ml_kem(&self) -> SysResult<MlKem> {
        // SAFETY: the key is valid.
        let nid = unsafe { ffi::EVP_PKEY_kem_get_type(self.0.as_ptr()) };
        MlKem::ALL.into_iter().find(|set| kem_nid(*set) == nid).ok_or_else(last_error)
    }

    /// The seed of a private key; `None` for one that came expanded.
    pub(crate) fn seed(&self) -> Option<SecretBytes> {
        let mut seed = Zeroizing::new(vec![0u8; MlKem::SEED_OCTETS]);
        let mut len = seed.len();
        // SAFETY: the output has `len` octets.
        check(unsafe { ffi::EVP_PKEY_get_private_seed(self.0.as_ptr(), seed.as_mut_ptr(), &mut len) }).ok()?;
        Some(SecretBytes::copy_of(&seed[..len]))
    }

    /// The expanded private key.
    pub(crate) fn expanded(&self) -> SysResult<SecretBytes> {
        let mut out = Zeroizing::new(vec![0u8; EXPANDED_MAX]);
        let mut len = out.len();
        // SAFETY: the output has `len` octets.
        check(unsafe { ffi::EVP_PKEY_get_raw_private_key(self.0.as_ptr(), out.as_mut_ptr(), &mut len) })?;
        Ok(SecretBytes::copy_of(&out[..len]))
    }

    /// The public key as the standards write it.
    pub(crate) fn lattice_public(&self) -> SysResult<Vec<u8>> {
        let mut out = vec![0u8; EXPANDED_MAX];
        let mut len = out.len();
        // SAFETY: the output has `len` octets.
        check(unsafe { ffi::EVP_PKEY_get_raw_public_key(self.0.as_ptr(), out.as_mut_ptr(), &mut len) })?;
        out.truncate(len);
        Ok(out)
    }

    /// PKCS#8 of an ML-DSA key that came expanded, which the library does not write.
    pub(super) fn expanded_pkcs8(&self) -> SysResult<Vec<u8>> {
        let expanded = self.expanded()?;
        Ok(private_key_info(dsa_oid(self.ml_dsa()?), 0x04, expanded.expose()))
    }

    /// What the library reads of an ML-KEM private key may lack the public half: an expanded key holds it. FIPS 203 §7.3 asks for
    /// the check of its hash, too.
    pub(super) fn with_encapsulation_key(self) -> SysResult<Self> {
        let set = self.ml_kem()?;
        let expanded = self.expanded()?;
        // FIPS 203 algorithm 16: dk is dk_PKE (384k octets), ek, H(ek) and z.
        let begin = set.public_octets() - 32;
        let public = expanded.expose().get(begin..begin + set.public_octets()).ok_or(SysError("too short"))?;
        let whole = match self.lattice_public() {
            Ok(_) => self,
            Err(_) => {
                // SAFETY: pointers and lengths describe the slices; the function checks the lengths.
                let raw = unsafe {
                    ffi::EVP_PKEY_kem_new_raw_key(
                        kem_nid(set),
                        public.as_ptr(),
                        public.len(),
                        expanded.expose().as_ptr(),
                        expanded.len(),
                    )
                };
                Owned::new(raw, ffi::EVP_PKEY_free).map(Self)?
            }
        };
        // SAFETY: the key is valid and nobody else has it yet.
        check(unsafe { ffi::EVP_PKEY_kem_check_key(whole.0.as_ptr()) })?;
        Ok(whole)
    }

    /// FIPS 203 §7.2 encapsulation key check: type and modulus.
    pub(super) fn check_encapsulation_key(&self) -> SysResult<()> {
        let context = self.context()?;
        // SAFETY: the context is valid.
        check(unsafe { ffi::EVP_PKEY_public_check(context.as_ptr()) })
    }

    /// Cipher text and secret.
    pub(crate) fn encapsulate(&self, set: MlKem) -> SysResult<(Vec<u8>, SecretBytes)> {
        let context = self.context()?;
        let mut ciphertext = vec![0u8; set.ciphertext_octets()];
        let mut secret = Zeroizing::new([0u8; SHARED_SECRET_OCTETS]);
        let (mut len, mut secret_len) = (ciphertext.len(), secret.len());
        // SAFETY: both outputs have the lengths passed.
        check(unsafe {
            ffi::EVP_PKEY_encapsulate(
                context.as_ptr(),
                ciphertext.as_mut_ptr(),
                &mut len,
                secret.as_mut_ptr(),
                &mut secret_len,
            )
        })?;
        ciphertext.truncate(len);
        Ok((ciphertext, SecretBytes::copy_of(&secret[..secret_len])))
    }

    /// The secret; the cipher text has been checked for its length.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> SysResult<SecretBytes> {
        let context = self.context()?;
        let mut secret = Zeroizing::new([0u8; SHARED_SECRET_OCTETS]);
        let mut len = secret.len();
        // SAFETY: the output has `len` octets; pointer and length describe `ciphertext`.
        check(unsafe {
            ffi::EVP_PKEY_decapsulate(
                context.as_ptr(),
                secret.as_mut_ptr(),
                &mut len,
                ciphertext.as_ptr(),
                ciphertext.len(),
            )
        })?;
        Ok(SecretBytes::copy_of(&secret[..len]))
    }
}

/// Seed and expanded key of an ML-KEM key that comes as both, which the library does not read: the seed, if they belong together.
///
/// RFC 9935 §6: `both SEQUENCE { seed OCTET STRING (SIZE (64)), expandedKey OCTET STRING }`.
pub(super) fn ml_kem_from_both(der: &[u8]) -> SysResult<Pkey> {
    let malformed = || SysError("malformed");
    let mut reader = cbs(der);
    let mut info = enter(&mut reader, ffi::CBS_ASN1_SEQUENCE)?;
    enter(&mut info, ffi::CBS_ASN1_INTEGER)?;
    let mut algorithm = enter(&mut info, ffi::CBS_ASN1_SEQUENCE)?;
    let oid = octets(&enter(&mut algorithm, ffi::CBS_ASN1_OBJECT)?);
    let set = MlKem::ALL.into_iter().find(|set| kem_oid(*set)[..] == oid[..]).ok_or_else(malformed)?;
    let mut key = enter(&mut info, ffi::CBS_ASN1_OCTETSTRING)?;
    let mut both = enter(&mut key, ffi::CBS_ASN1_SEQUENCE)?;
    let seed = octets(&enter(&mut both, ffi::CBS_ASN1_OCTETSTRING)?);
    let expanded = octets(&enter(&mut both, ffi::CBS_ASN1_OCTETSTRING)?);
    if algorithm.len + info.len + key.len + both.len + reader.len != 0 {
        return Err(malformed());
    }
    let made = Pkey::ml_kem_from_seed(set, &seed)?;
    if subtle::ConstantTimeEq::ct_eq(made.expanded()?.expose(), &expanded[..]).into() {
        return Ok(made);
    }
    Err(SysError("seed and expanded key do not belong together"))
}

/// The contents of the next element, which must have this tag.
fn enter(reader: &mut ffi::CBS, tag: i32) -> SysResult<ffi::CBS> {
    let mut inner = cbs(&[]);
    let tag = u32::try_from(tag).map_err(|_| SysError("malformed"))?;
    // SAFETY: both readers are valid; the inner one looks into the same slice.
    check(unsafe { ffi::CBS_get_asn1(reader, &mut inner, tag) })?;
    Ok(inner)
}

fn octets(reader: &ffi::CBS) -> Zeroizing<Vec<u8>> {
    if reader.len == 0 {
        return Zeroizing::default();
    }
    // SAFETY: a reader with octets left points to that many.
    Zeroizing::new(unsafe { std::slice::from_raw_parts(reader.data, reader.len) }.to_vec())
}

/// PrivateKeyInfo of RFC 9881 §6 and RFC 9935 §6: the choice `seed` has the tag 0x80, `expandedKey` is an OCTET STRING.
fn private_key_info(oid: [u8; 9], tag: u8, key: &[u8]) -> Vec<u8> {
    let algorithm = element(0x30, &element(0x06, &oid));
    let key = Zeroizing::new(element(0x04, &Zeroizing::new(element(tag, key))));
    let body = Zeroizing::new([&[0x02, 1, 0][..], &algorithm, &key].concat());
    element(0x30, &body)
}

/// A DER element of less than 64 KiB.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let mut out = Vec::with_capacity(len + 4);
    match len {
        0..0x80 => out.extend([tag, len as u8]),
        0x80..0x100 => out.extend([tag, 0x81, len as u8]),
        _ => out.extend([tag, 0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(contents);
    out
}

/// The longest expanded private key, of ML-DSA-87 (FIPS 204 table 2).
const EXPANDED_MAX: usize = 4896;

/// OID 2.16.840.1.101.3.4.3.17 to 19 (RFC 9881 §2).
fn dsa_oid(set: MlDsa) -> [u8; 9] {
    let last = match set {
        MlDsa::MlDsa44 => 17,
        MlDsa::MlDsa65 => 18,
        MlDsa::MlDsa87 => 19,
    };
    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, last]
}

/// OID 2.16.840.1.101.3.4.4.1 to 3 (RFC 9935 §3).
fn kem_oid(set: MlKem) -> [u8; 9] {
    let last = match set {
        MlKem::MlKem512 => 1,
        MlKem::MlKem768 => 2,
        MlKem::MlKem1024 => 3,
    };
    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, last]
}

fn dsa_nid(set: MlDsa) -> i32 {
    match set {
        MlDsa::MlDsa44 => ffi::NID_MLDSA44,
        MlDsa::MlDsa65 => ffi::NID_MLDSA65,
        MlDsa::MlDsa87 => ffi::NID_MLDSA87,
    }
}

fn kem_nid(set: MlKem) -> i32 {
    match set {
        MlKem::MlKem512 => ffi::NID_MLKEM512,
        MlKem::MlKem768 => ffi::NID_MLKEM768,
        MlKem::MlKem1024 => ffi::NID_MLKEM1024,
    }
}
