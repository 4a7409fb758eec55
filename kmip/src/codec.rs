//! How values and structures are read from and written to TTLV for a version.
//!
//! [`structure!`] declares a structure once: each field with its tag, whether it is required, and the versions
//! that have it. Decoding and encoding follow from that one table.

use zeroize::{Zeroize, Zeroizing};

use crate::ttlv::{DecodeError, DecodeErrorKind, Item, Type, Writer};
use crate::{Enumeration, ProtocolVersion, Tag};

/// A value of one item.
pub trait Field: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the item in this version.
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError>;

    /// Appends it under a tag.
    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion);

    /// Whether a version can say this value. An optional or repeated field that it cannot say is left out.
    fn is_in(&self, version: ProtocolVersion) -> bool {
        let _ = version;
        true
    }
}

impl Field for i32 {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.integer()
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.integer(tag, *self);
    }
}

impl Field for i64 {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.long_integer()
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.long_integer(tag, *self);
    }
}

impl Field for bool {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.boolean()
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.boolean(tag, *self);
    }
}

impl Field for String {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.text().map(str::to_owned)
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.text_string(tag, self);
    }
}

impl Field for Vec<u8> {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.byte_string().map(<[u8]>::to_vec)
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.byte_string(tag, self);
    }
}

impl<T: Enumeration> Field for T {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let code = item.enumeration()?;
        T::from_code(code)
            .filter(|value| version.knows(value.first()))
            .ok_or_else(|| item.error(DecodeErrorKind::UnknownValue { tag: item.tag, code }))
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.enumeration(tag, self.code());
    }
    fn is_in(&self, version: ProtocolVersion) -> bool {
        // Values that newer versions dropped stay sayable: objects made under the older ones still hold them.
        version.knows(self.first())
    }
}

macro_rules! mask_field {
    ($($mask:ident),*) => {$(
        impl Field for crate::$mask {
            fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
                item.integer().map(|bits| Self(bits.cast_unsigned()))
            }
            fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
                writer.integer(tag, self.0.cast_signed());
            }
        }
    )*};
}
mask_field!(CryptographicUsageMask, ProtectionStorageMask, StorageStatusMask);

/// A Date-Time: seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(pub i64);

impl Field for DateTime {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        // From 2.0 a client may send microseconds; whole seconds are what attributes hold.
        match item.item_type {
            Type::DateTimeExtended if version >= ProtocolVersion::V2_0 => {
                item.date_time_extended().map(|micros| Self(micros.div_euclid(1_000_000)))
            }
            _ => item.date_time().map(Self),
        }
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.date_time(tag, self.0);
    }
}

/// A Date-Time Extended: microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTimeExtended(pub i64);

impl Field for DateTimeExtended {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.date_time_extended().map(Self)
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.date_time_extended(tag, self.0);
    }
}

/// An Interval: seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(pub u32);

impl Field for Interval {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.interval().map(Self)
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.interval(tag, self.0);
    }
}

/// Bytes of a key or another secret: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Field for Secret {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.byte_string().map(|bytes| Self::new(bytes.to_vec()))
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.byte_string(tag, &self.0);
    }
}

/// Text that is a secret, such as a password: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    #[must_use]
    pub fn expose_text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText")
    }
}

impl Field for SecretText {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.text().map(|text| Self::new(text.to_owned()))
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.text_string(tag, &self.0);
    }
}

/// A Big Integer: two's complement, most significant byte first, without needless sign bytes, so that equal numbers
/// have equal bytes. Wiped when dropped, since private keys are made of them.
#[derive(Clone, PartialEq, Eq)]
pub struct BigInteger(Zeroizing<Vec<u8>>);

