//! MAC. KMIP 2.1 §6.1.38, KMIP 1.4 §4.33.

use keygate_backends::local::MacStream;
use keygate_backends::{MacScheme, resolve};
use keygate_kmip::{CryptographicUsageMask, MacRequest, MacResponse, ObjectType, Operation};

use super::encrypt::some_bytes;
use super::key::{Charge, Effect, Use, UsableKey, scheme_parameters};
use super::stream::{self, Gathered, Part, State};
use super::{Exchange, OperationError};

const USE: Use = Use {
    operation: Operation::Mac,
    mask: CryptographicUsageMask::MAC_GENERATE,
    object_types: &[ObjectType::SymmetricKey],
    effect: Effect::Protect,
};

/// Computes the MAC of a message or takes a part of one.
///
/// # Errors
/// A key that may not be used, parameters that do not fit it.
pub(super) async fn mac(exchange: &mut Exchange<'_>, request: MacRequest) -> Result<MacResponse, OperationError> {
    let part = Part::of(request.init_indicator, request.final_indicator, request.correlation_value.as_deref())?;
    let data = part_data(&part, request.data.as_deref())?;
    let charge = Charge { bytes: data.len(), objects: i64::from(part.begins()) };
    let given = request.cryptographic_parameters.clone();
    let key = UsableKey::acquire(exchange, request.unique_identifier.as_ref(), &USE, given, charge).await?;
    exchange.release_material();
    let scheme = scheme(&key)?;
    let answer = |mac: Vec<u8>, correlation_value| MacResponse {
        unique_identifier: key.object.to_string().into(),
        mac_data: some_bytes(mac),
        correlation_value,
    };
    match part {
        Part::Whole => Ok(answer(key.mac(scheme, data).await?, None)),
        Part::First => {
            let state = begin(&key, scheme, data, None)?;
            let value = stream::begin(exchange, Operation::Mac, Some(key.object), state)?;
            Ok(answer(Vec::new(), Some(value)))
        }
        Part::Next(value) => {
            let mut state = stream::take(exchange, Operation::Mac, Some(key.object), value)?;
            update(&mut state, data)?;
            stream::put_back(exchange, Operation::Mac, Some(key.object), value, state)?;
            Ok(answer(Vec::new(), Some(value.to_vec())))
        }
        Part::Last(value) => {
            let mut state = stream::take(exchange, Operation::Mac, Some(key.object), value)?;
            update(&mut state, data)?;
            let (mac, _) = finish(&key, scheme, state).await?;
            Ok(answer(mac, None))
        }
    }
}

/// The data of a part; a whole message has some.
pub(super) fn part_data<'a>(part: &Part<'_>, data: Option<&'a [u8]>) -> Result<&'a [u8], OperationError> {
    match data {
        None if matches!(part, Part::Whole) => Err(OperationError::InvalidMessage("Data is missing".to_owned())),
        data => Ok(data.unwrap_or_default()),
    }
}

/// How the key computes a MAC.
pub(super) fn scheme(key: &UsableKey) -> Result<MacScheme, OperationError> {
    Ok(resolve::mac(key.kind, &scheme_parameters(&key.parameters)?)?)
}

/// The state of a MAC in parts; `compared` is what MAC Verify compares it with.
pub(super) fn begin(key: &UsableKey, scheme: MacScheme, data: &[u8], compared: Option<Vec<u8>>) -> Result<State, OperationError> {
    let mut state = match key.prepared() {
        Some(prepared) => State::Mac(MacStream::new(prepared, scheme, &[])?, compared),
        None => State::GatheredMac(Gathered::default(), compared),
    };
    update(&mut state, data)?;
    Ok(state)
}

/// Takes a part.
pub(super) fn update(state: &mut State, data: &[u8]) -> Result<(), OperationError> {
    match state {
        State::Mac(stream, _) => Ok(stream.update(data)?),
        State::GatheredMac(gathered, _) => gathered.update(data),
        _ => Err(OperationError::Internal),
    }
}

/// The MAC of all parts, and what it is compared with.
pub(super) async fn finish(key: &UsableKey, scheme: MacScheme, state: State) -> Result<(Vec<u8>, Option<Vec<u8>>), OperationError> {
    match state {
        State::Mac(stream, compared) => Ok((stream.finish()?, compared)),
        State::GatheredMac(gathered, compared) => Ok((key.mac(scheme, gathered.bytes()).await?, compared)),
        _ => Err(OperationError::Internal),
    }
}
