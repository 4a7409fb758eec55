//! Logins that failed, remembered for the whole process: a token counts wrong PINs and locks, and whoever opens it next (another
//! slot of the seal, a keystore on the same token, a second try a moment later) does not know what the one before was told.
//!
//! A PIN that was refused is not offered to that token again. One whose login failed for a reason that may be a wrong PIN
//! (CKR_GENERAL_ERROR, a vendor's code, no answer) is offered once more, after a pause, and then no more. What is kept is a keyed
//! hash of the PIN; a login that succeeds is forgotten, and so is everything when an operator asks for another try or the process
//! ends.

use super::ckr;
use super::select::TokenSelector;
use super::token::{TokenConfig, real};
use crate::error::{Class, KsError, Result};
use crate::local;
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use keygate_kmip::HashingAlgorithm;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A token and the PIN that it was offered.
#[derive(Clone)]
pub(super) struct Login {
    module: PathBuf,
    token: TokenSelector,
    pin: [u8; 32],
}

/// A login that failed.
struct Failed {
    login: Login,
    /// The token's serial number, where the worker had found it.
    serial: Option<String>,
    /// The next one comes no sooner.
    not_before: Instant,
    /// Why there is no next one.
    refused: Option<KsError>,
}

/// Before a PIN is offered a second time.
const PAUSE: Duration = Duration::from_secs(3);
/// Logins that are remembered.
const FAILED_MAX: usize = 256;

static FAILED: Mutex<Vec<Failed>> = Mutex::new(Vec::new());

/// Forgets what the tokens of a module have refused: an operator asks for another try.
pub fn offer_again(module: &Path) {
    let module = real(module);
    failed().retain(|failed| failed.login.module != module);
}

impl Login {
    /// # Errors
    /// No randomness.
    pub(super) fn of(config: &TokenConfig) -> Result<Self> {
        let pin = digest(config.pin.as_ref().map_or(&b""[..], SecretBytes::expose))?;
        Ok(Self { module: real(&config.module), token: config.token.clone(), pin })
    }

    /// The same token with another PIN.
    ///
    /// # Errors
    /// No randomness.
    pub(super) fn with(&self, pin: &SecretBytes) -> Result<Self> {
        Ok(Self { pin: digest(pin.expose())?, ..self.clone() })
    }

    /// An operator asks for another try.
    pub(super) fn forget(&self) {
        failed().retain(|failed| !failed.is(self));
    }

    /// Why it is not tried again, if so.
    pub(super) fn refusal(&self) -> Option<KsError> {
        failed().iter().find(|failed| failed.is(self)).and_then(|failed| failed.refused.clone())
    }

    /// When it may be tried.
    pub(super) fn not_before(&self) -> Option<Instant> {
        failed().iter().find(|failed| failed.is(self)).map(|failed| failed.not_before)
    }

    /// Serial numbers of the module's tokens that have refused this PIN, however they were named.
    pub(super) fn refused_serials(&self) -> Vec<String> {
        let of_pin = |failed: &&Failed| failed.login.module == self.module && failed.login.pin == self.pin;
        let failed = failed();
        let refused = failed.iter().filter(of_pin).filter(|failed| failed.refused.is_some());
        refused.filter_map(|failed| failed.serial.clone()).collect()
    }

    /// Notes that a PIN was offered in vain: what that means for the next one.
    pub(super) fn failed(&self, serial: Option<&str>, error: KsError) -> KsError {
        // PKCS#11 v3.1 §5.6.8: no PIN was looked at.
        if ckr::is(&error, ck::CKR_USER_ALREADY_LOGGED_IN) || nobody_looked(&error) {
            return error;
        }
        let mut list = failed();
        let before = list.iter().position(|failed| failed.is(self));
        let error = match (error.class(), before) {
            (Class::AuthStop, _) | (_, None) => error,
            (_, Some(_)) => error.into_class(Class::AuthStop).with_text(TWO_IN_VAIN),
        };
        if let Some(before) = before {
            list.remove(before);
        } else if list.len() >= FAILED_MAX {
            list.remove(0);
        }
        let refused = (error.class() == Class::AuthStop).then(|| error.clone());
        let serial = serial.map(str::to_owned);
        list.push(Failed { login: self.clone(), serial, not_before: Instant::now() + PAUSE, refused });
        error
    }

    /// The token accepted it.
    pub(super) fn succeeded(&self) {
        self.forget();
    }
}

impl Failed {
    fn is(&self, login: &Login) -> bool {
        let same_serial = login.token.serial.is_some() && login.token.serial == self.serial;
        self.login.module == login.module
            && self.login.pin == login.pin
            && (same_serial || self.login.token == login.token)
    }
}

