//! What clients of every kind meet at the KMIP port: good ones, wrong ones, slow ones, and those that are cut off.
//!
//! Method: a listener with a handler that answers with the caller's name and the request, over real sockets and TLS; each
//! test is one client's story. Waiting is always for an event, with a deadline that fails the test.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use keygate::{
    audit::{Details, Refusals},
    config::{Config, FileConfig},
    identity::{Caller, CertificateRecord, ClientRecord, DirectoryContent, DirectoryHandle},
    listen::{Disposition, FrameHandler, Listener, ListenerParts, PeerInfo, Registry, ServerIdentity, TlsSettings, Unreadable},
    store::{ClientId, OrganisationId},
    telemetry::Metrics,
};
use keygate_pki::{
    Certificate, DistinguishedName, Issuer, OffsetDateTime, Order, PrivateKey, Profile, SignatureAlgorithm, Signer,
    SubjectAltName, SystemSerials,
};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const PATIENCE: Duration = Duration::from_secs(20);

struct Identity {
    certificate: Certificate,
    key: PrivateKey,
}

fn self_signed(profile: Profile, name: &str) -> Identity {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let name = DistinguishedName::new(None, name).unwrap();
    let certificate = Issuer::self_signed(profile, &name, &key, OffsetDateTime::now_utc(), &mut SystemSerials).unwrap();
    Identity { certificate, key }
}

fn issue(by: &Identity, profile: Profile, name: &str, at: OffsetDateTime, days: u32) -> Identity {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let subject = DistinguishedName::new(None, name).unwrap();
    let names = [SubjectAltName::parse("localhost").unwrap()];
    let order = Order { profile, subject: &subject, public_key: key.public_key(), names: &names, days: Some(days) };
    let certificate = Issuer::new(&by.certificate, &by.key).unwrap().issue(&order, at, &mut SystemSerials).unwrap();
    Identity { certificate, key }
}

/// Answers `<caller>:<frame>`. A frame that holds `wait` is answered when the test says so.
struct Named {
    working: Notify,
    go_on: Notify,
}

impl FrameHandler for Named {
    async fn handle(&self, caller: &Arc<Caller>, _: PeerInfo, frame: &[u8], response: &mut Vec<u8>) -> Disposition {
        if frame.ends_with(b"wait") {
            self.working.notify_one();
            self.go_on.notified().await;
        }
        response.extend_from_slice(caller.name.as_bytes());
        response.push(b':');
        response.extend_from_slice(frame);
        Disposition::KeepOpen
    }

    fn unreadable(&self, reason: Unreadable, response: &mut Vec<u8>) {
        response.extend_from_slice(format!("{reason:?}").as_bytes());
    }
}

struct Fixture {
    address: SocketAddr,
    directory: Arc<DirectoryHandle>,
    content: Mutex<DirectoryContent>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    handler: Arc<Named>,
    identity: Arc<ServerIdentity>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    server_ca: Identity,
    issuer: Identity,
}

