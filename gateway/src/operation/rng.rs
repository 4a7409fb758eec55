//! RNG Retrieve and RNG Seed. KMIP 2.1 §6.1.51 and §6.1.52, KMIP 1.4 §4.35 and §4.36.
//!
//! The generator is the cryptographic library's. What clients seed is hashed into a pool of its own, and what the pool
//! yields is added to what RNG Retrieve hands out, bit by bit modulo 2: a seed can improve the output and never worsen it,
//! and keys are not made from it.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{digest, hmac};
use keygate_backends::{SecretBytes, local};
use keygate_kmip::{RngRetrieveRequest, RngRetrieveResponse, RngSeedRequest, RngSeedResponse, Secret};
use zeroize::Zeroizing;

use super::policy::RngSeed;
use super::{Exchange, OperationError};

/// Bytes that one RNG Retrieve hands out at most.
pub(super) const RETRIEVE_BYTES_MAX: i32 = 65_536;

/// What clients have seeded, hashed.
#[derive(Default)]
pub(super) struct SeedPool(Mutex<Option<Zeroizing<[u8; 32]>>>);

impl SeedPool {
    fn stir(&self, seed: &[u8]) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(pool.as_ref().map_or(&[][..], |pool| &pool[..]));
        context.update(seed);
        let mut next = Zeroizing::new([0; 32]);
        next.copy_from_slice(context.finish().as_ref());
        *pool = Some(next);
    }

    /// Adds the pool's own stream to random octets.
    fn add_to(&self, octets: SecretBytes) -> Result<SecretBytes, OperationError> {
        let Some(pool) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return Ok(octets) };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &pool[..]);
        let nonce = local::random(16)?;
        let mut out = octets.into_exposed();
        for (number, block) in (0u32..).zip(out.chunks_mut(32)) {
            let mut context = hmac::Context::with_key(&key);
            context.update(nonce.expose());
            context.update(&number.to_be_bytes());
            let mask = context.sign();
            block.iter_mut().zip(mask.as_ref()).for_each(|(octet, mask)| *octet ^= mask);
        }
        Ok(SecretBytes::new(out))
    }
}

/// Hands out random octets.
///
/// # Errors
/// [`OperationError::InvalidField`] for a length that is not positive, [`OperationError::LimitExceeded`] for one that is too
/// great.
pub(super) fn rng_retrieve(exchange: &mut Exchange<'_>, request: &RngRetrieveRequest) -> Result<RngRetrieveResponse, OperationError> {
    if request.data_length > RETRIEVE_BYTES_MAX {
        return Err(OperationError::LimitExceeded(format!("Data Length {} is over the limit of {RETRIEVE_BYTES_MAX}", request.data_length)));
    }
    let length = usize::try_from(request.data_length).ok().filter(|length| *length > 0);
    let length = length.ok_or_else(|| OperationError::InvalidField("Data Length is not positive".to_owned()))?;
    Ok(RngRetrieveResponse { data: octets(exchange, length)? })
}

/// Random octets for a client.
pub(super) fn octets(exchange: &mut Exchange<'_>, length: usize) -> Result<Secret, OperationError> {
    exchange.release_material();
    let data = exchange.gateway.seed_pool.add_to(local::random(length)?)?;
    Ok(Secret::new(data.into_exposed()))
}

/// Takes a seed, as far as the policy goes.
///
/// # Errors
/// [`OperationError::PermissionDenied`] where the policy takes none.
pub(super) fn rng_seed(exchange: &Exchange<'_>, request: &RngSeedRequest) -> Result<RngSeedResponse, OperationError> {
    let seed = request.data.expose_bytes();
    let length = i32::try_from(seed.len()).map_err(|_| OperationError::InvalidField("Data is too long".to_owned()))?;
    // KMIP 2.1 §6.1.52: "The server MAY elect to ignore the information provided by the client".
    let taken = match exchange.gateway.policy.rng_seed {
        RngSeed::All => length,
        RngSeed::Some(most) => length.min(most).max(0),
        RngSeed::None => 0,
        RngSeed::Refuse => return Err(OperationError::PermissionDenied("this server takes no seeds".to_owned())),
    };
    let used = usize::try_from(taken).unwrap_or_default();
    if used > 0 {
        exchange.gateway.seed_pool.stir(&seed[..used]);
    }
    Ok(RngSeedResponse { data_length: taken })
}
