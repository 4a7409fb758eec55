//! Why an operation did not happen, said without any protocol. [`crate::respond`] maps it to each protocol's errors.

use keygate_backends::{Class, Fault, KsError};
use keygate_kmip::AttributeName;

use crate::object::WrongState;
use crate::store::{CommitError, EntryKind, ReadError};

/// Why an operation did not happen. Texts are for the client; what only we should know is logged where it arises.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OperationError {
    /// No such object, or none that the caller may know of: the two look alike.
    #[error("object not found")]
    NotFound,
    /// The object is there for the caller, but not for this use.
    #[error("{0}")]
    PermissionDenied(String),
    /// The user's credential was refused.
    #[error("authentication not successful")]
    NotAuthenticated,
    /// The ticket that the caller acts with is not for this.
    #[error("the ticket gives no right to this")]
    NotAuthorised,
    /// A ticket that is not in force, or not the caller's.
    #[error("the ticket is not valid")]
    InvalidTicket,
    /// What a ticket may be used for is used up.
    #[error("the ticket's limits are used up")]
    TicketUsedUp,
    /// An object with the identifier is there already.
    #[error("an object with this identifier exists")]
    ObjectExists,
    /// A certificate request that is none, or asks for what is not given.
    #[error("{0}")]
    InvalidCsr(String),
    /// Parameters of a PKCS#11 function that cannot be read.
    #[error("{0}")]
    Pkcs11Codec(String),
    /// A PKCS#11 interface that is not served.
    #[error("{0}")]
    Pkcs11Interface(String),
    /// The caller's object is in a state that forbids it.
    #[error("{0}")]
    WrongState(String),
    /// The object was destroyed.
    #[error("the object is destroyed")]
    Destroyed,
    /// The object is in archival storage: Recover it first.
    #[error("the object is archived; recover it first")]
    Archived,
    /// The usage mask does not allow it.
    #[error("{0}")]
    UsageNotAllowed(String),
    /// The usage limits are used up.
    #[error("usage limit exceeded")]
    UsageLimitExceeded,
    /// The material is sensitive and may leave only wrapped.
    #[error("the object is sensitive: its value leaves only wrapped")]
    Sensitive,
    /// The material must not leave.
    #[error("the key is not extractable")]
    NotExtractable,
    /// The key value is kept elsewhere.
    #[error("the key value is not kept here")]
    KeyValueNotPresent,
    /// A field holds what it must not hold.
    #[error("{0}")]
    InvalidField(String),
    /// The message contradicts itself or lacks something.
    #[error("{0}")]
    InvalidMessage(String),
    /// An attribute that may not be set or changed.
    #[error("{0}")]
    ReadOnlyAttribute(String),
    /// An attribute that has one value has one already.
    #[error("{0}")]
    SingleValuedAttribute(String),
    /// An attribute with several values where one is meant.
    #[error("{0}")]
    MultiValuedAttribute(String),
    /// An attribute that this version or server does not know.
    #[error("{0}")]
    UnsupportedAttribute(String),
    /// The object has no such attribute.
    #[error("{0}")]
    AttributeNotFound(String),
    /// The object has no such instance of the attribute.
    #[error("{0}")]
    AttributeInstanceNotFound(String),
    /// The Name belongs to another object of the owner.
    #[error("the name is taken by another object")]
    NameTaken,
    /// An adjusted value is beyond its type.
    #[error("{0}")]
    NumericRange(String),
    /// A value of a type that it must not have.
    #[error("{0}")]
    InvalidDataType(String),
    /// No request of the caller's has this Asynchronous Correlation Value.
    #[error("no request has this Asynchronous Correlation Value")]
    UnknownCorrelation,
    /// The batch item was canceled before it began.
    #[error("the request was canceled")]
    Canceled,
    /// The server has no such operation in this version.
    #[error("{0}")]
    OperationNotSupported(String),
    /// The server has no such feature.
    #[error("{0}")]
    FeatureNotSupported(String),
    /// The key cannot be written in this format.
    #[error("{0}")]
    KeyFormatNotSupported(String),
    /// The key cannot be compressed like this.
    #[error("key compression is not supported")]
    KeyCompressionNotSupported,
    /// Wrapped keys cannot be encoded like this.
    #[error("{0}")]
    EncodingOption(String),
    /// The wrapping key is not there for the caller.
    #[error("wrapping key not found")]
    WrappingKeyNotFound,
    /// The cryptographic parameters do not fit the key or each other.
    #[error("{0}")]
    BadCryptographicParameters(String),
    /// A Tag Length that no authentication tag has.
    #[error("Tag Length is not 4 to 16")]
    TagLength,
    /// A tag, signature form, padding or length did not check out.
    #[error("{0}")]
    CryptographicFailure(String),
    /// The answer is larger than the client takes.
    #[error("the response is larger than Maximum Response Size")]
    ResponseTooLarge,
    /// The application namespace is not known.
    #[error("application namespace not supported")]
    ApplicationNamespaceNotSupported,
    /// A limit of the server.
    #[error("{0}")]
    LimitExceeded(String),
    /// Nothing was done; later it may work.
    #[error("{0}")]
    Unavailable(String),
    /// A critical message extension that is not understood.
    #[error("message extension is not understood")]
    UnknownExtension,
    /// Another request changed the object meanwhile: the message is executed again.
    #[error("another request changed the object")]
    Conflict,
    /// Something is broken on our side; the log says what.
    #[error("internal error")]
    Internal,
}

