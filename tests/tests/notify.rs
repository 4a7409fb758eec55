//! Goal: a client that listens is told what happens to its objects, once each and in order, and nobody else is; a client that is
//! away costs bounded memory; nothing is sent that nobody asked for.
//! Method: real sockets; the client is a KMIP server of the test over mutual TLS.

use std::time::Duration;

use keygate_kmip::{Operation, PutFunction, QueryFunction, ResultReason, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::kmip_listener::{Call, KmipListener};
use keygate_tests::request::{self, attribute, enumeration, structure, text};
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);
const V2_1: (i32, i32) = (2, 1);
/// How long it is waited for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// A gateway whose client `a` listens.
fn listening(setup: Setup, more: &str) -> (TestGateway, KmipListener) {
    let listener = KmipListener::start().expect("a listener");
    let mut gateway = setup.prepare().expect("a data folder");
    gateway.configure(&listener.table("a", more));
    gateway.start().expect("it starts");
    (gateway, listener)
}

fn create(client: &mut TlsKmipClient) -> String {
    let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
    request::identifier(&request::outcome(&answer).expect("Create"))
}

fn ask(client: &mut TlsKmipClient, operation: Operation, identifier: &str, more: Vec<Item>) -> Item {
    let payload = [vec![text(Tag::UNIQUE_IDENTIFIER, identifier)], more].concat();
    let answer = client.request(&request::message(V1_4, vec![(operation, payload)])).expect("an answer");
    request::outcome(&answer).unwrap_or_else(|refused| panic!("{operation}: {refused:?}"))
}

fn contact(value: &str) -> Item {
    attribute("Contact Information", Value::TextString(value.to_owned()))
}

/// Names of the attributes in a call of 1.x.
fn told(call: &Call) -> Vec<String> {
    let attributes = call.payload().fields().iter().filter(|field| field.tag == Tag::ATTRIBUTE.0);
    let name = |field: &Item| field.field(Tag::ATTRIBUTE_NAME.0).and_then(Item::text).map(str::to_owned);
    let mut names: Vec<String> = attributes.filter_map(name).collect();
    names.sort();
    names
}

fn about(call: &Call) -> String {
    request::identifier(call.payload())
}

fn material(payload: &Item) -> Vec<u8> {
    payload.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("key material").to_vec()
}

