//! Reading the audit record back, newest first. Whether it is intact is the verifier's business ([`Store::verify_audit`]).

use super::{ReadError, Store, sqlite};

/// A segment as a search reads it.
pub struct AuditSegment {
    /// Its number.
    pub seq: u64,
    /// When it was written, milliseconds since 1970.
    pub at_ms: i64,
    /// Its events, oldest first, a line of JSON each.
    pub body: Vec<u8>,
}

impl Store {
    /// The newest segments numbered below `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_before(&self, before: u64, limit: u32) -> Result<Vec<AuditSegment>, ReadError> {
        sqlite::audit::segments_before(&self.readers, before, limit).await.map_err(broken)
    }

    /// A number that every segment written up to `until_ms` is below: found by bisection, since numbers grow with time. Where
    /// the clock was set back, segments in between may be missed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_end(&self, until_ms: i64) -> Result<u64, ReadError> {
        let newest = sqlite::audit::segment_time(&self.readers, u64::MAX).await.map_err(broken)?;
        let Some((newest, at_ms)) = newest else { return Ok(0) };
        if at_ms <= until_ms {
            return Ok(newest + 1);
        }
        // Invariant: the segment at `high` is later than asked; none below `low` is known to be.
        let (mut low, mut high) = (0, newest);
        while low < high {
            let middle = low + (high - low) / 2;
            match sqlite::audit::segment_time(&self.readers, middle).await.map_err(broken)? {
                Some((_, at_ms)) if at_ms > until_ms => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(high)
    }
}

fn broken(error: sqlx::Error) -> ReadError {
    ReadError::Broken(error.to_string())
}
