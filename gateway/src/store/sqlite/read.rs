//! Reading rows.

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use crate::audit::{ChainHead, Segment};
use crate::seal::{SealedRecord, SealedTerm, Term};
use crate::store::object_row::{Custody, ObjectColumns, tokens_from_blob};
use crate::store::state::{Run, State};
use crate::store::{ClientId, EntryId, EntryKind, KeystoreId, ObjectId, ObjectRow, OrganisationId, Version};

/// Columns [`object_from_row`] reads, in its order.
pub(super) const OBJECT_COLUMNS: &str = "o.id, o.organisation, o.owner, o.version, o.state, o.object_type, o.keystore, o.custody, \
     o.created_ms, o.attributes, o.tokens, o.sealed";

/// How many (id, version) pairs one statement of the start-up scan returns.
const SCAN_CHUNK: u32 = 8192;

/// An entry as stored.
pub(crate) struct EntryRow {
    pub(crate) kind: EntryKind,
    pub(crate) id: EntryId,
    pub(crate) organisation: OrganisationId,
    pub(crate) version: u64,
    pub(crate) sealed: SealedRecord,
}

/// The state row and its MAC; `None` in a database that no store was made in.
pub(crate) async fn state(connection: &mut SqliteConnection) -> Result<Option<(State, Vec<u8>)>, sqlx::Error> {
    const SQL: &str =
        "SELECT store, epoch, commit_seq, audit_seq, audit_events, audit_mac, run, at_ms, mac FROM store_state";
    let Some(row) = sqlx::query(SQL).fetch_optional(connection).await? else { return Ok(None) };
    let number = |column| row.try_get::<i64, _>(column).map(|n| n as u64);
    let head = ChainHead { seq: number(3)?, events: number(4)?, mac: array(&row, 5)? };
    let run = Run::from_code(row.try_get(6)?).ok_or_else(|| malformed(6))?;
    let store = Uuid::from_bytes(array(&row, 0)?);
    let state = State { store, epoch: number(1)?, commit: number(2)?, head, run, at_ms: row.try_get(7)? };
    Ok(Some((state, row.try_get(8)?)))
}

pub(crate) async fn keyring(connection: &mut SqliteConnection) -> Result<Vec<SealedTerm>, sqlx::Error> {
    let rows = sqlx::query("SELECT term, sealed FROM keyring ORDER BY term").fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let term = Term(row.try_get::<i64, _>(0)? as u32);
            Ok(SealedTerm { term, sealed: SealedRecord::from_stored(row.try_get(1)?) })
        })
        .collect()
}

/// Hands every object's id and version to `chunk`, in id order, some thousands at a time: a few statements whatever the number of
/// rows.
pub(crate) async fn object_versions(
    connection: &mut SqliteConnection,
    mut chunk: impl FnMut(Vec<(ObjectId, u64)>),
) -> Result<(), sqlx::Error> {
    // One text per chunk instead of one row per object. `id || version` walks the covering index object_version alone.
    const SQL: &str = "SELECT group_concat(hex(id) || version), count(*) FROM \
         (SELECT id, version FROM object WHERE id > ? ORDER BY id, version LIMIT ?)";
    let mut after = Vec::new();
    loop {
        let row = sqlx::query(SQL).bind(after).bind(SCAN_CHUNK).fetch_one(&mut *connection).await?;
        let Some(text) = row.try_get::<Option<&str>, _>(0)? else { return Ok(()) };
        let pairs: Option<Vec<_>> = text.split(',').map(parse_pair).collect();
        let pairs = pairs.ok_or_else(|| malformed(0))?;
        let last = pairs.last().map(|(id, _)| id.as_bytes().to_vec());
        let full = row.try_get::<i64, _>(1)? == i64::from(SCAN_CHUNK);
        chunk(pairs);
        match last {
            Some(last) if full => after = last,
            _ => return Ok(()),
        }
    }
}

/// How many objects every owner has, those in the given states not counted.
pub(crate) async fn objects_of_owners(
    connection: &mut SqliteConnection,
    without: [u32; 2],
) -> Result<Vec<(OrganisationId, ClientId, u64)>, sqlx::Error> {
    const SQL: &str =
        "SELECT organisation, owner, count(*) FROM object WHERE state NOT IN (?, ?) GROUP BY organisation, owner";
    let rows = sqlx::query(SQL).bind(without[0]).bind(without[1]).fetch_all(connection).await?;
    let read = |row: &SqliteRow| {
        let count = u64::try_from(row.try_get::<i64, _>(2)?).map_err(|_| malformed(2))?;
        Ok((OrganisationId(Uuid::from_bytes(array(row, 0)?)), ClientId(Uuid::from_bytes(array(row, 1)?)), count))
    };
    rows.iter().map(read).collect()
}

