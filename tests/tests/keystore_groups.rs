//! Goal: several tokens are one keystore: reads go on when one dies under load, nothing that was acknowledged is lost, a token that
//! returns catches up, and a gateway that is killed leaves nothing half-made. Method: the running binary over two throw-away SoftHSM
//! tokens, whose files are moved away and back; what is on a token is asked of OpenSC's tool.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use keygate_kmip::{Operation, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request::{self, bytes, enumeration, structure, text};
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use keygate_tests::ttlv::Item;
use serde_json::Value as Json;

const V1_4: (i32, i32) = (1, 4);

/// A gateway and two tokens.
struct World {
    gateway: TestGateway,
    tokens: [Token; 2],
}

/// A token that is away.
struct Away {
    here: PathBuf,
    there: PathBuf,
}

impl Away {
    fn bring_back(self) {
        std::fs::rename(self.there, self.here).expect("moved back");
    }
}

impl World {
    /// The tokens are the default keystore `pair` of the settings file.
    fn new() -> Self {
        let world = Self::prepared(Setup::new().set("keystore.default", "pair"));
        let member = |token: &Token, name: &str| {
            format!(
                "[[keystore.member]]\nname = \"{name}\"\nmodule = \"{}\"\ntoken-label = \"{}\"\npin-file = \"{}\"\nworkers = 1\n",
                token.module.display(),
                token.label,
                token.pin_file.display()
            )
        };
        let members = member(&world.tokens[0], "a") + &member(&world.tokens[1], "b");
        world.gateway.configure(&format!("\n[[keystore]]\nname = \"pair\"\nkind = \"group\"\n{members}"));
        world.started()
    }

    fn prepared(setup: Setup) -> Self {
        let mut gateway = setup.prepare().expect("initialised");
        let folder = gateway.scratch().join("hsm");
        let token = |label| Token::make(&folder, label).expect("a token; is softhsm2 installed?");
        let tokens = [token("first"), token("second")];
        gateway.set_environment("SOFTHSM2_CONF", &tokens[0].configuration.to_string_lossy());
        Self { gateway, tokens }
    }

    fn started(mut self) -> Self {
        self.gateway.start().expect("starts");
        self
    }

    /// Moves the files of a token away. A name in its first file tells it from the other.
    fn take_away(&self, member: usize) -> Away {
        let folder = self.gateway.scratch().join("hsm/tokens");
        let label = self.tokens[member].label.as_bytes();
        let holds = |folder: &PathBuf| {
            std::fs::read(folder.join("token.object")).is_ok_and(|file| file.windows(label.len()).any(|part| part == label))
        };
        let mut folders = std::fs::read_dir(folder).expect("tokens").map(|entry| entry.expect("a folder").path());
        let here = folders.find(holds).expect("the token's folder");
        let there = self.gateway.scratch().join(format!("away-{member}"));
        std::fs::rename(&here, &there).expect("moved away");
        Away { here, there }
    }

    /// The members of the group as `keystore status` has them.
    fn status(&self) -> Json {
        let printed = self.gateway.keygate_ok(&["keystore", "status", "pair", "--json"]);
        let status: Json = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        status["items"][0].clone()
    }

    fn until(&self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what}: {status:#}\n{}", self.gateway.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn both_serve(&self) -> Json {
        self.until("both members serve and lack nothing", |status| {
            let members = status["members"].as_array().expect("members");
            members.iter().all(|member| member["state"] == "serving" && member["lacking"] == 0)
        })
    }

    /// The group's keys on a token.
    fn keys(&self, member: usize) -> BTreeSet<String> {
        let keys = self.tokens[member].keys().expect("pkcs11-tool lists; is opensc installed?");
        keys.into_iter().filter(|label| label.starts_with("keygate:pair:")).collect()
    }

