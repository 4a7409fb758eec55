//! What the server sends to clients of its own accord: Notify and Put (KMIP 1.4 §5, KMIP 2.1 §6.2), and what an administrator
//! asks of a client's endpoint: Query and Discover Versions.
//!
//! - `queue.rs`: what waits for one client. Bounded; of one object nothing waits twice. `notices.rs`: all queues, told by each commit.
//! - `deliver.rs`: a queue -> an endpoint of the settings (`[[endpoint]]`), with growing waits. `turned.rs`: a queue -> a connection
//!   that a client turned round (Set Endpoint Role).
//! - `wire.rs`: one request and its answer.
//!
//! Queues hold names, never values: what is sent is read when it is sent, so that no key material waits in memory, and a client is
//! told how things are, not how they were. They live in memory alone: what was not sent at the end of the process is not sent. A
//! client that was away asks, as it does at its start.
//!
//! Leaves to others: what a message holds (`operation/push.rs`), settings (`config/endpoint.rs`).

mod deliver;
mod notices;
mod queue;
mod turned;
mod wire;

pub use deliver::{Endpoint, Endpoints};
pub(crate) use notices::{Notice, Notices, What};
pub(crate) use turned::{Silence, serve_turned};
pub use wire::CallError;
