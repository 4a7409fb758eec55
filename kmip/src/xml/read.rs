//! XML text to events.

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};

use super::names;
use crate::Tag;
use crate::event::Sink;

/// What a text may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of XML text.
    pub text_bytes_max: usize,
    /// Structures within structures.
    pub depth_max: usize,
}

impl Default for Limits {
    /// XML takes about four bytes for one of TTLV: 4 MiB carry the usual 1 MiB message.
    fn default() -> Self {
        Self { text_bytes_max: 4 << 20, depth_max: 32 }
    }
}

/// Why a text is not a KMIP message, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {reason}")]
pub struct Error {
    /// Offset in the text, just after the markup that is wrong.
    pub position: u64,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong in a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// An attribute other than `tag`, `name`, `type` and `value`.
    #[error("attribute `{0}` has no meaning here")]
    Attribute(String),
    /// More structures within structures than allowed.
    #[error("structures nest deeper than {0}")]
    Depth(usize),
    /// No root element.
    #[error("no message in the text")]
    Empty,
    /// The text ends inside an element, or an end tag does not fit.
    #[error("not well-formed XML: {0}")]
    Malformed(String),
    /// A simple item without its value, or a structure with one.
    #[error("{0} must have a value if it is no structure, and only then")]
    MissingValue(String),
    /// Fields inside an item that is not a Structure.
    #[error("{0} is not a structure and cannot hold fields")]
    NotAStructure(String),
    /// The text is larger than allowed.
    #[error("text of {size} bytes exceeds {limit}")]
    Size {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Something after the message, or text between elements.
    #[error("unexpected content beside the message")]
    Trailing,
    /// Element name that is no tag.
    #[error("`{0}` is not a tag of the standard")]
    UnknownTag(String),
    /// `type` that is no item type.
    #[error("`{0}` is not an item type")]
    UnknownType(String),
    /// A value that its type cannot have. The value itself is not repeated: it may be a secret.
    #[error("value of {tag} is not a valid {item_type}")]
    Value {
        /// Name of the item.
        tag: String,
        /// Its type.
        item_type: String,
    },
}

/// Reads one message and sends its items to `sink`. A simple item by itself is read too: that it is no message shows when what the
/// sink holds is parsed as one.
///
/// # Errors
/// On the first departure from the encoding. The sink may then hold the beginning of a message; discard it.
pub fn read(text: &str, sink: &mut dyn Sink, limits: Limits) -> Result<(), Error> {
    if text.len() > limits.text_bytes_max {
        let reason = Reason::Size { size: text.len(), limit: limits.text_bytes_max };
        return Err(Error { position: 0, reason });
    }
    let mut xml = quick_xml::Reader::from_str(text);
    let mut reader = Reader { sink, limits, open: Vec::new(), done: false };
    loop {
        let event = xml.read_event();
        let position = xml.buffer_position();
        let result = match event {
            Ok(Event::Start(element)) => reader.start(&element),
            Ok(Event::Empty(element)) => reader.start(&element).and_then(|()| reader.end()),
            Ok(Event::End(_)) => reader.end(),
            Ok(Event::Eof) => return reader.finish().map_err(|reason| Error { position, reason }),
            Ok(Event::Decl(_) | Event::Comment(_)) => Ok(()),
            Ok(Event::Text(between)) if between.bytes().all(|byte| byte.is_ascii_whitespace()) => Ok(()),
            Ok(_) => Err(Reason::Trailing),
            Err(error) => Err(Reason::Malformed(error.to_string())),
        };
        result.map_err(|reason| Error { position, reason })?;
    }
}

struct Reader<'a> {
    sink: &'a mut dyn Sink,
    limits: Limits,
    open: Vec<Open>,
    done: bool,
}

/// An element whose end has not been seen.
struct Open {
    tag: Tag,
    structure: bool,
    /// The attribute that the last Attribute Name in this structure meant.
    attribute: Option<Tag>,
}

