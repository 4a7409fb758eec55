//! The seal: its slots shown, added and removed, and a new keyring term.
//!
//! `D/seal.json` is no part of the database, so its changes cannot share a transaction with their audit events: the event is
//! committed first, then the file is replaced. Should the file be refused, a second event takes the first back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Admin, AdminError, AdminReply, chain,
    reply::{RotatedView, SealStatusView, SealView},
    request::NewSealSlot,
};
use crate::{
    app::TokenSlotKey,
    audit::{Action, Details, Event, Outcome},
    seal::{NewSlot, Seal, SealChange, SealError, SecretBytes, SlotFailure, SlotStatus},
};

impl NewSealSlot {
    /// Gets ready what the slot is made from, a wrapping key on a token for one, and passes it on. Blocks (token).
    pub fn make<T>(self, with: impl FnOnce(NewSlot<'_>) -> Result<T, SealError>) -> Result<T, SealError> {
        match self {
            Self::Keyfile { path } => with(NewSlot::KeyFile { path }),
            Self::Passphrase { passphrase } => {
                let octets = STANDARD.decode(&passphrase.0).map(Zeroizing::new);
                let octets = octets.map_err(|_| SealError::NewSlot(SlotFailure::NoPassphrase))?;
                with(NewSlot::passphrase(SecretBytes::from(octets)))
            }
            Self::SystemdCreds { with_key } => with(NewSlot::SystemdCreds { with_key }),
            Self::Pkcs11 { module, token_label, pin } => {
                let token = |error| SealError::NewSlot(SlotFailure::Token(error));
                let (locator, key) = TokenSlotKey::create(module, token_label, pin).map_err(token)?;
                let made = with(NewSlot::Pkcs11 { locator: locator.to_json(), key: &key });
                if made.is_err()
                    && let Err(error) = key.destroy()
                {
                    tracing::warn!(key = locator.key_id, %error, "an unused wrapping key stays on the token");
                }
                made
            }
        }
    }
}

impl Admin<'_> {
    pub(super) fn seal_status(&self) -> Result<AdminReply, AdminError> {
        let slots = self.seal()?.status().into_iter().map(view).collect();
        let terms = self.app.store.keyring().terms().into_iter().map(|term| term.0).collect();
        Ok(AdminReply::SealStatus(SealStatusView { slots, terms }))
    }

    pub(super) async fn seal_add(&self, slot: NewSealSlot) -> Result<AdminReply, AdminError> {
        let _changing = self.app.seal_changes.lock().await;
        let (seal, root) = (self.seal()?, self.app.unsealed.root.clone());
        let made = tokio::task::spawn_blocking(move || {
            let change = slot.make(|new| seal.with_slot(&root, new))?;
            Ok::<_, SealError>((seal, change))
        });
        let (mut seal, change) = made.await.map_err(AdminError::failed)??;
        let id = change.slot();
        self.apply(&mut seal, change, Action::SealSlotAdded).await?;
        let added = seal.status().into_iter().find(|slot| slot.id == id).map(view);
        added.map(AdminReply::Seal).ok_or_else(|| AdminError::name(format!("there is no seal slot {id}")))
    }

    pub(super) async fn seal_remove(&self, id: Uuid) -> Result<AdminReply, AdminError> {
        let _changing = self.app.seal_changes.lock().await;
        let mut seal = self.seal()?;
        let change = seal.without_slot(id)?;
        self.apply(&mut seal, change, Action::SealSlotRemoved).await?;
        Ok(AdminReply::Done)
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

    fn seal(&self) -> Result<Seal, AdminError> {
        Ok(Seal::load(self.app.dir.path())?)
    }

    async fn apply(&self, seal: &mut Seal, change: SealChange, action: Action) -> Result<(), AdminError> {
        let event = self.event(action, Details::Seal { id: change.slot().to_string() });
        self.record(event.clone()).await?;
        if let Err(error) = seal.apply(change) {
            if let Err(error) = self.record(Event { outcome: Outcome::Undone, ..event }).await {
                tracing::error!(error = chain(&error), "cannot record that a change of the seal was not made");
            }
            return Err(error.into());
        }
        Ok(())
    }
}

fn view(slot: SlotStatus) -> SealView {
    SealView {
        id: slot.id.to_string(),
        kind: slot.kind.to_string(),
        detail: slot.detail,
        warning: slot.warning.map(str::to_owned),
    }
}
