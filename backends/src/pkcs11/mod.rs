//! PKCS#11 tokens: keys that never leave an HSM, and a wrapping key for the seal.
//!
//! [`Token`] is a token with its worker processes; [`Pkcs11Keystore`] and [`Pkcs11Kek`] use it and may share one.
//! PKCS#11 v2.40 and later modules; what a module offers is probed, not configured. No module is loaded into the
//! gateway's process: one that hangs, crashes or keeps state that only a restart mends costs a worker, which is replaced.
//!
//! What happens when, from outside in:
//! - `keystore.rs`, `crypto.rs`, `kek.rs`: the seams. Hashing, padding and DER happen here, outside the token; requests
//!   are plain messages (`message.rs`).
//! - `token.rs`: opening and sharing a token. `pool.rs`, `job.rs`: queues, deadlines, who does what, and what becomes
//!   of a dead worker's requests.
//! - `supervisor.rs`, `process.rs`: one thread per worker process keeps it alive. `wire.rs`, `page.rs`: what passes
//!   between them.
//! - `rights.rs`: what a key may do on its token. `logins.rs`: PINs that were refused, so that nobody offers them again.
//! - `worker/`: the worker process ([`worker_main`]): login, session, what a failure means. `object.rs`, `handles.rs`:
//!   one function per request, and the handles it needs.
//!   `prepared.rs`: message operations kept ready for keys in use, where the module has PKCS#11 3.0.
//! - `replica.rs`, `transfer.rs`: what a token does as a member of a group, on both sides of the socket.
//! - `module_file.rs`: who may change the module's file, looked at before it is loaded.
//! - `interface.rs`, `raw.rs`, `raw3.rs`, `template.rs`, `mechanism.rs`: the C calls. `ckr.rs`: return values to classes of
//!   error.
//! - `select.rs`, `uri.rs`, `sunpkcs11.rs`: which token is meant, and two notations for it that others use.
//!
//! Known limits: CKA_ALWAYS_AUTHENTICATE keys are not supported; searching is linear in most tokens, so the first use
//! of a key is dear where there are many.

mod ckr;
mod crypto;
mod curve;
mod handles;
mod interface;
mod job;
mod kek;
mod keystore;
mod logins;
mod mechanism;
mod message;
mod module_file;
mod object;
mod page;
mod pool;
mod prepared;
mod process;
mod prove;
mod raw;
mod raw3;
mod replica;
mod rights;
mod select;
mod sunpkcs11;
mod supervisor;
mod template;
mod token;
mod transfer;
mod uri;
mod wire;
mod worker;

pub use kek::Pkcs11Kek;
pub use keystore::Pkcs11Keystore;
pub use logins::offer_again;
pub use module_file::{ModuleFault, check_module_file, check_module_kind};
pub use process::Spawn;
pub(crate) use replica::id_of;
pub use select::TokenSelector;
pub use sunpkcs11::{SUNPKCS11_OCTETS_MAX, SunPkcs11};
pub use token::{Token, TokenConfig};
pub use transfer::{Carried, TransportKey, WrappedKey, Wrapping};
pub use uri::{Pkcs11Uri, URI_OCTETS_MAX};
pub use worker::worker_main;
