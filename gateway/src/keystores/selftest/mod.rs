//! The test of a keystore: step by step, each with a deadline, none after the first that fails. Resolve, connect, TLS, log in,
//! capabilities, and a probe key that is made, used, looked up and destroyed.
//!
//! A PIN is offered once: a keystore that refuses it is not asked again. What lasts (a file that is no module, a CA that is another)
//! is told at once, what may pass within the step's deadline.

mod hints;
mod probe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_backends::group::MemberState;
use keygate_backends::pkcs11::{check_module_file, check_module_kind};
use keygate_backends::{Capabilities, Class, Descriptor, Health, Keystore, KsError, OpCx};

use self::hints::{CERTIFICATE, Failure, REFUSED_US, lasting, not_let_in};
use super::todo::about_secret;
use super::{Open, OpenFailure, chain, files};
use crate::config::{KeystoreConfig, Pkcs11Config, RemoteKeystoreConfig};
use crate::operation::{Gateway, intent};
use crate::seal::SecretText;
use crate::store::{KeystoreId, KeystoreTest, StepOutcome, TestStep};

/// Longest wait for a step; the probe key has several calls, each with this.
const STEP_WAIT: Duration = Duration::from_secs(8);
/// Longest wait for the members of a group to meet.
const MEMBERS_WAIT: Duration = Duration::from_secs(60);
/// How often a device that is being opened is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is to be tested.
pub(super) struct Subject {
    pub(super) id: KeystoreId,
    pub(super) name: String,
    /// By a command; otherwise the settings file names it.
    pub(super) added: bool,
    /// Other settings of a keystore whose keys are elsewhere, perhaps.
    pub(super) trial: bool,
    pub(super) config: KeystoreConfig,
    pub(super) secret: Option<SecretText>,
}

/// What a test has found.
pub(super) struct Tested {
    /// For the row.
    pub(super) test: KeystoreTest,
    /// The keystore, where every step succeeded.
    pub(super) keystore: Option<Arc<dyn Keystore>>,
    /// The serial number of its device.
    pub(super) serial: Option<String>,
}

/// The steps so far.
#[derive(Default)]
struct Steps {
    list: Vec<TestStep>,
    secret_refused: bool,
    /// What to do about a wrong secret.
    about_secret: String,
    /// What follows from a refused one.
    offered_once: &'static str,
}

impl Steps {
    async fn run<T>(&mut self, name: &str, longest: Duration, work: impl Future<Output = Result<(T, String), Failure>>) -> Option<T> {
        let begun = Instant::now();
        let late = || Failure::new(format!("no answer within {} s", longest.as_secs()), "see that the device is there and not overloaded");
        let done = tokio::time::timeout(longest, work).await.unwrap_or_else(|_| Err(late()));
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (name, outcome) = (name.to_owned(), if done.is_ok() { StepOutcome::Ok } else { StepOutcome::Failed });
        match done {
            Ok((value, text)) => {
                self.list.push(TestStep { name, outcome, ms, text, hint: String::new() });
                Some(value)
            }
            Err(failure) => {
                self.secret_refused |= failure.secret_refused;
                let hint = match (failure.about_secret, failure.secret_refused) {
                    (false, _) => failure.hint,
                    (true, false) => self.about_secret.clone(),
                    (true, true) => format!("{}; {}", self.about_secret, self.offered_once),
                };
                self.list.push(TestStep { name, outcome, ms, text: failure.text, hint });
                None
            }
        }
    }

    fn not_needed(&mut self, name: &str, text: &str) {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.list.push(TestStep { name, outcome: StepOutcome::NotNeeded, ms: 0, text, hint: String::new() });
    }
}

/// What every step has led to.
struct Success {
    keystore: Arc<dyn Keystore>,
    descriptor: Descriptor,
    find_us: Option<u64>,
}

