//! Goal: the gateway works with a token of PKCS#11 3.2 as with one of 2.40, through restarts and a SIGKILL.
//! Method: a throw-away kryoptic token under the real binary; OpenSC's tool lists what is on it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use keygate_kmip::{Operation, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, bytes, enumeration, integer, structure, text};
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);
const NONCE: [u8; 12] = [9; 12];

fn ask(client: &mut TlsKmipClient, operation: Operation, payload: Vec<Item>) -> Item {
    let answer = client.request(&request::message(V1_4, vec![(operation, payload)])).expect("an answer");
    request::outcome(&answer).unwrap_or_else(|error| panic!("{operation:?}: {error:?}"))
}

fn part(item: &Item, tag: Tag) -> Vec<u8> {
    item.find(tag.0).and_then(Item::bytes).expect("octets").to_vec()
}

fn active(mut more: Vec<Item>) -> Vec<Item> {
    more.push(request::attribute("Activation Date", Value::DateTime(1)));
    more
}

fn usage(mask: i32) -> Vec<Item> {
    vec![request::attribute("Cryptographic Usage Mask", Value::Integer(mask))]
}

/// An AES-256 key.
fn create_key(client: &mut TlsKmipClient) -> String {
    let of_aes = vec![
        request::attribute("Cryptographic Algorithm", Value::Enumeration(3)),
        request::attribute("Cryptographic Length", Value::Integer(256)),
    ];
    let template = structure(Tag::TEMPLATE_ATTRIBUTE, active([of_aes, usage(0x0C)].concat()));
    request::identifier(&ask(client, Operation::Create, vec![enumeration(Tag::OBJECT_TYPE, 2), template]))
}

/// A P-256 pair: the private key's identifier, and the public point.
fn create_pair(client: &mut TlsKmipClient) -> (String, Vec<u8>) {
    let of_p256 = vec![
        request::attribute("Cryptographic Algorithm", Value::Enumeration(6)),
        request::attribute("Cryptographic Length", Value::Integer(256)),
    ];
    let payload = vec![
        structure(Tag::COMMON_TEMPLATE_ATTRIBUTE, active(of_p256)),
        structure(Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE, usage(1)),
        structure(Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE, usage(2)),
    ];
    let made = ask(client, Operation::CreateKeyPair, payload);
    let identifier = |tag: Tag| made.field(tag.0).and_then(Item::text).expect("an identifier").to_owned();
    let public = text(Tag::UNIQUE_IDENTIFIER, &identifier(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER));
    let spki = part(&ask(client, Operation::Get, vec![public]), Tag::KEY_MATERIAL);
    (identifier(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), spki[spki.len() - 65..].to_vec())
}

/// Signs, and checks the signature here.
fn signs(client: &mut TlsKmipClient, private: &str, point: &[u8]) {
    let parameters = vec![enumeration(Tag::HASHING_ALGORITHM, 6), enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 6)];
    let parameters = structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters);
    let payload = vec![text(Tag::UNIQUE_IDENTIFIER, private), parameters, bytes(Tag::DATA, b"to be signed")];
    let signature = part(&ask(client, Operation::Sign, payload), Tag::SIGNATURE_DATA);
    let fixed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(b"to be signed", &signature);
    let der = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(b"to be signed", &signature);
    fixed.or(der).expect("the signature verifies");
}

/// Encrypts a text with AES-GCM and a given nonce: cipher text and tag.
fn seals(client: &mut TlsKmipClient, key: &str) -> (Vec<u8>, Vec<u8>) {
    let payload = vec![
        text(Tag::UNIQUE_IDENTIFIER, key),
        gcm(),
        bytes(Tag::DATA, b"a text of some length"),
        bytes(Tag::IV_COUNTER_NONCE, &NONCE),
        bytes(Tag::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA, b"bound"),
    ];
    let answer = ask(client, Operation::Encrypt, payload);
    (part(&answer, Tag::DATA), part(&answer, Tag::AUTHENTICATED_ENCRYPTION_TAG))
}

fn opens(client: &mut TlsKmipClient, key: &str, sealed: &(Vec<u8>, Vec<u8>)) {
    let payload = vec![
        text(Tag::UNIQUE_IDENTIFIER, key),
        gcm(),
        bytes(Tag::DATA, &sealed.0),
        bytes(Tag::IV_COUNTER_NONCE, &NONCE),
        bytes(Tag::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA, b"bound"),
        bytes(Tag::AUTHENTICATED_ENCRYPTION_TAG, &sealed.1),
    ];
    assert_eq!(part(&ask(client, Operation::Decrypt, payload), Tag::DATA), b"a text of some length");
}

fn gcm() -> Item {
    let parameters = vec![enumeration(Tag::BLOCK_CIPHER_MODE, 9), integer(Tag::TAG_LENGTH, 16)];
    structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters)
}

/// Keys are made, used again and again, and used after a restart and after a SIGKILL; what they answer stays the same, and the
/// token holds these keys alone.
#[test]
fn keys_in_a_token_of_version_3_outlive_a_restart_and_a_kill() {
    if tools::skipped("kryoptic") {
        return;
    }
    let mut gateway = Setup::new().set("keystore.default", "hsm").prepare().expect("initialised");
    let token = Token::kryoptic(&gateway.scratch().join("hsm"), "keygate-test").expect("a token");
    token.join(&mut gateway, "hsm", 2);
    gateway.start().expect("starts");
    let mut client = gateway.connect("a");
    let (key, (private, point)) = (create_key(&mut client), create_pair(&mut client));
    let sealed = seals(&mut client, &key);
    let everything_works = |gateway: &TestGateway| {
        let mut client = gateway.connect("a");
        // Often enough for every worker to have the key ready, and to answer from there.
        for _ in 0..8 {
            assert_eq!(seals(&mut client, &key), sealed);
            opens(&mut client, &key, &sealed);
            signs(&mut client, &private, &point);
        }
    };
    everything_works(&gateway);
    gateway.stop().expect("stopped");
    gateway.start().expect("starts");
    everything_works(&gateway);
    gateway.kill().expect("killed");
    gateway.start().expect("starts");
    everything_works(&gateway);
    assert_eq!(token.keys().expect("the token is listed").len(), 2);
}

/// `keystore test` uses the token in earnest and ends in Success.
#[test]
fn a_token_of_version_3_passes_the_test_of_a_keystore() {
    if tools::skipped("kryoptic") {
        return;
    }
    let mut gateway = Setup::new().prepare().expect("initialised");
    let token = Token::kryoptic(&gateway.scratch().join("hsm"), "life").expect("a token");
    token.show(&mut gateway);
    gateway.start().expect("starts");
    let (module, label) = (format!("module={}", token.module.display()), "token-label=life");
    let pin_file = token.pin_file.to_string_lossy();
    let _ = gateway.keygate_ok(&["keystore", "add", "hsm", "--kind", "pkcs11", "--set", &module, "--set", label, "--secret-file", &pin_file]);
    let printed = gateway.keygate_ok(&["keystore", "test", "hsm"]);
    assert_eq!(printed.trim_end().lines().last(), Some("Success"), "{printed}");
    let _ = gateway.keygate_ok(&["keystore", "activate", "hsm", "--confirm", "hsm"]);
    assert!(token.keys().expect("the token is listed").is_empty(), "the test left a key behind");
}
