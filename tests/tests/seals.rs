//! Goal: a store opens with what its seal demands and with nothing less, whatever is typed wrong and whenever the power fails.
//! Method: the real binary; officers' keys and the reading of their shares are left to `age` itself.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use keygate_tests::gateway::{Setup, TestGateway, keygate};
use keygate_tests::pty::Terminal;
use keygate_tests::request;
use keygate_tests::softhsm::Token;
use keygate_tests::tools;
use serde_json::Value;

const V1_4: (i32, i32) = (1, 4);

/// An officer: his key is in a file, as `age-keygen` writes it.
struct Officer {
    identity: PathBuf,
    recipient: String,
}

impl Officer {
    fn new(folder: &Path, name: &str) -> Self {
        let identity = folder.join(name);
        let made = Command::new(tools::program("age-keygen").expect("age")).arg("-o").arg(&identity).output().expect("runs");
        assert!(made.status.success());
        let shown = Command::new(tools::program("age-keygen").expect("age")).arg("-y").arg(&identity).output().expect("runs");
        let recipient = String::from_utf8(shown.stdout).expect("text").trim().to_owned();
        assert!(recipient.starts_with("age1"), "{recipient}");
        Self { identity, recipient }
    }

    /// The share in an armored file, decrypted by age.
    fn read(&self, file: &Path) -> Option<String> {
        let mut age = Command::new(tools::program("age").expect("age"));
        let output = age.arg("-d").arg("-i").arg(&self.identity).arg(file).output().expect("runs");
        output.status.success().then(|| String::from_utf8(output.stdout).expect("text"))
    }
}

fn officers(folder: &Path, count: usize) -> Vec<Officer> {
    (1..=count).map(|number| Officer::new(folder, &format!("officer-{number}"))).collect()
}

fn recipients(officers: &[Officer]) -> String {
    officers.iter().map(|officer| officer.recipient.as_str()).collect::<Vec<_>>().join(",")
}

/// A gateway sealed by 2 of 3 officers, not started, and their shares.
fn shared() -> (TestGateway, Vec<String>) {
    let folder = tempfile::tempdir().expect("a directory");
    let officers = officers(folder.path(), 3);
    let out = folder.path().join("shares");
    let (to, out) = (recipients(&officers), out.to_string_lossy().into_owned());
    let gateway = Setup::new()
        .set("seal.wait", "true")
        .init(&["--seal", "shamir", "--threshold", "2", "--share-to", &to, "--out", &out])
        .prepare()
        .expect("initialised");
    let file = |number: usize| Path::new(&out).join(format!("share-{number}.age"));
    let shares: Vec<String> =
        officers.iter().enumerate().map(|(place, officer)| officer.read(&file(place + 1)).expect("his share")).collect();
    assert!(officers[0].read(&file(2)).is_none(), "each share is for one officer alone");
    assert!(shares.iter().all(|share| share.starts_with("KGS1-")));
    (gateway, shares)
}

/// What `/ready` answers: the status code, and the state of the seal.
fn ready(gateway: &TestGateway) -> (u16, Value) {
    let mut stream = TcpStream::connect(gateway.address("status")).expect("the status listener");
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    (code, body["components"]["seal"]["reason"].clone())
}

