//! Is this answer the expected one?
//!
//! Field by field, in order, under the variations that the KMIP profiles permit (KMIP Profiles 2.1 §4.1, "Permitted
//! Test Case Variations"); each function below names the variation it implements. Whatever is not named here is a difference.

use keygate_kmip::{Operation, Tag};

use super::context::{self, ItemContext};
use super::file::Node;
use super::state::{self, State};
use crate::names;
use crate::ttlv::{Item, Value};

/// The first difference between an answer and the expected response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: names from the message down.
    pub place: String,
    /// What.
    pub what: String,
    /// The place in the expected response: index of the field at each level.
    pub expected_at: Vec<usize>,
    /// The place in the answer.
    pub actual_at: Vec<usize>,
}

/// Compares an answer with the expected response. Binds placeholders in `state` on the way.
///
/// # Errors
/// The first difference.
pub fn compare(request: &Item, expected: &Node, actual: &Item, state: &mut State) -> Result<(), Difference> {
    let items = context::describe(request, actual, state);
    let is_1_0 = version(request) == Some((1, 0));
    let comparison = Comparison { items, is_1_0 };
    let place =
        Place { within: Vec::new(), names: Vec::new(), expected_at: Vec::new(), actual_at: Vec::new(), item: None };
    let result = comparison.item(expected, actual, None, &place, state);
    state.note_response(actual);
    result
}

/// Compares what the server sends to a client with the request that a case expects it to send. Binds placeholders in `state`.
///
/// # Errors
/// The first difference.
pub fn compare_call(expected: &Node, actual: &Item, state: &mut State) -> Result<(), Difference> {
    let nothing = Item::structure(Tag::RESPONSE_MESSAGE.0, Vec::new());
    let comparison = Comparison { items: context::describe(actual, &nothing, state), is_1_0: version(actual) == Some((1, 0)) };
    let place =
        Place { within: Vec::new(), names: Vec::new(), expected_at: Vec::new(), actual_at: Vec::new(), item: None };
    comparison.item(expected, actual, None, &place, state)
}

fn version(request: &Item) -> Option<(i32, i32)> {
    let version = request.find(Tag::PROTOCOL_VERSION.0)?;
    let number = |tag: Tag| match version.field(tag.0)?.value {
        Value::Integer(number) => Some(number),
        _ => None,
    };
    Some((number(Tag::PROTOCOL_VERSION_MAJOR)?, number(Tag::PROTOCOL_VERSION_MINOR)?))
}

struct Comparison {
    items: Vec<ItemContext>,
    is_1_0: bool,
}

/// Where the comparison is.
#[derive(Clone)]
struct Place {
    /// Tags of the structures around, outermost first; an attribute's own tag in place of Attribute Value.
    within: Vec<Tag>,
    names: Vec<String>,
    expected_at: Vec<usize>,
    actual_at: Vec<usize>,
    /// Number of the batch item.
    item: Option<usize>,
}

impl Place {
    fn below(&self, tag: Tag, name: String) -> Self {
        let mut place = self.clone();
        place.within.push(tag);
        place.names.push(name);
        place
    }

    fn at(&self, expected: usize, actual: usize) -> Self {
        let mut place = self.clone();
        place.expected_at.push(expected);
        place.actual_at.push(actual);
        place
    }

    fn is_within(&self, tag: Tag) -> bool {
        self.within.contains(&tag)
    }

    fn difference(&self, what: impl Into<String>) -> Difference {
        Difference {
            place: self.names.join("/"),
            what: what.into(),
            expected_at: self.expected_at.clone(),
            actual_at: self.actual_at.clone(),
        }
    }
}

type Outcome = Result<(), Difference>;

impl Comparison {
    fn context(&self, place: &Place) -> ItemContext {
        place.item.and_then(|item| self.items.get(item)).cloned().unwrap_or_default()
    }

    /// One item against its counterpart of the same tag.
    fn item(
        &self,
        expected: &Node,
        actual: &Item,
        attribute: Option<u32>,
        place: &Place,
        state: &mut State,
    ) -> Outcome {
        let tag = meaning(expected.tag, attribute);
        let place = &place.below(tag, label(expected));
        if expected.is_structure() {
            self.structure(expected, actual, attribute, tag, place, state)
        } else {
            self.simple(expected, actual, tag, attribute, place, state)
        }
    }

