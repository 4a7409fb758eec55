//! What a hostile or broken client may send: each kind of fault is told by its own error at its own place, and costs
//! no more memory than a small multiple of the message.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use keygate_kmip::ttlv::{DecodeError, DecodeErrorKind as Kind, Frame, Limits, Type, Writer, frame_length};
use keygate_kmip::{Operation, ProtocolVersion, RequestHeader, RequestMessage, RequestPayload, Tag, encode_request};

const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

/// Where an item of a message built by [`message`] begins: after the outermost header.
const FIRST: usize = 8;

/// A frame with one item, given header and value bytes.
fn message(item: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x42, 0x00, 0x78, 0x01];
    bytes.extend_from_slice(&(item.len() as u32).to_be_bytes());
    bytes.extend_from_slice(item);
    bytes
}

/// An item from its parts, unchecked.
fn item(tag: u32, item_type: u8, length: u32, value: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = tag.to_be_bytes();
    let mut bytes = vec![a, b, c, item_type];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

fn refusal(bytes: &[u8]) -> (Kind, usize) {
    let error = Frame::parse(bytes, &Limits::default()).map(|frame| frame.root()).expect_err("a bad frame");
    (error.kind, error.at)
}

#[test]
fn each_malformed_item_has_its_own_error() {
    let tag = Tag::BATCH_COUNT;
    let bad_length = |item_type, length| Kind::BadLength { tag, item_type, length };
    let cases: &[(&str, Vec<u8>, Kind)] = &[
        ("integer of eight bytes", item(tag.0, 2, 8, &[0; 8]), bad_length(Type::Integer, 8)),
        ("long integer of four bytes", item(tag.0, 3, 4, &[0; 8]), bad_length(Type::LongInteger, 4)),
        ("big integer of nothing", item(tag.0, 4, 0, &[]), bad_length(Type::BigInteger, 0)),
        ("big integer of four bytes", item(tag.0, 4, 4, &[0; 8]), bad_length(Type::BigInteger, 4)),
        ("enumeration of nothing", item(tag.0, 5, 0, &[]), bad_length(Type::Enumeration, 0)),
        ("boolean of four bytes", item(tag.0, 6, 4, &[0; 8]), bad_length(Type::Boolean, 4)),
        ("date of four bytes", item(tag.0, 9, 4, &[0; 8]), bad_length(Type::DateTime, 4)),
        ("interval of eight bytes", item(tag.0, 10, 8, &[0; 8]), bad_length(Type::Interval, 8)),
        ("structure of nine bytes", item(tag.0, 1, 9, &[0; 16]), bad_length(Type::Structure, 9)),
        ("integer with padding", item(tag.0, 2, 4, &[0, 0, 0, 1, 0, 0, 0, 1]), Kind::BadPadding(tag)),
        ("text with padding", item(tag.0, 7, 1, b"a\0\0\0\0\0\0b"), Kind::BadPadding(tag)),
        ("boolean 2", item(tag.0, 6, 8, &[0, 0, 0, 0, 0, 0, 0, 2]), Kind::BadBoolean(tag)),
        ("boolean with a high byte", item(tag.0, 6, 8, &[1, 0, 0, 0, 0, 0, 0, 1]), Kind::BadBoolean(tag)),
        ("text that is not UTF-8", item(tag.0, 7, 2, &[0xC3, 0x28, 0, 0, 0, 0, 0, 0]), Kind::BadText(tag)),
        ("an encoded surrogate", item(tag.0, 7, 3, &[0xED, 0xA0, 0x80, 0, 0, 0, 0, 0]), Kind::BadText(tag)),
        ("item type 0", item(tag.0, 0, 0, &[]), Kind::BadType { tag, code: 0 }),
        ("an item type beyond those of 3.0", item(tag.0, 15, 0, &[]), Kind::BadType { tag, code: 15 }),
        ("an identifier of 3.0 that is not UTF-8", item(tag.0, 12, 2, &[0xC3, 0x28, 0, 0, 0, 0, 0, 0]), Kind::BadText(tag)),
        ("tag 0", item(0, 2, 4, &[0; 8]), Kind::BadTag(0)),
        ("a tag of no range", item(0x43_0001, 2, 4, &[0; 8]), Kind::BadTag(0x43_0001)),
        ("a value beyond its structure", item(tag.0, 8, 16, &[0; 8]), Kind::Truncated(tag)),
        ("a value of 4 GiB", item(tag.0, 8, u32::MAX, &[0; 8]), Kind::Truncated(tag)),
        ("a header cut in half", vec![0x42, 0, 0x0D, 2, 0, 0, 0, 4], Kind::Truncated(tag)),
    ];
    for (name, bytes, kind) in cases {
        assert_eq!(refusal(&message(bytes)), (kind.clone(), FIRST), "{name}");
    }
}

#[test]
fn the_outermost_header_is_judged_before_the_rest_is_read() {
    let limits = Limits::default();
    let fault = |header: [u8; 8]| frame_length(header, &limits).map_err(|error| error.kind);
    assert_eq!(fault([0x42, 0, 0x78, 1, 0, 0, 0, 16]), Ok(24));
    assert_eq!(fault(*b"GET / HT"), Err(Kind::BadTag(0x47_4554)));
    assert_eq!(fault([0x16, 3, 1, 0, 0, 0, 0, 0]), Err(Kind::BadTag(0x16_0301)));
    assert_eq!(fault([0x42, 0, 0x78, 8, 0, 0, 0, 0]), Err(Kind::BadType { tag: Tag::REQUEST_MESSAGE, code: 8 }));
    let limit = limits.message_bytes_max;
    assert_eq!(fault([0x42, 0, 0x78, 1, 0, 0x10, 0, 0]), Err(Kind::TooLarge { length: limit + 8, limit }));
    let length = u32::MAX as usize + 8;
    assert_eq!(fault([0x42, 0, 0x78, 1, 0xFF, 0xFF, 0xFF, 0xFF]), Err(Kind::TooLarge { length, limit }));
}

#[test]
fn bytes_after_a_message_are_refused() {
    let mut bytes = message(&item(Tag::BATCH_COUNT.0, 2, 4, &[0; 8]));
    let length = bytes.len();
    bytes.extend_from_slice(&[0; 8]);
    assert_eq!(refusal(&bytes), (Kind::TrailingBytes(8), length));
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| {
        let mut writer = Writer::new();
        let open: Vec<_> = (0..depth).map(|_| writer.begin(Tag::REQUEST_MESSAGE)).collect();
        open.into_iter().rev().for_each(|structure| writer.end(structure));
        writer.into_bytes().to_vec()
    };
    assert!(Frame::parse(&nested(32), &Limits::default()).is_ok());
    assert_eq!(refusal(&nested(33)), (Kind::TooDeep(32), 32 * 8));
    assert_eq!(refusal(&nested(100_000)), (Kind::TooDeep(32), 32 * 8));
}

#[test]
fn items_are_limited() {
    let limits = Limits { items_max: 100, ..Limits::default() };
    let many = |count: usize| message(&item(Tag::COMMENT.0, 7, 0, &[]).repeat(count));
    assert!(Frame::parse(&many(99), &limits).is_ok());
    let error = Frame::parse(&many(100), &limits).map(|frame| frame.root()).expect_err("101 items");
    assert_eq!(error, DecodeError { kind: Kind::TooManyItems(100), at: FIRST + 99 * 8 });
}

fn ping_items(count: i32, told: i32) -> Vec<u8> {
    let header = RequestHeader::new(V2_1, told);
    let ping = RequestPayload::Ping(keygate_kmip::PingRequest {});
    encode_request(&header, &vec![ping; count as usize]).to_vec()
}

fn parse_error(bytes: &[u8], batch_items_max: usize) -> DecodeError {
    let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
    RequestMessage::parse(&frame, batch_items_max).map(|message| message.header).expect_err("a bad request")
}

#[test]
fn batch_items_are_counted() {
    let bytes = ping_items(10_001, 10_001);
    let error = parse_error(&bytes, 10_000);
    let rule = "more batch items than the server accepts";
    assert_eq!(error.kind, Kind::BadValue { tag: Tag::BATCH_COUNT, rule });
    assert_eq!(&bytes[error.at..error.at + 3], [0x42, 0, 0x0F], "at the item that is too many");
    for told in [0, 1, 3, -1, i32::MAX] {
        let error = parse_error(&ping_items(2, told), 10_000);
        assert_eq!(
            error.kind,
            Kind::BadValue { tag: Tag::BATCH_COUNT, rule: "differs from the number of batch items" }
        );
        assert_eq!(error.at, FIRST, "at the header");
    }
}

/// A request whose one item is written by a closure, and the place where that item's fields begin.
fn request(version: ProtocolVersion, fields: impl FnOnce(&mut Writer)) -> (Vec<u8>, usize) {
    use keygate_kmip::Field;
    let mut writer = Writer::new();
    let message = writer.begin(Tag::REQUEST_MESSAGE);
    RequestHeader::new(version, 1).encode(Tag::REQUEST_HEADER, &mut writer, version);
    let batch_item = writer.begin(Tag::BATCH_ITEM);
    let at = writer.bytes().len();
    fields(&mut writer);
    writer.end(batch_item);
    writer.end(message);
    (writer.into_bytes().to_vec(), at)
}

/// An item of an operation with a payload written by a closure; and where the payload's fields begin.
fn payload_of(version: ProtocolVersion, operation: u32, fields: impl FnOnce(&mut Writer)) -> (Vec<u8>, usize) {
    let (bytes, at) = request(version, |writer| {
        writer.enumeration(Tag::OPERATION, operation);
        writer.structure(Tag::REQUEST_PAYLOAD, fields);
    });
    (bytes, at + 16 + 8)
}

/// The error of the only item's payload.
fn payload_error(bytes: &[u8]) -> DecodeError {
    let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
    let message = RequestMessage::parse(&frame, 1).expect("a request");
    message.items[0].payload().expect_err("a bad payload")
}

#[test]
fn unknown_operations_are_told_at_the_operation() {
    let ping = Operation::Ping.code();
    for (version, code) in [(V2_1, 0x7F), (V2_1, 0x8000_0001), (V1_4, ping), (V2_1, Operation::SetDefaults.code())] {
        let (bytes, payload) = payload_of(version, code, |_| {});
        let expected = DecodeError { kind: Kind::UnknownValue { tag: Tag::OPERATION, code }, at: payload - 24 };
        assert_eq!(payload_error(&bytes), expected, "0x{code:X} in {version}");
    }
}

#[test]
fn each_fault_of_a_payload_has_its_own_error() {
    let operation = |operation: Operation| operation.code();
    let within = Tag::REQUEST_PAYLOAD;
    // Name, version, operation, payload, error, place among the payload's fields.
    type Case = (&'static str, ProtocolVersion, Operation, fn(&mut Writer), Kind, usize);
    let cases: &[Case] = &[
        (
            "an identifier that is an integer",
            V1_4,
            Operation::Get,
            |writer| writer.integer(Tag::UNIQUE_IDENTIFIER, 1),
            Kind::WrongType { tag: Tag::UNIQUE_IDENTIFIER, found: Type::Integer, expected: Type::TextString },
            0,
        ),
        (
            "an object type that no version has",
            V1_4,
            Operation::Create,
            |writer| writer.enumeration(Tag::OBJECT_TYPE, 0x77),
            Kind::UnknownValue { tag: Tag::OBJECT_TYPE, code: 0x77 },
            0,
        ),
        (
            "an object type of a later version",
            V1_4,
            Operation::Create,
            |writer| writer.enumeration(Tag::OBJECT_TYPE, 0x0A),
            Kind::UnknownValue { tag: Tag::OBJECT_TYPE, code: 0x0A },
            0,
        ),
        (
            "a field that is missing",
            V1_4,
            Operation::Create,
            |writer| writer.enumeration(Tag::OBJECT_TYPE, 2),
            Kind::Missing { missing: Tag::TEMPLATE_ATTRIBUTE, within },
            16,
        ),
        (
            "nothing where an object should be",
            V1_4,
            Operation::Register,
            |writer| {
                writer.enumeration(Tag::OBJECT_TYPE, 2);
                writer.structure(Tag::TEMPLATE_ATTRIBUTE, |_| {});
            },
            Kind::Missing { missing: Tag::SYMMETRIC_KEY, within },
            24,
        ),
        (
            "a field of a later version",
            ProtocolVersion::V1_0,
            Operation::Locate,
            |writer| writer.enumeration(Tag::OBJECT_GROUP_MEMBER, 1),
            Kind::Unexpected { unexpected: Tag::OBJECT_GROUP_MEMBER, within },
            0,
        ),
        (
            "a field twice",
            V1_4,
            Operation::Get,
            |writer| {
                writer.text_string(Tag::UNIQUE_IDENTIFIER, "a");
                writer.text_string(Tag::UNIQUE_IDENTIFIER, "b");
            },
            Kind::Unexpected { unexpected: Tag::UNIQUE_IDENTIFIER, within },
            16,
        ),
        (
            "fields in another order",
            V1_4,
            Operation::Get,
            |writer| {
                writer.enumeration(Tag::KEY_FORMAT_TYPE, 1);
                writer.text_string(Tag::UNIQUE_IDENTIFIER, "a");
            },
            Kind::Unexpected { unexpected: Tag::UNIQUE_IDENTIFIER, within },
            16,
        ),
        (
            "a tag that no version has",
            V1_4,
            Operation::Get,
            |writer| writer.integer(Tag(0x42_FFFF), 1),
            Kind::Unexpected { unexpected: Tag(0x42_FFFF), within },
            0,
        ),
        (
            "microseconds in 1.x",
            V1_4,
            Operation::Revoke,
            |writer| {
                writer.structure(Tag::REVOCATION_REASON, |writer| writer.enumeration(Tag::REVOCATION_REASON_CODE, 1));
                writer.date_time_extended(Tag::COMPROMISE_OCCURRENCE_DATE, 1);
            },
            Kind::WrongType {
                tag: Tag::COMPROMISE_OCCURRENCE_DATE,
                found: Type::DateTimeExtended,
                expected: Type::DateTime,
            },
            24,
        ),
        (
            "a negative attribute index",
            V1_4,
            Operation::AddAttribute,
            |writer| {
                writer.structure(Tag::ATTRIBUTE, |writer| {
                    writer.text_string(Tag::ATTRIBUTE_NAME, "x-a");
                    writer.integer(Tag::ATTRIBUTE_INDEX, -1);
                    writer.integer(Tag::ATTRIBUTE_VALUE, 1);
                });
            },
            Kind::BadValue { tag: Tag::ATTRIBUTE_INDEX, rule: "is negative" },
            0,
        ),
        (
            "an attribute of another type than its name says",
            V1_4,
            Operation::AddAttribute,
            |writer| {
                writer.structure(Tag::ATTRIBUTE, |writer| {
                    writer.text_string(Tag::ATTRIBUTE_NAME, "Cryptographic Length");
                    writer.text_string(Tag::ATTRIBUTE_VALUE, "256");
                });
            },
            Kind::WrongType { tag: Tag::ATTRIBUTE_VALUE, found: Type::TextString, expected: Type::Integer },
            8 + 8 + 24,
        ),
        (
            "an attribute of a later version",
            ProtocolVersion::V2_0,
            Operation::SetAttribute,
            |writer| {
                writer.structure(Tag::NEW_ATTRIBUTE, |writer| writer.integer(Tag::ROTATE_GENERATION, 1));
            },
            Kind::UnknownAttribute("Rotate Generation".to_owned()),
            8,
        ),
        (
            "no attribute",
            V2_1,
            Operation::SetAttribute,
            |writer| writer.structure(Tag::NEW_ATTRIBUTE, |_| {}),
            Kind::BadValue { tag: Tag::NEW_ATTRIBUTE, rule: "holds no attribute" },
            0,
        ),
        (
            "two attributes for one",
            V2_1,
            Operation::SetAttribute,
            |writer| {
                writer.structure(Tag::NEW_ATTRIBUTE, |writer| {
                    writer.boolean(Tag::SENSITIVE, true);
                    writer.boolean(Tag::SENSITIVE, true);
                });
            },
            Kind::Unexpected { unexpected: Tag::SENSITIVE, within: Tag::NEW_ATTRIBUTE },
            8 + 16,
        ),
        (
            "an attribute reference that is a text",
            V2_1,
            Operation::GetAttributes,
            |writer| writer.text_string(Tag::ATTRIBUTE_REFERENCE, "State"),
            Kind::WrongType { tag: Tag::ATTRIBUTE_REFERENCE, found: Type::TextString, expected: Type::Structure },
            0,
        ),
        (
            "an attribute reference that is no tag",
            V2_1,
            Operation::GetAttributes,
            |writer| writer.enumeration(Tag::ATTRIBUTE_REFERENCE, 7),
            Kind::UnknownAttribute("tag 0x000007".to_owned()),
            0,
        ),
    ];
    for (name, version, of, fields, kind, at) in cases {
        let (bytes, payload) = payload_of(*version, operation(*of), fields);
        assert_eq!(payload_error(&bytes), DecodeError { kind: kind.clone(), at: payload + at }, "{name}");
    }
}

/// Items of the extension range are passed over wherever they stand.
#[test]
fn items_of_vendors_are_passed_over() {
    let (bytes, _) = payload_of(V1_4, Operation::Get.code(), |writer| {
        writer.integer(Tag(0x54_0001), 1);
        writer.text_string(Tag::UNIQUE_IDENTIFIER, "a");
        writer.structure(Tag(0x54_0002), |writer| writer.integer(Tag(0x54_0003), 1));
    });
    let frame = Frame::parse(&bytes, &Limits::default()).expect("a frame");
    let message = RequestMessage::parse(&frame, 1).expect("a request");
    let expected = keygate_kmip::GetRequest { unique_identifier: Some("a".to_owned().into()), ..Default::default() };
    assert_eq!(message.items[0].payload(), Ok(expected.into()));
}

#[test]
fn a_message_that_is_no_request_is_refused() {
    let (mut bytes, _) = request(V1_4, |_| {});
    bytes[2] = 0x7B;
    let kind = Kind::Unexpected { unexpected: Tag::RESPONSE_MESSAGE, within: Tag::REQUEST_MESSAGE };
    assert_eq!(parse_error(&bytes, 1), DecodeError { kind, at: 0 });
    let (bytes, at) = request(V1_4, |_| {});
    let kind = Kind::Missing { missing: Tag::OPERATION, within: Tag::BATCH_ITEM };
    assert_eq!(parse_error(&bytes, 1), DecodeError { kind, at });
}

/// Counts bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(in_use, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The messages of one mebibyte that unfold most: many small items of each sort. Reading one takes at most 16 times
/// its size. The other tests of this file may run beside it; they need little.
#[test]
fn memory_is_bounded_by_the_size_of_the_message() {
    let size = 1 << 20;
    let full = |version, operation: Operation, open: &[Tag], item: &[u8]| {
        let (bytes, _) = payload_of(version, operation.code(), |writer| {
            let open: Vec<_> = open.iter().map(|tag| writer.begin(*tag)).collect();
            let many = item.repeat((size - 512) / item.len());
            let mut all = std::mem::take(writer).into_bytes();
            all.extend_from_slice(&many);
            *writer = Writer::continuing(all);
            open.into_iter().rev().for_each(|structure| writer.end(structure));
        });
        bytes
    };
    let comment = item(Tag::COMMENT.0, 7, 0, &[]);
    let reference = item(Tag::ATTRIBUTE_REFERENCE.0, 5, 4, &[0, 0x42, 0, 1, 0, 0, 0, 0]);
    let name = item(Tag::ATTRIBUTE_NAME.0, 7, 0, &[]);
    let function = item(Tag::QUERY_FUNCTION.0, 5, 4, &[0, 0, 0, 1, 0, 0, 0, 0]);
    let extension = item(0x54_0001, 7, 0, &[]);
    let messages = [
        full(V2_1, Operation::Locate, &[Tag::ATTRIBUTES], &comment),
        full(V2_1, Operation::GetAttributes, &[], &reference),
        full(V1_4, Operation::GetAttributes, &[], &name),
        full(V1_4, Operation::Query, &[], &function),
        full(V1_4, Operation::Get, &[], &extension),
        full(V1_4, Operation::Get, &[Tag::KEY_WRAPPING_SPECIFICATION], &name),
    ];
    for (number, bytes) in messages.iter().enumerate() {
        assert!(bytes.len() > size - 1024 && bytes.len() <= size, "message {number} has {} bytes", bytes.len());
        let before = IN_USE.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
        let message = RequestMessage::parse(&frame, 10_000).expect("a request");
        let _payload = message.items[0].payload();
        let used = MOST.load(Ordering::Relaxed).saturating_sub(before);
        assert!(used <= 16 * size, "message {number} took {used} bytes");
    }
}
