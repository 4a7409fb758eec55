//! The seal: its slots shown, added and removed, and a new keyring term.
//!
//! `D/seal.json` is no part of the database, so its changes cannot share a transaction with their audit events: the event is
//! committed first, then the file is replaced. Should the file be refused, a second event takes the first back.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Admin, AdminError, AdminReply, chain,
    reply::{RotatedView, SealStatusView, SealView, SharesView},
    request::{NewSealSlot, Password, Recipients},
};
use crate::{
    app::{TokenSlotKey, find_token},
    audit::{Action, Details, Event, Outcome},
    seal::{NewSlot, Openers, Seal, SealChange, SealError, SecretBytes, Sharing, SlotFailure, SlotStatus, officers},
};

/// What was made, and the shares of it.
pub struct Made<T> {
    /// What was made.
    pub value: T,
    threshold: u8,
    texts: Vec<String>,
}

impl<T> Made<T> {
    /// The value, and the shares without it.
    pub fn take(self) -> (T, Made<()>) {
        (self.value, Made { value: (), threshold: self.threshold, texts: self.texts })
    }

    /// The shares, if it is a shamir slot; its id is known to the caller alone.
    pub fn shares(self, slot: Uuid) -> Option<SharesView> {
        (self.threshold > 0).then(|| SharesView::new(slot.to_string(), self.threshold, self.texts))
    }
}

impl Password {
    /// The octets that are sent in base64, for they need not be text.
    fn octets(&self) -> Result<SecretBytes, SealError> {
        let octets = STANDARD.decode(&self.0).map(Zeroizing::new);
        octets.map(SecretBytes::from).map_err(|_| SealError::NewSlot(SlotFailure::NoPassphrase))
    }
}

