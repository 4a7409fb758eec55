//! A client that listens: a KMIP server over mutual TLS that hands each message to the test and sends back what the test answers.
//! What the gateway's `[[endpoint]]` tables name.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keygate_kmip::{Operation, ResultReason, Tag};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::request::{enumeration, integer, structure, text};
use crate::ttlv::{Item, Value};

/// How long a test waits for a message: longer than the gateway's first waits between tries.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// A listening client.
#[derive(Debug)]
pub struct KmipListener {
    address: SocketAddr,
    folder: Arc<TempDir>,
    tls: Arc<ServerConfig>,
    calls: Mutex<Receiver<Call>>,
    ends: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

/// A message of the gateway, to be answered.
#[derive(Debug)]
pub struct Call {
    /// The message.
    pub request: Item,
    answer: Sender<Option<Item>>,
}

impl KmipListener {
    /// Starts to listen, with a new authority for both sides.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kmip-listener-").tempdir()?;
        let tls = Arc::new(authority(folder.path())?);
        Self::listen(("127.0.0.1", 0), Arc::new(folder), tls)
    }

    /// Ends, and starts again at the same address with the same certificates when `between` is done.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn restart(self, between: impl FnOnce()) -> io::Result<Self> {
        let Self { address, folder, tls, calls, ends, accepting } = self;
        drop(calls);
        // The accepting thread ends with the next connection, and with it the port is free.
        ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(address));
        accepting.join().map_err(|_| io::Error::other("the accepting thread panicked"))?;
        between();
        Self::listen((&*address.ip().to_string(), address.port()), folder, tls)
    }

    fn listen(address: (&str, u16), folder: Arc<TempDir>, tls: Arc<ServerConfig>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let (sender, calls) = mpsc::channel();
        let (address, ends) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let (told, accepted) = (Arc::clone(&ends), Arc::clone(&tls));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let (tls, sender) = (Arc::clone(&accepted), sender.clone());
                // A connection that fails is the gateway's to report.
                thread::spawn(move || drop(serve(tls, stream, &sender)));
            }
        });
        Ok(Self { address, folder, tls, calls: Mutex::new(calls), ends, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file of `ca.pem`, `client.pem` and `client.key`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The table of `keygate.toml` that names this as the endpoint of a client; `more` are further lines.
    #[must_use]
    pub fn table(&self, client: &str, more: &str) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        format!(
            "\n[[endpoint]]\nclient = '{client}'\naddress = '{}'\nca-file = '{}'\ncert-file = '{}'\nkey-file = '{}'\n{more}",
            self.address,
            file("ca.pem"),
            file("client.pem"),
            file("client.key")
        )
    }

    /// The next message.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn next(&self) -> io::Result<Call> {
        self.next_within(MESSAGE_TIMEOUT).ok_or_else(|| io::Error::other("the gateway does not call"))
    }

    /// The next message, if one comes in this time.
    #[must_use]
    pub fn next_within(&self, limit: Duration) -> Option<Call> {
        self.calls.lock().ok()?.recv_timeout(limit).ok()
    }
}

impl Call {
    /// The operation asked for.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.request.find(Tag::OPERATION.0).and_then(Item::code).and_then(Operation::from_code)
    }

    /// The payload.
    ///
    /// # Panics
    /// If the message has none.
    #[must_use]
    pub fn payload(&self) -> &Item {
        match self.request.find(Tag::REQUEST_PAYLOAD.0) {
            Some(payload) => payload,
            None => panic!("no payload in {:?}", self.request),
        }
    }

    /// Sends an answer.
    pub fn answer(self, answer: Item) {
        // The connection may have ended meanwhile.
        let _ = self.answer.send(Some(answer));
    }

    /// Answers Success; without a payload, as KMIP 1.4 §5.1 has it, unless there is one.
    pub fn succeed(self, payload: Option<Item>) {
        let mut item = vec![enumeration(Tag::OPERATION, self.code()), enumeration(Tag::RESULT_STATUS, 0)];
        item.extend(payload);
        let answer = self.message(item);
        self.answer(answer);
    }

    /// Answers that it will not.
    pub fn refuse(self, reason: ResultReason) {
        let item = vec![
            enumeration(Tag::OPERATION, self.code()),
            enumeration(Tag::RESULT_STATUS, 1),
            enumeration(Tag::RESULT_REASON, reason.code()),
            text(Tag::RESULT_MESSAGE, "not here"),
        ];
        let answer = self.message(item);
        self.answer(answer);
    }

    /// Ends the connection without an answer.
    pub fn hang_up(self) {
        let _ = self.answer.send(None);
    }

    fn code(&self) -> u32 {
        self.operation().map_or(0, Operation::code)
    }

    fn message(&self, item: Vec<Item>) -> Item {
        let version = self.request.find(Tag::PROTOCOL_VERSION.0).cloned();
        let mut header: Vec<Item> = version.into_iter().collect();
        header.extend([Item::new(Tag::TIME_STAMP.0, Value::DateTime(1)), integer(Tag::BATCH_COUNT, 1)]);
        structure(
            Tag::RESPONSE_MESSAGE,
            vec![structure(Tag::RESPONSE_HEADER, header), structure(Tag::BATCH_ITEM, item)],
        )
    }
}

fn serve(tls: Arc<ServerConfig>, stream: TcpStream, calls: &Sender<Call>) -> io::Result<()> {
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    loop {
        let mut message = vec![0; 8];
        stream.read_exact(&mut message)?;
        let length = [message[4], message[5], message[6], message[7]].map(usize::from);
        let length = length.into_iter().fold(0, |length, octet| length << 8 | octet);
        message.resize(8 + length, 0);
        stream.read_exact(&mut message[8..])?;
        let request = Item::decode(&message).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let (answer, answered) = mpsc::channel();
        calls.send(Call { request, answer }).map_err(io::Error::other)?;
        let Ok(Some(answer)) = answered.recv() else { return Ok(()) };
        stream.write_all(&answer.encode())?;
        stream.flush()?;
    }
}

/// An authority, a certificate of the listener by it, and one for the gateway to show.
fn authority(folder: &Path) -> io::Result<ServerConfig> {
    let other = |error: rcgen::Error| io::Error::other(error);
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(parameters, KeyPair::generate().map_err(other)?).map_err(other)?;
    std::fs::write(folder.join("ca.pem"), ca.pem())?;
    let issue = |names: &[&str], usage| -> io::Result<_> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut parameters = CertificateParams::new(names).map_err(other)?;
        parameters.extended_key_usages = vec![usage];
        let key = KeyPair::generate().map_err(other)?;
        Ok((parameters.signed_by(&key, &ca).map_err(other)?, key))
    };
    let (shown, key) = issue(&["keygate"], ExtendedKeyUsagePurpose::ClientAuth)?;
    std::fs::write(folder.join("client.pem"), shown.pem())?;
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(folder.join("client.key"))?;
    file.write_all(key.serialize_pem().as_bytes())?;
    let (own, key) = issue(&["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier.map_err(io::Error::other)?)
        .with_single_cert(vec![own.der().clone()], key)
        .map_err(io::Error::other)
}
