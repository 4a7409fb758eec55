//! The one table from PKCS#11 return values to what the caller should do.
//!
//! PKCS#11 v3.1 §5.1 Function return values. A value that is not in the table (a vendor's, a later version's) is
//! treated as CKR_GENERAL_ERROR. What the same value means for one function in particular (a failed decryption answered
//! with CKR_GENERAL_ERROR, say) is the business of that function's caller.

use crate::error::{Class, DeviceCode, Fault, KsError};
use cryptoki_sys as ck;

/// An error for a failed call.
pub(super) fn error(function: &'static str, code: ck::CK_RV) -> KsError {
    let (name, class) = look_up(code);
    KsError::device(class, DeviceCode { function, code, name }, "the token refused the call")
}

/// Whether an error is this return value.
pub(super) fn is(error: &KsError, code: ck::CK_RV) -> bool {
    error.device_code().is_some_and(|device| device.code == code)
}

/// The name of a return value.
pub(super) fn name(code: ck::CK_RV) -> &'static str {
    look_up(code).0
}

/// The function of this name, for an error that came from a worker process.
pub(super) fn function(name: &str) -> &'static str {
    FUNCTIONS.iter().find(|function| **function == name).copied().unwrap_or("C_?")
}

/// The functions that `raw.rs` and `raw3.rs` call.
const FUNCTIONS: &[&str] = &[
    "C_CloseSession",
    "C_CreateObject",
    "C_DecapsulateKey",
    "C_Decrypt",
    "C_DecryptInit",
    "C_DecryptMessage",
    "C_DestroyObject",
    "C_EncapsulateKey",
    "C_Encrypt",
    "C_EncryptInit",
    "C_EncryptMessage",
    "C_Finalize",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_FindObjectsInit",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_GenerateRandom",
    "C_GetAttributeValue",
    "C_GetFunctionList",
    "C_GetMechanismInfo",
    "C_GetMechanismList",
    "C_GetSessionInfo",
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_Initialize",
    "C_Login",
    "C_MessageDecryptInit",
    "C_MessageEncryptInit",
    "C_OpenSession",
    "C_Sign",
    "C_SignInit",
    "C_UnwrapKey",
    "C_WrapKey",
];

fn look_up(code: ck::CK_RV) -> (&'static str, Class) {
    TABLE.iter().find(|row| row.0 == code).map_or(("CKR_?", Class::RetrySame), |row| (row.1, row.2))
}

macro_rules! table {
    ($($name:ident => $class:expr,)*) => {
        &[$((ck::$name, stringify!($name), $class)),*]
    };
}

