//! Calls into a PKCS#11 module, and nothing else: pointers and lengths in, `Result` out.
//!
//! Together with `interface.rs`, `raw3.rs`, `template.rs` and `mechanism.rs` this is all of the crate that speaks C to a
//! module. Sessions close on drop. One thread of a worker process makes all of them.

use super::ckr;
pub(super) use super::interface::Functions;
use super::mechanism::Mechanism;
use super::template::Template;
use crate::error::{KsError, Result};
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::ptr;
use zeroize::Zeroize;

/// Calls a function of one of the module's lists.
macro_rules! call_in {
    ($list:expr, $name:ident $(, $argument:expr)*) => {
        match $list.and_then(|list| list.$name) {
            Some(function) => match function($($argument),*) {
                ck::CKR_OK => Ok(()),
                code => Err(ckr::error(stringify!($name), code)),
            },
            None => Err(KsError::unsupported(concat!("the module has no ", stringify!($name)))),
        }
    };
}
pub(super) use call_in;

/// Calls a function of the list that every module has.
macro_rules! call {
    ($functions:expr, $name:ident $(, $argument:expr)*) => {
        call_in!(Some($functions.list()), $name $(, $argument)*)
    };
}

impl Functions {
    /// C_Initialize with the operating system's locks.
    pub(super) fn initialize(&self) -> Result<()> {
        let mut arguments = ck::CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: ck::CKF_OS_LOCKING_OK,
            pReserved: ptr::null_mut(),
        };
        // SAFETY: the structure is valid for the call.
        unsafe { call!(self, C_Initialize, (&raw mut arguments).cast()) }
    }

    /// C_Finalize. The caller guarantees that no other thread is in the module.
    pub(super) fn finalize(&self) -> Result<()> {
        // SAFETY: the argument is reserved and null.
        unsafe { call!(self, C_Finalize, ptr::null_mut()) }
    }

    /// All slots, or those with a token in them.
    pub(super) fn slots(&self, with_token: bool) -> Result<Vec<ck::CK_SLOT_ID>> {
        let with_token = if with_token { ck::CK_TRUE } else { ck::CK_FALSE };
        let mut count = 0;
        // SAFETY: a null list asks for the count.
        unsafe { call!(self, C_GetSlotList, with_token, ptr::null_mut(), &mut count)? };
        let mut slots = vec![0; octets(count)];
        // SAFETY: the list has `count` entries.
        unsafe { call!(self, C_GetSlotList, with_token, slots.as_mut_ptr(), &mut count)? };
        slots.truncate(octets(count));
        Ok(slots)
    }

    /// The fields of C_GetTokenInfo that matter here; odd values elsewhere in the structure do no harm.
    pub(super) fn token_info(&self, slot: ck::CK_SLOT_ID) -> Result<TokenInfo> {
        // SAFETY: a structure of plain octets and numbers may be zero.
        let mut info: ck::CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is valid for the call.
        unsafe { call!(self, C_GetTokenInfo, slot, &mut info)? };
        Ok(TokenInfo {
            label: text(&info.label),
            manufacturer: text(&info.manufacturerID),
            model: text(&info.model),
            serial: text(&info.serialNumber),
            flags: info.flags,
            firmware: (info.firmwareVersion.major, info.firmwareVersion.minor),
        })
    }

    /// The token's mechanisms.
    pub(super) fn mechanisms(&self, slot: ck::CK_SLOT_ID) -> Result<Vec<ck::CK_MECHANISM_TYPE>> {
        let mut count = 0;
        // SAFETY: a null list asks for the count.
        unsafe { call!(self, C_GetMechanismList, slot, ptr::null_mut(), &mut count)? };
        let mut types = vec![0; octets(count)];
        // SAFETY: the list has `count` entries.
        unsafe { call!(self, C_GetMechanismList, slot, types.as_mut_ptr(), &mut count)? };
        types.truncate(octets(count));
        Ok(types)
    }

    /// What a mechanism may be used for (CKF_SIGN, CKF_ENCRYPT...).
    pub(super) fn mechanism_flags(
        &self,
        slot: ck::CK_SLOT_ID,
        mechanism: ck::CK_MECHANISM_TYPE,
    ) -> Result<ck::CK_FLAGS> {
        let mut info = ck::CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
        // SAFETY: the structure is valid for the call.
        unsafe { call!(self, C_GetMechanismInfo, slot, mechanism, &mut info)? };
        Ok(info.flags)
    }
}

/// What a token says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TokenInfo {
    pub(super) label: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) flags: ck::CK_FLAGS,
    pub(super) firmware: (u8, u8),
}

