//! Making and opening a store: what is checked before the first request is served.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sqlx::SqliteConnection;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::disk::Disk;
use super::issued::{IssuedCertificate, IssuedIndex};
use super::plan::{Entries, EntryKey, open_entry};
use super::quota::{ObjectCounts, ObjectQuotas, UNCOUNTED_STATES};
use super::set_hash::{Element, SetHash};
use super::shared::Shared;
use super::state::{Anchor, Anchored, Run, State};
use super::writer::{Job, Names, Writer, now_ms};
use super::{Commit, CommitError, Entry, EntryId, EntryKind, ObjectId, ReadError, Store, sqlite};
use crate::audit::{Action, Details, Event, HeadsError, append_head};
use crate::seal::{Keyring, KeyringError, RootKey};

/// Jobs that wait for the writer; more callers than this wait in line.
const JOBS_MAX: usize = 4096;

/// Settings of an open store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes of sealed rows kept in memory.
    pub cache_bytes: u64,
    /// Reads may be answered before their audit events are on disk (`audit.reads = defer`).
    pub reads_deferred: bool,
    /// Writes are refused below so many per cent of free disk space.
    pub low_disk_percent: u8,
    /// Size of the audit reserve.
    pub reserve_bytes: u64,
    /// Take the store as it is found: `keygate store accept`. Audited.
    pub accept: bool,
    /// Most objects of a client and of an organisation.
    pub quotas: ObjectQuotas,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            reads_deferred: false,
            low_disk_percent: 2,
            reserve_bytes: 16 << 20,
            accept: false,
            quotas: ObjectQuotas::default(),
        }
    }
}

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error("{} does not exist\nhint: is this a data directory? `keygate init` makes one", .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("{} exists: there is a store in this data directory already", .0.display())]
    Exists(PathBuf),
    /// The database belongs to another seal.
    #[error("the database is of store {found}, the seal of store {expected}")]
    OtherStore {
        /// The seal's.
        expected: Uuid,
        /// The database's.
        found: Uuid,
    },
    /// The keyring does not open.
    #[error("the keyring does not open")]
    Keyring(#[from] KeyringError),
    /// The database is an older copy.
    #[error(
        "the database is older than this data directory: it ends at commit {found}, the anchor knows commit {anchored}\n\
             hint: put the newest copy back, or accept the loss with `keygate store accept`"
    )]
    OlderThanAnchor {
        /// Newest commit in the database.
        found: u64,
        /// Newest commit in the anchor.
        anchored: u64,
    },
    /// The anchor is missing, or was made by another store.
    #[error(
        "D/anchor is missing, damaged or of another store: cannot tell whether the database is the newest\n\
             hint: put it back, or take the database as it is with `keygate store accept`"
    )]
    NoAnchor,
    /// The set of rows is not the one that was written, and the change log does not say which rows differ.
    #[error(
        "the database was altered: its rows are not those the store wrote\n\
             hint: restore a copy, or take the rows as they are with `keygate store accept`"
    )]
    Altered,
    /// The system refused.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The file of audit heads cannot be used.
    #[error("the file of audit heads cannot be used")]
    Heads(#[source] HeadsError),
    /// The audit record cannot be read.
    #[error("the audit record cannot be read")]
    Audit(#[source] ReadError),
    /// The event of the start could not be written.
    #[error("the first commit failed")]
    FirstCommit(#[source] CommitError),
}

/// Rows that are not as the store wrote them, by their text form (`object ...`, `Client ...`).
pub(crate) type Damage = Vec<String>;

pub(crate) async fn create(
    dir: &Path,
    id: Uuid,
    root: Arc<RootKey>,
    options: StoreOptions,
) -> Result<Store, OpenError> {
    remove_unfinished(dir).await?;
    let path = sqlite::path(dir);
    sqlite::make_file(dir).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => OpenError::Exists(path.clone()),
        _ => OpenError::Io { path: path.clone(), source },
    })?;
    let mut connection = sqlite::connect_writer(dir).await?;
    let terms = Keyring::generate(id, &root);
    let keyring = Keyring::open(id, &root, &terms)?;
    let state = State::new(id);
    sqlite::create(&mut connection, &state, state.mac(keyring.state(), SetHash::default()), &terms).await?;
    let (mut anchor, _) = open_anchor(dir, &keyring)?;
    anchor
        .write(&state)
        .and_then(|()| anchor.sync())
        .map_err(|source| OpenError::Io { path: dir.join("anchor"), source })?;
    drop(connection);
    open(dir, id, root, options).await
}

