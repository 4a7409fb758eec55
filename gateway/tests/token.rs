//! A token as seal slot and as keystore, seen from the command line: present, absent, with the wrong PIN, back again.
//!
//! Method: the real binary on throw-away SoftHSM tokens. Without SoftHSM the tests fail, unless KEYGATE_TEST_SKIP names
//! `softhsm`.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A token and a data directory beside it.
struct Fixture {
    folder: TempDir,
    module: String,
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Waits for the end; its exit code.
    fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn terminate(&mut self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert_eq!(self.ended(), Some(0), "SIGTERM ends the server in order");
    }
}

fn skipped() -> bool {
    let skip = std::env::var("KEYGATE_TEST_SKIP").unwrap_or_default();
    let skipped = skip.split(',').any(|name| name == "softhsm");
    if skipped {
        eprintln!("skipped by KEYGATE_TEST_SKIP: softhsm");
    }
    skipped
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../softhsm-config/make-token.sh");
        let made = Command::new("sh").arg(script).arg(folder.path().join("token")).arg("test").output().unwrap();
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        assert!(made.status.success(), "SoftHSM is needed (or KEYGATE_TEST_SKIP=softhsm): {}", String::from_utf8_lossy(&made.stderr));
        let module = said.lines().find_map(|line| line.strip_prefix("MODULE=")).unwrap().trim_matches('\'').to_owned();
        Self { folder, module }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn pin(&self) -> PathBuf {
        self.folder.path().join("token/pin")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
        command.args(arguments).arg("--data-dir").arg(self.data());
        command.env("SOFTHSM2_CONF", self.folder.path().join("token/softhsm2.conf"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn init_sealed_by_token(&self) {
        let pin = self.pin();
        self.succeeds(&["init", "--seal", "pkcs11", "--module", &self.module, "--token-label", "test", "--pin-file", pin.to_str().unwrap()]);
    }

    fn serve(&self, settings: &[&str]) -> Server {
        let mut command = self.command(&["serve"]);
        for listener in ["kmip", "status", "clients", "admin", "public"] {
            command.arg("--set").arg(format!("{listener}.listen=127.0.0.1:0"));
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        let log = fs::File::create(self.log()).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.map(Result::unwrap).filter(|line| line.contains(" listens on ")).take(2).count();
        assert_eq!(listening, 2, "the server ended before it listened");
        Server(child)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("serve.log")
    }

    /// Makes a key as the first client.
    fn create(&self) {
        let credentials = self.data().join("clients/first");
        self.succeeds(&["kmip", "create", "--credentials", credentials.to_str().unwrap()]);
    }

    /// Whether the audit record, which is not secret, names this event.
    fn has_recorded(&self, action: &str) -> bool {
        let database = fs::read(self.data().join("store.db")).unwrap();
        database.windows(action.len()).any(|part| part == action.as_bytes())
    }

    fn tokens(&self) -> PathBuf {
        self.folder.path().join("token/tokens")
    }

    fn take_token_away(&self) {
        fs::rename(self.tokens(), self.folder.path().join("away")).unwrap();
        fs::create_dir(self.tokens()).unwrap();
    }

    fn put_token_back(&self) {
        fs::remove_dir_all(self.tokens()).unwrap();
        fs::rename(self.folder.path().join("away"), self.tokens()).unwrap();
    }

    fn ready(&self) -> String {
        let text = fs::read_to_string(self.data().join("run/listeners.json")).unwrap();
        let listeners: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut socket = TcpStream::connect(listeners["status"].as_str().unwrap()).unwrap();
        socket.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    fn wait_until_ready_says(&self, part: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.ready();
            if answer.contains(part) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "never ready with {part}: {answer}");
        }
    }
}

/// The token's key opens the store; without the token, or with another PIN, the start is refused with what to do.
#[test]
fn a_token_seals_the_store() {
    if skipped() {
        return;
    }
    let fixture = Fixture::new();
    fixture.init_sealed_by_token();
    assert!(!fixture.data().join("seal.key").exists());
    let status = fixture.succeeds(&["seal", "status"]);
    let pin = fs::read_to_string(fixture.pin()).unwrap();
    assert!(status.contains("pkcs11") && !status.contains(pin.trim()), "{status}");
    {
        let _server = fixture.serve(&[]);
        fixture.create();
    }
    fixture.take_token_away();
    let said = fixture.fails(6, &["serve"]);
    assert!(said.contains("token"), "{said}");
    fixture.put_token_back();

    fs::write(fixture.pin(), "999999").unwrap();
    let said = fixture.fails(6, &["serve"]);
    assert!(said.contains("PIN") && !said.contains("999999"), "{said}");
    fs::write(fixture.pin(), pin).unwrap();
    assert!(fixture.succeeds(&["client", "list"]).contains("first"));
}

/// A configured token that is missing does not keep the server from starting; readiness names it until it is there.
#[test]
fn a_missing_keystore_starts_degraded() {
    if skipped() {
        return;
    }
    let fixture = Fixture::new();
    fixture.succeeds(&["init"]);
    let settings = fixture.data().join("keygate.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let keystore = format!(
        "{text}\n[[keystore]]\nname = \"hsm\"\nkind = \"pkcs11\"\nmodule = {:?}\ntoken-label = \"test\"\npin-file = {:?}\n",
        fixture.module,
        fixture.pin()
    );
    fs::write(&settings, keystore).unwrap();
    fixture.take_token_away();
    let _server = fixture.serve(&[]);
    fixture.wait_until_ready_says("\"ready\":false");
    assert!(fixture.ready().contains("keystore hsm"));
    fixture.create();
    fixture.put_token_back();
    fixture.wait_until_ready_says("\"ready\":true");
}

/// The seal's token goes: readiness says so, sealed keys go on, and when it is back everything is as before.
#[test]
fn a_lost_seal_token_is_told_and_serving_goes_on() {
    if skipped() {
        return;
    }
    let fixture = Fixture::new();
    fixture.init_sealed_by_token();
    let mut server = fixture.serve(&["seal.loss_seconds=1"]);
    fixture.wait_until_ready_says("\"seal token\":{\"state\":\"up\"}");
    fixture.take_token_away();
    fixture.wait_until_ready_says("\"seal token\":{\"reason\"");
    assert!(fixture.ready().contains("\"ready\":false"));
    // Longer than a server that is to stop would wait.
    std::thread::sleep(Duration::from_secs(2));
    fixture.create();
    fixture.put_token_back();
    fixture.wait_until_ready_says("\"ready\":true");
    fixture.create();
    server.terminate();
    assert!(fixture.has_recorded("SealTokenLost") && fixture.has_recorded("SealTokenBack"));
    assert!(fixture.succeeds(&["audit", "verify"]).contains("intact"));
}

/// With `seal.on_loss = stop` the server ends in order, says why, and starts again when the token is back.
#[test]
fn a_lost_seal_token_ends_a_server_that_is_to_stop() {
    if skipped() {
        return;
    }
    let fixture = Fixture::new();
    fixture.init_sealed_by_token();
    let stop = ["seal.on_loss=stop", "seal.loss_seconds=2"];
    let mut server = fixture.serve(&stop);
    fixture.create();
    fixture.wait_until_ready_says("\"seal token\":{\"state\":\"up\"}");
    let gone = Instant::now();
    fixture.take_token_away();
    assert_eq!(server.ended(), Some(6));
    assert!(gone.elapsed() >= Duration::from_millis(1500), "a short absence does not end it: {:?}", gone.elapsed());
    let said = fs::read_to_string(fixture.log()).unwrap();
    assert!(said.contains("error: stopped: the token that opened the seal has been away") && said.contains("hint:"), "{said}");
    assert!(!fixture.data().join("run/listeners.json").exists(), "it drained and cleared up");
    fixture.put_token_back();
    assert!(fixture.has_recorded("SealTokenLost"));
    let _again = fixture.serve(&stop);
    fixture.create();
}

/// A token's slot is added while the server runs; then the token alone opens the store. Removed again, it does not.
#[test]
fn a_token_slot_is_added_and_removed() {
    if skipped() {
        return;
    }
    let fixture = Fixture::new();
    fixture.succeeds(&["init"]);
    let pin = fixture.pin();
    let add = |label: &'static str| {
        ["seal", "add", "pkcs11", "--module", &fixture.module, "--token-label", label, "--pin-file", pin.to_str().unwrap()].map(str::to_owned)
    };
    let mut server = fixture.serve(&[]);
    let refused = add("nobody");
    let said = fixture.fails(1, &refused.each_ref().map(String::as_str));
    assert!(said.contains("labelled \"nobody\""), "{said}");
    let added = add("test");
    let said = fixture.succeeds(&added.each_ref().map(String::as_str));
    assert!(said.contains("pkcs11") && said.contains("test"), "{said}");
    fixture.create();
    server.terminate();
    assert!(fixture.has_recorded("SealSlotAdded"));

    let (key_file, kept) = (fixture.data().join("seal.key"), fixture.folder.path().join("seal.key"));
    fs::rename(&key_file, &kept).unwrap();
    let mut server = fixture.serve(&[]);
    fixture.create();
    fixture.wait_until_ready_says("\"seal token\":{\"state\":\"up\"}");
    let id = said.split_whitespace().next().unwrap();
    fixture.succeeds(&["seal", "remove", id]);
    server.terminate();
    assert!(fixture.fails(6, &["serve"]).contains("keyfile slot"));
    fs::rename(&kept, &key_file).unwrap();
    let _server = fixture.serve(&[]);
}
