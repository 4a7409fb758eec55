//! Adding keystores, and changing their settings and secrets.
//!
//! A keystore in use is changed only with a green test of what it is to be: that is opened beside what serves, and takes its place
//! in the same breath as the row is written. Whatever is wrong with the change, the keys stay served as they were.

use keygate_backends::Keystore;
use std::sync::Arc;

use super::selftest::{self, Subject};
use super::settings::{KeystorePatch, apply, check_secret, checked, checked_with_files, text_of};
use super::testing::{Testing, verdict};
use super::{Found, KeystoreError, KeystoreService, event, managed, on_record};
use crate::audit::{Action, Details, Outcome};
use crate::config::KeystoreConfig;
use crate::operation::now_ms;
use crate::provisioning::Deciding;
use crate::seal::SecretText;
use crate::store::{
    Change, Commit, CommitError, Entry, KeystoreEntry, KeystoreId, KeystoreState, ManagedKeystore, OrganisationId,
    StepOutcome,
};

/// Keystores there may be.
const KEYSTORES_MAX: usize = 256;

/// A keystore to be added.
pub struct NewKeystore {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The keys of a `[[keystore]]` table, without name and kind.
    pub settings: toml::Table,
    /// PIN or password.
    pub secret: Option<SecretText>,
}

impl KeystoreService {
    /// Adds a keystore, as a draft.
    ///
    /// # Errors
    /// A name that is taken, settings that are none, files that are not there.
    pub async fn add(&self, by: &Deciding, new: NewKeystore) -> Result<Found, KeystoreError> {
        let NewKeystore { name, kind, settings, secret } = new;
        check_secret(secret.as_ref())?;
        checked(&name, &kind, settings.clone(), secret.is_some())?;
        if self.rows().iter().any(|row| row.name == name) {
            return Err(KeystoreError::NameTaken(name));
        }
        if self.rows().len() >= KEYSTORES_MAX {
            return Err(KeystoreError::Conflict(format!(
                "there are {KEYSTORES_MAX} keystores, which is all there may be"
            )));
        }
        let now = now_ms();
        let managed = ManagedKeystore {
            state: KeystoreState::new(now),
            settings: text_of(&settings)?,
            secret_since_ms: now,
            secret,
            secret_refused: false,
            token_serial: None,
            test: None,
            default_since_ms: None,
            created_ms: now,
        };
        let entry = KeystoreEntry {
            id: KeystoreId::generate(),
            organisation: OrganisationId::DEFAULT,
            name: name.clone(),
            kind,
            managed: Some(Box::new(managed)),
        };
        self.check_files(&entry).await?;
        let details = Details::Entry { id: entry.id.into(), name: name.clone() };
        let events = vec![event(by, Action::KeystoreAdded, Outcome::Done, details)];
        let changes = vec![Change::AddEntry(Entry::Keystore(entry))];
        match self.store.commit(Commit { changes, events, erases: false }).await {
            Err(CommitError::EntryTaken { .. }) => Err(KeystoreError::NameTaken(name)),
            done => done.map_err(KeystoreError::from).and_then(|_| self.find(&name)),
        }
    }

    /// Changes settings or secret. A draft or tested keystore becomes a draft; one in use is tested with them first, and served with
    /// them at once.
    ///
    /// # Errors
    /// Settings that are none; a secret that is to be sent elsewhere and is not given again; a keystore in use whose test fails with
    /// them; a keystore of the settings file. Nothing is changed then.
    pub async fn change(
        &self,
        by: &Deciding,
        name: &str,
        patch: KeystorePatch,
        seen: Option<u64>,
    ) -> Result<Found, KeystoreError> {
        let found = self.seen(name, seen)?;
        let mut entry = KeystoreEntry::clone(&found.row);
        let row = managed(&mut entry)?;
        let now = now_ms();
        let changed = apply(name, row, patch, now)?;
        row.test = None;
        row.state = row.state.changed(now);
        let in_use = row.state.is_in_use();
        let config = self.check_files(&entry).await?;
        if in_use {
            return self.change_in_use(by, found, entry, config, &changed.what()).await;
        }
        let _held = self.changing.lock().await;
        self.commit(by, &found, entry, Action::KeystoreChanged, &changed.what()).await?;
        self.find(name)
    }

    /// Tests what is to be, beside what serves; then the one takes the place of the other.
    async fn change_in_use(
        &self,
        by: &Deciding,
        found: Found,
        mut entry: KeystoreEntry,
        config: KeystoreConfig,
        what: &str,
    ) -> Result<Found, KeystoreError> {
        let name = entry.name.clone();
        let gateway = self.gateway.get().ok_or(KeystoreError::NotServing(
            "a keystore in use is tested with new settings before it takes them: start the server, then ask again",
        ))?;
        let row = managed(&mut entry)?;
        if row.secret_refused {
            return Err(KeystoreError::RefusedBefore(name));
        }
        let _testing = Testing::begin(&self.testing, found.row.id, &name)?;
        let secret = row.secret.clone();
        let subject =
            Subject { id: entry.id, name: name.clone(), added: true, trial: true, config: beside(config), secret };
        let tested = selftest::run(gateway, &self.open, subject, now_ms()).await;
        let (Some(keystore), true) = (tested.keystore, tested.test.passed) else {
            let details = on_record(&entry, format!("{}; {what} not changed", verdict(&tested.test)));
            let events = vec![event(by, Action::KeystoreTested, Outcome::Refused(0), details)];
            self.store.commit(Commit { events, ..Commit::default() }).await?;
            let failed = tested.test.steps.into_iter().find(|step| step.outcome == StepOutcome::Failed);
            let (step, text, hint) = failed.map_or_else(Default::default, |step| (step.name, step.text, step.hint));
            return Err(KeystoreError::NotChanged { name, step, text, hint });
        };
        let row = managed(&mut entry)?;
        (row.test, row.token_serial, row.secret_refused) = (Some(tested.test), tested.serial, false);
        self.exchange(by, &found, entry, keystore, what).await?;
        self.find(&name)
    }

    /// Row and keystore change together, and in the order of all other changes.
    async fn exchange(
        &self,
        by: &Deciding,
        found: &Found,
        entry: KeystoreEntry,
        keystore: Arc<dyn Keystore>,
        what: &str,
    ) -> Result<(), KeystoreError> {
        let _held = self.changing.lock().await;
        self.commit(by, found, entry.clone(), Action::KeystoreChanged, what).await?;
        self.put(&entry, keystore);
        Ok(())
    }

    async fn check_files(&self, entry: &KeystoreEntry) -> Result<KeystoreConfig, KeystoreError> {
        let (entry, data_dir) = (entry.clone(), self.data_dir.clone());
        let checked = tokio::task::spawn_blocking(move || checked_with_files(&entry, &data_dir)).await;
        checked.map_err(|lost| KeystoreError::Invalid(format!("the settings could not be checked: {lost}")))?
    }
}

/// With workers of its own: those that serve are logged in already, and would not show whether another PIN is right.
fn beside(mut config: KeystoreConfig) -> KeystoreConfig {
    if let KeystoreConfig::Pkcs11(config) = &mut config {
        config.beside = true;
    }
    config
}
