//! Opening keystores and letting the gateway serve from them.
//!
//! A device takes its time, so nothing is held meanwhile; what was opened is put in place only if the row is still the one by which
//! it was opened.

use std::sync::Arc;

use keygate_backends::{Health, Keystore};

use super::todo::component_state;
use super::settings::config_of;
use super::{KeystoreError, KeystoreService, chain, component};
use crate::operation::{Gateway, InUse};
use crate::store::{KeystoreEntry, Versioned};
use crate::telemetry::ComponentState;

impl KeystoreService {
    /// Opens the keystores in use and lets the gateway serve from them. The first call counts. Blocks up to a second for each
    /// keystore whose device is away; one that cannot be opened is tried again by [`Self::open_missing`].
    pub fn attach(&self, gateway: &Arc<Gateway>) {
        // A second call would mean two sets of keystores over one store; the first stays.
        let _ = self.gateway.set(Arc::clone(gateway));
        for entry in self.missing() {
            let opened = self
                .open_row(&entry)
                .map_err(|cause| tracing::warn!(keystore = entry.name, cause, "a keystore cannot be opened"));
            if let Ok(keystore) = opened {
                self.put(&entry, keystore);
            }
        }
        self.put_default();
    }

    /// Tries keystores in use again that could not be opened.
    pub async fn open_missing(self: &Arc<Self>) {
        for entry in self.missing() {
            let (service, row) = (Arc::clone(self), entry.clone());
            if let Ok(Ok(keystore)) = tokio::task::spawn_blocking(move || service.open_row(&row)).await {
                let _held = self.changing.lock().await;
                // It may have been changed, drained or removed meanwhile: the next round opens what is there then.
                if self.missing().iter().any(|now| now.id == entry.id && now.version == entry.version) {
                    self.put(&entry, keystore);
                    self.put_default();
                }
            }
        }
    }

    /// Tells of keystores that keygate.toml names no more while objects are there: once in the log, and in readiness.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn report_absent(&self) -> Result<(), crate::store::ReadError> {
        let absent = self.list().into_iter().filter(|found| found.row.managed.is_none() && !found.of_the_file);
        let absent: Vec<_> = absent.map(|found| found.row).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let counts = self.store.keystore_objects().await?;
        for row in absent {
            let count = counts.get(&row.id).copied().unwrap_or_default();
            if count > 0 {
                let reason = format!(
                    "keygate.toml names it no more, and {count} objects are there: put it back, and start the server again"
                );
                self.readiness.set(&component(&row.name), ComponentState::Down { reason });
            }
        }
        Ok(())
    }

    /// In use, and not open.
    fn missing(&self) -> Vec<Versioned<KeystoreEntry>> {
        let Some(gateway) = self.gateway.get() else { return Vec::new() };
        let in_use =
            |row: &Versioned<KeystoreEntry>| row.managed.as_ref().is_some_and(|managed| managed.state.is_in_use());
        self.rows().into_iter().filter(|row| in_use(row) && gateway.keystores.get(row.id).is_err()).collect()
    }

    /// Blocks up to a second.
    fn open_row(&self, entry: &KeystoreEntry) -> Result<Arc<dyn Keystore>, String> {
        let secret = entry.managed.as_ref().and_then(|managed| managed.secret.as_ref());
        let opened = config_of(entry).map_err(|error| chain(&error));
        let opened = opened.and_then(|config| (self.open)(&config, secret).map_err(|error| chain(error.as_ref())));
        if let Err(reason) = &opened {
            self.readiness.set(&component(&entry.name), ComponentState::Down { reason: reason.clone() });
        }
        opened
    }

    /// Opens a keystore that new keys are to go to: its device must be there.
    pub(super) async fn open_checked(&self, entry: &KeystoreEntry) -> Result<Arc<dyn Keystore>, KeystoreError> {
        let failed = |cause: String| KeystoreError::Open { name: entry.name.clone(), cause };
        let config = config_of(entry)?;
        let (open, secret) =
            (Arc::clone(&self.open), entry.managed.as_ref().and_then(|managed| managed.secret.clone()));
        let opened = tokio::task::spawn_blocking(move || open(&config, secret.as_ref())).await;
        let keystore =
            opened.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(error.as_ref())))?;
        match keystore.health() {
            Health::Up => Ok(keystore),
            Health::Down(reason) | Health::NeedsOperator(reason) => Err(failed(reason)),
        }
    }

    /// Lets the gateway serve from it. Whoever calls this holds `changing`, or is alone.
    pub(super) fn put(&self, entry: &KeystoreEntry, keystore: Arc<dyn Keystore>) {
        let (Some(gateway), Some(managed)) = (self.gateway.get(), &entry.managed) else { return };
        if !managed.state.is_in_use() {
            return;
        }
        self.readiness.set(&component(&entry.name), component_state(&entry.name, true, keystore.health()));
        let keystore = self.observe(entry.id, keystore);
        let takes_new = managed.state.takes_new();
        gateway.keystores.put(InUse { id: entry.id, name: entry.name.as_str().into(), keystore, takes_new });
    }

    pub(super) fn put_default(&self) {
        if let (Some(gateway), Some(id)) = (self.gateway.get(), self.default_row()) {
            gateway.keystores.set_default(id);
        }
    }
}
