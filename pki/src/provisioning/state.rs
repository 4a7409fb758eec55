//! The states of a provisioning key and of the service, and what follows from both.

use time::OffsetDateTime;

use super::Decision;
use crate::crl::Reason;

/// Most keys of an organisation that are active or suspended, where nothing else is configured.
pub const CONCURRENT_KEYS_MAX: usize = 3;

/// Issues and renews.
///
/// Data: since when, and why if it was suspended before. Who may use it: clients that enrol and renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    since: OffsetDateTime,
    reason: Option<String>,
}

/// Issues and renews nothing; certificates issued before still connect. Reversible.
///
/// Data: since when and why. Who may use it: CRL and OCSP signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    since: OffsetDateTime,
    reason: String,
}

/// Issues nothing, and its certificates no longer connect. Final.
///
/// Data: since when, why, and the reason relying parties are told. Who may use it: nobody; its CA key signs a last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    since: OffsetDateTime,
    reason: String,
    told: Reason,
}

impl Active {
    /// A new key.
    pub fn new(since: OffsetDateTime) -> Self {
        Self { since, reason: None }
    }

    /// Stops issuing and renewing.
    pub fn suspend(self, decision: &Decision) -> Suspended {
        Suspended { since: decision.at(), reason: decision.reason().into() }
    }

    /// Ends the key.
    pub fn revoke(self, decision: &Decision, told: Reason) -> Revoked {
        Revoked::by(decision, told)
    }
}

impl Suspended {
    /// Issues and renews again.
    pub fn reactivate(self, decision: &Decision) -> Active {
        Active { since: decision.at(), reason: Some(decision.reason().into()) }
    }

    /// Ends the key.
    pub fn revoke(self, decision: &Decision, told: Reason) -> Revoked {
        Revoked::by(decision, told)
    }
}

impl Revoked {
    fn by(decision: &Decision, told: Reason) -> Self {
        // RFC 5280 §5.3.1: a hold can be lifted, a revoked key cannot.
        let told = if told == Reason::CertificateHold { Reason::Unspecified } else { told };
        Self { since: decision.at(), reason: decision.reason().into(), told }
    }

    /// The reason relying parties are told.
    pub fn told(&self) -> Reason {
        self.told
    }
}

/// The state of a key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// See [`Active`].
    Active(Active),
    /// See [`Suspended`].
    Suspended(Suspended),
    /// See [`Revoked`].
    Revoked(Revoked),
}

/// A stored row that is no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored state \"{state}\" of a provisioning key is not whole")]
pub struct StoredStateError {
    state: String,
}

impl KeyState {
    /// Parses a stored state: its [`KeyState::name`], when it began, the administrator's reason, and what relying parties
    /// are told.
    pub fn from_stored(
        name: &str,
        since: OffsetDateTime,
        reason: Option<String>,
        told: Option<Reason>,
    ) -> Result<Self, StoredStateError> {
        match (name, reason, told) {
            ("active", reason, None) => Ok(Self::Active(Active { since, reason })),
            ("suspended", Some(reason), None) => Ok(Self::Suspended(Suspended { since, reason })),
            ("revoked", Some(reason), Some(told)) if told != Reason::CertificateHold => {
                Ok(Self::Revoked(Revoked { since, reason, told }))
            }
            _ => Err(StoredStateError { state: name.chars().take(20).collect() }),
        }
    }

    /// `active`, `suspended` or `revoked`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Active(_) => "active",
            Self::Suspended(_) => "suspended",
            Self::Revoked(_) => "revoked",
        }
    }

    /// When the state began.
    pub fn since(&self) -> OffsetDateTime {
        match self {
            Self::Active(state) => state.since,
            Self::Suspended(state) => state.since,
            Self::Revoked(state) => state.since,
        }
    }

    /// The administrator's reason; `None` for a new key.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Active(state) => state.reason.as_deref(),
            Self::Suspended(state) => Some(&state.reason),
            Self::Revoked(state) => Some(&state.reason),
        }
    }

    /// What relying parties are told, of a revoked key.
    pub fn told(&self) -> Option<Reason> {
        match self {
            Self::Revoked(state) => Some(state.told),
            Self::Active(_) | Self::Suspended(_) => None,
        }
    }

    /// Whether the key takes one of the organisation's places.
    pub fn takes_a_place(&self) -> bool {
        !matches!(self, Self::Revoked(_))
    }
}

/// No place is left for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{max} provisioning keys are active or suspended, which is all there may be: revoke one first")]
pub struct NoRoom {
    /// Places in all.
    pub max: usize,
}

