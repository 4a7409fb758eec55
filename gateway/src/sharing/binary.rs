//! The fields GF(2^8) and GF(2^16).
//!
//! GF(2^8) comes by two polynomials: x^8+x^4+x^3+x^2+1 (0x11D, KMIP 3.0's Polynomial-285), by which the official test cases share,
//! and x^8+x^4+x^3+x+1 (0x11B, FIPS 197 §4.2, Polynomial-283). GF(2^16) is, by KMIP 1.4 §2.2.5, `GF(2^8)[y]/(y^2+y+m)` over FIPS 197's
//! GF(2^8) with m = {3A}; an element uy+v is the octets u, v. No tables: their lookups would tell of the secret.

use zeroize::Zeroizing;

use super::polynomial::{Blocks, Field};
use super::{Part, Random, SharingError};

/// By which polynomial GF(2^8) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polynomial {
    /// 0x11B.
    P283,
    /// 0x11D.
    P285,
}

impl Polynomial {
    /// All.
    pub(crate) const ALL: [Self; 2] = [Self::P285, Self::P283];

    /// Its number.
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::P283 => 283,
            Self::P285 => 285,
        }
    }

    /// What x^8 is.
    fn rest(self) -> u8 {
        match self {
            Self::P283 => 0x1B,
            Self::P285 => 0x1D,
        }
    }
}

/// GF(2^8).
pub(super) struct Gf256 {
    rest: u8,
}

impl Gf256 {
    pub(super) fn new(polynomial: Polynomial) -> Self {
        Self { rest: polynomial.rest() }
    }
}

/// The product modulo x^8 + `rest`.
fn product(one: u8, other: u8, rest: u8) -> u8 {
    let (mut shifted, mut product) = (one, 0);
    for bit in 0..8 {
        product ^= shifted & 0u8.wrapping_sub((other >> bit) & 1);
        shifted = (shifted << 1) ^ (rest & 0u8.wrapping_sub(shifted >> 7));
    }
    product
}

/// `element` to the power 254, its inverse.
fn inverse(element: u8, rest: u8) -> u8 {
    let mut result = 1;
    let mut square = element;
    for _ in 1..8 {
        square = product(square, square, rest);
        result = product(result, square, rest);
    }
    result
}

impl Field for Gf256 {
    type Element = u8;

    fn zero(&self) -> u8 {
        0
    }

    fn one(&self) -> u8 {
        1
    }

    fn point(&self, number: u16) -> u8 {
        // At most 255 parts, see `check_numbers`.
        number as u8
    }

    fn add(&self, one: u8, other: u8) -> u8 {
        one ^ other
    }

    fn subtract(&self, one: u8, other: u8) -> u8 {
        one ^ other
    }

    fn multiply(&self, one: u8, other: u8) -> u8 {
        product(one, other, self.rest)
    }

    fn inverse(&self, element: u8) -> Option<u8> {
        (element != 0).then(|| inverse(element, self.rest))
    }

    fn random(&self, random: Random<'_>) -> Result<u8, SharingError> {
        let mut octet = Zeroizing::new([0]);
        random(&mut octet[..])?;
        Ok(octet[0])
    }
}

impl Blocks for Gf256 {
    fn of_secret(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, SharingError> {
        Ok(Zeroizing::new(secret.to_vec()))
    }

    fn of_part(&self, part: &Part) -> Result<Zeroizing<Vec<u8>>, SharingError> {
        Ok(part.value.clone())
    }

    fn to_part(&self, elements: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(elements.to_vec())
    }

    fn to_secret(&self, elements: &[u8], _: usize) -> Result<Zeroizing<Vec<u8>>, SharingError> {
        Ok(Zeroizing::new(elements.to_vec()))
    }
}

/// GF(2^16).
pub(super) struct Gf65536;

const FIPS_197: u8 = 0x1B;
/// "The element m is given by m = x^5+x^4+x^3+x, which is represented by the byte 0x3A".
const M: u8 = 0x3A;

impl Field for Gf65536 {
    type Element = u16;

    fn zero(&self) -> u16 {
        0
    }

    fn one(&self) -> u16 {
        1
    }

    fn point(&self, number: u16) -> u16 {
        number
    }

    fn add(&self, one: u16, other: u16) -> u16 {
        one ^ other
    }

    fn subtract(&self, one: u16, other: u16) -> u16 {
        one ^ other
    }

    /// "(ry+s)(uy+v) = ((r+s)(u+v)+sv)y + (ru·m + sv)".
    fn multiply(&self, one: u16, other: u16) -> u16 {
        let ([r, s], [u, v]) = (one.to_be_bytes(), other.to_be_bytes());
        let product = |one, other| product(one, other, FIPS_197);
        let sv = product(s, v);
        u16::from_be_bytes([product(r ^ s, u ^ v) ^ sv, product(product(r, u), M) ^ sv])
    }

    /// "(uy+v)^-1 = u·d^-1·y + (u+v)·d^-1, where d = (u+v)v + m·u^2".
    fn inverse(&self, element: u16) -> Option<u16> {
        let [u, v] = element.to_be_bytes();
        let product = |one, other| product(one, other, FIPS_197);
        let d = product(u ^ v, v) ^ product(M, product(u, u));
        let d = inverse(d, FIPS_197);
        (element != 0).then(|| u16::from_be_bytes([product(u, d), product(u ^ v, d)]))
    }

    fn random(&self, random: Random<'_>) -> Result<u16, SharingError> {
        let mut octets = Zeroizing::new([0; 2]);
        random(&mut octets[..])?;
        Ok(u16::from_be_bytes(*octets))
    }
}

impl Blocks for Gf65536 {
    fn of_secret(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u16>>, SharingError> {
        pairs(secret).ok_or(SharingError::Length { octets: secret.len(), rule: "GF(2^16) takes two octets at a time" })
    }

    fn of_part(&self, part: &Part) -> Result<Zeroizing<Vec<u16>>, SharingError> {
        pairs(&part.value).ok_or(SharingError::NotAPart(part.number, "its length is odd"))
    }

    fn to_part(&self, elements: &[u16]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(elements.iter().flat_map(|element| element.to_be_bytes()).collect())
    }

    fn to_secret(&self, elements: &[u16], _: usize) -> Result<Zeroizing<Vec<u8>>, SharingError> {
        Ok(self.to_part(elements))
    }
}

fn pairs(octets: &[u8]) -> Option<Zeroizing<Vec<u16>>> {
    let (pairs, rest) = octets.as_chunks::<2>();
    rest.is_empty().then(|| Zeroizing::new(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()))
}
