//! The software cryptography against published vectors, OpenSSL and its own rules.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "local/bench.rs"]
mod bench;
#[path = "local/helpers.rs"]
mod helpers;
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
