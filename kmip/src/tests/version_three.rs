//! What 3.0 (committee draft) has of its own: item types, messages without Batch Count, identifiers, names and links; and that none of
//! it leaks into older versions.

use crate::event::TtlvSink;
use crate::ttlv::{DecodeError, DecodeErrorKind, Frame, Limits, Type, Writer};
use crate::*;

const V3_0: ProtocolVersion = ProtocolVersion::V3_0;

fn of_xml(text: &str) -> Vec<u8> {
    let mut sink = TtlvSink::new();
    xml::read(text, &mut sink, xml::Limits::default()).expect("well formed");
    sink.into_bytes().to_vec()
}

fn request(version: (i32, i32), more: &str, identifier: &str) -> Vec<u8> {
    let (major, minor) = version;
    of_xml(&format!(
        r#"<RequestMessage><RequestHeader><ProtocolVersion><ProtocolVersionMajor type="Integer" value="{major}"/>
        <ProtocolVersionMinor type="Integer" value="{minor}"/></ProtocolVersion>{more}</RequestHeader>
        <BatchItem><Operation type="Enumeration" value="Get"/><RequestPayload>
        <UniqueIdentifier type="{identifier}" value="id-1"/></RequestPayload></BatchItem></RequestMessage>"#
    ))
}

fn read(bytes: &[u8]) -> Result<RequestPayload, DecodeError> {
    let frame = Frame::parse(bytes, &Limits::default())?;
    RequestMessage::parse(&frame, 10)?.items[0].payload()
}

/// A Get of 3.0 is read, and written as it was.
#[test]
fn a_request_of_3_0_has_no_batch_count() {
    let bytes = request((3, 0), "", "Identifier");
    let payload = read(&bytes).expect("a Get");
    let wanted = UniqueIdentifier::Text("id-1".to_owned());
    assert!(matches!(&payload, RequestPayload::Get(get) if get.unique_identifier.as_ref() == Some(&wanted)), "{payload:?}");
    let header = RequestHeader::new(V3_0, 1);
    assert_eq!(header.batch_count, None);
    assert_eq!(encode_request(&header, std::slice::from_ref(&payload)).as_slice(), bytes);
    // Two items have no Unique Batch Item ID either.
    let two = encode_request(&RequestHeader::new(V3_0, 2), &[payload.clone(), payload]);
    let frame = Frame::parse(&two, &Limits::default()).expect("well formed");
    let message = RequestMessage::parse(&frame, 10).expect("a message");
    assert_eq!(message.items.len(), 2);
    assert!(message.items.iter().all(|item| item.unique_batch_item_id.is_none()));
}

#[test]
fn versions_do_not_mix() {
    let count = r#"<BatchCount type="Integer" value="1"/>"#;
    let order = r#"<BatchOrderOption type="Boolean" value="true"/>"#;
    let kind = |bytes: &[u8]| read(bytes).map_err(|error| error.kind).map(|_| ());
    let unexpected = |unexpected| Err(DecodeErrorKind::Unexpected { unexpected, within: Tag::REQUEST_HEADER });
    let wrong = |found, expected| Err(DecodeErrorKind::WrongType { tag: Tag::UNIQUE_IDENTIFIER, found, expected });
    assert_eq!(kind(&request((3, 0), count, "Identifier")), unexpected(Tag::BATCH_COUNT));
    assert_eq!(kind(&request((3, 0), order, "Identifier")), unexpected(Tag::BATCH_ORDER_OPTION));
    assert_eq!(kind(&request((3, 0), "", "TextString")), wrong(Type::TextString, Type::Identifier));
    assert_eq!(kind(&request((3, 0), "", "NameReference")), wrong(Type::NameReference, Type::Identifier));
    let missing = DecodeErrorKind::Missing { missing: Tag::BATCH_COUNT, within: Tag::REQUEST_HEADER };
    assert_eq!(kind(&request((2, 1), "", "TextString")), Err(missing));
    assert_eq!(kind(&request((2, 1), count, "Identifier")), wrong(Type::Identifier, Type::TextString));
    assert_eq!(kind(&request((2, 1), count, "TextString")), Ok(()));
}

