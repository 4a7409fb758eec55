//! The end of a soak: no fault is left. Everything serves again, and the ledgers are compared with what there is.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use keygate_kmip::{Operation, Tag};

use super::READY_MAX;
use super::kmip::{Answer, Link, cipher, is_signed, located, named, point_in, sign};
use super::ledger::{Attempt, KNOWN, Key, Ledger, Life, PROBE, What, encrypted};
use super::place::{MOCK, PLACES, TOKENS};
use super::rest::{Reply, users};
use super::site::Site;
use super::watch::Watch;
use crate::request::text;
use crate::relying::addresses::serial;
use crate::ttlv::Item;

/// Connections that check.
const CHECKERS: usize = 4;
/// Memory that a gateway may have at its highest: caches are bounded, and what clients send is small here.
const MEMORY_MAX: u64 = 600 << 20;
/// A check that is refused is repeated: a token that has just come back may be looking for its keys.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(300);

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checked {
    pub(super) live: usize,
    pub(super) gone: usize,
    pub(super) undecided: usize,
    pub(super) refused: usize,
    pub(super) found_unanswered: usize,
    pub(super) certificates: usize,
    pub(super) ready_after: Duration,
    pub(super) memory: u64,
}

/// Compares everything; what is wrong goes to the watch.
pub(super) fn check(site: &mut Site, watch: &Watch, ledger: &Ledger, say: &(dyn Fn(&str) + Sync)) -> io::Result<Checked> {
    let ready_after = await_ready(site, watch);
    let mut checked = Checked { ready_after, ..Checked::default() };
    say(&format!("ready {ready_after:.1?} after the last fault"));
    keys(site, watch, ledger, &mut checked);
    attempts(site, watch, ledger, &mut checked);
    rest_keys(site, watch, ledger);
    certificates(site, watch, ledger, &mut checked);
    say("keys and certificates are compared");
    devices(site, watch, ledger);
    checked.memory = site.memory().unwrap_or_default();
    if checked.memory > MEMORY_MAX {
        watch.wrong(format!("the gateway has {} MiB", checked.memory >> 20));
    }
    logs(site, watch);
    match site.service.command(&["audit", "verify"]) {
        Ok(_) => say("the audit record is whole"),
        Err(error) => watch.wrong(format!("audit verify: {error}")),
    }
    site.gateway().stop()?;
    Ok(checked)
}

fn await_ready(site: &Site, watch: &Watch) -> Duration {
    let begun = Instant::now();
    while let Some(why) = site.not_ready() {
        if begun.elapsed() > READY_MAX {
            watch.wrong(format!("not ready {READY_MAX:?} after the last fault: {why}"));
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}

/// Runs `each` over a list with several connections.
fn for_all<T: Sync>(site: &Site, list: &[T], each: impl Fn(&mut Link, &T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CHECKERS {
            scope.spawn(|| {
                let mut link = Link::new(site);
                while let Some(item) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(&mut link, item);
                }
            });
        }
    });
}

/// Asks until it is done; the last refusal otherwise.
fn insist(link: &mut Link, operation: Operation, payload: &[Item]) -> Result<Item, String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match link.ask(operation, payload.to_vec()) {
            Answer::Done(answer) => return Ok(answer),
            Answer::Refused(reason, message) => last = format!("{reason:#x} {message}"),
            Answer::Nothing(error) => last = error.to_string(),
            Answer::Unsent => "no connection".clone_into(&mut last),
        }
        std::thread::sleep(PAUSE);
    }
    Err(last)
}

fn id_of(id: &str) -> Vec<Item> {
    vec![text(Tag::UNIQUE_IDENTIFIER, id)]
}

