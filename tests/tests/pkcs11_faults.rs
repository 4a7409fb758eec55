//! Goal: whatever a token and its vendor's library do, no answer is wrong, no acknowledged key is lost, no PIN is offered
//! twice after a refusal, and what still works goes on.
//! Method: SoftHSM behind a module that misbehaves on demand (`tests/shim-pkcs11`), under the real binary.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, bytes, enumeration, structure, text};
use keygate_tests::shim::Shim;
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);
/// Of the gateway, for a use of a key.
const USE_DEADLINE: Duration = Duration::from_secs(10);

/// A running gateway whose default keystore is a token behind the shim.
struct Stage {
    gateway: TestGateway,
    /// The token without the shim.
    token: Token,
    shim: Shim,
}

impl Stage {
    /// Not started. `None`: the person running the tests asked to leave SoftHSM out.
    fn prepare() -> Option<Self> {
        if tools::skipped("softhsm") {
            return None;
        }
        let mut gateway = Setup::new().set("keystore.default", "hsm").prepare().expect("initialised");
        let token = Token::make(&gateway.scratch().join("hsm"), "faulty").expect("a token; is softhsm2 installed?");
        let shim = Shim::before(&token, &mut gateway).expect("the shim is built");
        shim.token.join(&mut gateway, "hsm", 2);
        Some(Self { gateway, token, shim })
    }

    fn start() -> Option<Self> {
        let mut stage = Self::prepare()?;
        stage.gateway.start().expect("starts");
        stage.wait_for_workers(3);
        Some(stage)
    }

    /// Two workers for traffic and one for what is slow, started one after the other.
    fn wait_for_workers(&self, logins: usize) {
        wait_until("the workers are there", || self.shim.calls("C_Login") >= logins);
    }

    fn connect(&self) -> TlsKmipClient {
        self.gateway.connect("a")
    }

    /// What `/ready` says.
    fn ready(&self) -> String {
        let mut stream = TcpStream::connect(self.gateway.address("status")).expect("the status listener");
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: status\r\nConnection: close\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 40 seconds: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A key pair in the token, and its public half to check with.
#[derive(Clone)]
struct Pair {
    private: String,
    point: Vec<u8>,
}

type Refusal = (u32, String);

impl Pair {
    fn create(client: &mut TlsKmipClient) -> Result<Self, Refusal> {
        let made = request::outcome(&client.request(&request::create_p256_pair(V1_4)).expect("an answer"))?;
        let identifier = |tag: Tag| made.field(tag.0).and_then(Item::text).expect("an identifier").to_owned();
        let public = identifier(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER);
        let public = ask(client, Operation::Get, vec![text(Tag::UNIQUE_IDENTIFIER, &public)]).expect("the public key");
        let spki = public.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("material").to_vec();
        Ok(Self { private: identifier(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), point: spki[spki.len() - 65..].to_vec() })
    }

    /// A signature, checked.
    fn sign(&self, client: &mut TlsKmipClient, message: &[u8]) -> Result<(), Refusal> {
        let parameters = vec![enumeration(Tag::HASHING_ALGORITHM, 6), enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 6)];
        let payload = vec![
            text(Tag::UNIQUE_IDENTIFIER, &self.private),
            structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
            bytes(Tag::DATA, message),
        ];
        let signed = ask(client, Operation::Sign, payload)?;
        let signature = signed.field(Tag::SIGNATURE_DATA.0).and_then(Item::bytes).expect("a signature");
        let fixed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point).verify(message, signature);
        let der = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature);
        fixed.or(der).expect("a signature that was given is right");
        Ok(())
    }
}

fn ask(client: &mut TlsKmipClient, operation: Operation, payload: Vec<Item>) -> Result<Item, Refusal> {
    request::outcome(&client.request(&request::message(V1_4, vec![(operation, payload)])).expect("an answer"))
}

