//! One KMIP message to a server and its answer back: TTLV over TLS, or XML or JSON over HTTPS; and what `--trace` shows of both.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, Method, header};
use keygate_kmip::{
    event::TtlvSink,
    json,
    ttlv::{DecodeError, Limits},
    xml::{self, Masking},
};
use keygate_pki::PrivateKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use zeroize::Zeroizing;

use crate::{
    admin::chain,
    cli::{
        Failure,
        args::{Encoding, Peer},
        code,
        enrol::certificates,
        files::secret_text_of,
    },
    http_client::{HttpClient, HttpClientError, HttpClientParts, Roots, Route, ServerUrl},
};

/// Longest wait for the server.
const WAIT: Duration = Duration::from_secs(10);
/// What a message may cost.
pub(super) const LIMITS: Limits = Limits { message_bytes_max: 4 << 20, depth_max: 32, items_max: 200_000 };

/// Sends one request message and takes its answer, both in TTLV.
pub(super) fn exchange(peer: &Peer, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    trace(peer, "request", request);
    let answer = match peer.encoding {
        Encoding::Ttlv => bare(peer, request),
        Encoding::Xml => {
            let text = xml::write(request, &LIMITS, Masking::None).map_err(unwritable)?;
            let text = post(peer, "application/xml", &text)?;
            read(|sink| xml::read(&text, sink, xml::Limits::of(&LIMITS)))
        }
        Encoding::Json => {
            let text = json::write(request, &LIMITS).map_err(unwritable)?;
            let text = post(peer, "application/json", &text)?;
            read(|sink| json::read(&text, sink, json::Limits::of(&LIMITS)))
        }
    }?;
    trace(peer, "answer", &answer);
    Ok(answer)
}

fn read(text: impl FnOnce(&mut TtlvSink) -> Result<(), xml::Error>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut sink = TtlvSink::new();
    text(&mut sink).map_err(|error| Failure::new(code::FAILED, format!("unreadable answer: {error}")))?;
    Ok(sink.into_bytes())
}

fn unwritable(error: DecodeError) -> Failure {
    Failure::new(code::USAGE, format!("the message cannot be written: {error}"))
}

/// A message for people: XML, what may be key material or a credential masked.
fn trace(peer: &Peer, what: &str, message: &[u8]) {
    if peer.trace {
        let text = xml::write(message, &LIMITS, Masking::Secrets);
        let text = text.map_or_else(|error| format!("(not a message: {error})\n"), |text| text.to_string());
        eprint!("# {what}\n{text}");
    }
}

fn bare(peer: &Peer, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut stream = connect(peer)?;
    stream.write_all(request)?;
    let mut octets = Zeroizing::new(vec![0; 8]);
    stream.read_exact(&mut octets)?;
    let length = u32::from_be_bytes([octets[4], octets[5], octets[6], octets[7]]) as usize;
    if length > LIMITS.message_bytes_max {
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

/// `POST /kmip`.
fn post(peer: &Peer, media_type: &'static str, text: &str) -> Result<Zeroizing<String>, Failure> {
    let usage = |error: HttpClientError| Failure::new(code::USAGE, chain(&error));
    let server: ServerUrl = format!("https://{}", peer.address()?).parse().map_err(usage)?;
    let folder = peer.folder();
    let identity = certificates(&folder.join("cert.pem"))?;
    let key = secret_text_of(&folder.join("key.pem"))?;
    let key = PrivateKey::from_pem_or_der(key.as_bytes()).map_err(|error| Failure::new(code::USAGE, format!("key.pem: {}", chain(&error))))?;
    let roots = certificates(&folder.join("ca.pem"))?;
    let parts = HttpClientParts {
        server,
        roots: Roots::these(&roots),
        identity: Some((&identity, &key)),
        route: Route::direct(),
        answer_bytes_max: LIMITS.message_bytes_max.saturating_mul(xml::Limits::TEXT_FACTOR),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let client = HttpClient::new(parts).map_err(usage)?;
    let reply = client.request(Method::POST, "/kmip", headers, text.as_bytes());
    let reply = reply.map_err(|error| Failure::new(code::FAILED, chain(&error)))?;
    let body = String::from_utf8(reply.body).map(Zeroizing::new);
    match body {
        Ok(body) if reply.status == 200 => Ok(body),
        _ => Err(Failure::new(code::FAILED, format!("the server answers {}: is it kmip.listen?", reply.status))),
    }
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
