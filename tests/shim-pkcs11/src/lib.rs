//! A PKCS#11 module for tests: it forwards every function of the v2.40 list to a real module, and misbehaves on demand.
//!
//! The real module is named by `KEYGATE_SHIM_MODULE`, what to do by the file that `KEYGATE_SHIM_CONTROL` names (see
//! `control.rs`): return a code, be slow, hang, crash, sign wrongly, lie about the token. Without rules it is the real
//! module. It lives in worker processes, so what it counts and logs is in files that they share.

mod control;

use control::{Act, When};
use cryptoki_sys::*;
use std::ffi::c_void;
use std::sync::OnceLock;

/// The real module's functions.
struct Real(*mut CK_FUNCTION_LIST);

// SAFETY: a static table that is only read.
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

fn real() -> Option<&'static CK_FUNCTION_LIST> {
    static REAL: OnceLock<Option<Real>> = OnceLock::new();
    let load = || {
        let path = std::env::var_os("KEYGATE_SHIM_MODULE")?;
        // SAFETY: the tests name a module that may be loaded.
        let library = unsafe { Pkcs11::new(path) }.ok()?;
        let function = *library.C_GetFunctionList.as_ref().ok()?;
        let mut list = std::ptr::null_mut();
        // SAFETY: the function fills in a pointer to its table.
        let code = unsafe { function(&mut list) };
        std::mem::forget(library);
        (code == CKR_OK && !list.is_null()).then_some(Real(list))
    };
    // SAFETY: checked not to be null; the table is as static as the library, which is never unloaded.
    REAL.get_or_init(load).as_ref().map(|real| unsafe { &*real.0 })
}

/// What a rule says before the call; a code is the answer instead of the call.
fn before(function: &str) -> Option<CK_RV> {
    control::fired(function, When::Before).into_iter().find_map(|act| match act {
        Act::Return(code) => Some(code),
        Act::Delay(time) => {
            std::thread::sleep(time);
            None
        }
        Act::Hang => loop {
            std::thread::park();
        },
        Act::Crash => crash(),
        Act::Claim(_) | Act::Flags(_) | Act::Flip | Act::Hide(_) => None,
    })
}

/// What a rule says after the call.
fn after(function: &str, code: CK_RV) -> CK_RV {
    let acts = control::fired(function, When::After);
    let code = acts.into_iter().fold(code, |code, act| match act {
        Act::Return(other) => other,
        Act::Crash => crash(),
        _ => code,
    });
    control::log_call(function, code);
    code
}

fn crash() -> ! {
    // SAFETY: ends the process, which is the point; Rust's own handler would make another signal of it.
    unsafe {
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::raise(libc::SIGSEGV);
    }
    std::process::abort();
}

/// Functions that forward their arguments as they are.
macro_rules! forward {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        /// The functions with the rules around them.
        #[expect(non_snake_case, reason = "the standard's names and signatures")]
        mod with_rules {
            use super::*;

            $(
                pub(super) unsafe extern "C" fn $name($($argument: $kind),*) -> CK_RV {
                    if let Some(code) = before(stringify!($name)) {
                        control::log_call(stringify!($name), code);
                        return code;
                    }
                    let Some(function) = real().and_then(|real| real.$name) else { return CKR_FUNCTION_NOT_SUPPORTED };
                    // SAFETY: the caller's arguments, passed on untouched.
                    let code = unsafe { function($($argument),*) };
                    after(stringify!($name), code)
                }
            )*
        }

        const FORWARDED: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            C_GetFunctionList: Some(C_GetFunctionList),
            $($name: Some(with_rules::$name),)*
        };
    };
}

