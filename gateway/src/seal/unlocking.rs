//! A store that is being opened: slots one after the other, shares one after the other, until enough are there.
//!
//! Everything given is kept in secret pages until the store opens or this is dropped. Nothing is written.

use uuid::Uuid;

use super::{
    Openers, Seal, SealError, SecretBytes, SecretPage, Share, ShareError, Sharing, SlotFailure, Unlocked,
    error::failed,
    record::fill_page,
    shares::join,
    slot::{Slot, Wrapping},
    slot_file::new_root,
};

/// The state of an opening.
pub struct Unlocking {
    seal: Seal,
    /// Slots that have opened, with their secrets.
    opened: Vec<(Uuid, SecretPage)>,
    /// Shares of slots that have not.
    shares: Vec<Share>,
    failures: Vec<SlotFailure>,
    done: Option<Unlocked>,
}

/// How far an opening is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Slots that have opened.
    pub opened: usize,
    /// Slots that have to.
    pub needed: u8,
    /// Shamir slots that have not opened.
    pub shares: Vec<SharesGiven>,
}

/// Shares of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharesGiven {
    /// The slot.
    pub slot: Uuid,
    /// How many were given.
    pub given: usize,
    /// How many open it.
    pub threshold: u8,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        if self.needed > 1 || self.shares.is_empty() {
            write!(f, "{} of {} slots open", self.opened, self.needed)?;
            separator = ", ";
        }
        for shares in &self.shares {
            write!(f, "{separator}{} of {} shares given", shares.given, shares.threshold)?;
            if self.shares.len() > 1 {
                write!(f, " for slot {}", shares.slot)?;
            }
            separator = ", ";
        }
        Ok(())
    }
}

impl Unlocking {
    /// Nothing is open yet.
    pub fn new(seal: Seal) -> Self {
        Self { seal, opened: Vec::new(), shares: Vec::new(), failures: Vec::new(), done: None }
    }

