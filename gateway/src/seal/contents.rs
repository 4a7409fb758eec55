//! What `D/seal.json` says, format 2, and the wrapped copies of the root key in it.
//!
//! ```text
//! what the operator holds -> slot secret (32 random octets)                    `wrapped` of the slot; shares hold it for shamir
//! needed = 1:  slot secret             -> root key                             `root` of each slot
//! needed = 2:  secrets of slots a, b   -> root key                             `pairs`, one for each two slots
//!              root key                -> slot secret                          `escrow`: lets slots and policy change online
//! ```
//! With two needed no slot's secret opens anything alone: a pair's copy is sealed under HKDF of both secrets. `mac`, under the
//! root key, covers the file: a change is refused on top of contents that keygate did not write (a lowered `needed`, an older slot).
//!
//! Format 1 had the root key itself in `wrapped`. It is read for ever; the first change writes format 2, where such a slot is one
//! without `secret`. It opens as before, and is made anew before two slots can be needed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Binding, MacKey, RecordKind, RootKey, SealedRecord, SecretBytes, Term,
    derive::hkdf,
    record::RecordKey,
    slot::{Base64, Slot},
};

/// The format that is written.
pub(super) const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize, Clone)]
pub(super) struct Contents {
    pub(super) format: u32,
    pub(super) store: Uuid,
    /// How many slots have to open.
    #[serde(default = "one")]
    pub(super) needed: u8,
    /// HKDF of the root key: tells a right root key from a wrong one.
    pub(super) root_check: Base64,
    pub(super) slots: Vec<Slot>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pairs: Vec<Pair>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mac: Option<Base64>,
}

/// The root key under the secrets of two slots.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct Pair {
    /// In ascending order.
    pub(super) slots: [Uuid; 2],
    root: Base64,
}

/// What is known of a slot's secret.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct SecretOfSlot {
    /// The commitment: HKDF of the secret.
    check: Base64,
    /// The secret under the root key.
    escrow: Base64,
    /// The root key under the secret; only where one slot is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<Base64>,
}

fn one() -> u8 {
    1
}

/// Part of the binding: what kind of copy a record is. A copy of one kind never opens as another.
#[derive(Clone, Copy)]
pub(super) enum Copy {
    /// The root key in a slot of format 1.
    RootInSlot = 1,
    /// A slot's secret under what the operator holds.
    Secret = 2,
    /// The root key under a slot's secret.
    Root = 3,
    /// The root key under two slots' secrets.
    Pair = 4,
    /// A slot's secret under the root key.
    Escrow = 5,
}

impl Copy {
    pub(super) fn of(self, slot: Uuid) -> Binding {
        Binding { kind: RecordKind::Root, id: slot.into_bytes(), version: self as u64, digest: [0; 32] }
    }

    fn of_pair(slots: [Uuid; 2]) -> Binding {
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(slots[1].as_bytes());
        Binding { digest, ..Self::Pair.of(slots[0]) }
    }
}

/// A key for one purpose, from a secret.
fn purpose_key(store: Uuid, secret: &[u8], purpose: &[u8]) -> RecordKey {
    RecordKey::derive(Term(0), store, hkdf(secret, store.as_bytes(), &[purpose]).expose())
}

fn seal(key: &RecordKey, binding: &Binding, plaintext: &[u8]) -> Base64 {
    Base64(key.seal(binding, plaintext).as_bytes().to_vec())
}

fn open(key: &RecordKey, binding: &Binding, record: &Base64) -> Option<SecretBytes> {
    key.open(binding, &SealedRecord::from_stored(record.0.clone())).ok()
}

/// The key of a pair's copy: HKDF over both secrets, in the order of the slots' ids.
fn pair_key(store: Uuid, first: (Uuid, &[u8]), second: (Uuid, &[u8])) -> ([Uuid; 2], RecordKey) {
    let (low, high) = if first.0 < second.0 { (first, second) } else { (second, first) };
    let both = SecretBytes::fill_with(low.1.len() + high.1.len(), |out| {
        out[..low.1.len()].copy_from_slice(low.1);
        out[low.1.len()..].copy_from_slice(high.1);
    });
    ([low.0, high.0], purpose_key(store, both.expose(), b"seal pair"))
}

impl Contents {
    pub(super) fn new(store: Uuid, root: &RootKey) -> Self {
        let root_check = Base64(root.check(store).to_vec());
        Self { format: FORMAT, store, needed: 1, root_check, slots: Vec::new(), pairs: Vec::new(), mac: None }
    }

    /// Whether this can have been written by keygate, as far as that can be told without the root key.
    pub(super) fn is_plausible(&self) -> bool {
        let known = |id| self.slots.iter().any(|slot| slot.id == id);
        let format = match self.format {
            1 => self.needed == 1 && self.pairs.is_empty() && self.slots.iter().all(|slot| slot.secret.is_none()),
            FORMAT => matches!(self.needed, 1 | 2) && self.mac.is_some(),
            _ => false,
        };
        let mut ids: Vec<Uuid> = self.slots.iter().map(|slot| slot.id).collect();
        ids.sort_unstable();
        ids.dedup();
        format && ids.len() == self.slots.len() && self.pairs.iter().all(|pair| pair.slots.into_iter().all(known))
    }

