//! A keystore with a note of how it does: calls, waits, failures by class. What `keystore status` and the metrics show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use keygate_backends::group::MemberStatus;
use keygate_backends::local::KeyMaterial;
use keygate_backends::{
    BoxFuture, Class, CryptoOp, CryptoOut, Descriptor, Figures, Health, Held, HeldPair, Key, KeyId, KeyInfo, KeyRef, KeySpec,
    Keystore, OpCx, PairSpec, Result, SecretBytes,
};

/// Wraps a keystore.
pub(super) struct Observed {
    inner: Arc<dyn Keystore>,
    notes: Arc<Notes>,
}

/// What is noted of a keystore.
#[derive(Debug, Default)]
pub struct Notes {
    calls: AtomicU64,
    under_way: AtomicU64,
    micros: AtomicU64,
    micros_max: AtomicU64,
    /// Of the newest calls, an exponential mean over some 16 of them.
    micros_recent: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

/// What was noted, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that wait for their answer.
    pub under_way: u64,
    /// Microseconds of all calls together.
    pub micros: u64,
    /// Microseconds of the longest call.
    pub micros_max: u64,
    /// Microseconds of a call, the newest ones counting most.
    pub micros_recent: u64,
    /// Calls that failed, by what is to be done about it; requests at fault are not among them.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Observed {
    /// Around `inner`; the notes are shared with whoever reads them.
    pub(super) fn around(inner: Arc<dyn Keystore>) -> (Arc<dyn Keystore>, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        (Arc::new(Self { inner, notes: Arc::clone(&notes) }), notes)
    }
}

impl Notes {
    /// What is noted now.
    #[must_use]
    pub fn read(&self) -> Noted {
        Noted {
            calls: self.calls.load(Relaxed),
            under_way: self.under_way.load(Relaxed),
            micros: self.micros.load(Relaxed),
            micros_max: self.micros_max.load(Relaxed),
            micros_recent: self.micros_recent.load(Relaxed),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    async fn of<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let _counted = UnderWay::begin(&self.under_way);
        let begun = Instant::now();
        let answer = call.await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
        self.micros_max.fetch_max(micros, Relaxed);
        // Two calls at once may lose one of them: it is a mean.
        let recent = self.micros_recent.load(Relaxed);
        self.micros_recent.store(if recent == 0 { micros } else { recent - recent / 16 + micros / 16 }, Relaxed);
        if let Err(error) = &answer
            && let Some(class) = name(error.class())
        {
            *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(class).or_default() += 1;
        }
        answer
    }
}

/// A call whose future is dropped counts as under way no longer.
struct UnderWay<'a>(&'a AtomicU64);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The class as metrics name it; `None` where the keystore is not at fault.
fn name(class: Class) -> Option<&'static str> {
    Some(match class {
        Class::AuthStop => "auth_stop",
        Class::Busy => "busy",
        Class::Corrupt => "corrupt",
        Class::Denied => "denied",
        Class::NotFound => "not_found",
        Class::OutcomeUnknown => "outcome_unknown",
        Class::RetryOther => "retry_other",
        Class::RetrySame => "retry_same",
        Class::SessionLost => "session_lost",
        Class::TokenLost => "token_lost",
        Class::BadInput(_) | Class::Unsupported => return None,
    })
}

impl Keystore for Observed {
    fn descriptor(&self) -> Descriptor {
        self.inner.descriptor()
    }

    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(self.notes.of(self.inner.probe(cx)))
    }

    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.notes.of(self.inner.generate(id, spec, cx)))
    }

    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        Box::pin(self.notes.of(self.inner.generate_pair(id, spec, cx)))
    }

    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.notes.of(self.inner.import(id, material, cx)))
    }

    fn export<'a>(&'a self, key: Key<'a>, cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(self.notes.of(self.inner.export(key, cx)))
    }

    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        Box::pin(self.notes.of(self.inner.crypto(key, op, cx)))
    }

    fn random(&self, len: usize, cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        Box::pin(self.notes.of(self.inner.random(len, cx)))
    }

    fn info<'a>(&'a self, key: &'a KeyRef, cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        Box::pin(self.notes.of(self.inner.info(key, cx)))
    }

    fn destroy<'a>(&'a self, id: KeyId, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.notes.of(self.inner.destroy(id, cx)))
    }

    fn list(&self, cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        Box::pin(self.notes.of(self.inner.list(cx)))
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn retry(&self, secret: Option<SecretBytes>) {
        self.inner.retry(secret);
    }

    fn figures(&self) -> Figures {
        self.inner.figures()
    }

    fn members(&self) -> Vec<MemberStatus> {
        self.inner.members()
    }
}