impl TokenInfo {
    /// The device in one line, for status and log.
    pub(super) fn describe(&self) -> String {
        let Self { manufacturer, model, serial, label, firmware: (major, minor), .. } = self;
        format!("{manufacturer} {model} {serial}, token {label:?}, firmware {major}.{minor}")
    }
}

/// An open read-write session.
pub(super) struct Session {
    pub(super) functions: Functions,
    pub(super) handle: ck::CK_SESSION_HANDLE,
    /// Keys made now may leave the token wrapped; `true`: under trusted wrapping keys alone.
    leaving: Cell<Option<bool>>,
}

static TRUE: ck::CK_BBOOL = ck::CK_TRUE;

impl Session {
    pub(super) fn open(functions: Functions, slot: ck::CK_SLOT_ID) -> Result<Self> {
        let mut handle = 0;
        let flags = ck::CKF_SERIAL_SESSION | ck::CKF_RW_SESSION;
        // SAFETY: no callback; the handle is filled in on success.
        unsafe { call!(functions, C_OpenSession, slot, flags, ptr::null_mut(), None, &mut handle)? };
        Ok(Self { functions, handle, leaving: Cell::new(None) })
    }

    /// Runs something whose new keys may leave the token wrapped.
    pub(super) fn with_leaving<T>(&self, trusted: bool, run: impl FnOnce() -> T) -> T {
        self.leaving.set(Some(trusted));
        let result = run();
        self.leaving.set(None);
        result
    }

    /// Whether keys made now may leave the token.
    pub(super) fn may_leave(&self) -> bool {
        self.leaving.get().is_some()
    }

    /// The C view of the template of a new key.
    fn of_new(&self, template: &Template<'_>) -> Vec<ck::CK_ATTRIBUTE> {
        let mut attributes = template.attributes();
        let yes = |kind| ck::CK_ATTRIBUTE { type_: kind, pValue: (&raw const TRUE).cast_mut().cast(), ulValueLen: 1 };
        if let (Some(trusted), Some(extractable)) =
            (self.leaving.get(), attributes.iter_mut().find(|attribute| attribute.type_ == ck::CKA_EXTRACTABLE))
        {
            *extractable = yes(ck::CKA_EXTRACTABLE);
            attributes.extend(trusted.then(|| yes(ck::CKA_WRAP_WITH_TRUSTED)));
        }
        attributes
    }

    /// Logs the user in. `None` is a protected authentication path (a PIN pad).
    pub(super) fn login(&self, pin: Option<&SecretBytes>) -> Result<()> {
        // The module takes a mutable pointer; it gets a copy, wiped after the call.
        let mut copy = pin.map(|pin| pin.expose().to_vec()).unwrap_or_default();
        let pointer = if pin.is_some() { copy.as_mut_ptr() } else { ptr::null_mut() };
        // SAFETY: pointer and length describe `copy`, or are null and 0.
        let result = unsafe { call!(self.functions, C_Login, self.handle, ck::CKU_USER, pointer, ulong(copy.len())) };
        copy.zeroize();
        result
    }

