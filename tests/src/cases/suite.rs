//! All cases of the manifest: which, in what order, on what server.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::file;
use super::run::{self, Called, Exchange, Failure};
use super::state::State;
use super::transport::{Encoding, Transport};
use crate::client::{Credentials, TlsKmipClient};
use crate::gateway::{Setup, TestGateway, workspace};
use crate::kmip_listener::KmipListener;

/// One row of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `1.0` to `2.1`.
    pub version: String,
    /// The collection it is from.
    pub set: String,
    /// File name.
    pub file: String,
    /// Canonical name.
    pub case: String,
    /// Family.
    pub family: String,
}

/// What became of a case.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub entry: Entry,
    /// How its messages travelled.
    pub encoding: Encoding,
    /// Passed, or why not.
    pub result: Result<(), Failure>,
    /// What was said, kept for those that failed.
    pub dialogue: Vec<Exchange>,
}

/// The encodings in which every case runs.
pub const ENCODINGS: [Encoding; 3] = [Encoding::Ttlv, Encoding::Xml, Encoding::Json];

/// Where the cases are: `KEYGATE_KMIP_CASES`, or `../shared/kmip-cases` beside the workspace. `None` where there are none.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("KEYGATE_KMIP_CASES").map(PathBuf::from);
    let candidates = match named {
        Some(named) => vec![named],
        // The second is where a worktree beside the workspace finds them.
        None => ["../shared/kmip-cases", "../../shared/kmip-cases"].map(|path| workspace().join(path)).to_vec(),
    };
    candidates.into_iter().find(|folder| folder.join("MANIFEST.tsv").exists())
}

/// The cases of every version, in the manifest's order.
///
/// # Errors
/// If the manifest cannot be read.
pub fn manifest(folder: &Path) -> io::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(folder.join("MANIFEST.tsv"))?;
    let entry = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        let version = cells.next()?.strip_prefix('v')?.to_owned();
        let (set, file, case, family) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
        Some(Entry { version, set, file, case, family })
    };
    Ok(text.lines().skip(1).filter_map(entry).collect())
}

/// Cases that run in order on one store, by name; all others start with an empty one.
const SEQUENCES: &[&[&str]] = &[
    &["SASED-M-1", "SASED-M-2", "SASED-M-3"],
    &["TC-RNG-ATTR-1", "TC-RNG-ATTR-2"],
    &["TC-CREG-1", "TC-CREG-2", "TC-CREG-3"],
];

/// Groups cases that share a store.
#[must_use]
pub fn groups(entries: &[Entry]) -> Vec<Vec<Entry>> {
    let mut groups: Vec<Vec<Entry>> = Vec::new();
    let mut sequences: BTreeMap<(String, String, usize), Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        match SEQUENCES.iter().position(|names| names.contains(&entry.case.as_str())) {
            Some(sequence) => {
                sequences.entry((entry.version.clone(), entry.set.clone(), sequence)).or_default().push(entry.clone());
            }
            None => groups.push(vec![entry.clone()]),
        }
    }
    for mut sequence in sequences.into_values() {
        sequence.sort_by(|one, other| one.case.cmp(&other.case));
        groups.push(sequence);
    }
    groups
}

