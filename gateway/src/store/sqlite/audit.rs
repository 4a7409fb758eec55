//! Segments of the audit record, newest first: what a search reads.

use sqlx::{Row, SqlitePool};

use crate::store::AuditSegment;

/// The newest segments before `before`, newest first, at most `limit`.
pub(crate) async fn segments_before(pool: &SqlitePool, before: u64, limit: u32) -> Result<Vec<AuditSegment>, sqlx::Error> {
    const SQL: &str = "SELECT seq, at_ms, body FROM audit_segment WHERE seq < ? ORDER BY seq DESC LIMIT ?";
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let rows = sqlx::query(SQL).bind(before).bind(limit).fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok(AuditSegment { seq: row.try_get::<i64, _>(0)? as u64, at_ms: row.try_get(1)?, body: row.try_get(2)? }))
        .collect()
}

/// The newest segment at or before `seq`, and when it was written.
pub(crate) async fn segment_time(pool: &SqlitePool, seq: u64) -> Result<Option<(u64, i64)>, sqlx::Error> {
    const SQL: &str = "SELECT seq, at_ms FROM audit_segment WHERE seq <= ? ORDER BY seq DESC LIMIT 1";
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let row = sqlx::query(SQL).bind(seq).fetch_optional(pool).await?;
    row.map(|row| Ok((row.try_get::<i64, _>(0)? as u64, row.try_get(1)?))).transpose()
}
