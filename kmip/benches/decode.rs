//! How long reading and writing a message takes: `cargo bench -p keygate-kmip`.
//!
//! The request is a Create of KMIP 1.2 with four attributes, 360 bytes: what a client sends to make a key. The aim is
//! one microsecond from bytes to typed payload.

use divan::{Bencher, black_box};
use keygate_kmip::ttlv::{Frame, Limits, Writer};
use keygate_kmip::{
    Attribute, Attributes, CreateRequest, CreateResponse, CryptographicAlgorithm, CryptographicUsageMask, DateTime,
    Field, GetResponse, ItemResult, Key, KeyBlock, KeyFormatType, KeyMaterial, KeyValue, ManagedObject, Name,
    ObjectType, ProtocolVersion, RequestHeader, RequestMessage, RequestPayload, ResponseHeader, ResponseItem,
    ResponsePayload, Secret, Tag, UniqueIdentifier, encode_request,
};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VERSION: ProtocolVersion = ProtocolVersion::V1_2;

fn main() {
    assert_eq!(create().len(), 360, "the request is of the size that the aim is set for");
    divan::main();
}

/// A Create of an AES-256 key named so that the message has 360 bytes.
fn create() -> Vec<u8> {
    let attributes = [
        Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes),
        Attribute::CryptographicLength(256),
        Attribute::CryptographicUsageMask(CryptographicUsageMask::ENCRYPT | CryptographicUsageMask::DECRYPT),
        Attribute::Name(Name::text("a-key")),
    ];
    let attributes: Attributes = attributes.into_iter().collect();
    let request = CreateRequest { object_type: ObjectType::SymmetricKey, attributes, protection_storage_masks: None };
    encode_request(&RequestHeader::new(VERSION, 1), &[request.into()]).to_vec()
}

fn decode(bytes: &[u8]) -> RequestPayload {
    let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
    let message = RequestMessage::parse(&frame, 100).expect("a request");
    message.items[0].payload().expect("a payload")
}

fn response(payload: ResponsePayload) -> (ResponseHeader, ResponseItem) {
    let header = ResponseHeader {
        protocol_version: VERSION,
        time_stamp: DateTime(1_800_000_000),
        client_correlation_value: None,
        server_correlation_value: None,
        batch_count: Some(1),
    };
    let operation = Some(payload.operation());
    (header, ResponseItem { operation, unique_batch_item_id: None, result: ItemResult::Success(payload) })
}

fn encode((header, item): &(ResponseHeader, ResponseItem)) -> Writer {
    let mut writer = Writer::new();
    writer.structure(Tag::RESPONSE_MESSAGE, |writer| {
        header.encode(Tag::RESPONSE_HEADER, writer, VERSION);
        item.encode(Tag::BATCH_ITEM, writer, VERSION);
    });
    writer
}

fn identifier() -> UniqueIdentifier {
    UniqueIdentifier::Text("01932d3c-7a5e-7b21-9f4e-5d1c2b3a4f60".to_owned())
}

fn get_response() -> (ResponseHeader, ResponseItem) {
    let key_block = KeyBlock {
        key_format_type: KeyFormatType::Raw,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain {
            material: KeyMaterial::Bytes(Secret::new(vec![7; 32])),
            attributes: Attributes::default(),
        }),
        cryptographic_algorithm: Some(CryptographicAlgorithm::Aes),
        cryptographic_length: Some(256),
        key_wrapping_data: None,
    };
    let object = ManagedObject::SymmetricKey(Key { key_block });
    response(GetResponse { object_type: ObjectType::SymmetricKey, unique_identifier: identifier(), object }.into())
}

#[divan::bench]
fn check_create_frame(bencher: Bencher<'_, '_>) {
    let bytes = create();
    bencher.bench(|| Frame::parse(black_box(&bytes), &Limits::default()).map(|frame| frame.root()).is_ok());
}

#[divan::bench]
fn decode_create_request(bencher: Bencher<'_, '_>) {
    let bytes = create();
    bencher.bench(|| decode(black_box(&bytes)));
}

#[divan::bench]
fn encode_create_response(bencher: Bencher<'_, '_>) {
    let unique_identifier = identifier();
    let payload = CreateResponse { object_type: ObjectType::SymmetricKey, unique_identifier, attributes: None };
    let response = response(payload.into());
    bencher.bench(|| encode(black_box(&response)));
}

#[divan::bench]
fn encode_get_response(bencher: Bencher<'_, '_>) {
    let response = get_response();
    bencher.bench(|| encode(black_box(&response)));
}

#[divan::bench]
fn store_and_read_attributes(bencher: Bencher<'_, '_>) {
    let attributes = match decode(&create()) {
        RequestPayload::Create(create) => create.attributes,
        _ => Attributes::default(),
    };
    bencher.bench(|| Attributes::from_stored_bytes(&black_box(&attributes).to_stored_bytes()).is_ok());
}
