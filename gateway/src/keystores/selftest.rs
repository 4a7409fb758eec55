//! The test of a keystore: step by step, each with a deadline, none after the first that fails. Resolve, connect, TLS, log in,
//! capabilities, and a probe key that is made, used, looked up and destroyed.
//!
//! A PIN is offered once: a keystore that refuses it is not asked again. The probe key is made under an intent like every other
//! key in a device, so it is destroyed also when the test, or the gateway, ends in between.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_backends::group::MemberState;
use keygate_backends::local::PreparedKey;
use keygate_backends::{
    BlockPadding, Capabilities, Class, CryptoOp, CryptoOut, Custody, DecryptOp, Descriptor, EncryptOp, EncryptionScheme, Health, Held, Iv,
    Key, KeyId, KeyRef, KeySpec, Keystore, KsError, OpCx, PairSpec, SignInput, SignatureScheme, local,
};
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm, RecommendedCurve};

use super::{Open, chain};
use crate::config::{KeystoreConfig, Pkcs11Config, RemoteKeystoreConfig};
use crate::operation::Gateway;
use crate::operation::intent::{self, NewKey, Place};
use crate::seal::SecretText;
use crate::store::{KeystoreId, KeystoreTest, OrganisationId, StepOutcome, TestStep};

/// Longest wait for a step; the probe key has several calls, each with this.
const STEP_WAIT: Duration = Duration::from_secs(8);
/// Longest wait for the members of a group to meet.
const MEMBERS_WAIT: Duration = Duration::from_secs(60);
/// How often a device that is being opened is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What the probe key is used on.
const PROBE: &[u8; 16] = b"keygate selftest";

/// What is to be tested.
pub(super) struct Subject {
    pub(super) id: KeystoreId,
    pub(super) config: KeystoreConfig,
    pub(super) secret: Option<SecretText>,
}

/// Why a step failed.
struct Failure {
    text: String,
    hint: String,
    secret_refused: bool,
}

impl Failure {
    fn new(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { text: text.into(), hint: hint.into(), secret_refused: false }
    }

    /// The same, of a member of a group.
    fn on(self, member: &str) -> Self {
        Self { text: format!("{member}: {}", self.text), ..self }
    }

    fn of(error: &KsError) -> Self {
        let hint = match error.class() {
            Class::AuthStop => return Self { secret_refused: true, ..Self::new(error.to_string(), REFUSED_HINT) },
            Class::Unsupported => "the device lacks what keys here need: see its list of mechanisms",
            Class::Denied => "the device refuses it to this user: see its policy and the user's rights",
            Class::Busy | Class::RetrySame | Class::RetryOther => "the device is busy: try again",
            _ => "see the device's own log, and try again",
        };
        Self::new(error.to_string(), hint)
    }
}

const REFUSED_HINT: &str = "give the right one with `keygate keystore set NAME --secret-file FILE`; devices lock after a few wrong ones, so \
                            it was offered once";

/// The steps so far.
#[derive(Default)]
struct Steps {
    list: Vec<TestStep>,
    secret_refused: bool,
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
                self.list.push(TestStep { name, outcome, ms, text: failure.text, hint: failure.hint });
                None
            }
        }
    }

    fn not_needed(&mut self, name: &str, text: &str) {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.list.push(TestStep { name, outcome: StepOutcome::NotNeeded, ms: 0, text, hint: String::new() });
    }
}

/// Runs the test. It always ends, within the sum of its deadlines.
pub(super) async fn run(gateway: &Gateway, open: &Open, subject: Subject, now_ms: i64) -> KeystoreTest {
    let mut steps = Steps::default();
    let found = steps_of(gateway, open, &subject, &mut steps).await;
    let passed = found.is_some();
    let (descriptor, find_us) = found.map_or((None, None), |(descriptor, find_us)| (Some(descriptor), find_us));
    KeystoreTest {
        at_ms: now_ms,
        passed,
        secret_refused: steps.secret_refused,
        steps: steps.list,
        device: descriptor.as_ref().map(|descriptor| descriptor.device.clone()).unwrap_or_default(),
        can: descriptor.map(|descriptor| names(descriptor.can)).unwrap_or_default(),
        find_us,
    }
}

