//! Attribute values as text for people and scripts: what the XML encoding writes between its quotes, without the XML.

use std::fmt;

use super::write::is_secret;
use crate::text::names;
use crate::event::{self, Sink};
use crate::ttlv::{Frame, Limits, Type, Writer};
use crate::{Attribute, ProtocolVersion, Tag};

/// A value in words: names of enumeration values and mask bits, dates as RFC 3339, bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueText {
    /// A value.
    Text(String),
    /// The fields of a structure by their names in XML, in order; a name may come more than once.
    Fields(Vec<(String, Self)>),
}

impl ValueText {
    /// The value of an attribute. What may be key material is left out, should a structure hold any.
    #[must_use]
    pub fn of(attribute: &Attribute) -> Self {
        let mut writer = Writer::with_capacity(64);
        writer.structure(Tag::ATTRIBUTE, |writer| attribute.encode_value(Tag::ATTRIBUTE_VALUE, writer, ProtocolVersion::V2_1));
        let bytes = writer.into_bytes();
        let mut sink = TextSink { attribute: attribute.tag(), open: Vec::new(), done: None };
        let replayed = Frame::parse(&bytes, &Limits::STORED).and_then(|frame| event::replay(&frame.root(), &mut sink));
        match (replayed, sink.done) {
            (Ok(()), Some(Self::Fields(mut fields))) if fields.len() == 1 => fields.swap_remove(0).1,
            // An attribute is one value, well formed as we have just written it.
            _ => Self::Text(String::new()),
        }
    }
}

impl fmt::Display for ValueText {
    /// Fields as `Name=value, Name=value`, inner structures in braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = match self {
            Self::Text(text) => return f.write_str(text),
            Self::Fields(fields) => fields,
        };
        for (place, (name, value)) in fields.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            match value {
                Self::Text(text) => write!(f, "{comma}{name}={text}")?,
                inner @ Self::Fields(_) => write!(f, "{comma}{name}={{{inner}}}")?,
            }
        }
        Ok(())
    }
}

struct TextSink {
    /// Whose value it is: says what the numbers of an Attribute Value mean.
    attribute: Option<Tag>,
    open: Vec<(Tag, Vec<(String, ValueText)>)>,
    done: Option<ValueText>,
}

impl TextSink {
    fn text(&mut self, tag: Tag, text: String) {
        let hidden = is_secret(tag) || self.open.iter().any(|(open, _)| is_secret(*open));
        self.value(tag, ValueText::Text(if hidden { "(masked)".to_owned() } else { text }));
    }

    fn value(&mut self, tag: Tag, value: ValueText) {
        match self.open.last_mut() {
            Some((_, fields)) => {
                let name = tag.entry().map_or_else(|| format!("0x{:06X}", tag.0), |entry| entry.xml_name.to_owned());
                fields.push((name, value));
            }
            None => self.done = Some(value),
        }
    }
}

impl Sink for TextSink {
    fn start_structure(&mut self, tag: Tag) {
        self.open.push((tag, Vec::new()));
    }

    fn end_structure(&mut self) {
        if let Some((tag, fields)) = self.open.pop() {
            self.value(tag, ValueText::Fields(fields));
        }
    }

    fn integer(&mut self, tag: Tag, value: i32) {
        let names = names::value_names(tag, self.attribute);
        self.text(tag, names::mask_name(value, names, " ").unwrap_or_else(|| value.to_string()));
    }

    fn long_integer(&mut self, tag: Tag, value: i64) {
        self.text(tag, value.to_string());
    }

    fn big_integer(&mut self, tag: Tag, value: &[u8]) {
        self.text(tag, hex::encode(value));
    }

    fn enumeration(&mut self, tag: Tag, value: u32) {
        self.text(tag, names::enumeration_name(value, names::value_names(tag, self.attribute)));
    }

    fn boolean(&mut self, tag: Tag, value: bool) {
        self.text(tag, value.to_string());
    }

    fn text_string(&mut self, tag: Tag, value: &str) {
        self.text(tag, value.to_owned());
    }

    fn reference(&mut self, tag: Tag, _: Type, value: &str) {
        self.text(tag, value.to_owned());
    }

    fn byte_string(&mut self, tag: Tag, value: &[u8]) {
        self.text(tag, hex::encode(value));
    }

    fn date_time(&mut self, tag: Tag, seconds: i64) {
        self.text(tag, names::date_time_name(seconds));
    }

    fn interval(&mut self, tag: Tag, seconds: u32) {
        self.text(tag, seconds.to_string());
    }

    fn date_time_extended(&mut self, tag: Tag, microseconds: i64) {
        self.text(tag, names::date_time_extended_name(microseconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Fill, Maker};
    use crate::{CryptographicAlgorithm, CryptographicUsageMask, DateTime};

    fn text(attribute: &Attribute) -> String {
        ValueText::of(attribute).to_string()
    }

    /// Enumerations, masks and dates read as the XML encoding writes them.
    #[test]
    fn values_are_in_the_words_of_the_standard() {
        assert_eq!(text(&Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes)), "AES");
        let mask = CryptographicUsageMask::ENCRYPT | CryptographicUsageMask::DECRYPT;
        assert_eq!(text(&Attribute::CryptographicUsageMask(mask)), "Encrypt Decrypt");
        assert_eq!(text(&Attribute::CryptographicLength(256)), "256");
        assert_eq!(text(&Attribute::ActivationDate(DateTime(0))), "1970-01-01T00:00:00+00:00");
    }

    /// The text of every attribute is the value that the XML encoding writes, field by field.
    #[test]
    fn every_attribute_reads_as_in_xml() {
        let mut maker = Maker::new(ProtocolVersion::V2_1, Fill::All, 7);
        for attribute in Attribute::samples(&mut maker) {
            let Some(tag) = attribute.tag() else { continue };
            let mut writer = Writer::with_capacity(64);
            writer.structure(Tag::ATTRIBUTES, |writer| attribute.encode_value(tag, writer, ProtocolVersion::V2_1));
            let xml = crate::xml::write(&writer.into_bytes(), &Limits::STORED, crate::xml::Masking::Secrets).expect("XML");
            assert_all_in(&ValueText::of(&attribute), &xml, &attribute);
        }
    }

    fn assert_all_in(value: &ValueText, xml: &str, attribute: &Attribute) {
        match value {
            ValueText::Text(text) if text.is_ascii() && !text.contains(['&', '<', '"']) => {
                assert!(xml.contains(&format!("value=\"{text}\"")), "{attribute:?}: {text} is not in\n{xml}");
            }
            ValueText::Text(_) => {}
            ValueText::Fields(fields) => {
                for (name, field) in fields {
                    assert!(xml.contains(&format!("<{name}")), "{attribute:?}: {name} is not in\n{xml}");
                    assert_all_in(field, xml, attribute);
                }
            }
        }
    }
}