/// Runs the test. It always ends, within the sum of its deadlines.
pub(super) async fn run(gateway: &Gateway, open: &Open, subject: Subject, now_ms: i64) -> Tested {
    // What was refused in a trial is kept nowhere.
    let offered_once = if subject.trial {
        "devices lock after a few wrong ones"
    } else {
        "devices lock after a few wrong ones, so it was offered once, and is offered again only with --again"
    };
    let mut steps = Steps { about_secret: about_secret(&subject.name, subject.added), offered_once, ..Steps::default() };
    let found = steps_of(gateway, open, &subject, &mut steps).await;
    let descriptor = found.as_ref().map(|found| &found.descriptor);
    let test = KeystoreTest {
        at_ms: now_ms,
        passed: found.is_some(),
        secret_refused: steps.secret_refused,
        steps: steps.list,
        device: descriptor.map(|descriptor| descriptor.device.clone()).unwrap_or_default(),
        can: descriptor.map(|descriptor| names(descriptor.can)).unwrap_or_default(),
        find_us: found.as_ref().and_then(|found| found.find_us),
    };
    let keystore = found.map(|found| found.keystore);
    Tested { test, serial: keystore.as_ref().and_then(|keystore| keystore.serial()), keystore }
}

async fn steps_of(gateway: &Gateway, open: &Open, subject: &Subject, steps: &mut Steps) -> Option<Success> {
    steps.run("resolve", STEP_WAIT, resolve(&subject.config)).await?;
    let is_remote = if let KeystoreConfig::Remote(config) = &subject.config {
        steps.run("connect", STEP_WAIT, reach(config)).await?;
        true
    } else {
        false
    };
    // Opening a remote one shakes hands: our certificate and theirs are verified here.
    let is_group = matches!(subject.config, KeystoreConfig::Group(_));
    let longest = if is_group { STEP_WAIT + MEMBERS_WAIT } else { 2 * STEP_WAIT };
    let opened = steps.run(if is_remote { "tls" } else { "connect" }, longest, connect(open, subject)).await?;
    if !is_remote {
        steps.not_needed("tls", "no network between the gateway and this keystore");
    }
    let keystore = if let (KeystoreConfig::Local { .. }, Opened::Keystore(keystore)) = (&subject.config, &opened) {
        steps.not_needed("log in", "nobody logs in to the local keystore");
        Arc::clone(keystore)
    } else {
        steps.run("log in", STEP_WAIT, log_in(opened, is_remote)).await?
    };
    if is_group {
        // Their first meeting makes key pairs in tokens.
        steps.run("replication key", MEMBERS_WAIT, members_serve(&keystore)).await?;
    }
    let descriptor = steps.run("capabilities", STEP_WAIT, capabilities(&keystore)).await?;
    // What an earlier test has left behind goes first; in a trial it may have been left elsewhere.
    if !subject.trial {
        intent::sweep(gateway, subject.id, &keystore).await;
    }
    let find_us = steps.run("probe key", 4 * STEP_WAIT, probe::probe_key(gateway, subject.id, &keystore, &descriptor)).await?;
    Some(Success { keystore, descriptor, find_us })
}

async fn resolve(config: &KeystoreConfig) -> Result<((), String), Failure> {
    match config {
        KeystoreConfig::Pkcs11(config) => module(config).await.map(|text| ((), text)),
        KeystoreConfig::Group(config) => {
            let mut texts = Vec::new();
            for member in &config.members {
                let text = module(member).await.map_err(|failure| failure.on(&member.name))?;
                texts.push(format!("{}: {text}", member.name));
            }
            Ok(((), texts.join("; ")))
        }
        KeystoreConfig::Remote(remote) => {
            // Files first: they need no name service.
            let config = config.clone();
            let checked = tokio::task::spawn_blocking(move || files::check(&config)).await.map_err(|error| lost(&error))?;
            checked.map_err(|error| Failure::new(chain(&error), "mend the setting, or the file that it names"))?;
            names_of(remote).await.map(|text| ((), text))
        }
        KeystoreConfig::Local { .. } => Ok(((), "nothing to look for".into())),
    }
}

