//! Keyed multiset hash over the newest version of every row: no row can be removed, added, or replaced by an older one.
//!
//! total = sum over rows of HMAC(set key, kind | id | version), modulo 2^256, so one change is one subtraction and one addition.
//! The total itself is never stored, only a MAC over it (in `store_state`): sums of known elements cannot be forged.

use crate::seal::MacKey;

/// One row in the set: kind (0 for objects, else the entry kind), id, version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Element {
    pub(crate) kind: u8,
    pub(crate) id: [u8; 16],
    pub(crate) version: u64,
}

/// The running total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetHash([u64; 4]);

impl SetHash {
    pub(crate) fn add(&mut self, key: &MacKey, element: &Element) {
        self.merge(Self(hash(key, element)));
    }

    /// Adds the total of another part of the set.
    pub(crate) fn merge(&mut self, other: Self) {
        let mut carry = false;
        for (limb, addend) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = limb.overflowing_add(addend);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first || second);
        }
    }

    pub(crate) fn subtract(&mut self, key: &MacKey, element: &Element) {
        let mut borrow = false;
        for (limb, subtrahend) in self.0.iter_mut().zip(hash(key, element)) {
            let (difference, first) = limb.overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (difference, first || second);
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *chunk = limb.to_le_bytes();
        }
        bytes
    }
}

fn hash(key: &MacKey, element: &Element) -> [u64; 4] {
    let mut bytes = [0; 25];
    bytes[0] = element.kind;
    bytes[1..17].copy_from_slice(&element.id);
    bytes[17..].copy_from_slice(&element.version.to_be_bytes());
    let mac = key.mac(&[&bytes]);
    let mut limbs = [0; 4];
    for (limb, chunk) in limbs.iter_mut().zip(mac.as_chunks::<8>().0) {
        *limb = u64::from_le_bytes(*chunk);
    }
    limbs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Keyring, NewSlot, Openers, Seal};

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 16, ..Default::default() })]

        /// The order of additions does not matter, and what is subtracted might never have been there.
        #[test]
        fn a_set_has_one_total(versions in proptest::collection::vec(0u64..1000, 0..50), gone in 0u64..1000) {
            let dir = tempfile::tempdir().expect("a directory");
            let (seal, _) = Seal::create(dir.path(), NewSlot::default()).expect("a seal");
            let root = seal.unlock(&Openers::default()).expect("opens");
            let keyring = Keyring::open(seal.store_id(), &root, &Keyring::generate(seal.store_id(), &root)).expect("a keyring");
            let element = |version| Element { kind: 0, id: [7; 16], version };
            let mut forward = SetHash::default();
            versions.iter().for_each(|version| forward.add(keyring.set(), &element(*version)));
            let mut backward = SetHash::default();
            backward.add(keyring.set(), &element(gone));
            versions.iter().rev().for_each(|version| backward.add(keyring.set(), &element(*version)));
            assert_ne!(forward, backward);
            backward.subtract(keyring.set(), &element(gone));
            assert_eq!(forward, backward);
        }
    }
}
