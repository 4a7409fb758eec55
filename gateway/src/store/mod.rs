//! The store: managed objects, the directory of who may do what, and the audit record, in one database.
//!
//! Callers read rows and hand over [`Commit`]s; each is all or nothing and carries its audit events. Every row is sealed, bound
//! to its place and version, and the set of newest versions is authenticated, so a database that was edited behind our back is
//! refused row by row, and an older copy as a whole.
//!
//! The store leaves to others: what attributes mean, who may do what, lifecycle rules, the data directory's lock.

mod audit_read;
mod change;
mod copy;
mod disk;
mod entry;
mod ids;
mod invariants;
mod issued;
mod lives;
mod keystore_counts;
mod keystore_rows;
mod locate;
mod object_row;
mod open;
mod pki_rows;
mod plan;
mod quota;
mod reads;
mod rest_users;
mod rewrap;
mod set_hash;
mod shared;
mod sqlite;
mod state;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub use audit_read::AuditSegment;
pub use change::{Change, Commit, CommitError, CommitReceipt, ReadError};
pub use copy::{CopyError, CopyHeader, CopyRecord, CopyTrailer, Known, Restoring, Snapshot};
pub use entry::{
    CertificateOrigin, Client, ClientCertificate, ClientGroup, ClientUser, Directory, Entry, EntryKind, Grant,
    GrantScope, Grantee, GroupMember, Intent, IntentAction, Setting, Versioned,
};
pub use ids::{ClientId, EntryId, KeystoreId, ObjectId, OrganisationId, Version};
pub use issued::{IssuedCertificate, IssuedFacts, IssuedIndex, Revocation, Serial, SerialError};
pub use keystore_rows::{
    KeystoreEntry, KeystoreState, KeystoreTest, Left, ManagedKeystore, Rehoming, RehomingState, StepOutcome, TestStep,
};
pub use locate::{LocateOrder, LocatePage, LocateQuery, ToMove};
pub use object_row::{Custody, ObjectColumns, ObjectRow};
pub use open::{OpenError, StoreOptions};
pub use pki_rows::{
    Admin, AdminCertificate, Authority, AuthorityCertificate, AuthorityKey, Blob, EarlierUrl, LastCrl, LastResponder, Organisation,
    ProvisioningKey, ProvisioningService, Role, StoredGeneration, StoredKeyState, StoredTier,
};
pub use quota::{CertificateQuotas, ObjectQuotas, Quota};
pub use rest_users::{RestPermission, RestPermissionError, RestUser};
pub use rewrap::Rewrapped;

use crate::audit::{Event, Verifier, VerifyReport, append_line, read_heads};
use crate::seal::{Keyring, RootKey, SealedTerm, Term};
use plan::Work;
use quota::ObjectDeltas;
use shared::Shared;
pub use shared::Underway;
use writer::{Job, Unit};

/// The store, a cheap handle.
///
/// # Contract
///
/// **Durability.** When [`Store::commit`] returns `Ok`, the changes and their events are on disk and survive a power cut. When it
/// returns an error, nothing was done; `Broken` alone may mean that the disk failed while syncing, and then a restart decides.
/// Reads see what was committed before they began.
///
/// **Concurrency.** One process has a store open (the data directory's lock sees to it); in it, any number of tasks use the
/// handle. A change names the version it replaces; who is late gets [`CommitError::Conflict`], reads again and redoes its work.
/// Units of work share transactions, but one that fails its checks does not touch its neighbours.
///
/// **Retries.** Nothing is retried here. `Conflict` is the caller's to redo, a bounded number of times. `DiskFull` and
/// `ReadOnlyLowDisk` go away when space returns. Dropping a `commit` future does not take the unit of work back.
///
/// **Absence** is `None`, never an error. A row that should be there and is not, or is not the newest, is [`ReadError::Refused`].
#[derive(Clone)]
pub struct Store {
    dir: Arc<PathBuf>,
    root: Arc<RootKey>,
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    readers: SqlitePool,
    damage: Arc<Vec<String>>,
}

