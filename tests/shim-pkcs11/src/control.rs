//! What the shim is told to do, and what it tells of its calls.
//!
//! The control file holds one rule a line: `NUMBER FUNCTION ACTION [ARGUMENT] [skip=N] [times=N]`. NUMBER (0 to 255) is
//! the rule's own in a test; under it its matches are counted, over all processes, in `CONTROL.counts`. `skip` matches
//! pass before the rule acts, then it acts `times` times (for ever without it). Actions: `return CODE` (instead of the
//! call), `then-return CODE` (after it), `delay MS`, `hang`, `crash`, `then-crash`, `flip` (the last bit of the signature),
//! `token-flags BITS`, `hide MECHANISM`, `claim MECHANISM`. Under the name
//! `C_GetAttributeValue:TYPE` (`0x90`, say) `flip` acts on what the token tells of that attribute. The file is read again when it has changed.
//!
//! `CONTROL.log` gets a line `PID FUNCTION CODE` for each call that begins or ends something, or on which a rule acted.

use cryptoki_sys::CK_RV;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a rule does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Claim(u64),
    Crash,
    Delay(Duration),
    Flags(u64),
    Flip,
    Hang,
    Hide(u64),
    Return(CK_RV),
}

/// When it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
    Lie,
}

#[derive(Clone)]
struct Rule {
    number: u8,
    function: String,
    act: Act,
    when: When,
    skip: u64,
    times: u64,
}

#[derive(Default)]
struct Rules {
    /// Inode, time of the change in nanoseconds, size.
    version: Option<(u64, i64, i64, u64)>,
    list: Vec<Rule>,
}

/// Calls that are always logged.
const LOGGED: [&str; 5] = ["C_Initialize", "C_Finalize", "C_OpenSession", "C_Login", "C_Logout"];

/// The rules that act on this call. Each match is counted.
pub(crate) fn fired(function: &str, when: When) -> Vec<Act> {
    let matching = matching(function, when);
    let acting = matching.into_iter().filter(|rule| {
        let count = counted(rule.number).unwrap_or(0);
        count >= rule.skip && count - rule.skip < rule.times
    });
    let acting = acting.inspect(|rule| log(&format!("{function} {:?}", rule.act)));
    acting.map(|rule| rule.act).collect()
}

/// Logs the end of a call.
pub(crate) fn log_call(function: &str, code: CK_RV) {
    if LOGGED.contains(&function) {
        log(&format!("{function} {code:#x}"));
    }
}

fn control() -> Option<PathBuf> {
    std::env::var_os("KEYGATE_SHIM_CONTROL").map(PathBuf::from)
}

fn beside(extension: &str) -> Option<PathBuf> {
    control().map(|path| path.with_extension(extension))
}

fn matching(function: &str, when: When) -> Vec<Rule> {
    static RULES: Mutex<Rules> = Mutex::new(Rules { version: None, list: Vec::new() });
    let mut rules = RULES.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(path) = control() else { return Vec::new() };
    let version = path.metadata().ok().map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.size()));
    if version != rules.version {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        *rules = Rules { version, list: text.lines().filter_map(rule).collect() };
    }
    rules.list.iter().filter(|rule| rule.function == function && rule.when == when).cloned().collect()
}

fn rule(line: &str) -> Option<Rule> {
    let mut words = line.split_whitespace().peekable();
    let number = words.next()?.parse().ok()?;
    let function = words.next()?.to_owned();
    let action = words.next()?;
    let argument = words.next_if(|word| !word.contains('=')).and_then(self::number);
    let (act, when) = match action {
        "return" => (Act::Return(argument?), When::Before),
        "then-return" => (Act::Return(argument?), When::After),
        "delay" => (Act::Delay(Duration::from_millis(argument?)), When::Before),
        "hang" => (Act::Hang, When::Before),
        "crash" => (Act::Crash, When::Before),
        "then-crash" => (Act::Crash, When::After),
        "flip" => (Act::Flip, When::Lie),
        "token-flags" => (Act::Flags(argument?), When::Lie),
        "hide" => (Act::Hide(argument?), When::Lie),
        "claim" => (Act::Claim(argument?), When::Lie),
        _ => return None,
    };
    let mut rule = Rule { number, function, act, when, skip: 0, times: u64::MAX };
    for option in words {
        match option.split_once('=')? {
            ("skip", value) => rule.skip = value.parse().ok()?,
            ("times", value) => rule.times = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(rule)
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// How often a rule has matched before, in any process.
fn counted(number: u8) -> Option<u64> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(beside("counts")?).ok()?;
    flock(&file, FlockOperation::LockExclusive).ok()?;
    let (at, mut octets) = (u64::from(number) * 8, [0; 8]);
    // Not there yet: nothing was counted.
    let _ = file.read_exact_at(&mut octets, at);
    let count = u64::from_le_bytes(octets);
    file.write_all_at(&(count + 1).to_le_bytes(), at).ok()?;
    Some(count)
}

fn log(line: &str) {
    let file = beside("log").and_then(|path| File::options().create(true).append(true).open(path).ok());
    if let Some(mut file) = file {
        // A log that cannot be written fails the test that reads it.
        let _ = file.write_all(format!("{} {line}\n", std::process::id()).as_bytes());
    }
}
