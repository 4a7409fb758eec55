//! TTLV as a plain tree: an encoder and decoder independent of the product's.
//!
//! KMIP 2.1 §9.1, and the item types of 3.0. Nothing here is fast or strict beyond what a test needs; unknown tags and values are kept as they are.

use std::fmt;

/// One item: a tag and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Three-byte tag.
    pub tag: u32,
    /// Typed value.
    pub value: Value,
}

/// The value of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's item types")]
pub enum Value {
    Structure(Vec<Item>),
    Integer(i32),
    LongInteger(i64),
    BigInteger(Vec<u8>),
    Enumeration(u32),
    Boolean(bool),
    TextString(String),
    ByteString(Vec<u8>),
    DateTime(i64),
    Interval(u32),
    DateTimeExtended(i64),
    Identifier(String),
    Reference(String),
    NameReference(String),
}

/// Bytes that are not one TTLV item.
#[derive(Debug)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Value {
    /// The text of any of the types that hold one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::TextString(text) | Self::Identifier(text) | Self::Reference(text) | Self::NameReference(text) => Some(text),
            _ => None,
        }
    }

    /// A text as another of these types, by its name; what is no text stays as it is.
    #[must_use]
    pub fn in_type(self, name: &str) -> Self {
        match (self, name) {
            (Self::TextString(text) | Self::Identifier(text) | Self::Reference(text) | Self::NameReference(text), name) => match name {
                "Identifier" => Self::Identifier(text),
                "Reference" => Self::Reference(text),
                "NameReference" => Self::NameReference(text),
                _ => Self::TextString(text),
            },
            (other, _) => other,
        }
    }

    /// Name of the item type, as XML writes it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Structure(_) => "Structure",
            Self::Integer(_) => "Integer",
            Self::LongInteger(_) => "LongInteger",
            Self::BigInteger(_) => "BigInteger",
            Self::Enumeration(_) => "Enumeration",
            Self::Boolean(_) => "Boolean",
            Self::TextString(_) => "TextString",
            Self::ByteString(_) => "ByteString",
            Self::DateTime(_) => "DateTime",
            Self::Interval(_) => "Interval",
            Self::DateTimeExtended(_) => "DateTimeExtended",
            Self::Identifier(_) => "Identifier",
            Self::Reference(_) => "Reference",
            Self::NameReference(_) => "NameReference",
        }
    }
}

impl Item {
    /// An item.
    #[must_use]
    pub fn new(tag: u32, value: Value) -> Self {
        Self { tag, value }
    }

    /// A Structure.
    #[must_use]
    pub fn structure(tag: u32, fields: Vec<Self>) -> Self {
        Self::new(tag, Value::Structure(fields))
    }

    /// The fields of a Structure; none for other items.
    #[must_use]
    pub fn fields(&self) -> &[Self] {
        match &self.value {
            Value::Structure(fields) => fields,
            _ => &[],
        }
    }

    /// The first field with this tag.
    #[must_use]
    pub fn field(&self, tag: u32) -> Option<&Self> {
        self.fields().iter().find(|field| field.tag == tag)
    }

    /// The first item with this tag, at any depth, in order.
    #[must_use]
    pub fn find(&self, tag: u32) -> Option<&Self> {
        if self.tag == tag {
            return Some(self);
        }
        self.fields().iter().find_map(|field| field.find(tag))
    }

