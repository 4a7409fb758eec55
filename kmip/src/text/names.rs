//! Names of items, types and values in XML and JSON: the rules of KMIP Additional Message Encodings 1.0 §4.1.1 to §4.1.5 and
//! §6.1.1 to §6.1.5 over the generated tables.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::{AttributeEntry, Tag, ValueEntry, ValueNames};

/// A tag by its name, or by number: `0x` and 6 digits.
pub(crate) fn tag(name: &str) -> Option<Tag> {
    match hexadecimal(name, 6) {
        Some(number) => Some(Tag(u32::try_from(number).ok()?)).filter(|tag| tag.is_in_range()),
        None => Tag::by_xml_name(name),
    }
}

/// A number in hexadecimal. KMIP-ENC 1.0 §4.1.1: "Hex representations of numbers must always begin with '0x'" and "must
/// include all leading zeros [...] when representing a value of a fixed width".
pub(crate) fn hexadecimal(text: &str, digits: usize) -> Option<u64> {
    let number = text.strip_prefix("0x")?;
    let fits = number.len() == digits && number.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { u64::from_str_radix(number, 16).ok() } else { None }
}

/// Which names a value may have: by its tag, or for an Attribute Value by the Attribute Name beside it.
pub(crate) fn value_names(tag: Tag, attribute: Option<Tag>) -> Option<&'static ValueNames> {
    let tag = if tag == Tag::ATTRIBUTE_VALUE { attribute? } else { tag };
    tag.entry()?.values.as_ref()
}

/// The tag of the attribute that a 1.x Attribute Name means, if the standard defines it.
pub(crate) fn attribute_tag(name: &str) -> Option<Tag> {
    AttributeEntry::by_name(name).map(|entry| entry.tag)
}

/// The number of an enumeration value: a name, or `0x` and 8 digits.
pub(crate) fn enumeration_code(text: &str, names: Option<&ValueNames>) -> Option<u32> {
    if let Some(code) = hexadecimal_u32(text) {
        return Some(code);
    }
    match names? {
        ValueNames::Enumeration(values) => code_of(values, text),
        ValueNames::Tag => Tag::by_xml_name(text).map(|tag| tag.0),
        ValueNames::Mask(_) => None,
    }
}

/// The name of an enumeration value, or `0x` and 8 digits.
pub(crate) fn enumeration_name(code: u32, names: Option<&ValueNames>) -> String {
    let name = match names {
        Some(ValueNames::Enumeration(values)) => name_of(values, code),
        Some(ValueNames::Tag) => Tag(code).entry().map(|entry| entry.xml_name),
        _ => None,
    };
    name.map_or_else(|| format!("0x{code:08X}"), str::to_owned)
}

/// An Integer that is written as `0x` and 8 digits, or for a mask as its bits by name or number with separators between.
pub(crate) fn integer(text: &str, names: Option<&ValueNames>, separator: char) -> Option<i32> {
    if let Some(number) = hexadecimal_u32(text) {
        return Some(number.cast_signed());
    }
    let Some(ValueNames::Mask(bits)) = names else { return None };
    let mask = text
        .split(separator)
        .try_fold(0, |mask, part| Some(mask | hexadecimal_u32(part).or_else(|| code_of(bits, part))?))?;
    Some(mask.cast_signed())
}

/// A mask by the names of its bits; `None` for other Integers and for a mask without bits.
pub(crate) fn mask_name(value: i32, names: Option<&ValueNames>, separator: &str) -> Option<String> {
    let Some(ValueNames::Mask(bits)) = names else { return None };
    if value == 0 {
        return None;
    }
    let mut rest = value.cast_unsigned();
    let mut parts = Vec::new();
    for bit in bits.iter().filter(|bit| value.cast_unsigned() & bit.code == bit.code) {
        if rest & bit.code != 0 {
            parts.push(bit.xml_name.to_owned());
        }
        rest &= !bit.code;
    }
    if rest != 0 {
        parts.push(format!("0x{rest:08X}"));
    }
    Some(parts.join(separator))
}

/// A Date-Time: ISO 8601, or `0x` and 16 digits for what ISO 8601 cannot say. Parts of seconds are passed over.
pub(crate) fn date_time(text: &str) -> Option<i64> {
    if let Some(number) = hexadecimal(text, 16) {
        return Some(number.cast_signed());
    }
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// A Date-Time as ISO 8601 in UTC.
pub(crate) fn date_time_name(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .map_or_else(|| format!("0x{seconds:016X}"), |text| text.replace('Z', "+00:00"))
}

/// A Date-Time Extended, in microseconds.
pub(crate) fn date_time_extended(text: &str) -> Option<i64> {
    if let Some(number) = hexadecimal(text, 16) {
        return Some(number.cast_signed());
    }
    let nanoseconds = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanoseconds.div_euclid(1_000)).ok()
}

/// A Date-Time Extended as ISO 8601 in UTC.
pub(crate) fn date_time_extended_name(microseconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .map_or_else(|| format!("0x{microseconds:016X}"), |text| text.replace('Z', "+00:00"))
}

fn hexadecimal_u32(text: &str) -> Option<u32> {
    hexadecimal(text, 8).and_then(|number| u32::try_from(number).ok())
}

/// KMIP-ENC 1.0 §4.1.5, §6.1.5: a Big Integer is hexadecimal, sign-extended to a multiple of 8 bytes.
pub(crate) fn big_integer(digits: &str) -> Option<Zeroizing<Vec<u8>>> {
    bytes(digits).filter(|bytes| !bytes.is_empty() && bytes.len().is_multiple_of(8))
}

/// A Byte String in hexadecimal, of any length, without prefix.
pub(crate) fn bytes(digits: &str) -> Option<Zeroizing<Vec<u8>>> {
    hex::decode(digits).ok().map(Zeroizing::new)
}

fn code_of(values: &[ValueEntry], name: &str) -> Option<u32> {
    values.iter().find(|value| value.xml_name == name).map(|value| value.code)
}

fn name_of(values: &[ValueEntry], code: u32) -> Option<&'static str> {
    values.iter().find(|value| value.code == code).map(|value| value.xml_name)
}