    fn structure(
        &self,
        expected: &Node,
        actual: &Item,
        attribute: Option<u32>,
        tag: Tag,
        place: &Place,
        state: &mut State,
    ) -> Outcome {
        let context = self.context(place);
        if self.is_free_structure(tag, &context, place) {
            return Ok(());
        }
        if tag == Tag::KEY_VALUE && context.is_generated {
            return generated_key_value(expected, actual, place);
        }
        let Value::Structure(fields) = &actual.value else {
            return Err(place.difference(format!("expected a structure, got {}", show(actual, attribute))));
        };
        if tag == Tag::DIGEST {
            return self.digest(expected, actual, place, state);
        }
        let attribute = state::attribute_of(expected).or(attribute.filter(|_| expected.tag != state::ATTRIBUTE_VALUE));
        let mut wanted: Vec<(usize, &Node)> = expected.fields.iter().enumerate().collect();
        let mut found: Vec<(usize, &Item)> = fields.iter().enumerate().collect();
        wanted.retain(|(_, node)| !self.is_ignored_node(node, &context, place));
        found.retain(|(_, item)| !self.is_ignored(item, &context, place));
        self.fields(&wanted, &found, attribute, place, state)
    }

    /// Fields in order. A run of fields with the same tag whose order has no meaning is compared as a set.
    fn fields(
        &self,
        wanted: &[(usize, &Node)],
        found: &[(usize, &Item)],
        attribute: Option<u32>,
        place: &Place,
        state: &mut State,
    ) -> Outcome {
        let (mut next, mut batch_item) = (0, 0);
        let mut rest = wanted;
        if place.within.last() == Some(&Tag::ATTRIBUTES) {
            return self.set(wanted, found, attribute, self.allows_more(Tag::ATTRIBUTES, place), place, state);
        }
        while let Some((number, node)) = rest.first() {
            let tag = Tag(node.tag);
            if is_unordered(tag, place) {
                let run = rest.iter().take_while(|(_, node)| Tag(node.tag) == tag).count();
                let actual_run = found[next..].iter().take_while(|(_, item)| Tag(item.tag) == tag).count();
                let more = self.allows_more(tag, place);
                if is_self_description(tag, place) && actual_run > 0 {
                    // TC-Q-*: the expected answers describe the example server; a server describes itself.
                } else {
                    self.set(&rest[..run], &found[next..next + actual_run], attribute, more, place, state)?;
                }
                rest = &rest[run..];
                next += actual_run;
                continue;
            }
            let Some((actual_number, item)) = found.get(next) else {
                return Err(place.at(*number, usize::MAX).difference(missing(node)));
            };
            let mut at = place.at(*number, *actual_number);
            if item.tag != node.tag {
                let wanted_later = rest.iter().any(|(_, later)| later.tag == item.tag);
                let what = if wanted_later { missing(node) } else { unexpected(item, attribute) };
                return Err(at.difference(what));
            }
            if tag == Tag::BATCH_ITEM {
                at.item = Some(batch_item);
                batch_item += 1;
            }
            self.item(node, item, attribute, &at, state).map_err(|difference| explain(difference, item))?;
            rest = &rest[1..];
            next += 1;
        }
        match found.get(next) {
            Some((number, item)) => Err(place.at(usize::MAX, *number).difference(unexpected(item, attribute))),
            None => Ok(()),
        }
    }

    /// "Order of attributes, of located identifiers and of list entries is not significant": each expected one is matched by
    /// one of its own; `more` allows others beside.
    fn set(
        &self,
        wanted: &[(usize, &Node)],
        found: &[(usize, &Item)],
        attribute: Option<u32>,
        more: bool,
        place: &Place,
        state: &mut State,
    ) -> Outcome {
        let mut left: Vec<(usize, &Item)> = found.to_vec();
        let mut wanted = wanted.to_vec();
        let wanted_count = wanted.len();
        // What is known decides before what would match anything.
        wanted.sort_by_key(|(_, node)| node.placeholder().is_some_and(|name| state.bound(name).is_none()));
        for (number, node) in wanted {
            let mut nearest = None;
            let mut matched = None;
            for (position, (actual_number, item)) in left.iter().enumerate() {
                if !same_kind(node, item) {
                    continue;
                }
                let mut trial = state.clone();
                match self.item(node, item, attribute, &place.at(number, *actual_number), &mut trial) {
                    Ok(()) => {
                        matched = Some((position, trial));
                        break;
                    }
                    Err(difference) if node.is_structure() || wanted_count == 1 => {
                        nearest = nearest.or(Some(difference));
                    }
                    // In a list of values none is the counterpart of another.
                    Err(_) => {}
                }
            }
            match (matched, nearest) {
                (Some((position, bound)), _) => {
                    left.remove(position);
                    *state = bound;
                }
                (None, Some(difference)) => return Err(difference),
                (None, None) => return Err(place.at(number, usize::MAX).difference(missing(node))),
            }
        }
        match left.first() {
            Some((number, item)) if !more => Err(place.at(usize::MAX, *number).difference(unexpected(item, attribute))),
            _ => Ok(()),
        }
    }

