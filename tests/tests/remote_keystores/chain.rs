//! A Keygate behind a Keygate: a client of the first uses keys that live in the second.

use std::fmt::Write as _;
use std::path::Path;

use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, bytes, enumeration, structure, text};
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);
const V2_1: (i32, i32) = (2, 1);

/// The `[[keystore]]` table for a KMIP server.
pub(crate) fn table(address: &str, client: &Path, more: &str) -> String {
    let mut table =
        format!("\n[[keystore]]\nname = \"far\"\nkind = \"kmip\"\ndefault = true\naddresses = [\"{address}\"]\n");
    for (setting, file) in [("ca-file", "ca.pem"), ("cert-file", "cert.pem"), ("key-file", "key.pem")] {
        writeln!(table, "{setting} = \"{}\"", client.join(file).display()).expect("a string takes it");
    }
    table + more
}

/// A gateway whose default keystore is a KMIP server.
pub(crate) fn before(address: &str, client: &Path, more: &str) -> TestGateway {
    let mut gateway = Setup::new().prepare().expect("initialised");
    gateway.configure(&table(address, client, more));
    gateway.start().expect("starts");
    gateway
}

pub(crate) fn ask(client: &mut TlsKmipClient, message: &Item) -> Result<Item, (u32, String)> {
    request::outcome(&client.request(message).expect("an answer"))
}

/// An active AES-256 key.
pub(crate) fn create(client: &mut TlsKmipClient) -> String {
    let id = request::identifier(&ask(client, &request::create_aes(V1_4, 256, None)).expect("Create"));
    ask(client, &request::on(V1_4, Operation::Activate, &id)).expect("Activate");
    id
}

/// AES-CBC with PKCS#5, in either direction.
pub(crate) fn cipher(
    client: &mut TlsKmipClient,
    operation: Operation,
    id: &str,
    data: &[u8],
) -> Result<Vec<u8>, (u32, String)> {
    let parameters = vec![enumeration(Tag::BLOCK_CIPHER_MODE, 1), enumeration(Tag::PADDING_METHOD, 3)];
    let payload = vec![
        text(Tag::UNIQUE_IDENTIFIER, id),
        structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
        bytes(Tag::DATA, data),
        bytes(Tag::IV_COUNTER_NONCE, &[7; 16]),
    ];
    let answer = ask(client, &request::message(V1_4, vec![(operation, payload)]))?;
    Ok(answer.field(Tag::DATA.0).and_then(Item::bytes).expect("data").to_vec())
}

pub(crate) fn revoke_and_destroy(client: &mut TlsKmipClient, id: &str) {
    let reason = structure(Tag::REVOCATION_REASON, vec![enumeration(Tag::REVOCATION_REASON_CODE, 6)]);
    let revoke = request::message(V1_4, vec![(Operation::Revoke, vec![text(Tag::UNIQUE_IDENTIFIER, id), reason])]);
    ask(client, &revoke).expect("Revoke");
    ask(client, &request::on(V1_4, Operation::Destroy, id)).expect("Destroy");
}

/// Identifiers of the objects that a client of the gateway sees.
pub(crate) fn located(gateway: &TestGateway, client: &str) -> usize {
    let found = ask(
        &mut gateway.connect(client),
        &request::message(V2_1, vec![(Operation::Locate, vec![structure(Tag::ATTRIBUTES, Vec::new())])]),
    );
    found.expect("Locate").fields().iter().filter(|field| field.tag == Tag::UNIQUE_IDENTIFIER.0).count()
}

