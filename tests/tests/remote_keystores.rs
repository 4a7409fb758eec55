//! Goal: keys in key servers behind us are made, used, handed out where that is allowed, and destroyed; a server that
//! goes away is replaced by its cluster within a second, and nothing is made twice.
//! Method: the real binary before a second one, before PyKMIP and before mocks of REST servers; the conformance suite of
//! the keystores against the second one.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

#[path = "remote_keystores/chain.rs"]
mod chain;
#[path = "remote_keystores/conformance.rs"]
mod conformance;
#[path = "remote_keystores/credentials.rs"]
mod credentials;
#[path = "remote_keystores/failover.rs"]
mod failover;
#[path = "remote_keystores/own_front.rs"]
mod own_front;
#[path = "remote_keystores/pykmip.rs"]
mod pykmip;
#[path = "remote_keystores/rest.rs"]
mod rest;
#[path = "remote_keystores/rest_bad_input.rs"]
mod rest_bad_input;
