//! Moduli whose primes are so close together that Fermat's method finds them.

use num_bigint::BigUint;

/// Rounds of the method, as many as the CA/Browser Forum Baseline Requirements §6.1.1.3 ask for. A pair of primes of
/// independent random origin would need more than 2^500.
const ROUNDS: usize = 100;

/// Whether one of the first squares above `modulus`, less the modulus, is a square: a^2 - n = b^2 gives n = (a-b)(a+b).
pub(super) fn is_close(modulus: &BigUint) -> bool {
    let mut root = modulus.sqrt();
    if &root * &root < *modulus {
        root += 1u8;
    }
    let mut rest = &root * &root - modulus;
    for _ in 0..ROUNDS {
        if is_square(&rest) {
            return true;
        }
        // (a + 1)^2 - n = a^2 - n + 2a + 1
        rest += &root + &root + 1u8;
        root += 1u8;
    }
    false
}

fn is_square(number: &BigUint) -> bool {
    // Most numbers are no square modulo a few small numbers, which is quickly seen: a root is taken of about one in 100.
    let may_be = [64u32, 63, 65, 11].into_iter().all(|modulus| {
        let remainder = (number % modulus).iter_u32_digits().next().unwrap_or(0);
        (0..modulus).any(|root| root * root % modulus == remainder)
    });
    may_be && {
        let root = number.sqrt();
        &root * &root == *number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Factors at a distance that the rounds cover are found; those farther apart are not. They need not be prime.
    #[test]
    fn close_factors_are_found() {
        let base = (BigUint::from(1u8) << 1024) + 643u32;
        let apart = |distance: BigUint| &base * (&base + distance);
        assert!(is_close(&apart(BigUint::ZERO)));
        assert!(is_close(&apart(BigUint::from(1_000_000u32))));
        // After r rounds b reaches about sqrt(2 r a): a distance of 2^514 is within 100 rounds of a = 2^1024, 2^600 is not.
        assert!(is_close(&apart(BigUint::from(1u8) << 514)));
        assert!(!is_close(&apart(BigUint::from(1u8) << 600)));
    }

    #[test]
    fn squares_are_told_from_their_neighbours() {
        for root in [0u32, 1, 2, 3, 1000, 65_535, 4_000_000_000] {
            let square = BigUint::from(root) * root;
            assert!(is_square(&square));
            assert!(!is_square(&(&square + 2u8)) || root == 0 && is_square(&BigUint::from(2u8)));
        }
    }
}
