//! Keys in another KMIP key server: PyKMIP, an appliance, or a second Keygate.
//!
//! [`KmipKeystore`] speaks KMIP 1.0 to 2.1 as a client over mutual TLS. The version is negotiated, what the server does is
//! asked (Query). A key is made in the server under our id, which its Name carries: so a call whose outcome is unknown
//! is found again by name, and our records need not hold the server's own Unique Identifier.
//!
//! - `keystore.rs`: the seam. `make.rs`: create, register, find and destroy. `crypto.rs`: use.
//! - `client.rs`: messages and what their failures mean (`reason.rs`). `peer.rs`: version and operations of the server.
//! - `parameters.rs`, `material.rs`: schemes and key blocks, to and fro. `wire.rs`: frames over a connection.
//!
//! **Custody.** The key stays in the server (InBackend): it is used there by Encrypt, Decrypt, Sign and MAC, and is not
//! fetched. With [`KmipConfig::fetch`] it may also be handed out, and what the server does not do is done here with
//! material that is fetched for the one call and wiped after it.
//!
//! Known limits: no streaming (a message is one request), no asynchronous answers, no attestation; servers before KMIP
//! 1.2 do no cryptography, so without `fetch` they only keep keys.

mod client;
mod crypto;
mod keystore;
mod make;
mod material;
mod parameters;
mod peer;
mod reason;
mod wire;

pub use keystore::{KmipConfig, KmipKeystore};

/// The port that IANA lists for KMIP.
pub const PORT: u16 = 5696;
