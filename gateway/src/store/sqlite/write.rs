//! Writing a group of units of work in one transaction, in as few statements as possible.

use std::sync::{Arc, LazyLock};

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::pack::{self, Pack};
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

/// One transaction as one text: BEGIN, the statements of the parts that are there, COMMIT.
///
/// The database runs on a thread of its own, and each statement handed to it costs two thread switches; under load those are
/// dearer than the statement. So all of a group goes over in one call, packed by [`Pack`], and the text depends on which parts
/// there are but not on how many rows: it stays prepared.
///
/// On error nothing after the failed statement ran; the caller rolls back.
pub(crate) async fn write_group(
    connection: &mut SqliteConnection,
    group: GroupWrite,
    state: &State,
    mac: [u8; 32],
) -> Result<(), sqlx::Error> {
    let mut pack = pack_state(state, mac);
    let parts = [
        (pack.objects("inserted", group.inserts.iter().map(|row| (0, &**row))), &INSERT_OBJECT),
        (pack.objects("updated", group.updates.iter().map(|(expected, row)| (*expected, &**row))), &UPDATE_OBJECT),
        (pack.versions("deleted", &group.deletes), &DELETE_OBJECT),
        (pack.pairs("index_removed", &group.index_removed), &DELETE_INDEX),
        (pack.pairs("index_added", &group.index_added), &INSERT_INDEX),
        (pack.tokens("names_removed", &group.names_removed), &DELETE_NAME),
        (pack.pairs("names_added", &group.names_added), &INSERT_NAME),
        (pack.entries("entries", &group.entries), &PUT_ENTRY),
        (pack.keys("entries_removed", &group.entries_removed), &DELETE_ENTRY),
        (pack.segment(group.segment.as_ref()), &INSERT_SEGMENT),
        (pack.change_log(&group.change_log), &INSERT_CHANGE_LOG),
        (true, &WRITE_STATE),
    ];
    let mut sql = String::with_capacity(8192);
    sql.push_str("BEGIN IMMEDIATE;");
    parts.iter().filter(|(any, _)| *any).for_each(|(_, statement)| sql.push_str(statement));
    sql.push_str("COMMIT");
    let (json, bytes) = pack.finish();
    sqlx::query(AssertSqlSafe(sql)).bind(json).bind(bytes).execute(connection).await.map(drop)
}

fn pack_state(state: &State, mac: [u8; 32]) -> Pack {
    let mut pack = Pack::new();
    pack.number("epoch", state.epoch as i64);
    pack.number("commit", state.commit as i64);
    pack.number("audit", state.head.seq as i64);
    pack.number("events", state.head.events as i64);
    pack.number("at", state.at_ms);
    pack.number("run", state.run as i64);
    pack.blob("audit_mac", &state.head.mac);
    pack.blob("mac", &mac);
    pack
}

type Statement = LazyLock<String>;

