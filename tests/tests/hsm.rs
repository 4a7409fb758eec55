//! Goal: keys that live in a token are used there, never leave it, and its absence is an error that passes.
//! Method: a throw-away SoftHSM token as the default keystore of the real binary; its files are moved away and back.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::client::{Credentials, TlsKmipClient};
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, bytes, enumeration, structure, text};
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use keygate_tests::ttlv::Item;

const V1_4: (i32, i32) = (1, 4);

/// A gateway whose default keystore is a token in its scratch folder.
fn gateway() -> TestGateway {
    gateway_and_token().0
}

fn gateway_and_token() -> (TestGateway, Token) {
    let mut gateway = Setup::new().set("keystore.default", "hsm").prepare().expect("initialised");
    let token = Token::make(&gateway.scratch().join("hsm"), "keygate-test").expect("a token; is softhsm2 installed?");
    token.join(&mut gateway, "hsm", 2);
    gateway.start().expect("starts");
    (gateway, token)
}

/// An active P-256 pair: private and public identifier.
fn create_pair(client: &mut TlsKmipClient) -> (String, String) {
    let answer = client.request(&pair_request()).expect("an answer");
    pair_of(&request::outcome(&answer).expect("Create Key Pair"))
}

fn pair_of(made: &Item) -> (String, String) {
    let identifier = |tag: Tag| made.field(tag.0).and_then(Item::text).expect("an identifier").to_owned();
    (identifier(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), identifier(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER))
}

fn pair_request() -> Item {
    request::create_p256_pair(V1_4)
}

fn sign(client: &mut TlsKmipClient, private: &str) -> Result<Vec<u8>, (u32, String)> {
    let parameters = vec![enumeration(Tag::HASHING_ALGORITHM, 6), enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 6)];
    let payload = vec![
        text(Tag::UNIQUE_IDENTIFIER, private),
        structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
        bytes(Tag::DATA, b"to be signed"),
    ];
    let answer = client.request(&request::message(V1_4, vec![(Operation::Sign, payload)])).expect("an answer");
    let payload = request::outcome(&answer)?;
    Ok(payload.field(Tag::SIGNATURE_DATA.0).and_then(Item::bytes).expect("a signature").to_vec())
}

fn get(client: &mut TlsKmipClient, identifier: &str) -> Result<Item, (u32, String)> {
    request::outcome(&client.request(&request::on(V1_4, Operation::Get, identifier)).expect("an answer"))
}

#[test]
fn a_key_in_the_token_signs_and_never_leaves() {
    if tools::skipped("softhsm") {
        return;
    }
    let gateway = gateway();
    let mut client = gateway.connect("a");
    let (private, public) = create_pair(&mut client);
    let signature = sign(&mut client, &private).expect("Sign");
    let public = get(&mut client, &public).expect("the public key");
    let spki = public.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("material").to_vec();
    let point = &spki[spki.len() - 65..];
    let fixed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(b"to be signed", &signature);
    let der = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(b"to be signed", &signature);
    fixed.or(der).expect("the signature verifies");
    let (reason, message) = get(&mut client, &private).expect_err("the private key stays in the token");
    let allowed = [ResultReason::PermissionDenied, ResultReason::NotExtractable, ResultReason::Sensitive];
    assert!(allowed.iter().any(|one| one.code() == reason), "reason {reason:#x}: {message}");
}

