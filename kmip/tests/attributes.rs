//! Attributes in the two forms of the standard: name-value pairs in 1.x, items by tag in 2.x.

use keygate_kmip::ttlv::{DecodeErrorKind, Frame, Limits, Type, Writer};
use keygate_kmip::{
    AnyValue, Attribute, AttributeInstance, AttributeName, Attributes, CryptographicAlgorithm, CustomAttribute,
    DateTime, Field, Interval, Name, ProtocolVersion, State, Tag, version_has,
};

const V1_0: ProtocolVersion = ProtocolVersion::V1_0;
const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;
const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

fn written(attributes: &Attributes, version: ProtocolVersion) -> Vec<u8> {
    let mut writer = Writer::new();
    let tag = if version < V2_0 { Tag::TEMPLATE_ATTRIBUTE } else { Tag::ATTRIBUTES };
    attributes.encode(tag, &mut writer, version);
    writer.into_bytes().to_vec()
}

fn read(bytes: &[u8], version: ProtocolVersion) -> Attributes {
    let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
    Attributes::decode(frame.root(), version).expect("attributes")
}

/// An attribute list as a client writes it, item by item.
fn list(tag: Tag, items: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.structure(tag, items);
    writer.into_bytes().to_vec()
}

#[test]
fn the_1_x_form_names_each_attribute() {
    let bytes = list(Tag::TEMPLATE_ATTRIBUTE, |writer| {
        writer.structure(Tag::NAME, |writer| {
            writer.text_string(Tag::NAME_VALUE, "template");
            writer.enumeration(Tag::NAME_TYPE, 1);
        });
        writer.structure(Tag::ATTRIBUTE, |writer| {
            writer.text_string(Tag::ATTRIBUTE_NAME, "Cryptographic Algorithm");
            writer.integer(Tag::ATTRIBUTE_INDEX, 0);
            writer.enumeration(Tag::ATTRIBUTE_VALUE, 3);
        });
        writer.structure(Tag::ATTRIBUTE, |writer| {
            writer.text_string(Tag::ATTRIBUTE_NAME, "Name");
            writer.structure(Tag::ATTRIBUTE_VALUE, |writer| {
                writer.text_string(Tag::NAME_VALUE, "a key");
                writer.enumeration(Tag::NAME_TYPE, 1);
            });
        });
    });
    let attributes = read(&bytes, V1_0);
    let expected = Attributes {
        templates: vec![Name::text("template")],
        list: vec![
            AttributeInstance {
                index: Some(0),
                attribute: Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes),
            },
            Attribute::Name(Name::text("a key")).into(),
        ],
    };
    assert_eq!(attributes, expected);
    assert_eq!(written(&attributes, V1_0), bytes);
}

#[test]
fn the_2_x_form_tags_each_attribute() {
    let bytes = list(Tag::ATTRIBUTES, |writer| {
        writer.enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3);
        writer.structure(Tag::NAME, |writer| {
            writer.text_string(Tag::NAME_VALUE, "a key");
            writer.enumeration(Tag::NAME_TYPE, 1);
        });
        writer.structure(Tag::ATTRIBUTE, |writer| {
            writer.text_string(Tag::VENDOR_IDENTIFICATION, "x");
            writer.text_string(Tag::ATTRIBUTE_NAME, "ID");
            writer.text_string(Tag::ATTRIBUTE_VALUE, "17");
        });
    });
    let attributes = read(&bytes, V2_1);
    let custom = CustomAttribute { vendor: "x".to_owned(), name: "ID".to_owned(), value: AnyValue::text("17") };
    let expected: Attributes = [
        Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes),
        Attribute::Name(Name::text("a key")),
        Attribute::Custom(custom),
    ]
    .into_iter()
    .collect();
    assert_eq!(attributes, expected);
    assert_eq!(written(&attributes, V2_1), bytes);
}

