//! From when to when a certificate is valid.

use time::{Duration, OffsetDateTime};
use x509_cert::time::{Time, Validity};

use crate::{error::PkiError, profile::Days};

/// The validity asked for. What is issued never exceeds the issuer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    now: OffsetDateTime,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Window {
    /// From five minutes ago (clocks differ) for `days`.
    pub fn days(now: OffsetDateTime, days: Days) -> Result<Self, PkiError> {
        let end = now.checked_add(Duration::days(i64::from(days))).ok_or(PkiError::Validity { days })?;
        if days == 0 { Err(PkiError::Validity { days }) } else { Self::until(now, end) }
    }

    /// From five minutes ago to `end`.
    pub fn until(now: OffsetDateTime, end: OffsetDateTime) -> Result<Self, PkiError> {
        let days = u32::try_from((end - now).whole_days()).unwrap_or(0);
        let not_before = now.checked_sub(Duration::minutes(5)).ok_or(PkiError::Validity { days })?;
        // RFC 5280 §4.1.2.5.1 and §4.1.2.5.2: neither time type has fractions of a second.
        let whole = |moment: OffsetDateTime| moment.replace_nanosecond(0).map_err(|_| PkiError::Validity { days });
        if end <= now {
            return Err(PkiError::Validity { days });
        }
        Ok(Self { now, not_before: whole(not_before)?, not_after: whole(end)? })
    }

    /// The end asked for.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// The part of the window within the issuer's validity; refused where the issuer is not valid now.
    pub(crate) fn within(self, start: OffsetDateTime, end: OffsetDateTime) -> Result<Self, PkiError> {
        if end <= self.now || self.now < start {
            return Err(PkiError::Issuer("its certificate is not valid now"));
        }
        Ok(Self { not_before: self.not_before.max(start), not_after: self.not_after.min(end), ..self })
    }

    /// The window with an end no later than `end`; `None` where nothing is left of it.
    pub(crate) fn ending_by(self, end: OffsetDateTime) -> Option<Self> {
        Some(Self { not_after: self.not_after.min(end), ..self }).filter(|_| self.now < end)
    }

    pub(crate) fn validity(self) -> Result<Validity, PkiError> {
        Ok(Validity::new(asn1_time(self.not_before)?, asn1_time(self.not_after)?))
    }
}

/// RFC 5280 §4.1.2.5: "CAs ... MUST always encode certificate validity dates through the year 2049 as UTCTime; ...
/// dates in 2050 or later MUST be encoded as GeneralizedTime."
pub(crate) fn asn1_time(moment: OffsetDateTime) -> Result<Time, PkiError> {
    date_time(moment).map(Time::from)
}

pub(crate) fn date_time(moment: OffsetDateTime) -> Result<der::DateTime, PkiError> {
    u64::try_from(moment.unix_timestamp())
        .ok()
        .and_then(|seconds| der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).ok())
        .ok_or(PkiError::Time(moment))
}
