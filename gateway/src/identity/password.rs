//! Passwords: how they are stored, and how they are checked without being paid for twice.
//!
//! Argon2id (RFC 9106) on a blocking thread, so many at a time; a match is remembered for a few minutes, under a keyed hash that
//! covers the stored verifier, so that a new password voids the old one at once.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// A salted Argon2id hash of a password, in PHC string format. It is a secret, too: guesses can be tried against it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordVerifier(Zeroizing<String>);

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordVerifier")
    }
}

/// What a hash costs. One lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
}

/// Costs of stored hashes that are read. The first is that of new ones: 19 MiB and two passes bound what a flood of guesses may
/// occupy. One that is raised is put before the others, which stay, or every password set before would be void.
const COSTS: [Cost; 3] = [
    Cost { memory_kib: 19 * 1024, passes: 2 },
    Cost { memory_kib: 46 * 1024, passes: 1 },
    Cost { memory_kib: 12 * 1024, passes: 3 },
];
const NEW: Cost = COSTS[0];

impl Cost {
    /// What a hash of this cost begins with.
    fn scheme(self) -> String {
        format!("$argon2id$v=19$m={},t={},p=1$", self.memory_kib, self.passes)
    }

    /// RFC 9106.
    fn hash(self, password: &[u8], salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let params = Params::new(self.memory_kib, self.passes, 1, Some(32)).ok()?;
        let mut hash = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, hash.as_mut_slice()).ok()?;
        Some(hash)
    }
}

/// A stored hash, read.
struct Parts {
    cost: Cost,
    salt: [u8; 16],
    hash: Zeroizing<[u8; 32]>,
}

impl PasswordVerifier {
    /// Hashes a new password. Takes tens of milliseconds.
    pub fn new(password: &[u8]) -> Option<Self> {
        Self::of_cost(NEW, password)
    }

    fn of_cost(cost: Cost, password: &[u8]) -> Option<Self> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let hash = Zeroizing::new(STANDARD_NO_PAD.encode(cost.hash(password, &salt)?.as_slice()));
        Some(Self(Zeroizing::new(format!("{}{}${}", cost.scheme(), STANDARD_NO_PAD.encode(salt), hash.as_str()))))
    }

    /// Takes one back from the store; `None` if it is not of a known form and cost.
    pub fn from_stored(text: &str) -> Option<Self> {
        let verifier = Self(Zeroizing::new(text.to_owned()));
        verifier.parts().is_some().then_some(verifier)
    }

    /// The form to be stored.
    pub fn as_stored(&self) -> &str {
        &self.0
    }

    /// Whether new hashes cost something else: the password is worth another one as soon as it is seen.
    fn is_outdated(&self) -> bool {
        self.parts().is_none_or(|parts| parts.cost != NEW)
    }

    fn parts(&self) -> Option<Parts> {
        let (cost, rest) = COSTS.into_iter().find_map(|cost| Some((cost, self.0.strip_prefix(&cost.scheme())?)))?;
        let (salt, hash) = rest.split_once('$')?;
        let octets = Zeroizing::new(STANDARD_NO_PAD.decode(hash).ok()?);
        let hash = Zeroizing::new(<[u8; 32]>::try_from(octets.as_slice()).ok()?);
        Some(Parts { cost, salt: STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?, hash })
    }

    fn matches(&self, password: &[u8]) -> bool {
        let Some(parts) = self.parts() else { return false };
        parts.cost.hash(password, &parts.salt).is_some_and(|hash| bool::from(hash.as_slice().ct_eq(parts.hash.as_slice())))
    }
}

/// A password that was right, hashed anew because its stored hash is of another cost.
pub struct Renewed {
    /// As it is stored.
    pub old: PasswordVerifier,
    /// As it is to be stored.
    pub new: PasswordVerifier,
}

/// Checks passwords of one kind of user.
pub(super) struct PasswordChecks {
    remember_key: hmac::Key,
    remembered: quick_cache::sync::Cache<[u8; 32], Instant>,
    turns: Arc<Semaphore>,
    /// Hashes that wait to be stored; `None` where nobody stores them.
    renewed: Option<Mutex<Vec<Renewed>>>,
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
/// Most new hashes that wait to be stored; who is beyond logs in again.
const RENEWED_MAX: usize = 64;
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
            renewed: None,
        })
    }

    /// Hashes anew what is of another cost, for [`PasswordChecks::take_renewed`].
    pub(super) fn renewing(self) -> Self {
        Self { renewed: Some(Mutex::default()), ..self }
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
        let renews = self.renewed.is_some();
        let checked = tokio::task::spawn_blocking(move || {
            let Some(verifier) = verifier else { return (NEW.hash(&password, &[0; 16]).is_none(), None, turn) };
            let matches = verifier.matches(&password);
            let new = if renews && matches && verifier.is_outdated() { PasswordVerifier::new(&password) } else { None };
            (matches, new.map(|new| Renewed { old: verifier, new }), turn)
        });
        let Ok((matches, renewed, turn)) = checked.await else { return Ok(false) };
        if let (true, Some(memory)) = (matches, memory) {
            self.remembered.insert(memory, Instant::now());
        }
        if let (Some(renewed), Some(waiting)) = (renewed, &self.renewed) {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < RENEWED_MAX {
                waiting.push(renewed);
            }
        }
        drop(turn);
        Ok(matches)
    }

    /// Hashes that are to be stored in place of old ones, each told once.
    pub(super) fn take_renewed(&self) -> Vec<Renewed> {
        let waiting = self.renewed.as_ref().map(|waiting| waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.map(|mut waiting| std::mem::take(&mut *waiting)).unwrap_or_default()
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

    /// A hash of another known cost is good, and is hashed anew when its password is seen; an unknown cost is no hash.
    #[tokio::test]
    async fn a_raised_cost_voids_no_password() {
        let checks = PasswordChecks::new().unwrap().renewing();
        for cost in COSTS {
            let verifier = PasswordVerifier::of_cost(cost, b"password").unwrap();
            let verifier = PasswordVerifier::from_stored(verifier.as_stored()).unwrap();
            assert_eq!(checks.check(&[b"x"], Some(verifier.clone()), b"wrong", || Ok(())).await, Ok(false));
            assert_eq!(checks.take_renewed().len(), 0);
            assert_eq!(checks.check(&[b"x"], Some(verifier.clone()), b"password", || Ok(())).await, Ok(true));
            match checks.take_renewed().as_slice() {
                [] => assert_eq!(cost, NEW),
                [renewed] => {
                    assert!(cost != NEW && renewed.old == verifier && !renewed.new.is_outdated());
                    assert!(renewed.new.matches(b"password"));
                }
                _ => panic!("hashed anew more than once"),
            }
        }
        let cheap = PasswordVerifier::new(b"password").unwrap().as_stored().replace("m=19456", "m=8");
        assert_eq!(PasswordVerifier::from_stored(&cheap), None);
        assert_eq!(format!("{:?}", PasswordVerifier::new(b"password").unwrap()), "PasswordVerifier");
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
