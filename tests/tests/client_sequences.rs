//! Goal: what known clients send, in their order and with their habits, is served as they expect it; each test has the number of the
//! fact it is about in our list of habits that trip servers.
//! Method: messages built from those facts, over real connections. Clients that can be installed are there themselves as well
//! (`foreign_clients.rs`, `pykmip.rs`).

use std::sync::Arc;

use keygate_kmip::{BatchErrorContinuationOption, Operation, QueryFunction, ResultReason, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::kmip_https::KmipHttps;
use keygate_tests::request::{self, attribute, bytes, enumeration, integer, name_value, structure, text};
use keygate_tests::ttlv::{Item, Value};
use rcgen::{CertificateParams, KeyPair};
use rustls::HandshakeKind;

const V1_0: (i32, i32) = (1, 0);
const V1_1: (i32, i32) = (1, 1);
const V1_2: (i32, i32) = (1, 2);
const V1_3: (i32, i32) = (1, 3);
const V1_4: (i32, i32) = (1, 4);
const V2_1: (i32, i32) = (2, 1);

const SYMMETRIC_KEY: u32 = 2;
const SECRET_DATA: u32 = 7;
const OPAQUE_OBJECT: u32 = 8;
const ACTIVE: u32 = 2;

fn named(name: &str, value: &str) -> Item {
    attribute(name, Value::TextString(value.to_owned()))
}

fn send(client: &mut TlsKmipClient, message: &Item) -> Item {
    client.request(message).expect("an answer")
}

/// One operation that must succeed.
fn ask(client: &mut TlsKmipClient, version: (i32, i32), operation: Operation, payload: Vec<Item>) -> Item {
    let answer = send(client, &request::message(version, vec![(operation, payload)]));
    request::outcome(&answer).unwrap_or_else(|refused| panic!("{operation}: {refused:?}"))
}

fn on(id: &str) -> Item {
    text(Tag::UNIQUE_IDENTIFIER, id)
}

fn identifiers(payload: &Item) -> Vec<String> {
    let found = payload.fields().iter().filter(|field| field.tag == Tag::UNIQUE_IDENTIFIER.0);
    found.filter_map(Item::text).map(str::to_owned).collect()
}

/// A message with a header of the client's own making and batch items of its own numbering.
fn message(version: (i32, i32), more: Vec<Item>, items: Vec<(&[u8], Operation, Vec<Item>)>) -> Item {
    let count = i32::try_from(items.len()).expect("few");
    let item = |(id, operation, payload): (&[u8], Operation, Vec<Item>)| {
        let mut fields = vec![enumeration(Tag::OPERATION, operation.code())];
        if !id.is_empty() {
            fields.push(bytes(Tag::UNIQUE_BATCH_ITEM_ID, id));
        }
        fields.push(structure(Tag::REQUEST_PAYLOAD, payload));
        structure(Tag::BATCH_ITEM, fields)
    };
    let mut fields = vec![request::header(version, count, more)];
    fields.extend(items.into_iter().map(item));
    structure(Tag::REQUEST_MESSAGE, fields)
}

fn batch_items(answer: &Item) -> Vec<&Item> {
    answer.fields().iter().filter(|field| field.tag == Tag::BATCH_ITEM.0).collect()
}

fn tags(item: &Item) -> Vec<u32> {
    item.fields().iter().map(|field| field.tag).collect()
}

/// Registers Secret Data of a version of 1.x.
fn register_secret(client: &mut TlsKmipClient, version: (i32, i32), secret: &[u8], attributes: Vec<Item>) -> String {
    let value = structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, secret)]);
    let block = structure(Tag::KEY_BLOCK, vec![enumeration(Tag::KEY_FORMAT_TYPE, 2), value]);
    let object = structure(Tag::SECRET_DATA, vec![enumeration(Tag::SECRET_DATA_TYPE, 1), block]);
    let payload =
        vec![enumeration(Tag::OBJECT_TYPE, SECRET_DATA), structure(Tag::TEMPLATE_ATTRIBUTE, attributes), object];
    request::identifier(&ask(client, version, Operation::Register, payload))
}

