//! AES-GCM operations kept ready in a worker, for tokens with the message functions of PKCS#11 3.0.
//!
//! A one-shot encryption has the token fetch and expand the key each time; a message operation does so once (kryoptic: 33 us
//! against 1 us). The second use of a key in one direction prepares an operation for it, in a session of its own. What a
//! message gets is the same in both ways: the nonce comes with the request, the token draws none.
//!
//! An operation holds a copy of the key, in the worker or in the device. It is dropped as soon as the gateway has destroyed a
//! key, any key, through whichever worker; and after [`AGE_MAX`], used or not, for what other programs destroyed. Whatever
//! fails here is done again one-shot, except a wrong tag, which is an answer.

use super::ckr;
use super::handles::Handles;
use super::message::{CipherMechanism, KeyName, Request, Response};
use super::object::opaque_failure;
use super::raw::{Functions, Session};
use super::raw3::GcmMessage;
use crate::error::{Class, Fault, Result};
use cryptoki_sys as ck;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Operations at most, each with a session.
const OPERATIONS_MAX: usize = 8;
/// Keys remembered as used once.
const SEEN_MAX: usize = 64;
/// How long an operation is kept.
pub(super) const AGE_MAX: Duration = Duration::from_secs(5);
/// After so many failures in a row the token is used one-shot alone.
const FAILURES_MAX: u32 = 3;

/// The operations of a worker.
pub(super) struct Prepared {
    functions: Functions,
    slot: ck::CK_SLOT_ID,
    /// Whether the token encrypts and decrypts messages.
    can: (bool, bool),
    /// The one used last stands first.
    operations: VecDeque<Operation>,
    seen: VecDeque<Use>,
    /// The count of destroyed keys that the operations were prepared at.
    destroyed: u64,
    failures: u32,
}

struct Operation {
    what: Use,
    session: Session,
    since: Instant,
}

/// A key in one direction.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Use {
    key: KeyName,
    encrypts: bool,
}

impl Prepared {
    pub(super) fn new(functions: Functions, slot: ck::CK_SLOT_ID) -> Self {
        // A token that does not know the mechanism has no flags of it.
        let flags = functions.v3_0().map_or(0, |_| functions.mechanism_flags(slot, ck::CKM_AES_GCM).unwrap_or(0));
        let can = (flags & ck::CKF_MESSAGE_ENCRYPT != 0, flags & ck::CKF_MESSAGE_DECRYPT != 0);
        Self { functions, slot, can, operations: VecDeque::new(), seen: VecDeque::new(), destroyed: 0, failures: 0 }
    }

    /// Whether there is something to expire.
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Drops what is too old, or was prepared before the gateway destroyed its `destroyed`th key.
    pub(super) fn expire(&mut self, destroyed: u64) {
        if self.destroyed != destroyed {
            self.clear();
            self.destroyed = destroyed;
        }
        self.operations.retain(|operation| operation.since.elapsed() < AGE_MAX);
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.operations.clear();
        self.seen.clear();
    }

    /// Does the request if it is one for an operation; `None`: do it one-shot.
    pub(super) fn run(&mut self, handles: &mut Handles, request: &Request) -> Option<Result<Response>> {
        let what = Use::of(request)?;
        if !(if what.encrypts { self.can.0 } else { self.can.1 }) {
            return None;
        }
        let operation = match self.operations.iter().position(|operation| operation.what == what) {
            Some(index) => self.operations.remove(index)?,
            None => self.prepare(handles, what)?,
        };
        match operation.run(request)? {
            Ok(done) => {
                self.failures = 0;
                self.operations.push_front(operation);
                self.operations.truncate(OPERATIONS_MAX);
                Some(Ok(done))
            }
            // After a wrong tag the operation is in a state that no two tokens agree on: it goes with its session.
            Err(error) if error.class() == Class::BadInput(Fault::Integrity) => Some(Err(opaque_failure(error))),
            // Tokens answer a wrong tag with whatever comes to hand: no failure of theirs.
            Err(_) if !what.encrypts => None,
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// An operation for a key that was used before.
    fn prepare(&mut self, handles: &mut Handles, what: Use) -> Option<Operation> {
        let Some(index) = self.seen.iter().position(|seen| *seen == what) else {
            self.seen.push_front(what);
            self.seen.truncate(SEEN_MAX);
            return None;
        };
        self.seen.remove(index);
        let begun = Session::open(self.functions, self.slot).and_then(|session| {
            handles.with_key(&session, what.key, |handle| match what.encrypts {
                true => session.begin_messages_encrypt(handle.object),
                false => session.begin_messages_decrypt(handle.object),
            })?;
            Ok(Operation { what, session, since: Instant::now() })
        });
        begun.inspect_err(|error| self.failed(error)).ok()
    }

    fn failed(&mut self, error: &crate::error::KsError) {
        // The one-shot call says what became of the key.
        let gone = error.class() == Class::NotFound || ckr::is(error, ck::CKR_KEY_FUNCTION_NOT_PERMITTED);
        self.failures += u32::from(!gone);
        if self.failures >= FAILURES_MAX {
            self.can = (false, false);
            self.clear();
        }
    }
}

impl Operation {
    fn run(&self, request: &Request) -> Option<Result<Response>> {
        match request {
            Request::Encrypt { mechanism: CipherMechanism::AesGcm { iv, aad, tag_len }, data, .. } => {
                let message = GcmMessage { iv, aad, tag_len: *tag_len };
                Some(self.session.encrypt_message(&message, data.expose()).map(Response::Bytes))
            }
            Request::Decrypt { mechanism: CipherMechanism::AesGcm { iv, aad, tag_len }, data, .. } => {
                let message = GcmMessage { iv, aad, tag_len: *tag_len };
                Some(self.session.decrypt_message(&message, data).map(Response::Secret))
            }
            _ => None,
        }
    }
}

impl Use {
    fn of(request: &Request) -> Option<Self> {
        match request {
            Request::Encrypt { key, mechanism: CipherMechanism::AesGcm { .. }, .. } => {
                Some(Self { key: *key, encrypts: true })
            }
            Request::Decrypt { key, mechanism: CipherMechanism::AesGcm { .. }, .. } => {
                Some(Self { key: *key, encrypts: false })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "prepared_tests.rs"]
mod tests;
