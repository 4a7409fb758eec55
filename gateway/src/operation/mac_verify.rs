//! MAC Verify. KMIP 2.1 §6.1.39, KMIP 1.4 §4.34.

use keygate_kmip::{CryptographicUsageMask, MacVerifyRequest, MacVerifyResponse, ObjectType, Operation};
use subtle::ConstantTimeEq;

use super::key::{Charge, Effect, Use, UsableKey};
use super::mac::{begin, finish, part_data, scheme, update};
use super::signature_verify::indicator;
use super::stream::{self, Part, State};
use super::{Exchange, OperationError};

const USE: Use = Use {
    operation: Operation::MacVerify,
    mask: CryptographicUsageMask::MAC_VERIFY,
    object_types: &[ObjectType::SymmetricKey],
    effect: Effect::Process,
};

/// Compares the MAC of a message, or takes a part of one.
///
/// # Errors
/// A key that may not be used, parameters that do not fit it, no MAC to compare with.
pub(super) async fn mac_verify(exchange: &mut Exchange<'_>, request: MacVerifyRequest) -> Result<MacVerifyResponse, OperationError> {
    const OPERATION: Operation = Operation::MacVerify;
    let part = Part::of(request.init_indicator, request.final_indicator, request.correlation_value.as_deref())?;
    let data = part_data(&part, request.data.as_deref())?;
    let given = request.cryptographic_parameters.clone();
    let key = UsableKey::acquire(exchange, request.unique_identifier.as_ref(), &USE, given, Charge { bytes: data.len(), objects: i64::from(part.begins()) }).await?;
    let scheme = scheme(&key)?;
    let answer = |valid: Option<bool>, correlation_value| MacVerifyResponse {
        unique_identifier: key.object.to_string().into(),
        validity_indicator: valid.map(indicator),
        correlation_value,
    };
    match part {
        Part::Whole => {
            let expected = request.mac_data.as_deref().ok_or_else(missing_mac)?;
            let mac = key.mac(scheme, data).await?;
            Ok(answer(Some(mac.ct_eq(expected).into()), None))
        }
        Part::First => {
            let state = begin(&key, scheme, data, request.mac_data.clone())?;
            let value = stream::begin(exchange, OPERATION, Some(key.object), state)?;
            Ok(answer(None, Some(value)))
        }
        Part::Next(value) => {
            let mut state = with_mac(stream::take(exchange, OPERATION, Some(key.object), value)?, request.mac_data.clone());
            update(&mut state, data)?;
            stream::put_back(exchange, OPERATION, Some(key.object), value, state)?;
            Ok(answer(None, Some(value.to_vec())))
        }
        Part::Last(value) => {
            let mut state = with_mac(stream::take(exchange, OPERATION, Some(key.object), value)?, request.mac_data.clone());
            update(&mut state, data)?;
            let (mac, expected) = finish(&key, scheme, state).await?;
            Ok(answer(Some(mac.ct_eq(&expected.ok_or_else(missing_mac)?).into()), None))
        }
    }
}

/// The MAC may come with any part; the newest counts.
fn with_mac(state: State, mac: Option<Vec<u8>>) -> State {
    match (state, mac) {
        (State::Mac(stream, _), Some(mac)) => State::Mac(stream, Some(mac)),
        (State::GatheredMac(gathered, _), Some(mac)) => State::GatheredMac(gathered, Some(mac)),
        (state, _) => state,
    }
}

fn missing_mac() -> OperationError {
    OperationError::InvalidMessage("MAC Data is missing".to_owned())
}