/// Clears a database that never got its first commit: a killed `init` can be run again.
async fn remove_unfinished(dir: &Path) -> Result<(), OpenError> {
    let path = sqlite::path(dir);
    if !path.exists() {
        return Ok(());
    }
    let mut connection = sqlite::connect_writer(dir).await?;
    if sqlite::state(&mut connection).await?.is_some_and(|(state, _)| state.commit > 0) {
        return Err(OpenError::Exists(path));
    }
    drop(connection);
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        // Absent is fine; a file that cannot be removed makes the creation after this fail with its name.
        let _ = std::fs::remove_file(name);
    }
    Ok(())
}

pub(crate) async fn open(dir: &Path, id: Uuid, root: Arc<RootKey>, options: StoreOptions) -> Result<Store, OpenError> {
    if !sqlite::path(dir).exists() {
        return Err(OpenError::Missing(sqlite::path(dir)));
    }
    let mut connection = sqlite::connect_writer(dir).await?;
    let (state, mac) = sqlite::state(&mut connection).await?.ok_or_else(|| OpenError::Missing(sqlite::path(dir)))?;
    if state.store != id {
        return Err(OpenError::OtherStore { expected: id, found: state.store });
    }
    let keyring = Arc::new(Keyring::open(id, &root, &sqlite::keyring(&mut connection).await?)?);
    let mut found = Found::read(&mut connection, &keyring).await?;
    let (anchor, known) = open_anchor(dir, &keyring)?;
    let mut accepted = None;
    if options.accept {
        accepted = Some(found.accept(&mut connection, &keyring, &state, &mac).await?);
    } else {
        check_anchor(&state, known)?;
        found.judge(&mut connection, &keyring, &state, &mac).await?;
    }
    note_unnoted_head(dir, &keyring, &state)?;
    let state = next_state(state, known, &options);
    let counts = count_objects(&mut connection, options.quotas).await?;
    let shared = Arc::new(Shared::new(keyring, found.versions, found.issued, counts, options.cache_bytes));
    shared.publish_entries(state.commit, &found.entries, true);
    let writer = Writer {
        dir: dir.to_owned(),
        connection,
        shared: shared.clone(),
        state: State { run: Run::Closed, ..state },
        total: found.total,
        entries: found.entries,
        names: Names::default(),
        anchor,
        disk: Disk::new(dir, options.low_disk_percent, options.reserve_bytes),
        erase_by: None,
        no_turns_until: Instant::now(),
        head_noted: Instant::now(),
        head_noted_seq: 0,
    };
    start(dir, root, shared, writer, state, known, accepted, found.damage, &options).await
}

/// Counts the objects of every owner. Without a quota there is nothing to count for.
async fn count_objects(connection: &mut SqliteConnection, quotas: ObjectQuotas) -> Result<Option<ObjectCounts>, OpenError> {
    if quotas.per_client.is_none() && quotas.per_organisation.is_none() {
        return Ok(None);
    }
    Ok(Some(ObjectCounts::new(quotas, sqlite::objects_of_owners(connection, UNCOUNTED_STATES).await?)))
}

#[expect(clippy::too_many_arguments, reason = "the last step of one long function")]
async fn start(
    dir: &Path,
    root: Arc<RootKey>,
    shared: Arc<Shared>,
    mut writer: Writer,
    state: State,
    known: Option<Anchored>,
    accepted: Option<Damage>,
    damage: Damage,
    options: &StoreOptions,
) -> Result<Store, OpenError> {
    let mut events = vec![Event::system(now_ms(), Action::Started, Details::None)];
    if let Some(rows) = accepted {
        let details = Details::Accepted { commit: state.commit, anchor: known.map_or(0, |known| known.commit), rows };
        events.push(Event::system(now_ms(), Action::StoreAccepted, details));
    }
    if state.run == Run::Deferring {
        let since = Details::Since { at_ms: state.at_ms };
        events.push(Event::system(now_ms(), Action::ReadsMayBeLost, since));
    }
    for row in &damage {
        tracing::error!(row, "a row is not the one the store wrote: it is refused");
        events.push(Event::system(now_ms(), Action::ObjectDamaged, Details::Reason(row.clone())));
    }
    writer.state.run = if options.reads_deferred { Run::Deferring } else { Run::Waiting };
    let (jobs, receiver) = mpsc::channel(JOBS_MAX);
    tokio::spawn(writer.run(receiver));
    let store = Store::assemble(dir, root, shared, jobs, damage);
    tokio::spawn(load_names(store.readers.clone(), store.jobs.downgrade()));
    store.commit(Commit { events, ..Commit::default() }).await.map_err(OpenError::FirstCommit)?;
    Ok(store)
}

