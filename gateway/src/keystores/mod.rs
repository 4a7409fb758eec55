//! Keystores as administrators manage them: added, tested, activated, drained and retired while the gateway serves; moves of keys
//! between them; how they do.
//!
//! Knows no protocol: the admin API and the command line call the same functions. Keystores of the settings file are shown, and
//! changed there. What a keystore does is the business of `keygate_backends`; which one serves a request, of
//! [`crate::operation::Keystores`], which this module changes; rows are the store's. Keystores are the whole gateway's, not an
//! organisation's.
//!
//! Every transition is one commit with its audit event, for the row that its author has seen, and in force when it is answered.
//! No lock that a request waits for is held while a device works.

mod error;
mod observed;
mod rehome;
mod selftest;
mod state;
mod status;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use keygate_backends::{Health, Keystore};

pub use error::KeystoreError;
pub use observed::{Noted, Notes};
pub use rehome::Moving;
pub use state::{Refusal, Retired};
pub use status::{KeystoreMetrics, Status, secret_days};

use crate::{
    admin::chain as chain_of,
    audit::{Action, Details, Event, Outcome},
    config::{KeystoreConfig, check_one},
    operation::{Gateway, InUse, now_ms},
    provisioning::Deciding,
    seal::SecretText,
    store::{
        Change, Commit, CommitError, Entry, EntryKind, KeystoreEntry, KeystoreId, KeystoreState, KeystoreTest, ManagedKeystore,
        OrganisationId, RehomingState, StepOutcome, Store, Versioned,
    },
    telemetry::{ComponentState, Readiness},
};

/// Longest PIN or password.
const SECRET_BYTES_MAX: usize = 4096;
/// Longest settings of a keystore, as TOML.
const SETTINGS_BYTES_MAX: usize = 64 << 10;
/// Keystores there may be.
const KEYSTORES_MAX: usize = 256;

/// Why a keystore cannot be opened.
pub type OpenFailure = Box<dyn std::error::Error + Send + Sync>;
/// Opens a keystore; it may block for a second.
pub type Open = Arc<dyn Fn(&KeystoreConfig, Option<&SecretText>) -> Result<Arc<dyn Keystore>, OpenFailure> + Send + Sync>;

/// What a [`KeystoreService`] is made of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// Names of the keystores that the settings file has.
    pub of_the_file: Vec<String>,
    /// The one of them that is the default.
    pub file_default: String,
    /// Opens a keystore.
    pub open: Open,
    /// Which parts work.
    pub readiness: Arc<Readiness>,
    /// Held while the seal changes: two changes at once would lose one.
    pub seal_changes: Arc<tokio::sync::Mutex<()>>,
}

/// The keystores of one gateway.
pub struct KeystoreService {
    store: Store,
    of_the_file: Vec<String>,
    file_default: String,
    open: Open,
    readiness: Arc<Readiness>,
    gateway: OnceLock<Arc<Gateway>>,
    /// Held while a transition is committed and put in force, so that both happen in one order.
    changing: tokio::sync::Mutex<()>,
    /// Keystores that are being tested: a PIN is not offered twice at once.
    testing: Mutex<HashSet<KeystoreId>>,
    notes: Mutex<HashMap<KeystoreId, Arc<Notes>>>,
    /// How often a keystore came back.
    returns: Mutex<HashMap<KeystoreId, u64>>,
    movers: rehome::Movers,
    /// Set where the process serves: it moves keys.
    serving: OnceLock<()>,
    /// Held while the seal changes.
    seal_changes: Arc<tokio::sync::Mutex<()>>,
}

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

