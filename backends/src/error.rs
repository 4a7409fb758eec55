//! What went wrong, told as what the caller can do about it.
//!
//! A [`KsError`] carries a [`Class`] (the next step), a text (for the log and, where the peer is at fault, for the
//! peer) and, when a PKCS#11 device answered, the function and the return code. The text names the value and the rule
//! that refused it and never holds key bytes, PINs or data. The only place that turns a PKCS#11 return code into a
//! class is `pkcs11/ckr.rs`.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// The result of everything in this crate.
pub type Result<T, E = KsError> = std::result::Result<T, E>;

/// What the caller should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// The key is not in this keystore. Destroy treats it as done, everything else as gone.
    NotFound,
    /// The keystore or the key's own attributes forbid the operation. Do not repeat it.
    Denied,
    /// This keystore has no such operation, mechanism, size or format. Another keystore may.
    Unsupported,
    /// The request is at fault. Tell the peer, who can mend it.
    BadInput(Fault),
    /// Nothing was done: queue full or device saturated. Answer "busy" or repeat later.
    Busy,
    /// A passing failure, nothing was done: one repetition on the same keystore is sensible.
    RetrySame,
    /// This keystore cannot do it now, nothing was done: another member of its group may.
    RetryOther,
    /// The session died below the call and the keystore has already replaced it; idempotent calls may be repeated once.
    SessionLost,
    /// The token or device is away. The keystore looks for it by itself; calls fail until it is back.
    TokenLost,
    /// The token refused the PIN (wrong, locked, expired). An operator must act; nothing is retried, so that no PIN try
    /// is burnt.
    AuthStop,
    /// The call may or may not have taken effect (deadline passed or device lost during generate, import or destroy):
    /// reconcile by `KeyId` before going on.
    OutcomeUnknown,
    /// A stored or returned value is not what its own check says. Refuse it and call an operator.
    Corrupt,
}

/// Which part of the request is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// The cryptographic parameters: mode, padding, hash, IV or tag length, a combination of them.
    Parameters,
    /// The data: wrong length for the mode, longer than the key admits.
    Data,
    /// The key: wrong kind, wrong size, malformed encoding, unusable curve.
    Key,
    /// The check failed: authentication tag, padding, integrity value. Deliberately tells no more.
    Integrity,
}

/// A failure of a keystore or of a cryptographic operation.
#[derive(Clone)]
pub struct KsError {
    class: Class,
    text: Cow<'static, str>,
    device: Option<DeviceCode>,
}

/// The PKCS#11 function that failed and the code it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCode {
    /// The function, as the standard spells it: `C_Sign`.
    pub function: &'static str,
    /// The return value (`CKR_...`).
    pub code: u64,
    /// The name of the return value, `CKR_?` when the standard has none for it.
    pub name: &'static str,
}

impl KsError {
    /// A failure of the given class.
    pub fn new(class: Class, text: impl Into<Cow<'static, str>>) -> Self {
        Self { class, text: text.into(), device: None }
    }

    /// A failure reported by a PKCS#11 device.
    pub fn device(class: Class, device: DeviceCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { class, text: text.into(), device: Some(device) }
    }

    /// The request's parameters are at fault.
    pub fn parameters(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::BadInput(Fault::Parameters), text)
    }

    /// The request's data is at fault.
    pub fn data(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::BadInput(Fault::Data), text)
    }

    /// The key is at fault.
    pub fn key(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::BadInput(Fault::Key), text)
    }

    /// A tag, padding or integrity check failed.
    pub fn integrity(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::BadInput(Fault::Integrity), text)
    }

    /// This keystore cannot do it.
    pub fn unsupported(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Unsupported, text)
    }

    /// The key is not there.
    pub fn not_found(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::NotFound, text)
    }

    /// What to do next.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The text without the device's code.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the device answered, where one did.
    pub fn device_code(&self) -> Option<DeviceCode> {
        self.device
    }

    /// The same failure in another class (a caller that knows more, for example that the call was not idempotent).
    #[must_use]
    pub fn into_class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// The same failure told in other words.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = text.into();
        self
    }

    /// Whether the peer's request, rather than the keystore, is at fault.
    pub fn is_bad_input(&self) -> bool {
        matches!(self.class, Class::BadInput(_))
    }
}

impl fmt::Display for KsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.device {
            Some(DeviceCode { function, code, name }) => write!(f, " ({function}: {name} 0x{code:x})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for KsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KsError({:?}: {self})", self.class)
    }
}

impl std::error::Error for KsError {}
