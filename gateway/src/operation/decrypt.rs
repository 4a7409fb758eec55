//! Decrypt. KMIP 2.1 §6.1.10, KMIP 1.4 §4.30.
//!
//! A stream whose cipher text is authenticated yields its plain text with the last part only: not a byte leaves before the
//! tag is checked.

use keygate_backends::local::{self, CipherStream, Direction};
use keygate_backends::{DecryptOp, EncryptionScheme, SecretBytes, resolve};
use keygate_kmip::{CryptographicUsageMask, DecryptRequest, DecryptResponse, ObjectType, Operation, ProtocolVersion, Secret};
use zeroize::Zeroizing;

use super::encrypt::{missing_vector, streams};
use super::key::{Charge, Effect, Use, UsableKey, scheme_parameters};
use super::stream::{self, Gathered, GatheredCipher, Part, State};
use super::{Exchange, OperationError};

const USE: Use = Use {
    operation: Operation::Decrypt,
    mask: CryptographicUsageMask::DECRYPT,
    object_types: &[ObjectType::SymmetricKey, ObjectType::PrivateKey],
    effect: Effect::Process,
};

/// Decrypts a message or a part of one.
///
/// # Errors
/// A key that may not be used, parameters that do not fit it, a missing IV or tag, data that was not encrypted like this.
pub(super) async fn decrypt(exchange: &mut Exchange<'_>, request: DecryptRequest) -> Result<DecryptResponse, OperationError> {
    let part = Part::of(request.init_indicator, request.final_indicator, request.correlation_value.as_deref())?;
    if request.data.is_none() && matches!(part, Part::Whole) {
        return Err(OperationError::InvalidMessage("Data is missing".to_owned()));
    }
    let data = request.data.as_deref().unwrap_or_default();
    let given = request.cryptographic_parameters.clone();
    let key = UsableKey::acquire(exchange, request.unique_identifier.as_ref(), &USE, given, Charge { bytes: data.len(), objects: i64::from(part.begins()) }).await?;
    exchange.release_material();
    match part {
        Part::Whole => whole(exchange, &key, &request, data).await,
        Part::First => first(exchange, &key, &request, data),
        Part::Next(value) => next(exchange, &key, value, data),
        Part::Last(value) => last(exchange, &key, value, &request, data).await,
    }
}

async fn whole(exchange: &Exchange<'_>, key: &UsableKey, request: &DecryptRequest, data: &[u8]) -> Result<DecryptResponse, OperationError> {
    let scheme = resolve::encryption(key.kind, &scheme_parameters(&key.parameters)?)?;
    let iv = given_vector(key, &scheme, request)?;
    let aad = request.additional_data.as_deref().unwrap_or_default();
    let (data, tag) = split_tag(exchange.version, &scheme, data, request.tag.as_deref())?;
    let plain = key.decrypt(exchange.gateway, DecryptOp { scheme: &scheme, iv, aad, data, tag }).await?;
    Ok(answer(key, Some(plain), None))
}

fn first(exchange: &mut Exchange<'_>, key: &UsableKey, request: &DecryptRequest, data: &[u8]) -> Result<DecryptResponse, OperationError> {
    let scheme = resolve::encryption(key.kind, &scheme_parameters(&key.parameters)?)?;
    let iv = given_vector(key, &scheme, request)?.to_vec();
    let aad = request.additional_data.as_deref().unwrap_or_default();
    let mut out = Zeroizing::new(Vec::new());
    let state = match key.prepared().filter(|_| streams(&scheme) && !scheme.is_aead()) {
        Some(prepared) => {
            let mut stream = CipherStream::new(prepared, &scheme, Direction::Decrypt, &iv, aad)?;
            stream.update(data, &mut out)?;
            State::Cipher(stream)
        }
        None => {
            let mut gathered = GatheredCipher { scheme, iv, aad: aad.to_vec(), tag: request.tag.clone(), data: Gathered::default() };
            gathered.data.update(data)?;
            State::Gathered(Box::new(gathered))
        }
    };
    let value = stream::begin(exchange, Operation::Decrypt, Some(key.object), state)?;
    Ok(answer(key, some_secret(out), Some(value)))
}