/// Whether another key may be created beside these. To be asked inside the transaction that creates it.
pub fn check_room<'a>(keys: impl IntoIterator<Item = &'a KeyState>, max: usize) -> Result<(), NoRoom> {
    let taken = keys.into_iter().filter(|key| key.takes_a_place()).count();
    if taken >= max { Err(NoRoom { max }) } else { Ok(()) }
}

/// Whether an organisation enrols clients at all. Off until enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Off: requests are refused, and clients enrolled by provisioning keys with them.
    Disabled {
        /// Since when; `None` where it was never enabled.
        since: Option<OffsetDateTime>,
    },
    /// On.
    Enabled {
        /// Since when.
        since: OffsetDateTime,
    },
}

impl ServiceState {
    /// Of a new organisation.
    pub const NEW: Self = Self::Disabled { since: None };

    /// Switches on: every key is again what it was. No change, hence `None`, where it is on.
    pub fn enable(self, decision: &Decision) -> Option<Self> {
        matches!(self, Self::Disabled { .. }).then(|| Self::Enabled { since: decision.at() })
    }

    /// Switches off: no key's own state is touched. No change, hence `None`, where it is off.
    pub fn disable(self, decision: &Decision) -> Option<Self> {
        matches!(self, Self::Enabled { .. }).then(|| Self::Disabled { since: Some(decision.at()) })
    }
}

/// What counts: the state of the service and of the key together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectiveState {
    /// Issues, renews, connects.
    Active,
    /// Connects.
    Suspended,
    /// Nothing, until the service is enabled again.
    Disabled {
        /// Since when, for CRL and OCSP.
        since: OffsetDateTime,
    },
    /// Nothing, for good.
    Revoked {
        /// Since when.
        since: OffsetDateTime,
        /// What relying parties are told.
        told: Reason,
    },
}

impl EffectiveState {
    /// Of a key under a service.
    pub fn of(service: ServiceState, key: &KeyState) -> Self {
        match (service, key) {
            // A revoked key stays revoked whatever the service does.
            (_, KeyState::Revoked(revoked)) => Self::Revoked { since: revoked.since, told: revoked.told },
            // A key under a service that was never enabled is held since it exists.
            (ServiceState::Disabled { since }, key) => Self::Disabled { since: since.unwrap_or(key.since()) },
            (ServiceState::Enabled { .. }, KeyState::Active(_)) => Self::Active,
            (ServiceState::Enabled { .. }, KeyState::Suspended(_)) => Self::Suspended,
        }
    }