/// Reads the names while the store serves already; until then every new name costs a look into the database.
async fn load_names(readers: sqlx::SqlitePool, jobs: mpsc::WeakSender<Job>) {
    match (sqlite::name_prefixes(&readers).await, jobs.upgrade()) {
        // Fails when the store was closed meanwhile.
        (Ok(names), Some(jobs)) => _ = jobs.send(Job::Names(names)).await,
        (Err(error), Some(_)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "names could not be read ahead")
        }
        (_, None) => {}
    }
}

fn open_anchor(dir: &Path, keyring: &Keyring) -> Result<(Anchor, Option<Anchored>), OpenError> {
    Anchor::open(dir, keyring.anchor()).map_err(|source| OpenError::Io { path: dir.join("anchor"), source })
}

/// After a crash the newest links are in the database alone; noted now, a later edit of them shows.
fn note_unnoted_head(dir: &Path, keyring: &Keyring, state: &State) -> Result<(), OpenError> {
    if state.run == Run::Closed || state.head.seq == 0 {
        return Ok(());
    }
    append_head(dir, keyring.audit(), state.store, &state.head, now_ms()).map_err(OpenError::Heads)
}

fn check_anchor(state: &State, known: Option<Anchored>) -> Result<(), OpenError> {
    let known = known.filter(|known| known.store == state.store).ok_or(OpenError::NoAnchor)?;
    if (state.epoch, state.commit) < (known.epoch, known.commit) {
        return Err(OpenError::OlderThanAnchor { found: state.commit, anchored: known.commit });
    }
    Ok(())
}

/// After an accepted loss, numbers go on above those that were lost: no sequence number means two things.
fn next_state(state: State, known: Option<Anchored>, options: &StoreOptions) -> State {
    if !options.accept {
        return state;
    }
    const UNKNOWN: u64 = 1 << 32;
    let commit = known.map_or(state.commit + UNKNOWN, |known| known.commit.max(state.commit));
    let epoch = known.map_or(state.epoch, |known| known.epoch.max(state.epoch)) + 1;
    State { commit, epoch, ..state }
}

/// What is in the database.
struct Found {
    versions: HashMap<ObjectId, u64>,
    entries: Entries,
    issued: IssuedIndex,
    /// Entries whose row does not open.
    unreadable: HashMap<EntryKey, u64>,
    total: SetHash,
    /// An id that is there twice, or the like: the set cannot be right.
    odd: bool,
    damage: Damage,
}

impl Found {
    async fn read(connection: &mut SqliteConnection, keyring: &Arc<Keyring>) -> Result<Self, OpenError> {
        let mut versions = HashMap::new();
        let mut odd = false;
        let mut hashing = JoinSet::new();
        sqlite::object_versions(connection, |chunk| {
            versions.reserve(chunk.len());
            chunk.iter().for_each(|(id, version)| odd |= versions.insert(*id, *version).is_some());
            // Hashed on other threads while the database reads on.
            let keyring = keyring.clone();
            hashing.spawn_blocking(move || {
                let mut total = SetHash::default();
                chunk.iter().for_each(|(id, version)| total.add(keyring.set(), &object_element(*id, *version)));
                total
            });
        })
        .await?;
        let mut total = SetHash::default();
        hashing.join_all().await.into_iter().for_each(|part| total.merge(part));
        let mut entries = Entries::default();
        let mut unreadable = HashMap::new();
        for row in sqlite::entries(connection).await? {
            let key = (row.kind, row.id);
            total.add(keyring.set(), &entry_element(key, row.version));
            match open_entry(keyring, &row).filter(|entry| (entry.kind(), entry.id()) == key) {
                Some(entry) => {
                    entries.unique.extend(entry.unique_keys().map(|unique| (unique, row.id)));
                    entries.rows.insert(key, (row.version, entry));
                }
                None => drop(unreadable.insert(key, row.version)),
            }
        }
        let issued = read_issued(connection, keyring, &mut total, &mut unreadable).await?;
        Ok(Self { versions, entries, issued, unreadable, total, odd, damage: Vec::new() })
    }

