//! `D/seal.json`: the seal slots of a store, changed whole. Holds wrapped copies of keys and nothing that is secret in clear.
//! What the file says is `contents`, how one slot is made and opened `slot_wrap`, how the store opens `unlocking`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::contents::{Contents, SecretOfSlot};
use super::error::{SealError, failed};
use super::record::{fill_page, random_secret};
use super::share_text::ShareText;
use super::shares::{Share, join};
use super::slot::{Slot, Wrapping};
use super::slot_wrap::Place;
use super::unlock::{RootKey, SlotFailure, TokenSlot, Unlocked, slot_aad};
use super::unlocking::Unlocking;
use super::{NewSlot, Openers, PassphraseCost, SecretBytes, SlotKind, SlotStatus};
use crate::data_dir::replace_file;

/// Longest `seal.json` that is read: hundreds of slots.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Name of the slot file in the data directory.
const FILE_NAME: &str = "seal.json";
/// Most slots: with two needed the file has a copy of the root key for each two of them.
pub(super) const SLOTS_MAX: usize = 16;

/// The slots of a data directory.
///
/// Durability: every change is written to a new file, synced, and renamed over the old one; a crash leaves one or the other.
/// Concurrency: whoever changes it holds the data directory's lock.
#[derive(Clone)]
pub struct Seal {
    pub(super) dir: PathBuf,
    pub(super) contents: Contents,
}

/// The slots with one more or one fewer, or another policy; not written yet.
pub struct SealChange {
    slots: Vec<Uuid>,
    contents: Contents,
}

impl SealChange {
    /// The slot that comes or goes; the slots that have opened for a change of the policy.
    pub fn slots(&self) -> &[Uuid] {
        &self.slots
    }
}

impl Seal {
    /// Seals a new store: a fresh root key in one first slot.
    pub fn create(dir: &Path, first: NewSlot<'_>) -> Result<(Self, RootKey), SealError> {
        Self::create_for(dir, Uuid::now_v7(), first)
    }

    /// Seals a copy of a store, which keeps its id: a fresh root key in one first slot.
    pub fn create_for(dir: &Path, store: Uuid, first: NewSlot<'_>) -> Result<(Self, RootKey), SealError> {
        let path = dir.join(FILE_NAME);
        if path.exists() {
            return Err(SealError::Exists(path));
        }
        let secret = random_secret();
        let root = new_root(secret.as_slice())?;
        let contents = Contents::new(store, &root);
        let mut seal = Self { dir: dir.to_owned(), contents };
        let change = seal.change_slot(&root, first)?;
        seal.apply(change)?;
        Ok((seal, root))
    }

