//! What is written is read back byte for byte, and what the standard does not write is refused.

use super::*;
use crate::Tag;
use crate::event::{Sink, TtlvSink};
use crate::ttlv::Type;

fn to_bytes(text: &str) -> Result<Vec<u8>, Reason> {
    let mut sink = TtlvSink::new();
    read(text, &mut sink, Limits::default()).map_err(|error| error.reason)?;
    Ok(sink.into_bytes().to_vec())
}

fn to_text(bytes: &[u8]) -> String {
    write(bytes, &crate::ttlv::Limits::default(), Masking::None).expect("own bytes parse").to_string()
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
        assert_eq!(writer.into_text().as_str(), format!("{text}\n"), "{text}");
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
    assert_eq!(writer.into_text().as_str(), text);
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
    let value = |tag, item_type| Reason::Value { tag, item_type };
    let malformed = |what: &str| Reason::Malformed(what.into());
    let entity = malformed("an entity or character reference that XML does not define");
    let cases: &[(&str, Reason)] = &[
        ("", Reason::Empty),
        ("<NoSuchTag/>", Reason::UnknownTag("NoSuchTag".into())),
        ("<batchcount type=\"Integer\" value=\"1\"/>", Reason::UnknownTag("batchcount".into())),
        ("<TTLV tag=\"0x410001\"/>", Reason::UnknownTag("0x410001".into())),
        ("<BatchCount type=\"Number\" value=\"1\"/>", Reason::UnknownType("Number".into())),
        ("<BatchCount type=\"Integer\"/>", Reason::MissingValue(Tag::BATCH_COUNT)),
        ("<BatchItem value=\"1\"/>", Reason::MissingValue(Tag::BATCH_ITEM)),
        ("<BatchCount type=\"Integer\" value=\"1 \"/>", value(Tag::BATCH_COUNT, Type::Integer)),
        ("<BatchCount type=\"Integer\" value=\"2147483648\"/>", value(Tag::BATCH_COUNT, Type::Integer)),
        ("<Operation type=\"Enumeration\" value=\"re-key\"/>", value(Tag::OPERATION, Type::Enumeration)),
        ("<Modulus type=\"BigInteger\" value=\"ff\"/>", value(Tag::MODULUS, Type::BigInteger)),
        ("<Sensitive type=\"Boolean\" value=\"1\"/>", value(Tag::SENSITIVE, Type::Boolean)),
        ("<Data type=\"ByteString\" value=\"0\"/>", value(Tag::DATA, Type::ByteString)),
        ("<ActivationDate type=\"DateTime\" value=\"$NOW\"/>", value(Tag::ACTIVATION_DATE, Type::DateTime)),
        ("<BatchCount type=\"Integer\" value=\"1\" unit=\"x\"/>", Reason::Attribute("unit".into())),
        (
            "<BatchCount type=\"Integer\" value=\"1\"><BatchItem/></BatchCount>",
            Reason::NotAStructure(Tag::BATCH_COUNT),
        ),
        ("<BatchItem/><BatchItem/>", Reason::Trailing),
        ("<BatchItem>text</BatchItem>", Reason::Trailing),
        ("<BatchCount type=\"Integer\" value=\"+1\"/>", value(Tag::BATCH_COUNT, Type::Integer)),
        ("<BatchCount type=\"Integer\" value=\"0x1\"/>", value(Tag::BATCH_COUNT, Type::Integer)),
        ("<Operation type=\"Enumeration\" value=\"0x+0000001\"/>", value(Tag::OPERATION, Type::Enumeration)),
        ("<TTLV type=\"Integer\" value=\"1\"/>", Reason::Missing("tag")),
        ("<TTLV tag=\"BatchCount\" type=\"Integer\" value=\"1\"/>", Reason::UnknownTag("BatchCount".into())),
        ("<!DOCTYPE BatchItem [<!ENTITY a \"b\">]><BatchItem/>", Reason::Unaccepted("a document type declaration")),
        ("<BatchItem/><!DOCTYPE BatchItem>", Reason::Unaccepted("a document type declaration")),
        ("<?php echo?><BatchItem/>", Reason::Unaccepted("a processing instruction")),
        ("<BatchItem>&lt;</BatchItem>", Reason::Unaccepted("an entity between elements")),
        ("<BatchItem><![CDATA[x]]></BatchItem>", Reason::Unaccepted("a CDATA section")),
        ("<?xml version=\"1.0\" encoding=\"UTF-16\"?><BatchItem/>", Reason::Unaccepted("an encoding other than UTF-8")),
        ("<BatchItem/><?xml version=\"1.0\"?>", Reason::Trailing),
        ("<NameValue type=\"TextString\" value=\"&a;\"/>", entity.clone()),
        ("<NameValue type=\"TextString\" value=\"&#0;\"/>", entity),
        ("<NameValue type=\"TextString\" value=\"&#1;\"/>", malformed("a character that XML does not have")),
        ("<NameValue type=\"TextString\" value=\"\u{2}\"/>", malformed("a character that XML does not have")),
    ];
    for (text, reason) in cases {
        assert_eq!(to_bytes(text).as_ref(), Err(reason), "{text}");
    }
    let twice = r#"<BatchCount type="Integer" value="1" value="2"/>"#;
    assert!(matches!(to_bytes(twice), Err(Reason::Malformed(_))));
    assert!(matches!(to_bytes("<BatchItem>"), Err(Reason::Malformed(_))));
    assert!(matches!(to_bytes("<BatchItem></Operation>"), Err(Reason::Malformed(_))));
}

/// White space that XML makes spaces of is read as spaces; what is escaped stays.
#[test]
fn white_space_in_a_value_is_normalised() {
    let text = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- a -->\n<NameValue type=\"TextString\" value=\"a\nb\tc&#9;d\"/>\n";
    assert_eq!(to_bytes(text), Ok(of_events(|s| s.text_string(Tag::NAME_VALUE, "a b c\td"))));
}

/// A name of a megabyte comes back as a short one.
#[test]
fn errors_are_short() {
    let long = "x".repeat(1 << 20);
    let error = to_bytes(&format!("<{long}/>")).expect_err("no such tag");
    assert_eq!(error, Reason::UnknownTag(format!("{}...", "x".repeat(40))));
    let error = to_bytes(&format!("<BatchItem></{long}>")).expect_err("another end");
    assert!(matches!(&error, Reason::Malformed(what) if what.len() < 150), "{}", error.to_string().len());
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
    let text = write(&bytes, &crate::ttlv::Limits::default(), Masking::Secrets).expect("own bytes parse").to_string();
    assert!(text.contains("KeyFormatType type=\"Enumeration\" value=\"Raw\""), "{text}");
    assert!(text.contains("value=\"(8 bytes)\""), "{text}");
    assert!(!text.contains(&hex::encode("secretse")) && !text.contains("password1"), "{text}");
}
