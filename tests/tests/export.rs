//! Goal: exports are read by other programs and by another gateway with every key in them, weak passwords and damaged files are
//! refused, and files of other programs are taken in.
//! Method: the running binary; 7z and the age program as readers that are not ours, OpenSSL as the maker of key files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{Operation, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::est::Server;
use keygate_tests::est::curl::{Shown, call_as};
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::relying::Device;
use keygate_tests::{request, tools};
use serde_json::{Value, json};

const V1_4: (i32, i32) = (1, 4);
/// An age key pair of these tests: it protects nothing.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

fn create(client: &mut TlsKmipClient, name: &str) -> String {
    let answer = client.request(&request::create_aes(V1_4, 256, Some(name))).expect("an answer");
    request::identifier(&request::outcome(&answer).expect("Create"))
}

fn value(client: &mut TlsKmipClient, identifier: &str) -> Vec<u8> {
    let answer = client.request(&request::on(V1_4, Operation::Get, identifier)).expect("an answer");
    let payload = request::outcome(&answer).expect("Get");
    payload.find(Tag::KEY_MATERIAL.0).and_then(|item| item.bytes()).expect("key material").to_vec()
}

/// Keys of client `a`: identifier, name, value.
fn keys(gateway: &TestGateway, count: usize) -> Vec<(String, String, Vec<u8>)> {
    let mut client = gateway.connect("a");
    let mut make = |number| {
        let name = format!("key {number}");
        let id = create(&mut client, &name);
        let material = value(&mut client, &id);
        (id, name, material)
    };
    (0..count).map(&mut make).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// `keygate export` with `--json`.
fn export(gateway: &TestGateway, file: &str, arguments: &[&str]) -> (PathBuf, Value) {
    let file = gateway.scratch().join(file);
    let said = gateway.keygate_ok(&[&["export", "--json", "--to", &text(&file)], arguments].concat());
    (file, serde_json::from_str(&said).expect("JSON"))
}

fn import(gateway: &TestGateway, file: &Path, arguments: &[&str]) -> Value {
    let said = gateway.keygate_ok(&[&["import", "--json", "--from", &text(file)], arguments].concat());
    serde_json::from_str(&said).expect("JSON")
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "it should have been refused: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every key is in the document under its name, with its value in the clear form.
fn holds(document: &[u8], keys: &[(String, String, Vec<u8>)]) {
    let document: Value = serde_json::from_slice(document).expect("JSON");
    let found = document["keys"].as_array().expect("keys");
    assert_eq!(found.len(), keys.len());
    for (id, name, material) in keys {
        let key = found.iter().find(|key| key["id"] == id.as_str()).expect("the key");
        assert_eq!(key["names"][0], name.as_str());
        assert_eq!((&key["algorithm"], &key["length"], &key["format"]), (&"AES".into(), &256.into(), &"raw".into()));
        assert_eq!(STANDARD.decode(key["material"].as_str().expect("text")).expect("base64"), *material);
    }
}

/// The keys came to another gateway: the same names, values and owner; a second time they are there already.
fn arrives(file: &Path, arguments: &[&str], keys: &[(String, String, Vec<u8>)]) {
    let gateway = Setup::new().start();
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let with = |more: &[&str]| {
        let all: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        import(&gateway, file, &all)
    };
    let dry = with(&["--dry-run"]);
    assert_eq!(dry["imported"].as_array().map(Vec::len), Some(keys.len()), "{dry}");
    assert_eq!(gateway.keygate_ok(&["keys", "list"]).lines().count(), 1, "a heading: a dry run changes nothing");
    let report = with(&[]);
    assert_eq!(report["imported"].as_array().map(Vec::len), Some(keys.len()), "{report}");
    let mut client = gateway.connect("a");
    for line in report["imported"].as_array().expect("lines") {
        let (label, id) = (line["label"].as_str().expect("a label"), line["what"].as_str().expect("an identifier"));
        let (_, name, material) = keys.iter().find(|(old, ..)| label.starts_with(old.as_str())).expect("a key of ours");
        assert_eq!(value(&mut client, id), *material, "{label}");
        assert!(gateway.keygate_ok(&["keys", "show", id]).contains(name.as_str()));
    }
    let again = with(&[]);
    assert_eq!(again["duplicates"].as_array().map(Vec::len), Some(keys.len()), "{again}");
    let events = gateway.keygate_ok(&["audit", "search", "--json", "--action", "KeysImported"]);
    assert!(events.contains("KeysImported"), "the import is recorded: {events}");
}

/// zip-json: AES-256, read by 7-Zip with the password that was made; the wrong one opens nothing; another gateway takes it in.
#[test]
fn zip_with_json() {
    let gateway = Setup::new().start();
    let keys = keys(&gateway, 30);
    let (file, said) = export(&gateway, "keys.zip", &["--format", "zip-json"]);
    let password = said["password"].as_str().expect("a password that was made").to_owned();
    assert_eq!(password.len(), 27);
    let octets = fs::read(&file).expect("the export");
    assert!(keys.iter().all(|(_, name, material)| {
        memchr::memmem::find(&octets, material).is_none() && memchr::memmem::find(&octets, name.as_bytes()).is_none()
    }));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    if !tools::skipped("7z") {
        let seven = tools::program("7z").expect("7z");
        let listed = Command::new(&seven).args(["l", "-slt"]).arg(&file).output().expect("7z");
        assert!(
            String::from_utf8_lossy(&listed.stdout).contains("AES-256"),
            "{}",
            String::from_utf8_lossy(&listed.stdout)
        );
        let read =
            Command::new(&seven).arg("x").arg("-so").arg(format!("-p{password}")).arg(&file).output().expect("7z");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        holds(&read.stdout, &keys);
    }
    let secret = gateway.secret_file("password", &password).expect("a file");
    arrives(&file, &["--password-file", &text(&secret)], &keys);
    let wrong = gateway.secret_file("wrong", "not the password").expect("a file");
    let refused =
        gateway.keygate(&["import", "--from", &text(&file), "--password-file", &text(&wrong)]).expect("started");
    assert!(complaint(&refused).contains("password"), "{}", complaint(&refused));
    let events = gateway.keygate_ok(&["audit", "search", "--json", "--action", "KeysExported"]);
    assert!(events.contains("KeysExported") && !events.contains(&password), "recorded, without the password");
}

/// age: the age program opens it; so does another gateway.
#[test]
fn age_file() {
    let gateway = Setup::new().start();
    let keys = keys(&gateway, 30);
    let (file, _) = export(&gateway, "keys.age", &["--recipient", RECIPIENT]);
    let identity = gateway.secret_file("identity", IDENTITY).expect("a file");
    if !tools::skipped("age") {
        let age = tools::program("age").expect("age");
        let read =
            Command::new(age).arg("--decrypt").arg("--identity").arg(&identity).arg(&file).output().expect("age");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        holds(&read.stdout, &keys);
    }
    arrives(&file, &["--identity", &text(&identity)], &keys);
    // A file that ends early or was altered is refused before a key is taken in.
    let other = Setup::new().start();
    let octets = fs::read(&file).expect("the export");
    let bad = gateway.scratch().join("bad.age");
    let mut altered = octets.clone();
    altered[octets.len() - 20] ^= 1;
    for content in [&octets[..octets.len() - 20], &altered] {
        fs::write(&bad, content).expect("written");
        let refused =
            other.keygate(&["import", "--from", &text(&bad), "--identity", &text(&identity)]).expect("started");
        assert!(complaint(&refused).contains("cut off"), "{}", complaint(&refused));
        assert_eq!(other.keygate_ok(&["keys", "list"]).lines().count(), 1);
    }
}

/// zip-xml: one file per key, nothing of a key in clear; an altered file is refused; another gateway takes them in.
#[test]
fn zip_with_xml() {
    let gateway = Setup::new().start();
    let keys = keys(&gateway, 5);
    let own = "tulip harbour zigzag ninety quartz oboe fennel";
    let secret = gateway.secret_file("password", own).expect("a file");
    let (file, said) = export(&gateway, "keys.zip", &["--format", "zip-xml", "--password-file", &text(&secret)]);
    assert_eq!(said["password"], Value::Null, "one's own password is not repeated");
    let octets = fs::read(&file).expect("the export");
    for (id, name, material) in &keys {
        assert!(memchr::memmem::find(&octets, format!("{id}.xml").as_bytes()).is_some());
        assert!(
            memchr::memmem::find(&octets, name.as_bytes()).is_none()
                && memchr::memmem::find(&octets, material).is_none()
        );
    }
    arrives(&file, &["--password-file", &text(&secret)], &keys);
    let value_at = memchr::memmem::find(&octets, b"<Value>").expect("a value") + 30;
    let mut altered = octets.clone();
    altered[value_at] = if altered[value_at] == b'A' { b'B' } else { b'A' };
    let bad = gateway.scratch().join("bad.zip");
    fs::write(&bad, altered).expect("written");
    let refused =
        gateway.keygate(&["import", "--from", &text(&bad), "--password-file", &text(&secret)]).expect("started");
    assert!(!complaint(&refused).is_empty());
}

/// Weak passwords, wrong arguments and recipients that are none are refused, and leave no file.
#[test]
fn refused_exports() {
    let gateway = Setup::new().start();
    let weak = gateway.secret_file("weak", "Summer2026!").expect("a file");
    let file = gateway.scratch().join("refused");
    let to = text(&file);
    let cases: [(&[&str], &str); 5] = [
        (&["--format", "zip-json", "--password-file", &text(&weak)], "the password is too weak"),
        (&["--format", "zip-xml", "--password-file", &text(&weak)], "the password is too weak"),
        (&["--recipient", "age1nonsense"], "is no age recipient"),
        (&[], "say who may open the file"),
        (&["--recipient", RECIPIENT, "--organisation", "nobody"], "nobody"),
    ];
    for (arguments, why) in cases {
        let output = gateway.keygate(&[&["export", "--to", &to], arguments].concat()).expect("started");
        let said = complaint(&output);
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert!(!said.contains("Summer2026!"));
        let left: Vec<_> = fs::read_dir(gateway.scratch()).expect("a folder").flatten().collect();
        assert!(
            left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("refused")),
            "{arguments:?} left a file"
        );
    }
}

/// A key that is sensitive or not extractable is listed as left out, with the reason.
#[test]
fn keys_that_must_not_leave() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let made = |client: &mut TlsKmipClient, flag: Tag, set: bool| {
        let attributes = vec![
            (Tag::CRYPTOGRAPHIC_ALGORITHM, "", keygate_tests::ttlv::Value::Enumeration(3)),
            (Tag::CRYPTOGRAPHIC_LENGTH, "", keygate_tests::ttlv::Value::Integer(256)),
            (Tag::CRYPTOGRAPHIC_USAGE_MASK, "", keygate_tests::ttlv::Value::Integer(12)),
            (flag, "", keygate_tests::ttlv::Value::Boolean(set)),
        ];
        let payload = vec![request::enumeration(Tag::OBJECT_TYPE, 2), request::attributes_item((2, 1), attributes)];
        let answer = client.request(&request::message((2, 1), vec![(Operation::Create, payload)])).expect("an answer");
        request::identifier(&request::outcome(&answer).expect("Create"))
    };
    let sensitive = made(&mut client, Tag::SENSITIVE, true);
    let stays = made(&mut client, Tag::EXTRACTABLE, false);
    let (_, said) = export(&gateway, "keys.age", &["--recipient", RECIPIENT]);
    assert_eq!((&said["keys"], &said["left_out"]), (&0.into(), &2.into()));
    let reasons = said["reasons"].to_string();
    assert!(reasons.contains(&format!("[\"{sensitive}\",\"it is sensitive\"]")), "{reasons}");
    assert!(reasons.contains(&format!("[\"{stays}\",\"it is not extractable\"]")), "{reasons}");
}

