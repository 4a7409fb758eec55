//! Goal: administrators see and do over `admin.listen` what their role, organisation and address let them, and the commands do the
//! same from another machine. Method: the running gateway, curl with certificates of administrators, and `keygate --server`.

use std::fs;
use std::path::{Path, PathBuf};

use keygate_tests::est::curl::{Answer, Shown, call, call_as};
use keygate_tests::est::Server;
use keygate_tests::gateway::{Setup, TestGateway, keygate};
use keygate_tests::provisioning::Service;
use keygate_tests::relying::Device;
use serde_json::{Value, json};

/// An administrator with its files, talking to one gateway.
struct Administrator {
    server: Server,
    device: Device,
    folder: PathBuf,
    files: PathBuf,
}

impl Administrator {
    /// The one that `keygate init` made.
    fn first(service: &Service) -> Self {
        Self::from_files(&service.gateway, &service.gateway.data().join("admin"), service.folder())
    }

    /// Another one, by `keygate admin add`.
    fn add(service: &Service, name: &str, arguments: &[&str]) -> Self {
        let files = service.folder().join("credentials");
        let out = files.to_string_lossy().into_owned();
        service.ok(&[&["admin", "add", name, "--out", &out], arguments].concat());
        Self::from_files(&service.gateway, &files, service.folder())
    }

