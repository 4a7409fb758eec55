//! Passwords: how they are stored, and how they are checked without being paid for twice.
//!
//! Argon2id (RFC 9106) on a blocking thread, so many at a time; a match is remembered for a few minutes, under a keyed hash that
//! covers the stored verifier, so that a new password voids the old one at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// A salted Argon2id hash of a password, in PHC string format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordVerifier(String);

/// Cost of new hashes, and the only one read back: 19 MiB and two passes bound what a flood of guesses may occupy.
const SCHEME: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

impl PasswordVerifier {
    /// Hashes a new password. Takes tens of milliseconds.
    pub fn new(password: &[u8]) -> Option<Self> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let hash = argon2id(password, &salt)?;
        Some(Self(format!("{SCHEME}{}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash))))
    }

    /// Takes one back from the store; `None` if it is not of a known form.
    pub fn from_stored(text: &str) -> Option<Self> {
        let verifier = Self(text.to_owned());
        verifier.parts().is_some().then_some(verifier)
    }

    /// The form to be stored.
    pub fn as_stored(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Option<([u8; 16], [u8; 32])> {
        let (salt, hash) = self.0.strip_prefix(SCHEME)?.split_once('$')?;
        Some((STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?, STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?))
    }

    fn matches(&self, password: &[u8]) -> bool {
        let Some((salt, expected)) = self.parts() else { return false };
        argon2id(password, &salt).is_some_and(|hash| bool::from(hash.ct_eq(&expected)))
    }
}

/// RFC 9106, with the cost that [`SCHEME`] names.
fn argon2id(password: &[u8], salt: &[u8]) -> Option<[u8; 32]> {
    let params = Params::new(19 * 1024, 2, 1, Some(32)).ok()?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

/// Checks passwords of one kind of user.
pub(super) struct PasswordChecks {
    remember_key: hmac::Key,
    remembered: quick_cache::sync::Cache<[u8; 32], Instant>,
    turns: Arc<Semaphore>,
}

/// Why a password was not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckError {
    /// Too many are being checked.
    Busy,
    /// The caller says that it must not be, with a time to wait.
    Stopped(Duration),
}

/// Most passwords that are hashed at a time: each takes a core for some 30 ms.
const CHECKS_MAX: usize = 4;
/// Longest wait for a turn.
const CHECK_WAIT: Duration = Duration::from_secs(5);
/// Most matches that are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// For how long.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);

impl PasswordChecks {
    /// `None` if there is no randomness.
    pub(super) fn new() -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut()).ok()?;
        Some(Self {
            remember_key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            remembered: quick_cache::sync::Cache::new(REMEMBERED_MAX),
            turns: Arc::new(Semaphore::new(CHECKS_MAX)),
        })
    }

    /// Whether a password matches. `whose` names the user; no verifier, an unknown user, costs as much time as a wrong password.
    /// `still` is asked once the turn has come: what happened in the meantime may forbid the attempt.
    pub(super) async fn check(
        &self,
        whose: &[&[u8]],
        verifier: Option<PasswordVerifier>,
        password: &[u8],
        still: impl Fn() -> Result<(), Duration>,
    ) -> Result<bool, CheckError> {
        let memory = verifier.as_ref().map(|verifier| self.memory_of(whose, verifier, password));
        if memory.is_some_and(|memory| self.remembers(&memory)) {
            return Ok(true);
        }
        let turn = tokio::time::timeout(CHECK_WAIT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(CheckError::Busy) };
        still().map_err(CheckError::Stopped)?;
        // Of many requests that come at once, the first pays for all.
        if memory.is_some_and(|memory| self.remembers(&memory)) {
            return Ok(true);
        }
        let password = Zeroizing::new(password.to_vec());
        let checked = tokio::task::spawn_blocking(move || {
            let matches = match verifier {
                Some(verifier) => verifier.matches(&password),
                None => argon2id(&password, &[0; 16]).is_none(),
            };
            (matches, turn)
        });
        let Ok((matches, turn)) = checked.await else { return Ok(false) };
        if let (true, Some(memory)) = (matches, memory) {
            self.remembered.insert(memory, Instant::now());
        }
        drop(turn);
        Ok(matches)
    }

    fn remembers(&self, memory: &[u8; 32]) -> bool {
        self.remembered.get(memory).is_some_and(|since| since.elapsed() < REMEMBERED_FOR)
    }

    fn memory_of(&self, whose: &[&[u8]], verifier: &PasswordVerifier, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.remember_key);
        for part in whose.iter().copied().chain([verifier.as_stored().as_bytes(), password]) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut memory = [0; 32];
        memory.copy_from_slice(context.sign().as_ref());
        memory
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
mod tests {
    use super::*;

    /// A stored verifier is read back as it was written; other schemes and damaged text are not taken.
    #[test]
    fn verifiers_are_stored_in_phc_form() {
        let verifier = PasswordVerifier::new(b"password").unwrap();
        assert!(verifier.as_stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(PasswordVerifier::from_stored(verifier.as_stored()), Some(verifier.clone()));
        for bad in ["", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", &verifier.as_stored()[..60], "password"] {
            assert_eq!(PasswordVerifier::from_stored(bad), None, "{bad}");
        }
    }

    /// Many requests of one user at once are all let in, whoever pays; what forbids attempts is asked after the wait for a turn.
    #[tokio::test(flavor = "multi_thread")]
    async fn checks_wait_for_their_turn_and_are_asked_again() {
        let (checks, verifier) = (Arc::new(PasswordChecks::new().unwrap()), PasswordVerifier::new(b"password").unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (checks, verifier) = (checks.clone(), verifier.clone());
            tasks.spawn(async move { checks.check(&[b"x"], Some(verifier), b"password", || Ok(())).await });
        }
        assert!(tasks.join_all().await.into_iter().all(|checked| checked == Ok(true)));
        let stopped = checks.check(&[b"x"], Some(verifier.clone()), b"wrong", || Err(Duration::from_secs(1))).await;
        assert_eq!(stopped, Err(CheckError::Stopped(Duration::from_secs(1))));
        assert_eq!(checks.check(&[b"y"], None, b"password", || Ok(())).await, Ok(false));
    }
}
