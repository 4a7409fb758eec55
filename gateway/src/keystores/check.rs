//! The small test that every keystore in use gets now and then, and the operator's act that offers a mended secret.
//!
//! A check asks the device what it can do (tokens), or for a key that does not exist (key servers): cheap, it changes nothing, and it
//! is not made where a PIN or password was refused, which would offer it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_backends::{Class, Health, KeyCheck, KeyClass, KeyId, KeyRef, Keystore, KsError, OpCx, SecretBytes};

use super::settings::config_of;
use super::testing::Testing;
use super::{Found, KeystoreError, KeystoreService, event, lock};
use crate::audit::{Action, Details, Outcome};
use crate::operation::now_ms;
use crate::provisioning::Deciding;
use crate::store::{Commit, KeystoreId};

/// Longest check; a device that takes longer has failed it.
const CHECK_MAX: Duration = Duration::from_secs(10);
/// How long a keystore may take to accept a mended secret.
const RETRY_MAX: Duration = Duration::from_secs(35);

/// What was seen of checks since the gateway was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// When the last one ended; `None` before the first.
    pub at_ms: Option<i64>,
    /// Microseconds it took.
    pub took_us: u64,
    /// Why it failed.
    pub failure: Option<String>,
    /// How many there were.
    pub done: u64,
    /// How many of them failed.
    pub failed: u64,
    under_way: bool,
}

impl KeystoreService {
    /// Begins a check of each keystore in use that has none under way.
    pub fn check_all(self: &Arc<Self>) {
        let Some(gateway) = self.gateway.get() else { return };
        for in_use in gateway.keystores.all() {
            let id = in_use.id;
            let is_under_way = std::mem::replace(&mut lock(&self.checks).entry(id).or_default().under_way, true);
            if is_under_way {
                continue;
            }
            let service = Arc::clone(self);
            tokio::spawn(async move {
                let begun = Instant::now();
                let outcome = check(in_use.keystore.as_ref()).await;
                service.note_check(id, begun.elapsed(), outcome);
            });
        }
    }

    fn note_check(&self, id: KeystoreId, took: Duration, outcome: Result<(), KsError>) {
        let mut checks = lock(&self.checks);
        let checked = checks.entry(id).or_default();
        checked.under_way = false;
        checked.at_ms = Some(now_ms());
        checked.took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        checked.done += 1;
        checked.failed += u64::from(outcome.is_err());
        checked.failure = outcome.err().map(|error| error.to_string());
    }

    /// Lets a keystore that stopped at a refused PIN or password offer it once more; of one of the settings file the file with it is read
    /// anew. What came of it is the answer, and on record.
    ///
    /// # Errors
    /// If it is not open, has refused nothing, or refuses again.
    pub async fn retry(&self, by: &Deciding, name: &str) -> Result<Found, KeystoreError> {
        let found = self.find(name)?;
        let nothing = |why: &str| KeystoreError::Conflict(format!("keystore \"{name}\" {why}: there is nothing to try again"));
        let keystore = self.gateway()?.keystores.get(found.row.id).map_err(|_| nothing("is not open"))?;
        if !matches!(keystore.health(), Health::NeedsOperator(_)) {
            return Err(nothing("has refused no PIN or password"));
        }
        let _testing = Testing::begin(&self.testing, found.row.id, name)?;
        let secret = self.secret_of(&found).await?;
        keystore.retry(secret);
        let outcome = keystore.probe(OpCx::within(RETRY_MAX)).await;
        let what = match &outcome {
            Ok(_) => "accepted",
            Err(error) if error.class() == Class::AuthStop => "failed: refused again",
            Err(_) => "failed: no answer",
        };
        let details = Details::Keystore { id: found.row.id.into(), name: name.into(), what: what.into() };
        let result = if outcome.is_ok() { Outcome::Done } else { Outcome::Refused(0) };
        let events = vec![event(by, Action::KeystoreRetried, result, details)];
        self.store.commit(Commit { events, ..Commit::default() }).await?;
        outcome.map_err(|error| KeystoreError::Open { name: name.into(), cause: error.to_string() })?;
        self.find(name)
    }

    /// The PIN or password as it is written now; `None` where there is none.
    async fn secret_of(&self, found: &Found) -> Result<Option<SecretBytes>, KeystoreError> {
        let name = &found.row.name;
        let failed = |cause: String| KeystoreError::Open { name: name.clone(), cause };
        let config = match &found.row.managed {
            Some(managed) => {
                if let Some(secret) = &managed.secret {
                    // A secret of text is exposed to be handed to the device.
                    return Ok(Some(SecretBytes::copy_of(secret.expose().as_bytes())));
                }
                config_of(&found.row)?
            }
            None => {
                let config = self.of_the_file.iter().find(|config| config.name() == name);
                config.cloned().ok_or_else(|| KeystoreError::OfTheFile(name.clone()))?
            }
        };
        let read = Arc::clone(&self.secret);
        let secret = tokio::task::spawn_blocking(move || read(&config)).await.map_err(|error| failed(error.to_string()))?;
        secret.map_err(|error| failed(super::chain(error.as_ref())))
    }
}

async fn check(keystore: &dyn Keystore) -> Result<(), KsError> {
    match keystore.health() {
        Health::Up => {}
        Health::Down(reason) => return Err(KsError::new(Class::TokenLost, reason)),
        Health::NeedsOperator(reason) => return Err(KsError::new(Class::AuthStop, reason)),
    }
    let descriptor = keystore.descriptor();
    let cx = OpCx::within(CHECK_MAX);
    if !matches!(descriptor.kind, "kmip" | "rest") {
        return keystore.probe(cx).await.map(drop);
    }
    // Probing would offer a password that was refused a moment ago; a look-up does not.
    let nobody = KeyRef { keystore: descriptor.id, id: KeyId::random()?, class: KeyClass::Secret, check: KeyCheck::None };
    match keystore.info(&nobody, cx).await {
        Err(error) if error.class() == Class::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(KsError::new(Class::Corrupt, "the key server has a key that nobody made")),
    }
}
