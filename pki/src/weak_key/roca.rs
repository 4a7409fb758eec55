//! The fingerprint of RSA keys made by the library of CVE-2017-15361 ("ROCA").
//!
//! Nemec, Sys, Svenda, Klinec, Matyas: "The Return of Coppersmith's Attack", ACM CCS 2017, §2: the primes have the form
//! k M + (65537^a mod M) with M a product of the first primes. Hence the modulus is a power of 65537 modulo each of those
//! primes. A modulus of another origin passes with a chance of about 2^-28.

use std::sync::LazyLock;

use num_bigint::BigUint;

/// Whether the modulus is a power of 65537 modulo every prime of the smallest M in use (key size 512: the primes to 167).
pub(super) fn has_fingerprint(modulus: &BigUint) -> bool {
    POWERS.iter().all(|(prime, powers)| {
        let remainder = (modulus % *prime).iter_u32_digits().next().unwrap_or(0);
        powers[remainder as usize]
    })
}

/// For each prime, which remainders are powers of 65537.
static POWERS: LazyLock<Vec<(u32, Vec<bool>)>> = LazyLock::new(|| {
    super::primes_below(168)
        .skip(1)
        .map(|prime| {
            let mut powers = vec![false; prime as usize];
            let mut power = 1;
            while !powers[power as usize] {
                powers[power as usize] = true;
                power = power * (65_537 % prime) % prime;
            }
            (prime, powers)
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    /// The fingerprint holds for what the flawed library makes, and for one in 2^28 of the others.
    #[test]
    fn powers_of_65537_are_found_and_others_are_not() {
        let product = super::super::primes_below(168).fold(BigUint::from(1u8), |product, prime| product * prime);
        let flawed = |k: u32, a: u32| &product * k + BigUint::from(65_537u32).modpow(&BigUint::from(a), &product);
        assert!(has_fingerprint(&(flawed(3, 1234) * flawed(77, 987_654))));
        assert!(!has_fingerprint(&(flawed(3, 1234) * (flawed(77, 987_654) + 2u8))));
        let chance: f64 = POWERS
            .iter()
            .map(|(prime, powers)| (powers.iter().filter(|is| **is).count() as f64 / f64::from(prime - 1)).log2())
            .sum();
        assert!((-30.0..-26.0).contains(&chance), "{chance}");
    }
}
