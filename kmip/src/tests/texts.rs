//! The text encodings: any message is the same after XML and after JSON, broken texts are read or refused, and both
//! encodings say the same.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::event::{Sink, TtlvSink};
use crate::samples::seeds;
use crate::ttlv::{Frame, Limits, Type};
use crate::{Tag, json, xml};

fn of_events(events: impl FnOnce(&mut dyn Sink)) -> Vec<u8> {
    let mut sink = TtlvSink::new();
    events(&mut sink);
    sink.into_bytes().to_vec()
}

fn to_xml(bytes: &[u8]) -> String {
    xml::write(bytes, &Limits::default(), xml::Masking::None).expect("own bytes parse").to_string()
}

fn to_json(bytes: &[u8]) -> String {
    json::write(bytes, &Limits::default()).expect("own bytes parse").to_string()
}

fn from_xml(text: &str) -> Result<Vec<u8>, xml::Error> {
    let mut sink = TtlvSink::new();
    xml::read(text, &mut sink, xml::Limits::default())?;
    Ok(sink.into_bytes().to_vec())
}

fn from_json(text: &str) -> Result<Vec<u8>, json::Error> {
    let mut sink = TtlvSink::new();
    json::read(text, &mut sink, json::Limits::default())?;
    Ok(sink.into_bytes().to_vec())
}

/// Any well-formed message: a tree of items with tags known and unknown.
#[derive(Clone, Debug)]
enum Node {
    Structure(u32, Vec<Self>),
    Integer(u32, i32),
    LongInteger(u32, i64),
    BigInteger(u32, Vec<u8>),
    Enumeration(u32, u32),
    Boolean(u32, bool),
    Text(u32, String),
    Bytes(u32, Vec<u8>),
    DateTime(u32, i64),
    Interval(u32, u32),
    DateTimeExtended(u32, i64),
    Reference(u32, Type, String),
}

impl Node {
    fn send(&self, sink: &mut dyn Sink) {
        match self {
            Self::Structure(tag, fields) => {
                sink.start_structure(Tag(*tag));
                fields.iter().for_each(|field| field.send(sink));
                sink.end_structure();
            }
            Self::Integer(tag, value) => sink.integer(Tag(*tag), *value),
            Self::LongInteger(tag, value) => sink.long_integer(Tag(*tag), *value),
            Self::BigInteger(tag, value) => sink.big_integer(Tag(*tag), value),
            Self::Enumeration(tag, value) => sink.enumeration(Tag(*tag), *value),
            Self::Boolean(tag, value) => sink.boolean(Tag(*tag), *value),
            Self::Text(tag, value) => sink.text_string(Tag(*tag), value),
            Self::Bytes(tag, value) => sink.byte_string(Tag(*tag), value),
            Self::DateTime(tag, value) => sink.date_time(Tag(*tag), *value),
            Self::Interval(tag, value) => sink.interval(Tag(*tag), *value),
            Self::DateTimeExtended(tag, value) => sink.date_time_extended(Tag(*tag), *value),
            Self::Reference(tag, item_type, value) => sink.reference(Tag(*tag), *item_type, value),
        }
    }
}

fn tag() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0x42_0001..0x42_0150_u32, 1 => 0x54_0000..0x54_0010_u32]
}