/// Each kind of link has a tag, the group is a link by name, and both come back as the attributes they are in 2.1.
#[test]
fn links_of_3_0_have_tags_of_their_own() {
    let link = |link_type| {
        Attribute::Link(Link { link_type, linked_object_identifier: UniqueIdentifier::Text("id-1".to_owned()) })
    };
    let list = [link(LinkType::NextLink), link(LinkType::DerivedKeyLink), Attribute::ObjectGroup("blue".to_owned())];
    let attributes: Attributes = list.into_iter().collect();
    let mut writer = Writer::new();
    Field::encode(&attributes, Tag::ATTRIBUTES, &mut writer, V3_0);
    let bytes = writer.into_bytes();
    let frame = Frame::parse(&bytes, &Limits::default()).expect("well formed");
    let said: Vec<_> = frame.root().structure().expect("a structure").map(|item| (item.tag, item.item_type)).collect();
    let wanted = [
        (Tag::NEXT_LINK, Type::Reference),
        (Tag::DERIVED_OBJECT_LINK, Type::Reference),
        (Tag::GROUP_LINK, Type::NameReference),
    ];
    assert_eq!(said, wanted);
    assert_eq!(<Attributes as Field>::decode(frame.root(), V3_0), Ok(attributes.clone()));
    assert!(<Attributes as Field>::decode(frame.root(), ProtocolVersion::V2_1).is_err());
    for name in attributes.list.iter().map(|instance| instance.attribute.name_in(V3_0)) {
        let mut writer = Writer::new();
        writer.structure(Tag::REQUEST_PAYLOAD, |writer| name.encode(Tag::ATTRIBUTE_REFERENCE, writer, V3_0));
        let frame = Frame::parse(writer.bytes(), &Limits::default()).expect("well formed");
        let reference = frame.root().structure().expect("a structure").next().expect("a reference");
        assert_eq!(<AttributeName as Field>::decode(reference, V3_0), Ok(name.clone()));
        assert_eq!(attributes.list.iter().filter(|instance| name.is_of(&instance.attribute)).count(), 1, "{name:?}");
    }
}

/// What is kept has the values of every version, whatever version reads it.
#[test]
fn kept_attributes_have_values_of_3_0() {
    let attributes: Attributes = [Attribute::CryptographicAlgorithm(CryptographicAlgorithm::MlDsa65)].into_iter().collect();
    let kept = Attributes::from_stored_bytes(&attributes.to_stored_bytes()).expect("they are read");
    assert_eq!(kept.list.first().map(|instance| &instance.attribute), attributes.list.first().map(|instance| &instance.attribute));
}

#[test]
fn a_name_of_3_0_is_a_text() {
    let name = Name::text("blue");
    for (version, item_type) in [(V3_0, Type::TextString), (ProtocolVersion::V2_1, Type::Structure)] {
        let mut writer = Writer::new();
        writer.structure(Tag::ATTRIBUTES, |writer| Field::encode(&name, Tag::NAME, writer, version));
        let bytes = writer.into_bytes();
        let frame = Frame::parse(&bytes, &Limits::default()).expect("well formed");
        let item = frame.root().structure().expect("a structure").next().expect("a name");
        assert_eq!(item.item_type, item_type);
        assert_eq!(Field::decode(item, version), Ok(name.clone()));
        let other = if version == V3_0 { ProtocolVersion::V2_1 } else { V3_0 };
        assert!(<Name as Field>::decode(item, other).is_err());
    }
}

/// A response of 3.0 is read as it was written.
#[test]
fn a_response_of_3_0_is_read_as_it_was_written() {
    let result = ItemResult::Failed {
        status: ResultStatus::OperationFailed,
        reason: ResultReason::ItemNotFound,
        message: "no such object".to_owned(),
        payload: None,
    };
    let header = ResponseHeader {
        protocol_version: V3_0,
        time_stamp: DateTime(1),
        client_correlation_value: Some("a".to_owned()),
        server_correlation_value: None,
        batch_count: batch_count_in(V3_0, 1),
    };
    let items = vec![ResponseItem { operation: Some(Operation::Get), unique_batch_item_id: None, result }];
    let message = ResponseMessage { header, items };
    let mut writer = Writer::new();
    message.encode(&mut writer);
    let frame = Frame::parse(writer.bytes(), &Limits::default()).expect("well formed");
    assert_eq!(ResponseMessage::parse(&frame), Ok(message));
}