fn create(client: &mut TlsKmipClient, version: (i32, i32), more: Vec<Item>) -> String {
    let attributes = [
        attribute("Cryptographic Algorithm", Value::Enumeration(3)),
        attribute("Cryptographic Length", Value::Integer(256)),
        attribute("Cryptographic Usage Mask", Value::Integer(0x0C)),
    ];
    let attributes = attributes.into_iter().chain(more).collect();
    let payload = vec![enumeration(Tag::OBJECT_TYPE, SYMMETRIC_KEY), structure(Tag::TEMPLATE_ATTRIBUTE, attributes)];
    request::identifier(&ask(client, version, Operation::Create, payload))
}

fn state(client: &mut TlsKmipClient, version: (i32, i32), id: &str) -> Option<u32> {
    let got = ask(client, version, Operation::GetAttributes, vec![on(id), text(Tag::ATTRIBUTE_NAME, "State")]);
    got.find(Tag::ATTRIBUTE_VALUE.0).and_then(Item::code)
}

/// A Server Correlation Value ended mongod's session, Fresh that of a client of 1.0: what a version has not is not in its answers.
#[test]
fn fact_01_nothing_of_a_newer_version_is_answered() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let id = create(&mut client, V1_0, Vec::new());
    let newer = [
        ("Fresh", V1_1),
        ("Key Value Present", V1_2),
        ("Original Creation Date", V1_2),
        ("Always Sensitive", V1_4),
        ("Extractable", V1_4),
    ];
    for version in [V1_0, V1_1, V1_2, V1_3, V1_4] {
        let answer = send(&mut client, &request::on(version, Operation::GetAttributes, &id));
        let header = answer.field(Tag::RESPONSE_HEADER.0).expect("a header");
        assert_eq!(tags(header), [Tag::PROTOCOL_VERSION.0, Tag::TIME_STAMP.0, Tag::BATCH_COUNT.0], "{version:?}");
        let payload = request::outcome(&answer).expect("attributes");
        let names: Vec<&str> = payload
            .fields()
            .iter()
            .filter_map(|field| field.field(Tag::ATTRIBUTE_NAME.0))
            .filter_map(Item::text)
            .collect();
        for (name, first) in newer {
            assert!(version >= first || !names.contains(&name), "{name} in {version:?}");
        }
    }
}

/// Register, of a key said to be AES-256, in a Key Format Type.
fn aes_of(material: &[u8], format: u32) -> Vec<Item> {
    let value = structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, material)]);
    let block = vec![
        enumeration(Tag::KEY_FORMAT_TYPE, format),
        value,
        enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3),
        integer(Tag::CRYPTOGRAPHIC_LENGTH, 256),
    ];
    let key = structure(Tag::SYMMETRIC_KEY, vec![structure(Tag::KEY_BLOCK, block)]);
    let usage = attribute("Cryptographic Usage Mask", Value::Integer(0x0C));
    vec![enumeration(Tag::OBJECT_TYPE, SYMMETRIC_KEY), structure(Tag::TEMPLATE_ATTRIBUTE, vec![usage]), key]
}

/// An extra Object Type in the answer to Register broke PyKMIP; Add and Delete Attribute echo; Lease Time is an Interval.
#[test]
fn fact_02_payloads_hold_exactly_what_is_specified() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let payload = aes_of(&[7; 32], 1);
    let registered = ask(&mut client, V1_2, Operation::Register, payload);
    assert_eq!(tags(&registered), [Tag::UNIQUE_IDENTIFIER.0]);
    let id = request::identifier(&registered);
    let echoed = [Tag::UNIQUE_IDENTIFIER.0, Tag::ATTRIBUTE.0];
    let added = ask(&mut client, V1_2, Operation::AddAttribute, vec![on(&id), named("x-place", "vault")]);
    assert_eq!(tags(&added), echoed);
    let deleted =
        ask(&mut client, V1_2, Operation::DeleteAttribute, vec![on(&id), text(Tag::ATTRIBUTE_NAME, "x-place")]);
    assert_eq!(tags(&deleted), echoed);
    assert_eq!(deleted.find(Tag::ATTRIBUTE_VALUE.0).and_then(Item::text), Some("vault"));
    let lease = ask(&mut client, V1_2, Operation::ObtainLease, vec![on(&id)]);
    assert!(matches!(lease.field(Tag::LEASE_TIME.0).map(|item| &item.value), Some(Value::Interval(3600))), "{lease:?}");
}

