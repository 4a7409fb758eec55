//! JSON text to a tree of items. Members of an object come in any order, so an item is known only when its object ends; what
//! its value means is for `read` to say.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::Tag;
use crate::text::{Reason, names, shown};
use crate::ttlv::Type;

/// One item: its object.
pub(super) struct Node<'a> {
    pub(super) tag: Tag,
    pub(super) item_type: Type,
    pub(super) value: Value<'a>,
    /// Offset of its tag in the text.
    pub(super) at: usize,
}

/// A JSON value as it stands.
pub(super) enum Value<'a> {
    Boolean(bool),
    Fields(Vec<Node<'a>>),
    Number(i64),
    /// A fraction, or too large for any type.
    OtherNumber,
    Text(Cow<'a, str>),
}

/// What all parts of a text share while it is read.
pub(super) struct Context<'a> {
    pub(super) text: &'a str,
    /// Structures within structures.
    pub(super) depth_max: usize,
    /// Items left: each takes memory before its value is looked at.
    pub(super) items_left: Cell<usize>,
    pub(super) items_max: usize,
    /// What is wrong, told apart from what serde makes of it, which may repeat values. And where, if not where reading stopped.
    pub(super) wrong: RefCell<Option<(Option<usize>, Reason)>>,
}

impl Context<'_> {
    fn refuse<E: serde::de::Error>(&self, at: Option<usize>, reason: Reason) -> E {
        *self.wrong.borrow_mut() = Some((at, reason));
        E::custom("refused")
    }

    /// Offset of a string of the text; `None` if it had escapes and was copied.
    #[expect(clippy::ptr_arg, reason = "what is borrowed tells where it stands")]
    fn offset(&self, string: &Cow<'_, str>) -> Option<usize> {
        match string {
            Cow::Borrowed(string) => (string.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize),
            Cow::Owned(_) => None,
        }
    }
}

/// Reads an item: an object.
#[derive(Clone, Copy)]
pub(super) struct ItemSeed<'c, 'a> {
    pub(super) context: &'c Context<'a>,
    /// Structures that hold it.
    pub(super) depth: usize,
}

impl<'a> DeserializeSeed<'a> for ItemSeed<'_, 'a> {
    type Value = Node<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Node<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What other kinds of JSON values an item or value must not be. Without these, serde's own message would repeat the value.
macro_rules! refused {
    ($reason:expr; $($visit:ident: $type:ty),*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(self.context.refuse(None, $reason))
        }
    )*};
}

impl<'a> Visitor<'a> for ItemSeed<'_, 'a> {
    type Value = Node<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    refused! { not_an_object(); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node<'a>, E> {
        Err(self.context.refuse(None, not_an_object()))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, _: A) -> Result<Node<'a>, A::Error> {
        Err(self.context.refuse(None, not_an_object()))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Node<'a>, A::Error> {
        let context = self.context;
        let Some(left) = context.items_left.get().checked_sub(1) else {
            return Err(context.refuse(None, Reason::Items(context.items_max)));
        };
        context.items_left.set(left);
        let (mut tag, mut name, mut item_type, mut value) = (None, None, None, None);
        while let Some(member) = members.next_key_seed(StringSeed(context))? {
            let twice = match &*member {
                "tag" => put(&mut tag, &mut members, StringSeed(context), "tag")?,
                "name" => put(&mut name, &mut members, StringSeed(context), "name")?,
                "type" => put(&mut item_type, &mut members, StringSeed(context), "type")?,
                "value" => put(&mut value, &mut members, ValueSeed { item: self, may_be_list: true }, "value")?,
                other => return Err(context.refuse(None, Reason::Attribute(shown(other)))),
            };
            if let Some(member) = twice {
                return Err(context.refuse(None, Reason::Duplicate(member)));
            }
        }
        let Some(tag) = tag else { return Err(context.refuse(None, Reason::Missing("tag"))) };
        let at = context.offset(&tag);
        let Some(value) = value else { return Err(context.refuse(at, Reason::Missing("value"))) };
        let Some(tag) = names::tag(&tag) else { return Err(context.refuse(at, Reason::UnknownTag(shown(&tag)))) };
        // KMIP-ENC 1.0 §4.1.4: an absent type means Structure.
        let item_type = match item_type {
            None => Type::Structure,
            Some(name) => match Type::by_xml_name(&name) {
                Some(item_type) => item_type,
                None => return Err(context.refuse(at, Reason::UnknownType(shown(&name)))),
            },
        };
        Ok(Node { tag, item_type, value, at: at.unwrap_or(0) })
    }
}

/// Takes a member into its place; says its name if the place was taken.
fn put<'a, A: MapAccess<'a>, S: DeserializeSeed<'a>>(
    place: &mut Option<S::Value>,
    members: &mut A,
    seed: S,
    name: &'static str,
) -> Result<Option<&'static str>, A::Error> {
    let was_taken = place.replace(members.next_value_seed(seed)?).is_some();
    Ok(was_taken.then_some(name))
}

fn not_an_object() -> Reason {
    Reason::Malformed("an item must be an object".to_owned())
}

fn not_a_string() -> Reason {
    Reason::Malformed("`tag`, `name` and `type` must be strings".to_owned())
}

/// Reads a string.
struct StringSeed<'c, 'a>(&'c Context<'a>);

impl<'a> DeserializeSeed<'a> for StringSeed<'_, 'a> {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        let context = self.0;
        match deserializer.deserialize_any(ValueSeed { item: ItemSeed { context, depth: 0 }, may_be_list: false })? {
            Value::Text(text) => Ok(text),
            _ => Err(context.refuse(None, not_a_string())),
        }
    }
}

/// Reads the value of an item.
struct ValueSeed<'c, 'a> {
    item: ItemSeed<'c, 'a>,
    /// Whether it may be a list of fields.
    may_be_list: bool,
}

impl<'a> DeserializeSeed<'a> for ValueSeed<'_, 'a> {
    type Value = Value<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Value<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ValueSeed<'_, 'a> {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'a>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'a>, E> {
        Ok(Value::Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'a>, E> {
        Ok(i64::try_from(value).map_or(Value::OtherNumber, Value::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'a>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, value: &'a str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value<'a>, E> {
        Err(self.item.context.refuse(None, Reason::Malformed("null is not a value".to_owned())))
    }

    fn visit_map<A: MapAccess<'a>>(self, _: A) -> Result<Value<'a>, A::Error> {
        Err(self.item.context.refuse(None, Reason::Malformed("a value must not be an object".to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<Value<'a>, A::Error> {
        let ItemSeed { context, depth } = self.item;
        if !self.may_be_list {
            return Err(context.refuse(None, not_a_string()));
        }
        // Here, not later: a tree is as deep as its text.
        if depth >= context.depth_max {
            return Err(context.refuse(None, Reason::Depth(context.depth_max)));
        }
        let mut fields = Vec::new();
        while let Some(field) = items.next_element_seed(ItemSeed { context, depth: depth + 1 })? {
            fields.push(field);
        }
        Ok(Value::Fields(fields))
    }
}
