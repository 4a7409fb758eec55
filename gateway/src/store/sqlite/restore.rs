//! Writing the rows of a restored store: as they come, one by one, inside a transaction that the caller begins and ends.

use sqlx::SqliteConnection;

use super::read::EntryRow;
use crate::audit::Segment;
use crate::store::ObjectRow;

/// An object with its index and name tokens.
pub(crate) async fn put_object(connection: &mut SqliteConnection, row: &ObjectRow) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO object (id, organisation, owner, version, state, object_type, keystore, custody, created_ms, \
         attributes, tokens, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let id = row.id.as_bytes().to_vec();
    let query = sqlx::query(SQL).bind(&id).bind(row.organisation.as_bytes().to_vec()).bind(row.owner.as_bytes().to_vec());
    let query = query.bind(row.version.0 as i64).bind(row.state).bind(row.object_type).bind(row.keystore.as_bytes().to_vec());
    let query = query.bind(row.custody as i64).bind(row.created_ms).bind(&row.attributes).bind(row.tokens_to_blob());
    query.bind(row.sealed().as_bytes().to_vec()).execute(&mut *connection).await?;
    for token in &row.index {
        let query = sqlx::query("INSERT INTO object_index (token, object) VALUES (?, ?)").bind(token.0.to_vec()).bind(&id);
        query.execute(&mut *connection).await?;
    }
    for token in &row.names {
        let query = sqlx::query("INSERT INTO object_name (token, object) VALUES (?, ?)").bind(token.0.to_vec()).bind(&id);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// An entry.
pub(crate) async fn put_entry(connection: &mut SqliteConnection, row: &EntryRow) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO entry (kind, id, organisation, version, sealed) VALUES (?, ?, ?, ?, ?)";
    let query = sqlx::query(SQL).bind(row.kind as i64).bind(row.id.as_bytes().to_vec());
    let query = query.bind(row.organisation.as_bytes().to_vec()).bind(row.version as i64);
    query.bind(row.sealed.as_bytes().to_vec()).execute(connection).await.map(drop)
}

/// A segment of the audit record.
pub(crate) async fn put_segment(connection: &mut SqliteConnection, segment: &Segment) -> Result<(), sqlx::Error> {
    const SQL: &str =
        "INSERT INTO audit_segment (seq, first_event, count, at_ms, encoding, body, mac) VALUES (?, ?, ?, ?, 0, ?, ?)";
    let query = sqlx::query(SQL).bind(segment.seq as i64).bind(segment.first_event as i64).bind(segment.count);
    query.bind(segment.at_ms).bind(&segment.body).bind(segment.mac.to_vec()).execute(connection).await.map(drop)
}

/// A row of the change log.
pub(crate) async fn put_change_log(connection: &mut SqliteConnection, seq: u64, body: &[u8]) -> Result<(), sqlx::Error> {
    let query = sqlx::query("INSERT INTO change_log (seq, at_ms, body) VALUES (?, 0, ?)").bind(seq as i64);
    query.bind(body).execute(connection).await.map(drop)
}
