//! Keys that are well formed and still prove nothing, because others can work out the private half.
//!
//! All of it is arithmetic on public numbers: nothing here is secret, and nothing signs or verifies.

mod ed25519;

pub(crate) use ed25519::check_ed25519;
