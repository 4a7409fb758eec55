//! Running the test of a keystore, and keeping what it has found.
//!
//! Whatever became of the row meanwhile, the record says that the test was made, and that a secret was refused is remembered with
//! that secret: a PIN that was offered was offered.

use std::collections::HashSet;
use std::sync::Mutex;

use super::selftest::{self, Subject, Tested};
use super::settings::config_of;
use super::{Found, KeystoreError, KeystoreService, event, expect, lock, on_record, stale_is_changed};
use crate::audit::{Action, Outcome};
use crate::config::KeystoreConfig;
use crate::operation::now_ms;
use crate::provisioning::Deciding;
use crate::store::{
    Change, Commit, Entry, KeystoreEntry, KeystoreId, KeystoreTest, ManagedKeystore, StepOutcome, Versioned,
};

impl KeystoreService {
    /// Tests a keystore as it is and records what was found. One of the settings file stays as it is. `again`: also with a secret
    /// that it has refused before.
    ///
    /// # Errors
    /// Why there is no result; a failed step is one.
    pub async fn test(&self, by: &Deciding, name: &str, again: bool) -> Result<(Found, KeystoreTest), KeystoreError> {
        let gateway = self.gateway()?;
        let found = self.find(name)?;
        if !again && self.was_refused(&found) {
            return Err(KeystoreError::RefusedBefore(name.into()));
        }
        let config = match &found.row.managed {
            Some(_) => config_of(&found.row)?,
            None => self.config_of_the_file(name)?,
        };
        let _testing = Testing::begin(&self.testing, found.row.id, name)?;
        if again {
            offer_again(&config);
        }
        let secret = found.row.managed.as_ref().and_then(|managed| managed.secret.clone());
        let subject = Subject {
            id: found.row.id,
            name: name.into(),
            added: found.row.managed.is_some(),
            trial: false,
            config,
            secret,
        };
        let tested = selftest::run(gateway, &self.open, subject, now_ms()).await;
        self.record(by, &found, &tested, again).await?;
        Ok((self.find(name)?, tested.test))
    }

    fn config_of_the_file(&self, name: &str) -> Result<KeystoreConfig, KeystoreError> {
        let found = self.of_the_file.iter().find(|config| config.name() == name).cloned();
        found.ok_or_else(|| {
            KeystoreError::Conflict(format!("keygate.toml names keystore \"{name}\" no more: there is nothing to test"))
        })
    }

    fn was_refused(&self, found: &Found) -> bool {
        match &found.row.managed {
            Some(managed) => is_refused(managed),
            None => lock(&self.refused).contains(&found.row.id),
        }
    }

    /// # Errors
    /// [`KeystoreError::Changed`] if the row has changed meanwhile: what was found is on record, and not of what is there now.
    async fn record(&self, by: &Deciding, found: &Found, tested: &Tested, again: bool) -> Result<(), KeystoreError> {
        let id = found.row.id;
        let what = verdict(&tested.test) + if again { ", said with --again" } else { "" };
        let outcome = if tested.test.passed { Outcome::Done } else { Outcome::Refused(0) };
        let events = vec![event(by, Action::KeystoreTested, outcome, on_record(&found.row, what))];
        // All who change rows of keystores hold this, so the row that is read here is the one that is written.
        let _held = self.changing.lock().await;
        let now = self.rows().into_iter().find(|row| row.id == id);
        let is_same = now.as_ref().is_some_and(|now| now.version == found.row.version);
        let changes = now.and_then(|now| noted(now, found, tested)).unwrap_or_default();
        if found.row.managed.is_none() {
            let mut refused = lock(&self.refused);
            if tested.test.secret_refused {
                refused.insert(id)
            } else {
                tested.test.passed && refused.remove(&id)
            };
        }
        self.store.commit(Commit { changes, events, erases: false }).await.map_err(stale_is_changed)?;
        if is_same { Ok(()) } else { Err(KeystoreError::Changed) }
    }
}

/// The row with what was found, as far as that is about what the row says now; `None` where nothing is to be written.
fn noted(now: Versioned<KeystoreEntry>, found: &Found, tested: &Tested) -> Option<Vec<Change>> {
    let mut entry = KeystoreEntry::clone(&now);
    let offered = found.row.managed.as_ref()?.secret.as_ref();
    let row = entry.managed.as_deref_mut()?;
    if row.secret.as_ref() == offered {
        row.secret_refused = tested.test.secret_refused || (is_refused(row) && !tested.test.passed);
    }
    if now.version == found.row.version {
        row.state = row.state.tested(tested.test.passed, now_ms());
        row.test = Some(tested.test.clone());
        if tested.test.passed {
            row.token_serial = tested.serial.clone();
        }
    }
    if entry == *now {
        return None;
    }
    let seen = Found { row: now, ..found.clone() };
    Some(vec![expect(&seen), Change::UpdateEntry(Entry::Keystore(entry))])
}

/// The secret was refused, by this row or by one of an older version.
fn is_refused(row: &ManagedKeystore) -> bool {
    row.secret_refused || row.test.as_ref().is_some_and(|test| test.secret_refused)
}

/// How a test ended, for the audit record.
pub(super) fn verdict(test: &KeystoreTest) -> String {
    let failed = test.steps.iter().find(|step| step.outcome == StepOutcome::Failed);
    failed.map_or_else(|| "success".to_owned(), |step| format!("failed: {}", step.name))
}

/// A test under way: a PIN is not offered twice at once.
pub(super) struct Testing<'a> {
    all: &'a Mutex<HashSet<KeystoreId>>,
    id: KeystoreId,
}

impl<'a> Testing<'a> {
    /// # Errors
    /// That there is one already.
    pub(super) fn begin(
        all: &'a Mutex<HashSet<KeystoreId>>,
        id: KeystoreId,
        name: &str,
    ) -> Result<Self, KeystoreError> {
        // Made only where it is the first: dropping a second one would take the first one's place, and wait for this lock.
        let is_first = lock(all).insert(id);
        if is_first {
            Ok(Self { all, id })
        } else {
            Err(KeystoreError::Conflict(format!("keystore \"{name}\" is being tested already")))
        }
    }
}

impl Drop for Testing<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(&self.id);
    }
}

/// Forgets what the tokens of a keystore's modules have refused: an operator asks for another try.
fn offer_again(config: &KeystoreConfig) {
    let modules: Vec<&std::path::Path> = match config {
        KeystoreConfig::Pkcs11(config) => vec![&config.module],
        KeystoreConfig::Group(config) => config.members.iter().map(|member| member.module.as_path()).collect(),
        KeystoreConfig::Local { .. } | KeystoreConfig::Remote(_) => Vec::new(),
    };
    modules.into_iter().for_each(keygate_backends::pkcs11::offer_again);
}
