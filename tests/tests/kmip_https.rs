//! Goal: KMIP over HTTPS is the same server on the same port: TTLV, XML and JSON bodies, HTTP/1.1 and HTTP/2, one store, the same
//! rules for callers and connections.
//! Method: HTTP/1.1 written by hand, curl for HTTP/2, bare TLS beside them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::cases::transport::{Encoding, Transport};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway, succeed};
use keygate_tests::kmip_https::KmipHttps;
use keygate_tests::request;
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);
const V2_1: (i32, i32) = (2, 1);

fn https(gateway: &TestGateway, client: &str) -> KmipHttps {
    KmipHttps::new(gateway.connect(client))
}

/// One exchange in an encoding on an open connection.
fn ask(http: &mut KmipHttps, encoding: Encoding, message: &Item) -> Item {
    let body = encoding.write(&message.encode()).expect("a message");
    let answer = http.post(encoding.media_type(), &body).expect("an answer");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(encoding.media_type())), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    Item::decode(&encoding.read(&answer.body).expect("a message in the same encoding")).expect("TTLV")
}

fn material(answer: &Item) -> Vec<u8> {
    let payload = request::outcome(answer).expect("Get");
    payload.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("key material").to_vec()
}

/// A key that is made in one encoding is the same in the others, all on one connection, and over bare TLS.
#[test]
fn encodings_share_a_connection_and_a_store() {
    let gateway = Setup::new().start();
    let mut http = https(&gateway, "a");
    for maker in [Encoding::Https, Encoding::Xml, Encoding::Json] {
        let created = ask(&mut http, maker, &request::create_aes(V2_1, 256, None));
        let key = request::identifier(&request::outcome(&created).expect("Create"));
        let get = request::on(V1_4, Operation::Get, &key);
        let bare = material(&gateway.connect("a").request(&get).expect("an answer"));
        assert_eq!(bare.len(), 32);
        for reader in [Encoding::Https, Encoding::Xml, Encoding::Json] {
            assert_eq!(material(&ask(&mut http, reader, &get)), bare, "{maker:?} then {reader:?}");
        }
        // The caller is whose certificate it is, as over bare TLS.
        let other = ask(&mut https(&gateway, "b"), maker, &get);
        assert!(request::outcome(&other).is_err(), "{maker:?}: another client reads the key");
    }
    // Requests sent without waiting are answered in order.
    let discover = request::message(V2_1, vec![(Operation::DiscoverVersions, Vec::new())]);
    let requests = [request::create_aes(V2_1, 128, None), discover, request::create_aes(V2_1, 192, None)];
    let octets = requests.iter().flat_map(|message| {
        let body = message.encode();
        let fields = format!("Content-Type: application/octet-stream\r\nContent-Length: {}", body.len());
        [format!("POST /kmip HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes(), body].concat()
    });
    http.send(&octets.collect::<Vec<u8>>()).expect("sent");
    for operation in [Operation::Create, Operation::DiscoverVersions, Operation::Create] {
        let answer = Item::decode(&http.receive().expect("an answer").body).expect("TTLV");
        assert_eq!(answer.find(Tag::OPERATION.0).and_then(Item::code), Some(operation.code()), "{answer:?}");
    }
}

/// `application/xml` and parameters of the media type are taken, a chunked body too: it is the last of its connection.
#[test]
fn forms_of_a_request_that_mean_the_same() {
    let gateway = Setup::new().start();
    let message = request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())]).encode();
    let xml = Encoding::Xml.write(&message).expect("a message");
    let mut http = https(&gateway, "a");
    for (sent, answered) in [
        ("application/xml", "application/xml"),
        ("text/xml; charset=UTF-8", "text/xml"),
        ("Application/XML;charset=\"utf-8\"", "application/xml"),
    ] {
        let answer = http.post(sent, &xml).expect("an answer");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(answered)), "{sent}");
        assert!(answer.text().starts_with("<ResponseMessage>\n"), "{}", answer.text());
    }
    let chunked = format!(
        "POST /kmip HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        xml.len(),
        String::from_utf8_lossy(&xml)
    );
    http.send(chunked.as_bytes()).expect("sent");
    let answer = http.receive().expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(http.is_closed());
}

