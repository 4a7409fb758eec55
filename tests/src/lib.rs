//! What the end-to-end tests stand on.
//!
//! [`gateway`] starts the real `keygate` binary on a fresh data folder; [`client`] talks TLS to it and knows nothing of
//! the product's code; [`ttlv`] is an encoder and decoder of its own, so that a fault in the product's codec cannot hide
//! itself; [`cases`] runs the OASIS test cases; [`relying`] holds the relying parties that must honour what we publish; [`soak`] is `make soak`. Tests are in `tests/tests`, one file per story.

pub mod cases;
pub mod client;
pub mod database;
pub mod est;
pub mod forwarder;
pub mod gateway;
pub mod kmip_https;
pub mod kmip_listener;
pub mod kmip_refuser;
pub mod names;
pub mod pem;
pub mod pkilint;
pub mod provisioning;
pub mod pty;
pub mod pykmip_server;
pub mod relying;
pub mod request;
pub mod rest_mock;
pub mod shim;
pub mod soak;
pub mod softhsm;
pub mod tools;
pub mod ttlv;
pub mod web;
