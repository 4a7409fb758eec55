//! Goal: keys go from one gateway to another over the admin API with their identifiers and links, out of keystores elsewhere into a
//! file, and under a new term of the keyring while they are used; a server is spoken to only if it is the one that is meant.
//! Method: running binaries, the second with authorities of its own; a forwarder counts who connects.

use std::path::Path;
use std::process::{Output, Stdio};

use keygate_kmip::{Operation, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::est::Server;
use keygate_tests::est::curl::{Shown, call_as};
use keygate_tests::forwarder::Forwarder;
use keygate_tests::gateway::{Setup, TestGateway, keygate};
use keygate_tests::relying::Device;
use keygate_tests::request::{self, structure, text};
use keygate_tests::rest_mock::{PASSWORD, RestMock, Style, USER};
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use keygate_tests::ttlv::{Item, Value as Ttlv};
use serde_json::{Value, json};

const V1_4: (i32, i32) = (1, 4);
/// An age key pair of these tests: it protects nothing.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn ask(client: &mut TlsKmipClient, message: &Item) -> Item {
    request::outcome(&client.request(message).expect("an answer")).expect("success")
}

fn create(client: &mut TlsKmipClient, name: &str) -> String {
    request::identifier(&ask(client, &request::create_aes(V1_4, 256, Some(name))))
}

fn value(client: &mut TlsKmipClient, id: &str) -> Vec<u8> {
    let payload = ask(client, &request::on(V1_4, Operation::Get, id));
    payload.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("key material").to_vec()
}

/// A pair on P-256: private, public.
fn create_pair(client: &mut TlsKmipClient) -> (String, String) {
    let common = vec![
        request::attribute("Cryptographic Algorithm", Ttlv::Enumeration(6)),
        request::attribute("Cryptographic Length", Ttlv::Integer(256)),
    ];
    let usage = |mask: i32| vec![request::attribute("Cryptographic Usage Mask", Ttlv::Integer(mask))];
    let payload = vec![
        structure(Tag::COMMON_TEMPLATE_ATTRIBUTE, common),
        structure(Tag::PRIVATE_KEY_TEMPLATE_ATTRIBUTE, usage(1)),
        structure(Tag::PUBLIC_KEY_TEMPLATE_ATTRIBUTE, usage(2)),
    ];
    let made = ask(client, &request::message(V1_4, vec![(Operation::CreateKeyPair, payload)]));
    let identifier = |tag: Tag| made.field(tag.0).and_then(Item::text).expect("an identifier").to_owned();
    (identifier(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), identifier(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER))
}

/// Another organisation's machine: an administrator's files, and no data directory.
struct Elsewhere<'a> {
    gateway: &'a TestGateway,
}

