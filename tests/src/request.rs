//! Requests as tests write them: small constructors over [`crate::ttlv`].

use keygate_kmip::{Operation, Tag};

use crate::ttlv::{Item, Value};

/// A request message of a version with one batch item per operation.
#[must_use]
pub fn message(version: (i32, i32), items: Vec<(Operation, Vec<Item>)>) -> Item {
    let count = i32::try_from(items.len()).unwrap_or(i32::MAX);
    let mut fields = vec![header(version, count, Vec::new())];
    let numbered = count > 1;
    fields.extend(items.into_iter().enumerate().map(|(index, (operation, payload))| {
        let mut item = vec![enumeration(Tag::OPERATION, operation.code())];
        if numbered {
            let id = u32::try_from(index + 1).unwrap_or(u32::MAX);
            item.push(bytes(Tag::UNIQUE_BATCH_ITEM_ID, &id.to_be_bytes()));
        }
        item.push(structure(Tag::REQUEST_PAYLOAD, payload));
        structure(Tag::BATCH_ITEM, item)
    }));
    structure(Tag::REQUEST_MESSAGE, fields)
}

/// A request header; `more` goes between version and batch count.
#[must_use]
pub fn header(version: (i32, i32), batch_count: i32, more: Vec<Item>) -> Item {
    let version = structure(
        Tag::PROTOCOL_VERSION,
        vec![integer(Tag::PROTOCOL_VERSION_MAJOR, version.0), integer(Tag::PROTOCOL_VERSION_MINOR, version.1)],
    );
    let mut fields = vec![version];
    fields.extend(more);
    fields.push(integer(Tag::BATCH_COUNT, batch_count));
    structure(Tag::REQUEST_HEADER, fields)
}

