//! Hash. KMIP 2.1 §6.1.26, KMIP 1.4 §4.37.

use keygate_backends::local::{self, HashStream};
use keygate_kmip::{HashRequest, HashResponse, HashingAlgorithm, Operation};

use super::mac::part_data;
use super::stream::{self, Part, State};
use super::{Exchange, OperationError};

/// Hashes a message or takes a part of one.
///
/// # Errors
/// No Hashing Algorithm, or one that is not served.
pub(super) fn hash(exchange: &mut Exchange<'_>, request: HashRequest) -> Result<HashResponse, OperationError> {
    let part = Part::of(request.init_indicator, request.final_indicator, request.correlation_value.as_deref())?;
    let data = part_data(&part, request.data.as_deref())?;
    match part {
        Part::Whole => Ok(HashResponse { data: Some(local::hash(algorithm(&request)?, data)?), correlation_value: None }),
        Part::First => {
            let mut hash = HashStream::new(algorithm(&request)?)?;
            hash.update(data)?;
            let value = stream::begin(exchange, Operation::Hash, None, State::Hash(hash))?;
            Ok(HashResponse { data: None, correlation_value: Some(value) })
        }
        Part::Next(value) => {
            let mut hash = taken(exchange, value)?;
            hash.update(data)?;
            stream::put_back(exchange, Operation::Hash, None, value, State::Hash(hash))?;
            Ok(HashResponse { data: None, correlation_value: Some(value.to_vec()) })
        }
        Part::Last(value) => {
            let mut hash = taken(exchange, value)?;
            hash.update(data)?;
            Ok(HashResponse { data: Some(hash.finish()?), correlation_value: None })
        }
    }
}

fn taken(exchange: &Exchange<'_>, value: &[u8]) -> Result<HashStream, OperationError> {
    match stream::take(exchange, Operation::Hash, None, value)? {
        State::Hash(hash) => Ok(hash),
        _ => Err(OperationError::Internal),
    }
}

fn algorithm(request: &HashRequest) -> Result<HashingAlgorithm, OperationError> {
    let parameters = request.cryptographic_parameters.as_ref();
    let named = parameters.and_then(|parameters| parameters.hashing_algorithm);
    named.ok_or_else(|| OperationError::InvalidMessage("Hashing Algorithm is missing in the Cryptographic Parameters".to_owned()))
}
