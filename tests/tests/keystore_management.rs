//! Goal: whoever manages keystores cannot have the server tell its files or send a secret elsewhere, a mistake takes no keys away, and
//! each refusal says what to do and is on record. Method: the running binary, its commands, and a throw-away SoftHSM token.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use keygate_tests::gateway::{Setup, TestGateway, copy_folder};
use keygate_tests::request;
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use serde_json::Value as Json;

/// A command that must fail: its exit code, and all that it printed.
fn fails(gateway: &TestGateway, arguments: &[&str]) -> (i32, String) {
    let output = gateway.keygate(arguments).expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?}: {printed}");
    (output.status.code().unwrap_or(-1), printed)
}

fn json(gateway: &TestGateway, arguments: &[&str]) -> Json {
    let printed = gateway.keygate_ok(&[arguments, &["--json"]].concat());
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"))
}

fn setting(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// A gateway, and a token that it may add as keystore.
fn with_token() -> (TestGateway, Token) {
    let mut gateway = Setup::new().prepare().expect("initialised");
    let token = Token::make(&gateway.scratch().join("hsm"), "managed").expect("a token; is softhsm2 installed?");
    gateway.set_environment("SOFTHSM2_CONF", &token.configuration.to_string_lossy());
    gateway.start().expect("starts");
    (gateway, token)
}

fn add(gateway: &TestGateway, token: &Token, name: &str, pin_file: &Path) {
    let (module, label) = (setting("module", &token.module), format!("token-label={}", token.label));
    let pin_file = pin_file.to_string_lossy();
    let arguments =
        ["keystore", "add", name, "--kind", "pkcs11", "--set", &module, "--set", &label, "--secret-file", &pin_file];
    let _ = gateway.keygate_ok(&arguments);
}

fn ready(gateway: &TestGateway) -> String {
    let mut stream = TcpStream::connect(gateway.address("status")).expect("the status listener");
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: status\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// Settings name no file of the server that holds a secret, and no file, profile or module that is none: each is refused when it is
/// added, with the name of the setting and what to give instead, and no word of a file is told.
#[test]
fn settings_name_no_secrets_of_the_server() {
    let gateway = Setup::new().start();
    let private = gateway.secret_file("private.toml", "seal = \"hunter2\"\n").expect("written");
    let ca = setting("ca-file", &gateway.client_folder("a").join("ca.pem"));
    let own_key = setting("key-file", &gateway.client_folder("a").join("key.pem"));
    let cert = setting("cert-file", &gateway.client_folder("a").join("cert.pem"));
    let (pin_file, password_file, profile) =
        (setting("pin-file", &private), setting("password-file", &private), setting("profile", &private));
    let uri = format!("uri=pkcs11:token=t?module-path=/p11.so&pin-source=file:{}", private.display());
    let token = ["--kind", "pkcs11", "--set", "module=/p11.so", "--set", "token-label=t"];
    let server = ["--kind", "rest", "--set", "addresses=attacker.example", "--set", &ca, "--set", "user=u"];
    let far = ["--kind", "kmip", "--set", "addresses=kms.example", "--set", &cert];
    let cases: [(&[&str], &[&str], &[&str]); 13] = [
        (&token, &["--set", &pin_file], &["pin-file", "--secret-file"]),
        (&token, &["--set", "pin-credential=seal"], &["pin-credential", "--secret-file"]),
        (&token, &[], &["PIN is missing", "--secret-file"]),
        (&["--kind", "pkcs11", "--set", &uri], &[], &["pin-source", "--secret-file"]),
        (&server, &["--set", "profile=eskm-style", "--set", &password_file], &["password-file", "--secret-file"]),
        (&server, &["--set", "profile=eskm-style", "--set", "password-credential=seal"], &["password-credential"]),
        (&server, &["--set", "profile=eskm-style"], &["password is missing", "--secret-file"]),
        (&server, &["--set", "profile=nosuch", "--secret-stdin"], &["profile", "nosuch", "eskm-style"]),
        (&server, &["--set", &profile, "--secret-stdin"], &["is no profile"]),
        (
            &far,
            &["--set", "ca-file=/nowhere/ca.pem", "--set", "key-file=/nowhere/key.pem"],
            &["`ca-file`", "/nowhere/ca.pem"],
        ),
        (&far, &["--set", &ca, "--set", &own_key], &["`key-file`", "data directory"]),
        (
            &["--kind", "pkcs11", "--set", "module=p11.so", "--set", "token-label=t"],
            &["--secret-stdin"],
            &["module", "absolute"],
        ),
        (&["--kind", "local", "--set", "default=true"], &[], &["default", "keystore activate"]),
    ];
    for (first, more, wanted) in cases {
        let mut command =
            gateway.keygate_command(&[&["keystore", "add", "x"], first, more].concat()).expect("a command");
        let pipes = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = pipes.spawn().expect("started");
        // One that reads no secret may have ended already.
        let _ = child.stdin.take().expect("a pipe").write_all(b"secret\n");
        let output = child.wait_with_output().expect("ended");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && wanted.iter().all(|word| told.contains(word)),
            "{first:?} {more:?}: {told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(json(&gateway, &["keystore", "list"])["items"].as_array().map(Vec::len), Some(1), "nothing was added");
    let (_, told) = fails(&gateway, &["keystore", "set", "local", "--unset", "nosuch"]);
    assert!(told.contains("settings file"), "{told}");
}

/// A PIN does not go to another token or module unasked, a mistyped one and a module that is none take nothing away, and what was
/// refused is on record with its reason.
#[test]
fn a_mistake_in_operation_takes_no_keys_away() {
    if tools::skipped("softhsm") {
        return;
    }
    let (mut gateway, token) = with_token();
    add(&gateway, &token, "hsm", &token.pin_file);
    let (_, untested) = fails(&gateway, &["keystore", "activate", "hsm", "--confirm", "hsm"]);
    assert!(untested.contains("not tested"), "{untested}");
    let _ = gateway.keygate_ok(&["keystore", "test", "hsm"]);
    let activated = gateway.keygate_ok(&["keystore", "activate", "hsm", "--confirm", "hsm"]);
    assert_eq!(activated.lines().count(), 1, "{activated}");
    let mut client = gateway.connect("a");
    let create = request::create_aes((1, 4), 256, None);
    let made = |client: &mut keygate_tests::client::TlsKmipClient| {
        request::outcome(&client.request(&create).expect("an answer")).map(|_| ())
    };
    made(&mut client).expect("a key in the token");
    let status = json(&gateway, &["keystore", "status", "hsm"]);
    assert!(status["items"][0]["calls"].as_u64() > Some(0), "making counts: {status}");

    let (_, unasked) = fails(&gateway, &["keystore", "set", "hsm", "--set", "token-label=other"]);
    assert!(unasked.contains("token-label") && unasked.contains("--secret-file"), "{unasked}");
    let (_, unset) = fails(&gateway, &["keystore", "set", "hsm", "--unset", "nosuch"]);
    assert!(unset.contains("nosuch"), "{unset}");
    let wrong = gateway.secret_file("wrong-pin", "99887766").expect("written");
    let (_, mistyped) = fails(&gateway, &["keystore", "set", "hsm", "--secret-file", &wrong.to_string_lossy()]);
    assert!(mistyped.contains("goes on as it was") && mistyped.contains("log in"), "{mistyped}");
    made(&mut client).expect("after the mistyped PIN");
    let pin = token.pin_file.to_string_lossy();
    let none = gateway.scratch().join("none.so");
    std::fs::write(&none, "nothing of the kind").expect("written");
    for (module, wanted) in [(none.as_path(), "no PKCS#11 module"), (Path::new("/nowhere/p11.so"), "mend `module`")] {
        let begun = Instant::now();
        let (_, refused) =
            fails(&gateway, &["keystore", "set", "hsm", "--set", &setting("module", module), "--secret-file", &pin]);
        assert!(refused.contains(wanted) && begun.elapsed() < Duration::from_secs(5), "{refused}");
    }
    let open = gateway.scratch().join("open.so");
    std::fs::copy(&token.module, &open).expect("a copy");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o666)).expect("rights");
    let (_, refused) =
        fails(&gateway, &["keystore", "set", "hsm", "--set", &setting("module", &open), "--secret-file", &pin]);
    assert!(refused.contains("may be changed by others"), "{refused}");
    made(&mut client).expect("after modules that are none");
    let _ = gateway.keygate_ok(&["keystore", "set", "hsm", "--set", "workers=1", "--secret-file", &pin]);
    made(&mut client).expect("with other settings");

    // Another keystore over the same token, with another PIN: that it is wrong is known without offering it.
    add(&gateway, &token, "twin", &wrong);
    let (_, twin) = fails(&gateway, &["keystore", "test", "twin"]);
    let failed = twin.lines().find(|line| line.starts_with("failed")).expect("a failed step");
    assert!(failed.contains("log in") && twin.contains("`keygate keystore set twin --secret-file FILE`"), "{twin}");
    assert!(!twin.contains("the same again: keygate keystore test twin --again") && !repeats_again(&twin), "{twin}");

    let (_, in_use) = fails(&gateway, &["keystore", "remove", "hsm"]);
    assert!(in_use.contains("drain it first"), "{in_use}");
    let drained = gateway.keygate_ok(&["keystore", "drain", "hsm"]);
    assert!(drained.lines().count() == 1 && drained.contains("draining"), "{drained}");
    let (_, refused) = fails(&gateway, &["client", "keystore", "a", "hsm"]);
    assert!(refused.contains("takes no new keys"), "{refused}");
    let list = gateway.keygate_ok(&["keystore", "list"]);
    assert!(list.starts_with("NAME") && list.lines().count() == 4, "{list}");

    drop(client);
    gateway.stop().expect("stops");
    let refused = gateway.keygate_ok(&["audit", "search", "--action", "AdminRefused", "--limit", "100"]);
    for (act, why) in
        [("hsm/activate", "not tested"), ("hsm/remove", "drain it first"), ("PATCH /v1/keystores/hsm", "token-label")]
    {
        assert!(refused.lines().any(|line| line.contains(act) && line.contains(why)), "{act}: {refused}");
    }
    let changed = gateway.keygate_ok(&["audit", "search", "--action", "KeystoreChanged"]);
    assert!(changed.contains("settings workers; secret"), "{changed}");
}

fn repeats_again(printed: &str) -> bool {
    printed.lines().any(|line| line.starts_with("the same again") && line.contains("--again"))
}

/// A keystore of keygate.toml is tested like others and stays as it is. Taken out of the file while it holds keys, it is told of in
/// the log and in readiness.
#[test]
fn a_keystore_of_the_settings_file_is_tested_and_missed() {
    if tools::skipped("softhsm") {
        return;
    }
    let mut gateway = Setup::new().prepare().expect("initialised");
    let token = Token::make(&gateway.scratch().join("hsm"), "filed").expect("a token; is softhsm2 installed?");
    let before = std::fs::read_to_string(gateway.data().join("keygate.toml")).expect("settings");
    token.join(&mut gateway, "hsm", 1);
    gateway.set("keystore.default", "hsm");
    gateway.start().expect("starts");
    let tested = gateway.keygate_ok(&["keystore", "test", "hsm"]);
    assert_eq!(tested.lines().last(), Some("Success"), "{tested}");
    assert!(token.keys().expect("the token is listed").is_empty(), "the probe key is gone");
    let shown = json(&gateway, &["keystore", "show", "hsm"]);
    assert_eq!((shown["state"].as_str(), shown["managed_by"].as_str()), (Some("active"), Some("settings file")));
    let mut client = gateway.connect("a");
    let made = client.request(&request::create_aes((1, 4), 256, None)).expect("an answer");
    request::outcome(&made).expect("a key in the token");
    drop(client);
    gateway.stop().expect("stops");
    std::fs::write(gateway.data().join("keygate.toml"), before).expect("written");
    gateway.set("keystore.default", "local");
    gateway.start().expect("starts");
    let told = ready(&gateway);
    assert!(told.contains("keystore hsm") && told.contains("names it no more, and 1 objects"), "{told}");
    let warned = gateway.log().lines().filter(|line| line.contains("names it no more")).count();
    assert_eq!(warned, 1, "one warning at the start");
}

/// What is wrong with a key server is told at its step, at once, by the setting that is to be mended.
#[test]
fn each_fault_of_a_key_server_names_its_setting() {
    let (second, first) = (Setup::new().start(), Setup::new().init(&["--seal", "keyfile"]).start());
    let folder = second.client_folder("a");
    let strangers = first.scratch().join("strangers");
    std::fs::create_dir_all(&strangers).expect("a directory");
    copy_folder(&first.client_folder("a"), &strangers).expect("copied");
    std::fs::set_permissions(strangers.join("key.pem"), std::fs::Permissions::from_mode(0o600)).expect("rights");
    let local = |listener: &str| {
        format!("addresses={}", second.address(listener).to_string().replace("127.0.0.1", "localhost"))
    };
    let (ca, cert, key) = (
        setting("ca-file", &folder.join("ca.pem")),
        setting("cert-file", &folder.join("cert.pem")),
        setting("key-file", &folder.join("key.pem")),
    );
    let (their_ca, their_cert, their_key) = (
        setting("ca-file", &strangers.join("ca.pem")),
        setting("cert-file", &strangers.join("cert.pem")),
        setting("key-file", &strangers.join("key.pem")),
    );
    let (kmip, plain) = (local("kmip"), local("status"));
    for (number, (settings, step, hint)) in [
        ([&kmip, &their_ca, &cert, &key], "tls", "`ca-file` does not verify this server"),
        ([&plain, &ca, &cert, &key], "tls", "does not speak TLS"),
        ([&kmip, &ca, &their_cert, &their_key], "log in", "`cert-file`"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("far{number}");
        let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
        let _ = first.keygate_ok(&[&["keystore", "add", &name, "--kind", "kmip"], set.as_slice()].concat());
        let begun = Instant::now();
        let (_, printed) = fails(&first, &["keystore", "test", &name]);
        let failed = printed.lines().find(|line| line.starts_with("failed")).expect("a failed step");
        assert!(failed.contains(step) && printed.contains(hint), "{printed}");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}: {printed}", begun.elapsed());
    }
}