/// The rows of the fault matrix that pass: what the token answers once, a signature survives, and clients do not notice.
#[test]
fn what_a_signature_survives() {
    let Some(stage) = Stage::start() else { return };
    let mut client = stage.connect();
    let pair = Pair::create(&mut client).expect("a pair");
    for (row, rule) in [
        ("an operation was left unfinished", "C_SignInit return 0x90 times=1"),
        ("an operation is not begun", "C_Sign return 0x91 times=1"),
        ("the session is gone", "C_SignInit return 0xB3 times=1"),
        ("the session was closed in the call", "C_Sign return 0xB0 times=1"),
        ("the handle went stale", "C_SignInit return 0x60 times=1"),
        ("the object's handle went stale", "C_SignInit return 0x82 times=1"),
        ("somebody logged out", "C_SignInit return 0x101 times=1"),
        ("the device failed", "C_SignInit return 0x30 times=1"),
        ("the device was removed", "C_Sign return 0x32 times=1"),
        ("the token is not present", "C_SignInit return 0xE0 times=1"),
        ("the module was finalised", "C_SignInit return 0x190 times=1"),
        ("a general error", "C_Sign return 0x5 times=1"),
        ("the function failed", "C_Sign return 0x6 times=1"),
        ("an unknown vendor code", "C_Sign return 0x80001234 times=1"),
        ("the worker crashed", "C_Sign crash times=1"),
        ("the worker crashed after signing", "C_Sign then-crash times=1"),
    ] {
        let before = stage.shim.acted("C_Sign") + stage.shim.acted("C_SignInit");
        stage.shim.rules(&[rule]);
        pair.sign(&mut client, row.as_bytes()).unwrap_or_else(|error| panic!("{row}: {error:?}"));
        let acted = stage.shim.acted("C_Sign") + stage.shim.acted("C_SignInit") - before;
        assert_eq!(acted, 1, "{row}: the rule acts once");
    }
    assert_eq!(stage.shim.calls("C_Logout"), 0);
}

/// Rows that do not pass: a clear error, nothing of it lasts, and another key is served meanwhile.
#[test]
fn what_is_answered_and_does_not_last() {
    let Some(stage) = Stage::start() else { return };
    let mut client = stage.connect();
    let pair = Pair::create(&mut client).expect("a pair");
    let on_token = stage.token.keys().expect("listed");
    // The token is full, refuses, or has no room for an object: no key, no orphan.
    for code in ["0x31", "0x70", "0xE2", "0xD1"] {
        stage.shim.rules(&[&format!("C_GenerateKeyPair return {code}")]);
        Pair::create(&mut client).err().unwrap_or_else(|| panic!("{code}: a key was made"));
        pair.sign(&mut client, b"meanwhile").expect("the others go on");
    }
    stage.shim.rules(&[]);
    wait_until("nothing was left behind", || stage.token.keys().expect("listed") == on_token);
    Pair::create(&mut client).expect("there is room again");
    // No session is to be had. An error drops the session that a worker has.
    stage.shim.rules(&["C_SignInit return 0x90", "C_OpenSession return 0xB1"]);
    for _ in 0..4 {
        pair.sign(&mut client, b"busy").expect_err("no session");
    }
    stage.shim.rules(&[]);
    pair.sign(&mut client, b"a session again").expect("a signature");
    // A token that fails in every way, for as long as it does.
    for code in ["0x30", "0xE0", "0x5", "0x90", "0x101"] {
        stage.shim.rules(&[&format!("C_SignInit return {code}")]);
        pair.sign(&mut client, b"refused").err().unwrap_or_else(|| panic!("{code}: a signature"));
        stage.shim.rules(&[]);
        wait_until("a signature again", || pair.sign(&mut client, b"again").is_ok());
    }
}

/// A key pair whose private half signs wrongly is not handed out.
#[test]
fn a_token_that_signs_wrongly_makes_no_key() {
    let Some(stage) = Stage::start() else { return };
    let on_token = stage.token.keys().expect("listed");
    stage.shim.rules(&["C_Sign flip"]);
    Pair::create(&mut stage.connect()).err().expect("the pair does not fit");
    assert_eq!(stage.token.keys().expect("listed"), on_token);
}

