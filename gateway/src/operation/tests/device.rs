//! A device in memory: InBackend custody without a token. It can be told to fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use keygate_backends::local::{self, KeyMaterial, PreparedKey};
use keygate_kmip::CryptographicAlgorithm;
use tokio::sync::{Notify, watch};
use keygate_backends::{
    BoxFuture, Capabilities, Class, CryptoOp, CryptoOut, Custody, Descriptor, Health, Held, HeldPair, Key, KeyCheck, KeyClass,
    KeyId, KeyInfo, KeyRef, KeySpec, Keystore, KeystoreId, KsError, OpCx, PairSpec, Result, SecretBytes,
};

/// How the next making or destroying of a key goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was done.
    Refused,
    /// It was done and the answer was lost.
    AnswerLost,
}

pub(super) struct Device {
    id: KeystoreId,
    keys: Mutex<HashMap<KeyId, KeyMaterial>>,
    failure: Mutex<Option<Failure>>,
    exports: AtomicBool,
    /// It has no use for keys.
    only_keeps: AtomicBool,
    /// It stores another value than it is given.
    alters: AtomicBool,
    /// Destroying waits.
    holds: watch::Sender<bool>,
    /// Destroying has been asked for.
    pub(super) asked_to_destroy: Notify,
}

impl Device {
    pub(super) fn new() -> Self {
        Self {
            id: KeystoreId::new("device").expect("a legal name"),
            keys: Mutex::default(),
            failure: Mutex::default(),
            exports: AtomicBool::default(),
            only_keeps: AtomicBool::default(),
            alters: AtomicBool::default(),
            holds: watch::Sender::new(false),
            asked_to_destroy: Notify::new(),
        }
    }

    /// Whether destroying waits.
    pub(super) fn hold(&self, holds: bool) {
        self.holds.send_replace(holds);
    }

    /// Keeps keys and uses none.
    pub(super) fn only_keep(&self) {
        self.only_keeps.store(true, Relaxed);
    }

    /// Stores another value than it is given.
    pub(super) fn alter(&self) {
        self.alters.store(true, Relaxed);
    }

    pub(super) fn key_count(&self) -> usize {
        lock(&self.keys).len()
    }

    pub(super) fn fail_next(&self, failure: Failure) {
        *lock(&self.failure) = Some(failure);
    }

    /// Hands keys out from now on.
    pub(super) fn allow_export(&self) {
        self.exports.store(true, Relaxed);
    }

    /// Does it, unless it fails.
    fn act<T>(&self, act: impl FnOnce(&mut HashMap<KeyId, KeyMaterial>) -> Result<T>) -> Result<T> {
        match lock(&self.failure).take() {
            Some(Failure::Refused) => Err(KsError::new(Class::TokenLost, "the device is away")),
            Some(Failure::AnswerLost) => {
                act(&mut lock(&self.keys))?;
                Err(KsError::new(Class::OutcomeUnknown, "the answer was lost"))
            }
            None => act(&mut lock(&self.keys)),
        }
    }

    fn name(&self, id: KeyId, class: KeyClass) -> KeyRef {
        KeyRef { keystore: self.id.clone(), id, class, check: KeyCheck::None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone(id: KeyId) -> KsError {
    KsError::not_found(format!("no key {id}"))
}

impl Keystore for Device {
    fn descriptor(&self) -> Descriptor {
        let can = Capabilities { export: self.exports.load(Relaxed), ..Capabilities::default() };
        Descriptor { id: self.id.clone(), kind: "memory", custody: Custody::InBackend, can, device: String::new() }
    }

    fn probe(&self, _: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(async { Ok(self.descriptor()) })
    }

    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, _: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(async move {
            let key = local::generate(spec)?;
            self.act(|keys| Ok(keys.insert(id, key)))?;
            Ok(Held::Reference(self.name(id, KeyClass::Secret)))
        })
    }

    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, _: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        Box::pin(async move {
            let (private, public) = local::generate_pair(spec)?;
            self.act(|keys| Ok(keys.insert(id, private)))?;
            Ok(HeldPair { private: Held::Reference(self.name(id, KeyClass::Private)), public })
        })
    }

    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, _: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(async move {
            let stored = if self.alters.load(Relaxed) {
                local::generate(&KeySpec { algorithm: CryptographicAlgorithm::Aes, bits: 256 })?
            } else {
                material.clone()
            };
            self.act(|keys| Ok(keys.insert(id, stored)))?;
            Ok(Held::Reference(self.name(id, KeyClass::Secret)))
        })
    }

    fn export<'a>(&'a self, key: Key<'a>, _: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(async move {
            match key {
                Key::Reference(name) if self.exports.load(Relaxed) => lock(&self.keys).get(&name.id).cloned().ok_or_else(|| gone(name.id)),
                _ => Err(KsError::new(Class::Denied, "keys do not leave")),
            }
        })
    }

    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, _: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        Box::pin(async move {
            let Key::Reference(name) = key else { return Err(KsError::key("not a key of this device")) };
            if self.only_keeps.load(Relaxed) {
                return Err(KsError::unsupported("it only keeps keys"));
            }
            let material = lock(&self.keys).get(&name.id).cloned().ok_or_else(|| gone(name.id))?;
            let key = PreparedKey::new(&material)?;
            match op {
                CryptoOp::Encrypt(op) => local::encrypt(&key, &op).map(CryptoOut::Encrypted),
                CryptoOp::Decrypt(op) => local::decrypt(&key, &op).map(CryptoOut::Decrypted),
                CryptoOp::Sign(scheme, input) => local::sign(&key, scheme, input).map(CryptoOut::Signature),
                CryptoOp::Verify(..) => Err(KsError::unsupported("verify with the public half")),
                CryptoOp::Mac { scheme, iv, data } => local::mac(&key, scheme, iv, data).map(CryptoOut::Mac),
                CryptoOp::Encapsulate => Err(KsError::unsupported("encapsulate with the public half")),
                CryptoOp::Decapsulate(ciphertext) => local::decapsulate(&key, ciphertext).map(CryptoOut::Decapsulated),
            }
        })
    }

    fn random(&self, len: usize, _: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        Box::pin(async move { local::random(len) })
    }

    fn info<'a>(&'a self, key: &'a KeyRef, _: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        Box::pin(async move { Err(gone(key.id)) })
    }

    fn destroy<'a>(&'a self, id: KeyId, _: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.asked_to_destroy.notify_one();
            // The sender is this device's own: it is there.
            let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
            self.act(|keys| keys.remove(&id).map(|_| ()).ok_or_else(|| gone(id)))
        })
    }

    fn list(&self, _: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn health(&self) -> Health {
        Health::Up
    }
}
