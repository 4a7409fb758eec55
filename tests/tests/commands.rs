//! Commands as scripts meet them: exit codes, what is printed where, and what is refused before anything is done.
//!
//! Method: the built binary against a gateway with the provisioning service.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use keygate_tests::gateway::keygate;
use keygate_tests::provisioning::{Key, Service};
use keygate_tests::{pem, relying::addresses::serial};

/// A machine of the test: a folder for its credential, and a provisioning key in a file.
struct Machine<'a> {
    service: &'a Service,
    out: PathBuf,
    ca: PathBuf,
}

impl<'a> Machine<'a> {
    fn new(service: &'a Service) -> Self {
        Self { service, out: service.folder().join("credential"), ca: service.est().ca }
    }

    fn key_file(&self, text: &str) -> String {
        let path = self.service.folder().join("key.txt");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("rights");
        path.display().to_string()
    }

    fn key_of(&self, key: &Key) -> String {
        self.key_file(&format!("{}.{}", key.account.id, key.account.secret))
    }

    /// `keygate enrol` against a server, to be run.
    fn command(&self, server: &str, more: &[&str]) -> Command {
        let mut command = keygate().expect("the binary");
        command.args(["enrol", "--server", server, "--wait", "0", "--out"]).arg(&self.out).arg("--ca").arg(&self.ca);
        command.args(more).env_remove("KEYGATE_PROVISIONING_KEY").env("NO_PROXY", "localhost");
        command
    }

    fn enrol_at(&self, server: &str, more: &[&str]) -> Output {
        self.command(server, more).output().expect("it runs")
    }

    fn enrol(&self, more: &[&str]) -> Output {
        self.enrol_at(&self.service.est().url, more)
    }

    fn serial(&self) -> String {
        let chain = fs::read_to_string(self.out.join("cert.pem")).expect("a file");
        serial(&pem::certificates(&chain).expect("certificates")[0]).expect("a serial number")
    }
}

