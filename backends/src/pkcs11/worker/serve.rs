//! One request after the other, in one session, and what a failure means for the token.
//!
//! Any device error drops the session, because an operation may be left open in it; opening another costs nothing
//! beside it. Answers go out together while more requests are at hand, so a signature costs a fraction of a system call.

use super::super::handles::Handles;
use super::super::message::{Request, Response};
use super::super::page::Page;
use super::super::prepared::{AGE_MAX, Prepared};
use super::super::raw::{Functions, Session};
use super::super::wire::{self, After, Answer, Asked, Incoming};
use super::super::{ckr, object};
use super::receive;
use crate::error::{Class, KsError, Result};
use crate::key::KeyId;
use cryptoki_sys as ck;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A logged-in worker.
pub(super) struct Server {
    functions: Functions,
    slot: ck::CK_SLOT_ID,
    /// Logged in, never used and never closed: login belongs to the application (PKCS#11 v3.1 §5.6: all sessions of an
    /// application with a token share one login state), and its death is the end of it. C_Logout is never called.
    _keeper: Session,
    session: Option<Session>,
    handles: Handles,
    prepared: Prepared,
    /// Whether waiting for requests ends after a while.
    timed: bool,
    /// CKR_GENERAL_ERROR and its like in a row.
    vague_failures: u32,
}

/// Answers kept back at most.
const KEPT_MAX: u32 = 4;
/// A request that took longer is answered at once.
const QUICK: Duration = Duration::from_micros(250);

impl Server {
    pub(super) fn new(functions: Functions, slot: ck::CK_SLOT_ID, keeper: Session) -> Self {
        let (handles, prepared) = (Handles::default(), Prepared::new(functions, slot));
        Self { functions, slot, _keeper: keeper, session: None, handles, prepared, timed: false, vague_failures: 0 }
    }

    /// Serves until the socket closes or the token is lost.
    pub(super) fn run(mut self, mut socket: UnixStream, mut incoming: Incoming, page: &Page) -> io::Result<()> {
        let mut out = Zeroizing::new(Vec::new());
        let mut kept = 0;
        loop {
            let received = Instant::now();
            while let Some(frame) = incoming.next().map_err(io::Error::other)? {
                let asked = wire::parse_request(frame).map_err(io::Error::other)?;
                let begun = Instant::now();
                page.begin(asked.seq);
                self.prepared.expire(page.destroyed());
                let answer = self.answer(asked, received);
                page.done(answer.seq);
                page.found(self.handles.finds, self.handles.find_us);
                wire::append_answer(&answer, &mut out).map_err(io::Error::other)?;
                kept += 1;
                let leaves = answer.after == After::Leaves;
                if leaves || kept >= KEPT_MAX || begun.elapsed() > QUICK {
                    flush(&mut socket, &mut out, &mut kept)?;
                }
                if leaves {
                    // The sessions are dead; calling the module again could hang.
                    std::process::exit(0);
                }
            }
            flush(&mut socket, &mut out, &mut kept)?;
            if !self.wait(&mut socket, &mut incoming, page)? {
                break;
            }
        }
        // Politeness to a device that counts sessions. The gateway does not wait long for it.
        let functions = self.functions;
        drop(self);
        let _ = functions.finalize();
        Ok(())
    }

