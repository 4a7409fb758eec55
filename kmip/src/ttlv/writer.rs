//! The appending writer.

use zeroize::{Zeroize, Zeroizing};

use super::Type;
use crate::Tag;

/// Appends items to a buffer that is wiped when it is dropped and when it grows.
///
/// Lengths are 32 bits on the wire; a message over 4 GiB cannot be written, and limits are far below it.
#[derive(Default)]
pub struct Writer {
    buffer: Zeroizing<Vec<u8>>,
}

/// A structure that was begun and not ended: the place of its length.
#[must_use = "a structure must be ended"]
pub struct Structure(usize);

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(512)
    }

    /// An empty writer with room for this many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Zeroizing::new(Vec::with_capacity(bytes)) }
    }

    /// A writer that continues a buffer.
    #[must_use]
    pub fn continuing(buffer: Zeroizing<Vec<u8>>) -> Self {
        Self { buffer }
    }

    /// What was written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The buffer, still wiped when dropped.
    #[must_use]
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.buffer
    }

    /// Takes back everything after a length that [`Self::bytes`] had.
    pub fn truncate(&mut self, length: usize) {
        self.buffer[length..].zeroize();
        self.buffer.truncate(length);
    }

    /// Begins a structure.
    pub fn begin(&mut self, tag: Tag) -> Structure {
        self.header(tag, Type::Structure, 0);
        Structure(self.buffer.len())
    }

    /// Ends the structure that was begun last.
    pub fn end(&mut self, structure: Structure) {
        let length = self.buffer.len() - structure.0;
        // The frame limit keeps lengths far below 4 GiB.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.buffer[structure.0 - 4..structure.0].copy_from_slice(&length.to_be_bytes());
    }

    /// Writes a structure whose fields are written by a closure.
    pub fn structure(&mut self, tag: Tag, fields: impl FnOnce(&mut Self)) {
        let structure = self.begin(tag);
        fields(self);
        self.end(structure);
    }

    /// Writes an Integer.
    pub fn integer(&mut self, tag: Tag, value: i32) {
        self.four(tag, Type::Integer, value.to_be_bytes());
    }

    /// Writes a Long Integer.
    pub fn long_integer(&mut self, tag: Tag, value: i64) {
        self.eight(tag, Type::LongInteger, value.to_be_bytes());
    }

    /// Writes a Big Integer from two's complement bytes, most significant first, sign-extended to a multiple of eight.
    pub fn big_integer(&mut self, tag: Tag, value: &[u8]) {
        let length = value.len().max(1).next_multiple_of(8);
        let sign = if value.first().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
        self.header(tag, Type::BigInteger, length);
        let filled = self.buffer.len() + length - value.len();
        self.buffer.resize(filled, sign);
        self.buffer.extend_from_slice(value);
    }

    /// Writes an Enumeration.
    pub fn enumeration(&mut self, tag: Tag, value: u32) {
        self.four(tag, Type::Enumeration, value.to_be_bytes());
    }

    /// Writes a Boolean.
    pub fn boolean(&mut self, tag: Tag, value: bool) {
        self.eight(tag, Type::Boolean, u64::from(value).to_be_bytes());
    }

    /// Writes a Text String.
    pub fn text_string(&mut self, tag: Tag, value: &str) {
        self.raw(tag, Type::TextString, value.as_bytes());
    }

    /// Writes a value of one of the text types.
    pub fn text_of(&mut self, tag: Tag, item_type: Type, value: &str) {
        self.raw(tag, item_type, value.as_bytes());
    }

    /// Writes a Byte String.
    pub fn byte_string(&mut self, tag: Tag, value: &[u8]) {
        self.raw(tag, Type::ByteString, value);
    }

    /// Writes a Date-Time: seconds since 1970-01-01 UTC.
    pub fn date_time(&mut self, tag: Tag, value: i64) {
        self.eight(tag, Type::DateTime, value.to_be_bytes());
    }

    /// Writes a Date-Time Extended: microseconds since 1970-01-01 UTC.
    pub fn date_time_extended(&mut self, tag: Tag, value: i64) {
        self.eight(tag, Type::DateTimeExtended, value.to_be_bytes());
    }

    /// Writes an Interval: seconds.
    pub fn interval(&mut self, tag: Tag, value: u32) {
        self.four(tag, Type::Interval, value.to_be_bytes());
    }

    /// Writes an item of any type from its value bytes without padding.
    pub fn raw(&mut self, tag: Tag, item_type: Type, value: &[u8]) {
        self.header(tag, item_type, value.len());
        self.buffer.extend_from_slice(value);
        let padding = value.len().next_multiple_of(8) - value.len();
        self.buffer.extend_from_slice(&[0; 8][..padding]);
    }

    fn four(&mut self, tag: Tag, item_type: Type, value: [u8; 4]) {
        self.header(tag, item_type, 4);
        let [a, b, c, d] = value;
        self.buffer.extend_from_slice(&[a, b, c, d, 0, 0, 0, 0]);
    }

    fn eight(&mut self, tag: Tag, item_type: Type, value: [u8; 8]) {
        self.header(tag, item_type, 8);
        self.buffer.extend_from_slice(&value);
    }

    /// Writes a header and makes room for the padded value.
    fn header(&mut self, tag: Tag, item_type: Type, length: usize) {
        self.reserve(8 + length.next_multiple_of(8));
        let [_, a, b, c] = tag.0.to_be_bytes();
        let [d, e, f, g] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.buffer.extend_from_slice(&[a, b, c, item_type as u8, d, e, f, g]);
    }

    /// Grows without leaving a copy behind in freed memory.
    fn reserve(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed > self.buffer.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.buffer.capacity() * 2));
            larger.extend_from_slice(&self.buffer);
            // The old buffer is wiped by the drop of its `Zeroizing`.
            self.buffer = Zeroizing::new(larger);
        }
    }
}