impl BigInteger {
    /// From two's complement bytes, most significant first.
    #[must_use]
    pub fn from_signed(bytes: &[u8]) -> Self {
        let needless = |pair: &[u8]| {
            matches!(pair, [0x00, next] if next & 0x80 == 0) || matches!(pair, [0xFF, next] if next & 0x80 != 0)
        };
        let start = bytes.windows(2).take_while(|pair| needless(pair)).count();
        let bytes = if bytes.is_empty() { &[0] } else { &bytes[start..] };
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// From the magnitude of a number that is not negative.
    #[must_use]
    pub fn from_unsigned(magnitude: &[u8]) -> Self {
        let start = magnitude.iter().position(|&byte| byte != 0).unwrap_or(magnitude.len());
        let digits = &magnitude[start..];
        let mut bytes = Vec::with_capacity(digits.len() + 1);
        if digits.first().is_none_or(|byte| byte & 0x80 != 0) {
            bytes.push(0);
        }
        bytes.extend_from_slice(digits);
        Self(Zeroizing::new(bytes))
    }

    /// The magnitude without leading zeros; `None` if negative.
    #[must_use]
    pub fn unsigned(&self) -> Option<&[u8]> {
        if self.0.first().is_some_and(|byte| byte & 0x80 != 0) {
            return None;
        }
        let start = self.0.iter().position(|&byte| byte != 0).unwrap_or(self.0.len());
        Some(&self.0[start..])
    }

    /// Two's complement bytes.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for BigInteger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BigInteger({} bytes)", self.0.len())
    }
}

impl Field for BigInteger {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.big_integer().map(Self::from_signed)
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.big_integer(tag, &self.0);
    }
}

/// A value of any type, kept as it was on the wire: custom attributes hold them. Wiped when dropped, never printed:
/// nobody but the client knows what it means.
#[derive(Clone, PartialEq, Eq)]
pub struct AnyValue {
    item_type: Type,
    bytes: Vec<u8>,
}

impl AnyValue {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { item_type: Type::TextString, bytes: text.as_bytes().to_vec() }
    }

    /// An Integer.
    #[must_use]
    pub fn integer(value: i32) -> Self {
        Self { item_type: Type::Integer, bytes: value.to_be_bytes().to_vec() }
    }

    /// A value whose bytes are those of its type.
    pub(crate) fn of(item_type: Type, bytes: Vec<u8>) -> Self {
        Self { item_type, bytes }
    }

    /// A Byte String.
    #[must_use]
    pub fn octets(bytes: Vec<u8>) -> Self {
        Self::of(Type::ByteString, bytes)
    }

    /// Its item type.
    #[must_use]
    pub fn item_type(&self) -> Type {
        self.item_type
    }

    /// The value bytes without padding; for a structure, its encoded fields.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        (self.item_type == Type::TextString).then(|| std::str::from_utf8(&self.bytes).ok()).flatten()
    }
}

impl std::fmt::Debug for AnyValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AnyValue({:?}, {} bytes)", self.item_type, self.bytes.len())
    }
}

impl Drop for AnyValue {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl Field for AnyValue {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let value = Self { item_type: item.item_type, bytes: item.bytes().to_vec() };
        if !value.is_in(version) {
            return Err(item.error(DecodeErrorKind::BadType { tag: item.tag, code: item.item_type as u8 }));
        }
        Ok(value)
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.raw(tag, self.item_type, &self.bytes);
    }
    fn is_in(&self, version: ProtocolVersion) -> bool {
        version >= self.item_type.first()
    }
}

/// An item that the standard does not describe, in a structure that allows any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherItem {
    /// Its tag.
    pub tag: Tag,
    /// Its value.
    pub value: AnyValue,
}