/// What changes of a keystore. What is `None` stays.
#[derive(Default)]
pub struct KeystorePatch {
    /// Settings that replace those of the same name; `None` takes one away.
    pub settings: Vec<(String, Option<toml::Value>)>,
    /// Another PIN or password.
    pub secret: Option<SecretText>,
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
        let Parts { store, of_the_file, file_default, open, readiness, seal_changes } = parts;
        Self {
            store,
            of_the_file,
            file_default,
            open,
            readiness,
            gateway: OnceLock::new(),
            changing: tokio::sync::Mutex::default(),
            testing: Mutex::default(),
            notes: Mutex::default(),
            returns: Mutex::default(),
            movers: rehome::Movers::default(),
            serving: OnceLock::new(),
            seal_changes,
        }
    }

    /// Opens the keystores in use and lets the gateway serve from them. The first call counts. Blocks up to a second for each
    /// keystore whose device is away; one that cannot be opened is tried again by [`Self::open_missing`].
    pub fn attach(&self, gateway: &Arc<Gateway>) {
        // A second call would mean two sets of keystores over one store; the first stays.
        let _ = self.gateway.set(Arc::clone(gateway));
        for entry in self.missing() {
            let opened = self.open_row(&entry).map_err(|cause| tracing::warn!(keystore = entry.name, cause, "a keystore cannot be opened"));
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
                // It may have been drained or removed meanwhile.
                if let Some(found) = self.rows().into_iter().find(|row| row.id == entry.id) {
                    self.put(&found, keystore);
                    self.put_default();
                }
            }
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

    /// Adds a keystore, as a draft.
    ///
    /// # Errors
    /// A name that is taken, settings that are none.
    pub async fn add(&self, by: &Deciding, new: NewKeystore) -> Result<Found, KeystoreError> {
        let NewKeystore { name, kind, settings, secret } = new;
        check_secret(secret.as_ref())?;
        checked(&name, &kind, settings.clone(), secret.is_some())?;
        if self.rows().iter().any(|row| row.name == name) {
            return Err(KeystoreError::NameTaken(name));
        }
        if self.rows().len() >= KEYSTORES_MAX {
            return Err(KeystoreError::Conflict(format!("there are {KEYSTORES_MAX} keystores, which is all there may be")));
        }
        let now = now_ms();
        let managed = ManagedKeystore {
            state: KeystoreState::new(now),
            settings: text_of(&settings)?,
            secret_since_ms: now,
            secret,
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
        let details = Details::Entry { id: entry.id.into(), name: name.clone() };
        let events = vec![event(by, Action::KeystoreAdded, Outcome::Done, details)];
        let changes = vec![Change::AddEntry(Entry::Keystore(entry))];
        match self.store.commit(Commit { changes, events, erases: false }).await {
            Err(CommitError::EntryTaken { .. }) => Err(KeystoreError::NameTaken(name)),
            done => done.map_err(KeystoreError::from).and_then(|_| self.find(&name)),
        }
    }

    /// Changes settings or secret. A draft or tested keystore becomes a draft; one in use is opened anew with them at once.
    ///
    /// # Errors
    /// Settings that are none; a keystore of the settings file.
    pub async fn change(self: &Arc<Self>, by: &Deciding, name: &str, patch: KeystorePatch, seen: Option<u64>) -> Result<Found, KeystoreError> {
        let found = self.seen(name, seen)?;
        let mut entry = KeystoreEntry::clone(&found.row);
        let managed = managed(&mut entry)?;
        check_secret(patch.secret.as_ref())?;
        let mut settings = table_of(&managed.settings);
        let what = match (patch.settings.is_empty(), patch.secret.is_some()) {
            (true, true) => "secret",
            (false, false) => "settings",
            (false, true) => "settings and secret",
            (true, false) => return Err(KeystoreError::Invalid("nothing is given that could change".into())),
        };
        for (key, value) in patch.settings {
            match value {
                Some(value) => drop(settings.insert(key, value)),
                None => drop(settings.remove(&key)),
            }
        }
        let now = now_ms();
        if let Some(secret) = patch.secret {
            (managed.secret, managed.secret_since_ms) = (Some(secret), now);
        }
        managed.settings = text_of(&settings)?;
        managed.test = None;
        managed.state = managed.state.changed(now);
        let (in_use, sealed) = (managed.state.is_in_use(), managed.secret.is_some());
        checked(name, &entry.kind, settings, sealed)?;
        self.replace(by, &found, entry, Action::KeystoreChanged, what).await?;
        if in_use {
            self.open_anew(found.row.id).await;
        }
        self.find(name)
    }

    /// Tests a keystore as it is and records what was found. `again`: also with a secret that it has refused before.
    ///
    /// # Errors
    /// Why there is no result; a failed step is one.
    pub async fn test(&self, by: &Deciding, name: &str, again: bool) -> Result<(Found, KeystoreTest), KeystoreError> {
        let gateway = self.gateway()?;
        let found = self.find(name)?;
        let mut entry = KeystoreEntry::clone(&found.row);
        let managed = managed(&mut entry)?;
        if !again && managed.test.as_ref().is_some_and(|test| test.secret_refused) {
            return Err(KeystoreError::RefusedBefore(name.into()));
        }
        let _testing = Testing::begin(&self.testing, found.row.id)
            .ok_or_else(|| KeystoreError::Conflict(format!("keystore \"{name}\" is being tested already")))?;
        let config = checked(name, &found.row.kind, table_of(&managed.settings), managed.secret.is_some())?;
        if let (true, KeystoreConfig::Pkcs11(config)) = (again, &config) {
            keygate_backends::pkcs11::offer_again(&config.module);
        }
        let subject = selftest::Subject { id: found.row.id, config, secret: managed.secret.clone() };
        let test = selftest::run(gateway, &self.open, subject, now_ms()).await;
        managed.state = managed.state.tested(test.passed, now_ms());
        managed.test = Some(test.clone());
        let failed = test.steps.iter().find(|step| step.outcome == StepOutcome::Failed);
        let what = failed.map_or_else(|| "success".to_owned(), |step| format!("failed: {}", step.name));
        self.replace(by, &found, entry, Action::KeystoreTested, &what).await?;
        Ok((self.find(name)?, test))
    }

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
        lock(&self.notes).remove(&id);
        lock(&self.returns).remove(&id);
        Ok(retired)
    }

    fn rows(&self) -> Vec<Versioned<KeystoreEntry>> {
        self.store.directory().keystores.clone()
    }

    fn found(&self, row: Versioned<KeystoreEntry>, default: Option<KeystoreId>) -> Found {
        let of_the_file = self.of_the_file.contains(&row.name);
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

    async fn replace(&self, by: &Deciding, found: &Found, entry: KeystoreEntry, action: Action, what: &str) -> Result<(), KeystoreError> {
        let _held = self.changing.lock().await;
        self.commit(by, found, entry, action, what).await
    }

    async fn commit(&self, by: &Deciding, found: &Found, entry: KeystoreEntry, action: Action, what: &str) -> Result<(), KeystoreError> {
        let details = Details::Keystore { id: entry.id.into(), name: entry.name.clone(), what: what.into() };
        let outcome = if what.starts_with("failed") { Outcome::Refused(0) } else { Outcome::Done };
        let events = vec![event(by, action, outcome, details)];
        let changes = vec![expect(found), Change::UpdateEntry(Entry::Keystore(entry))];
        // Old settings may hold an old secret: its sealed copies leave the files.
        self.store.commit(Commit { changes, events, erases: true }).await.map(drop).map_err(stale_is_changed)
    }

    /// In use, and not open.
    fn missing(&self) -> Vec<KeystoreEntry> {
        let Some(gateway) = self.gateway.get() else { return Vec::new() };
        let in_use = |row: &Versioned<KeystoreEntry>| row.managed.as_ref().is_some_and(|managed| managed.state.is_in_use());
        let rows = self.rows().into_iter().filter(|row| in_use(row) && gateway.keystores.get(row.id).is_err());
        rows.map(|row| KeystoreEntry::clone(&row)).collect()
    }

    /// Blocks up to a second.
    fn open_row(&self, entry: &KeystoreEntry) -> Result<Arc<dyn Keystore>, String> {
        let Some(managed) = &entry.managed else { return Err("it is managed by the settings file".into()) };
        let config = checked(&entry.name, &entry.kind, table_of(&managed.settings), managed.secret.is_some());
        let opened = config.map_err(|error| error.to_string()).and_then(|config| {
            (self.open)(&config, managed.secret.as_ref()).map_err(|error| chain(error.as_ref()))
        });
        if let Err(reason) = &opened {
            self.readiness.set(&component(&entry.name), ComponentState::Down { reason: reason.clone() });
        }
        opened
    }

    /// Opens a keystore that new keys are to go to: its device must be there.
    async fn open_checked(&self, entry: &KeystoreEntry) -> Result<Arc<dyn Keystore>, KeystoreError> {
        let failed = |cause: String| KeystoreError::Open { name: entry.name.clone(), cause };
        let managed = entry.managed.as_ref().ok_or_else(|| KeystoreError::OfTheFile(entry.name.clone()))?;
        let config = checked(&entry.name, &entry.kind, table_of(&managed.settings), managed.secret.is_some())?;
        let (open, secret) = (Arc::clone(&self.open), managed.secret.clone());
        let opened = tokio::task::spawn_blocking(move || open(&config, secret.as_ref())).await;
        let keystore = opened.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(error.as_ref())))?;
        match keystore.health() {
            Health::Up => Ok(keystore),
            Health::Down(reason) | Health::NeedsOperator(reason) => Err(failed(reason)),
        }
    }

    /// After a change: the new one takes the place of the old one as soon as it opens; where the device does not let both in, the
    /// old one goes first and [`Self::open_missing`] opens the new one.
    async fn open_anew(self: &Arc<Self>, id: KeystoreId) {
        let Some(entry) = self.rows().into_iter().find(|row| row.id == id) else { return };
        let (service, row) = (Arc::clone(self), KeystoreEntry::clone(&entry));
        match tokio::task::spawn_blocking(move || service.open_row(&row)).await {
            Ok(Ok(keystore)) => self.put(&entry, keystore),
            _ => {
                if let Some(gateway) = self.gateway.get() {
                    gateway.keystores.remove(id);
                }
                self.open_missing().await;
            }
        }
    }

    fn put(&self, entry: &KeystoreEntry, keystore: Arc<dyn Keystore>) {
        let (Some(gateway), Some(managed)) = (self.gateway.get(), &entry.managed) else { return };
        if !managed.state.is_in_use() {
            return;
        }
        let state = match keystore.health() {
            Health::Up => ComponentState::Up,
            Health::Down(reason) | Health::NeedsOperator(reason) => ComponentState::Down { reason },
        };
        self.readiness.set(&component(&entry.name), state);
        let keystore = self.observe(entry.id, keystore);
        let takes_new = managed.state.takes_new();
        gateway.keystores.put(InUse { id: entry.id, name: entry.name.as_str().into(), keystore, takes_new });
    }

    fn put_default(&self) {
        if let (Some(gateway), Some(id)) = (self.gateway.get(), self.default_row()) {
            gateway.keystores.set_default(id);
        }
    }
}

