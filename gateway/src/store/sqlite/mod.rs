//! The SQLite dialect: connections, and SQL in `read` and `write`. Knows rows; what they mean is the store's business.

pub(crate) mod audit;
mod locate;
mod pack;
mod read;
mod restore;
mod write;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};

pub(crate) use locate::{count, is_term_used, locate, rows_not_under, rows_to_move};
pub(crate) use read::{
    EntryRow, audit_segments, change_log, entries, issued_entries, issued_rows, keyring, name_prefixes, object,
    object_versions, objects, objects_of_keystores, objects_of_owners, state, totals,
};
pub(crate) use restore::{put_change_log, put_entry, put_object, put_segment};
pub(crate) use write::{
    GroupWrite, append_change_log, create, drop_term, put_term, taken_names, truncate_wal, write_group,
};

/// Database file name in the data directory.
pub(crate) const FILE_NAME: &str = "store.db";

const READERS: u32 = 4;
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/sqlite/migrations");

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// The writer's connection, migrated. The database file must exist.
pub(crate) async fn connect_writer(dir: &Path) -> Result<SqliteConnection, sqlx::Error> {
    // The WAL is moved into the database by the writer at moments it chooses, not inside a commit.
    let mut connection =
        options(dir).pragma("wal_autocheckpoint", "0").pragma("cache_size", "-16000").connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    Ok(connection)
}

/// Makes an empty database file readable by its owner only; the WAL files inherit its rights.
pub(crate) fn make_file(dir: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(dir)).map(drop)
}

/// One more reader, for who reads long.
pub(crate) async fn connect_reader(dir: &Path) -> Result<SqliteConnection, sqlx::Error> {
    options(dir).pragma("query_only", "ON").connect().await
}

/// Readers. Opened lazily: a start waits for none of them.
pub(crate) fn connect_readers(dir: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .connect_lazy_with(options(dir).pragma("query_only", "ON"))
}

fn options(dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path(dir))
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

/// Whether the error says that there is no space (SQLITE_FULL, or an I/O error class that a full disk causes).
pub(crate) fn is_disk_full(error: &sqlx::Error) -> bool {
    const SQLITE_FULL: i32 = 13;
    // A short write or a refused extension of the WAL or of its shared memory: SQLITE_IOERR_WRITE, _SHMSIZE, _TRUNCATE.
    const FULL_IN_DISGUISE: [i32; 3] = [778, 4874, 1546];
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_FULL || FULL_IN_DISGUISE.contains(&code))
}
