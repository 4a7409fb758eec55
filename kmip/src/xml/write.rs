//! Events to XML text.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::Tag;
use crate::event::{self, Sink};
use crate::text::{TextBuffer, names};
use crate::ttlv::{DecodeError, Frame, Limits, Type};

/// Whether values that may be key material are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// Everything is written: the encoding proper.
    None,
    /// Values of keys, secrets, credentials and data under cryptographic operations are replaced by their size:
    /// for diagnostics. The result is no longer a message.
    Secrets,
}

/// Writes events as XML text, one element a line, indented by two spaces.
#[derive(Debug)]
pub struct Writer {
    text: TextBuffer,
    open: Vec<Open>,
    masking: Masking,
}

#[derive(Debug)]
struct Open {
    tag: Tag,
    masked: bool,
    attribute: Option<Tag>,
}

impl Writer {
    /// An empty text.
    #[must_use]
    pub fn new(masking: Masking) -> Self {
        Self { text: TextBuffer::default(), open: Vec::new(), masking }
    }

    /// The text written so far; wiped when dropped.
    #[must_use]
    pub fn into_text(self) -> Zeroizing<String> {
        self.text.into_text()
    }

    fn item(&mut self, tag: Tag, item_type: Type, value: &str) {
        let value = if self.hides(tag) { "(masked)" } else { value };
        self.element(tag);
        // Infallible: writing to a String.
        let _ = write!(self.text, " type=\"{}\" value=\"", item_type.xml_name());
        escape_into(&mut self.text, value);
        self.text.push_str("\"/>\n");
    }

    fn bytes(&mut self, tag: Tag, item_type: Type, value: &[u8]) {
        if self.hides(tag) {
            self.element(tag);
            let _ = writeln!(self.text, " type=\"{}\" value=\"({} bytes)\"/>", item_type.xml_name(), value.len());
        } else {
            self.item(tag, item_type, &Zeroizing::new(hex::encode(value)));
        }
    }

    fn element(&mut self, tag: Tag) {
        self.indent();
        match tag.entry() {
            Some(entry) => {
                let _ = write!(self.text, "<{}", entry.xml_name);
            }
            None => {
                let _ = write!(self.text, "<TTLV tag=\"0x{:06X}\"", tag.0);
            }
        }
    }

    fn indent(&mut self) {
        for _ in 0..self.open.len() {
            self.text.push_str("  ");
        }
    }

    fn hides(&self, tag: Tag) -> bool {
        self.masking == Masking::Secrets && (is_secret(tag) || self.open.last().is_some_and(|open| open.masked))
    }

    fn attribute(&self) -> Option<Tag> {
        self.open.last().and_then(|open| open.attribute)
    }
}

impl Sink for Writer {
    fn start_structure(&mut self, tag: Tag) {
        self.element(tag);
        self.text.push_str(">\n");
        let masked = self.hides(tag);
        self.open.push(Open { tag, masked, attribute: None });
    }

    fn end_structure(&mut self) {
        let Some(open) = self.open.pop() else { return };
        self.indent();
        let name = open.tag.entry().map_or("TTLV", |entry| entry.xml_name);
        let _ = writeln!(self.text, "</{name}>");
    }

    fn integer(&mut self, tag: Tag, value: i32) {
        let text = names::mask_name(value, names::value_names(tag, self.attribute()), " ").unwrap_or_else(|| value.to_string());
        self.item(tag, Type::Integer, &text);
    }

    fn long_integer(&mut self, tag: Tag, value: i64) {
        self.item(tag, Type::LongInteger, &value.to_string());
    }

    fn big_integer(&mut self, tag: Tag, value: &[u8]) {
        self.bytes(tag, Type::BigInteger, value);
    }

    fn enumeration(&mut self, tag: Tag, value: u32) {
        let text = names::enumeration_name(value, names::value_names(tag, self.attribute()));
        self.item(tag, Type::Enumeration, &text);
    }

    fn boolean(&mut self, tag: Tag, value: bool) {
        self.item(tag, Type::Boolean, if value { "true" } else { "false" });
    }

    fn text_string(&mut self, tag: Tag, value: &str) {
        self.item(tag, Type::TextString, value);
        if tag == Tag::ATTRIBUTE_NAME
            && let Some(open) = self.open.last_mut()
        {
            open.attribute = names::attribute_tag(value);
        }
    }

    fn reference(&mut self, tag: Tag, item_type: Type, value: &str) {
        self.item(tag, item_type, value);
    }

    fn byte_string(&mut self, tag: Tag, value: &[u8]) {
        self.bytes(tag, Type::ByteString, value);
    }

    fn date_time(&mut self, tag: Tag, seconds: i64) {
        self.item(tag, Type::DateTime, &names::date_time_name(seconds));
    }

    fn interval(&mut self, tag: Tag, seconds: u32) {
        self.item(tag, Type::Interval, &seconds.to_string());
    }

    fn date_time_extended(&mut self, tag: Tag, microseconds: i64) {
        self.item(tag, Type::DateTimeExtended, &names::date_time_extended_name(microseconds));
    }
}

/// A TTLV message as XML text.
///
/// # Errors
/// If the bytes are not one well-formed message within the limits.
pub fn write(message: &[u8], limits: &Limits, masking: Masking) -> Result<Zeroizing<String>, DecodeError> {
    let frame = Frame::parse(message, limits)?;
    let mut writer = Writer::new(masking);
    event::replay(&frame.root(), &mut writer)?;
    Ok(writer.into_text())
}

/// Tags whose value, or whose fields, may be key material, a credential or the data it protects.
pub(super) fn is_secret(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::KEY_VALUE
            | Tag::KEY_MATERIAL
            | Tag::OPAQUE_DATA_VALUE
            | Tag::CREDENTIAL_VALUE
            | Tag::PASSWORD
            | Tag::DATA
            | Tag::DERIVATION_DATA
            | Tag::INITIALIZATION_VECTOR
            | Tag::SALT
            | Tag::TICKET_VALUE
            | Tag::OTP_SEED
            | Tag::PKCS_11_INPUT_PARAMETERS
            | Tag::PKCS_11_OUTPUT_PARAMETERS
    )
}

/// Text as an attribute value. White space is escaped because XML 1.0 §3.3.3 would make spaces of it, and characters
/// that XML 1.0 §2.2 has no way to write become U+FFFD.
fn escape_into(out: &mut TextBuffer, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}
