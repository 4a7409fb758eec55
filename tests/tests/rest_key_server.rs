//! Goal: a program that speaks the eskm-style contract uses the gateway as its key server, gets what its user may and nothing else,
//! and shares its keys with the KMIP side of the same client.
//! Method: the running binary, `keygate rest-user`, and curl.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{Operation, Tag};
use keygate_tests::client::{Credentials, TlsKmipClient};
use keygate_tests::est::curl::{Answer, Shown, call_as};
use keygate_tests::est::{Account, Server};
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request;
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use keygate_tests::ttlv::Value as Ttlv;
use serde_json::{Value, json};

const ALL: &str = "keys:create,keys:read,keys:export,keys:update,keys:state,keys:rotate,keys:delete,\
                   crypto:encrypt,crypto:decrypt,crypto:sign,crypto:verify,crypto:mac,crypto:random,logs:read";
const V2_1: (i32, i32) = (2, 1);

/// A REST user with its password.
struct User {
    server: Server,
    account: Account,
    folder: PathBuf,
}

impl User {
    /// Adds one that acts for a client.
    fn add(gateway: &TestGateway, name: &str, client: &str, may: &str) -> Self {
        let _ = gateway.client(client);
        let password = gateway.keygate_ok(&["rest-user", "add", name, "--client", client, "--may", may]).trim().to_owned();
        assert_eq!(password.len(), 32, "a password is made and alone on standard output");
        Self::with(gateway, name, &password)
    }