/// Veeam: attributes inside the Key Value of a pair's halves are an "Unexpected Tag 66" to it; it resumes TLS sessions.
#[test]
fn fact_03_veeam_gets_bare_halves_of_a_pair_and_resumes_its_session() {
    let gateway = Setup::new().start();
    let config = Arc::new(gateway.client("a").tls().expect("a configuration"));
    let connect = || {
        let limit = std::time::Duration::from_secs(20);
        TlsKmipClient::connect_patiently(gateway.address("kmip"), "localhost", config.clone(), limit)
            .expect("a connection")
    };
    let mut client = connect();
    let common = vec![
        attribute("Cryptographic Algorithm", Value::Enumeration(4)),
        attribute("Cryptographic Length", Value::Integer(2048)),
    ];
    let half = |mask: i32| vec![attribute("Cryptographic Usage Mask", Value::Integer(mask))];
    let payload = vec![
        structure(Tag::COMMON_TEMPLATE_ATTRIBUTE, common),
        structure(Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE, half(1)),
        structure(Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE, half(2)),
    ];
    let made = ask(&mut client, V1_4, Operation::CreateKeyPair, payload);
    drop(client);
    let mut client = connect();
    for tag in [Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER, Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER] {
        let id = made.field(tag.0).and_then(Item::text).expect("an identifier").to_owned();
        let got = ask(&mut client, V1_4, Operation::Get, vec![on(&id)]);
        assert_eq!(tags(got.find(Tag::KEY_VALUE.0).expect("a value")), [Tag::KEY_MATERIAL.0]);
    }
    assert_eq!(client.into_stream().conn.handshake_kind(), Some(HandshakeKind::Resumed), "with its certificate");
}

/// vCenter: 1.1; Discover Versions, Query, Create, Get Attributes (State), then three Add Attribute in one batch with identifiers that
/// are octets, not text, then Get.
#[test]
fn fact_04_vcenter() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    ask(&mut client, V1_1, Operation::DiscoverVersions, Vec::new());
    let told = ask(
        &mut client,
        V1_1,
        Operation::Query,
        vec![enumeration(Tag::QUERY_FUNCTION, 1), enumeration(Tag::QUERY_FUNCTION, 2)],
    );
    assert!(told.fields().iter().any(|field| field.code() == Some(Operation::AddAttribute.code())));
    let id = create(&mut client, V1_1, Vec::new());
    assert_eq!(state(&mut client, V1_1, &id), Some(1));
    let pairs =
        [("x-Product_Version", "8.0.2 build-22385739"), ("x-Vendor", "VMware, Inc."), ("x-Product", "VMware vSphere")];
    let ids: [&[u8]; 3] = [b"QLKC\x00\xff\x01\x02", b"QLKC\x00\xff\x01\x03", b"QLKC\x00\xff\x01\x04"];
    let items = ids
        .iter()
        .zip(pairs)
        .map(|(number, (name, value))| (*number, Operation::AddAttribute, vec![on(&id), named(name, value)]));
    let answer = send(&mut client, &message(V1_1, Vec::new(), items.collect()));
    let answers = batch_items(&answer);
    assert_eq!(answers.len(), 3);
    for (item, number) in answers.iter().zip(ids) {
        assert_eq!(item.field(Tag::UNIQUE_BATCH_ITEM_ID.0).and_then(Item::bytes), Some(number));
        request::item_outcome(item).expect("added");
    }
    let got = ask(&mut client, V1_1, Operation::Get, vec![on(&id)]);
    assert_eq!(got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).map(<[u8]>::len), Some(32));
}

