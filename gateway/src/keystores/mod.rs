//! Keystores as administrators manage them: added, tested, activated, drained and retired while the gateway serves; moves of keys
//! between them; how they do.
//!
//! Knows no protocol: the admin API and the command line call the same functions. Keystores of the settings file are shown and
//! tested, and changed there. What a keystore does is the business of `keygate_backends`; which one serves a request, of
//! [`crate::operation::Keystores`], which this module changes; rows are the store's. Keystores are the whole gateway's, not an
//! organisation's.
//!
//! Every transition is one commit with its audit event, for the row that its author has seen, and in force when it is answered.
//! No lock that a request waits for is held while a device works.
//!
//! - `change.rs`: adding, and other settings and secrets. `testing.rs`, `selftest/`: tests. `life.rs`: activating, draining, removing.
//! - `settings.rs`, `files.rs`: what settings may be, and the files they name. `todo.rs`: what an operator has to do.
//! - `check.rs`: signs of life, and offering a mended secret.
//! - `opening.rs`: letting the gateway serve from them. `rehome.rs`: moving keys. `status.rs`, `observed.rs`: how they do.

mod change;
mod check;
mod error;
pub(crate) mod files;
mod life;
mod observed;
mod opening;
mod rehome;
mod selftest;
mod settings;
mod state;
mod status;
mod testing;
#[cfg(test)]
mod tests;
mod todo;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use keygate_backends::{Keystore, SecretBytes};

pub use change::NewKeystore;
pub use check::Checked;
pub use error::KeystoreError;
pub use files::FileError;
pub use observed::{Noted, Notes};
pub use rehome::Moving;
pub use settings::KeystorePatch;
pub(crate) use settings::{table_of, warnings};
pub use state::{Refusal, Retired};
pub use status::{KeystoreMetrics, Status, secret_days};
pub(crate) use todo::component_state;

use crate::{
    admin::chain as chain_of,
    audit::{Action, Details, Event, Outcome},
    config::KeystoreConfig,
    operation::{Gateway, now_ms},
    provisioning::Deciding,
    seal::SecretText,
    store::{
        Change, Commit, CommitError, Entry, EntryKind, KeystoreEntry, KeystoreId, ManagedKeystore, OrganisationId, Store, Versioned,
    },
    telemetry::Readiness,
};

/// Why a keystore cannot be opened.
pub type OpenFailure = Box<dyn std::error::Error + Send + Sync>;
/// Opens a keystore; it may block for a second.
pub type Open = Arc<dyn Fn(&KeystoreConfig, Option<&SecretText>) -> Result<Arc<dyn Keystore>, OpenFailure> + Send + Sync>;

/// Reads the PIN or password that settings say where to find; `None` where they name none. May block.
pub type ReadSecret = Arc<dyn Fn(&KeystoreConfig) -> Result<Option<SecretBytes>, OpenFailure> + Send + Sync>;

/// What a [`KeystoreService`] is made of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The keystores that the settings file has.
    pub of_the_file: Vec<KeystoreConfig>,
    /// Name of the one of them that is the default.
    pub file_default: String,
    /// The server's own files: settings of keystores name none of its keys.
    pub data_dir: PathBuf,
    /// Opens a keystore.
    pub open: Open,
    /// How a PIN or password of settings is read, where they say where it is.
    pub secret: ReadSecret,
    /// Which parts work.
    pub readiness: Arc<Readiness>,
    /// Held while the seal changes: two changes at once would lose one.
    pub seal_changes: Arc<tokio::sync::Mutex<()>>,
}

/// The keystores of one gateway.
pub struct KeystoreService {
    store: Store,
    of_the_file: Vec<KeystoreConfig>,
    file_default: String,
    data_dir: PathBuf,
    open: Open,
    /// Reads PINs and passwords.
    secret: ReadSecret,
    readiness: Arc<Readiness>,
    gateway: OnceLock<Arc<Gateway>>,
    /// Held by all who change rows of keystores, while a transition is committed and put in force, so that both happen in one order.
    changing: tokio::sync::Mutex<()>,
    /// Keystores that are being tested: a PIN is not offered twice at once.
    testing: Mutex<HashSet<KeystoreId>>,
    checks: Mutex<HashMap<KeystoreId, Checked>>,
    /// Keystores of the settings file that have refused their secret in a test. Rows of the others remember it.
    refused: Mutex<HashSet<KeystoreId>>,
    notes: Mutex<HashMap<KeystoreId, Arc<Notes>>>,
    /// How often a keystore came back.
    returns: Mutex<HashMap<KeystoreId, u64>>,
    movers: rehome::Movers,
    /// Set where the process serves: it moves keys.
    serving: OnceLock<()>,
    /// Held while the seal changes.
    seal_changes: Arc<tokio::sync::Mutex<()>>,
}

/// A keystore as it is.
#[derive(Clone)]
pub struct Found {
    /// Its row.
    pub row: Versioned<KeystoreEntry>,
    /// The settings file names it.
    pub of_the_file: bool,
    /// New keys go there where nothing else is said.
    pub is_default: bool,
}