    fn with(gateway: &TestGateway, name: &str, password: &str) -> Self {
        let url = format!("https://localhost:{}", gateway.address("clients").port());
        let ca = gateway.client_folder("a").join("ca.pem");
        let account = Account { id: name.to_owned(), secret: password.to_owned() };
        Self { server: Server { url, ca }, account, folder: gateway.scratch().join(format!("curl-{name}")) }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        let body = text.as_deref().map(|text| ("application/json", text.as_bytes()));
        let answer = call_as(&self.server, &self.folder, Some(method), path, Shown::Account(&self.account), body, &[]);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The body of an answer that must have a status.
    fn json(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// The reason and message of a refusal that must have a status.
    fn refusal(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> (String, String) {
        let failure = self.json(method, path, body, status);
        assert_eq!(failure["result"], "OPERATION_FAILED", "{failure}");
        let text = |field: &str| failure[field].as_str().expect("a text").to_owned();
        (text("reason"), text("message"))
    }

    fn key(&self, body: &Value) -> Value {
        self.json("POST", "/api/key/v1/keys", Some(body), 201)
    }
}

fn uuid(key: &Value) -> String {
    key["uuid"].as_str().expect("a UUID").to_owned()
}

fn octets(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("a text")).expect("base64")
}

/// The command that is copied prints `Success`, asks for the password itself, and names nothing secret.
#[test]
fn the_test_command_answers_success() {
    let gateway = Setup::new().start();
    let user = User::with(&gateway, "lan", "x");
    let path = "/api/key/v1/test";
    assert_eq!(user.ask("GET", path, None).status, 404, "without users it is not served");
    let lan = User::add(&gateway, "lan", "a", "keys:read");
    let command = gateway.keygate_ok(&["rest-user", "test-command", "lan"]);
    assert!(!command.contains(&lan.account.secret) && command.lines().count() == 1, "{command}");
    // Without a terminal curl reads the password from standard input.
    let run = |password: &str| {
        let mut shell = Command::new("setsid");
        shell.args(["-w", "sh", "-c", &command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = shell.spawn().expect("started");
        shell.stdin.take().expect("its input").write_all(format!("{password}\n").as_bytes()).expect("written");
        let output = shell.wait_with_output().expect("ended");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(run(&lan.account.secret), "Success\n");
    assert!(run("wrong").contains("AUTHENTICATION_NOT_SUCCESSFUL"));
    let account = lan.json("GET", "/api/key/v1/account", None, 200);
    let least = json!({ "user": "lan", "owner": "a", "licenseType": "RESTful API", "kmipEnabled": false, "userAdministration": false,
        "changePassword": false, "permissions": ["keys:read"] });
    assert_eq!(account, least);
}

/// Create, show, list page by page, export, rotate, attributes, states, delete.
#[test]
fn keys_live_over_rest() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", ALL);
    let wish = json!({ "name": "share-1", "algorithm": "AES", "length": 256, "usageMask": ["ENCRYPT", "DECRYPT", "WRAP_KEY", "UNWRAP_KEY"],
        "exportable": true, "deletable": true, "owner": "a", "group": "finance", "attributes": { "path": "//srv/share" } });
    let key = lan.key(&wish);
    let shown = ["name", "version", "state", "algorithm", "length", "exportable", "owner", "group", "keystore"].map(|field| key[field].clone());
    assert_eq!(json!(shown), json!(["share-1", 1, "ACTIVE", "AES", 256, true, "a", "finance", "local"]));
    assert_eq!(lan.json("GET", "/api/key/v1/keys/share-1", None, 200), key);
    assert_eq!(lan.refusal("POST", "/api/key/v1/keys", Some(&wish), 409).0, "NON_UNIQUE_NAME_ATTRIBUTE");

    // Out in clear, and wrapped by another key.
    let exported = lan.json("POST", "/api/key/v1/keys/share-1/export", None, 200);
    assert_eq!((octets(&exported["material"]).len(), exported["format"].as_str()), (32, Some("RAW")));
    lan.key(&json!({ "name": "wrap", "algorithm": "AES", "usageMask": ["WRAP_KEY"] }));
    let wish = json!({ "format": "WRAPPED", "wrappingKey": "wrap" });
    // RFC 3394 §2.2.1: eight octets more than the key.
    assert_eq!(octets(&lan.json("POST", "/api/key/v1/keys/share-1/export", Some(&wish), 200)["material"]).len(), 40);
    assert_eq!(lan.refusal("POST", "/api/key/v1/keys/wrap/export", None, 403).0, "NOT_EXTRACTABLE");
    assert_eq!(lan.refusal("POST", "/api/key/v1/keys/share-1/export", Some(&json!({ "format": "WRAPPED" })), 400).1, "format WRAPPED needs wrappingKey");

    // A version: name and attributes move, the old one is found by its number and by its UUID; what must not leave stays so.
    let second = lan.json("POST", "/api/key/v1/keys/share-1/versions", None, 201);
    assert_eq!((&second["version"], &second["name"], &second["group"]), (&json!(2), &json!("share-1"), &json!("finance")));
    let first = lan.json("GET", "/api/key/v1/keys/share-1%231", None, 200);
    assert_eq!((uuid(&first), &first["replacedBy"], &first["version"]), (uuid(&key), &second["uuid"], &json!(1)));
    assert_eq!(uuid(&lan.json("GET", "/api/key/v1/keys/share-1%232", None, 200)), uuid(&second));
    assert_eq!(lan.refusal("GET", "/api/key/v1/keys/share-1%233", None, 404).0, "ITEM_NOT_FOUND");
    assert_eq!(lan.refusal("POST", &format!("/api/key/v1/keys/{}/versions", uuid(&key)), None, 409).0, "WRONG_KEY_LIFECYCLE_STATE");
    assert_eq!(lan.json("POST", "/api/key/v1/keys/wrap/versions", None, 201)["exportable"], false);

    // Pages.
    let page = lan.json("GET", "/api/key/v1/keys?limit=3", None, 200);
    assert_eq!((page["keys"].as_array().map(Vec::len), &page["nextOffset"]), (Some(3), &json!(3)));
    let rest = lan.json("GET", "/api/key/v1/keys?limit=3&offset=3", None, 200);
    assert_eq!((rest["keys"].as_array().map(Vec::len), rest.get("nextOffset")), (Some(1), None));
    assert_eq!(lan.json("GET", "/api/key/v1/keys?name=wrap", None, 200)["keys"].as_array().map(Vec::len), Some(1));

    // Attributes: all or none.
    let changes = json!({ "group": "audit", "attributes": { "path": null, "site": "Bonn" } });
    let changed = lan.json("PATCH", "/api/key/v1/keys/share-1", Some(&changes), 200);
    assert_eq!((&changed["group"], &changed["attributes"]), (&json!("audit"), &json!({ "site": "Bonn" })));
    let half = json!({ "attributes": { "a": "1", "missing": null } });
    assert_eq!(lan.refusal("PATCH", "/api/key/v1/keys/share-1", Some(&half), 404).0, "ATTRIBUTE_NOT_FOUND");
    assert_eq!(lan.json("GET", "/api/key/v1/keys/share-1", None, 200)["attributes"], json!({ "site": "Bonn" }));

    // States.
    let path = "/api/key/v1/keys/share-1";
    assert_eq!(lan.refusal("DELETE", path, None, 409).0, "WRONG_KEY_LIFECYCLE_STATE");
    let state = |state: &str| json!({ "state": state, "reason": "a test" });
    assert_eq!(lan.refusal("POST", &format!("{path}/state"), Some(&state("ACTIVE")), 409).0, "WRONG_KEY_LIFECYCLE_STATE");
    assert_eq!(lan.json("POST", &format!("{path}/state"), Some(&state("DEACTIVATED")), 200)["state"], "DEACTIVATED");
    assert_eq!(lan.refusal("POST", &format!("{path}/versions"), None, 409).0, "WRONG_KEY_LIFECYCLE_STATE");
    assert_eq!(lan.ask("DELETE", path, None).status, 204);
    assert_eq!(lan.refusal("GET", path, None, 404).0, "ITEM_NOT_FOUND");
    let by_id = format!("/api/key/v1/keys/{}", uuid(&second));
    assert_eq!(lan.json("GET", &by_id, None, 200)["state"], "DESTROYED");
    assert_eq!(lan.refusal("POST", &format!("{by_id}/export"), None, 410).0, "OBJECT_DESTROYED");
    lan.key(&json!({ "name": "kept", "algorithm": "AES", "deletable": false }));
    lan.json("POST", "/api/key/v1/keys/kept/state", Some(&state("COMPROMISED")), 200);
    assert_eq!(lan.refusal("DELETE", "/api/key/v1/keys/kept", None, 403), ("PERMISSION_DENIED".into(), "the key was made as not deletable".into()));
    assert_eq!(lan.refusal("POST", "/api/key/v1/keys/kept/state", Some(&state("DESTROYED")), 403).0, "PERMISSION_DENIED");
}

/// Encrypt and decrypt, sign and verify, MAC, random: with keys that stay.
#[test]
fn keys_are_used_over_rest() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", ALL);
    for (name, algorithm) in [("aes", "AES"), ("ec", "EC"), ("rsa", "RSA"), ("hmac", "HMAC-SHA384")] {
        lan.key(&json!({ "name": name, "algorithm": algorithm }));
    }
    lan.key(&json!({ "name": "oaep", "algorithm": "RSA", "length": 2048, "usageMask": ["ENCRYPT", "DECRYPT"] }));
    let ask = |what: &str, body: &Value| lan.json("POST", &format!("/api/crypto/v1/{what}"), Some(body), 200);
    let data = STANDARD.encode(b"a block of 16 by");
    for (key, mode) in [("aes", "GCM"), ("aes", "CBC"), ("aes", "CTR"), ("oaep", "GCM")] {
        let mut sealed = ask("encrypt", &json!({ "key": key, "data": data, "mode": mode }));
        assert_ne!(sealed["data"], json!(data));
        let fields = sealed.as_object_mut().expect("an object");
        assert_eq!(fields.remove("name"), Some(json!(key)), "the answer says which key was used");
        fields.remove("uuid");
        fields.extend([("key".to_owned(), json!(key)), ("mode".to_owned(), json!(mode))]);
        assert_eq!(ask("decrypt", &sealed)["data"], json!(data), "{key} {mode}");
        if (key, mode) == ("aes", "GCM") {
            sealed["aad"] = json!("AAAA");
            assert_eq!(lan.refusal("POST", "/api/crypto/v1/decrypt", Some(&sealed), 422).0, "CRYPTOGRAPHIC_FAILURE");
        }
    }
    for (key, more) in [("ec", json!({})), ("ec", json!({ "hash": "SHA512" })), ("rsa", json!({})), ("rsa", json!({ "padding": "PSS" }))] {
        let mut wish = json!({ "key": key, "data": data });
        wish.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        wish["signature"] = ask("sign", &wish)["signature"].clone();
        assert_eq!(ask("verify", &wish)["valid"], true, "{wish}");
        wish["data"] = json!(STANDARD.encode(b"something else"));
        assert_eq!(ask("verify", &wish)["valid"], false);
    }
    assert_eq!(octets(&ask("mac", &json!({ "key": "hmac", "data": data }))["mac"]).len(), 48);
    assert_eq!(octets(&ask("random", &json!({ "length": 33 }))["data"]).len(), 33);
    for (what, body, status, reason) in [
        ("random", json!({ "length": 0 }), 400, "INVALID_FIELD"),
        ("random", json!({ "length": 65_537 }), 429, "SERVER_LIMIT_EXCEEDED"),
        ("encrypt", json!({ "key": "aes", "data": "!" }), 400, "INVALID_FIELD"),
        ("encrypt", json!({ "key": "aes", "data": data, "iv": "AAAA" }), 400, "INVALID_FIELD"),
        ("encrypt", json!({ "key": "aes", "data": data, "mode": "CBC", "iv": "AAAA" }), 400, "BAD_CRYPTOGRAPHIC_PARAMETERS"),
        ("decrypt", json!({ "key": "aes", "data": data }), 400, "INVALID_MESSAGE"),
        ("sign", json!({ "key": "aes", "data": data }), 400, "INVALID_FIELD"),
        ("mac", json!({ "key": "aes", "data": data }), 403, "INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK"),
        ("mac", json!({ "key": "nothing", "data": data }), 404, "ITEM_NOT_FOUND"),
    ] {
        let (found, message) = lan.refusal("POST", &format!("/api/crypto/v1/{what}"), Some(&body), status);
        assert_eq!(found, reason, "{what} {body}: {message}");
    }
}

/// What is not accepted is said by field and rule, and makes nothing.
#[test]
fn bad_input_is_refused_in_the_contracts_words() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", ALL);
    let good = json!({ "name": "k", "algorithm": "AES" });
    for (field, value, says) in [
        ("name", json!("a b"), "name must have"),
        ("name", json!("6fa459ea-ee8a-3ca4-894e-db77e160355e"), "name must not be a UUID"),
        ("name", json!(7), "not of the kind"),
        ("algorithm", json!("ROT13"), "algorithm must be one of"),
        ("length", json!(64), "length of an AES key"),
        ("usageMask", json!(["ALL"]), "usageMask takes"),
        ("usageMask", json!(["SIGN"]), "usageMask names nothing"),
        ("owner", json!("b"), "owner can only be"),
        ("group", json!(""), "group must have"),
        ("keystore", json!("nowhere"), "there is no keystore"),
        ("attributes", json!({ "keygate-deletable": "true" }), "are the server's"),
        ("attributes", json!({ "a": "x".repeat(1025) }), "longer than 1024"),
        ("attributes", json!({ "a": null }), "has no value"),
        ("surprise", json!(1), "unknown field"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (_, message) = lan.refusal("POST", "/api/key/v1/keys", Some(&body), 400);
        assert!(message.contains(says), "{field}: {message}");
    }
    for (method, path, status) in [
        ("GET", "/api/key/v1/keys?limit=0", 400),
        ("GET", "/api/key/v1/keys?limit=201", 400),
        ("GET", "/api/key/v1/keys?offset=100001", 400),
        ("GET", "/api/key/v1/keys?offset=-1", 400),
        ("GET", "/api/key/v1/keys?page=1", 400),
        ("GET", "/api/key/v1/keys/%0a", 400),
        ("GET", "/api/key/v1/keys/none", 404),
        ("PATCH", "/api/key/v1/keys/none", 400),
        ("GET", "/api/key/v2/keys", 404),
        ("PUT", "/api/key/v1/keys", 405),
        ("GET", "/api/manage/v1/log/other", 404),
        ("GET", "/api/manage/v1/log/kmipserver?lines=501", 400),
        ("GET", "/api/manage/v1/log/kmipserver?offset=x", 400),
        ("GET", "/api/manage/v1/log/kmipserver?startTime=yesterday", 400),
    ] {
        lan.refusal(method, path, None, status);
    }
    let big = json!({ "name": "k", "algorithm": "AES", "attributes": { "a": "x".repeat(100_000) } });
    assert_eq!(lan.ask("POST", "/api/key/v1/keys", Some(&big)).status, 413);
    assert_eq!(lan.json("GET", "/api/key/v1/keys", None, 200), json!({ "keys": [] }));
}

/// A user does what it may: not more, not any longer, and not to the keys of other clients.
#[test]
fn a_user_does_what_it_may() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", ALL);
    let reader = User::add(&gateway, "reader", "a", "keys:read");
    let other = User::add(&gateway, "other", "b", ALL);
    lan.key(&json!({ "name": "share", "algorithm": "AES", "exportable": true }));
    assert_eq!(reader.json("GET", "/api/key/v1/keys/share", None, 200)["name"], "share");
    let named = json!({ "key": "share", "data": "AAAA" });
    for (method, path, body) in [
        ("POST", "/api/key/v1/keys", Some(&named)),
        ("POST", "/api/key/v1/keys/share/export", None),
        ("POST", "/api/key/v1/keys/share/versions", None),
        ("POST", "/api/key/v1/keys/share/state", None),
        ("PATCH", "/api/key/v1/keys/share", None),
        ("DELETE", "/api/key/v1/keys/share", None),
        ("POST", "/api/crypto/v1/encrypt", Some(&named)),
        ("POST", "/api/crypto/v1/decrypt", Some(&named)),
        ("POST", "/api/crypto/v1/sign", Some(&named)),
        ("POST", "/api/crypto/v1/verify", Some(&named)),
        ("POST", "/api/crypto/v1/mac", Some(&named)),
        ("POST", "/api/crypto/v1/random", None),
        ("GET", "/api/manage/v1/log/kmipserver", None),
    ] {
        let (reason, message) = reader.refusal(method, path, body, 403);
        assert!(reason == "PERMISSION_DENIED" && message.contains("lacks the permission"), "{method} {path}: {message}");
    }
    let id = uuid(&lan.json("GET", "/api/key/v1/keys/share", None, 200));
    for path in ["/api/key/v1/keys/share", &format!("/api/key/v1/keys/{id}")] {
        assert_eq!(other.refusal("GET", path, None, 404), ("ITEM_NOT_FOUND".into(), "object not found".into()));
    }
    assert_eq!(other.json("GET", "/api/key/v1/keys", None, 200), json!({ "keys": [] }));

    // A state needs its own permission; destroying by it the one to delete as well.
    let _ = gateway.keygate_ok(&["rest-user", "allow", "reader", "--may", "keys:read,keys:state"]);
    assert_eq!(reader.refusal("POST", "/api/key/v1/keys/share/state", Some(&json!({ "state": "DESTROYED" })), 403).0, "PERMISSION_DENIED");
    assert_eq!(reader.json("POST", "/api/key/v1/keys/share/state", Some(&json!({ "state": "DEACTIVATED" })), 200)["state"], "DEACTIVATED");

    // A new password, a disabled user, a disabled client: at once.
    let password = gateway.keygate_ok(&["rest-user", "set-password", "reader"]).trim().to_owned();
    assert_eq!(reader.ask("GET", "/api/key/v1/test", None).status, 401);
    let reader = User::with(&gateway, "reader", &password);
    assert_eq!(reader.ask("GET", "/api/key/v1/test", None).status, 200);
    let _ = gateway.keygate_ok(&["rest-user", "disable", "reader"]);
    assert_eq!(reader.ask("GET", "/api/key/v1/test", None).status, 401);
    let _ = gateway.keygate_ok(&["client", "disable", "b"]);
    assert_eq!(other.ask("GET", "/api/key/v1/test", None).status, 401);
    let listed = gateway.keygate_ok(&["rest-user", "list"]);
    assert!(listed.contains("disabled  reader") && !listed.contains(&password), "{listed}");
}

/// Wrong passwords: a challenge, then waits; another user from the same place is not held up by them.
#[test]
fn wrong_passwords_wait() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", "keys:read");
    let other = User::add(&gateway, "other", "a", "keys:read");
    let guesser = User::with(&gateway, "lan", "not the password");
    let first = guesser.ask("GET", "/api/key/v1/test", None);
    assert_eq!(first.status, 401);
    assert!(first.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
    // On until the wait is long enough for what follows: the third wrong password after the free ones.
    let mut answers = (0..10_000).map(|_| guesser.ask("GET", "/api/key/v1/test", None));
    let last = answers.find(|answer| answer.retry_after().is_some_and(|seconds| seconds >= 4)).expect("a growing wait");
    assert_eq!(last.status, 429, "{}", last.text());
    assert_eq!(lan.ask("GET", "/api/key/v1/test", None).status, 429, "the right password waits, too: it could be the next guess");
    assert_eq!(other.ask("GET", "/api/key/v1/test", None).status, 200);
}

/// One client, two protocols: what is made over REST is used over KMIP, and the other way round. The record tells a user what it did.
#[test]
fn keys_are_shared_with_kmip() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", ALL);
    let made = lan.key(&json!({ "name": "over-rest", "algorithm": "AES", "exportable": true }));
    let material = octets(&lan.json("POST", "/api/key/v1/keys/over-rest/export", None, 200)["material"]);
    let mut client = gateway.connect("a");
    let got = request::outcome(&client.request(&request::on(V2_1, Operation::Get, &uuid(&made))).expect("an answer")).expect("the key");
    assert!(holds(&got, &material), "the same octets");

    let created = request::outcome(&client.request(&request::create_aes(V2_1, 256, Some("over kmip"))).expect("an answer")).expect("a key");
    let id = request::identifier(&created);
    let shown = lan.json("GET", "/api/key/v1/keys/over%20kmip", None, 200);
    assert_eq!((uuid(&shown), &shown["algorithm"]), (id.clone(), &json!("AES")));
    assert_eq!(octets(&lan.json("POST", &format!("/api/key/v1/keys/{id}/export"), None, 200)["material"]).len(), 32);

    let log = "/api/manage/v1/log/kmipserver";
    let _ = lan.refusal("GET", "/api/key/v1/keys/none", None, 404);
    let whole = || {
        let (mut lines, mut offset) = (Vec::new(), json!(""));
        loop {
            let offset_text = offset.to_string();
            let path = format!("{log}?log=current&lines=2&startTime=&endTime=&offset={}", offset_text.trim_matches('"'));
            let page = lan.json("GET", &path, None, 200);
            let found = page["logs"].as_array().expect("lines");
            assert!(found.len() <= 2);
            lines.extend(found.clone());
            match page.get("nextOffset") {
                Some(next) => offset = next.clone(),
                None => return lines,
            }
        }
    };
    // Reads that release nothing reach the record a moment later.
    let refused = |line: &Value| line["Result"] == "OPERATION_FAILED" && line["Reason"] == "ITEM_NOT_FOUND";
    let lines = (0..10_000).map(|_| whole()).find(|lines| lines.iter().any(refused)).expect("the refusal is on record");
    let of = |operation: &str| lines.iter().filter(|line| line["Operation"] == operation).filter_map(|line| line["UUID"].as_str()).collect::<Vec<_>>();
    assert_eq!(of("Create"), [uuid(&made)], "what the client did over KMIP is not this user's");
    assert_eq!(of("Get").len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line["User"] == "lan" && line["IP"] == "127.0.0.1"));
}