/// A storage array: 1.0; sixteen x-NETAPP attributes and one that is a structure; then Query, Locate by one of them, Get and Get
/// Attributes of what was found in one batch.
#[test]
fn fact_05_netapp_finds_an_opaque_object_by_its_own_attributes() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let nested = Value::Structure(vec![text(Tag(0x54_0001), "vserver"), integer(Tag(0x54_0002), 7)]);
    let mut attributes: Vec<Item> =
        (0..16).map(|number| named(&format!("x-NETAPP-{number}"), &format!("value {number}"))).collect();
    attributes.push(attribute("x-NETAPP-Tree", nested.clone()));
    attributes.push(named("x-ResourceID", "array-1"));
    let object = structure(
        Tag::OPAQUE_OBJECT,
        vec![enumeration(Tag::OPAQUE_DATA_TYPE, 0x8000_0001), bytes(Tag::OPAQUE_DATA_VALUE, b"blob")],
    );
    let register = |attributes: Vec<Item>| {
        vec![
            enumeration(Tag::OBJECT_TYPE, OPAQUE_OBJECT),
            structure(Tag::TEMPLATE_ATTRIBUTE, attributes),
            object.clone(),
        ]
    };
    let id = request::identifier(&ask(&mut client, V1_0, Operation::Register, register(attributes)));
    ask(&mut client, V1_0, Operation::Register, register(vec![named("x-ResourceID", "array-2")]));
    let items: Vec<(&[u8], Operation, Vec<Item>)> = vec![
        (b"1", Operation::Query, vec![enumeration(Tag::QUERY_FUNCTION, 1)]),
        (b"2", Operation::Locate, vec![named("x-ResourceID", "array-1")]),
        (b"3", Operation::Get, Vec::new()),
        (b"4", Operation::GetAttributes, Vec::new()),
    ];
    let answer =
        send(&mut client, &message(V1_0, vec![Item::new(Tag::BATCH_ORDER_OPTION.0, Value::Boolean(true))], items));
    let outcomes: Vec<Item> =
        batch_items(&answer).into_iter().map(|item| request::item_outcome(item).expect("done")).collect();
    assert_eq!(identifiers(&outcomes[1]), std::slice::from_ref(&id));
    assert_eq!(outcomes[2].find(Tag::OPAQUE_DATA_VALUE.0).and_then(Item::bytes), Some(&b"blob"[..]));
    let tree = outcomes[3]
        .fields()
        .iter()
        .find(|field| field.field(Tag::ATTRIBUTE_NAME.0).and_then(Item::text) == Some("x-NETAPP-Tree"));
    assert_eq!(tree.and_then(|field| field.field(Tag::ATTRIBUTE_VALUE.0)).map(|field| &field.value), Some(&nested));
    assert_eq!(
        outcomes[3]
            .fields()
            .iter()
            .filter(|field| field.tag == Tag::ATTRIBUTE.0)
            .filter(|field| {
                field
                    .field(Tag::ATTRIBUTE_NAME.0)
                    .and_then(Item::text)
                    .is_some_and(|name| name.starts_with("x-NETAPP-"))
            })
            .count(),
        17
    );
    // By a number and by a structure as well.
    assert_eq!(identifiers(&ask(&mut client, V1_0, Operation::Locate, vec![attribute("x-NETAPP-Tree", nested)])), [id]);
}

/// FortiGate: a credential in each header, and what Locate looks for wrapped in a Template-Attribute. What is not found is nothing,
/// never everything.
#[test]
fn fact_06_fortigate_wraps_its_filter_and_finds_only_its_own_key() {
    let gateway = Setup::new().start();
    let file = gateway.secret_file("pw", "fortinet-secret").expect("a file");
    let mut client = {
        let _ = gateway.client_folder("a");
        let _ =
            gateway.keygate_ok(&["client", "user", "add", "a", "forti", "--password-file", &file.to_string_lossy()]);
        gateway.connect("a")
    };
    let credential = || {
        let value = vec![text(Tag::USERNAME, "forti"), text(Tag::PASSWORD, "fortinet-secret")];
        let credential = vec![enumeration(Tag::CREDENTIAL_TYPE, 1), structure(Tag::CREDENTIAL_VALUE, value)];
        vec![structure(Tag::AUTHENTICATION, vec![structure(Tag::CREDENTIAL, credential)])]
    };
    let one = |client: &mut TlsKmipClient, operation: Operation, payload: Vec<Item>| {
        request::outcome(&send(client, &message(V1_0, credential(), vec![(b"", operation, payload)])))
    };
    let named_key = |name: &str| attribute("Name", name_value(name));
    let mut made = Vec::new();
    for name in ["SITE1-local", "SITE1-remote"] {
        let attributes = vec![
            attribute("Cryptographic Algorithm", Value::Enumeration(3)),
            attribute("Cryptographic Length", Value::Integer(128)),
            attribute("Cryptographic Usage Mask", Value::Integer(0x0C)),
            named_key(name),
        ];
        let payload =
            vec![enumeration(Tag::OBJECT_TYPE, SYMMETRIC_KEY), structure(Tag::TEMPLATE_ATTRIBUTE, attributes)];
        made.push(request::identifier(&one(&mut client, Operation::Create, payload).expect("created")));
    }
    for (filter, expected) in [
        (vec![named_key("SITE1-local")], vec![made[0].clone()]),
        (
            vec![named_key("SITE1-remote"), attribute("Object Type", Value::Enumeration(SYMMETRIC_KEY))],
            vec![made[1].clone()],
        ),
        (vec![named_key("SITE2-local")], Vec::new()),
        (vec![named("Name of a later version", "x")], Vec::new()),
        (vec![named("x-unheard-of", "x")], Vec::new()),
    ] {
        let found = one(&mut client, Operation::Locate, vec![structure(Tag::TEMPLATE_ATTRIBUTE, filter.clone())])
            .expect("located");
        assert_eq!(identifiers(&found), expected, "{filter:?}");
    }
    let template = structure(
        Tag::TEMPLATE_ATTRIBUTE,
        vec![structure(Tag::NAME, vec![text(Tag::NAME_VALUE, "t"), enumeration(Tag::NAME_TYPE, 1)])],
    );
    assert_eq!(
        one(&mut client, Operation::Locate, vec![template]).expect_err("refused").0,
        ResultReason::InvalidField.code()
    );
}