    /// Compares the rows with the state row's MAC. Rows that differ are named and refused; the others are served.
    async fn judge(
        &mut self,
        connection: &mut SqliteConnection,
        keyring: &Keyring,
        state: &State,
        mac: &[u8],
    ) -> Result<(), OpenError> {
        self.set_unreadable_aside();
        if !self.odd && holds(keyring, state, self.total, mac) {
            return Ok(());
        }
        let expected = replay(connection).await?;
        let mut total = SetHash::default();
        expected.iter().for_each(|(key, version)| total.add(keyring.set(), &element(*key, *version)));
        if !holds(keyring, state, total, mac) {
            return Err(OpenError::Altered);
        }
        self.total = total;
        self.set_damage_aside(&expected);
        Ok(())
    }

    /// Takes the rows as they are; says which differ from what was written.
    async fn accept(
        &mut self,
        connection: &mut SqliteConnection,
        keyring: &Keyring,
        state: &State,
        mac: &[u8],
    ) -> Result<Damage, OpenError> {
        self.set_unreadable_aside();
        if self.odd {
            return Err(OpenError::Altered);
        }
        if holds(keyring, state, self.total, mac) {
            return Ok(std::mem::take(&mut self.damage));
        }
        let expected = replay(connection).await?;
        let actual = self.actual();
        let mut log = Vec::new();
        let mut rows = Vec::new();
        let keys = expected.keys().chain(actual.keys().filter(|key| !expected.contains_key(*key)));
        for key in keys.filter(|key| expected.get(*key) != actual.get(*key)) {
            rows.push(name(*key));
            log.push(key.0);
            log.extend_from_slice(&key.1);
            log.extend_from_slice(&actual.get(key).unwrap_or(&0).to_be_bytes());
        }
        sqlite::append_change_log(connection, log).await?;
        Ok(rows)
    }

    fn actual(&self) -> HashMap<RowKey, u64> {
        let objects = self.versions.iter().map(|(id, version)| ((0, *id.as_bytes()), *version));
        let entries = self.entries.rows.iter().map(|(key, (version, _))| (key, *version));
        let entries = entries.chain(self.entries.damaged.iter().map(|(key, version)| (key, *version)));
        let issued = self.issued.iter().map(|facts| ((EntryKind::Issued as u8, *facts.id.as_bytes()), facts.version));
        let objects = objects.chain(issued);
        objects.chain(entries.map(|((kind, id), version)| ((*kind as u8, *id.as_bytes()), version))).collect()
    }

    fn set_unreadable_aside(&mut self) {
        for (key, version) in self.unreadable.drain() {
            self.damage.push(name((key.0 as u8, *key.1.as_bytes())));
            self.entries.damaged.insert(key, version);
        }
    }

    fn set_damage_aside(&mut self, expected: &HashMap<RowKey, u64>) {
        let actual = self.actual();
        for (key, version) in &actual {
            if expected.get(key) != Some(version) {
                self.damage.push(name(*key));
                self.forget(*key);
            }
        }
        for (key, version) in expected {
            if !actual.contains_key(key) {
                self.damage.push(name(*key));
            }
            match EntryKind::from_code(key.0) {
                // A read of this object finds another version, or no row, and refuses.
                None => drop(self.versions.insert(ObjectId(Uuid::from_bytes(key.1)), *version)),
                Some(kind) => {
                    let key = (kind, EntryId(Uuid::from_bytes(key.1)));
                    if !self.entries.rows.contains_key(&key) {
                        self.entries.damaged.insert(key, *version);
                    }
                }
            }
        }
        self.damage.sort_unstable();
        self.damage.dedup();
    }