forward! {
    C_Initialize(a: *mut c_void);
    C_Finalize(a: *mut c_void);
    C_GetInfo(a: *mut CK_INFO);
    C_GetSlotList(a: CK_BBOOL, b: *mut CK_SLOT_ID, c: *mut CK_ULONG);
    C_GetSlotInfo(a: CK_SLOT_ID, b: *mut CK_SLOT_INFO);
    C_GetTokenInfo(a: CK_SLOT_ID, b: *mut CK_TOKEN_INFO);
    C_GetMechanismList(a: CK_SLOT_ID, b: *mut CK_MECHANISM_TYPE, c: *mut CK_ULONG);
    C_GetMechanismInfo(a: CK_SLOT_ID, b: CK_MECHANISM_TYPE, c: *mut CK_MECHANISM_INFO);
    C_InitToken(a: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR);
    C_InitPIN(a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG);
    C_SetPIN(a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR, e: CK_ULONG);
    C_OpenSession(a: CK_SLOT_ID, b: CK_FLAGS, c: *mut c_void, d: CK_NOTIFY, e: *mut CK_SESSION_HANDLE);
    C_CloseSession(a: CK_SESSION_HANDLE);
    C_CloseAllSessions(a: CK_SLOT_ID);
    C_GetSessionInfo(a: CK_SESSION_HANDLE, b: *mut CK_SESSION_INFO);
    C_GetOperationState(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SetOperationState(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: CK_OBJECT_HANDLE, e: CK_OBJECT_HANDLE);
    C_Login(a: CK_SESSION_HANDLE, b: CK_USER_TYPE, c: *mut CK_UTF8CHAR, d: CK_ULONG);
    C_Logout(a: CK_SESSION_HANDLE);
    C_CreateObject(a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE);
    C_CopyObject(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE);
    C_DestroyObject(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE);
    C_GetObjectSize(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ULONG);
    C_GetAttributeValue(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG);
    C_SetAttributeValue(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG);
    C_FindObjectsInit(a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG);
    C_FindObjects(a: CK_SESSION_HANDLE, b: *mut CK_OBJECT_HANDLE, c: CK_ULONG, d: *mut CK_ULONG);
    C_FindObjectsFinal(a: CK_SESSION_HANDLE);
    C_EncryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_Encrypt(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_EncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_EncryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_DecryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_Decrypt(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DecryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DecryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_DigestInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM);
    C_Digest(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DigestUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_DigestKey(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE);
    C_DigestFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SignInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_Sign(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_SignUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_SignFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SignRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_SignRecover(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_VerifyInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_Verify(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG);
    C_VerifyUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_VerifyFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_VerifyRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_VerifyRecover(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DigestEncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DecryptDigestUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_SignEncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DecryptVerifyUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_GenerateKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE);
    C_GenerateKeyPair(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_ATTRIBUTE, f: CK_ULONG, g: *mut CK_OBJECT_HANDLE, h: *mut CK_OBJECT_HANDLE);
    C_WrapKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE, e: *mut CK_BYTE, f: *mut CK_ULONG);
    C_UnwrapKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_BYTE, e: CK_ULONG, f: *mut CK_ATTRIBUTE, g: CK_ULONG, h: *mut CK_OBJECT_HANDLE);
    C_DeriveKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_ATTRIBUTE, e: CK_ULONG, f: *mut CK_OBJECT_HANDLE);
    C_SeedRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_GenerateRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_GetFunctionStatus(a: CK_SESSION_HANDLE);
    C_CancelFunction(a: CK_SESSION_HANDLE);
    C_WaitForSlotEvent(a: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void);
}

struct Table(CK_FUNCTION_LIST);

// SAFETY: a table of functions, only read.
unsafe impl Sync for Table {}

static TABLE: Table = Table(CK_FUNCTION_LIST {
    C_GetAttributeValue: Some(lies::attribute_value),
    C_GetMechanismInfo: Some(lies::mechanism_info),
    C_GetMechanismList: Some(lies::mechanism_list),
    C_GetTokenInfo: Some(lies::token_info),
    C_Sign: Some(lies::sign),
    ..FORWARDED
});

/// The one symbol that users of a PKCS#11 module look for.
///
/// # Safety
/// `list` must be null or point to a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if let Some(code) = before("C_GetFunctionList") {
        return code;
    }
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, and the caller's to be written; users read the table only.
    unsafe { *list = (&raw const TABLE.0).cast_mut() };
    CKR_OK
}

