//! Goal: a keystore is added, tested, activated, drained and removed while clients are served, by commands, and nothing of it tells
//! its secret. Method: a throw-away SoftHSM token that the settings file does not know, and the running binary.

use keygate_kmip::{Operation, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, bytes, enumeration, structure, text};
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use keygate_tests::ttlv::{Item, Value};
use serde_json::Value as Json;

const V1_4: (i32, i32) = (1, 4);
const WRONG_PIN: &str = "99887766";

/// A gateway and a token that it does not know yet.
struct World {
    gateway: TestGateway,
    token: Token,
}

impl World {
    fn new() -> Self {
        let mut gateway = Setup::new().prepare().expect("initialised");
        let token = Token::make(&gateway.scratch().join("hsm"), "life").expect("a token; is softhsm2 installed?");
        token.show(&mut gateway);
        gateway.start().expect("starts");
        Self { gateway, token }
    }

    /// Adds the token as keystore `hsm`, with a PIN from a file.
    fn add(&self, pin_file: &str) -> String {
        let module = format!("module={}", self.token.module.display());
        let label = format!("token-label={}", self.token.label);
        self.ok(&["keystore", "add", "hsm", "--kind", "pkcs11", "--set", &module, "--set", &label, "--secret-file", pin_file])
    }

    /// Adds, tests and activates it.
    fn active() -> Self {
        let world = Self::new();
        world.add(&world.token.pin_file.to_string_lossy());
        world.ok(&["keystore", "test", "hsm"]);
        world.ok(&["keystore", "activate", "hsm", "--confirm", "hsm"]);
        world
    }

    fn ok(&self, arguments: &[&str]) -> String {
        self.gateway.keygate_ok(arguments)
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let printed = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"))
    }

    /// A command that must fail: exit code, and all that it printed.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.gateway.keygate(arguments).expect("the command runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}: {printed}");
        (output.status.code().unwrap_or(-1), printed)
    }

    fn state(&self, name: &str) -> String {
        self.json(&["keystore", "show", name])["state"].as_str().expect("a state").to_owned()
    }

    /// The keystore of an object.
    fn home(&self, id: &str) -> String {
        self.json(&["keys", "show", id])["keystore"].as_str().expect("a keystore").to_owned()
    }
}

fn create(client: &mut TlsKmipClient) -> String {
    let payload = vec![
        enumeration(Tag::OBJECT_TYPE, 2),
        structure(
            Tag::TEMPLATE_ATTRIBUTE,
            vec![
                request::attribute("Cryptographic Algorithm", Value::Enumeration(3)),
                request::attribute("Cryptographic Length", Value::Integer(256)),
                request::attribute("Cryptographic Usage Mask", Value::Integer(0x0C)),
                request::attribute("Activation Date", Value::DateTime(1)),
            ],
        ),
    ];
    let answer = client.request(&request::message(V1_4, vec![(Operation::Create, payload)])).expect("an answer");
    request::identifier(&request::outcome(&answer).expect("Create"))
}

/// Encrypts with AES in ECB mode: the same key gives the same text, wherever it is.
fn encrypt(client: &mut TlsKmipClient, id: &str) -> Result<Vec<u8>, (u32, String)> {
    let parameters = vec![enumeration(Tag::BLOCK_CIPHER_MODE, 2), enumeration(Tag::PADDING_METHOD, 1)];
    let payload = vec![text(Tag::UNIQUE_IDENTIFIER, id), structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters), bytes(Tag::DATA, &[7; 32])];
    let answer = client.request(&request::message(V1_4, vec![(Operation::Encrypt, payload)])).expect("an answer");
    let payload = request::outcome(&answer)?;
    Ok(payload.field(Tag::DATA.0).and_then(Item::bytes).expect("data").to_vec())
}

/// Destroys an active key.
fn destroy(client: &mut TlsKmipClient, id: &str) {
    let reason = structure(Tag::REVOCATION_REASON, vec![enumeration(Tag::REVOCATION_REASON_CODE, 5)]);
    let revoke = request::message(V1_4, vec![(Operation::Revoke, vec![text(Tag::UNIQUE_IDENTIFIER, id), reason])]);
    request::outcome(&client.request(&revoke).expect("an answer")).expect("Revoke");
    request::outcome(&client.request(&request::on(V1_4, Operation::Destroy, id)).expect("an answer")).expect("Destroy");
}

