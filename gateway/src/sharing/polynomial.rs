//! Shamir's sharing over any field: the secret is a polynomial's value at 0, part `x` its value at `x`.
//!
//! Weights of Lagrange's interpolation are of the points alone, which are public; what is multiplied by them is secret.

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, Zeroizing};

use super::{Part, Random, SharingError};

/// A finite field. Operations take the same time whatever the elements, but for [`Field::inverse`], which sees points only.
pub(super) trait Field {
    /// An element.
    type Element: Copy + Zeroize;

    /// 0.
    fn zero(&self) -> Self::Element;
    /// 1.
    fn one(&self) -> Self::Element;
    /// The element of a point.
    fn point(&self, number: u16) -> Self::Element;
    /// The sum.
    fn add(&self, one: Self::Element, other: Self::Element) -> Self::Element;
    /// The difference.
    fn subtract(&self, one: Self::Element, other: Self::Element) -> Self::Element;
    /// The product.
    fn multiply(&self, one: Self::Element, other: Self::Element) -> Self::Element;
    /// The inverse; `None` of 0. Not in constant time.
    fn inverse(&self, element: Self::Element) -> Option<Self::Element>;
    /// A random element.
    fn random(&self, random: Random<'_>) -> Result<Self::Element, SharingError>;
}

/// How octets become elements, one after the other.
pub(super) trait Blocks: Field {
    /// The elements of a secret.
    fn of_secret(&self, secret: &[u8]) -> Result<Zeroizing<Vec<Self::Element>>, SharingError>;
    /// The elements of a part.
    fn of_part(&self, part: &Part) -> Result<Zeroizing<Vec<Self::Element>>, SharingError>;
    /// The octets of a part.
    fn to_part(&self, elements: &[Self::Element]) -> Zeroizing<Vec<u8>>;
    /// The octets of a secret.
    fn to_secret(&self, elements: &[Self::Element], octets: usize) -> Result<Zeroizing<Vec<u8>>, SharingError>;
}

/// Shares a secret.
pub(super) fn split<F: Blocks>(field: &F, secret: &[u8], threshold: u16, parts: u16, random: Random<'_>) -> Result<Vec<Part>, SharingError> {
    let secret = field.of_secret(secret)?;
    let mut shares = vec![Zeroizing::new(Vec::with_capacity(secret.len())); usize::from(parts)];
    let mut coefficients = Zeroizing::new(vec![field.zero(); usize::from(threshold)]);
    for element in secret.iter() {
        coefficients[0] = *element;
        for coefficient in &mut coefficients[1..] {
            *coefficient = field.random(random)?;
        }
        for (number, share) in (1..=parts).zip(&mut shares) {
            let x = field.point(number);
            // Horner's rule.
            let value = coefficients.iter().rev().fold(field.zero(), |value, next| field.add(field.multiply(value, x), *next));
            share.push(value);
        }
    }
    Ok((1..=parts).zip(&shares).map(|(number, share)| Part { number, value: field.to_part(share) }).collect())
}

/// Joins parts: the first of them, as many as the threshold, give the secret and every other part.
pub(super) fn join<F: Blocks>(field: &F, parts: &[Part], threshold: u16, octets: usize) -> Result<Zeroizing<Vec<u8>>, SharingError> {
    let (first, others) = parts.split_at(usize::from(threshold).min(parts.len()));
    let numbers: Vec<u16> = first.iter().map(|part| part.number).collect();
    let mut elements = Vec::with_capacity(first.len());
    for part in first {
        elements.push(field.of_part(part)?);
    }
    if let Some(odd) = first.iter().zip(&elements).find(|(_, own)| own.len() != elements[0].len()) {
        return Err(SharingError::NotAPart(odd.0.number, "its length is another"));
    }
    let at = |number: u16| -> Result<Zeroizing<Vec<F::Element>>, SharingError> {
        let weights = weights(field, &numbers, number)?;
        let value = |block: usize| {
            let terms = elements.iter().zip(&weights).map(|(part, weight)| field.multiply(part[block], *weight));
            terms.fold(field.zero(), |sum, term| field.add(sum, term))
        };
        Ok(Zeroizing::new((0..elements[0].len()).map(value).collect()))
    };
    for other in others {
        let expected = field.to_part(&at(other.number)?);
        if !bool::from(expected.as_slice().ct_eq(other.value.as_slice())) {
            return Err(SharingError::NotTogether);
        }
    }
    field.to_secret(&at(0)?, octets)
}

/// What the values at the points `numbers` are multiplied by to sum up to the value at another point.
fn weights<F: Field>(field: &F, numbers: &[u16], at: u16) -> Result<Vec<F::Element>, SharingError> {
    let at = field.point(at);
    let weight = |number: &u16| {
        let x = field.point(*number);
        let (mut above, mut below) = (field.one(), field.one());
        for other in numbers.iter().filter(|other| *other != number) {
            let other = field.point(*other);
            above = field.multiply(above, field.subtract(at, other));
            below = field.multiply(below, field.subtract(x, other));
        }
        // Two points are the same only in a field that has fewer elements than there are parts.
        Some(field.multiply(above, field.inverse(below)?))
    };
    numbers.iter().map(|number| weight(number).ok_or(SharingError::Repeated(*number))).collect()
}
