//! Refusals of the domain -> problem details: the one place that knows both.

use axum::http::StatusCode;

use crate::{
    admin::chain,
    authority::AuthorityError,
    http::Problem,
    provisioning::ProvisioningError,
    rest::AccountError,
    store::{CommitError, ReadError},
};

const INVALID: &str = "not valid";

impl From<ProvisioningError> for Problem {
    /// Exhaustive on purpose: a new refusal must be given its status here.
    fn from(error: ProvisioningError) -> Self {
        let text = error.to_string();
        match error {
            ProvisioningError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not-found", "not found", text),
            ProvisioningError::Invalid(_) => invalid(text),
            ProvisioningError::NameTaken { .. } => Self::new(StatusCode::CONFLICT, "name-taken", "conflict", text),
            ProvisioningError::State(_) => Self::new(StatusCode::CONFLICT, "state", "conflict", text),
            ProvisioningError::Changed => changed(),
            ProvisioningError::Unacknowledged => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "acknowledgement-required", "acknowledgement required", format!("{text}: set \"acknowledged\" to true"))
            }
            ProvisioningError::Pki(error) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "certificate", INVALID, chain(&error)),
            ProvisioningError::KeyAway(_) => away("key-away", text),
            // It is done, and in force here: the code says so.
            ProvisioningError::Unpublished { .. } => away("unpublished", text),
            ProvisioningError::Store(error) => error.into(),
            ProvisioningError::Read(error) => error.into(),
            ProvisioningError::Memory(_) | ProvisioningError::Damaged(_) => internal(&error),
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed => away("closed", "the gateway is stopping"),
            CommitError::DiskFull | CommitError::ReadOnlyLowDisk { .. } => away("disk", error.to_string()),
            CommitError::Conflict { .. } | CommitError::Stale { .. } => changed(),
            CommitError::EntryTaken { .. } | CommitError::NameTaken { .. } => {
                Self::new(StatusCode::CONFLICT, "name-taken", "conflict", error.to_string())
            }
            CommitError::EntryMissing { .. } => Self::new(StatusCode::NOT_FOUND, "not-found", "not found", "it is gone meanwhile"),
            // One permission nobody has: to leave the gateway without an administrator.
            CommitError::LastAdmin => Self::new(StatusCode::CONFLICT, "state", "conflict", error.to_string()).denied("last administrator"),
            CommitError::KeystoreInUse { .. }
            | CommitError::Uncounted
            | CommitError::NoRoom(_)
            | CommitError::UsedUp { .. }
            | CommitError::KeyOfAnother
            | CommitError::ClientRevoked
            | CommitError::SuccessorCircle
            | CommitError::Quota { .. } => {
                Self::new(StatusCode::CONFLICT, "state", "conflict", error.to_string())
            }
            CommitError::Malformed(_) | CommitError::Broken(_) => internal(&error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused { .. } | ReadError::Broken(_) => internal(&error),
        }
    }
}

impl From<AuthorityError> for Problem {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Pki(error) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "certificate", INVALID, chain(&error)),
            AuthorityError::Store(error) => error.into(),
            AuthorityError::Missing(_) | AuthorityError::Damaged(_) | AuthorityError::Memory(_) => internal(&error),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not-found", "not found", error.to_string()),
            AccountError::NameTaken { .. } => Self::new(StatusCode::CONFLICT, "name-taken", "conflict", error.to_string()),
            AccountError::Invalid(rule) => invalid(rule),
            AccountError::Changed => changed(),
            AccountError::Password => internal(&error),
            AccountError::Store(error) => error.into(),
        }
    }
}

/// 422: an argument is wrong.
pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", INVALID, detail)
}

/// 400: the request cannot be read.
pub(super) fn unreadable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "unreadable", "bad request", detail)
}

/// RFC 9110 §13.1.1: 412 where the condition of If-Match is false.
pub(super) fn changed() -> Problem {
    let detail = "it was changed by somebody else meanwhile: look again, then decide";
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "precondition failed", detail)
}

fn away(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, "service unavailable", detail)
}

/// 500: what is wrong is for the log.
pub(super) fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = chain(error), "a request of an administrator failed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error", "the gateway could not do it: its log says why")
}