/// `x-ID` of 1.x is `ID` of vendor `x` in 2.x, whatever type its value has; the value stays bit for bit.
#[test]
fn custom_attributes_of_every_type_are_the_same_in_both_forms() {
    type Write = fn(&mut Writer);
    let values: [(Type, Write); 10] = [
        (Type::Structure, |writer| {
            writer.structure(Tag::ATTRIBUTE_VALUE, |writer| writer.integer(Tag(0x54_0001), 1));
        }),
        (Type::Integer, |writer| writer.integer(Tag::ATTRIBUTE_VALUE, -1)),
        (Type::LongInteger, |writer| writer.long_integer(Tag::ATTRIBUTE_VALUE, i64::MIN)),
        (Type::BigInteger, |writer| writer.big_integer(Tag::ATTRIBUTE_VALUE, &[0x80, 1])),
        (Type::Enumeration, |writer| writer.enumeration(Tag::ATTRIBUTE_VALUE, 0x8000_0001)),
        (Type::Boolean, |writer| writer.boolean(Tag::ATTRIBUTE_VALUE, true)),
        (Type::TextString, |writer| writer.text_string(Tag::ATTRIBUTE_VALUE, "schlüssel")),
        (Type::ByteString, |writer| writer.byte_string(Tag::ATTRIBUTE_VALUE, b"QLKC\xFF")),
        (Type::DateTime, |writer| writer.date_time(Tag::ATTRIBUTE_VALUE, -1)),
        (Type::Interval, |writer| writer.interval(Tag::ATTRIBUTE_VALUE, u32::MAX)),
    ];
    for (item_type, value) in values {
        for vendor in ["x", "y"] {
            let old = list(Tag::TEMPLATE_ATTRIBUTE, |writer| {
                writer.structure(Tag::ATTRIBUTE, |writer| {
                    writer.text_string(Tag::ATTRIBUTE_NAME, &format!("{vendor}-ID"));
                    value(writer);
                });
            });
            let new = list(Tag::ATTRIBUTES, |writer| {
                writer.structure(Tag::ATTRIBUTE, |writer| {
                    writer.text_string(Tag::VENDOR_IDENTIFICATION, vendor);
                    writer.text_string(Tag::ATTRIBUTE_NAME, "ID");
                    value(writer);
                });
            });
            let attributes = read(&old, V1_4);
            assert_eq!(attributes, read(&new, V2_1), "{item_type:?}");
            assert_eq!(written(&attributes, V1_4), old, "{item_type:?}");
            assert_eq!(written(&attributes, V2_1), new, "{item_type:?}");
            let stored = Attributes::from_stored_bytes(&attributes.to_stored_bytes()).expect("stored bytes");
            assert_eq!(written(&stored, V2_1), new, "{item_type:?}");
        }
    }
}

/// An attribute of another vendor, or with a value only 2.x has, is not told to a 1.x client.
#[test]
fn what_a_version_cannot_say_is_left_out() {
    let vendors = CustomAttribute { vendor: "Acme".to_owned(), name: "ID".to_owned(), value: AnyValue::text("17") };
    let attributes: Attributes = [
        Attribute::Custom(vendors),
        Attribute::Sensitive(true),
        Attribute::OperationPolicyName("default".to_owned()),
        Attribute::RotateInterval(Interval(60)),
        Attribute::CryptographicAlgorithm(CryptographicAlgorithm::ChaCha20Poly1305),
        Attribute::State(State::Active),
    ]
    .into_iter()
    .collect();
    let told = |version| -> Vec<AttributeName> {
        let names = read(&written(&attributes, version), version).list;
        names.into_iter().map(|instance| instance.attribute.name()).collect()
    };
    let standard = AttributeName::Standard;
    assert_eq!(told(V1_0), [standard(Tag::OPERATION_POLICY_NAME), standard(Tag::STATE)]);
    assert_eq!(
        told(V1_4),
        [
            standard(Tag::SENSITIVE),
            standard(Tag::OPERATION_POLICY_NAME),
            standard(Tag::CRYPTOGRAPHIC_ALGORITHM),
            standard(Tag::STATE)
        ]
    );
    assert_eq!(told(V2_0).len(), 4);
    assert_eq!(told(V2_1).len(), 5);
}