/// A key that the token did not keep as it was asked to does not stay: one that may be read or may leave, and one that is
/// another than it was given. CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_CHECK_VALUE.
#[test]
fn a_token_that_keeps_a_key_otherwise_than_it_was_told() {
    let Some(stage) = Stage::start() else { return };
    let mut client = stage.connect();
    let on_token = stage.token.keys().expect("listed");
    for kind in ["0x103", "0x162"] {
        stage.shim.rules(&[&format!("C_GetAttributeValue:{kind} flip")]);
        let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
        request::outcome(&answer).expect_err(kind);
        Pair::create(&mut client).err().unwrap_or_else(|| panic!("{kind}: a pair was made"));
        register(&mut client, 3, 256).expect_err(kind);
        assert_eq!(stage.token.keys().expect("listed"), on_token, "{kind}");
    }
    // AES is compared by its check value, HMAC-SHA256 by a MAC.
    stage.shim.rules(&["C_GetAttributeValue:0x90 flip"]);
    register(&mut client, 3, 256).expect_err("another AES key");
    stage.shim.rules(&["C_Sign flip"]);
    register(&mut client, 9, 256).expect_err("another HMAC key");
    assert_eq!(stage.token.keys().expect("listed"), on_token);
    stage.shim.rules(&[]);
    register(&mut client, 3, 256).expect("an AES key");
    register(&mut client, 9, 256).expect("an HMAC key");
    assert_eq!(stage.token.keys().expect("listed").len(), on_token.len() + 2);
}