    fn forget(&mut self, key: RowKey) {
        match EntryKind::from_code(key.0) {
            None => drop(self.versions.remove(&ObjectId(Uuid::from_bytes(key.1)))),
            Some(kind) => {
                let key = (kind, EntryId(Uuid::from_bytes(key.1)));
                self.entries.damaged.remove(&key);
                if let Some((_, entry)) = self.entries.rows.remove(&key) {
                    for unique in entry.unique_keys() {
                        self.entries.unique.remove(&unique);
                    }
                }
                let issued = self.issued.iter().find(|facts| (EntryKind::Issued, facts.id) == key);
                if let Some(serial) = issued.map(|facts| facts.serial) {
                    self.issued.remove(&serial);
                }
            }
        }
    }
}

/// Rows of one look into the database, opened while the next ones are read.
const ISSUED_CHUNK: u32 = 2048;
/// Such looks that wait to be taken into the index.
const ISSUED_AHEAD: usize = 4;

/// Fills the index of issued certificates; they are opened on other threads.
async fn read_issued(
    connection: &mut SqliteConnection,
    keyring: &Arc<Keyring>,
    total: &mut SetHash,
    unreadable: &mut HashMap<EntryKey, u64>,
) -> Result<IssuedIndex, OpenError> {
    type Opened = Vec<(EntryKey, u64, Option<IssuedCertificate>)>;
    let mut index = IssuedIndex::default();
    let mut take = |(opened, part): (Opened, SetHash)| {
        total.merge(part);
        for (key, version, certificate) in opened {
            match certificate {
                Some(certificate) => index.put(&certificate, version),
                None => drop(unreadable.insert(key, version)),
            }
        }
    };
    let mut opening = JoinSet::new();
    let mut after = EntryId(Uuid::nil());
    loop {
        let rows = sqlite::issued_entries(connection, after, ISSUED_CHUNK).await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        let keyring = keyring.clone();
        opening.spawn_blocking(move || {
            let mut part = SetHash::default();
            let open = |row: sqlite::EntryRow| {
                let key = (row.kind, row.id);
                part.add(keyring.set(), &entry_element(key, row.version));
                let certificate = match open_entry(&keyring, &row) {
                    Some(Entry::Issued(certificate)) if certificate.id == row.id => Some(certificate),
                    _ => None,
                };
                (key, row.version, certificate)
            };
            let opened: Opened = rows.into_iter().map(open).collect();
            (opened, part)
        });
        if opening.len() >= ISSUED_AHEAD
            && let Some(Ok(opened)) = opening.join_next().await
        {
            take(opened);
        }
    }
    opening.join_all().await.into_iter().for_each(take);
    Ok(index)
}

/// Kind code (0: object) and id.
pub(super) type RowKey = (u8, [u8; 16]);

/// The newest version of every row, as the change log has it.
async fn replay(connection: &mut SqliteConnection) -> Result<HashMap<RowKey, u64>, OpenError> {
    let mut rows = HashMap::new();
    let mut after = 0;
    loop {
        let chunk = sqlite::change_log(connection, after, 1000).await?;
        let Some((last, _)) = chunk.last() else { return Ok(rows) };
        after = *last;
        for record in chunk.iter().flat_map(|(_, body)| body.as_chunks::<25>().0) {
            let mut id = [0; 16];
            id.copy_from_slice(&record[1..17]);
            let mut version = [0; 8];
            version.copy_from_slice(&record[17..]);
            match u64::from_be_bytes(version) {
                0 => drop(rows.remove(&(record[0], id))),
                version => drop(rows.insert((record[0], id), version)),
            }
        }
    }
}

pub(super) fn holds(keyring: &Keyring, state: &State, total: SetHash, mac: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(&state.mac(keyring.state(), total), mac).is_ok()
}

pub(super) fn object_element(id: ObjectId, version: u64) -> Element {
    Element { kind: 0, id: *id.as_bytes(), version }
}

pub(super) fn entry_element((kind, id): EntryKey, version: u64) -> Element {
    Element { kind: kind as u8, id: *id.as_bytes(), version }
}

fn element((kind, id): RowKey, version: u64) -> Element {
    Element { kind, id, version }
}

pub(super) fn name((kind, id): RowKey) -> String {
    let id = Uuid::from_bytes(id);
    EntryKind::from_code(kind).map_or_else(|| format!("object {id}"), |kind| format!("{kind:?} {id}"))
}