/// A name that the version does not know is kept with its value in 1.x: the server decides what to say of it.
#[test]
fn unknown_names_of_1_x_are_kept() {
    let bytes = list(Tag::TEMPLATE_ATTRIBUTE, |writer| {
        for name in ["Flavour", "Sensitive", "x", "X-ID", ""] {
            writer.structure(Tag::ATTRIBUTE, |writer| {
                writer.text_string(Tag::ATTRIBUTE_NAME, name);
                writer.integer(Tag::ATTRIBUTE_VALUE, 1);
            });
        }
    });
    let attributes = read(&bytes, V1_0);
    let names: Vec<_> = attributes.list.iter().map(|instance| instance.attribute.name()).collect();
    let unknown = |name: &str| AttributeName::Unknown(name.to_owned());
    assert_eq!(names, ["Flavour", "Sensitive", "x", "X-ID", ""].map(unknown));
    assert_eq!(written(&attributes, V1_0), bytes);
}

#[test]
fn unknown_tags_of_2_x_are_refused() {
    for tag in [Tag::OPERATION_POLICY_NAME, Tag::KEY_BLOCK, Tag(0x42_FFFF), Tag(0x54_0001)] {
        let bytes = list(Tag::ATTRIBUTES, |writer| writer.text_string(tag, "a"));
        let frame = Frame::parse(&bytes, &Limits::default()).expect("a frame");
        let error = Attributes::decode(frame.root(), V2_1).expect_err("an unknown attribute");
        assert_eq!((error.kind, error.at), (DecodeErrorKind::UnknownAttribute(tag.to_string()), 8));
    }
}

#[test]
fn names_are_read_and_written_as_text() {
    for version in ProtocolVersion::SUPPORTED.into_iter().filter(|version| *version < V2_0) {
        for entry in keygate_kmip::AttributeEntry::all() {
            if !version_has(entry.tag, version) || entry.name == "Custom Attribute" {
                continue;
            }
            let name = AttributeName::from_text(entry.name, version);
            assert_eq!(name, AttributeName::Standard(entry.tag));
            assert_eq!(name.to_text(), entry.name);
        }
    }
    let custom = AttributeName::from_text("x-a-b", V1_0);
    assert_eq!(custom, AttributeName::Custom { vendor: "x".to_owned(), name: "a-b".to_owned() });
    assert_eq!(custom.to_text(), "x-a-b");
}

/// Indexes and attributes of every version survive storage; equal values have equal bytes in an index.
#[test]
fn stored_attributes_keep_their_indexes() {
    let indexed = |index, attribute| AttributeInstance { index: Some(index), attribute };
    let attributes = Attributes {
        templates: Vec::new(),
        list: vec![
            indexed(0, Attribute::Name(Name::text("a"))),
            indexed(1, Attribute::Name(Name::text("b"))),
            indexed(7, Attribute::Name(Name::text("c"))),
            indexed(0, Attribute::OperationPolicyName("default".to_owned())),
            indexed(0, Attribute::RotateInterval(Interval(60))),
            indexed(2, Attribute::ActivationDate(DateTime(-1))),
        ],
    };
    assert_eq!(Attributes::from_stored_bytes(&attributes.to_stored_bytes()), Ok(attributes));
    let same = Attribute::Name(Name::text("a"));
    assert_eq!(same.value_bytes(), Attribute::Name(Name::text("a")).value_bytes());
    assert_ne!(same.value_bytes(), Attribute::Name(Name::text("b")).value_bytes());
}

/// No more attributes than an object can need are read from one list.
#[test]
fn attributes_of_a_list_are_limited() {
    let many = |count| list(Tag::ATTRIBUTES, |writer| (0..count).for_each(|_| writer.text_string(Tag::COMMENT, "")));
    assert_eq!(read(&many(10_000), V2_1).list.len(), 10_000);
    let bytes = many(10_001);
    let frame = Frame::parse(&bytes, &Limits::default()).expect("a frame");
    let error = Attributes::decode(frame.root(), V2_1).expect_err("one too many");
    let kind = DecodeErrorKind::BadValue { tag: Tag::COMMENT, rule: "is one attribute too many" };
    assert_eq!((error.kind, error.at), (kind, 8 + 10_000 * 8));
}
