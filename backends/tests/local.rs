//! The software cryptography against published vectors, OpenSSL and its own rules.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

#[path = "local/bench.rs"]
mod bench;
#[path = "local/helpers.rs"]
mod helpers;
#[path = "local/lattice.rs"]
mod lattice;
#[path = "local/openssl.rs"]
mod openssl;
#[path = "local/refusals.rs"]
mod refusals;
#[path = "local/resolve.rs"]
mod resolve;
#[path = "local/round_trips.rs"]
mod round_trips;
#[path = "local/vectors.rs"]
mod vectors;
