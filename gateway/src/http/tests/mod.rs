//! What clients of every kind meet at the HTTP listeners: with and without certificates, over both versions, too large, too
//! slow, from elsewhere, and cut off while they are connected.
//!
//! Method: listeners over real sockets and TLS; each test is one story. Waiting is always for an event, with a deadline that
//! fails the test.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

pub(crate) mod fixture;

use std::sync::Arc;

use axum::{
    Extension, Router,
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use self::fixture::{Running, Sender, World, issue, self_signed, soon};
use super::Peer;
use crate::identity::ClientCertificates::{Optional, Required};

/// `/who` says who asks, `/echo` gives back the body, `/wait` answers when the test says so.
fn router() -> (Router, Arc<Gate>) {
    let gate = Arc::new(Gate { working: Notify::new(), go_on: Notify::new() });
    let waiting = gate.clone();
    let wait = move || async move {
        waiting.working.notify_one();
        waiting.go_on.notified().await;
        "done"
    };
    let router = Router::new().route("/who", get(who)).route("/echo", post(|body: String| async { body })).route("/wait", get(wait));
    (router, gate)
}

struct Gate {
    working: Notify,
    go_on: Notify,
}

async fn who(Extension(peer): Extension<Peer>) -> String {
    let certificates = peer.certificates.map_or(0, |chain| chain.len());
    format!("{certificates} {} {}", peer.address.ip(), peer.connection)
}

/// Whether the server ends a connection of its own accord.
async fn is_ended(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = Vec::new();
    // A reset is an end as well.
    tokio::time::timeout(fixture::PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn an_optional_listener_takes_clients_with_and_without_a_certificate() {
    let world = World::new(&[]);
    let running = world.https(Optional, router().0);
    for (identity, certificates) in [(Some(&world.client), "1"), (None, "0")] {
        let stream = world.connect(running.address, identity, b"h2").await.unwrap();
        let (status, body) = soon(Sender::http2(stream).await.ask("GET", "/who", b"")).await.unwrap();
        assert_eq!((status, body.split(' ').next()), (200, Some(certificates)));
        let stream = world.connect(running.address, identity, b"http/1.1").await.unwrap();
        let (status, body) = soon(Sender::http1(stream).await.ask("GET", "/who", b"")).await.unwrap();
        assert_eq!((status, body.split(' ').next()), (200, Some(certificates)));
    }
}

#[tokio::test]
async fn strangers_are_refused_in_the_handshake() {
    let world = World::new(&[]);
    let stranger = issue(&self_signed(keygate_pki::Profile::AdminCa, "others"), keygate_pki::Profile::AdminCertificate, "a");
    let unknown = issue(&world.issuer, keygate_pki::Profile::AdminCertificate, "a");
    let (optional, required) = (world.https(Optional, router().0), world.https(Required, router().0));
    for (running, identity) in [(&optional, Some(&stranger)), (&optional, Some(&unknown)), (&required, Some(&stranger)), (&required, None)] {
        // TLS 1.3: the client is done before the server has looked at its certificate.
        let refused = match world.connect(running.address, identity, b"http/1.1").await {
            Ok(stream) => soon(Sender::http1(stream).await.ask("GET", "/who", b"")).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
    let stream = world.connect(required.address, Some(&world.client), b"http/1.1").await.unwrap();
    assert_eq!(soon(Sender::http1(stream).await.ask("GET", "/who", b"")).await.unwrap().0, 200);
    let events = world.refusals.rest(std::time::Instant::now(), 0);
    assert_eq!(events.len(), 3, "{events:?}");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let world = World::new(&[]);
    let running = world.https(Optional, router().0);
    let mut http1 = Sender::http1(world.connect(running.address, None, b"http/1.1").await.unwrap()).await;
    let mut http2 = Sender::http2(world.connect(running.address, None, b"h2").await.unwrap()).await;
    for sender in [&mut http1, &mut http2] {
        let first = soon(sender.ask("GET", "/who", b"")).await.unwrap();
        assert_eq!(soon(sender.ask("POST", "/echo", b"x")).await.unwrap(), (200, "x".into()));
        // The number of the connection is part of the answer.
        assert_eq!(soon(sender.ask("GET", "/who", b"")).await.unwrap(), first);
    }
    assert_eq!(running.registry.count(), 2);
}

/// The client is disabled: its idle connection ends, its request under way is not answered, it does not come in again. A peer
/// without a certificate does not notice.
#[tokio::test]
async fn a_client_that_is_disabled_is_cut_off() {
    let world = World::new(&[]);
    let (router, gate) = router();
    let running = world.https(Optional, router);
    let mut idle = world.connect(running.address, Some(&world.client), b"http/1.1").await.unwrap();
    idle.write_all(b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 512]).await.unwrap(), 0);
    let mut nobody = Sender::http2(world.connect(running.address, None, b"h2").await.unwrap()).await;
    assert_eq!(soon(nobody.ask("GET", "/who", b"")).await.unwrap().0, 200);
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let stream = world.connect(running.address, Some(&world.client), alpn).await.unwrap();
        let mut sender = if alpn == b"h2" { Sender::http2(stream).await } else { Sender::http1(stream).await };
        let asked = tokio::spawn(async move { sender.ask("GET", "/wait", b"").await });
        soon(gate.working.notified()).await;
        if alpn == b"http/1.1" {
            world.disable();
            assert!(soon(asked).await.unwrap().is_err());
        } else {
            gate.go_on.notify_one();
            assert_eq!(soon(asked).await.unwrap().unwrap(), (200, "done".into()));
        }
    }
    assert!(is_ended(&mut idle).await);
    let again = world.connect(running.address, Some(&world.client), b"http/1.1").await;
    assert!(again.is_err() || is_ended(&mut again.unwrap()).await);
    assert_eq!(soon(nobody.ask("GET", "/who", b"")).await.unwrap().0, 200);
}

/// Over HTTP/2 too, a request under way gets no answer after its client is disabled.
#[tokio::test]
async fn http2_requests_of_a_disabled_client_are_not_answered() {
    let world = World::new(&[]);
    let (router, gate) = router();
    let running = world.https(Required, router);
    let mut sender = Sender::http2(world.connect(running.address, Some(&world.client), b"h2").await.unwrap()).await;
    let asked = tokio::spawn(async move { sender.ask("GET", "/wait", b"").await });
    soon(gate.working.notified()).await;
    world.disable();
    gate.go_on.notify_one();
    assert!(soon(asked).await.unwrap().is_err());
}

#[tokio::test]
async fn a_body_too_large_is_answered_413() {
    let world = World::new(&[]);
    let running = world.https(Optional, router().0);
    let mut http2 = Sender::http2(world.connect(running.address, None, b"h2").await.unwrap()).await;
    assert_eq!(soon(http2.ask("POST", "/echo", &[b'x'; 1000])).await.unwrap().0, 200);
    for size in [1001, 200_000] {
        let mut http1 = Sender::http1(world.connect(running.address, None, b"http/1.1").await.unwrap()).await;
        for sender in [&mut http1, &mut http2] {
            let (status, body) = soon(sender.ask("POST", "/echo", &vec![b'x'; size])).await.unwrap();
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, &problem["code"], &problem["status"]), (413, &"too-large".into(), &413.into()), "{body}");
        }
    }
    // Neither a declared length nor the lack of one makes the server wait for, or hold, more.
    for head in ["content-length: 9999999999", "transfer-encoding: chunked\r\nexpect: 100-continue", "content-length: 2000\r\nexpect: 100-continue"] {
        let mut stream = world.connect(running.address, None, b"http/1.1").await.unwrap();
        stream.write_all(format!("POST /echo HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
        if head.starts_with("transfer") {
            let chunk = format!("4e20\r\n{}\r\n", "x".repeat(20_000));
            stream.write_all(format!("{}0\r\n\r\n", chunk.repeat(20)).as_bytes()).await.unwrap();
        }
        let mut answer = String::new();
        while !answer.contains("413 ") {
            let mut octets = [0; 1024];
            let count = soon(stream.read(&mut octets)).await.unwrap();
            assert_ne!(count, 0, "{head}: {answer}");
            answer += &String::from_utf8_lossy(&octets[..count]);
        }
    }
}

/// A header, or a body, that comes one octet at a time ends at its deadline; a connection that waits for a longer time than
/// that, between requests, is kept.
#[tokio::test]
async fn slow_senders_are_ended_and_patient_ones_are_not() {
    let world = World::new(&["limits.frame_seconds=1"]);
    let (secured, plain) = (world.https(Optional, router().0), world.plain(router().0, ""));
    let mut patient = Sender::http1(TcpStream::connect(plain.address).await.unwrap()).await;
    assert_eq!(soon(patient.ask("GET", "/who", b"")).await.unwrap().0, 200);
    let mut slow = world.connect(secured.address, None, b"http/1.1").await.unwrap();
    slow.write_all(b"GET /who HTTP/1.1\r\nhost: ").await.unwrap();
    let mut plain_slow = TcpStream::connect(plain.address).await.unwrap();
    plain_slow.write_all(b"G").await.unwrap();
    let mut slow_body = TcpStream::connect(plain.address).await.unwrap();
    slow_body.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx").await.unwrap();
    assert!(is_ended(&mut slow).await && is_ended(&mut plain_slow).await);
    let mut answer = String::new();
    soon(slow_body.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"too-slow\""), "{answer}");
    assert_eq!(soon(patient.ask("GET", "/who", b"")).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_header_too_large_is_refused() {
    let world = World::new(&[]);
    let plain = world.plain(router().0, "");
    let mut stream = TcpStream::connect(plain.address).await.unwrap();
    let fields = "a: b\r\n".repeat(100);
    stream.write_all(format!("GET /who HTTP/1.1\r\nhost: x\r\n{fields}\r\n").as_bytes()).await.unwrap();
    let mut octets = [0; 64];
    let count = soon(stream.read(&mut octets)).await.unwrap();
    assert!(octets[..count].starts_with(b"HTTP/1.1 431 "));
}

#[tokio::test]
async fn peers_from_elsewhere_are_dropped_before_tls() {
    let world = World::new(&[]);
    let elsewhere = world.plain(router().0, "192.0.2.0/24, 2001:db8::/32");
    let mut stream = TcpStream::connect(elsewhere.address).await.unwrap();
    assert!(is_ended(&mut stream).await);
    let here = world.plain(router().0, "192.0.2.0/24, 127.0.0.0/8");
    let mut sender = Sender::http1(TcpStream::connect(here.address).await.unwrap()).await;
    assert_eq!(soon(sender.ask("GET", "/who", b"")).await.unwrap().0, 200);
    assert_eq!(world.refusals.rest(std::time::Instant::now(), 0).len(), 1);
}

#[tokio::test]
async fn refusals_are_problem_details() {
    let world = World::new(&[]);
    let running = world.plain(router().0, "");
    let mut sender = Sender::http1(TcpStream::connect(running.address).await.unwrap()).await;
    for (method, path, status, code, allow) in [
        ("GET", "/none", 404, "not-found", None),
        ("POST", "/who", 405, "method-not-allowed", Some("GET,HEAD")),
        ("DELETE", "/echo", 405, "method-not-allowed", Some("GET, HEAD, POST")),
    ] {
        let response = soon(sender.send(method, path, b"")).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["content-type"], super::PROBLEM_JSON);
        assert_eq!(response.headers().get("allow").map(|value| value.to_str().unwrap()), allow);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], code);
    }
}