    /// The seal.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let closed = self.seal.contents.slots.iter().filter(|slot| !self.has_opened(slot.id));
        let shares = closed.filter_map(|slot| {
            let given = self.shares.iter().filter(|share| share.is_of_slot(slot.id)).count();
            Some(SharesGiven { slot: slot.id, given, threshold: slot.sharing()?.threshold() })
        });
        Progress { opened: self.opened.len(), needed: self.seal.needed(), shares: shares.collect() }
    }

    /// The slots that have opened.
    pub fn opened(&self) -> Vec<Uuid> {
        self.opened.iter().map(|(slot, _)| *slot).collect()
    }

    /// Whether the store is open.
    pub fn is_open(&self) -> bool {
        self.done.is_some()
    }

    /// Tries each slot that has not opened, in turn, until enough have. Blocks (Argon2id, token).
    ///
    /// # Errors
    /// The system has no page of memory. Slots that do not open are no error: [`Unlocking::into_unlocked`] names them.
    pub fn try_slots(&mut self, openers: &Openers<'_>) -> Result<(), SealError> {
        self.failures.clear();
        for slot in self.seal.contents.slots.clone() {
            if self.done.is_some() {
                break;
            }
            if self.has_opened(slot.id) {
                continue;
            }
            let found = match slot.sharing() {
                Some(sharing) => Err(self.missing_shares(slot.id, sharing)),
                None => self.seal.place(slot.id).open(&slot, openers),
            };
            match found {
                Ok(secret) if self.take(&slot, secret.expose())? => {}
                Ok(_) => self.failures.push(SlotFailure::wrong(slot.kind())),
                Err(failure) => self.failures.push(failure),
            }
        }
        Ok(())
    }

    /// Tries one slot with a passphrase; whether it has opened. Blocks (Argon2id).
    ///
    /// # Errors
    /// The system has no page of memory.
    pub fn try_passphrase(&mut self, slot: Uuid, passphrase: SecretBytes) -> Result<bool, SealError> {
        let slot = self.seal.contents.slots.iter().find(|known| known.id == slot).cloned();
        let Some(slot) = slot.filter(|slot| self.done.is_none() && !self.has_opened(slot.id)) else { return Ok(false) };
        match self.seal.place(slot.id).open(&slot, &Openers { passphrases: vec![passphrase], pkcs11: None }) {
            Ok(secret) => self.take(&slot, secret.expose()),
            Err(_) => Ok(false),
        }
    }

    /// Takes a share, and opens its slot where enough of them are there. A share that is refused changes nothing.
    ///
    /// # Errors
    /// The share does not belong here, was given already, or is altered.
    pub fn add_share(&mut self, share: Share) -> Result<(), ShareError> {
        let number = share.number();
        let store = self.seal.store_id();
        if !share.is_of_store(store) {
            return Err(ShareError::OtherStore { number });
        }
        let slot = self.seal.contents.slots.iter().find(|slot| share.is_of_slot(slot.id)).cloned();
        let slot = slot.ok_or(ShareError::OtherSlot { number })?;
        let sharing = slot.sharing().ok_or(ShareError::OtherSlot { number })?;
        if self.has_opened(slot.id) {
            return Err(ShareError::Repeated { number });
        }
        if !share.fits(sharing) {
            return Err(ShareError::Altered { number });
        }
        if let Some(before) = self.shares.iter().find(|before| before.is_of_slot(slot.id) && before.number() == number) {
            return Err(if before.same_part(&share) { ShareError::Repeated { number } } else { ShareError::Conflicting { number } });
        }
        self.shares.push(share);
        let own: Vec<&Share> = self.shares.iter().filter(|share| share.is_of_slot(slot.id)).collect();
        if own.len() < usize::from(sharing.threshold()) {
            return Ok(());
        }
        // The commitment is asked before the secret is used: altered shares give another secret, and nothing says so.
        let joined = join(&own, sharing.threshold(), |secret| slot.is_secret(store, secret));
        let Some(secret) = joined else { return Err(ShareError::NotTogether) };
        match self.take(&slot, secret.expose()) {
            Ok(true) => {
                self.shares.retain(|share| !share.is_of_slot(slot.id));
                Ok(())
            }
            Ok(false) => Err(ShareError::NotTogether),
            Err(SealError::Io { source, .. }) => Err(ShareError::Page(source)),
            Err(_) => Err(ShareError::NotTogether),
        }
    }

    /// Forgets all shares, and the slots that are not among `but`. Nothing that is open is closed by it.
    pub fn forget(&mut self, but: &[Uuid]) {
        self.shares.clear();
        self.opened.retain(|(slot, _)| but.contains(slot));
    }

    /// The root key.
    ///
    /// # Errors
    /// Not enough slots have opened: what each of the others said.
    pub fn into_unlocked(self) -> Result<Unlocked, SealError> {
        match self.done {
            Some(unlocked) => Ok(unlocked),
            None if self.opened.is_empty() => Err(SealError::NoSlotOpens(self.failures)),
            None => Err(SealError::OneSlotOpens(self.failures)),
        }
    }

    fn has_opened(&self, slot: Uuid) -> bool {
        self.opened.iter().any(|(opened, _)| *opened == slot)
    }

    fn missing_shares(&self, slot: Uuid, sharing: Sharing) -> SlotFailure {
        let given = self.shares.iter().filter(|share| share.is_of_slot(slot)).count();
        SlotFailure::Shares { given, threshold: sharing.threshold() }
    }

    /// Takes what a slot gave: the store opens if that was the last one needed. Says whether it is the right one.
    fn take(&mut self, slot: &Slot, secret: &[u8]) -> Result<bool, SealError> {
        let contents = &self.seal.contents;
        if secret.len() != 32 {
            return Ok(false);
        }
        let root = if slot.secret.is_none() {
            // Format 1: the slot holds the root key itself.
            Some(SecretBytes::copy_from(secret))
        } else if !slot.is_secret(contents.store, secret) {
            return Ok(false);
        } else if contents.needed == 1 {
            contents.root_of_one(slot, secret)
        } else {
            let mut others = self.opened.iter();
            others.find_map(|(other, page)| contents.root_of_two((*other, &page.expose()[..32]), (slot.id, secret)))
        };
        if let Some(root) = root {
            let root = new_root(root.expose())?;
            let check = root.check(contents.store);
            if aws_lc_rs::constant_time::verify_slices_are_equal(&check, &contents.root_check.0).is_err() {
                return Ok(false);
            }
            let mut slots = self.opened();
            slots.push(slot.id);
            self.done = Some(Unlocked { root, slots });
        }
        let page = fill_page(secret).map_err(failed("map a memory page for", &self.seal.dir))?;
        self.opened.push((slot.id, page));
        Ok(true)
    }
}

impl Slot {
    /// How the slot is shared, if it is.
    fn sharing(&self) -> Option<Sharing> {
        match self.wrapping {
            Wrapping::Shamir { threshold, shares } => Sharing::new(threshold, shares),
            _ => None,
        }
    }
}
