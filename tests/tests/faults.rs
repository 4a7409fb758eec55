//! Goal: nothing acknowledged is lost, nothing altered passes, whatever happens to the process, the disk or the files.
//! Method: the real binary; SIGKILL under load, SQL on the stopped database, copies put back, a file system that fills.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keygate_kmip::{Operation, ResultReason, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::database::Database;
use keygate_tests::gateway::{Setup, TestGateway, copy_folder};
use keygate_tests::request::{self, bytes, enumeration, integer, structure};
use keygate_tests::tools;
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);

/// Register of an AES-256 key with this material.
fn register(material: &[u8]) -> Item {
    let block = vec![
        enumeration(Tag::KEY_FORMAT_TYPE, 1),
        structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, material)]),
        enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3),
        integer(Tag::CRYPTOGRAPHIC_LENGTH, 256),
    ];
    let attributes = request::attributes_item(
        V1_4,
        vec![(Tag::CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", Value::Integer(12))],
    );
    let key = structure(Tag::SYMMETRIC_KEY, vec![structure(Tag::KEY_BLOCK, block)]);
    request::message(V1_4, vec![(Operation::Register, vec![enumeration(Tag::OBJECT_TYPE, 2), attributes, key])])
}

fn register_ok(client: &mut TlsKmipClient, material: &[u8]) -> String {
    let answer = client.request(&register(material)).expect("an answer");
    request::identifier(&request::outcome(&answer).expect("Register"))
}

fn get(client: &mut TlsKmipClient, identifier: &str) -> Result<Vec<u8>, (u32, String)> {
    let answer = client.request(&request::on(V1_4, Operation::Get, identifier)).expect("an answer");
    let payload = request::outcome(&answer)?;
    Ok(payload.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).expect("material").to_vec())
}

fn audit_verify(gateway: &TestGateway) -> (Option<i32>, String) {
    let output = gateway.keygate(&["audit", "verify"]).expect("the command runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

/// How every known key begins.
const KNOWN: &[u8] = b"keygate-known-material--";

/// 32 bytes that no other key of the tests has.
fn material(number: u64) -> Vec<u8> {
    let mut material = KNOWN.to_vec();
    material.extend_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    material
}

/// 20 rounds of SIGKILL under 64 connections that create: every acknowledged key is there and identical, the chain verifies.
#[test]
fn nothing_acknowledged_is_lost_to_sigkill() {
    let mut gateway = Setup::new().start();
    let credentials = gateway.client("a");
    let next = AtomicU64::new(0);
    let acknowledged: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());
    let mut checked = 0;
    for round in 0..20 {
        let stop = AtomicBool::new(false);
        let before = acknowledged.lock().expect("no writer failed").len();
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let Ok(mut client) = TlsKmipClient::connect(gateway.address("kmip"), &credentials) else { return };
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Ok(answer) = client.request(&register(&material(number))) else { return };
                        let payload = request::outcome(&answer).expect("Register");
                        acknowledged.lock().expect("no writer failed").push((request::identifier(&payload), number));
                    }
                });
            }
            // Load first, then the kill, at a different point of the work each round.
            let deadline = Instant::now() + Duration::from_secs(20);
            while acknowledged.lock().expect("no writer failed").len() < before + 100 + round * 7 {
                assert!(Instant::now() < deadline, "no progress under load");
                std::thread::yield_now();
            }
            let pid = gateway.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
            rustix::process::kill_process(pid.expect("a process"), rustix::process::Signal::KILL).expect("killed");
            stop.store(true, Ordering::Relaxed);
        });
        gateway.kill().expect("reaped");
        gateway.start().expect("starts after SIGKILL");
        let mut client = gateway.connect("a");
        let keys = acknowledged.lock().expect("no writer failed");
        for (identifier, number) in &keys[checked..] {
            assert_eq!(get(&mut client, identifier).as_ref(), Ok(&material(*number)), "round {round}");
        }
        checked = keys.len();
        let (code, text) = audit_verify(&gateway);
        assert_eq!(code, Some(0), "round {round}: {text}");
    }
    let mut client = gateway.connect("a");
    for (identifier, number) in acknowledged.lock().expect("no writer failed").iter().step_by(17) {
        assert_eq!(get(&mut client, identifier).as_ref(), Ok(&material(*number)), "after all rounds");
    }
}

