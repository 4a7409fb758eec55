//! The text of a Shamir share, as officers keep and type it. Bytes and their text only: what a share opens is `shares`.
//!
//! ```text
//! KGS1- base32 (RFC 4648, without padding, in groups of five) of
//!   version 1 | store 4 | slot 4 | number 1 | threshold 1 | part 32 | checksum 4        47 octets, 76 characters
//! ```
//! `store` and `slot` are the last four octets of those ids, all of them random. `checksum` is the start of SHA-256 over what is
//! before it: it tells a mistyped character, not an attacker; for that the slot keeps a commitment to its key.
//!
//! Read back are: capitals or small letters, blanks, line ends and hyphens anywhere after `KGS1`, and lines before it that begin with `#`.
//! Errors name places, never characters.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use zeroize::{Zeroize, Zeroizing};

/// Most shares a slot can have, and so the highest number of one.
pub const SHARES_MAX: u8 = 16;
/// What every share begins with.
const PREFIX: &str = "KGS1";
/// The only version there is.
const VERSION: u8 = 1;
/// Octets of a share.
const OCTETS: usize = 47;
/// Octets before the checksum.
const CHECKED: usize = OCTETS - 4;
/// Characters of those octets: five bits each.
const CHARACTERS: usize = (OCTETS * 8).div_ceil(5);
/// Longest text that is looked at: a share, its comments, and as much again.
const TEXT_BYTES_MAX: usize = 4096;

/// A share, read. The part is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ShareText {
    /// The last four octets of the store's id.
    pub store: [u8; 4],
    /// The last four octets of the slot's id.
    pub slot: [u8; 4],
    /// The share's number, from 1: where the polynomials were evaluated.
    pub number: u8,
    /// How many shares are needed.
    pub threshold: u8,
    /// The polynomials' values.
    pub part: Zeroizing<[u8; 32]>,
}

/// Why a text is no share. Says where, never what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareTextError {
    /// More than a share with comments.
    #[error("a share is shorter than {TEXT_BYTES_MAX} octets")]
    TooLong,
    /// The beginning is missing.
    #[error("a share begins with {PREFIX}-")]
    Prefix,
    /// A character that base32 has not.
    #[error("character {place} after {PREFIX} is none of A to Z and 2 to 7 (a zero is an O, a one an I or an L, an eight a B)")]
    Character {
        /// Counted from 1, hyphens and blanks left out.
        place: usize,
    },
    /// Characters are missing, or too many.
    #[error("there are {found} characters after {PREFIX}, it must be {CHARACTERS}: some are missing or typed twice")]
    Length {
        /// How many there are, hyphens and blanks left out.
        found: usize,
    },
    /// Something was mistyped.
    #[error("the checksum does not match: at least one character is wrong")]
    Checksum,
    /// The checksum is right, and the contents are of no share this version makes.
    #[error("this share was made by another version")]
    Version,
}

impl ShareText {
    /// Reads a share.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, ShareTextError> {
        if text.len() >= TEXT_BYTES_MAX {
            return Err(ShareTextError::TooLong);
        }
        let characters = characters(text)?;
        let mut octets = Zeroizing::new([0; OCTETS]);
        // Bits beyond the last octet must be zero: another last character is a mistyped one.
        let decoded = BASE32_NOPAD.decode_mut(&characters[..], &mut octets[..]);
        decoded.map_err(|_| ShareTextError::Checksum)?;
        if digest(&SHA256, &octets[..CHECKED]).as_ref()[..4] != octets[CHECKED..] {
            return Err(ShareTextError::Checksum);
        }
        let mut share = Self {
            store: array(&octets[1..5]),
            slot: array(&octets[5..9]),
            number: octets[9],
            threshold: octets[10],
            part: Zeroizing::new([0; 32]),
        };
        share.part.copy_from_slice(&octets[11..CHECKED]);
        let known = octets[0] == VERSION && (1..=SHARES_MAX).contains(&share.number) && (2..=SHARES_MAX).contains(&share.threshold);
        if known { Ok(share) } else { Err(ShareTextError::Version) }
    }

    /// The text, with hyphens after every five characters.
    pub fn write(&self) -> Zeroizing<String> {
        let mut octets = Zeroizing::new([0; OCTETS]);
        octets[0] = VERSION;
        octets[1..5].copy_from_slice(&self.store);
        octets[5..9].copy_from_slice(&self.slot);
        octets[9] = self.number;
        octets[10] = self.threshold;
        octets[11..CHECKED].copy_from_slice(&*self.part);
        let checksum = digest(&SHA256, &octets[..CHECKED]);
        octets[CHECKED..].copy_from_slice(&checksum.as_ref()[..4]);
        let mut encoded = BASE32_NOPAD.encode(&octets[..]);
        // Reserved up front: no reallocation leaves a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + CHARACTERS.div_ceil(5) * 6));
        text.push_str(PREFIX);
        for (place, character) in encoded.chars().enumerate() {
            if place % 5 == 0 {
                text.push('-');
            }
            text.push(character);
        }
        encoded.zeroize();
        text
    }
}

/// The base32 characters in capitals, without prefix, comments, hyphens and blanks.
fn characters(text: &str) -> Result<Zeroizing<[u8; CHARACTERS]>, ShareTextError> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    let mut typed = lines.flat_map(str::chars).filter(|character| !character.is_whitespace());
    if !PREFIX.chars().all(|expected| typed.next().is_some_and(|found| found.eq_ignore_ascii_case(&expected))) {
        return Err(ShareTextError::Prefix);
    }
    let mut characters = Zeroizing::new([0; CHARACTERS]);
    let mut found = 0;
    for character in typed.filter(|character| *character != '-') {
        let known = u8::try_from(character).map(|octet| octet.to_ascii_uppercase());
        let known = known.ok().filter(|octet| matches!(octet, b'A'..=b'Z' | b'2'..=b'7'));
        let octet = known.ok_or(ShareTextError::Character { place: found + 1 })?;
        if let Some(place) = characters.get_mut(found) {
            *place = octet;
        }
        found += 1;
    }
    if found == CHARACTERS { Ok(characters) } else { Err(ShareTextError::Length { found }) }
}

fn array(octets: &[u8]) -> [u8; 4] {
    let mut out = [0; 4];
    out.copy_from_slice(octets);
    out
}