#[test]
fn a_key_in_the_second_gateway_is_used_through_the_first() {
    let second = Setup::new().start();
    let folder = second.client_folder("a");
    let first = before(&second.address("kmip").to_string().replace("127.0.0.1", "localhost"), &folder, "");
    let mut client = first.connect("b");
    let id = create(&mut client);
    assert_eq!(located(&second, "a"), 1, "the key is in the second gateway");
    let sealed = cipher(&mut client, Operation::Encrypt, &id, b"through two gateways").expect("Encrypt");
    assert_eq!(cipher(&mut client, Operation::Decrypt, &id, &sealed).expect("Decrypt"), b"through two gateways");
    let (reason, _) = ask(&mut client, &request::on(V1_4, Operation::Get, &id)).expect_err("the key is not fetched");
    assert_eq!(reason, ResultReason::NotExtractable.code());
    revoke_and_destroy(&mut client, &id);
    assert_eq!(located(&second, "a"), 0, "nothing is left in the second gateway");
}

#[test]
fn a_pair_in_the_second_gateway_signs() {
    let second = Setup::new().start();
    let first =
        before(&second.address("kmip").to_string().replace("127.0.0.1", "localhost"), &second.client_folder("a"), "");
    let mut client = first.connect("b");
    let common = vec![
        request::attribute("Cryptographic Algorithm", Value::Enumeration(6)),
        request::attribute("Cryptographic Length", Value::Integer(256)),
        request::attribute("Activation Date", Value::DateTime(1)),
    ];
    let usage = |mask: i32| vec![request::attribute("Cryptographic Usage Mask", Value::Integer(mask))];
    let payload = vec![
        structure(Tag::COMMON_TEMPLATE_ATTRIBUTE, common),
        structure(Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE, usage(1)),
        structure(Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE, usage(2)),
    ];
    let made =
        ask(&mut client, &request::message(V1_4, vec![(Operation::CreateKeyPair, payload)])).expect("Create Key Pair");
    let identifier = |tag: Tag| made.field(tag.0).and_then(Item::text).expect("an identifier").to_owned();
    let (private, public) =
        (identifier(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), identifier(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER));
    let parameters = || {
        structure(
            Tag::CRYPTOGRAPHIC_PARAMETERS,
            vec![enumeration(Tag::HASHING_ALGORITHM, 6), enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 6)],
        )
    };
    let payload = vec![text(Tag::UNIQUE_IDENTIFIER, &private), parameters(), bytes(Tag::DATA, b"to be signed")];
    let signed = ask(&mut client, &request::message(V1_4, vec![(Operation::Sign, payload)])).expect("Sign");
    let signature = signed.field(Tag::SIGNATURE_DATA.0).and_then(Item::bytes).expect("a signature").to_vec();
    let payload = vec![
        text(Tag::UNIQUE_IDENTIFIER, &public),
        parameters(),
        bytes(Tag::DATA, b"to be signed"),
        bytes(Tag::SIGNATURE_DATA, &signature),
    ];
    let verified = ask(&mut client, &request::message(V1_4, vec![(Operation::SignatureVerify, payload)]))
        .expect("Signature Verify");
    assert_eq!(verified.field(Tag::VALIDITY_INDICATOR.0).and_then(Item::code), Some(1));
}

/// With `fetch` the value is handed out, and is the key that encrypts in the second gateway.
#[test]
fn a_key_that_may_be_fetched_is_handed_out() {
    let second = Setup::new().start();
    let first = before(
        &second.address("kmip").to_string().replace("127.0.0.1", "localhost"),
        &second.client_folder("a"),
        "fetch = true\n",
    );
    let mut client = first.connect("b");
    let id = create(&mut client);
    let got = ask(&mut client, &request::on(V1_4, Operation::Get, &id)).expect("Get");
    let value = got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("material").to_vec();
    assert_eq!(value.len(), 32);
    let sealed = cipher(&mut client, Operation::Encrypt, &id, b"one block of it").expect("Encrypt");
    let key = aws_lc_rs::cipher::UnboundCipherKey::new(&aws_lc_rs::cipher::AES_256, &value).expect("a key");
    let context = aws_lc_rs::cipher::DecryptionContext::Iv128([7; 16].into());
    let mut data = sealed;
    let plain = aws_lc_rs::cipher::PaddedBlockDecryptingKey::cbc_pkcs7(key)
        .expect("CBC")
        .decrypt(&mut data, context)
        .expect("decrypts")
        .to_vec();
    assert_eq!(plain, b"one block of it");
    revoke_and_destroy(&mut client, &id);
}