/// `keygate unseal` with what is typed on its standard input.
fn unseal(gateway: &TestGateway, typed: &str) -> Output {
    let mut command = gateway.keygate_command(&["unseal"]).expect("the binary");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("runs");
    child.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("typed");
    child.wait_with_output().expect("ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn creates_a_key(gateway: &TestGateway, client: &str) {
    let made = gateway.connect(client).request(&request::create_aes(V1_4, 256, None)).expect("an answer");
    request::outcome(&made).expect("Create");
}

/// The share with one character replaced by another of the alphabet.
fn mistyped(share: &str) -> String {
    let at = 20;
    let other = if &share[at..=at] == "A" { "B" } else { "A" };
    assert_ne!(&share[at..=at], "-");
    format!("{}{other}{}", &share[..at], &share[at + 1..])
}

/// Started sealed, the server tells what is missing and refuses everything else; a mistyped share costs nothing; two right ones
/// open it, and the record names who gave them and how many were wrong.
#[test]
fn a_sealed_server_is_opened_by_its_officers() {
    if tools::skipped("age") {
        return;
    }
    let (mut gateway, shares) = shared();
    gateway.start().expect("starts sealed");
    assert_eq!(ready(&gateway), (503, Value::from("sealed: 0 of 2 shares given")));
    let refused = gateway.keygate(&["client", "list"]).expect("runs");
    assert!(!refused.status.success() && said(&refused).contains("the store is sealed: 0 of 2 shares given"), "{}", said(&refused));

    let taken = unseal(&gateway, &shares[0]);
    assert!(taken.status.success() && said(&taken).contains("sealed: 1 of 2 shares given"), "{}", said(&taken));
    let wrong = unseal(&gateway, &mistyped(&shares[2]));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(said(&wrong).contains("the checksum does not match: at least one character is wrong"), "{}", said(&wrong));
    assert!(!said(&wrong).contains(&shares[2][30..40]), "nothing of the share is shown");
    assert_eq!(ready(&gateway), (503, Value::from("sealed: 1 of 2 shares given")), "nothing is lost");
    let twice = unseal(&gateway, &shares[0]);
    assert!(said(&twice).contains("share 1 was given already"), "{}", said(&twice));
    let foreign = unseal(&gateway, "hello");
    assert!(said(&foreign).contains("a share begins with KGS1-"), "{}", said(&foreign));
    let status = gateway.keygate_ok(&["seal", "status"]);
    assert!(status.contains("shamir  2 of 3 shares") && status.contains("sealed: 1 of 2 shares given"), "{status}");

    // Typed as people do: small letters, blanks, a line end.
    let opened = unseal(&gateway, &format!("{}\n", shares[2].to_lowercase().replace('-', " ")));
    assert!(opened.status.success() && said(&opened).contains("unsealed"), "{}", said(&opened));
    gateway.await_unsealed().expect("opens");
    assert_eq!(ready(&gateway).0, 200);
    creates_a_key(&gateway, "first-app");
    let late = unseal(&gateway, &shares[1]);
    assert!(said(&late).contains("the store is open: there is nothing to unseal"), "{}", said(&late));

    let given: Value = serde_json::from_str(&gateway.keygate_ok(&["audit", "search", "--action", "UnsealShareGiven", "--json"])).expect("JSON");
    assert_eq!(given["items"].as_array().map(Vec::len), Some(2), "{given}");
    let unsealed = gateway.keygate_ok(&["audit", "search", "--action", "Unsealed", "--json"]);
    assert!(unsealed.contains("\"count\":2"), "{unsealed}");
    let verified = gateway.keygate_ok(&["audit", "verify"]);
    assert!(verified.contains("intact"), "{verified}");
    for share in &shares {
        assert!(!gateway.log().contains(&share[5..30]), "no share in the log");
    }
}

/// `--reset` forgets; too many wrong attempts have to wait; a start with the shares in files needs no waiting.
#[test]
fn shares_are_forgotten_on_demand_and_may_come_in_files() {
    if tools::skipped("age") {
        return;
    }
    let (mut gateway, shares) = shared();
    gateway.start().expect("starts sealed");
    assert!(unseal(&gateway, &shares[0]).status.success());
    let reset = gateway.keygate_ok(&["unseal", "--reset"]);
    assert!(reset.contains("0 of 2 shares given"), "{reset}");
    for _ in 0..4 {
        assert!(said(&unseal(&gateway, &mistyped(&shares[1]))).contains("checksum"));
    }
    let waits = unseal(&gateway, &mistyped(&shares[1]));
    // A wait of a second may have passed on a busy machine; then the attempt was one more wrong one.
    assert!(["too many wrong attempts", "checksum"].iter().any(|text| said(&waits).contains(text)), "{}", said(&waits));
    gateway.stop().expect("a sealed server ends in order");

    let files: Vec<PathBuf> = shares.iter().enumerate().map(|(place, share)| gateway.secret_file(&format!("share-{place}"), share).expect("written")).collect();
    let file = |place: usize| files[place].to_string_lossy().into_owned();
    let few = gateway.keygate(&["client", "list", "--share-file", &file(0)]).expect("runs");
    assert_eq!(few.status.code(), Some(6));
    assert!(said(&few).contains("shamir slot: 1 of 2 shares given"), "{}", said(&few));
    let bad = gateway.secret_file("bad", &mistyped(&shares[2])).expect("written").to_string_lossy().into_owned();
    let bad = gateway.keygate(&["client", "list", "--share-file", &file(0), "--share-file", &bad]).expect("runs");
    assert!(said(&bad).contains("/bad: this is no share: the checksum does not match"), "{}", said(&bad));
    let listed = gateway.keygate_ok(&["client", "list", "--share-file", &file(0), "--share-file", &file(2)]);
    assert!(listed.contains("first"), "{listed}");
    gateway.start().expect("starts sealed again");
    let both = gateway.keygate_ok(&["unseal", "--share-file", &file(1), "--share-file", &file(2)]);
    assert!(both.contains("unsealed"), "{both}");
    gateway.await_unsealed().expect("opens");
}

/// Key file and passphrase: with two needed, neither opens alone, and nobody can lock himself out. Changed while clients are served.
#[test]
fn two_of_these_are_needed_where_the_policy_says_so() {
    let mut gateway = Setup::new().start();
    let refused = gateway.keygate(&["seal", "policy", "--needed", "2"]).expect("runs");
    assert!(said(&refused).contains("at least two slots of different kinds"), "{}", said(&refused));
    let new = gateway.secret_file("passphrase", "correct horse").expect("written").to_string_lossy().into_owned();
    let added = gateway.keygate_ok(&["seal", "add", "passphrase", "--new-passphrase-file", &new, "--json"]);
    let passphrase_slot = serde_json::from_str::<Value>(&added).expect("JSON")["id"].as_str().expect("an id").to_owned();
    let changed = gateway.keygate_ok(&["seal", "policy", "--needed", "2"]);
    assert!(changed.contains("two of them together open the store"), "{changed}");
    creates_a_key(&gateway, "a");
    // Whoever writes the disk makes a file of it that had no proof and knew no two slots: no change is built on that.
    let file = gateway.data().join("seal.json");
    let whole = std::fs::read(&file).expect("readable");
    let mut older: Value = serde_json::from_slice(&whole).expect("JSON");
    for gone in ["mac", "needed", "pairs"] {
        older.as_object_mut().expect("an object").remove(gone);
    }
    older["format"] = 1.into();
    older["slots"].as_array_mut().expect("slots").iter_mut().for_each(|slot| drop(slot.as_object_mut().expect("a slot").remove("secret")));
    std::fs::write(&file, older.to_string()).expect("written");
    let another = gateway.secret_file("another", "battery staple").expect("written").to_string_lossy().into_owned();
    for command in [&["seal", "add", "passphrase", "--new-passphrase-file", &another][..], &["seal", "policy", "--needed", "1"]] {
        let refused = gateway.keygate(command).expect("runs");
        assert!(!refused.status.success() && said(&refused).contains("seal.json"), "{}", said(&refused));
    }
    std::fs::write(&file, &whole).expect("written back");
    let removed = gateway.keygate(&["seal", "remove", &passphrase_slot]).expect("runs");
    assert!(!removed.status.success() && said(&removed).contains("two slots needed"), "{}", said(&removed));
    gateway.stop().expect("stops");

    let alone = gateway.start().expect_err("the key file alone does not open it").to_string();
    assert!(alone.contains("one seal slot opens, and two are needed") && alone.contains("no passphrase given"), "{alone}");
    let listed = gateway.keygate_ok(&["client", "list", "--passphrase-file", &new]);
    assert!(listed.contains("enabled"), "{listed}");

    // Sealed: one slot is open already, the passphrase comes over the socket.
    gateway.set("seal.wait", "true");
    gateway.start().expect("starts sealed");
    assert_eq!(ready(&gateway), (503, Value::from("sealed: 1 of 2 slots open")));
    let wrong = gateway.secret_file("wrong", "incorrect horse").expect("written").to_string_lossy().into_owned();
    let wrong = gateway.keygate(&["unseal", "--passphrase-file", &wrong]).expect("runs");
    assert!(!wrong.status.success() && said(&wrong).contains("the passphrase opens no seal slot"), "{}", said(&wrong));
    assert!(gateway.keygate_ok(&["unseal", "--passphrase-file", &new]).contains("unsealed"));
    gateway.await_unsealed().expect("opens");
    creates_a_key(&gateway, "a");

    // Online: back to one, and the passphrase's slot goes.
    assert!(gateway.keygate_ok(&["seal", "policy", "--needed", "1"]).contains("each of them opens the store"));
    let _ = gateway.keygate_ok(&["seal", "remove", &passphrase_slot]);
    gateway.stop().expect("stops");
    gateway.set("seal.wait", "false");
    gateway.start().expect("the key file alone opens it again");
    let actions = gateway.keygate_ok(&["audit", "search", "--action", "SealPolicyChanged", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&actions).expect("JSON")["items"].as_array().map(Vec::len), Some(2), "{actions}");
}

/// Killed at any moment of a change of `D/seal.json`, the store opens as before or as after.
#[test]
fn a_change_of_the_seal_survives_kill_9() {
    let mut gateway = Setup::new().start();
    let passphrase = gateway.secret_file("passphrase", "correct horse").expect("written").to_string_lossy().into_owned();
    let _ = gateway.keygate_ok(&["seal", "add", "passphrase", "--new-passphrase-file", &passphrase]);
    for round in 0..6u32 {
        let path = format!("extra-{round}.key");
        let kind = format!("keyfile={path}");
        let needed = if round % 2 == 0 { "2" } else { "1" };
        let mut adding = gateway.keygate_command(&["seal", "add", &kind]).expect("the binary");
        let mut policy = gateway.keygate_command(&["seal", "policy", "--needed", needed, "--passphrase-file", &passphrase]).expect("the binary");
        for command in [&mut adding, &mut policy] {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let mut children = [adding.spawn().expect("runs"), policy.spawn().expect("runs")];
        // Not synchronisation: another moment of the change each round, from before it to after it.
        let until = Instant::now() + Duration::from_millis(u64::from(round) * 40);
        while Instant::now() < until && children.iter_mut().any(|child| matches!(child.try_wait(), Ok(None))) {
            std::thread::yield_now();
        }
        gateway.kill().expect("killed");
        for child in &mut children {
            let _ = child.kill();
            child.wait().expect("reaped");
        }
        let credentials = gateway.scratch().join("credentials");
        std::fs::create_dir_all(&credentials).expect("a folder");
        tools::write_secret(&credentials.join("keygate-passphrase"), "correct horse").expect("written");
        gateway.set_environment("CREDENTIALS_DIRECTORY", &credentials.to_string_lossy());
        gateway.start().unwrap_or_else(|error| panic!("round {round}: {error}"));
        let status = gateway.keygate_ok(&["seal", "status"]);
        assert!(!status.contains("changed by something else"), "{status}");
    }
    creates_a_key(&gateway, "a");
}

/// What cannot be a shamir slot is refused before anything is made.
#[test]
fn slots_that_cannot_be_shared_are_refused() {
    if tools::skipped("age") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let officers = officers(folder.path(), 2);
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let both = recipients(&officers);
    let twice = format!("{0},{0}", officers[0].recipient);
    let init = |arguments: &[&str]| -> io::Result<Output> {
        keygate()?.args(["init", "--data-dir", &data, "--seal", "shamir"]).args(arguments).stdin(Stdio::null()).output()
    };
    for (arguments, expected) in [
        (vec!["--share-to", &both, "--out", &out], "a shamir slot needs --threshold"),
        (vec!["--threshold", "2"], "needs --share-to and --out, or --print"),
        (vec!["--threshold", "3", "--share-to", &both, "--out", &out], "3 of 2 shares: it must be 2 <= threshold <= shares <= 16"),
        (vec!["--threshold", "1", "--share-to", &both, "--out", &out], "1 of 2 shares"),
        (vec!["--threshold", "2", "--share-to", &twice, "--out", &out], "is named twice"),
        (vec!["--threshold", "2", "--share-to", "age1x,age1y", "--out", &out], "is no age recipient"),
        (vec!["--threshold", "2", "--share-to", &both], "say with --out where the shares are written"),
        (vec!["--threshold", "2", "--print", "3"], "on a terminal only"),
    ] {
        let output = init(&arguments).expect("runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
        assert!(!Path::new(&data).join("seal.json").exists());
    }
    assert!(init(&["--threshold", "2", "--share-to", &both, "--out", &out]).expect("runs").status.success());
}

/// A file with a passphrase, beside the gateway.
fn passphrase_file(gateway: &TestGateway, name: &str, passphrase: &str) -> String {
    gateway.secret_file(name, passphrase).expect("written").to_string_lossy().into_owned()
}

/// A gateway that two passphrases open together, stopped: the passphrases' files and slots.
fn two_passphrases() -> (TestGateway, [String; 2], [String; 2]) {
    let mut gateway = Setup::new().start();
    let files = [passphrase_file(&gateway, "one", "correct horse"), passphrase_file(&gateway, "two", "battery staple")];
    let add = |file: &String| {
        let added = gateway.keygate_ok(&["seal", "add", "passphrase", "--new-passphrase-file", file, "--json"]);
        serde_json::from_str::<Value>(&added).expect("JSON")["id"].as_str().expect("an id").to_owned()
    };
    let slots = [add(&files[0]), add(&files[1])];
    let changed = gateway.keygate_ok(&["seal", "policy", "--needed", "2"]);
    assert!(changed.contains("two of them together open the store"), "{changed}");
    let status: Value = serde_json::from_str(&gateway.keygate_ok(&["seal", "status", "--json"])).expect("JSON");
    let key_file = status["slots"].as_array().expect("slots").iter().find(|slot| slot["kind"] == "keyfile").expect("a key file")["id"].clone();
    let _ = gateway.keygate_ok(&["seal", "remove", key_file.as_str().expect("an id")]);
    gateway.stop().expect("stops");
    (gateway, files, slots)
}

/// Two passphrases, and both are needed: from files, from credentials, one after the other over the socket; one twice is one.
#[test]
fn two_passphrases_open_a_store_together() {
    let (mut gateway, [one, two], _) = two_passphrases();
    for few in [&["--passphrase-file", &one][..], &["--passphrase-file", &one, "--passphrase-file", &one]] {
        let refused = gateway.keygate(&[&["client", "list"], few].concat()).expect("runs");
        assert_eq!(refused.status.code(), Some(6), "{}", said(&refused));
        assert!(said(&refused).contains("one seal slot opens, and two are needed"), "{}", said(&refused));
    }
    assert!(gateway.keygate_ok(&["client", "list", "--passphrase-file", &two, "--passphrase-file", &one]).contains("first"));

    let credentials = gateway.scratch().join("credentials");
    std::fs::create_dir_all(&credentials).expect("a folder");
    for (name, passphrase) in [("keygate-passphrase", "battery staple"), ("keygate-passphrase-2", "correct horse")] {
        tools::write_secret(&credentials.join(name), passphrase).expect("written");
    }
    gateway.set_environment("CREDENTIALS_DIRECTORY", &credentials.to_string_lossy());
    gateway.start().expect("the credentials open it");
    gateway.stop().expect("stops");

    std::fs::remove_file(credentials.join("keygate-passphrase-2")).expect("removed");
    gateway.set("seal.wait", "true");
    gateway.start().expect("starts sealed");
    assert_eq!(ready(&gateway), (503, Value::from("sealed: 1 of 2 slots open")));
    assert!(gateway.keygate_ok(&["unseal", "--passphrase-file", &one]).contains("unsealed"));
    gateway.await_unsealed().expect("opens");
    creates_a_key(&gateway, "a");
}

/// A plain start on a terminal asks for each passphrase by its slot, again where one is wrong, and shows nothing of what is typed.
#[test]
fn a_start_on_a_terminal_asks_for_each_passphrase() {
    let (gateway, _, [one, two]) = two_passphrases();
    let mut serve = keygate().expect("the binary");
    serve.arg("serve").arg("--data-dir").arg(gateway.data());
    for listener in ["kmip", "status", "clients", "admin", "public"] {
        serve.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
    }
    let mut terminal = Terminal::run(serve).expect("a terminal");
    terminal.expect(&format!("passphrase of seal slot {one}"));
    terminal.expect("(not shown): ");
    terminal.type_line("incorrect horse");
    terminal.expect(&format!("this passphrase does not open slot {one}"));
    terminal.expect(&format!("passphrase of seal slot {one}"));
    terminal.expect("(not shown): ");
    terminal.type_line("correct horse");
    terminal.expect(&format!("passphrase of seal slot {two}"));
    terminal.expect("(not shown): ");
    terminal.type_line("battery staple");
    terminal.expect("kmip listens on");
    let pid = i32::try_from(terminal.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to end");
    let (status, shown) = terminal.end().expect("ends");
    assert!(status.success(), "{shown}");
    assert!(!shown.contains("horse") && !shown.contains("battery"), "{shown}");
}

/// Shares that are shown on a terminal, once: two of them, typed on a terminal that shows nothing, open the store.
#[test]
fn shares_are_shown_on_a_terminal_and_typed_on_one() {
    let mut gateway = Setup::new().start();
    let add = gateway.keygate_command(&["seal", "add", "shamir", "--threshold", "2", "--print", "3"]).expect("the binary");
    let (status, shown) = Terminal::run(add).expect("a terminal").end().expect("ends");
    assert!(status.success(), "{shown}");
    let shares: Vec<&str> = shown.lines().filter_map(|line| line.trim().split_once(" of 3: ")).map(|(_, share)| share).collect();
    assert_eq!(shares.len(), 3, "{shown}");
    assert!(shares.iter().all(|share| share.starts_with("KGS1-")), "{shown}");
    gateway.stop().expect("stops");
    std::fs::remove_file(gateway.data().join("seal.key")).expect("the key file is lost");
    gateway.set("seal.wait", "true");
    gateway.start().expect("starts sealed");
    for (share, then) in [(shares[2], "1 of 2 shares given"), (shares[0], "unsealed")] {
        let mut typing = Terminal::run(gateway.keygate_command(&["unseal"]).expect("the binary")).expect("a terminal");
        typing.expect("share (not shown): ");
        typing.type_line(share);
        typing.expect(then);
        let (status, shown) = typing.end().expect("ends");
        assert!(status.success() && !shown.contains(&share[6..]), "{shown}");
    }
    gateway.await_unsealed().expect("opens");
    creates_a_key(&gateway, "a");
}

/// A certificate of its own for the listener of a sealed server, and its fingerprint.
fn own_certificate(folder: &Path) -> (PathBuf, PathBuf, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let (cert_file, key_file) = (folder.join("unseal.pem"), folder.join("unseal.key"));
    std::fs::write(&cert_file, certificate.pem()).expect("written");
    tools::write_secret(&key_file, &key.serialize_pem()).expect("written");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
    (cert_file, key_file, hex::encode(digest))
}

/// `unseal.listen`: an officer elsewhere opens the store over HTTPS, by the server's fingerprint or certificate; wrong attempts have to
/// wait; the record tells the address; nothing else is served there, and nothing at all once the store is open.
#[test]
fn a_sealed_server_is_opened_over_https() {
    let folder = tempfile::tempdir().expect("a directory");
    let right = folder.path().join("right");
    tools::write_secret(&right, "correct horse").expect("written");
    let right = right.to_string_lossy().into_owned();
    let (cert, key, fingerprint) = own_certificate(folder.path());
    let mut gateway = Setup::new().init(&["--seal", "passphrase", "--passphrase-file", &right]).prepare().expect("initialised");
    gateway.set("seal.wait", "true");
    gateway.set("unseal.listen", "127.0.0.1:0");
    let incomplete = gateway.start().expect_err("it has no certificate").to_string();
    assert!(incomplete.contains("unseal.cert_file") && incomplete.contains("unseal.key_file"), "{incomplete}");
    gateway.set("unseal.cert_file", &cert.to_string_lossy());
    gateway.set("unseal.key_file", &cert.to_string_lossy());
    let wide = gateway.start().expect_err("a key that others may read").to_string();
    assert!(wide.contains("the certificate of unseal.listen cannot be used"), "{wide}");
    gateway.set("unseal.key_file", &key.to_string_lossy());
    gateway.start().expect("starts sealed");

    let port = gateway.address("unseal").port();
    let url = format!("https://localhost:{port}");
    let unseal = |arguments: &[&str]| {
        let mut command = keygate().expect("the binary");
        command.args(["unseal", "--server", &url]).args(arguments).stdin(Stdio::null()).output().expect("runs")
    };
    let curl = |path: &str| Command::new("curl").args(["-s", "-w", " %{http_code}", "--cacert"]).arg(&cert).arg(format!("{url}{path}")).output().expect("curl");
    let status = said(&curl("/v1/seal/status"));
    assert!(status.contains("\"sealed\":true") && status.contains("0 of 1 slots open") && status.ends_with(" 200"), "{status}");
    for path in ["/v1/version", "/v1/exports", "/kmip", "/"] {
        assert!(said(&curl(path)).ends_with(" 404"), "{path}: {}", said(&curl(path)));
    }
    let unknown = unseal(&["--accept-invalid-certs", "--passphrase-file", &right]);
    assert!(!unknown.status.success() && said(&unknown).contains(&fingerprint), "{}", said(&unknown));
    let named = ["--accept-invalid-certs", "--fingerprint", &fingerprint];
    let wrong = passphrase_file(&gateway, "wrong", "incorrect horse");
    for _ in 0..4 {
        let refused = unseal(&[&named[..], &["--passphrase-file", &wrong]].concat());
        assert!(!refused.status.success() && said(&refused).contains("the passphrase opens no seal slot"), "{}", said(&refused));
    }
    let share = gateway.secret_file("share", "KGS1-AAAA").expect("written").to_string_lossy().into_owned();
    let waits = said(&unseal(&[&named[..], &["--share-file", &share]].concat()));
    // A wait of a second may have passed on a busy machine; then the attempt was one more wrong one.
    assert!(waits.contains("too many wrong attempts") || waits.contains("this is no share"), "{waits}");
    let by_root = ["--ca", &cert.to_string_lossy(), "--passphrase-file", &right].map(str::to_owned);
    let by_root: Vec<&str> = by_root.iter().map(String::as_str).collect();
    let deadline = Instant::now() + Duration::from_secs(120);
    let opened = loop {
        let output = unseal(&by_root);
        if output.status.success() || Instant::now() > deadline {
            break output;
        }
        assert!(said(&output).contains("too many wrong attempts"), "{}", said(&output));
        std::thread::yield_now();
    };
    assert!(said(&opened).contains("unsealed"), "{}", said(&opened));
    gateway.await_unsealed().expect("opens");
    creates_a_key(&gateway, "a");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the listener is gone");
    for action in ["UnsealShareGiven", "Unsealed"] {
        let events = gateway.keygate_ok(&["audit", "search", "--action", action, "--json"]);
        assert!(events.contains("127.0.0.1"), "{events}");
    }
    for secret in ["correct horse", "incorrect horse"] {
        assert!(!gateway.log().contains(secret));
    }
}

/// A token slot by a PKCS#11 URI: the URI tells module, token and the PIN's place; one with a PIN in it is refused and not repeated.
#[test]
fn a_token_slot_is_named_by_a_uri() {
    if tools::skipped("softhsm") {
        return;
    }
    let mut gateway = Setup::new().prepare().expect("initialised");
    let token = Token::make(&gateway.scratch().join("hsm"), "sealing").expect("a token; is softhsm2 installed?");
    gateway.set_environment("SOFTHSM2_CONF", &token.configuration.to_string_lossy());
    gateway.start().expect("starts");
    let place = format!("module-path={}&pin-source=file:{}", token.module.display(), token.pin_file.display());
    for (uri, why) in [
        ("pkcs11:token=sealing?pin-value=4711", "pin-value is refused"),
        ("pkcs11:object=key", "names an object"),
        ("pkcs11:", "names no token"),
        ("pkcs11:token=sealing", "needs"),
    ] {
        let refused = gateway.keygate(&["seal", "add", "pkcs11", "--uri", uri]).expect("runs");
        assert_eq!(refused.status.code(), Some(2), "{uri}: {}", said(&refused));
        assert!(said(&refused).contains(why) && !said(&refused).contains("4711"), "{uri}: {}", said(&refused));
    }
    let added = gateway.keygate_ok(&["seal", "add", "pkcs11", "--uri", &format!("pkcs11:token=sealing?{place}")]);
    assert!(added.contains("pkcs11"), "{added}");
    gateway.stop().expect("stops");
    std::fs::remove_file(gateway.data().join("seal.key")).expect("the key file is lost");
    gateway.start().expect("the token opens it");
    creates_a_key(&gateway, "a");
}