/// Every member of a group has the replication key and passed the self-test.
async fn members_serve(keystore: &Arc<dyn Keystore>) -> Result<((), String), Failure> {
    let deadline = Instant::now() + MEMBERS_WAIT - Duration::from_secs(1);
    loop {
        let members = keystore.members();
        let refused = members.iter().find_map(|member| match &member.state {
            MemberState::Refused(reason) => Some((format!("{}: {reason}", member.name), member.login_refused)),
            _ => None,
        });
        if let Some((refused, login)) = refused {
            if login {
                return Err(Failure::refused(refused));
            }
            return Err(Failure::new(refused, "give this token the group's replication key, or make it another one's member"));
        }
        let away: Vec<String> = members.iter().filter_map(|member| Some(format!("{}: {}", member.name, member.state.reason()?))).collect();
        if away.is_empty() {
            let names: Vec<String> = members.into_iter().map(|member| member.name).collect();
            return Ok(((), format!("on {}, each of which signed rightly", names.join(", "))));
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(away.join("; "), "see that every member's token is there"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every address has a host that is known.
async fn names_of(config: &RemoteKeystoreConfig) -> Result<String, Failure> {
    let mut known = Vec::new();
    for address in &config.addresses {
        let found = tokio::net::lookup_host((address.host(), address.port())).await;
        let found = found.map_err(|error| Failure::new(format!("{address}: {error}"), "mend `addresses`, or the name service"))?;
        known.push(format!("{address} is {}", found.map(|place| place.ip().to_string()).collect::<Vec<_>>().join(", ")));
    }
    Ok(known.join("; "))
}

/// At least one address takes a connection; those that do not are named.
async fn reach(config: &RemoteKeystoreConfig) -> Result<((), String), Failure> {
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for address in &config.addresses {
        let connecting = tokio::net::TcpStream::connect((address.host(), address.port()));
        match tokio::time::timeout(config.connect_timeout, connecting).await {
            Ok(Ok(_)) => open.push(address.to_string()),
            Ok(Err(error)) => closed.push(format!("{address}: {error}")),
            Err(_) => closed.push(format!("{address}: no answer in {} ms", config.connect_timeout.as_millis())),
        }
    }
    if open.is_empty() {
        return Err(Failure::new(closed.join("; "), "see that the server runs, and that no firewall is between"));
    }
    let missing = if closed.is_empty() { String::new() } else { format!("; NOT {}", closed.join("; ")) };
    Ok(((), format!("connected to {}{missing}", open.join(", "))))
}

/// The module is loaded into worker processes that run as this user: what others may replace is refused, and what is none.
async fn module(config: &Pkcs11Config) -> Result<String, Failure> {
    let path = config.module.clone();
    let checked = tokio::task::spawn_blocking(move || check_module_file(&path).and_then(|()| check_module_kind(&path))).await;
    checked.map_err(|error| lost(&error))?.map_err(|fault| Failure::new(fault.text, fault.hint))?;
    Ok(format!("{} is there", config.module.display()))
}

/// What opening has led to.
enum Opened {
    /// A keystore whose device is there; whether it lets us in is the next step's.
    Keystore(Arc<dyn Keystore>),
    /// The secret is known to be wrong without being offered.
    OtherSecret(String),
    /// Our certificate is refused.
    NotTaken(String),
}

/// Opens it, and waits until the device is there or has refused us.
async fn connect(open: &Open, subject: &Subject) -> Result<(Opened, String), Failure> {
    let answers = |opened| Ok((opened, "the device answers".to_owned()));
    let (open, config, secret) = (Arc::clone(open), subject.config.clone(), subject.secret.clone());
    let opened = tokio::task::spawn_blocking(move || open(&config, secret.as_ref())).await;
    let keystore = match opened.map_err(|error| lost(&error))? {
        Ok(keystore) => keystore,
        Err(error) if is_about_secret(&error) => return answers(Opened::OtherSecret(chain(error.as_ref()))),
        Err(error) => return Err(Failure::new(chain(error.as_ref()), "mend the settings")),
    };
    // The first meeting of a group's members takes a while; one that is there stands for all.
    let is_group = matches!(subject.config, KeystoreConfig::Group(_));
    let deadline = Instant::now() + if is_group { MEMBERS_WAIT } else { STEP_WAIT };
    loop {
        match keystore.health() {
            Health::Up | Health::NeedsOperator(_) => return answers(Opened::Keystore(keystore)),
            Health::Down(reason) if reason.contains(REFUSED_US) => return answers(Opened::NotTaken(reason)),
            Health::Down(reason) => {
                if let Some(hint) = lasting(&reason) {
                    return Err(Failure::new(reason, hint));
                }
                if Instant::now() >= deadline {
                    return Err(Failure::new(reason, "see that the device is there, and that label or address are right"));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// A token that is open already with another PIN.
fn is_about_secret(error: &OpenFailure) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(error) = cause {
        if error.downcast_ref::<KsError>().is_some_and(|error| error.class() == Class::AuthStop) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether we are let in. A server behind a network says so only when it is asked something.
async fn log_in(opened: Opened, is_remote: bool) -> Result<(Arc<dyn Keystore>, String), Failure> {
    let keystore = match opened {
        Opened::Keystore(keystore) => keystore,
        Opened::OtherSecret(text) => return Err(Failure::other_secret(text)),
        Opened::NotTaken(text) => return Err(Failure::new(text, CERTIFICATE)),
    };
    if is_remote
        && let Err(error) = keystore.probe(OpCx::within(STEP_WAIT)).await
        && let Some(failure) = not_let_in(&error)
    {
        return Err(failure);
    }
    match keystore.health() {
        Health::NeedsOperator(reason) => Err(Failure::refused(reason)),
        Health::Down(reason) if !is_remote => Err(Failure::new(reason, "see that the device is there")),
        // What else a server could not answer, the next step tells.
        Health::Up | Health::Down(_) => Ok((keystore, "logged in".into())),
    }
}

async fn capabilities(keystore: &Arc<dyn Keystore>) -> Result<(Descriptor, String), Failure> {
    let descriptor = keystore.probe(OpCx::within(STEP_WAIT)).await.map_err(|error| Failure::of(&error))?;
    let text = format!("{}: {}", if descriptor.device.is_empty() { "local" } else { &descriptor.device }, names(descriptor.can).join(" "));
    Ok((descriptor, text))
}

fn lost(error: &tokio::task::JoinError) -> Failure {
    Failure::new(error.to_string(), "this is a fault of the gateway: see its log")
}

/// What a keystore can do, by name.
pub(super) fn names(can: Capabilities) -> Vec<String> {
    let Capabilities {
        generate_aes, generate_des3, generate_hmac, generate_chacha20, generate_rsa, generate_ec, generate_ed25519, generate_ml_dsa,
        generate_ml_kem, import, export, sign_ecdsa, sign_rsa_pkcs1, sign_rsa_pss, sign_ed25519, sign_ml_dsa, decapsulate_ml_kem,
        decrypt_rsa_pkcs1, decrypt_rsa_oaep, aes_ecb, aes_cbc, aes_ctr, aes_gcm,
        aes_key_wrap, hmac, cmac, random,
    } = can;
    let all = [
        ("generate-aes", generate_aes), ("generate-des3", generate_des3), ("generate-hmac", generate_hmac),
        ("generate-chacha20", generate_chacha20), ("generate-rsa", generate_rsa), ("generate-ec", generate_ec),
        ("generate-ed25519", generate_ed25519), ("generate-ml-dsa", generate_ml_dsa), ("generate-ml-kem", generate_ml_kem), ("import", import), ("export", export), ("sign-ecdsa", sign_ecdsa),
        ("sign-rsa-pkcs1", sign_rsa_pkcs1), ("sign-rsa-pss", sign_rsa_pss), ("sign-ed25519", sign_ed25519), ("sign-ml-dsa", sign_ml_dsa), ("decapsulate-ml-kem", decapsulate_ml_kem),
        ("decrypt-rsa-pkcs1", decrypt_rsa_pkcs1), ("decrypt-rsa-oaep", decrypt_rsa_oaep), ("aes-ecb", aes_ecb), ("aes-cbc", aes_cbc),
        ("aes-ctr", aes_ctr), ("aes-gcm", aes_gcm), ("aes-key-wrap", aes_key_wrap), ("hmac", hmac), ("cmac", cmac), ("random", random),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}