/// Declares a structure of the standard: its fields in order, each with its kind, type, tag and, after `in`, the
/// versions that have it (every version when not said).
///
/// Kinds: `required`, `optional`, `repeated`; and those whose form differs between 1.x and 2.x, named by their 1.x
/// tag: `template` and `optional_template` (Template-Attribute or Attributes), `flat` (repeated Attribute items or one
/// Attributes structure), `filter` (the same, or in 1.x a Template-Attribute around them), `attribute` (Attribute or New Attribute), `names` and `optional_name` (Attribute Name or
/// Attribute Reference). And `object` (any managed object), and `others` (whatever items are left).
macro_rules! structure {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$fdoc:meta])* $field:ident: $kind:ident $type:ty = $tag:ident $(in $versions:expr)?;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$fdoc])* pub $field: $crate::codec::slot_type!($kind $type),)*
        }

        impl $crate::codec::Field for $name {
            #[allow(unused_mut, unused_variables, reason = "a structure may have no fields")]
            fn decode(
                item: $crate::ttlv::Item<'_>,
                version: $crate::ProtocolVersion,
            ) -> Result<Self, $crate::ttlv::DecodeError> {
                let mut fields = item.structure()?;
                $(let $field = $crate::codec::slot_decode!(
                    $kind, fields, version, $crate::Tag::$tag, $crate::codec::in_version!(version $(, $versions)?)
                );)*
                fields.finish()?;
                Ok(Self { $($field),* })
            }

            #[allow(unused_variables, reason = "a structure may have no fields")]
            fn encode(&self, tag: $crate::Tag, writer: &mut $crate::ttlv::Writer, version: $crate::ProtocolVersion) {
                let structure = writer.begin(tag);
                $(if $crate::codec::in_version!(version $(, $versions)?) {
                    $crate::codec::slot_encode!($kind, self.$field, writer, version, $crate::Tag::$tag);
                })*
                writer.end(structure);
            }

            #[allow(unused_variables, reason = "a structure may have no required fields")]
            fn is_in(&self, version: $crate::ProtocolVersion) -> bool {
                true $(&& $crate::codec::slot_is_in!($kind, self.$field, version))*
            }
        }

        #[cfg(any(test, feature = "samples"))]
        impl $crate::samples::Sample for $name {
            #[allow(unused_variables, reason = "a structure may have no fields")]
            fn sample(maker: &mut $crate::samples::Maker) -> Self {
                let version = maker.version();
                Self {
                    $($field: $crate::samples::sample_slot!(
                        $kind, maker, $crate::codec::in_version!(version $(, $versions)?)
                    ),)*
                }
            }
        }
    };
}

/// Only what must be there decides whether a version can say a structure: the rest is left out field by field.
macro_rules! slot_is_in {
    (required, $value:expr, $version:ident) => {
        $crate::codec::Field::is_in(&$value, $version)
    };
    ($kind:ident, $value:expr, $version:ident) => {
        true
    };
}

macro_rules! in_version {
    ($version:ident) => {
        true
    };
    ($version:ident, $versions:expr) => {
        ::std::ops::RangeBounds::contains(&($versions), &$version)
    };
}

macro_rules! slot_type {
    (required $type:ty) => { $type };
    (optional $type:ty) => { Option<$type> };
    (repeated $type:ty) => { Vec<$type> };
    (template $type:ty) => { $type };
    (optional_template $type:ty) => { Option<$type> };
    (flat $type:ty) => { $type };
    (filter $type:ty) => { $type };
    (attribute $type:ty) => { $type };
    (names $type:ty) => { Vec<$type> };
    (optional_name $type:ty) => { Option<$type> };
    (object $type:ty) => { $type };
    (others $type:ty) => { $type };
}