    /// Variations 6, 7 and 8: which lists may be longer than expected. Export tells every attribute, as Get Attributes without names.
    fn allows_more(&self, tag: Tag, place: &Place) -> bool {
        let context = self.context(place);
        match context.operation {
            Some(Operation::Query) => {
                tag == Tag::OPERATION || tag == Tag::OBJECT_TYPE || is_self_description(tag, place)
            }
            Some(Operation::DiscoverVersions) => tag == Tag::PROTOCOL_VERSION && !context.is_specific,
            Some(Operation::GetAttributeList) => tag == Tag::ATTRIBUTE_NAME || tag == Tag::ATTRIBUTE_REFERENCE,
            Some(Operation::Export) => tag == Tag::ATTRIBUTE || tag == Tag::ATTRIBUTES,
            Some(Operation::GetAttributes) => !context.is_specific && (tag == Tag::ATTRIBUTE || tag == Tag::ATTRIBUTES),
            // Variation 8 again: Put sends what Get Attributes without names answers.
            Some(Operation::Put) => tag == Tag::ATTRIBUTE || tag == Tag::ATTRIBUTES,
            _ => false,
        }
    }

    /// Fields that may be there or not, whatever they hold.
    fn is_ignored(&self, item: &Item, context: &ItemContext, place: &Place) -> bool {
        match Tag(item.tag) {
            Tag::ATTRIBUTE => attribute_name(item).is_some_and(is_server_specific),
            Tag::ATTRIBUTE_NAME => {
                context.operation == Some(Operation::GetAttributeList) && item.text().is_some_and(is_server_specific)
            }
            Tag::ATTRIBUTE_INDEX => !self.is_1_0 && item.value == Value::Integer(0),
            Tag::MESSAGE_EXTENSION => {
                item.field(Tag::CRITICALITY_INDICATOR.0).is_some_and(|item| item.value == Value::Boolean(false))
            }
            tag => is_optional(tag, context, place),
        }
    }

    fn is_ignored_node(&self, node: &Node, context: &ItemContext, place: &Place) -> bool {
        match Tag(node.tag) {
            Tag::ATTRIBUTE => node.field(state::ATTRIBUTE_NAME).is_some_and(|name| is_server_specific(&name.text)),
            Tag::ATTRIBUTE_NAME => {
                context.operation == Some(Operation::GetAttributeList) && is_server_specific(&node.text)
            }
            Tag::ATTRIBUTE_INDEX => !self.is_1_0 && node.text == "0",
            tag => is_optional(tag, context, place),
        }
    }

    /// Variations 1, 5 and 8: structures whose content is the server's own.
    fn is_free_structure(&self, tag: Tag, context: &ItemContext, place: &Place) -> bool {
        match tag {
            Tag::SERVER_INFORMATION => place.is_within(Tag::RESPONSE_PAYLOAD),
            Tag::RANDOM_NUMBER_GENERATOR => context.is_generated,
            _ => false,
        }
    }