/// Whether an answer holds these octets anywhere.
fn holds(item: &keygate_tests::ttlv::Item, octets: &[u8]) -> bool {
    match &item.value {
        Ttlv::Structure(items) => items.iter().any(|item| holds(item, octets)),
        Ttlv::ByteString(found) => found == octets && item.tag == Tag::KEY_MATERIAL.0,
        _ => false,
    }
}

/// What was acknowledged is there after the process was killed; the password and the quota count as before.
#[test]
fn an_acknowledged_key_survives_the_end_of_the_process() {
    let mut gateway = Setup::new().set("limits.objects_per_client", "1").start();
    let lan = User::add(&gateway, "lan", "a", "keys:create,keys:export");
    let key = lan.key(&json!({ "name": "share", "algorithm": "AES", "exportable": true }));
    let material = lan.json("POST", "/api/key/v1/keys/share/export", None, 200)["material"].clone();
    gateway.kill().expect("killed");
    gateway.start().expect("started");
    let lan = User::with(&gateway, "lan", &lan.account.secret);
    let again = lan.json("POST", "/api/key/v1/keys/share/export", None, 200);
    assert_eq!((uuid(&again), &again["material"]), (uuid(&key), &material));
    let (reason, message) = lan.refusal("POST", "/api/key/v1/keys", Some(&json!({ "name": "more", "algorithm": "AES" })), 429);
    assert_eq!((reason.as_str(), message.as_str()), ("SERVER_LIMIT_EXCEEDED", "the quota of 1 objects of a client is used up"));
}

