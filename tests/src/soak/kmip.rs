//! One KMIP client: its connection, what it asks for, and the ledger it keeps.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use keygate_kmip::{Operation, ResultReason, Tag};
use rustls::ClientConfig;

use super::ledger::{Attempt, IV, KNOWN, Key, Ledger, Life, PROBE, What, encrypted};
use super::place::{LOCAL, PLACES, Place};
use super::site::Site;
use super::watch::Watch;
use crate::client::TlsKmipClient;
use crate::request::{self, bytes, enumeration, structure, text};
use crate::ttlv::{Item, Value};

/// The version that says most about why something is refused.
const V2_1: (i32, i32) = (2, 1);
/// How long a client waits for an answer: longer than any deadline of the gateway (30 s), so that no answer in time is a fault.
const PATIENCE: Duration = Duration::from_secs(45);
/// A client that was refused, or got no connection, waits before it asks again.
const PAUSE: Duration = Duration::from_millis(20);
/// Live keys of one client; above, it destroys.
const KEYS_MAX: usize = 30;

/// A connection that is made again when it is lost.
pub(super) struct Link {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    client: Option<TlsKmipClient>,
}

/// What came of a request.
pub(super) enum Answer {
    Done(Item),
    Refused(u32, String),
    /// It may have been done.
    Nothing(io::Error),
    /// There was no connection to send it over.
    Unsent,
}

impl Link {
    pub(super) fn new(site: &Site) -> Self {
        Self { address: site.kmip, tls: Arc::clone(&site.tls), client: None }
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ask(&mut self, operation: Operation, payload: Vec<Item>) -> Answer {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => {
                let made = TlsKmipClient::connect_patiently(self.address, "localhost", Arc::clone(&self.tls), PATIENCE);
                match made.and_then(|mut client| client.handshake().map(|()| client)) {
                    Ok(client) => client,
                    Err(_) => return Answer::Unsent,
                }
            }
        };
        let answer = match client.request(&request::message(V2_1, vec![(operation, payload)])) {
            Ok(answer) => answer,
            Err(error) => return Answer::Nothing(error),
        };
        self.client = Some(client);
        match request::outcome(&answer) {
            Ok(payload) => Answer::Done(payload),
            Err((reason, message)) => Answer::Refused(reason, message),
        }
    }
}

/// One client at work.
pub(super) struct Worker {
    number: usize,
    place: usize,
    link: Link,
    random: fastrand::Rng,
    watch: Arc<Watch>,
    ledger: Ledger,
    next: u64,
}

