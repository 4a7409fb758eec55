//! The comparison is strict: each kind of difference is found, and each permitted variation is no difference.

use super::*;
use crate::request::{self, bytes, enumeration, integer, structure, text};

/// A request, the response a case expects to it as XML, and an answer.
fn difference(request: &Item, expected: &str, actual: &Item) -> Option<String> {
    let mut state = State::new(1_000_000);
    difference_in(&mut state, request, expected, actual)
}

fn difference_in(state: &mut State, request: &Item, expected: &str, actual: &Item) -> Option<String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = format!("<KMIP><RequestMessage><RequestHeader/></RequestMessage>{expected}</KMIP>");
    std::fs::write(file.path(), text).expect("the file is writable");
    let case = crate::cases::file::read(file.path()).expect("the case is understood");
    compare(request, &case.steps[0].response, actual, state).err().map(|difference| difference.what)
}

fn answer(operation: Operation, payload: Vec<Item>) -> Item {
    let version = structure(
        Tag::PROTOCOL_VERSION,
        vec![integer(Tag::PROTOCOL_VERSION_MAJOR, 1), integer(Tag::PROTOCOL_VERSION_MINOR, 2)],
    );
    let time = Item::new(Tag::TIME_STAMP.0, Value::DateTime(5));
    let header = structure(Tag::RESPONSE_HEADER, vec![version, time, integer(Tag::BATCH_COUNT, 1)]);
    let item = vec![
        enumeration(Tag::OPERATION, operation.code()),
        enumeration(Tag::RESULT_STATUS, 0),
        structure(Tag::RESPONSE_PAYLOAD, payload),
    ];
    structure(Tag::RESPONSE_MESSAGE, vec![header, structure(Tag::BATCH_ITEM, item)])
}

fn expected(operation: &str, payload: &str) -> String {
    format!(
        r#"<ResponseMessage><ResponseHeader><ProtocolVersion><ProtocolVersionMajor type="Integer" value="1"/>
        <ProtocolVersionMinor type="Integer" value="2"/></ProtocolVersion>
        <TimeStamp type="DateTime" value="2012-04-27T08:14:39+00:00"/><BatchCount type="Integer" value="1"/></ResponseHeader>
        <BatchItem><Operation type="Enumeration" value="{operation}"/><ResultStatus type="Enumeration" value="Success"/>
        <ResponsePayload>{payload}</ResponsePayload></BatchItem></ResponseMessage>"#
    )
}

fn get() -> Item {
    request::on((1, 2), Operation::Get, "1")
}

fn get_attributes(names: &[&str]) -> Item {
    let mut payload = vec![text(Tag::UNIQUE_IDENTIFIER, "1")];
    payload.extend(names.iter().map(|name| text(Tag::ATTRIBUTE_NAME, name)));
    request::message((1, 2), vec![(Operation::GetAttributes, payload)])
}

const KEY: &str = r#"<ObjectType type="Enumeration" value="SymmetricKey"/>
    <UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/><SymmetricKey><KeyBlock>
    <KeyFormatType type="Enumeration" value="Raw"/><KeyValue><KeyMaterial type="ByteString" value="0102"/></KeyValue>
    <CryptographicAlgorithm type="Enumeration" value="AES"/><CryptographicLength type="Integer" value="16"/>
    </KeyBlock></SymmetricKey>"#;

fn key(material: &[u8], length: i32) -> Vec<Item> {
    let block = vec![
        enumeration(Tag::KEY_FORMAT_TYPE, 1),
        structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, material)]),
        enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3),
        integer(Tag::CRYPTOGRAPHIC_LENGTH, length),
    ];
    vec![
        enumeration(Tag::OBJECT_TYPE, 2),
        text(Tag::UNIQUE_IDENTIFIER, "1"),
        structure(Tag::SYMMETRIC_KEY, vec![structure(Tag::KEY_BLOCK, block)]),
    ]
}

#[test]
fn an_equal_answer_has_no_difference() {
    let actual = answer(Operation::Get, key(&[1, 2], 16));
    assert_eq!(difference(&get(), &expected("Get", KEY), &actual), None);
}

#[test]
fn a_wrong_value_is_a_difference() {
    let wrong_length = answer(Operation::Get, key(&[1, 2], 17));
    let what = difference(&get(), &expected("Get", KEY), &wrong_length);
    assert_eq!(what.as_deref(), Some("expected Integer `16`, got Integer `17`"));
    let wrong_bytes = answer(Operation::Get, key(&[1, 3], 16));
    assert!(difference(&get(), &expected("Get", KEY), &wrong_bytes).is_some(), "registered material must match");
}

#[test]
fn a_wrong_type_is_a_difference() {
    let mut payload = key(&[1, 2], 16);
    payload[1] = bytes(Tag::UNIQUE_IDENTIFIER, b"1");
    let with_placeholder = expected("Get", KEY);
    assert!(difference(&get(), &with_placeholder, &answer(Operation::Get, payload)).is_some());
}