/// The whole life: draft, tested, active, draining, gone. New keys follow the activation at once, without a restart; old ones stay
/// where they are and stay usable; after a restart all is as before.
#[test]
fn a_keystore_lives_from_draft_to_retired() {
    if tools::skipped("softhsm") {
        return;
    }
    let mut world = World::new();
    let mut client = world.gateway.connect("a");
    let old = create(&mut client);
    assert_eq!(world.home(&old), "local");

    world.add(&world.token.pin_file.to_string_lossy());
    assert_eq!(world.state("hsm"), "draft");
    let (_, refused) = world.fails(&["keystore", "activate", "hsm", "--confirm", "hsm"]);
    assert!(refused.contains("not tested"), "{refused}");
    let tested = world.ok(&["keystore", "test", "hsm"]);
    assert_eq!(tested.lines().last(), Some("Success"), "{tested}");
    for step in ["resolve", "connect", "tls", "log in", "capabilities", "probe key"] {
        assert!(tested.contains(step), "{step}: {tested}");
    }
    assert!(tested.contains("the same again: keygate keystore test hsm --data-dir "), "{tested}");
    assert!(world.token.keys().expect("the token is listed").is_empty(), "the probe key is gone");
    assert_eq!(world.state("hsm"), "tested");
    let (code, unconfirmed) = world.fails(&["keystore", "activate", "hsm", "--confirm", "hms"]);
    assert_eq!(code, 2, "{unconfirmed}");
    assert_eq!(world.home(&create(&mut client)), "local", "tested is not active");

    world.ok(&["keystore", "activate", "hsm", "--confirm", "hsm"]);
    let new = create(&mut client);
    assert_eq!((world.home(&new).as_str(), world.home(&old).as_str()), ("hsm", "local"));
    let (with_old, with_new) = (encrypt(&mut client, &old).expect("old"), encrypt(&mut client, &new).expect("new"));
    let shown = world.json(&["keystore", "show", "hsm"]);
    assert_eq!((shown["objects"].as_u64(), shown["default"].as_bool()), (Some(1), Some(true)), "{shown}");
    let (_, refused) = world.fails(&["keystore", "remove", "hsm"]);
    assert!(refused.contains("drain it first"), "{refused}");

    drop(client);
    world.gateway.stop().expect("stops");
    world.gateway.start().expect("starts");
    let mut client = world.gateway.connect("a");
    assert_eq!(encrypt(&mut client, &new).expect("still there"), with_new);
    let second = create(&mut client);
    assert_eq!(world.home(&second), "hsm", "the default has outlived the restart");

    world.ok(&["keystore", "drain", "hsm"]);
    assert_eq!(world.home(&create(&mut client)), "local");
    assert_eq!(encrypt(&mut client, &new).expect("usable while draining"), with_new);
    assert_eq!(encrypt(&mut client, &old).expect("the local one too"), with_old);
    let (_, refused) = world.fails(&["keystore", "remove", "hsm"]);
    assert!(refused.contains("2 objects"), "{refused}");
    destroy(&mut client, &new);
    destroy(&mut client, &second);
    world.ok(&["keystore", "remove", "hsm"]);
    let (code, _) = world.fails(&["keystore", "show", "hsm"]);
    assert_eq!(code, 4);
    assert!(world.token.keys().expect("the token is listed").is_empty());
    let actions: Vec<String> = ["KeystoreAdded", "KeystoreTested", "KeystoreActivated", "KeystoreDrained", "KeystoreRemoved"]
        .map(|action| world.ok(&["audit", "search", "--action", action, "--object", "hsm"]))
        .into();
    assert!(actions.iter().all(|found| found.contains("local")), "who and when are on record: {actions:?}");
}