impl Worker {
    pub(super) fn new(number: usize, seed: u64, site: &Site, watch: Arc<Watch>) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { number, place: super::place_of(number), link: Link::new(site), random, watch, ledger: Ledger::default(), next: 0 }
    }

    pub(super) fn run(mut self) -> Ledger {
        while !self.watch.is_over() {
            self.turn();
        }
        self.ledger
    }

    fn kind(&self) -> &'static Place {
        &PLACES[self.place]
    }

    fn turn(&mut self) {
        let live = self.ledger.keys.iter().filter(|key| key.life == Life::Live).count();
        let retiring: Vec<usize> = (0..self.ledger.keys.len()).filter(|&at| self.ledger.keys[at].life == Life::Retiring).collect();
        match self.random.u8(..100) {
            _ if live == 0 => self.make(),
            0..=14 if live < KEYS_MAX => self.make(),
            15..=22 => self.destroy(retiring.first().copied()),
            23..=29 => self.locate(),
            30..=45 if self.kind().gets => self.get(),
            _ if live >= KEYS_MAX => self.destroy(retiring.first().copied()),
            _ => self.use_one(),
        }
    }

    fn pick(&mut self) -> Option<usize> {
        // Old keys are many and mostly gone: look near the end first, and anywhere now and then.
        let live: Vec<usize> = (0..self.ledger.keys.len()).filter(|&at| self.ledger.keys[at].life == Life::Live).collect();
        (!live.is_empty()).then(|| live[self.random.usize(..live.len())])
    }

    /// Asks, and counts; `None` unless it was done. What a live key of ours may never be told is written down.
    fn ask(&mut self, name: &'static str, operation: Operation, payload: Vec<Item>, about: Option<&str>) -> Result<Item, Option<String>> {
        let (asked, begun) = (self.watch.ask(), Instant::now());
        let answer = self.link.ask(operation, payload);
        let disturbed = self.watch.was_disturbed(&asked);
        if self.kind().name == LOCAL && !disturbed && !matches!(answer, Answer::Unsent) {
            self.watch.local_took(begun.elapsed());
        }
        let place = PLACES[self.place].name;
        match answer {
            Answer::Done(payload) => {
                self.watch.done(self.place, name);
                Ok(payload)
            }
            Answer::Refused(reason, message) => {
                let lost = [ResultReason::ItemNotFound, ResultReason::ObjectDestroyed, ResultReason::KeyValueNotPresent];
                let gone = lost.iter().any(|lost| lost.code() == reason);
                if let Some(about) = about.filter(|_| gone) {
                    self.watch.wrong(format!("{place}: {name} of {about}, which is acknowledged and live: {message}"));
                }
                if reason == ResultReason::InternalServerError.code() && !disturbed {
                    self.watch.wrong(format!("{place}: {name}: internal error: {message}"));
                }
                // What a revocation without an answer leaves: it has to be asked for again.
                let unrevoked = name == "Destroy" && message.contains("Active");
                if !disturbed && place == LOCAL && !unrevoked {
                    self.watch.wrong(format!("{place}: {name} was refused without a fault of the gateway: {reason:#x} {message}"));
                }
                self.watch.refused(self.place, name, &format!("{reason:#x} {message}"));
                std::thread::sleep(PAUSE);
                Err(Some(message))
            }
            Answer::Nothing(error) => {
                if !disturbed {
                    self.watch.wrong(format!("{place}: {name} got no answer after {:.1?}: {error}", begun.elapsed()));
                }
                self.watch.unanswered(self.place, name);
                std::thread::sleep(PAUSE);
                Err(None)
            }
            Answer::Unsent => {
                std::thread::sleep(PAUSE);
                // Nothing can have happened.
                Err(Some("no connection".to_owned()))
            }
        }
    }

    fn make(&mut self) {
        self.next += 1;
        let name = format!("soak-{}-{}", self.number, self.next);
        match self.random.u8(..10) {
            0..=1 if self.kind().pairs => self.make_pair(name),
            2..=5 if self.kind().registers => self.register(name),
            _ => self.create(name),
        }
    }

    fn attempted(&mut self, name: String, value: Option<[u8; 32]>, refused: Option<String>) {
        self.ledger.attempts.push(Attempt { place: self.place, name, value, refused });
    }

    fn made(&mut self, name: String, id: String, what: What) {
        self.ledger.keys.push(Key { place: self.place, name, id, what, life: Life::Live });
    }

    fn create(&mut self, name: String) {
        let payload = vec![enumeration(Tag::OBJECT_TYPE, 2), structure(Tag::ATTRIBUTES, attributes(self.kind().name, &name, Some(256), Some(0x0C)))];
        match self.ask("Create", Operation::Create, payload, None) {
            Ok(answer) => self.made(name, request::identifier(&answer), What::Cipher { value: None, probe: None }),
            Err(refused) => self.attempted(name, None, refused),
        }
    }

    fn register(&mut self, name: String) {
        let mut value = [0; 32];
        value[..16].copy_from_slice(KNOWN);
        self.random.fill(&mut value[16..]);
        let block = vec![
            enumeration(Tag::KEY_FORMAT_TYPE, 1),
            structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, &value)]),
            enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3),
            request::integer(Tag::CRYPTOGRAPHIC_LENGTH, 256),
        ];
        let payload = vec![
            enumeration(Tag::OBJECT_TYPE, 2),
            structure(Tag::ATTRIBUTES, attributes(self.kind().name, &name, None, Some(0x0C))),
            structure(Tag::SYMMETRIC_KEY, vec![structure(Tag::KEY_BLOCK, block)]),
        ];
        match self.ask("Register", Operation::Register, payload, None) {
            Ok(answer) => self.made(name, request::identifier(&answer), What::Cipher { value: Some(value), probe: None }),
            Err(refused) => self.attempted(name, Some(value), refused),
        }
    }

    fn make_pair(&mut self, name: String) {
        let curve = Item::new(Tag::CRYPTOGRAPHIC_DOMAIN_PARAMETERS.0, Value::Structure(vec![enumeration(Tag::RECOMMENDED_CURVE, 7)]));
        let common = vec![
            enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 6),
            request::integer(Tag::CRYPTOGRAPHIC_LENGTH, 256),
            curve,
            Item::new(Tag::ACTIVATION_DATE.0, Value::DateTime(1)),
            keystore(self.kind().name),
        ];
        let usage = |mask| request::integer(Tag::CRYPTOGRAPHIC_USAGE_MASK, mask);
        let named = Item::new(Tag::NAME.0, request::name_value(&name));
        let payload = vec![
            structure(Tag::COMMON_ATTRIBUTES, common),
            structure(Tag::PRIVATE_KEY_ATTRIBUTES, vec![usage(1), named]),
            structure(Tag::PUBLIC_KEY_ATTRIBUTES, vec![usage(2)]),
        ];
        let answer = match self.ask("CreateKeyPair", Operation::CreateKeyPair, payload, None) {
            Ok(answer) => answer,
            Err(refused) => return self.attempted(name, None, refused),
        };
        let id = |tag: Tag| answer.field(tag.0).and_then(Item::text).unwrap_or_default().to_owned();
        let (private, public) = (id(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), id(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER));
        // Without its public half a pair proves nothing; the checks at the end fetch it if this does not.
        let point = self.public_point(&public).unwrap_or_default();
        self.made(name, private, What::Pair { point, public });
    }

    fn public_point(&mut self, public: &str) -> Option<Vec<u8>> {
        let answer = self.ask("Get", Operation::Get, vec![text(Tag::UNIQUE_IDENTIFIER, public)], Some(public)).ok()?;
        point_in(&answer)
    }

    fn use_one(&mut self) {
        let Some(at) = self.pick() else { return };
        let (id, name) = (self.ledger.keys[at].id.clone(), self.ledger.keys[at].name.clone());
        match &self.ledger.keys[at].what {
            What::Pair { point, public } if point.is_empty() => {
                let public = public.clone();
                let found = self.public_point(&public).unwrap_or_default();
                if let What::Pair { point, .. } = &mut self.ledger.keys[at].what {
                    *point = found;
                }
            }
            What::Pair { point, .. } => {
                let (point, mut message) = (point.clone(), vec![0; self.random.usize(1..200)]);
                self.random.fill(&mut message);
                let Ok(answer) = self.ask("Sign", Operation::Sign, sign(&id, &message), Some(&name)) else { return };
                if !is_signed(&answer, &point, &message) {
                    self.watch.wrong(format!("{}: a wrong signature of {name}", self.kind().name));
                }
            }
            What::Cipher { .. } if self.random.bool() => self.prove(at, &id, &name),
            What::Cipher { .. } => self.round_trip(&id, &name),
        }
    }

    /// Encrypts the probe: always the same text.
    fn prove(&mut self, at: usize, id: &str, name: &str) {
        let Ok(answer) = self.ask("Encrypt", Operation::Encrypt, cipher(id, PROBE), Some(name)) else { return };
        let Some(found) = answer.field(Tag::DATA.0).and_then(Item::bytes) else { return };
        let What::Cipher { value, probe } = &mut self.ledger.keys[at].what else { return };
        let expected = value.as_ref().and_then(|value| encrypted(value, PROBE)).or_else(|| probe.clone());
        if expected.is_some_and(|expected| expected != found) {
            self.watch.wrong(format!("{}: {name} encrypts to something else", PLACES[self.place].name));
        } else if probe.is_none() {
            *probe = Some(found.to_vec());
        }
    }

    fn round_trip(&mut self, id: &str, name: &str) {
        let mut data = vec![0; self.random.usize(1..400)];
        self.random.fill(&mut data);
        let Ok(answer) = self.ask("Encrypt", Operation::Encrypt, cipher(id, &data), Some(name)) else { return };
        let Some(sealed) = answer.field(Tag::DATA.0).and_then(Item::bytes).map(<[u8]>::to_vec) else { return };
        let Ok(answer) = self.ask("Decrypt", Operation::Decrypt, cipher(id, &sealed), Some(name)) else { return };
        if answer.field(Tag::DATA.0).and_then(Item::bytes) != Some(&data) {
            self.watch.wrong(format!("{}: {name} decrypts to something else", self.kind().name));
        }
    }

    fn get(&mut self) {
        let Some(at) = self.pick() else { return };
        let (id, name) = (self.ledger.keys[at].id.clone(), self.ledger.keys[at].name.clone());
        let What::Cipher { .. } = self.ledger.keys[at].what else { return };
        let Ok(answer) = self.ask("Get", Operation::Get, vec![text(Tag::UNIQUE_IDENTIFIER, &id)], Some(&name)) else { return };
        let found: Option<[u8; 32]> = answer.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).and_then(|found| found.try_into().ok());
        let What::Cipher { value, .. } = &mut self.ledger.keys[at].what else { return };
        match (&value, found) {
            (_, None) => self.watch.wrong(format!("{}: Get of {name} gives no AES-256 key", PLACES[self.place].name)),
            (Some(value), Some(found)) if *value != found => {
                self.watch.wrong(format!("{}: {name} has another value", PLACES[self.place].name));
            }
            (_, found) => *value = found,
        }
    }

    fn locate(&mut self) {
        let Some(at) = self.pick() else { return };
        let (id, name) = (self.ledger.keys[at].id.clone(), self.ledger.keys[at].name.clone());
        let Ok(answer) = self.ask("Locate", Operation::Locate, named(&name), Some(&name)) else { return };
        if !located(&answer).contains(&id) {
            self.watch.wrong(format!("{}: Locate does not find {name}", self.kind().name));
        }
    }

    fn destroy(&mut self, retiring: Option<usize>) {
        let Some(at) = retiring.or_else(|| self.pick()) else { return };
        let (id, name) = (self.ledger.keys[at].id.clone(), self.ledger.keys[at].name.clone());
        if self.ledger.keys[at].life == Life::Live {
            self.ledger.keys[at].life = Life::Retiring;
            let reason = structure(Tag::REVOCATION_REASON, vec![enumeration(Tag::REVOCATION_REASON_CODE, 6)]);
            let payload = vec![text(Tag::UNIQUE_IDENTIFIER, &id), reason];
            if self.ask("Revoke", Operation::Revoke, payload, Some(&name)).is_err() {
                return;
            }
        }
        self.ledger.keys[at].life = Life::MaybeGone;
        let destroyed = self.ask("Destroy", Operation::Destroy, vec![text(Tag::UNIQUE_IDENTIFIER, &id)], None);
        match destroyed {
            Ok(_) => self.ledger.keys[at].life = Life::Gone,
            // Not revoked after all: it has to be first.
            Err(Some(message)) if message.to_lowercase().contains("active") => self.ledger.keys[at].life = Life::Live,
            Err(_) => {}
        }
    }
}

