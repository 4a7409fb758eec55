//! TTLV: tag, type, length, value. KMIP 2.1 §9.1 (TTLV Encoding).
//!
//! [`Frame::parse`] checks a whole message once (types, lengths, padding, text, depth, number of items); a
//! [`Fields`] cursor then walks the checked bytes without copying. [`Writer`] appends.

mod cursor;
mod writer;

pub use cursor::{Fields, Frame, Item, Limits, frame_length};
pub use writer::{Structure, Writer};

use crate::{ProtocolVersion, Tag};

/// Item types, KMIP 2.1 §9.1.1.2, and the three that 3.0 (committee draft) adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// Items inside an item.
    Structure = 0x01,
    /// 32-bit signed.
    Integer = 0x02,
    /// 64-bit signed.
    LongInteger = 0x03,
    /// Two's complement, a multiple of eight bytes.
    BigInteger = 0x04,
    /// 32-bit unsigned.
    Enumeration = 0x05,
    /// 64-bit, 0 or 1.
    Boolean = 0x06,
    /// UTF-8.
    TextString = 0x07,
    /// Bytes.
    ByteString = 0x08,
    /// Seconds since 1970-01-01 UTC, 64-bit signed.
    DateTime = 0x09,
    /// Seconds, 32-bit unsigned.
    Interval = 0x0A,
    /// Microseconds since 1970-01-01 UTC, 64-bit signed. From 2.0.
    DateTimeExtended = 0x0B,
    /// UTF-8: the Unique Identifier of an object. From 3.0.
    Identifier = 0x0C,
    /// UTF-8: the Unique Identifier of another object. From 3.0.
    Reference = 0x0D,
    /// UTF-8: the Name of another object. From 3.0.
    NameReference = 0x0E,
}

impl Type {
    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x01 => Self::Structure,
            0x02 => Self::Integer,
            0x03 => Self::LongInteger,
            0x04 => Self::BigInteger,
            0x05 => Self::Enumeration,
            0x06 => Self::Boolean,
            0x07 => Self::TextString,
            0x08 => Self::ByteString,
            0x09 => Self::DateTime,
            0x0A => Self::Interval,
            0x0B => Self::DateTimeExtended,
            0x0C => Self::Identifier,
            0x0D => Self::Reference,
            0x0E => Self::NameReference,
            _ => return None,
        })
    }

    /// The length that every value of this type has; `None` where lengths differ.
    const fn fixed_length(self) -> Option<usize> {
        match self {
            Self::Integer | Self::Enumeration | Self::Interval => Some(4),
            Self::LongInteger | Self::Boolean | Self::DateTime | Self::DateTimeExtended => Some(8),
            Self::Structure | Self::BigInteger | Self::TextString | Self::ByteString => None,
            Self::Identifier | Self::Reference | Self::NameReference => None,
        }
    }

    /// Whether values are UTF-8 text.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::TextString | Self::Identifier | Self::Reference | Self::NameReference)
    }

    /// First version that has it.
    #[must_use]
    pub const fn first(self) -> ProtocolVersion {
        match self {
            Self::DateTimeExtended => ProtocolVersion::V2_0,
            Self::Identifier | Self::Reference | Self::NameReference => ProtocolVersion::V3_0,
            _ => ProtocolVersion::V1_0,
        }
    }

    /// Its name in the XML and JSON encodings.
    #[must_use]
    pub const fn xml_name(self) -> &'static str {
        match self {
            Self::Structure => "Structure",
            Self::Integer => "Integer",
            Self::LongInteger => "LongInteger",
            Self::BigInteger => "BigInteger",
            Self::Enumeration => "Enumeration",
            Self::Boolean => "Boolean",
            Self::TextString => "TextString",
            Self::ByteString => "ByteString",
            Self::DateTime => "DateTime",
            Self::Interval => "Interval",
            Self::DateTimeExtended => "DateTimeExtended",
            Self::Identifier => "Identifier",
            Self::Reference => "Reference",
            Self::NameReference => "NameReference",
        }
    }

    /// The type with this name in the XML and JSON encodings.
    #[must_use]
    pub fn by_xml_name(name: &str) -> Option<Self> {
        (0x01..=0x0E).filter_map(Self::from_code).find(|item_type| item_type.xml_name() == name)
    }
}

/// Why bytes are not a message, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (byte {at})")]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// Offset in the message of the item concerned.
    pub at: usize,
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The bytes end inside an item.
    #[error("message is cut short inside {0}")]
    Truncated(Tag),
    /// Bytes follow the message.
    #[error("{0} bytes follow the message")]
    TrailingBytes(usize),
    /// Not 42.... or 54.....
    #[error("0x{0:06X} is not in a tag range of the standard")]
    BadTag(u32),
    /// No such item type.
    #[error("{tag} has unknown item type 0x{code:02X}")]
    BadType {
        /// The item.
        tag: Tag,
        /// Its type byte.
        code: u8,
    },
    /// The length does not fit the type.
    #[error("{tag} has length {length}, which {item_type:?} cannot have")]
    BadLength {
        /// The item.
        tag: Tag,
        /// Its type.
        item_type: Type,
        /// Its length.
        length: usize,
    },
    /// Padding bytes that are not zero.
    #[error("padding of {0} is not zero")]
    BadPadding(Tag),
    /// A Boolean that is neither 0 nor 1.
    #[error("{0} is neither true nor false")]
    BadBoolean(Tag),
    /// Text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    BadText(Tag),
    /// Structures nested too deeply.
    #[error("structures are nested more than {0} deep")]
    TooDeep(usize),
    /// More items than a message may have.
    #[error("message has more than {0} items")]
    TooManyItems(usize),
    /// More bytes than a message may have.
    #[error("message of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// What the message says of its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// An item that must be there is not.
    #[error("{missing} is missing in {within}")]
    Missing {
        /// What is missing.
        missing: Tag,
        /// Where.
        within: Tag,
    },
    /// An item that may not be there, or not there, or not twice.
    #[error("{unexpected} is not expected here in {within}")]
    Unexpected {
        /// What is there.
        unexpected: Tag,
        /// Where.
        within: Tag,
    },
    /// An item of another type than the standard gives it.
    #[error("{tag} has type {found:?}, expected {expected:?}")]
    WrongType {
        /// The item.
        tag: Tag,
        /// Its type.
        found: Type,
        /// What it should be.
        expected: Type,
    },
    /// An enumeration value that this version does not know.
    #[error("0x{code:08X} is not a value of {tag} in this version")]
    UnknownValue {
        /// The item.
        tag: Tag,
        /// Its value.
        code: u32,
    },
    /// An attribute that this version does not know.
    #[error("unknown attribute {0:?}")]
    UnknownAttribute(String),
    /// A value outside what the field may hold.
    #[error("{tag}: {rule}")]
    BadValue {
        /// The item.
        tag: Tag,
        /// The rule it breaks.
        rule: &'static str,
    },
}
