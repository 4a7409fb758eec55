//! Small parts of answers that several resources share.

use keygate_pki::{Certificate, OffsetDateTime, Reason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error;
use crate::http::Problem;

/// When and why something was revoked.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RevokedView {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What relying parties are told: a reason of RFC 5280 §5.3.1.
    pub reason: String,
}

impl RevokedView {
    pub(super) fn of((at, reason): (OffsetDateTime, Reason)) -> Self {
        Self { at, reason: reason.name().into() }
    }
}

/// A stored time, seconds since 1970.
pub(super) fn seconds(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A stored time, milliseconds since 1970.
pub(super) fn milliseconds(milliseconds: i64) -> OffsetDateTime {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000);
    moment.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(super) fn pem(certificate: &Certificate) -> Result<String, Problem> {
    certificate.to_pem().map_err(|failure| error::internal(&failure))
}
