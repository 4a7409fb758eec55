//! Goal: a backup taken from the running gateway holds everything, a damaged, foreign or old one restores nothing, and no key is
//! in clear on the way.
//! Method: the running binary; identities from the age crate of the product, opened by no key of the product; KMIP clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use keygate_kmip::{Operation, Tag};
use keygate_tests::client::{Credentials, TlsKmipClient};
use keygate_tests::gateway::{Setup, TestGateway, copy_folder, keygate};
use keygate_tests::request;

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

fn locate(client: &mut TlsKmipClient, name: &str) -> Vec<String> {
    let message =
        request::message(V1_4, vec![(Operation::Locate, vec![request::attribute("Name", request::name_value(name))])]);
    let payload = request::outcome(&client.request(&message).expect("an answer")).expect("Locate");
    payload
        .fields()
        .iter()
        .filter(|item| item.tag == Tag::UNIQUE_IDENTIFIER.0)
        .filter_map(|item| item.text())
        .map(str::to_owned)
        .collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn backup(gateway: &TestGateway, name: &str) -> (PathBuf, serde_json::Value) {
    let file = gateway.scratch().join(name);
    let said = gateway.keygate_ok(&["backup", "--to", &text(&file), "--recipient", RECIPIENT, "--json"]);
    (file, serde_json::from_str(&said).expect("JSON"))
}

/// `keygate restore` into `scratch/NAME`.
fn restore(gateway: &TestGateway, from: &Path, name: &str, arguments: &[&str]) -> (PathBuf, Output) {
    let identity = gateway.secret_file("identity", IDENTITY).expect("a file");
    let target = gateway.scratch().join(name);
    let mut command = keygate().expect("a binary");
    command.args(["restore", "--data-dir", &text(&target), "--from", &text(from)]);
    if !arguments.contains(&"--passphrase-file") {
        command.args(["--identity", &text(&identity)]);
    }
    (target, command.args(arguments).output().expect("started"))
}

fn refused(gateway: &TestGateway, from: &Path, arguments: &[&str], why: &str) {
    let (target, output) = restore(gateway, from, "refused", arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "restored what should be refused: {why}");
    assert!(said.contains(why), "{said:?} does not say {why:?}");
    assert!(!target.exists(), "a refused restore leaves no data directory");
    assert!(!gateway.scratch().join("refused.restoring").exists(), "a refused restore leaves nothing");
}

/// The restored folder in the place of the gateway's own, served.
fn serve_restored(gateway: &mut TestGateway, restored: &Path) {
    let own = gateway.scratch().join("clients");
    copy_folder(&gateway.data().join("test-clients"), &own).expect("the clients' credentials");
    fs::remove_dir_all(gateway.data()).expect("the lost data directory");
    fs::rename(restored, gateway.data()).expect("in its place");
    copy_folder(&own, &gateway.data().join("test-clients")).expect("the clients' credentials");
    gateway.start().expect("a server");
}

/// Listings that must be the same before and after.
fn listings(gateway: &TestGateway) -> Vec<String> {
    let commands: [&[&str]; 6] = [
        &["client", "list"],
        &["client", "user", "list", "a"],
        &["group", "list"],
        &["grant", "list"],
        &["provisioning-key", "list"],
        &["admin", "list"],
    ];
    commands.iter().map(|command| gateway.keygate_ok(&[*command, &["--json"]].concat())).collect()
}

/// Serial numbers of the authorities' certificates. A server on another port renews them, since they name its address.
fn authorities(gateway: &TestGateway) -> Vec<String> {
    let listed: serde_json::Value = serde_json::from_str(&gateway.keygate_ok(&["ca", "list", "--json"])).expect("JSON");
    let certificates = listed["items"].as_array().expect("authorities").iter().flat_map(|item| item["certificates"].as_array());
    certificates.flatten().map(|certificate| certificate["serial"].to_string()).collect()
}

/// Keys, users, groups, grants, a provisioning key, CAs and administrators come back; names resolve; the audit record is intact
/// and tells of both; what is made afterwards lasts.
#[test]
fn everything_comes_back() {
    let mut gateway = Setup::new().start();
    let password = gateway.secret_file("password", "correct horse").expect("a file");
    let _ = gateway.keygate_ok(&["client", "user", "add", "a", "ann", "--password-file", &text(&password)]);
    let _ = gateway.keygate_ok(&["group", "add", "readers", "--member", "b"]);
    let mut client = gateway.connect("c");
    let keys: Vec<(String, Vec<u8>)> = (0..700)
        .map(|number| {
            let id = create(&mut client, &format!("key {number}"));
            let material = value(&mut client, &id);
            (id, material)
        })
        .collect();
    let _ = gateway.keygate_ok(&["grant", "add", &keys[0].0, "--to", "b", "--operations", "Get"]);
    let _ = gateway.keygate_ok(&["service", "enable", "--yes"]);
    let _ = gateway.keygate_ok(&["provisioning-key", "create", "laptops"]);
    let (before, cas) = (listings(&gateway), authorities(&gateway));
    assert!(cas.len() >= 3, "{cas:?}");
    let (file, said) = backup(&gateway, "all.age");
    assert_eq!(said["objects"], 700);

    // No key and no name of one is in the file.
    let octets = fs::read(&file).expect("the backup");
    assert!(octets.starts_with(b"age-encryption.org/v1\n"), "an age file");
    assert!(keys.iter().all(|(_, material)| memchr::memmem::find(&octets, material).is_none()));
    gateway.stop().expect("an orderly end");

    let sha256 = said["sha256"].as_str().expect("a digest");
    let anchor = gateway.data().join("anchor");
    refused(&gateway, &file, &["--anchor", &text(&anchor)], "is known to have been made");
    let (restored, output) =
        restore(&gateway, &file, "new", &["--sha256", sha256, "--anchor", &text(&anchor), "--accept-older"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serve_restored(&mut gateway, &restored);
    assert_eq!(listings(&gateway), before);
    let restored_cas = authorities(&gateway);
    assert!(cas.iter().all(|serial| restored_cas.contains(serial)), "{cas:?} in {restored_cas:?}");
    let mut client = gateway.connect("c");
    for (id, material) in &keys {
        assert_eq!(value(&mut client, id), *material, "{id}");
    }
    assert_eq!(locate(&mut client, "key 7"), [keys[7].0.clone()], "names resolve");
    assert_eq!(value(&mut gateway.connect("b"), &keys[0].0), keys[0].1, "grants hold");
    let again = client.request(&request::create_aes(V1_4, 256, Some("key 7"))).expect("an answer");
    assert!(request::outcome(&again).is_err(), "names are still taken");
    let new = create(&mut client, "made after the restore");
    gateway.stop().expect("an orderly end");
    let _ = gateway.keygate_ok(&["audit", "verify"]);
    gateway.start().expect("a second start");
    let mut client = gateway.connect("c");
    assert_eq!(value(&mut client, &new).len(), 32);
    for action in ["BackupMade", "StoreRestored"] {
        let events = gateway.keygate_ok(&["audit", "search", "--json", "--action", action]);
        assert!(events.contains(action), "{action} is recorded: {events}");
    }
}

/// Cut off at any place, changed at any place, another kind of file, the wrong key: a clear error, and nothing is left behind.
#[test]
fn damaged_backups_restore_nothing() {
    let gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    for number in 0..300 {
        let _ = create(&mut client, &format!("key {number}"));
    }
    let (file, _) = backup(&gateway, "whole.age");
    let octets = fs::read(&file).expect("the backup");
    assert!(octets.len() > 3 * 65536, "several chunks of age");
    let changed = gateway.scratch().join("changed.age");
    // age's chunks are 64 KiB and 16: at a boundary a cut leaves whole chunks.
    let header = octets.windows(4).position(|window| window == b"\n---").expect("the header's end");
    for cut in [0, 10, header, octets.len() / 2, octets.len() - 1, header + 64 + 65552] {
        fs::write(&changed, &octets[..cut]).expect("written");
        let why = if cut <= header { "is not an age file" } else { "cut off" };
        let (_, output) = restore(&gateway, &changed, "refused", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "cut at {cut}");
        assert!(
            said.contains(why) || said.contains("altered") || said.contains("not an age file"),
            "cut at {cut}: {said}"
        );
        assert!(!gateway.scratch().join("refused").exists() && !gateway.scratch().join("refused.restoring").exists());
    }
    for at in [header + 200, octets.len() / 2, octets.len() - 5] {
        let mut other = octets.clone();
        other[at] ^= 1;
        fs::write(&changed, &other).expect("written");
        refused(&gateway, &changed, &[], "altered");
    }
    let mut longer = octets.clone();
    longer.extend_from_slice(b"more");
    fs::write(&changed, &longer).expect("written");
    refused(&gateway, &changed, &[], "altered");
    fs::write(&changed, b"PK\x03\x04 not a backup").expect("written");
    refused(&gateway, &changed, &[], "is not an age file");
    let other = "0".repeat(64);
    refused(&gateway, &file, &["--sha256", &other], "not the one that was given");
    let passphrase = gateway.secret_file("passphrase", "nothing").expect("a file");
    refused(&gateway, &file, &["--passphrase-file", &text(&passphrase)], "encrypted for recipients");
    // The server has noticed nothing, and an existing directory is not touched.
    let (_, output) = restore(&gateway, &file, "data", &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("exists"), "the target is in use");
    let _ = create(&mut client, "still served");
}

/// A backup of one store is refused beside the anchor of another; numbers that are known are honoured.
#[test]
fn other_and_older_stores_are_refused() {
    let (gateway, other) = (Setup::new().start(), Setup::new().init(&["--host", "localhost"]).start());
    let (file, said) = backup(&gateway, "one.age");
    let anchor = other.data().join("anchor");
    refused(&gateway, &file, &["--anchor", &text(&anchor)], "the backup is of another store");
    let next = (said["commit"].as_u64().expect("a commit") + 1).to_string();
    refused(&gateway, &file, &["--not-older-than", &next], "is known to have been made");
    let (_, output) = restore(&gateway, &file, "new", &["--not-older-than", &next, "--accept-older", "--json"]);
    let restored: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(restored["epoch"], said["epoch"].as_u64().expect("an epoch") + 1, "a new epoch begins");
}

/// With a passphrase, from a stopped store, to a seal with a passphrase of its own.
#[test]
fn passphrases() {
    let mut gateway = Setup::new().start();
    let id = create(&mut gateway.connect("a"), "kept");
    gateway.stop().expect("an orderly end");
    let passphrase = gateway.secret_file("passphrase", "one two three four five six").expect("a file");
    let seal = gateway.secret_file("seal", "another one").expect("a file");
    let file = gateway.scratch().join("p.age");
    let _ = gateway.keygate_ok(&["backup", "--to", &text(&file), "--file-passphrase-file", &text(&passphrase)]);
    let wrong = gateway.secret_file("wrong", "six five four").expect("a file");
    refused(&gateway, &file, &["--passphrase-file", &text(&wrong)], "the passphrase does not open this file");
    let opened =
        ["--passphrase-file", &text(&passphrase), "--seal", "passphrase", "--new-passphrase-file", &text(&seal)];
    let (restored, output) = restore(&gateway, &file, "new", &opened);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!restored.join("seal.key").exists());
    let mut command = keygate().expect("a binary");
    command.args(["keys", "show", &id, "--data-dir", &text(&restored), "--passphrase-file", &text(&seal)]);
    let shown = command.output().expect("started");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("kept"), "{}", String::from_utf8_lossy(&shown.stderr));
}

/// While keys are made and fetched, a backup is one moment of the store: it restores.
#[test]
fn backups_under_load() {
    let gateway = Setup::new().start();
    let _: Credentials = gateway.client("a");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (file, made) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = gateway.connect("a");
            let mut made = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = create(&mut client, &format!("load {made}"));
                made += 1;
            }
            made
        });
        let files: Vec<_> = (0..3).map(|number| backup(&gateway, &format!("load {number}.age"))).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (files, writer.join().expect("joined"))
    });
    assert!(made > 0, "keys were made meanwhile");
    for (number, (file, _)) in file.iter().enumerate() {
        let (_, output) = restore(&gateway, file, &format!("load-{number}"), &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
