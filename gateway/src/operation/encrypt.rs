//! Encrypt. KMIP 2.1 §6.1.15, KMIP 1.4 §4.29.

use keygate_backends::local::{self, CipherStream, Direction};
use keygate_backends::{EncryptOp, EncryptionScheme, Encrypted, Iv, resolve};
use keygate_kmip::{CryptographicUsageMask, EncryptRequest, EncryptResponse, ObjectType, Operation, ProtocolVersion};

use super::key::{Charge, Effect, Use, UsableKey, scheme_parameters};
use super::stream::{self, Gathered, GatheredCipher, Part, State};
use super::{Exchange, OperationError};

const USE: Use = Use {
    operation: Operation::Encrypt,
    mask: CryptographicUsageMask::ENCRYPT,
    object_types: &[ObjectType::SymmetricKey, ObjectType::PublicKey, ObjectType::Certificate],
    effect: Effect::Protect,
};

/// Encrypts a message or a part of one.
///
/// # Errors
/// A key that may not be used, parameters that do not fit it, a missing IV, data of the wrong length.
pub(super) async fn encrypt(exchange: &mut Exchange<'_>, request: EncryptRequest) -> Result<EncryptResponse, OperationError> {
    let part = Part::of(request.init_indicator, request.final_indicator, request.correlation_value.as_deref())?;
    let data = request.data.as_ref().map(keygate_kmip::Secret::expose_bytes);
    if data.is_none() && matches!(part, Part::Whole) {
        return Err(OperationError::InvalidMessage("Data is missing".to_owned()));
    }
    let data = data.unwrap_or_default();
    let charge = Charge { bytes: data.len(), objects: i64::from(part.begins()) };
    let given = request.cryptographic_parameters.clone();
    let key = UsableKey::acquire(exchange, request.unique_identifier.as_ref(), &USE, given, charge).await?;
    exchange.release_material();
    match part {
        Part::Whole => whole(exchange, &key, &request, data).await,
        Part::First => first(exchange, &key, &request, data),
        Part::Next(value) => next(exchange, &key, value, data),
        Part::Last(value) => last(exchange, &key, value, data).await,
    }
}

async fn whole(exchange: &Exchange<'_>, key: &UsableKey, request: &EncryptRequest, data: &[u8]) -> Result<EncryptResponse, OperationError> {
    let scheme = resolve::encryption(key.kind, &scheme_parameters(&key.parameters)?)?;
    let iv = initial_vector(key, &scheme, request.iv_counter_nonce.as_deref())?;
    let aad = request.additional_data.as_deref().unwrap_or_default();
    let legacy = exchange.gateway.policy.legacy_algorithms;
    let encrypted = key.encrypt(EncryptOp { scheme: &scheme, iv, aad, data, legacy }).await?;
    Ok(answer(exchange, key, encrypted))
}

fn first(exchange: &mut Exchange<'_>, key: &UsableKey, request: &EncryptRequest, data: &[u8]) -> Result<EncryptResponse, OperationError> {
    let scheme = resolve::encryption(key.kind, &scheme_parameters(&key.parameters)?)?;
    let (iv, drawn) = match initial_vector(key, &scheme, request.iv_counter_nonce.as_deref())? {
        Iv::Given(iv) => (iv.to_vec(), false),
        Iv::Random { len } => {
            let len = len.unwrap_or_else(|| local::iv_len(key.kind, &scheme));
            (local::random(len)?.into_exposed(), len > 0)
        }
    };
    let aad = request.additional_data.as_deref().unwrap_or_default();
    let mut out = Vec::new();
    let state = match key.prepared().filter(|_| streams(&scheme)) {
        Some(prepared) => {
            let direction = Direction::Encrypt { legacy: exchange.gateway.policy.legacy_algorithms };
            let mut stream = CipherStream::new(prepared, &scheme, direction, &iv, aad)?;
            stream.update(data, &mut out)?;
            State::Cipher(stream)
        }
        None => {
            let mut gathered = GatheredCipher { scheme, iv: iv.clone(), aad: aad.to_vec(), tag: None, data: Gathered::default() };
            gathered.data.update(data)?;
            State::Gathered(Box::new(gathered))
        }
    };
    let value = stream::begin(exchange, Operation::Encrypt, Some(key.object), state)?;
    Ok(EncryptResponse {
        unique_identifier: key.object.to_string().into(),
        data: some_bytes(out),
        iv_counter_nonce: drawn.then_some(iv),
        correlation_value: Some(value),
        tag: None,
    })
}

