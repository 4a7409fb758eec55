//! Activating, draining and removing keystores. Each is one commit for the row that its author has seen, and in force when it is
//! answered.

use super::{Found, KeystoreError, KeystoreService, Retired, component, event, expect, lock, managed, stale_is_changed};
use crate::audit::{Action, Details, Outcome};
use crate::operation::now_ms;
use crate::provisioning::Deciding;
use crate::store::{Change, Commit, EntryKind, KeystoreEntry, RehomingState};

impl KeystoreService {
    /// Lets new keys go to a keystore whose test succeeded; existing keys stay where they are. `confirm` is its name, once more.
    ///
    /// # Errors
    /// What is missing.
    pub async fn activate(
        &self,
        by: &Deciding,
        name: &str,
        confirm: &str,
        keep_default: bool,
        seen: Option<u64>,
    ) -> Result<Found, KeystoreError> {
        self.gateway()?;
        let found = self.seen(name, seen)?;
        let mut entry = KeystoreEntry::clone(&found.row);
        let managed = managed(&mut entry)?;
        let now = now_ms();
        let passed = managed.test.as_ref().is_some_and(|test| test.passed);
        managed.state = managed.state.activate(passed, now).map_err(|refusal| KeystoreError::State { name: name.into(), refusal })?;
        if confirm != name {
            return Err(KeystoreError::Unconfirmed(name.into()));
        }
        if !keep_default {
            managed.default_since_ms = Some(now);
        }
        let keystore = self.open_checked(&found.row).await?;
        let what = if keep_default { "the default stays" } else { "is the default" };
        let _held = self.changing.lock().await;
        self.commit(by, &found, entry.clone(), Action::KeystoreActivated, what).await?;
        self.put(&entry, keystore);
        self.put_default();
        self.find(name)
    }

    /// Lets no new keys go to a keystore any more; those it has stay usable.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn drain(&self, by: &Deciding, name: &str, seen: Option<u64>) -> Result<Found, KeystoreError> {
        let found = self.seen(name, seen)?;
        let mut entry = KeystoreEntry::clone(&found.row);
        let managed = managed(&mut entry)?;
        managed.state = managed.state.drain(now_ms()).map_err(|refusal| KeystoreError::State { name: name.into(), refusal })?;
        managed.default_since_ms = None;
        let _held = self.changing.lock().await;
        self.commit(by, &found, entry, Action::KeystoreDrained, "takes no new keys").await?;
        if let Some(gateway) = self.gateway.get() {
            gateway.keystores.set_takes_new(found.row.id, false);
        }
        self.put_default();
        self.find(name)
    }

    /// Forgets a keystore that nothing refers to: the end of its life.
    ///
    /// # Errors
    /// How many objects and other things refer to it.
    pub async fn remove(&self, by: &Deciding, name: &str, seen: Option<u64>) -> Result<Retired, KeystoreError> {
        let found = self.seen(name, seen)?;
        let retired = match &found.row.managed {
            Some(managed) => managed.state.retire().map_err(|refusal| KeystoreError::State { name: name.into(), refusal })?,
            None if found.of_the_file => return Err(KeystoreError::OfTheFile(name.into())),
            None => Retired,
        };
        let id = found.row.id;
        // From the first look on the store keeps the numbers, by which its writer decides.
        self.store.keystore_objects().await?;
        let mut changes = vec![expect(&found), Change::RemoveEntry(EntryKind::Keystore, id.into())];
        let reports = self.store.rehomings();
        let over = reports.iter().filter(|moving| moving.state != RehomingState::Running && (moving.from == id || moving.to == id));
        changes.extend(over.map(|moving| Change::RemoveEntry(EntryKind::Rehoming, moving.id)));
        let details = Details::Entry { id: id.into(), name: name.into() };
        let events = vec![event(by, Action::KeystoreRemoved, Outcome::Done, details)];
        let _held = self.changing.lock().await;
        // A secret that is forgotten leaves the files too.
        self.store.commit(Commit { changes, events, erases: true }).await.map_err(stale_is_changed)?;
        if let Some(gateway) = self.gateway.get() {
            gateway.keystores.remove(id);
        }
        self.readiness.forget(&component(name));
        lock(&self.checks).remove(&id);
        lock(&self.notes).remove(&id);
        lock(&self.returns).remove(&id);
        Ok(retired)
    }
}
