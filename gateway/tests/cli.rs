//! The command line as scripts use it: exit codes, files and their rights, secrets kept out of arguments, and what happens
//! when things are done twice, half, or by two at once.
//!
//! Method: the real binary on data directories of its own; a server is known to run when it has written its addresses.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A data directory.
struct Deployment {
    _folder: TempDir,
    data: PathBuf,
}

/// A running server; killed when dropped.
struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygate(arguments: &[&str], data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
    command.args(arguments).arg("--data-dir").arg(data).env_remove("CREDENTIALS_DIRECTORY").output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Deployment {
    fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        Self { _folder: folder, data }
    }

    fn initialised() -> Self {
        let deployment = Self::empty();
        deployment.succeeds(&["init"]);
        deployment
    }

    fn run(&self, arguments: &[&str]) -> Output {
        keygate(arguments, &self.data)
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this exit code; returns what it printed.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    fn serve(&self, more: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
        command.arg("serve");
        for listener in ["kmip", "status", "clients", "admin", "public"] {
            command.arg("--set").arg(format!("{listener}.listen=127.0.0.1:0"));
        }
        command.arg("--data-dir").arg(&self.data).args(more).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.map(Result::unwrap).filter(|line| line.contains(" listens on ")).take(2).count();
        assert_eq!(listening, 2, "the server ended before it listened");
        Server { child }
    }

    fn kmip(&self, arguments: &[&str], credentials: &Path) -> Output {
        let credentials = credentials.to_str().unwrap();
        self.run(&[arguments, &["--credentials", credentials]].concat())
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.data.join(inside)
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.data.with_file_name(name)
    }

    fn secret_file(&self, name: &str, content: &str) -> String {
        let path = self.beside(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The newcomer's path: init, serve, create, fetch; then stop, start again, and the key is the same.
#[test]
fn a_key_made_by_the_first_client_survives_a_restart() {
    let deployment = Deployment::initialised();
    let first = deployment.path("clients/first");
    let mut server = deployment.serve(&[]);
    let created = deployment.kmip(&["kmip", "create", "--name", "first key"], &first);
    assert!(created.status.success(), "{}", text(&created));
    let id = String::from_utf8(created.stdout).unwrap().trim().to_owned();
    let key = deployment.kmip(&["kmip", "get", &id], &first).stdout;
    assert_eq!(key.len(), 65, "64 hexadecimal digits and the end of the line");
    let located = deployment.kmip(&["kmip", "locate", "--name", "first key"], &first).stdout;
    assert_eq!(String::from_utf8(located).unwrap().trim(), id);

    terminate(&mut server);
    assert!(!deployment.path("run/listeners.json").exists());
    let _again = deployment.serve(&[]);
    assert_eq!(deployment.kmip(&["kmip", "get", &id], &first).stdout, key);
}

fn terminate(server: &mut Server) {
    let id = rustix::process::Pid::from_raw(i32::try_from(server.child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0), "SIGTERM ends the server in order");
}

/// Objects are listed, shown without their material, and handed over; with a server and without.
#[test]
fn keys_are_listed_shown_and_handed_over() {
    let deployment = Deployment::initialised();
    let (first, alice) = (deployment.path("clients/first"), deployment.beside("alice"));
    deployment.succeeds(&["client", "add", "alice", "--out", alice.to_str().unwrap()]);
    let (id, key) = {
        let mut server = deployment.serve(&[]);
        let id = String::from_utf8(deployment.kmip(&["kmip", "create", "--name", "n"], &first).stdout).unwrap().trim().to_owned();
        let key = String::from_utf8(deployment.kmip(&["kmip", "get", &id], &first).stdout).unwrap().trim().to_owned();
        assert!(deployment.succeeds(&["keys", "list"]).contains(&id));
        assert!(!deployment.kmip(&["kmip", "get", &id], &alice).status.success());
        terminate(&mut server);
        (id, key)
    };
    let shown = deployment.succeeds(&["keys", "show", &id]);
    assert!(shown.contains("first") && !shown.contains(&key), "{shown}");
    for line in [
        "    Cryptographic Algorithm: AES\n",
        "    Cryptographic Length: 256\n",
        "    Cryptographic Usage Mask: Encrypt Decrypt\n",
        "    Name: NameType=UninterpretedTextString, NameValue=n\n",
        "    Object Type: SymmetricKey\n",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    let shown = deployment.succeeds(&["keys", "show", "--json", &id]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let value = |name: &str| {
        let attributes = shown["attributes"].as_array().unwrap();
        attributes.iter().find(|attribute| attribute["name"] == name).map(|attribute| attribute["value"].clone()).unwrap()
    };
    assert_eq!(value("Cryptographic Usage Mask"), "Encrypt Decrypt");
    assert_eq!(value("Name"), serde_json::json!({ "NameValue": "n", "NameType": "UninterpretedTextString" }));
    assert!(value("Initial Date").as_str().unwrap().contains('T'), "a date in RFC 3339");
    deployment.succeeds(&["keys", "chown", &id, "--to", "alice"]);
    let _server = deployment.serve(&[]);
    assert_eq!(String::from_utf8(deployment.kmip(&["kmip", "get", &id], &alice).stdout).unwrap().trim(), key);
    assert!(!deployment.kmip(&["kmip", "get", &id], &first).status.success());
    assert!(deployment.fails(4, &["keys", "chown", &id, "--to", "nobody"]).contains("nobody"));
    assert!(deployment.fails(2, &["keys", "show", "x"]).contains("not a Unique Identifier"));
}

/// Everything init writes is for its owner only.
#[test]
fn init_leaves_nothing_open() {
    let deployment = Deployment::initialised();
    let mut folders = vec![deployment.data.clone()];
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    for file in ["ca.pem", "cert.pem", "key.pem"] {
        assert!(deployment.path("clients/first").join(file).exists() && deployment.path("admin").join(file).exists());
    }
}

/// A second init refuses, unless it is told that doing nothing is fine.
#[test]
fn init_twice_refuses() {
    let deployment = Deployment::initialised();
    let seal = fs::read(deployment.path("seal.json")).unwrap();
    assert!(deployment.fails(4, &["init"]).contains("initialised already"));
    deployment.succeeds(&["init", "--if-needed"]);
    assert_eq!(fs::read(deployment.path("seal.json")).unwrap(), seal);
}

/// An init that was killed can be run again, whatever it had got to: after the seal, after the store, before the last file.
#[test]
fn a_killed_init_can_be_run_again() {
    let whole = Deployment::initialised();
    let stages: [&[&str]; 4] = [
        &["keygate.toml"],
        &["keygate.toml", "clients/first/ca.pem", "clients/first/cert.pem"],
        &["keygate.toml", "clients", "admin"],
        &["keygate.toml", "clients", "admin", "store.db", "store.db-wal", "store.db-shm", "anchor", "audit", "lock"],
    ];
    for missing in stages {
        let killed = Deployment::empty();
        copy(&whole.data, &killed.data);
        for name in missing {
            let path = killed.path(name);
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
        assert!(killed.fails(1, &["client", "list"]).contains("not an initialised data directory"));
        killed.succeeds(&["init"]);
        let _server = killed.serve(&[]);
        let created = killed.kmip(&["kmip", "create"], &killed.path("clients/first"));
        assert!(created.status.success(), "without {missing:?}: {}", text(&created));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { fs::copy(entry.path(), target).map(drop).unwrap() }
    }
}

/// Rights that let others read are refused and named, not repaired.
#[test]
fn wider_rights_are_refused() {
    let deployment = Deployment::initialised();
    for (path, open, closed) in [("", 0o755, 0o700), ("seal.key", 0o640, 0o600), ("store.db", 0o604, 0o600)] {
        let path = deployment.path(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let said = deployment.fails(1, &["serve"]);
        assert!(said.contains("others may use it") && said.contains("chmod"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(closed)).unwrap();
    }
    let _server = deployment.serve(&[]);
    assert_eq!(mode(&deployment.path("run/admin.sock")), 0o600);
}

/// Two servers never share a data directory; commands go to the one that runs.
#[test]
fn a_second_server_refuses() {
    let deployment = Deployment::initialised();
    let _server = deployment.serve(&[]);
    assert!(deployment.fails(3, &["serve"]).contains("in use by another keygate process"));
    assert!(deployment.fails(3, &["store", "accept"]).contains("in use"));
    assert!(deployment.succeeds(&["client", "list"]).contains("first"));
}

/// Settings are checked as a whole before anything starts, and secrets have no place on the command line.
#[test]
fn wrong_settings_and_secrets_in_arguments_are_refused() {
    let deployment = Deployment::initialised();
    deployment.succeeds(&["config", "check"]);
    let said = deployment.fails(2, &["serve", "--set", "keystore.hsm.pin=271828"]);
    assert!(said.contains("a secret is never given by --set") && !said.contains("271828"), "{said}");
    let said = deployment.fails(2, &["config", "check", "--set", "kmip.lisen=x", "--set", "limits.depth_max=0", "--set", "audit.reads=no"]);
    for part in ["did you mean kmip.listen", "limits.depth_max", "audit.reads"] {
        assert!(said.contains(part), "{part} is missing from: {said}");
    }
    let said = deployment.fails(2, &["init", "--passphrase", "secret"]);
    assert!(said.contains("unexpected argument"), "{said}");
}

/// A store sealed under a passphrase opens with it and with nothing else.
#[test]
fn a_passphrase_is_taken_from_a_file_only_its_owner_reads() {
    let deployment = Deployment::empty();
    let (right, wrong) = (deployment.secret_file("right", "correct horse\n"), deployment.secret_file("wrong", "wrong horse\n"));
    assert!(deployment.fails(2, &["init", "--seal", "passphrase"]).contains("--passphrase-file"));
    deployment.succeeds(&["init", "--seal", "passphrase", "--passphrase-file", &right]);
    assert!(!deployment.path("seal.key").exists());
    assert!(deployment.fails(6, &["client", "list"]).contains("passphrase"));
    assert!(deployment.fails(6, &["serve", "--passphrase-file", &wrong]).contains("passphrase"));
    deployment.succeeds(&["client", "list", "--passphrase-file", &right]);
    fs::set_permissions(&right, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(deployment.fails(2, &["client", "list", "--passphrase-file", &right]).contains("others may use it"));
}

/// Clients are enrolled, listed, cut off and let in, with a server running and without.
#[test]
fn clients_are_administered_with_and_without_a_server() {
    let deployment = Deployment::initialised();
    let (alice, bob) = (deployment.beside("alice"), deployment.beside("bob"));
    deployment.succeeds(&["client", "add", "alice", "--out", alice.to_str().unwrap()]);
    assert!(deployment.fails(4, &["client", "add", "alice", "--out", bob.to_str().unwrap()]).contains("already"));
    let _server = deployment.serve(&[]);
    assert!(deployment.kmip(&["kmip", "query"], &alice).status.success());
    let _ = fs::remove_dir_all(&bob);
    deployment.succeeds(&["client", "add", "bob", "--days", "3", "--out", bob.to_str().unwrap()]);
    assert!(deployment.kmip(&["kmip", "query"], &bob).status.success());
    assert!(deployment.fails(4, &["client", "add", "carol", "--out", bob.to_str().unwrap()]).contains("exists already"));

    deployment.succeeds(&["client", "disable", "alice"]);
    assert!(!deployment.kmip(&["kmip", "query"], &alice).status.success());
    deployment.succeeds(&["client", "enable", "alice"]);
    assert!(deployment.kmip(&["kmip", "query"], &alice).status.success());
    deployment.succeeds(&["client", "renew", "alice", "--out", alice.to_str().unwrap()]);
    assert!(deployment.kmip(&["kmip", "query"], &alice).status.success());

    let listed: serde_json::Value = serde_json::from_str(&deployment.succeeds(&["client", "list", "--json"])).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|client| client["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice", "bob", "first"]);
    assert_eq!(listed[0]["certificates"].as_array().unwrap().len(), 2);
    assert!(deployment.fails(4, &["client", "disable", "nobody"]).contains("no client"));
    assert!(deployment.fails(2, &["client", "add", "x\ny", "--out", "/nonexistent/x"]).contains("control characters") || !Path::new("/nonexistent").exists());
}

/// A vendor's request is signed; a vendor's certificate is pinned; neither twice.
#[test]
fn foreign_keys_are_taken_as_request_or_certificate() {
    let deployment = Deployment::initialised();
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["appliance.example".to_owned()]).unwrap();
    let request = deployment.secret_file("request.pem", &parameters.serialize_request(&key).unwrap().pem().unwrap());
    let certificate = deployment.secret_file("certificate.pem", &parameters.self_signed(&key).unwrap().pem());
    let out = deployment.beside("vendor");
    deployment.succeeds(&["client", "add", "signed", "--csr", &request, "--out", out.to_str().unwrap()]);
    assert!(out.join("cert.pem").exists() && !out.join("key.pem").exists());
    fs::write(out.join("key.pem"), key.serialize_pem()).unwrap();
    let pinned = deployment.beside("pinned");
    deployment.succeeds(&["client", "add", "pinned", "--cert", &certificate, "--out", pinned.to_str().unwrap()]);
    fs::write(pinned.join("key.pem"), key.serialize_pem()).unwrap();
    let said = deployment.fails(4, &["client", "add", "again", "--cert", &certificate]);
    assert!(said.contains("belongs to a client already"), "{said}");
    assert!(deployment.fails(2, &["client", "add", "bad", "--csr", &certificate, "--out", deployment.beside("bad").to_str().unwrap()]).contains("PKCS#10"));

    let _server = deployment.serve(&[]);
    for folder in [&out, &pinned] {
        let answered = deployment.kmip(&["kmip", "query"], folder);
        assert!(answered.status.success(), "{}", text(&answered));
    }
}

/// Users, groups and grants are named, listed and removed; what is refused says which name was meant.
#[test]
fn users_groups_and_grants_are_administered() {
    let deployment = Deployment::initialised();
    let _server = deployment.serve(&[]);
    let password = deployment.secret_file("password", "a long password\n");
    deployment.succeeds(&["client", "user", "add", "first", "operator", "--password-file", &password]);
    let users = deployment.succeeds(&["client", "user", "list", "first"]);
    assert!(users.contains("operator") && !users.contains("argon2"), "{users}");
    let refused = deployment.kmip(&["kmip", "query"], &deployment.path("clients/first"));
    assert!(text(&refused).contains("AuthenticationNotSuccessful"), "{}", text(&refused));
    deployment.succeeds(&["client", "user", "remove", "first", "operator"]);
    assert!(deployment.kmip(&["kmip", "query"], &deployment.path("clients/first")).status.success());

    deployment.succeeds(&["group", "add", "operators", "--member", "first"]);
    assert!(deployment.succeeds(&["group", "list"]).contains("operators  first"));
    let grant = deployment.succeeds(&["grant", "add", "--owner", "first", "--to", "operators", "--operations", "get,get-attributes"]);
    let listed = deployment.succeeds(&["grant", "list"]);
    let row = listed.lines().find(|line| line.contains(grant.trim())).map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "));
    assert_eq!(row.as_deref(), Some("owner first group operators Get,GetAttributes"), "{listed}");
    assert!(deployment.fails(2, &["grant", "add", "--owner", "first", "--to", "operators", "--operations", "fly"]).contains("fly"));
    assert!(deployment.fails(4, &["grant", "add", "--owner", "nobody", "--to", "operators", "--operations", "get"]).contains("nobody"));
    deployment.succeeds(&["grant", "remove", grant.trim()]);
    deployment.succeeds(&["group", "remove", "operators"]);
    assert_eq!(deployment.succeeds(&["grant", "list", "--json"]).trim(), "[]");
    assert!(deployment.succeeds(&["audit", "verify"]).contains("intact"));
}

/// The help names what scripts rely on: ports, exit codes, where addresses are written.
#[test]
fn the_help_is_the_contract() {
    let help = text(&Command::new(env!("CARGO_BIN_EXE_keygate")).arg("--help").output().unwrap());
    for part in ["0.0.0.0:5696", "127.0.0.1:9696", "listeners.json", "Exit codes", "not enough seal slots open"] {
        assert!(help.contains(part), "{part} is missing from the help");
    }
}

/// Slots come and go, with a server and without: each opens the store by itself, the last one stays, all of it is audited.
#[test]
fn seal_slots_are_added_and_removed() {
    let deployment = Deployment::initialised();
    let passphrase = deployment.secret_file("passphrase", "correct horse\n");
    let wrong = deployment.secret_file("wrong", "incorrect horse\n");
    let first = slots(&deployment, &[])[0].clone();
    let mut server = deployment.serve(&[]);
    assert!(deployment.fails(2, &["seal", "add", "passphrase"]).contains("--new-passphrase-file"));
    assert!(deployment.fails(4, &["seal", "add", "keyfile"]).contains("uses"));
    assert!(deployment.fails(1, &["seal", "remove", &first]).contains("the last one"));
    deployment.succeeds(&["seal", "add", "passphrase", "--new-passphrase-file", &passphrase]);
    terminate(&mut server);

    let (key_file, away) = (deployment.path("seal.key"), deployment.beside("away"));
    fs::rename(&key_file, &away).unwrap();
    assert!(deployment.fails(6, &["client", "list"]).contains("no passphrase given"));
    assert!(deployment.fails(6, &["client", "list", "--passphrase-file", &wrong]).contains("not what it was made with"));
    let mut server = deployment.serve(&["--passphrase-file", &passphrase]);
    deployment.succeeds(&["seal", "remove", &first]);
    terminate(&mut server);
    fs::rename(&away, &key_file).unwrap();
    assert!(deployment.fails(6, &["client", "list"]).contains("no passphrase given"), "a removed slot opens nothing");

    // Without a server, and with a key file outside the data directory.
    let elsewhere = deployment.beside("elsewhere.key");
    let kind = format!("keyfile={}", elsewhere.display());
    let added = deployment.succeeds(&["seal", "add", &kind, "--passphrase-file", &passphrase]);
    assert!(added.contains(elsewhere.to_str().unwrap()) && added.contains("warning"), "{added}");
    assert_eq!(mode(&elsewhere), 0o600);
    assert_eq!(slots(&deployment, &[]).len(), 2, "the new key file opens it");
    let unknown = "00000000-0000-7000-8000-000000000000";
    assert!(deployment.fails(4, &["seal", "remove", unknown]).contains(unknown));
    let database = fs::read(deployment.path("store.db")).unwrap();
    for event in ["SealSlotAdded", "SealSlotRemoved"] {
        assert!(database.windows(event.len()).any(|part| part == event.as_bytes()), "{event} is not recorded");
    }
    assert!(deployment.succeeds(&["audit", "verify"]).contains("intact"));
}

/// Ids of the seal slots.
fn slots(deployment: &Deployment, more: &[&str]) -> Vec<String> {
    let status = deployment.succeeds(&[&["seal", "status", "--json"], more].concat());
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["slots"].as_array().unwrap().iter().map(|slot| slot["id"].as_str().unwrap().to_owned()).collect()
}

/// A rotation, with a server and without, leaves every key as it was under a new term, and the old term nowhere.
#[test]
fn the_keyring_is_rotated() {
    let deployment = Deployment::initialised();
    let first = deployment.path("clients/first");
    let mut server = deployment.serve(&[]);
    let id = String::from_utf8(deployment.kmip(&["kmip", "create"], &first).stdout).unwrap().trim().to_owned();
    let key = deployment.kmip(&["kmip", "get", &id], &first).stdout;
    let said = deployment.succeeds(&["seal", "rotate"]);
    assert!(said.contains("done") && said.contains("1 sealed again"), "{said}");
    assert_eq!(deployment.kmip(&["kmip", "get", &id], &first).stdout, key);
    terminate(&mut server);
    assert!(deployment.succeeds(&["seal", "rotate"]).contains("term 3"));
    assert!(deployment.succeeds(&["seal", "status"]).contains("keyring term 3\n"));
    assert!(deployment.succeeds(&["audit", "verify"]).contains("intact"));
    let _server = deployment.serve(&[]);
    assert_eq!(deployment.kmip(&["kmip", "get", &id], &first).stdout, key);
}

/// Only a running server keeps anything in memory; what it forgets it reads again.
#[test]
fn caches_are_flushed() {
    let deployment = Deployment::initialised();
    assert!(deployment.fails(1, &["cache", "flush"]).contains("no server is running"));
    let first = deployment.path("clients/first");
    let _server = deployment.serve(&[]);
    let id = String::from_utf8(deployment.kmip(&["kmip", "create"], &first).stdout).unwrap().trim().to_owned();
    let key = deployment.kmip(&["kmip", "get", &id], &first).stdout;
    deployment.succeeds(&["cache", "flush"]);
    assert_eq!(deployment.kmip(&["kmip", "get", &id], &first).stdout, key);
}