impl Elsewhere<'_> {
    fn file(&self, name: &str) -> String {
        path(&self.gateway.data().join("admin").join(name))
    }

    fn run(&self, command: &str, arguments: &[&str], trust: &[&str]) -> Output {
        let url = format!("https://localhost:{}", self.gateway.address("admin").port());
        let mut process = keygate().expect("the binary");
        process.arg(command).args(arguments).args([
            "--server",
            &url,
            "--cert",
            &self.file("cert.pem"),
            "--key",
            &self.file("key.pem"),
        ]);
        process.args(trust).stdin(Stdio::null()).output().expect("it runs")
    }

    fn ok(&self, command: &str, arguments: &[&str], trust: &[&str]) -> Value {
        let output = self.run(command, &[arguments, &["--json"]].concat(), trust);
        assert!(output.status.success(), "{command} {arguments:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn shown(gateway: &TestGateway, id: &str) -> String {
    gateway.keygate_ok(&["keys", "show", id])
}

/// A pair, a key and what replaced it go to another gateway, over the admin API on both sides: identifiers stay, links lead where they
/// led; what was imported twice is there once. A server without the named certificate gets nothing, and a name for it is needed.
#[test]
fn keys_go_to_another_gateway_with_their_links() {
    let (first, second) = (Setup::new().start(), Setup::new().init(&["--seal", "keyfile"]).start());
    let mut client = first.connect("a");
    let (private, public) = create_pair(&mut client);
    let old = create(&mut client, "rotated");
    let new = request::identifier(&ask(
        &mut client,
        &request::message(V1_4, vec![(Operation::ReKey, vec![text(Tag::UNIQUE_IDENTIFIER, &old)])]),
    ));
    let material = value(&mut client, &new);

    let far = Elsewhere { gateway: &first };
    let ca = far.file("ca.pem");
    let file = first.scratch().join("keys.age");
    let to = ["--to", &path(&file), "--recipient", RECIPIENT].map(str::to_owned);
    let to: Vec<&str> = to.iter().map(String::as_str).collect();

    // Nothing verifies the certificate, or the wrong thing: the fingerprint that was seen is told, and nothing was sent.
    let refused = far.run("export", &to, &["--accept-invalid-certs"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let told = said(&refused);
    let seen = told.split("fingerprint ").nth(1).and_then(|rest| rest.get(..64)).expect("a fingerprint").to_owned();
    let wrong = far.run("export", &to, &["--accept-invalid-certs", "--fingerprint", &"ab".repeat(32)]);
    assert!(
        !wrong.status.success() && said(&wrong).contains(&seen) && said(&wrong).contains("not the one given"),
        "{}",
        said(&wrong)
    );
    let strangers = path(&second.data().join("admin/ca.pem"));
    assert!(said(&far.run("export", &to, &["--ca", &strangers])).contains("no TLS connection"));
    assert!(said(&far.run("export", &to, &[])).contains("--server needs --ca"));
    assert_eq!(
        far.run("export", &to, &["--ca", &ca, "--fingerprint", &seen]).status.code(),
        Some(2),
        "--fingerprint goes with --accept-invalid-certs"
    );
    assert!(!file.exists());
    assert!(
        !first.keygate_ok(&["audit", "search", "--action", "KeysExported", "--json"]).contains("KeysExported"),
        "nothing was exported"
    );

    let report = far.ok("export", &to, &["--ca", &ca]);
    assert_eq!((&report["keys"], &report["left_out"]), (&4.into(), &0.into()), "{report}");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &std::fs::read(&file).expect("a file"));
    assert_eq!(report["sha256"], hex::encode(digest));
    let exported = first.keygate_ok(&["audit", "search", "--action", "KeysExported", "--json"]);
    assert!(exported.contains("127.0.0.1") || exported.contains("::1"), "the record names the address: {exported}");
    let by_name = first.scratch().join("by-name.age");
    far.ok(
        "export",
        &["--to", &path(&by_name), "--recipient", RECIPIENT],
        &["--accept-invalid-certs", "--fingerprint", &seen],
    );
    assert!(by_name.exists());

    let identity = first.secret_file("identity", IDENTITY).expect("written");
    let other = Elsewhere { gateway: &second };
    let trust = ["--ca", &other.file("ca.pem")].map(str::to_owned);
    let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
    let _ = second.connect("a");
    let from = ["--from", &path(&file), "--identity", &path(&identity), "--owner", "a"].map(str::to_owned);
    let from: Vec<&str> = from.iter().map(String::as_str).collect();
    let report = other.ok("import", &from, &trust);
    assert_eq!(report["imported"].as_array().map(Vec::len), Some(4), "{report}");
    assert_eq!((&report["links"]["restored"], &report["links"]["astray"]), (&4.into(), &0.into()), "{report}");
    for (id, link, to) in [
        (&private, "PublicKeyLink", &public),
        (&public, "PrivateKeyLink", &private),
        (&old, "ReplacementObjectLink", &new),
        (&new, "ReplacedObjectLink", &old),
    ] {
        let object = shown(&second, id);
        assert!(object.contains(link) && object.contains(to.as_str()), "{link}: {object}");
    }
    assert_eq!(value(&mut second.connect("a"), &new), material, "the same identifier, the same key");
    let events = second.keygate_ok(&["audit", "search", "--action", "KeysImported", "--json"]);
    assert!(events.contains("\"count\":4"), "{events}");

    let again = other.ok("import", &from, &trust);
    assert_eq!(again["duplicates"].as_array().map(Vec::len), Some(4), "{again}");
    assert_eq!((&again["links"]["restored"], &again["links"]["left"]), (&0.into(), &4.into()), "{again}");
}

/// Where an identifier is taken, as by an object that was destroyed, the key gets another, and links lead to that.
#[test]
fn links_follow_a_key_whose_identifier_is_taken() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let (private, public) = create_pair(&mut client);
    let file = gateway.scratch().join("keys.age");
    let _ = gateway.keygate_ok(&["export", "--to", &path(&file), "--recipient", RECIPIENT]);
    ask(&mut client, &request::on(V1_4, Operation::Destroy, &private));
    let identity = gateway.secret_file("identity", IDENTITY).expect("written");
    let report = gateway.keygate_ok(&["import", "--json", "--from", &path(&file), "--identity", &path(&identity)]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let anew = report["imported"][0]["what"].as_str().expect("an identifier").to_owned();
    assert_ne!(anew, private);
    assert_eq!(report["duplicates"][0]["what"], public.as_str(), "{report}");
    assert!(shown(&gateway, &anew).contains(&public), "the new private key names the public key");
    // The public key's link to the private key that is gone says so: it is left as it is.
    assert_eq!((&report["links"]["restored"], &report["links"]["left"]), (&1.into(), &1.into()), "{report}");
}

/// Keys that live in another gateway and in a REST server come out of there into the export; one in a token is listed as one that
/// stays.
#[test]
fn keys_in_other_keystores_are_fetched_into_an_export() {
    let far = Setup::new().start();
    let folder = far.client_folder("a");
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let mut gateway = Setup::new().prepare().expect("initialised");
    let password = gateway.secret_file("eskm.password", PASSWORD).expect("written");
    let pem = |name: &str| path(&folder.join(name));
    gateway.configure(&format!(
        "\n[[keystore]]\nname = \"kmip\"\nkind = \"kmip\"\naddresses = [\"localhost:{}\"]\nca-file = \"{}\"\ncert-file = \"{}\"\nkey-file = \"{}\"\n\
         fetch = true\n",
        far.address("kmip").port(), pem("ca.pem"), pem("cert.pem"), pem("key.pem"),
    ));
    gateway.configure(&format!(
        "\n[[keystore]]\nname = \"rest\"\nkind = \"rest\"\nprofile = \"eskm-style\"\naddresses = [\"localhost:{}\"]\npinned-file = \"{}\"\n\
         user = \"{USER}\"\npassword-file = \"{}\"\nfetch = true\n",
        mock.address().port(), path(&mock.certificate_file()), path(&password),
    ));
    let with_token = !tools::skipped("softhsm");
    if with_token {
        let token = Token::make(&gateway.scratch().join("hsm"), "stays").expect("a token; is softhsm2 installed?");
        token.join(&mut gateway, "hsm", 1);
    }
    gateway.start().expect("starts");
    let make = |keystore: &str| {
        let mut client = gateway.connect(keystore);
        let _ = gateway.keygate_ok(&["client", "keystore", keystore, keystore]);
        create(&mut client, keystore)
    };
    let (at_kmip, at_rest) = (make("kmip"), make("rest"));
    let in_token = with_token.then(|| make("hsm"));
    assert_eq!(mock.key_count(), 1);

    let file = gateway.scratch().join("keys.age");
    let report = gateway.keygate_ok(&["export", "--json", "--to", &path(&file), "--recipient", RECIPIENT]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["keys"], &report["left_out"]), (&2.into(), &u64::from(with_token).into()), "{report}");
    if let Some(in_token) = in_token {
        assert_eq!(report["reasons"][0][0], in_token.as_str(), "{report}");
        assert!(report["reasons"][0][1].as_str().is_some_and(|why| why.contains("stays in its device")), "{report}");
    }
    // Another gateway has them with the values that the keystores have.
    let other = Setup::new().start();
    let identity = other.secret_file("identity", IDENTITY).expect("written");
    let _ = other.connect("a");
    let from = path(&file);
    let report =
        other.keygate_ok(&["import", "--json", "--from", &from, "--identity", &path(&identity), "--owner", "a"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["imported"].as_array().map(Vec::len), Some(2), "{report}");
    let mut first = other.connect("a");
    assert_eq!(value(&mut first, &at_kmip), value(&mut gateway.connect("kmip"), &at_kmip));
    assert_eq!(value(&mut first, &at_rest), value(&mut gateway.connect("rest"), &at_rest));
}

/// A second gateway that wants a user and a password: with the right one keys live there; a wrong one is offered once, and not again
/// until another is given.
#[test]
fn a_key_server_with_a_password() {
    let far = Setup::new().start();
    let folder = far.client_folder("a");
    let right = far.secret_file("right", "correct horse battery").expect("written");
    let _ = far.keygate_ok(&["client", "user", "add", "a", "ann", "--password-file", &path(&right)]);
    let forwarder = Forwarder::to(far.address("kmip")).expect("a port");
    let gateway = Setup::new().start();
    let wrong = gateway.secret_file("wrong", "incorrect horse battery").expect("written");
    let addresses = format!("addresses=[\"localhost:{}\"]", forwarder.address().port());
    let file = |setting: &str, name: &str| format!("{setting}={}", path(&folder.join(name)));
    let (ca, cert, key) = (file("ca-file", "ca.pem"), file("cert-file", "cert.pem"), file("key-file", "key.pem"));
    let add = [
        "keystore", "add", "far", "--kind", "kmip", "--set", &addresses, "--set", &ca, "--set", &cert, "--set", &key,
        "--set", "user=ann",
    ];
    let _ = gateway.keygate_ok(&[&add[..], &["--secret-file", &path(&wrong)]].concat());
    let refused = gateway.keygate(&["keystore", "test", "far"]).expect("runs");
    assert!(!refused.status.success() && said(&refused).contains("log in"), "{}", said(&refused));
    let tries = forwarder.accepted();
    assert!(tries > 0);
    let again = gateway.keygate(&["keystore", "test", "far"]).expect("runs");
    assert!(!again.status.success() && said(&again).contains("--again"), "{}", said(&again));
    assert_eq!(forwarder.accepted(), tries, "it is not offered a second time");

    let _ = gateway.keygate_ok(&["keystore", "set", "far", "--secret-file", &path(&right)]);
    let tested = gateway.keygate_ok(&["keystore", "test", "far"]);
    assert!(tested.trim_end().ends_with("Success"), "{tested}");
    let _ = gateway.keygate_ok(&["keystore", "activate", "far", "--confirm", "far"]);
    let mut client = gateway.connect("b");
    let _ = create(&mut client, "there");
    // It is ann's there; the keys of the test are gone. Nothing tells the passwords.
    let listed = far.keygate_ok(&["keys", "list"]);
    let kept: Vec<&str> =
        listed.lines().filter(|line| line.contains("keygate:far") && !line.contains("Destroyed")).collect();
    assert!(matches!(kept[..], [key] if key.contains("SymmetricKey") && key.contains("ann")), "{listed}");
    for secret in ["correct horse", "incorrect horse"] {
        assert!(!gateway.log().contains(secret) && !far.log().contains(secret));
        assert!(!gateway.keygate_ok(&["keystore", "show", "far", "--json"]).contains(secret));
    }
}

/// A rotation at a bounded rate, killed and started again: the next start goes on with it, the command follows it to its report, and
/// one term is left. Keys are used all the time.
#[test]
fn a_rotation_is_a_job_that_goes_on() {
    let mut gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let keys: Vec<(String, Vec<u8>)> = (0..60)
        .map(|number| {
            let id = create(&mut client, &format!("key {number}"));
            let material = value(&mut client, &id);
            (id, material)
        })
        .collect();
    drop(client);
    let started = gateway.keygate_ok(&["seal", "rotate", "--rate", "20", "--detach", "--json"]);
    let started: Value = serde_json::from_str(&started).expect("JSON");
    assert_eq!((&started["state"], &started["per_second"]), (&"running".into(), &20.into()), "{started}");
    // At 20 a second sixty objects take three seconds: a command that follows loses its server and says so.
    let follow = gateway.keygate_command(&["seal", "rotate", "--rate", "20"]).expect("a command");
    let mut follow = { follow }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
    gateway.kill().expect("killed");
    let _ = follow.wait().expect("it ends with its server");
    let terms = |gateway: &TestGateway| {
        let status: Value = serde_json::from_str(&gateway.keygate_ok(&["seal", "status", "--json"])).expect("JSON");
        status["terms"].as_array().map(Vec::len)
    };
    gateway.start().expect("starts after SIGKILL");
    let stopped = gateway.keygate(&["seal", "rotate", "--stop", "--json"]).expect("runs");
    if stopped.status.success() {
        assert_eq!(terms(&gateway), Some(2), "stopped half-way: both terms are needed");
    }
    let ended = gateway.keygate_ok(&["seal", "rotate"]);
    assert!(ended.contains("rotation of the keyring: done"), "{ended}");
    assert_eq!(terms(&gateway), Some(1));
    let mut client = gateway.connect("a");
    for (id, material) in &keys {
        assert_eq!(value(&mut client, id), *material);
    }
    // Without a server it works alone.
    gateway.stop().expect("stops");
    let alone = gateway.keygate_ok(&["seal", "rotate"]);
    assert!(alone.contains("term"), "{alone}");
    assert!(gateway.keygate_ok(&["audit", "verify"]).contains("intact"));
}

/// The reader of PKCS#12 takes today's and old encryption, links a key to its certificate, and refuses a file that asks for minutes of
/// work before it does any.
#[test]
fn pkcs12_is_bounded_and_linked() {
    let gateway = Setup::new().start();
    let folder = gateway.scratch().to_owned();
    let pass = "a password of files";
    let secret = path(&gateway.secret_file("pass", pass).expect("written"));
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new("openssl").current_dir(&folder).args(arguments).output().expect("openssl");
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key.pem",
        "-subj",
        "/CN=p12",
        "-days",
        "30",
        "-out",
        "cert.pem",
    ]);
    let out = format!("pass:{pass}");
    let export = ["pkcs12", "-export", "-inkey", "key.pem", "-in", "cert.pem", "-name", "p12", "-passout", &out];
    run(&[&export[..], &["-out", "fine.p12"]].concat());
    run(&[&export[..], &["-iter", "20000000", "-nomac", "-out", "slow.p12"]].concat());
    let file = |name: &str| path(&folder.join(name));
    let begun = std::time::Instant::now();
    let refused = gateway
        .keygate(&["import", "--from", &file("slow.p12"), "--password-file", &secret, "--owner", "b"])
        .expect("runs");
    assert!(!refused.status.success() && said(&refused).contains("too much work"), "{}", said(&refused));
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "refused before the work");
    let _ = gateway.connect("b");
    let report = gateway.keygate_ok(&[
        "import",
        "--json",
        "--from",
        &file("fine.p12"),
        "--password-file",
        &secret,
        "--owner",
        "b",
    ]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["links"]["restored"], 1, "{report}");
    let (key, certificate) =
        (report["imported"][0]["what"].as_str(), report["imported"][1]["what"].as_str().expect("a certificate"));
    let object = shown(&gateway, key.expect("a key"));
    assert!(object.contains("CertificateLink") && object.contains(certificate), "{object}");
}