    /// Variation 5: "Digest of generated objects; the server's choice of digest hash".
    fn digest(&self, expected: &Node, actual: &Item, place: &Place, state: &mut State) -> Outcome {
        let context = self.context(place);
        let hash = |item: &Item| item.field(Tag::HASHING_ALGORITHM.0).and_then(Item::code);
        let wanted = expected
            .field(Tag::HASHING_ALGORITHM.0)
            .and_then(|node| names::enumeration(Tag::HASHING_ALGORITHM.0, &node.text));
        let free = context.is_generated || hash(actual) != wanted;
        let tags =
            |fields: Vec<u32>| fields.into_iter().filter(|tag| *tag != Tag::KEY_FORMAT_TYPE.0).collect::<Vec<_>>();
        let shape = tags(actual.fields().iter().map(|field| field.tag).collect());
        if shape != tags(expected.fields.iter().map(|field| field.tag).collect()) {
            return Err(place.difference("fields of Digest differ"));
        }
        if free {
            return Ok(());
        }
        for (number, node) in expected.fields.iter().enumerate() {
            let Some(position) = actual.fields().iter().position(|field| field.tag == node.tag) else {
                return Err(place.at(number, usize::MAX).difference(missing(node)));
            };
            self.item(node, &actual.fields()[position], None, &place.at(number, position), state)?;
        }
        Ok(())
    }

    fn simple(
        &self,
        expected: &Node,
        actual: &Item,
        tag: Tag,
        attribute: Option<u32>,
        place: &Place,
        state: &mut State,
    ) -> Outcome {
        let differs = || {
            place.difference(format!(
                "expected {} `{}`, got {}",
                expected.item_type,
                expected.text,
                show(actual, attribute)
            ))
        };
        if expected.item_type != actual.value.type_name() {
            let is_generated_material = tag == Tag::KEY_MATERIAL && self.context(place).is_generated;
            return if is_generated_material { Ok(()) } else { Err(differs()) };
        }
        if let Some(name) = expected.placeholder() {
            return self.placeholder(name, tag, actual, place, state, differs);
        }
        if self.is_free_value(expected, actual, tag, place, state) {
            return Ok(());
        }
        let wanted = state::literal(expected, attribute, state.now)
            .map_err(|error| place.difference(format!("expected value is not understood: {error}")))?;
        if wanted == actual.value { Ok(()) } else { Err(differs()) }
    }

    /// Identifiers keep what they were first bound to; of other placeholders the newest value counts.
    fn placeholder(
        &self,
        name: &str,
        tag: Tag,
        actual: &Item,
        place: &Place,
        state: &mut State,
        differs: impl Fn() -> Difference,
    ) -> Outcome {
        let is_empty = match &actual.value {
            Value::ByteString(bytes) => bytes.is_empty(),
            value => value.as_text().is_some_and(str::is_empty),
        };
        if is_empty {
            return Err(place.difference(format!("{} is empty", names::tag_name(tag.0))));
        }
        let keeps = name.contains("UNIQUE_IDENTIFIER") || name == "TICKET_VALUE";
        match state.bound(name) {
            Some(bound) if keeps => {
                // 3.0 has the same text as Identifier of an object and as Reference to it.
                if *bound == actual.value || bound.as_text().is_some_and(|text| actual.value.as_text() == Some(text)) {
                    Ok(())
                } else {
                    let mut difference = differs();
                    difference.what += &format!(", ${name} was {}", show_value(bound, tag));
                    Err(difference)
                }
            }
            _ => {
                state.bind(name, actual.value.clone());
                Ok(())
            }
        }
    }

    /// Variations 1 to 5: values that are the server's own.
    fn is_free_value(&self, expected: &Node, actual: &Item, tag: Tag, place: &Place, state: &State) -> bool {
        let context = self.context(place);
        let same_length = || match &actual.value {
            Value::ByteString(bytes) => bytes.len() * 2 == expected.text.len(),
            _ => true,
        };
        match tag {
            Tag::TIME_STAMP
            | Tag::ASYNCHRONOUS_CORRELATION_VALUE
            | Tag::SHORT_UNIQUE_IDENTIFIER
            | Tag::OBJECT_GROUP => true,
            // Variation 1, as Vendor Identification in Query: what C_GetInfo tells of who made the library. Its length and the version
            // of the interface are not the server's own.
            Tag::PKCS_11_OUTPUT_PARAMETERS => {
                let same_start = match &actual.value {
                    Value::ByteString(bytes) => bytes.first().is_some_and(|major| expected.text.starts_with(&format!("{major:02x}"))),
                    _ => false,
                };
                same_length() && same_start
            }
            // A certificate that the server made has the name of the server's CA, a number of its own, and is signed as its CA signs.
            Tag::ISSUER
            | Tag::SERIAL_NUMBER
            | Tag::CERTIFICATE_ISSUER_DISTINGUISHED_NAME
            | Tag::ISSUER_DISTINGUISHED_NAME
            | Tag::CERTIFICATE_SERIAL_NUMBER
            | Tag::CERTIFICATE_LENGTH
            | Tag::DIGITAL_SIGNATURE_ALGORITHM => context.is_generated,
            Tag::VENDOR_IDENTIFICATION => context.operation == Some(Operation::Query),
            Tag::DATA if context.operation == Some(Operation::RngRetrieve) => same_length(),
            Tag::DATA | Tag::SIGNATURE_DATA | Tag::MAC_DATA | Tag::AUTHENTICATED_ENCRYPTION_TAG => {
                context.is_random || context.is_generated
            }
            Tag::IV_COUNTER_NONCE => (context.is_random || context.is_generated) && same_length(),
            Tag::KEY_FORMAT_TYPE | Tag::CERTIFICATE_VALUE => context.is_generated,
            tag if is_date(tag) => is_free_date(expected, actual, tag, state),
            _ => context.is_generated && place.is_within(Tag::KEY_MATERIAL),
        }
    }
}

