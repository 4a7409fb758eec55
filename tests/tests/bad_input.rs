//! Goal: whatever bytes arrive, the client gets the specific KMIP result reason, the connection or the server survives as it
//! should, and others are served.
//! Method: a table of messages over real TLS, each with its expected result reason; then an honest request on the same server.

use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, enumeration, integer, structure, text};
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);

fn discover() -> Item {
    request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())])
}

/// A message whose one payload holds `fields`.
fn get_with(fields: Vec<Item>) -> Vec<u8> {
    request::message(V1_4, vec![(Operation::Get, fields)]).encode()
}

/// Replaces bytes that occur once.
fn patched(mut message: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = message.windows(from.len()).position(|window| window == from).expect("the bytes are there");
    message[at..at + from.len()].copy_from_slice(to);
    message
}

fn nested(depth: usize) -> Item {
    (0..depth).fold(text(Tag::UNIQUE_IDENTIFIER, "1"), |inner, _| structure(Tag::ATTRIBUTE_VALUE, vec![inner]))
}

/// Name, message, expected reason.
fn table() -> Vec<(&'static str, Vec<u8>, ResultReason)> {
    let identifier = || text(Tag::UNIQUE_IDENTIFIER, "abcdefgh");
    let with_item = |item: Vec<Item>| {
        let header = request::header(V1_4, 1, Vec::new());
        structure(Tag::REQUEST_MESSAGE, vec![header, structure(Tag::BATCH_ITEM, item)]).encode()
    };
    let versioned = |version| request::message(version, vec![(Operation::DiscoverVersions, Vec::new())]).encode();
    let batch = |count: usize| {
        request::message(V1_4, (0..count).map(|_| (Operation::DiscoverVersions, Vec::new())).collect()).encode()
    };
    let miscounted = structure(Tag::REQUEST_MESSAGE, vec![request::header(V1_4, 2, Vec::new())]).encode();
    vec![
        (
            "truncated inside an item",
            patched(get_with(vec![identifier()]), &[0x94, 7, 0, 0, 0, 8], &[0x94, 7, 0, 0, 0, 99]),
            ResultReason::InvalidMessage,
        ),
        ("nested 40 deep", get_with(vec![nested(40)]), ResultReason::InvalidMessage),
        ("nested 100,000 deep", deep(100_000), ResultReason::InvalidMessage),
        ("an item of another type", get_with(vec![integer(Tag::UNIQUE_IDENTIFIER, 1)]), ResultReason::InvalidMessage),
        (
            "an unknown item type",
            patched(get_with(vec![identifier()]), &[0x42, 0, 0x94, 7], &[0x42, 0, 0x94, 0x3F]),
            ResultReason::InvalidMessage,
        ),
        (
            "an integer of eight bytes",
            patched(get_with(vec![integer(Tag::MAXIMUM_ITEMS, 1)]), &[0x4F, 2, 0, 0, 0, 4], &[0x4F, 2, 0, 0, 0, 8]),
            ResultReason::InvalidMessage,
        ),
        (
            "text that is not UTF-8",
            patched(get_with(vec![identifier()]), b"abcdefgh", b"abc\xFF\xFEfgh"),
            ResultReason::InvalidMessage,
        ),
        (
            "padding that is not zero",
            patched(get_with(vec![text(Tag::UNIQUE_IDENTIFIER, "abc")]), b"abc\0\0\0\0\0", b"abc\0\0\0\0\x01"),
            ResultReason::InvalidMessage,
        ),
        (
            "a tag outside the ranges",
            patched(get_with(vec![identifier()]), &[0x42, 0, 0x94, 7], &[0x41, 0, 0x94, 7]),
            ResultReason::InvalidMessage,
        ),
        (
            "an unknown tag",
            get_with(vec![identifier(), Item::new(0x42_FFF0, Value::Integer(1))]),
            ResultReason::InvalidMessage,
        ),
        (
            "an unknown operation",
            with_item(vec![enumeration(Tag::OPERATION, 0x7777), structure(Tag::REQUEST_PAYLOAD, Vec::new())]),
            ResultReason::OperationNotSupported,
        ),
        ("no operation", with_item(vec![structure(Tag::REQUEST_PAYLOAD, Vec::new())]), ResultReason::InvalidMessage),
        ("no payload", with_item(vec![enumeration(Tag::OPERATION, 0x0A)]), ResultReason::InvalidMessage),
        ("version 9.0", versioned((9, 0)), ResultReason::UnsupportedProtocolVersion),
        ("version 0.9", versioned((0, 9)), ResultReason::InvalidMessage),
        ("10,001 batch items", batch(10_001), ResultReason::InvalidField),
        ("fewer batch items than counted", miscounted, ResultReason::InvalidField),
        ("no header", structure(Tag::REQUEST_MESSAGE, Vec::new()).encode(), ResultReason::InvalidMessage),
        (
            "a response",
            structure(Tag::RESPONSE_MESSAGE, vec![request::header(V1_4, 0, Vec::new())]).encode(),
            ResultReason::InvalidMessage,
        ),
    ]
}

