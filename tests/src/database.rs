//! The gateway's database as an attacker with the file sees it: plain SQL, no key.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};

/// A row of the audit record, as anybody with the file can read and write it.
#[derive(Clone, Debug)]
pub struct AuditSegment {
    /// Its number.
    pub seq: i64,
    /// Number of its first event.
    pub first_event: i64,
    /// How many events it holds.
    pub count: i64,
    /// When, in milliseconds.
    pub at_ms: i64,
    /// The events, one a line.
    pub body: Vec<u8>,
    /// What links it to the row before.
    pub mac: Vec<u8>,
}

impl AuditSegment {
    /// The link as the documents describe it, under a key of one's own: the store's is not to be had.
    #[must_use]
    pub fn link(&self, key: &[u8], store: &[u8], previous: &[u8]) -> Vec<u8> {
        use aws_lc_rs::hmac;
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        context.update(previous);
        context.update(store);
        context.update(&self.seq.to_be_bytes());
        context.update(&self.first_event.to_be_bytes());
        context.update(&u32::try_from(self.count).unwrap_or_default().to_be_bytes());
        context.update(&self.at_ms.to_be_bytes());
        context.update(&self.body);
        context.sign().as_ref().to_vec()
    }
}

/// An open database file. The server must be stopped, or the statement a single read.
pub struct Database {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

impl Database {
    /// Opens the file.
    ///
    /// # Panics
    /// If it is no database.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let opened = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
            let options = SqliteConnectOptions::new().filename(path);
            let connection = runtime.block_on(SqliteConnection::connect_with(&options));
            (runtime, connection)
        });
        match opened {
            Ok((runtime, Ok(connection))) => Self { runtime, connection },
            Ok((_, Err(error))) => panic!("{}: {error}", path.display()),
            Err(error) => panic!("no runtime: {error}"),
        }
    }

    /// Runs statements.
    ///
    /// # Panics
    /// If they fail.
    pub fn run(&mut self, sql: &'static str) {
        if let Err(error) = self.runtime.block_on(sqlx::raw_sql(sql).execute(&mut self.connection)) {
            panic!("{sql}: {error}");
        }
    }

    /// One number.
    ///
    /// # Panics
    /// If the query fails.
    #[must_use]
    pub fn number(&mut self, sql: &'static str) -> i64 {
        match self.runtime.block_on(sqlx::query(sql).fetch_one(&mut self.connection)) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// The first column of each row, as text.
    ///
    /// # Panics
    /// If the query fails.
    #[must_use]
    pub fn texts(&mut self, sql: &'static str) -> Vec<String> {
        match self.runtime.block_on(sqlx::query(sql).fetch_all(&mut self.connection)) {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// The audit record, in order.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn audit_segments(&mut self) -> Vec<AuditSegment> {
        let sql = "SELECT seq, first_event, count, at_ms, body, mac FROM audit_segment ORDER BY seq";
        let rows = match self.runtime.block_on(sqlx::query(sql).fetch_all(&mut self.connection)) {
            Ok(rows) => rows,
            Err(error) => panic!("{sql}: {error}"),
        };
        let segment = |row: &sqlx::sqlite::SqliteRow| AuditSegment {
            seq: row.get(0),
            first_event: row.get(1),
            count: row.get(2),
            at_ms: row.get(3),
            body: row.get(4),
            mac: row.get(5),
        };
        rows.iter().map(segment).collect()
    }

    /// Writes events and link of a row of the audit record.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn rewrite_audit_segment(&mut self, segment: &AuditSegment) {
        let query = sqlx::query("UPDATE audit_segment SET body = ?, mac = ? WHERE seq = ?");
        let query = query.bind(&segment.body).bind(&segment.mac).bind(segment.seq);
        if let Err(error) = self.runtime.block_on(query.execute(&mut self.connection)) {
            panic!("segment {}: {error}", segment.seq);
        }
    }

    /// Closes it, so that everything is in the file.
    pub fn close(self) {
        // An error here shows in the test that reads the file next.
        let _ = self.runtime.block_on(self.connection.close());
    }
}