/// HTTP/2, as curl speaks it.
#[test]
fn http2_is_served_beside_http1() {
    let gateway = Setup::new().start();
    let folder = gateway.client_folder("a");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let file = gateway.scratch().join("create.json");
    let body = Encoding::Json.write(&request::create_aes(V2_1, 256, None).encode()).expect("a message");
    fs::write(&file, body).expect("a file");
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let text = succeed(
            Command::new("curl")
                .args(["--silent", "--show-error", option, "--cacert", &path("ca.pem"), "--cert", &path("cert.pem")])
                .args(["--key", &path("key.pem"), "--header", "Content-Type: application/json"])
                .args(["--write-out", "\n%{http_version} %{http_code}", "--data-binary"])
                .arg(format!("@{}", file.display()))
                .arg(format!("https://localhost:{}/kmip", gateway.address("kmip").port())),
        )
        .expect("curl");
        let (answer, status) = text.trim_end().rsplit_once('\n').expect("a status");
        assert_eq!(status, format!("{version} 200"));
        let answer = Item::decode(&Encoding::Json.read(answer.as_bytes()).expect("JSON")).expect("TTLV");
        assert!(request::outcome(&answer).is_ok(), "{answer:?}");
    }
}

/// ALPN is an offer, the first octet decides: clients that offer HTTP, something else or nothing may speak TTLV.
#[test]
fn what_a_client_offers_by_alpn_does_not_bind_it() {
    let gateway = Setup::new().start();
    let discover = request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())]);
    for offered in [vec![], vec![b"kmip".to_vec()], vec![b"h2".to_vec(), b"http/1.1".to_vec()]] {
        let mut config = gateway.client("a").tls().expect("a configuration");
        config.alpn_protocols.clone_from(&offered);
        let mut client = TlsKmipClient::connect_with(gateway.address("kmip"), "localhost", config).expect("a socket");
        let answer = client.request(&discover).unwrap_or_else(|error| panic!("offering {offered:?}: {error}"));
        assert!(request::outcome(&answer).is_ok());
    }
}

/// Maximum Response Size counts the octets of TTLV, whatever the answer takes as text.
#[test]
fn the_maximum_response_size_counts_ttlv() {
    let gateway = Setup::new().start();
    let query = |limit: i32| {
        let header = request::header(V1_4, 1, vec![request::integer(Tag::MAXIMUM_RESPONSE_SIZE, limit)]);
        let payload = vec![request::enumeration(Tag::QUERY_FUNCTION, 1)];
        let item = vec![request::enumeration(Tag::OPERATION, 0x18), request::structure(Tag::REQUEST_PAYLOAD, payload)];
        request::structure(Tag::REQUEST_MESSAGE, vec![header, request::structure(Tag::BATCH_ITEM, item)])
    };
    let size = i32::try_from(gateway.connect("a").exchange(&query(65_536).encode()).expect("an answer").len()).expect("small");
    for encoding in [Encoding::Ttlv, Encoding::Https, Encoding::Xml, Encoding::Json] {
        for (limit, fits) in [(size, true), (size - 1, false)] {
            let mut transport = Transport::new(gateway.connect("a"), encoding);
            let answer = transport.exchange(&query(limit).encode(), None).expect("an answer");
            let outcome = request::outcome(&Item::decode(&answer).expect("TTLV")).map_err(|(reason, _)| reason);
            match fits {
                true => assert!(outcome.is_ok(), "{encoding:?}: {outcome:?}"),
                false => assert_eq!(outcome, Err(ResultReason::ResponseTooLarge.code()), "{encoding:?}"),
            }
        }
    }
}

/// A disabled client's HTTPS connection ends within a second, as a bare one does.
#[test]
fn a_disabled_client_is_cut_off_from_https() {
    let gateway = Setup::new().start();
    let discover = request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())]);
    let mut http = https(&gateway, "b");
    let _ = ask(&mut http, Encoding::Json, &discover);
    let _ = gateway.keygate_ok(&["client", "disable", "b"]);
    let start = Instant::now();
    assert!(http.is_closed());
    assert!(start.elapsed() < Duration::from_secs(1), "closed after {:?}", start.elapsed());
    let _ = ask(&mut https(&gateway, "a"), Encoding::Json, &discover);
}

