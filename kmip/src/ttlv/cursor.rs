//! Checked frames and the cursor over them.

use super::{DecodeError, DecodeErrorKind as Kind, Type};
use crate::Tag;

const HEADER: usize = 8;

/// What a message may cost. Checked before anything is allocated.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a message, its own header included.
    pub message_bytes_max: usize,
    /// Structures inside structures.
    pub depth_max: usize,
    /// Items of a message.
    pub items_max: usize,
}

impl Limits {
    /// For bytes this crate wrote itself and kept: they were bounded when they came in.
    pub(crate) const STORED: Self = Self { message_bytes_max: usize::MAX, depth_max: 256, items_max: usize::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 1024 * 1024, depth_max: 32, items_max: 200_000 }
    }
}

/// Length in bytes of the whole message that starts with this header.
///
/// # Errors
/// [`Kind::BadTag`], [`Kind::BadType`] if it is not a structure, [`Kind::TooLarge`].
pub fn frame_length(header: [u8; HEADER], limits: &Limits) -> Result<usize, DecodeError> {
    let fail = |kind| Err(DecodeError { kind, at: 0 });
    let tag = Tag(u32::from_be_bytes([0, header[0], header[1], header[2]]));
    if !tag.is_in_range() {
        return fail(Kind::BadTag(tag.0));
    }
    if header[3] != Type::Structure as u8 {
        return fail(Kind::BadType { tag, code: header[3] });
    }
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize + HEADER;
    if length > limits.message_bytes_max {
        return fail(Kind::TooLarge { length, limit: limits.message_bytes_max });
    }
    Ok(length)
}

/// A message whose every item is well formed.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    root: Item<'a>,
}

impl<'a> Frame<'a> {
    /// Checks a whole message.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut checker = Checker { bytes, limits, items: 0 };
        let header = bytes.first_chunk::<HEADER>().ok_or(DecodeError { kind: Kind::Truncated(Tag(0)), at: 0 })?;
        frame_length(*header, limits)?;
        let end = checker.item(0, bytes.len(), 0)?;
        if end != bytes.len() {
            return Err(DecodeError { kind: Kind::TrailingBytes(bytes.len() - end), at: end });
        }
        Ok(Self { root: Item::at(bytes, 0) })
    }

    /// The outermost item.
    #[must_use]
    pub fn root(&self) -> Item<'a> {
        self.root
    }
}

struct Checker<'a> {
    bytes: &'a [u8],
    limits: &'a Limits,
    items: usize,
}

impl Checker<'_> {
    /// Checks the item at `at`, which may not reach beyond `end`; returns where the next one starts.
    fn item(&mut self, at: usize, end: usize, depth: usize) -> Result<usize, DecodeError> {
        let fail = |kind| Err(DecodeError { kind, at });
        self.items += 1;
        if self.items > self.limits.items_max {
            return fail(Kind::TooManyItems(self.limits.items_max));
        }
        let Some(header) = self.bytes[at..end].first_chunk::<HEADER>() else {
            return fail(Kind::Truncated(Tag(0)));
        };
        let tag = Tag(u32::from_be_bytes([0, header[0], header[1], header[2]]));
        if !tag.is_in_range() {
            return fail(Kind::BadTag(tag.0));
        }
        let Some(item_type) = Type::from_code(header[3]) else {
            return fail(Kind::BadType { tag, code: header[3] });
        };
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        // KMIP 2.1 §9.1.1.3: the length of each type, and of Big Integer "SHALL be a multiple of eight".
        let fits = match (item_type.fixed_length(), item_type) {
            (Some(fixed), _) => length == fixed,
            (None, Type::BigInteger) => length.is_multiple_of(8) && length > 0,
            (None, Type::Structure) => length.is_multiple_of(8),
            (None, _) => true,
        };
        if !fits {
            return fail(Kind::BadLength { tag, item_type, length });
        }
        let value = at + HEADER;
        let padded = length.next_multiple_of(8);
        if padded > end - value {
            return fail(Kind::Truncated(tag));
        }
        if item_type == Type::Structure {
            if depth >= self.limits.depth_max {
                return fail(Kind::TooDeep(self.limits.depth_max));
            }
            let mut inner = value;
            while inner < value + length {
                inner = self.item(inner, value + length, depth + 1)?;
            }
            return Ok(value + length);
        }
        let content = &self.bytes[value..value + length];
        // KMIP 2.1 §9.1.1.4: "the padding bytes [...] SHALL be set to zero".
        if self.bytes[value + length..value + padded].iter().any(|&byte| byte != 0) {
            return fail(Kind::BadPadding(tag));
        }
        match item_type {
            Type::Boolean if content[..7] != [0; 7] || content[7] > 1 => fail(Kind::BadBoolean(tag)),
            text if text.is_text() && std::str::from_utf8(content).is_err() => fail(Kind::BadText(tag)),
            _ => Ok(value + padded),
        }
    }
}