    /// Waits for requests. What is kept ready is not kept for longer than it may be while none comes.
    fn wait(&mut self, socket: &mut UnixStream, incoming: &mut Incoming, page: &Page) -> io::Result<bool> {
        if self.timed == self.prepared.is_empty() {
            self.timed = !self.timed;
            socket.set_read_timeout(self.timed.then_some(AGE_MAX))?;
        }
        match receive(socket, incoming) {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.prepared.expire(page.destroyed());
                Ok(true)
            }
            other => other,
        }
    }

    fn answer(&mut self, asked: Asked, received: Instant) -> Answer {
        let deadline = received + Duration::from_micros(asked.budget_us);
        if Instant::now() >= deadline {
            let late = KsError::new(Class::Busy, "the token did not get to the request before its deadline");
            return Answer { seq: asked.seq, after: After::Stays, result: Err(late) };
        }
        let (mut result, mut after) = self.serve(&asked.request);
        if let (Ok(_), Some(id), true) = (&result, asked.request.makes(), Instant::now() >= deadline) {
            (result, after) = self.undo(id);
        }
        Answer { seq: asked.seq, after, result }
    }

    /// Destroys a key whose maker waits no more. Should this fail, reconciliation by id finds the key.
    fn undo(&mut self, id: KeyId) -> (Result<Response>, After) {
        match self.serve(&Request::Destroy { id }) {
            (Ok(_), after) => {
                let error = KsError::new(Class::OutcomeUnknown, "the key was made after the deadline and destroyed again");
                (Err(error), after)
            }
            (Err(error), after) => (Err(error.into_class(Class::OutcomeUnknown)), after),
        }
    }

    fn serve(&mut self, request: &Request) -> (Result<Response>, After) {
        if let Request::Destroy { .. } = request {
            self.prepared.clear();
        }
        let mut result = match self.prepared.run(&mut self.handles, request) {
            Some(done) => done,
            None => self.attempt(request),
        };
        if matches!(&result, Err(e) if is_worth_another_session(e, request)) {
            result = self.attempt(request);
        }
        match result {
            Ok(response) => {
                self.vague_failures = 0;
                (Ok(response), After::Stays)
            }
            Err(error) => {
                let (error, after) = self.diagnose(request, error);
                (Err(error), after)
            }
        }
    }

    /// One try in this worker's session, opened if need be.
    fn attempt(&mut self, request: &Request) -> Result<Response> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(self.functions, self.slot)?,
        };
        let result = object::run(&session, &mut self.handles, &self.functions, self.slot, request);
        match &result {
            Err(error) if error.device_code().is_some() => {}
            _ => self.session = Some(session),
        }
        result
    }

    /// What a failure means for the token, and what the caller should make of it.
    fn diagnose(&mut self, request: &Request, error: KsError) -> (KsError, After) {
        let after = match error.class() {
            // Of these, SessionLost has had its second try in a fresh session.
            Class::TokenLost | Class::SessionLost => After::Leaves,
            Class::RetrySame => {
                self.vague_failures += 1;
                if self.vague_failures < 2 { After::Stays } else { self.look_at_token() }
            }
            Class::NotFound => self.look_at_token(),
            _ => After::Stays,
        };
        let error = if after == After::Leaves { error.into_class(Class::TokenLost) } else { error };
        let interrupted = matches!(error.class(), Class::TokenLost | Class::RetrySame);
        if interrupted && request.changes() {
            return (error.into_class(Class::OutcomeUnknown), after);
        }
        (error, after)
    }

    /// Whether the token is really there and logged in, asked in a fresh session.
    fn look_at_token(&mut self) -> After {
        self.session = None;
        match Session::open(self.functions, self.slot).and_then(|session| object::token_has_keys(&session)) {
            Ok(true) => After::Stays,
            Ok(false) => After::Doubts,
            Err(e) if e.class() == Class::Busy => After::Stays,
            Err(_) => After::Leaves,
        }
    }
}

/// Whether the same request may succeed in a session that was opened afresh.
fn is_worth_another_session(error: &KsError, request: &Request) -> bool {
    if !request.changes() {
        // A vague failure (CKR_GENERAL_ERROR) passes as often as not; what changes nothing can be asked again.
        return matches!(error.class(), Class::SessionLost | Class::RetrySame)
            && !ckr::is(error, ck::CKR_USER_NOT_LOGGED_IN);
    }
    // PKCS#11 v3.1 §5.1.2 CKR_SESSION_HANDLE_INVALID: "The specified session handle was invalid at the time that the
    // function was invoked"; §5.1.6 CKR_OPERATION_ACTIVE: "There is already an active operation [...] which prevents
    // Cryptoki from activating the specified operation". Neither has changed anything, if the first call says so.
    let first = ["C_CreateObject", "C_FindObjectsInit", "C_GenerateKey", "C_GenerateKeyPair"];
    let nothing_done = [ck::CKR_OPERATION_ACTIVE, ck::CKR_SESSION_HANDLE_INVALID];
    error.device_code().is_some_and(|device| first.contains(&device.function))
        && nothing_done.iter().any(|&code| ckr::is(error, code))
}

fn flush(socket: &mut UnixStream, out: &mut Zeroizing<Vec<u8>>, kept: &mut u32) -> io::Result<()> {
    if !out.is_empty() {
        socket.write_all(out)?;
        zeroize::Zeroize::zeroize(&mut out[..]);
        out.clear();
    }
    *kept = 0;
    Ok(())
}
