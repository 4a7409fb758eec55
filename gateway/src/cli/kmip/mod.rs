//! A small KMIP client: enough to see a gateway work and to look into what is said, with nothing but this program. KMIP 2.1 over
//! the same codec; [`send`] takes any version.

mod send;
mod wire;

use keygate_kmip::{
    Attribute, Attributes, CreateRequest, CryptographicAlgorithm, CryptographicUsageMask, DestroyRequest, GetRequest, ItemResult,
    KeyMaterial, KeyValue, LocateRequest, ManagedObject, Name, NameType, ObjectType, ProtocolVersion, QueryFunction, QueryRequest,
    ReKeyRequest, RequestHeader, RequestPayload, ResponseMessage, ResponsePayload, UniqueIdentifier, encode_request,
    ttlv::{DecodeError, Frame},
};
use zeroize::Zeroizing;

use super::{
    Failure,
    args::{Kmip, Peer},
    code,
};

const VERSION: ProtocolVersion = ProtocolVersion::V2_1;

pub(super) fn run(command: &Kmip) -> Result<(), Failure> {
    match command {
        Kmip::Create { name, bits, peer } => create(name.as_deref(), *bits, peer),
        Kmip::Destroy { id, peer } => {
            let destroy = DestroyRequest { unique_identifier: Some(UniqueIdentifier::Text(id.clone())) };
            ask(peer, RequestPayload::Destroy(destroy))?;
            Ok(())
        }
        Kmip::Get { id, peer } => get(id, peer),
        Kmip::Locate { name, peer } => locate(name.as_deref(), peer),
        Kmip::Query { peer } => query(peer),
        Kmip::Rekey { id, peer } => rekey(id, peer),
        Kmip::Send { file, unmasked, peer } => send::send(file, *unmasked, peer),
    }
}

fn create(name: Option<&str>, bits: i32, peer: &Peer) -> Result<(), Failure> {
    let usage = CryptographicUsageMask(CryptographicUsageMask::ENCRYPT.0 | CryptographicUsageMask::DECRYPT.0);
    let mut list = vec![
        Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes).into(),
        Attribute::CryptographicLength(bits).into(),
        Attribute::CryptographicUsageMask(usage).into(),
    ];
    list.extend(name.map(|name| named(name).into()));
    let attributes = Attributes { templates: Vec::new(), list };
    let request = CreateRequest { object_type: ObjectType::SymmetricKey, attributes, protection_storage_masks: None };
    match ask(peer, RequestPayload::Create(request))? {
        ResponsePayload::Create(response) => print_id(&response.unique_identifier),
        _ => Err(unexpected()),
    }
}

fn get(id: &str, peer: &Peer) -> Result<(), Failure> {
    let request = GetRequest { unique_identifier: Some(UniqueIdentifier::Text(id.into())), ..GetRequest::default() };
    let ResponsePayload::Get(response) = ask(peer, RequestPayload::Get(request))? else { return Err(unexpected()) };
    let ManagedObject::SymmetricKey(key) = response.object else {
        return Err(Failure::new(code::FAILED, "this command shows symmetric keys only"));
    };
    match key.key_block.key_value {
        Some(KeyValue::Plain { material: KeyMaterial::Bytes(octets), .. }) => {
            let text = Zeroizing::new(hex::encode(octets.expose_bytes()));
            println!("{}", text.as_str());
            Ok(())
        }
        _ => Err(Failure::new(code::FAILED, "the key came in a form that this command does not show")),
    }
}

fn locate(name: Option<&str>, peer: &Peer) -> Result<(), Failure> {
    let list = name.map(|name| named(name).into()).into_iter().collect();
    let request = LocateRequest { attributes: Attributes { templates: Vec::new(), list }, ..LocateRequest::default() };
    match ask(peer, RequestPayload::Locate(request))? {
        ResponsePayload::Locate(response) => response.unique_identifiers.iter().try_for_each(print_id),
        _ => Err(unexpected()),
    }
}

fn rekey(id: &str, peer: &Peer) -> Result<(), Failure> {
    let request = ReKeyRequest { unique_identifier: Some(UniqueIdentifier::Text(id.into())), offset: None, attributes: None, protection_storage_masks: None };
    match ask(peer, RequestPayload::ReKey(request))? {
        ResponsePayload::ReKey(response) => print_id(&response.unique_identifier),
        _ => Err(unexpected()),
    }
}

fn query(peer: &Peer) -> Result<(), Failure> {
    let request = QueryRequest { functions: vec![QueryFunction::QueryOperations, QueryFunction::QueryServerInformation], object_groups: None };
    match ask(peer, RequestPayload::Query(request))? {
        ResponsePayload::Query(response) => {
            if let Some(vendor) = &response.vendor_identification {
                println!("{vendor}");
            }
            for operation in &response.operations {
                println!("{}", operation.xml_name().unwrap_or("?"));
            }
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn named(name: &str) -> Attribute {
    Attribute::Name(Name { value: name.into(), name_type: NameType::UninterpretedTextString })
}

fn print_id(id: &UniqueIdentifier) -> Result<(), Failure> {
    println!("{}", id.as_text().ok_or_else(unexpected)?);
    Ok(())
}

fn unexpected() -> Failure {
    Failure::new(code::FAILED, "the server answered something else")
}

/// Sends one request and takes its answer.
fn ask(peer: &Peer, payload: RequestPayload) -> Result<ResponsePayload, Failure> {
    let octets = wire::exchange(peer, &encode_request(&RequestHeader::new(VERSION, 1), &[payload]))?;
    let unreadable = |error: DecodeError| Failure::new(code::FAILED, format!("unreadable answer: {error}"));
    let frame = Frame::parse(&octets, &wire::LIMITS).map_err(unreadable)?;
    let message = ResponseMessage::parse(&frame).map_err(unreadable)?;
    match message.items.into_iter().next().map(|item| item.result) {
        Some(ItemResult::Success(payload)) => Ok(payload),
        Some(ItemResult::Failed { reason, message, .. }) => Err(Failure::new(code::FAILED, format!("{reason:?}: {message}"))),
        Some(ItemResult::Undone(_) | ItemResult::Pending(_)) | None => Err(unexpected()),
    }
}