impl Fixture {
    fn new(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).chain(["kmip.listen=127.0.0.1:0".into()]).collect();
        let config: Config = FileConfig::parse("", &settings).unwrap().check().unwrap();
        let server_ca = self_signed(Profile::RootCa, "servers");
        let issuer = self_signed(Profile::AdminCa, "clients");
        let server = issue(&server_ca, Profile::ServerCertificate, "localhost", OffsetDateTime::now_utc(), 1);
        let content = DirectoryContent { issuers: vec![issuer.certificate.clone()], ..DirectoryContent::default() };
        let directory = Arc::new(DirectoryHandle::new(content.clone()));
        let metrics = Arc::new(Metrics::default());
        let refusals = Arc::new(Refusals::default());
        let registry = Registry::new(&config.limits, metrics.clone());
        directory.subscribe(registry.clone());
        tokio::spawn(registry.clone().sweep());
        let identity = Arc::new(ServerIdentity::new(&[server.certificate], &server.key).unwrap());
        let handler = Arc::new(Named { working: Notify::new(), go_on: Notify::new() });
        let listener = Listener::bind(
            config.kmip.listen,
            ListenerParts {
                tls: Arc::new(TlsSettings::new(identity.clone(), &directory).unwrap()),
                directory: directory.clone(),
                registry: registry.clone(),
                metrics: metrics.clone(),
                refusals: refusals.clone(),
                handler: handler.clone(),
                message_bytes_max: config.limits.message_bytes_max,
            },
        )
        .unwrap();
        let (stop, stopped) = watch::channel(false);
        let address = listener.address().unwrap();
        let accepting = tokio::spawn(listener.run(stopped));
        Self { address, directory, content: Mutex::new(content), registry, metrics, refusals, handler, identity, stop, accepting, server_ca, issuer }
    }

    /// Enrols a client with a certificate of our issuer.
    fn enrol(&self, name: &str) -> Identity {
        self.enrol_at(name, name, OffsetDateTime::now_utc())
    }

    fn enrol_at(&self, name: &str, subject: &str, at: OffsetDateTime) -> Identity {
        let identity = issue(&self.issuer, Profile::ClientCertificate, subject, at, 1);
        let issued = Some((self.issuer.certificate.spki_hash(), identity.certificate.serial().to_vec()));
        self.record(name, &identity.certificate, issued);
        identity
    }

    fn record(&self, name: &str, certificate: &Certificate, issued: Option<(keygate_pki::SpkiHash, Vec<u8>)>) {
        let id = ClientId::generate();
        self.change(|content| {
            content.clients.push(ClientRecord {
                id,
                organisation: OrganisationId::DEFAULT,
                name: name.into(),
                enabled: true,
                keystore_default: None,
                groups: Vec::new(),
                users: Vec::new(),
            });
            content.certificates.push(CertificateRecord {
                client: id,
                fingerprint: certificate.fingerprint(),
                issued,
                not_before: certificate.not_before(),
                not_after: certificate.not_after(),
                revoked: false,
            });
        });
    }

    fn change(&self, change: impl FnOnce(&mut DirectoryContent)) {
        let mut content = self.content.lock().unwrap();
        change(&mut content);
        self.directory.replace_with(|| content.clone());
    }

    fn set_enabled(&self, name: &str, enabled: bool) {
        self.change(|content| content.clients.iter_mut().filter(|client| client.name == name).for_each(|client| client.enabled = enabled));
    }

    fn client(&self, identity: Option<&Identity>) -> Client {
        self.client_of(identity, rustls::ALL_VERSIONS)
    }

    fn client_of(&self, identity: Option<&Identity>, versions: &[&'static rustls::SupportedProtocolVersion]) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.server_ca.certificate.der().to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from(identity.certificate.der().to_vec())];
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.expose_pkcs8().to_vec()));
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Client { config: Arc::new(config), address: self.address }
    }
}

/// A TLS client with its session cache.
struct Client {
    config: Arc<ClientConfig>,
    address: SocketAddr,
}

