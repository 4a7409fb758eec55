//! PKCS#11 tokens: keys that never leave an HSM, and a wrapping key for the seal.
//!
//! [`Token`] is a logged-in token with its worker threads; [`Pkcs11Keystore`] and [`Pkcs11Kek`] use it and may share
//! one. PKCS#11 v2.40 and later modules; what a module offers is probed, not configured.
//!
//! What happens when, from outside in:
//! - `keystore.rs`, `crypto.rs`, `kek.rs`: the seams. Hashing, padding and DER happen here, outside the token; requests
//!   are plain messages (`message.rs`).
//! - `worker.rs`: threads that own a session and a cache of object handles; queues with deadlines; what a failure
//!   means.
//! - `object.rs`: one function per request, in a session.
//! - `token.rs`: login, loss and return of a token. `module.rs`: the gate around C_Initialize and C_Finalize.
//! - `raw.rs`, `template.rs`, `mechanism.rs`: the C calls. `ckr.rs`: return values to classes of error.
//!
//! Known limits: a vendor call that never returns blocks its module until the process ends; two tokens of one module
//! disturb each other while one is away (finding it again finalises the module for both); CKA_ALWAYS_AUTHENTICATE keys
//! are not supported; searching is linear in most tokens, so a token is for hundreds of keys, not for hundreds of
//! thousands.

mod ckr;
mod crypto;
mod curve;
mod kek;
mod keystore;
mod mechanism;
mod message;
mod module;
mod object;
mod raw;
mod template;
mod token;
mod worker;

pub use kek::Pkcs11Kek;
pub use keystore::Pkcs11Keystore;
pub use token::{Token, TokenConfig};
