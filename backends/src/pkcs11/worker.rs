//! The threads that own sessions, and the queues to them.
//!
//! A caller's request waits in a bounded queue with its deadline. The caller that gives up first takes a waiting
//! request back (then nothing was done); one that has begun runs to its end unheard, and a key that it made is
//! destroyed again. A worker owns one session and the object handles it has looked up; both die with the generation.
//! Any device error drops the session, because an operation may be left open in it; opening another costs nothing
//! beside it.

use super::message::{KeyName, Request, Response};
use super::module::Inside;
use super::raw::Session;
use super::token::Shared;
use super::{ckr, object};
use crate::error::{Class, KsError, Result};
use crate::key::KeyId;
use crate::keystore::OpCx;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use cryptoki_sys as ck;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Workers that share a queue.
pub(super) struct Lane {
    queue: Sender<Job>,
}

/// A request on its way.
pub(super) struct Job {
    request: Request,
    reply: Reply,
    stage: Arc<AtomicU8>,
}

enum Reply {
    Async(oneshot::Sender<Result<Response>>),
    Blocking(Sender<Result<Response>>),
}

const WAITING: u8 = 0;
const STARTED: u8 = 1;
const TAKEN_BACK: u8 = 2;

impl Lane {
    pub(super) fn start(shared: &Arc<Shared>, workers: usize, name: &str) -> Result<Self> {
        let (queue, jobs) = bounded(shared.queue_max());
        for _ in 0..workers {
            let (shared, jobs) = (Arc::clone(shared), jobs.clone());
            spawn(name, move || keep_running(&shared, &jobs))?;
        }
        Ok(Self { queue })
    }

    pub(super) async fn call(&self, request: Request, cx: OpCx) -> Result<Response> {
        let changes = request.changes();
        let (reply, answer) = oneshot::channel();
        let stage = self.submit(request, Reply::Async(reply))?;
        match tokio::time::timeout_at(cx.deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(abandoned(changes)),
            Err(_) => Err(give_up(&stage, changes)),
        }
    }

    pub(super) fn call_blocking(&self, request: Request, cx: OpCx) -> Result<Response> {
        let changes = request.changes();
        let (reply, answer) = bounded(1);
        let stage = self.submit(request, Reply::Blocking(reply))?;
        match answer.recv_deadline(cx.deadline) {
            Ok(result) => result,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Err(give_up(&stage, changes)),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => Err(abandoned(changes)),
        }
    }

    fn submit(&self, request: Request, reply: Reply) -> Result<Arc<AtomicU8>> {
        let stage = Arc::new(AtomicU8::new(WAITING));
        match self.queue.try_send(Job { request, reply, stage: Arc::clone(&stage) }) {
            Ok(()) => Ok(stage),
            Err(TrySendError::Full(_)) => Err(KsError::new(Class::Busy, "the token's queue is full")),
            Err(TrySendError::Disconnected(_)) => Err(KsError::new(Class::TokenLost, "the token is closed")),
        }
    }
}

/// The deadline has passed: take the request back, or say that it is under way.
fn give_up(stage: &AtomicU8, changes: bool) -> KsError {
    match stage.compare_exchange(WAITING, TAKEN_BACK, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => KsError::new(Class::Busy, "the token did not get to the request before its deadline"),
        Err(_) if changes => KsError::new(Class::OutcomeUnknown, "the token did not answer before the deadline"),
        Err(_) => KsError::new(Class::RetryOther, "the token did not answer before the deadline"),
    }
}

/// The worker died or the token was closed while the request was under way.
fn abandoned(changes: bool) -> KsError {
    let class = if changes { Class::OutcomeUnknown } else { Class::RetrySame };
    KsError::new(class, "the token's worker ended before it answered")
}

/// A worker that panicked, which is a defect here, is replaced; its request was answered by the loss of its reply.
fn keep_running(shared: &Arc<Shared>, jobs: &Receiver<Job>) {
    let run = || Worker::new(Arc::clone(shared)).run(jobs);
    while std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        tracing::error!("a token worker panicked and was replaced");
    }
}

/// Starts a named thread.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(|_| ())
        .map_err(|e| KsError::new(Class::RetryOther, format!("cannot start a thread: {e}")))
}

struct Worker {
    shared: Arc<Shared>,
    session: Option<Session>,
    /// The generation of session and handles.
    generation: u64,
    handles: HashMap<KeyName, object::Handle>,
    /// CKR_GENERAL_ERROR and its like in a row.
    vague_failures: u32,
    /// When an empty token was last looked for anew.
    last_doubt: Option<Instant>,
}

/// What a look at the token says after a failure.
enum Verdict {
    There,
    Gone,
    Doubtful,
}

