//! Writing a copy into a new, empty data directory, each record checked and sealed again on the way.

use std::path::{Path, PathBuf};

use sqlx::SqliteConnection;

use super::CopyError;
use super::record::{CopyHeader, CopyRecord, CopyTrailer, Known, Row};
use crate::audit::{ChainHead, append_head, link};
use crate::seal::{Keyring, RootKey, SealedTerm};
use crate::store::open::{entry_element, holds, object_element};
use crate::store::plan::{open_entry, seal_entry};
use crate::store::set_hash::{Element, SetHash};
use crate::store::state::{Anchor, Run, State, read_anchor_file};
use crate::store::{Entry, EntryKind, ObjectRow, Rehoming, RehomingState, sqlite};

/// Rows of one transaction.
const ROWS_PER_COMMIT: u64 = 2000;
/// Records of one row of the change log.
const LOG_BYTES: usize = 25 * 4096;
/// How far numbers go forward where nobody knows what was lost.
const UNKNOWN: u64 = 1 << 32;

/// A store that is being written. Nothing of it is used before [`Restoring::finish`].
pub struct Restoring {
    dir: PathBuf,
    connection: SqliteConnection,
    copy: Keyring,
    own: Keyring,
    terms: Vec<SealedTerm>,
    state: State,
    mac: Vec<u8>,
    /// Of the rows that came, and of those and the lost ones.
    total: SetHash,
    total_with_lost: SetHash,
    chain: ChainHead,
    seen: CopyTrailer,
    /// Device actions that were under way.
    unfinished: u64,
    log: Vec<u8>,
    log_rows: u64,
    rows: u64,
}

impl Restoring {
    /// Begins a store in `dir`, where there is none, from a copy whose keyring `copy_root` opens; its records will be under `root`.
    ///
    /// # Errors
    /// A keyring that does not open, a header that is none, the file system, the database.
    pub async fn begin(
        dir: &Path,
        header: &CopyHeader,
        copy_root: &RootKey,
        copy_terms: &[SealedTerm],
        root: &RootKey,
    ) -> Result<Self, CopyError> {
        let (state, mac) = header.state()?;
        let copy = Keyring::open(state.store, copy_root, copy_terms)?;
        let terms = Keyring::branch(state.store, copy_root, copy_terms, root)?;
        let own = Keyring::open(state.store, root, &terms)?;
        sqlite::make_file(dir).map_err(|source| CopyError::Io { path: sqlite::path(dir), source })?;
        let mut connection = sqlite::connect_writer(dir).await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        Ok(Self {
            dir: dir.to_owned(),
            connection,
            copy,
            own,
            terms,
            state,
            mac,
            total: SetHash::default(),
            total_with_lost: SetHash::default(),
            chain: ChainHead::default(),
            seen: CopyTrailer::default(),
            unfinished: 0,
            log: Vec::with_capacity(LOG_BYTES),
            log_rows: 0,
            rows: 0,
        })
    }

    /// What the anchor file of the lost data directory knows. `None`: it is not an anchor of this store.
    pub fn anchored(&self, file: &Path) -> Option<Known> {
        let known = read_anchor_file(file, self.own.anchor()).filter(|known| known.store == self.state.store)?;
        Some(Known { epoch: known.epoch, commit: known.commit })
    }

    /// Device actions that were under way when the copy was made, and are forgotten: their keys may remain in the devices.
    pub fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// Takes one record.
    ///
    /// # Errors
    /// One that does not open, that is there twice, or the database.
    pub async fn put(&mut self, record: CopyRecord) -> Result<(), CopyError> {
        match record.0 {
            Row::Object(row) => {
                let opened = row.open(&self.copy);
                let material = opened.map_err(|_| CopyError::Record(format!("object {}", row.id)))?;
                let row = ObjectRow::seal(&self.own, row.columns().clone(), material.expose());
                self.seen.counts[0] += 1;
                self.count(object_element(row.id, row.version.0));
                sqlite::put_object(&mut self.connection, &row).await?;
            }
            Row::Entry(row) => {
                let key = (row.kind, row.id);
                let entry = open_entry(&self.copy, &row).filter(|entry| (entry.kind(), entry.id()) == key);
                let entry = entry.ok_or_else(|| CopyError::Record(format!("{:?} {}", row.kind, row.id)))?;
                self.seen.counts[1] += 1;
                let Some(entry) = for_another_life(entry) else {
                    self.unfinished += 1;
                    self.total_with_lost.add(self.own.set(), &entry_element(key, row.version));
                    return self.flush(false).await;
                };
                self.count(entry_element(key, row.version));
                sqlite::put_entry(&mut self.connection, &seal_entry(&self.own, &entry, row.version)).await?;
            }
            Row::Segment(segment) => {
                let follows = segment.seq == self.chain.seq + 1
                    && link(self.own.audit(), self.state.store, &self.chain.mac, &segment) == segment.mac;
                self.seen.broken_links += u64::from(!follows);
                self.seen.counts[2] += 1;
                self.chain = segment.head();
                sqlite::put_segment(&mut self.connection, &segment).await?;
            }
            Row::Lost(kind, id, version) => {
                if kind != 0 && EntryKind::from_code(kind).is_none() {
                    return Err(CopyError::Damaged(format!("a row of kind {kind}")));
                }
                self.seen.lost += 1;
                self.total_with_lost.add(self.own.set(), &Element { kind, id, version });
            }
        }
        self.flush(false).await
    }