#[test]
fn a_missing_field_is_a_difference() {
    let mut payload = key(&[1, 2], 16);
    payload.remove(0);
    let what = difference(&get(), &expected("Get", KEY), &answer(Operation::Get, payload));
    assert_eq!(what.as_deref(), Some("ObjectType `SymmetricKey` is missing"));
}

#[test]
fn an_extra_field_is_a_difference() {
    let mut payload = key(&[1, 2], 16);
    payload.push(integer(Tag::CRYPTOGRAPHIC_LENGTH, 16));
    let what = difference(&get(), &expected("Get", KEY), &answer(Operation::Get, payload));
    assert_eq!(what.as_deref(), Some("unexpected CryptographicLength Integer `16`"));
}

#[test]
fn a_wrong_order_is_a_difference() {
    let mut payload = key(&[1, 2], 16);
    payload.swap(0, 1);
    assert!(difference(&get(), &expected("Get", KEY), &answer(Operation::Get, payload)).is_some());
}

#[test]
fn an_extra_batch_item_is_a_difference() {
    let mut actual = answer(Operation::Get, key(&[1, 2], 16));
    if let Value::Structure(fields) = &mut actual.value {
        fields.push(fields[1].clone());
    }
    assert!(difference(&get(), &expected("Get", KEY), &actual).is_some());
}

#[test]
fn a_refusal_tells_its_reason() {
    let mut actual = answer(Operation::Get, Vec::new());
    if let Value::Structure(fields) = &mut actual.value {
        fields[1] = structure(
            Tag::BATCH_ITEM,
            vec![
                enumeration(Tag::OPERATION, Operation::Get.code()),
                enumeration(Tag::RESULT_STATUS, 1),
                enumeration(Tag::RESULT_REASON, 1),
                text(Tag::RESULT_MESSAGE, "no such object"),
            ],
        );
    }
    let what = difference(&get(), &expected("Get", KEY), &actual).expect("a difference");
    assert!(what.contains("ItemNotFound") && what.contains("no such object"), "{what}");
}

