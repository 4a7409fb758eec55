//! What goes wrong in provisioning, in terms of no protocol. Each protocol maps these in one place of its own.

use std::time::Duration;

use keygate_pki::{
    ImportError, NamePatternError, PkiError, RequestError,
    provisioning::{DecisionError, KeyNameError, LimitError, SourceRangesError},
    rotation::RotationError,
};

use crate::store::{CommitError, Quota, ReadError};

/// Why an administrator's wish is not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ProvisioningError {
    /// What is named is not there.
    #[error("there is no {what} \"{id}\"")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// As it was named.
        id: String,
    },
    /// An argument is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The name is taken.
    #[error("the name \"{name}\" belongs to another {what} already; case does not count")]
    NameTaken {
        /// What kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It is not in a state that allows this.
    #[error("{0}")]
    State(String),
    /// It is not what the caller has seen.
    #[error("it was changed by somebody else meanwhile: look again, then decide")]
    Changed,
    /// The acknowledgement is missing.
    #[error("the impact of this act must be acknowledged")]
    Unacknowledged,
    /// A certificate could not be made or taken.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The key of an authority does not answer.
    #[error("the key of the authority does not answer: {0}")]
    KeyAway(String),
    /// The change is made and in force here, but relying parties could not be told yet.
    #[error("done, but the lists for relying parties could not be signed yet; this is tried again every few seconds")]
    Unpublished {
        /// What failed.
        #[source]
        cause: Box<Self>,
    },
    /// The store refused.
    #[error("the store refuses")]
    Store(#[source] CommitError),
    /// A stored row cannot be read.
    #[error("a stored row cannot be read")]
    Read(#[from] ReadError),
    /// There is no memory page for a secret.
    #[error("no memory page for a secret")]
    Memory(#[source] std::io::Error),
    /// A stored value is of no known form.
    #[error("the stored {0} cannot be read")]
    Damaged(&'static str),
}

impl From<CommitError> for ProvisioningError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Stale { .. } => Self::Changed,
            CommitError::NoRoom(full) => Self::State(full.to_string()),
            CommitError::Quota { .. } | CommitError::KeystoreInUse { .. } | CommitError::Uncounted => Self::State(error.to_string()),
            other => Self::Store(other),
        }
    }
}

macro_rules! invalid {
    ($($error:ty),+) => {
        $(impl From<$error> for ProvisioningError {
            fn from(error: $error) -> Self {
                Self::Invalid(crate::admin::chain(&error))
            }
        })+
    };
}

invalid!(ImportError, KeyNameError, NamePatternError, SourceRangesError);

impl From<DecisionError> for ProvisioningError {
    fn from(error: DecisionError) -> Self {
        match error {
            DecisionError::NotAcknowledged => Self::Unacknowledged,
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl From<RotationError> for ProvisioningError {
    fn from(error: RotationError) -> Self {
        Self::State(error.to_string())
    }
}

/// Why a client gets no certificate. Nothing was issued then.
#[derive(Debug, thiserror::Error)]
pub enum EnrolRefusal {
    /// Wrong id or secret, a revoked key, or a certificate that renews nothing. Which of them is not said.
    #[error("the provisioning key or certificate is not accepted")]
    Unauthorised,
    /// Too many wrong secrets, or revocations, from this address.
    #[error("too many attempts from this address: wait {} s", .retry_after.as_secs() + 1)]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The key is suspended. Told only to who showed its secret, or a certificate of it.
    #[error("the provisioning key is suspended: no certificates are issued or renewed for now")]
    Suspended {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The service is disabled. Told only as above.
    #[error("the provisioning service is disabled")]
    Disabled {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Beyond a limit of the key.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A quota leaves no room.
    #[error("the quota of {max} {what} is used up")]
    Quota {
        /// Which one.
        what: Quota,
        /// How many there may be.
        max: u64,
    },
    /// The request itself.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The request is readable, but asks for what a client cannot have.
    #[error("{0}")]
    Asked(String),
    /// A key, the store or the disk does not answer. Try again later.
    #[error("no certificate can be issued at the moment")]
    Unavailable {
        /// For the log.
        #[source]
        cause: ProvisioningError,
    },
}

impl EnrolRefusal {
    /// In words from a fixed set, for the audit record.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorised => "not accepted",
            Self::Throttled { .. } => "throttled",
            Self::Suspended { .. } => "suspended",
            Self::Disabled { .. } => "disabled",
            Self::Limit(LimitError::Expired { .. }) => "expired",
            Self::Limit(LimitError::UsedUp { .. }) => "used up",
            Self::Limit(LimitError::Source { .. }) => "source address",
            Self::Quota { .. } => "quota",
            Self::Request(error) => request_word(error),
            Self::Asked(_) => "request",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub(crate) fn unavailable(cause: impl Into<ProvisioningError>) -> Self {
        Self::Unavailable { cause: cause.into() }
    }
}

fn request_word(error: &RequestError) -> &'static str {
    match error {
        RequestError::TooLarge { .. } => "request too large",
        RequestError::Malformed(_) => "not a request",
        RequestError::PublicKey(_) => "public key refused",
        RequestError::SignatureAlgorithm(_) => "signature algorithm",
        RequestError::Signature => "no proof of possession",
        RequestError::SubjectAltName(_) | RequestError::TooManyNames { .. } => "names",
        RequestError::AsksToBeCa => "asks to be a CA",
        RequestError::CaKey => "key of a CA",
        RequestError::KeyOfAnother => "key of another client",
        RequestError::DuplicateExtension(_)
        | RequestError::UnknownCriticalExtension(_)
        | RequestError::RepeatedAttribute => "extensions",
        RequestError::NameNotAllowed { .. } => "name not allowed",
    }
}