/// How often an empty token may have its module initialised anew.
const DOUBT_INTERVAL: Duration = Duration::from_secs(5);

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, session: None, generation: 0, handles: HashMap::new(), vague_failures: 0, last_doubt: None }
    }

    fn run(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            if job.stage.compare_exchange(WAITING, STARTED, Ordering::AcqRel, Ordering::Acquire).is_err() {
                continue;
            }
            let result = self.serve(&job.request);
            let made = result.is_ok().then(|| job.request.makes()).flatten();
            let heard = match job.reply {
                Reply::Async(reply) => reply.send(result).is_ok(),
                Reply::Blocking(reply) => reply.send(result).is_ok(),
            };
            if let (false, Some(id)) = (heard, made) {
                self.undo(id);
            }
        }
        self.close();
    }

    /// Destroys a key whose maker was told `OutcomeUnknown` and waits no more. Should this fail, reconciliation by id
    /// finds the key.
    fn undo(&mut self, id: KeyId) {
        match self.serve(&Request::Destroy { id }) {
            Ok(_) => tracing::info!(key = %id, "destroyed a key that was made after its deadline"),
            Err(error) => {
                tracing::warn!(key = %id, error = %error, "a key was made after its deadline and could not be destroyed")
            }
        }
    }

    fn serve(&mut self, request: &Request) -> Result<Response> {
        let inside = self.shared.enter();
        if self.generation != inside.generation() {
            self.forget();
            self.generation = inside.generation();
        }
        let slot = self.shared.slot(&inside)?;
        let mut result = self.attempt(slot, request);
        let again =
            matches!(&result, Err(e) if e.class() == Class::SessionLost && !ckr::is(e, ck::CKR_USER_NOT_LOGGED_IN));
        if again && !request.changes() {
            result = self.attempt(slot, request);
        }
        match result {
            Ok(response) => {
                self.vague_failures = 0;
                Ok(response)
            }
            Err(error) => Err(self.diagnose(inside, slot, request, error)),
        }
    }

    /// One try in this worker's session, opened if need be.
    fn attempt(&mut self, slot: ck::CK_SLOT_ID, request: &Request) -> Result<Response> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(self.shared.module.functions(), slot)?,
        };
        let result = object::run(&session, &mut self.handles, &self.shared, slot, request);
        match &result {
            Err(error) if error.device_code().is_some() => {}
            _ => self.session = Some(session),
        }
        result
    }

    /// What a failure means for the token, and what the caller should make of it.
    fn diagnose(&mut self, inside: Inside, slot: ck::CK_SLOT_ID, request: &Request, error: KsError) -> KsError {
        let verdict = match error.class() {
            // Of these, SessionLost has had its second try in a fresh session.
            Class::TokenLost | Class::SessionLost => Verdict::Gone,
            Class::RetrySame => {
                self.vague_failures += 1;
                if self.vague_failures < 2 { Verdict::There } else { self.look_at_token(slot) }
            }
            Class::NotFound => self.look_at_token(slot),
            _ => Verdict::There,
        };
        let error = match verdict {
            Verdict::There => error,
            Verdict::Gone => {
                self.shared.lost(&inside, &error);
                error.into_class(Class::TokenLost)
            }
            Verdict::Doubtful => self.settle_doubt(inside, error),
        };
        let interrupted = matches!(error.class(), Class::TokenLost | Class::SessionLost | Class::RetrySame);
        if interrupted && request.changes() { error.into_class(Class::OutcomeUnknown) } else { error }
    }

    /// Whether the token is really there and logged in, asked in a fresh session.
    fn look_at_token(&mut self, slot: ck::CK_SLOT_ID) -> Verdict {
        self.session = None;
        let seen =
            Session::open(self.shared.module.functions(), slot).and_then(|session| object::token_has_keys(&session));
        match seen {
            Ok(true) => Verdict::There,
            Ok(false) if self.last_doubt.is_some_and(|at| at.elapsed() < DOUBT_INTERVAL) => Verdict::There,
            Ok(false) => Verdict::Doubtful,
            Err(_) => Verdict::Gone,
        }
    }

    /// A token without any key is empty, or it is gone and the module has not noticed (SoftHSM lists its tokens at
    /// C_Initialize alone). Only looking for it anew tells; a token that has just been looked for is believed.
    fn settle_doubt(&mut self, inside: Inside, error: KsError) -> KsError {
        self.last_doubt = Some(Instant::now());
        self.shared.lost(&inside, &error);
        drop(inside);
        match self.shared.wait_until_settled() {
            Ok(()) => error,
            Err(away) => away.into_class(Class::TokenLost),
        }
    }

    /// The module was finalised since: nothing of it may be touched.
    fn forget(&mut self) {
        self.handles.clear();
        if let Some(session) = self.session.take() {
            session.forget();
        }
    }

    fn close(mut self) {
        let inside = self.shared.module.enter();
        if self.generation != inside.generation() {
            self.forget();
        }
        // Closed while inside.
        self.session = None;
    }
}
