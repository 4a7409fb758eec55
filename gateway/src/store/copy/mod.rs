//! A copy of the whole store, for backups: read from one snapshot of a running store, written into a new one.
//!
//! A copy keeps the store's id and its base key, so that names, tokens, versions and the audit chain hold in it; every record is
//! sealed again, under a fresh key on the way and under another one where it arrives. Nothing here is in clear on a disk.
//!
//! Leaves to others: the file a copy travels in and its encryption (`crate::backup`), the new seal, the data directory.

mod record;
mod restore;
mod snapshot;

pub use record::{CopyHeader, CopyRecord, CopyTrailer, Known};
pub use restore::Restoring;
pub use snapshot::Snapshot;

use std::path::PathBuf;

use crate::seal::KeyringError;

/// Why a copy is not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The rows are not those the store wrote.
    #[error(
        "the database was altered: its rows are not those the store wrote\n\
         hint: restart the server, which names the rows, or take them as they are with `keygate store accept`"
    )]
    Altered,
    /// What was read is no copy of a store, or not a whole one.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// A record that does not open.
    #[error("the backup is damaged: {0} does not open")]
    Record(String),
    /// The keyring.
    #[error("the keyring of the backup does not open")]
    Keyring(#[from] KeyringError),
    /// The system refused.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}