/// Synology: Query by six functions; Secret Data with Operation Policy Name; at once another Name; found by it; what was given is given
/// back.
#[test]
fn fact_07_synology() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let functions = (1..=6).map(|code| enumeration(Tag::QUERY_FUNCTION, code)).collect();
    ask(&mut client, V1_2, Operation::Query, functions);
    let attributes = vec![
        attribute("Cryptographic Usage Mask", Value::Integer(0)),
        named("Operation Policy Name", "default"),
        attribute("Name", name_value("temporary")),
    ];
    let id = register_secret(&mut client, V1_2, b"volume key", attributes);
    ask(&mut client, V1_2, Operation::ModifyAttribute, vec![on(&id), attribute("Name", name_value("volume1"))]);
    let found = |client: &mut TlsKmipClient, name: &str| {
        identifiers(&ask(client, V1_2, Operation::Locate, vec![attribute("Name", name_value(name))]))
    };
    assert_eq!(found(&mut client, "volume1"), std::slice::from_ref(&id));
    assert_eq!(found(&mut client, "temporary"), Vec::<String>::new());
    let got = ask(
        &mut client,
        V1_2,
        Operation::GetAttributes,
        vec![on(&id), text(Tag::ATTRIBUTE_NAME, "Operation Policy Name")],
    );
    assert_eq!(got.find(Tag::ATTRIBUTE_VALUE.0).and_then(Item::text), Some("default"));
}

/// MongoDB: 1.0 Secret Data of 96 bytes, type Seed, format Opaque, usage 0, without algorithm and length. (`foreign_clients.rs` has
/// libmongocrypt itself.)
#[test]
fn fact_08_mongodb() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let value = structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, &[9; 96])]);
    let block = structure(Tag::KEY_BLOCK, vec![enumeration(Tag::KEY_FORMAT_TYPE, 2), value]);
    let object = structure(Tag::SECRET_DATA, vec![enumeration(Tag::SECRET_DATA_TYPE, 2), block]);
    let usage = attribute("Cryptographic Usage Mask", Value::Integer(0));
    let payload =
        vec![enumeration(Tag::OBJECT_TYPE, SECRET_DATA), structure(Tag::TEMPLATE_ATTRIBUTE, vec![usage]), object];
    let id = request::identifier(&ask(&mut client, V1_0, Operation::Register, payload));
    ask(&mut client, V1_0, Operation::Activate, vec![on(&id)]);
    let got = ask(&mut client, V1_0, Operation::Get, vec![on(&id)]);
    assert_eq!(got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes), Some(&[9; 96][..]));
    assert_eq!(got.find(Tag::SECRET_DATA_TYPE.0).and_then(Item::code), Some(2), "Seed");
}

/// Percona Server for MongoDB (libkmip): 1.0 with Maximum Response Size 8192 and a Time Stamp; polls the State, and stops mongod if it is
/// not Active.
#[test]
fn fact_09_psmdb_polls_the_state() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let id = create(&mut client, V1_0, Vec::new());
    let header = || vec![integer(Tag::MAXIMUM_RESPONSE_SIZE, 8192)];
    let stamped = |operation: Operation, payload: Vec<Item>| {
        let mut message = message(V1_0, header(), vec![(b"", operation, payload)]);
        // The order of the standard: the Time Stamp comes last but for the Batch Count.
        if let Value::Structure(fields) = &mut message.value
            && let Value::Structure(header) = &mut fields[0].value
        {
            header.insert(2, Item::new(Tag::TIME_STAMP.0, Value::DateTime(1_700_000_000)));
        }
        message
    };
    request::outcome(&send(&mut client, &stamped(Operation::Activate, vec![on(&id)]))).expect("activated");
    for _ in 0..3 {
        let poll = stamped(Operation::GetAttributes, vec![on(&id), text(Tag::ATTRIBUTE_NAME, "State")]);
        let got = request::outcome(&send(&mut client, &poll)).expect("attributes");
        assert_eq!(got.find(Tag::ATTRIBUTE_VALUE.0).and_then(Item::code), Some(ACTIVE));
    }
    request::outcome(&send(&mut client, &stamped(Operation::Get, vec![on(&id)]))).expect("the key");
}