impl KeystoreService {
    /// Over an open store. Nothing is opened before [`Self::attach`].
    pub fn new(parts: Parts) -> Self {
        let Parts { store, of_the_file, file_default, data_dir, open, secret, readiness, seal_changes } = parts;
        Self {
            store,
            of_the_file,
            file_default,
            data_dir,
            open,
            secret,
            readiness,
            gateway: OnceLock::new(),
            changing: tokio::sync::Mutex::default(),
            testing: Mutex::default(),
            checks: Mutex::default(),
            refused: Mutex::default(),
            notes: Mutex::default(),
            returns: Mutex::default(),
            movers: rehome::Movers::default(),
            serving: OnceLock::new(),
            seal_changes,
        }
    }

    /// Notes how a keystore does from now on.
    pub fn observe(&self, id: KeystoreId, keystore: Arc<dyn Keystore>) -> Arc<dyn Keystore> {
        let (observed, notes) = observed::Observed::around(keystore);
        lock(&self.notes).insert(id, notes);
        observed
    }

    /// A keystore works again.
    pub fn came_back(&self, id: KeystoreId) {
        *lock(&self.returns).entry(id).or_default() += 1;
    }

    /// All keystores, by name.
    pub fn list(&self) -> Vec<Found> {
        let default = self.default_row();
        let mut list: Vec<Found> = self.rows().into_iter().map(|row| self.found(row, default)).collect();
        list.sort_by(|one, other| one.row.name.cmp(&other.row.name));
        list
    }

    /// The keystore of this name.
    ///
    /// # Errors
    /// [`KeystoreError::NotFound`].
    pub fn find(&self, name: &str) -> Result<Found, KeystoreError> {
        let row = self.rows().into_iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| KeystoreError::NotFound { what: "keystore", name: name.chars().take(80).collect() })?;
        let default = self.default_row();
        Ok(self.found(row, default))
    }

    /// The name of a keystore.
    pub fn name_of(&self, id: KeystoreId) -> String {
        self.rows().iter().find(|row| row.id == id).map_or_else(|| id.to_string(), |row| row.name.clone())
    }

    fn rows(&self) -> Vec<Versioned<KeystoreEntry>> {
        self.store.directory().keystores.clone()
    }

    fn found(&self, row: Versioned<KeystoreEntry>, default: Option<KeystoreId>) -> Found {
        let of_the_file = self.of_the_file.iter().any(|config| config.name() == row.name);
        Found { of_the_file, is_default: default == Some(row.id), row }
    }

    /// The newest active one that was made the default; else the settings file's.
    fn default_row(&self) -> Option<KeystoreId> {
        let rows = self.rows();
        let made = rows.iter().filter_map(|row| {
            let managed = row.managed.as_ref().filter(|managed| managed.state.takes_new())?;
            Some((managed.default_since_ms?, row.id))
        });
        let of_the_file = || rows.iter().find(|row| row.name == self.file_default).map(|row| row.id);
        made.max().map(|(_, id)| id).or_else(of_the_file)
    }

    /// The keystore as its author has seen it.
    fn seen(&self, name: &str, seen: Option<u64>) -> Result<Found, KeystoreError> {
        let found = self.find(name)?;
        match seen {
            Some(version) if version != found.row.version => Err(KeystoreError::Changed),
            _ => Ok(found),
        }
    }

    fn gateway(&self) -> Result<&Arc<Gateway>, KeystoreError> {
        self.gateway.get().ok_or(KeystoreError::NotServing("the keystores are not open"))
    }

    /// Whoever calls this holds `changing`.
    async fn commit(&self, by: &Deciding, found: &Found, entry: KeystoreEntry, action: Action, what: &str) -> Result<(), KeystoreError> {
        let events = vec![event(by, action, Outcome::Done, on_record(&entry, what.to_owned()))];
        let changes = vec![expect(found), Change::UpdateEntry(Entry::Keystore(entry))];
        // Old settings may hold an old secret: its sealed copies leave the files.
        self.store.commit(Commit { changes, events, erases: true }).await.map(drop).map_err(stale_is_changed)
    }
}

/// The name of a keystore's part in readiness.
pub(crate) fn component(name: &str) -> String {
    format!("keystore {name}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn chain(error: &dyn std::error::Error) -> String {
    chain_of(error)
}

fn managed(entry: &mut KeystoreEntry) -> Result<&mut ManagedKeystore, KeystoreError> {
    let name = entry.name.clone();
    entry.managed.as_deref_mut().ok_or(KeystoreError::OfTheFile(name))
}

fn expect(found: &Found) -> Change {
    Change::Expect { kind: EntryKind::Keystore, id: found.row.id.into(), version: found.row.version }
}

fn stale_is_changed(error: CommitError) -> KeystoreError {
    match error {
        CommitError::Stale { .. } => KeystoreError::Changed,
        CommitError::KeystoreInUse { .. } => KeystoreError::Conflict(error.to_string()),
        other => other.into(),
    }
}

fn on_record(entry: &KeystoreEntry, what: String) -> Details {
    Details::Keystore { id: entry.id.into(), name: entry.name.clone(), what }
}

fn event(by: &Deciding, action: Action, outcome: Outcome, details: Details) -> Event {
    Event { outcome, ..by.event(now_ms(), OrganisationId::DEFAULT, action, details) }
}
