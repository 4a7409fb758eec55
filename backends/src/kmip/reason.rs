//! The one map from a server's Result Reason to what we do about it. KMIP 2.1 §11.49.

use crate::error::{Class, Fault, KsError};
use keygate_kmip::{Operation, ResultReason};

/// Longest text of a server that goes into ours.
const TEXT_MAX: usize = 200;

/// A failed item as an error. `operation` is what we asked for: some reasons mean different things.
pub(super) fn error(operation: Operation, reason: ResultReason, message: &str) -> KsError {
    let message: String = message.chars().filter(|character| !character.is_control()).take(TEXT_MAX).collect();
    KsError::new(class(operation, reason), format!("{operation} refused by the key server: {reason:?}: {message}"))
}

fn class(operation: Operation, reason: ResultReason) -> Class {
    use ResultReason as R;
    match reason {
        R::ItemNotFound | R::ObjectDestroyed | R::ObjectNotFound | R::KeyValueNotPresent => Class::NotFound,
        R::AuthenticationNotSuccessful => Class::AuthStop,
        R::PermissionDenied
        | R::NotExtractable
        | R::Sensitive
        | R::IllegalOperation
        | R::IncompatibleCryptographicUsageMask
        | R::WrongKeyLifecycleState
        | R::ObjectArchived
        | R::UsageLimitExceeded => Class::Denied,
        R::OperationNotSupported
        | R::FeatureNotSupported
        | R::UnsupportedCryptographicParameters
        | R::UnsupportedAttribute
        | R::KeyFormatTypeNotSupported
        | R::KeyCompressionTypeNotSupported
        | R::InvalidMessage
        | R::ResponseTooLarge => Class::Unsupported,
        R::BadCryptographicParameters | R::InvalidField => Class::BadInput(Fault::Parameters),
        // What fails in a decryption is the check of the text; elsewhere the data does not fit.
        R::CryptographicFailure if operation == Operation::Decrypt => Class::BadInput(Fault::Integrity),
        R::CryptographicFailure => Class::BadInput(Fault::Data),
        R::InvalidDataType | R::MissingData => Class::BadInput(Fault::Data),
        R::ServerLimitExceeded => Class::RetryOther,
        // The server says that it failed, so nothing was done.
        _ => Class::RetryOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_become_what_to_do_next() {
        for (operation, reason, expected) in [
            (Operation::Get, ResultReason::ItemNotFound, Class::NotFound),
            (Operation::Create, ResultReason::AuthenticationNotSuccessful, Class::AuthStop),
            (Operation::Get, ResultReason::Sensitive, Class::Denied),
            (Operation::Sign, ResultReason::OperationNotSupported, Class::Unsupported),
            (Operation::Decrypt, ResultReason::CryptographicFailure, Class::BadInput(Fault::Integrity)),
            (Operation::Encrypt, ResultReason::CryptographicFailure, Class::BadInput(Fault::Data)),
            (Operation::Encrypt, ResultReason::GeneralFailure, Class::RetryOther),
        ] {
            assert_eq!(error(operation, reason, "why").class(), expected, "{operation}: {reason:?}");
        }
    }

    #[test]
    fn a_long_text_with_control_characters_is_cut() {
        let text = error(Operation::Get, ResultReason::GeneralFailure, &format!("\x1b[31m{}", "x".repeat(10_000)));
        assert!(text.text().len() < 400 && !text.text().contains('\x1b'));
    }
}
