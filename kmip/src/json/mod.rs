//! The JSON encoding of KMIP messages, KMIP Additional Message Encodings 1.0 §4.1 (in 2.x: KMIP Profiles §5.3).
//!
//! A transcoder over [`Sink`](crate::event::Sink), as `xml` is: [`read()`] turns JSON text into events, [`Writer`] turns
//! events into JSON text. An item is an object with the members `tag`, `type` (absent for a Structure), `value`, and `name`, which
//! is a comment; members come in any order and none twice. HTTPS, which carries this encoding, belongs to the server.

mod node;
mod read;
mod write;

pub use crate::text::{Error, Limits, Reason};
pub use read::read;
pub use write::{Writer, write};

#[cfg(test)]
mod tests;