    fn from_files(gateway: &TestGateway, files: &Path, folder: PathBuf) -> Self {
        let read = |file: &str| fs::read_to_string(files.join(file)).expect("a file");
        Self {
            server: server(gateway, files),
            device: Device { chain: read("cert.pem"), key: read("key.pem") },
            folder,
            files: files.to_owned(),
        }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>, headers: &[&str]) -> Answer {
        let text = body.map(Value::to_string);
        let body = text.as_deref().map(|text| ("application/json", text.as_bytes()));
        let shown = Shown::Device(&self.device);
        let answer = call_as(&self.server, &self.folder, Some(method), path, shown, body, headers);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The body of an answer that must have a status.
    fn json(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.ask(method, path, body, &[]);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// The code of a refusal that must have a status.
    fn refusal(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> String {
        let answer = self.ask(method, path, body, &[]);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(&answer.body).expect("JSON");
        problem["code"].as_str().expect("a code").to_owned()
    }

    /// Whether it is let in at all.
    fn is_let_in(&self) -> bool {
        call(&self.server, &self.folder, "/v1/version", Shown::Device(&self.device), None).is_ok_and(|answer| answer.status == 200)
    }

    /// A command from another machine: what it printed, or its exit code and what it complained of.
    fn command(&self, arguments: &[&str]) -> Result<String, (i32, String)> {
        let file = |name: &str| self.files.join(name).to_string_lossy().into_owned();
        let mut command = keygate().expect("a binary");
        command.args(arguments).args(["--server", &self.server.url, "--cert", &file("cert.pem"), "--key", &file("key.pem"), "--ca", &file("ca.pem")]);
        let output = command.env_remove("KEYGATE_DATA_DIR").stdin(std::process::Stdio::null()).output().expect("started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err((output.status.code().unwrap_or(-1), text(&output.stderr)))
        }
    }
}

fn server(gateway: &TestGateway, files: &Path) -> Server {
    Server { url: format!("https://localhost:{}", gateway.address("admin").port()), ca: files.join("ca.pem") }
}

/// The condition, as curl reads it from a file.
fn if_match(tag: &str) -> String {
    format!("If-Match: {}", tag.replace('"', "\\\""))
}

fn because() -> Value {
    json!({ "reason": "a test", "acknowledged": true })
}

/// The administrator of `init` may do everything: from the first key to its revocation, each change for the version it has seen.
#[test]
fn the_first_administrator_runs_the_service() {
    let service = Service::start_disabled(&Setup::new());
    let admin = Administrator::first(&service);
    assert_eq!(admin.json("GET", "/v1/service", None, 200)["state"], "disabled");
    let enabled = admin.json("POST", "/v1/service/enable", Some(&json!({ "acknowledged": true })), 200);
    assert!(enabled["warning"].as_str().expect("a warning").contains("only this machine"));
    let key = admin.json("POST", "/v1/provisioning-keys", Some(&json!({ "name": "Front" })), 201);
    let path = format!("/v1/provisioning-keys/{}", key["id"].as_str().expect("an id"));
    let tag = admin.ask("GET", &path, None, &[]).header("etag").expect("an ETag").to_owned();
    let rename = json!({ "name": "Back" });
    let stale = admin.ask("PATCH", &path, Some(&rename), &[&if_match("\"0\"")]);
    assert_eq!(stale.status, 412, "{}", stale.text());
    assert_eq!(admin.ask("PATCH", &path, Some(&rename), &[&if_match(&tag)]).status, 200);
    assert_eq!(admin.ask("PATCH", &path, Some(&rename), &[&if_match(&tag)]).status, 412);
    admin.json("POST", &format!("{path}/revoke"), Some(&because()), 200);
    assert_eq!(service.json(&["provisioning-key", "show", "Back"])["state"], "revoked");
    let found = admin.json("GET", "/v1/audit?action=ProvisioningKeyRevoked&actor=admin", None, 200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found["items"][0]["source"], "127.0.0.1");
    let document = admin.json("GET", "/v1/openapi.json", None, 200);
    assert!(document["paths"]["/v1/certificates/{serial}/revoke"]["post"].is_object());
}

/// What is not there, not taken or not JSON is refused as problem details.
#[test]
fn refusals_are_problem_details() {
    let service = Service::start();
    let admin = Administrator::first(&service);
    assert_eq!(admin.refusal("GET", "/v1/none", None, 404), "not-found");
    assert_eq!(admin.refusal("GET", "/v1/provisioning-keys/none", None, 404), "not-found");
    assert_eq!(admin.refusal("DELETE", "/v1/service", None, 405), "method-not-allowed");
    assert_eq!(admin.refusal("POST", "/v1/provisioning-keys", Some(&json!([])), 400), "unreadable");
    let text = call_as(&admin.server, &admin.folder, None, "/v1/provisioning-keys", Shown::Device(&admin.device), Some(("text/plain", b"{}")), &[]);
    assert_eq!(text.expect("an answer").status, 415);
}

/// Readers see and do not act; disabled ones are cut off; the last one that acts stays; the local socket brings them back.
#[test]
fn roles_decide_and_the_last_administrator_stays() {
    let service = Service::start();
    let (admin, reader) = (Administrator::first(&service), Administrator::add(&service, "bob", &["--role", "security:read"]));
    assert!(reader.is_let_in());
    reader.json("GET", "/v1/provisioning-keys", None, 200);
    assert_eq!(reader.refusal("POST", "/v1/provisioning-keys", Some(&json!({ "name": "mine" })), 403), "role");
    assert_eq!(reader.refusal("PATCH", "/v1/admins/bob", Some(&json!({ "role": "security:write" })), 403), "role");
    assert_eq!(admin.refusal("PATCH", "/v1/admins/admin", Some(&json!({ "disabled": true })), 409), "state");
    let refused = service.command(&["admin", "disable", "admin"]).expect_err("the last one");
    assert!(refused.contains("last administrator"), "{refused}");
    admin.json("PATCH", "/v1/admins/bob", Some(&json!({ "disabled": true })), 200);
    assert!(!reader.is_let_in());
    service.ok(&["admin", "enable", "bob"]);
    assert!(reader.is_let_in());
    service.ok(&["admin", "role", "bob", "security:write"]);
    reader.json("POST", "/v1/provisioning-keys", Some(&json!({ "name": "mine" })), 201);
    service.ok(&["admin", "disable", "admin"]);
    assert!(!admin.is_let_in() && reader.is_let_in());
}

/// A client's certificate, an enrolled device's, and none at all do not get in; nor does anybody from another network.
#[test]
fn only_administrators_from_allowed_networks_get_in() {
    let service = Service::start();
    let admin = Administrator::first(&service);
    let device = service.enrol(&service.create("key"), "device");
    let files = service.gateway.client_folder("a");
    let read = |file: &str| fs::read_to_string(files.join(file)).expect("a file");
    let client = Device { chain: read("cert.pem"), key: read("key.pem") };
    for shown in [Shown::Device(&client), Shown::Device(&device), Shown::Nothing] {
        let answer = call(&admin.server, &admin.folder, "/v1/service", shown, None);
        assert!(answer.is_err(), "{:?}", answer.map(|answer| answer.status));
    }
    assert!(admin.is_let_in());
    let service = Service::start_disabled(&Setup::new().set("admin.allow", "192.0.2.0/24"));
    assert!(!Administrator::first(&service).is_let_in());
}

/// Certificates come in pages, each with the link to the next, and each certificate once.
#[test]
fn certificates_come_in_pages() {
    let service = Service::start();
    let (admin, key) = (Administrator::first(&service), service.create("key"));
    let wanted: Vec<String> = (0..5).map(|number| format!("door-{number}")).collect();
    wanted.iter().for_each(|name| drop(service.enrol(&key, name)));
    let (mut path, mut found) = ("/v1/certificates?limit=2&state=valid".to_owned(), Vec::new());
    loop {
        let answer = admin.ask("GET", &path, None, &[]);
        let page: Value = serde_json::from_slice(&answer.body).expect("JSON");
        found.extend(page["items"].as_array().expect("items").iter().map(|item| item["subject"].as_str().expect("a subject").to_owned()));
        let Some(link) = answer.header("link") else { break };
        path = link.trim_start_matches('<').split('>').next().expect("a target").to_owned();
    }
    assert_eq!(found.len(), wanted.len());
    assert!(wanted.iter().rev().zip(&found).all(|(name, subject)| subject.contains(name)), "{found:?}");
    let serial = admin.json("GET", "/v1/certificates?name=door-3", None, 200)["items"][0]["serial"].as_str().expect("one").to_owned();
    service.ok(&["cert", "revoke", &serial, "--reason", "keyCompromise", "--yes"]);
    assert_eq!(admin.json("GET", &format!("/v1/certificates/{serial}"), None, 200)["revoked"]["reason"], "keyCompromise");
    assert_eq!(service.json(&["cert", "list", "--state", "revoked"])["items"].as_array().map(Vec::len), Some(1));
}

/// The commands from another machine do what they do on this one, with the same exit codes.
#[test]
fn commands_reach_a_gateway_elsewhere() {
    let service = Service::start_disabled(&Setup::new());
    let admin = Administrator::first(&service);
    assert!(admin.command(&["service", "enable"]).expect("enabled").contains("public address"));
    let secret = admin.command(&["provisioning-key", "create", "Front desk"]).expect("made");
    assert!(secret.trim().split_once('.').is_some_and(|(id, secret)| id.len() == 16 && secret.len() == 43), "the secret alone is printed");
    let out = service.folder().join("secret");
    let file = out.to_string_lossy().into_owned();
    let printed = admin.command(&["provisioning-key", "create", "Back", "--out", &file]).expect("made");
    let kept = fs::read_to_string(&out).expect("written");
    assert!(!printed.contains(kept.trim()) && kept.contains('.'));
    assert_eq!(admin.command(&["provisioning-key", "create", "Side", "--out", &file]).expect_err("there is a file").0, 4);
    let listed: Value = serde_json::from_str(&admin.command(&["provisioning-key", "list", "--json"]).expect("listed")).expect("JSON");
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    let (code, said) = admin.command(&["provisioning-key", "suspend", "Back", "--reason", "x"]).expect_err("not acknowledged");
    assert!(code == 2 && said.contains("--yes") && said.contains("still connect"), "{said}");
    assert_eq!(admin.command(&["provisioning-key", "show", "none"]).expect_err("none").0, 4);
    assert_eq!(admin.command(&["provisioning-key", "create", "9"]).expect_err("a bad name").0, 2);
    assert_eq!(admin.command(&["provisioning-key", "create", "front DESK"]).expect_err("taken").0, 4);
    let reader = Administrator::add(&service, "eve", &["--role", "security:read"]);
    assert_eq!(reader.command(&["service", "disable", "--yes"]).expect_err("a reader").0, 1);
    assert!(admin.command(&["audit", "search", "--object", "Front desk"]).expect("found").contains("ProvisioningKeyCreated"));
    let mut without = keygate().expect("a binary");
    let output = without.args(["service", "status", "--server", &admin.server.url]).output().expect("started");
    assert_eq!(output.status.code(), Some(2));
}

/// An administrator of one organisation is alone with it; keys of each have their own places.
#[test]
fn organisations_are_apart() {
    let service = Service::start();
    service.ok(&["organisation", "add", "acme"]);
    let theirs = Administrator::add(&service, "acme-admin", &["--role", "security:write", "--organisation", "acme"]);
    let ours = service.create("ours");
    assert_eq!(theirs.json("GET", "/v1/provisioning-keys", None, 200)["items"].as_array().map(Vec::len), Some(0));
    assert_eq!(theirs.refusal("GET", &format!("/v1/provisioning-keys/{}", ours.id), None, 404), "not-found");
    assert_eq!(theirs.refusal("GET", "/v1/service?organisation=default", None, 404), "not-found");
    theirs.json("POST", "/v1/service/enable", Some(&json!({ "acknowledged": true })), 200);
    for name in ["one", "two", "three"] {
        theirs.json("POST", "/v1/provisioning-keys", Some(&json!({ "name": name })), 201);
    }
    assert_eq!(theirs.refusal("POST", "/v1/provisioning-keys", Some(&json!({ "name": "four" })), 409), "state");
    let _ = service.create("room for ours");
    let listed = service.json(&["provisioning-key", "list", "--organisation", "acme"]);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(3));
}

/// Without a server the commands work on the data directory alone, and say so when it is in order.
#[test]
fn commands_work_without_a_server() {
    let mut service = Service::start();
    let key = service.create("key");
    service.gateway.stop().expect("stopped");
    assert_eq!(service.state(&key), "active");
    service.change("revoke", &key);
    assert_eq!(service.state(&key), "revoked");
    let events = service.json(&["audit", "search", "--action", "ProvisioningKeyRevoked"]);
    assert_eq!(events["items"].as_array().map(Vec::len), Some(1));
    service.gateway.start().expect("started again");
    assert_eq!(service.state(&key), "revoked");
}
