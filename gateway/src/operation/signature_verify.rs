//! Signature Verify. KMIP 2.1 §6.1.60, KMIP 1.4 §4.32.

use keygate_backends::SignInput;
use keygate_kmip::{
    CryptographicUsageMask, ObjectType, Operation, SignatureVerifyRequest, SignatureVerifyResponse, ValidityIndicator,
};

use super::key::{Charge, Effect, Use, UsableKey};
use super::sign::{no_digest, scheme, whole_input};
use super::stream::{self, Part, SignedParts, State};
use super::{Exchange, OperationError};

const USE: Use = Use {
    operation: Operation::SignatureVerify,
    mask: CryptographicUsageMask::VERIFY,
    object_types: &[ObjectType::PublicKey, ObjectType::PrivateKey, ObjectType::Certificate],
    effect: Effect::Process,
};

/// Verifies the signature of a message, of a digest, or of a message in parts.
///
/// # Errors
/// A key that may not be used, parameters that do not fit it, no signature.
pub(super) async fn signature_verify(
    exchange: &mut Exchange<'_>,
    request: SignatureVerifyRequest,
) -> Result<SignatureVerifyResponse, OperationError> {
    const OPERATION: Operation = Operation::SignatureVerify;
    let part = Part::of(request.init_indicator, request.final_indicator, request.correlation_value.as_deref())?;
    let data = request.data.as_deref().unwrap_or_default();
    let given = request.cryptographic_parameters.clone();
    let key = UsableKey::acquire(exchange, request.unique_identifier.as_ref(), &USE, given, Charge { bytes: data.len(), objects: i64::from(part.begins()) }).await?;
    let answer = |valid: Option<bool>, correlation_value| SignatureVerifyResponse {
        unique_identifier: key.object.to_string().into(),
        validity_indicator: valid.map(indicator),
        data: None,
        correlation_value,
    };
    match part {
        Part::Whole => {
            let input = whole_input(request.data.as_deref(), request.digested_data.as_deref())?;
            let scheme = scheme(&key, matches!(input, SignInput::Digest(_)))?;
            let signature = request.signature_data.as_deref().ok_or_else(missing_signature)?;
            Ok(answer(Some(key.verify(scheme, input, signature).await?), None))
        }
        Part::First => {
            no_digest(request.digested_data.as_deref())?;
            let scheme = scheme(&key, false)?;
            let mut parts = SignedParts::new(scheme)?;
            parts.update(data)?;
            let state = State::Signature(scheme, parts, request.signature_data);
            let value = stream::begin(exchange, OPERATION, Some(key.object), state)?;
            Ok(answer(None, Some(value)))
        }
        Part::Next(value) => {
            let State::Signature(scheme, mut parts, early) = stream::take(exchange, OPERATION, Some(key.object), value)? else {
                return Err(OperationError::Internal);
            };
            parts.update(data)?;
            let signature = request.signature_data.clone().or(early);
            stream::put_back(exchange, OPERATION, Some(key.object), value, State::Signature(scheme, parts, signature))?;
            Ok(answer(None, Some(value.to_vec())))
        }
        Part::Last(value) => {
            let State::Signature(scheme, mut parts, early) = stream::take(exchange, OPERATION, Some(key.object), value)? else {
                return Err(OperationError::Internal);
            };
            parts.update(data)?;
            let signature = request.signature_data.as_ref().or(early.as_ref()).ok_or_else(missing_signature)?;
            let whole = parts.finish()?;
            Ok(answer(Some(key.verify(scheme, whole.input(), signature).await?), None))
        }
    }
}

/// What a comparison found.
pub(super) fn indicator(valid: bool) -> ValidityIndicator {
    if valid { ValidityIndicator::Valid } else { ValidityIndicator::Invalid }
}

fn missing_signature() -> OperationError {
    OperationError::InvalidMessage("Signature Data is missing".to_owned())
}
