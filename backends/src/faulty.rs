//! A keystore that fails on purpose: wraps any other and breaks chosen calls, for tests of whoever uses a keystore.

use crate::error::{Class, KsError, Result};
use crate::group::MemberStatus;
use crate::key::{Held, HeldPair, Key, KeyId, KeyRef, KeySpec, PairSpec};
use crate::keystore::{BoxFuture, Descriptor, Figures, Health, KeyInfo, Keystore, OpCx};
use crate::local::KeyMaterial;
use crate::operation::{CryptoOp, CryptoOut};
use crate::secret::SecretBytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A method of [`Keystore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the methods they are named after are documented")]
pub enum Call {
    Probe,
    Generate,
    GeneratePair,
    Import,
    Export,
    Crypto,
    Random,
    Info,
    Destroy,
    List,
}

/// How a call breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Nothing happens, and the call fails so.
    Fail(Class),
    /// It happens, and the call fails so all the same.
    FailButHappened(Class),
    /// It happens after this long; past the deadline the answer is lost.
    Late(Duration),
    /// Nothing happens and no answer comes before the deadline.
    Hang,
}

/// Wraps a keystore and breaks the calls that it is told to break, in the order told.
pub struct Faulty {
    inner: Arc<dyn Keystore>,
    plan: Mutex<VecDeque<(Call, Break)>>,
    health: Mutex<Option<Health>>,
}

impl Faulty {
    /// Breaks nothing yet.
    pub fn new(inner: Arc<dyn Keystore>) -> Self {
        Self { inner, plan: Mutex::default(), health: Mutex::default() }
    }

    /// The next call of this kind breaks so; several plans for one kind are used up one by one.
    pub fn break_next(&self, call: Call, how: Break) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).push_back((call, how));
    }

    /// Claims this health instead of the inner keystore's.
    pub fn claim(&self, health: Option<Health>) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    /// Whether every planned break has happened.
    pub fn is_used_up(&self) -> bool {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn next(&self, call: Call) -> Option<Break> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let at = plan.iter().position(|(planned, _)| *planned == call)?;
        plan.remove(at).map(|(_, how)| how)
    }

    async fn perform<T>(&self, call: Call, cx: OpCx, inner: BoxFuture<'_, Result<T>>) -> Result<T> {
        match self.next(call) {
            None => inner.await,
            Some(Break::Fail(class)) => Err(planned(class)),
            Some(Break::FailButHappened(class)) => {
                inner.await?;
                Err(planned(class))
            }
            Some(Break::Late(delay)) if delay < cx.remaining() => {
                tokio::time::sleep(delay).await;
                inner.await
            }
            Some(Break::Late(_)) => {
                tokio::time::sleep_until(cx.deadline.into()).await;
                inner.await?;
                Err(unanswered(call))
            }
            Some(Break::Hang) => {
                tokio::time::sleep_until(cx.deadline.into()).await;
                Err(unanswered(call))
            }
        }
    }
}

fn planned(class: Class) -> KsError {
    KsError::new(class, "broken on purpose")
}

fn unanswered(call: Call) -> KsError {
    let changes = matches!(call, Call::Generate | Call::GeneratePair | Call::Import | Call::Destroy);
    KsError::new(if changes { Class::OutcomeUnknown } else { Class::RetryOther }, "no answer, on purpose")
}

impl Keystore for Faulty {
    fn descriptor(&self) -> Descriptor {
        self.inner.descriptor()
    }

    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(self.perform(Call::Probe, cx, self.inner.probe(cx)))
    }

    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.perform(Call::Generate, cx, self.inner.generate(id, spec, cx)))
    }

    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        Box::pin(self.perform(Call::GeneratePair, cx, self.inner.generate_pair(id, spec, cx)))
    }

    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.perform(Call::Import, cx, self.inner.import(id, material, cx)))
    }

    fn export<'a>(&'a self, key: Key<'a>, cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(self.perform(Call::Export, cx, self.inner.export(key, cx)))
    }

    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        Box::pin(self.perform(Call::Crypto, cx, self.inner.crypto(key, op, cx)))
    }

    fn random(&self, len: usize, cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        Box::pin(self.perform(Call::Random, cx, self.inner.random(len, cx)))
    }

    fn info<'a>(&'a self, key: &'a KeyRef, cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        Box::pin(self.perform(Call::Info, cx, self.inner.info(key, cx)))
    }

    fn destroy<'a>(&'a self, id: KeyId, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.perform(Call::Destroy, cx, self.inner.destroy(id, cx)))
    }

    fn list(&self, cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        Box::pin(self.perform(Call::List, cx, self.inner.list(cx)))
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_else(|| self.inner.health())
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
