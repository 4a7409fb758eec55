//! Tags, enumerations, masks and attribute rules of KMIP, with the versions that know each.
//!
//! The data modules are generated from `kmip/tables/*.json` (facts extracted from the OASIS
//! specifications) by `examples/generate_tables.rs`. This file holds the types they fill.

use std::fmt;

use crate::ProtocolVersion;

// Written by the generator, not by rustfmt.
#[rustfmt::skip]
mod attributes;
#[rustfmt::skip]
mod enums;
#[rustfmt::skip]
mod masks;
#[rustfmt::skip]
mod tags;

pub use enums::*;
pub use masks::*;

/// A tag: the name of an item on the wire, three bytes. KMIP 2.1 §9.1.1.1, tags in §11.56.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

/// What the tables know of a tag.
#[derive(Debug)]
pub struct TagEntry {
    /// The tag.
    pub tag: Tag,
    /// Name as in the specification.
    pub name: &'static str,
    /// Name in the XML and JSON encodings.
    pub xml_name: &'static str,
    /// First version that lists it.
    pub first: ProtocolVersion,
    /// Last version that lists it, if some later one does not.
    pub last: Option<ProtocolVersion>,
    /// Names of its values, if it is an enumeration or a mask.
    pub values: Option<ValueNames>,
}

/// Which names the values of a tag have.
#[derive(Debug)]
pub enum ValueNames {
    /// Values of an enumeration.
    Enumeration(&'static [ValueEntry]),
    /// Bits of a mask.
    Mask(&'static [ValueEntry]),
    /// The value is itself a tag.
    Tag,
}

/// A named value of an enumeration or bit of a mask.
#[derive(Debug)]
pub struct ValueEntry {
    /// Number on the wire.
    pub code: u32,
    /// Name in the XML and JSON encodings.
    pub xml_name: &'static str,
    /// First version that lists it.
    pub first: ProtocolVersion,
    /// Last version that lists it, if some later one does not.
    pub last: Option<ProtocolVersion>,
}

impl Tag {
    /// What the tables know of it; `None` for tags of extensions and unknown ones.
    #[must_use]
    pub fn entry(self) -> Option<&'static TagEntry> {
        let index = tags::TAGS.binary_search_by_key(&self, |entry| entry.tag).ok()?;
        Some(&tags::TAGS[index])
    }

    /// The tag with this name in the XML and JSON encodings.
    #[must_use]
    pub fn by_xml_name(name: &str) -> Option<Self> {
        tags::TAGS.iter().find(|entry| entry.xml_name == name).map(|entry| entry.tag)
    }

    /// Whether a tag is in the range of the standard (42....) or of extensions (54....).
    /// KMIP 2.1 §9.1.1.1: "all tags SHALL contain either the value 42 in hex or the value 54 in hex as the first byte".
    #[must_use]
    pub fn is_in_range(self) -> bool {
        matches!(self.0 >> 16, 0x42 | 0x54)
    }

    /// Whether a tag is in the range of extensions (54....).
    #[must_use]
    pub fn is_extension(self) -> bool {
        self.0 >> 16 == 0x54
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            Some(entry) => f.write_str(entry.name),
            None => write!(f, "tag 0x{:06X}", self.0),
        }
    }
}

/// An enumeration of the standard: a number whose known values have names, and a range for extensions.
pub trait Enumeration: Sized + Copy {
    /// Name of the enumeration, for messages.
    const NAME: &'static str;
    /// The value with this code; `None` if neither listed nor in the extension range (8XXXXXXX).
    fn from_code(code: u32) -> Option<Self>;
    /// Number on the wire.
    fn code(self) -> u32;
    /// First version that lists the value (extensions: every version).
    fn first(self) -> ProtocolVersion;
    /// Last version that lists the value, if some later one does not.
    fn last(self) -> Option<ProtocolVersion>;
}

macro_rules! enumeration {
    ($(#[$doc:meta])* $name:ident, $values:ident, {
        $($(#[$vdoc:meta])* $variant:ident = $code:literal, $xml:literal, $first:expr, $last:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// A value of the extension range 8XXXXXXX.
            Extension(u32),
        }

        pub(super) static $values: [ValueEntry; [$($code),*].len()] = [
            $(ValueEntry { code: $code, xml_name: $xml, first: $first, last: $last },)*
        ];

        impl $name {
            /// Every value the standard lists, newer versions included.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Their codes, names and versions.
            pub const VALUES: &'static [ValueEntry] = &$values;

            /// The value with this code, or `None` if it is neither listed nor in the extension range.
            #[must_use]
            pub const fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    0x8000_0000.. => Some(Self::Extension(code)),
                    _ => None,
                }
            }

            /// Number on the wire.
            #[must_use]
            pub const fn code(self) -> u32 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Extension(code) => code,
                }
            }

            /// Name in the XML and JSON encodings; `None` for extensions.
            #[must_use]
            pub const fn xml_name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($xml),)*
                    Self::Extension(_) => None,
                }
            }

            /// First version that lists it.
            #[must_use]
            pub const fn first(self) -> ProtocolVersion {
                match self {
                    $(Self::$variant => $first,)*
                    Self::Extension(_) => ProtocolVersion::V1_0,
                }
            }

            /// Last version that lists it, if some later one does not.
            #[must_use]
            pub const fn last(self) -> Option<ProtocolVersion> {
                match self {
                    $(Self::$variant => $last,)*
                    Self::Extension(_) => None,
                }
            }
        }

        impl super::Enumeration for $name {
            const NAME: &'static str = stringify!($name);
            fn from_code(code: u32) -> Option<Self> {
                Self::from_code(code)
            }
            fn code(self) -> u32 {
                Self::code(self)
            }
            fn first(self) -> ProtocolVersion {
                Self::first(self)
            }
            fn last(self) -> Option<ProtocolVersion> {
                Self::last(self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.xml_name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "0x{:08X}", self.code()),
                }
            }
        }
    };
}
use enumeration;

