//! Events: a KMIP message as a sequence of typed items, independent of its encoding.
//!
//! A source (the TTLV cursor, the XML and JSON readers) calls a [`Sink`] for each item in order; a sink (the TTLV
//! writer, the XML and JSON writers) writes them down. An encoding is added by writing one source and one sink, and every
//! pair of encodings is then a transcoder. Sources check what they read; sinks trust it.

use zeroize::Zeroizing;

use crate::Tag;
use crate::ttlv::{DecodeError, Item, Structure, Type, Writer};

/// Receives the items of a message in order.
///
/// Calls to [`Sink::start_structure`] and [`Sink::end_structure`] are balanced. Sinks cannot fail: limits are
/// the source's duty.
pub trait Sink {
    /// A Structure opens; its fields follow.
    fn start_structure(&mut self, tag: Tag);
    /// The innermost open Structure ends.
    fn end_structure(&mut self);
    /// An Integer, or a mask.
    fn integer(&mut self, tag: Tag, value: i32);
    /// A Long Integer.
    fn long_integer(&mut self, tag: Tag, value: i64);
    /// A Big Integer: two's complement, big-endian, a multiple of 8 bytes.
    fn big_integer(&mut self, tag: Tag, value: &[u8]);
    /// An Enumeration.
    fn enumeration(&mut self, tag: Tag, value: u32);
    /// A Boolean.
    fn boolean(&mut self, tag: Tag, value: bool);
    /// A Text String.
    fn text_string(&mut self, tag: Tag, value: &str);
    /// An Identifier, Reference or Name Reference: the text types of 3.0.
    fn reference(&mut self, tag: Tag, item_type: Type, value: &str);
    /// A Byte String.
    fn byte_string(&mut self, tag: Tag, value: &[u8]);
    /// A Date-Time: seconds since 1970 UTC.
    fn date_time(&mut self, tag: Tag, seconds: i64);
    /// An Interval in seconds.
    fn interval(&mut self, tag: Tag, seconds: u32);
    /// A Date-Time Extended: microseconds since 1970 UTC.
    fn date_time_extended(&mut self, tag: Tag, microseconds: i64);
}

/// A TTLV message under construction from events.
#[derive(Default)]
pub struct TtlvSink {
    writer: Writer,
    open: Vec<Structure>,
}

impl TtlvSink {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes of the message. Structures still open keep length zero.
    #[must_use]
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.writer.into_bytes()
    }
}

impl Sink for TtlvSink {
    fn start_structure(&mut self, tag: Tag) {
        self.open.push(self.writer.begin(tag));
    }

    fn end_structure(&mut self) {
        if let Some(structure) = self.open.pop() {
            self.writer.end(structure);
        }
    }

    fn integer(&mut self, tag: Tag, value: i32) {
        self.writer.integer(tag, value);
    }

    fn long_integer(&mut self, tag: Tag, value: i64) {
        self.writer.long_integer(tag, value);
    }

    fn big_integer(&mut self, tag: Tag, value: &[u8]) {
        self.writer.big_integer(tag, value);
    }

    fn enumeration(&mut self, tag: Tag, value: u32) {
        self.writer.enumeration(tag, value);
    }

    fn boolean(&mut self, tag: Tag, value: bool) {
        self.writer.boolean(tag, value);
    }

    fn text_string(&mut self, tag: Tag, value: &str) {
        self.writer.text_string(tag, value);
    }

    fn reference(&mut self, tag: Tag, item_type: Type, value: &str) {
        self.writer.text_of(tag, item_type, value);
    }

    fn byte_string(&mut self, tag: Tag, value: &[u8]) {
        self.writer.byte_string(tag, value);
    }

    fn date_time(&mut self, tag: Tag, seconds: i64) {
        self.writer.date_time(tag, seconds);
    }

    fn interval(&mut self, tag: Tag, seconds: u32) {
        self.writer.interval(tag, seconds);
    }

    fn date_time_extended(&mut self, tag: Tag, microseconds: i64) {
        self.writer.date_time_extended(tag, microseconds);
    }
}

/// Sends an item of a parsed frame, and what it holds, to `sink`. Depth is bounded by the limits the frame was parsed with.
///
/// # Errors
/// If a value does not have the form of its type; a [`Frame`](crate::ttlv::Frame) has been checked for that.
pub fn replay(item: &Item<'_>, sink: &mut dyn Sink) -> Result<(), DecodeError> {
    let tag = item.tag;
    match item.item_type {
        Type::Structure => {
            sink.start_structure(tag);
            for field in item.structure()? {
                replay(&field, sink)?;
            }
            sink.end_structure();
        }
        Type::Integer => sink.integer(tag, item.integer()?),
        Type::LongInteger => sink.long_integer(tag, item.long_integer()?),
        Type::BigInteger => sink.big_integer(tag, item.big_integer()?),
        Type::Enumeration => sink.enumeration(tag, item.enumeration()?),
        Type::Boolean => sink.boolean(tag, item.boolean()?),
        Type::TextString => sink.text_string(tag, item.text()?),
        Type::ByteString => sink.byte_string(tag, item.byte_string()?),
        Type::DateTime => sink.date_time(tag, item.date_time()?),
        Type::Interval => sink.interval(tag, item.interval()?),
        Type::DateTimeExtended => sink.date_time_extended(tag, item.date_time_extended()?),
        Type::Identifier | Type::Reference | Type::NameReference => {
            sink.reference(tag, item.item_type, item.text_of(item.item_type)?);
        }
    }
    Ok(())
}