#[test]
fn an_identifier_keeps_what_it_was_bound_to() {
    let mut state = State::new(0);
    let first = answer(Operation::Activate, vec![text(Tag::UNIQUE_IDENTIFIER, "1")]);
    let second = answer(Operation::Activate, vec![text(Tag::UNIQUE_IDENTIFIER, "2")]);
    let payload = expected("Activate", r#"<UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>"#);
    let activate = request::on((1, 2), Operation::Activate, "1");
    assert_eq!(difference_in(&mut state, &activate, &payload, &first), None);
    assert!(difference_in(&mut state, &activate, &payload, &second).is_some());
    assert_eq!(difference_in(&mut state, &activate, &payload, &first), None);
}

const STATE_AND_LENGTH: &str = r#"<UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>
    <Attribute><AttributeName type="TextString" value="State"/><AttributeValue type="Enumeration" value="Active"/></Attribute>
    <Attribute><AttributeName type="TextString" value="Cryptographic Length"/><AttributeValue type="Integer" value="16"/>
    </Attribute>"#;

fn attributes(list: &[(&str, Value)]) -> Item {
    let mut payload = vec![text(Tag::UNIQUE_IDENTIFIER, "1")];
    payload.extend(list.iter().map(|(name, value)| request::attribute(name, value.clone())));
    answer(Operation::GetAttributes, payload)
}

#[test]
fn attributes_may_come_in_any_order() {
    let actual = attributes(&[("Cryptographic Length", Value::Integer(16)), ("State", Value::Enumeration(2))]);
    let request = get_attributes(&["State", "Cryptographic Length"]);
    assert_eq!(difference(&request, &expected("GetAttributes", STATE_AND_LENGTH), &actual), None);
}

#[test]
fn more_attributes_are_permitted_only_where_none_was_named() {
    let more = attributes(&[
        ("State", Value::Enumeration(2)),
        ("Cryptographic Length", Value::Integer(16)),
        ("Fresh", Value::Boolean(true)),
    ]);
    let text = expected("GetAttributes", STATE_AND_LENGTH);
    assert_eq!(difference(&get_attributes(&[]), &text, &more), None);
    let what = difference(&get_attributes(&["State", "Cryptographic Length"]), &text, &more).expect("a difference");
    assert!(what.contains("unexpected Attribute[Fresh]"), "{what}");
}

#[test]
fn a_missing_or_wrong_attribute_is_a_difference() {
    let text = expected("GetAttributes", STATE_AND_LENGTH);
    let missing = attributes(&[("State", Value::Enumeration(2))]);
    let what = difference(&get_attributes(&[]), &text, &missing);
    assert_eq!(what.as_deref(), Some("Attribute[Cryptographic Length] is missing"));
    let wrong = attributes(&[("State", Value::Enumeration(1)), ("Cryptographic Length", Value::Integer(16))]);
    let what = difference(&get_attributes(&[]), &text, &wrong);
    assert_eq!(what.as_deref(), Some("expected Enumeration `Active`, got Enumeration `PreActive`"));
}

#[test]
fn attribute_index_zero_may_be_there_or_not_another_must_match() {
    let with_index = |index: i32| {
        let mut actual = attributes(&[("State", Value::Enumeration(2))]);
        let Value::Structure(message) = &mut actual.value else { unreachable!("a message") };
        let Value::Structure(item) = &mut message[1].value else { unreachable!("a batch item") };
        let Value::Structure(payload) = &mut item[2].value else { unreachable!("a payload") };
        let Value::Structure(attribute) = &mut payload[1].value else { unreachable!("an attribute") };
        attribute.insert(1, integer(Tag::ATTRIBUTE_INDEX, index));
        actual
    };
    let text = expected(
        "GetAttributes",
        r#"<UniqueIdentifier type="TextString" value="$U"/><Attribute><AttributeName type="TextString" value="State"/>
        <AttributeValue type="Enumeration" value="Active"/></Attribute>"#,
    );
    assert_eq!(difference(&get_attributes(&["State"]), &text, &with_index(0)), None);
    assert!(difference(&get_attributes(&["State"]), &text, &with_index(1)).is_some());
}

#[test]
fn located_identifiers_are_a_set() {
    let request = request::message((1, 2), vec![(Operation::Locate, Vec::new())]);
    let payload = expected(
        "Locate",
        r#"<UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>
        <UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_1"/>"#,
    );
    let located =
        |list: &[&str]| answer(Operation::Locate, list.iter().map(|id| text(Tag::UNIQUE_IDENTIFIER, id)).collect());
    let mut state = State::new(0);
    state.bind("UNIQUE_IDENTIFIER_0", Value::TextString("1".into()));
    assert_eq!(difference_in(&mut state.clone(), &request, &payload, &located(&["2", "1"])), None);
    assert!(difference_in(&mut state.clone(), &request, &payload, &located(&["2", "3"])).is_some());
    assert!(difference_in(&mut state.clone(), &request, &payload, &located(&["1"])).is_some());
    assert!(difference_in(&mut state.clone(), &request, &payload, &located(&["1", "2", "3"])).is_some());
}

/// Material that the server made cannot be expected; its length can.
#[test]
fn created_material_may_differ_but_not_in_length() {
    let mut state = State::new(0);
    let create = request::create_aes((1, 2), 128, None);
    let created = answer(Operation::Create, vec![enumeration(Tag::OBJECT_TYPE, 2), text(Tag::UNIQUE_IDENTIFIER, "1")]);
    let text = expected(
        "Create",
        r#"<ObjectType type="Enumeration" value="SymmetricKey"/>
        <UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>"#,
    );
    assert_eq!(difference_in(&mut state, &create, &text, &created), None);
    let other = answer(Operation::Get, key(&[9, 9], 16));
    assert_eq!(difference_in(&mut state, &get(), &expected("Get", KEY), &other), None);
    let longer = answer(Operation::Get, key(&[9, 9, 9], 16));
    assert!(difference_in(&mut state, &get(), &expected("Get", KEY), &longer).is_some());
}

#[test]
fn a_date_may_differ_unless_the_request_gave_it() {
    let text = expected(
        "GetAttributes",
        r#"<UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>
        <Attribute><AttributeName type="TextString" value="Activation Date"/>
        <AttributeValue type="DateTime" value="2012-04-27T08:14:39+00:00"/></Attribute>"#,
    );
    let actual = attributes(&[("Activation Date", Value::DateTime(7))]);
    let request = get_attributes(&["Activation Date"]);
    assert_eq!(difference(&request, &text, &actual), None);
    let mut state = State::new(0);
    let given = Node {
        tag: Tag::ACTIVATION_DATE.0,
        item_type: "DateTime".into(),
        text: "2012-04-27T08:14:39+00:00".into(),
        fields: Vec::new(),
    };
    state.request_item(&given).expect("a date");
    assert!(difference_in(&mut state, &request, &text, &actual).is_some());
}

#[test]
fn query_may_know_more_operations_but_not_fewer() {
    let request = request::message((1, 2), vec![(Operation::Query, vec![enumeration(Tag::QUERY_FUNCTION, 1)])]);
    let text = expected(
        "Query",
        r#"<Operation type="Enumeration" value="Create"/><Operation type="Enumeration" value="Get"/>"#,
    );
    let operations = |list: &[Operation]| {
        answer(Operation::Query, list.iter().map(|one| enumeration(Tag::OPERATION, one.code())).collect())
    };
    let more = operations(&[Operation::Get, Operation::Create, Operation::Destroy]);
    assert_eq!(difference(&request, &text, &more), None);
    assert!(difference(&request, &text, &operations(&[Operation::Get])).is_some());
}