/// Requests beyond the quota are told when to come again; a setting switches the whole off.
#[test]
fn quotas_and_the_setting_count() {
    let mut gateway = Setup::new().set("limits.requests_per_second_per_client", "1").start();
    let lan = User::add(&gateway, "lan", "a", "keys:read");
    let answers: Vec<Answer> = (0..12).map(|_| lan.ask("GET", "/api/key/v1/account", None)).collect();
    assert_eq!(answers[0].status, 200);
    let over = answers.iter().find(|answer| answer.status == 429);
    // Twelve requests of curl take longer than a second each only where nothing else could be tested either.
    let over = over.expect("over the quota");
    assert!(over.retry_after().is_some() && over.text().contains("SERVER_LIMIT_EXCEEDED"), "{}", over.text());
    gateway.stop().expect("stopped");
    gateway.set("rest.enabled", "off");
    gateway.start().expect("started");
    let lan = User::with(&gateway, "lan", &lan.account.secret);
    assert_eq!(lan.ask("GET", "/api/key/v1/test", None).status, 404);
}

/// A user that asks for what it may not is held by the quota like others, and what it asked is on record counted.
#[test]
fn refusals_count_and_are_counted() {
    let gateway = Setup::new().set("limits.requests_per_second_per_client", "1").start();
    let reader = User::add(&gateway, "reader", "a", "keys:read");
    let wish = json!({ "name": "k", "algorithm": "AES" });
    let answers: Vec<u16> = (0..12).map(|_| reader.ask("POST", "/api/key/v1/keys", Some(&wish)).status).collect();
    assert_eq!(answers[0], 403);
    assert!(answers.contains(&429), "{answers:?}");
    let refused = answers.iter().filter(|status| **status == 403).count();
    let recorded = recorded(&gateway, "keys:create");
    assert!(recorded < refused.max(2), "{recorded} events for {refused} refusals");
}