macro_rules! slot_decode {
    (template, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        $crate::codec::Field::decode($fields.required($crate::codec::renamed($tag, $version))?, $version)?
    };
    (optional_template, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        match if $present { $fields.optional($crate::codec::renamed($tag, $version)) } else { None } {
            Some(item) => Some($crate::codec::Field::decode(item, $version)?),
            None => None,
        }
    };
    (flat, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        $crate::Attributes::decode_flat(&mut $fields, $tag, $version)?
    };
    (filter, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        $crate::Attributes::decode_filter(&mut $fields, $tag, $version)?
    };
    (attribute, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        $crate::codec::Field::decode($fields.required($crate::codec::renamed($tag, $version))?, $version)?
    };
    (names, $fields:ident, $version:ident, $tag:expr, $present:expr) => {{
        let mut list = Vec::new();
        while let Some(item) = $fields.optional($crate::codec::renamed($tag, $version)) {
            list.push($crate::codec::Field::decode(item, $version)?);
        }
        list
    }};
    (optional_name, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        // Required in 1.x; in 2.x the attribute may be told by its value instead.
        match if $version < $crate::ProtocolVersion::V2_0 {
            Some($fields.required($tag)?)
        } else {
            $fields.optional($crate::codec::renamed($tag, $version))
        } {
            Some(item) => Some($crate::codec::Field::decode(item, $version)?),
            None => None,
        }
    };
    (object, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        $crate::ManagedObject::decode_any(&mut $fields, $version)?
    };
    (others, $fields:ident, $version:ident, $tag:expr, $present:expr) => {{
        let mut list = Vec::new();
        for item in $fields.by_ref() {
            let value = $crate::codec::Field::decode(item, $version)?;
            list.push($crate::codec::OtherItem { tag: item.tag, value });
        }
        list
    }};
    (required, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        $crate::codec::Field::decode($fields.required($tag)?, $version)?
    };
    (optional, $fields:ident, $version:ident, $tag:expr, $present:expr) => {
        match if $present { $fields.optional($tag) } else { None } {
            Some(item) => Some($crate::codec::Field::decode(item, $version)?),
            None => None,
        }
    };
    (repeated, $fields:ident, $version:ident, $tag:expr, $present:expr) => {{
        let mut list = Vec::new();
        if $present {
            while let Some(item) = $fields.optional($tag) {
                list.push($crate::codec::Field::decode(item, $version)?);
            }
        }
        list
    }};
}

/// The 2.x tag of what 1.x calls `tag`.
pub(crate) fn renamed(tag: Tag, version: ProtocolVersion) -> Tag {
    if version < ProtocolVersion::V2_0 {
        return tag;
    }
    match tag {
        Tag::TEMPLATE_ATTRIBUTE => Tag::ATTRIBUTES,
        Tag::COMMON_TEMPLATE_ATTRIBUTE => Tag::COMMON_ATTRIBUTES,
        Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE => Tag::PRIVATE_KEY_ATTRIBUTES,
        Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE => Tag::PUBLIC_KEY_ATTRIBUTES,
        Tag::ATTRIBUTE => Tag::NEW_ATTRIBUTE,
        Tag::ATTRIBUTE_NAME => Tag::ATTRIBUTE_REFERENCE,
        other => other,
    }
}

macro_rules! slot_encode {
    (template, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        $crate::codec::Field::encode(&$value, $crate::codec::renamed($tag, $version), $writer, $version)
    };
    (optional_template, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        if let Some(value) = &$value {
            $crate::codec::Field::encode(value, $crate::codec::renamed($tag, $version), $writer, $version);
        }
    };
    (flat, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        $value.encode_flat($tag, $writer, $version)
    };
    (filter, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        $value.encode_flat($tag, $writer, $version)
    };
    (attribute, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        $crate::codec::Field::encode(&$value, $crate::codec::renamed($tag, $version), $writer, $version)
    };
    (names, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        for value in $value.iter().filter(|value| $crate::codec::Field::is_in(*value, $version)) {
            $crate::codec::Field::encode(value, $crate::codec::renamed($tag, $version), $writer, $version);
        }
    };
    (optional_name, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        if let Some(value) = $value.as_ref().filter(|value| $crate::codec::Field::is_in(*value, $version)) {
            $crate::codec::Field::encode(value, $crate::codec::renamed($tag, $version), $writer, $version);
        }
    };
    (object, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        $value.encode_any($writer, $version)
    };
    (others, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        for other in &$value {
            $crate::codec::Field::encode(&other.value, other.tag, $writer, $version);
        }
    };
    (required, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        $crate::codec::Field::encode(&$value, $tag, $writer, $version)
    };
    (optional, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        if let Some(value) = $value.as_ref().filter(|value| $crate::codec::Field::is_in(*value, $version)) {
            $crate::codec::Field::encode(value, $tag, $writer, $version);
        }
    };
    (repeated, $value:expr, $writer:ident, $version:ident, $tag:expr) => {
        for value in $value.iter().filter(|value| $crate::codec::Field::is_in(*value, $version)) {
            $crate::codec::Field::encode(value, $tag, $writer, $version);
        }
    };
}

pub(crate) use {in_version, slot_decode, slot_encode, slot_is_in, slot_type, structure};