    /// Reads the slots of `dir`.
    pub fn load(dir: &Path) -> Result<Self, SealError> {
        let path = dir.join(FILE_NAME);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SealError::Missing(path)),
            other => other.map_err(failed("open", &path))?,
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed("read", &path))?;
        match serde_json::from_slice::<Contents>(&text) {
            Ok(contents) if contents.is_plausible() => Ok(Self { dir: dir.to_owned(), contents }),
            Ok(_) => Err(SealError::Unreadable { path, source: None }),
            Err(source) => Err(SealError::Unreadable { path, source: Some(source) }),
        }
    }

    /// Whether `dir` has a seal file.
    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE_NAME).exists()
    }

    /// The store this seal belongs to.
    pub fn store_id(&self) -> Uuid {
        self.contents.store
    }

    /// The format of the file. The first change of a file of an earlier format writes the newest, and nothing writes an earlier one.
    pub fn format(&self) -> u32 {
        self.contents.format
    }

    /// How many slots have to open: 1 or 2.
    pub fn needed(&self) -> u8 {
        self.contents.needed
    }

    /// Whether the file is as keygate wrote it last.
    pub fn is_authentic(&self, root: &RootKey) -> bool {
        self.contents.is_authentic(root)
    }

    /// Tries each slot in turn until enough have opened. Blocks (Argon2id, token).
    pub fn unlock(&self, openers: &Openers<'_>) -> Result<RootKey, SealError> {
        self.unlock_by_slot(openers).map(|unlocked| unlocked.root)
    }

    /// As [`Seal::unlock`], and tells which slots opened.
    pub fn unlock_by_slot(&self, openers: &Openers<'_>) -> Result<Unlocked, SealError> {
        let mut unlocking = Unlocking::new(self.clone());
        unlocking.try_slots(openers)?;
        unlocking.into_unlocked()
    }

    /// Makes a slot and opens it once, to be added by [`Seal::apply`]. Blocks (Argon2id, token).
    pub fn with_slot(&self, root: &RootKey, new: NewSlot<'_>) -> Result<SealChange, SealError> {
        if !self.contents.is_authentic(root) {
            return Err(SealError::Altered(self.dir.join(FILE_NAME)));
        }
        if self.contents.slots.len() >= SLOTS_MAX {
            return Err(SealError::TooManySlots);
        }
        self.change_slot(root, new)
    }

    fn change_slot(&self, root: &RootKey, mut new: NewSlot<'_>) -> Result<SealChange, SealError> {
        if let NewSlot::KeyFile { path } = &new
            && self.uses_key_file(path)
        {
            return Err(SealError::SameKeyFile(path.clone()));
        }
        let id = Uuid::now_v7();
        let secret = random_secret();
        let wrapping = self.place(id).wrap(secret.as_slice(), &mut new)?;
        let own = SecretOfSlot::new(self.contents.store, id, secret.as_slice(), root);
        let slot = Slot { id, wrapping, secret: Some(own) };
        let opened = self.open_new_slot(&slot, new).map_err(SealError::NewSlot)?;
        if !slot.is_secret(self.contents.store, opened.expose()) {
            return Err(SealError::NewSlot(SlotFailure::wrong(slot.kind())));
        }
        let mut contents = self.contents.clone();
        contents.slots.push(slot);
        self.finished(contents, root, vec![id])
    }

    /// Leaves a slot out, to be removed by [`Seal::apply`]; the last one stays. Where two slots are needed, two that
    /// differ out of `opened` stay: those that have opened, or were made, since the start.
    pub fn without_slot(&self, root: &RootKey, id: Uuid, opened: &BTreeSet<Uuid>) -> Result<SealChange, SealError> {
        if !self.contents.is_authentic(root) {
            return Err(SealError::Altered(self.dir.join(FILE_NAME)));
        }
        let mut contents = self.contents.clone();
        contents.slots.retain(|slot| slot.id != id);
        match (contents.slots.len(), self.contents.slots.len()) {
            (left, all) if left == all => return Err(SealError::UnknownSlot(id)),
            (0, _) => return Err(SealError::LastSlot(id)),
            _ => {}
        }
        check_two_open(&contents, opened)?;
        self.finished(contents, root, vec![id])
    }

    /// Another policy: how many slots have to open, 1 or 2. Slots that are not in `opened` are tried with `openers`; for two, those
    /// of format 1 are made anew. Blocks (Argon2id, token).
    pub fn with_needed(
        &self,
        root: &RootKey,
        needed: u8,
        opened: &BTreeSet<Uuid>,
        openers: &Openers<'_>,
    ) -> Result<SealChange, SealError> {
        if !matches!(needed, 1 | 2) {
            return Err(SealError::Needed(needed));
        }
        if !self.contents.is_authentic(root) {
            return Err(SealError::Altered(self.dir.join(FILE_NAME)));
        }
        let mut contents = Contents { needed, ..self.contents.clone() };
        let mut opened = opened.clone();
        if needed == 2 {
            for slot in &mut contents.slots {
                if slot.secret.is_none() {
                    *slot = self.renewed(slot, root, openers).map_err(|failure| SealError::HoldsRoot { id: slot.id, failure })?;
                    opened.insert(slot.id);
                } else if !opened.contains(&slot.id)
                    && let Ok(secret) = self.place(slot.id).open(slot, openers)
                    && slot.is_secret(self.contents.store, secret.expose())
                {
                    opened.insert(slot.id);
                }
            }
            check_two_open(&contents, &opened)?;
        }
        self.finished(contents, root, opened.into_iter().collect())
    }

    /// A slot of format 1, opened and made anew with a secret of its own.
    fn renewed(&self, slot: &Slot, root: &RootKey, openers: &Openers<'_>) -> Result<Slot, SlotFailure> {
        let place = self.place(slot.id);
        if place.open(slot, openers)? != SecretBytes::copy_from(root.expose()) {
            return Err(SlotFailure::wrong(slot.kind()));
        }
        let secret = random_secret();
        let wrapping = place.rewrap(&slot.wrapping, secret.as_slice(), openers)?;
        let own = SecretOfSlot::new(self.contents.store, slot.id, secret.as_slice(), root);
        let renewed = Slot { id: slot.id, wrapping, secret: Some(own) };
        let opened = place.open(&renewed, openers)?;
        if renewed.is_secret(self.contents.store, opened.expose()) { Ok(renewed) } else { Err(SlotFailure::wrong(slot.kind())) }
    }

    fn finished(&self, contents: Contents, root: &RootKey, slots: Vec<Uuid>) -> Result<SealChange, SealError> {
        let contents = contents.finish(root).ok_or_else(|| SealError::Altered(self.dir.join(FILE_NAME)))?;
        Ok(SealChange { slots, contents })
    }

    /// Writes the file as changed.
    pub fn apply(&mut self, change: SealChange) -> Result<(), SealError> {
        let path = self.dir.join(FILE_NAME);
        let text = serde_json::to_vec_pretty(&change.contents)
            .map_err(|source| SealError::Unreadable { path: path.clone(), source: Some(source) })?;
        replace_file(&path, &text).map_err(failed("write", &path))?;
        self.contents = change.contents;
        Ok(())
    }

    /// The slots, for `seal status`.
    pub fn status(&self) -> Vec<SlotStatus> {
        self.contents.slots.iter().map(Slot::status).collect()
    }

    /// The slot of this id, if there is one and a token opens it.
    pub fn token_slot(&self, id: Uuid) -> Option<TokenSlot> {
        let Wrapping::Pkcs11 { locator, wrapped } = &self.contents.slot(id)?.wrapping else { return None };
        let aad = slot_aad(self.contents.store, id);
        Some(TokenSlot { locator: locator.clone(), wrapped: wrapped.0.clone(), aad })
    }

    /// The slot that a share says it is of.
    pub fn slot_of(&self, share: &Share) -> Option<Uuid> {
        self.contents.slots.iter().find(|slot| share.is_of_slot(slot.id)).map(|slot| slot.id)
    }

    /// Kinds of the slots: says what a start needs (a passphrase to ask for, a token to open).
    pub fn kinds(&self) -> Vec<SlotKind> {
        self.contents.slots.iter().map(Slot::kind).collect()
    }

    pub(super) fn place(&self, slot: Uuid) -> Place<'_> {
        Place { store: self.contents.store, dir: &self.dir, slot }
    }

    fn uses_key_file(&self, path: &Path) -> bool {
        let path = self.dir.join(path);
        let uses = |slot: &Slot| matches!(&slot.wrapping, Wrapping::Keyfile { path: other, .. } if self.dir.join(other) == path);
        self.contents.slots.iter().any(uses)
    }

    /// Opens a slot with what it was just made from.
    fn open_new_slot(&self, slot: &Slot, new: NewSlot<'_>) -> Result<SecretBytes, SlotFailure> {
        match (new, &slot.wrapping) {
            (NewSlot::Pkcs11 { key, .. }, Wrapping::Pkcs11 { wrapped, .. }) => {
                key.unwrap(&wrapped.0, &slot_aad(self.contents.store, slot.id)).map_err(SlotFailure::Token)
            }
            (NewSlot::Passphrase { passphrase, .. }, _) => {
                self.place(slot.id).open(slot, &Openers { passphrases: vec![passphrase], ..Openers::default() })
            }
            (NewSlot::Shamir { sharing, dealt }, _) => {
                // As an officer types it; from the last shares, for the first ones are what is computed first.
                let from = dealt.len().saturating_sub(sharing.threshold().into());
                let shares: Result<Vec<Share>, _> = dealt[from..].iter().map(|text| Share::read(text)).collect();
                let shares = shares.map_err(|error| SlotFailure::Share(error.to_string()))?;
                let all_read = dealt.iter().all(|text| ShareText::parse(text).is_ok());
                let is_it = |secret: &[u8]| all_read && slot.is_secret(self.contents.store, secret);
                let joined = join(&shares.iter().collect::<Vec<_>>(), sharing.threshold(), is_it);
                joined.ok_or_else(|| SlotFailure::wrong(SlotKind::Shamir))
            }
            _ => self.place(slot.id).open(slot, &Openers::default()),
        }
    }
}