/// A wrong PIN fails at its step and is offered once: not again by the gateway, nor by the same command said twice. The right one
/// mends it. Neither of them is told anywhere.
#[test]
fn a_wrong_pin_is_offered_once_and_told_nowhere() {
    if tools::skipped("softhsm") {
        return;
    }
    let world = World::new();
    let wrong = world.gateway.secret_file("wrong-pin", WRONG_PIN).expect("written");
    world.add(&wrong.to_string_lossy());
    let (_, failed) = world.fails(&["keystore", "test", "hsm"]);
    let again = failed.lines().find(|line| line.starts_with("the same again")).expect("the command");
    assert!(!again.contains("--again"), "what is pasted must not lock a device: {again}");
    let last = failed.lines().find(|line| line.starts_with("failed")).expect("a failed step");
    assert!(last.contains("log in") && failed.contains("hint:") && !failed.contains("capabilities"), "{failed}");
    assert!(!failed.contains("Success"), "{failed}");
    let (_, refused) = world.fails(&["keystore", "test", "hsm"]);
    assert!(refused.contains("has refused this secret before"), "{refused}");
    let (_, again) = world.fails(&["keystore", "test", "hsm", "--again"]);
    assert!(again.contains("log in"), "{again}");
    assert_eq!(world.state("hsm"), "draft");

    let pin = world.token.pin().expect("a PIN");
    world.ok(&["keystore", "set", "hsm", "--secret-file", &world.token.pin_file.to_string_lossy()]);
    world.ok(&["keystore", "test", "hsm"]);
    world.ok(&["keystore", "activate", "hsm", "--confirm", "hsm", "--keep-default"]);
    let mut told = world.ok(&["keystore", "show", "hsm"]) + &world.json(&["keystore", "show", "hsm"]).to_string();
    told += &(world.ok(&["keystore", "status"]) + &world.ok(&["audit", "search", "--json"]) + &world.gateway.log());
    for secret in [WRONG_PIN, pin.as_str()] {
        assert!(!told.contains(secret), "a PIN is told");
    }
    let mut client = world.gateway.connect("a");
    assert_eq!(world.home(&create(&mut client)), "local", "the default was kept");
}

/// Bad names, kinds and settings are refused, each with what is wrong, and change nothing. Keystores of the settings file are shown
/// and not changed.
#[test]
fn what_is_no_keystore_is_refused() {
    let gateway = Setup::new().start();
    let fails = |arguments: &[&str]| {
        let output = gateway.keygate(arguments).expect("the command runs");
        assert!(!output.status.success(), "{arguments:?}");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let long = "x".repeat(65);
    for name in ["", "a b", "a/b", "ä", ".", long.as_str()] {
        let (code, text) = fails(&["keystore", "add", name, "--kind", "local"]);
        assert!(code == 2 && text.contains("letters"), "{name:?}: {code} {text}");
    }
    for (arguments, wanted) in [
        (&["keystore", "add", "x", "--kind", "cloud"][..], "kind"),
        (&["keystore", "add", "x", "--kind", "pkcs11"], "module"),
        (&["keystore", "add", "x", "--kind", "local", "--set", "colour=blue"], "colour"),
        (&["keystore", "add", "x", "--kind", "local", "--set", "pin=1234"], "secret"),
        (&["keystore", "add", "x", "--kind", "local", "--set", "name=y"], "name"),
        (&["keystore", "add", "local", "--kind", "local"], "already"),
        (&["keystore", "drain", "local"], "settings file"),
        (&["keystore", "remove", "local"], "settings file"),
        (&["keystore", "test", "nowhere"], "no keystore"),
    ] {
        let (_, text) = fails(arguments);
        assert!(text.contains(wanted) && !text.contains("1234"), "{arguments:?}: {text}");
    }
    let list: Json = serde_json::from_str(&gateway.keygate_ok(&["keystore", "list", "--json"])).expect("JSON");
    let items = list["items"].as_array().expect("items");
    assert_eq!(items.len(), 1, "{list}");
    assert_eq!((items[0]["state"].as_str(), items[0]["managed_by"].as_str()), (Some("active"), Some("settings file")));
}

/// Two activations at once: one of them happens.
#[test]
fn of_two_activations_one_happens() {
    let gateway = Setup::new().start();
    for name in ["one", "two", "three"] {
        let _ = gateway.keygate_ok(&["keystore", "add", name, "--kind", "local"]);
        let _ = gateway.keygate_ok(&["keystore", "test", name]);
        let activate = || {
            let mut command = gateway.keygate_command(&["keystore", "activate", name, "--confirm", name]).expect("a command");
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("started")
        };
        let racing = [activate(), activate(), activate()];
        let outputs = racing.map(|child| child.wait_with_output().expect("ended"));
        let won = outputs.iter().filter(|output| output.status.success()).count();
        let texts: Vec<_> = outputs.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
        assert_eq!(won, 1, "{texts:?}");
        let shown = gateway.keygate_ok(&["keystore", "show", name, "--json"]);
        assert!(shown.contains("\"active\"") && shown.contains("\"default\":true"), "{shown}");
    }
}

/// The report of a move, as the command gives it at its end.
fn rehome(world: &World, from: &str, to: &str, more: &[&str]) -> (bool, Json) {
    let arguments = [&["keys", "rehome", "--from", from, "--to", to, "--yes", "--json"], more].concat();
    let output = world.gateway.keygate(&arguments).expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), report)
}

