//! Names as the test cases spell them: the tables of the product, compared leniently.
//!
//! The cases were written by hand over ten years; the rule is to compare letters and digits only, ignoring case, with
//! the few other spellings below. The product's own reader knows nothing of this.

use std::collections::HashMap;
use std::sync::LazyLock;

use keygate_kmip::{AttributeEntry, Tag, ValueEntry, ValueNames};

/// The tag an element name means.
#[must_use]
pub fn tag(name: &str) -> Option<u32> {
    TAGS.get(&loose(name)).copied()
}

/// The name of a tag, for messages.
#[must_use]
pub fn tag_name(tag: u32) -> String {
    Tag(tag).entry().map_or_else(|| format!("0x{tag:06X}"), |entry| entry.xml_name.to_owned())
}

/// The tag of the attribute a 1.x Attribute Name means.
#[must_use]
pub fn attribute(name: &str) -> Option<u32> {
    AttributeEntry::by_name(name).map(|entry| entry.tag.0).or_else(|| tag(name))
}

/// The number of an enumeration value of `tag`.
#[must_use]
pub fn enumeration(tag: u32, text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).ok();
    }
    let wanted = loose(text);
    match Tag(tag).entry().and_then(|entry| entry.values.as_ref())? {
        ValueNames::Enumeration(values) => code_of(values, &wanted),
        ValueNames::Tag => self::tag(text),
        ValueNames::Mask(_) => None,
    }
}

/// The name of an enumeration value of `tag`, for messages.
#[must_use]
pub fn enumeration_name(tag: u32, code: u32) -> String {
    let name = match Tag(tag).entry().and_then(|entry| entry.values.as_ref()) {
        Some(ValueNames::Enumeration(values)) => {
            values.iter().find(|value| value.code == code).map(|value| value.xml_name)
        }
        Some(ValueNames::Tag) => Tag(code).entry().map(|entry| entry.xml_name),
        _ => None,
    };
    name.map_or_else(|| format!("0x{code:08X}"), str::to_owned)
}

/// An Integer of `tag`: decimal, hexadecimal, or the names of the bits of a mask.
#[must_use]
pub fn integer(tag: u32, text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let bits = match Tag(tag).entry().and_then(|entry| entry.values.as_ref()) {
        Some(ValueNames::Mask(bits)) => *bits,
        _ => &[],
    };
    text.split_ascii_whitespace()
        .try_fold(0, |mask, part| {
            let bit = match part.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => code_of(bits, &loose(part))?,
            };
            Some(mask | bit)
        })
        .map(u32::cast_signed)
}

fn code_of(values: &[ValueEntry], wanted: &str) -> Option<u32> {
    let exact = values.iter().find(|value| loose(value.xml_name) == wanted);
    let other = || {
        let (_, name) = OTHER_SPELLINGS.iter().find(|(spelling, _)| *spelling == wanted)?;
        values.iter().find(|value| loose(value.xml_name) == *name)
    };
    exact.or_else(other).map(|value| value.code)
}

fn loose(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Spellings in the cases and the one of the tables, both without punctuation.
const OTHER_SPELLINGS: &[(&str, &str)] = &[
    ("3des", "des3"),
    ("threedes", "des3"),
    ("opaqueobject", "opaquedata"),
    ("opaquedata", "opaqueobject"),
    ("contentcommitment", "contentcommitmentnonrepudiation"),
    ("notauthorized", "notauthorised"),
    ("onlinestorage", "onlinestorage"),
    ("mgf1", "mfg1"),
    ("mfg1", "mgf1"),
];

static TAGS: LazyLock<HashMap<String, u32>> = LazyLock::new(|| {
    (0x42_0000..0x42_0400).filter_map(|code| Tag(code).entry().map(|entry| (loose(entry.xml_name), code))).collect()
});
