//! The XML encoding of KMIP messages, KMIP Additional Message Encodings 1.0 §6.1 (in 2.x: KMIP Profiles §5.4).
//!
//! A transcoder over [`Sink`](crate::event::Sink): [`read()`] turns XML text into events, [`Writer`] turns events
//! into XML text, and the TTLV side does the same for bytes. The reader accepts what the standard writes: normalised names
//! or `0x` numbers, nothing approximate; no document type, no entities but the five of XML, no processing instructions. HTTPS, which carries this encoding, belongs to the server.

mod read;
mod text;
mod write;

pub use crate::text::{Error, Limits, Reason};
pub use read::read;
pub use text::ValueText;
pub use write::{Masking, Writer, write};

#[cfg(test)]
mod tests;
