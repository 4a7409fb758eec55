//! Events to JSON text.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::Tag;
use crate::event::{self, Sink};
use crate::text::{TextBuffer, names};
use crate::ttlv::{DecodeError, Frame, Limits, Type};

/// Writes events as JSON text, one item a line, indented by two spaces. Numbers are written as the examples of the standard
/// write them: in hexadecimal, with all digits of their width.
#[derive(Debug, Default)]
pub struct Writer {
    text: TextBuffer,
    open: Vec<Open>,
    begun: bool,
}

#[derive(Debug)]
struct Open {
    is_empty: bool,
    attribute: Option<Tag>,
}

impl Writer {
    /// An empty text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The text written so far; wiped when dropped.
    #[must_use]
    pub fn into_text(self) -> Zeroizing<String> {
        self.text.into_text()
    }

    fn begin(&mut self, tag: Tag, item_type: Type) {
        let follows = match self.open.last_mut() {
            Some(parent) => !std::mem::replace(&mut parent.is_empty, false),
            None => std::mem::replace(&mut self.begun, true),
        };
        if follows {
            self.text.push(',');
        }
        if follows || !self.open.is_empty() {
            self.text.push('\n');
        }
        for _ in 0..self.open.len() {
            self.text.push_str("  ");
        }
        self.text.push_str("{\"tag\":\"");
        match tag.entry() {
            Some(entry) => self.text.push_str(entry.xml_name),
            // Infallible here and below: writing to a text.
            None => drop(write!(self.text, "0x{:06X}", tag.0)),
        }
        if item_type != Type::Structure {
            let _ = write!(self.text, "\", \"type\":\"{}", item_type.xml_name());
        }
        self.text.push_str("\", \"value\":");
    }

    /// An item whose value is a string that needs no escapes.
    fn plain(&mut self, tag: Tag, item_type: Type, value: &str) {
        self.begin(tag, item_type);
        let _ = write!(self.text, "\"{value}\"}}");
    }

    fn string(&mut self, tag: Tag, item_type: Type, value: &str) {
        self.begin(tag, item_type);
        self.text.push('"');
        escape_into(&mut self.text, value);
        self.text.push_str("\"}");
    }

    fn bytes(&mut self, tag: Tag, item_type: Type, prefix: &str, value: &[u8]) {
        self.begin(tag, item_type);
        let _ = write!(self.text, "\"{prefix}{}\"}}", Zeroizing::new(hex::encode(value)).as_str());
    }

    fn attribute(&self) -> Option<Tag> {
        self.open.last().and_then(|open| open.attribute)
    }
}

impl Sink for Writer {
    fn start_structure(&mut self, tag: Tag) {
        self.begin(tag, Type::Structure);
        self.text.push('[');
        self.open.push(Open { is_empty: true, attribute: None });
    }

    fn end_structure(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if !open.is_empty {
            self.text.push('\n');
            for _ in 0..self.open.len() {
                self.text.push_str("  ");
            }
        }
        self.text.push_str("]}");
    }

    fn integer(&mut self, tag: Tag, value: i32) {
        let known = names::value_names(tag, self.attribute());
        let text = names::mask_name(value, known, "|").unwrap_or_else(|| format!("0x{value:08x}"));
        self.plain(tag, Type::Integer, &text);
    }

    fn long_integer(&mut self, tag: Tag, value: i64) {
        self.plain(tag, Type::LongInteger, &format!("0x{value:016x}"));
    }

    fn big_integer(&mut self, tag: Tag, value: &[u8]) {
        self.bytes(tag, Type::BigInteger, "0x", value);
    }

    fn enumeration(&mut self, tag: Tag, value: u32) {
        let text = names::enumeration_name(value, names::value_names(tag, self.attribute()));
        self.plain(tag, Type::Enumeration, &text);
    }

    fn boolean(&mut self, tag: Tag, value: bool) {
        self.begin(tag, Type::Boolean);
        let _ = write!(self.text, "{value}}}");
    }

    fn text_string(&mut self, tag: Tag, value: &str) {
        self.string(tag, Type::TextString, value);
        if tag == Tag::ATTRIBUTE_NAME
            && let Some(open) = self.open.last_mut()
        {
            open.attribute = names::attribute_tag(value);
        }
    }

    fn reference(&mut self, tag: Tag, item_type: Type, value: &str) {
        self.string(tag, item_type, value);
    }

    fn byte_string(&mut self, tag: Tag, value: &[u8]) {
        self.bytes(tag, Type::ByteString, "", value);
    }

    fn date_time(&mut self, tag: Tag, seconds: i64) {
        self.plain(tag, Type::DateTime, &names::date_time_name(seconds));
    }

    fn interval(&mut self, tag: Tag, seconds: u32) {
        self.plain(tag, Type::Interval, &format!("0x{seconds:08x}"));
    }

    fn date_time_extended(&mut self, tag: Tag, microseconds: i64) {
        self.plain(tag, Type::DateTimeExtended, &names::date_time_extended_name(microseconds));
    }
}

/// A TTLV message as JSON text, ended by a line feed.
///
/// # Errors
/// If the bytes are not one well-formed message within the limits.
pub fn write(message: &[u8], limits: &Limits) -> Result<Zeroizing<String>, DecodeError> {
    let frame = Frame::parse(message, limits)?;
    let mut writer = Writer::new();
    event::replay(&frame.root(), &mut writer)?;
    writer.text.push('\n');
    Ok(writer.into_text())
}

/// RFC 8259 §7: "the quotation mark, reverse solidus, and the control characters" must be escaped.
fn escape_into(out: &mut TextBuffer, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control @ '\0'..='\x1f' => drop(write!(out, "\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
}