    /// Waits until `/ready` says so. It is 200 all the while, for the group serves.
    fn until_degraded(&self, wanted: bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (code, ready) = self.ready();
            assert_eq!(code, "200", "{ready}");
            if ready["degraded"] == Json::Bool(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{ready}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Code and body of `/ready`.
    fn ready(&self) -> (String, Json) {
        let mut stream = TcpStream::connect(self.gateway.address("status")).expect("the status listener");
        stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        (head.split(' ').nth(1).expect("a code").to_owned(), serde_json::from_str(body).expect("JSON"))
    }
}

fn create_pair(client: &mut TlsKmipClient) -> Result<(String, String), (u32, String)> {
    let answer = client.request(&request::create_p256_pair(V1_4));
    let made = request::outcome(&answer.map_err(|error| (0, error.to_string()))?)?;
    let identifier = |tag: Tag| made.field(tag.0).and_then(Item::text).expect("an identifier").to_owned();
    Ok((identifier(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), identifier(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER)))
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

/// The public point of a P-256 pair.
fn point(client: &mut TlsKmipClient, public: &str) -> Vec<u8> {
    let answer = client.request(&request::on(V1_4, Operation::Get, public)).expect("an answer");
    let got = request::outcome(&answer).expect("Get");
    let spki = got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("material");
    spki[spki.len() - 65..].to_vec()
}

fn is_right(point: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(b"to be signed", signature).is_ok()
}

fn destroy(client: &mut TlsKmipClient, private: &str) {
    let revocation = structure(Tag::REVOCATION_REASON, vec![enumeration(Tag::REVOCATION_REASON_CODE, 1)]);
    let payload = vec![text(Tag::UNIQUE_IDENTIFIER, private), revocation];
    let answer = client.request(&request::message(V1_4, vec![(Operation::Revoke, payload)])).expect("an answer");
    request::outcome(&answer).expect("Revoke");
    let answer = client.request(&request::on(V1_4, Operation::Destroy, private)).expect("an answer");
    request::outcome(&answer).expect("Destroy");
}

/// Ends the load, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a connection has seen under load.
#[derive(Debug)]
struct Seen {
    signatures: u32,
    failures: u32,
    longest_gap: Duration,
}

/// Sixteen connections sign while the token dies that new keys are made on: none is without a right signature for a second. Keys
/// made meanwhile are on that token after its return, a key destroyed meanwhile is not.
#[test]
fn a_token_dies_under_load_and_catches_up() {
    if tools::skipped("softhsm") {
        return;
    }
    let world = World::new();
    world.both_serve();
    let mut client = world.gateway.connect("a");
    let (private, public) = create_pair(&mut client).expect("Create Key Pair");
    let (doomed, _) = create_pair(&mut client).expect("Create Key Pair");
    let point_of_key = point(&mut client, &public);
    assert_eq!(world.keys(0), world.keys(1), "an acknowledged key is on both tokens");
    assert_eq!(world.keys(0).len(), 2);
    let connections: Vec<TlsKmipClient> = (0..16).map(|_| world.gateway.connect("a")).collect();
    let stop = AtomicBool::new(false);
    let mut made = Vec::new();
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let load = |mut connection: TlsKmipClient| {
            let (private, point, stop) = (&private, &point_of_key, &stop);
            scope.spawn(move || {
                let mut seen = Seen { signatures: 0, failures: 0, longest_gap: Duration::ZERO };
                let mut last = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    match sign(&mut connection, private) {
                        Ok(signature) => {
                            assert!(is_right(point, &signature), "a wrong signature");
                            seen.longest_gap = seen.longest_gap.max(last.elapsed());
                            seen.signatures += 1;
                            last = Instant::now();
                        }
                        Err(_) => seen.failures += 1,
                    }
                }
                seen.longest_gap = seen.longest_gap.max(last.elapsed());
                seen
            })
        };
        let load: Vec<_> = connections.into_iter().map(load).collect();
        let ends = Ends(&stop);
        std::thread::sleep(Duration::from_millis(500));
        let away = world.take_away(0);
        world.until("a is away", |status| status["members"][0]["state"] == "away");
        world.until_degraded(true);
        for _ in 0..5 {
            made.push(create_pair(&mut client).expect("a key is made while one member serves"));
        }
        destroy(&mut client, &doomed);
        away.bring_back();
        world.both_serve();
        drop(ends);
        load.into_iter().map(|thread| thread.join().expect("a connection's thread")).collect()
    });
    let longest = seen.iter().map(|seen| seen.longest_gap).max().unwrap_or_default();
    let (signatures, failures) = seen.iter().fold((0, 0), |(a, b), seen| (a + seen.signatures, b + seen.failures));
    println!("longest gap {longest:?}, {signatures} signatures, {failures} failures");
    assert!(longest < Duration::from_secs(1), "a connection had no signature for {longest:?}: {seen:?}");
    // What was destroyed while the token was away goes as soon as the gateway has asked again.
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.keys(0).len() != 6 || world.keys(0) != world.keys(1) {
        assert!(Instant::now() < deadline, "{:?} and {:?}\n{}", world.keys(0), world.keys(1), world.gateway.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    world.until_degraded(false);
    // Now the one that has caught up is alone.
    let _away = world.take_away(1);
    world.until("b is away", |status| status["members"][1]["state"] == "away");
    for (private, public) in &made {
        let point = point(&mut client, public);
        assert!(is_right(&point, &sign(&mut client, private).expect("Sign")), "{private}");
    }
}

/// The gateway is killed while keys are made: after a restart every acknowledged key signs, and the tokens hold the same keys, as
/// many as the store has objects.
#[test]
fn a_killed_gateway_leaves_nothing_half_made() {
    if tools::skipped("softhsm") {
        return;
    }
    let mut world = World::new();
    world.both_serve();
    let connections: Vec<TlsKmipClient> = (0..4).map(|_| world.gateway.connect("a")).collect();
    let acknowledged: Vec<(String, String)> = std::thread::scope(|scope| {
        let makers: Vec<_> = connections
            .into_iter()
            .map(|mut client| scope.spawn(move || std::iter::from_fn(|| create_pair(&mut client).ok()).take(1000).collect::<Vec<_>>()))
            .collect();
        std::thread::sleep(Duration::from_millis(1500));
        world.gateway.kill().expect("killed");
        makers.into_iter().flat_map(|maker| maker.join().expect("a maker's thread")).collect()
    });
    assert!(!acknowledged.is_empty(), "no key was made before the kill");
    world.gateway.start().expect("starts again");
    world.both_serve();
    let mut client = world.gateway.connect("a");
    for (private, public) in &acknowledged {
        let point = point(&mut client, public);
        // Each member in turn.
        for _ in 0..2 {
            assert!(is_right(&point, &sign(&mut client, private).expect("an acknowledged key signs")));
        }
    }
    // Of a pair the private half alone is in the tokens.
    let pairs = |status: &Json| status["objects"].as_u64().expect("counted") as usize / 2;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (keys, wanted) = ([world.keys(0), world.keys(1)], pairs(&world.status()));
        if keys[0] == keys[1] && keys[0].len() == wanted {
            break;
        }
        let counts = [keys[0].len(), keys[1].len()];
        assert!(Instant::now() < deadline, "{counts:?} keys, {wanted} pairs\n{}", world.gateway.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A group is added by commands with one PIN for both members; its test ends in Success, and its status shows each member.
#[test]
fn a_group_by_commands() {
    if tools::skipped("softhsm") {
        return;
    }
    let world = World::prepared(Setup::new()).started();
    let member = |token: &Token, name: &str| {
        format!("{{ name = \"{name}\", module = \"{}\", token-label = \"{}\", workers = 1 }}", token.module.display(), token.label)
    };
    let members = format!("member=[{}, {}]", member(&world.tokens[0], "a"), member(&world.tokens[1], "b"));
    let pin = world.tokens[0].pin_file.to_string_lossy().into_owned();
    let add = ["keystore", "add", "pair", "--kind", "group", "--set", &members, "--set", "min-copies=2", "--secret-file", &pin];
    let _ = world.gateway.keygate_ok(&add);
    let tested = world.gateway.keygate_ok(&["keystore", "test", "pair"]);
    assert!(tested.ends_with("Success\n"), "{tested}");
    for step in ["resolve", "connect", "log in", "replication key", "capabilities", "probe key"] {
        assert!(tested.lines().any(|line| line.starts_with("ok") && line.contains(step)), "{step}: {tested}");
    }
    assert!(world.keys(0).is_empty() && world.keys(1).is_empty(), "the probe key is gone from both");
    let _ = world.gateway.keygate_ok(&["keystore", "activate", "pair", "--confirm", "pair"]);
    world.both_serve();
    let mut client = world.gateway.connect("a");
    let (private, _) = create_pair(&mut client).expect("Create Key Pair");
    sign(&mut client, &private).expect("Sign");
    assert_eq!((world.keys(0).len(), world.keys(0) == world.keys(1)), (1, true));
    let shown = world.gateway.keygate_ok(&["keystore", "status", "pair"]);
    assert!(shown.contains("a serving, 1 keys, 0 lacking") && shown.contains("b serving, 1 keys, 0 lacking"), "{shown}");
    let _away = world.take_away(1);
    world.until("b is away", |status| status["members"][1]["state"] == "away");
    let (_, message) = create_pair(&mut client).expect_err("two copies are wanted");
    assert!(!message.is_empty());
}