async fn steps_of(gateway: &Gateway, open: &Open, subject: &Subject, steps: &mut Steps) -> Option<(Descriptor, Option<u64>)> {
    steps.run("resolve", STEP_WAIT, resolve(&subject.config)).await?;
    let keystore = if let KeystoreConfig::Remote(config) = &subject.config {
        steps.run("connect", STEP_WAIT, reach(config)).await?;
        // Opening it shakes hands: our certificate and theirs are verified here.
        steps.run("tls", 2 * STEP_WAIT, connect(open, subject)).await?
    } else {
        let keystore = steps.run("connect", STEP_WAIT + MEMBERS_WAIT, connect(open, subject)).await?;
        steps.not_needed("tls", "no network between the gateway and this keystore");
        keystore
    };
    if matches!(subject.config, KeystoreConfig::Local { .. }) {
        steps.not_needed("log in", "nobody logs in to the local keystore");
    } else {
        steps.run("log in", STEP_WAIT, log_in(&keystore)).await?;
    }
    let is_group = matches!(subject.config, KeystoreConfig::Group(_));
    if is_group {
        // Their first meeting makes key pairs in tokens.
        steps.run("replication key", MEMBERS_WAIT, members_serve(&keystore)).await?;
    }
    let descriptor = steps.run("capabilities", STEP_WAIT, capabilities(&keystore)).await?;
    // What an earlier test has left behind goes first.
    intent::sweep(gateway, subject.id, &keystore).await;
    let find_us = steps.run("probe key", 4 * STEP_WAIT, probe_key(gateway, subject.id, &keystore, &descriptor)).await?;
    Some((descriptor, find_us))
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
                return Err(Failure { secret_refused: true, ..Failure::new(refused, REFUSED_HINT) });
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

async fn resolve(config: &KeystoreConfig) -> Result<((), String), Failure> {
    match config {
        KeystoreConfig::Pkcs11(config) => module(&config.module).map(|text| ((), text)),
        KeystoreConfig::Group(config) => {
            let of = |member: &Pkcs11Config| module(&member.module).map(|text| format!("{}: {text}", member.name)).map_err(|failure| failure.on(&member.name));
            let texts: Result<Vec<String>, Failure> = config.members.iter().map(of).collect();
            texts.map(|texts| ((), texts.join("; ")))
        }
        KeystoreConfig::Remote(config) => names_of(config).await.map(|text| ((), text)),
        KeystoreConfig::Local { .. } => Ok(((), "nothing to look for".into())),
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

/// The module is loaded into worker processes that run as this user: what others may replace is refused.
fn module(path: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let shown = path.display();
    if !path.is_absolute() {
        return Err(Failure::new(format!("{shown} is not an absolute path"), "name the module by its whole path"));
    }
    let missing = |error: std::io::Error| Failure::new(format!("{shown}: {error}"), "install the vendor's PKCS#11 library, or mend `module`");
    let found = std::fs::metadata(path).map_err(missing)?;
    if !found.is_file() {
        return Err(Failure::new(format!("{shown} is not a file"), "name the library itself"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(Failure::new(format!("{shown} may be changed by others (mode {:o})", found.mode() & 0o777), "take the rights away: chmod go-w"));
    }
    Ok(format!("{shown} is there"))
}

/// Opens it, and waits until the device is there or has refused us.
async fn connect(open: &Open, subject: &Subject) -> Result<(Arc<dyn Keystore>, String), Failure> {
    let (open, config, secret) = (Arc::clone(open), subject.config.clone(), subject.secret.clone());
    let opened = tokio::task::spawn_blocking(move || open(&config, secret.as_ref())).await;
    let lost = |error: tokio::task::JoinError| Failure::new(error.to_string(), "this is a fault of the gateway: see its log");
    let keystore = opened.map_err(lost)?.map_err(|error| Failure::new(chain(error.as_ref()), "mend the settings"))?;
    // The first meeting of a group's members takes a while; one that is there stands for all.
    let is_group = matches!(subject.config, KeystoreConfig::Group(_));
    let deadline = Instant::now() + if is_group { MEMBERS_WAIT } else { STEP_WAIT };
    loop {
        match keystore.health() {
            Health::Up | Health::NeedsOperator(_) => return Ok((keystore, "the device answers".into())),
            Health::Down(reason) if Instant::now() >= deadline => {
                return Err(Failure::new(reason, "see that the device is there, and that label or address are right"));
            }
            Health::Down(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn log_in(keystore: &Arc<dyn Keystore>) -> Result<((), String), Failure> {
    match keystore.health() {
        Health::Up => Ok(((), "logged in".into())),
        Health::Down(reason) => Err(Failure::new(reason, "see that the device is there")),
        Health::NeedsOperator(reason) => Err(Failure { secret_refused: true, ..Failure::new(reason, REFUSED_HINT) }),
    }
}

async fn capabilities(keystore: &Arc<dyn Keystore>) -> Result<(Descriptor, String), Failure> {
    let descriptor = keystore.probe(OpCx::within(STEP_WAIT)).await.map_err(|error| Failure::of(&error))?;
    let text = format!("{}: {}", if descriptor.device.is_empty() { "local" } else { &descriptor.device }, names(descriptor.can).join(" "));
    Ok((descriptor, text))
}

/// Makes a key, uses it, looks it up and destroys it; what it says is how long the look-up took.
async fn probe_key(
    gateway: &Gateway,
    id: KeystoreId,
    keystore: &Arc<dyn Keystore>,
    descriptor: &Descriptor,
) -> Result<(Option<u64>, String), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(chain(error), "see the log of the gateway");
    let key = KeyId::random().map_err(|error| Failure::of(&error))?;
    if descriptor.custody == Custody::Envelope {
        return envelope_probe(keystore, key).await.map(|text| (None, text));
    }
    let place = Place { organisation: OrganisationId::DEFAULT, id, keystore: Arc::clone(keystore) };
    // From here on dropping it destroys the key.
    let made = NewKey::begin(gateway, place, key).await.map_err(|error| failed(&error))?;
    let used = device_probe(keystore, key, descriptor.can).await;
    let gone = made.take_back().await;
    let (find_us, text) = used?;
    gone.map_err(|error| Failure::new(chain(&error), "the probe key is still in the device: it is destroyed as soon as that works"))?;
    Ok((Some(find_us), format!("{text}, found in {find_us} us, destroyed")))
}

async fn envelope_probe(keystore: &Arc<dyn Keystore>, key: KeyId) -> Result<String, Failure> {
    let of = |error: KsError| Failure::of(&error);
    let spec = KeySpec { algorithm: CryptographicAlgorithm::Aes, bits: 256 };
    let Held::Material(made) = keystore.generate(key, &spec, OpCx::within(STEP_WAIT)).await.map_err(of)? else { return Err(wrong()) };
    let prepared = PreparedKey::new(&made).map_err(of)?;
    let scheme = EncryptionScheme::Gcm { tag_len: 16 };
    let iv = Iv::Random { len: None };
    let out = local::encrypt(&prepared, &EncryptOp { scheme: &scheme, iv, aad: &[], data: PROBE, legacy: false }).map_err(of)?;
    let iv = out.iv.clone().unwrap_or_default();
    let op = DecryptOp { scheme: &scheme, iv: &iv, aad: &[], data: &out.data, tag: out.tag.as_deref() };
    let back = local::decrypt(&prepared, &op).map_err(of)?;
    if back.expose() == PROBE { Ok("AES-256 made, used and forgotten".into()) } else { Err(wrong()) }
}

async fn device_probe(keystore: &Arc<dyn Keystore>, key: KeyId, can: Capabilities) -> Result<(u64, String), Failure> {
    let (reference, text) = if can.generate_ec && can.sign_ecdsa {
        (sign_probe(keystore, key).await?, "P-256 made, signed with and verified")
    } else if can.generate_aes && can.aes_cbc {
        (encrypt_probe(keystore, key).await?, "AES-256 made, encrypted with and back")
    } else {
        let text = "the device makes neither EC keys that sign nor AES keys that encrypt";
        return Err(Failure::new(text, "allow the mechanisms for one of them in the device"));
    };
    let begun = Instant::now();
    keystore.info(&reference, OpCx::within(STEP_WAIT)).await.map_err(|error| Failure::of(&error))?;
    Ok((u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), text.into()))
}

async fn sign_probe(keystore: &Arc<dyn Keystore>, key: KeyId) -> Result<KeyRef, Failure> {
    let of = |error: KsError| Failure::of(&error);
    let cx = || OpCx::within(STEP_WAIT);
    let pair = keystore.generate_pair(key, &PairSpec::Ec { curve: RecommendedCurve::P256 }, cx()).await.map_err(of)?;
    let Held::Reference(reference) = pair.private else { return Err(wrong()) };
    let (scheme, input) = (SignatureScheme::Ecdsa(HashingAlgorithm::Sha256), SignInput::Message(PROBE));
    let signed = keystore.crypto(Key::Reference(&reference), CryptoOp::Sign(scheme, input), cx()).await.map_err(of)?;
    let CryptoOut::Signature(signature) = signed else { return Err(wrong()) };
    let public = PreparedKey::new(&pair.public).map_err(of)?;
    // Reads take turns, so as many as there are members ask each of them.
    for _ in 1..keystore.members().len() {
        let signed = keystore.crypto(Key::Reference(&reference), CryptoOp::Sign(scheme, input), cx()).await.map_err(of)?;
        let CryptoOut::Signature(signature) = signed else { return Err(wrong()) };
        if !local::verify(&public, scheme, input, &signature).map_err(of)? {
            return Err(wrong());
        }
    }
    if local::verify(&public, scheme, input, &signature).map_err(of)? { Ok(reference) } else { Err(wrong()) }
}

async fn encrypt_probe(keystore: &Arc<dyn Keystore>, key: KeyId) -> Result<KeyRef, Failure> {
    let of = |error: KsError| Failure::of(&error);
    let cx = || OpCx::within(STEP_WAIT);
    let spec = KeySpec { algorithm: CryptographicAlgorithm::Aes, bits: 256 };
    let Held::Reference(reference) = keystore.generate(key, &spec, cx()).await.map_err(of)? else { return Err(wrong()) };
    let (scheme, iv) = (EncryptionScheme::Cbc(BlockPadding::None), [7; 16]);
    let op = EncryptOp { scheme: &scheme, iv: Iv::Given(&iv), aad: &[], data: PROBE, legacy: false };
    let out = keystore.crypto(Key::Reference(&reference), CryptoOp::Encrypt(op), cx()).await.map_err(of)?;
    let CryptoOut::Encrypted(out) = out else { return Err(wrong()) };
    let op = DecryptOp { scheme: &scheme, iv: &iv, aad: &[], data: &out.data, tag: None };
    let back = keystore.crypto(Key::Reference(&reference), CryptoOp::Decrypt(op), cx()).await.map_err(of)?;
    match back {
        CryptoOut::Decrypted(back) if back.expose() == PROBE => Ok(reference),
        _ => Err(wrong()),
    }
}

fn wrong() -> Failure {
    Failure::new("the device gave a wrong result", "do not use it: its results cannot be relied on")
}

/// What a keystore can do, by name.
pub(super) fn names(can: Capabilities) -> Vec<String> {
    let Capabilities {
        generate_aes, generate_des3, generate_hmac, generate_chacha20, generate_rsa, generate_ec, generate_ed25519, generate_ml_dsa,
        generate_ml_kem, import, export,
        sign_ecdsa, sign_rsa_pkcs1, sign_rsa_pss, sign_ed25519, sign_ml_dsa, decapsulate_ml_kem, decrypt_rsa_pkcs1, decrypt_rsa_oaep, aes_ecb, aes_cbc, aes_ctr, aes_gcm,
        aes_key_wrap, hmac, cmac, random,
    } = can;
    let all = [
        ("generate-aes", generate_aes), ("generate-des3", generate_des3), ("generate-hmac", generate_hmac),
        ("generate-chacha20", generate_chacha20), ("generate-rsa", generate_rsa), ("generate-ec", generate_ec),
        ("generate-ed25519", generate_ed25519), ("generate-ml-dsa", generate_ml_dsa), ("generate-ml-kem", generate_ml_kem),
        ("import", import), ("export", export), ("sign-ecdsa", sign_ecdsa),
        ("sign-rsa-pkcs1", sign_rsa_pkcs1), ("sign-rsa-pss", sign_rsa_pss), ("sign-ed25519", sign_ed25519),
        ("sign-ml-dsa", sign_ml_dsa), ("decapsulate-ml-kem", decapsulate_ml_kem),
        ("decrypt-rsa-pkcs1", decrypt_rsa_pkcs1), ("decrypt-rsa-oaep", decrypt_rsa_oaep), ("aes-ecb", aes_ecb), ("aes-cbc", aes_cbc),
        ("aes-ctr", aes_ctr), ("aes-gcm", aes_gcm), ("aes-key-wrap", aes_key_wrap), ("hmac", hmac), ("cmac", cmac), ("random", random),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}
