//! Writing a group of units of work in one transaction, in as few statements as possible.

use std::sync::{Arc, LazyLock};

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::read::EntryRow;
use crate::audit::Segment;
use crate::seal::{SealedTerm, Term};
use crate::store::state::State;
use crate::store::{EntryId, EntryKind, ObjectId, ObjectRow};

/// All rows one transaction writes.
#[derive(Default)]
pub(crate) struct GroupWrite {
    pub(crate) inserts: Vec<Arc<ObjectRow>>,
    /// With the version each row must still have.
    pub(crate) updates: Vec<(u64, Arc<ObjectRow>)>,
    pub(crate) deletes: Vec<(ObjectId, u64)>,
    pub(crate) index_added: Vec<([u8; 16], ObjectId)>,
    pub(crate) index_removed: Vec<([u8; 16], ObjectId)>,
    pub(crate) names_added: Vec<([u8; 16], ObjectId)>,
    pub(crate) names_removed: Vec<[u8; 16]>,
    pub(crate) entries: Vec<EntryRow>,
    pub(crate) entries_removed: Vec<(EntryKind, EntryId)>,
    pub(crate) segment: Option<Segment>,
    pub(crate) change_log: Vec<u8>,
}

/// One statement for 1, 2, 4 ... 64 rows each: few texts, so all stay prepared.
struct Rows([Arc<str>; 7]);

impl Rows {
    fn new(head: &str, row: &str, tail: &str) -> Self {
        Self(std::array::from_fn(|power| {
            let rows = vec![row; 1 << power].join(",");
            format!("{head}{rows}{tail}").into()
        }))
    }

    /// Runs the statement over all items, the largest chunks first; returns the number of rows touched.
    async fn run<T>(
        &self,
        connection: &mut SqliteConnection,
        mut items: &[T],
        bind: impl Fn(Bound, &T) -> Bound,
    ) -> Result<u64, sqlx::Error> {
        let mut touched = 0;
        while !items.is_empty() {
            let power = items.len().ilog2().min(6) as usize;
            let (chunk, rest) = items.split_at(1 << power);
            let query = sqlx::query(AssertSqlSafe(self.0[power].clone()));
            touched += chunk.iter().fold(query, &bind).execute(&mut *connection).await?.rows_affected();
            items = rest;
        }
        Ok(touched)
    }
}

type Bound = Query<'static, Sqlite, SqliteArguments>;

static INSERT_OBJECT: LazyLock<Rows> = LazyLock::new(|| {
    let head = "INSERT INTO object (id, organisation, owner, version, state, object_type, keystore, custody, created_ms, \
                attributes, tokens, sealed) VALUES ";
    Rows::new(head, "(?,?,?,?,?,?,?,?,?,?,?,?)", "")
});
static UPDATE_OBJECT: LazyLock<Rows> = LazyLock::new(|| {
    let head = "UPDATE object SET organisation = v.column2, owner = v.column3, version = v.column4, state = v.column5, \
                object_type = v.column6, keystore = v.column7, custody = v.column8, created_ms = v.column9, \
                attributes = v.column10, tokens = v.column11, sealed = v.column12 FROM (VALUES ";
    Rows::new(head, "(?,?,?,?,?,?,?,?,?,?,?,?,?)", ") AS v WHERE object.id = v.column1 AND object.version = v.column13")
});
static DELETE_OBJECT: LazyLock<Rows> =
    LazyLock::new(|| Rows::new("DELETE FROM object WHERE (id, version) IN (VALUES ", "(?,?)", ")"));
static INSERT_INDEX: LazyLock<Rows> =
    LazyLock::new(|| Rows::new("INSERT INTO object_index (token, object) VALUES ", "(?,?)", ""));
static DELETE_INDEX: LazyLock<Rows> =
    LazyLock::new(|| Rows::new("DELETE FROM object_index WHERE (token, object) IN (VALUES ", "(?,?)", ")"));
