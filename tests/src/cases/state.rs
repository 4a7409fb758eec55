//! What placeholders stand for, and what has been learnt about the objects of a case.

use std::collections::HashMap;

use keygate_kmip::Tag;

use super::file::Node;
use crate::names;
use crate::ttlv::{Item, Value};

/// Dates that requests gave: by tag and text, the moments they stood for.
pub type GivenDates = HashMap<(u32, String), Vec<i64>>;

/// Knowledge gathered while a case runs.
#[derive(Clone, Debug)]
pub struct State {
    /// The moment `$NOW` means, in seconds since 1970.
    pub now: i64,
    bound: HashMap<String, Value>,
    /// What earlier files of a sequence bound: requests may use it, responses bind anew.
    inherited: HashMap<String, Value>,
    /// Values of response fields by tag, in order of appearance.
    seen: HashMap<u32, Vec<Value>>,
    /// Objects by unique identifier.
    objects: HashMap<String, Origin>,
    /// Dates that requests gave: by tag and the text in the case.
    dates: GivenDates,
}

/// Where an object's material comes from, and how it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The server made the material: its bytes cannot be expected.
    pub generated: bool,
    /// Cryptographic Algorithm, where the request told.
    pub algorithm: Option<u32>,
    /// Padding Method in the object's Cryptographic Parameters.
    pub padding: Option<u32>,
    /// Random IV in the object's Cryptographic Parameters.
    pub random_iv: bool,
}

impl State {
    /// Nothing known yet.
    #[must_use]
    pub fn new(now: i64) -> Self {
        let (bound, inherited, seen, objects, dates) = Default::default();
        Self { now, bound, inherited, seen, objects, dates }
    }

    /// The next file of a sequence begins, on the same store.
    pub fn next_file(&mut self) {
        let bound = std::mem::take(&mut self.bound);
        self.inherited.extend(bound);
    }

    /// What a placeholder stands for, if anything yet.
    #[must_use]
    pub fn bound(&self, name: &str) -> Option<&Value> {
        self.bound.get(name)
    }

    /// Binds a placeholder.
    pub fn bind(&mut self, name: &str, value: Value) {
        self.bound.insert(name.to_owned(), value);
    }

    /// Notes every simple field of a response, for placeholders that mean a field by its name.
    pub fn note_response(&mut self, item: &Item) {
        match &item.value {
            Value::Structure(fields) => fields.iter().for_each(|field| self.note_response(field)),
            value => self.seen.entry(item.tag).or_default().push(value.clone()),
        }
    }

    /// What is known of an object.
    #[must_use]
    pub fn origin(&self, identifier: &str) -> Origin {
        self.objects.get(identifier).copied().unwrap_or_default()
    }

    /// Learns about an object.
    pub fn learn(&mut self, identifier: &str, origin: Origin) {
        self.objects.insert(identifier.to_owned(), origin);
    }