/// The functions that may lie about what the real module said.
mod lies {
    use super::*;

    pub(super) unsafe extern "C" fn token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
        // SAFETY: the caller's arguments.
        let code = unsafe { with_rules::C_GetTokenInfo(slot, info) };
        for act in control::fired("C_GetTokenInfo", When::Lie) {
            if let (Act::Flags(flags), CKR_OK) = (act, code) {
                // SAFETY: the call succeeded, so it points to a structure.
                unsafe { (*info).flags |= flags };
            }
        }
        code
    }

    pub(super) unsafe extern "C" fn mechanism_list(
        slot: CK_SLOT_ID,
        list: *mut CK_MECHANISM_TYPE,
        count: *mut CK_ULONG,
    ) -> CK_RV {
        // SAFETY: the caller's arguments.
        let code = unsafe { with_rules::C_GetMechanismList(slot, list, count) };
        if code != CKR_OK || list.is_null() {
            return code;
        }
        for act in control::fired("C_GetMechanismList", When::Lie) {
            // SAFETY: the call succeeded, so the list has `count` entries.
            let entries = unsafe { std::slice::from_raw_parts_mut(list, *count as usize) };
            match act {
                // In place of the first, for the list is full.
                Act::Claim(kind) => entries[0] = kind,
                Act::Hide(kind) => entries.iter_mut().filter(|entry| **entry == kind).for_each(|entry| *entry = 0),
                _ => {}
            }
        }
        code
    }

    pub(super) unsafe extern "C" fn mechanism_info(
        slot: CK_SLOT_ID,
        kind: CK_MECHANISM_TYPE,
        info: *mut CK_MECHANISM_INFO,
    ) -> CK_RV {
        for act in control::fired("C_GetMechanismInfo", When::Lie) {
            if matches!(act, Act::Claim(claimed) if claimed == kind) {
                let flags = CKF_SIGN | CKF_ENCRYPT | CKF_DECRYPT | CKF_GENERATE | CKF_GENERATE_KEY_PAIR;
                // SAFETY: the caller's structure.
                unsafe { *info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags } };
                return CKR_OK;
            }
        }
        // SAFETY: the caller's arguments.
        unsafe { with_rules::C_GetMechanismInfo(slot, kind, info) }
    }

    pub(super) unsafe extern "C" fn attribute_value(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) -> CK_RV {
        // SAFETY: the caller's arguments.
        let code = unsafe { with_rules::C_GetAttributeValue(session, object, template, count) };
        if code != CKR_OK || template.is_null() {
            return code;
        }
        // SAFETY: the call succeeded, so the template has `count` entries.
        let attributes = unsafe { std::slice::from_raw_parts_mut(template, count as usize) };
        for attribute in attributes.iter().filter(|attribute| !attribute.pValue.is_null() && attribute.ulValueLen > 0) {
            for act in control::fired(&format!("C_GetAttributeValue:{:#x}", attribute.type_), When::Lie) {
                if matches!(act, Act::Flip) {
                    // SAFETY: the call filled in so many octets.
                    unsafe { *attribute.pValue.cast::<CK_BYTE>().add(attribute.ulValueLen as usize - 1) ^= 1 };
                }
            }
        }
        code
    }

    pub(super) unsafe extern "C" fn sign(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        len: CK_ULONG,
        signature: *mut CK_BYTE,
        signature_len: *mut CK_ULONG,
    ) -> CK_RV {
        // SAFETY: the caller's arguments.
        let code = unsafe { with_rules::C_Sign(session, data, len, signature, signature_len) };
        for act in control::fired("C_Sign", When::Lie) {
            if matches!((act, code, signature.is_null()), (Act::Flip, CKR_OK, false)) {
                // SAFETY: the call succeeded, so there is a signature of at least one octet.
                unsafe { *signature.add(*signature_len as usize - 1) ^= 1 };
            }
        }
        code
    }
}