/// Structures within structures, written directly: building the tree would recurse.
fn deep(depth: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(depth * 8);
    for level in 0..depth {
        let length = u32::try_from((depth - level - 1) * 8).expect("a short message");
        message.extend_from_slice(if level == 0 { &[0x42, 0x00, 0x78, 1] } else { &[0x42, 0x00, 0x0B, 1] });
        message.extend_from_slice(&length.to_be_bytes());
    }
    message
}

fn is_served(gateway: &TestGateway) {
    let answer = gateway.connect("b").request(&discover()).expect("another client is served");
    assert!(request::outcome(&answer).is_ok());
}

#[test]
fn every_malformed_message_gets_its_reason() {
    let gateway = Setup::new().start();
    let mut failures = Vec::new();
    for (name, message, expected) in table() {
        let mut client = gateway.connect("a");
        let outcome = match client.exchange(&message) {
            Ok(answer) => check_refusal(&answer, expected),
            Err(error) => Err(format!("no answer: {error}")),
        };
        if let Err(what) = outcome {
            failures.push(format!("{name}: {what}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    is_served(&gateway);
}

/// The answer is a response message, in a version clients read, whose one item fails with the reason.
fn check_refusal(answer: &[u8], expected: ResultReason) -> Result<(), String> {
    let answer = Item::decode(answer).map_err(|error| error.to_string())?;
    if answer.tag != Tag::RESPONSE_MESSAGE.0 {
        return Err(format!("not a response message: {answer:?}"));
    }
    match answer.find(Tag::PROTOCOL_VERSION_MAJOR.0).map(|item| &item.value) {
        Some(Value::Integer(1 | 2)) => {}
        other => return Err(format!("answered in version {other:?}")),
    }
    match request::outcome(&answer) {
        Err((reason, message)) if reason == expected.code() && !message.is_empty() => Ok(()),
        Err((reason, message)) => Err(format!("expected {expected}, got reason {reason:#x}: {message}")),
        Ok(payload) => Err(format!("expected {expected}, got success {payload:?}")),
    }
}

/// A length over the limit is refused from the header alone: nothing is allocated, nothing more is read.
#[test]
fn an_oversized_message_is_refused_from_its_header() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    for length in [(1_u32 << 20) + 8, u32::MAX - 7] {
        let mut header = vec![0x42, 0x00, 0x78, 0x01];
        header.extend_from_slice(&length.to_be_bytes());
        let answer = client.exchange(&header).expect("an answer");
        check_refusal(&answer, ResultReason::InvalidMessage).expect("a refusal");
        assert!(client.is_closed(), "what follows cannot be told apart from the message");
        client = gateway.connect("a");
    }
    is_served(&gateway);
}

#[test]
fn what_is_not_kmip_is_answered_and_the_connection_closed() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    client.send(b"\x00\x00hello, world\r\n").expect("sent");
    let _ = client.receive();
    assert!(client.is_closed());
    is_served(&gateway);
}

/// A batch at the limit works: the limit is where it is said to be.
#[test]
fn a_batch_of_ten_thousand_items_is_served() {
    let gateway = Setup::new().start();
    let items = (0..10_000).map(|_| (Operation::DiscoverVersions, vec![])).collect();
    let message = request::message(V1_4, items).encode();
    assert!(message.len() < 1 << 20, "the message is within the size limit");
    let answer = gateway.connect("a").exchange(&message).expect("an answer");
    let answer = Item::decode(&answer).expect("TTLV");
    assert_eq!(answer.fields().iter().filter(|field| field.tag == Tag::BATCH_ITEM.0).count(), 10_000);
}

/// Every prefix and every single flipped byte of a real message: an answer or a closed connection, never a hang or a crash.
#[test]
fn flipped_bytes_never_hang_the_server() {
    let gateway = Setup::new().set("limits.frame_seconds", "1").start();
    let message = request::create_aes(V1_4, 256, Some("flip")).encode();
    let mut client: Option<TlsKmipClient> = None;
    for at in 8..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 0x11;
        let mut open = client.take().unwrap_or_else(|| gateway.connect("a"));
        if open.exchange(&changed).is_ok() {
            client = Some(open);
        }
    }
    is_served(&gateway);
}