/// Lines of the audit record that hold a text, once there is one.
fn recorded(gateway: &TestGateway, text: &str) -> usize {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let found = gateway.keygate_ok(&["audit", "search", "--json"]).matches(text).count();
        if found > 0 || std::time::Instant::now() > deadline {
            assert!(found > 0, "nothing is recorded of {text}");
            return found;
        }
        std::thread::yield_now();
    }
}

/// Another client's key is used by its UUID alone, whatever it is called; namesakes of others hide nothing.
#[test]
fn a_name_is_the_callers_own() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", ALL);
    let others: Vec<User> = (0..17).map(|number| User::add(&gateway, &format!("other-{number}"), &format!("b{number}"), ALL)).collect();
    let own = lan.key(&json!({ "name": "shared", "algorithm": "AES" }));
    let mut theirs = Vec::new();
    for (number, other) in others.iter().enumerate() {
        theirs.push(uuid(&other.key(&json!({ "name": "shared", "algorithm": "AES" }))));
        other.key(&json!({ "name": "only-theirs", "algorithm": "AES" }));
        let _ = gateway.keygate_ok(&["grant", "add", "--owner", &format!("b{number}"), "--to", "a", "--operations", "GetAttributes,Locate,Encrypt"]);
    }
    assert_eq!(uuid(&lan.json("GET", "/api/key/v1/keys/shared", None, 200)), uuid(&own), "17 namesakes do not hide it");
    assert_eq!(lan.json("GET", &format!("/api/key/v1/keys/{}", theirs[0]), None, 200)["owner"], "b0");
    let wish = json!({ "key": "only-theirs", "data": "AAAA" });
    assert_eq!(lan.refusal("POST", "/api/crypto/v1/encrypt", Some(&wish), 404).0, "ITEM_NOT_FOUND");
    assert_eq!(lan.refusal("GET", "/api/key/v1/keys/only-theirs", None, 404).0, "ITEM_NOT_FOUND");
}

