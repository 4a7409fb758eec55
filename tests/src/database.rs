//! The gateway's database as an attacker with the file sees it: plain SQL, no key.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};

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

    /// Closes it, so that everything is in the file.
    pub fn close(self) {
        // An error here shows in the test that reads the file next.
        let _ = self.runtime.block_on(self.connection.close());
    }
}
