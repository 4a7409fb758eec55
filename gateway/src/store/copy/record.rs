//! What a copy consists of, and its octets.
//!
//! Numbers are big-endian, identifiers 16 octets, fields in the order of the structures; variable parts carry their length in
//! front, the last one goes to the end.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::CopyError;
use crate::audit::{ChainHead, Segment};
use crate::seal::SealedRecord;
use crate::store::object_row::{Custody, ObjectColumns, tokens_from_blob};
use crate::store::sqlite::EntryRow;
use crate::store::state::{Run, State};
use crate::store::{ClientId, EntryId, EntryKind, KeystoreId, ObjectId, ObjectRow, OrganisationId, Version};

/// Where the store stood: the state row of the snapshot, with the MAC over it and over the set of all rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyHeader {
    /// The store.
    pub store: Uuid,
    /// Its epoch.
    pub epoch: u64,
    /// Its newest commit.
    pub commit: u64,
    /// Newest audit segment.
    pub audit_seq: u64,
    /// Audit events so far.
    pub audit_events: u64,
    /// MAC of the newest audit segment, hexadecimal.
    pub audit_mac: String,
    /// How the store was left.
    run: u8,
    /// When its state was written, milliseconds since 1970.
    pub at_ms: i64,
    /// MAC of the state row and the set of rows, hexadecimal.
    mac: String,
    /// How many objects, entries and audit segments the snapshot has.
    pub totals: [u64; 3],
}

/// What must have come when a copy ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyTrailer {
    /// Objects, entries and audit segments in the copy.
    pub counts: [u64; 3],
    /// Audit segments whose link was broken in the store already.
    pub broken_links: u64,
    /// Rows that did not open in the store already: they are left out.
    pub lost: u64,
}

/// What the rollback anchor of a lost data directory, or an operator, knows of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its epoch.
    pub epoch: u64,
    /// Its newest commit.
    pub commit: u64,
}

impl CopyHeader {
    pub(super) fn new(state: &State, mac: &[u8], totals: [u64; 3]) -> Self {
        Self {
            store: state.store,
            epoch: state.epoch,
            commit: state.commit,
            audit_seq: state.head.seq,
            audit_events: state.head.events,
            audit_mac: hex::encode(state.head.mac),
            run: state.run as u8,
            at_ms: state.at_ms,
            mac: hex::encode(mac),
            totals,
        }
    }

    /// The state row and its MAC.
    pub(super) fn state(&self) -> Result<(State, Vec<u8>), CopyError> {
        let bad = |what: &str| CopyError::Damaged(format!("its header has no valid {what}"));
        let mac =
            hex::decode(&self.audit_mac).ok().and_then(|mac| mac.try_into().ok()).ok_or_else(|| bad("audit head"))?;
        let head = ChainHead { seq: self.audit_seq, events: self.audit_events, mac };
        let run = Run::from_code(i64::from(self.run)).ok_or_else(|| bad("state"))?;
        let state = State { store: self.store, epoch: self.epoch, commit: self.commit, head, run, at_ms: self.at_ms };
        Ok((state, hex::decode(&self.mac).map_err(|_| bad("MAC"))?))
    }
}

/// One row on its way, sealed under the copy's own key.
pub struct CopyRecord(pub(super) Row);

pub(super) enum Row {
    Object(ObjectRow),
    Entry(EntryRow),
    Segment(Segment),
    /// A row that does not open: its kind code (0: object), id and version.
    Lost(u8, [u8; 16], u64),
}

impl CopyRecord {
    /// Its kind, for [`CopyRecord::decode`].
    pub fn kind(&self) -> u8 {
        match self.0 {
            Row::Object(_) => 1,
            Row::Entry(_) => 2,
            Row::Segment(_) => 3,
            Row::Lost(..) => 4,
        }
    }

