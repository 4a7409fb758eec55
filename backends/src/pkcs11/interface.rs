//! The function lists of a module: version 2.40, which every module has, and 3.0 and 3.2, which some have beside it.

use super::ckr;
use crate::error::{Class, KsError, Result};
use cryptoki_sys as ck;
use std::ffi::c_void;
use std::path::Path;
use std::ptr;

/// A loaded module. It stays loaded for the life of the process: modules start threads and install handlers that
/// outlive unloading.
#[derive(Clone, Copy)]
pub(super) struct Functions {
    list: *mut ck::CK_FUNCTION_LIST,
    v3_0: *mut ck::CK_FUNCTION_LIST_3_0,
    v3_2: *mut ck::CK_FUNCTION_LIST_3_2,
}

impl Functions {
    /// Loads a module from a file.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let broken =
            |text: String| KsError::new(Class::RetryOther, format!("PKCS#11 module {}: {text}", path.display()));
        // SAFETY: loading runs the module's initialisers; the operator's configuration vouches for the file.
        let library = unsafe { ck::Pkcs11::new(path) }.map_err(|e| broken(e.to_string()))?;
        let function = library.C_GetFunctionList.as_ref().map_err(|e| broken(e.to_string()))?;
        let mut list = ptr::null_mut();
        // SAFETY: the function fills in a pointer to its static table.
        match unsafe { function(&mut list) } {
            ck::CKR_OK if !list.is_null() => {}
            code => return Err(ckr::error("C_GetFunctionList", code)),
        }
        let interface = |minor| library.C_GetInterface.as_ref().map_or(ptr::null_mut(), |get| interface(*get, minor));
        let v3_2 = interface(2).cast::<ck::CK_FUNCTION_LIST_3_2>();
        // Version 3.2 begins as 3.0 does, so what has the one need not offer the other.
        let v3_0 = if v3_2.is_null() { interface(0).cast() } else { v3_2.cast() };
        std::mem::forget(library);
        Ok(Self { list, v3_0, v3_2 })
    }

    pub(super) fn list(&self) -> &ck::CK_FUNCTION_LIST {
        // SAFETY: not null by `load`, static by the standard (v3.1 §5.4: "the function list [...] is owned by
        // Cryptoki").
        unsafe { &*self.list }
    }

    /// The functions of version 3.0, in modules that have them.
    pub(super) fn v3_0(&self) -> Option<&ck::CK_FUNCTION_LIST_3_0> {
        // SAFETY: null, or static as above.
        unsafe { self.v3_0.as_ref() }
    }

    /// The functions of version 3.2, in modules that have them.
    pub(super) fn v3_2(&self) -> Option<&ck::CK_FUNCTION_LIST_3_2> {
        // SAFETY: null, or static as above.
        unsafe { self.v3_2.as_ref() }
    }
}

type GetInterface =
    unsafe extern "C" fn(*mut ck::CK_UTF8CHAR, *mut ck::CK_VERSION, *mut *mut ck::CK_INTERFACE, ck::CK_FLAGS) -> ck::CK_RV;

/// The standard interface of version 3.`minor`; null where the module has none.
fn interface(get: GetInterface, minor: u8) -> *mut c_void {
    let mut name = *b"PKCS 11\0";
    let mut version = ck::CK_VERSION { major: 3, minor };
    let mut interface = ptr::null_mut();
    // SAFETY: name (ending in zero) and version are valid for the call, which fills in a pointer to a static table.
    if unsafe { get(name.as_mut_ptr(), &mut version, &mut interface, 0) } != ck::CKR_OK || interface.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the module said yes: the interface and its list are its own static tables, and each list begins with its version.
    unsafe {
        let list = (*interface).pFunctionList;
        let says = list.cast::<ck::CK_VERSION>().as_ref();
        // A module that hands out another version than it was asked for has a shorter list, perhaps.
        if says.is_some_and(|says| (says.major, says.minor) == (3, minor)) { list } else { ptr::null_mut() }
    }
}
