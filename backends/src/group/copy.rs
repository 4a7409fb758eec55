//! One key from member to member, and which of its copies are good.
//!
//! Whoever comes here holds the key's turn ([`Inner::turn_of`]): a key is compared, copied, made or destroyed by one at
//! a time.

use super::book::{Name, Standing, judge};
use super::keystore::Inner;
use super::replica::{Under, WrappedKey};
use crate::error::{Class, KsError, Result};
use crate::key::{Key, KeyClass, KeyId, KeyRef};
use crate::keystore::OpCx;
use crate::local::{self, KeyKind, KeyMaterial, PairKind, PreparedKey};
use crate::operation::{CryptoOp, CryptoOut, SignInput, SignatureScheme};
use keygate_kmip::HashingAlgorithm;
use std::time::{Duration, Instant};

/// How long a member may take for one step with one key.
const STEP: Duration = Duration::from_secs(5);
/// The same while a request waits for it and another member can be asked.
const STEP_OF_READ: Duration = Duration::from_millis(600);

/// What the members hold under one id.
struct Found {
    /// Members that hold the same value, class by class, with the value wrapped.
    classes: Vec<(WrappedKey, Vec<usize>)>,
    /// Members that hold it and do not let it leave.
    alone: Vec<usize>,
}

impl Inner {
    /// Finds out which members have a key that nobody has looked at, for a request that waits to use it.
    pub(super) async fn settle(&self, name: Name, key: Option<&KeyRef>, cx: OpCx) -> Result<()> {
        let turn = tokio::time::timeout_at(cx.deadline.into(), self.turn_of(name.0)).await;
        let _turn = turn.map_err(|_| KsError::new(Class::Busy, "the key is being compared by many at once"))?;
        {
            let book = self.book();
            if book.is_dying(name.0) || !book.readers(name, 0).is_empty() {
                return Ok(());
            }
        }
        let step = |_: usize| OpCx { deadline: cx.deadline.min(Instant::now() + STEP_OF_READ) };
        self.compare(name, key, &step).await?;
        let mut book = self.book();
        let is_used = |member: usize| matches!(book.standing(name, member), Standing::Good | Standing::Sole);
        let wanting = !book.serving().into_iter().all(is_used);
        if wanting {
            book.enqueue(name);
            drop(book);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Compares a key on all members and copies it to those that lack it.
    pub(super) async fn bring_up(&self, name: Name) -> Result<()> {
        let _turn = self.turn_of(name.0).await;
        if self.book().is_dying(name.0) {
            return Ok(());
        }
        let step = |_: usize| OpCx::within(STEP);
        self.compare(name, None, &step).await?;
        if self.book().is_alone(name) {
            return Ok(());
        }
        let (givers, takers): (Vec<usize>, Vec<usize>) = {
            let book = self.book();
            let serving = book.serving().into_iter();
            let is = |member: usize, one: Standing, other: Standing| [one, other].contains(&book.standing(name, member));
            let givers = serving.clone().filter(|&member| is(member, Standing::Good, Standing::Sole)).collect();
            (givers, serving.filter(|&member| is(member, Standing::Absent, Standing::Absent)).collect())
        };
        let Some(&giver) = givers.first() else { return Ok(()) };
        for taker in takers {
            self.copy(name, giver, taker, None, OpCx::within(STEP)).await?;
        }
        Ok(())
    }

    /// Gives a key to a member that does not have it, and notes the copy when it has proven itself: by a signature where
    /// the public half is known, else by comparison.
    pub(super) async fn copy(
        &self,
        name: Name,
        giver: usize,
        taker: usize,
        public: Option<&KeyMaterial>,
        cx: OpCx,
    ) -> Result<()> {
        let under = self.under()?;
        let wrapped = match self.replica(giver).wrap_out(name, &under, cx).await {
            Err(e) if stays(&e) => {
                self.book().note_alone(name);
                return Err(e);
            }
            other => other?,
        };
        self.replica(taker).unwrap_in(name.0, &under, &wrapped, cx).await?;
        let proven = match public {
            Some(public) if name.1 == KeyClass::Private => self.proves(name.0, taker, public, cx).await?,
            _ => self.replica(taker).is_same(name, &under, &wrapped, cx).await?,
        };
        if !proven {
            let gone = self.replica(taker).destroy(name.0, cx).await;
            self.book().note(name, taker, if gone.is_ok() { Standing::Absent } else { Standing::Bad });
            let text = format!("{} made another key of a copy: it is not used", self.members[taker].name);
            return Err(KsError::new(Class::Corrupt, text));
        }
        let mut book = self.book();
        book.note(name, taker, Standing::Good);
        book.note(name, giver, Standing::Good);
        Ok(())
    }

    /// Whether a member signs by the key whose public half is known.
    async fn proves(&self, id: KeyId, member: usize, public: &KeyMaterial, cx: OpCx) -> Result<bool> {
        let scheme = match public.kind() {
            KeyKind::Public(PairKind::Rsa) => SignatureScheme::RsaPkcs1(HashingAlgorithm::Sha256),
            KeyKind::Public(PairKind::Ed25519) => SignatureScheme::Ed25519,
            _ => SignatureScheme::Ecdsa(HashingAlgorithm::Sha256),
        };
        self.signs(id, member, scheme, &PreparedKey::new(public)?, cx).await
    }

    /// Whether a member signs rightly.
    pub(super) async fn signs(
        &self,
        id: KeyId,
        member: usize,
        scheme: SignatureScheme,
        public: &PreparedKey,
        cx: OpCx,
    ) -> Result<bool> {
        let nonce = local::random(32)?;
        let key = KeyRef { keystore: self.id.clone(), id, class: KeyClass::Private, check: crate::key::KeyCheck::None };
        let op = CryptoOp::Sign(scheme, SignInput::Message(nonce.expose()));
        match self.replica(member).crypto(Key::Reference(&key), op, cx).await? {
            CryptoOut::Signature(signature) => {
                // A signature of the wrong length is a wrong one.
                Ok(local::verify(public, scheme, SignInput::Message(nonce.expose()), &signature).unwrap_or(false))
            }
            _ => Ok(false),
        }
    }

    /// Looks at a key on every member that serves, and notes which copies are good. Members that cannot be asked stay
    /// unknown.
    async fn compare(&self, name: Name, key: Option<&KeyRef>, step: &impl Fn(usize) -> OpCx) -> Result<()> {
        let members: Vec<usize> = {
            let book = self.book();
            let open = |member: &usize| !matches!(book.standing(name, *member), Standing::Absent | Standing::Bad);
            book.serving().into_iter().filter(open).collect()
        };
        let vouched: Vec<usize> = {
            let book = self.book();
            members.iter().copied().filter(|&member| book.standing(name, member) == Standing::Good).collect()
        };
        let (found, failed) = self.look(name, &members, step).await;
        if found.classes.is_empty() && found.alone.is_empty() {
            return failed.map_or(Ok(()), Err);
        }
        let classes: Vec<Vec<usize>> = found.classes.iter().map(|(_, members)| members.clone()).collect();
        let mut right = judge(&classes, &vouched).and_then(|at| classes.get(at).cloned()).unwrap_or_default();
        if right.is_empty() && !classes.is_empty() {
            right = self.by_check(&classes, key, step).await;
        } else if let (Some(&first), Some(key)) = (right.first(), key) {
            // What the store remembers of the key is asked for once. A token that cannot be asked now has not said no.
            if let Err(e) = self.replica(first).info(key, step(first)).await
                && e.class() == Class::Corrupt
            {
                return Err(e);
            }
        }
        let mut book = self.book();
        for member in classes.iter().flatten().copied() {
            let is_right = right.contains(&member);
            // One that stands alone is right for want of another; one that was good before stays it.
            let is_sole = is_right && right.len() == 1 && !vouched.contains(&member);
            let standing = match (is_right, is_sole) {
                (true, true) => Standing::Sole,
                (true, false) => Standing::Good,
                (false, _) => Standing::Bad,
            };
            book.note(name, member, standing);
            if !is_right {
                tracing::error!(group = %self.id, member = self.members[member].name, key.id = %name.0, "a member holds another key under this id: it is not used there");
            }
        }
        // They cannot be compared; what the store remembers is looked at with every look-up.
        found.alone.iter().for_each(|&member| book.note(name, member, Standing::Good));
        if !found.alone.is_empty() {
            book.note_alone(name);
        }
        Ok(())
    }

    /// Asks members for a key.
    async fn look(&self, name: Name, members: &[usize], step: &impl Fn(usize) -> OpCx) -> (Found, Option<KsError>) {
        let mut found = Found { classes: Vec::new(), alone: Vec::new() };
        let mut failed = None;
        let under = self.under.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let under = under.unwrap_or_else(|| Under { label: String::new(), mechanisms: Vec::new() });
        for &member in members {
            match self.place(name, member, &under, &mut found, step).await {
                Ok(()) => {}
                Err(e) if e.class() == Class::NotFound => self.book().note(name, member, Standing::Absent),
                Err(e) if stays(&e) => found.alone.push(member),
                Err(e) => {
                    self.failed(member, &e);
                    failed = Some(e);
                }
            }
        }
        (found, failed)
    }

    /// Puts a member with those that hold the same value.
    async fn place(
        &self,
        name: Name,
        member: usize,
        under: &Under,
        found: &mut Found,
        step: &impl Fn(usize) -> OpCx,
    ) -> Result<()> {
        for (wrapped, members) in &mut found.classes {
            if self.replica(member).is_same(name, under, wrapped, step(member)).await? {
                members.push(member);
                return Ok(());
            }
        }
        let wrapped = self.replica(member).wrap_out(name, under, step(member)).await?;
        found.classes.push((wrapped, vec![member]));
        Ok(())
    }

    /// Of several values the one that the store remembers; none where its check does not tell them apart.
    async fn by_check(&self, classes: &[Vec<usize>], key: Option<&KeyRef>, step: &impl Fn(usize) -> OpCx) -> Vec<usize> {
        let Some(key) = key else { return Vec::new() };
        let mut fitting = Vec::new();
        for class in classes {
            let Some(&first) = class.first() else { continue };
            if self.replica(first).info(key, step(first)).await.is_ok() {
                fitting.push(class.clone());
            }
        }
        match fitting.as_slice() {
            [one] => one.clone(),
            _ => Vec::new(),
        }
    }
}

/// The key does not leave its member.
fn stays(error: &KsError) -> bool {
    matches!(error.class(), Class::Denied | Class::Unsupported)
}
