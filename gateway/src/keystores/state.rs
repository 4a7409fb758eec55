//! The life of a keystore that administrators added: draft, tested, active, draining, retired. A transition takes the state and
//! gives the next one, or says why not; what is stored is one of these states.

use crate::store::KeystoreState;

/// Why a keystore does not change its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It takes new keys already.
    #[error("it is active already")]
    ActiveAlready,
    /// It is being drained already.
    #[error("it is being drained already")]
    DrainingAlready,
    /// Its settings and its secret have not been tested as they are.
    #[error("it was not tested as it is now: `keystore test` must end with Success first")]
    NotTested,
    /// It is not in use, so there is nothing to drain.
    #[error("it is not active: nothing is there to drain")]
    NotActive,
    /// It takes new keys: it must be drained first.
    #[error("it is active: drain it first")]
    StillActive,
}

/// The end of a keystore: its row is removed with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired;

impl KeystoreState {
    /// A new keystore.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self::Draft { since_ms: now_ms }
    }

    /// After a test of it as it is.
    #[must_use]
    pub fn tested(self, passed: bool, now_ms: i64) -> Self {
        match (self, passed) {
            (Self::Draft { .. }, true) => Self::Tested { since_ms: now_ms },
            (Self::Tested { .. }, false) => Self::Draft { since_ms: now_ms },
            (same, _) => same,
        }
    }

    /// After a change of settings or secret: what was tested is not what is there. One in use stays in use, its keys are needed.
    #[must_use]
    pub fn changed(self, now_ms: i64) -> Self {
        match self {
            Self::Tested { .. } => Self::Draft { since_ms: now_ms },
            same => same,
        }
    }

    /// Takes new keys from now on. `passed`: the last test was of it as it is, and succeeded.
    ///
    /// # Errors
    /// [`Refusal::NotTested`], [`Refusal::ActiveAlready`].
    pub fn activate(self, passed: bool, now_ms: i64) -> Result<Self, Refusal> {
        match self {
            Self::Active { .. } => Err(Refusal::ActiveAlready),
            Self::Tested { .. } | Self::Draining { .. } if passed => Ok(Self::Active { since_ms: now_ms }),
            Self::Draft { .. } | Self::Tested { .. } | Self::Draining { .. } => Err(Refusal::NotTested),
        }
    }

    /// Takes no new keys from now on.
    ///
    /// # Errors
    /// [`Refusal::NotActive`], [`Refusal::DrainingAlready`].
    pub fn drain(self, now_ms: i64) -> Result<Self, Refusal> {
        match self {
            Self::Active { .. } => Ok(Self::Draining { since_ms: now_ms }),
            Self::Draining { .. } => Err(Refusal::DrainingAlready),
            Self::Draft { .. } | Self::Tested { .. } => Err(Refusal::NotActive),
        }
    }

    /// Ends. That nothing refers to it any more the store sees to.
    ///
    /// # Errors
    /// [`Refusal::StillActive`].
    pub fn retire(self) -> Result<Retired, Refusal> {
        match self {
            Self::Active { .. } => Err(Refusal::StillActive),
            Self::Draft { .. } | Self::Tested { .. } | Self::Draining { .. } => Ok(Retired),
        }
    }

    /// Whether its keys are served: it is opened when the server starts.
    #[must_use]
    pub fn is_in_use(self) -> bool {
        matches!(self, Self::Active { .. } | Self::Draining { .. })
    }

    /// Whether new keys may go there.
    #[must_use]
    pub fn takes_new(self) -> bool {
        matches!(self, Self::Active { .. })
    }

    /// `draft`, `tested`, `active` or `draining`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft { .. } => "draft",
            Self::Tested { .. } => "tested",
            Self::Active { .. } => "active",
            Self::Draining { .. } => "draining",
        }
    }

    /// Since when, milliseconds since 1970.
    #[must_use]
    pub fn since_ms(self) -> i64 {
        match self {
            Self::Draft { since_ms } | Self::Tested { since_ms } | Self::Active { since_ms } | Self::Draining { since_ms } => since_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Act {
        Test(bool),
        Change,
        Activate,
        Drain,
        Retire,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            any::<bool>().prop_map(Act::Test),
            Just(Act::Change),
            Just(Act::Activate),
            Just(Act::Drain),
            Just(Act::Retire),
        ]
    }

    proptest! {
        /// Goal: whatever is done in whatever order, a keystore is activated only when the last thing that was said about what it is
        /// now is a green test, one that has been active never becomes a draft again (its keys are needed), and an active one does
        /// not go. Method: acts at random, beside a record of what a test was last about.
        #[test]
        fn no_order_of_acts_breaks_the_rules(acts in prop::collection::vec(act(), 0..40)) {
            let mut state = KeystoreState::new(0);
            let (mut passed, mut was_active) = (false, false);
            for (now, act) in (1_i64..).zip(acts) {
                let before = state;
                match act {
                    Act::Test(green) => { passed = green; state = state.tested(green, now); }
                    Act::Change => { passed = false; state = state.changed(now); }
                    Act::Activate => match state.activate(passed, now) {
                        Ok(next) => {
                            prop_assert!(passed && before.name() != "active");
                            prop_assert!(next.takes_new());
                            (state, was_active) = (next, true);
                        }
                        Err(Refusal::ActiveAlready) => prop_assert_eq!(before.name(), "active"),
                        Err(refusal) => { prop_assert!(!passed); prop_assert_eq!(refusal, Refusal::NotTested); }
                    },
                    Act::Drain => match state.drain(now) {
                        Ok(next) => { prop_assert_eq!((before.name(), next.name()), ("active", "draining")); state = next; }
                        Err(_) => prop_assert_ne!(before.name(), "active"),
                    },
                    Act::Retire => prop_assert_eq!(state.retire().is_ok(), before.name() != "active"),
                }
                prop_assert_eq!(state.is_in_use(), was_active);
                prop_assert_eq!(state.name() == "tested", passed && !was_active);
                prop_assert!(state == before || state.since_ms() == now);
                let stored = serde_json::to_string(&state).expect("a row");
                prop_assert_eq!(serde_json::from_str::<KeystoreState>(&stored).expect("read back"), state);
            }
        }
    }
}