    fn count(&mut self, element: Element) {
        self.total.add(self.own.set(), &element);
        self.total_with_lost.add(self.own.set(), &element);
        self.log.push(element.kind);
        self.log.extend_from_slice(&element.id);
        self.log.extend_from_slice(&element.version.to_be_bytes());
    }

    async fn flush(&mut self, all: bool) -> Result<(), CopyError> {
        if self.log.len() >= LOG_BYTES || all && !self.log.is_empty() {
            self.log_rows += 1;
            sqlite::put_change_log(&mut self.connection, self.log_rows, &self.log).await?;
            self.log.clear();
        }
        self.rows += 1;
        if all || self.rows.is_multiple_of(ROWS_PER_COMMIT) {
            sqlx::query("COMMIT").execute(&mut self.connection).await?;
            sqlite::truncate_wal(&mut self.connection).await?;
        }
        if !all && self.rows.is_multiple_of(ROWS_PER_COMMIT) {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Checks that all has come and is what the store wrote, and ends the new store in a new epoch: its numbers go on above all
    /// that `known` says the store has used. Without it, far above. Answers the new epoch.
    ///
    /// # Errors
    /// Records that are missing or too many, an audit chain that is not the one the store had, the file system, the database.
    pub async fn finish(mut self, trailer: &CopyTrailer, known: Option<Known>) -> Result<u64, CopyError> {
        // As in the snapshot: the newest link is the state row's.
        self.seen.broken_links += u64::from(self.chain != self.state.head);
        if self.seen != *trailer {
            return Err(CopyError::Damaged("records are missing, or the audit record was altered".into()));
        }
        if !holds(&self.own, &self.state, self.total_with_lost, &self.mac) {
            return Err(CopyError::Damaged("its records are not those the store wrote".into()));
        }
        self.flush(true).await?;
        let epoch = known.map_or(self.state.epoch, |known| known.epoch.max(self.state.epoch)) + 1;
        let commit =
            known.map_or(self.state.commit.saturating_add(UNKNOWN), |known| known.commit.max(self.state.commit));
        let commit = commit.max(self.log_rows);
        let state = State { epoch, commit, run: Run::Closed, head: self.chain, ..self.state };
        let mac = state.mac(self.own.state(), self.total);
        sqlite::create(&mut self.connection, &state, mac, &self.terms).await?;
        drop(self.connection);
        let io = |path: &str| {
            let path = self.dir.join(path);
            move |source| CopyError::Io { path, source }
        };
        let (mut anchor, _) = Anchor::open(&self.dir, self.own.anchor()).map_err(io("anchor"))?;
        anchor.write(&state).and_then(|()| anchor.sync()).map_err(io("anchor"))?;
        let noted = append_head(&self.dir, self.own.audit(), state.store, &state.head, state.at_ms);
        noted.map_err(|error| CopyError::Io {
            path: self.dir.join("audit/heads"),
            source: std::io::Error::other(error),
        })?;
        Ok(epoch)
    }
}

/// What an entry is in a store that goes on from a copy, beside the store that was copied or after it. Both may name the same devices, and
/// the other one may have done since what was under way: so nothing here goes on by itself that destroys keys in devices. A device
/// action is forgotten (`None`); a move of keys waits until it is asked for again.
fn for_another_life(entry: Entry) -> Option<Entry> {
    match entry {
        Entry::Intent(_) => None,
        Entry::Rehoming(row) if row.state == RehomingState::Running => {
            Some(Entry::Rehoming(Rehoming { state: RehomingState::Stopped, ..row }))
        }
        other => Some(other),
    }
}
