//! XML text to events.

use quick_xml::XmlVersion;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use zeroize::Zeroizing;

use crate::Tag;
use crate::event::Sink;
use crate::text::{Budget, Error, Limits, Reason, names, said, shown};
use crate::ttlv::Type;

/// Reads one message and sends its items to `sink`. A simple item by itself is read too: that it is no message shows when what the
/// sink holds is parsed as one.
///
/// # Errors
/// On the first departure from the encoding. The sink may then hold the beginning of a message; discard it.
pub fn read(text: &str, sink: &mut dyn Sink, limits: Limits) -> Result<(), Error> {
    let budget = Budget::new(text, limits).map_err(|reason| Error { position: 0, reason })?;
    let mut xml = quick_xml::Reader::from_str(text);
    let mut reader = Reader { sink, budget, open: Vec::new(), begun: false, done: false };
    loop {
        let event = xml.read_event();
        let position = usize::try_from(xml.buffer_position()).unwrap_or(usize::MAX);
        let result = match event {
            Ok(Event::Eof) => return reader.finish().map_err(|reason| Error { position, reason }),
            Ok(event) => reader.event(&event),
            Err(error) => Err(said(&error)),
        };
        result.map_err(|reason| Error { position, reason })?;
    }
}

struct Reader<'a> {
    sink: &'a mut dyn Sink,
    budget: Budget,
    open: Vec<Open>,
    /// Something was read.
    begun: bool,
    done: bool,
}

/// An element whose end has not been seen.
struct Open {
    tag: Tag,
    is_structure: bool,
    /// The attribute that the last Attribute Name in this structure meant.
    attribute: Option<Tag>,
}

impl Reader<'_> {
    fn event(&mut self, event: &Event<'_>) -> Result<(), Reason> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        match event {
            Event::Start(element) => self.start(element),
            Event::Empty(element) => self.start(element).and_then(|()| self.end()),
            Event::End(_) => self.end(),
            Event::Decl(declaration) if is_first => check_declaration(declaration),
            Event::Comment(_) => Ok(()),
            Event::Text(between) if between.bytes().all(|byte| byte.is_ascii_whitespace()) => Ok(()),
            Event::DocType(_) => Err(Reason::Unaccepted("a document type declaration")),
            Event::PI(_) => Err(Reason::Unaccepted("a processing instruction")),
            Event::GeneralRef(_) => Err(Reason::Unaccepted("an entity between elements")),
            Event::CData(_) => Err(Reason::Unaccepted("a CDATA section")),
            _ => Err(Reason::Trailing),
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), Reason> {
        if let Some(parent) = self.open.last() {
            if !parent.is_structure {
                return Err(Reason::NotAStructure(parent.tag));
            }
        } else if self.done {
            return Err(Reason::Trailing);
        }
        let item = Item::parse(element)?;
        let is_structure = item.item_type == Type::Structure;
        if is_structure {
            if item.value.is_some() {
                return Err(Reason::MissingValue(item.tag));
            }
            self.budget.item(self.open.len(), true, 0)?;
            self.sink.start_structure(item.tag);
        } else {
            self.simple(&item)?;
        }
        self.open.push(Open { tag: item.tag, is_structure, attribute: None });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Reason> {
        let Some(open) = self.open.pop() else { return Err(Reason::Trailing) };
        if open.is_structure {
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
        let (tag, item_type) = (item.tag, item.item_type);
        let Some(value) = item.value.as_ref().map(|value| value.as_str()) else { return Err(Reason::MissingValue(tag)) };
        let bytes = match item_type {
            Type::BigInteger | Type::ByteString => value.len() / 2,
            text if text.is_text() => value.len(),
            _ => 8,
        };
        self.budget.item(self.open.len(), false, bytes)?;
        let attribute = self.open.last().and_then(|parent| parent.attribute);
        send(self.sink, tag, item_type, value, attribute).ok_or(Reason::Value { tag, item_type })?;
        if tag == Tag::ATTRIBUTE_NAME
            && let Some(parent) = self.open.last_mut()
        {
            parent.attribute = names::attribute_tag(value);
        }
        Ok(())
    }
}

/// Sends a simple item by its text; `None` if its type cannot have it. `attribute`: what the Attribute Name beside it means.
fn send(sink: &mut dyn Sink, tag: Tag, item_type: Type, value: &str, attribute: Option<Tag>) -> Option<()> {
    let known = names::value_names(tag, attribute);
    match item_type {
        Type::Structure => return None,
        Type::Integer => sink.integer(tag, decimal(value).or_else(|| names::integer(value, known, ' '))?),
        Type::LongInteger => sink.long_integer(tag, decimal(value)?),
        Type::BigInteger => sink.big_integer(tag, &names::big_integer(value)?),
        Type::Enumeration => sink.enumeration(tag, names::enumeration_code(value, known)?),
        Type::Boolean => sink.boolean(tag, value.parse().ok()?),
        Type::TextString => sink.text_string(tag, value),
        Type::ByteString => sink.byte_string(tag, &names::bytes(value)?),
        Type::DateTime => sink.date_time(tag, names::date_time(value)?),
        Type::Interval => sink.interval(tag, decimal(value)?),
        Type::DateTimeExtended => sink.date_time_extended(tag, names::date_time_extended(value)?),
        Type::Identifier | Type::Reference | Type::NameReference => sink.reference(tag, item_type, value),
    }
    Some(())
}

fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// The text is a Rust string already: another encoding than UTF-8 cannot be what was meant.
fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), Reason> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(encoding)) if encoding.eq_ignore_ascii_case("utf-8") => Ok(()),
        Some(Ok(_)) => Err(Reason::Unaccepted("an encoding other than UTF-8")),
        Some(Err(error)) => Err(said(&error)),
    }
}

