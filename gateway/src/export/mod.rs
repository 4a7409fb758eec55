//! Exports: the keys of one organisation leave, in a form other programs read.
//!
//! | format | what it is |
//! |---|---|
//! | `zip-json` | a ZIP, AES-256 (WinZip AE-2) under a password, with one `keys.json`. Its key derivation is PBKDF2-SHA1 of 1,000 rounds, so the password must be strong by itself |
//! | `zip-xml` | an open ZIP with one XML file per key, each AES-256-GCM under an Argon2id key of the passphrase ([`xml`]) |
//! | `age` | `keys.json` for the recipients' public keys, or a passphrase |
//!
//! Steps: who asks is permitted ([`authorise_export`]), the event is committed, then keys are read page by page (`collect.rs`),
//! written and streamed. Keys that must not leave are listed as left out, with the reason.
//!
//! Leaves to others: where the octets go (`admin::stream`, `api`), reading exports (`crate::import`).

mod authorise;
mod collect;
mod document;
mod exported_key;
mod make;
pub mod password;
mod reports;
pub mod xml;

pub use authorise::{ExportPermit, ExportRefused, authorise_export};
pub use collect::{Collected, Collector, LeftOut};
pub use exported_key::{ExportedKey, FORMAT, FORMAT_VERSION};
pub use make::{ExportFormat, ExportSummary, make};
pub use reports::ExportReports;