impl Client {
    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        patiently(TlsConnector::from(self.config.clone()).connect(name, socket)).await
    }

    /// Connects and sends a request. With TLS 1.3 the verdict on a certificate arrives only after the client's handshake.
    async fn try_request(&self, body: &[u8]) -> Result<Vec<u8>, Option<AlertDescription>> {
        let mut stream = self.connect().await.map_err(|error| alert(&error))?;
        request(&mut stream, body).await.map_err(|error| alert(&error))
    }
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn message(body: &[u8]) -> Vec<u8> {
    [&[0x42, 0x00, 0x78, 0x01], &u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

async fn request(stream: &mut TlsStream<TcpStream>, body: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(&message(body)).await?;
    answer(stream, body).await
}

/// Reads `<name>:<message>` and returns the name.
async fn answer(stream: &mut TlsStream<TcpStream>, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let expected = [b":", message(body).as_slice()].concat();
    let mut octets = Vec::new();
    while !octets.ends_with(&expected) {
        if patiently(stream.read_buf(&mut octets)).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    octets.truncate(octets.len() - expected.len());
    Ok(octets)
}

/// Reads to the end of the stream, by close_notify or reset.
async fn end_of(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut octets = Vec::new();
    // However it ends, it has ended.
    let _ = patiently(stream.read_to_end(&mut octets)).await;
    octets
}

/// A client of our issuer works on both TLS versions; requests sent at once are answered in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolled_client_is_served() {
    let fixture = Fixture::new(&[]);
    let alice = fixture.enrol("alice");
    for version in rustls::ALL_VERSIONS {
        let client = fixture.client_of(Some(&alice), &[*version]);
        let mut stream = client.connect().await.unwrap();
        assert_eq!(request(&mut stream, b"one").await.unwrap(), b"alice");
        let messages = [message(b"first"), message(b"second"), message(&vec![b'x'; 100_000])];
        stream.write_all(&messages.concat()).await.unwrap();
        for expected in messages.map(|message| [b"alice:", message.as_slice()].concat()) {
            let mut octets = vec![0; expected.len()];
            patiently(stream.read_exact(&mut octets)).await.unwrap();
            assert_eq!(octets, expected);
        }
    }
}

/// Each certificate that must not be let in meets the TLS alert that says why, and is recorded with the exact reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_certificates_meet_the_right_alert() {
    let fixture = Fixture::new(&[]);
    let long_ago = OffsetDateTime::now_utc() - Duration::from_secs(10 * 86_400);
    let expired = fixture.enrol_at("expired", "expired", long_ago);
    let foreign_issuer = self_signed(Profile::AdminCa, "clients");
    let foreign = issue(&foreign_issuer, Profile::ClientCertificate, "alice", OffsetDateTime::now_utc(), 1);
    let unknown = issue(&fixture.issuer, Profile::ClientCertificate, "alice", OffsetDateTime::now_utc(), 1);
    let unknown_and_expired = issue(&fixture.issuer, Profile::ClientCertificate, "alice", long_ago, 1);
    let disabled = fixture.enrol("disabled");
    fixture.set_enabled("disabled", false);
    let cases = [
        (None, AlertDescription::CertificateRequired),
        (Some(&expired), AlertDescription::CertificateExpired),
        (Some(&unknown_and_expired), AlertDescription::CertificateExpired),
        (Some(&foreign), AlertDescription::UnknownCA),
        (Some(&unknown), AlertDescription::AccessDenied),
        (Some(&disabled), AlertDescription::AccessDenied),
    ];
    for (identity, expected) in cases {
        let refused = fixture.client(identity).try_request(b"x").await;
        assert_eq!(refused, Err(Some(expected)));
    }
    let text = fixture.metrics.render();
    assert!(text.contains("keygate_handshakes_failed_total{cause=\"refused\"} 5"), "{text}");
    assert!(text.contains("keygate_handshakes_failed_total{cause=\"no_certificate\"} 1"), "{text}");
    let recorded = fixture.refusals.rest(std::time::Instant::now(), 0).into_iter().map(|event| {
        assert_eq!(event.source, Some(fixture.address.ip()));
        match event.details {
            Details::Counted { reason, count } => (reason, count),
            other => panic!("{other:?}"),
        }
    });
    let mut recorded: Vec<_> = recorded.collect();
    recorded.sort();
    let expected = [("certificate expired", 2), ("client disabled", 1), ("no certificate", 1), ("unknown client", 1), ("unknown issuer", 1)];
    assert_eq!(recorded, expected.map(|(reason, count)| (reason.to_owned(), count)));
}

/// Mallory's certificate carries Alice's name as subject and the host's as alternative name: he stays Mallory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_certificates_mean_nothing() {
    let fixture = Fixture::new(&[]);
    let alice = fixture.enrol("alice");
    let mallory = fixture.enrol_at("mallory", "alice", OffsetDateTime::now_utc());
    assert_eq!(mallory.certificate.subject(), alice.certificate.subject());
    assert_eq!(fixture.client(Some(&mallory)).try_request(b"x").await.unwrap(), b"mallory");
    assert_eq!(fixture.client(Some(&alice)).try_request(b"x").await.unwrap(), b"alice");
}

/// A pinned certificate needs neither our issuer nor the extended key usage; its dates still count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_certificate_is_let_in_as_it_is() {
    let fixture = Fixture::new(&[]);
    let vendor = self_signed(Profile::AdminCa, "appliance");
    fixture.record("appliance", &vendor.certificate, None);
    assert_eq!(fixture.client(Some(&vendor)).try_request(b"x").await.unwrap(), b"appliance");

    let old_issuer = self_signed(Profile::AdminCa, "vendor");
    let long_ago = OffsetDateTime::now_utc() - Duration::from_secs(10 * 86_400);
    let old = issue(&old_issuer, Profile::ClientCertificate, "old", long_ago, 1);
    fixture.record("old", &old.certificate, None);
    assert_eq!(fixture.client(Some(&old)).try_request(b"x").await, Err(Some(AlertDescription::CertificateExpired)));
}

