//! Parts give back what was shared, in every method, by every choice of them; what is missing, repeated or altered is told.

use proptest::prelude::*;

use super::*;

/// A sequence that repeats itself for a seed: what is tested is not the randomness.
fn sequence(seed: u64) -> impl FnMut(&mut [u8]) -> Result<(), SharingError> {
    let mut state = seed;
    move |buffer: &mut [u8]| {
        for octet in buffer {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *octet = (state >> 33) as u8;
        }
        Ok(())
    }
}

fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::Xor),
        Just(Method::Gf256(Polynomial::P283)),
        Just(Method::Gf256(Polynomial::P285)),
        Just(Method::Gf65536),
        Just(Method::PrimeField(Prime::usual(32).expect("a usual length"))),
    ]
}

fn hex(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(::hex::decode(text).expect("hexadecimal"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any choice of enough parts, in any order, gives the secret; one fewer does not; an altered part beside enough is told.
    #[test]
    fn parts_give_the_secret_back(
        method in methods(),
        secret in proptest::collection::vec(any::<u8>(), 1..=16),
        threshold in 1u16..=5,
        more in 0u16..=3,
        seed: u64,
        order in any::<prop::sample::Index>(),
    ) {
        let secret = [secret.clone(), secret].concat();
        let parts = if method == Method::Xor { threshold } else { threshold + more };
        let made = split(&method, &secret, threshold, parts, &mut sequence(seed)).expect("numbers that go together");
        prop_assert_eq!(made.len(), usize::from(parts));
        let mut chosen = made.clone();
        chosen.rotate_left(order.index(made.len()));
        let joined = |parts: &[Part]| join(&method, parts, threshold, secret.len());
        prop_assert_eq!(joined(&chosen).map(|joined| joined.to_vec()), Ok(secret.clone()));
        let enough = &chosen[..usize::from(threshold)];
        prop_assert_eq!(joined(enough).map(|joined| joined.to_vec()), Ok(secret.clone()));
        let given = enough.len() - 1;
        prop_assert_eq!(joined(&enough[1..]), Err(SharingError::TooFew { given, threshold }));
        let mut repeated = enough.to_vec();
        repeated.push(enough[0].clone());
        prop_assert_eq!(joined(&repeated), Err(SharingError::Repeated(enough[0].number)));
        if parts > threshold {
            let mut altered = chosen.clone();
            let part = order.index(altered.len());
            if let Some(last) = altered[part].value.last_mut() {
                *last ^= 1;
            }
            prop_assert!(joined(&altered).is_err(), "an altered part is told");
        }
    }

    /// Products are associative and distribute over sums, and everything but 0 has an inverse.
    #[test]
    fn the_fields_are_fields(a: u16, b: u16, c: u16) {
        use super::polynomial::Field as _;
        let field = Gf65536;
        prop_assert_eq!(field.multiply(a, field.multiply(b, c)), field.multiply(field.multiply(a, b), c));
        prop_assert_eq!(field.multiply(a, b ^ c), field.multiply(a, b) ^ field.multiply(a, c));
        if let Some(inverse) = field.inverse(a) {
            prop_assert_eq!(field.multiply(a, inverse), 1);
        }
        let (a, b, c) = (a as u8, b as u8, c as u8);
        for polynomial in Polynomial::ALL {
            let field = Gf256::new(polynomial);
            prop_assert_eq!(field.multiply(a, field.multiply(b, c)), field.multiply(field.multiply(a, b), c));
            prop_assert_eq!(field.multiply(a, b ^ c), field.multiply(a, b) ^ field.multiply(a, c));
            if let Some(inverse) = field.inverse(a) {
                prop_assert_eq!(field.multiply(a, inverse), 1);
            }
        }
    }
}

/// FIPS 197 §4.2: {57} times {83} is {c1}, {57} times {13} is {fe}.
#[test]
fn multiplication_by_fips_197() {
    use super::polynomial::Field as _;
    let field = Gf256::new(Polynomial::P283);
    assert_eq!(field.multiply(0x57, 0x83), 0xC1);
    assert_eq!(field.multiply(0x57, 0x13), 0xFE);
}

/// By hand: the line 01 + 67·x through x = 1 and x = 2 in GF(2^8) of 0x11D, and a line modulo 2^8+1.
#[test]
fn lines_by_hand() {
    let part = |number, value: &str| Part { number, value: hex(value) };
    let method = Method::Gf256(Polynomial::P285);
    let joined = join(&method, &[part(1, "66"), part(2, "cf")], 2, 1);
    assert_eq!(joined.map(|joined| joined.to_vec()), Ok(vec![0x01]));
    // 0xC8 + 0x64·x modulo 257: at 1 it is 43 (0x2B), at 2 it is 143 (0x8F).
    let method = Method::PrimeField(Prime::read(&[1, 1]).expect("257 is odd"));
    let joined = join(&method, &[part(1, "002b"), part(2, "008f")], 2, 1);
    assert_eq!(joined.map(|joined| joined.to_vec()), Ok(vec![0xC8]));
}

#[test]
fn what_is_no_part_is_told() {
    let part = |number, value: &str| Part { number, value: hex(value) };
    let method = Method::PrimeField(Prime::read(&[1, 1]).expect("257 is odd"));
    assert_eq!(join(&method, &[part(1, "0101"), part(2, "0001")], 2, 1), Err(SharingError::NotAPart(1, "it is not below the prime")));
    assert_eq!(join(&method, &[part(1, "010101"), part(2, "0001")], 2, 1), Err(SharingError::NotAPart(1, "it is longer than the prime")));
    assert_eq!(join(&Method::Gf65536, &[part(1, "010101"), part(2, "0001")], 2, 2), Err(SharingError::NotAPart(1, "its length is odd")));
    let other_length = SharingError::NotAPart(2, "its length is another");
    assert_eq!(join(&Method::Gf256(Polynomial::P285), &[part(1, "0101"), part(2, "01")], 2, 2), Err(other_length.clone()));
    assert_eq!(join(&Method::Xor, &[part(1, "0101"), part(2, "01")], 2, 2), Err(other_length));
    assert_eq!(join(&Method::Xor, &[], 0, 2), Err(SharingError::TooFew { given: 0, threshold: 0 }));
}

#[test]
fn numbers_that_do_not_go_together_are_refused() {
    let refused = |method: &Method, threshold, parts| {
        matches!(split(method, b"secret", threshold, parts, &mut sequence(1)), Err(SharingError::Numbers { .. }))
    };
    assert!(refused(&Method::Xor, 2, 3));
    assert!(refused(&Method::Gf65536, 0, 3));
    assert!(refused(&Method::Gf65536, 4, 3));
    assert!(refused(&Method::Gf256(Polynomial::P285), 2, 256));
    let odd = split(&Method::Gf65536, b"odd", 2, 3, &mut sequence(1));
    assert!(matches!(odd, Err(SharingError::Length { octets: 3, .. })), "{:?}", odd.err());
    let small = Method::PrimeField(Prime::read(&[1, 1]).expect("257 is odd"));
    let long = split(&small, b"long", 2, 3, &mut sequence(1));
    assert!(matches!(long, Err(SharingError::Length { octets: 4, .. })), "{:?}", long.err());
}

#[test]
fn primes_are_told_from_composites() {
    for octets in [8, 16, 24, 32, 96] {
        let prime = Prime::usual(octets).expect("a usual length");
        assert_eq!(prime.check(&mut sequence(1)), Ok(()), "{octets} octets");
        assert_eq!(Prime::read(&prime.magnitude()), Ok(prime));
    }
    assert!(Prime::usual(97).is_err());
    // 257 · 65537; the Carmichael number 561; 2^128 + 1, which is composite.
    let mut fermat = vec![0; 17];
    (fermat[0], fermat[16]) = (1, 1);
    for composite in [vec![1, 1, 1, 1], vec![2, 0x31], fermat] {
        let read = Prime::read(&composite).expect("an odd number");
        assert_eq!(read.check(&mut sequence(1)), Err(SharingError::Prime("is not prime")), "{composite:?}");
    }
    for unfit in [&[][..], &[1], &[0, 4], &[0xFF; 129]] {
        assert!(Prime::read(unfit).is_err(), "{unfit:?}");
    }
}
