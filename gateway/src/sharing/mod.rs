//! Secret sharing as split keys have it: a secret in parts, of which so many as the threshold give it back and fewer say nothing
//! about it. KMIP 1.4 §2.2.5 and §9.1.3.2.9, KMIP 2.1 §2.8 (Split Key Method).
//!
//! XOR, and polynomials (Shamir) over GF(2^8), GF(2^16) and prime fields. A part's number is its Key Part Identifier, which is the
//! point at which the polynomial is taken. Arithmetic on secrets takes the same time whatever they are; numbers of parts,
//! thresholds and primes are public. Own code, because the fields are the standard's: `blahaj`, which shares seal slots, has GF(2^8) by
//! another polynomial and neither of the others.
//!
//! Parts carry nothing that tells an altered one. More parts than the threshold are compared with each other here; what the
//! server remembers of parts that it made is of [`crate::operation`].

mod binary;
mod polynomial;
mod prime;

use zeroize::Zeroizing;

pub(crate) use binary::Polynomial;
pub(crate) use prime::Prime;

use binary::{Gf256, Gf65536};

/// How a secret is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// All parts together give the secret, bit by bit modulo 2.
    Xor,
    /// Octet by octet.
    Gf256(Polynomial),
    /// Two octets at a time.
    Gf65536,
    /// The whole secret as one number, most significant octet first.
    PrimeField(Prime),
}

/// One part.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Key Part Identifier, from 1.
    pub(crate) number: u16,
    /// Its octets.
    pub(crate) value: Zeroizing<Vec<u8>>,
}

/// Why a secret is not shared, or parts are not joined. Nothing of a secret is in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SharingError {
    /// Threshold and number of parts do not go together.
    #[error("{threshold} of {parts} parts is not possible: {rule}")]
    Numbers {
        /// Threshold.
        threshold: u16,
        /// Parts.
        parts: u16,
        /// What the method asks for.
        rule: &'static str,
    },
    /// The method does not take a secret of this length.
    #[error("the method does not take a secret of {octets} octets: {rule}")]
    Length {
        /// Its length.
        octets: usize,
        /// What the method asks for.
        rule: &'static str,
    },
    /// A prime field that is none, or not one that is served.
    #[error("Prime Field Size {0}")]
    Prime(&'static str),
    /// Fewer parts than the threshold.
    #[error("{given} of {threshold} parts that are needed")]
    TooFew {
        /// How many were given.
        given: usize,
        /// How many are needed.
        threshold: u16,
    },
    /// Two parts with the same number.
    #[error("part {0} is given twice")]
    Repeated(u16),
    /// A part that is no part of such a secret.
    #[error("part {0} is not one of such a key: {1}")]
    NotAPart(u16, &'static str),
    /// The parts contradict each other.
    #[error("the parts do not belong together: at least one is altered or of another key")]
    NotTogether,
    /// The system gave no random octets.
    #[error("no random octets")]
    Random,
}

/// Fills a buffer with random octets.
pub(crate) type Random<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), SharingError>;

/// Shares a secret: parts 1 to `parts`.
///
/// # Errors
/// Numbers or a length that the method does not take.
pub(crate) fn split(method: &Method, secret: &[u8], threshold: u16, parts: u16, random: Random<'_>) -> Result<Vec<Part>, SharingError> {
    check_numbers(method, threshold, parts)?;
    if secret.is_empty() {
        return Err(SharingError::Length { octets: 0, rule: "it has at least one" });
    }
    match method {
        Method::Xor => split_by_xor(secret, parts, random),
        Method::Gf256(polynomial) => polynomial::split(&Gf256::new(*polynomial), secret, threshold, parts, random),
        Method::Gf65536 => polynomial::split(&Gf65536, secret, threshold, parts, random),
        Method::PrimeField(prime) => polynomial::split(&prime.field(secret.len())?, secret, threshold, parts, random),
    }
}

/// Joins parts to the secret of `octets` octets; of methods other than prime fields the parts are as long as the secret.
///
/// # Errors
/// Too few parts, one given twice, one that is no such part; with more than the threshold: parts that contradict each other.
pub(crate) fn join(method: &Method, parts: &[Part], threshold: u16, octets: usize) -> Result<Zeroizing<Vec<u8>>, SharingError> {
    let mut numbers: Vec<u16> = parts.iter().map(|part| part.number).collect();
    numbers.sort_unstable();
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(SharingError::Repeated(pair[0]));
    }
    if parts.is_empty() || parts.len() < usize::from(threshold) {
        return Err(SharingError::TooFew { given: parts.len(), threshold });
    }
    match method {
        Method::Xor => join_by_xor(parts, octets),
        Method::Gf256(polynomial) => polynomial::join(&Gf256::new(*polynomial), parts, threshold, octets),
        Method::Gf65536 => polynomial::join(&Gf65536, parts, threshold, octets),
        Method::PrimeField(prime) => polynomial::join(&prime.field(octets)?, parts, threshold, octets),
    }
}

/// Whether a method has so many parts and such a threshold.
///
/// # Errors
/// [`SharingError::Numbers`].
pub(crate) fn check_numbers(method: &Method, threshold: u16, parts: u16) -> Result<(), SharingError> {
    let wrong = |rule| Err(SharingError::Numbers { threshold, parts, rule });
    if threshold < 1 || threshold > parts {
        return wrong("the threshold is from 1 to the number of parts");
    }
    match method {
        // KMIP 1.4 §2.2.5: "The number of split keys is Split Key Parts (identical to Split Key Threshold)".
        Method::Xor if threshold != parts => wrong("XOR needs all of its parts"),
        Method::Gf256(_) if parts > u16::from(u8::MAX) => wrong("GF(2^8) has points for 255 parts"),
        _ => Ok(()),
    }
}

fn split_by_xor(secret: &[u8], parts: u16, random: Random<'_>) -> Result<Vec<Part>, SharingError> {
    let mut rest = Zeroizing::new(secret.to_vec());
    let mut made = Vec::with_capacity(usize::from(parts));
    for number in 1..parts {
        let mut value = Zeroizing::new(vec![0; secret.len()]);
        random(&mut value)?;
        rest.iter_mut().zip(&*value).for_each(|(rest, octet)| *rest ^= octet);
        made.push(Part { number, value });
    }
    made.push(Part { number: parts, value: rest });
    Ok(made)
}

fn join_by_xor(parts: &[Part], octets: usize) -> Result<Zeroizing<Vec<u8>>, SharingError> {
    let mut secret = Zeroizing::new(vec![0; octets]);
    for part in parts {
        if part.value.len() != octets {
            return Err(SharingError::NotAPart(part.number, "its length is another"));
        }
        secret.iter_mut().zip(&*part.value).for_each(|(secret, octet)| *secret ^= octet);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests;
