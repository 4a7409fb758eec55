//! The one map from our errors to the errors of KMIP and of the REST key server. Exhaustive: a new error does not compile before
//! it is here.

use axum::http::StatusCode;
use keygate_kmip::{ProtocolVersion, ResultReason};

use crate::operation::OperationError;

const V2_0: ProtocolVersion = ProtocolVersion::V2_0;
const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

/// The Result Reason of an error in a version. KMIP 2.1 §11.49; what an older version lacks becomes the nearest reason
/// it has (KMIP 1.4 §11, error tables of each operation).
#[must_use]
pub fn result_reason(error: &OperationError, version: ProtocolVersion) -> ResultReason {
    use OperationError as E;
    use ResultReason as R;
    // Some reasons of 2.x say more than 1.x could.
    let since = |first: ProtocolVersion, newer: R, older: R| if version >= first { newer } else { older };
    match error {
        E::NotFound => R::ItemNotFound,
        E::PermissionDenied(_) => R::PermissionDenied,
        E::NotAuthenticated => R::AuthenticationNotSuccessful,
        E::NotAuthorised => since(V2_0, R::NotAuthorised, R::PermissionDenied),
        E::InvalidTicket => since(V2_0, R::InvalidTicket, R::AuthenticationNotSuccessful),
        E::TicketUsedUp => since(V2_0, R::UsageLimitExceeded, R::PermissionDenied),
        E::ObjectExists => since(ProtocolVersion::V1_4, R::ObjectAlreadyExists, R::InvalidField),
        E::InvalidCsr(_) => since(V2_0, R::InvalidCsr, R::InvalidField),
        E::Pkcs11Codec(_) => since(V2_0, R::Pkcs11CodecError, R::InvalidField),
        E::Pkcs11Interface(_) => since(V2_0, R::Pkcs11InvalidInterface, R::InvalidField),
        // KMIP 2.0 lists the reason, but its test cases still answer as 1.x does.
        E::WrongState(_) => since(V2_1, R::WrongKeyLifecycleState, R::PermissionDenied),
        E::Destroyed => since(V2_0, R::ObjectDestroyed, R::ItemNotFound),
        E::Archived => R::ObjectArchived,
        E::UsageNotAllowed(_) => since(V2_1, R::IncompatibleCryptographicUsageMask, R::PermissionDenied),
        // KMIP 2.1 has a reason of its own for it, which only Check is said to give; its profiles answer as before.
        E::UsageLimitExceeded => R::PermissionDenied,
        E::Sensitive => since(ProtocolVersion::V1_4, R::Sensitive, R::PermissionDenied),
        E::NotExtractable => since(ProtocolVersion::V1_4, R::NotExtractable, R::PermissionDenied),
        E::KeyValueNotPresent => since(ProtocolVersion::V1_2, R::KeyValueNotPresent, R::PermissionDenied),
        E::InvalidField(_) => R::InvalidField,
        E::InvalidMessage(_) => R::InvalidMessage,
        E::ReadOnlyAttribute(_) => since(V2_0, R::ReadOnlyAttribute, R::PermissionDenied),
        E::SingleValuedAttribute(_) => since(V2_0, R::AttributeSingleValued, R::IndexOutOfBounds),
        E::MultiValuedAttribute(_) => since(V2_0, R::MultiValuedAttribute, R::InvalidField),
        E::UnsupportedAttribute(_) => since(V2_0, R::UnsupportedAttribute, R::InvalidField),
        E::AttributeNotFound(_) => since(V2_0, R::AttributeNotFound, R::ItemNotFound),
        E::AttributeInstanceNotFound(_) => since(V2_0, R::AttributeInstanceNotFound, R::IndexOutOfBounds),
        E::NameTaken => since(V2_0, R::NonUniqueNameAttribute, R::InvalidField),
        E::NumericRange(_) => since(V2_0, R::NumericRange, R::InvalidField),
        E::InvalidDataType(_) => since(V2_0, R::InvalidDataType, R::InvalidField),
        // KMIP 1.4 §11.28, Poll: Item Not Found.
        E::UnknownCorrelation => since(V2_0, R::InvalidAsynchronousCorrelationValue, R::ItemNotFound),
        E::Canceled => R::OperationCanceledByRequester,
        E::OperationNotSupported(_) => R::OperationNotSupported,
        E::FeatureNotSupported(_) => R::FeatureNotSupported,
        E::KeyFormatNotSupported(_) => R::KeyFormatTypeNotSupported,
        E::KeyCompressionNotSupported => R::KeyCompressionTypeNotSupported,
        E::EncodingOption(_) => since(ProtocolVersion::V1_1, R::EncodingOptionError, R::InvalidField),
        E::WrappingKeyNotFound => since(V2_0, R::WrappingObjectNotFound, R::ItemNotFound),
        E::BadCryptographicParameters(_) => since(V2_0, R::BadCryptographicParameters, R::InvalidField),
        // Not among the errors listed for Encrypt and Decrypt, KMIP 2.1 §6.1.10 and §6.1.15.
        E::TagLength => R::GeneralFailure,
        E::CryptographicFailure(_) => R::CryptographicFailure,
        E::ResponseTooLarge => R::ResponseTooLarge,
        E::ApplicationNamespaceNotSupported => R::ApplicationNamespaceNotSupported,
        E::LimitExceeded(_) => since(V2_0, R::ServerLimitExceeded, R::GeneralFailure),
        E::Unavailable(_) | E::Conflict => R::GeneralFailure,
        E::UnknownExtension => since(V2_0, R::UnknownMessageExtension, R::FeatureNotSupported),
        E::Internal => since(V2_0, R::InternalServerError, R::GeneralFailure),
    }
}