/// The policy of the server that a family of cases presupposes; each is a documented setting. No expected value is in here.
#[must_use]
pub fn setup(entry: &Entry) -> Setup {
    let mut setup = Setup::new().set("kmip.legacy_algorithms", "true").set("log.level", "warn");
    // 2.0 and later open and close a case by the test-only operation Interop; some write a line by Log.
    if entry.version.as_str() >= "2" {
        setup = setup.set("kmip.interop", "true").set("kmip.log_operation", "true");
    }
    // Some ask by Query whether Set Endpoint Role is served, or Notify and Put, which need somebody to be sent to.
    setup = setup.set("kmip.endpoint_role", "true");
    // TC-111 tells the owner's objects apart from absent ones: "the operation policy `default` (only the owner may)".
    if entry.case.starts_with("TC-111") {
        setup = setup.set("kmip.forbidden", "permission-denied");
    }
    // TC-32: "with the message header Asynchronous Indicator-field set to True. If the server returns an asynchronous response": it
    // does, and begins when it is polled for, so that what is not can be canceled.
    if entry.case.starts_with("TC-32") {
        setup = setup.set("kmip.async_answer_ms", "0").set("kmip.async_begin_ms", "60000");
    }
    // These presuppose a server that certifies, or that says so in Query.
    if ["TC-134", "TC-121", "TC-LOGIN"].iter().any(|case| entry.case.starts_with(case)) || ["MSGENC", "SUITEB"].contains(&&*entry.family) {
        setup = setup.set("kmip.certify", "own");
    }
    let seed = match entry.case.as_str() {
        "CS-RNG-O-2" => "16",
        "CS-RNG-O-3" => "none",
        "CS-RNG-O-4" => "refuse",
        _ => "all",
    };
    // TC-153: "This test case assumes that the server policy is such that it serves objects from the group in a round-robin fashion."
    if entry.case.starts_with("TC-153") {
        setup = setup.set("kmip.group_default", "round-robin");
    }
    // The case of 1.3 wants the oldest object first, those of 1.4 and 2.0 the newest.
    if entry.case.starts_with("TC-OFFSET") && entry.version == "1.3" {
        setup = setup.set("kmip.locate_order", "oldest");
    }
    setup.set("kmip.rng_seed", seed)
}

/// Whether a case has messages from the server to the client.
fn is_called(entry: &Entry) -> bool {
    entry.family == "TC-NP" || entry.case.contains("S2C")
}

/// A server to play against.
pub enum Server {
    /// One per group of cases, on a fresh store.
    Own,
    /// One that runs already, with the credentials of every client.
    Running(SocketAddr, Credentials),
}

/// Plays one group of cases on one server, once in each encoding: first of all on the fresh store, then as clients of their own,
/// who see nothing of what the others did.
#[must_use]
pub fn play(folder: &Path, server: &Server, group: &[Entry], encodings: &[Encoding]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let started = match server {
        Server::Own => start(&group[0]).map(Some),
        Server::Running(..) => Ok(None),
    };
    for encoding in encodings.iter().copied() {
        let prepared = match &started {
            Ok(Some(started)) => prepare_clients(&started.gateway, &group[0], encoding).map_err(|error| first_line(&error)),
            Ok(None) => Ok(()),
            Err(error) => Err(first_line(error)),
        };
        let mut state = State::new(now());
        for entry in group {
            let (result, dialogue) = match (&prepared, &started) {
                (Ok(()), Ok(started)) => play_one(folder, server, started.as_ref(), entry, encoding, &mut state),
                (Err(what), _) => (failure(format!("no server: {what}")), Vec::new()),
                (_, Err(error)) => (failure(format!("no server: {error}")), Vec::new()),
            };
            outcomes.push(Outcome { entry: entry.clone(), encoding, result, dialogue });
        }
    }
    outcomes
}

/// The encoding in which a case runs when the others run in `encoding`: the message encoding cases are about their own.
fn encoding_of(entry: &Entry, encoding: Encoding) -> Encoding {
    match (encoding, entry.family.as_str()) {
        (Encoding::Ttlv, "MSGENC") if entry.case.contains("HTTPS") => Encoding::Https,
        (Encoding::Ttlv, "MSGENC") if entry.case.contains("JSON") => Encoding::Json,
        (Encoding::Ttlv, "MSGENC") => Encoding::Xml,
        (encoding, _) => encoding,
    }
}

fn play_one(
    folder: &Path,
    server: &Server,
    started: Option<&Started>,
    entry: &Entry,
    encoding: Encoding,
    state: &mut State,
) -> (Result<(), Failure>, Vec<Exchange>) {
    let path = folder.join(format!("v{}", entry.version)).join(&entry.set).join(&entry.file);
    let mut case = match file::read(&path) {
        Ok(case) => case,
        Err(error) => return (failure(format!("the case is not understood: {error}")), Vec::new()),
    };
    let travelling = encoding_of(entry, encoding);
    if travelling == encoding {
        // Printed octets are of one encoding: in another, the same messages are written anew.
        case.steps.iter_mut().for_each(|step| step.exact = None);
    }
    let mut connect = |client: char| {
        let connected = match (server, started) {
            (Server::Running(address, credentials), _) => TlsKmipClient::connect(*address, credentials)?,
            (Server::Own, Some(started)) => started.gateway.connect(&client_name(client, encoding)),
            (Server::Own, None) => return Err(io::Error::other("no server")),
        };
        Ok(Transport::new(connected, travelling))
    };
    let mut dialogue = Vec::new();
    state.next_file();
    let ask = |functions: &[String]| match started {
        Some(Started { gateway, .. }) => {
            let arguments = ["endpoint", "query", &client_name('A', encoding), "--functions", &functions.join(",")];
            gateway.keygate_command(&arguments)?.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
        }
        None => Err(io::Error::other("no server")),
    };
    let called = started.and_then(|started| started.listener.as_ref()).map(|listener| Called { listener, ask: &ask });
    let result = run::play(&case, &mut connect, called.as_ref(), state, &mut dialogue);
    (result, dialogue)
}