/// Create of an AES key for encryption and decryption, in the form of 1.x or 2.x.
#[must_use]
pub fn create_aes(version: (i32, i32), bits: i32, name: Option<&str>) -> Item {
    let mut attributes = vec![
        (Tag::CRYPTOGRAPHIC_ALGORITHM, "Cryptographic Algorithm", Value::Enumeration(3)),
        (Tag::CRYPTOGRAPHIC_LENGTH, "Cryptographic Length", Value::Integer(bits)),
        (Tag::CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", Value::Integer(0x0C)),
    ];
    if let Some(name) = name {
        attributes.push((Tag::NAME, "Name", name_value(name)));
    }
    let payload = vec![enumeration(Tag::OBJECT_TYPE, 2), attributes_item(version, attributes)];
    message(version, vec![(Operation::Create, payload)])
}

/// The same in a keystore, in the form of 1.x.
#[must_use]
pub fn create_aes_in(version: (i32, i32), bits: i32, keystore: &str) -> Item {
    let attributes = vec![
        attribute("Cryptographic Algorithm", Value::Enumeration(3)),
        attribute("Cryptographic Length", Value::Integer(bits)),
        attribute("Cryptographic Usage Mask", Value::Integer(0x0C)),
        attribute("x-keygate-keystore", Value::TextString(keystore.to_owned())),
    ];
    let payload = vec![enumeration(Tag::OBJECT_TYPE, 2), structure(Tag::TEMPLATE_ATTRIBUTE, attributes)];
    message(version, vec![(Operation::Create, payload)])
}

/// Create Key Pair in 1.x: P-256 for signing, active at once.
#[must_use]
pub fn create_p256_pair(version: (i32, i32)) -> Item {
    let common = vec![
        attribute("Cryptographic Algorithm", Value::Enumeration(6)),
        attribute("Cryptographic Length", Value::Integer(256)),
        attribute(
            "Cryptographic Domain Parameters",
            Value::Structure(vec![enumeration(Tag::RECOMMENDED_CURVE, 7)]),
        ),
        attribute("Activation Date", Value::DateTime(1)),
    ];
    let usage = |mask: i32| vec![attribute("Cryptographic Usage Mask", Value::Integer(mask))];
    let payload = vec![
        structure(Tag::COMMON_TEMPLATE_ATTRIBUTE, common),
        structure(Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE, usage(1)),
        structure(Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE, usage(2)),
    ];
    message(version, vec![(Operation::CreateKeyPair, payload)])
}

/// The attributes of a new object: a Template-Attribute in 1.x, Attributes in 2.x.
#[must_use]
pub fn attributes_item(version: (i32, i32), attributes: Vec<(Tag, &str, Value)>) -> Item {
    if version >= (2, 0) {
        let fields = attributes.into_iter().map(|(tag, _, value)| Item::new(tag.0, value)).collect();
        return structure(Tag::ATTRIBUTES, fields);
    }
    let fields = attributes.into_iter().map(|(_, name, value)| attribute(name, value)).collect();
    structure(Tag::TEMPLATE_ATTRIBUTE, fields)
}

/// An Attribute of 1.x.
#[must_use]
pub fn attribute(name: &str, value: Value) -> Item {
    structure(Tag::ATTRIBUTE, vec![text(Tag::ATTRIBUTE_NAME, name), Item::new(Tag::ATTRIBUTE_VALUE.0, value)])
}

/// The value of a Name attribute.
#[must_use]
pub fn name_value(name: &str) -> Value {
    Value::Structure(vec![text(Tag::NAME_VALUE, name), enumeration(Tag::NAME_TYPE, 1)])
}

/// An operation on one object and nothing else.
#[must_use]
pub fn on(version: (i32, i32), operation: Operation, identifier: &str) -> Item {
    message(version, vec![(operation, vec![text(Tag::UNIQUE_IDENTIFIER, identifier)])])
}

/// A Structure.
#[must_use]
pub fn structure(tag: Tag, fields: Vec<Item>) -> Item {
    Item::structure(tag.0, fields)
}

/// An Integer.
#[must_use]
pub fn integer(tag: Tag, value: i32) -> Item {
    Item::new(tag.0, Value::Integer(value))
}

/// An Enumeration.
#[must_use]
pub fn enumeration(tag: Tag, code: u32) -> Item {
    Item::new(tag.0, Value::Enumeration(code))
}

/// A Text String.
#[must_use]
pub fn text(tag: Tag, value: &str) -> Item {
    Item::new(tag.0, Value::TextString(value.to_owned()))
}

/// A Byte String.
#[must_use]
pub fn bytes(tag: Tag, value: &[u8]) -> Item {
    Item::new(tag.0, Value::ByteString(value.to_vec()))
}

/// The outcome of the one batch item of an answer: its payload, or Result Reason and message.
///
/// # Errors
/// The Result Reason and the Result Message.
///
/// # Panics
/// If the answer is not a response message with a batch item.
pub fn outcome(answer: &Item) -> Result<Item, (u32, String)> {
    let Some(item) = answer.field(Tag::BATCH_ITEM.0) else { panic!("no batch item in {answer:?}") };
    item_outcome(item)
}

/// The outcome of a batch item.
///
/// # Errors
/// The Result Reason and the Result Message.
pub fn item_outcome(item: &Item) -> Result<Item, (u32, String)> {
    let code = |tag: Tag| item.field(tag.0).and_then(Item::code);
    if code(Tag::RESULT_STATUS) == Some(0) {
        let empty = || structure(Tag::RESPONSE_PAYLOAD, Vec::new());
        return Ok(item.field(Tag::RESPONSE_PAYLOAD.0).cloned().unwrap_or_else(empty));
    }
    let message = item.field(Tag::RESULT_MESSAGE.0).and_then(Item::text).unwrap_or_default();
    Err((code(Tag::RESULT_REASON).unwrap_or_default(), message.to_owned()))
}

/// The Unique Identifier of a payload.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn identifier(payload: &Item) -> String {
    match payload.field(Tag::UNIQUE_IDENTIFIER.0).and_then(Item::text) {
        Some(identifier) => identifier.to_owned(),
        None => panic!("no Unique Identifier in {payload:?}"),
    }
}