fn told(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// Goal: each exit code that `enrol --help` promises is what a script gets. One machine meets all of them in turn.
#[test]
fn enrol_ends_with_the_codes_its_help_promises() {
    let service = Service::start();
    let machine = Machine::new(&service);
    let key = service.create("machines");
    let file = machine.key_of(&key);
    let expect = |output: &Output, code: i32, words: &str| {
        let (found, text) = told(output);
        assert!(found == code && text.contains(words), "{code}: {words}: {found}: {text}");
    };
    expect(&machine.enrol(&[]), 2, "no provisioning key is given");
    expect(&machine.enrol(&["--key-file", &machine.key_file("secret")]), 2, "the provisioning key is");
    let wrong = machine.key_file(&format!("{}.{}", key.account.id, "A".repeat(43)));
    expect(&machine.enrol(&["--key-file", &wrong]), 7, "refuses (401)");
    expect(&machine.enrol_at("https://localhost:1", &["--key-file", &file]), 8, "");
    service.change("suspend", &key);
    expect(&machine.enrol(&["--key-file", &file]), 8, "has not decided yet");
    service.change("reactivate", &key);
    let names = ["--key-file", &file, "--name", "door-1", "--names", "DNS: door-1.example"];
    expect(&machine.enrol(&names), 0, "enrolled: ");
    expect(&machine.enrol(&[]), 0, "nothing is due");

    let other_root = service.folder().join("other.pem");
    fs::write(&other_root, service.fetch("/ca/default.pem").expect("the CAs")).expect("a file");
    let wrong_server = Machine { ca: other_root, service: &service, out: service.folder().join("new") };
    expect(&wrong_server.enrol(&["--key-file", &file]), 1, "TLS");

    let mut daemon =
        machine.command(&service.est().url, &["--daemon"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    let said = BufReader::new(daemon.stdout.as_mut().expect("a pipe")).read_line(&mut line);
    let in_use = machine.enrol(&[]);
    daemon.kill().and_then(|()| daemon.wait()).expect("ended");
    assert!(said.is_ok() && line.contains("nothing is due"), "{line}");
    expect(&in_use, 3, "");

    service.ok(&["cert", "revoke", &machine.serial(), "--reason", "lost", "--yes"]);
    expect(&machine.enrol(&[]), 9, "is revoked");
    expect(&machine.enrol(&["--key-file", &file, "--force"]), 0, "CN=door-1");
    let chain =
        pem::certificates(&fs::read_to_string(machine.out.join("cert.pem")).expect("a file")).expect("certificates");
    let shown = service.json(&["cert", "show", &serial(&chain[0]).expect("a serial number")]);
    assert!(shown["names"].to_string().contains("door-1.example"), "{shown}");
    expect(&machine.enrol(&[]), 0, "nothing is due");
}

/// Goal: what a script runs twice succeeds twice, and what contradicts itself or cannot be read is refused as such, by exit code 2,
/// before anything is done.
#[test]
fn switches_may_be_set_again_and_contradictions_are_refused() {
    let service = Service::start();
    let refused = |arguments: &[&str], words: &str| {
        let (code, text) = told(&service.gateway.keygate(arguments).expect("it runs"));
        assert!(code == 2 && text.contains(words), "{arguments:?}: {code}: {text}");
    };
    let before = service.json(&["service", "status"]);
    assert!(service.ok(&["service", "enable"]).contains("enabled already"));
    assert_eq!(service.json(&["service", "enable"]), before);
    service.ok(&["service", "disable", "--yes"]);
    assert!(service.ok(&["service", "disable", "--yes"]).contains("disabled already"));
    service.ok(&["service", "enable"]);

    let there = ["--server", "https://localhost:1", "--cert", "x", "--key", "x", "--ca", "x"];
    refused(&[&["service", "status"][..], &there].concat(), "--data-dir");
    refused(&["provisioning-key", "create", "a", "--expires", "tomorrow"], "2027-01-31T12:00:00Z");
    refused(&["provisioning-key", "create", "a", "--expires", "2001-01-01", "--uses", "x"], "--uses");
    assert_eq!(service.json(&["provisioning-key", "list"])["items"].as_array().map(Vec::len), Some(0));
    let mut command = keygate().expect("the binary");
    let output = command.args(["service", "status"]).env_remove("KEYGATE_DATA_DIR").output().expect("it runs");
    let (code, text) = told(&output);
    assert!(code == 2 && text.contains("--data-dir D"), "{code}: {text}");
    let mut command = keygate().expect("the binary");
    let output =
        command.args(["service", "status"]).env("KEYGATE_DATA_DIR", service.gateway.data()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
}

/// Goal: lists have a heading also in a pipe and when they are empty; certificates are printed where they are asked for; a request
/// that nobody signs can be seen again, and given up.
#[test]
fn lists_have_headings_and_certificates_are_asked_for() {
    let service = Service::start();
    let heading = |list: &[&str]| {
        service.ok(list).lines().next().unwrap_or_default().split("  ").next().unwrap_or_default().to_owned()
    };
    for (list, first) in [
        (&["provisioning-key", "list"][..], "ID"),
        (&["ca", "list"], "ID"),
        (&["cert", "list"], "SERIAL"),
        (&["admin", "list"], "ID"),
        (&["organisation", "list"], "ID"),
        (&["audit", "search"], "TIME"),
        (&["client", "list"], "ID"),
        (&["grant", "list"], "ID"),
        (&["group", "list"], "ID"),
        (&["keys", "list"], "ID"),
        (&["seal", "status"], "ID"),
    ] {
        assert_eq!(heading(list), first, "{list:?}");
    }
    let key = service.create("machines");
    let listed = service.json(&["ca", "list"]);
    let mut all = listed["items"].as_array().expect("items").iter();
    let ca = all.find(|ca| ca["tier"] == "key").and_then(|ca| ca["id"].as_str()).expect("a CA").to_owned();
    assert!(service.ok(&["ca", "show", &ca]).contains("BEGIN CERTIFICATE"));
    assert!(!service.ok(&["ca", "renew", &ca]).contains("BEGIN"));
    assert!(service.ok(&["ca", "renew", &ca, "--pem"]).contains("BEGIN CERTIFICATE"));
    assert!(service.ok(&["ca", "list"]).contains("key in the store"));
    service.change("revoke", &key);
    let shown = service.ok(&["ca", "show", &ca]);
    assert!(shown.contains("key destroyed") && !shown.contains("key in destroyed"), "{shown}");

    let waiting = service.json(&["ca", "request"])["authority"]["id"].as_str().expect("an id").to_owned();
    assert!(service.ok(&["ca", "list"]).contains("waits for: its certificate"));
    assert!(service.ok(&["ca", "request", &waiting, "--show"]).contains("BEGIN CERTIFICATE REQUEST"));
    service.ok(&["ca", "remove", &waiting]);
    let (code, text) = told(&service.gateway.keygate(&["ca", "show", &waiting]).expect("it runs"));
    assert!(code == 4 && text.contains("there is no authority"), "{code}: {text}");
    assert!(service.ok(&["audit", "search", "--action", "IssuerRemoved"]).contains("IssuerRemoved"));
}
