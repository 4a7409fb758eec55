//! A request on its way, and the caller who waits for it.

use super::message::{Request, Response};
use super::wire::Frame;
use crate::error::{Class, KsError, Result};
use crate::key::KeyId;
use crate::keystore::OpCx;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;
use tokio::sync::oneshot;

/// A request on its way.
pub(super) struct Job {
    /// The request as it is sent.
    pub(super) frame: Frame,
    /// Whether it changes something in the token.
    pub(super) changes: bool,
    /// Whether it would hold traffic up.
    pub(super) is_slow: bool,
    /// The id of the key it makes.
    pub(super) makes: Option<KeyId>,
    /// Equal for requests about one key.
    pub(super) affinity: usize,
    pub(super) deadline: Instant,
    /// How many workers died of it, or lost their token under it.
    pub(super) tries: u8,
    stage: Arc<AtomicU8>,
    reply: Reply,
}

/// Who waits.
pub(super) enum Reply {
    Async(oneshot::Sender<Result<Response>>),
    Blocking(Sender<Result<Response>>),
    Nobody,
}

/// The caller's hold on a job.
pub(super) struct Ticket {
    stage: Arc<AtomicU8>,
    changes: bool,
}

/// In the queue.
const WAITING: u8 = 0;
/// With a worker.
const STARTED: u8 = 1;
/// The caller stopped waiting.
const GIVEN_UP: u8 = 2;

impl Job {
    pub(super) fn new(request: &Request, reply: Reply, cx: OpCx) -> Result<(Self, Ticket)> {
        let stage = Arc::new(AtomicU8::new(WAITING));
        let ticket = Ticket { stage: Arc::clone(&stage), changes: request.changes() };
        let job = Self {
            frame: Frame::of(request)?,
            changes: request.changes(),
            is_slow: request.is_slow(),
            makes: request.makes(),
            affinity: request.about().map_or(0, |id| usize::from(id.0[0]) << 8 | usize::from(id.0[1])),
            deadline: cx.deadline,
            tries: 0,
            stage,
            reply,
        };
        Ok((job, ticket))
    }

    /// Takes the job out of the queue. False if nobody waits for it any more: it is not done then.
    pub(super) fn begin(&self) -> bool {
        self.stage.compare_exchange(WAITING, STARTED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Puts the job back, untouched by its worker. False if nobody waits for it any more.
    pub(super) fn put_back(&self) -> bool {
        self.stage.compare_exchange(STARTED, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Tells the caller. The id of a key that was made and that nobody has heard of comes back: it must go.
    pub(super) fn answer(self, result: Result<Response>) -> Option<KeyId> {
        let made = result.is_ok().then_some(self.makes).flatten();
        let heard = match self.reply {
            Reply::Async(reply) => reply.send(result).is_ok(),
            Reply::Blocking(reply) => reply.send(result).is_ok(),
            Reply::Nobody => {
                match result {
                    Ok(_) => tracing::info!("destroyed a key that was made after its deadline"),
                    // The intent that its maker recorded finds it later.
                    Err(error) => tracing::warn!(%error, "a key was made after its deadline and could not be destroyed"),
                }
                true
            }
        };
        if heard { None } else { made }
    }
}

impl Ticket {
    /// The deadline has passed: take the request back, or say that it is under way.
    pub(super) fn give_up(&self) -> KsError {
        match self.stage.swap(GIVEN_UP, Ordering::AcqRel) {
            WAITING => KsError::new(Class::Busy, "the token did not get to the request before its deadline"),
            _ if self.changes => KsError::new(Class::OutcomeUnknown, "the token did not answer before the deadline"),
            _ => KsError::new(Class::RetryOther, "the token did not answer before the deadline"),
        }
    }

    /// The token was closed while the request was under way.
    pub(super) fn abandoned(&self) -> KsError {
        let class = if self.changes { Class::OutcomeUnknown } else { Class::RetrySame };
        KsError::new(class, "the token was closed before it answered")
    }
}