/// A test under way.
struct Testing<'a> {
    all: &'a Mutex<HashSet<KeystoreId>>,
    id: KeystoreId,
}

impl<'a> Testing<'a> {
    /// `None` if there is one already.
    fn begin(all: &'a Mutex<HashSet<KeystoreId>>, id: KeystoreId) -> Option<Self> {
        lock(all).insert(id).then_some(Self { all, id })
    }
}

impl Drop for Testing<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(&self.id);
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

fn checked(name: &str, kind: &str, settings: toml::Table, sealed: bool) -> Result<KeystoreConfig, KeystoreError> {
    // As the backends have it, and narrower: what the settings file takes.
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
        return Err(KeystoreError::Invalid("the name must be 1 to 64 letters, digits, hyphens or underscores".into()));
    }
    let config = check_one(name, kind, settings, sealed).map_err(KeystoreError::Settings)?;
    if sealed && matches!(config, KeystoreConfig::Local { .. }) {
        return Err(KeystoreError::Invalid("a local keystore has no PIN or password".into()));
    }
    Ok(config)
}

fn check_secret(secret: Option<&SecretText>) -> Result<(), KeystoreError> {
    // Only its length is looked at.
    match secret.map(|secret| secret.expose().len()) {
        None | Some(1..=SECRET_BYTES_MAX) => Ok(()),
        Some(length) => Err(KeystoreError::Invalid(format!("the secret has {length} octets, it must have 1 to {SECRET_BYTES_MAX}"))),
    }
}

fn text_of(settings: &toml::Table) -> Result<String, KeystoreError> {
    let text = toml::to_string(settings).map_err(|error| KeystoreError::Invalid(error.to_string()))?;
    if text.len() > SETTINGS_BYTES_MAX {
        return Err(KeystoreError::Invalid(format!("the settings have {} octets, at most {SETTINGS_BYTES_MAX} are kept", text.len())));
    }
    Ok(text)
}

/// Settings as they are kept.
pub(crate) fn table_of(text: &str) -> toml::Table {
    // Written by `text_of`; a row that was altered does not open.
    text.parse().unwrap_or_default()
}

fn event(by: &Deciding, action: Action, outcome: Outcome, details: Details) -> Event {
    Event { outcome, ..by.event(now_ms(), OrganisationId::DEFAULT, action, details) }
}