fn keystore(name: &str) -> Item {
    structure(
        Tag::ATTRIBUTE,
        vec![text(Tag::VENDOR_IDENTIFICATION, "keygate"), text(Tag::ATTRIBUTE_NAME, "keystore"), text(Tag::ATTRIBUTE_VALUE, name)],
    )
}

/// The attributes of a new AES key.
fn attributes(place: &str, name: &str, bits: Option<i32>, usage: Option<i32>) -> Vec<Item> {
    let mut list = Vec::new();
    if let Some(bits) = bits {
        list.extend([enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3), request::integer(Tag::CRYPTOGRAPHIC_LENGTH, bits)]);
    }
    list.extend(usage.map(|mask| request::integer(Tag::CRYPTOGRAPHIC_USAGE_MASK, mask)));
    list.extend([
        Item::new(Tag::NAME.0, request::name_value(name)),
        Item::new(Tag::ACTIVATION_DATE.0, Value::DateTime(1)),
        keystore(place),
    ]);
    list
}

/// Encrypt or Decrypt with AES-CBC and PKCS#5.
pub(super) fn cipher(id: &str, data: &[u8]) -> Vec<Item> {
    let parameters = vec![enumeration(Tag::BLOCK_CIPHER_MODE, 1), enumeration(Tag::PADDING_METHOD, 3)];
    vec![
        text(Tag::UNIQUE_IDENTIFIER, id),
        structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
        bytes(Tag::DATA, data),
        bytes(Tag::IV_COUNTER_NONCE, &IV),
    ]
}