/// Disabling a client ends its idle connections within a second, voids its tickets, and leaves others alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_client_is_cut_off_at_once() {
    let fixture = Fixture::new(&[]);
    let (alice, bob) = (fixture.enrol("alice"), fixture.enrol("bob"));
    let (alice, bob) = (fixture.client(Some(&alice)), fixture.client(Some(&bob)));
    assert_eq!(alice.try_request(b"x").await.unwrap(), b"alice");
    let mut resumed = alice.connect().await.unwrap();
    assert_eq!(request(&mut resumed, b"x").await.unwrap(), b"alice");
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    let mut others = bob.connect().await.unwrap();
    assert_eq!(request(&mut others, b"x").await.unwrap(), b"bob");

    fixture.set_enabled("alice", false);
    tokio::time::timeout(Duration::from_secs(1), end_of(&mut resumed)).await.expect("still open after a second");
    assert_eq!(alice.try_request(b"x").await, Err(Some(AlertDescription::AccessDenied)));
    assert_eq!(request(&mut others, b"y").await.unwrap(), b"bob");

    fixture.set_enabled("alice", true);
    assert_eq!(alice.try_request(b"x").await.unwrap(), b"alice");
}

/// A client that keeps sending while it is disabled gets no further answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_client_is_cut_off_between_requests() {
    let fixture = Fixture::new(&[]);
    let alice = fixture.client(Some(&fixture.enrol("alice")));
    let mut stream = alice.connect().await.unwrap();
    stream.write_all(&[message(b"wait"), message(b"next")].concat()).await.unwrap();
    patiently(fixture.handler.working.notified()).await;
    fixture.set_enabled("alice", false);
    fixture.handler.go_on.notify_one();
    let octets = end_of(&mut stream).await;
    assert!(!octets.windows(4).any(|window| window == b"next"), "a request was answered after the client was disabled");
}

/// One octet and then nothing: cut off at the frame deadline, however short the idle time left would be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_is_cut_off() {
    let fixture = Fixture::new(&["limits.frame_seconds=1", "limits.idle_seconds=3600"]);
    let mut stream = fixture.client(Some(&fixture.enrol("alice"))).connect().await.unwrap();
    assert_eq!(request(&mut stream, b"x").await.unwrap(), b"alice");
    stream.write_all(&[0x42]).await.unwrap();
    assert_eq!(end_of(&mut stream).await, b"");
    assert!(fixture.metrics.render().contains("connections_closed_total{reason=\"overdue\"} 1"));
}

/// A silent client is cut off at the idle deadline, a silent socket at the handshake's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_cut_off() {
    let fixture = Fixture::new(&["limits.idle_seconds=1", "limits.handshake_seconds=1"]);
    let mut idle = fixture.client(Some(&fixture.enrol("alice"))).connect().await.unwrap();
    let mut mute = TcpStream::connect(fixture.address).await.unwrap();
    assert_eq!(end_of(&mut idle).await, b"");
    let mut octets = Vec::new();
    patiently(mute.read_to_end(&mut octets)).await.unwrap();
    assert_eq!(octets, b"");
}

/// A client that does not read its answers is cut off, and the memory of its answers with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_cut_off() {
    let fixture = Fixture::new(&["limits.write_seconds=1"]);
    let mut stream = fixture.client(Some(&fixture.enrol("alice"))).connect().await.unwrap();
    let large = message(&vec![b'x'; 1_000_000]);
    let mut sent = 0;
    // The server stops reading while it cannot write, so at some point writing fails.
    while patiently(stream.write_all(&large)).await.is_ok() && patiently(stream.flush()).await.is_ok() {
        sent += 1;
        assert!(sent < 1000, "a thousand answers were neither read nor refused");
    }
}

