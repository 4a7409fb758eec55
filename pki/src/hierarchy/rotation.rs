//! The generations of an issuer's key: made, published, active, retired.
//!
//! A new key signs only after relying parties have had time to fetch its certificate; the old one goes on signing CRLs
//! until the last certificate under it has ended. Each transition takes the state and gives the next one, or the state
//! back with the reason.

use time::{Duration, OffsetDateTime};

/// Made, and known to nobody.
///
/// Data: a key and a certificate. Who may use it: nobody yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initialised;

/// Certificate published; signs nothing yet.
///
/// Data: when it was published. Who may use it: relying parties, to fetch the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// When.
    pub since: OffsetDateTime,
}

/// Signs certificates and CRLs.
///
/// Data: since when. Who may use it: issuing, CRLs, OCSP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// When.
    pub since: OffsetDateTime,
}

/// Signs CRLs and OCSP responder certificates only.
///
/// Data: since when, and until when what it signed is in use. Who may use it: CRLs, OCSP; from `until` on nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// When.
    pub since: OffsetDateTime,
    /// End of the last certificate it signed.
    pub until: OffsetDateTime,
}

/// The state of a generation as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// See [`Initialised`].
    Initialised(Initialised),
    /// See [`Published`].
    Published(Published),
    /// See [`Active`].
    Active(Active),
    /// See [`Retired`].
    Retired(Retired),
}

/// Why a generation stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Relying parties have not had the time to fetch the certificate.
    #[error("published too recently: it can be activated at {at}")]
    TooEarly {
        /// Earliest moment.
        at: OffsetDateTime,
    },
    /// Certificates under it are in use.
    #[error("certificates it signed are valid until {until}")]
    InUse {
        /// End of the last of them.
        until: OffsetDateTime,
    },
}

impl Initialised {
    /// Its certificate is published from `now` on.
    pub fn publish(self, now: OffsetDateTime) -> Published {
        Published { since: now }
    }
}

impl Published {
    /// It begins to sign, `overlap` after it was published at the earliest (CRL validity plus cache time).
    pub fn activate(self, now: OffsetDateTime, overlap: Duration) -> Result<Active, (Self, RotationError)> {
        let at = self.since.saturating_add(overlap);
        if now < at { Err((self, RotationError::TooEarly { at })) } else { Ok(Active { since: now }) }
    }

    /// It begins to sign at once, by an administrator's decision: the old key is compromised, or nothing relies on it yet.
    pub fn activate_without_overlap(self, now: OffsetDateTime) -> Active {
        Active { since: now }
    }
}

impl Active {
    /// It signs no more certificates; `until` is the end of the last it signed.
    pub fn retire(self, now: OffsetDateTime, until: OffsetDateTime) -> Retired {
        Retired { since: now, until }
    }
}

impl Retired {
    /// Ends the generation: its key may be destroyed once nothing it signed is in use.
    pub fn end(self, now: OffsetDateTime) -> Result<(), (Self, RotationError)> {
        if now <= self.until { Err((self, RotationError::InUse { until: self.until })) } else { Ok(()) }
    }
}

impl Generation {
    /// Whether certificates are signed in this state.
    pub fn signs_certificates(&self) -> bool {
        matches!(self, Self::Active(_))
    }

    /// Whether CRLs are signed in this state.
    pub fn signs_crls(&self) -> bool {
        matches!(self, Self::Active(_) | Self::Retired(_))
    }

    /// Whether relying parties are told of the certificate in this state.
    pub fn is_published(&self) -> bool {
        !matches!(self, Self::Initialised(_))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the clock goes, a key signs only after its overlap, and ends only after its last certificate.
        #[test]
        fn overlap_is_enforced(published in 0i64..2_000_000_000, wait in -100_000i64..200_000, lives in 0i64..100_000) {
            let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let overlap = Duration::hours(24);
            let state = Initialised.publish(moment(published));
            let now = moment(published + wait);
            match state.activate(now, overlap) {
                Ok(active) => {
                    prop_assert!(wait >= 86_400);
                    prop_assert!(Generation::Active(active).signs_certificates());
                    let until = moment(published + wait + lives);
                    let retired = active.retire(now, until);
                    prop_assert!(!Generation::Retired(retired).signs_certificates() && Generation::Retired(retired).signs_crls());
                    prop_assert_eq!(retired.end(until), Err((retired, RotationError::InUse { until })));
                    prop_assert_eq!(retired.end(until + Duration::SECOND), Ok(()));
                }
                Err((same, RotationError::TooEarly { at })) => {
                    prop_assert!(wait < 86_400);
                    prop_assert_eq!((same, at), (state, moment(published + 86_400)));
                }
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