/// Sign with ECDSA and SHA-256.
pub(super) fn sign(id: &str, message: &[u8]) -> Vec<Item> {
    let parameters = vec![enumeration(Tag::HASHING_ALGORITHM, 6), enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 6)];
    vec![text(Tag::UNIQUE_IDENTIFIER, id), structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters), bytes(Tag::DATA, message)]
}

/// Locate by name.
pub(super) fn named(name: &str) -> Vec<Item> {
    vec![structure(Tag::ATTRIBUTES, vec![Item::new(Tag::NAME.0, request::name_value(name))])]
}

/// What Locate found.
pub(super) fn located(answer: &Item) -> Vec<String> {
    let found = answer.fields().iter().filter(|field| field.tag == Tag::UNIQUE_IDENTIFIER.0);
    found.filter_map(Item::text).map(str::to_owned).collect()
}

/// The point of a public key on P-256 that was got.
pub(super) fn point_in(answer: &Item) -> Option<Vec<u8>> {
    let spki = answer.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes)?;
    Some(spki[spki.len().checked_sub(65)?..].to_vec())
}

/// Whether an answer to Sign holds a right signature.
pub(super) fn is_signed(answer: &Item, point: &[u8], message: &[u8]) -> bool {
    let Some(signature) = answer.field(Tag::SIGNATURE_DATA.0).and_then(Item::bytes) else { return false };
    let fixed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature);
    fixed.is_ok() || UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
}
