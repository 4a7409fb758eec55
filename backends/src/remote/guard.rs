//! Whether the credentials that go with each request may be sent.
//!
//! A server counts wrong passwords and locks the account, so one that was refused is not offered again, and one that was never
//! accepted is offered by one request at a time: the others wait for what becomes of it.

use crate::error::{Class, KsError, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What is known of a service's credentials.
pub(super) struct Guard {
    known: Mutex<Known>,
    alone: tokio::sync::Mutex<()>,
}

enum Known {
    /// The last request that showed it was accepted; or nothing goes along that a server would count.
    Accepted,
    /// They were refused, with these words.
    Refused(String),
    /// Not seen yet, or not since an operator let them be tried again.
    Untried,
}

/// Leave to send a request; the only one while nobody knows whether the credentials are right.
pub(crate) struct Pass<'g> {
    guard: &'g Guard,
    alone: Option<tokio::sync::MutexGuard<'g, ()>>,
}

impl Guard {
    /// `counted`: whether a user and a password, or a token, go along.
    pub(super) fn new(counted: bool) -> Self {
        let known = if counted { Known::Untried } else { Known::Accepted };
        Self { known: Mutex::new(known), alone: tokio::sync::Mutex::default() }
    }

    /// Waits for its turn, where only one may go.
    ///
    /// # Errors
    /// `AuthStop` when the credentials were refused; `Busy` when the turn did not come in time.
    pub(super) async fn pass(&self, deadline: Instant) -> Result<Pass<'_>> {
        if self.is_accepted()? {
            return Ok(Pass { guard: self, alone: None });
        }
        let late = |_| KsError::new(Class::Busy, "another request tried the credentials until the deadline");
        let alone = tokio::time::timeout_at(deadline.into(), self.alone.lock()).await.map_err(late)?;
        // The one before may have been told.
        let alone = if self.is_accepted()? { None } else { Some(alone) };
        Ok(Pass { guard: self, alone })
    }

    /// # Errors
    /// `AuthStop` when the credentials were refused.
    pub(super) fn is_accepted(&self) -> Result<bool> {
        match &*self.known() {
            Known::Accepted => Ok(true),
            Known::Refused(why) => Err(KsError::new(Class::AuthStop, why.clone())),
            Known::Untried => Ok(false),
        }
    }

    /// Why nothing is sent, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        match &*self.known() {
            Known::Refused(why) => Some(why.clone()),
            Known::Accepted | Known::Untried => None,
        }
    }

    /// The credentials were refused. Tells whether that is news.
    pub(super) fn refuse(&self, why: String) -> bool {
        !matches!(std::mem::replace(&mut *self.known(), Known::Refused(why)), Known::Refused(_))
    }

    /// Lets refused credentials be tried again, once.
    pub(super) fn resume(&self) {
        let mut known = self.known();
        if matches!(*known, Known::Refused(_)) {
            *known = Known::Untried;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The answer shows that the credentials were accepted: the others need not wait.
    pub(crate) fn accepted(self) {
        let mut known = self.guard.known();
        if matches!(*known, Known::Untried) {
            *known = Known::Accepted;
        }
        drop(known);
        drop(self.alone);
    }
}