/// Rook: 128 bytes said to be 256 bits, format Opaque; they come back as they were.
#[test]
fn fact_10_rook_says_another_length_than_its_key_has() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let payload = aes_of(&[5; 128], 2);
    let id = request::identifier(&ask(&mut client, V1_4, Operation::Register, payload));
    let got = ask(&mut client, V1_4, Operation::Get, vec![on(&id)]);
    assert_eq!(got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes), Some(&[5; 128][..]));
    assert_eq!(got.find(Tag::CRYPTOGRAPHIC_LENGTH.0).map(|item| &item.value), Some(&Value::Integer(256)));
}

/// VAST: TTLV in POST /kmip; Re-key makes a new identifier and leaves the old key Active; it polls attributes over the same connection.
#[test]
fn fact_11_vast_rekeys_over_https() {
    let gateway = Setup::new().start();
    let mut http = KmipHttps::new(gateway.connect("a"));
    let mut ask = |operation: Operation, payload: Vec<Item>| {
        let message = request::message(V1_4, vec![(operation, payload)]);
        let answer = http.post("application/octet-stream", &message.encode()).expect("an answer");
        assert_eq!(answer.status, 200);
        request::outcome(&Item::decode(&answer.body).expect("TTLV"))
            .unwrap_or_else(|refused| panic!("{operation}: {refused:?}"))
    };
    let attributes = vec![
        attribute("Cryptographic Algorithm", Value::Enumeration(3)),
        attribute("Cryptographic Length", Value::Integer(256)),
        attribute("Cryptographic Usage Mask", Value::Integer(0x0C)),
    ];
    let payload = vec![enumeration(Tag::OBJECT_TYPE, SYMMETRIC_KEY), structure(Tag::TEMPLATE_ATTRIBUTE, attributes)];
    let old = request::identifier(&ask(Operation::Create, payload));
    ask(Operation::Activate, vec![on(&old)]);
    let new = request::identifier(&ask(Operation::ReKey, vec![on(&old)]));
    assert_ne!(new, old);
    for id in [&old, &new] {
        let got = ask(Operation::GetAttributes, vec![on(id), text(Tag::ATTRIBUTE_NAME, "State")]);
        assert_eq!(got.find(Tag::ATTRIBUTE_VALUE.0).and_then(Item::code), Some(ACTIVE), "{id}");
    }
}

/// A refusal has a Result Reason, whatever is wrong; a header that says an unknown version is answered in one that is served, and the
/// connection goes on.
#[test]
fn fact_12_every_refusal_has_a_reason_and_a_version_that_can_be_read() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let unknown = enumeration(Tag::OPERATION, 0x0000_7FFF);
    let item = structure(Tag::BATCH_ITEM, vec![unknown, structure(Tag::REQUEST_PAYLOAD, Vec::new())]);
    let of_version =
        |version| structure(Tag::REQUEST_MESSAGE, vec![request::header(version, 1, Vec::new()), item.clone()]);
    for (version, answered) in [(V1_2, V1_2), ((1, 9), V1_4), ((9, 0), V2_1), ((0, 9), V1_0)] {
        let answer = send(&mut client, &of_version(version));
        let told = answer.find(Tag::PROTOCOL_VERSION.0).expect("a version");
        let number = |tag: Tag| match told.field(tag.0).map(|item| &item.value) {
            Some(Value::Integer(number)) => *number,
            other => panic!("{other:?}"),
        };
        assert_eq!((number(Tag::PROTOCOL_VERSION_MAJOR), number(Tag::PROTOCOL_VERSION_MINOR)), answered, "{version:?}");
        let (reason, _) = request::outcome(&answer).expect_err("refused");
        assert_ne!(reason, 0, "{version:?}");
        assert_eq!(batch_items(&answer).len(), 1);
    }
    create(&mut client, V1_2, Vec::new());
}