    /// Whether clients may enrol and renew.
    pub fn issues(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether certificates issued before may connect.
    pub fn connects(self) -> bool {
        matches!(self, Self::Active | Self::Suspended)
    }

    /// Whether the issuing CA is in the trust bundle.
    pub fn is_trusted(self) -> bool {
        self.connects()
    }

    /// When and why every CA certificate of the key is on its parent's CRL; `None` where it is not.
    pub fn on_parent_crl(self) -> Option<(OffsetDateTime, Reason)> {
        match self {
            Self::Active | Self::Suspended => None,
            Self::Disabled { since } => Some((since, Reason::CertificateHold)),
            Self::Revoked { since, told } => Some((since, told.for_ca())),
        }
    }

    /// When and why OCSP calls the key's clients revoked, whatever is known of each of them; `None` where it does not.
    pub fn on_ocsp(self) -> Option<(OffsetDateTime, Reason)> {
        match self {
            Self::Active | Self::Suspended => None,
            Self::Disabled { since } => Some((since, Reason::CertificateHold)),
            Self::Revoked { since, told } => Some((since, told)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Act {
        Suspend,
        Reactivate,
        Revoke(Reason),
        Enable,
        Disable,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => Just(Act::Suspend),
            3 => Just(Act::Reactivate),
            1 => proptest::sample::select(&Reason::ALL[..]).prop_map(Act::Revoke),
            3 => Just(Act::Enable),
            3 => Just(Act::Disable),
        ]
    }

    fn moment(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    fn decision(seconds: i64) -> Decision {
        Decision::new(moment(seconds), "because", true).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The table of design: state of the service, state of the key, and what follows.
    #[test]
    fn what_follows_is_a_table() {
        let on = ServiceState::Enabled { since: moment(1) };
        let off = ServiceState::Disabled { since: Some(moment(2)) };
        let active = || Active::new(moment(3));
        let suspended = || active().suspend(&decision(4));
        let revoked = KeyState::Revoked(suspended().revoke(&decision(5), Reason::KeyCompromise));
        let (active, suspended) = (KeyState::Active(active()), KeyState::Suspended(suspended()));
        let hold = Some((moment(2), Reason::CertificateHold));
        let gone = Some((moment(5), Reason::CaCompromise));
        for (service, key, issues, connects, parent) in [
            (on, &active, true, true, None),
            (on, &suspended, false, true, None),
            (on, &revoked, false, false, gone),
            (off, &active, false, false, hold),
            (off, &suspended, false, false, hold),
            (off, &revoked, false, false, gone),
        ] {
            let state = EffectiveState::of(service, key);
            assert_eq!(
                (state.issues(), state.connects(), state.is_trusted()),
                (issues, connects, connects),
                "{state:?}"
            );
            assert_eq!(state.on_parent_crl(), parent);
            assert_eq!(state.on_ocsp().map(|(since, reason)| (since, reason.for_ca())), parent);
        }
        assert!(!EffectiveState::of(ServiceState::NEW, &active).connects());
        let all = [active, suspended, revoked];
        assert_eq!(check_room(&all, 3), Ok(()));
        assert_eq!(check_room(all.iter().chain(&all[..1]), 3), Err(NoRoom { max: 3 }));
    }

    #[test]
    fn a_decision_needs_a_reason_and_an_acknowledgement() {
        let decide = |reason: &str, acknowledged| Decision::new(moment(0), reason, acknowledged);
        assert!(decide(" lost ", true).is_ok_and(|decision| decision.reason() == "lost"));
        assert!(decide("lost", false).is_err() && decide(" ", true).is_err() && decide("a\nb", true).is_err());
        assert!(decide(&"x".repeat(501), true).is_err());
    }

    proptest! {
        /// Whatever is done in whatever order: revoked is final, the service never changes a key, storage loses nothing, and
        /// only an active key under an enabled service issues.
        #[test]
        fn no_sequence_of_acts_breaks_the_rules(acts in proptest::collection::vec(act(), 0..40)) {
            let mut key = KeyState::Active(Active::new(moment(0)));
            let mut service = ServiceState::NEW;
            let mut revoked = None;
            for (index, act) in acts.into_iter().enumerate() {
                let decision = decision(i64::try_from(index).unwrap_or(0) + 1);
                let before = key.clone();
                key = match (act, key) {
                    (Act::Suspend, KeyState::Active(state)) => KeyState::Suspended(state.suspend(&decision)),
                    (Act::Reactivate, KeyState::Suspended(state)) => KeyState::Active(state.reactivate(&decision)),
                    (Act::Revoke(told), KeyState::Active(state)) => KeyState::Revoked(state.revoke(&decision, told)),
                    (Act::Revoke(told), KeyState::Suspended(state)) => KeyState::Revoked(state.revoke(&decision, told)),
                    (_, key) => key,
                };
                match act {
                    Act::Enable => {
                        service = service.enable(&decision).unwrap_or(service);
                        prop_assert_eq!(&key, &before);
                    }
                    Act::Disable => {
                        service = service.disable(&decision).unwrap_or(service);
                        prop_assert_eq!(&key, &before);
                    }
                    Act::Suspend | Act::Reactivate | Act::Revoke(_) => {}
                }
                if let Some(revoked) = &revoked {
                    prop_assert_eq!(&key, revoked);
                }
                if matches!(key, KeyState::Revoked(_)) {
                    revoked = Some(key.clone());
                }
                let effective = EffectiveState::of(service, &key);
                let on = matches!(service, ServiceState::Enabled { .. });
                prop_assert_eq!(effective.issues(), on && matches!(key, KeyState::Active(_)));
                prop_assert_eq!(effective.connects(), on && key.takes_a_place());
                prop_assert_eq!(effective.connects(), effective.on_parent_crl().is_none());
                let stored = KeyState::from_stored(key.name(), key.since(), key.reason().map(Into::into), key.told());
                prop_assert_eq!(stored.as_ref(), Ok(&key));
            }
        }

        #[test]
        fn stored_states_are_whole_or_refused(name in "active|suspended|revoked|\\PC{0,8}", reason in any::<bool>(), code in 0u8..12) {
            let told = Reason::from_code(code);
            let state = KeyState::from_stored(&name, moment(0), reason.then(|| "x".into()), told);
            if let Ok(state) = state {
                prop_assert_eq!((state.name(), state.told()), (name.as_str(), told));
                prop_assert!(state.reason().is_some() || name == "active");
            }
        }
    }
}
