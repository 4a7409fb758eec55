//! Prime fields. KMIP 1.4 §2.2.5: "secret sharing is performed in the field GF(Prime Field Size), represented as integers, where
//! Prime Field Size is a prime bigger than 2^L", L being the bits of the secret.
//!
//! The arithmetic is the crate `crypto-bigint`'s, Montgomery's, in constant time. The whole secret is one number; primes of more than
//! 1024 bits are not served.

use crypto_bigint::modular::runtime_mod::{DynResidue, DynResidueParams};
use crypto_bigint::{Limb, Uint, nlimbs};
use zeroize::Zeroizing;

use super::polynomial::{Blocks, Field};
use super::{Part, Random, SharingError};

/// Bits of the largest prime.
const BITS_MAX: usize = 1024;
/// Limbs of an element: one more than the largest prime has, so that every sum of two fits.
const LIMBS: usize = nlimbs!(1088);
const OCTETS: usize = LIMBS * Limb::BYTES;
type Number = Uint<LIMBS>;

/// Rounds of Miller and Rabin with random bases: a composite passes with a probability below 2^-80.
const ROUNDS: usize = 40;
/// Random numbers below the prime are drawn so often at most; each try succeeds with a probability of a half at the least.
const DRAWS_MAX: usize = 256;

/// Primes that the server takes where a request names none: bits of the secret, and what the prime is beyond 2^bits.
const USUAL: [(usize, u16); 7] = [(64, 13), (128, 51), (192, 133), (256, 297), (384, 231), (512, 75), (768, 183)];

/// An odd number that is a Prime Field Size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prime(Box<Number>);

impl Prime {
    /// From the magnitude of a Prime Field Size, most significant octet first. Whether it is prime is told by [`Prime::check`].
    ///
    /// # Errors
    /// [`SharingError::Prime`] if it is even, or larger than what is served.
    pub(crate) fn read(magnitude: &[u8]) -> Result<Self, SharingError> {
        let significant = magnitude.iter().position(|octet| *octet != 0).map_or(&[][..], |start| &magnitude[start..]);
        if significant.len() > BITS_MAX / 8 {
            return Err(SharingError::Prime("has more than 1024 bits"));
        }
        if significant.last().is_none_or(|last| last & 1 == 0) || significant == [1] {
            return Err(SharingError::Prime("is not an odd prime"));
        }
        Ok(Self(Box::new(number(significant))))
    }

    /// The usual prime for a secret of so many octets.
    ///
    /// # Errors
    /// [`SharingError::Length`] for a secret that is too long.
    pub(crate) fn usual(octets: usize) -> Result<Self, SharingError> {
        let fits = USUAL.iter().find(|(bits, _)| bits / 8 >= octets);
        let (bits, beyond) = fits.ok_or(SharingError::Length { octets, rule: "prime fields take 96 octets at the most" })?;
        let mut magnitude = vec![0; bits / 8 + 1];
        magnitude[0] = 1;
        magnitude[bits / 8 - 1..].copy_from_slice(&beyond.to_be_bytes());
        Self::read(&magnitude)
    }

    /// Its magnitude.
    pub(crate) fn magnitude(&self) -> Vec<u8> {
        let octets = octets(&self.0);
        let start = octets.iter().position(|octet| *octet != 0).unwrap_or(OCTETS);
        octets[start..].to_vec()
    }

    /// Whether it is prime, by the test of Miller and Rabin. Takes milliseconds.
    ///
    /// # Errors
    /// [`SharingError::Prime`] if it is not.
    pub(crate) fn check(&self, random: Random<'_>) -> Result<(), SharingError> {
        let parameters = DynResidueParams::new(&self.0);
        let one = DynResidue::one(parameters);
        let minus_one = one.neg();
        let less_one = self.0.wrapping_sub(&Number::ONE);
        let twos = less_one.trailing_zeros();
        let odd = less_one.shr_vartime(twos);
        'rounds: for _ in 0..ROUNDS {
            let base = DynResidue::new(&draw(&self.0, random)?, parameters);
            if base == DynResidue::zero(parameters) {
                continue;
            }
            let mut power = base.pow(&odd);
            if power == one || power == minus_one {
                continue;
            }
            for _ in 1..twos {
                power = power.square();
                if power == minus_one {
                    continue 'rounds;
                }
            }
            return Err(SharingError::Prime("is not prime"));
        }
        Ok(())
    }

    /// The field, for secrets of so many octets.
    pub(super) fn field(&self, octets: usize) -> Result<PrimeField, SharingError> {
        if self.0.bits() <= octets * 8 {
            return Err(SharingError::Length { octets, rule: "the prime is not bigger than every secret of this length" });
        }
        Ok(PrimeField { parameters: DynResidueParams::new(&self.0), part_octets: self.0.bits().div_ceil(8) })
    }
}