/// One element: its tag, type and value.
struct Item {
    tag: Tag,
    item_type: Type,
    value: Option<Zeroizing<String>>,
}

impl Item {
    fn parse(element: &BytesStart<'_>) -> Result<Self, Reason> {
        let name = element.name();
        let name = name.as_ref();
        let is_numbered = name == "TTLV";
        let (mut number, mut item_type, mut value) = (None, None, None);
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| said(&error))?;
            match attribute.key.as_ref() {
                "tag" if is_numbered => number = Some(text_of(&attribute)?),
                "name" if is_numbered => {}
                "type" => item_type = Some(text_of(&attribute)?),
                "value" => value = Some(text_of(&attribute)?),
                other => return Err(Reason::Attribute(shown(other))),
            }
        }
        // KMIP-ENC 1.0 §6.1.6: a tag without a name is written as the element TTLV with the number in `tag`.
        let tag = match (&number, is_numbered) {
            (Some(number), true) => names::hexadecimal(number, 6).and_then(|_| names::tag(number)),
            (None, true) => return Err(Reason::Missing("tag")),
            _ => Tag::by_xml_name(name),
        };
        let tag = tag.ok_or_else(|| Reason::UnknownTag(shown(number.as_ref().map_or(name, |number| number.as_str()))))?;
        // KMIP-ENC 1.0 §6.1.4: an absent type means Structure.
        let item_type = match &item_type {
            None => Type::Structure,
            Some(name) => Type::by_xml_name(name).ok_or_else(|| Reason::UnknownType(shown(name)))?,
        };
        Ok(Self { tag, item_type, value })
    }
}

/// The value of an XML attribute, its entities resolved: the five of XML and numbers of characters that XML has.
fn text_of(attribute: &Attribute<'_>) -> Result<Zeroizing<String>, Reason> {
    let text = attribute.normalized_value(XmlVersion::Explicit1_0);
    let text = text.map_err(|_| Reason::Malformed("an entity or character reference that XML does not define".to_owned()))?;
    // XML 1.0 §2.2: Char has no control characters but tab, line feed and carriage return.
    let is_character = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    if !text.chars().all(is_character) {
        return Err(Reason::Malformed("a character that XML does not have".to_owned()));
    }
    Ok(Zeroizing::new(text.into_owned()))
}