/// Variation 4: dates are the server's own "unless the request gave that date as a fixed value".
fn is_free_date(expected: &Node, actual: &Item, tag: Tag, state: &State) -> bool {
    let Value::DateTime(at) = actual.value else { return false };
    let given = state.given_dates(tag.0, &expected.text);
    given.is_empty() || given.contains(&at) || (expected.text == "$NOW" && (at - state.now).abs() <= 120)
}

/// Variation 2: material the server made. The form must be right; of a symmetric key the length too.
fn generated_key_value(expected: &Node, actual: &Item, place: &Place) -> Outcome {
    let Some(wanted) = expected.field(Tag::KEY_MATERIAL.0) else { return Ok(()) };
    let Some(material) = actual.field(Tag::KEY_MATERIAL.0) else {
        return Err(place.difference("KeyMaterial is missing"));
    };
    let length = material.bytes().map_or(0, <[u8]>::len);
    let is_symmetric = place.is_within(Tag::SYMMETRIC_KEY) && wanted.item_type == "ByteString";
    if is_symmetric && wanted.placeholder().is_none() && length * 2 != wanted.text.len() {
        return Err(place.difference(format!("KeyMaterial has {length} bytes, expected {}", wanted.text.len() / 2)));
    }
    Ok(())
}

/// Fields that may be absent on either side: result messages, templates in responses, correlation values, extension lists.
fn is_optional(tag: Tag, context: &ItemContext, place: &Place) -> bool {
    match tag {
        Tag::RESULT_MESSAGE | Tag::CLIENT_CORRELATION_VALUE | Tag::SERVER_CORRELATION_VALUE => true,
        Tag::TEMPLATE_ATTRIBUTE
        | Tag::COMMON_TEMPLATE_ATTRIBUTE
        | Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE
        | Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE => place.within.last() == Some(&Tag::RESPONSE_PAYLOAD),
        Tag::EXTENSION_INFORMATION | Tag::APPLICATION_NAMESPACE => context.operation == Some(Operation::Query),
        _ => false,
    }
}

/// Repeated fields whose order has no meaning.
fn is_unordered(tag: Tag, place: &Place) -> bool {
    let in_payload = place.within.last() == Some(&Tag::RESPONSE_PAYLOAD);
    match tag {
        Tag::ATTRIBUTE => true,
        Tag::ATTRIBUTE_NAME | Tag::ATTRIBUTE_REFERENCE | Tag::OPERATION | Tag::OBJECT_TYPE | Tag::PROTOCOL_VERSION => {
            in_payload
        }
        Tag::UNIQUE_IDENTIFIER => in_payload,
        _ => is_self_description(tag, place),
    }
}

/// What a server says of itself in Query.
fn is_self_description(tag: Tag, place: &Place) -> bool {
    place.within.last() == Some(&Tag::RESPONSE_PAYLOAD)
        && matches!(
            tag,
            Tag::RNG_PARAMETERS
                | Tag::PROFILE_INFORMATION
                | Tag::VALIDATION_INFORMATION
                | Tag::CAPABILITY_INFORMATION
                | Tag::CLIENT_REGISTRATION_METHOD
                | Tag::DEFAULTS_INFORMATION
                | Tag::PROTECTION_STORAGE_MASK
        )
}