fn openssl(folder: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl");
    output.status.success()
}

/// Files that OpenSSL makes: PKCS#8 in PEM and DER, encrypted, PKCS#1, SEC 1, PKCS#12 with today's and with old encryption;
/// wrong passwords and damaged files are refused by the reason.
#[test]
fn files_of_other_programs() {
    let gateway = Setup::new().start();
    let folder = gateway.scratch().to_owned();
    let run = |arguments: &[&str]| assert!(openssl(&folder, arguments), "openssl {arguments:?}");
    let ec = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let pass = "a password of files";
    let secret = gateway.secret_file("pass", pass).expect("a file");
    let out = format!("pass:{pass}");
    for name in ["p8", "enc", "der", "new", "old"] {
        run(&[&["genpkey", "-out", &format!("{name}.pem")], &ec[..]].concat());
    }
    run(&["pkcs8", "-topk8", "-in", "enc.pem", "-out", "encrypted.pem", "-v2", "aes-256-cbc", "-passout", &out]);
    run(&["pkcs8", "-topk8", "-nocrypt", "-in", "der.pem", "-outform", "DER", "-out", "plain.der"]);
    run(&["genrsa", "-traditional", "-out", "rsa.pem", "2048"]);
    run(&["ecparam", "-name", "secp384r1", "-genkey", "-out", "sec1.pem"]);
    for (name, more) in [("new", &[][..]), ("old", &["-legacy"][..])] {
        let key = format!("{name}.pem");
        run(&["req", "-x509", "-key", &key, "-subj", &format!("/CN={name}"), "-days", "30", "-out", "cert.pem"]);
        let file = format!("{name}.p12");
        run(&[
            &["pkcs12", "-export", "-inkey", &key, "-in", "cert.pem", "-name", name, "-out", &file, "-passout", &out],
            more,
        ]
        .concat());
    }
    fs::write(folder.join("raw.hex"), "000102030405060708090a0b0c0d0e0f\n").expect("written");
    let password = ["--password-file", &text(&secret)];
    let cases: [(&str, &[&str], usize); 8] = [
        ("p8.pem", &[], 1),
        ("encrypted.pem", &password, 1),
        ("plain.der", &[], 1),
        ("rsa.pem", &[], 1),
        ("sec1.pem", &[], 1),
        ("new.p12", &password, 2),
        ("old.p12", &password, 2),
        ("raw.hex", &["--algorithm", "aes", "--name", "raw key", "--activate"], 1),
    ];
    for (file, arguments, count) in cases {
        let report = import(&gateway, &folder.join(file), &[&["--owner", "b"], arguments].concat());
        assert_eq!(report["imported"].as_array().map(Vec::len), Some(count), "{file}: {report}");
    }
    let listed = gateway.keygate_ok(&["keys", "list"]);
    assert!(listed.contains("raw key") && listed.contains("Active"), "{listed}");
    let wrong = gateway.secret_file("wrong", "another").expect("a file");
    fs::write(folder.join("half.p12"), &fs::read(folder.join("new.p12")).expect("a file")[..300]).expect("written");
    fs::write(folder.join("half.pem"), "-----BEGIN PRIVATE KEY-----\nMIGH").expect("written");
    fs::write(folder.join("words"), "some text").expect("written");
    fs::write(folder.join("short.hex"), "0001").expect("written");
    let wrong_password = ["--password-file", &text(&wrong)];
    let refused: [(&str, &[&str], &str); 8] = [
        ("encrypted.pem", &wrong_password, "the password does not open the file"),
        ("new.p12", &wrong_password, "the password does not open the file"),
        ("new.p12", &[], "give --password-file"),
        ("half.p12", &password, "cannot be read"),
        ("half.pem", &[], "has no end"),
        ("words", &[], "of no known form"),
        ("raw.hex", &["--algorithm", "aes", "--encoding", "binary"], "the key cannot be used"),
        ("short.hex", &["--algorithm", "aes"], "the key cannot be used"),
    ];
    let before = gateway.keygate_ok(&["keys", "list"]);
    for (file, arguments, why) in refused {
        let path = text(&folder.join(file));
        let output =
            gateway.keygate(&[&["import", "--from", &path, "--owner", "b"], arguments].concat()).expect("started");
        assert!(complaint(&output).contains(why), "{file}: {}", complaint(&output));
    }
    let _ = gateway.keygate_ok(&["client", "disable", "b"]);
    let raw = text(&folder.join("raw.hex"));
    let output = gateway.keygate(&["import", "--from", &raw, "--owner", "b", "--algorithm", "aes", "--name", "other"]).expect("started");
    assert!(complaint(&output).contains("1 keys were refused"), "{}", complaint(&output));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("client \"b\" is disabled"), "{told}");
    assert_eq!(gateway.keygate_ok(&["keys", "list"]), before, "what is refused changes nothing");
}

