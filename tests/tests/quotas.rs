//! Goal: a client over its quota is told so by the specific KMIP result reason, on a connection that stays, while others are
//! served; and the metrics say how often.
//! Method: a gateway with small quotas, clients that ask for too much.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use keygate_kmip::{Operation, ResultReason};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request;
use keygate_tests::ttlv::Item;

const V1_4: (i32, i32) = (1, 4);
const V2_1: (i32, i32) = (2, 1);

fn create(client: &mut TlsKmipClient, version: (i32, i32)) -> Result<Item, (u32, String)> {
    request::outcome(&client.request(&request::create_aes(version, 256, None)).expect("an answer"))
}

fn discover(client: &mut TlsKmipClient, version: (i32, i32)) -> Result<Item, (u32, String)> {
    let message = request::message(version, vec![(Operation::DiscoverVersions, Vec::new())]);
    request::outcome(&client.request(&message).expect("an answer"))
}

fn metrics(gateway: &TestGateway) -> String {
    let mut socket = TcpStream::connect(gateway.address("status")).expect("a connection");
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Eight connections of one client make keys at once: ten are made, no more, also after a restart; destroying one makes room.
#[test]
fn objects_of_a_client() {
    let mut gateway = Setup::new().set("limits.objects_per_client", "10").start();
    let made: usize = thread::scope(|scope| {
        let ask = || {
            let mut client = gateway.connect("a");
            (0..5).filter(|_| create(&mut client, V2_1).is_ok()).count()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("joined")).sum()
    });
    assert_eq!(made, 10);
    assert!(metrics(&gateway).contains("keygate_over_quota_total{quota=\"objects_per_client\"} 30\n"));
    let mut other = gateway.connect("b");
    let key = request::identifier(&create(&mut other, V1_4).expect("the quota of another client"));
    gateway.stop().expect("stopped");
    gateway.start().expect("started");
    let mut client = gateway.connect("a");
    for (version, reason) in [(V2_1, ResultReason::ServerLimitExceeded), (V1_4, ResultReason::GeneralFailure)] {
        let (code, message) = create(&mut client, version).expect_err("over the quota");
        assert_eq!((code, message.as_str()), (reason.code(), "the quota of 10 objects of a client is used up"));
    }
    let mut other = gateway.connect("b");
    (0..9).for_each(|_| drop(create(&mut other, V2_1).expect("within the quota")));
    create(&mut other, V2_1).expect_err("over the quota");
    let destroyed = other.request(&request::on(V1_4, Operation::Destroy, &key)).expect("an answer");
    request::outcome(&destroyed).expect("destroyed");
    create(&mut other, V2_1).expect("a destroyed object does not count");
}

/// A client that asks too often is refused item by item, on a connection that stays; another client is served meanwhile.
#[test]
fn requests_in_a_second() {
    let gateway = Setup::new().set("limits.requests_per_second_per_client", "1").start();
    let (mut client, mut other) = (gateway.connect("a"), gateway.connect("b"));
    let batch = request::message(V2_1, (0..30).map(|_| (Operation::DiscoverVersions, Vec::new())).collect());
    request::outcome(&client.request(&batch).expect("an answer"))
        .expect("a bucket that is full lets any message through");
    for (version, reason) in [(V2_1, ResultReason::ServerLimitExceeded), (V1_4, ResultReason::GeneralFailure)] {
        let (code, message) = discover(&mut client, version).expect_err("over the quota");
        assert_eq!(code, reason.code());
        assert!(message.starts_with("the quota of 1 requests a second of the client is used up: wait "), "{message}");
    }
    let refused = client.request(&batch).expect("an answer");
    let items = refused.fields().iter().filter(|item| item.tag == keygate_kmip::Tag::BATCH_ITEM.0);
    let items: Vec<_> = items.collect();
    assert_eq!(items.len(), 30, "each item is answered");
    assert!(items.iter().all(|item| request::item_outcome(item).is_err()));
    discover(&mut other, V2_1).expect("served");
    assert!(metrics(&gateway).contains("keygate_requests_over_quota_total{whose=\"client\"} 3\n"));
}

/// Nothing is refused by default, however fast a client asks.
#[test]
fn no_quota_by_default() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    (0..500).for_each(|_| drop(discover(&mut client, V2_1).expect("served")));
    assert!(metrics(&gateway).contains("keygate_requests_over_quota_total{whose=\"client\"} 0\n"));
}