static WRITE_STATE: Statement = LazyLock::new(|| {
    let (audit_mac, mac) = (blob("audit_mac"), blob("mac"));
    format!(
        "UPDATE store_state SET epoch = ?1 ->> 'epoch', commit_seq = ?1 ->> 'commit', audit_seq = ?1 ->> 'audit', \
         audit_events = ?1 ->> 'events', audit_mac = {audit_mac}, at_ms = ?1 ->> 'at', run = ?1 ->> 'run', mac = {mac};"
    )
});
static INSERT_OBJECT: Statement = LazyLock::new(|| {
    let columns = "id, organisation, owner, keystore, version, state, object_type, custody, created_ms, attributes, tokens, sealed";
    format!(
        "INSERT INTO object ({columns}) SELECT {columns} FROM ({} FROM json_each(?1, '$.inserted'));",
        pack::OBJECTS_SQL
    )
});
static UPDATE_OBJECT: Statement = LazyLock::new(|| {
    let set = "organisation = v.organisation, owner = v.owner, keystore = v.keystore, version = v.version, state = v.state, \
               object_type = v.object_type, custody = v.custody, created_ms = v.created_ms, attributes = v.attributes, \
               tokens = v.tokens, sealed = v.sealed";
    let rows = pack::OBJECTS_SQL;
    format!(
        "UPDATE object SET {set} FROM ({rows} FROM json_each(?1, '$.updated')) AS v \
         WHERE object.id = v.id AND object.version = v.expected;{}",
        all_touched("updated")
    )
});
static DELETE_OBJECT: Statement = LazyLock::new(|| {
    let rows = pack::VERSIONS_SQL;
    let delete = format!("DELETE FROM object WHERE (id, version) IN ({rows} FROM json_each(?1, '$.deleted'));");
    delete + &all_touched("deleted")
});
static INSERT_INDEX: Statement = LazyLock::new(|| {
    format!("INSERT INTO object_index (token, object) {} FROM json_each(?1, '$.index_added');", pack::PAIRS_SQL)
});
static DELETE_INDEX: Statement = LazyLock::new(|| {
    let rows = pack::PAIRS_SQL;
    format!("DELETE FROM object_index WHERE (token, object) IN ({rows} FROM json_each(?1, '$.index_removed'));")
});
static INSERT_NAME: Statement = LazyLock::new(|| {
    format!("INSERT INTO object_name (token, object) {} FROM json_each(?1, '$.names_added');", pack::PAIRS_SQL)
});
static DELETE_NAME: Statement = LazyLock::new(|| {
    format!("DELETE FROM object_name WHERE token IN ({} FROM json_each(?1, '$.names_removed'));", pack::TOKENS_SQL)
});
static PUT_ENTRY: Statement = LazyLock::new(|| {
    let rows = pack::ENTRIES_SQL;
    let columns = "kind, id, organisation, version, sealed";
    format!("INSERT OR REPLACE INTO entry ({columns}) {rows} FROM json_each(?1, '$.entries');")
});
static DELETE_ENTRY: Statement = LazyLock::new(|| {
    format!("DELETE FROM entry WHERE (kind, id) IN ({} FROM json_each(?1, '$.entries_removed'));", pack::KEYS_SQL)
});
static INSERT_SEGMENT: Statement = LazyLock::new(|| {
    let (body, mac) = (blob("body"), blob("audit_mac"));
    format!(
        "INSERT INTO audit_segment (seq, first_event, count, at_ms, encoding, body, mac) \
         VALUES (?1 ->> 'audit', ?1 ->> 'first_event', ?1 ->> 'count', ?1 ->> 'at', 0, {body}, {mac});"
    )
});
static INSERT_CHANGE_LOG: Statement = LazyLock::new(|| {
    format!("INSERT INTO change_log (seq, at_ms, body) VALUES (?1 ->> 'commit', ?1 ->> 'at', {});", blob("log"))
});

/// A single blob of the pack.
fn blob(name: &str) -> String {
    format!("substr(?2, ?1 ->> '$.{name}[0]', ?1 ->> '$.{name}[1]')")
}

/// Fails the transaction (`run` is NOT NULL) unless the statement before it touched every row it was given: a row that is not
/// at the version we hold was changed by somebody else.
fn all_touched(part: &str) -> String {
    format!("UPDATE store_state SET run = NULL WHERE changes() <> json_array_length(?1, '$.{part}');")
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
    sqlx::query(SQL).bind(state.store.as_bytes().to_vec()).execute(&mut *connection).await?;
    for term in terms {
        put_term(connection, term).await?;
    }
    let (json, bytes) = pack_state(state, mac).finish();
    sqlx::query(AssertSqlSafe(WRITE_STATE.as_str())).bind(json).bind(bytes).execute(&mut *connection).await?;
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
    static SQL: Statement = LazyLock::new(|| {
        let rows = pack::TOKENS_SQL;
        format!("SELECT token, object FROM object_name WHERE token IN ({rows} FROM json_each(?1, '$.names'))")
    });
    let mut pack = Pack::new();
    pack.tokens("names", tokens);
    let (json, bytes) = pack.finish();
    let query = sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(AssertSqlSafe(SQL.as_str()));
    let rows = query.bind(json).bind(bytes).fetch_all(connection).await?;
    let parse =
        |(token, object): &(Vec<u8>, Vec<u8>)| Some((token.as_slice().try_into().ok()?, ObjectId::from_slice(object)?));
    Ok(rows.iter().filter_map(parse).collect())
}

/// Moves the WAL into the database and empties it. False when a reader was in the way: try again later.
pub(crate) async fn truncate_wal(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The writer waits for readers, and every commit for the writer: a tenth of a second is long enough.
    const SQL: &str = "PRAGMA busy_timeout = 100; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA busy_timeout = 5000";
    let rows = sqlx::raw_sql(SQL).fetch_all(connection).await?;
    let checkpoint = rows.iter().find(|row| row.len() == 3);
    Ok(checkpoint.is_some_and(|row| row.try_get::<i64, _>(0).is_ok_and(|busy| busy == 0)))
}

/// Adds a change log row after the newest one: an accepted store's log says what its rows say.
pub(crate) async fn append_change_log(connection: &mut SqliteConnection, body: Vec<u8>) -> Result<(), sqlx::Error> {
    const SQL: &str =
        "INSERT INTO change_log (seq, at_ms, body) SELECT coalesce(max(seq), 0) + 1, 0, ? FROM change_log";
    sqlx::query(SQL).bind(body).execute(connection).await.map(drop)
}