    pub(super) fn slot(&self, id: Uuid) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.id == id)
    }

    /// Whether keygate wrote this, with this root key. Format 1 had no such proof.
    pub(super) fn is_authentic(&self, root: &RootKey) -> bool {
        match &self.mac {
            None => self.format == 1,
            Some(mac) => aws_lc_rs::constant_time::verify_slices_are_equal(&self.compute_mac(root), &mac.0).is_ok(),
        }
    }

    fn compute_mac(&self, root: &RootKey) -> [u8; 32] {
        let bare = Self { mac: None, ..self.clone() };
        // Written from the same types as the file; nothing in them can fail to be written.
        let text = serde_json::to_vec(&bare).unwrap_or_default();
        MacKey::derive(root.expose(), "seal file").mac(&[&text])
    }

    /// Makes the copies that `needed` asks for and no others, and the proof. The last step of every change.
    ///
    /// `None`: a slot has no secret although two are needed, or its escrow does not open.
    pub(super) fn finish(mut self, root: &RootKey) -> Option<Self> {
        let secrets: Option<Vec<Option<(Uuid, SecretBytes)>>> = self.slots.iter().map(|slot| self.escrowed(slot, root)).collect();
        let secrets: Vec<(Uuid, SecretBytes)> = secrets?.into_iter().flatten().collect();
        self.pairs.clear();
        if self.needed == 2 {
            if secrets.len() != self.slots.len() {
                return None;
            }
            for (place, (id, secret)) in secrets.iter().enumerate() {
                for (other, second) in &secrets[..place] {
                    let (slots, key) = pair_key(self.store, (*id, secret.expose()), (*other, second.expose()));
                    self.pairs.push(Pair { slots, root: seal(&key, &Copy::of_pair(slots), root.expose()) });
                }
            }
        }
        for (id, secret) in &secrets {
            let key = purpose_key(self.store, secret.expose(), b"seal slot root");
            let copy = (self.needed == 1).then(|| seal(&key, &Copy::Root.of(*id), root.expose()));
            let own = self.slots.iter_mut().find(|slot| slot.id == *id).and_then(|slot| slot.secret.as_mut());
            own.into_iter().for_each(|own| own.root.clone_from(&copy));
        }
        self.format = FORMAT;
        self.mac = None;
        self.mac = Some(Base64(self.compute_mac(root).to_vec()));
        Some(self)
    }

    /// A slot's secret out of its escrow; `Some(None)` for a slot of format 1, which has none.
    fn escrowed(&self, slot: &Slot, root: &RootKey) -> Option<Option<(Uuid, SecretBytes)>> {
        let Some(own) = &slot.secret else { return Some(None) };
        let key = purpose_key(self.store, root.expose(), b"seal slot escrow");
        let secret = open(&key, &Copy::Escrow.of(slot.id), &own.escrow)?;
        slot.is_secret(self.store, secret.expose()).then_some(Some((slot.id, secret)))
    }

    /// What opens a store where one slot is needed.
    pub(super) fn root_of_one(&self, slot: &Slot, secret: &[u8]) -> Option<SecretBytes> {
        let copy = slot.secret.as_ref()?.root.as_ref()?;
        open(&purpose_key(self.store, secret, b"seal slot root"), &Copy::Root.of(slot.id), copy)
    }

    /// What opens a store where two are needed.
    pub(super) fn root_of_two(&self, first: (Uuid, &[u8]), second: (Uuid, &[u8])) -> Option<SecretBytes> {
        let (slots, key) = pair_key(self.store, first, second);
        let pair = self.pairs.iter().find(|pair| pair.slots == slots)?;
        open(&key, &Copy::of_pair(slots), &pair.root)
    }
}

impl SecretOfSlot {
    /// Of a slot that is being made. The copies of the root key come with [`Contents::finish`].
    pub(super) fn new(store: Uuid, slot: Uuid, secret: &[u8], root: &RootKey) -> Self {
        let key = purpose_key(store, root.expose(), b"seal slot escrow");
        Self {
            check: Base64(commitment(store, slot, secret).to_vec()),
            escrow: seal(&key, &Copy::Escrow.of(slot), secret),
            root: None,
        }
    }
}

impl Slot {
    /// Whether `secret` is this slot's, in constant time: asked before it is used for anything.
    pub(super) fn is_secret(&self, store: Uuid, secret: &[u8]) -> bool {
        let Some(own) = &self.secret else { return false };
        aws_lc_rs::constant_time::verify_slices_are_equal(&commitment(store, self.id, secret), &own.check.0).is_ok()
    }
}

fn commitment(store: Uuid, slot: Uuid, secret: &[u8]) -> [u8; 32] {
    MacKey::derive(secret, "seal slot check").mac(&[store.as_bytes(), slot.as_bytes()])
}