/// A length over the limit, and another protocol, are answered once and the connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_answered_and_ended() {
    let fixture = Fixture::new(&["limits.message_bytes_max=4096"]);
    let alice = fixture.client(Some(&fixture.enrol("alice")));
    for (octets, expected) in [
        (message(&[b'x'; 200_000]), "TooLarge { bytes: 200000, max: 4096 }"),
        // Neither TTLV nor the beginning of a method of HTTP.
        (b"\x16\x03\x01\x02\0\x01\0\x01".to_vec(), "NotARequest { header: [22, 3, 1, 2, 0, 1, 0, 1] }"),
    ] {
        let mut stream = alice.connect().await.unwrap();
        stream.write_all(&octets).await.unwrap();
        assert_eq!(String::from_utf8(end_of(&mut stream).await).unwrap(), expected);
    }
    assert_eq!(alice.try_request(b"x").await.unwrap(), b"alice");
}

/// At the bound a connection is refused with an alert; sockets that never prove who they are make room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_connections_is_bounded() {
    let fixture = Fixture::new(&["limits.connections_max=3"]);
    let alice = fixture.client(Some(&fixture.enrol("alice")));
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = alice.connect().await.unwrap();
        assert_eq!(request(&mut stream, b"x").await.unwrap(), b"alice");
        held.push(stream);
    }
    let mut refused = TcpStream::connect(fixture.address).await.unwrap();
    let mut octets = Vec::new();
    patiently(refused.read_to_end(&mut octets)).await.unwrap();
    assert_eq!(octets, [0x15, 3, 3, 0, 2, 2, 80]);
    assert_eq!(request(&mut held[0], b"y").await.unwrap(), b"alice");
}

/// Strangers that fill the bound with silent sockets do not keep a client out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_strangers_make_room() {
    let fixture = Fixture::new(&["limits.connections_max=3", "limits.handshake_seconds=3600"]);
    let alice = fixture.client(Some(&fixture.enrol("alice")));
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(TcpStream::connect(fixture.address).await.unwrap());
    }
    // Refused while the strangers are younger than a second, let in as soon as one may be evicted.
    let admitted = async {
        loop {
            if let Ok(name) = alice.try_request(b"x").await {
                return name;
            }
        }
    };
    assert_eq!(patiently(admitted).await, b"alice");
}

/// At shutdown the request under way is answered, idle connections end, and nothing new is accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_drains() {
    let fixture = Fixture::new(&[]);
    let alice = fixture.client(Some(&fixture.enrol("alice")));
    let (mut busy, mut idle) = (alice.connect().await.unwrap(), alice.connect().await.unwrap());
    assert_eq!(request(&mut idle, b"x").await.unwrap(), b"alice");
    busy.write_all(&message(b"wait")).await.unwrap();
    patiently(fixture.handler.working.notified()).await;

    fixture.stop.send(true).unwrap();
    patiently(fixture.accepting).await.unwrap();
    let registry = fixture.registry.clone();
    let drained = tokio::spawn(async move { registry.drain(PATIENCE).await });
    assert_eq!(end_of(&mut idle).await, b"");
    fixture.handler.go_on.notify_one();
    assert_eq!(answer(&mut busy, b"wait").await.unwrap(), b"alice");
    assert_eq!(end_of(&mut busy).await, b"");
    assert_eq!(patiently(drained).await.unwrap(), 0);
    TcpStream::connect(fixture.address).await.expect_err("still accepting");
}

/// A renewed server certificate meets the next handshake; who is connected stays connected.
#[tokio::test]
async fn a_renewed_server_certificate_is_presented_at_once() {
    let fixture = Fixture::new(&[]);
    let identity = fixture.enrol("alice");
    let mut connected = fixture.client(Some(&identity)).connect().await.unwrap();
    request(&mut connected, b"before").await.unwrap();
    let renewed = issue(&fixture.server_ca, Profile::ServerCertificate, "localhost", OffsetDateTime::now_utc(), 1);
    fixture.identity.replace(std::slice::from_ref(&renewed.certificate), &renewed.key).unwrap();

    let next = fixture.client(Some(&identity)).connect().await.unwrap();
    assert_eq!(next.get_ref().1.peer_certificates().unwrap()[0].as_ref(), renewed.certificate.der());
    assert_ne!(connected.get_ref().1.peer_certificates().unwrap()[0].as_ref(), renewed.certificate.der());
    assert_eq!(request(&mut connected, b"after").await.unwrap(), b"alice");
}
