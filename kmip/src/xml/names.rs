//! Names of items, types and values in XML: the rules of §6.1.2 to §6.1.5 over the generated tables.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{AttributeEntry, Tag, ValueEntry, ValueNames};

/// Which names a value may have: by its tag, or for an Attribute Value by the Attribute Name beside it.
pub(super) fn value_names(tag: Tag, attribute: Option<Tag>) -> Option<&'static ValueNames> {
    let tag = if tag == Tag::ATTRIBUTE_VALUE { attribute? } else { tag };
    tag.entry()?.values.as_ref()
}

/// The tag of the attribute that a 1.x Attribute Name means, if the standard defines it.
pub(super) fn attribute_tag(name: &str) -> Option<Tag> {
    AttributeEntry::by_name(name).map(|entry| entry.tag)
}

/// The number of an enumeration value: a name, or `0x` and 8 digits.
pub(super) fn enumeration_code(text: &str, names: Option<&ValueNames>) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).ok();
    }
    match names? {
        ValueNames::Enumeration(values) => code_of(values, text),
        ValueNames::Tag => Tag::by_xml_name(text).map(|tag| tag.0),
        ValueNames::Mask(_) => None,
    }
}

/// The name of an enumeration value, or `0x` and 8 digits.
pub(super) fn enumeration_name(code: u32, names: Option<&ValueNames>) -> String {
    let name = match names {
        Some(ValueNames::Enumeration(values)) => name_of(values, code),
        Some(ValueNames::Tag) => Tag(code).entry().map(|entry| entry.xml_name),
        _ => None,
    };
    name.map_or_else(|| format!("0x{code:08X}"), str::to_owned)
}

/// An Integer: decimal, or for a mask its bits by name or `0x` number with spaces between.
pub(super) fn integer(text: &str, names: Option<&ValueNames>) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return Some(number);
    }
    let Some(ValueNames::Mask(bits)) = names else {
        return hexadecimal_u32(text).map(u32::cast_signed);
    };
    let mask = text
        .split(' ')
        .try_fold(0, |mask, part| Some(mask | hexadecimal_u32(part).or_else(|| code_of(bits, part))?))?;
    Some(mask.cast_signed())
}

/// An Integer as text; a mask by the names of its bits.
pub(super) fn integer_name(value: i32, names: Option<&ValueNames>) -> String {
    let Some(ValueNames::Mask(bits)) = names else { return value.to_string() };
    if value == 0 {
        return "0".to_owned();
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
    parts.join(" ")
}

/// A Date-Time: ISO 8601, or `0x` and 16 digits for what ISO 8601 cannot say.
pub(super) fn date_time(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(u64::cast_signed);
    }
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// A Date-Time as ISO 8601 in UTC.
pub(super) fn date_time_name(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .map_or_else(|| format!("0x{seconds:016X}"), |text| text.replace('Z', "+00:00"))
}

/// A Date-Time Extended, in microseconds.
pub(super) fn date_time_extended(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(u64::cast_signed);
    }
    let nanoseconds = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanoseconds.div_euclid(1_000)).ok()
}

/// A Date-Time Extended as ISO 8601 in UTC.
pub(super) fn date_time_extended_name(microseconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .map_or_else(|| format!("0x{microseconds:016X}"), |text| text.replace('Z', "+00:00"))
}

fn hexadecimal_u32(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn code_of(values: &[ValueEntry], name: &str) -> Option<u32> {
    values.iter().find(|value| value.xml_name == name).map(|value| value.code)
}

fn name_of(values: &[ValueEntry], code: u32) -> Option<&'static str> {
    values.iter().find(|value| value.code == code).map(|value| value.xml_name)
}
