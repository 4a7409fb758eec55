//! Passwords of exports: making one, and refusing weak ones.
//!
//! The ZIP format derives its key by 1,000 rounds of PBKDF2-HMAC-SHA1 (WinZip AE-2), which adds some ten bits to what a guess
//! costs: a password for it has at least 80 bits by itself.

use zeroize::Zeroizing;

/// Letters and digits that are not mistaken for each other: 32, five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Characters of a made password, 120 bits.
const MADE_LENGTH: usize = 24;
/// Characters between two dashes of a made password.
const GROUP: usize = 6;
/// The least number of bits of a password that somebody thought of.
pub const BITS_MIN: f64 = 80.0;
/// Longest password that is taken.
pub const LENGTH_MAX: usize = 256;

/// Why a password is refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum WeakPassword {
    /// Too easy to guess.
    #[error(
        "the password is too weak: some {0} bits, at least 80 are needed\n\
         hint: leave it out and one is made, or use seven random words"
    )]
    Bits(u32),
    /// Too long.
    #[error("the password is longer than {LENGTH_MAX} characters")]
    TooLong,
}

/// A password of 120 random bits, in four groups.
///
/// # Errors
/// The random generator failed.
pub fn generate() -> Result<Zeroizing<String>, std::io::Error> {
    let mut random = Zeroizing::new([0; MADE_LENGTH]);
    aws_lc_rs::rand::fill(&mut *random).map_err(|_| std::io::Error::other("the random source failed"))?;
    let mut password = Zeroizing::new(String::with_capacity(MADE_LENGTH + MADE_LENGTH / GROUP));
    for (index, octet) in random.iter().enumerate() {
        if index > 0 && index % GROUP == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(octet & 31)]));
    }
    Ok(password)
}

/// Refuses a password of less than [`BITS_MIN`] bits.
///
/// # Errors
/// How weak it is.
pub fn check(password: &str) -> Result<(), WeakPassword> {
    if password.chars().count() > LENGTH_MAX {
        return Err(WeakPassword::TooLong);
    }
    let bits = estimate(password);
    if bits < BITS_MIN { Err(WeakPassword::Bits(bits as u32)) } else { Ok(()) }
}

/// The lesser of two estimates: what zxcvbn's patterns (words, keyboards, dates, repeats) leave, and different characters by
/// kind. zxcvbn counts no further than 2^64; from there on the second one decides.
fn estimate(password: &str) -> f64 {
    let by_kind = by_kind(password);
    let guesses = zxcvbn::zxcvbn(password, &[]).guesses();
    if guesses == u64::MAX { by_kind } else { by_kind.min((guesses.max(1) as f64).log2()) }
}

/// Characters, those that repeat one of the two before counted a quarter, times the bits of their alphabet.
fn by_kind(password: &str) -> f64 {
    let characters: Vec<char> = password.chars().collect();
    type Kind = fn(&char) -> bool;
    let kinds: [(Kind, u32); 4] = [
        (|c| c.is_lowercase(), 26),
        (|c| c.is_uppercase(), 26),
        (|c| c.is_numeric(), 10),
        (|c| !c.is_alphanumeric(), 20),
    ];
    let alphabet: u32 = kinds.iter().filter(|(is, _)| characters.iter().any(is)).map(|(_, size)| size).sum();
    let weight = |(index, c): (usize, &char)| {
        let repeats = characters[index.saturating_sub(2)..index].contains(c);
        if repeats { 0.25 } else { 1.0 }
    };
    let length: f64 = characters.iter().enumerate().map(weight).sum();
    length * f64::from(alphabet.max(1)).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made passwords differ, pass their own check, and have the alphabet they promise.
    #[test]
    fn made_passwords_are_strong() {
        let (one, two) = (generate().expect("one"), generate().expect("two"));
        assert_ne!(*one, *two);
        for password in [&one, &two] {
            assert_eq!(password.split('-').map(str::len).collect::<Vec<_>>(), [6, 6, 6, 6]);
            assert!(password.bytes().all(|octet| octet == b'-' || ALPHABET.contains(&octet)));
            assert_eq!(check(password), Ok(()));
        }
    }

    /// Words, keyboard walks, dates, repeats and short ones are refused, however many kinds of characters they have.
    #[test]
    fn weak_passwords_are_refused() {
        let weak = [
            "",
            "x",
            "password",
            "Summer2026!",
            "qwertzuiopasdfgh",
            "Passw0rd!Passw0rd!",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "k7#Qz9!m",
        ];
        for password in weak {
            assert!(matches!(check(password), Err(WeakPassword::Bits(bits)) if bits < 80), "{password}");
        }
        assert_eq!(check(&"aB3$".repeat(65)), Err(WeakPassword::TooLong));
        assert_eq!(check("tulip harbour zigzag ninety quartz oboe fennel"), Ok(()));
    }
}