/// SIGKILL while the keyring is rotated, at ever later moments: every key is there and identical, and the next rotation finishes.
#[test]
fn a_rotation_survives_sigkill() {
    let mut gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let keys: Vec<String> = (0..150).map(|number| register_ok(&mut client, &material(number))).collect();
    drop(client);
    for round in 0..4 {
        let mut rotation = gateway.keygate_command(&["seal", "rotate"]).expect("a command");
        let mut rotation = rotation.stderr(std::process::Stdio::null()).spawn().expect("spawned");
        std::thread::sleep(Duration::from_millis(5 + 30 * round));
        gateway.kill().expect("killed");
        rotation.wait().expect("the command ends when the server does");
        gateway.start().expect("starts after SIGKILL");
        let mut client = gateway.connect("a");
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(get(&mut client, key), Ok(material(number as u64)), "round {round}");
        }
    }
    let _ = gateway.keygate_ok(&["seal", "rotate"]);
    let status = gateway.keygate_ok(&["seal", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["terms"].as_array().map(Vec::len), Some(1), "{status}");
    gateway.stop().expect("stops");
    let mut database = Database::open(&gateway.data().join("store.db"));
    assert_eq!(database.number("SELECT count(*) FROM keyring"), 2, "the base key and the newest term");
    database.close();
    let (code, text) = audit_verify(&gateway);
    assert_eq!(code, Some(0), "{text}");
    gateway.start().expect("starts");
    let mut client = gateway.connect("a");
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(get(&mut client, key), Ok(material(number as u64)));
    }
}

/// A data folder with some history, stopped; tests alter copies of it.
fn history() -> (TestGateway, Vec<String>) {
    let mut gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let keys = (0..8).map(|number| register_ok(&mut client, &material(number))).collect();
    gateway.stop().expect("stops");
    (gateway, keys)
}

/// What somebody with the file does to the audit record.
enum Alteration {
    Sql(&'static str),
    /// Replaces a word in the third event row and makes all links anew, as somebody would who knows the code and not the key.
    Rechain,
}

/// Whatever is done to the audit record, `audit verify` says what, and where: nothing else, and nothing less.
#[test]
fn audit_verify_tells_what_was_done_to_the_record() {
    let (gateway, _) = history();
    let (code, text) = audit_verify(&gateway);
    assert_eq!(code, Some(0), "{text}");
    let database = gateway.data().join("store.db");
    let kept = fs::read(&database).expect("the database");
    let mut open = Database::open(&database);
    let segments = open.audit_segments();
    open.close();
    let (third, last) = (segments[2].seq, segments[segments.len() - 1].seq);
    let alterations = [
        (
            "edited",
            Alteration::Sql("UPDATE audit_segment SET body = zeroblob(length(body)) WHERE seq = (SELECT min(seq) + 2 FROM audit_segment)"),
            format!("segment {third} was edited"),
        ),
        (
            "edited in its time",
            Alteration::Sql("UPDATE audit_segment SET at_ms = at_ms + 1 WHERE seq = (SELECT min(seq) + 2 FROM audit_segment)"),
            format!("segment {third} was edited"),
        ),
        (
            "the newest row edited",
            Alteration::Sql("UPDATE audit_segment SET at_ms = at_ms + 1 WHERE seq = (SELECT max(seq) FROM audit_segment)"),
            format!("segment {last} was edited"),
        ),
        (
            "a row removed",
            Alteration::Sql("DELETE FROM audit_segment WHERE seq = (SELECT min(seq) + 2 FROM audit_segment)"),
            format!("segment {third} was removed"),
        ),
        (
            "a row removed and the rest renumbered",
            Alteration::Sql(
                "DELETE FROM audit_segment WHERE seq = (SELECT min(seq) + 2 FROM audit_segment);
                 UPDATE audit_segment SET seq = seq - 1 WHERE seq > (SELECT min(seq) + 2 FROM audit_segment)",
            ),
            format!("1 segments from {third} on were removed and the later ones renumbered"),
        ),
        ("rechained", Alteration::Rechain, format!("segments {third} to {last} were chained again without this store's key")),
        (
            "cut short",
            Alteration::Sql("DELETE FROM audit_segment WHERE seq >= (SELECT max(seq) - 1 FROM audit_segment)"),
            format!("cut short: the chain ends at segment {}", last - 2),
        ),
    ];
    for (what, alteration, expected) in alterations {
        let mut altered = Database::open(&database);
        match alteration {
            Alteration::Sql(sql) => altered.run(sql),
            Alteration::Rechain => rechain(&mut altered, gateway.data(), 2),
        }
        altered.close();
        let (code, text) = audit_verify(&gateway);
        println!("{what}: {}", text.trim());
        assert_eq!(code, Some(5), "{what}: {text}");
        assert!(text.contains(&expected), "{what}: not \"{expected}\": {text}");
        // No other kind of finding, apart from what follows from it: a head that was noted elsewhere.
        for other in ["was edited", "were edited", "removed", "chained again", "cut short"] {
            assert!(expected.contains(other) || !text.contains(other), "{what}: also \"{other}\": {text}");
        }
        fs::write(&database, &kept).expect("restored");
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(gateway.data().join(format!("store.db{suffix}")));
        }
    }
}