fn leaf() -> impl Strategy<Value = Node> {
    prop_oneof![
        (tag(), any::<i32>()).prop_map(|(t, v)| Node::Integer(t, v)),
        (tag(), any::<i64>()).prop_map(|(t, v)| Node::LongInteger(t, v)),
        (tag(), proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|(t, v)| Node::BigInteger(t, v)),
        (tag(), prop_oneof![any::<u32>(), 0..64_u32]).prop_map(|(t, v)| Node::Enumeration(t, v)),
        (tag(), any::<bool>()).prop_map(|(t, v)| Node::Boolean(t, v)),
        (tag(), "[ -~\t\n\r\u{85}-\u{fffd}\u{10000}-\u{10ffff}]{0,20}").prop_map(|(t, v)| Node::Text(t, v)),
        (tag(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(t, v)| Node::Bytes(t, v)),
        (tag(), any::<i64>()).prop_map(|(t, v)| Node::DateTime(t, v)),
        (tag(), -60_000_000_000..250_000_000_000_i64).prop_map(|(t, v)| Node::DateTime(t, v)),
        (tag(), any::<u32>()).prop_map(|(t, v)| Node::Interval(t, v)),
        (tag(), any::<i64>()).prop_map(|(t, v)| Node::DateTimeExtended(t, v)),
        (tag(), proptest::sample::select(vec![Type::Identifier, Type::Reference, Type::NameReference]), "[ -~]{0,20}")
            .prop_map(|(t, k, v)| Node::Reference(t, k, v)),
    ]
}

fn message() -> impl Strategy<Value = Node> {
    let node = leaf().prop_recursive(4, 40, 6, |inner| {
        (tag(), proptest::collection::vec(inner, 0..6)).prop_map(|(t, fields)| Node::Structure(t, fields))
    });
    (tag(), proptest::collection::vec(node, 0..6)).prop_map(|(t, fields)| Node::Structure(t, fields))
}

proptest! {
    #[test]
    fn ttlv_to_xml_to_ttlv_is_the_identity(node in message()) {
        let bytes = of_events(|sink| node.send(sink));
        let text = to_xml(&bytes);
        prop_assert_eq!(from_xml(&text), Ok(bytes), "{}", text);
    }

    #[test]
    fn ttlv_to_json_to_ttlv_is_the_identity(node in message()) {
        let bytes = of_events(|sink| node.send(sink));
        let text = to_json(&bytes);
        prop_assert_eq!(from_json(&text), Ok(bytes), "{}", text);
        // What this crate writes is JSON to others too.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn any_xml_text_is_read_or_refused(text in "[<>/=\" A-Za-z0-9$&;#!?\\[\\]-]{0,60}") {
        let _ = from_xml(&text);
    }

    #[test]
    fn any_json_text_is_read_or_refused(text in "[{}:,\" taglvuey0-9x\\[\\].eE+-]{0,60}") {
        let _ = from_json(&text);
    }
}

/// Every kind of message that this crate writes, in every version.
#[test]
fn samples_are_the_same_after_xml_and_json() {
    let mut in_xml = 0;
    for seed in seeds() {
        let json = to_json(&seed);
        assert!(from_json(&json).is_ok_and(|bytes| bytes == seed), "{json}");
        let xml = to_xml(&seed);
        // XML has no way to write most control characters.
        if !xml.contains('\u{fffd}') {
            assert!(from_xml(&xml).is_ok_and(|bytes| bytes == seed), "{xml}");
            in_xml += 1;
        }
    }
    assert!(in_xml > 20, "only {in_xml} samples without control characters");
}

/// Goal: a text with a changed, missing or doubled byte is read as some message or refused at a place inside it.
/// Method: three seconds of changes to the texts of samples.
#[test]
fn changed_texts_are_survived() {
    let deadline = Instant::now() + Duration::from_secs(3);
    let corpus: Vec<(String, String)> = seeds().iter().map(|seed| (to_xml(seed), to_json(seed))).collect();
    let mut random = 1_u64;
    let mut number = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % bound.max(1)
    };
    while Instant::now() < deadline {
        let (xml, json) = &corpus[number(corpus.len())];
        for (text, is_xml) in [(xml, true), (json, false)] {
            let mut bytes = text.clone().into_bytes();
            let at = number(bytes.len());
            match number(4) {
                0 => bytes[at] = b"<>/\"{}[]:,&0x"[number(13)],
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                _ => {
                    let end = (at + number(200)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let read = if is_xml { from_xml(&changed) } else { from_json(&changed) };
            match read {
                Ok(bytes) => {
                    // A simple item by itself is read too; all else is a frame.
                    if bytes[3] == Type::Structure as u8 {
                        let frame = Frame::parse(&bytes, &Limits::default());
                        assert!(frame.is_ok(), "{frame:?}: {changed}");
                    }
                }
                Err(error) => assert!(error.position <= changed.len(), "{error}: {changed}"),
            }
        }
    }
}