fn next(exchange: &mut Exchange<'_>, key: &UsableKey, value: &[u8], data: &[u8]) -> Result<EncryptResponse, OperationError> {
    let mut state = stream::take(exchange, Operation::Encrypt, Some(key.object), value)?;
    let mut out = Vec::new();
    match &mut state {
        State::Cipher(stream) => stream.update(data, &mut out)?,
        State::Gathered(gathered) => gathered.data.update(data)?,
        _ => return Err(OperationError::Internal),
    }
    stream::put_back(exchange, Operation::Encrypt, Some(key.object), value, state)?;
    Ok(EncryptResponse {
        unique_identifier: key.object.to_string().into(),
        data: some_bytes(out),
        iv_counter_nonce: None,
        correlation_value: Some(value.to_vec()),
        tag: None,
    })
}

async fn last(exchange: &Exchange<'_>, key: &UsableKey, value: &[u8], data: &[u8]) -> Result<EncryptResponse, OperationError> {
    let encrypted = match stream::take(exchange, Operation::Encrypt, Some(key.object), value)? {
        State::Cipher(mut stream) => {
            let mut out = Vec::new();
            stream.update(data, &mut out)?;
            let tag = stream.finish_encrypt(&mut out)?;
            Encrypted { data: out, iv: None, tag }
        }
        State::Gathered(mut gathered) => {
            gathered.data.update(data)?;
            let legacy = exchange.gateway.policy.legacy_algorithms;
            let GatheredCipher { scheme, iv, aad, data, .. } = &*gathered;
            key.encrypt(EncryptOp { scheme, iv: Iv::Given(iv), aad, data: data.bytes(), legacy }).await?
        }
        _ => return Err(OperationError::Internal),
    };
    let mut response = answer(exchange, key, encrypted);
    response.data = response.data.and_then(some_bytes);
    Ok(response)
}

/// KMIP 1.4 §4.29: the tag has a field from 1.4 on; before, it follows the data.
fn answer(exchange: &Exchange<'_>, key: &UsableKey, encrypted: Encrypted) -> EncryptResponse {
    let Encrypted { mut data, iv, tag } = encrypted;
    let tag = match tag {
        Some(tag) if exchange.version < ProtocolVersion::V1_4 => {
            data.extend_from_slice(&tag);
            None
        }
        tag => tag,
    };
    EncryptResponse {
        unique_identifier: key.object.to_string().into(),
        data: Some(data),
        iv_counter_nonce: iv,
        correlation_value: None,
        tag,
    }
}

/// The client's vector; one of ours where the parameters say Random IV.
pub(super) fn initial_vector<'a>(key: &UsableKey, scheme: &EncryptionScheme, given: Option<&'a [u8]>) -> Result<Iv<'a>, OperationError> {
    if let Some(iv) = given {
        return Ok(Iv::Given(iv));
    }
    if local::iv_len(key.kind, scheme) == 0 {
        return Ok(Iv::Given(&[]));
    }
    if key.parameters.random_iv != Some(true) {
        return Err(missing_vector());
    }
    // KMIP 2.1 §4.16: IV Length is in bits.
    let bits = key.parameters.iv_length.map(usize::try_from).transpose();
    let bits = bits.map_err(|_| OperationError::BadCryptographicParameters("IV Length is negative".to_owned()))?;
    Ok(Iv::Random { len: bits.map(|bits| bits / 8) })
}

/// KMIP 2.1 §6.1.15: the vector is to be given unless the server makes it up.
pub(super) fn missing_vector() -> OperationError {
    OperationError::InvalidMessage("IV/Counter/Nonce is missing, and the Cryptographic Parameters do not ask for a random one".to_owned())
}

/// Whether a scheme can be done part by part.
pub(super) fn streams(scheme: &EncryptionScheme) -> bool {
    use EncryptionScheme as S;
    matches!(scheme, S::Ecb(_) | S::Cbc(_) | S::Ctr | S::Cfb | S::Ofb | S::Gcm { .. } | S::ChaCha20 { .. } | S::ChaCha20Poly1305 { .. })
}

/// A part of a stream that yields nothing has no Data.
pub(super) fn some_bytes(bytes: Vec<u8>) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then_some(bytes)
}
