//! Goal: whatever comes over HTTPS gets the answer that HTTP or KMIP has for it, costs bounded time and memory, and changes nothing.
//! Method: tables of wrong requests and wrong texts; after them the store is as it was and others are served.

use std::time::{Duration, Instant};

use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::cases::transport::{Encoding, Transport};
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::kmip_https::KmipHttps;
use keygate_tests::request::{self, structure, text};
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);

fn https(gateway: &TestGateway) -> KmipHttps {
    KmipHttps::new(gateway.connect("a"))
}

fn create() -> Item {
    request::create_aes(V1_4, 256, Some("smuggled"))
}

/// No object of client `a` exists.
fn assert_nothing_made(gateway: &TestGateway) {
    let locate = request::message(V1_4, vec![(Operation::Locate, Vec::new())]);
    let answer = gateway.connect("a").request(&locate).expect("served");
    let payload = request::outcome(&answer).expect("Locate");
    assert!(payload.find(Tag::UNIQUE_IDENTIFIER.0).is_none(), "{payload:?}");
}

/// A request that would make a key if it were read as one.
fn post(fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST /kmip HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes(), body].concat()
}

/// What is no request of KMIP gets the status that says why.
#[test]
fn statuses_say_what_is_wrong() {
    let gateway = Setup::new().start();
    let body = create().encode();
    let length = format!("Content-Length: {}\r\n", body.len());
    let typed = |media_type: &str| post(&format!("Content-Type: {media_type}\r\n{length}"), &body);
    let octets = "Content-Type: application/octet-stream\r\n";
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("another path", b"POST /kmip/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_vec(), 404),
        ("the root", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 404),
        ("GET", b"GET /kmip HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 405),
        ("PUT", [b"PUT /kmip HTTP/1.1\r\nHost: a\r\n".as_slice(), length.as_bytes(), b"\r\n", &body].concat(), 405),
        ("no length", post(octets, b""), 411),
        ("no type", post(&length, &body), 415),
        ("text/plain", typed("text/plain"), 415),
        ("another charset", typed("text/xml; charset=iso-8859-1"), 415),
        ("two types", post(&format!("{octets}{octets}{length}"), &body), 415),
        ("compressed", post(&format!("{octets}Content-Encoding: gzip\r\n{length}"), &body), 415),
        ("10 MB of JSON, told", post("Content-Type: application/json\r\nContent-Length: 10000000\r\n", b""), 413),
        ("10 MB of XML, asked first", post("Content-Type: text/xml\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n", b""), 413),
        ("1 MiB and an octet of TTLV", post(&format!("{octets}Content-Length: 1048577\r\n"), &vec![0x42; 1_048_577]), 413),
        ("the same, asked first", post(&format!("{octets}Expect: 100-continue\r\nContent-Length: 1048577\r\n"), b""), 413),
        ("a header of 20 KiB", post(&format!("X: {}\r\n{octets}{length}", "x".repeat(20_000)), &body), 431),
        ("a hundred headers", post(&format!("{}{octets}{length}", "X: y\r\n".repeat(100)), &body), 431),
    ];
    let mut wrong = Vec::new();
    for (name, octets, status) in cases {
        let mut http = https(&gateway);
        http.send(&octets).expect("sent");
        match http.receive() {
            Ok(answer) if answer.status != status => wrong.push(format!("{name}: {} {}", answer.status, answer.text())),
            Ok(answer) if status == 405 && answer.header("allow") != Some("POST") => wrong.push(format!("{name}: no Allow")),
            Ok(_) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_nothing_made(&gateway);
}

/// Requests that two HTTP implementations could cut differently. Each is refused or ends the connection, and a request hidden
/// behind it is never answered.
#[test]
fn smuggling_shapes_reach_nobody() {
    let gateway = Setup::new().start();
    let hidden = {
        let body = create().encode();
        post(&format!("Content-Type: application/octet-stream\r\nContent-Length: {}\r\n", body.len()), &body)
    };
    let typed = "Content-Type: application/octet-stream\r\n";
    let cases: Vec<(&str, String)> = vec![
        ("length and chunked", format!("{typed}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("chunked and length", format!("{typed}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")),
        ("two lengths", format!("{typed}Content-Length: 0\r\nContent-Length: 5\r\n\r\n")),
        ("a list of lengths", format!("{typed}Content-Length: 0, 5\r\n\r\n")),
        ("a signed length", format!("{typed}Content-Length: +0\r\n\r\n")),
        ("a hexadecimal length", format!("{typed}Content-Length: 0x0\r\n\r\n")),
        ("a huge length", format!("{typed}Content-Length: 99999999999999999999\r\n\r\n")),
        ("a negative length", format!("{typed}Content-Length: -1\r\n\r\n")),
        ("a folded line", format!("{typed}X: a\r\n b: c\r\nContent-Length: 0\r\n\r\n")),
        ("a folded length", format!("{typed}Content-Length:\r\n 0\r\n\r\n")),
        ("a space before the colon", format!("{typed}Content-Length : 0\r\n\r\n")),
        ("a space in a name", format!("{typed}Content Length: 0\r\n\r\n")),
        ("another coding", format!("{typed}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("chunked first", format!("{typed}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n")),
        ("chunked twice", format!("{typed}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n")),
        ("a bad chunk size", format!("{typed}Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n")),
        ("a chunk size too large", format!("{typed}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n")),
        ("a chunk without end", format!("{typed}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n")),
        ("a NUL in a value", format!("{typed}X: a\0b\r\nContent-Length: 0\r\n\r\n")),
        ("a bare CR", format!("{typed}X: a\rContent-Length: 5\r\n\r\n")),
    ];
    let mut wrong = Vec::new();
    for (name, fields) in cases {
        let mut http = https(&gateway);
        let first = format!("POST /kmip HTTP/1.1\r\nHost: a\r\n{fields}");
        http.send(&[first.as_bytes(), &hidden].concat()).expect("sent");
        // One answer at most, and then the end.
        let first = http.receive();
        let is_wrong = match &first {
            Ok(answer) if answer.status == 200 => answer.header("connection") != Some("close"),
            Ok(answer) => answer.status < 400,
            Err(_) => false,
        };
        if is_wrong {
            wrong.push(format!("{name}: {first:?}"));
        } else if let Ok(second) = http.receive() {
            wrong.push(format!("{name}: a second answer {second:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_nothing_made(&gateway);
}

/// A text that cannot be read is answered by a message in the same encoding: Invalid Message, and where. The connection goes on.
#[test]
fn unreadable_texts_are_answered_in_their_encoding() {
    let gateway = Setup::new().start();
    let xml = String::from_utf8(Encoding::Xml.write(&create().encode()).expect("a message")).expect("UTF-8");
    let json = String::from_utf8(Encoding::Json.write(&create().encode()).expect("a message")).expect("UTF-8");
    let changed = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, to, 1)
    };
    let laughs = "<!DOCTYPE a [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    let deep = |open: &str, close: &str| open.repeat(5_000) + &close.repeat(5_000);
    let cases: Vec<(&str, Encoding, Vec<u8>)> = vec![
        ("nothing", Encoding::Xml, Vec::new()),
        ("an entity bomb", Encoding::Xml, format!("{laughs}{xml}").into_bytes()),
        ("an outer entity", Encoding::Xml, changed(&xml, "\"smuggled\"", "\"&file;\"").into_bytes()),
        ("a wrong type", Encoding::Xml, changed(&xml, "type=\"Integer\" value=\"1\"", "type=\"Integer\" value=\"one\"").into_bytes()),
        ("an attribute twice", Encoding::Xml, changed(&xml, "value=\"1\"", "value=\"1\" value=\"1\"").into_bytes()),
        ("cut short", Encoding::Xml, xml.as_bytes()[..xml.len() - 20].to_vec()),
        ("two messages", Encoding::Xml, format!("{xml}{xml}").into_bytes()),
        ("not UTF-8", Encoding::Xml, [xml.as_bytes(), b"<!-- \xff -->"].concat()),
        ("JSON as XML", Encoding::Xml, json.clone().into_bytes()),
        ("5,000 deep", Encoding::Xml, deep("<BatchItem>", "</BatchItem>").into_bytes()),
        ("TTLV as JSON", Encoding::Json, create().encode()),
        ("a member twice", Encoding::Json, changed(&json, "{\"tag\":\"RequestMessage\"", "{\"tag\":\"BatchItem\", \"tag\":\"RequestMessage\"").into_bytes()),
        ("an unknown member", Encoding::Json, changed(&json, "{\"tag\":\"RequestMessage\"", "{\"x\":1, \"tag\":\"RequestMessage\"").into_bytes()),
        ("a wrong type", Encoding::Json, changed(&json, "\"0x00000001\"", "true").into_bytes()),
        ("trailing text", Encoding::Json, format!("{json} x").into_bytes()),
        ("5,000 deep", Encoding::Json, deep("{\"tag\":\"BatchItem\",\"value\":[", "]}").into_bytes()),
        ("a simple item", Encoding::Json, br#"{"tag":"BatchCount","type":"Integer","value":1}"#.to_vec()),
    ];
    let mut http = https(&gateway);
    let mut wrong = Vec::new();
    for (name, encoding, body) in cases {
        let answer = http.post(encoding.media_type(), &body).expect("an answer");
        let message = encoding.read(&answer.body).ok().and_then(|message| Item::decode(&message).ok());
        let outcome = message.as_ref().map(request::outcome);
        match outcome {
            Some(Err((reason, text))) if reason == ResultReason::InvalidMessage.code() && text.len() < 200 && !text.contains("smuggled") => {}
            outcome => wrong.push(format!("{name} as {}: {} {outcome:?}", encoding.name(), answer.status)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_nothing_made(&gateway);
}

/// What is wrong with a message, not with its text, has the same reason in each encoding.
#[test]
fn reasons_are_the_same_in_each_encoding() {
    let gateway = Setup::new().start();
    let extension = |critical| {
        let fields = vec![
            text(Tag::VENDOR_IDENTIFICATION, "acme"),
            Item::new(Tag::CRITICALITY_INDICATOR.0, Value::Boolean(critical)),
            structure(Tag::VENDOR_EXTENSION, Vec::new()),
        ];
        let mut message = create();
        if let Value::Structure(items) = &mut message.value
            && let Some(Value::Structure(fields_of_item)) = items.last_mut().map(|item| &mut item.value)
        {
            fields_of_item.push(structure(Tag::MESSAGE_EXTENSION, fields));
        }
        message
    };
    let mut miscounted = create();
    if let Value::Structure(fields) = &mut miscounted.value {
        fields[0] = request::header(V1_4, 2, Vec::new());
    }
    let cases = [
        ("a critical extension", extension(true)),
        ("a wrong batch count", miscounted),
        ("no object", request::on(V1_4, Operation::Get, "none")),
        ("version 9.0", request::message((9, 0), vec![(Operation::Query, Vec::new())])),
    ];
    for (name, message) in cases {
        let outcomes = [Encoding::Ttlv, Encoding::Https, Encoding::Xml, Encoding::Json].map(|encoding| {
            let mut transport = Transport::new(gateway.connect("a"), encoding);
            let answer = transport.exchange(&message.encode(), None).expect("an answer");
            request::outcome(&Item::decode(&answer).expect("TTLV")).map(|_| ())
        });
        assert!(outcomes[0].is_err(), "{name}: {outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome == &outcomes[0]), "{name}: {outcomes:?}");
    }
    assert_nothing_made(&gateway);
    let answer = gateway.connect("a").request(&extension(false)).expect("an answer");
    assert!(request::outcome(&answer).is_ok(), "an extension that is not critical is passed over");
}

/// Slow headers and slow bodies are ended by the deadline of a request; others are served meanwhile.
#[test]
fn slow_requests_are_ended() {
    let gateway = Setup::new().set("limits.frame_seconds", "1").set("limits.idle_seconds", "2").start();
    let mut slow_body = https(&gateway);
    let mut slow_header = https(&gateway);
    let mut slow_letter = https(&gateway);
    let start = Instant::now();
    slow_body.send(&post("Content-Type: text/xml\r\nContent-Length: 100\r\n", b"<")).expect("sent");
    slow_header.send(b"POST /kmip HTTP/1.1\r\nHost").expect("sent");
    slow_letter.send(b"P").expect("sent");
    assert_nothing_made(&gateway);
    let answer = slow_body.receive().expect("an answer");
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(slow_header.is_closed());
    assert!(slow_letter.is_closed());
    assert!(start.elapsed() < Duration::from_secs(8), "ended after {:?}", start.elapsed());
    // Without any request the connection ends after the idle time.
    assert!(https(&gateway).is_closed());
}