impl Store {
    /// Whether `dir` has a store.
    pub fn exists(dir: &Path) -> bool {
        sqlite::path(dir).exists()
    }

    /// Makes an empty store in `dir` and opens it. `id` is the seal's store id.
    pub async fn create(dir: &Path, id: Uuid, root: Arc<RootKey>, options: StoreOptions) -> Result<Self, OpenError> {
        open::create(dir, id, root, options).await
    }

    /// Opens the store in `dir`, checks it against its anchor and its own record, and writes the event `Started`.
    pub async fn open(dir: &Path, id: Uuid, root: Arc<RootKey>, options: StoreOptions) -> Result<Self, OpenError> {
        open::open(dir, id, root, options).await
    }

    fn assemble(
        dir: &Path,
        root: Arc<RootKey>,
        shared: Arc<Shared>,
        jobs: mpsc::Sender<Job>,
        damage: Vec<String>,
    ) -> Self {
        let readers = sqlite::connect_readers(dir);
        Self { dir: Arc::new(dir.to_owned()), root, shared, jobs, readers, damage: Arc::new(damage) }
    }

    /// Seals and opens records, makes index tokens.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.shared.keyring
    }

    /// Rows found altered when the store was opened; they are refused, everything else is served.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// Does the unit of work, durably.
    pub async fn commit(&self, commit: Commit) -> Result<CommitReceipt, CommitError> {
        let mut lines = Vec::with_capacity(256 * commit.events.len());
        commit.events.iter().for_each(|event| append_line(&mut lines, event));
        let count = commit.events.len() as u32;
        let (work, erases) = (Work::new(commit.changes), commit.erases);
        self.ask(|reply| Job::Commit(Unit { work, lines, count, erases, reply })).await
    }

    /// Tells the writer of a request that is being executed.
    #[must_use]
    pub fn underway(&self) -> Underway {
        Underway::new(self.shared.clone())
    }

    /// Records reads. With `durable`, returns when the events are on disk; without, at once (bounded: a long queue waits), and a
    /// crash may lose the last second, which the next start records. An error means: do not release what was read.
    pub async fn append_reads(&self, events: &[Event], durable: bool) -> Result<(), CommitError> {
        if self.jobs.is_closed() {
            return Err(CommitError::Closed);
        }
        self.shared.reads.append(events, durable).await
    }

    /// The newest row of an object. Open it before trusting its clear columns.
    pub async fn object(&self, id: ObjectId) -> Result<Option<Arc<ObjectRow>>, ReadError> {
        let Some(version) = self.shared.version(id) else { return Ok(None) };
        if let Some(row) = self.shared.cached(id, version) {
            return Ok(Some(row));
        }
        match sqlite::object(&self.readers, id).await {
            Ok(Some(row)) if row.version.0 == version => Ok(Some(self.remember(row))),
            Ok(_) | Err(sqlx::Error::ColumnDecode { .. }) => self.object_for_certain(id).await,
            Err(error) => Err(ReadError::Broken(error.to_string())),
        }
    }

    /// Reads again while no commit is being published: what differs now was not written by us.
    async fn object_for_certain(&self, id: ObjectId) -> Result<Option<Arc<ObjectRow>>, ReadError> {
        let _quiet = self.shared.publishing.read().await;
        let Some(version) = self.shared.version(id) else { return Ok(None) };
        match sqlite::object(&self.readers, id).await {
            Ok(Some(row)) if row.version.0 == version => Ok(Some(self.remember(row))),
            Ok(_) | Err(sqlx::Error::ColumnDecode { .. }) => {
                tracing::error!(object.id = %id, "an object's row is not the one the store wrote: it is refused");
                Err(ReadError::Refused { object: id })
            }
            Err(error) => Err(ReadError::Broken(error.to_string())),
        }
    }

    fn remember(&self, row: ObjectRow) -> Arc<ObjectRow> {
        let row = Arc::new(row);
        self.shared.remember(&row);
        row
    }

    /// One page of matching objects, newest first.
    pub async fn locate(&self, query: &LocateQuery) -> Result<LocatePage, ReadError> {
        self.locate_in(LocateOrder::NewestFirst, query).await
    }

    /// One page of matching objects, in either order.
    pub async fn locate_in(&self, order: LocateOrder, query: &LocateQuery) -> Result<LocatePage, ReadError> {
        let (rows, unreadable) =
            sqlite::locate(&self.readers, order, query).await.map_err(|error| ReadError::Broken(error.to_string()))?;
        let read = rows.len() + unreadable.len();
        let ids = rows.iter().map(|row| row.id).chain(unreadable.iter().copied());
        let last = match order {
            LocateOrder::NewestFirst => ids.min(),
            LocateOrder::OldestFirst => ids.max(),
        };
        let next = last.filter(|_| read >= query.limit as usize);
        let mut page = LocatePage { next, refused: unreadable, ..LocatePage::default() };
        for row in rows {
            if self.shared.version(row.id) == Some(row.version.0) {
                page.rows.push(Arc::new(row));
                continue;
            }
            // Changed since the page was read, or not ours: the object's own look-up tells.
            match self.object(row.id).await {
                Ok(Some(row)) => page.rows.push(row),
                Ok(None) => {}
                Err(ReadError::Refused { object }) => page.refused.push(object),
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// How many objects match; `after` and `limit` do not count.
    pub async fn count(&self, query: &LocateQuery) -> Result<u64, ReadError> {
        sqlite::count(&self.readers, query).await.map_err(|error| ReadError::Broken(error.to_string()))
    }

    /// How many objects there are.
    pub fn object_count(&self) -> usize {
        self.shared.object_count()
    }

    /// Whether a quota of objects is set.
    pub fn has_object_quotas(&self) -> bool {
        self.shared.counts.is_some()
    }

    /// Whether a client may have `more` objects now. Commits decide; this tells early which request is at fault.
    ///
    /// # Errors
    /// [`CommitError::Quota`].
    pub fn check_object_room(&self, organisation: OrganisationId, owner: ClientId, more: i64) -> Result<(), CommitError> {
        let Some(counts) = &self.shared.counts else { return Ok(()) };
        let mut deltas = ObjectDeltas::default();
        deltas.add(organisation, owner, more);
        let checked = counts.check(&ObjectDeltas::default(), &deltas);
        checked.inspect_err(|error| self.shared.quota_refusals.count(error))
    }

    /// Whether a client may have one more certificate at `now`, seconds since 1970. Commits decide; this saves a signature.
    ///
    /// # Errors
    /// [`CommitError::Quota`].
    pub fn check_certificate_room(
        &self,
        quotas: &CertificateQuotas,
        organisation: OrganisationId,
        client: ClientId,
        now: i64,
    ) -> Result<(), CommitError> {
        let checked = self.with_issued(|index| quotas.check(index, (organisation, client), now, (0, 0)));
        checked.inspect_err(|error| self.shared.quota_refusals.count(error))
    }

    /// How often a quota refused something since the store was opened.
    pub fn quota_refusals(&self, quota: Quota) -> u64 {
        self.shared.quota_refusals.of(quota)
    }

    /// Forgets cached rows (they are sealed, but a memory inspection should find none).
    pub fn flush_cache(&self) {
        self.shared.flush_cache();
    }

    /// Clients, certificates, users, groups, grants, keystores and settings as of the newest commit that changed any.
    pub fn directory(&self) -> Arc<Directory> {
        self.shared.directory()
    }

    /// Looks at the index of issued certificates. Keep it short: commits that issue or revoke wait meanwhile.
    pub fn with_issued<T>(&self, look: impl FnOnce(&IssuedIndex) -> T) -> T {
        look(&self.shared.issued.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// An issued certificate with its version.
    pub async fn issued(&self, serial: &Serial) -> Result<Option<Versioned<IssuedCertificate>>, ReadError> {
        let Some(id) = self.with_issued(|index| index.by_serial(serial).map(|facts| facts.id)) else { return Ok(None) };
        Ok(self.issued_rows(&[(id, *serial)]).await?.pop())
    }

    /// Issued certificates by their ids and serial numbers, in that order; those gone meanwhile are left out.
    pub async fn issued_rows(&self, wanted: &[(EntryId, Serial)]) -> Result<Vec<Versioned<IssuedCertificate>>, ReadError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.open_issued(wanted).await?;
        if found.len() == wanted.len() {
            return Ok(found);
        }
        // A commit may have come between: what is missing now, with no commit being published, was not written by us.
        let _quiet = self.shared.publishing.read().await;
        let wanted: Vec<_> = self.with_issued(|index| {
            wanted.iter().filter(|(_, serial)| index.by_serial(serial).is_some()).copied().collect()
        });
        let found = self.open_issued(&wanted).await?;
        if found.len() < wanted.len() {
            tracing::error!("the row of an issued certificate is not the one the store wrote: it is refused");
            return Err(ReadError::Broken("the row of an issued certificate was altered".into()));
        }
        Ok(found)
    }

    async fn open_issued(&self, wanted: &[(EntryId, Serial)]) -> Result<Vec<Versioned<IssuedCertificate>>, ReadError> {
        let ids: Vec<EntryId> = wanted.iter().map(|(id, _)| *id).collect();
        let rows = sqlite::issued_rows(&self.readers, &ids).await.map_err(|error| ReadError::Broken(error.to_string()))?;
        let mut found: HashMap<EntryId, Versioned<IssuedCertificate>> = rows
            .iter()
            .filter_map(|row| match plan::open_entry(&self.shared.keyring, row)? {
                Entry::Issued(certificate) => {
                    Some((row.id, Versioned { version: row.version, entry: Arc::new(certificate) }))
                }
                _ => None,
            })
            .collect();
        self.with_issued(|index| {
            let newest = |serial: &Serial| index.by_serial(serial).map(|facts| facts.version);
            found.retain(|_, row| newest(&row.serial) == Some(row.version));
        });
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// Tells of each change of the directory, by its commit sequence number.
    pub fn directory_changes(&self) -> watch::Receiver<u64> {
        self.shared.directory_changed.subscribe()
    }

    /// Device actions that were begun and not finished.
    pub fn intents(&self) -> Arc<Vec<Intent>> {
        self.shared.intents()
    }

    /// How many objects each keystore has, destroyed ones not counted. Counted when first asked for, beside the traffic; kept from
    /// then on.
    pub async fn keystore_objects(&self) -> Result<HashMap<KeystoreId, u64>, ReadError> {
        self.shared.keystore_counts.all(&self.readers).await.map_err(|error| ReadError::Broken(error.to_string()))
    }

    /// The same, as far as it is known without a look into the database.
    pub fn known_keystore_objects(&self) -> Option<HashMap<KeystoreId, u64>> {
        self.shared.keystore_counts.known()
    }

    /// A page of the objects that are to be moved, oldest first, from after `after` on; and ids of rows that were altered. A page that
    /// is empty on both sides is the end. Open each row before trusting its clear columns; its commit fails if it is not the newest.
    pub async fn objects_to_move(&self, of: ToMove, after: ObjectId, limit: u32) -> Result<(Vec<Arc<ObjectRow>>, Vec<ObjectId>), ReadError> {
        let found = sqlite::rows_to_move(&self.readers, of, after, limit).await;
        let (rows, unreadable) = found.map_err(|error| ReadError::Broken(error.to_string()))?;
        Ok((rows.into_iter().map(Arc::new).collect(), unreadable))
    }

    /// Moves of keys between keystores: those under way, and the reports of the last ones.
    pub fn rehomings(&self) -> Arc<Vec<Rehoming>> {
        self.shared.rehomings()
    }

    /// Adds a keyring term; new records are sealed under it from now on. Old ones stay until [`Store::rewrap`]. One caller at a
    /// time; a crash leaves the term stored or not, and a stored one is in use from the next start on.
    pub async fn add_term(&self) -> Result<Term, CommitError> {
        let stored: SealedTerm = self.shared.keyring.next_term(&self.root);
        let term = stored.term;
        self.ask(|reply| Job::PutTerm(stored.clone(), reply)).await?;
        let adopted = self.shared.keyring.adopt_term(&self.root, &stored);
        adopted.map_err(|error| CommitError::Broken(error.to_string()))?;
        Ok(term)
    }

    /// Seals all rows of older terms again while the store is in use, and drops terms nothing is under any more.
    pub async fn rewrap(&self) -> Result<Rewrapped, CommitError> {
        rewrap::rewrap(self).await
    }

    /// Moves what was destroyed out of the write-ahead log now instead of within a second.
    pub async fn erase_now(&self) -> Result<(), CommitError> {
        self.ask(Job::Erase).await
    }

    /// Writes what is queued, notes the audit head and closes. Other handles get `Closed` afterwards.
    pub async fn close(&self) -> Result<(), CommitError> {
        let closed = self.ask(Job::Close).await;
        self.readers.close().await;
        closed
    }

    /// Checks the whole audit chain, while the store is in use.
    pub async fn verify_audit(&self) -> Result<VerifyReport, ReadError> {
        verify_audit(&self.dir, &self.readers, &self.shared.keyring).await
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Job) -> Result<T, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| CommitError::Closed)?;
        answer.await.unwrap_or(Err(CommitError::Closed))
    }
}

/// Checks the audit chain of a store that no process has open, and changes nothing.
pub async fn verify_closed(dir: &Path, id: Uuid, root: &RootKey) -> Result<VerifyReport, OpenError> {
    if !sqlite::path(dir).exists() {
        return Err(OpenError::Missing(sqlite::path(dir)));
    }
    let readers = sqlite::connect_readers(dir);
    let terms = sqlite::keyring(&mut *readers.acquire().await?).await?;
    let keyring = Keyring::open(id, root, &terms)?;
    let report = verify_audit(dir, &readers, &keyring).await.map_err(OpenError::Audit);
    readers.close().await;
    report
}

async fn verify_audit(dir: &Path, readers: &SqlitePool, keyring: &Keyring) -> Result<VerifyReport, ReadError> {
    let failed = |error: sqlx::Error| ReadError::Broken(error.to_string());
    let store = keyring.store_id();
    let heads = read_heads(dir, keyring.audit(), store).map_err(|error| ReadError::Broken(error.to_string()))?;
    // Noted heads first: what is written while we walk is newer than all of them.
    let anchor = state::read_anchor(dir, keyring.anchor()).map(|known| ("the anchor", known.head));
    let mut connection = readers.acquire().await.map_err(failed)?;
    let state = sqlite::state(&mut connection).await.map_err(failed)?;
    let state = state.map(|(state, _)| ("the store's state", state.head));
    let noted = anchor.into_iter().chain(state).filter(|(_, head)| head.seq > 0).collect();
    let mut verifier = Verifier::new(keyring.audit(), store, heads, noted);
    let mut after = 0;
    loop {
        let segments = sqlite::audit_segments(&mut connection, after, 256).await.map_err(failed)?;
        let Some(last) = segments.last() else { return Ok(verifier.finish()) };
        after = last.seq;
        segments.iter().for_each(|segment| verifier.segment(segment));
    }
}
