//! Goal: who may connect, and what clients that misbehave on the wire cost the others: nothing.
//! Method: real sockets; deadlines shortened by settings; an honest client beside each.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::client::{Credentials, TlsKmipClient};
use keygate_tests::database::Database;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, text};
use keygate_tests::ttlv::Item;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

const V1_4: (i32, i32) = (1, 4);

fn discover() -> Item {
    request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())])
}

fn create(client: &mut TlsKmipClient) -> String {
    let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
    request::identifier(&request::outcome(&answer).expect("Create"))
}

fn get(client: &mut TlsKmipClient, identifier: &str) -> Result<Item, (u32, String)> {
    request::outcome(&client.request(&request::on(V1_4, Operation::Get, identifier)).expect("an answer"))
}

/// How long the server takes to close a socket on which `bytes` were sent.
fn closes_within(gateway: &TestGateway, bytes: &[u8], limit: Duration) -> Duration {
    let mut socket = TcpStream::connect(gateway.address("kmip")).expect("a connection");
    socket.set_read_timeout(Some(limit)).expect("a timeout");
    socket.write_all(bytes).expect("sent");
    let start = Instant::now();
    let mut answer = [0; 64];
    loop {
        match socket.read(&mut answer) {
            Ok(0) => return start.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return start.elapsed(),
            Err(error) => panic!("still open after {limit:?}: {error}"),
        }
    }
}

/// Slow and silent clients, in each phase, are closed by the deadline of that phase while another client is served.
#[test]
fn slow_and_silent_clients_are_closed_and_others_served() {
    let gateway = Setup::new()
        .set("limits.handshake_seconds", "1")
        .set("limits.frame_seconds", "1")
        .set("limits.idle_seconds", "2")
        .start();
    let mut honest = gateway.connect("a");
    // 200 that say nothing, and one that begins a TLS record and stops.
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(gateway.address("kmip")).expect("a connection")).collect();
    assert!(honest.request(&discover()).is_ok(), "served beside silent connections");
    closes_within(&gateway, &[0x16, 0x03, 0x01], Duration::from_secs(5));
    drop(silent);

    // A frame that never ends: one byte, then nothing.
    let mut slow = gateway.connect("b");
    slow.send(&[0x42]).expect("sent");
    let start = Instant::now();
    assert!(slow.is_closed());
    assert!(start.elapsed() < Duration::from_secs(6), "closed after {:?}", start.elapsed());

    // No request at all.
    let mut idle = gateway.connect("b");
    assert!(idle.request(&discover()).is_ok());
    assert!(idle.is_closed());
    assert!(gateway.connect("a").request(&discover()).is_ok());
}

/// A client that sends requests and never reads the answers does not hold up others.
#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let gateway = Setup::new().set("limits.write_seconds", "1").start();
    let mut honest = gateway.connect("a");
    let key = create(&mut honest);
    let mut deaf = gateway.connect("a");
    let batch: Vec<_> = (0..2_000).map(|_| (Operation::Get, vec![text(Tag::UNIQUE_IDENTIFIER, &key)])).collect();
    let message = request::message(V1_4, batch).encode();
    // The kernel's buffers take some; in the end sending fails because the server has given up.
    let gave_up = (0..200).any(|_| deaf.send(&message).is_err());
    assert!(gave_up, "the server reads on for a client that does not");
    assert!(get(&mut honest, &key).is_ok());
}