#[test]
fn a_new_key_is_put_and_its_changes_are_notified_in_order() {
    let (gateway, listener) = listening(Setup::new(), "put = true\nnotify = true\n");
    let mut client = gateway.connect("a");
    let id = create(&mut client);
    let call = listener.next().expect("Put");
    assert_eq!((call.operation(), about(&call)), (Some(Operation::Put), id.clone()));
    let function = call.payload().field(Tag::PUT_FUNCTION.0).and_then(Item::code);
    assert_eq!(function, Some(PutFunction::New.code()));
    let header = call.request.field(Tag::REQUEST_HEADER.0).expect("a header").fields().iter().map(|field| field.tag);
    assert_eq!(
        header.collect::<Vec<_>>(),
        [Tag::PROTOCOL_VERSION.0, Tag::BATCH_COUNT.0],
        "nothing that KMIP 1.4 §5.1 forbids"
    );
    let pushed = material(call.payload());
    call.succeed(None);

    ask(&mut client, Operation::AddAttribute, &id, vec![contact("one")]);
    let call = listener.next().expect("Notify");
    assert_eq!(
        (call.operation(), told(&call)),
        (Some(Operation::Notify), vec!["Contact Information".into(), "Last Change Date".into()])
    );
    call.succeed(Some(structure(Tag::RESPONSE_PAYLOAD, Vec::new())));

    ask(&mut client, Operation::Activate, &id, Vec::new());
    let call = listener.next().expect("Notify");
    assert_eq!(told(&call), ["Last Change Date", "State"], "the Activation Date follows from them");
    call.succeed(None);

    // Reading changes nothing that is told; the key is the one that was put.
    assert_eq!(material(&ask(&mut client, Operation::Get, &id, Vec::new())), pushed);
    assert!(listener.next_within(SILENCE).is_none());
    // Other clients' keys are no business of this one.
    let mut other = gateway.connect("b");
    create(&mut other);
    assert!(listener.next_within(SILENCE).is_none());

    let list = gateway.keygate_ok(&["endpoint", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let endpoint = &list[0];
    assert_eq!(
        (endpoint["sent"].as_u64(), endpoint["failed"].as_u64(), endpoint["waiting"].as_u64()),
        (Some(3), Some(0), Some(0)),
        "{list}"
    );
    let audit = gateway.keygate_ok(&["audit", "search", "--json"]);
    for action in ["Put", "Notify"] {
        assert!(audit.contains(&format!("\"{action}\"")), "{action} is not in the audit record");
    }
    assert!(!gateway.log().contains(&hex::encode(&pushed)), "key material is in the log");
}

/// Re-key puts the new key in the place of the old, and tells of the old one's link.
#[test]
fn a_new_key_in_the_place_of_another_says_so() {
    let (gateway, listener) = listening(Setup::new(), "put = true\nnotify = true\n");
    let mut client = gateway.connect("a");
    let old = create(&mut client);
    listener.next().expect("Put").succeed(None);
    ask(&mut client, Operation::ReKey, &old, Vec::new());
    let call = listener.next().expect("Put");
    let replaced = call.payload().field(Tag::REPLACED_UNIQUE_IDENTIFIER.0).and_then(Item::text).map(str::to_owned);
    let function = call.payload().field(Tag::PUT_FUNCTION.0).and_then(Item::code);
    assert_eq!(
        (call.operation(), function, replaced),
        (Some(Operation::Put), Some(PutFunction::Replace.code()), Some(old.clone()))
    );
    call.succeed(None);
    let call = listener.next().expect("Notify");
    assert_eq!((call.operation(), about(&call)), (Some(Operation::Notify), old));
    assert!(told(&call).contains(&"Link".to_owned()));
    call.succeed(None);
}

/// What may not leave in the clear is not pushed, and a client that will not have something is not asked again.
#[test]
fn sensitive_keys_stay_and_refusals_are_final() {
    let (gateway, listener) = listening(Setup::new(), "put = true\nnotify = true\n");
    let mut client = gateway.connect("a");
    let attributes = vec![
        attribute("Cryptographic Algorithm", Value::Enumeration(3)),
        attribute("Cryptographic Length", Value::Integer(256)),
        attribute("Cryptographic Usage Mask", Value::Integer(0x0C)),
        attribute("Sensitive", Value::Boolean(true)),
    ];
    let payload = vec![enumeration(Tag::OBJECT_TYPE, 2), structure(Tag::TEMPLATE_ATTRIBUTE, attributes)];
    let answer = client.request(&request::message(V1_4, vec![(Operation::Create, payload)])).expect("an answer");
    request::outcome(&answer).expect("Create");
    // Both halves of a pair: Get refuses a public key that is called sensitive, too.
    let common = vec![
        attribute("Cryptographic Algorithm", Value::Enumeration(6)),
        attribute("Cryptographic Length", Value::Integer(256)),
        attribute("Sensitive", Value::Boolean(true)),
    ];
    let half = |tag, mask| structure(tag, vec![attribute("Cryptographic Usage Mask", Value::Integer(mask))]);
    let pair = vec![
        structure(Tag::COMMON_TEMPLATE_ATTRIBUTE, common),
        half(Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE, 1),
        half(Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE, 2),
    ];
    let answer = client.request(&request::message(V1_4, vec![(Operation::CreateKeyPair, pair)])).expect("an answer");
    request::outcome(&answer).expect("Create Key Pair");
    let id = create(&mut client);
    let call = listener.next().expect("Put");
    assert_eq!(about(&call), id, "the first that is sent is the one that may leave");
    call.refuse(ResultReason::PermissionDenied);
    ask(&mut client, Operation::AddAttribute, &id, vec![contact("one")]);
    let call = listener.next().expect("Notify");
    assert_eq!((call.operation(), about(&call)), (Some(Operation::Notify), id), "the Put is not tried again");
    call.succeed(None);
    assert!(listener.next_within(SILENCE).is_none());
    let list = gateway.keygate_ok(&["endpoint", "list", "--json"]);
    assert!(list.contains("\"failed\":1"), "{list}");
}

/// A client that is away: its requests are served meanwhile; when it is back it is told what is, each object once. One that hangs up
/// is tried again.
#[test]
fn a_client_that_is_away_is_told_later() {
    let (gateway, listener) = listening(Setup::new(), "notify = true\n");
    let mut client = gateway.connect("a");
    let (one, two) = (create(&mut client), create(&mut client));
    let listener = listener
        .restart(|| {
            ask(&mut client, Operation::AddAttribute, &one, vec![contact("first")]);
            for word in ["second", "third"] {
                ask(
                    &mut client,
                    Operation::AddAttribute,
                    &two,
                    vec![attribute("x-word", Value::TextString(word.to_owned()))],
                );
            }
        })
        .expect("it listens again");
    let call = listener.next().expect("Notify");
    assert_eq!(about(&call), one);
    call.hang_up();
    let call = listener.next().expect("the same again");
    assert_eq!((about(&call), told(&call)), (one, vec!["Contact Information".into(), "Last Change Date".into()]));
    call.succeed(None);
    let call = listener.next().expect("Notify");
    assert_eq!((about(&call), told(&call)), (two, vec!["Last Change Date".into(), "x-word".into(), "x-word".into()]));
    call.succeed(None);
    assert!(listener.next_within(SILENCE).is_none(), "what was told once is not told again");
}

/// A full queue drops and counts; what is tried too often is given up and counted.
#[test]
fn what_cannot_be_sent_is_dropped_and_counted() {
    let setup = Setup::new().set("notify.queue_max", "1").set("notify.attempts_max", "2");
    let (gateway, listener) = listening(setup, "notify = true\n");
    let mut client = gateway.connect("a");
    let ids: Vec<String> = (0..4).map(|_| create(&mut client)).collect();
    let failed = |gateway: &TestGateway| {
        let list = gateway.keygate_ok(&["endpoint", "list", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        list[0]["failed"].as_u64().expect("a count")
    };
    let listener = listener
        .restart(|| {
            for id in &ids {
                ask(&mut client, Operation::AddAttribute, id, vec![contact("one")]);
            }
            let begun = std::time::Instant::now();
            // One is tried twice and given up, or still tried; one waits; the others found no room.
            while failed(&gateway) < 3 {
                assert!(begun.elapsed() < Duration::from_secs(30), "the queue is bounded");
            }
        })
        .expect("it listens again");
    let call = listener.next_within(Duration::from_secs(30));
    assert!(failed(&gateway) >= 3);
    drop(call);
}

/// Off by default: without an endpoint nothing is sent, and clients cannot send what servers send.
#[test]
fn clients_may_not_send_what_servers_send() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let id = create(&mut client);
    let query = vec![(Operation::Query, vec![enumeration(Tag::QUERY_FUNCTION, 1)])];
    let answer = request::outcome(&client.request(&request::message(V2_1, query)).expect("an answer")).expect("Query");
    let listed: Vec<u32> = answer.fields().iter().filter_map(Item::code).collect();
    for operation in [Operation::Notify, Operation::Put, Operation::SetEndpointRole] {
        assert!(!listed.contains(&operation.code()), "{operation} is told of");
    }
    let notify = vec![text(Tag::UNIQUE_IDENTIFIER, &id), contact("mine")];
    let role = vec![enumeration(Tag::ENDPOINT_ROLE, 1)];
    for (version, operation, payload) in [(V1_4, Operation::Notify, notify), (V2_1, Operation::SetEndpointRole, role)] {
        let answer = client.request(&request::message(version, vec![(operation, payload)])).expect("an answer");
        let (reason, _) = request::outcome(&answer).expect_err("refused");
        assert_eq!(reason, ResultReason::OperationNotSupported.code(), "{operation}");
    }
    assert!(gateway.keygate_ok(&["endpoint", "list"]).contains("CLIENT"));
    let output = gateway.keygate(&["endpoint", "query", "a"]).expect("it runs");
    assert_eq!(output.status.code(), Some(4), "there is no endpoint of this client");
}

/// An administrator asks a client which versions it speaks and what it does.
#[test]
fn a_client_is_asked_by_an_administrator() {
    let (gateway, listener) = listening(Setup::new(), "version = '2.1'\n");
    let asked = |arguments: &[&str], answer: Item| {
        let command = gateway
            .keygate_command(arguments)
            .expect("a command")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        let call = listener.next().expect("a question");
        let question = (call.operation(), call.payload().fields().iter().filter_map(Item::code).collect::<Vec<_>>());
        call.succeed(Some(answer));
        let output = command.wait_with_output().expect("it ends");
        (question, String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = structure(
        Tag::PROTOCOL_VERSION,
        vec![request::integer(Tag::PROTOCOL_VERSION_MAJOR, 1), request::integer(Tag::PROTOCOL_VERSION_MINOR, 3)],
    );
    let (question, shown) = asked(&["endpoint", "versions", "a"], structure(Tag::RESPONSE_PAYLOAD, vec![version]));
    assert_eq!(question, (Some(Operation::DiscoverVersions), Vec::new()));
    assert!(shown.contains("<ProtocolVersionMinor type=\"Integer\" value=\"3\"/>"), "{shown}");
    let (question, shown) = asked(
        &["endpoint", "query", "a", "--functions", "operations,QueryProfiles"],
        structure(Tag::RESPONSE_PAYLOAD, vec![enumeration(Tag::OPERATION, Operation::Notify.code())]),
    );
    let functions = [QueryFunction::QueryOperations, QueryFunction::QueryProfiles].map(QueryFunction::code);
    assert_eq!(question, (Some(Operation::Query), functions.to_vec()));
    assert!(shown.contains("value=\"Notify\""), "{shown}");
    // Nothing is sent to an endpoint that is there to be asked.
    create(&mut gateway.connect("a"));
    assert!(listener.next_within(SILENCE).is_none());
    let output = gateway.keygate(&["endpoint", "query", "a", "--functions", "everything"]).expect("it runs");
    assert_eq!(output.status.code(), Some(2));
}

/// KMIP 2.1 §6.1.54: a client turns its connection round and is sent what happens over it, as long as it stays; its other connections go
/// on as before.
#[test]
fn a_connection_that_was_turned_round_carries_what_happens() {
    let gateway = Setup::new().set("kmip.endpoint_role", "true").start();
    let mut turned = gateway.connect("a");
    let role = |role: u32| (Operation::SetEndpointRole, vec![enumeration(Tag::ENDPOINT_ROLE, role)]);
    // With another request in the message, or as the server that we are anyway, nothing is turned.
    let answer = turned.request(&request::message(V2_1, vec![role(1), role(1)])).expect("an answer");
    assert_eq!(request::outcome(&answer).expect_err("refused").0, ResultReason::FeatureNotSupported.code());
    let answer = turned.request(&request::message(V2_1, vec![role(2)])).expect("an answer");
    request::outcome(&answer).expect("we are the server");
    let answer = turned.request(&request::message(V2_1, vec![role(1)])).expect("an answer");
    assert_eq!(request::outcome(&answer).expect("turned").find(Tag::ENDPOINT_ROLE.0).and_then(Item::code), Some(1));

    let mut client = gateway.connect("a");
    let id = create(&mut client);
    let pushed = Item::decode(&turned.receive().expect("Put")).expect("TTLV");
    assert_eq!(pushed.find(Tag::OPERATION.0).and_then(Item::code), Some(Operation::Put.code()));
    assert_eq!(request::identifier(pushed.find(Tag::REQUEST_PAYLOAD.0).expect("a payload")), id);
    let success = |operation: Operation| {
        let header = vec![
            pushed.find(Tag::PROTOCOL_VERSION.0).expect("a version").clone(),
            Item::new(Tag::TIME_STAMP.0, Value::DateTime(1)),
            request::integer(Tag::BATCH_COUNT, 1),
        ];
        let item = vec![enumeration(Tag::OPERATION, operation.code()), enumeration(Tag::RESULT_STATUS, 0)];
        structure(
            Tag::RESPONSE_MESSAGE,
            vec![structure(Tag::RESPONSE_HEADER, header), structure(Tag::BATCH_ITEM, item)],
        )
    };
    turned.send(&success(Operation::Put).encode()).expect("answered");
    ask(&mut client, Operation::Destroy, &id, Vec::new());
    let notified = Item::decode(&turned.receive().expect("Notify")).expect("TTLV");
    assert_eq!(notified.find(Tag::OPERATION.0).and_then(Item::code), Some(Operation::Notify.code()));
    let state =
        notified.find(Tag::ATTRIBUTES.0).and_then(|attributes| attributes.field(Tag::STATE.0)).and_then(Item::code);
    assert_eq!(state, Some(5), "Destroyed");
    turned.send(&success(Operation::Notify).encode()).expect("answered");
    // Unasked octets end it.
    turned.send(&success(Operation::Notify).encode()).expect("sent");
    assert!(turned.is_closed());
    create(&mut client);
}

/// What an operator hides is refused and not told of; the rest goes on.
#[test]
fn hidden_operations_are_neither_told_of_nor_served() {
    let gateway = Setup::new().set("kmip.hidden_operations", "Destroy, rngretrieve").start();
    let mut client = gateway.connect("a");
    let id = create(&mut client);
    let query = vec![(Operation::Query, vec![enumeration(Tag::QUERY_FUNCTION, 1)])];
    let answer = request::outcome(&client.request(&request::message(V1_4, query)).expect("an answer")).expect("Query");
    let listed: Vec<u32> = answer.fields().iter().filter_map(Item::code).collect();
    assert!(!listed.contains(&Operation::Destroy.code()) && !listed.contains(&Operation::RngRetrieve.code()));
    assert!(listed.contains(&Operation::Get.code()));
    let answer = client.request(&request::on(V1_4, Operation::Destroy, &id)).expect("an answer");
    assert_eq!(request::outcome(&answer).expect_err("refused").0, ResultReason::OperationNotSupported.code());
    ask(&mut client, Operation::Get, &id, Vec::new());
}