/// Versions come newest first; of a client's list those that are served, perhaps none.
#[test]
fn fact_13_versions_are_told_newest_first() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let version = |(major, minor): (i32, i32)| {
        structure(
            Tag::PROTOCOL_VERSION,
            vec![integer(Tag::PROTOCOL_VERSION_MAJOR, major), integer(Tag::PROTOCOL_VERSION_MINOR, minor)],
        )
    };
    let told = |client: &mut TlsKmipClient, list: &[(i32, i32)]| {
        let payload = ask(client, V1_2, Operation::DiscoverVersions, list.iter().map(|each| version(*each)).collect());
        let numbers = payload.fields().iter().map(|field| match (&field.fields()[0].value, &field.fields()[1].value) {
            (Value::Integer(major), Value::Integer(minor)) => (*major, *minor),
            other => panic!("{other:?}"),
        });
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(told(&mut client, &[]), [(3, 0), (2, 1), (2, 0), (1, 4), (1, 3), (1, 2), (1, 1), (1, 0)]);
    assert_eq!(told(&mut client, &[V1_0, V1_2, (7, 7)]), [V1_2, V1_0]);
    assert_eq!(told(&mut client, &[(7, 7)]), []);
}

/// A message has one Maximum Response Size; a batch stops at the first failure unless it says otherwise; Undo takes back what was done.
#[test]
fn fact_14_sizes_and_failures_are_of_the_whole_message() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let id = create(&mut client, V1_2, Vec::new());
    let get = || -> (&[u8], Operation, Vec<Item>) { (b"", Operation::Get, vec![on(&id)]) };
    let small = message(V1_2, vec![integer(Tag::MAXIMUM_RESPONSE_SIZE, 256)], vec![get()]);
    let (reason, _) = request::outcome(&send(&mut client, &small)).expect_err("too large");
    assert_eq!(reason, ResultReason::ResponseTooLarge.code());
    let batch = |option: Option<BatchErrorContinuationOption>| {
        let more =
            option.map(|option| enumeration(Tag::BATCH_ERROR_CONTINUATION_OPTION, option.code())).into_iter().collect();
        let add: (&[u8], Operation, Vec<Item>) =
            (b"1", Operation::AddAttribute, vec![on(&id), named("x-note", "kept?")]);
        let fail: (&[u8], Operation, Vec<Item>) = (b"2", Operation::Get, vec![on("nobody")]);
        let list: (&[u8], Operation, Vec<Item>) = (b"3", Operation::GetAttributeList, vec![on(&id)]);
        message(V1_2, more, vec![add, fail, list])
    };
    let statuses = |answer: &Item| -> Vec<u32> {
        batch_items(answer).iter().filter_map(|item| item.field(Tag::RESULT_STATUS.0).and_then(Item::code)).collect()
    };
    assert_eq!(statuses(&send(&mut client, &batch(Some(BatchErrorContinuationOption::Undo)))), [3, 1]);
    let names = ask(&mut client, V1_2, Operation::GetAttributeList, vec![on(&id)]);
    assert!(!names.fields().iter().any(|field| field.text() == Some("x-note")), "it was undone");
    assert_eq!(statuses(&send(&mut client, &batch(None))), [0, 1], "Stop is the default");
    assert_eq!(statuses(&send(&mut client, &batch(Some(BatchErrorContinuationOption::Continue)))), [0, 1, 0]);
}

/// vCenter's own certificates have no purpose "client": pinned, they are believed.
#[test]
fn fact_15_a_certificate_without_a_purpose_is_believed_once_it_is_pinned() {
    let gateway = Setup::new().start();
    let key = KeyPair::generate().expect("a key");
    let certificate =
        CertificateParams::new(vec!["vcenter.example".to_owned()]).expect("a name").self_signed(&key).expect("signed");
    let file = gateway.scratch().join("vcenter.pem");
    std::fs::write(&file, certificate.pem()).expect("written");
    let credentials = keygate_tests::client::Credentials {
        chain: vec![certificate.der().clone()],
        key: rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        roots: gateway.client("a").roots,
    };
    let connect = || TlsKmipClient::connect(gateway.address("kmip"), &credentials);
    let refused = connect().and_then(|mut client| client.request(&request::create_aes(V1_1, 256, None)));
    assert!(refused.is_err(), "nobody knows it yet");
    let _ = gateway.keygate_ok(&["client", "add", "vcenter", "--cert", &file.to_string_lossy()]);
    create(&mut connect().expect("a connection"), V1_1, Vec::new());
}