fn is_date(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::ACTIVATION_DATE
            | Tag::ARCHIVE_DATE
            | Tag::COMPROMISE_DATE
            | Tag::COMPROMISE_OCCURRENCE_DATE
            | Tag::DEACTIVATION_DATE
            | Tag::DESTROY_DATE
            | Tag::INITIAL_DATE
            | Tag::LAST_CHANGE_DATE
            | Tag::PROCESS_START_DATE
            | Tag::PROTECT_STOP_DATE
            | Tag::VALIDITY_DATE
            | Tag::ORIGINAL_CREATION_DATE
            | Tag::ROTATE_DATE
            | Tag::BUILD_DATE
            | Tag::SUBMISSION_DATE
    )
}

/// Custom attributes of the server's own begin with `y-`.
fn is_server_specific(name: &str) -> bool {
    name.starts_with("y-")
}

fn attribute_name(item: &Item) -> Option<&str> {
    item.field(Tag::ATTRIBUTE_NAME.0).and_then(Item::text)
}

/// Whether an answer's item can be the counterpart of an expected one at all: same tag, and for attributes same name.
fn same_kind(expected: &Node, actual: &Item) -> bool {
    let name = expected.field(state::ATTRIBUTE_NAME).map(|name| name.text.as_str());
    expected.tag == actual.tag && (Tag(expected.tag) != Tag::ATTRIBUTE || name == attribute_name(actual))
}

/// The tag that tells the meaning: of an Attribute Value the attribute's.
fn meaning(tag: u32, attribute: Option<u32>) -> Tag {
    Tag(if tag == state::ATTRIBUTE_VALUE { attribute.unwrap_or(tag) } else { tag })
}

fn label(node: &Node) -> String {
    let name = names::tag_name(node.tag);
    match node.field(state::ATTRIBUTE_NAME).filter(|_| node.tag == Tag::ATTRIBUTE.0) {
        Some(attribute) => format!("{name}[{}]", attribute.text),
        None => name,
    }
}

fn missing(node: &Node) -> String {
    let value = if node.is_structure() { String::new() } else { format!(" `{}`", node.text) };
    format!("{}{value} is missing", label(node))
}

fn unexpected(item: &Item, attribute: Option<u32>) -> String {
    let name = attribute_name(item).map(|name| format!("[{name}]")).unwrap_or_default();
    format!("unexpected {}{name} {}", names::tag_name(item.tag), show(item, attribute))
}

/// Says with a wrong Result Status why the server refused.
fn explain(mut difference: Difference, item: &Item) -> Difference {
    let is_status = difference.place.ends_with("BatchItem/ResultStatus");
    if item.tag == Tag::BATCH_ITEM.0
        && is_status
        && let Some(reason) = item.field(Tag::RESULT_REASON.0).and_then(Item::code)
    {
        let message = item.field(Tag::RESULT_MESSAGE.0).and_then(Item::text).unwrap_or_default();
        difference.what += &format!(" ({}: {message})", names::enumeration_name(Tag::RESULT_REASON.0, reason));
    }
    difference
}

fn show(item: &Item, attribute: Option<u32>) -> String {
    show_value(&item.value, meaning(item.tag, attribute))
}

fn show_value(value: &Value, tag: Tag) -> String {
    let text = match value {
        Value::Structure(fields) => {
            let names: Vec<String> = fields.iter().take(6).map(|field| names::tag_name(field.tag)).collect();
            return format!(
                "a structure of {}",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            );
        }
        Value::Integer(value) => value.to_string(),
        Value::LongInteger(value) => value.to_string(),
        Value::Enumeration(code) => names::enumeration_name(tag.0, *code),
        Value::Boolean(value) => value.to_string(),
        Value::TextString(value) | Value::Identifier(value) => value.clone(),
        Value::Reference(value) | Value::NameReference(value) => value.clone(),
        Value::BigInteger(value) | Value::ByteString(value) => hex::encode(value),
        Value::DateTime(value) | Value::DateTimeExtended(value) => value.to_string(),
        Value::Interval(value) => value.to_string(),
    };
    let short = if text.len() > 80 {
        format!("{}… ({} characters)", &text[..text.floor_char_boundary(64)], text.len())
    } else {
        text
    };
    format!("{} `{short}`", value.type_name())
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