/// The newest commit in one look at the database, and how many objects each keystore has in it, destroyed ones not counted.
pub(crate) async fn objects_of_keystores(pool: &SqlitePool) -> Result<(u64, HashMap<KeystoreId, u64>), sqlx::Error> {
    let mut look = pool.begin().await?;
    let commit: i64 = sqlx::query_scalar("SELECT commit_seq FROM store_state").fetch_one(&mut *look).await?;
    const SQL: &str = "SELECT keystore, count(*) FROM object WHERE state NOT IN (?, ?) GROUP BY keystore";
    let [destroyed, compromised] = crate::store::quota::UNCOUNTED_STATES;
    let rows = sqlx::query(SQL).bind(destroyed).bind(compromised).fetch_all(&mut *look).await?;
    look.rollback().await?;
    let read = |row: &SqliteRow| {
        let count = u64::try_from(row.try_get::<i64, _>(1)?).map_err(|_| malformed(1))?;
        Ok((KeystoreId(Uuid::from_bytes(array(row, 0)?)), count))
    };
    Ok((commit as u64, rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?))
}

/// The first 8 bytes of every name token.
pub(crate) async fn name_prefixes(pool: &SqlitePool) -> Result<HashSet<u64>, sqlx::Error> {
    const SQL: &str = "SELECT group_concat(hex(substr(token, 1, 8))), max(token), count(*) FROM \
         (SELECT token FROM object_name WHERE token > ? ORDER BY token LIMIT ?)";
    let mut prefixes = HashSet::new();
    let mut after = Vec::new();
    loop {
        let row = sqlx::query(SQL).bind(after).bind(SCAN_CHUNK).fetch_one(pool).await?;
        let Some(text) = row.try_get::<Option<&str>, _>(0)? else { return Ok(prefixes) };
        for prefix in text.split(',') {
            prefixes.insert(u64::from_str_radix(prefix, 16).map_err(|_| malformed(0))?);
        }
        if row.try_get::<i64, _>(2)? < i64::from(SCAN_CHUNK) {
            return Ok(prefixes);
        }
        after = row.try_get(1)?;
    }
}

fn parse_pair(pair: &str) -> Option<(ObjectId, u64)> {
    let (id, version) = pair.split_at_checked(32)?;
    let mut bytes = [0; 16];
    hex::decode_to_slice(id, &mut bytes).ok()?;
    Some((ObjectId(Uuid::from_bytes(bytes)), version.parse().ok()?))
}

/// All entries but issued certificates, which are many.
pub(crate) async fn entries(connection: &mut SqliteConnection) -> Result<Vec<EntryRow>, sqlx::Error> {
    const SQL: &str = "SELECT kind, id, organisation, version, sealed FROM entry WHERE kind <> ?";
    let rows = sqlx::query(SQL).bind(EntryKind::Issued as i64).fetch_all(connection).await?;
    rows.iter().map(entry_from_row).collect()
}

/// Issued certificates after `after`, in order, at most `limit`.
pub(crate) async fn issued_entries(
    connection: &mut SqliteConnection,
    after: EntryId,
    limit: u32,
) -> Result<Vec<EntryRow>, sqlx::Error> {
    const SQL: &str =
        "SELECT kind, id, organisation, version, sealed FROM entry WHERE kind = ? AND id > ? ORDER BY id LIMIT ?";
    let query = sqlx::query(SQL).bind(EntryKind::Issued as i64).bind(after.as_bytes().to_vec()).bind(limit);
    query.fetch_all(connection).await?.iter().map(entry_from_row).collect()
}

/// Some issued certificates, in no order; those that are not there are left out.
pub(crate) async fn issued_rows(pool: &SqlitePool, ids: &[EntryId]) -> Result<Vec<EntryRow>, sqlx::Error> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT kind, id, organisation, version, sealed FROM entry WHERE kind = ");
    sql.push_bind(EntryKind::Issued as i64).push(" AND id IN (");
    let mut list = sql.separated(",");
    for id in ids {
        list.push_bind(id.as_bytes().to_vec());
    }
    sql.push(")");
    sql.build().fetch_all(pool).await?.iter().map(entry_from_row).collect()
}

fn entry_from_row(row: &SqliteRow) -> Result<EntryRow, sqlx::Error> {
    let kind = row.try_get::<i64, _>(0)?;
    let kind = u8::try_from(kind).ok().and_then(EntryKind::from_code).ok_or_else(|| malformed(0))?;
    Ok(EntryRow {
        kind,
        id: EntryId(Uuid::from_bytes(array(row, 1)?)),
        organisation: OrganisationId(Uuid::from_bytes(array(row, 2)?)),
        version: row.try_get::<i64, _>(3)? as u64,
        sealed: SealedRecord::from_stored(row.try_get(4)?),
    })
}