/// Register of a symmetric key.
fn register(client: &mut TlsKmipClient, algorithm: u32, bits: i32) -> Result<Item, Refusal> {
    let block = vec![
        enumeration(Tag::KEY_FORMAT_TYPE, 1),
        structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, &[7; 32])]),
        enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, algorithm),
        request::integer(Tag::CRYPTOGRAPHIC_LENGTH, bits),
    ];
    let usage = if algorithm == 3 { 0x0C } else { 0x180 };
    let attributes = vec![(Tag::CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", Value::Integer(usage))];
    let key = structure(Tag::SYMMETRIC_KEY, vec![structure(Tag::KEY_BLOCK, block)]);
    ask(client, Operation::Register, vec![enumeration(Tag::OBJECT_TYPE, 2), request::attributes_item(V1_4, attributes), key])
}

/// A call that never returns: other keys go on within their deadlines, the caller is told, the worker is replaced.
#[test]
fn a_hung_call_costs_one_answer_and_one_worker() {
    let Some(stage) = Stage::start() else { return };
    let mut client = stage.connect();
    let pairs: Vec<Pair> = (0..4).map(|_| Pair::create(&mut client).expect("a pair")).collect();
    stage.shim.rules(&["C_Sign hang skip=20 times=1"]);
    let (refused, slowest, done) = (AtomicUsize::new(0), Mutex::new(Duration::ZERO), AtomicBool::new(false));
    let workers_before = stage.shim.processes().len();
    std::thread::scope(|scope| {
        for pair in &pairs {
            scope.spawn(|| {
                let mut client = stage.connect();
                while !done.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    if pair.sign(&mut client, b"under load").is_err() {
                        refused.fetch_add(1, Ordering::Relaxed);
                        assert!(begun.elapsed() < USE_DEADLINE + Duration::from_secs(2), "{:?}", begun.elapsed());
                    } else {
                        let mut slowest = slowest.lock().expect("no thread failed");
                        *slowest = (*slowest).max(begun.elapsed());
                    }
                }
            });
        }
        wait_until("the hung worker is replaced", || stage.shim.processes().len() > workers_before);
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((stage.shim.acted("C_Sign"), refused.into_inner()), (1, 1));
    let slowest = slowest.into_inner().expect("no thread failed");
    assert!(slowest < USE_DEADLINE / 2, "others waited {slowest:?}");
    pairs.iter().for_each(|pair| pair.sign(&mut client, b"afterwards").expect("a signature"));
}

/// Workers crash again and again while clients sign and make keys: every signature is right, every acknowledged key is
/// there, and the token holds exactly the keys that the gateway has.
#[test]
fn crashes_under_load_lose_nothing() {
    let Some(stage) = Stage::start() else { return };
    let first = Pair::create(&mut stage.connect()).expect("a pair");
    stage.shim.rules(&[
        "C_Sign crash skip=30 times=1",
        "C_Sign then-crash skip=60 times=1",
        "C_SignInit crash skip=90 times=1",
        "C_GenerateKeyPair crash skip=2 times=1",
        "C_GenerateKeyPair then-crash skip=4 times=1",
        "C_DestroyObject crash skip=9 times=1",
    ]);
    let made = Mutex::new(vec![first.clone()]);
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = stage.connect();
                for number in 0..60_u8 {
                    // A signature is repeated by another worker; only a second crash in a row refuses it.
                    first.sign(&mut client, &[number]).unwrap_or_else(|_| {
                        refused.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        }
        scope.spawn(|| {
            let mut client = stage.connect();
            for _ in 0..10 {
                if let Ok(pair) = Pair::create(&mut client) {
                    made.lock().expect("no thread failed").push(pair);
                }
            }
        });
    });
    assert!(stage.shim.acted("C_Sign") >= 2 && stage.shim.acted("C_GenerateKeyPair") >= 1, "{:?}", stage.shim.log());
    assert_eq!(refused.into_inner(), 0, "signatures are not refused for one crash");
    stage.shim.rules(&[]);
    let made = made.into_inner().expect("no thread failed");
    let mut client = stage.connect();
    for pair in &made {
        pair.sign(&mut client, b"still there").expect("an acknowledged key signs");
    }
    wait_until("token and gateway agree", || {
        let keys = stage.token.keys().expect("listed");
        keys.len() == made.len()
    });
    assert!(made.len() > 5, "{} pairs", made.len());
}

/// A refused PIN is offered once, by one worker, whatever is asked afterwards; the message says what to do.
#[test]
fn a_refused_pin_is_offered_once() {
    for (code, advice) in [("0xA0", "correct it where keygate.toml says"), ("0xA4", "unlock it"), ("0xA3", "set a new one")] {
        let Some(mut stage) = Stage::prepare() else { return };
        stage.gateway.set("keystore.default", "local");
        stage.shim.rules(&[&format!("C_Login return {code}")]);
        stage.gateway.start().expect("starts degraded");
        wait_until("the login is refused", || stage.ready().contains(advice));
        let mut client = stage.connect();
        let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
        request::outcome(&answer).expect("the local keystore serves");
        assert_eq!(stage.shim.calls("C_Login"), 1, "{:?}", stage.shim.log());
        let pin = stage.token.pin().expect("the PIN");
        assert!(!stage.gateway.log().contains(&pin) && !stage.ready().contains(&pin));
    }
}

/// A PIN that was wrong in its file is mended without a restart: each `keystore retry` offers what the file says then, once, and is on
/// record; where nothing was refused there is nothing to try again.
#[test]
fn a_mended_pin_is_offered_again_on_command() {
    let Some(mut stage) = Stage::prepare() else { return };
    stage.gateway.set("keystore.default", "local");
    let right = stage.token.pin().expect("the PIN");
    std::fs::write(&stage.token.pin_file, "87654321").expect("written");
    stage.gateway.start().expect("starts degraded");
    wait_until("the login is refused", || stage.ready().contains("`keygate keystore retry hsm`"));
    assert_eq!(stage.shim.calls("C_Login"), 1);
    let retry = || stage.gateway.keygate(&["keystore", "retry", "hsm"]).expect("the command runs");
    let told = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = retry();
    assert!(!refused.status.success() && told(&refused).contains("refused the PIN"), "{}", told(&refused));
    assert_eq!(stage.shim.calls("C_Login"), 2, "one offer for one act");
    let status = stage.gateway.keygate_ok(&["keystore", "status", "hsm"]);
    assert!(status.contains("needs operator") && status.contains("keygate keystore retry hsm"), "{status}");

    std::fs::write(&stage.token.pin_file, &right).expect("written");
    let accepted = retry();
    assert!(accepted.status.success(), "{}", told(&accepted));
    let mut client = stage.connect();
    let wish = request::create_aes_in(V1_4, 256, "hsm");
    request::outcome(&client.request(&wish).expect("an answer")).expect("the token serves");
    let again = retry();
    assert!(told(&again).contains("has refused no PIN"), "{}", told(&again));
    let recorded = stage.gateway.keygate_ok(&["audit", "search", "--action", "KeystoreRetried", "--object", "hsm"]);
    assert_eq!(recorded.lines().filter(|line| line.contains("KeystoreRetried")).count(), 2, "{recorded}");
    let status = stage.gateway.keygate_ok(&["keystore", "status", "hsm", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let status = &status["items"][0];
    assert_eq!((&status["health"], &status["sessions"].is_u64(), &status["workers"].is_u64()), (&"up".into(), &true, &true), "{status}");
    assert!(status["locked"].is_string() && status["generation"].as_u64() >= Some(1), "{status}");
    for secret in [right.as_str(), "87654321"] {
        assert!(!stage.gateway.log().contains(secret) && !recorded.contains(secret));
    }
}

/// Every keystore in use gets a sign-of-life test at its interval; one that fails is said and counted.
#[test]
fn checks_are_made_and_counted() {
    let Some(mut stage) = Stage::prepare() else { return };
    stage.gateway.set("keystore.check_seconds", "1");
    stage.gateway.start().expect("starts");
    let status = || -> serde_json::Value {
        let printed = stage.gateway.keygate_ok(&["keystore", "status", "hsm", "--json"]);
        serde_json::from_str::<serde_json::Value>(&printed).expect("JSON")["items"][0].clone()
    };
    wait_until("a check succeeded", || status()["checks"].as_u64() > status()["checks_failed"].as_u64());
    stage.shim.rules(&["C_GetMechanismList return 0x5"]);
    wait_until("a check failed", || status()["check_failure"].is_string() && status()["checks_failed"].as_u64() > Some(0));
    stage.shim.rules(&[]);
    wait_until("a check succeeds again", || status()["check_failure"].is_null());
}

/// A module that answers a wrong PIN with whatever comes to hand, or with no answer: the PIN is offered twice, after a pause, and
/// then no more, by any of the workers; the message says what to do.
#[test]
fn a_login_that_fails_without_a_reason_is_tried_twice() {
    for rule in ["return 0x5", "return 0x6", "return 0x30", "return 0x80001234", "crash"] {
        let Some(mut stage) = Stage::prepare() else { return };
        stage.gateway.set("keystore.default", "local");
        stage.shim.rules(&[&format!("C_Login {rule}")]);
        stage.gateway.start().expect("starts degraded");
        wait_until("the login is left to the operator", || stage.ready().contains("log in once by hand"));
        let mut client = stage.connect();
        let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
        request::outcome(&answer).expect("the local keystore serves");
        assert_eq!(stage.shim.acted("C_Login"), 2, "{rule}: {:?}", stage.shim.log());
        let pin = stage.token.pin().expect("the PIN");
        assert!(!stage.gateway.log().contains(&pin) && !stage.ready().contains(&pin));
    }
}

/// A login that fails once for a passing reason is repeated, and the keystore serves.
#[test]
fn a_login_that_fails_once_is_repeated() {
    let Some(mut stage) = Stage::prepare() else { return };
    stage.shim.rules(&["C_Login return 0x5 times=1"]);
    stage.gateway.start().expect("starts degraded");
    stage.wait_for_workers(4);
    let mut client = stage.connect();
    let pair = Pair::create(&mut client).expect("a pair");
    pair.sign(&mut client, b"after all").expect("a signature");
}

/// The PIN is refused to a worker that replaces another: those that are logged in go on, nobody offers it again.
#[test]
fn a_pin_locked_later_opens_the_circuit() {
    let Some(stage) = Stage::start() else { return };
    let mut client = stage.connect();
    let pair = Pair::create(&mut client).expect("a pair");
    let logins = stage.shim.calls("C_Login");
    stage.shim.rules(&["C_Login return 0xA4", "C_SignInit return 0x30 times=1"]);
    pair.sign(&mut client, b"by the other worker").expect("a signature");
    wait_until("the circuit is open", || stage.ready().contains("unlock it"));
    // The second worker goes too. Its place stays empty, and so does the first one's.
    stage.shim.rules(&["C_Login return 0xA4", "C_SignInit return 0x30"]);
    for _ in 0..5 {
        pair.sign(&mut client, b"by nobody").expect_err("no worker is logged in");
    }
    assert_eq!(stage.shim.calls("C_Login"), logins + 1, "{:?}", stage.shim.log());
}

/// A token that counts its last try, or is locked, is not logged in to at all.
#[test]
fn the_last_try_is_left_to_the_operator() {
    // CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED.
    for (flag, advice) in [("0x20000", "one try left"), ("0x40000", "is locked")] {
        let Some(mut stage) = Stage::prepare() else { return };
        stage.shim.rules(&[&format!("C_GetTokenInfo token-flags {flag}")]);
        stage.gateway.start().expect("starts degraded");
        wait_until("the login is left to the operator", || stage.ready().contains(advice));
        assert_eq!(stage.shim.calls("C_Login"), 0);
    }
}

/// The row "wrong PIN after login": the module would say that somebody is logged in and not look at it, so it is not asked.
#[test]
fn a_second_opener_with_a_wrong_pin_is_refused() {
    let Some(stage) = Stage::start() else { return };
    let logins = stage.shim.calls("C_Login");
    let guess = stage.gateway.secret_file("guess.pin", "987654").expect("written");
    let module = stage.shim.token.module.to_string_lossy().into_owned();
    let guess = guess.to_string_lossy().into_owned();
    let arguments = ["seal", "add", "pkcs11", "--module", &module, "--token-label", "faulty", "--pin-file", &guess];
    let refused = stage.gateway.keygate(&arguments).expect("runs");
    assert!(!refused.status.success());
    assert_eq!(stage.shim.calls("C_Login"), logins);
    let mut client = stage.connect();
    let pair = Pair::create(&mut client).expect("the keystore goes on");
    pair.sign(&mut client, b"after").expect("a signature");
}

/// The token's files go away and come back: errors meanwhile, service after, no restart.
#[test]
fn a_token_removed_and_restored() {
    let Some(stage) = Stage::start() else { return };
    let mut client = stage.connect();
    let pair = Pair::create(&mut client).expect("a pair");
    let (here, away) = (stage.gateway.scratch().join("hsm/tokens"), stage.gateway.scratch().join("hsm/away"));
    std::fs::rename(&here, &away).expect("moved away");
    std::fs::create_dir(&here).expect("an empty folder");
    wait_until("it is noticed", || pair.sign(&mut client, b"away").is_err());
    wait_until("it is said", || stage.ready().contains("no slot of the module"));
    std::fs::remove_dir_all(&here).expect("removed");
    std::fs::rename(&away, &here).expect("moved back");
    wait_until("it is found again", || pair.sign(&mut client, b"back").is_ok());
}

/// The token is back before its worker's successor has looked: nobody is told that a key it has is not there.
#[test]
fn a_token_away_for_a_moment_has_lost_nothing() {
    let Some(stage) = Stage::start() else { return };
    let pair = Pair::create(&mut stage.connect()).expect("a pair");
    let (here, away) = (stage.gateway.scratch().join("hsm/tokens"), stage.gateway.scratch().join("hsm/away"));
    let (done, refused) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = stage.connect();
            while !done.load(Ordering::Relaxed) {
                if let Err(refusal) = pair.sign(&mut client, b"away for a moment") {
                    refused.lock().expect("no thread failed").push(refusal);
                }
            }
        });
        // A successor of the worker that misses its keys takes long to load the module: the token is back before it looks.
        stage.shim.rules(&["C_Initialize delay 1000"]);
        let workers = stage.shim.processes().len();
        std::fs::rename(&here, &away).expect("moved away");
        std::fs::create_dir(&here).expect("an empty folder");
        wait_until("a worker misses its keys", || stage.gateway.log().contains("token worker is replaced"));
        std::fs::remove_dir_all(&here).expect("removed");
        std::fs::rename(&away, &here).expect("moved back");
        wait_until("it has a successor", || stage.shim.processes().len() > workers);
        wait_until("a signature again", || pair.sign(&mut stage.connect(), b"back").is_ok());
        done.store(true, Ordering::Relaxed);
    });
    let refused = refused.into_inner().expect("no thread failed");
    let not_there = ResultReason::KeyValueNotPresent.code();
    assert!(refused.iter().all(|(reason, _)| *reason != not_there), "{refused:?}");
}

