//! Backup and restore of the whole store.
//!
//! A backup is one age file: encrypted for recipients or with a passphrase, written by the running server from one snapshot and
//! streamed to whoever asked. Inside (`file.rs`) are a key made for this backup alone, the keyring and every record sealed under
//! it, the audit record, and the settings file. [`restore()`] makes a new data directory of it, with a new seal, and puts it in
//! place only after every record has opened, the set of rows has the MAC the store gave it, and the audit chain ends where it
//! did.
//!
//! Leaves to others: the rows (`store`), encryption (`age_file`), where the octets go (`admin::stream`, `cli`).
//!
//! Known limits: age says nothing of who wrote a file. Whoever may write where backups are kept can put one of their own making
//! there; `--anchor` or `--sha256` at the restore tells. Keys that stay in a device are in a backup by their names only.

mod file;
mod make;
mod restore;

pub use make::{BackupSummary, make};
pub use restore::{RestoreError, RestoreOrder, Restored, restore};
