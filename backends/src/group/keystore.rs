//! The seam over a group's members.

use super::book::{Book, MEMBERS_MAX, Phase};
use super::keeper;
use super::replica::{Replica, Under};
use super::status::{MemberState, MemberStatus};
use crate::error::{Class, KsError, Result};
use crate::key::{Held, HeldPair, Key, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
use crate::keystore::{BoxFuture, Capabilities, Custody, Descriptor, Figures, Health, KeyInfo, Keystore, OpCx};
use crate::local::{KeyMaterial, PreparedKey};
use crate::operation::{CryptoOp, CryptoOut};
use crate::secret::SecretBytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a group goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Members that must hold a new key before it is acknowledged.
    pub copies_min: usize,
    /// Label of a replication key that the members' security officers have brought; `None`: the group makes one.
    pub replication_key: Option<String>,
    /// How often a member that serves is asked to sign.
    pub test_every: Duration,
}

impl Default for GroupSettings {
    /// One copy, an own replication key, a test every 3 seconds.
    fn default() -> Self {
        Self { copies_min: 1, replication_key: None, test_every: Duration::from_secs(3) }
    }
}

/// Several tokens as one keystore. Its members are watched by a thread that ends with it.
pub struct Group {
    pub(super) inner: Arc<Inner>,
}

/// What callers and the keeper share.
pub(super) struct Inner {
    pub(super) id: KeystoreId,
    pub(super) settings: GroupSettings,
    pub(super) members: Vec<Member>,
    book: Mutex<Book>,
    pub(super) under: Mutex<Option<Under>>,
    /// The public half of the self-test's key.
    pub(super) test_public: Mutex<Option<Arc<PreparedKey>>>,
    /// One key, one change at a time; keys share these by their id.
    turns: Vec<tokio::sync::Mutex<()>>,
    /// One member joins at a time.
    pub(super) joining: tokio::sync::Mutex<()>,
    /// Spreads reads.
    pub(super) turn: AtomicUsize,
    /// The keeper has something to do.
    pub(super) wake: tokio::sync::Notify,
    /// The group was dropped: the keeper ends.
    pub(super) dropped: AtomicBool,
}

/// A member.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) replica: Arc<dyn Replica>,
    /// When it last signed rightly.
    pub(super) tested: Mutex<Option<Instant>>,
    /// When it last answered a call.
    pub(super) answered: Mutex<Option<Instant>>,
    /// The wrapping key, as far as looked for: whether there is one.
    pub(super) has_wrapping: Mutex<Option<bool>>,
    pub(super) failovers: AtomicU64,
}

const TURNS: usize = 256;

impl Group {
    /// The group under its configured name. Each member is a keystore that was made under the same name; the first that
    /// serves makes new keys. `members` are names for people, and what they name.
    pub fn new(id: KeystoreId, members: Vec<(String, Arc<dyn Replica>)>, settings: GroupSettings) -> Result<Self> {
        if !(2..=MEMBERS_MAX).contains(&members.len()) {
            return Err(KsError::parameters(format!("a group has 2 to {MEMBERS_MAX} members, not {}", members.len())));
        }
        if !(1..=members.len()).contains(&settings.copies_min) {
            return Err(KsError::parameters(format!("a group of {} members cannot keep {} copies", members.len(), settings.copies_min)));
        }
        members.iter().for_each(|(_, replica)| replica.let_keys_leave(false));
        let book = Mutex::new(Book::new(members.len()));
        let member = |(name, replica)| Member {
            name,
            replica,
            tested: Mutex::default(),
            answered: Mutex::default(),
            has_wrapping: Mutex::default(),
            failovers: AtomicU64::new(0),
        };
        let inner = Arc::new(Inner {
            id,
            settings,
            members: members.into_iter().map(member).collect(),
            book,
            under: Mutex::default(),
            test_public: Mutex::default(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
            joining: tokio::sync::Mutex::default(),
            turn: AtomicUsize::new(0),
            wake: tokio::sync::Notify::new(),
            dropped: AtomicBool::new(false),
        });
        keeper::start(&inner)?;
        Ok(Self { inner })
    }

    /// Waits until every member serves or is known not to, at most this long. Blocks.
    pub fn wait_until_settled(&self, longest: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < longest && !self.inner.is_settled() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.inner.dropped.store(true, Ordering::Release);
        self.inner.wake.notify_one();
    }
}

impl Inner {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn replica(&self, member: usize) -> &dyn Replica {
        self.members[member].replica.as_ref()
    }