const TABLE: &[(ck::CK_RV, &str, Class)] = table! {
    CKR_CANCEL => Class::RetrySame,
    CKR_HOST_MEMORY => Class::RetryOther,
    CKR_SLOT_ID_INVALID => Class::TokenLost,
    CKR_GENERAL_ERROR => Class::RetrySame,
    CKR_FUNCTION_FAILED => Class::RetrySame,
    CKR_ARGUMENTS_BAD => Class::Unsupported,
    CKR_NO_EVENT => Class::RetrySame,
    CKR_NEED_TO_CREATE_THREADS => Class::Unsupported,
    CKR_CANT_LOCK => Class::Unsupported,
    CKR_ATTRIBUTE_READ_ONLY => Class::Denied,
    CKR_ATTRIBUTE_SENSITIVE => Class::Denied,
    CKR_ATTRIBUTE_TYPE_INVALID => Class::Unsupported,
    CKR_ATTRIBUTE_VALUE_INVALID => Class::Unsupported,
    CKR_ACTION_PROHIBITED => Class::Denied,
    CKR_DATA_INVALID => Class::BadInput(Fault::Data),
    CKR_DATA_LEN_RANGE => Class::BadInput(Fault::Data),
    CKR_DEVICE_ERROR => Class::TokenLost,
    CKR_DEVICE_MEMORY => Class::RetryOther,
    CKR_DEVICE_REMOVED => Class::TokenLost,
    CKR_ENCRYPTED_DATA_INVALID => Class::BadInput(Fault::Integrity),
    CKR_ENCRYPTED_DATA_LEN_RANGE => Class::BadInput(Fault::Integrity),
    CKR_AEAD_DECRYPT_FAILED => Class::BadInput(Fault::Integrity),
    CKR_FUNCTION_CANCELED => Class::RetrySame,
    CKR_FUNCTION_NOT_PARALLEL => Class::Unsupported,
    CKR_FUNCTION_NOT_SUPPORTED => Class::Unsupported,
    CKR_KEY_HANDLE_INVALID => Class::NotFound,
    CKR_KEY_SIZE_RANGE => Class::Unsupported,
    CKR_KEY_TYPE_INCONSISTENT => Class::BadInput(Fault::Key),
    CKR_KEY_NOT_NEEDED => Class::BadInput(Fault::Key),
    CKR_KEY_CHANGED => Class::BadInput(Fault::Key),
    CKR_KEY_NEEDED => Class::BadInput(Fault::Key),
    CKR_KEY_INDIGESTIBLE => Class::BadInput(Fault::Key),
    CKR_KEY_FUNCTION_NOT_PERMITTED => Class::Denied,
    CKR_KEY_NOT_WRAPPABLE => Class::Denied,
    CKR_KEY_UNEXTRACTABLE => Class::Denied,
    CKR_MECHANISM_INVALID => Class::Unsupported,
    CKR_MECHANISM_PARAM_INVALID => Class::Unsupported,
    CKR_OBJECT_HANDLE_INVALID => Class::NotFound,
    CKR_OPERATION_ACTIVE => Class::SessionLost,
    CKR_OPERATION_NOT_INITIALIZED => Class::SessionLost,
    CKR_PIN_INCORRECT => Class::AuthStop,
    CKR_PIN_INVALID => Class::AuthStop,
    CKR_PIN_LEN_RANGE => Class::AuthStop,
    CKR_PIN_EXPIRED => Class::AuthStop,
    CKR_PIN_LOCKED => Class::AuthStop,
    CKR_SESSION_CLOSED => Class::SessionLost,
    CKR_SESSION_COUNT => Class::Busy,
    CKR_SESSION_HANDLE_INVALID => Class::SessionLost,
    CKR_SESSION_PARALLEL_NOT_SUPPORTED => Class::Unsupported,
    CKR_SESSION_READ_ONLY => Class::Denied,
    CKR_SESSION_EXISTS => Class::Busy,
    CKR_SESSION_READ_ONLY_EXISTS => Class::Denied,
    CKR_SESSION_READ_WRITE_SO_EXISTS => Class::AuthStop,
    CKR_SIGNATURE_INVALID => Class::BadInput(Fault::Integrity),
    CKR_SIGNATURE_LEN_RANGE => Class::BadInput(Fault::Integrity),
    CKR_TEMPLATE_INCOMPLETE => Class::Unsupported,
    CKR_TEMPLATE_INCONSISTENT => Class::Unsupported,
    CKR_TOKEN_NOT_PRESENT => Class::TokenLost,
    CKR_TOKEN_NOT_RECOGNIZED => Class::TokenLost,
    CKR_TOKEN_WRITE_PROTECTED => Class::Denied,
    CKR_UNWRAPPING_KEY_HANDLE_INVALID => Class::NotFound,
    CKR_UNWRAPPING_KEY_SIZE_RANGE => Class::Unsupported,
    CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT => Class::BadInput(Fault::Key),
    CKR_USER_ALREADY_LOGGED_IN => Class::SessionLost,
    CKR_USER_NOT_LOGGED_IN => Class::SessionLost,
    CKR_USER_PIN_NOT_INITIALIZED => Class::AuthStop,
    CKR_USER_TYPE_INVALID => Class::AuthStop,
    CKR_USER_ANOTHER_ALREADY_LOGGED_IN => Class::AuthStop,
    CKR_USER_TOO_MANY_TYPES => Class::AuthStop,
    CKR_WRAPPED_KEY_INVALID => Class::BadInput(Fault::Integrity),
    CKR_WRAPPED_KEY_LEN_RANGE => Class::BadInput(Fault::Integrity),
    CKR_WRAPPING_KEY_HANDLE_INVALID => Class::NotFound,
    CKR_WRAPPING_KEY_SIZE_RANGE => Class::Unsupported,
    CKR_WRAPPING_KEY_TYPE_INCONSISTENT => Class::BadInput(Fault::Key),
    CKR_RANDOM_SEED_NOT_SUPPORTED => Class::Unsupported,
    CKR_RANDOM_NO_RNG => Class::Unsupported,
    CKR_DOMAIN_PARAMS_INVALID => Class::Unsupported,
    CKR_CURVE_NOT_SUPPORTED => Class::Unsupported,
    CKR_BUFFER_TOO_SMALL => Class::BadInput(Fault::Data),
    CKR_SAVED_STATE_INVALID => Class::SessionLost,
    CKR_INFORMATION_SENSITIVE => Class::Denied,
    CKR_STATE_UNSAVEABLE => Class::Unsupported,
    CKR_CRYPTOKI_NOT_INITIALIZED => Class::TokenLost,
    CKR_CRYPTOKI_ALREADY_INITIALIZED => Class::RetrySame,
    CKR_MUTEX_BAD => Class::RetrySame,
    CKR_MUTEX_NOT_LOCKED => Class::RetrySame,
    CKR_NEW_PIN_MODE => Class::AuthStop,
    CKR_NEXT_OTP => Class::AuthStop,
    CKR_EXCEEDED_MAX_ITERATIONS => Class::RetrySame,
    CKR_FIPS_SELF_TEST_FAILED => Class::TokenLost,
    CKR_LIBRARY_LOAD_FAILED => Class::TokenLost,
    CKR_PIN_TOO_WEAK => Class::AuthStop,
    CKR_PUBLIC_KEY_INVALID => Class::BadInput(Fault::Key),
    CKR_FUNCTION_REJECTED => Class::Denied,
    CKR_TOKEN_RESOURCE_EXCEEDED => Class::Busy,
    CKR_OPERATION_CANCEL_FAILED => Class::SessionLost,
    CKR_KEY_EXHAUSTED => Class::Denied,
    CKR_PENDING => Class::RetrySame,
    CKR_SESSION_ASYNC_NOT_SUPPORTED => Class::Unsupported,
    CKR_SEED_RANDOM_REQUIRED => Class::RetryOther,
    CKR_OPERATION_NOT_VALIDATED => Class::Denied,
    CKR_TOKEN_NOT_INITIALIZED => Class::TokenLost,
    CKR_PARAMETER_SET_NOT_SUPPORTED => Class::Unsupported,
};

#[cfg(test)]
#[path = "ckr_tests.rs"]
mod tests;
