//! What a message is about: per batch item the operation, its object, and whether its outcome can be foreseen.

use keygate_kmip::{CryptographicAlgorithm as Algorithm, Operation, PaddingMethod, Tag};

use super::state::{Origin, State};
use crate::names;
use crate::ttlv::{Item, Value};

/// One batch item of an exchange.
#[derive(Clone, Debug, Default)]
pub struct ItemContext {
    /// Operation of the request item.
    pub operation: Option<Operation>,
    /// Whether the request names the attributes it wants, or the versions it knows.
    pub is_specific: bool,
    /// The object's material was made by the server, or is wrapped by such.
    pub is_generated: bool,
    /// The operation is randomised by nature.
    pub is_random: bool,
}

/// Reads the request and the answer, learns where new objects come from, and describes each item.
pub fn describe(request: &Item, response: &Item, state: &mut State) -> Vec<ItemContext> {
    let answers: Vec<&Item> = response.fields().iter().filter(|field| field.tag == Tag::BATCH_ITEM.0).collect();
    let mut placeholder = None;
    let items = request.fields().iter().filter(|field| field.tag == Tag::BATCH_ITEM.0);
    items
        .enumerate()
        .map(|(index, item)| {
            let answer = answers.get(index).and_then(|answer| answer.field(Tag::RESPONSE_PAYLOAD.0));
            describe_item(item, answer, &mut placeholder, state)
        })
        .collect()
}

fn describe_item(
    item: &Item,
    answer: Option<&Item>,
    placeholder: &mut Option<String>,
    state: &mut State,
) -> ItemContext {
    let operation = item.field(Tag::OPERATION.0).and_then(Item::code).and_then(Operation::from_code);
    let empty = Item::structure(Tag::REQUEST_PAYLOAD.0, Vec::new());
    let request = item.field(Tag::REQUEST_PAYLOAD.0).unwrap_or(&empty);
    if let (Some(operation), Some(answer)) = (operation, answer) {
        learn(operation, request, answer, state);
    }
    let named = answer.and_then(identifier).or_else(|| identifier(request)).or_else(|| placeholder.clone());
    if let Some(made) = answer.and_then(identifier) {
        *placeholder = Some(made);
    }
    let origin = named.map(|named| state.origin(&named)).unwrap_or_default();
    let wrapped_by_generated = request
        .find(Tag::ENCRYPTION_KEY_INFORMATION.0)
        .and_then(identifier)
        .is_some_and(|wrapping| state.origin(&wrapping).generated);
    ItemContext {
        operation,
        is_specific: [Tag::ATTRIBUTE_NAME, Tag::ATTRIBUTE_REFERENCE, Tag::PROTOCOL_VERSION]
            .iter()
            .any(|tag| request.field(tag.0).is_some()),
        is_generated: origin.generated || wrapped_by_generated,
        is_random: operation.is_some_and(|operation| is_random(operation, request, answer, origin)),
    }
}

/// RSA encryption pads with random bytes, PSS salts, ECDSA and DSA draw a nonce, and an IV the client did not give is random.
fn is_random(operation: Operation, request: &Item, answer: Option<&Item>, origin: Origin) -> bool {
    let parameters = request.field(Tag::CRYPTOGRAPHIC_PARAMETERS.0);
    let code = |tag: Tag| parameters.and_then(|parameters| parameters.field(tag.0)).and_then(Item::code);
    let algorithm = code(Tag::CRYPTOGRAPHIC_ALGORITHM).or(origin.algorithm).and_then(Algorithm::from_code);
    let padding = code(Tag::PADDING_METHOD).or(origin.padding);
    let random_iv = parameters.and_then(|parameters| parameters.field(Tag::RANDOM_IV.0)).map(|item| &item.value);
    match operation {
        Operation::Encrypt => {
            let iv = Tag::IV_COUNTER_NONCE.0;
            let iv_made = request.field(iv).is_none() && answer.is_some_and(|answer| answer.field(iv).is_some());
            algorithm == Some(Algorithm::Rsa) || random_iv == Some(&Value::Boolean(true)) || origin.random_iv || iv_made
        }
        Operation::Sign => {
            matches!(algorithm, Some(Algorithm::Dsa | Algorithm::Ecdsa | Algorithm::Ec))
                || padding == Some(PaddingMethod::Pss.code())
        }
        Operation::RngRetrieve => true,
        _ => false,
    }
}

fn learn(operation: Operation, request: &Item, answer: &Item, state: &mut State) {
    let told = told(request);
    let origin = match operation {
        Operation::Register | Operation::Import => told,
        Operation::Create
        | Operation::CreateKeyPair
        | Operation::ReKey
        | Operation::ReKeyKeyPair
        | Operation::CreateSplitKey
        | Operation::Certify
        | Operation::ReCertify => Origin { generated: true, ..told },
        // What is computed from other objects is as foreseeable as they are.
        Operation::DeriveKey | Operation::JoinSplitKey => {
            Origin { generated: identifiers(request).any(|parent| state.origin(&parent).generated), ..told }
        }
        Operation::AddAttribute | Operation::ModifyAttribute | Operation::SetAttribute => {
            let Some(object) = identifier(answer) else { return };
            let before = state.origin(&object);
            let padding = told.padding.or(before.padding);
            let random_iv = told.random_iv || before.random_iv;
            state.learn(&object, Origin { padding, random_iv, ..before });
            return;
        }
        _ => return,
    };
    identifiers(answer).for_each(|made| state.learn(&made, origin));
}

/// Algorithm and parameters that a request states for its object.
fn told(request: &Item) -> Origin {
    let parameters = attribute(request, Tag::CRYPTOGRAPHIC_PARAMETERS);
    let algorithm = attribute(request, Tag::CRYPTOGRAPHIC_ALGORITHM).and_then(Item::code);
    Origin {
        generated: false,
        algorithm,
        padding: parameters.and_then(|item| item.field(Tag::PADDING_METHOD.0)).and_then(Item::code),
        random_iv: parameters
            .and_then(|item| item.field(Tag::RANDOM_IV.0))
            .is_some_and(|item| item.value == Value::Boolean(true)),
    }
}

/// An attribute in a request: an Attribute structure with its name (1.x), or an item by its tag.
fn attribute(item: &Item, tag: Tag) -> Option<&Item> {
    if item.tag == Tag::ATTRIBUTE.0 {
        let name = item.field(Tag::ATTRIBUTE_NAME.0).and_then(Item::text)?;
        return if names::attribute(name) == Some(tag.0) { item.field(Tag::ATTRIBUTE_VALUE.0) } else { None };
    }
    if item.tag == tag.0 {
        return Some(item);
    }
    item.fields().iter().find_map(|field| attribute(field, tag))
}

fn identifier(payload: &Item) -> Option<String> {
    identifiers(payload).next()
}

fn identifiers(payload: &Item) -> impl Iterator<Item = String> + '_ {
    const TAGS: [Tag; 3] =
        [Tag::UNIQUE_IDENTIFIER, Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER, Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER];
    payload
        .fields()
        .iter()
        .filter(|field| TAGS.contains(&Tag(field.tag)))
        .filter_map(|field| field.value.as_text().map(str::to_owned))
}