/// Alters one event and links everything from there on again, with the chain's own arithmetic and another key.
fn rechain(database: &mut Database, data: &Path, from: usize) {
    let seal = fs::read_to_string(data.join("seal.json")).expect("seal.json");
    let seal: serde_json::Value = serde_json::from_str(&seal).expect("JSON");
    let store = hex::decode(seal["store"].as_str().expect("the store's id").replace('-', "")).expect("a UUID");
    let mut segments = database.audit_segments();
    let text = String::from_utf8(segments[from].body.clone()).expect("events are text");
    segments[from].body = text.replacen("\"do\":\"", "\"do\":\"Not", 1).into_bytes();
    assert_ne!(segments[from].body, text.as_bytes(), "{text}");
    for number in from..segments.len() {
        let previous = segments[number - 1].mac.clone();
        let mac = segments[number].link(&[0; 32], &store, &previous);
        segments[number].mac = mac;
        database.rewrite_audit_segment(&segments[number]);
    }
}

/// An older copy of the database, whole, put back: refused at start, by name.
#[test]
fn an_older_copy_of_the_database_is_refused() {
    let (mut gateway, _) = history();
    let older = gateway.scratch().join("older.db");
    fs::copy(gateway.data().join("store.db"), &older).expect("copied");
    gateway.start().expect("starts");
    register_ok(&mut gateway.connect("a"), &material(100));
    gateway.stop().expect("stops");
    fs::copy(&older, gateway.data().join("store.db")).expect("put back");
    let error = gateway.start().expect_err("an older database").to_string();
    assert!(error.contains("older") || error.contains("anchor"), "{error}");
}

/// One older row of a destroyed key put back: the database is refused, or that object is.
#[test]
fn an_older_row_put_back_does_not_revive_a_key() {
    let (mut gateway, keys) = history();
    let database = gateway.data().join("store.db");
    let mut open = Database::open(&database);
    open.run("CREATE TABLE stash AS SELECT * FROM object");
    open.close();
    gateway.start().expect("starts");
    let answer = gateway.connect("a").request(&request::on(V1_4, Operation::Destroy, &keys[3])).expect("an answer");
    request::outcome(&answer).expect("Destroy");
    gateway.stop().expect("stops");
    let mut open = Database::open(&database);
    open.run("DELETE FROM object; INSERT INTO object SELECT * FROM stash; DROP TABLE stash");
    open.close();
    match gateway.start() {
        Err(error) => println!("refused: {}", error.to_string().lines().take(3).collect::<Vec<_>>().join(" ")),
        Ok(()) => {
            let outcome = get(&mut gateway.connect("a"), &keys[3]);
            assert!(outcome.is_err(), "a destroyed key is given out");
        }
    }
}

/// A flipped byte or swapped rows: that object is refused and named, others are served.
#[test]
fn a_damaged_object_is_refused_and_others_are_served() {
    let (mut gateway, keys) = history();
    let mut open = Database::open(&gateway.data().join("store.db"));
    open.run(
        "UPDATE object SET sealed = CAST(substr(sealed, 1, length(sealed) - 3) || x'5A' || substr(sealed, -2) AS BLOB)
         WHERE n = (SELECT min(n) FROM object)",
    );
    open.run(
        "UPDATE object SET sealed = (SELECT other.sealed FROM object AS other WHERE other.n = (SELECT min(n) + 2 FROM object))
         WHERE n = (SELECT min(n) + 1 FROM object)",
    );
    open.close();
    gateway.start().expect("starts with a damaged object");
    let mut client = gateway.connect("a");
    for damaged in &keys[..2] {
        let (reason, _) = get(&mut client, damaged).expect_err("a damaged object");
        assert_ne!(reason, ResultReason::ItemNotFound.code(), "damage is not absence");
        assert!(gateway.log().contains(damaged.as_str()), "the log names {damaged}");
    }
    for (number, key) in keys.iter().enumerate().skip(2) {
        assert_eq!(get(&mut client, key), Ok(material(number as u64)));
    }
}