impl NewSealSlot {
    /// Gets ready what the slot is made from, a wrapping key on a token for one, and passes it on. Blocks (token).
    pub fn make<T>(self, with: impl FnOnce(NewSlot<'_>) -> Result<T, SealError>) -> Result<Made<T>, SealError> {
        let plain = |value| Made { value, threshold: 0, texts: Vec::new() };
        match self {
            Self::Shamir { threshold, to } => deal(threshold, to, with),
            other => other.make_unshared(with).map(plain),
        }
    }

    fn make_unshared<T>(self, with: impl FnOnce(NewSlot<'_>) -> Result<T, SealError>) -> Result<T, SealError> {
        match self {
            Self::Keyfile { path } => with(NewSlot::KeyFile { path }),
            Self::Passphrase { passphrase } => with(NewSlot::passphrase(passphrase.octets()?)),
            Self::SystemdCreds { with_key } => with(NewSlot::SystemdCreds { with_key }),
            Self::Pkcs11 { module, token: name, pin } => {
                let token = |error| SealError::NewSlot(SlotFailure::Token(error));
                let (locator, key) = TokenSlotKey::create(module, name, pin).map_err(token)?;
                let made = with(NewSlot::Pkcs11 { locator: locator.to_json(), key: &key });
                if made.is_err()
                    && let Err(error) = key.destroy()
                {
                    tracing::warn!(key = locator.key_id, %error, "an unused wrapping key stays on the token");
                }
                made
            }
            Self::Shamir { .. } => Err(SealError::NewSlot(SlotFailure::Share("made by another function".into()))),
        }
    }
}

/// Makes a shamir slot, and encrypts its shares. Whoever cannot be encrypted to is refused before anything is made.
fn deal<T>(threshold: u8, to: Recipients, with: impl FnOnce(NewSlot<'_>) -> Result<T, SealError>) -> Result<Made<T>, SealError> {
    let (officers, count) = match &to {
        Recipients::Officers(texts) => (officers(texts)?, texts.len()),
        Recipients::Terminal(count) => (Vec::new(), usize::from(*count)),
    };
    let sharing = u8::try_from(count).ok().and_then(|count| Sharing::new(threshold, count));
    let sharing = sharing.ok_or(SealError::Sharing { threshold, count })?;
    let mut dealt = Vec::new();
    let value = with(NewSlot::Shamir { sharing, dealt: &mut dealt })?;
    let texts: Result<Vec<String>, SealError> = match to {
        Recipients::Officers(_) => officers.iter().zip(&dealt).map(|(officer, share)| officer.encrypt(share)).collect(),
        // Wiped with the answer they are put into.
        Recipients::Terminal(_) => Ok(dealt.iter().map(|share| share.as_str().to_owned()).collect()),
    };
    Ok(Made { value, threshold, texts: texts? })
}

impl Admin<'_> {
    pub(super) fn seal_status(&self) -> Result<AdminReply, AdminError> {
        let seal = self.seal()?;
        let shown = self.app.unsealed.shown();
        let slots = seal.status().into_iter().map(|slot| SealView::of(slot, &shown)).collect();
        let terms = self.app.store.keyring().terms().into_iter().map(|term| term.0).collect();
        Ok(AdminReply::SealStatus(SealStatusView { needed: seal.needed(), slots, terms, sealed: None }))
    }

    pub(super) async fn seal_add(&self, slot: NewSealSlot) -> Result<AdminReply, AdminError> {
        let _changing = self.app.seal_changes.lock().await;
        let (seal, root) = (self.seal()?, self.app.unsealed.root.clone());
        let made = tokio::task::spawn_blocking(move || {
            let made = slot.make(|new| seal.with_slot(&root, new))?;
            Ok::<_, SealError>((seal, made))
        });
        let (mut seal, made) = made.await.map_err(AdminError::failed)??;
        let (change, made) = made.take();
        let id = change.slots().first().copied().unwrap_or_default();
        self.apply(&mut seal, change, Action::SealSlotAdded, Details::Seal { id: id.to_string() }).await?;
        self.app.unsealed.show(&[id]);
        let added = seal.status().into_iter().find(|slot| slot.id == id).map(|slot| SealView::of(slot, &[id].into()));
        let added = added.map(|view| SealView { shares: made.shares(id), ..view });
        added.map(AdminReply::Seal).ok_or_else(|| AdminError::name(format!("there is no seal slot {id}")))
    }

    pub(super) async fn seal_remove(&self, id: Uuid) -> Result<AdminReply, AdminError> {
        let _changing = self.app.seal_changes.lock().await;
        let mut seal = self.seal()?;
        let change = seal.without_slot(&self.app.unsealed.root, id, &self.app.unsealed.shown())?;
        self.apply(&mut seal, change, Action::SealSlotRemoved, Details::Seal { id: id.to_string() }).await?;
        Ok(AdminReply::Done)
    }

    /// How many slots have to open the store. Slots that have not opened since the start are tried, with the passphrases.
    pub(super) async fn seal_policy(&self, needed: u8, passphrases: Vec<Password>) -> Result<AdminReply, AdminError> {
        let _changing = self.app.seal_changes.lock().await;
        let (seal, root, shown) = (self.seal()?, self.app.unsealed.root.clone(), self.app.unsealed.shown());
        let passphrases = passphrases.iter().map(Password::octets).collect::<Result<Vec<_>, _>>()?;
        let changed = tokio::task::spawn_blocking(move || {
            let openers = Openers { passphrases, pkcs11: Some(&find_token) };
            let change = seal.with_needed(&root, needed, &shown, &openers)?;
            Ok::<_, SealError>((seal, change))
        });
        let (mut seal, change) = changed.await.map_err(AdminError::failed)??;
        let opened = change.slots().to_vec();
        let details = Details::Reason(format!("seal slots needed: {needed}"));
        self.apply(&mut seal, change, Action::SealPolicyChanged, details).await?;
        self.app.unsealed.show(&opened);
        self.seal_status()
    }

    /// A new keyring term, and everything sealed again under it; or the rest of a rotation that was interrupted.
    pub(super) async fn seal_rotate(&self) -> Result<AdminReply, AdminError> {
        let _changing = self.app.seal_changes.lock().await;
        let store = &self.app.store;
        let resumed = store.keyring().terms().len() > 1;
        if !resumed {
            let next = store.keyring().newest_term().0 + 1;
            self.record(self.event(Action::TermAdded, Details::Seal { id: next.to_string() })).await?;
            store.add_term().await?;
        }
        let rewrapped = store.rewrap().await?;
        Ok(AdminReply::Rotated(RotatedView {
            term: store.keyring().newest_term().0,
            resumed,
            objects: rewrapped.objects,
            refused: rewrapped.refused.iter().map(ToString::to_string).collect(),
            done: rewrapped.done,
        }))
    }

    /// The seal's file, for a change. Format 1 carries no proof of who wrote it, so a file that has gone back to it is refused: it could
    /// turn two slots that are needed into one.
    fn seal(&self) -> Result<Seal, AdminError> {
        let seal = Seal::load(self.app.dir.path())?;
        if seal.format() < self.app.seal_format.load(Relaxed) {
            return Err(SealError::Altered(self.app.dir.path().join("seal.json")).into());
        }
        Ok(seal)
    }

    async fn apply(&self, seal: &mut Seal, change: SealChange, action: Action, details: Details) -> Result<(), AdminError> {
        let event = self.event(action, details);
        self.record(event.clone()).await?;
        if let Err(error) = seal.apply(change) {
            if let Err(error) = self.record(Event { outcome: Outcome::Undone, ..event }).await {
                tracing::error!(error = chain(&error), "cannot record that a change of the seal was not made");
            }
            return Err(error.into());
        }
        self.app.seal_format.fetch_max(seal.format(), Relaxed);
        Ok(())
    }
}

impl SealView {
    /// A slot as listed, `shown` where it is among those that have opened.
    pub fn of(slot: SlotStatus, shown: &BTreeSet<Uuid>) -> Self {
        let made = slot.made.and_then(|made| OffsetDateTime::from_unix_timestamp(made).ok());
        Self {
            id: slot.id.to_string(),
            kind: slot.kind.to_string(),
            detail: slot.detail,
            made: made.and_then(|made| made.format(&Rfc3339).ok()),
            shown: shown.contains(&slot.id),
            warning: slot.warning.map(str::to_owned),
            shares: None,
        }
    }
}