/// A file that is no PKCS#11 module, one that crashes while it is loaded, one that does not come back from
/// C_Initialize with anything but an error: said clearly, and the gateway serves what is left.
#[test]
fn a_module_that_is_none() {
    let Some(mut stage) = Stage::prepare() else { return };
    stage.gateway.set("keystore.default", "local");
    let text_file = stage.gateway.scratch().join("module.so");
    std::fs::write(&text_file, "not a library").expect("written");
    let table = |name: &str, module: &Path| {
        Token { module: module.to_owned(), ..stage.token.clone() }.keystore(name, 2)
    };
    stage.gateway.configure(&table("text", &text_file));
    stage.gateway.configure(&table("missing", Path::new("/nonexistent/module.so")));
    stage.gateway.configure(&table("other", Path::new("/lib/x86_64-linux-gnu/libc.so.6")));
    stage.shim.rules(&["C_GetFunctionList crash times=4", "C_Initialize return 0x2 times=4"]);
    stage.gateway.start().expect("starts degraded");
    let mut client = stage.connect();
    let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
    request::outcome(&answer).expect("the local keystore serves");
    wait_until("each is named", || {
        let ready = stage.ready();
        ["module.so", "/nonexistent/module.so", "libc.so.6"].iter().all(|name| ready.contains(name))
    });
    // The one that crashed four times, and failed four times, is used as soon as it does not.
    wait_until("the module loads", || !stage.ready().contains("keystore hsm") || stage.shim.calls("C_Login") >= 1);
    assert!(stage.gateway.log().contains("signal 11"), "the crash is told");
}

