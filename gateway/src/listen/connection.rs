//! One connection as the registry sees it: what it is doing, until when, and a handle to end it.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
};

use rustix::net::{Shutdown, shutdown};
use tokio::sync::Notify;

use crate::identity::CredentialId;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// TLS handshake.
    Handshake,
    /// Waiting for the first octet of a request.
    Idle,
    /// Receiving a request.
    Frame,
    /// A request is being worked on.
    Working,
    /// The answer is being written.
    Write,
    /// The last answer is written; what the peer still sends is read and dropped.
    Linger,
}

/// Why a connection is ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// A deadline passed.
    Overdue = 1,
    /// The caller is no longer let in.
    Refused,
    /// The certificate has expired.
    Expired,
    /// Made room for others before it had proven who it is.
    Evicted,
    /// The server stops.
    Shutdown,
}

/// How a connection's task learns that it is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its pending read ends: the socket is shut for reading.
    Read,
    /// It is told, and may go on reading and writing while it finishes: HTTP/2 cannot answer without reading.
    Told,
}

/// Shared between the connection's task and the registry.
pub struct Connection {
    /// Number, unique in this process.
    pub id: u64,
    /// The peer's address.
    pub address: SocketAddr,
    socket: OwnedFd,
    pub(super) opened: u64,
    phase: AtomicU8,
    deadline: AtomicU64,
    closing: AtomicU8,
    /// Until when an end that was asked for may take.
    close_by: AtomicU64,
    credential: OnceLock<CredentialId>,
    not_after: AtomicI64,
    /// [`Ending::Told`], not [`Ending::Read`].
    is_told: AtomicBool,
    told: Notify,
}

/// Deadline of a phase that has none.
const NEVER: u64 = u64::MAX;
/// A peer younger than this is not evicted.
const EVICTABLE_TICKS: u64 = 10;
/// Ticks from asking a connection to end until its socket is shut both ways.
const GRACE_TICKS: u64 = 5;

impl Connection {
    pub(super) fn new(id: u64, address: SocketAddr, socket: OwnedFd, now: u64, handshake_ticks: u64, ending: Ending) -> Self {
        Self {
            id,
            address,
            socket,
            opened: now,
            phase: AtomicU8::new(Phase::Handshake as u8),
            deadline: AtomicU64::new(now + handshake_ticks),
            closing: AtomicU8::new(0),
            close_by: AtomicU64::new(NEVER),
            credential: OnceLock::new(),
            not_after: AtomicI64::new(i64::MAX),
            is_told: AtomicBool::new(ending == Ending::Told),
            told: Notify::new(),
        }
    }

    /// Begins a phase that ends at `deadline` ticks, or never.
    pub(crate) fn enter(&self, phase: Phase, deadline: Option<u64>) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.deadline.store(deadline.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Records whose connection it is.
    pub(crate) fn identified(&self, credential: CredentialId, not_after: i64) {
        // A connection is identified once: the cell is empty before this call.
        let _ = self.credential.set(credential);
        self.not_after.store(not_after, Ordering::Relaxed);
    }

    /// Whose connection it is, once the handshake is done.
    pub fn credential(&self) -> Option<&CredentialId> {
        self.credential.get()
    }

    /// Whether the connection was asked to end.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Asks the connection to end: the request under way is finished and answered, no other is read.
    pub(crate) fn close(&self, reason: Reason, now: u64, grace_ticks: Option<u64>) {
        if self.closing.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        self.close_by.store(now.saturating_add(grace_ticks.unwrap_or(GRACE_TICKS)), Ordering::Relaxed);
        self.end(reason);
    }

    fn end(&self, reason: Reason) {
        let is_overdue = reason == Reason::Overdue;
        match self.ending() {
            _ if self.is_in(Phase::Handshake) => self.shut(Shutdown::Both),
            Ending::Read if is_overdue && self.is_in(Phase::Write) => self.shut(Shutdown::Both),
            Ending::Read => self.shut(Shutdown::Read),
            // A refused caller gets no answer any more, and one that is late does not read it.
            Ending::Told if matches!(reason, Reason::Refused | Reason::Evicted) || (is_overdue && !self.is_in(Phase::Idle)) => {
                self.shut(Shutdown::Both);
            }
            Ending::Told => {}
        }
        self.told.notify_one();
    }

    fn ending(&self) -> Ending {
        if self.is_told.load(Ordering::Relaxed) { Ending::Told } else { Ending::Read }
    }

    /// The connection turns out to speak HTTP: from here on its task listens to [`Connection::asked_to_end`].
    pub(crate) fn is_told_of_its_end(&self) {
        self.is_told.store(true, Ordering::Relaxed);
    }

    /// Waits until the connection is asked to end. For the connection's own task alone.
    pub(crate) async fn asked_to_end(&self) {
        self.told.notified().await;
    }

    /// Whether the connection may be ended to make room: its peer has not proven who it is, has had a second to do so, and
    /// nothing is worked on for it.
    pub(super) fn is_evictable(&self, now: u64) -> bool {
        let waits = match self.ending() {
            Ending::Read => self.is_in(Phase::Handshake),
            Ending::Told => self.credential().is_none() && [Phase::Handshake, Phase::Idle, Phase::Frame].iter().any(|phase| self.is_in(*phase)),
        };
        waits && now >= self.opened + EVICTABLE_TICKS
    }

    /// Ends what is overdue. Called by the sweeper alone.
    pub(super) fn sweep(&self, now: u64, unix_now: i64) -> Option<Reason> {
        if self.is_closing() {
            if now > self.close_by.load(Ordering::Relaxed) {
                self.shut(Shutdown::Both);
            }
            return None;
        }
        let reason = if now > self.deadline.load(Ordering::Relaxed) {
            Reason::Overdue
        } else if unix_now > self.not_after.load(Ordering::Relaxed) {
            Reason::Expired
        } else {
            return None;
        };
        self.close(reason, now, None);
        Some(reason)
    }

    fn shut(&self, how: Shutdown) {
        // Fails only where the peer has gone already.
        let _ = shutdown(&self.socket, how);
    }
}