/// A second server on the same folder refuses; after the first has ended it starts.
#[test]
fn one_server_per_data_folder() {
    let gateway = Setup::new().start();
    let output = gateway.keygate(&["serve", "--set", "kmip.listen=127.0.0.1:0", "--set", "status.listen=127.0.0.1:0"]);
    let output = output.expect("the command runs");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_wrong_passphrase_refuses_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = |name: &str, text: &str| {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = folder.path().join(name);
        let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(&path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        path.to_string_lossy().into_owned()
    };
    let (right, wrong) = (secret("right", "correct horse battery"), secret("wrong", "incorrect horse"));
    let gateway =
        Setup::new().init(&["--seal", "passphrase", "--passphrase-file", &right]).prepare().expect("initialised");
    let output = gateway.keygate(&["client", "list", "--passphrase-file", &wrong]).expect("the command runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("passphrase"), "{text}");
    let output = gateway.keygate(&["client", "list", "--passphrase-file", &right]).expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A full disk: a clear error, nothing half-done, reads go on, and writes again when there is space.
#[test]
fn a_full_disk_is_an_error_and_passes() {
    if tools::skipped("disk-full") {
        return;
    }
    let mount = tempfile::tempdir().expect("a folder");
    let options = rustix::mount::MountFlags::empty();
    let mounted = rustix::mount::mount("tmpfs", mount.path(), "tmpfs", options, Some(c"size=24m"));
    if let Err(error) = mounted {
        // Needs the right to mount; CI runs as root.
        return tools::note_skipped("disk-full", &format!("cannot mount a tmpfs: {error}"));
    }
    let _unmount = Unmount(mount.path());
    let gateway = Setup::new().below(mount.path()).start();
    let mut client = gateway.connect("a");
    let first = register_ok(&mut client, &material(1));
    let filler = mount.path().join("filler");
    fs::write(&filler, vec![0; 64 << 20]).expect_err("the file fills the disk");
    let mut refused = None;
    for number in 2..20_000 {
        let answer = client.request(&register(&material(number))).expect("an answer on a full disk");
        if let Err((reason, message)) = request::outcome(&answer) {
            refused = Some((reason, message));
            break;
        }
    }
    let (_, message) = refused.expect("a full disk refuses writes");
    assert!(!message.is_empty());
    assert_eq!(get(&mut client, &first), Ok(material(1)), "reads go on");
    fs::remove_file(&filler).expect("space again");
    let deadline = Instant::now() + Duration::from_secs(15);
    let again = loop {
        let answer = client.request(&register(&material(50_000))).expect("an answer");
        match request::outcome(&answer) {
            Ok(payload) => break request::identifier(&payload),
            Err((_, message)) => assert!(Instant::now() < deadline, "still refuses: {message}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(get(&mut client, &again), Ok(material(50_000)));
    let (code, text) = audit_verify(&gateway);
    assert_eq!(code, Some(0), "{text}");
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// No key in files, logs or the memory of an idle server that has given out a thousand of them, in any usual writing.
///
/// All known keys begin alike, so one search for that beginning finds any of them.
#[test]
fn key_bytes_are_nowhere() {
    let mut gateway = Setup::new().set("log.level", "trace").start();
    let mut client = gateway.connect("a");
    let keys: Vec<String> = (0..1000).map(|number| register_ok(&mut client, &material(number))).collect();
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(get(&mut client, key), Ok(material(number as u64)));
    }
    // Used too, not only given out.
    for key in &keys[..20] {
        encrypt(&mut client, key);
    }
    drop(client);
    let flushed = gateway.keygate_ok(&["cache", "flush"]);
    assert!(flushed.contains("done"), "{flushed}");
    let needles = writings(KNOWN);
    match read_memory(gateway.pid().expect("a process")) {
        Ok(memory) => {
            // What is certainly there is found: the folder's name, which the server was started with.
            let folder = gateway.data().to_string_lossy().into_owned();
            assert!(memory.iter().any(|(_, bytes)| memchr::memmem::find(bytes, folder.as_bytes()).is_some()));
            for (part, bytes) in &memory {
                assert_absent(bytes, &needles, &format!("the server's memory {part}"));
                assert_absent(bytes, &private_key_beginnings(), &format!("(an authority's) the server's memory {part}"));
            }
        }
        Err(error) => tools::note_skipped("memory", &format!("/proc/PID/mem: {error}")),
    }
    let mut client = gateway.connect("a");
    for key in &keys[500..505] {
        request::outcome(&client.request(&request::on(V1_4, Operation::Destroy, key)).expect("an answer"))
            .expect("Destroy");
    }
    assert_absent(gateway.log().as_bytes(), &needles, "the log");
    gateway.stop().expect("stops");
    let copy = gateway.scratch().join("copy");
    copy_folder(gateway.data(), &copy).expect("copied");
    for file in files(&copy) {
        assert_absent(&fs::read(&file).expect("a file"), &needles, &file.display().to_string());
    }
}

fn encrypt(client: &mut TlsKmipClient, key: &str) {
    let activated = client.request(&request::on(V1_4, Operation::Activate, key)).expect("an answer");
    request::outcome(&activated).expect("Activate");
    let parameters = vec![enumeration(Tag::BLOCK_CIPHER_MODE, 1), enumeration(Tag::PADDING_METHOD, 3)];
    let payload = vec![
        request::text(Tag::UNIQUE_IDENTIFIER, key),
        structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
        bytes(Tag::DATA, b"to be encrypted"),
        bytes(Tag::IV_COUNTER_NONCE, &[7; 16]),
    ];
    let answer = client.request(&request::message(V1_4, vec![(Operation::Encrypt, payload)])).expect("an answer");
    request::outcome(&answer).expect("Encrypt");
}

/// Raw, in hexadecimal both ways, and in base64 at each of its three alignments.
fn writings(known: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let mut writings = vec![known.to_vec(), hex::encode(known).into_bytes(), hex::encode_upper(known).into_bytes()];
    for skip in 0..3 {
        let whole = (known.len() - skip) / 3 * 3;
        writings.push(base64::engine::general_purpose::STANDARD.encode(&known[skip..skip + whole]).into_bytes());
    }
    writings
}

/// How a P-256 private key begins in PKCS#8 (RFC 5958, RFC 5915), as the authorities' keys are kept.
fn private_key_beginnings() -> Vec<Vec<u8>> {
    let der = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420";
    writings(&hex::decode(der).expect("hexadecimal"))
}

fn assert_absent(haystack: &[u8], needles: &[Vec<u8>], place: &str) {
    for needle in needles {
        let found = memchr::memmem::find(haystack, needle);
        assert!(found.is_none(), "{place} holds key material: {} bytes at {found:?}", needle.len());
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// The readable memory of a process, with the name of each part.
fn read_memory(pid: u32) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    use std::os::unix::fs::FileExt as _;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" r")) {
        let Some((from, to)) = line.split_ascii_whitespace().next().and_then(|range| range.split_once('-')) else {
            continue;
        };
        let address = |text: &str| u64::from_str_radix(text, 16).unwrap_or_default();
        let mut part = vec![0; usize::try_from(address(to) - address(from)).unwrap_or_default()];
        // Pages that cannot be read (guards, secret memory) hold nothing an attacker at this place could read.
        if memory.read_exact_at(&mut part, address(from)).is_ok() {
            all.push((line.to_owned(), part));
        }
    }
    Ok(all)
}

/// An aborted server leaves no core, although everybody else's processes here would.
#[test]
fn an_abort_leaves_no_core() {
    let everything = rustix::process::Rlimit { current: None, maximum: None };
    // Where the hard limit is lower, so is what a core could be.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, everything);
    let mut gateway = Setup::new().start();
    let mut client = gateway.connect("a");
    let answer = client.request(&request::create_aes((1, 4), 256, None)).expect("an answer");
    request::outcome(&answer).expect("a key in memory");
    let ended = gateway.abort().expect("it was running");
    assert_eq!(ended.signal(), Some(6), "{ended}");
    assert!(!ended.core_dumped(), "{ended}");
}
