//! Reading a running store as of one moment, page by page.

use std::sync::Arc;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::CopyError;
use super::record::{CopyHeader, CopyRecord, CopyTrailer, Row};
use crate::audit::{ChainHead, link};
use crate::seal::{Keyring, RootKey, SealedTerm, SecretBytes};
use crate::store::open::{entry_element, holds, object_element};
use crate::store::plan::{open_entry, seal_entry};
use crate::store::set_hash::SetHash;
use crate::store::sqlite::EntryRow;
use crate::store::state::State;
use crate::store::{EntryId, ObjectId, ObjectRow, Store, sqlite};

/// Rows of one look into the database.
const PAGE: u32 = 256;

/// A store as of one commit. While it lives, the database keeps what has changed since: it is to be read without a pause.
///
/// What has been destroyed meanwhile leaves the write-ahead log when the snapshot is dropped.
pub struct Snapshot {
    connection: SqliteConnection,
    live: Arc<Keyring>,
    copy: Keyring,
    root: RootKey,
    terms: Vec<SealedTerm>,
    header: CopyHeader,
    state: State,
    mac: Vec<u8>,
    at: At,
    total: SetHash,
    chain: ChainHead,
    trailer: CopyTrailer,
}

enum At {
    Entries,
    Issued(EntryId),
    Objects(ObjectId),
    Segments(u64),
    End,
}

impl Store {
    /// Begins to read the store as it is now.
    ///
    /// # Errors
    /// The database or the keyring.
    pub async fn snapshot(&self) -> Result<Snapshot, CopyError> {
        let mut connection = sqlite::connect_reader(&self.dir).await?;
        // The first read pins the snapshot; it ends with the connection.
        sqlx::query("BEGIN").execute(&mut connection).await?;
        let (state, mac) = sqlite::state(&mut connection).await?.ok_or(CopyError::Altered)?;
        let totals = sqlite::totals(&mut connection).await?;
        let root = RootKey::generate().map_err(|source| CopyError::Io { path: self.dir.join("memory"), source })?;
        let terms = Keyring::branch(state.store, &self.root, &sqlite::keyring(&mut connection).await?, &root)?;
        Ok(Snapshot {
            connection,
            live: self.keyring().clone(),
            copy: Keyring::open(state.store, &root, &terms)?,
            root,
            terms,
            header: CopyHeader::new(&state, &mac, totals),
            state,
            mac,
            at: At::Entries,
            total: SetHash::default(),
            chain: ChainHead::default(),
            trailer: CopyTrailer::default(),
        })
    }
}

impl Snapshot {
    /// Where the store stood.
    pub fn header(&self) -> &CopyHeader {
        &self.header
    }

    /// The key that opens the copy's keyring: for the inside of an encrypted file.
    pub fn expose_root(&self) -> SecretBytes {
        self.root.expose_for_backup()
    }

    /// The copy's keyring, sealed under that key.
    pub fn terms(&self) -> &[SealedTerm] {
        &self.terms
    }

    /// The next rows; none when all were read. Memory: one page of rows, save that directory entries come at once.
    ///
    /// # Errors
    /// The database, or rows that are not those the store wrote.
    pub async fn next(&mut self) -> Result<Vec<CopyRecord>, CopyError> {
        loop {
            let records = match self.at {
                At::Entries => {
                    let rows = sqlite::entries(&mut self.connection).await?;
                    self.at = At::Issued(EntryId(Uuid::nil()));
                    rows.iter().map(|row| self.entry(row)).collect()
                }
                At::Issued(after) => {
                    let rows = sqlite::issued_entries(&mut self.connection, after, PAGE).await?;
                    self.at = rows.last().map_or(At::Objects(ObjectId(Uuid::nil())), |last| At::Issued(last.id));
                    rows.iter().map(|row| self.entry(row)).collect()
                }
                At::Objects(after) => {
                    let rows = sqlite::objects(&mut self.connection, after, PAGE).await?;
                    self.at = rows.last().map_or(At::Segments(0), |last| At::Objects(last.id));
                    rows.iter().map(|row| self.object(row)).collect()
                }
                At::Segments(after) => self.segments(after).await?,
                At::End => return Ok(Vec::new()),
            };
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// What was read, once nothing more comes.
    pub fn trailer(&self) -> &CopyTrailer {
        &self.trailer
    }

    fn entry(&mut self, row: &EntryRow) -> CopyRecord {
        let key = (row.kind, row.id);
        self.total.add(self.live.set(), &entry_element(key, row.version));
        match open_entry(&self.live, row).filter(|entry| (entry.kind(), entry.id()) == key) {
            Some(entry) => {
                self.trailer.counts[1] += 1;
                CopyRecord(Row::Entry(seal_entry(&self.copy, &entry, row.version)))
            }
            None => self.lost(row.kind as u8, *row.id.as_bytes(), row.version),
        }
    }

    fn object(&mut self, row: &ObjectRow) -> CopyRecord {
        self.total.add(self.live.set(), &object_element(row.id, row.version.0));
        match row.open(&self.live) {
            Ok(material) => {
                self.trailer.counts[0] += 1;
                // The material is only passed on to be sealed again.
                CopyRecord(Row::Object(ObjectRow::seal(&self.copy, row.columns().clone(), material.expose())))
            }
            Err(_) => self.lost(0, *row.id.as_bytes(), row.version.0),
        }
    }

    fn lost(&mut self, kind: u8, id: [u8; 16], version: u64) -> CopyRecord {
        self.trailer.lost += 1;
        CopyRecord(Row::Lost(kind, id, version))
    }

    async fn segments(&mut self, after: u64) -> Result<Vec<CopyRecord>, CopyError> {
        let segments = sqlite::audit_segments(&mut self.connection, after, PAGE).await?;
        match segments.last() {
            Some(last) => self.at = At::Segments(last.seq),
            None => self.end()?,
        }
        let mut records = Vec::with_capacity(segments.len());
        for segment in segments {
            let follows = segment.seq == self.chain.seq + 1
                && link(self.live.audit(), self.state.store, &self.chain.mac, &segment) == segment.mac;
            self.trailer.broken_links += u64::from(!follows);
            self.trailer.counts[2] += 1;
            self.chain = segment.head();
            records.push(CopyRecord(Row::Segment(segment)));
        }
        Ok(records)
    }

    fn end(&mut self) -> Result<(), CopyError> {
        self.at = At::End;
        // The newest link is the state row's: one more break if it is not.
        self.trailer.broken_links += u64::from(self.chain != self.state.head);
        if holds(&self.live, &self.state, self.total, &self.mac) { Ok(()) } else { Err(CopyError::Altered) }
    }
}
