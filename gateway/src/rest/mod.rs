//! The REST key server: the `eskm-style` contract, by which a file-encryption management server uses the gateway as its key server.
//! It is one more protocol over the operations: it translates, and decides nothing about keys.
//!
//! Leaves to others: TLS, bounds of size and time (`http`), who a password belongs to (`identity`), what an operation means and who
//! may do it to which object (`operation`, `authorize`). `docs/rest-key-server.md` says what is the vendor's and what is ours.

mod accounts;

/// What the test command asks for: it answers `Success` to a user with the right password.
pub const TEST_PATH: &str = "/api/key/v1/test";

pub use accounts::{AccountError, NewPassword, NewRestUser, RestAccounts, RestUserPatch, WithPassword};
