//! The thread that keeps one worker process alive: starts it, reads its answers, ends it when it hangs, starts the next.
//!
//! The next start follows at once after a first death, then after growing pauses. Workers of a token log in one after
//! the other: a PIN that is refused is refused once, and nobody offers it again (`logins.rs`).

use super::job::{Job, Reply};
use super::message::Request;
use super::pool::{Answers, Phase, Pool, Verdict};
use super::process::Process;
use super::token::Shared;
use super::wire::{self, Incoming, Note, Opening};
use crate::error::{Class, KsError, Result};
use crate::keystore::OpCx;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keeps the worker of a place.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    index: usize,
    /// Before the next start.
    pause: Duration,
    /// Whether the last process of this place has served.
    has_served: bool,
}

/// A worker that has logged in.
struct Started {
    process: Process,
    socket: Arc<UnixStream>,
    incoming: Incoming,
}

/// Longest time from the start of a process to its login.
const START_MAX: Duration = Duration::from_secs(30);
/// How often a worker's progress is looked at.
const TICK: Duration = Duration::from_millis(200);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A worker that served this long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// For a worker that was told to end.
const FAREWELL: Duration = Duration::from_secs(1);
/// For undoing what was made too late.
const UNDO_MAX: Duration = Duration::from_secs(30);

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self { shared, index, pause: Duration::ZERO, has_served: false }
    }

    /// Until the token is closed.
    pub(super) fn run(mut self) {
        while self.wait_for_turn() {
            match self.start() {
                Ok(Some(started)) => {
                    let since = Instant::now();
                    self.serve(started);
                    self.has_served = true;
                    if since.elapsed() > GOOD {
                        self.pause = Duration::ZERO;
                    }
                }
                Ok(None) => return,
                Err(reason) => {
                    self.not_started(reason);
                    self.has_served = false;
                }
            }
        }
    }

    /// Waits for the pause to end; for ever where the PIN was refused. False when the token is closed.
    fn wait_for_turn(&mut self) -> bool {
        let until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let mut pool = self.shared.lock();
        loop {
            if pool.closed {
                return false;
            }
            let starting = matches!(pool.members[self.index].phase, Phase::Starting);
            if let Some(refused) = pool.circuit.clone().filter(|_| starting) {
                // Whoever waits for this worker waits in vain.
                let mut told = Answers::new();
                pool.away(self.index, refused, &mut told);
                drop(pool);
                self.tell(told);
                self.shared.changed.notify_all();
                pool = self.shared.lock();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if pool.circuit.is_none() && left.is_zero() {
                return true;
            }
            let left = if pool.circuit.is_none() { left } else { Duration::from_secs(3600) };
            pool = self.shared.changed.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn not_started(&self, reason: KsError) {
        let token = &self.shared.config.token;
        let mut told = Answers::new();
        let mut pool = self.shared.lock();
        if pool.closed {
            return;
        }
        tracing::debug!(%token, worker = self.index, error = %reason, "token worker did not start");
        let first = matches!(pool.members[self.index].phase, Phase::Starting);
        if first && reason.class() != Class::AuthStop {
            tracing::warn!(%token, worker = self.index, error = %reason, "token is away; looking for it");
        }
        pool.away(self.index, reason, &mut told);
        drop(pool);
        self.tell(told);
        self.shared.changed.notify_all();
    }

    /// Starts a process and waits for its login. `None` when the token was closed meanwhile.
    fn start(&self) -> Result<Option<Started>> {
        let turn = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let login;
        let opening = {
            let Some(pool) = self.wait_for_login() else { return Ok(None) };
            login = pool.login.clone();
            if let Some(refused) = pool.circuit.clone().or_else(|| login.refusal()) {
                drop(pool);
                return Err(self.refused(refused));
            }
            let config = &self.shared.config;
            let mut token = config.token.clone();
            token.serial = token.serial.or_else(|| pool.serial.clone());
            let (module, pin, refused) = (config.module.clone(), pool.pin.clone(), login.refused_serials());
            Opening { module, token, pin, wary: pool.wary, refused }
        };
        let (mut process, mut socket, page) = Process::start(&self.shared.config.spawn)?;
        let sent = socket.write_all(&wire::opening(&opening)?);
        sent.map_err(|e| self.start_failed(&mut process, &format!("does not listen: {e}")))?;
        drop(opening);
        let mut incoming = Incoming::default();
        let mut offered = None;
        let until = Instant::now() + START_MAX;
        let info = loop {
            let error = match next_note(&socket, &mut incoming, until)? {
                Some(Note::LoggingIn(serial)) => {
                    offered = Some(serial);
                    continue;
                }
                Some(Note::Ready(info)) => break info,
                Some(Note::Failed(error)) => error.into(),
                None => {
                    let late = Instant::now() >= until;
                    let what = if late { "did not get ready within 30 seconds" } else { "ended" };
                    let doing = if offered.is_some() { "logging in" } else { "loading the module" };
                    self.start_failed(&mut process, &format!("{what} while {doing}"))
                }
            };
            let Some(serial) = offered else { return Err(self.refused(error)) };
            // Whatever the reason, it may have burnt a try.
            self.shared.lock().wary = true;
            return Err(self.refused(login.failed(Some(&serial), error)));
        };
        login.succeeded();
        let socket = Arc::new(socket);
        let mut told = Answers::new();
        let mut pool = self.shared.lock();
        if pool.closed {
            return Ok(None);
        }
        tracing::info!(token = %info.label, serial = %info.serial, worker = self.index, pid = process.id(), "token opened");
        pool.wary = false;
        pool.device = info.describe();
        pool.serial = Some(info.serial);
        pool.ready(self.index, Arc::clone(&socket), page, &mut told);
        drop(pool);
        drop(turn);
        self.tell(told);
        self.shared.changed.notify_all();
        Ok(Some(Started { process, socket, incoming }))
    }

    /// Waits until a login that failed without a clear reason may be tried again. `None` when the token is closed.
    fn wait_for_login(&self) -> Option<MutexGuard<'_, Pool>> {
        let mut pool = self.shared.lock();
        let until = pool.login.not_before();
        loop {
            let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
            if pool.closed {
                return None;
            }
            if left.is_zero() {
                return Some(pool);
            }
            pool = self.shared.changed.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A worker was told no. A refused login is known to all before the next one's turn comes; a token that is not there
    /// for a new worker may be gone for the old ones, which have not noticed.
    fn refused(&self, reason: KsError) -> KsError {
        let mut pool = self.shared.lock();
        if reason.class() == Class::AuthStop {
            let token = &self.shared.config.token;
            if pool.circuit.replace(reason.clone()).is_none() {
                tracing::error!(%token, error = %reason, "token refused the login; not trying again");
            }
        } else if reason.class() == Class::TokenLost && self.has_served {
            pool.suspect(self.index, &reason);
        }
        reason
    }

    fn start_failed(&self, process: &mut Process, what: &str) -> KsError {
        process.kill();
        let how = process.end();
        let module = self.shared.config.module.display();
        KsError::new(Class::TokenLost, format!("the worker process for PKCS#11 module {module} {what} ({how})"))
    }

    /// Reads answers until the worker ends, or has to be ended.
    fn serve(&self, mut started: Started) {
        let reason = self.converse(&mut started);
        let mut told = Answers::new();
        match &reason {
            Some(reason) => {
                tracing::warn!(token = %self.shared.config.token, worker = self.index, error = %reason, "token worker is replaced");
                started.process.kill();
            }
            None if self.shared.lock().closed => started.process.end_within(FAREWELL),
            None => {}
        }
        let how = started.process.end();
        if reason.is_none() && !self.shared.lock().closed {
            tracing::error!(token = %self.shared.config.token, worker = self.index, "token worker ended {how}; starting another");
        }
        // What it answered before it ended counts.
        let rest = receive(&started.socket, &mut started.incoming).and_then(|_| answers(&mut started.incoming));
        let mut pool = self.shared.lock();
        if let Ok(rest) = rest {
            // Its end is known already.
            let _ = pool.answered(self.index, rest, &mut told);
        }
        pool.buried(self.index, &mut told);
        drop(pool);
        self.tell(told);
        self.shared.changed.notify_all();
    }

    /// The conversation with a worker: why it must end, or `None` when it has ended by itself.
    fn converse(&self, started: &mut Started) -> Option<KsError> {
        let mut looked = Instant::now();
        let mut closing: Option<Instant> = None;
        loop {
            let full = self.shared.lock().is_full(self.index);
            let open = match wait(&started.socket, full, TICK) {
                true => receive(&started.socket, &mut started.incoming).unwrap_or(false),
                false => true,
            };
            let answers = match answers(&mut started.incoming) {
                Ok(answers) => answers,
                Err(error) => return Some(error),
            };
            let mut told = Answers::new();
            let mut pool = self.shared.lock();
            let mut verdict = pool.answered(self.index, answers, &mut told);
            if matches!(verdict, Verdict::GoesOn) && (full || looked.elapsed() >= TICK) {
                verdict = pool.look(self.index);
                looked = Instant::now();
            }
            if pool.closed {
                closing = closing.or(Some(Instant::now()));
            }
            drop(pool);
            self.tell(told);
            if closing.is_some_and(|since| since.elapsed() > FAREWELL) {
                return None;
            }
            match verdict {
                Verdict::Ends(reason) => return Some(reason),
                Verdict::GoesOn if !open => return None,
                Verdict::GoesOn => {}
            }
        }
    }

    /// Hands answers to their callers. A key that nobody has heard of is destroyed again.
    fn tell(&self, told: Answers) {
        for (job, result) in told {
            let Some(id) = job.answer(result) else { continue };
            match Job::new(&Request::Destroy { id }, Reply::Nobody, OpCx::within(UNDO_MAX)) {
                Ok((job, _)) => self.shared.lock().submit_undo(job),
                Err(error) => tracing::warn!(key = %id, %error, "a key was made after its deadline and stays"),
            }
        }
    }
}

/// The next word of a worker that starts; `None` if it has ended, or time is up.
fn next_note(socket: &UnixStream, incoming: &mut Incoming, until: Instant) -> Result<Option<Note>> {
    loop {
        if let Some(frame) = incoming.next()? {
            return wire::parse_note(frame).map(Some);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || (wait(socket, false, left) && !receive(socket, incoming)?) {
            return Ok(None);
        }
    }
}

fn answers(incoming: &mut Incoming) -> Result<Vec<wire::Answer>> {
    let mut answers = Vec::new();
    while let Some(frame) = incoming.next()? {
        answers.push(wire::parse_answer(frame)?);
    }
    Ok(answers)
}

/// Waits until there is something to read (or, if `full`, room to write). False when the time is over.
fn wait(socket: &UnixStream, full: bool, time: Duration) -> bool {
    let flags = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let mut descriptors = [PollFd::new(socket, flags)];
    let time = Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() };
    // An interrupted wait is an early tick.
    let ready = poll(&mut descriptors, Some(&time)).unwrap_or(0);
    ready > 0 && descriptors[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
}

/// Reads what there is. False at the end.
fn receive(socket: &UnixStream, incoming: &mut Incoming) -> Result<bool> {
    loop {
        let room = incoming.room();
        let len = room.len();
        let read = rustix::net::recv(socket, room, RecvFlags::DONTWAIT);
        let octets = read.as_ref().map_or(0, |(octets, _)| *octets);
        incoming.filled(octets);
        match read {
            Ok((0, _)) => return Ok(false),
            // A full room means that there may be more.
            Ok(_) if octets == len => {}
            Ok(_) | Err(rustix::io::Errno::AGAIN) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            // It died with requests unread.
            Err(rustix::io::Errno::CONNRESET) => return Ok(false),
            Err(e) => return Err(KsError::new(Class::RetryOther, format!("a worker's socket fails: {e}"))),
        }
    }
}