    /// The members that serve, suspects last.
    pub(super) fn serving(&self) -> Vec<usize> {
        self.book().serving()
    }

    pub(super) async fn turn_of(&self, id: KeyId) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns[usize::from(id.0[0]) % TURNS].lock().await
    }

    pub(super) fn under(&self) -> Result<Under> {
        let under = self.under.lock().unwrap_or_else(PoisonError::into_inner).clone();
        under.ok_or_else(|| KsError::new(Class::RetryOther, "the group has no replication key yet"))
    }

    fn is_settled(&self) -> bool {
        let book = self.book();
        let health = |member: usize| self.replica(member).health();
        (0..self.members.len()).all(|member| match book.phase(member) {
            Phase::Serving { .. } | Phase::Refused(_) => true,
            Phase::Away(_) => matches!(health(member), Health::NeedsOperator(_)),
        })
    }

    /// No member can do it.
    pub(super) fn nobody(&self) -> KsError {
        let text = match self.health() {
            Health::Up => "no member of the group that has the key can be asked".to_owned(),
            Health::Down(reason) | Health::NeedsOperator(reason) => reason,
        };
        KsError::new(Class::TokenLost, text)
    }

    fn health(&self) -> Health {
        let book = self.book();
        if (0..self.members.len()).any(|member| book.serves(member)) {
            return Health::Up;
        }
        let mut reasons = Vec::new();
        let mut operator = true;
        for (at, member) in self.members.iter().enumerate() {
            let (phase, health) = (book.phase(at), member.replica.health());
            let reason = match (phase, health) {
                (Phase::Refused(reason), _) => reason.clone(),
                (_, Health::NeedsOperator(reason)) => reason,
                (Phase::Away(_), Health::Down(reason)) => {
                    operator = false;
                    reason
                }
                (Phase::Away(reason), Health::Up) => {
                    operator = false;
                    reason.clone()
                }
                (Phase::Serving { .. }, _) => continue,
            };
            reasons.push(format!("{}: {reason}", member.name));
        }
        let text = format!("no member serves: {}", reasons.join("; "));
        if operator { Health::NeedsOperator(text) } else { Health::Down(text) }
    }

    /// What all members can do that were looked at.
    fn describe(&self) -> Descriptor {
        let known: Vec<(&str, Descriptor)> = self
            .members
            .iter()
            .map(|member| (member.name.as_str(), member.replica.descriptor()))
            .filter(|(_, descriptor)| descriptor.can != Capabilities::default())
            .collect();
        let can = known.iter().map(|(_, descriptor)| descriptor.can).reduce(Capabilities::and).unwrap_or_default();
        let devices: Vec<String> = known.iter().map(|(name, descriptor)| format!("{name}: {}", descriptor.device)).collect();
        Descriptor { id: self.id.clone(), kind: "group", custody: Custody::InBackend, can, device: devices.join("; ") }
    }

    async fn probe(&self, cx: OpCx) -> Result<Descriptor> {
        let mut failed = None;
        let mut any = false;
        for member in self.serving() {
            match self.replica(member).probe(cx).await {
                Ok(_) => any = true,
                Err(e) => failed = Some(e),
            }
        }
        match failed {
            _ if any => Ok(self.describe()),
            Some(e) => Err(e),
            None => Err(self.nobody()),
        }
    }

