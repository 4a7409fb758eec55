//! Sign. KMIP 2.1 §6.1.59, KMIP 1.4 §4.31.

use keygate_backends::local::{KeyKind, PairKind};
use keygate_backends::{SignInput, SignatureScheme, resolve};
use keygate_kmip::{CryptographicUsageMask, HashingAlgorithm, ObjectType, Operation, PaddingMethod, SignRequest, SignResponse};

use super::encrypt::some_bytes;
use super::key::{Charge, Effect, Use, UsableKey, scheme_parameters};
use super::stream::{self, Part, SignedParts, State};
use super::{Exchange, OperationError};

const USE: Use = Use {
    operation: Operation::Sign,
    mask: CryptographicUsageMask::SIGN,
    object_types: &[ObjectType::PrivateKey],
    effect: Effect::Protect,
};

/// Signs a message, a digest, or a part of a message.
///
/// # Errors
/// A key that may not be used, parameters that do not fit it, a digest of the wrong length.
pub(super) async fn sign(exchange: &mut Exchange<'_>, request: SignRequest) -> Result<SignResponse, OperationError> {
    let part = Part::of(request.init_indicator, request.final_indicator, request.correlation_value.as_deref())?;
    let data = request.data.as_deref().unwrap_or_default();
    let charge = Charge { bytes: data.len().max(request.digested_data.as_deref().unwrap_or_default().len()), objects: i64::from(part.begins()) };
    let given = request.cryptographic_parameters.clone();
    let key = UsableKey::acquire(exchange, request.unique_identifier.as_ref(), &USE, given, charge).await?;
    exchange.release_material();
    let answer = |signature: Vec<u8>, correlation_value| SignResponse {
        unique_identifier: key.object.to_string().into(),
        signature_data: some_bytes(signature),
        correlation_value,
    };
    match part {
        Part::Whole => {
            let input = whole_input(request.data.as_deref(), request.digested_data.as_deref())?;
            let scheme = scheme(&key, matches!(input, SignInput::Digest(_)))?;
            Ok(answer(key.sign(exchange.gateway, scheme, input).await?, None))
        }
        Part::First => {
            no_digest(request.digested_data.as_deref())?;
            let scheme = scheme(&key, false)?;
            let mut parts = SignedParts::new(scheme)?;
            parts.update(data)?;
            let value = stream::begin(exchange, Operation::Sign, Some(key.object), State::Signature(scheme, parts, None))?;
            Ok(answer(Vec::new(), Some(value)))
        }
        Part::Next(value) => {
            let State::Signature(scheme, mut parts, none) = stream::take(exchange, Operation::Sign, Some(key.object), value)? else {
                return Err(OperationError::Internal);
            };
            parts.update(data)?;
            stream::put_back(exchange, Operation::Sign, Some(key.object), value, State::Signature(scheme, parts, none))?;
            Ok(answer(Vec::new(), Some(value.to_vec())))
        }
        Part::Last(value) => {
            let State::Signature(scheme, mut parts, _) = stream::take(exchange, Operation::Sign, Some(key.object), value)? else {
                return Err(OperationError::Internal);
            };
            parts.update(data)?;
            let whole = parts.finish()?;
            Ok(answer(key.sign(exchange.gateway, scheme, whole.input()).await?, None))
        }
    }
}

/// How the key signs. An RSA key of which nothing is said signs by RSASSA-PKCS1-v1_5: messages by their SHA-256, digests as
/// they are.
pub(super) fn scheme(key: &UsableKey, digested: bool) -> Result<SignatureScheme, OperationError> {
    let mut parameters = scheme_parameters(&key.parameters)?;
    let rsa = matches!(key.kind, KeyKind::Private(PairKind::Rsa) | KeyKind::Public(PairKind::Rsa));
    let unsaid = parameters.padding_method.is_none() && parameters.hashing_algorithm.is_none() && parameters.digital_signature_algorithm.is_none();
    if rsa && unsaid {
        parameters.padding_method = Some(PaddingMethod::Pkcs1v1_5);
        parameters.hashing_algorithm = (!digested).then_some(HashingAlgorithm::Sha256);
    }
    Ok(resolve::signature(key.kind, &parameters)?)
}

/// KMIP 1.4 §4.31: Data, or from 1.4 on Digested Data instead.
pub(super) fn whole_input<'a>(data: Option<&'a [u8]>, digested: Option<&'a [u8]>) -> Result<SignInput<'a>, OperationError> {
    match (data, digested) {
        (Some(data), None) => Ok(SignInput::Message(data)),
        (None, Some(digest)) => Ok(SignInput::Digest(digest)),
        (None, None) => Err(OperationError::InvalidMessage("Data and Digested Data are both missing".to_owned())),
        (Some(_), Some(_)) => Err(OperationError::InvalidMessage("Data and Digested Data exclude each other".to_owned())),
    }
}

/// A digest does not come in parts.
pub(super) fn no_digest(digested: Option<&[u8]>) -> Result<(), OperationError> {
    match digested {
        None => Ok(()),
        Some(_) => Err(OperationError::InvalidMessage("Digested Data comes whole, not in parts".to_owned())),
    }
}
