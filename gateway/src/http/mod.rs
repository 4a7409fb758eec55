//! The HTTP side of the gateway: three listeners, what every request passes, and how refusals are worded.
//!
//! Does: HTTP/1.1 and HTTP/2 over TLS, with client certificates that a [`Doorkeeper`](crate::identity::Doorkeeper) lets in, and
//! plain HTTP/1.1; bounds connections, sizes and time; asks again before each request whether its peer is still let in; closes
//! connections when it is not. Leaves to others: what a path means, and what a peer may do there ([`routers`] names who).
//!
//! Ports, the registry of connections with its deadlines, and TLS settings are those of the KMIP listener (`listen`), which in turn
//! hands connections of its port that speak HTTP to `kmip`.
//!
//! Bounds of a connection: header of 16 KiB and 64 fields, eight HTTP/2 requests at a time, the listener's body size, and the
//! time of `limits.*`; 60 s for a handler. A peer without a certificate that waits gives way to others at the bound.

mod activity;
mod body;
mod clients;
mod connection;
mod counts;
mod front;
mod kmip;
mod listener;
mod open;
mod problem;
mod public;
mod routes;
mod session;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use kmip::{KmipOverHttp, serve as serve_kmip};

pub use counts::HttpMetrics;
pub use front::Peer;
pub use listener::{HttpParts, HttpsListener, ListenError, PlainListener, Security};
pub use open::{HttpListeners, NotOpen};
pub(crate) use problem::{Denied, Refused};
pub use problem::{PROBLEM_JSON, Problem};
pub use routes::{Routers, routers};
