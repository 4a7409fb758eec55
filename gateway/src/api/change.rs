//! Changes: run to their end, and the reason and acknowledgement that some of them need.

use serde::Deserialize;
use utoipa::ToSchema;

use super::error;
use crate::{http::Problem, provisioning::Reasoned};
use keygate_pki::Reason;

/// Runs a change to its end, whether or not whoever asked for it still waits: what was begun is not cut off half-way.
pub(super) async fn to_the_end<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(lost) => Err(error::internal(&lost)),
    }
}

/// A change with an impact that must be acknowledged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledged {
    /// Why, in the administrator's words: 1 to 500 characters, kept in the audit record.
    pub(super) reason: String,
    /// "I understand the impact of this action and want to proceed".
    #[serde(default)]
    pub(super) acknowledged: bool,
}

/// A revocation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoking {
    /// Why, in the administrator's words: 1 to 500 characters, kept in the audit record.
    pub(super) reason: String,
    /// "I understand the impact of this action and want to proceed".
    #[serde(default)]
    pub(super) acknowledged: bool,
    /// What relying parties are told: a reason of RFC 5280 §5.3.1, such as `keyCompromise`. Without it: `unspecified`.
    #[serde(default)]
    pub(super) told: Option<String>,
}

impl From<Acknowledged> for Reasoned {
    fn from(wish: Acknowledged) -> Self {
        Self { reason: wish.reason, acknowledged: wish.acknowledged }
    }
}

impl Revoking {
    pub(super) fn into_parts(self) -> Result<(Reasoned, Reason), Problem> {
        let told = match self.told {
            None => Reason::Unspecified,
            Some(name) => name.parse().map_err(|error: keygate_pki::ReasonError| error::invalid(error.to_string()))?,
        };
        Ok((Reasoned { reason: self.reason, acknowledged: self.acknowledged }, told))
    }
}