    /// Its octets.
    pub fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Row::Object(row) => encode_object(row),
            Row::Entry(row) => {
                let parts =
                    [&[row.kind as u8][..], row.id.as_bytes(), row.organisation.as_bytes(), &row.version.to_be_bytes()];
                [&parts.concat()[..], row.sealed.as_bytes()].concat()
            }
            Row::Segment(segment) => {
                let numbers = [segment.seq, segment.first_event, u64::from(segment.count), segment.at_ms as u64];
                let numbers = numbers.map(u64::to_be_bytes).concat();
                [&numbers[..], &segment.mac, &segment.body].concat()
            }
            Row::Lost(kind, id, version) => [&[*kind][..], id, &version.to_be_bytes()].concat(),
        }
    }

    /// Reads what [`CopyRecord::encode`] wrote. Whether it opens is found out later.
    ///
    /// # Errors
    /// Octets that are none.
    pub fn decode(kind: u8, bytes: &[u8]) -> Result<Self, CopyError> {
        let mut reader = Reader(bytes);
        let row = match kind {
            1 => decode_object(&mut reader).map(Row::Object),
            2 => decode_entry(&mut reader).map(Row::Entry),
            3 => decode_segment(&mut reader).map(Row::Segment),
            4 => (|| Some(Row::Lost(reader.array::<1>()?[0], reader.array()?, reader.number()?)))(),
            _ => None,
        };
        row.map(Self).ok_or_else(|| CopyError::Damaged(format!("a record of kind {kind} cannot be read")))
    }
}

fn encode_object(row: &ObjectRow) -> Vec<u8> {
    let tokens = row.tokens_to_blob();
    let mut bytes = Vec::with_capacity(128 + row.attributes.len() + tokens.len() + row.sealed().as_bytes().len());
    for id in [row.id.as_bytes(), row.organisation.as_bytes(), row.owner.as_bytes(), row.keystore.as_bytes()] {
        bytes.extend_from_slice(id);
    }
    let numbers =
        [row.version.0, u64::from(row.state), u64::from(row.object_type), row.custody as u64, row.created_ms as u64];
    numbers.into_iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    for part in [&row.attributes, &tokens] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(row.sealed().as_bytes());
    bytes
}

fn decode_object(reader: &mut Reader<'_>) -> Option<ObjectRow> {
    let (id, organisation, owner, keystore) = (reader.id()?, reader.id()?, reader.id()?, reader.id()?);
    let version = Version(reader.number()?);
    let state = u32::try_from(reader.number()?).ok()?;
    let object_type = u32::try_from(reader.number()?).ok()?;
    let custody = u8::try_from(reader.number()?).ok().and_then(Custody::from_code)?;
    let created_ms = reader.number()? as i64;
    let attributes = reader.part()?.to_vec();
    let (index, names) = tokens_from_blob(reader.part()?)?;
    let columns = ObjectColumns {
        id: ObjectId(id),
        organisation: OrganisationId(organisation),
        owner: ClientId(owner),
        version,
        state,
        object_type,
        keystore: KeystoreId(keystore),
        custody,
        created_ms,
        attributes,
        index,
        names,
    };
    Some(ObjectRow::from_stored(columns, SealedRecord::from_stored(reader.0.to_vec())))
}

fn decode_entry(reader: &mut Reader<'_>) -> Option<EntryRow> {
    Some(EntryRow {
        kind: EntryKind::from_code(reader.array::<1>()?[0])?,
        id: EntryId(reader.id()?),
        organisation: OrganisationId(reader.id()?),
        version: reader.number()?,
        sealed: SealedRecord::from_stored(reader.0.to_vec()),
    })
}

fn decode_segment(reader: &mut Reader<'_>) -> Option<Segment> {
    Some(Segment {
        seq: reader.number()?,
        first_event: reader.number()?,
        count: u32::try_from(reader.number()?).ok()?,
        at_ms: reader.number()? as i64,
        mac: reader.array()?,
        body: reader.0.to_vec(),
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn id(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }
}
