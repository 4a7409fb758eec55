//! What is written is read back byte for byte, and what the standard does not write is refused.

use proptest::prelude::*;

use super::*;
use crate::Tag;
use crate::event::{Sink, TtlvSink};

fn to_bytes(text: &str) -> Result<Vec<u8>, Reason> {
    let mut sink = TtlvSink::new();
    read(text, &mut sink, Limits::default()).map_err(|error| error.reason)?;
    Ok(sink.into_bytes().to_vec())
}

fn to_text(bytes: &[u8]) -> String {
    write(bytes, &crate::ttlv::Limits::default(), Masking::None).expect("own bytes parse")
}

fn of_events(events: impl FnOnce(&mut dyn Sink)) -> Vec<u8> {
    let mut sink = TtlvSink::new();
    events(&mut sink);
    sink.into_bytes().to_vec()
}

/// The examples of value forms: each text has one meaning, and is written the same way again.
#[test]
fn values_are_read_as_the_standard_writes_them() {
    let cases: [(&str, Vec<u8>); 12] = [
        (r#"<BatchCount type="Integer" value="10"/>"#, of_events(|s| s.integer(Tag::BATCH_COUNT, 10))),
        (
            r#"<CryptographicUsageMask type="Integer" value="Encrypt Decrypt"/>"#,
            of_events(|s| s.integer(Tag::CRYPTOGRAPHIC_USAGE_MASK, 0x0C)),
        ),
        (
            r#"<CryptographicUsageMask type="Integer" value="Encrypt 0x40000000"/>"#,
            of_events(|s| s.integer(Tag::CRYPTOGRAPHIC_USAGE_MASK, 0x4000_0004)),
        ),
        (
            r#"<UsageLimitsTotal type="LongInteger" value="-3"/>"#,
            of_events(|s| s.long_integer(Tag::USAGE_LIMITS_TOTAL, -3)),
        ),
        (
            r#"<Modulus type="BigInteger" value="00000000000000ff"/>"#,
            of_events(|s| s.big_integer(Tag::MODULUS, &[0xFF - 0xFF, 0xFF])),
        ),
        (r#"<Operation type="Enumeration" value="ReKey"/>"#, of_events(|s| s.enumeration(Tag::OPERATION, 4))),
        (
            r#"<Operation type="Enumeration" value="0x80000001"/>"#,
            of_events(|s| s.enumeration(Tag::OPERATION, 0x8000_0001)),
        ),
        (r#"<Sensitive type="Boolean" value="true"/>"#, of_events(|s| s.boolean(Tag::SENSITIVE, true))),
        (
            r#"<NameValue type="TextString" value="a &lt;&quot;&amp;&#10;&#9;b"/>"#,
            of_events(|s| s.text_string(Tag::NAME_VALUE, "a <\"&\n\tb")),
        ),
        (r#"<Data type="ByteString" value="00ff"/>"#, of_events(|s| s.byte_string(Tag::DATA, &[0, 255]))),
        (
            r#"<ActivationDate type="DateTime" value="2012-04-27T08:14:39+00:00"/>"#,
            of_events(|s| s.date_time(Tag::ACTIVATION_DATE, 1_335_514_479)),
        ),
        (r#"<LeaseTime type="Interval" value="3600"/>"#, of_events(|s| s.interval(Tag::LEASE_TIME, 3600))),
    ];
    for (text, bytes) in cases {
        assert_eq!(to_bytes(text).as_ref(), Ok(&bytes), "{text}");
        let mut writer = Writer::new(Masking::None);
        read(text, &mut writer, Limits::default()).expect("read once already");
        assert_eq!(writer.into_text(), format!("{text}\n"), "{text}");
    }
}

#[test]
fn the_attribute_name_beside_it_names_the_values_of_an_attribute_value() {
    let text = r#"<Attribute>
  <AttributeName type="TextString" value="Cryptographic Usage Mask"/>
  <AttributeValue type="Integer" value="Sign Verify"/>
</Attribute>
"#;
    let bytes = of_events(|s| {
        s.start_structure(Tag::ATTRIBUTE);
        s.text_string(Tag::ATTRIBUTE_NAME, "Cryptographic Usage Mask");
        s.integer(Tag::ATTRIBUTE_VALUE, 3);
        s.end_structure();
    });
    assert_eq!(to_bytes(text).as_ref(), Ok(&bytes));
    assert_eq!(to_text(&bytes), text);
}

#[test]
fn an_attribute_reference_is_a_tag_by_name() {
    let text = "<AttributeReference type=\"Enumeration\" value=\"CryptographicAlgorithm\"/>\n";
    let bytes = of_events(|s| s.enumeration(Tag::ATTRIBUTE_REFERENCE, Tag::CRYPTOGRAPHIC_ALGORITHM.0));
    assert_eq!(to_bytes(text).as_ref(), Ok(&bytes));
    let mut writer = Writer::new(Masking::None);
    writer.enumeration(Tag::ATTRIBUTE_REFERENCE, Tag::CRYPTOGRAPHIC_ALGORITHM.0);
    assert_eq!(writer.into_text(), text);
}

#[test]
fn a_tag_without_a_name_is_written_by_number() {
    let text = "<TTLV tag=\"0x540002\">\n  <TTLV tag=\"0x540003\" type=\"Integer\" value=\"1\"/>\n</TTLV>\n";
    let bytes = of_events(|s| {
        s.start_structure(Tag(0x54_0002));
        s.integer(Tag(0x54_0003), 1);
        s.end_structure();
    });
    assert_eq!(to_bytes(text).as_ref(), Ok(&bytes));
    assert_eq!(to_text(&bytes), text);
}

#[test]
fn what_the_standard_does_not_write_is_refused() {
    let value = |tag: &str, item_type: &str| Reason::Value { tag: tag.to_owned(), item_type: item_type.to_owned() };
    let cases: &[(&str, Reason)] = &[
        ("", Reason::Empty),
        ("<NoSuchTag/>", Reason::UnknownTag("NoSuchTag".into())),
        ("<batchcount type=\"Integer\" value=\"1\"/>", Reason::UnknownTag("batchcount".into())),
        ("<TTLV tag=\"0x410001\"/>", Reason::UnknownTag("0x410001".into())),
        ("<BatchCount type=\"Number\" value=\"1\"/>", Reason::UnknownType("Number".into())),
        ("<BatchCount type=\"Integer\"/>", Reason::MissingValue("Batch Count".into())),
        ("<BatchItem value=\"1\"/>", Reason::MissingValue("Batch Item".into())),
        ("<BatchCount type=\"Integer\" value=\"1 \"/>", value("Batch Count", "Integer")),
        ("<BatchCount type=\"Integer\" value=\"2147483648\"/>", value("Batch Count", "Integer")),
        ("<Operation type=\"Enumeration\" value=\"re-key\"/>", value("Operation", "Enumeration")),
        ("<Modulus type=\"BigInteger\" value=\"ff\"/>", value("Modulus", "BigInteger")),
        ("<Sensitive type=\"Boolean\" value=\"1\"/>", value("Sensitive", "Boolean")),
        ("<Data type=\"ByteString\" value=\"0\"/>", value("Data", "ByteString")),
        ("<ActivationDate type=\"DateTime\" value=\"$NOW\"/>", value("Activation Date", "DateTime")),
        ("<BatchCount type=\"Integer\" value=\"1\" unit=\"x\"/>", Reason::Attribute("unit".into())),
        (
            "<BatchCount type=\"Integer\" value=\"1\"><BatchItem/></BatchCount>",
            Reason::NotAStructure("Batch Count".into()),
        ),
        ("<BatchItem/><BatchItem/>", Reason::Trailing),
        ("<BatchItem>text</BatchItem>", Reason::Trailing),
    ];
    for (text, reason) in cases {
        assert_eq!(to_bytes(text).as_ref(), Err(reason), "{text}");
    }
    assert!(matches!(to_bytes("<BatchItem>"), Err(Reason::Malformed(_))));
    assert!(matches!(to_bytes("<BatchItem></Operation>"), Err(Reason::Malformed(_))));
}

#[test]
fn limits_hold() {
    let deep = "<BatchItem>".repeat(33) + &"</BatchItem>".repeat(33);
    assert_eq!(to_bytes(&deep), Err(Reason::Depth(32)));
    let limits = Limits { text_bytes_max: 10, ..Limits::default() };
    let error = read("<BatchItem/>", &mut TtlvSink::new(), limits).map_err(|error| error.reason);
    assert_eq!(error, Err(Reason::Size { size: 12, limit: 10 }));
}

/// Goal: a diagnostic dump shows the shape of a message and none of its secrets.
#[test]
fn masking_hides_every_value_under_key_material() {
    let bytes = of_events(|s| {
        s.start_structure(Tag::KEY_BLOCK);
        s.enumeration(Tag::KEY_FORMAT_TYPE, 1);
        s.start_structure(Tag::KEY_VALUE);
        s.start_structure(Tag::KEY_MATERIAL);
        s.big_integer(Tag::D, b"secretse");
        s.end_structure();
        s.end_structure();
        s.text_string(Tag::PASSWORD, "password1");
        s.end_structure();
    });
    let text = write(&bytes, &crate::ttlv::Limits::default(), Masking::Secrets).expect("own bytes parse");
    assert!(text.contains("KeyFormatType type=\"Enumeration\" value=\"Raw\""), "{text}");
    assert!(text.contains("value=\"(8 bytes)\""), "{text}");
    assert!(!text.contains(&hex::encode("secretse")) && !text.contains("password1"), "{text}");
}

/// Any well-formed message: a tree of items with tags known and unknown.
#[derive(Clone, Debug)]
enum Node {
    Structure(u32, Vec<Self>),
    Integer(u32, i32),
    LongInteger(u32, i64),
    BigInteger(u32, Vec<u8>),
    Enumeration(u32, u32),
    Boolean(u32, bool),
    Text(u32, String),
    Bytes(u32, Vec<u8>),
    DateTime(u32, i64),
    Interval(u32, u32),
    DateTimeExtended(u32, i64),
}

impl Node {
    fn send(&self, sink: &mut dyn Sink) {
        match self {
            Self::Structure(tag, fields) => {
                sink.start_structure(Tag(*tag));
                fields.iter().for_each(|field| field.send(sink));
                sink.end_structure();
            }
            Self::Integer(tag, value) => sink.integer(Tag(*tag), *value),
            Self::LongInteger(tag, value) => sink.long_integer(Tag(*tag), *value),
            Self::BigInteger(tag, value) => sink.big_integer(Tag(*tag), value),
            Self::Enumeration(tag, value) => sink.enumeration(Tag(*tag), *value),
            Self::Boolean(tag, value) => sink.boolean(Tag(*tag), *value),
            Self::Text(tag, value) => sink.text_string(Tag(*tag), value),
            Self::Bytes(tag, value) => sink.byte_string(Tag(*tag), value),
            Self::DateTime(tag, value) => sink.date_time(Tag(*tag), *value),
            Self::Interval(tag, value) => sink.interval(Tag(*tag), *value),
            Self::DateTimeExtended(tag, value) => sink.date_time_extended(Tag(*tag), *value),
        }
    }
}

fn tag() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0x42_0001..0x42_0150_u32, 1 => 0x54_0000..0x54_0010_u32]
}

fn leaf() -> impl Strategy<Value = Node> {
    prop_oneof![
        (tag(), any::<i32>()).prop_map(|(t, v)| Node::Integer(t, v)),
        (tag(), any::<i64>()).prop_map(|(t, v)| Node::LongInteger(t, v)),
        (tag(), proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|(t, v)| Node::BigInteger(t, v)),
        (tag(), prop_oneof![any::<u32>(), 0..64_u32]).prop_map(|(t, v)| Node::Enumeration(t, v)),
        (tag(), any::<bool>()).prop_map(|(t, v)| Node::Boolean(t, v)),
        (tag(), "[ -~\t\n\r\u{85}-\u{fffd}\u{10000}-\u{10ffff}]{0,20}").prop_map(|(t, v)| Node::Text(t, v)),
        (tag(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(t, v)| Node::Bytes(t, v)),
        (tag(), any::<i64>()).prop_map(|(t, v)| Node::DateTime(t, v)),
        (tag(), -60_000_000_000..250_000_000_000_i64).prop_map(|(t, v)| Node::DateTime(t, v)),
        (tag(), any::<u32>()).prop_map(|(t, v)| Node::Interval(t, v)),
        (tag(), any::<i64>()).prop_map(|(t, v)| Node::DateTimeExtended(t, v)),
    ]
}

fn message() -> impl Strategy<Value = Node> {
    let node = leaf().prop_recursive(4, 40, 6, |inner| {
        (tag(), proptest::collection::vec(inner, 0..6)).prop_map(|(t, fields)| Node::Structure(t, fields))
    });
    (tag(), proptest::collection::vec(node, 0..6)).prop_map(|(t, fields)| Node::Structure(t, fields))
}

proptest! {
    #[test]
    fn ttlv_to_xml_to_ttlv_is_the_identity(node in message()) {
        let bytes = of_events(|sink| node.send(sink));
        let text = to_text(&bytes);
        prop_assert_eq!(to_bytes(&text), Ok(bytes), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[<>/=\" A-Za-z0-9$&;#]{0,60}") {
        let _ = to_bytes(&text);
    }
}