impl OperationError {
    /// An attribute may not be set or changed.
    #[must_use]
    pub fn read_only(name: &AttributeName, why: &str) -> Self {
        Self::ReadOnlyAttribute(format!("{} cannot be set: {why}", name.to_text()))
    }

    /// An attribute has a value already.
    #[must_use]
    pub fn single_valued(name: &AttributeName) -> Self {
        Self::SingleValuedAttribute(format!("{} has a value already and takes only one", name.to_text()))
    }

    /// An attribute is not known.
    #[must_use]
    pub fn unsupported_attribute(name: &AttributeName) -> Self {
        Self::UnsupportedAttribute(format!("{} is not an attribute of this version", name.to_text()))
    }

    /// A failure that is ours: logged here with its cause, told to nobody.
    pub fn internal(context: &str, cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "{context}");
        Self::Internal
    }
}

impl From<WrongState> for OperationError {
    fn from(wrong: WrongState) -> Self {
        Self::WrongState(wrong.to_string())
    }
}

impl From<ReadError> for OperationError {
    fn from(error: ReadError) -> Self {
        Self::internal("object could not be read", error)
    }
}

impl From<CommitError> for OperationError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { .. } => Self::Conflict,
            CommitError::NameTaken { .. } => Self::NameTaken,
            CommitError::DiskFull => Self::Unavailable("the server's disk is full".to_owned()),
            CommitError::ReadOnlyLowDisk { .. } => Self::Unavailable("the server is low on disk space and takes no changes".to_owned()),
            CommitError::Quota { .. } => Self::LimitExceeded(error.to_string()),
            CommitError::Closed => Self::Unavailable("the server is shutting down".to_owned()),
            CommitError::EntryMissing { kind: EntryKind::Keystore, .. } => Self::Unavailable("the keystore was removed meanwhile".to_owned()),
            CommitError::EntryTaken { .. } | CommitError::EntryMissing { .. } | CommitError::Malformed(_) | CommitError::Broken(_) => {
                Self::internal("commit failed", error)
            }
            // Of provisioning and keystores: no operation on managed objects changes what these are about.
            CommitError::Stale { .. }
            | CommitError::NoRoom(_)
            | CommitError::UsedUp { .. }
            | CommitError::KeyOfAnother
            | CommitError::ClientRevoked
            | CommitError::SuccessorCircle
            | CommitError::KeystoreInUse { .. }
            | CommitError::Uncounted
            | CommitError::LastAdmin => Self::internal("commit failed", error),
        }
    }
}

impl From<KsError> for OperationError {
    fn from(error: KsError) -> Self {
        match error.class() {
            Class::BadInput(Fault::Parameters) => Self::BadCryptographicParameters(error.to_string()),
            Class::BadInput(Fault::Data | Fault::Integrity) => Self::CryptographicFailure(error.to_string()),
            Class::BadInput(Fault::Key) => Self::InvalidField(error.to_string()),
            Class::Unsupported => Self::FeatureNotSupported(error.to_string()),
            Class::Denied => Self::PermissionDenied("the keystore refuses this use of the key".to_owned()),
            Class::NotFound => Self::KeyValueNotPresent,
            Class::Busy | Class::RetrySame | Class::RetryOther | Class::SessionLost | Class::TokenLost | Class::AuthStop | Class::OutcomeUnknown => {
                tracing::warn!(cause = %error, "keystore could not serve");
                Self::Unavailable("the keystore is not available".to_owned())
            }
            Class::Corrupt => Self::internal("keystore returned damaged data", error),
        }
    }
}
