//! The KMIP wire protocol, versions 1.0 to 2.1 and 3.0 (committee draft): bytes to typed messages and back.
//!
//! Bytes -> [`ttlv::Frame`] -> typed messages, and typed messages -> [`ttlv::Writer`] -> bytes. No I/O, no
//! clock, no async. The text encodings ([`xml`], [`json`]) are transcoders over the same events.
//!
//! One model serves every version; each structure encodes and decodes *for a version*: what a version
//! cannot say, its encoder cannot write.

mod adjust;
mod attribute;
mod codec;
pub mod event;
pub mod json;
mod message;
mod object;
mod payload;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
mod spelling;
pub mod tables;
mod text;
#[cfg(test)]
mod tests;
pub mod ttlv;
mod version;
pub mod xml;

pub use adjust::{NotAdjusted, ZERO_TYPES};
pub use attribute::*;
pub use codec::{AnyValue, BigInteger, DateTime, DateTimeExtended, Field, Interval, OtherItem, Secret, SecretText};
pub use message::*;
pub use object::*;
pub use payload::*;
pub use tables::*;
pub use version::ProtocolVersion;