/// Over the admin API: the file comes as one stream and opens; weak passwords and recipients that are none are refused as problem
/// details before a file begins.
#[test]
fn over_the_admin_api() {
    let gateway = Setup::new().start();
    let keys = keys(&gateway, 30);
    let files = gateway.data().join("admin");
    let read = |file: &str| fs::read_to_string(files.join(file)).expect("a file");
    let device = Device { chain: read("cert.pem"), key: read("key.pem") };
    let url = format!("https://localhost:{}", gateway.address("admin").port());
    let server = Server { url, ca: files.join("ca.pem") };
    let ask = |body: &Value| {
        let (text, shown) = (body.to_string(), Shown::Device(&device));
        let body = Some(("application/json", text.as_bytes()));
        call_as(&server, &gateway.scratch().join("curl"), Some("POST"), "/v1/exports", shown, body, &[]).expect("an answer")
    };
    let answer = ask(&json!({ "format": "age", "recipients": [RECIPIENT] }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let file = gateway.scratch().join("keys.age");
    fs::write(&file, &answer.body).expect("written");
    let identity = gateway.secret_file("identity", IDENTITY).expect("a file");
    arrives(&file, &["--identity", &text(&identity)], &keys);
    let refused = [
        (json!({ "format": "zip-json", "password": "Summer2026!" }), 422),
        (json!({ "format": "zip-xml" }), 422),
        (json!({ "format": "age", "recipients": ["age1nonsense"] }), 422),
        (json!({ "format": "age" }), 422),
        (json!({ "format": "plain" }), 400),
    ];
    for (body, status) in refused {
        let answer = ask(&body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(!answer.text().contains("Summer2026!"));
    }
}