/// Arsenal: an Activation Date that is past makes a new key Active at once.
#[test]
fn fact_16_arsenal_activates_by_a_past_date() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let past = attribute("Activation Date", Value::DateTime(1_600_000_000));
    let created = create(&mut client, V1_2, vec![past.clone()]);
    assert_eq!(state(&mut client, V1_2, &created), Some(ACTIVE));
    let registered = register_secret(
        &mut client,
        V1_2,
        b"secret",
        vec![attribute("Cryptographic Usage Mask", Value::Integer(0)), past],
    );
    assert_eq!(state(&mut client, V1_2, &registered), Some(ACTIVE));
    let later = create(&mut client, V1_2, vec![attribute("Activation Date", Value::DateTime(4_000_000_000))]);
    assert_eq!(state(&mut client, V1_2, &later), Some(1));
}

/// Percona pages through Locate and wants the same order each time; counts and places of storage are heeded.
#[test]
fn fact_17_locate_pages_in_one_order() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let mut made: Vec<String> = (0..7).map(|_| create(&mut client, V1_4, vec![named("x-set", "pages")])).collect();
    ask(&mut client, V1_4, Operation::Archive, vec![on(&made[3])]);
    let archived = made.remove(3);
    made.reverse();
    let locate = |client: &mut TlsKmipClient, offset: i32, mask: i32| {
        let payload = vec![
            integer(Tag::MAXIMUM_ITEMS, 4),
            integer(Tag::OFFSET_ITEMS, offset),
            integer(Tag::STORAGE_STATUS_MASK, mask),
            named("x-set", "pages"),
        ];
        ask(client, V1_4, Operation::Locate, payload)
    };
    for _ in 0..2 {
        let (first, second) = (locate(&mut client, 0, 1), locate(&mut client, 4, 1));
        assert_eq!([identifiers(&first), identifiers(&second)].concat(), made);
        assert_eq!(first.field(Tag::LOCATED_ITEMS.0).map(|item| &item.value), Some(&Value::Integer(6)));
    }
    assert_eq!(identifiers(&locate(&mut client, 0, 2)), [archived]);
    assert_eq!(locate(&mut client, 0, 3).field(Tag::LOCATED_ITEMS.0).map(|item| &item.value), Some(&Value::Integer(7)));
}

/// A client that allows a later answer is answered, at once or after Poll; none is refused for it.
#[test]
fn fact_18_a_client_that_would_wait_is_served() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let id = create(&mut client, V1_2, Vec::new());
    let may_wait = vec![Item::new(Tag::ASYNCHRONOUS_INDICATOR.0, Value::Boolean(true))];
    let answer = send(&mut client, &message(V1_2, may_wait, vec![(b"", Operation::Get, vec![on(&id)])]));
    let pending = |answer: &Item| answer.find(Tag::RESULT_STATUS.0).and_then(Item::code) == Some(2);
    let mut got = answer.clone();
    for _ in 0..1000 {
        if !pending(&got) {
            break;
        }
        let correlation = answer.find(Tag::ASYNCHRONOUS_CORRELATION_VALUE.0).cloned().expect("what to ask by");
        got = send(&mut client, &request::message(V1_2, vec![(Operation::Poll, vec![correlation])]));
    }
    let payload = request::outcome(&got).expect("the key");
    assert_eq!(payload.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).map(<[u8]>::len), Some(32));
}

/// What every function of Query answers, in every version, is of that version and repeats nothing.
#[test]
fn query_tells_each_thing_once() {
    let gateway: TestGateway = Setup::new().start();
    let mut client = gateway.connect("a");
    for version in [V1_0, V1_1, V1_2, V1_3, V1_4, V2_1] {
        for function in QueryFunction::ALL.iter().filter(|function| {
            let first = function.first();
            (first.major, first.minor) <= version
        }) {
            let told =
                ask(&mut client, version, Operation::Query, vec![enumeration(Tag::QUERY_FUNCTION, function.code())]);
            let fields = told.fields();
            for (at, field) in fields.iter().enumerate() {
                assert!(!fields[..at].contains(field), "{function} of {version:?} repeats {field:?}");
            }
        }
    }
}