fn digest(pin: &[u8]) -> Result<[u8; 32]> {
    let keyed = SecretBytes::new([process_key()?.expose(), pin].concat());
    let digest = local::hash(HashingAlgorithm::Sha256, keyed.expose())?;
    digest.try_into().map_err(|_| KsError::new(Class::Corrupt, "SHA-256 is not of 32 octets"))
}

/// The token was gone before it could look at a PIN.
fn nobody_looked(error: &KsError) -> bool {
    let gone = [
        ck::CKR_CRYPTOKI_NOT_INITIALIZED,
        ck::CKR_DEVICE_REMOVED,
        ck::CKR_SESSION_CLOSED,
        ck::CKR_SESSION_HANDLE_INVALID,
        ck::CKR_SLOT_ID_INVALID,
        ck::CKR_TOKEN_NOT_PRESENT,
    ];
    gone.iter().any(|code| ckr::is(error, *code))
}

/// What the operator can do about it.
const TWO_IN_VAIN: &str = "two logins failed in a row without a clear reason, so the PIN, which may be wrong, is not offered again: \
                           check the token and the configured PIN, log in once by hand, then `keygate keystore retry`";

fn failed() -> MutexGuard<'static, Vec<Failed>> {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drawn once: hashes of short PINs are of no use to anybody else.
fn process_key() -> Result<&'static SecretBytes> {
    static KEY: OnceLock<SecretBytes> = OnceLock::new();
    match KEY.get() {
        Some(key) => Ok(key),
        None => {
            let drawn = local::random(32)?;
            Ok(KEY.get_or_init(|| drawn))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::Spawn;
    use super::*;

    fn login(module: &str, token: TokenSelector, pin: &str) -> Login {
        let pin = Some(SecretBytes::copy_of(pin.as_bytes()));
        Login::of(&TokenConfig::new(module, token, pin, Spawn::this_program(["none"]))).expect("randomness")
    }

    fn device(code: ck::CK_RV) -> KsError {
        ckr::error("C_Login", code)
    }

    /// A refused PIN is refused to all who bring it to the same token, and to nobody else.
    #[test]
    fn a_refused_pin_is_remembered_by_token_and_pin() {
        let label = || TokenSelector::label("a");
        let refused = login("/refused", label(), "1234");
        assert_eq!(refused.failed(Some("77"), device(ck::CKR_PIN_INCORRECT)).class(), Class::AuthStop);
        assert!(login("/refused", label(), "1234").refusal().is_some());
        let by_serial = TokenSelector { serial: Some("77".into()), ..TokenSelector::default() };
        assert!(login("/refused", by_serial, "1234").refusal().is_some(), "the same token by another name");
        assert_eq!(login("/refused", TokenSelector::default(), "1234").refused_serials(), ["77"]);
        for other in [
            login("/refused", label(), "4321"),
            login("/other", label(), "1234"),
            login("/refused", TokenSelector::label("b"), "1234"),
        ] {
            assert!(other.refusal().is_none());
        }
        offer_again(Path::new("/other"));
        assert!(refused.refusal().is_some());
        offer_again(Path::new("/refused"));
        assert!(refused.refusal().is_none());
    }

    /// A failure that says nothing is let pass once, with a pause; a token that is not there never counts.
    #[test]
    fn the_second_vague_failure_is_the_last() {
        for code in [ck::CKR_GENERAL_ERROR, ck::CKR_FUNCTION_FAILED, ck::CKR_DEVICE_ERROR, 0x8000_5678] {
            let vague = login("/vague", TokenSelector::label(code.to_string()), "1234");
            for _ in 0..3 {
                vague.failed(None, device(ck::CKR_TOKEN_NOT_PRESENT));
                assert!(vague.not_before().is_none());
            }
            assert_ne!(vague.failed(None, device(code)).class(), Class::AuthStop);
            assert!(vague.refusal().is_none());
            assert!(vague.not_before().expect("a pause") > Instant::now());
            let error = vague.failed(None, device(code));
            assert_eq!(error.class(), Class::AuthStop);
            assert!(
                error.to_string().contains("log in once by hand") && !error.to_string().contains("1234"),
                "{error}"
            );
            assert!(vague.refusal().is_some());
        }
        let right = login("/vague", TokenSelector::label("right"), "1234");
        right.failed(None, device(ck::CKR_GENERAL_ERROR));
        right.succeeded();
        right.failed(None, device(ck::CKR_GENERAL_ERROR));
        assert!(right.refusal().is_none(), "an accepted login ends the row");
    }
}