impl Reader<'_> {
    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), Reason> {
        if let Some(parent) = self.open.last() {
            if !parent.structure {
                return Err(Reason::NotAStructure(parent.tag.to_string()));
            }
        } else if self.done {
            return Err(Reason::Trailing);
        }
        if self.open.len() >= self.limits.depth_max {
            return Err(Reason::Depth(self.limits.depth_max));
        }
        let item = Item::parse(element)?;
        let structure = item.item_type == "Structure";
        if structure {
            if item.value.is_some() {
                return Err(Reason::MissingValue(item.tag.to_string()));
            }
            self.sink.start_structure(item.tag);
        } else {
            self.simple(&item)?;
        }
        self.open.push(Open { tag: item.tag, structure, attribute: None });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Reason> {
        let Some(open) = self.open.pop() else { return Err(Reason::Trailing) };
        if open.structure {
            self.sink.end_structure();
        }
        self.done = self.open.is_empty();
        Ok(())
    }

    fn finish(&self) -> Result<(), Reason> {
        match (self.done, self.open.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(Reason::Empty),
            (false, false) => Err(Reason::Malformed("the text ends inside an element".to_owned())),
        }
    }

    fn simple(&mut self, item: &Item) -> Result<(), Reason> {
        let Some(value) = item.value.as_deref() else { return Err(Reason::MissingValue(item.tag.to_string())) };
        let attribute = self.open.last().and_then(|parent| parent.attribute);
        let known = names::value_names(item.tag, attribute);
        let tag = item.tag;
        let sink = &mut *self.sink;
        let written = match item.item_type.as_str() {
            "Integer" => names::integer(value, known).map(|number| sink.integer(tag, number)),
            "LongInteger" => value.parse().ok().map(|number| sink.long_integer(tag, number)),
            "BigInteger" => big_integer(value).map(|bytes| sink.big_integer(tag, &bytes)),
            "Enumeration" => names::enumeration_code(value, known).map(|code| sink.enumeration(tag, code)),
            "Boolean" => boolean(value).map(|truth| sink.boolean(tag, truth)),
            "TextString" => {
                sink.text_string(tag, value);
                Some(())
            }
            "ByteString" => hex::decode(value).ok().map(|bytes| sink.byte_string(tag, &bytes)),
            "DateTime" => names::date_time(value).map(|seconds| sink.date_time(tag, seconds)),
            "Interval" => value.parse().ok().map(|seconds| sink.interval(tag, seconds)),
            "DateTimeExtended" => names::date_time_extended(value).map(|at| sink.date_time_extended(tag, at)),
            other => return Err(Reason::UnknownType(other.to_owned())),
        };
        written.ok_or_else(|| Reason::Value { tag: tag.to_string(), item_type: item.item_type.clone() })?;
        if tag == Tag::ATTRIBUTE_NAME
            && let Some(parent) = self.open.last_mut()
        {
            parent.attribute = names::attribute_tag(value);
        }
        Ok(())
    }
}

/// One element: its tag, type and value.
struct Item {
    tag: Tag,
    item_type: String,
    value: Option<String>,
}

impl Item {
    fn parse(element: &BytesStart<'_>) -> Result<Self, Reason> {
        let name = element.name().as_ref().to_owned();
        let (mut number, mut item_type, mut value) = (None, None, None);
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| Reason::Malformed(error.to_string()))?;
            match attribute.key.as_ref() {
                "tag" if name == "TTLV" => number = Some(text_of(&attribute)?),
                "name" if name == "TTLV" => {}
                "type" => item_type = Some(text_of(&attribute)?),
                "value" => value = Some(text_of(&attribute)?),
                other => return Err(Reason::Attribute(other.to_owned())),
            }
        }
        // KMIP-ENC 1.0 §6.1.6: a tag without a name is written as the element TTLV with the number in `tag`.
        let tag = match &number {
            Some(number) => numbered_tag(number),
            None => Tag::by_xml_name(&name),
        };
        let tag = tag.ok_or(Reason::UnknownTag(number.unwrap_or(name)))?;
        // KMIP-ENC 1.0 §6.1.4: an absent type means Structure.
        Ok(Self { tag, item_type: item_type.unwrap_or_else(|| "Structure".to_owned()), value })
    }
}

fn text_of(attribute: &Attribute<'_>) -> Result<String, Reason> {
    let text = quick_xml::escape::unescape(&attribute.value).map_err(|error| Reason::Malformed(error.to_string()))?;
    Ok(text.into_owned())
}

fn numbered_tag(number: &str) -> Option<Tag> {
    let tag = Tag(u32::from_str_radix(number.strip_prefix("0x")?, 16).ok()?);
    tag.is_in_range().then_some(tag)
}

/// KMIP-ENC 1.0 §6.1.5: a Big Integer is hexadecimal, sign-extended to a multiple of 8 bytes.
fn big_integer(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text).ok()?;
    (!bytes.is_empty() && bytes.len().is_multiple_of(8)).then_some(bytes)
}

fn boolean(text: &str) -> Option<bool> {
    text.parse().ok()
}