    /// The text of a Text String.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::TextString(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an Enumeration.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self.value {
            Value::Enumeration(code) => Some(code),
            _ => None,
        }
    }

    /// The bytes of a Byte String.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.value {
            Value::ByteString(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        let (code, content) = match &self.value {
            Value::Structure(fields) => {
                let mut inner = Vec::new();
                fields.iter().for_each(|field| field.encode_into(&mut inner));
                (1, inner)
            }
            Value::Integer(value) => (2, value.to_be_bytes().to_vec()),
            Value::LongInteger(value) => (3, value.to_be_bytes().to_vec()),
            Value::BigInteger(value) => (4, value.clone()),
            Value::Enumeration(value) => (5, value.to_be_bytes().to_vec()),
            Value::Boolean(value) => (6, u64::from(*value).to_be_bytes().to_vec()),
            Value::TextString(value) => (7, value.as_bytes().to_vec()),
            Value::ByteString(value) => (8, value.clone()),
            Value::DateTime(value) => (9, value.to_be_bytes().to_vec()),
            Value::Interval(value) => (10, value.to_be_bytes().to_vec()),
            Value::DateTimeExtended(value) => (11, value.to_be_bytes().to_vec()),
            Value::Identifier(value) => (12, value.as_bytes().to_vec()),
            Value::Reference(value) => (13, value.as_bytes().to_vec()),
            Value::NameReference(value) => (14, value.as_bytes().to_vec()),
        };
        out.extend_from_slice(&self.tag.to_be_bytes()[1..]);
        out.push(code);
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&content);
        out.resize(out.len().next_multiple_of(8), 0);
    }

    /// Reads the one item that `bytes` are.
    ///
    /// # Errors
    /// If they are not exactly one item.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (item, rest) = decode_one(bytes, 0)?;
        if rest.is_empty() { Ok(item) } else { Err(Malformed(format!("{} bytes after the message", rest.len()))) }
    }
}

fn decode_one(bytes: &[u8], depth: usize) -> Result<(Item, &[u8]), Malformed> {
    let fail = |what: &str| Malformed(format!("{what} at depth {depth}"));
    let (header, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| fail("less than a header"))?;
    let tag = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let padded = length.next_multiple_of(8);
    if padded > rest.len() || depth > 64 {
        return Err(fail(&format!("tag {tag:06X} of {length} bytes does not fit")));
    }
    let content = &rest[..length];
    if rest[length..padded].iter().any(|&byte| byte != 0) {
        return Err(fail(&format!("padding of tag {tag:06X} is not zero")));
    }
    let four = || content.try_into().map(u32::from_be_bytes).map_err(|_| fail("length is not 4"));
    let eight = || content.try_into().map(u64::from_be_bytes).map_err(|_| fail("length is not 8"));
    let text = || String::from_utf8(content.to_vec()).map_err(|_| fail("text is not UTF-8"));
    let value = match header[3] {
        1 => {
            let mut fields = Vec::new();
            let mut inner = content;
            while !inner.is_empty() {
                let (field, after) = decode_one(inner, depth + 1)?;
                fields.push(field);
                inner = after;
            }
            Value::Structure(fields)
        }
        2 => Value::Integer(four()?.cast_signed()),
        3 => Value::LongInteger(eight()?.cast_signed()),
        4 if length > 0 && length.is_multiple_of(8) => Value::BigInteger(content.to_vec()),
        5 => Value::Enumeration(four()?),
        6 => match eight()? {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            _ => return Err(fail("boolean is neither 0 nor 1")),
        },
        7 => Value::TextString(text()?),
        8 => Value::ByteString(content.to_vec()),
        9 => Value::DateTime(eight()?.cast_signed()),
        10 => Value::Interval(four()?),
        11 => Value::DateTimeExtended(eight()?.cast_signed()),
        12 => Value::Identifier(text()?),
        13 => Value::Reference(text()?),
        14 => Value::NameReference(text()?),
        other => return Err(fail(&format!("item type 0x{other:02X}"))),
    };
    Ok((Item { tag, value }, &rest[padded..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of KMIP 2.1 §9.1.2.
    #[test]
    fn examples_of_the_standard() {
        let examples: [(&str, Value); 6] = [
            ("42002002000000040000000800000000", Value::Integer(8)),
            ("420020030000000801b69b4ba5749200", Value::LongInteger(123_456_789_000_000_000)),
            ("42002005000000 04000000ff00000000", Value::Enumeration(255)),
            ("42002006000000080000000000000001", Value::Boolean(true)),
            ("420020070000000b48656c6c6f20576f726c640000000000", Value::TextString("Hello World".into())),
            ("4200200a00000004000d2f0000000000", Value::Interval(864_000)),
        ];
        for (hexadecimal, value) in examples {
            let bytes = hex::decode(hexadecimal.replace(' ', "")).expect("hexadecimal");
            let item = Item::new(0x42_0020, value);
            assert_eq!(item.encode(), bytes);
            assert_eq!(Item::decode(&bytes).expect("decodes"), item);
        }
    }
}