/// A mechanism that the token lists and does not have: refused when it is used, and nothing else suffers.
#[test]
fn a_token_that_promises_too_much() {
    let Some(mut stage) = Stage::prepare() else { return };
    // CKM_ECDSA is hidden: the pair cannot be used, and the answer says so. What a token can do is asked at the start.
    stage.shim.rules(&["C_GetMechanismList hide 0x1041"]);
    stage.gateway.start().expect("starts");
    let mut client = stage.connect();
    match Pair::create(&mut client) {
        Ok(pair) => drop(pair.sign(&mut client, b"no mechanism").expect_err("no mechanism")),
        Err((_, message)) => assert!(!message.is_empty()),
    }
    let answer = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
    request::outcome(&answer).expect("another kind of key");
}

/// The PIN is neither in the arguments nor in the environment of a worker, and workers do not outlive the gateway.
#[test]
fn workers_tell_nothing_and_die_with_the_gateway() {
    let Some(mut stage) = Stage::start() else { return };
    let pin = stage.token.pin().expect("the PIN");
    let workers: BTreeSet<u32> = stage.shim.processes();
    assert_eq!(workers.len(), 3);
    for worker in &workers {
        for file in ["cmdline", "environ"] {
            let shown = std::fs::read(format!("/proc/{worker}/{file}")).expect("readable");
            assert!(memchr::memmem::find(&shown, pin.as_bytes()).is_none(), "the PIN is in {file}");
        }
        let descriptors = std::fs::read_dir(format!("/proc/{worker}/fd")).expect("listed").flatten();
        let open: Vec<String> = descriptors
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        assert!(!open.iter().any(|path| path.contains("keygate.db") || path.contains("/data/")), "{open:?}");
    }
    stage.gateway.kill().expect("killed");
    let alive = |worker: &u32| {
        std::fs::read_to_string(format!("/proc/{worker}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    wait_until("the workers are gone", || !workers.iter().any(alive));
}
