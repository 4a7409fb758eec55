//! A small KMIP client: enough to see a gateway work, with nothing but this program. KMIP 2.1 over the same codec.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use keygate_kmip::{
    Attribute, Attributes, CreateRequest, CryptographicAlgorithm, CryptographicUsageMask, DestroyRequest, GetRequest, ItemResult,
    KeyMaterial, KeyValue, LocateRequest, ManagedObject, Name, NameType, ObjectType, ProtocolVersion, QueryFunction, QueryRequest,
    RequestHeader, RequestPayload, ResponseMessage, ResponsePayload, UniqueIdentifier, encode_request,
    ttlv::{Frame, Limits},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use zeroize::Zeroizing;

use super::{
    Failure,
    args::{Kmip, Peer},
    code,
};

const VERSION: ProtocolVersion = ProtocolVersion::V2_1;
/// Longest wait for the server.
const WAIT: Duration = Duration::from_secs(10);

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
    let mut stream = connect(peer)?;
    stream.write_all(&encode_request(&RequestHeader::new(VERSION, 1), &[payload]))?;
    let octets = receive(&mut stream)?;
    let unreadable = |error: keygate_kmip::ttlv::DecodeError| Failure::new(code::FAILED, format!("unreadable answer: {error}"));
    let frame = Frame::parse(&octets, &Limits::default()).map_err(unreadable)?;
    let message = ResponseMessage::parse(&frame).map_err(unreadable)?;
    match message.items.into_iter().next().map(|item| item.result) {
        Some(ItemResult::Success(payload)) => Ok(payload),
        Some(ItemResult::Failed { reason, message, .. }) => Err(Failure::new(code::FAILED, format!("{reason:?}: {message}"))),
        Some(ItemResult::Undone(_)) | None => Err(unexpected()),
    }
}

fn receive(stream: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut octets = Zeroizing::new(vec![0; 8]);
    stream.read_exact(&mut octets)?;
    let length = u32::from_be_bytes([octets[4], octets[5], octets[6], octets[7]]) as usize;
    if length > Limits::default().message_bytes_max {
        return Err(Failure::new(code::FAILED, format!("an answer of {length} octets is not read")));
    }
    octets.resize(8 + length, 0);
    stream.read_exact(&mut octets[8..])?;
    Ok(octets)
}

fn connect(peer: &Peer) -> Result<StreamOwned<ClientConnection, TcpStream>, Failure> {
    let (address, folder) = (peer.address()?, peer.folder());
    let pem = |error: rustls::pki_types::pem::Error, file: &str| Failure::new(code::USAGE, format!("{}: {error}", folder.join(file).display()));
    let certificates = |file: &str| {
        let read = CertificateDer::pem_file_iter(folder.join(file)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        read.map_err(|error| pem(error, file))
    };
    let tls = |error: rustls::Error| Failure::new(code::FAILED, error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots.add(certificate).map_err(tls)?;
    }
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(|error| pem(error, "key.pem"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("cert.pem")?, key)
        .map_err(tls)?;
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| Failure::new(code::USAGE, error.to_string()))?;
    let socket = TcpStream::connect(&address).map_err(|error| Failure::new(code::FAILED, format!("cannot connect to {address}: {error}")))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(WAIT))?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(tls)?;
    Ok(StreamOwned::new(connection, socket))
}

impl Peer {
    /// `--server`, or where the server of the data directory says it listens.
    fn address(&self) -> Result<String, Failure> {
        if let Some(server) = &self.server {
            return Ok(server.clone());
        }
        let path = self.data_dir.join("run/listeners.json");
        let none = || Failure::new(code::FAILED, format!("no server runs on {} ({} is missing)", self.data_dir.display(), path.display()));
        let text = std::fs::read_to_string(&path).map_err(|_| none())?;
        let listeners: std::collections::BTreeMap<String, std::net::SocketAddr> = serde_json::from_str(&text).map_err(|_| none())?;
        let mut address = *listeners.get("kmip").ok_or_else(none)?;
        // Listening on every address: here, this machine is meant.
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Ok(address.to_string())
    }

    fn folder(&self) -> PathBuf {
        self.credentials.clone().unwrap_or_else(|| Path::new(&self.data_dir).join("clients/first"))
    }
}
