//! A tree of JSON items to events.

use std::cell::{Cell, RefCell};

use serde::de::DeserializeSeed as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::node::{Context, ItemSeed, Node, Value};
use crate::Tag;
use crate::event::Sink;
use crate::text::{Budget, Error, Limits, Reason, names};
use crate::ttlv::Type;

/// KMIP-ENC 1.0 §4.1.5: "any values >= 2^52 must be represented as hex strings".
const NUMBER_MAX: u64 = 1 << 52;

/// Reads one message and sends its items to `sink`. A simple item by itself is read too: that it is no message shows when what the
/// sink holds is parsed as one.
///
/// # Errors
/// On the first departure from the encoding. The sink may then hold the beginning of a message; discard it.
pub fn read(text: &str, sink: &mut dyn Sink, limits: Limits) -> Result<(), Error> {
    let budget = Budget::new(text, limits).map_err(|reason| Error { position: 0, reason })?;
    let node = parse(text, limits)?;
    Reader { sink, budget }.item(&node, 0, None)
}

fn parse(text: &str, limits: Limits) -> Result<Node<'_>, Error> {
    if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
        return Err(Error { position: text.len(), reason: Reason::Empty });
    }
    let context = Context {
        text,
        depth_max: limits.depth_max,
        items_left: Cell::new(limits.items_max),
        items_max: limits.items_max,
        wrong: RefCell::new(None),
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let node = ItemSeed { context: &context, depth: 0 }.deserialize(&mut json);
    let is_whole = node.is_ok();
    match node.and_then(|node| json.end().map(|()| node)) {
        Ok(node) => Ok(node),
        Err(error) => {
            let stopped = offset(text, error.line(), error.column());
            let (at, reason) = match context.wrong.take() {
                Some(wrong) => wrong,
                None if is_whole => (None, Reason::Trailing),
                // Syntax errors of serde_json name what is expected, never what is there.
                None => (None, Reason::Malformed(syntax(&error))),
            };
            Err(Error { position: at.unwrap_or(stopped), reason })
        }
    }
}

/// What serde_json says, without the line and column that follow it.
fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

/// Offset of a line and column, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

struct Reader<'a> {
    sink: &'a mut dyn Sink,
    budget: Budget,
}

impl Reader<'_> {
    /// `attribute`: what the Attribute Name beside the item means.
    fn item(&mut self, node: &Node<'_>, depth: usize, attribute: Option<Tag>) -> Result<(), Error> {
        let tag = node.tag;
        let fail = |reason| Error { position: node.at, reason };
        match (&node.value, node.item_type) {
            (Value::Fields(fields), Type::Structure) => {
                self.budget.item(depth, true, 0).map_err(fail)?;
                self.sink.start_structure(tag);
                let mut attribute = None;
                for field in fields {
                    self.item(field, depth + 1, attribute)?;
                    if let (Tag::ATTRIBUTE_NAME, Value::Text(name)) = (field.tag, &field.value) {
                        attribute = names::attribute_tag(name);
                    }
                }
                self.sink.end_structure();
                Ok(())
            }
            (Value::Fields(_), _) | (_, Type::Structure) => Err(fail(Reason::NotAStructure(tag))),
            (value, item_type) => {
                let text_bytes = if let Value::Text(text) = value { text.len() } else { 8 };
                let bytes = if item_type.is_text() { text_bytes } else { text_bytes / 2 };
                self.budget.item(depth, false, bytes).map_err(fail)?;
                let is_large = matches!(value, Value::Number(number) if number.unsigned_abs() >= NUMBER_MAX);
                if is_large && matches!(item_type, Type::LongInteger | Type::BigInteger) {
                    return Err(fail(Reason::Number(tag)));
                }
                send(self.sink, tag, item_type, value, attribute).ok_or_else(|| fail(Reason::Value { tag, item_type }))
            }
        }
    }
}

/// Sends a simple item; `None` if its type cannot have the value.
fn send(sink: &mut dyn Sink, tag: Tag, item_type: Type, value: &Value<'_>, attribute: Option<Tag>) -> Option<()> {
    let known = names::value_names(tag, attribute);
    match (item_type, value) {
        (Type::Integer, Value::Number(number)) => sink.integer(tag, i32::try_from(*number).ok()?),
        // KMIP-ENC 1.0 §4.1.5: masks as names, "separated by '|'".
        (Type::Integer, Value::Text(text)) => sink.integer(tag, names::integer(text, known, '|')?),
        (Type::LongInteger, Value::Number(number)) => sink.long_integer(tag, *number),
        (Type::LongInteger, Value::Text(text)) => sink.long_integer(tag, names::hexadecimal(text, 16)?.cast_signed()),
        (Type::BigInteger, Value::Number(number)) => sink.big_integer(tag, &Zeroizing::new(number.to_be_bytes())[..]),
        (Type::BigInteger, Value::Text(text)) => sink.big_integer(tag, &names::big_integer(text.strip_prefix("0x")?)?),
        (Type::Enumeration, Value::Number(number)) => sink.enumeration(tag, u32::try_from(*number).ok()?),
        (Type::Enumeration, Value::Text(text)) => sink.enumeration(tag, names::enumeration_code(text, known)?),
        (Type::Boolean, Value::Boolean(truth)) => sink.boolean(tag, *truth),
        (Type::Boolean, Value::Text(text)) => sink.boolean(tag, one_or_zero(text)?),
        (Type::TextString, Value::Text(text)) => sink.text_string(tag, text),
        (Type::ByteString, Value::Text(text)) => sink.byte_string(tag, &names::bytes(text)?),
        (Type::DateTime, Value::Text(text)) => sink.date_time(tag, names::date_time(text)?),
        (Type::Interval, Value::Number(number)) => sink.interval(tag, u32::try_from(*number).ok()?),
        (Type::Interval, Value::Text(text)) => sink.interval(tag, u32::try_from(names::hexadecimal(text, 8)?).ok()?),
        (Type::DateTimeExtended, Value::Text(text)) => sink.date_time_extended(tag, names::date_time_extended(text)?),
        (Type::Identifier | Type::Reference | Type::NameReference, Value::Text(text)) => sink.reference(tag, item_type, text),
        _ => return None,
    }
    Some(())
}

/// A Boolean as a number of its width in TTLV.
fn one_or_zero(text: &str) -> Option<bool> {
    match names::hexadecimal(text, 16)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

impl Drop for Node<'_> {
    /// What had to be copied out of the text, because it has escapes, may be a secret.
    fn drop(&mut self) {
        if let Value::Text(std::borrow::Cow::Owned(text)) = &mut self.value {
            text.zeroize();
        }
    }
}