macro_rules! mask {
    ($(#[$doc:meta])* $name:ident, $bits:ident, {
        $($(#[$vdoc:meta])* $bit:ident = $code:literal, $xml:literal, $first:expr, $last:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub u32);

        pub(super) static $bits: [ValueEntry; [$($code),*].len()] = [
            $(ValueEntry { code: $code, xml_name: $xml, first: $first, last: $last },)*
        ];

        impl $name {
            $($(#[$vdoc])* pub const $bit: Self = Self($code);)*

            /// Whether every bit of `other` is set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Both together.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Name of each set bit in the XML and JSON encodings, and what is left without a name.
            pub fn names(self) -> (impl Iterator<Item = &'static str>, u32) {
                let unnamed = $bits.iter().fold(self.0, |rest, entry| rest & !entry.code);
                ($bits.iter().filter(move |entry| self.0 & entry.code != 0).map(|entry| entry.xml_name), unnamed)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }
    };
}
use mask;

/// The rules of one attribute, one entry per version that has it.
#[derive(Debug)]
pub struct AttributeEntry {
    /// Attribute name, as 1.x writes it in Attribute Name.
    pub name: &'static str,
    /// Tag of the attribute value as 2.x writes it.
    pub tag: Tag,
    /// Rules, oldest version first.
    pub rules: &'static [AttributeRule],
}

/// The rule table of one attribute in one version.
#[derive(Debug)]
pub struct AttributeRule {
    /// The version.
    pub version: ProtocolVersion,
    /// Section of that version's specification.
    pub section: &'static str,
    /// "SHALL always have a value".
    pub always_has_value: bool,
    /// "Initially set by": Client.
    pub client_sets: bool,
    /// "Initially set by": Server.
    pub server_sets: bool,
    /// "Modifiable by client".
    pub client_modifies: ClientChange,
    /// "Deletable by client".
    pub client_deletes: ClientChange,
    /// "Multiple instances permitted".
    pub multiple: bool,
    /// "Applies to Object Types".
    pub applies_to: AppliesTo,
}

/// When a client may change an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientChange {
    /// Never.
    No,
    /// Always.
    Yes,
    /// If a client made it (custom attributes `x-`, not `y-`).
    ClientCreated,
    /// While the object is Pre-Active.
    PreActive,
    /// While the object is Pre-Active or Active.
    PreActiveOrActive,
    /// While the object is Pre-Active or Active and the date it holds has not been reached.
    PreActiveOrActiveUntilReached,
    /// As long as Get Usage Allocation has not been performed.
    UntilUsageAllocated,
}

/// Which object types an attribute applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the table cells")]
pub enum AppliesTo {
    AllObjects,
    AsymmetricKeys,
    AsymmetricKeysAndTemplates,
    Certificates,
    CertificatesAndPgpKeys,
    CryptographicAndOpaqueObjects,
    CryptographicObjects,
    CryptographicObjectsAndTemplates,
    KeysAndTemplates,
    KeysCertificatesAndTemplates,
    OpaqueObjects,
    SecretObjects,
    SymmetricKeysAndTemplates,
}

impl AttributeEntry {
    /// Every attribute that has a rule table.
    #[must_use]
    pub fn all() -> &'static [Self] {
        attributes::ATTRIBUTES
    }

    /// The entry of a tag. Custom attributes and certificate fields share the tag of Attribute: use [`Self::by_name`].
    #[must_use]
    pub fn by_tag(tag: Tag) -> Option<&'static Self> {
        attributes::ATTRIBUTES.iter().find(|entry| entry.tag == tag)
    }

    /// The entry with this specification name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        attributes::ATTRIBUTES.iter().find(|entry| entry.name == name)
    }

    /// The rule of a version, if that version has the attribute. 3.0 has no published rules: those of 2.1 hold.
    #[must_use]
    pub fn rule(&self, version: ProtocolVersion) -> Option<&'static AttributeRule> {
        let version = version.min(ProtocolVersion::V2_1);
        self.rules.iter().find(|rule| rule.version == version)
    }
}

#[cfg(test)]
mod generate;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The checked-in modules are what the generator writes from the checked-in data.
    #[test]
    fn generated_files_are_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, text) in generate::all(&root.join("tables")) {
            let file = std::fs::read_to_string(root.join("src/tables").join(name)).expect("generated file");
            assert!(file == text, "{name} is stale: cargo run -p keygate-kmip --example generate_tables");
        }
    }

    #[test]
    fn tags_are_found_by_code_and_name() {
        assert_eq!(Tag::by_xml_name("UniqueIdentifier"), Some(Tag::UNIQUE_IDENTIFIER));
        assert_eq!(Tag(0x42_0094).entry().map(|entry| entry.name), Some("Unique Identifier"));
        assert!(Tag(0x42_FFFF).entry().is_none());
        assert!(tags::TAGS.is_sorted_by_key(|entry| entry.tag));
    }

    #[test]
    fn unknown_codes_are_refused_and_extensions_kept() {
        assert_eq!(CryptographicAlgorithm::from_code(3), Some(CryptographicAlgorithm::Aes));
        assert_eq!(CryptographicAlgorithm::from_code(0x7FFF_FFFF), None);
        assert_eq!(
            CryptographicAlgorithm::from_code(0x8000_0001),
            Some(CryptographicAlgorithm::Extension(0x8000_0001))
        );
    }
}