/// The second gateway is away: an error that passes, nothing left behind, service again when it is back.
#[test]
fn a_second_gateway_that_is_away_is_an_error_that_passes() {
    let mut second = Setup::new().start();
    let address = second.address("kmip").to_string();
    let folder = second.client_folder("a");
    let first = before(&address.replace("127.0.0.1", "localhost"), &folder, "");
    let mut client = first.connect("b");
    let id = create(&mut client);
    second.kill().expect("killed");
    cipher(&mut client, Operation::Encrypt, &id, b"x").expect_err("the key server is away");
    ask(&mut client, &request::create_aes(V1_4, 256, None)).expect_err("the key server is away");
    second.set("kmip.listen", &address);
    second.start().expect("starts again");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err((_, message)) = cipher(&mut client, Operation::Encrypt, &id, b"x") {
        assert!(std::time::Instant::now() < deadline, "does not serve again: {message}");
        std::thread::yield_now();
    }
    assert_eq!(located(&second, "a"), 1, "the refused Create left nothing");
}

/// The same by commands while the gateway serves: each step of the test tells its own failure, and the last word is `Success`.
#[test]
fn a_second_gateway_is_added_tested_and_activated() {
    // One with authorities of its own: the others are copies of one folder.
    let (second, first) = (Setup::new().start(), Setup::new().init(&["--seal", "keyfile"]).start());
    let folder = second.client_folder("a");
    let address = second.address("kmip").to_string().replace("127.0.0.1", "localhost");
    let file = |setting: &str, path: &Path| format!("{setting}={}", path.display());
    let (ca, cert, key) = (
        file("ca-file", &folder.join("ca.pem")),
        file("cert-file", &folder.join("cert.pem")),
        file("key-file", &folder.join("key.pem")),
    );
    let addresses = format!("addresses=[\"{address}\"]");
    let add = ["keystore", "add", "far", "--kind", "kmip", "--set", &addresses, "--set", &ca, "--set", &cert, "--set", &key];
    let _ = first.keygate_ok(&add);
    let strangers = file("ca-file", &first.client_folder("a").join("ca.pem"));
    for (wrong, step, right) in [
        ("addresses=[\"no-such-host.invalid\"]", "resolve", &addresses),
        ("addresses=[\"localhost:1\"]", "connect", &addresses),
        (&strangers, "tls", &ca),
    ] {
        let _ = first.keygate_ok(&["keystore", "set", "far", "--set", wrong]);
        let output = first.keygate(&["keystore", "test", "far", "--json"]).expect("the command runs");
        assert!(!output.status.success(), "{step}");
        let shown = first.keygate_ok(&["keystore", "show", "far", "--json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        let last = shown["test"]["steps"].as_array().and_then(|steps| steps.last()).cloned().unwrap_or_default();
        assert_eq!((last["name"].as_str(), last["outcome"].as_str()), (Some(step), Some("failed")), "{shown}");
        let _ = first.keygate_ok(&["keystore", "set", "far", "--set", right]);
    }
    let tested = first.keygate_ok(&["keystore", "test", "far"]);
    assert!(tested.trim_end().ends_with("Success"), "{tested}");
    assert_eq!(located(&second, "a"), 0, "the probe key is gone");
    let _ = first.keygate_ok(&["keystore", "activate", "far", "--confirm", "far"]);
    let mut client = first.connect("b");
    let id = create(&mut client);
    assert_eq!(located(&second, "a"), 1, "the key is in the second gateway");
    revoke_and_destroy(&mut client, &id);
}