fn keys(site: &Site, watch: &Watch, ledger: &Ledger, checked: &mut Checked) {
    for key in &ledger.keys {
        match key.life {
            Life::Live | Life::Retiring => checked.live += 1,
            Life::Gone => checked.gone += 1,
            Life::MaybeGone => checked.undecided += 1,
        }
    }
    for_all(site, &ledger.keys, |link, key| {
        let wrong = |what: &str| watch.wrong(format!("at the end: {} in {}: {what}", key.name, PLACES[key.place].name));
        match key.life {
            Life::Live => {
                if let Err(what) = live(link, key, true) {
                    wrong(&what);
                }
            }
            // Its use may be refused; it has to be there.
            Life::Retiring => {
                if let Err(what) = insist(link, Operation::GetAttributes, &id_of(&key.id)) {
                    wrong(&format!("revoked and not destroyed, and not there: {what}"));
                }
            }
            Life::Gone => match link.ask(Operation::Get, id_of(&key.id)) {
                Answer::Refused(..) => {}
                Answer::Done(_) => wrong("was destroyed, and is handed out"),
                Answer::Nothing(error) => wrong(&format!("no answer: {error}")),
                Answer::Unsent => wrong("no connection"),
            },
            Life::MaybeGone => {}
        }
    });
}

/// The key is there and is the one that was acknowledged.
fn live(link: &mut Link, key: &Key, is_found: bool) -> Result<(), String> {
    match &key.what {
        What::Cipher { value, probe } => {
            let answer = insist(link, Operation::Encrypt, &cipher(&key.id, PROBE))?;
            let found = answer.field(Tag::DATA.0).and_then(Item::bytes).ok_or("no cipher text")?;
            let expected = value.as_ref().and_then(|value| encrypted(value, PROBE)).or_else(|| probe.clone());
            if expected.is_some_and(|expected| expected != found) {
                return Err("encrypts to something else".to_owned());
            }
            let back = insist(link, Operation::Decrypt, &cipher(&key.id, found))?;
            if back.field(Tag::DATA.0).and_then(Item::bytes) != Some(PROBE) {
                return Err("decrypts to something else".to_owned());
            }
            if let (true, Some(value)) = (PLACES[key.place].gets, value) {
                let got = insist(link, Operation::Get, &id_of(&key.id))?;
                if got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes) != Some(value) {
                    return Err("has another value".to_owned());
                }
            }
        }
        What::Pair { point, public } => {
            let got = insist(link, Operation::Get, &id_of(public))?;
            let now = point_in(&got).ok_or("its public half cannot be read")?;
            if !point.is_empty() && *point != now {
                return Err("its public half is another one".to_owned());
            }
            let answer = insist(link, Operation::Sign, &sign(&key.id, PROBE))?;
            if !is_signed(&answer, &now, PROBE) {
                return Err("its signature is wrong".to_owned());
            }
        }
    }
    if is_found {
        let answer = insist(link, Operation::Locate, &named(&key.name))?;
        if !located(&answer).contains(&key.id) {
            return Err("is not found by its name".to_owned());
        }
    }
    Ok(())
}

