//! Calls of PKCS#11 3.x: AES-GCM over a sequence of messages (3.0), key encapsulation (3.2).
//!
//! A message operation is begun once for a key and serves until its session is closed; what `prepared.rs` keeps.

use super::ckr;
use super::mechanism::Mechanism;
use super::raw::{Session, call_in, octets, ulong};
use super::template::Template;
use crate::error::{KsError, Result};
use crate::lattice::SHARED_SECRET_OCTETS;
use crate::secret::SecretBytes;
use cryptoki_sys as ck;

/// One message of AES-GCM.
pub(super) struct GcmMessage<'a> {
    pub(super) iv: &'a [u8],
    pub(super) aad: &'a [u8],
    pub(super) tag_len: usize,
}

impl Session {
    /// C_MessageEncryptInit: the session now encrypts messages under this key.
    pub(super) fn begin_messages_encrypt(&self, key: ck::CK_OBJECT_HANDLE) -> Result<()> {
        Mechanism::Plain(ck::CKM_AES_GCM).with(|mechanism| {
            // SAFETY: the mechanism is alive during the call.
            unsafe { call_in!(self.functions.v3_0(), C_MessageEncryptInit, self.handle, mechanism, key) }
        })
    }

    /// C_MessageDecryptInit: the session now decrypts messages under this key.
    pub(super) fn begin_messages_decrypt(&self, key: ck::CK_OBJECT_HANDLE) -> Result<()> {
        Mechanism::Plain(ck::CKM_AES_GCM).with(|mechanism| {
            // SAFETY: the mechanism is alive during the call.
            unsafe { call_in!(self.functions.v3_0(), C_MessageDecryptInit, self.handle, mechanism, key) }
        })
    }

    /// C_EncryptMessage. The tag stands behind the cipher text, as in one-shot encryption.
    pub(super) fn encrypt_message(&self, message: &GcmMessage<'_>, plain: &[u8]) -> Result<Vec<u8>> {
        let mut out = vec![0u8; plain.len() + message.tag_len];
        let (cipher, tag) = out.split_at_mut(plain.len());
        let mut len = ulong(cipher.len());
        let mut parameters = message.parameters(tag.as_mut_ptr());
        // SAFETY: all pointers and lengths describe slices alive during the call; the module reads IV, AAD and plain text (their
        // pointers are mutable in the C declaration only, CKG_NO_GENERATE leaves the IV alone), writes the tag to `tag`, which has
        // the length that the parameters say, and at most `len` octets to `cipher`.
        unsafe {
            call_in!(
                self.functions.v3_0(),
                C_EncryptMessage,
                self.handle,
                (&raw mut parameters).cast(),
                ulong(size_of_val(&parameters)),
                message.aad.as_ptr().cast_mut(),
                ulong(message.aad.len()),
                plain.as_ptr().cast_mut(),
                ulong(plain.len()),
                cipher.as_mut_ptr(),
                &mut len
            )?
        };
        if octets(len) != plain.len() {
            return Err(KsError::unsupported("the token's cipher text is not as long as the plain text"));
        }
        Ok(out)
    }

    /// C_DecryptMessage of a cipher text with its tag behind it.
    pub(super) fn decrypt_message(&self, message: &GcmMessage<'_>, sealed: &[u8]) -> Result<SecretBytes> {
        let text = sealed.len().checked_sub(message.tag_len);
        let (cipher, tag) = sealed.split_at(text.ok_or_else(|| KsError::integrity("the text is shorter than its tag"))?);
        // The module takes a mutable pointer; it gets a copy.
        let mut tag = tag.to_vec();
        let mut out = zeroize::Zeroizing::new(vec![0u8; cipher.len()]);
        let mut len = ulong(out.len());
        let mut parameters = message.parameters(tag.as_mut_ptr());
        // SAFETY: as in `encrypt_message`; `tag` has the length that the parameters say.
        unsafe {
            call_in!(
                self.functions.v3_0(),
                C_DecryptMessage,
                self.handle,
                (&raw mut parameters).cast(),
                ulong(size_of_val(&parameters)),
                message.aad.as_ptr().cast_mut(),
                ulong(message.aad.len()),
                cipher.as_ptr().cast_mut(),
                ulong(cipher.len()),
                out.as_mut_ptr(),
                &mut len
            )?
        };
        let mut plain = SecretBytes::new(std::mem::take(&mut *out));
        plain.truncate(octets(len));
        Ok(plain)
    }
}

impl Session {
    /// C_DecapsulateKey: the secret leaves as the value of a session object, which is destroyed at once.
    pub(super) fn decapsulate(&self, key: ck::CK_OBJECT_HANDLE, ciphertext: &[u8]) -> Result<SecretBytes> {
        let template = Template::new()
            .number(ck::CKA_CLASS, ck::CKO_SECRET_KEY)
            .number(ck::CKA_KEY_TYPE, ck::CKK_GENERIC_SECRET)
            .number(ck::CKA_VALUE_LEN, ulong(SHARED_SECRET_OCTETS))
            .flag(ck::CKA_TOKEN, false)
            .flag(ck::CKA_SENSITIVE, false)
            .flag(ck::CKA_EXTRACTABLE, true);
        let mut attributes = template.attributes();
        let mut object = 0;
        Mechanism::Plain(ck::CKM_ML_KEM).with(|mechanism| {
            // SAFETY: mechanism and attributes are alive during the call; the module reads `ciphertext`.
            unsafe {
                call_in!(
                    self.functions.v3_2(),
                    C_DecapsulateKey,
                    self.handle,
                    mechanism,
                    key,
                    attributes.as_mut_ptr(),
                    ulong(attributes.len()),
                    ciphertext.as_ptr().cast_mut(),
                    ulong(ciphertext.len()),
                    &mut object
                )
            }
        })?;
        let secret = self.secret_value(object);
        self.destroy(object)?;
        secret
    }

    /// CKA_VALUE of a shared secret.
    fn secret_value(&self, object: ck::CK_OBJECT_HANDLE) -> Result<SecretBytes> {
        // Longer than the secret may be, to see one that is.
        let mut value = zeroize::Zeroizing::new([0u8; SHARED_SECRET_OCTETS * 2]);
        let mut attribute =
            ck::CK_ATTRIBUTE { type_: ck::CKA_VALUE, pValue: value.as_mut_ptr().cast(), ulValueLen: ulong(value.len()) };
        let functions = Some(self.functions.list());
        // SAFETY: pointer and length describe `value`.
        unsafe { call_in!(functions, C_GetAttributeValue, self.handle, object, &mut attribute, 1)? };
        Ok(SecretBytes::copy_of(&value[..octets(attribute.ulValueLen).min(value.len())]))
    }
}

impl GcmMessage<'_> {
    /// PKCS#11 v3.1 §6.13.2 CK_GCM_MESSAGE_PARAMS: the IV is the caller's (CKG_NO_GENERATE), the tag has a place of its own.
    fn parameters(&self, tag: *mut u8) -> ck::CK_GCM_MESSAGE_PARAMS {
        ck::CK_GCM_MESSAGE_PARAMS {
            pIv: self.iv.as_ptr().cast_mut(),
            ulIvLen: ulong(self.iv.len()),
            ulIvFixedBits: 0,
            ivGenerator: ck::CKG_NO_GENERATE,
            pTag: tag,
            ulTagBits: ulong(self.tag_len * 8),
        }
    }
}