/// Change log rows after `seq`, in order, at most `limit`.
pub(crate) async fn change_log(
    connection: &mut SqliteConnection,
    seq: u64,
    limit: u32,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    const SQL: &str = "SELECT seq, body FROM change_log WHERE seq > ? ORDER BY seq LIMIT ?";
    let rows = sqlx::query(SQL).bind(seq as i64).bind(limit).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)? as u64, row.try_get(1)?))).collect()
}

/// Segments after `seq`, in order, at most `limit`.
pub(crate) async fn audit_segments(
    connection: &mut SqliteConnection,
    seq: u64,
    limit: u32,
) -> Result<Vec<Segment>, sqlx::Error> {
    const SQL: &str =
        "SELECT seq, first_event, count, at_ms, body, mac FROM audit_segment WHERE seq > ? ORDER BY seq LIMIT ?";
    let rows = sqlx::query(SQL).bind(seq as i64).bind(limit).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(Segment {
                seq: row.try_get::<i64, _>(0)? as u64,
                first_event: row.try_get::<i64, _>(1)? as u64,
                count: row.try_get::<i64, _>(2)? as u32,
                at_ms: row.try_get(3)?,
                body: row.try_get(4)?,
                mac: array(row, 5).unwrap_or_default(),
            })
        })
        .collect()
}

pub(crate) async fn object(pool: &SqlitePool, id: ObjectId) -> Result<Option<ObjectRow>, sqlx::Error> {
    const SQL: &str = "SELECT o.id, o.organisation, o.owner, o.version, o.state, o.object_type, o.keystore, o.custody, \
         o.created_ms, o.attributes, o.tokens, o.sealed FROM object o WHERE o.id = ?";
    let row = sqlx::query(SQL).bind(&id.as_bytes()[..]).fetch_optional(pool).await?;
    row.as_ref().map(object_from_row).transpose()
}

/// Objects after `after`, in order, at most `limit`.
pub(crate) async fn objects(connection: &mut SqliteConnection, after: ObjectId, limit: u32) -> Result<Vec<ObjectRow>, sqlx::Error> {
    const SQL: &str = "SELECT o.id, o.organisation, o.owner, o.version, o.state, o.object_type, o.keystore, o.custody, \
         o.created_ms, o.attributes, o.tokens, o.sealed FROM object o WHERE o.id > ? ORDER BY o.id LIMIT ?";
    let query = sqlx::query(SQL).bind(after.as_bytes().to_vec()).bind(limit);
    query.fetch_all(connection).await?.iter().map(object_from_row).collect()
}

/// How many objects, entries and audit segments there are.
pub(crate) async fn totals(connection: &mut SqliteConnection) -> Result<[u64; 3], sqlx::Error> {
    const SQL: &str = "SELECT (SELECT count(*) FROM object), (SELECT count(*) FROM entry), (SELECT count(*) FROM audit_segment)";
    let (objects, entries, segments) = sqlx::query_as::<_, (i64, i64, i64)>(SQL).fetch_one(connection).await?;
    Ok([objects, entries, segments].map(i64::unsigned_abs))
}

pub(super) fn object_from_row(row: &SqliteRow) -> Result<ObjectRow, sqlx::Error> {
    let (index, names) = tokens_from_blob(row.try_get(10)?).ok_or_else(|| malformed(10))?;
    let number = |column| row.try_get::<i64, _>(column);
    let custody = u8::try_from(number(7)?).ok().and_then(Custody::from_code).ok_or_else(|| malformed(7))?;
    let columns = ObjectColumns {
        id: ObjectId(Uuid::from_bytes(array(row, 0)?)),
        organisation: OrganisationId(Uuid::from_bytes(array(row, 1)?)),
        owner: ClientId(Uuid::from_bytes(array(row, 2)?)),
        version: Version(number(3)? as u64),
        state: number(4)? as u32,
        object_type: number(5)? as u32,
        keystore: KeystoreId(Uuid::from_bytes(array(row, 6)?)),
        custody,
        created_ms: number(8)?,
        attributes: row.try_get(9)?,
        index,
        names,
    };
    Ok(ObjectRow::from_stored(columns, SealedRecord::from_stored(row.try_get(11)?)))
}

fn array<const N: usize>(row: &SqliteRow, column: usize) -> Result<[u8; N], sqlx::Error> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| malformed(column))
}

/// A value no version of us has written.
fn malformed(column: usize) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_string(), source: "not a value of this column".into() }
}
