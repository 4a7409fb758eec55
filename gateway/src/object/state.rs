//! The lifecycle of a managed object. KMIP 2.1 §4.57 (State), KMIP 1.4 §3.22.

use keygate_kmip::State;

/// Where a managed cryptographic object is in its life. A transition takes `self` and returns the next state, or
/// refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Exists, may not be used for cryptography.
    PreActive,
    /// May be used.
    Active,
    /// May be used to process what was protected before.
    Deactivated,
    /// Suspected to be known to others.
    Compromised,
    /// Its key material is gone.
    Destroyed,
    /// Its key material is gone, and was suspected to be known to others.
    DestroyedCompromised,
}

/// A transition that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object is {state:?}, cannot {action}")]
pub struct WrongState {
    /// The state it is in.
    pub state: Lifecycle,
    /// What was asked.
    pub action: &'static str,
}

impl Lifecycle {
    /// Activation, by request or because the Activation Date is reached. "from the Pre-Active to the Active state".
    ///
    /// # Errors
    /// [`WrongState`] unless Pre-Active.
    pub fn activate(self) -> Result<Self, WrongState> {
        match self {
            Self::PreActive => Ok(Self::Active),
            state => Err(WrongState { state, action: "activate" }),
        }
    }

    /// Deactivation, by revocation or because the Deactivation Date is reached.
    ///
    /// # Errors
    /// [`WrongState`] unless Active.
    pub fn deactivate(self) -> Result<Self, WrongState> {
        match self {
            Self::Active => Ok(Self::Deactivated),
            state => Err(WrongState { state, action: "deactivate" }),
        }
    }

    /// Revocation for compromise; possible in every state.
    #[must_use]
    pub fn compromise(self) -> Self {
        match self {
            Self::PreActive | Self::Active | Self::Deactivated | Self::Compromised => Self::Compromised,
            Self::Destroyed | Self::DestroyedCompromised => Self::DestroyedCompromised,
        }
    }

    /// Destruction.
    ///
    /// # Errors
    /// [`WrongState`] if Active (KMIP 1.4 §4.21: objects "SHALL only be destroyed if they are in either Pre-Active or
    /// Deactivated state"; compromised ones become Destroyed Compromised) or destroyed already.
    pub fn destroy(self) -> Result<Self, WrongState> {
        match self {
            Self::PreActive | Self::Deactivated => Ok(Self::Destroyed),
            Self::Compromised => Ok(Self::DestroyedCompromised),
            state => Err(WrongState { state, action: "destroy" }),
        }
    }

    /// Whether the key material is gone.
    #[must_use]
    pub fn is_destroyed(self) -> bool {
        matches!(self, Self::Destroyed | Self::DestroyedCompromised)
    }

    /// Whether it may protect: encrypt, sign, compute a MAC, wrap.
    #[must_use]
    pub fn may_protect(self) -> bool {
        self == Self::Active
    }

    /// Whether it may process what was protected before: decrypt, verify, unwrap.
    #[must_use]
    pub fn may_process(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated | Self::Compromised)
    }

    /// As KMIP writes it.
    #[must_use]
    pub fn to_kmip(self) -> State {
        match self {
            Self::PreActive => State::PreActive,
            Self::Active => State::Active,
            Self::Deactivated => State::Deactivated,
            Self::Compromised => State::Compromised,
            Self::Destroyed => State::Destroyed,
            Self::DestroyedCompromised => State::DestroyedCompromised,
        }
    }

    /// Reads a stored state.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        match State::from_code(code)? {
            State::PreActive => Some(Self::PreActive),
            State::Active => Some(Self::Active),
            State::Deactivated => Some(Self::Deactivated),
            State::Compromised => Some(Self::Compromised),
            State::Destroyed => Some(Self::Destroyed),
            State::DestroyedCompromised => Some(Self::DestroyedCompromised),
            State::Extension(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Activate,
        Deactivate,
        Compromise,
        Destroy,
    }

    fn apply(state: Lifecycle, step: Step) -> Lifecycle {
        match step {
            Step::Activate => state.activate().unwrap_or(state),
            Step::Deactivate => state.deactivate().unwrap_or(state),
            Step::Compromise => state.compromise(),
            Step::Destroy => state.destroy().unwrap_or(state),
        }
    }

    proptest! {
        /// Whatever is asked in whatever order: destroyed stays destroyed, compromised is never forgotten, and nothing
        /// becomes usable again.
        #[test]
        fn no_way_back(steps in prop::collection::vec(
            prop_oneof![Just(Step::Activate), Just(Step::Deactivate), Just(Step::Compromise), Just(Step::Destroy)], 0..12)) {
            let mut state = Lifecycle::PreActive;
            for step in steps {
                let next = apply(state, step);
                prop_assert!(!state.is_destroyed() || next.is_destroyed());
                let compromised = |s| matches!(s, Lifecycle::Compromised | Lifecycle::DestroyedCompromised);
                prop_assert!(!compromised(state) || compromised(next));
                prop_assert!(state == Lifecycle::PreActive || !next.may_protect() || state.may_protect());
                prop_assert_eq!(Lifecycle::from_code(next.to_kmip().code()), Some(next));
                state = next;
            }
        }
    }
}