static INSERT_NAME: LazyLock<Rows> =
    LazyLock::new(|| Rows::new("INSERT INTO object_name (token, object) VALUES ", "(?,?)", ""));
static DELETE_NAME: LazyLock<Rows> = LazyLock::new(|| Rows::new("DELETE FROM object_name WHERE token IN (", "?", ")"));
static SELECT_NAME: LazyLock<Rows> =
    LazyLock::new(|| Rows::new("SELECT token, object FROM object_name WHERE token IN (", "?", ")"));
static PUT_ENTRY: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new("INSERT OR REPLACE INTO entry (kind, id, organisation, version, sealed) VALUES ", "(?,?,?,?,?)", "")
});
static DELETE_ENTRY: LazyLock<Rows> =
    LazyLock::new(|| Rows::new("DELETE FROM entry WHERE (kind, id) IN (VALUES ", "(?,?)", ")"));

/// Writes the group up to, not including, its COMMIT. On error the caller rolls back.
pub(crate) async fn write_group(
    connection: &mut SqliteConnection,
    group: GroupWrite,
    state: &State,
    mac: [u8; 32],
) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    INSERT_OBJECT.run(connection, &group.inserts, |query, row| bind_object(query, row)).await?;
    let bind = |query: Bound, (expected, row): &(u64, Arc<ObjectRow>)| bind_object(query, row).bind(*expected as i64);
    let updated = UPDATE_OBJECT.run(connection, &group.updates, bind).await?;
    let bind = |query: Bound, (id, version): &(ObjectId, u64)| query.bind(blob(id.as_bytes())).bind(*version as i64);
    let deleted = DELETE_OBJECT.run(connection, &group.deletes, bind).await?;
    if updated + deleted != (group.updates.len() + group.deletes.len()) as u64 {
        return Err(sqlx::Error::RowNotFound);
    }
    DELETE_INDEX.run(connection, &group.index_removed, bind_token).await?;
    INSERT_INDEX.run(connection, &group.index_added, bind_token).await?;
    DELETE_NAME.run(connection, &group.names_removed, |query, token| query.bind(blob(token))).await?;
    INSERT_NAME.run(connection, &group.names_added, bind_token).await?;
    PUT_ENTRY.run(connection, &group.entries, bind_entry).await?;
    let bind = |query: Bound, (kind, id): &(EntryKind, EntryId)| query.bind(*kind as i64).bind(blob(id.as_bytes()));
    DELETE_ENTRY.run(connection, &group.entries_removed, bind).await?;
    write_log(connection, group.segment, group.change_log, state).await?;
    write_state(connection, state, mac).await
}

async fn write_log(
    connection: &mut SqliteConnection,
    segment: Option<Segment>,
    change_log: Vec<u8>,
    state: &State,
) -> Result<(), sqlx::Error> {
    if let Some(segment) = segment {
        const SQL: &str =
            "INSERT INTO audit_segment (seq, first_event, count, at_ms, encoding, body, mac) VALUES (?,?,?,?,0,?,?)";
        sqlx::query(SQL)
            .bind(segment.seq as i64)
            .bind(segment.first_event as i64)
            .bind(i64::from(segment.count))
            .bind(segment.at_ms)
            .bind(segment.body)
            .bind(blob(&segment.mac))
            .execute(&mut *connection)
            .await?;
    }
    if !change_log.is_empty() {
        const SQL: &str = "INSERT INTO change_log (seq, at_ms, body) VALUES (?,?,?)";
        sqlx::query(SQL).bind(state.commit as i64).bind(state.at_ms).bind(change_log).execute(connection).await?;
    }
    Ok(())
}

async fn write_state(connection: &mut SqliteConnection, state: &State, mac: [u8; 32]) -> Result<(), sqlx::Error> {
    const SQL: &str = "UPDATE store_state SET epoch = ?, commit_seq = ?, audit_seq = ?, audit_events = ?, audit_mac = ?, \
         run = ?, at_ms = ?, mac = ?";
    sqlx::query(SQL)
        .bind(state.epoch as i64)
        .bind(state.commit as i64)
        .bind(state.head.seq as i64)
        .bind(state.head.events as i64)
        .bind(blob(&state.head.mac))
        .bind(state.run as i64)
        .bind(state.at_ms)
        .bind(blob(&mac))
        .execute(connection)
        .await
        .map(drop)
}

