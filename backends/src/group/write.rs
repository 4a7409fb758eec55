//! Making, taking in and destroying keys on all members.

use super::book::{Name, Standing};
use super::keystore::Inner;
use super::replica::Replica;
use crate::error::{Class, KsError, Result};
use crate::key::{Held, HeldPair, KeyClass, KeyId, KeySpec, PairSpec};
use crate::keystore::{BoxFuture, OpCx};
use crate::local::{KeyKind, KeyMaterial};
use std::time::{Duration, Instant};

/// How long a copy may take while its maker waits: a member that takes longer catches up later.
const COPY: Duration = Duration::from_secs(4);

impl Inner {
    pub(super) async fn make_secret<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> Result<Held> {
        self.make((id, KeyClass::Secret), cx, |_| None, |replica, cx| replica.generate(id, spec, cx)).await
    }

    pub(super) async fn make_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> Result<HeldPair> {
        let public = |pair: &HeldPair| Some(pair.public.clone());
        self.make((id, KeyClass::Private), cx, public, |replica, cx| replica.generate_pair(id, spec, cx)).await
    }

    pub(super) async fn take_in<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> Result<Held> {
        let class = if matches!(material.kind(), KeyKind::Symmetric(_)) { KeyClass::Secret } else { KeyClass::Private };
        let public = |_: &Held| if class == KeyClass::Private { material.public_half().ok() } else { None };
        self.make((id, class), cx, public, |replica, cx| replica.import(id, material, cx)).await
    }

    /// Makes a key on the first member that serves, copies it to the others, and answers when enough of them hold it.
    async fn make<'a, T>(
        &'a self,
        name: Name,
        cx: OpCx,
        public: impl Fn(&T) -> Option<KeyMaterial>,
        make: impl Fn(&'a dyn Replica, OpCx) -> BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        let turn = tokio::time::timeout_at(cx.deadline.into(), self.turn_of(name.0)).await;
        let _turn = turn.map_err(|_| KsError::new(Class::Busy, "many keys are being made at once"))?;
        let mut makers = self.serving();
        self.enough(makers.len())?;
        let (maker, made) = loop {
            if makers.is_empty() {
                return Err(self.nobody());
            }
            let maker = makers.remove(0);
            match make(self.replica(maker), cx).await {
                Ok(made) => break (maker, made),
                // Nothing was done there.
                Err(e) if may_pass_on(&e) && !makers.is_empty() => self.failed(maker, &e),
                Err(e) => {
                    self.failed(maker, &e);
                    return Err(e);
                }
            }
        };
        self.book().note(name, maker, Standing::Good);
        let public = public(&made);
        let mut copies = 1;
        let mut why = None;
        // Suspects come last, and catch up later where they are not needed.
        for taker in self.serving().into_iter().filter(|&member| member != maker) {
            if copies >= self.settings.copies_min && !self.book().trusted().contains(&taker) {
                continue;
            }
            let cx = OpCx { deadline: cx.deadline.min(Instant::now() + COPY) };
            match self.copy(name, maker, taker, public.as_ref(), cx).await {
                Ok(()) => copies += 1,
                Err(e) => {
                    let member = &self.members[taker].name;
                    tracing::warn!(group = %self.id, member, key.id = %name.0, cause = %e, "a new key could not be copied to a member: it catches up");
                    self.failed(taker, &e);
                    why = Some(e);
                }
            }
        }
        if copies < self.settings.copies_min {
            return Err(self.too_few(name.0, copies, why).await);
        }
        if copies < self.members.len() {
            self.book().enqueue(name);
            self.wake.notify_one();
        }
        Ok(made)
    }

    /// Refuses to make a key that could not be kept as often as is wanted.
    fn enough(&self, serving: usize) -> Result<()> {
        let wanted = self.settings.copies_min;
        match serving {
            0 => Err(self.nobody()),
            few if few < wanted => Err(KsError::new(
                Class::RetryOther,
                format!("{few} of the group's {} members serve, and a new key must be on {wanted}", self.members.len()),
            )),
            _ => Ok(()),
        }
    }

    /// Takes a key back that too few members hold.
    async fn too_few(&self, id: KeyId, copies: usize, why: Option<KsError>) -> KsError {
        let is_alone = why.as_ref().is_some_and(|e| matches!(e.class(), Class::Denied | Class::Unsupported));
        let because = why.map_or_else(|| "no other member could be asked".to_owned(), |e| e.to_string());
        let text = format!("the new key is on {copies} members and must be on {}: {because}", self.settings.copies_min);
        // It will be no better next time.
        let never = is_alone.then_some(Class::Unsupported);
        // The caller's time may be over; what stays is found by its intent.
        match self.destroy_in_turn(id, OpCx::within(COPY)).await {
            Ok(()) => KsError::new(never.unwrap_or(Class::RetryOther), text),
            Err(_) => KsError::new(Class::OutcomeUnknown, text),
        }
    }

    /// Destroys a key on all members. Until the last one has followed the answer is `OutcomeUnknown`: whoever wants it
    /// gone asks again, also of a member that is away for long. Until then it is used and copied no more.
    pub(super) async fn destroy(&self, id: KeyId, cx: OpCx) -> Result<()> {
        let turn = tokio::time::timeout_at(cx.deadline.into(), self.turn_of(id)).await;
        let _turn = turn.map_err(|_| KsError::new(Class::Busy, "many keys are being made at once"))?;
        self.destroy_in_turn(id, cx).await
    }

    async fn destroy_in_turn(&self, id: KeyId, cx: OpCx) -> Result<()> {
        let members = self.book().begin_end(id);
        let was_known = members.len() < self.members.len();
        let (mut any, mut left, mut last) = (was_known, Vec::new(), None);
        for member in members {
            let limit = if self.book().serves(member) { cx } else { OpCx { deadline: cx.deadline.min(Instant::now() + COPY) } };
            match self.replica(member).destroy(id, limit).await {
                Ok(()) => any = true,
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => {
                    self.failed(member, &e);
                    left.push(self.members[member].name.as_str());
                    last = Some(e);
                    continue;
                }
            }
            self.book().note_gone(id, member);
        }
        match last {
            None => {
                self.book().ended(id);
                if any { Ok(()) } else { Err(KsError::not_found(format!("no member of the group has key {id}"))) }
            }
            // Nothing was done anywhere.
            Some(e) if left.len() == self.members.len() && matches!(e.class(), Class::Busy | Class::TokenLost) => Err(e),
            Some(e) => {
                let text = format!("key {id} is to be destroyed and may still be on {}: {}", left.join(", "), e.text());
                Err(KsError::new(Class::OutcomeUnknown, text))
            }
        }
    }
}

/// Nothing was done, and another member may do it.
fn may_pass_on(error: &KsError) -> bool {
    matches!(
        error.class(),
        Class::AuthStop | Class::Busy | Class::RetryOther | Class::RetrySame | Class::SessionLost | Class::TokenLost
    )
}
