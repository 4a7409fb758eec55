//! Keys in a key server with a JSON interface over HTTPS, as a profile describes it.
//!
//! Such servers differ in paths, field names and spellings, not in what they do. [`Profile`] is a TOML file with these
//! differences: how to log in, a method, path, JSON template and answer pointers per operation, spellings, and which
//! error means what. `eskm-style`, `ciphertrust`, `securosys` and `keygate` (our own front) are built in; a customer with a vendor's manual writes
//! another one. Nothing of a vendor is in code.
//!
//! - `profile.rs`: the file and its check. `template.rs`: values into templates, as JSON values, never as text.
//! - `client.rs`: credentials, calls, errors. `wire.rs`: HTTP/1.1 over TLS, bounded.
//! - `keystore.rs`: the seam. `crypto.rs`: use.
//!
//! A key is made under a name of ours that holds its id (`keygate.KS.ID`), and addressed by it: a call whose outcome is
//! unknown is found again, and an answer about another key is noticed. Custody as in [`crate::kmip`]: keys stay there,
//! unless [`RestConfig::fetch`] lets them be fetched.
//!
//! Known limits: names longer than the server takes are refused at the start; binary values travel as base64 (RFC 4648 §4).

mod client;
mod crypto;
mod keystore;
mod profile;
mod template;
mod wire;

pub use keystore::{RestConfig, RestKeystore};
pub use profile::Profile;

/// The port at which such servers usually listen.
pub const PORT: u16 = 8443;