/// Connections over HTTPS count as others do, and a request under way at shutdown is answered.
#[test]
fn connections_over_https_are_bounded_and_drained() {
    let mut gateway = Setup::new().set("limits.connections_max", "3").start();
    let discover = request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())]);
    let mut open: Vec<KmipHttps> = (0..3).map(|_| https(&gateway, "a")).collect();
    for http in &mut open {
        let _ = ask(http, Encoding::Xml, &discover);
    }
    let mut fourth = gateway.connect("a");
    assert!(fourth.request(&discover).is_err(), "a fourth connection is served");
    let start = Instant::now();
    gateway.stop().expect("an orderly end");
    assert!(start.elapsed() < Duration::from_secs(10), "stopped after {:?}", start.elapsed());
    assert!(open.iter_mut().all(KmipHttps::is_closed));
}

/// The command line client says the same in each encoding, and shows no secret unless it is asked to.
#[test]
fn the_command_line_speaks_every_encoding() {
    let gateway = Setup::new().start();
    let folder = gateway.client_folder("a").to_string_lossy().into_owned();
    let server = format!("localhost:{}", gateway.address("kmip").port());
    let run = |arguments: &[&str], encoding: &str| {
        let mut command = keygate_tests::gateway::keygate().expect("the binary");
        command.arg("kmip").args(arguments).args(["--server", &server, "--credentials", &folder, "--encoding", encoding]);
        command.output().expect("it runs")
    };
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    for encoding in ["ttlv", "xml", "json"] {
        let name = format!("key-{encoding}");
        let created = run(&["create", "--name", &name, "--trace"], encoding);
        let key = text(&created);
        let trace = String::from_utf8_lossy(&created.stderr).into_owned();
        assert!(trace.contains("# request\n<RequestMessage>") && trace.contains("# answer\n<ResponseMessage>"), "{trace}");
        let got = run(&["get", &key, "--trace"], encoding);
        let material = text(&got);
        assert_eq!(material.len(), 64, "{encoding}: {got:?}");
        let trace = String::from_utf8_lossy(&got.stderr).into_owned();
        assert!(trace.contains("<KeyMaterial") && !trace.contains(&material), "{encoding}: {trace}");
        assert_eq!(text(&run(&["locate", "--name", &name], encoding)), key);
        let renewed = text(&run(&["rekey", &key], encoding));
        assert!(!renewed.is_empty() && renewed != key, "{encoding}: {renewed}");

        let file = gateway.scratch().join(format!("get-{encoding}.xml"));
        let message = Encoding::Xml.write(&request::on(V1_4, Operation::Get, &key).encode()).expect("a message");
        fs::write(&file, message).expect("a file");
        let file = file.to_string_lossy().into_owned();
        let masked = run(&["send", &file], encoding);
        assert!(masked.status.success() && text(&masked).contains("<KeyMaterial"), "{masked:?}");
        assert!(!text(&masked).contains(&material));
        assert!(text(&run(&["send", &file, "--unmasked"], encoding)).contains(&material));
    }
    // What is no request, or fails, says so by its exit code.
    let file = gateway.scratch().join("wrong.xml");
    for (content, code) in [
        ("<ResponseMessage/>", 2),
        ("<!DOCTYPE a><RequestMessage/>", 2),
        ("<RequestMessage/>", 1),
    ] {
        fs::write(&file, content).expect("a file");
        let output = run(&["send", &file.to_string_lossy()], "xml");
        assert_eq!(output.status.code(), Some(code), "{content}: {output:?}");
    }
}

/// A connection that began as HTTP stays HTTP, and one that began as TTLV stays TTLV.
#[test]
fn a_connection_does_not_change_its_protocol() {
    let gateway = Setup::new().start();
    let discover = request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())]);
    let mut http = https(&gateway, "a");
    let _ = ask(&mut http, Encoding::Https, &discover);
    http.send(&discover.encode()).expect("sent");
    match http.receive() {
        Ok(answer) => assert_eq!(answer.status, 400),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}"),
    }
    let mut bare = gateway.connect("a");
    bare.request(&discover).expect("served");
    let mut stream = bare.into_stream();
    stream.write_all(b"GET /kmip HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = Item::decode(&answer).expect("a KMIP answer");
    assert!(matches!(answer.find(Tag::RESULT_STATUS.0).map(|item| &item.value), Some(Value::Enumeration(1))));
}