/// Which rights were given to whom is on record; a user is removed; a name that is taken and a permission that there is none are said.
#[test]
fn users_are_administered_on_record() {
    let gateway = Setup::new().start();
    let _ = gateway.keygate_ok(&["rest-user", "add", "lan", "--may", "keys:read"]);
    let refused = |arguments: &[&str]| {
        let output = gateway.keygate(arguments).expect("runs");
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let twice = refused(&["rest-user", "add", "lan", "--may", "keys:read"]);
    assert!(twice.contains("taken by another REST user"), "{twice}");
    let wrong = refused(&["rest-user", "add", "b", "--may", "keys:read,keys:foo"]);
    assert!(wrong.contains("\"keys:foo\"") && wrong.contains("keys:create"), "{wrong}");
    let _ = gateway.keygate_ok(&["rest-user", "disable", "lan"]);
    let _ = gateway.keygate_ok(&["rest-user", "allow", "lan", "--may", "keys:create"]);
    let _ = gateway.keygate_ok(&["rest-user", "remove", "lan"]);
    assert!(refused(&["rest-user", "allow", "lan", "--may", "keys:read"]).contains("no REST user"));
    assert!(!gateway.keygate_ok(&["rest-user", "list"]).contains("lan"));
    let record = gateway.keygate_ok(&["audit", "search", "--json"]);
    for text in ["RestUserAdded", "RestUserDisabled", "RestUserChanged", "RestUserRemoved", "keys:read", "keys:create", "permissions"] {
        assert!(record.contains(text), "{text}: {record}");
    }
    let _ = gateway.keygate_ok(&["rest-user", "add", "lan", "--client", "lan", "--may", "keys:read"]);
}

/// Keys that are brought along, curves by name, what goes into and out of a gateway that uses this one, and what contradicts itself.
#[test]
fn keys_are_taken_in() {
    let gateway = Setup::new().start();
    let lan = User::add(&gateway, "lan", "a", ALL);
    let octets = STANDARD.encode([7; 32]);
    let key = lan.key(&json!({ "name": "brought", "algorithm": "AES", "material": octets, "exportable": true, "group": "g" }));
    assert_eq!((&key["length"], &key["state"]), (&json!(256), &json!("ACTIVE")));
    assert_eq!(lan.json("POST", "/api/key/v1/keys/brought/export", None, 200)["material"], json!(octets));
    let pair = lan.key(&json!({ "name": "pair", "algorithm": "EC", "curve": "P-384", "exportable": true }));
    assert_eq!(pair["length"], 384);
    let exported = lan.json("POST", "/api/key/v1/keys/pair/export", None, 200)["material"].clone();
    let again = lan.key(&json!({ "name": "again", "algorithm": "EC", "curve": "P-384", "material": exported }));
    assert_eq!(again["publicKeyValue"], pair["publicKeyValue"], "the public half is worked out");
    assert!(again["publicKeyValue"].is_string() && again["publicKey"] != pair["publicKey"]);
    let wish = json!({ "key": "again", "data": "AAAA" });
    let mut signed = lan.json("POST", "/api/crypto/v1/sign", Some(&wish), 200);
    signed = json!({ "key": "pair", "data": "AAAA", "signature": signed["signature"] });
    assert_eq!(lan.json("POST", "/api/crypto/v1/verify", Some(&signed), 200)["valid"], true);
    assert_eq!(lan.json("GET", "/api/key/v1/keys?group=g", None, 200)["keys"].as_array().map(Vec::len), Some(1));
    // With its public half, a pair ends whole.
    let path = "/api/key/v1/keys/again";
    let _ = lan.json("POST", &format!("{path}/state"), Some(&json!({ "state": "DEACTIVATED", "pair": true })), 200);
    assert_eq!(lan.ask("DELETE", &format!("{path}?pair=true"), None).status, 204);
    let half = again["publicKey"].as_str().expect("a UUID");
    assert_eq!(lan.json("GET", &format!("/api/key/v1/keys/{half}"), None, 200)["state"], "DESTROYED");
    for (body, says) in [
        (json!({ "algorithm": "AES", "material": "!" }), "not base64"),
        (json!({ "algorithm": "AES", "material": "AAAA" }), "16, 24 or 32 octets"),
        (json!({ "algorithm": "AES", "length": 128, "material": octets }), "contradicts"),
        (json!({ "algorithm": "HMAC-SHA256", "material": "" }), "1 to 1024"),
        (json!({ "algorithm": "EC", "material": octets }), "no PKCS#8"),
        (json!({ "algorithm": "RSA", "material": exported }), "no PKCS#8"),
        (json!({ "algorithm": "EC", "length": 256, "material": exported }), "contradicts"),
        (json!({ "algorithm": "EC", "curve": "P-256", "material": exported }), "contradicts"),
        (json!({ "algorithm": "EC", "curve": "P-256", "length": 384 }), "contradicts"),
        (json!({ "algorithm": "EC", "curve": "secp256k1" }), "curve must be one of"),
        (json!({ "algorithm": "AES", "curve": "P-256" }), "goes with algorithm EC"),
    ] {
        let mut body = body;
        body["name"] = json!("bad");
        let (_, message) = lan.refusal("POST", "/api/key/v1/keys", Some(&body), 400);
        assert!(message.contains(says), "{body}: {message}");
    }
    for (what, body) in [
        ("encrypt", json!({ "key": "brought", "data": "AAAA", "mode": "RSA-OAEP" })),
        ("encrypt", json!({ "key": "brought", "data": "AAAA", "padding": "NONE" })),
        ("encrypt", json!({ "key": "brought", "data": "AAAA", "tagLength": 64 })),
        ("encrypt", json!({ "key": "brought", "data": "AAAA", "hash": "SHA1" })),
        ("sign", json!({ "key": "pair" })),
        ("sign", json!({ "key": "pair", "data": "AAAA", "digest": "AAAA" })),
        ("sign", json!({ "key": "pair", "data": "AAAA", "saltLength": 1 })),
        ("sign", json!({ "key": "pair", "data": "AAAA", "padding": "PSS", "saltLength": 65 })),
    ] {
        let (reason, message) = lan.refusal("POST", &format!("/api/crypto/v1/{what}"), Some(&body), 400);
        assert_eq!(reason, "INVALID_FIELD", "{what} {body}: {message}");
    }
}

/// Clients that hang up after DELETE: what was begun in the device ends there and here.
#[test]
fn clients_that_hang_up_leave_nothing_behind() {
    if tools::skipped("softhsm") {
        return;
    }
    let mut gateway = Setup::new().set("keystore.default", "hsm").prepare().expect("initialised");
    let token = Token::make(&gateway.scratch().join("hsm"), "left").expect("a token; is softhsm2 installed?");
    token.join(&mut gateway, "hsm", 2);
    gateway.start().expect("starts");
    let lan = User::add(&gateway, "lan", "a", ALL);
    let names: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    for name in &names {
        lan.key(&json!({ "name": name, "algorithm": "AES" }));
        let _ = lan.json("POST", &format!("/api/key/v1/keys/{name}/state"), Some(&json!({ "state": "DEACTIVATED" })), 200);
    }
    assert_eq!(token.keys().expect("listed").len(), names.len());
    let credentials = Credentials::read(&gateway.client_folder("a")).expect("credentials");
    let basic = STANDARD.encode(format!("lan:{}", lan.account.secret));
    for (number, name) in names.iter().enumerate() {
        let tls = credentials.tls_without_certificate().expect("TLS");
        let mut client = TlsKmipClient::connect_with(gateway.address("clients"), "localhost", tls).expect("connected");
        let head = format!("DELETE /api/key/v1/keys/{name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n\r\n");
        client.send(head.as_bytes()).expect("sent");
        // The request is somewhere between the socket and the device; where, differs.
        std::thread::sleep(std::time::Duration::from_millis(number as u64 % 8));
        drop(client);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let listed = lan.json("GET", "/api/key/v1/keys?limit=200", None, 200)["keys"].as_array().map(Vec::len);
        let on_token = token.keys().expect("listed").len();
        // A request that had not come whole was not begun: its key is here and there.
        if listed == Some(on_token) && on_token < names.len() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{listed:?} keys here, {on_token} on the token");
    }
}
