//! Which member uses a key, and who is asked next.

use super::book::Standing;
use super::keystore::Inner;
use super::replica::Replica;
use crate::error::{Class, KsError, Result};
use crate::key::{Key, KeyRef};
use crate::keystore::{BoxFuture, OpCx};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a member may take while another can still be asked. Two of them in a row are well under a second.
pub(super) const SLICE: Duration = Duration::from_millis(300);

impl Inner {
    /// The reference to a key of this group.
    pub(super) fn reference<'a>(&self, key: Key<'a>) -> Result<&'a KeyRef> {
        match key {
            Key::Reference(key) if key.keystore == self.id => Ok(key),
            Key::Reference(key) => {
                Err(KsError::not_found(format!("key {} is in keystore {}, not in {}", key.id, key.keystore, self.id)))
            }
            Key::Material(_) => Err(KsError::unsupported(format!("keystore {} uses keys that are on its tokens", self.id))),
        }
    }

    /// Uses a key on a member whose copy is good. A key that nobody has looked at yet is compared first.
    pub(super) async fn read<'a, T>(
        &'a self,
        key: &KeyRef,
        cx: OpCx,
        call: impl Fn(&'a dyn Replica, OpCx) -> BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        let name = (key.id, key.class);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut readers = self.book().readers(name, turn);
        if readers.is_empty() {
            self.settle(name, Some(key), cx).await?;
            readers = self.book().readers(name, turn);
        }
        if readers.is_empty() {
            return Err(self.absent(key));
        }
        let mut missing = Vec::new();
        let result = self.ask(readers, cx, &mut missing, call).await;
        if !missing.is_empty() {
            let mut book = self.book();
            missing.into_iter().for_each(|member| book.note(name, member, Standing::Absent));
            book.enqueue(name);
        }
        result
    }

    /// Asks one member after the other until one has an answer. `missing`: those that say that they do not have the key.
    pub(super) async fn ask<'a, T>(
        &'a self,
        members: Vec<usize>,
        cx: OpCx,
        missing: &mut Vec<usize>,
        call: impl Fn(&'a dyn Replica, OpCx) -> BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        let mut last = None;
        let count = members.len();
        for (at, member) in members.into_iter().enumerate() {
            // The last one may take all the time there is.
            let limit = if at + 1 < count { cx.deadline.min(Instant::now() + SLICE) } else { cx.deadline };
            match call(self.replica(member), OpCx { deadline: limit }).await {
                Ok(value) => {
                    *self.members[member].answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    return Ok(value);
                }
                // The request is at fault, or no member is better at it.
                Err(error) if matches!(error.class(), Class::BadInput(_) | Class::Unsupported) => return Err(error),
                Err(error) => {
                    self.failed(member, &error);
                    self.members[member].failovers.fetch_add(1, Ordering::Relaxed);
                    if error.class() == Class::NotFound {
                        missing.push(member);
                    }
                    // What says most about the key is told, not what a member that is away says.
                    if last.as_ref().is_none_or(|last: &KsError| is_about_member(last)) {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    /// A call on a member failed: whether others are to be asked first from now on.
    pub(super) fn failed(&self, member: usize, error: &KsError) {
        let is_suspect = match error.class() {
            Class::TokenLost | Class::RetryOther | Class::SessionLost | Class::AuthStop | Class::OutcomeUnknown => true,
            // A queue that moves is only long.
            Class::Busy => {
                let answered = *self.members[member].answered.lock().unwrap_or_else(PoisonError::into_inner);
                answered.is_none_or(|at| at.elapsed() > SLICE)
            }
            _ => false,
        };
        if is_suspect {
            self.book().set_suspect(member, true);
            self.wake.notify_one();
        }
    }

    /// Members in turn.
    pub(super) fn spread(&self, mut members: Vec<usize>) -> Vec<usize> {
        let fresh = self.book().trusted().len().min(members.len());
        if fresh > 1 {
            members[..fresh].rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % fresh);
        }
        members
    }

    /// Why nobody can be asked for a key.
    fn absent(&self, key: &KeyRef) -> KsError {
        let (book, name) = (self.book(), (key.id, key.class));
        let all = 0..self.members.len();
        if book.is_dying(key.id) || all.clone().all(|member| book.standing(name, member) == Standing::Absent) {
            return KsError::not_found(format!("no member of the group has key {}", key.id));
        }
        if all.clone().any(|member| book.standing(name, member) == Standing::Bad) {
            let text = format!("the members of the group hold different keys {}: none of them is used", key.id);
            return KsError::new(Class::Corrupt, text);
        }
        drop(book);
        self.nobody()
    }
}

fn is_about_member(error: &KsError) -> bool {
    matches!(
        error.class(),
        Class::Busy | Class::RetryOther | Class::RetrySame | Class::SessionLost | Class::TokenLost | Class::AuthStop
    )
}