    /// The dates that requests gave under this tag with this text.
    #[must_use]
    pub fn given_dates(&self, tag: u32, text: &str) -> &[i64] {
        self.dates.get(&(tag, text.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The dates that requests gave so far.
    #[must_use]
    pub fn given(&self) -> &GivenDates {
        &self.dates
    }

    /// Goes back to the dates given before.
    pub fn restore_given(&mut self, dates: GivenDates) {
        self.dates = dates;
    }

    /// The item a request node stands for.
    ///
    /// # Errors
    /// If a placeholder is unbound or a value is not understood.
    pub fn request_item(&mut self, node: &Node) -> Result<Item, String> {
        self.item(node, None)
    }

    fn item(&mut self, node: &Node, attribute: Option<u32>) -> Result<Item, String> {
        if node.is_structure() {
            let attribute = attribute_of(node).or_else(|| attribute.filter(|_| node.tag != ATTRIBUTE_VALUE));
            let fields: Result<_, _> = node.fields.iter().map(|field| self.item(field, attribute)).collect();
            return Ok(Item::structure(node.tag, fields?));
        }
        let value = match node.placeholder() {
            Some(name) => self.substitute(name, node)?.in_type(&node.item_type),
            None => literal(node, attribute, self.now)?,
        };
        if let Value::DateTime(at) = value {
            let tag = if node.tag == ATTRIBUTE_VALUE { attribute.unwrap_or(node.tag) } else { node.tag };
            self.dates.entry((tag, node.text.clone())).or_default().push(at);
        }
        Ok(Item::new(node.tag, value))
    }

    /// The bound value; else the field of an earlier response that the placeholder names, `_0` the first, no number the newest.
    fn substitute(&self, name: &str, node: &Node) -> Result<Value, String> {
        if let Some(value) = self.bound.get(name).or_else(|| self.inherited.get(name)) {
            return Ok(value.clone());
        }
        let (field, number) = match name.rsplit_once('_') {
            Some((field, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => (field, number.parse().ok()),
            _ => (name, None::<usize>),
        };
        let tag = if field == "ENCRYPTED_VALUE" { Some(DATA) } else { names::tag(field) };
        let seen = tag.and_then(|tag| self.seen.get(&tag)).map_or(&[][..], Vec::as_slice);
        let value = if field == "ENCRYPTED_VALUE" { seen.last() } else { number.map_or(seen.last(), |n| seen.get(n)) };
        value
            .cloned()
            .ok_or_else(|| format!("{} refers to ${name}, which no response has given", names::tag_name(node.tag)))
    }
}

/// The attribute an Attribute structure of 1.x is about.
#[must_use]
pub fn attribute_of(node: &Node) -> Option<u32> {
    node.field(ATTRIBUTE_NAME).and_then(|name| names::attribute(&name.text))
}

/// The value a node without placeholder stands for. `attribute` types an Attribute Value.
///
/// # Errors
/// If it is not understood.
pub fn literal(node: &Node, attribute: Option<u32>, now: i64) -> Result<Value, String> {
    let tag = if node.tag == ATTRIBUTE_VALUE { attribute.unwrap_or(node.tag) } else { node.tag };
    let text = node.text.as_str();
    let value = match node.item_type.as_str() {
        "Integer" => names::integer(tag, text).map(Value::Integer),
        "LongInteger" => text.parse().ok().map(Value::LongInteger),
        "BigInteger" => big_integer(text).map(Value::BigInteger),
        "Identifier" => Some(Value::Identifier(text.to_owned())),
        "Reference" => Some(Value::Reference(text.to_owned())),
        "NameReference" => Some(Value::NameReference(text.to_owned())),
        "Enumeration" if tag == PKCS_11_FUNCTION => pkcs11_function(text).map(Value::Enumeration),
        "Enumeration" if tag == PKCS_11_RETURN_CODE && text == "OK" => Some(Value::Enumeration(0)),
        // 2.x and 3.0: Unique Identifier Enumeration, which no tag of its own names.
        "Enumeration" if tag == Tag::UNIQUE_IDENTIFIER.0 && text == "IDPlaceholder" => Some(Value::Enumeration(1)),
        "Enumeration" => names::enumeration(tag, text).map(Value::Enumeration),
        "Boolean" => text.parse().ok().map(Value::Boolean),
        "TextString" => Some(Value::TextString(text.to_owned())),
        "ByteString" => hex::decode(text.replace(' ', "")).ok().map(Value::ByteString),
        "DateTime" => date_time(text, now).map(Value::DateTime),
        "Interval" => text.parse().ok().map(Value::Interval),
        _ => None,
    };
    value.ok_or_else(|| format!("{} `{text}` is no {}", names::tag_name(tag), node.item_type))
}

fn date_time(text: &str, now: i64) -> Option<i64> {
    if let Some(offset) = text.strip_prefix("$NOW") {
        return if offset.is_empty() { Some(now) } else { offset.parse::<i64>().ok().map(|offset| now + offset) };
    }
    let rfc3339 = time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, &rfc3339).ok().map(time::OffsetDateTime::unix_timestamp)
}

fn big_integer(text: &str) -> Option<Vec<u8>> {
    let text = text.replace(' ', "");
    let bytes = hex::decode(if text.len() % 2 == 1 { format!("0{text}") } else { text }).ok()?;
    let sign = if *bytes.first()? & 0x80 != 0 { 0xFF } else { 0 };
    let mut padded = vec![sign; bytes.len().next_multiple_of(8) - bytes.len()];
    padded.extend_from_slice(&bytes);
    Some(padded)
}

/// PKCS#11 functions are numbered by their place in `CK_FUNCTION_LIST`, from 1.
fn pkcs11_function(name: &str) -> Option<u32> {
    let place = FUNCTION_LIST.iter().position(|function| *function == name.trim_start_matches("C_"))?;
    u32::try_from(place + 1).ok()
}

/// Tag of Attribute Name.
pub const ATTRIBUTE_NAME: u32 = 0x42_000A;
/// Tag of Attribute Value.
pub const ATTRIBUTE_VALUE: u32 = 0x42_000B;
const DATA: u32 = 0x42_00C2;
const PKCS_11_FUNCTION: u32 = 0x42_015A;
const PKCS_11_RETURN_CODE: u32 = 0x42_015D;

const FUNCTION_LIST: &[&str] = &[
    "Initialize",
    "Finalize",
    "GetInfo",
    "GetFunctionList",
    "GetSlotList",
    "GetSlotInfo",
    "GetTokenInfo",
    "GetMechanismList",
    "GetMechanismInfo",
    "InitToken",
    "InitPIN",
    "SetPIN",
    "OpenSession",
    "CloseSession",
    "CloseAllSessions",
    "GetSessionInfo",
    "GetOperationState",
    "SetOperationState",
    "Login",
    "Logout",
    "CreateObject",
    "CopyObject",
    "DestroyObject",
    "GetObjectSize",
    "GetAttributeValue",
    "SetAttributeValue",
    "FindObjectsInit",
    "FindObjects",
    "FindObjectsFinal",
    "EncryptInit",
    "Encrypt",
    "EncryptUpdate",
    "EncryptFinal",
    "DecryptInit",
    "Decrypt",
    "DecryptUpdate",
    "DecryptFinal",
    "DigestInit",
    "Digest",
    "DigestUpdate",
    "DigestKey",
    "DigestFinal",
    "SignInit",
    "Sign",
    "SignUpdate",
    "SignFinal",
    "SignRecoverInit",
    "SignRecover",
    "VerifyInit",
    "Verify",
    "VerifyUpdate",
    "VerifyFinal",
    "VerifyRecoverInit",
    "VerifyRecover",
    "DigestEncryptUpdate",
    "DecryptDigestUpdate",
    "SignEncryptUpdate",
    "DecryptVerifyUpdate",
    "GenerateKey",
    "GenerateKeyPair",
    "WrapKey",
    "UnwrapKey",
    "DeriveKey",
    "SeedRandom",
    "GenerateRandom",
    "GetFunctionStatus",
    "CancelFunction",
    "WaitForSlotEvent",
];