/// Every key gives what it gave before.
fn all_work(client: &mut TlsKmipClient, keys: &[(String, Vec<u8>)]) {
    for (id, expected) in keys {
        let found = encrypt(client, id).unwrap_or_else(|(reason, message)| panic!("{id}: {reason:#x} {message}"));
        assert_eq!(&found, expected, "{id}");
    }
}

fn create_many(client: &mut TlsKmipClient, count: usize) -> Vec<(String, Vec<u8>)> {
    let one = |_| {
        let id = create(client);
        let text = encrypt(client, &id).expect("Encrypt");
        (id, text)
    };
    (0..count).map(one).collect()
}

/// Keys go from the store into the token while a client uses them, and each is there once. They do not come back, for the token does
/// not hand them out: the report says so, and they stay usable.
#[test]
fn keys_move_into_a_token_under_traffic() {
    if tools::skipped("softhsm") {
        return;
    }
    let world = World::new();
    let mut client = world.gateway.connect("a");
    let keys = create_many(&mut client, 12);
    world.add(&world.token.pin_file.to_string_lossy());
    world.ok(&["keystore", "test", "hsm"]);
    let (_, refused) = world.fails(&["keys", "rehome", "--from", "local", "--to", "hsm", "--yes"]);
    assert!(refused.contains("activate it first"), "{refused}");
    world.ok(&["keystore", "activate", "hsm", "--confirm", "hsm", "--keep-default"]);
    let (code, unsaid) = world.fails(&["keys", "rehome", "--from", "local", "--to", "hsm"]);
    assert!(code == 2 && unsaid.contains("--yes"), "{unsaid}");

    let done = std::sync::atomic::AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut client = world.gateway.connect("a");
            let mut rounds = 0;
            // Once more after the end: keys in their new place.
            while !done.load(std::sync::atomic::Ordering::Relaxed) || rounds == 0 {
                all_work(&mut client, &keys);
                rounds += 1;
            }
            rounds
        });
        let report = rehome(&world, "local", "hsm", &[]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(traffic.join().expect("no request failed") > 0);
        report
    });
    assert!(report.0, "{}", report.1);
    assert_eq!((report.1["state"].as_str(), report.1["moved"].as_u64()), (Some("done"), Some(12)), "{}", report.1);
    all_work(&mut client, &keys);
    assert!(keys.iter().all(|(id, _)| world.home(id) == "hsm"));
    assert_eq!(world.token.keys().expect("the token is listed").len(), 12, "each is there once");

    let (whole, back) = rehome(&world, "hsm", "local", &[]);
    assert!(whole && back["moved"] == 0, "{back}");
    assert_eq!(back["kept"][0]["count"], 12, "{back}");
    assert!(back["kept"][0]["reason"].as_str().expect("a reason").contains("does not hand it out"), "{back}");
    all_work(&mut client, &keys);
    let moved = world.ok(&["audit", "search", "--action", "KeyRehomed", "--limit", "50"]);
    assert_eq!(moved.lines().filter(|line| line.contains("KeyRehomed")).count(), 12, "each move is on record");
}