/// Makes the state row and the keyring of a new store.
pub(crate) async fn create(
    connection: &mut SqliteConnection,
    state: &State,
    mac: [u8; 32],
    terms: &[SealedTerm],
) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO store_state VALUES (1, ?, 1, 0, 0, 0, zeroblob(32), 0, 0, zeroblob(32))";
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    sqlx::query(SQL).bind(blob(state.store.as_bytes())).execute(&mut *connection).await?;
    for term in terms {
        put_term(connection, term).await?;
    }
    write_state(connection, state, mac).await?;
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

pub(crate) async fn put_term(connection: &mut SqliteConnection, term: &SealedTerm) -> Result<(), sqlx::Error> {
    let query = sqlx::query("INSERT INTO keyring (term, sealed) VALUES (?, ?)").bind(i64::from(term.term.0));
    query.bind(term.sealed.as_bytes().to_vec()).execute(connection).await.map(drop)
}

pub(crate) async fn drop_term(connection: &mut SqliteConnection, term: Term) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM keyring WHERE term = ?").bind(i64::from(term.0)).execute(connection).await.map(drop)
}

/// Which of these names exist, and whose they are.
pub(crate) async fn taken_names(
    connection: &mut SqliteConnection,
    tokens: &[[u8; 16]],
) -> Result<Vec<([u8; 16], ObjectId)>, sqlx::Error> {
    let mut taken = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let power = rest.len().ilog2().min(6) as usize;
        let (chunk, after) = rest.split_at(1 << power);
        let query = sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(AssertSqlSafe(SELECT_NAME.0[power].clone()));
        let rows = chunk.iter().fold(query, |query, token| query.bind(blob(token))).fetch_all(&mut *connection).await?;
        taken
            .extend(rows.iter().filter_map(|(token, object)| {
                Some((token.as_slice().try_into().ok()?, ObjectId::from_slice(object)?))
            }));
        rest = after;
    }
    Ok(taken)
}

/// Moves the WAL into the database and empties it. False when a reader was in the way: try again later.
pub(crate) async fn truncate_wal(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await?;
    Ok(busy == 0)
}

fn bind_object(query: Bound, row: &ObjectRow) -> Bound {
    query
        .bind(blob(row.id.as_bytes()))
        .bind(blob(row.organisation.as_bytes()))
        .bind(blob(row.owner.as_bytes()))
        .bind(row.version.0 as i64)
        .bind(i64::from(row.state))
        .bind(i64::from(row.object_type))
        .bind(blob(row.keystore.as_bytes()))
        .bind(row.custody as i64)
        .bind(row.created_ms)
        .bind(blob(&row.attributes))
        .bind(row.tokens_to_blob())
        .bind(blob(row.sealed().as_bytes()))
}

fn bind_token(query: Bound, (token, object): &([u8; 16], ObjectId)) -> Bound {
    query.bind(blob(token)).bind(blob(object.as_bytes()))
}

fn bind_entry(query: Bound, row: &EntryRow) -> Bound {
    query
        .bind(row.kind as i64)
        .bind(blob(row.id.as_bytes()))
        .bind(blob(row.organisation.as_bytes()))
        .bind(row.version as i64)
        .bind(blob(row.sealed.as_bytes()))
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

/// Adds a change log row after the newest one: an accepted store's log says what its rows say.
pub(crate) async fn append_change_log(connection: &mut SqliteConnection, body: Vec<u8>) -> Result<(), sqlx::Error> {
    const SQL: &str =
        "INSERT INTO change_log (seq, at_ms, body) SELECT coalesce(max(seq), 0) + 1, 0, ? FROM change_log";
    sqlx::query(SQL).bind(body).execute(connection).await.map(drop)
}
