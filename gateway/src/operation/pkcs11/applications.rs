//! Applications that called C_Initialize, and their sessions: in memory, each bound to its caller, few and for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;

use crate::operation::OperationError;
use crate::store::ClientId;

/// Applications at a time, of one caller and of all.
const APPLICATIONS_PER_CALLER_MAX: usize = 16;
const APPLICATIONS_MAX: usize = 4_096;
/// Sessions of an application.
pub(super) const SESSIONS_MAX: usize = 64;
/// Seconds after which an application that does not call is forgotten.
const IDLE_SECONDS_MAX: i64 = 3_600;

/// The applications, by correlation value.
#[derive(Default)]
pub(crate) struct Applications(Mutex<HashMap<[u8; 16], Application>>);

struct Application {
    caller: ClientId,
    used: i64,
    /// Handles, and whether a session may write.
    sessions: HashMap<u64, bool>,
    last_handle: u64,
}

impl Applications {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Application>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, value: &[u8], then: impl FnOnce(&mut Application) -> T) -> Option<T> {
        let key: [u8; 16] = value.try_into().ok()?;
        self.lock().get_mut(&key).map(then)
    }

    /// A new application, by the value it is called by.
    pub(super) fn begin(&self, caller: ClientId, now: i64) -> Result<Vec<u8>, OperationError> {
        let mut applications = self.lock();
        applications.retain(|_, application| now - application.used <= IDLE_SECONDS_MAX);
        let own = applications.values().filter(|application| application.caller == caller).count();
        if own >= APPLICATIONS_PER_CALLER_MAX || applications.len() >= APPLICATIONS_MAX {
            return Err(OperationError::LimitExceeded("too many PKCS#11 applications are initialised; finalise some".to_owned()));
        }
        let mut key = [0; 16];
        rand::fill(&mut key).map_err(|_| OperationError::internal("PKCS#11", "no randomness"))?;
        applications.insert(key, Application { caller, used: now, sessions: HashMap::new(), last_handle: 0 });
        Ok(key.to_vec())
    }

    /// Whether the caller has an application of this value; notes that it calls.
    pub(super) fn touch(&self, value: &[u8], caller: ClientId, now: i64) -> bool {
        let used = self.with(value, |application| {
            let is_own = application.caller == caller && now - application.used <= IDLE_SECONDS_MAX;
            if is_own {
                application.used = now;
            }
            is_own
        });
        used.unwrap_or(false)
    }

    pub(super) fn end(&self, value: &[u8]) {
        if let Ok(key) = <[u8; 16]>::try_from(value) {
            self.lock().remove(&key);
        }
    }

    /// How many sessions there are, and how many of them may write.
    pub(super) fn sessions(&self, value: &[u8]) -> (u64, u64) {
        let counted = self.with(value, |application| {
            let writing = application.sessions.values().filter(|is_read_write| **is_read_write).count();
            (application.sessions.len() as u64, writing as u64)
        });
        counted.unwrap_or_default()
    }

    /// Opens a session; `None` if there are too many. Handles are not given twice, and 0 is none (CK_INVALID_HANDLE).
    pub(super) fn open(&self, value: &[u8], is_read_write: bool) -> Option<u64> {
        self.with(value, |application| {
            if application.sessions.len() >= SESSIONS_MAX {
                return None;
            }
            application.last_handle += 1;
            application.sessions.insert(application.last_handle, is_read_write);
            Some(application.last_handle)
        })?
    }

    /// Whether a session may write; `None` if there is none with this handle.
    pub(super) fn session(&self, value: &[u8], handle: u64) -> Option<bool> {
        self.with(value, |application| application.sessions.get(&handle).copied())?
    }

    /// Closes one session, or all.
    pub(super) fn close(&self, value: &[u8], handle: Option<u64>) {
        self.with(value, |application| match handle {
            Some(handle) => drop(application.sessions.remove(&handle)),
            None => application.sessions.clear(),
        });
    }
}
