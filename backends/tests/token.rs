//! The PKCS#11 backend on SoftHSM: conformance, loss and return of a token, login.
// A test holds its turn to the end; each runs in a runtime of its own.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![expect(clippy::await_holding_lock, reason = "token tests go one at a time, each for its whole length")]

#[path = "token/bench.rs"]
mod bench;
#[path = "token/conformance.rs"]
mod conformance;
#[path = "token/deadlines.rs"]
mod deadlines;
#[path = "token/group.rs"]
mod group;
#[path = "token/kek.rs"]
mod kek;
#[path = "token/message.rs"]
mod message;
#[path = "token/recovery.rs"]
mod recovery;
#[path = "token/rights.rs"]
mod rights;
#[path = "token/soft.rs"]
mod soft;
