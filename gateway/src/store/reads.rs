//! The queue of read events: serialised by the caller's task, taken whole by the writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::CommitError;
use crate::audit::{Event, append_line};

/// From here on the writer is woken although nobody waits.
const WAKE_BYTES: usize = 256 * 1024;
/// From here on deferred reads wait as well: the queue's bound.
const WAIT_BYTES: usize = 8 * 1024 * 1024;

/// Events of reads that no transaction has taken yet.
#[derive(Default)]
pub(crate) struct Reads {
    pending: Mutex<Pending>,
    /// Wakes the writer.
    pub(crate) wake: Notify,
    /// The last attempt to write reads failed: nothing more is released unaudited.
    blocked: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) body: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) waiters: Vec<oneshot::Sender<Result<(), CommitError>>>,
}

impl Reads {
    /// Queues events. Returns at once when `durable` is false, the queue is short and the last write worked.
    pub(crate) async fn append(&self, events: &[Event], durable: bool) -> Result<(), CommitError> {
        let mut lines = Vec::with_capacity(256 * events.len());
        events.iter().for_each(|event| append_line(&mut lines, event));
        let waiter = {
            let mut pending = self.lock();
            pending.body.extend_from_slice(&lines);
            pending.count += events.len() as u32;
            let wait = durable || pending.body.len() > WAIT_BYTES || self.blocked.load(Ordering::Acquire);
            let waiter = wait.then(|| {
                let (sender, receiver) = oneshot::channel();
                pending.waiters.push(sender);
                receiver
            });
            if wait || pending.body.len() > WAKE_BYTES {
                self.wake.notify_one();
            }
            waiter
        };
        match waiter {
            Some(waiter) => waiter.await.unwrap_or(Err(CommitError::Closed)),
            None => Ok(()),
        }
    }

    /// Takes everything queued.
    pub(crate) fn take(&self) -> Pending {
        std::mem::take(&mut *self.lock())
    }

    /// Whether the writer has a reason to write now.
    pub(crate) fn is_urgent(&self) -> bool {
        let pending = self.lock();
        !pending.waiters.is_empty() || pending.body.len() > WAKE_BYTES
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiters.len()
    }

    /// The events are on disk.
    pub(crate) fn written(&self, pending: Pending) {
        self.blocked.store(false, Ordering::Release);
        pending.waiters.into_iter().for_each(|waiter| drop(waiter.send(Ok(()))));
    }

    /// They are not. Deferred ones were answered already, so all events stay queued for the next attempt; waiters are told.
    pub(crate) fn failed(&self, mut taken: Pending, error: &CommitError) {
        self.blocked.store(true, Ordering::Release);
        for waiter in taken.waiters.drain(..) {
            let _ = waiter.send(Err(error.clone()));
        }
        let mut pending = self.lock();
        let later = std::mem::take(&mut *pending);
        taken.body.extend_from_slice(&later.body);
        taken.count += later.count;
        taken.waiters = later.waiters;
        *pending = taken;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        // No code panics while it holds the lock; a poisoned one would still hold whole lines.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