/// GF(p). Elements are in Montgomery's form.
pub(super) struct PrimeField {
    parameters: DynResidueParams<LIMBS>,
    /// Octets of a part: those of the prime.
    part_octets: usize,
}

impl PrimeField {
    fn residue(&self, element: Number) -> DynResidue<LIMBS> {
        DynResidue::from_montgomery(element, self.parameters)
    }

    fn element(&self, number: &Number) -> Number {
        DynResidue::new(number, self.parameters).to_montgomery()
    }
}

impl Field for PrimeField {
    type Element = Number;

    fn zero(&self) -> Number {
        Number::ZERO
    }

    fn one(&self) -> Number {
        DynResidue::one(self.parameters).to_montgomery()
    }

    fn point(&self, number: u16) -> Number {
        self.element(&Number::from_u16(number))
    }

    fn add(&self, one: Number, other: Number) -> Number {
        self.residue(one).add(&self.residue(other)).to_montgomery()
    }

    fn subtract(&self, one: Number, other: Number) -> Number {
        self.residue(one).sub(&self.residue(other)).to_montgomery()
    }

    fn multiply(&self, one: Number, other: Number) -> Number {
        self.residue(one).mul(&self.residue(other)).to_montgomery()
    }

    fn inverse(&self, element: Number) -> Option<Number> {
        let (inverse, exists) = self.residue(element).invert();
        bool::from(exists).then(|| inverse.to_montgomery())
    }

    fn random(&self, random: Random<'_>) -> Result<Number, SharingError> {
        let drawn = Zeroizing::new(draw(self.parameters.modulus(), random)?);
        Ok(self.element(&drawn))
    }
}

impl Blocks for PrimeField {
    fn of_secret(&self, secret: &[u8]) -> Result<Zeroizing<Vec<Number>>, SharingError> {
        let secret = Zeroizing::new(number(secret));
        Ok(Zeroizing::new(vec![self.element(&secret)]))
    }

    fn of_part(&self, part: &Part) -> Result<Zeroizing<Vec<Number>>, SharingError> {
        let significant = part.value.iter().position(|octet| *octet != 0).map_or(&[][..], |start| &part.value[start..]);
        if significant.len() > self.part_octets {
            return Err(SharingError::NotAPart(part.number, "it is longer than the prime"));
        }
        let value = Zeroizing::new(number(significant));
        if *value >= *self.parameters.modulus() {
            return Err(SharingError::NotAPart(part.number, "it is not below the prime"));
        }
        Ok(Zeroizing::new(vec![self.element(&value)]))
    }

    fn to_part(&self, elements: &[Number]) -> Zeroizing<Vec<u8>> {
        let all = elements.first().map(|element| octets(&self.residue(*element).retrieve())).unwrap_or_default();
        Zeroizing::new(all[OCTETS - self.part_octets..].to_vec())
    }

    fn to_secret(&self, elements: &[Number], length: usize) -> Result<Zeroizing<Vec<u8>>, SharingError> {
        let all = elements.first().map(|element| octets(&self.residue(*element).retrieve())).unwrap_or_default();
        // What is beyond the secret's length is 0 of parts that belong together.
        let beyond = all[..OCTETS - length].iter().fold(0, |any, octet| any | octet);
        if beyond != 0 {
            return Err(SharingError::NotTogether);
        }
        Ok(Zeroizing::new(all[OCTETS - length..].to_vec()))
    }
}

/// The number of at most [`OCTETS`] octets.
fn number(magnitude: &[u8]) -> Number {
    let mut padded = Zeroizing::new([0; OCTETS]);
    padded[OCTETS - magnitude.len()..].copy_from_slice(magnitude);
    Number::from_be_slice(&padded[..])
}

fn octets(number: &Number) -> Zeroizing<Vec<u8>> {
    let limbs = number.as_limbs().iter().rev();
    Zeroizing::new(limbs.flat_map(|limb| limb.0.to_be_bytes()).collect())
}

/// A random number below a limit: drawn with as many bits as the limit has, until one is.
fn draw(limit: &Number, random: Random<'_>) -> Result<Number, SharingError> {
    let bits = limit.bits();
    let length = bits.div_ceil(8);
    let mut drawn = Zeroizing::new(vec![0; length]);
    for _ in 0..DRAWS_MAX {
        random(&mut drawn)?;
        drawn[0] &= 0xFF >> (length * 8 - bits);
        let candidate = number(&drawn);
        if candidate < *limit {
            return Ok(candidate);
        }
    }
    Err(SharingError::Random)
}