    pub(super) fn info(&self) -> Result<ck::CK_SESSION_INFO> {
        let mut info = ck::CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 };
        // SAFETY: the structure is valid for the call.
        unsafe { call!(self.functions, C_GetSessionInfo, self.handle, &mut info)? };
        Ok(info)
    }

    /// Handles of the objects that match; stops at `limit`.
    pub(super) fn find(&self, template: &Template<'_>, limit: usize) -> Result<Vec<ck::CK_OBJECT_HANDLE>> {
        let mut attributes = template.attributes();
        // SAFETY: the attributes point into `template`, alive during the call.
        unsafe {
            call!(self.functions, C_FindObjectsInit, self.handle, attributes.as_mut_ptr(), ulong(attributes.len()))?
        };
        let found = self.find_rest(limit);
        // SAFETY: ends the search whatever came of it.
        let ended = unsafe { call!(self.functions, C_FindObjectsFinal, self.handle) };
        let found = found?;
        ended?;
        Ok(found)
    }

    fn find_rest(&self, limit: usize) -> Result<Vec<ck::CK_OBJECT_HANDLE>> {
        let mut found = Vec::new();
        let mut page = [0; 256];
        while found.len() < limit {
            let mut count = 0;
            let room = (limit - found.len()).min(page.len());
            // SAFETY: the page has at least `room` entries.
            unsafe { call!(self.functions, C_FindObjects, self.handle, page.as_mut_ptr(), ulong(room), &mut count)? };
            if count == 0 {
                break;
            }
            found.extend_from_slice(&page[..octets(count).min(room)]);
        }
        Ok(found)
    }

    /// One attribute's value; `None` where the object has none or does not show it.
    pub(super) fn attribute(
        &self,
        object: ck::CK_OBJECT_HANDLE,
        kind: ck::CK_ATTRIBUTE_TYPE,
    ) -> Result<Option<Vec<u8>>> {
        // The longest public key, of ML-DSA-87, has 2592 octets.
        let mut value = vec![0u8; ATTRIBUTE_MAX];
        let mut attribute =
            ck::CK_ATTRIBUTE { type_: kind, pValue: value.as_mut_ptr().cast(), ulValueLen: ulong(value.len()) };
        // SAFETY: pointer and length describe `value`.
        let read = unsafe { call!(self.functions, C_GetAttributeValue, self.handle, object, &mut attribute, 1) };
        match read {
            Ok(()) if octets(attribute.ulValueLen) <= value.len() => {
                value.truncate(octets(attribute.ulValueLen));
                Ok(Some(value))
            }
            Ok(()) => Ok(None),
            Err(e) if ckr::is(&e, ck::CKR_ATTRIBUTE_TYPE_INVALID) || ckr::is(&e, ck::CKR_ATTRIBUTE_SENSITIVE) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    pub(super) fn create(&self, template: &Template<'_>) -> Result<ck::CK_OBJECT_HANDLE> {
        let mut attributes = self.of_new(template);
        let mut handle = 0;
        // SAFETY: the attributes point into `template`, alive during the call.
        unsafe {
            call!(
                self.functions,
                C_CreateObject,
                self.handle,
                attributes.as_mut_ptr(),
                ulong(attributes.len()),
                &mut handle
            )?
        };
        Ok(handle)
    }

    pub(super) fn destroy(&self, object: ck::CK_OBJECT_HANDLE) -> Result<()> {
        // SAFETY: plain values.
        unsafe { call!(self.functions, C_DestroyObject, self.handle, object) }
    }

    pub(super) fn generate_key(
        &self,
        mechanism: &Mechanism<'_>,
        template: &Template<'_>,
    ) -> Result<ck::CK_OBJECT_HANDLE> {
        let mut attributes = self.of_new(template);
        let mut handle = 0;
        mechanism.with(|mechanism| {
            // SAFETY: mechanism and attributes are alive during the call.
            unsafe {
                call!(
                    self.functions,
                    C_GenerateKey,
                    self.handle,
                    mechanism,
                    attributes.as_mut_ptr(),
                    ulong(attributes.len()),
                    &mut handle
                )
            }
        })?;
        Ok(handle)
    }

    /// The handles of the public and the private half.
    pub(super) fn generate_key_pair(
        &self,
        mechanism: &Mechanism<'_>,
        public: &Template<'_>,
        private: &Template<'_>,
    ) -> Result<(ck::CK_OBJECT_HANDLE, ck::CK_OBJECT_HANDLE)> {
        let (mut public, mut private) = (public.attributes(), self.of_new(private));
        let mut handles = (0, 0);
        mechanism.with(|mechanism| {
            // SAFETY: mechanism and attributes are alive during the call.
            unsafe {
                call!(
                    self.functions,
                    C_GenerateKeyPair,
                    self.handle,
                    mechanism,
                    public.as_mut_ptr(),
                    ulong(public.len()),
                    private.as_mut_ptr(),
                    ulong(private.len()),
                    &mut handles.0,
                    &mut handles.1
                )
            }
        })?;
        Ok(handles)
    }

    /// C_WrapKey into a buffer that is long enough.
    pub(super) fn wrap(
        &self,
        mechanism: &Mechanism<'_>,
        under: ck::CK_OBJECT_HANDLE,
        key: ck::CK_OBJECT_HANDLE,
    ) -> Result<Vec<u8>> {
        let mut out = vec![0u8; WRAPPED_MAX];
        let mut len = ulong(out.len());
        mechanism.with(|mechanism| {
            // SAFETY: the mechanism is alive during the call; the module writes at most `len` octets.
            unsafe { call!(self.functions, C_WrapKey, self.handle, mechanism, under, key, out.as_mut_ptr(), &mut len) }
        })?;
        out.truncate(octets(len));
        Ok(out)
    }

    /// C_UnwrapKey: a new object of these attributes.
    pub(super) fn unwrap(
        &self,
        mechanism: &Mechanism<'_>,
        under: ck::CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &Template<'_>,
    ) -> Result<ck::CK_OBJECT_HANDLE> {
        let mut attributes = template.attributes();
        let mut handle = 0;
        mechanism.with(|mechanism| {
            // SAFETY: mechanism and attributes are alive during the call; the module reads `wrapped` (the pointer is
            // mutable in the C declaration only).
            unsafe {
                call!(
                    self.functions,
                    C_UnwrapKey,
                    self.handle,
                    mechanism,
                    under,
                    wrapped.as_ptr().cast_mut(),
                    ulong(wrapped.len()),
                    attributes.as_mut_ptr(),
                    ulong(attributes.len()),
                    &mut handle
                )
            }
        })?;
        Ok(handle)
    }

    pub(super) fn random(&self, out: &mut [u8]) -> Result<()> {
        // SAFETY: pointer and length describe `out`.
        unsafe { call!(self.functions, C_GenerateRandom, self.handle, out.as_mut_ptr(), ulong(out.len())) }
    }

    /// C_SignInit and C_Sign into a buffer that is long enough: no call to ask for the length.
    pub(super) fn sign(&self, mechanism: &Mechanism<'_>, key: ck::CK_OBJECT_HANDLE, data: &[u8]) -> Result<Vec<u8>> {
        // SAFETY: the mechanism is alive during the call.
        mechanism.with(|mechanism| unsafe { call!(self.functions, C_SignInit, self.handle, mechanism, key) })?;
        let mut out = vec![0u8; SIGNATURE_MAX];
        let mut len = ulong(out.len());
        let data_pointer = data.as_ptr().cast_mut();
        // SAFETY: the module reads `data` (the pointer is mutable in the C declaration only) and writes at most `len`
        // octets.
        unsafe {
            call!(self.functions, C_Sign, self.handle, data_pointer, ulong(data.len()), out.as_mut_ptr(), &mut len)?
        };
        out.truncate(octets(len));
        Ok(out)
    }

    pub(super) fn encrypt(&self, mechanism: &Mechanism<'_>, key: ck::CK_OBJECT_HANDLE, data: &[u8]) -> Result<Vec<u8>> {
        // The parameters hold the caller's IV, which C_Encrypt still reads: both calls run inside `with`.
        mechanism.with(|mechanism| {
            // SAFETY: the mechanism is alive during both calls.
            unsafe { call!(self.functions, C_EncryptInit, self.handle, mechanism, key)? };
            let mut out = vec![0u8; data.len() + EXPANSION_MAX];
            let mut len = ulong(out.len());
            let data_pointer = data.as_ptr().cast_mut();
            // SAFETY: as in `sign`.
            unsafe {
                call!(
                    self.functions,
                    C_Encrypt,
                    self.handle,
                    data_pointer,
                    ulong(data.len()),
                    out.as_mut_ptr(),
                    &mut len
                )?
            };
            out.truncate(octets(len));
            Ok(out)
        })
    }

    pub(super) fn decrypt(
        &self,
        mechanism: &Mechanism<'_>,
        key: ck::CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Result<SecretBytes> {
        mechanism.with(|mechanism| {
            // SAFETY: the mechanism is alive during both calls.
            unsafe { call!(self.functions, C_DecryptInit, self.handle, mechanism, key)? };
            let mut out = zeroize::Zeroizing::new(vec![0u8; data.len() + EXPANSION_MAX]);
            let mut len = ulong(out.len());
            let data_pointer = data.as_ptr().cast_mut();
            // SAFETY: as in `sign`.
            unsafe {
                call!(
                    self.functions,
                    C_Decrypt,
                    self.handle,
                    data_pointer,
                    ulong(data.len()),
                    out.as_mut_ptr(),
                    &mut len
                )?
            };
            let mut plain = SecretBytes::new(std::mem::take(&mut *out));
            plain.truncate(octets(len));
            Ok(plain)
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A session that is gone already cannot be closed better.
        // SAFETY: plain value.
        let _ = unsafe { call!(self.functions, C_CloseSession, self.handle) };
    }
}

/// Longest attribute that is read.
const ATTRIBUTE_MAX: usize = 4096;
/// Longest signature: ML-DSA-87 has 4627 octets (FIPS 204 table 2), RSA 8192 has 1024.
const SIGNATURE_MAX: usize = 4627;
/// Octets of a wrapped key: RSA-4096 with its eight numbers has 2,400, the largest ML-DSA key 5,000.
const WRAPPED_MAX: usize = 16 << 10;
/// Most that one cipher call adds to its input: the modulus of RSA 8192 for a short message.
const EXPANSION_MAX: usize = 1024;

pub(super) fn ulong(len: usize) -> ck::CK_ULONG {
    len as ck::CK_ULONG
}

pub(super) fn octets(len: ck::CK_ULONG) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Blank-padded text of an information structure.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).trim_end_matches([' ', '\0']).to_owned()
}