/// One item of a checked frame.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its tag.
    pub tag: Tag,
    /// Its type.
    pub item_type: Type,
    /// Offset in the message.
    pub at: usize,
    value: &'a [u8],
}

impl<'a> Item<'a> {
    /// Reads the header at the start of checked bytes.
    #[inline]
    fn at(bytes: &'a [u8], at: usize) -> Self {
        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        let tag = Tag(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]));
        let item_type = Type::from_code(bytes[3]).unwrap_or(Type::ByteString);
        Self { tag, item_type, at, value: &bytes[HEADER..HEADER + length] }
    }

    /// The value without padding.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.value
    }

    /// An error at this item.
    #[must_use]
    pub fn error(&self, kind: Kind) -> DecodeError {
        DecodeError { kind, at: self.at }
    }

    /// An error at this item: its value breaks a rule.
    #[must_use]
    pub fn bad_value(&self, rule: &'static str) -> DecodeError {
        self.error(Kind::BadValue { tag: self.tag, rule })
    }

    #[inline]
    fn expect(&self, expected: Type) -> Result<&'a [u8], DecodeError> {
        if self.item_type == expected {
            return Ok(self.value);
        }
        Err(self.error(Kind::WrongType { tag: self.tag, found: self.item_type, expected }))
    }

    #[inline]
    fn four(&self, expected: Type) -> Result<[u8; 4], DecodeError> {
        let bytes = self.expect(expected)?;
        bytes.try_into().map_err(|_| self.bad_length())
    }

    #[inline]
    fn eight(&self, expected: Type) -> Result<[u8; 8], DecodeError> {
        let bytes = self.expect(expected)?;
        bytes.try_into().map_err(|_| self.bad_length())
    }

    fn bad_length(&self) -> DecodeError {
        self.error(Kind::BadLength { tag: self.tag, item_type: self.item_type, length: self.value.len() })
    }

    /// The fields of a structure.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn structure(&self) -> Result<Fields<'a>, DecodeError> {
        let bytes = self.expect(Type::Structure)?;
        Ok(Fields { within: self.tag, at: self.at + HEADER, bytes })
    }

    /// An Integer.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn integer(&self) -> Result<i32, DecodeError> {
        self.four(Type::Integer).map(i32::from_be_bytes)
    }

    /// A Long Integer.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn long_integer(&self) -> Result<i64, DecodeError> {
        self.eight(Type::LongInteger).map(i64::from_be_bytes)
    }

    /// A Big Integer: two's complement, most significant byte first.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn big_integer(&self) -> Result<&'a [u8], DecodeError> {
        self.expect(Type::BigInteger)
    }

    /// The number of an Enumeration.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn enumeration(&self) -> Result<u32, DecodeError> {
        self.four(Type::Enumeration).map(u32::from_be_bytes)
    }

    /// A Boolean.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn boolean(&self) -> Result<bool, DecodeError> {
        self.eight(Type::Boolean).map(|bytes| bytes[7] == 1)
    }

    /// A Text String.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    #[inline]
    pub fn text(&self) -> Result<&'a str, DecodeError> {
        self.text_of(Type::TextString)
    }

    /// A value of one of the text types: Text String, and from 3.0 Identifier, Reference and Name Reference.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    #[inline]
    pub fn text_of(&self, item_type: Type) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.expect(item_type)?).map_err(|_| self.error(Kind::BadText(self.tag)))
    }

    /// A Byte String.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn byte_string(&self) -> Result<&'a [u8], DecodeError> {
        self.expect(Type::ByteString)
    }

    /// A Date-Time, seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn date_time(&self) -> Result<i64, DecodeError> {
        self.eight(Type::DateTime).map(i64::from_be_bytes)
    }

    /// A Date-Time Extended, microseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn date_time_extended(&self) -> Result<i64, DecodeError> {
        self.eight(Type::DateTimeExtended).map(i64::from_be_bytes)
    }

    /// An Interval, seconds.
    ///
    /// # Errors
    /// [`Kind::WrongType`].
    pub fn interval(&self) -> Result<u32, DecodeError> {
        self.four(Type::Interval).map(u32::from_be_bytes)
    }
}

