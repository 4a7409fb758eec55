//! What can be wrong with a text.

use crate::Tag;
use crate::ttlv::Type;

/// Why a text is not a KMIP message, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {reason}")]
pub struct Error {
    /// Offset in the text: in XML just after the markup that is wrong, in JSON at the tag of the item concerned, or where
    /// the syntax breaks.
    pub position: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong in a text. Values are never repeated: they may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// An attribute (XML) or member (JSON) other than `tag`, `name`, `type` and `value`.
    #[error("`{0}` has no meaning here")]
    Attribute(String),
    /// More structures within structures than allowed.
    #[error("structures nest deeper than {0}")]
    Depth(usize),
    /// A member of a JSON object that is there twice.
    #[error("`{0}` is there twice")]
    Duplicate(&'static str),
    /// No message.
    #[error("no message in the text")]
    Empty,
    /// More items than a message may have.
    #[error("message has more than {0} items")]
    Items(usize),
    /// The text is not well formed.
    #[error("not well formed: {0}")]
    Malformed(String),
    /// The message is larger than allowed once it is TTLV.
    #[error("message of more than {0} bytes in TTLV")]
    Message(usize),
    /// An item that lacks a part.
    #[error("an item has no `{0}`")]
    Missing(&'static str),
    /// A simple item without its value, or a structure with one.
    #[error("{0} must have a value if it is no structure, and only then")]
    MissingValue(Tag),
    /// A JSON number that other readers would round.
    #[error("value of {0} must be a hexadecimal string: a number of 2^52 or more loses digits in JSON")]
    Number(Tag),
    /// Fields inside an item that is not a Structure, or a Structure without fields.
    #[error("{0} is not a structure and cannot hold fields")]
    NotAStructure(Tag),
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
    /// Markup that no message needs and that only attacks use.
    #[error("{0} is not accepted")]
    Unaccepted(&'static str),
    /// A name that is no tag.
    #[error("`{0}` is not a tag of the standard")]
    UnknownTag(String),
    /// `type` that is no item type.
    #[error("`{0}` is not an item type")]
    UnknownType(String),
    /// A value that its type cannot have.
    #[error("value of {tag} is not a valid {}", .item_type.xml_name())]
    Value {
        /// The item.
        tag: Tag,
        /// Its type.
        item_type: Type,
    },
}

/// A name out of a text, short enough for an error message.
pub(crate) fn shown(name: &str) -> String {
    cut(name, 40)
}

/// What a parser says is wrong: it may repeat names of any length.
pub(crate) fn said(error: &dyn std::fmt::Display) -> Reason {
    Reason::Malformed(cut(&error.to_string(), 120))
}

fn cut(text: &str, characters_max: usize) -> String {
    let short: String = text.chars().take(characters_max).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(characters_max).is_some() { format!("{short}...") } else { short }
}
