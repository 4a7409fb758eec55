//! Sealing: how key material is kept on disk and how the process gets at it.
//!
//! ```text
//! seal slot (key file | passphrase | systemd-creds | PKCS#11 key | shares of officers)   D/seal.json
//!    -> root key, by one slot or by two                              secret pages
//!       -> keyring: base key and the KEK terms                       table `keyring`, sealed under the root key
//!          -> sealed records (objects, entries)                      AES-256-GCM-SIV, bound to their row
//!          -> index, audit, set, state and anchor keys               HKDF of the base key
//! ```
//!
//! This module knows bytes, keys and `D/seal.json`. It leaves to others: the database (`store`), the PKCS#11 session behind
//! [`SlotKey`] (the backends), where a passphrase comes from (the command line).
//!
//! A share is text (`share_text`), what is shared is a slot's secret (`shares`), officers get it encrypted (`officers`).
//!
//! Served here: FIPS 198-1 (HMAC), RFC 5869 (HKDF), RFC 8452 (AES-GCM-SIV), RFC 9106 (Argon2id).
//!
//! Known limits: the expanded AES and HMAC contexts live in the cryptographic library's own heap (wiped when freed, not locked);
//! only the raw root and base keys sit in secret pages.

mod contents;
mod derive;
mod error;
mod keyring;
mod memory;
mod officers;
mod record;
mod secret;
mod share_text;
mod shares;
mod slot;
mod slot_file;
mod slot_wrap;
mod systemd;
mod unlock;
mod unlocking;

#[cfg(test)]
mod shares_tests;
#[cfg(test)]
mod tests;

pub use derive::{IndexKey, IndexToken, MacKey, NameToken};
pub use error::SealError;
pub use keyring::{Keyring, KeyringError, SealedTerm, Term};
pub use memory::{HardenReport, PageProtection, SecretPage, harden_process};
pub use officers::{Officer, officers};
pub use record::{Binding, RecordError, RecordKind, SealedRecord};
pub use secret::{SecretBytes, SecretText};
pub use share_text::{SHARES_MAX, ShareText, ShareTextError};
pub use shares::{Share, ShareError, Sharing};
pub use slot::{NewSlot, PassphraseCost, SlotKey, SlotKeyError, SlotKind, SlotStatus};
pub use slot_file::{Seal, SealChange};
pub use unlock::{OpenSlotKey, Openers, RootKey, SlotFailure, TokenSlot, Unlocked};
pub use unlocking::{Progress, SharesGiven, Unlocking};
