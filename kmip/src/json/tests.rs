//! What is written is read back, the examples of the standard are read as they are, and what it does not write is refused.

use super::*;
use crate::Tag;
use crate::event::{Sink, TtlvSink};
use crate::ttlv::Type;

fn read_with(text: &str, limits: Limits) -> Result<Vec<u8>, Error> {
    let mut sink = TtlvSink::new();
    read(text, &mut sink, limits)?;
    Ok(sink.into_bytes().to_vec())
}

fn to_bytes(text: &str) -> Result<Vec<u8>, Reason> {
    read_with(text, Limits::default()).map_err(|error| error.reason)
}

fn of_events(events: impl FnOnce(&mut dyn Sink)) -> Vec<u8> {
    let mut sink = TtlvSink::new();
    events(&mut sink);
    sink.into_bytes().to_vec()
}

/// A simple item with this tag, type and JSON value.
fn item(tag: &str, item_type: &str, value: &str) -> String {
    format!(r#"{{"tag":"{tag}", "type":"{item_type}", "value":{value}}}"#)
}

/// Each text has one meaning, and is written the same way again.
#[test]
fn values_are_read_as_they_are_written() {
    let cases: [(String, Vec<u8>); 17] = [
        (item("BatchCount", "Integer", r#""0x0000000a""#), of_events(|s| s.integer(Tag::BATCH_COUNT, 10))),
        (item("BatchCount", "Integer", r#""0xffffffff""#), of_events(|s| s.integer(Tag::BATCH_COUNT, -1))),
        (
            item("CryptographicUsageMask", "Integer", r#""Encrypt|Decrypt|0x40000000""#),
            of_events(|s| s.integer(Tag::CRYPTOGRAPHIC_USAGE_MASK, 0x4000_000C)),
        ),
        (
            item("CryptographicUsageMask", "Integer", r#""0x00000000""#),
            of_events(|s| s.integer(Tag::CRYPTOGRAPHIC_USAGE_MASK, 0)),
        ),
        (
            item("UsageLimitsTotal", "LongInteger", r#""0xfffffffffffffffd""#),
            of_events(|s| s.long_integer(Tag::USAGE_LIMITS_TOTAL, -3)),
        ),
        (item("Modulus", "BigInteger", r#""0x00000000000000ff""#), of_events(|s| s.big_integer(Tag::MODULUS, &[0, 0xFF]))),
        (item("Operation", "Enumeration", r#""ReKey""#), of_events(|s| s.enumeration(Tag::OPERATION, 4))),
        (item("Operation", "Enumeration", r#""0x80000001""#), of_events(|s| s.enumeration(Tag::OPERATION, 0x8000_0001))),
        (item("Sensitive", "Boolean", "true"), of_events(|s| s.boolean(Tag::SENSITIVE, true))),
        (
            item("NameValue", "TextString", r#""a <\"\\&\n\t\u0001ü""#),
            of_events(|s| s.text_string(Tag::NAME_VALUE, "a <\"\\&\n\t\u{1}ü")),
        ),
        (item("Data", "ByteString", r#""00ff""#), of_events(|s| s.byte_string(Tag::DATA, &[0, 255]))),
        (item("Data", "ByteString", r#""""#), of_events(|s| s.byte_string(Tag::DATA, &[]))),
        (
            item("ActivationDate", "DateTime", r#""2012-04-27T08:14:39+00:00""#),
            of_events(|s| s.date_time(Tag::ACTIVATION_DATE, 1_335_514_479)),
        ),
        (item("LeaseTime", "Interval", r#""0x00000e10""#), of_events(|s| s.interval(Tag::LEASE_TIME, 3600))),
        (
            item("UniqueIdentifier", "Identifier", r#""id-1""#),
            of_events(|s| s.reference(Tag::UNIQUE_IDENTIFIER, Type::Identifier, "id-1")),
        ),
        (item("0x540002", "Integer", r#""0x00000001""#), of_events(|s| s.integer(Tag(0x54_0002), 1))),
        (r#"{"tag":"BatchItem", "value":[]}"#.to_owned(), of_events(|s| { s.start_structure(Tag::BATCH_ITEM); s.end_structure(); })),
    ];
    for (text, bytes) in cases {
        assert_eq!(to_bytes(&text).as_ref(), Ok(&bytes), "{text}");
        let mut writer = Writer::new();
        read(&text, &mut writer, Limits::default()).expect("read once already");
        assert_eq!(writer.into_text().as_str(), text);
    }
}

/// Other forms that the standard allows, and JSON's own freedoms: order of members, escapes, white space, the comment `name`.
#[test]
fn other_forms_mean_the_same() {
    let cases = [
        (item("BatchCount", "Integer", "10"), of_events(|s| s.integer(Tag::BATCH_COUNT, 10))),
        (r#" {"value":10 , "type":"Integer","tag":"Batch\u0043ount", "name":"how many"}"#.to_owned(), of_events(|s| s.integer(Tag::BATCH_COUNT, 10))),
        (item("0x42000D", "Integer", "-1"), of_events(|s| s.integer(Tag::BATCH_COUNT, -1))),
        (item("UsageLimitsTotal", "LongInteger", "4503599627370495"), of_events(|s| s.long_integer(Tag::USAGE_LIMITS_TOTAL, (1 << 52) - 1))),
        (item("Modulus", "BigInteger", "-2"), of_events(|s| s.big_integer(Tag::MODULUS, &[0xFE]))),
        (item("Operation", "Enumeration", "4"), of_events(|s| s.enumeration(Tag::OPERATION, 4))),
        (item("Sensitive", "Boolean", r#""0x0000000000000000""#), of_events(|s| s.boolean(Tag::SENSITIVE, false))),
        (item("Data", "ByteString", r#""00FF""#), of_events(|s| s.byte_string(Tag::DATA, &[0, 255]))),
        // "fractional seconds should be ignored on receipt"
        (item("ActivationDate", "DateTime", r#""2012-04-27T10:14:39.75+02:00""#), of_events(|s| s.date_time(Tag::ACTIVATION_DATE, 1_335_514_479))),
        (item("LeaseTime", "Interval", "3600"), of_events(|s| s.interval(Tag::LEASE_TIME, 3600))),
        (r#"{"tag":"BatchItem","type":"Structure","value":[]}"#.to_owned(), of_events(|s| { s.start_structure(Tag::BATCH_ITEM); s.end_structure(); })),
    ];
    for (text, bytes) in cases {
        assert_eq!(to_bytes(&text).as_ref(), Ok(&bytes), "{text}");
    }
}

#[test]
fn the_attribute_name_beside_it_names_the_values_of_an_attribute_value() {
    let text = r#"{"tag":"Attribute", "value":[
  {"tag":"AttributeName", "type":"TextString", "value":"Cryptographic Usage Mask"},
  {"tag":"AttributeValue", "type":"Integer", "value":"Sign|Verify"}
]}
"#;
    let bytes = of_events(|s| {
        s.start_structure(Tag::ATTRIBUTE);
        s.text_string(Tag::ATTRIBUTE_NAME, "Cryptographic Usage Mask");
        s.integer(Tag::ATTRIBUTE_VALUE, 3);
        s.end_structure();
    });
    assert_eq!(to_bytes(text).as_ref(), Ok(&bytes));
    assert_eq!(write(&bytes, &crate::ttlv::Limits::default()).expect("own bytes parse").as_str(), text);
}

#[test]
fn what_the_standard_does_not_write_is_refused() {
    let value = |tag, item_type| Reason::Value { tag, item_type };
    let malformed = |what: &str| Reason::Malformed(what.to_owned());
    let strings = || malformed("`tag`, `name` and `type` must be strings");
    let object = || malformed("an item must be an object");
    let cases: Vec<(String, Reason)> = vec![
        (" \n".into(), Reason::Empty),
        ("[]".into(), object()),
        (r#""BatchItem""#.into(), object()),
        ("null".into(), object()),
        ("7".into(), object()),
        ("{}".into(), Reason::Missing("tag")),
        (r#"{"tag":"BatchItem"}"#.into(), Reason::Missing("value")),
        (r#"{"value":[]}"#.into(), Reason::Missing("tag")),
        (r#"{"tag":"NoSuchTag","value":[]}"#.into(), Reason::UnknownTag("NoSuchTag".into())),
        (r#"{"tag":"batchitem","value":[]}"#.into(), Reason::UnknownTag("batchitem".into())),
        (r#"{"tag":"0x410001","value":[]}"#.into(), Reason::UnknownTag("0x410001".into())),
        (r#"{"tag":4325376,"value":[]}"#.into(), strings()),
        (r#"{"tag":["BatchItem"],"value":[]}"#.into(), strings()),
        (r#"{"tag":"BatchItem","type":1,"value":[]}"#.into(), strings()),
        (r#"{"tag":"BatchItem","value":[],"value":[]}"#.into(), Reason::Duplicate("value")),
        (r#"{"tag":"BatchItem","tag":"BatchCount","value":[]}"#.into(), Reason::Duplicate("tag")),
        (r#"{"tag":"BatchItem","t\u0061g":"BatchCount","value":[]}"#.into(), Reason::Duplicate("tag")),
        (r#"{"tag":"BatchItem","value":[],"unit":1}"#.into(), Reason::Attribute("unit".into())),
        (r#"{"tag":"BatchItem","Value":[]}"#.into(), Reason::Attribute("Value".into())),
        (r#"{"tag":"BatchItem","value":{}}"#.into(), malformed("a value must not be an object")),
        (r#"{"tag":"BatchItem","value":null}"#.into(), malformed("null is not a value")),
        (r#"{"tag":"BatchItem","value":1}"#.into(), Reason::NotAStructure(Tag::BATCH_ITEM)),
        (r#"{"tag":"BatchItem","value":[1]}"#.into(), object()),
        (r#"{"tag":"BatchItem","value":[["tag"]]}"#.into(), object()),
        (item("BatchCount", "Integer", "[]"), Reason::NotAStructure(Tag::BATCH_COUNT)),
        (item("BatchCount", "Number", "1"), Reason::UnknownType("Number".into())),
        (item("BatchCount", "Integer", "1.0"), value(Tag::BATCH_COUNT, Type::Integer)),
        (item("BatchCount", "Integer", "1e3"), value(Tag::BATCH_COUNT, Type::Integer)),
        (item("BatchCount", "Integer", "2147483648"), value(Tag::BATCH_COUNT, Type::Integer)),
        (item("BatchCount", "Integer", r#""1""#), value(Tag::BATCH_COUNT, Type::Integer)),
        (item("BatchCount", "Integer", r#""0x1""#), value(Tag::BATCH_COUNT, Type::Integer)),
        (item("BatchCount", "Integer", "true"), value(Tag::BATCH_COUNT, Type::Integer)),
        (item("CryptographicUsageMask", "Integer", r#""Encrypt Decrypt""#), value(Tag::CRYPTOGRAPHIC_USAGE_MASK, Type::Integer)),
        (item("UsageLimitsTotal", "LongInteger", "4503599627370496"), Reason::Number(Tag::USAGE_LIMITS_TOTAL)),
        (item("UsageLimitsTotal", "LongInteger", "18446744073709551616"), value(Tag::USAGE_LIMITS_TOTAL, Type::LongInteger)),
        (item("Modulus", "BigInteger", r#""0xff""#), value(Tag::MODULUS, Type::BigInteger)),
        (item("Modulus", "BigInteger", r#""00000000000000ff""#), value(Tag::MODULUS, Type::BigInteger)),
        (item("Operation", "Enumeration", r#""re-key""#), value(Tag::OPERATION, Type::Enumeration)),
        (item("Operation", "Enumeration", "-1"), value(Tag::OPERATION, Type::Enumeration)),
        (item("Sensitive", "Boolean", "1"), value(Tag::SENSITIVE, Type::Boolean)),
        (item("Sensitive", "Boolean", r#""true""#), value(Tag::SENSITIVE, Type::Boolean)),
        (item("NameValue", "TextString", "1"), value(Tag::NAME_VALUE, Type::TextString)),
        (item("Data", "ByteString", r#""0x00""#), value(Tag::DATA, Type::ByteString)),
        (item("Data", "ByteString", r#""0""#), value(Tag::DATA, Type::ByteString)),
        (item("ActivationDate", "DateTime", "1335514479"), value(Tag::ACTIVATION_DATE, Type::DateTime)),
        (item("ActivationDate", "DateTime", r#""2012-04-27""#), value(Tag::ACTIVATION_DATE, Type::DateTime)),
        (item("LeaseTime", "Interval", "-1"), value(Tag::LEASE_TIME, Type::Interval)),
        (r#"{"tag":"BatchItem","value":[]} {}"#.into(), Reason::Trailing),
        (r#"{"tag":"BatchItem","value":[]}x"#.into(), Reason::Trailing),
    ];
    for (text, reason) in cases {
        assert_eq!(to_bytes(&text).as_ref(), Err(&reason), "{text}");
    }
    for text in [r#"{"tag":"BatchItem","value":["#, r#"{"tag":"BatchItem",}"#, r#"{tag:"BatchItem"}"#, "{\"tag\":\"Batch\nItem\"}", "{'tag':1}", "\u{feff}{}"] {
        assert!(matches!(to_bytes(text), Err(Reason::Malformed(_))), "{text}: {:?}", to_bytes(text));
    }
}

/// Errors say where, and never repeat a value.
#[test]
fn errors_tell_the_place_and_no_value() {
    let text = "{\"tag\":\"BatchItem\", \"value\":[\n  {\"tag\":\"Password\", \"type\":\"Integer\", \"value\":\"hunter2\"}\n]}";
    let error = read_with(text, Limits::default()).expect_err("no Integer");
    assert_eq!(&text[error.position..error.position + 8], "Password");
    assert_eq!(error.to_string(), format!("at byte {}: value of Password is not a valid Integer", error.position));
    let text = "{\"tag\":\"BatchItem\",\n \"value\":[\"hunter2\"]}";
    let error = read_with(text, Limits::default()).expect_err("no item");
    assert!(error.position > text.find("hunter2").expect("there"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn limits_hold() {
    let deep = r#"{"tag":"BatchItem","value":["#.repeat(33) + &"]}".repeat(33);
    assert_eq!(to_bytes(&deep), Err(Reason::Depth(32)));
    // A simple item within as many structures as may be.
    let count = item("BatchCount", "Integer", "1");
    let fits = r#"{"tag":"BatchItem","value":["#.repeat(32) + &count + &"]}".repeat(32);
    assert!(to_bytes(&fits).is_ok());
    let text = format!(r#"{{"tag":"BatchItem","value":[{count},{count}]}}"#);
    let of = |limits| read_with(&text, limits).map_err(|error| error.reason);
    assert_eq!(of(Limits { text_bytes_max: 10, ..Limits::default() }), Err(Reason::Size { size: text.len(), limit: 10 }));
    assert_eq!(of(Limits { items_max: 2, ..Limits::default() }), Err(Reason::Items(2)));
    assert_eq!(of(Limits { message_bytes_max: 39, ..Limits::default() }), Err(Reason::Message(39)));
    assert!(of(Limits { message_bytes_max: 40, items_max: 3, ..Limits::default() }).is_ok());
}