/// What was refused did not happen; what got no answer happened as asked for, or not at all.
fn attempts(site: &Site, watch: &Watch, ledger: &Ledger, checked: &mut Checked) {
    let (refused, found_unanswered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_all(site, &ledger.attempts, |link, attempt: &Attempt| {
        let wrong = |what: &str| watch.wrong(format!("at the end: {} in {}: {what}", attempt.name, PLACES[attempt.place].name));
        let found = match insist(link, Operation::Locate, &named(&attempt.name)) {
            Ok(answer) => located(&answer),
            Err(error) => return wrong(&error),
        };
        match (&attempt.refused, found.first()) {
            (Some(why), Some(_)) => wrong(&format!("was refused ({why}), and is there")),
            (Some(_), None) => drop(refused.fetch_add(1, Ordering::Relaxed)),
            (None, None) => {}
            (None, Some(id)) => {
                found_unanswered.fetch_add(1, Ordering::Relaxed);
                if let Some(value) = attempt.value {
                    let what = What::Cipher { value: Some(value), probe: None };
                    let key = Key { place: attempt.place, name: attempt.name.clone(), id: id.clone(), what, life: Life::Live };
                    if let Err(error) = live(link, &key, false) {
                        wrong(&format!("was not acknowledged, and is there in part: {error}"));
                    }
                }
            }
        }
    });
    (checked.refused, checked.found_unanswered) = (refused.into_inner(), found_unanswered.into_inner());
}

fn rest_keys(site: &Site, watch: &Watch, ledger: &Ledger) {
    let users = users(site);
    for key in &ledger.rest {
        let Some(user) = users.iter().find(|user| key.name.contains(&user.account.id)) else { continue };
        let path = format!("/api/key/v1/keys/{}", key.name);
        let wrong = |what: &str| watch.wrong(format!("at the end: REST key {}: {what}", key.name));
        match (key.life, user.ask("POST", &format!("{path}/export"), None)) {
            (Life::Live, Reply::Done(answer))
                if key.material.as_deref().is_some_and(|material| answer["material"] != material) => {
                    wrong("has another value");
                }
            (Life::Live, Reply::Refused(status, text)) => wrong(&format!("{status} {text}")),
            (Life::Gone, Reply::Done(_)) => wrong("was deleted, and is handed out"),
            (_, Reply::Nothing) => wrong("no answer"),
            _ => {}
        }
    }
}

fn certificates(site: &Site, watch: &Watch, ledger: &Ledger, checked: &mut Checked) {
    for certificate in &ledger.certificates {
        let shown = serial(certificate).map_err(|error| error.to_string()).and_then(|serial| site.service.command(&["cert", "show", &serial]));
        match shown {
            Ok(_) => checked.certificates += 1,
            Err(error) => watch.wrong(format!("at the end: a certificate that was issued is not on record: {error}")),
        }
    }
}

/// Objects of SoftHSM that a SIGKILL may have left half-written: with a label already, and no CKA_ID yet by which anybody would find them.
const TORN_MAX: usize = 3;

/// Devices hold the keys that the gateway has, and no more: what was made for a request that failed is destroyed by the gateway.
fn devices(site: &Site, watch: &Watch, ledger: &Ledger) {
    let count = |name: &str| {
        let found = Mutex::new(0);
        let names: Vec<&str> = ledger.keys.iter().filter(|key| PLACES[key.place].name == name && key.life != Life::Gone).map(|key| key.name.as_str()).collect();
        let unanswered = ledger.attempts.iter().filter(|attempt| PLACES[attempt.place].name == name && attempt.refused.is_none());
        let names: Vec<&str> = names.into_iter().chain(unanswered.map(|attempt| attempt.name.as_str())).collect();
        for_all(site, &names, |link, name| {
            // Keys that are destroyed are found by nobody.
            if let Ok(answer) = insist(link, Operation::Locate, &named(name)) {
                *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += located(&answer).len();
            }
        });
        found.into_inner().unwrap_or_default()
    };
    let compare = |name: &str, torn: usize, in_device: &dyn Fn() -> io::Result<usize>| {
        let ours = count(name);
        let until = Instant::now() + READY_MAX;
        loop {
            match in_device() {
                Ok(theirs) if theirs == ours => return,
                Ok(_) if Instant::now() < until => std::thread::sleep(PAUSE),
                Ok(theirs) if (ours..=ours + torn).contains(&theirs) => return,
                Ok(theirs) => return watch.wrong(format!("at the end: {name} holds {theirs} keys, the gateway has {ours} there")),
                Err(error) => return watch.wrong(format!("at the end: {name} cannot be listed: {error}")),
            }
        }
    };
    for (token, name) in site.tokens.iter().zip(TOKENS) {
        compare(name, TORN_MAX, &|| token.keys().map(|keys| keys.len()));
    }
    compare(MOCK, 0, &|| Ok(site.mock.key_count()));
}

/// Nothing secret stands in a log.
fn logs(site: &Site, watch: &Watch) {
    use base64::engine::general_purpose::STANDARD;
    let known = ["raw", "hexadecimal", "base64"].into_iter().zip([
        String::from_utf8_lossy(KNOWN).into_owned(),
        hex::encode(KNOWN),
        STANDARD.encode(&KNOWN[..15]),
    ]);
    let mut markers: Vec<(String, String)> = known.map(|(how, text)| (format!("a key's value in {how}"), text)).collect();
    markers.extend(site.secrets.iter().cloned());
    for (whose, log) in [("gateway", site.service.gateway.log()), ("second gateway", site.far.log())] {
        if log.is_empty() {
            watch.wrong(format!("the {whose} has logged nothing"));
        }
        for (what, marker) in &markers {
            if log.contains(marker.as_str()) {
                watch.wrong(format!("the log of the {whose} holds {what}"));
            }
        }
        if log.contains("panicked") {
            let line = log.lines().find(|line| line.contains("panicked")).unwrap_or_default();
            watch.wrong(format!("the {whose} panicked: {line}"));
        }
    }
}