/// What the API of imports refuses: too much of it, what is no key, no identifier, no link; nothing is changed, and no value is
/// repeated. A report of an export that nobody made is not there.
#[test]
fn the_api_of_imports_refuses_what_is_none() {
    let gateway = Setup::new().start();
    let _ = gateway.connect("a");
    let files = gateway.data().join("admin");
    let read = |file: &str| std::fs::read_to_string(files.join(file)).expect("a file");
    let device = Device { chain: read("cert.pem"), key: read("key.pem") };
    let server =
        Server { url: format!("https://localhost:{}", gateway.address("admin").port()), ca: files.join("ca.pem") };
    let ask = |method: &str, path: &str, body: &str| {
        let (scratch, body) = (gateway.scratch().join("curl"), Some(("application/json", body.as_bytes())));
        call_as(&server, &scratch, Some(method), path, Shown::Device(&device), body.filter(|_| method == "POST"), &[])
            .expect("an answer")
    };
    let key = json!({ "label": "k", "object": "SECRETSECRET", "attributes": "" });
    let many: Vec<&Value> = std::iter::repeat_n(&key, 1001).collect();
    let no_object = uuid_like(7);
    for (path, body, status, why) in [
        ("/v1/imports", json!({ "format": "x", "items": many }), 422, "at most 1000 keys"),
        ("/v1/imports", json!({ "items": [] }), 400, "missing field"),
        ("/v1/imports", json!({ "format": "x", "items": [], "organisation": "y" }), 400, "unknown field"),
        ("/v1/imports?organisation=nobody", json!({ "format": "x", "items": [] }), 404, "nobody"),
        ("/v1/imports/links", json!({ "objects": [{ "id": "1", "links": [] }] }), 422, "no Unique Identifier"),
        (
            "/v1/imports/links",
            json!({ "objects": [{ "id": no_object, "links": [{ "link_type": 1, "to": no_object }] }] }),
            422,
            "1 is no Link Type",
        ),
        (
            "/v1/imports/links",
            json!({ "objects": [{ "id": no_object, "links": [{ "link_type": 258, "to": no_object }] }] }),
            422,
            "object",
        ),
    ] {
        let answer = ask("POST", path, &body.to_string());
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(why) && !answer.text().contains("SECRET"), "{path}: {}", answer.text());
    }
    let refused = ask("POST", "/v1/imports", &json!({ "owner": "a", "format": "x", "items": [key] }).to_string());
    let report: Value = serde_json::from_str(&refused.text()).expect("JSON");
    assert_eq!((refused.status, report["refused"].as_array().map(Vec::len)), (200, Some(1)), "{report}");
    assert!(!refused.text().contains("SECRET"), "{report}");
    assert_eq!(gateway.keygate_ok(&["keys", "list"]).lines().count(), 1, "a heading: nothing was taken in");
    assert_eq!(ask("GET", &format!("/v1/exports/{}", uuid_like(7)), "").status, 404);
}

/// An identifier that nothing has.
fn uuid_like(number: u8) -> String {
    format!("0193{number:04}-0000-7000-8000-000000000000")
}