fn refused(gateway: &TestGateway, config: rustls::ClientConfig) -> String {
    let mut client = TlsKmipClient::connect_with(gateway.address("kmip"), "localhost", config).expect("a socket");
    // In TLS 1.3 the server's refusal of a client certificate arrives after the client's handshake is done.
    match client.handshake().and_then(|()| client.request(&discover())) {
        Ok(_) => panic!("served"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn without_a_certificate_there_is_no_connection() {
    let gateway = Setup::new().start();
    let config = gateway.client("a").tls_without_certificate().expect("a configuration");
    let alert = refused(&gateway, config);
    assert!(alert.contains("CertificateRequired") || alert.contains("HandshakeFailure"), "{alert}");
}

/// A certificate with the names of another client and of the administrator, self-signed or from an authority of one's own.
fn stranger(gateway: &TestGateway, not_after_year: i32) -> Credentials {
    let mut parameters = CertificateParams::new(vec!["a".to_owned(), "admin".to_owned()]).expect("names");
    parameters.distinguished_name.push(DnType::CommonName, "a");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(not_after_year, 1, 1);
    let mut ca = CertificateParams::new(Vec::new()).expect("no names");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.signed_by(&key, &ca).expect("a certificate");
    Credentials {
        chain: vec![certificate.der().clone(), ca.der().clone()],
        key: rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        roots: gateway.client("a").roots,
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused_by_its_name() {
    let gateway = Setup::new().start();
    let alert = refused(&gateway, stranger(&gateway, 2090).tls().expect("a configuration"));
    assert!(
        alert.contains("UnknownCA") || alert.contains("CertificateUnknown") || alert.contains("BadCertificate"),
        "{alert}"
    );
}

/// Names in certificates are labels: a client whose CN and SAN are another's gets what is its own and nothing else.
#[test]
fn forged_names_give_nothing() {
    let gateway = Setup::new().start();
    let mut owner = gateway.connect("a");
    let key = create(&mut owner);
    // A vendor's request with the names of client `a` and of the administrator, signed by the gateway for `mallory`.
    let mut parameters =
        CertificateParams::new(vec!["a".to_owned(), "admin".to_owned(), "localhost".to_owned()]).expect("names");
    parameters.distinguished_name.push(DnType::CommonName, "a");
    let pair = KeyPair::generate().expect("a key");
    let request = parameters.serialize_request(&pair).expect("a request").pem().expect("PEM");
    let csr = gateway.scratch().join("mallory.csr");
    std::fs::write(&csr, request).expect("written");
    let out = gateway.scratch().join("mallory");
    let _ = gateway.keygate_ok(&[
        "client",
        "add",
        "mallory",
        "--csr",
        &csr.to_string_lossy(),
        "--out",
        &out.to_string_lossy(),
    ]);
    std::fs::write(out.join("key.pem"), pair.serialize_pem()).expect("written");
    let credentials = Credentials::read(&out).expect("credentials");
    assert_nothing_of(&gateway, &credentials, &key);

    // The same with a certificate made elsewhere and pinned.
    let foreign = stranger(&gateway, 2090);
    let pem = gateway.scratch().join("pinned.pem");
    let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64_lines(&foreign.chain[0]));
    std::fs::write(&pem, text).expect("written");
    let pinned = gateway.scratch().join("pinned");
    let _ = gateway.keygate_ok(&[
        "client",
        "add",
        "pinned",
        "--cert",
        &pem.to_string_lossy(),
        "--out",
        &pinned.to_string_lossy(),
    ]);
    assert_nothing_of(&gateway, &foreign, &key);
    assert!(get(&mut owner, &key).is_ok());
}

fn base64_lines(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join("\n")
}

/// Connects, is served, and finds neither the key nor a trace of it: absent and forbidden look alike.
fn assert_nothing_of(gateway: &TestGateway, credentials: &Credentials, key: &str) {
    let mut client = TlsKmipClient::connect(gateway.address("kmip"), credentials).expect("a connection");
    let forbidden = get(&mut client, key).expect_err("another's key");
    let absent = get(&mut client, "00000000-0000-7000-8000-000000000000").expect_err("no such key");
    assert_eq!(forbidden.0, ResultReason::ItemNotFound.code());
    assert_eq!(forbidden.0, absent.0);
    for operation in [Operation::GetAttributes, Operation::GetAttributeList, Operation::Activate, Operation::Destroy] {
        let answer = client.request(&request::on(V1_4, operation, key)).expect("an answer");
        assert_eq!(
            request::outcome(&answer).expect_err("another's key").0,
            ResultReason::ItemNotFound.code(),
            "{operation}"
        );
    }
    let located = client.request(&request::message(V1_4, vec![(Operation::Locate, Vec::new())])).expect("an answer");
    let located = request::outcome(&located).expect("Locate");
    assert!(located.field(Tag::UNIQUE_IDENTIFIER.0).is_none(), "{located:?}");
    let own = create(&mut client);
    assert!(get(&mut client, &own).is_ok());
}

#[test]
fn an_expired_certificate_is_refused() {
    let gateway = Setup::new().start();
    let expired = stranger(&gateway, 2021);
    let pem = gateway.scratch().join("expired.pem");
    let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64_lines(&expired.chain[0]));
    std::fs::write(&pem, text).expect("written");
    let out = gateway.scratch().join("expired");
    let added = gateway
        .keygate(&["client", "add", "expired", "--cert", &pem.to_string_lossy(), "--out", &out.to_string_lossy()])
        .expect("the command runs");
    // Refused when it is pinned, or else when it connects.
    if added.status.success() {
        let alert = refused(&gateway, expired.tls().expect("a configuration"));
        assert!(alert.contains("Expired"), "{alert}");
    } else {
        assert!(String::from_utf8_lossy(&added.stderr).contains("expired"));
    }
}

/// Disabling a client closes its connection and refuses new ones, resumed sessions included, within a second.
#[test]
fn a_disabled_client_is_cut_off_within_a_second() {
    let gateway = Setup::new().start();
    let config = gateway.client("b").tls().expect("a configuration");
    let connect =
        || TlsKmipClient::connect_with(gateway.address("kmip"), "localhost", config.clone()).expect("a socket");
    let mut live = connect();
    live.request(&discover()).expect("served");
    let _ = gateway.keygate_ok(&["client", "disable", "b"]);
    let start = Instant::now();
    assert!(live.is_closed());
    assert!(start.elapsed() < Duration::from_secs(1), "closed after {:?}", start.elapsed());
    assert!(connect().request(&discover()).is_err(), "a resumed session is refused");
    assert!(gateway.connect("a").request(&discover()).is_ok());
    let _ = gateway.keygate_ok(&["client", "enable", "b"]);
    let deadline = Instant::now() + Duration::from_secs(1);
    while connect().request(&discover()).is_err() {
        assert!(Instant::now() < deadline, "not enabled within a second");
    }
}

/// A grant opens exactly what it names, and closes when it is removed.
#[test]
fn a_grant_opens_what_it_names() {
    let gateway = Setup::new().start();
    let key = create(&mut gateway.connect("a"));
    let mut other = gateway.connect("b");
    assert!(get(&mut other, &key).is_err());
    let _ = gateway.keygate_ok(&["grant", "add", &key, "--to", "b", "--operations", "Get"]);
    let deadline = Instant::now() + Duration::from_secs(1);
    while get(&mut other, &key).is_err() {
        assert!(Instant::now() < deadline, "a grant is in force within a second");
    }
    let destroy = other.request(&request::on(V1_4, Operation::Destroy, &key)).expect("an answer");
    assert!(request::outcome(&destroy).is_err(), "Destroy was not granted");
}

/// Refused handshakes are in the audit record, each reason once with a count, however often somebody knocks.
#[test]
fn refused_handshakes_are_recorded_and_cannot_flood_the_record() {
    let mut gateway = Setup::new().start();
    let foreign = stranger(&gateway, 2090).tls().expect("a configuration");
    let nameless = gateway.client("a").tls_without_certificate().expect("a configuration");
    let disabled = gateway.client("b").tls().expect("a configuration");
    let _ = gateway.keygate_ok(&["client", "disable", "b"]);
    for _ in 0..100 {
        let _ = refused(&gateway, nameless.clone());
    }
    let _ = refused(&gateway, foreign);
    let _ = refused(&gateway, disabled);
    gateway.stop().expect("stops");
    let mut database = Database::open(&gateway.data().join("store.db"));
    let segments = database.texts("SELECT CAST(body AS TEXT) FROM audit_segment");
    database.close();
    let events = segments.iter().flat_map(|body| body.lines()).filter(|line| line.contains("ConnectionRefused"));
    let events: Vec<serde_json::Value> = events.map(|line| serde_json::from_str(line).expect("an event")).collect();
    let told = |reason: &str| {
        let events: Vec<_> = events.iter().filter(|event| event["x"]["Counted"]["reason"] == reason).collect();
        assert!(events.iter().all(|event| event["from"] == "127.0.0.1" && event["by"] == "anon"), "{events:?}");
        let count: u64 = events.iter().filter_map(|event| event["x"]["Counted"]["count"].as_u64()).sum();
        (events.len(), count)
    };
    assert_eq!(told("unknown issuer"), (1, 1));
    assert_eq!(told("client disabled"), (1, 1));
    // One when it began, one for the rest at the end.
    let (written, counted) = told("no certificate");
    assert_eq!(counted, 100);
    assert!((1..=2).contains(&written), "{written} events");
    let verified = gateway.keygate_ok(&["audit", "verify"]);
    assert!(verified.contains("intact"), "{verified}");
}
