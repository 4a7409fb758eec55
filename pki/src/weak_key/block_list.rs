//! Keys whose private half is published: a list that an administrator hands over, such as Debian's of CVE-2008-0166.

use std::collections::HashSet;

use aws_lc_rs::digest;
use der::Decode;

use crate::{
    certificate::SpkiHash,
    public_key::{KeyType, PublicKey, RsaPublicKey},
};

/// Most entries a list may have. Debian's lists of all sizes together have about 400,000.
pub const BLOCK_LIST_ENTRIES_MAX: usize = 2_000_000;

/// A set of fingerprints of keys that are never certified.
///
/// Two forms of fingerprint, told apart by length: 64 hexadecimal digits are the SHA-256 of a SubjectPublicKeyInfo; 20
/// are those of Debian's `openssl-blacklist` files (`blacklist.RSA-2048`): the last 80 bits of the SHA-1 of the line that
/// `openssl rsa -noout -modulus` prints.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BlockList {
    debian: HashSet<[u8; 10]>,
    spki: HashSet<SpkiHash>,
}

/// A line of a block-list that is no fingerprint, or one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockListError {
    /// Neither 20 nor 64 hexadecimal digits, a comment, or an empty line.
    #[error("line {line} of the block-list is neither 20 nor 64 hexadecimal digits")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// More than [`BLOCK_LIST_ENTRIES_MAX`] entries.
    #[error("the block-list has more than {max} entries")]
    TooMany {
        /// Entries allowed.
        max: usize,
    },
}

impl BlockList {
    /// Reads a list: one fingerprint a line, `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, BlockListError> {
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            if list.len() == BLOCK_LIST_ENTRIES_MAX {
                return Err(BlockListError::TooMany { max: BLOCK_LIST_ENTRIES_MAX });
            }
            let wrong = |_| BlockListError::Line { line: index + 1 };
            let (mut short, mut long) = ([0; 10], [0; 32]);
            if entry.len() == 20 {
                hex::decode_to_slice(entry, &mut short).map_err(wrong)?;
                list.debian.insert(short);
            } else {
                hex::decode_to_slice(entry, &mut long).map_err(wrong)?;
                list.spki.insert(SpkiHash(long));
            }
        }
        Ok(list)
    }

    /// How many keys are listed.
    pub fn len(&self) -> usize {
        self.debian.len() + self.spki.len()
    }

    /// Whether no key is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `key` is listed.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.spki.contains(&key.spki_hash())
            || debian_fingerprint(key).is_some_and(|print| self.debian.contains(&print))
    }
}

fn debian_fingerprint(key: &PublicKey) -> Option<[u8; 10]> {
    if key.key_type() != KeyType::Rsa {
        return None;
    }
    let modulus = RsaPublicKey::from_der(key.raw()).ok()?.modulus;
    let line = format!("Modulus={}\n", hex::encode_upper(modulus.as_bytes()));
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, line.as_bytes());
    sha1.as_ref()[10..].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_line() {
        let text = format!("# Debian\n\n00112233445566778899 # one\r\n{}\n", "ab".repeat(32));
        let list = BlockList::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((list.len(), list.is_empty()), (2, false));
        for (bad, line) in [("0011", 1), ("\n001122334455667788zz", 2), ("#\n\nxyz", 3), (&*"0".repeat(63), 1)] {
            assert_eq!(BlockList::parse(bad), Err(BlockListError::Line { line }), "{bad:?}");
        }
    }
}
