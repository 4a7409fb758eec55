//! The PKCS#11 backend on SoftHSM: conformance, loss and return of a token, login.
// A test holds its turn to the end; each runs in a runtime of its own.
#![allow(missing_docs, clippy::unwrap_used, clippy::await_holding_lock)]

#[path = "token/bench.rs"]
mod bench;
#[path = "token/conformance.rs"]
mod conformance;
#[path = "token/deadlines.rs"]
mod deadlines;
#[path = "token/kek.rs"]
mod kek;
#[path = "token/recovery.rs"]
mod recovery;
#[path = "token/soft.rs"]
mod soft;