impl NewSlot<'_> {
    /// A passphrase slot with the default cost.
    pub fn passphrase(passphrase: SecretBytes) -> Self {
        Self::Passphrase { passphrase, cost: PassphraseCost::default() }
    }
}

/// Nobody locks himself out, and two are not one twice: where two are needed, two of different kinds have shown that they open, or
/// two of passphrases or shares, which are as different as those who keep them.
fn check_two_open(contents: &Contents, opened: &BTreeSet<Uuid>) -> Result<(), SealError> {
    if contents.needed < 2 {
        return Ok(());
    }
    let open = contents.slots.iter().filter(|slot| opened.contains(&slot.id));
    let open: Vec<(Uuid, SlotKind)> = open.map(|slot| (slot.id, slot.kind())).collect();
    let differ = |(place, (_, kind)): (usize, &(Uuid, SlotKind))| {
        let of_people = matches!(kind, SlotKind::Passphrase | SlotKind::Shamir);
        open[..place].iter().any(|(_, before)| before != kind || of_people)
    };
    if open.iter().enumerate().any(differ) { Ok(()) } else { Err(SealError::TwoMustOpen(open)) }
}

pub(super) fn new_root(secret: &[u8]) -> Result<RootKey, SealError> {
    let page = fill_page(secret).map_err(failed("map a memory page for", Path::new(FILE_NAME)))?;
    Ok(RootKey::new(page))
}