/// A cursor over the fields of one structure, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    within: Tag,
    at: usize,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next item, left where it is.
    #[must_use]
    pub fn peek(&self) -> Option<Item<'a>> {
        (!self.bytes.is_empty()).then(|| Item::at(self.bytes, self.at))
    }

    /// The structure these are the fields of.
    #[must_use]
    pub fn within(&self) -> Tag {
        self.within
    }

    /// The next item if it has this tag. Items of the extension range (54....) before it are passed over.
    #[inline]
    pub fn optional(&mut self, tag: Tag) -> Option<Item<'a>> {
        // Most fields of most structures are absent: the tag alone is looked at first.
        let header = self.bytes.first_chunk::<HEADER>()?;
        let found = Tag(u32::from_be_bytes([0, header[0], header[1], header[2]]));
        if found == tag {
            return self.next();
        }
        if !found.is_extension() {
            return None;
        }
        self.beyond_extensions(tag)
    }

    #[cold]
    fn beyond_extensions(&mut self, tag: Tag) -> Option<Item<'a>> {
        let mut ahead = self.clone();
        ahead.skip_extensions();
        let item = ahead.next().filter(|item| item.tag == tag)?;
        *self = ahead;
        Some(item)
    }

    /// The next item, which must have this tag.
    ///
    /// # Errors
    /// [`Kind::Missing`].
    #[inline]
    pub fn required(&mut self, tag: Tag) -> Result<Item<'a>, DecodeError> {
        match self.optional(tag) {
            Some(item) => Ok(item),
            None => Err(self.missing(tag)),
        }
    }

    /// An error at this place: an item is missing.
    #[cold]
    pub(crate) fn missing(&self, missing: Tag) -> DecodeError {
        DecodeError { kind: Kind::Missing { missing, within: self.within }, at: self.at }
    }

    /// Passes over items of the extension range.
    pub(crate) fn skip_extensions(&mut self) {
        while let Some(item) = self.peek().filter(|item| item.tag.is_extension()) {
            self.advance(&item);
        }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`Kind::Unexpected`].
    pub fn finish(mut self) -> Result<(), DecodeError> {
        self.skip_extensions();
        match self.peek() {
            Some(item) => Err(item.error(Kind::Unexpected { unexpected: item.tag, within: self.within })),
            None => Ok(()),
        }
    }

    #[inline]
    fn advance(&mut self, item: &Item<'a>) {
        let taken = HEADER + item.value.len().next_multiple_of(8);
        self.bytes = &self.bytes[taken..];
        self.at += taken;
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let item = self.peek()?;
        self.advance(&item);
        Some(item)
    }
}