/// Client `A` of a case, in one of its runs.
fn client_name(client: char, encoding: Encoding) -> String {
    match encoding {
        Encoding::Ttlv => client.to_ascii_lowercase().to_string(),
        other => format!("{}-{}", client.to_ascii_lowercase(), other.name().to_lowercase()),
    }
}

fn failure(what: String) -> Result<(), Failure> {
    Err(Failure { step: 0, what })
}

/// A server with an empty store, and the client that listens, where the case has one.
struct Started {
    gateway: TestGateway,
    listener: Option<KmipListener>,
}

fn start(entry: &Entry) -> io::Result<Started> {
    let mut gateway = setup(entry).prepare()?;
    let listener = if is_called(entry) { Some(KmipListener::start()?) } else { None };
    if let Some(listener) = &listener {
        for encoding in ENCODINGS {
            let more = format!("version = '{}'\nput = true\nnotify = true\n", entry.version);
            gateway.configure(&listener.table(&client_name('A', encoding), &more));
        }
    }
    gateway.start()?;
    Ok(Started { gateway, listener })
}

/// What a family presupposes about its clients: who may use whose keys, who has a password.
fn prepare_clients(gateway: &TestGateway, entry: &Entry, encoding: Encoding) -> io::Result<()> {
    let name = |client| client_name(client, encoding);
    let run = |arguments: &[&str]| {
        let output = gateway.keygate(arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(io::Error::other(format!("keygate {}: {text}", arguments.join(" "))))
    };
    // "TC-32, TC-41, TC-51 have two or three clients that all may use the first one's key."
    if ["TC-32", "TC-41", "TC-51"].contains(&entry.case.as_str()) {
        for other in ['b', 'c'] {
            let _ = gateway.client_folder(&name('a'));
            let _ = gateway.client_folder(&name(other));
            run(&["grant", "add", "--owner", &name('a'), "--to", &name(other), "--operations", "all"])?;
        }
    }
    // TC-111: "uses username/password credentials"; both users come over the one client certificate.
    if entry.case == "TC-111" {
        for (user, password) in [("Fred", "password1"), ("Barney", "secret2")] {
            let file = gateway.secret_file(user, password)?;
            let _ = gateway.client_folder(&name('a'));
            run(&["client", "user", "add", &name('a'), user, "--password-file", &file.to_string_lossy()])?;
        }
    }
    Ok(())
}

/// Plays all groups, several at a time, in a stable order of results.
#[must_use]
pub fn play_all(
    folder: &Path,
    server: &Server,
    groups: &[Vec<Entry>],
    encodings: &[Encoding],
    progress: &(dyn Fn(&Outcome) + Sync),
) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let jobs = match server {
        Server::Own => jobs(),
        Server::Running(..) => 1,
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for outcome in play(folder, server, group, encodings) {
                        progress(&outcome);
                        if let Ok(mut outcomes) = outcomes.lock() {
                            outcomes.push(outcome);
                        }
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by(|one, other| (one.encoding, &one.entry).cmp(&(other.encoding, &other.entry)));
    outcomes
}

/// How many servers run at a time: `KEYGATE_CASES_JOBS`, or one more than there are cores.
fn jobs() -> usize {
    let asked = std::env::var("KEYGATE_CASES_JOBS").ok().and_then(|jobs| jobs.parse().ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn first_line(error: &io::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().take(3).copied().collect::<Vec<_>>().join(" | ")
}