/// The token goes away and comes back while the server runs: errors meanwhile, service after, no restart.
#[test]
fn a_token_that_returns_serves_again_without_a_restart() {
    if tools::skipped("softhsm") {
        return;
    }
    let gateway = gateway();
    let mut client = gateway.connect("a");
    let (private, _) = create_pair(&mut client);
    sign(&mut client, &private).expect("Sign");
    let (here, away) = (gateway.scratch().join("hsm/tokens"), gateway.scratch().join("hsm/away"));
    std::fs::rename(&here, &away).expect("moved away");
    std::fs::create_dir(&here).expect("an empty folder");
    // SoftHSM answers from its memory for a while; a key made now has to be written.
    let mut failed = None;
    for _ in 0..20 {
        let request = request::create_aes(V1_4, 256, None);
        if let Err(error) = request::outcome(&client.request(&request).expect("an answer")) {
            failed = Some(error);
            break;
        }
    }
    let (reason, message) = failed.expect("creating fails while the token is away");
    assert_ne!(reason, 0, "{message}");
    std::fs::remove_dir_all(&here).expect("removed");
    std::fs::rename(&away, &here).expect("moved back");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match sign(&mut client, &private) {
            Ok(_) => break,
            Err((_, message)) => assert!(Instant::now() < deadline, "does not serve again: {message}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Without the token the gateway starts, says so, and serves what needs no token.
#[test]
fn a_missing_token_degrades_and_does_not_stop() {
    if tools::skipped("softhsm") {
        return;
    }
    let mut gateway = gateway();
    let (private, _) = create_pair(&mut gateway.connect("a"));
    gateway.stop().expect("stops");
    let (here, away) = (gateway.scratch().join("hsm/tokens"), gateway.scratch().join("hsm/away"));
    std::fs::rename(&here, &away).expect("moved away");
    std::fs::create_dir(&here).expect("an empty folder");
    gateway.set("keystore.default", "local");
    gateway.start().expect("starts degraded");
    let mut client = gateway.connect("a");
    sign(&mut client, &private).expect_err("the key is in the missing token");
    let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
    request::outcome(&answer).expect("a key in the local keystore");
}

/// What clients were told before the server died.
#[derive(Default)]
struct Told {
    /// Private keys whose creation was acknowledged and whose destruction was not begun.
    kept: Vec<String>,
    /// Whose destruction was acknowledged.
    destroyed: Vec<String>,
}

/// Creates pairs and destroys every second one until the server dies.
fn create_and_destroy(address: SocketAddr, credentials: &Credentials, told: &Mutex<Told>) {
    // Any failure is the death of the server: that is the point.
    let Ok(mut client) = TlsKmipClient::connect(address, credentials) else { return };
    for number in 0.. {
        let Ok(answer) = client.request(&pair_request()) else { return };
        // After a SIGKILL SoftHSM now and then answers CKR_GENERAL_ERROR to C_GenerateKeyPair: refused is not acknowledged.
        let Ok(made) = request::outcome(&answer) else { continue };
        let (private, _) = pair_of(&made);
        if number % 2 == 0 {
            told.lock().expect("no client failed").kept.push(private);
            continue;
        }
        let Ok(answer) = client.request(&revoke(&private)) else { return };
        request::outcome(&answer).expect("Revoke");
        let Ok(answer) = client.request(&request::on(V1_4, Operation::Destroy, &private)) else { return };
        if request::outcome(&answer).is_err() {
            continue;
        }
        told.lock().expect("no client failed").destroyed.push(private);
    }
}

fn revoke(private: &str) -> Item {
    let reason = structure(Tag::REVOCATION_REASON, vec![enumeration(Tag::REVOCATION_REASON_CODE, 5)]);
    request::message(V1_4, vec![(Operation::Revoke, vec![text(Tag::UNIQUE_IDENTIFIER, private), reason])])
}

/// Private keys that the gateway says are in the token, with their states.
fn private_keys(gateway: &TestGateway) -> Vec<(String, String)> {
    let listed = gateway.keygate_ok(&["keys", "list", "--limit", "1000", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert!(listed["next"].is_null() && listed["refused"].as_array().is_some_and(Vec::is_empty), "{listed}");
    let keys = listed["keys"].as_array().expect("a list").iter();
    let private = keys.filter(|key| key["object_type"] == "PrivateKey");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    private.inspect(|key| assert_eq!(key["keystore"], "hsm")).map(|key| (text(&key["id"]), text(&key["state"]))).collect()
}

/// SIGKILL while clients create and destroy keys in the token: afterwards every acknowledged key is there and signs, no destroyed
/// one does, and the token itself, listed by another program, holds exactly the keys that the gateway has: no orphan, none missing.
#[test]
fn sigkill_during_create_and_destroy_leaves_no_orphan() {
    if tools::skipped("softhsm") {
        return;
    }
    let (mut gateway, token) = gateway_and_token();
    let mut told = Told::default();
    for round in 0..5 {
        let now = Mutex::new(Told::default());
        let (address, credentials) = (gateway.address("kmip"), gateway.client("a"));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| create_and_destroy(address, &credentials, &now));
            }
            // At a different point of the work each round, in the midst of all three clients' requests.
            let deadline = Instant::now() + Duration::from_secs(60);
            while now.lock().expect("no client failed").destroyed.len() < 2 + round {
                assert!(Instant::now() < deadline, "no progress");
                std::thread::yield_now();
            }
            gateway.kill().expect("killed");
        });
        let now = now.into_inner().expect("no client failed");
        told.kept.extend(now.kept);
        told.destroyed.extend(now.destroyed);
        gateway.start().expect("starts");
        let mut client = gateway.connect("a");
        for private in &told.kept {
            sign(&mut client, private).unwrap_or_else(|error| panic!("round {round}: an acknowledged key is lost: {error:?}"));
        }
        for private in &told.destroyed {
            sign(&mut client, private).expect_err("a destroyed key signs");
        }
        // What was under way is reconciled in the background; then the token and the gateway agree.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let alive = private_keys(&gateway).into_iter().filter(|(_, state)| !state.starts_with("Destroyed"));
            let alive: Vec<String> = alive.map(|(id, _)| id).collect();
            let on_token = token.keys().expect("the token is listed");
            if on_token.len() == alive.len() {
                assert!(told.kept.iter().all(|private| alive.contains(private)), "round {round}");
                assert!(on_token.iter().all(|label| label.starts_with("keygate:hsm:")), "{on_token:?}");
                break;
            }
            let counts = (on_token.len(), alive.len());
            assert!(Instant::now() < deadline, "round {round}: keys on the token, and of the gateway: {counts:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let (code, text) = {
        let output = gateway.keygate(&["audit", "verify"]).expect("the command runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(code, Some(0), "{text}");
}