/// HTTP status and `reason` of an error in the contract of the REST key server. Reasons are KMIP 2.1 §11.49 in capitals, as the
/// vendor's logs have them (PERMISSION_DENIED); statuses are RFC 9110 §15.
#[must_use]
pub fn rest_reason(error: &OperationError) -> (StatusCode, &'static str) {
    use OperationError as E;
    use StatusCode as S;
    match error {
        E::NotFound => (S::NOT_FOUND, "ITEM_NOT_FOUND"),
        E::PermissionDenied(_) => (S::FORBIDDEN, "PERMISSION_DENIED"),
        E::NotAuthenticated => (S::UNAUTHORIZED, "AUTHENTICATION_NOT_SUCCESSFUL"),
        E::NotAuthorised => (S::FORBIDDEN, "NOT_AUTHORISED"),
        E::InvalidTicket => (S::UNAUTHORIZED, "INVALID_TICKET"),
        E::TicketUsedUp => (S::FORBIDDEN, "USAGE_LIMIT_EXCEEDED"),
        E::ObjectExists => (S::CONFLICT, "OBJECT_ALREADY_EXISTS"),
        E::InvalidCsr(_) => (S::BAD_REQUEST, "INVALID_CSR"),
        E::Pkcs11Codec(_) => (S::BAD_REQUEST, "PKCS11_CODEC_ERROR"),
        E::Pkcs11Interface(_) => (S::BAD_REQUEST, "PKCS11_INVALID_INTERFACE"),
        E::WrongState(_) => (S::CONFLICT, "WRONG_KEY_LIFECYCLE_STATE"),
        E::Destroyed => (S::GONE, "OBJECT_DESTROYED"),
        E::Archived => (S::CONFLICT, "OBJECT_ARCHIVED"),
        E::UsageNotAllowed(_) => (S::FORBIDDEN, "INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK"),
        E::UsageLimitExceeded => (S::FORBIDDEN, "USAGE_LIMIT_EXCEEDED"),
        E::Sensitive => (S::FORBIDDEN, "SENSITIVE"),
        E::NotExtractable => (S::FORBIDDEN, "NOT_EXTRACTABLE"),
        E::KeyValueNotPresent => (S::CONFLICT, "KEY_VALUE_NOT_PRESENT"),
        E::InvalidField(_) => (S::BAD_REQUEST, "INVALID_FIELD"),
        E::InvalidMessage(_) => (S::BAD_REQUEST, "INVALID_MESSAGE"),
        E::ReadOnlyAttribute(_) => (S::FORBIDDEN, "READ_ONLY_ATTRIBUTE"),
        E::SingleValuedAttribute(_) => (S::BAD_REQUEST, "ATTRIBUTE_SINGLE_VALUED"),
        E::MultiValuedAttribute(_) => (S::BAD_REQUEST, "MULTI_VALUED_ATTRIBUTE"),
        E::UnsupportedAttribute(_) => (S::BAD_REQUEST, "UNSUPPORTED_ATTRIBUTE"),
        E::AttributeNotFound(_) => (S::NOT_FOUND, "ATTRIBUTE_NOT_FOUND"),
        E::AttributeInstanceNotFound(_) => (S::NOT_FOUND, "ATTRIBUTE_INSTANCE_NOT_FOUND"),
        E::NameTaken => (S::CONFLICT, "NON_UNIQUE_NAME_ATTRIBUTE"),
        E::NumericRange(_) => (S::BAD_REQUEST, "NUMERIC_RANGE"),
        E::InvalidDataType(_) => (S::BAD_REQUEST, "INVALID_DATA_TYPE"),
        E::UnknownCorrelation => (S::NOT_FOUND, "INVALID_ASYNCHRONOUS_CORRELATION_VALUE"),
        E::Canceled => (S::CONFLICT, "OPERATION_CANCELED_BY_REQUESTER"),
        E::OperationNotSupported(_) => (S::NOT_IMPLEMENTED, "OPERATION_NOT_SUPPORTED"),
        E::FeatureNotSupported(_) => (S::UNPROCESSABLE_ENTITY, "FEATURE_NOT_SUPPORTED"),
        E::KeyFormatNotSupported(_) => (S::UNPROCESSABLE_ENTITY, "KEY_FORMAT_TYPE_NOT_SUPPORTED"),
        E::KeyCompressionNotSupported => (S::UNPROCESSABLE_ENTITY, "KEY_COMPRESSION_TYPE_NOT_SUPPORTED"),
        E::EncodingOption(_) => (S::BAD_REQUEST, "ENCODING_OPTION_ERROR"),
        E::WrappingKeyNotFound => (S::NOT_FOUND, "WRAPPING_OBJECT_NOT_FOUND"),
        E::BadCryptographicParameters(_) | E::TagLength => (S::BAD_REQUEST, "BAD_CRYPTOGRAPHIC_PARAMETERS"),
        E::CryptographicFailure(_) => (S::UNPROCESSABLE_ENTITY, "CRYPTOGRAPHIC_FAILURE"),
        E::ResponseTooLarge => (S::PAYLOAD_TOO_LARGE, "RESPONSE_TOO_LARGE"),
        E::ApplicationNamespaceNotSupported => (S::UNPROCESSABLE_ENTITY, "APPLICATION_NAMESPACE_NOT_SUPPORTED"),
        E::LimitExceeded(_) => (S::TOO_MANY_REQUESTS, "SERVER_LIMIT_EXCEEDED"),
        E::Unavailable(_) | E::Conflict => (S::SERVICE_UNAVAILABLE, "GENERAL_FAILURE"),
        E::UnknownExtension => (S::BAD_REQUEST, "UNKNOWN_MESSAGE_EXTENSION"),
        E::Internal => (S::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR"),
    }
}