    async fn list(&self, cx: OpCx) -> Result<Vec<KeyInfo>> {
        let mut union = HashMap::new();
        let mut failed = Some(self.nobody());
        for member in self.serving() {
            match self.replica(member).list(cx).await {
                Ok(keys) => {
                    union.extend(keys.into_iter().map(|key| ((key.id, key.class), key)));
                    failed = None;
                }
                Err(e) => self.failed(member, &e),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(union.into_values().collect()),
        }
    }

    fn member_status(&self) -> Vec<MemberStatus> {
        let book = self.book();
        let status = |(at, member): (usize, &Member)| {
            let tally = book.tally(at);
            let state = match (book.phase(at), member.replica.health()) {
                (Phase::Serving { suspect: false }, _) => MemberState::Serving,
                (Phase::Serving { suspect: true }, _) => MemberState::Suspect,
                (Phase::Refused(reason), _) => MemberState::Refused(reason.clone()),
                (Phase::Away(_), Health::NeedsOperator(reason)) => MemberState::Refused(reason),
                (Phase::Away(_), Health::Down(reason)) => MemberState::Away(reason),
                (Phase::Away(reason), Health::Up) => MemberState::Away(reason.clone()),
            };
            MemberStatus {
                name: member.name.clone(),
                login_refused: matches!(member.replica.health(), Health::NeedsOperator(_)),
                state,
                keys: tally.good,
                lacking: tally.lacking,
                differing: tally.differing,
                tested: member.tested.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed()),
                failovers: member.failovers.load(Ordering::Relaxed),
            }
        };
        self.members.iter().enumerate().map(status).collect()
    }
}

impl Keystore for Group {
    fn descriptor(&self) -> Descriptor {
        self.inner.describe()
    }

    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(self.inner.probe(cx))
    }

    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.inner.make_secret(id, spec, cx))
    }

    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        Box::pin(self.inner.make_pair(id, spec, cx))
    }

    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.inner.take_in(id, material, cx))
    }

    fn export<'a>(&'a self, key: Key<'a>, _cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(async move {
            self.inner.reference(key)?;
            Err(KsError::new(Class::Denied, "the key does not leave its tokens"))
        })
    }

    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        Box::pin(async move {
            let reference = self.inner.reference(key)?;
            self.inner.read(reference, cx, |replica, cx| replica.crypto(key, op, cx)).await
        })
    }

    fn random(&self, len: usize, cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        Box::pin(async move {
            let members = self.inner.spread(self.inner.serving());
            self.inner.ask(members, cx, &mut Vec::new(), |replica, cx| replica.random(len, cx)).await
        })
    }

    fn info<'a>(&'a self, key: &'a KeyRef, cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        Box::pin(async move {
            self.inner.reference(Key::Reference(key))?;
            self.inner.read(key, cx, |replica, cx| replica.info(key, cx)).await
        })
    }

    fn destroy<'a>(&'a self, id: KeyId, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.destroy(id, cx))
    }

    fn list(&self, cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        Box::pin(self.inner.list(cx))
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn retry(&self, secret: Option<SecretBytes>) {
        for member in &self.inner.members {
            member.replica.retry(secret.as_ref().map(|secret| SecretBytes::copy_of(secret.expose())));
        }
    }

    /// Of all members together; of what is a measure and no count, the highest.
    fn figures(&self) -> Figures {
        let all = || self.inner.members.iter().map(|member| member.replica.figures());
        Figures {
            sessions: all().filter_map(|figures| figures.sessions).reduce(u32::saturating_add),
            queued: all().filter_map(|figures| figures.queued).reduce(u32::saturating_add),
            generation: all().filter_map(|figures| figures.generation).reduce(u64::saturating_add),
            workers: all().filter_map(|figures| figures.workers).reduce(u32::saturating_add),
            finds: all().filter_map(|figures| figures.finds).reduce(u64::saturating_add),
            find_us: all().filter_map(|figures| figures.find_us).max(),
            locked: all().filter_map(|figures| figures.locked).min(),
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        self.inner.member_status()
    }
}