fn next(exchange: &mut Exchange<'_>, key: &UsableKey, value: &[u8], data: &[u8]) -> Result<DecryptResponse, OperationError> {
    let mut state = stream::take(exchange, Operation::Decrypt, Some(key.object), value)?;
    let mut out = Zeroizing::new(Vec::new());
    match &mut state {
        State::Cipher(stream) => stream.update(data, &mut out)?,
        State::Gathered(gathered) => gathered.data.update(data)?,
        _ => return Err(OperationError::Internal),
    }
    stream::put_back(exchange, Operation::Decrypt, Some(key.object), value, state)?;
    Ok(answer(key, some_secret(out), Some(value.to_vec())))
}

async fn last(
    exchange: &Exchange<'_>,
    key: &UsableKey,
    value: &[u8],
    request: &DecryptRequest,
    data: &[u8],
) -> Result<DecryptResponse, OperationError> {
    match stream::take(exchange, Operation::Decrypt, Some(key.object), value)? {
        State::Cipher(mut stream) => {
            let mut out = Zeroizing::new(Vec::new());
            stream.update(data, &mut out)?;
            stream.finish_decrypt(None, &mut out)?;
            Ok(answer(key, some_secret(out), None))
        }
        State::Gathered(mut gathered) => {
            gathered.data.update(data)?;
            let tag = request.tag.as_deref().or(gathered.tag.as_deref());
            let (data, tag) = split_tag(exchange.version, &gathered.scheme, gathered.data.bytes(), tag)?;
            let op = DecryptOp { scheme: &gathered.scheme, iv: &gathered.iv, aad: &gathered.aad, data, tag };
            Ok(answer(key, Some(key.decrypt(exchange.gateway, op).await?), None))
        }
        _ => Err(OperationError::Internal),
    }
}

fn given_vector<'a>(key: &UsableKey, scheme: &EncryptionScheme, request: &'a DecryptRequest) -> Result<&'a [u8], OperationError> {
    match request.iv_counter_nonce.as_deref() {
        Some(iv) => Ok(iv),
        None if local::iv_len(key.kind, scheme) == 0 => Ok(&[]),
        None => Err(missing_vector()),
    }
}

/// KMIP 1.4 §4.30: the tag has a field from 1.4 on; before, it follows the data.
fn split_tag<'a>(
    version: ProtocolVersion,
    scheme: &EncryptionScheme,
    data: &'a [u8],
    tag: Option<&'a [u8]>,
) -> Result<(&'a [u8], Option<&'a [u8]>), OperationError> {
    let Some(len) = scheme.tag_len() else { return Ok((data, tag)) };
    if version < ProtocolVersion::V1_4 {
        let at = data.len().checked_sub(len);
        let at = at.ok_or_else(|| OperationError::CryptographicFailure(format!("data of {} bytes ends in no tag of {len}", data.len())))?;
        let (data, tag) = data.split_at(at);
        return Ok((data, Some(tag)));
    }
    if tag.is_none() {
        return Err(OperationError::InvalidMessage("Authenticated Encryption Tag is missing".to_owned()));
    }
    Ok((data, tag))
}

fn answer(key: &UsableKey, plain: Option<SecretBytes>, correlation_value: Option<Vec<u8>>) -> DecryptResponse {
    DecryptResponse {
        unique_identifier: key.object.to_string().into(),
        data: plain.map(|plain| Secret::new(plain.into_exposed())),
        correlation_value,
    }
}

fn some_secret(mut bytes: Zeroizing<Vec<u8>>) -> Option<SecretBytes> {
    (!bytes.is_empty()).then(|| SecretBytes::new(std::mem::take(&mut *bytes)))
}
