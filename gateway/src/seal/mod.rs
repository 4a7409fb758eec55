//! Sealing: how key material is kept on disk and how the process gets at it.
//!
//! ```text
//! seal slot (key file | passphrase | systemd-creds | PKCS#11 key)   D/seal.json
//!    -> root key                                                     secret pages
//!       -> keyring: base key and the KEK terms                       table `keyring`, sealed under the root key
//!          -> sealed records (objects, entries)                      AES-256-GCM-SIV, bound to their row
//!          -> index, audit, set, state and anchor keys               HKDF of the base key
//! ```
//!
//! This module knows bytes, keys and `D/seal.json`. It leaves to others: the database (`store`), the PKCS#11 session behind
//! [`SlotKey`] (the backends), where a passphrase comes from (the command line).
//!
//! Served here: FIPS 198-1 (HMAC), RFC 5869 (HKDF), RFC 8452 (AES-GCM-SIV), RFC 9106 (Argon2id).
//!
//! Known limits: the expanded AES and HMAC contexts live in the cryptographic library's own heap (wiped when freed, not locked);
//! only the raw root and base keys sit in secret pages.

mod derive;
mod keyring;
mod memory;
mod record;
mod secret;
mod slot;
mod slot_file;
mod systemd;
mod unlock;

#[cfg(test)]
mod tests;

pub use derive::{IndexKey, IndexToken, MacKey, NameToken};
pub use keyring::{Keyring, KeyringError, SealedTerm, Term};
pub use memory::{HardenReport, PageProtection, SecretPage, harden_process};
pub use record::{Binding, RecordError, RecordKind, SealedRecord};
pub use secret::{SecretBytes, SecretText};
pub use slot::{NewSlot, PassphraseCost, SlotKey, SlotKeyError, SlotKind, SlotStatus};
pub use slot_file::{Seal, SealChange, SealError};
pub use unlock::{OpenSlotKey, Openers, RootKey, SlotFailure, TokenSlot, Unlocked};