/// SIGKILL in the middle of a move, more than once; each start goes on with it, and so does the command. In the end every key works
/// and is in the token once.
#[test]
fn sigkill_during_a_move_loses_nothing() {
    if tools::skipped("softhsm") {
        return;
    }
    let mut world = World::active();
    world.ok(&["keystore", "drain", "hsm"]);
    let mut client = world.gateway.connect("a");
    let keys = create_many(&mut client, 60);
    drop(client);
    world.ok(&["keystore", "test", "hsm"]);
    world.ok(&["keystore", "activate", "hsm", "--confirm", "hsm", "--keep-default"]);
    world.ok(&["keys", "rehome", "--from", "local", "--to", "hsm", "--yes", "--detach", "--per-second", "10"]);
    let mut kills = 0;
    for _ in 0..3 {
        // At another point of the work each time.
        if moved_until(&world, 10 * (kills + 1)) == "done" {
            break;
        }
        world.gateway.kill().expect("killed");
        kills += 1;
        world.gateway.start().expect("starts");
        all_work(&mut world.gateway.connect("a"), &keys);
    }
    assert!(kills > 0, "the move was over before the first kill");
    // The start has gone on with it; the command says so, or finds nothing left to do.
    assert_eq!(moved_until(&world, u64::MAX), "done");
    assert_eq!(move_of(&world)["moved"], 60, "what the report says is what was done: {}", move_of(&world));
    let (whole, report) = rehome(&world, "local", "hsm", &[]);
    assert!(whole && report["total"] == 0, "{report}");
    let mut client = world.gateway.connect("a");
    all_work(&mut client, &keys);
    assert!(keys.iter().all(|(id, _)| world.home(id) == "hsm"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        // What was under way at a kill is reconciled in the background.
        let there = world.token.keys().expect("the token is listed").len();
        if there == 60 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{there} keys on the token");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let verified = world.gateway.keygate(&["audit", "verify"]).expect("the command runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Waits until so many keys were moved, or the move is over: how it stands then.
fn moved_until(world: &World, wanted: u64) -> String {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let moving = move_of(world);
        if moving["state"] != "running" || moving["moved"].as_u64() >= Some(wanted) {
            return moving["state"].as_str().expect("a state").to_owned();
        }
        assert!(std::time::Instant::now() < deadline, "no progress: {moving}");
    }
}

fn move_of(world: &World) -> Json {
    let list = world.ok(&["keys", "moves", "--json"]);
    let list: Json = serde_json::from_str(&list).expect("JSON");
    list["items"][0].clone()
}

/// Keys go from one local keystore to another, and everything goes under a new term, in place: stopped, gone on with, under a
/// throttle. The old keystore can be removed then.
#[test]
fn keys_move_between_local_keystores_and_terms() {
    let mut world = LocalWorld::new();
    let mut client = world.gateway.connect("a");
    let keys = create_many(&mut client, 40);
    let ok = |arguments: &[&str]| world.gateway.keygate_ok(arguments);
    let _ = ok(&["keystore", "add", "vault", "--kind", "local"]);
    let _ = ok(&["keystore", "test", "vault"]);
    let _ = ok(&["keystore", "activate", "vault", "--confirm", "vault"]);
    let _ = ok(&["keys", "rehome", "--from", "local", "--to", "vault", "--yes", "--detach", "--per-second", "8"]);
    let stopped: Json = serde_json::from_str(&ok(&["keys", "rehome", "--from", "local", "--to", "vault", "--stop", "--json"])).expect("JSON");
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    assert!(stopped["moved"].as_u64() < Some(40), "a throttled move was not over: {stopped}");
    all_work(&mut client, &keys);
    // Draining lets no new key in, and moves none in either.
    let _ = ok(&["keys", "rehome", "--from", "local", "--to", "vault", "--yes", "--detach", "--per-second", "8"]);
    let _ = ok(&["keystore", "drain", "vault"]);
    let ended = loop {
        let list: Json = serde_json::from_str(&ok(&["keys", "moves", "--json"])).expect("JSON");
        if list["items"][0]["state"] == "stopped" {
            break list["items"][0].clone();
        }
    };
    assert!(ended["trouble"].as_str().is_some_and(|why| why.contains("drained")), "{ended}");
    let _ = ok(&["keystore", "activate", "vault", "--confirm", "vault"]);
    let report: Json = serde_json::from_str(&ok(&["keys", "rehome", "--from", "local", "--to", "vault", "--yes", "--json"])).expect("JSON");
    assert_eq!((report["state"].as_str(), report["moved"].as_u64()), (Some("done"), Some(40)), "{report}");
    all_work(&mut client, &keys);

    let term = |gateway: &TestGateway| gateway.keygate_ok(&["seal", "status", "--json"]);
    let before = term(&world.gateway);
    let report: Json = serde_json::from_str(&ok(&["keys", "rehome", "--from", "vault", "--to", "vault", "--yes", "--json"])).expect("JSON");
    assert_eq!(report["state"], "done", "{report}");
    assert_ne!(term(&world.gateway), before, "another term");
    all_work(&mut client, &keys);
    drop(client);
    world.gateway.stop().expect("stops");
    world.gateway.start().expect("starts");
    all_work(&mut world.gateway.connect("a"), &keys);
    let _ = world.gateway.keygate_ok(&["keystore", "drain", "vault"]);
    let refused = world.gateway.keygate(&["keystore", "remove", "vault"]).expect("the command runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("40 objects"), "{}", String::from_utf8_lossy(&refused.stderr));
    let _ = world.gateway.keygate_ok(&["keys", "rehome", "--from", "vault", "--to", "local", "--yes"]);
    let _ = world.gateway.keygate_ok(&["keystore", "remove", "vault"]);
    all_work(&mut world.gateway.connect("a"), &keys);
}

/// A gateway without a token.
struct LocalWorld {
    gateway: TestGateway,
}

impl LocalWorld {
    fn new() -> Self {
        Self { gateway: Setup::new().start() }
    }
}