/// At the end, a request under way is answered, and connections that wait are closed without being waited for.
#[tokio::test]
async fn a_drain_answers_what_is_under_way() {
    let world = World::new(&[]);
    let (router, gate) = router();
    let Running { address, registry, stop, accepting } = world.https(Optional, router);
    let mut fresh = world.connect(address, None, b"http/1.1").await.unwrap();
    let mut used = Sender::http1(world.connect(address, None, b"http/1.1").await.unwrap()).await;
    assert_eq!(soon(used.ask("GET", "/who", b"")).await.unwrap().0, 200);
    let mut sender = Sender::http2(world.connect(address, None, b"h2").await.unwrap()).await;
    let asked = tokio::spawn(async move { sender.ask("GET", "/wait", b"").await });
    soon(gate.working.notified()).await;
    stop.send(true).unwrap();
    soon(accepting).await.unwrap();
    let draining = tokio::spawn(async move { registry.drain(fixture::PATIENCE).await });
    assert!(is_ended(&mut fresh).await);
    assert!(soon(used.ask("GET", "/who", b"")).await.is_err());
    gate.go_on.notify_one();
    assert_eq!(soon(asked).await.unwrap().unwrap(), (200, "done".into()));
    assert_eq!(soon(draining).await.unwrap(), 0);
}

/// The bound is reached by peers that have proven nothing: after a moment they give way.
#[tokio::test]
async fn silent_strangers_give_way_at_the_bound() {
    let world = World::new(&["limits.http_connections_max=2"]);
    let running = world.https(Optional, router().0);
    let mut known = Sender::http1(world.connect(running.address, Some(&world.client), b"http/1.1").await.unwrap()).await;
    assert_eq!(soon(known.ask("GET", "/who", b"")).await.unwrap().0, 200);
    let mut silent = world.connect(running.address, None, b"http/1.1").await.unwrap();
    let served = soon(async {
        loop {
            if let Ok(stream) = world.connect(running.address, None, b"http/1.1").await
                && let Ok(answer) = Sender::http1(stream).await.ask("GET", "/who", b"").await
            {
                return answer.0;
            }
        }
    });
    assert_eq!(served.await, 200);
    assert!(is_ended(&mut silent).await);
    assert_eq!(soon(known.ask("GET", "/who", b"")).await.unwrap().0, 200);
}
