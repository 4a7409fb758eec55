//! One address: its connections and its health.

use super::cluster::{Broken, Protocol};
use super::tls::refused_us;
use super::{Address, TlsClient};
use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A connection that was idle for longer is not used again: servers and firewalls forget them silently.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// One address of a service.
pub(super) struct Endpoint<C> {
    pub(super) address: Address,
    state: Mutex<State>,
    idle: Mutex<VecDeque<(C, Instant)>>,
    turns: Semaphore,
    turns_max: usize,
    waiting: AtomicUsize,
    found: AtomicU64,
    connect_timeout: Duration,
}

/// What is known of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not contacted yet.
    Unknown,
    /// The last contact succeeded.
    Up,
    /// The last contact failed so; it is being looked for.
    Down(String),
}

/// A connection in use. Dropped, it is closed; [`Endpoint::give_back`] keeps it.
pub(super) struct Lease<'e, C> {
    pub(super) connection: C,
    /// Whether it has served before: then its end may only mean that the server tired of it.
    pub(super) used: bool,
    turn: SemaphorePermit<'e>,
}

impl<C> Endpoint<C> {
    pub(super) fn new(address: Address, connections: usize, connect_timeout: Duration) -> Self {
        Self {
            address,
            state: Mutex::new(State::Unknown),
            idle: Mutex::default(),
            turns: Semaphore::new(connections.max(1)),
            turns_max: connections.max(1),
            waiting: AtomicUsize::new(0),
            found: AtomicU64::new(0),
            connect_timeout,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what a contact showed; tells the log when that is news.
    pub(super) fn note(&self, new: State) {
        let old = std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), new.clone());
        if new == State::Up && old != State::Up {
            self.found.fetch_add(1, Ordering::Relaxed);
        }
        match (&old, &new) {
            (State::Up | State::Unknown, State::Down(cause)) => {
                tracing::warn!(endpoint = %self.address, cause, "a remote keystore's endpoint does not serve");
            }
            (State::Down(_), State::Up) => {
                tracing::info!(endpoint = %self.address, "a remote keystore's endpoint serves again")
            }
            _ => {}
        }
        if matches!(new, State::Down(_)) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Connections, in use and idle.
    pub(super) fn connections(&self) -> usize {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.turns_max - self.turns.available_permits().min(self.turns_max) + idle
    }

    /// Callers that wait for a turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How often it was found.
    pub(super) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// A turn to use this endpoint, or `None` if none came free in time.
    async fn turn(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        let _waits = Waits::begin(&self.waiting);
        // The semaphore is never closed.
        tokio::time::timeout_at(deadline.into(), self.turns.acquire()).await.ok()?.ok()
    }

    /// An idle connection, or a new one; `fresh` asks for a new one. `Ok(None)` means that no turn came in time.
    pub(super) async fn lease<P: Protocol<Connection = C>>(
        &self,
        protocol: &P,
        tls: &TlsClient,
        deadline: Instant,
        fresh: bool,
    ) -> Result<Option<Lease<'_, C>>, Broken> {
        let Some(turn) = self.turn(deadline).await else { return Ok(None) };
        if !fresh {
            while let Some((mut connection, since)) = self.take_idle() {
                if since.elapsed() < IDLE_MAX && protocol.is_open(&mut connection) {
                    return Ok(Some(Lease { connection, used: true, turn }));
                }
            }
        }
        let connection = self.connect(protocol, tls, deadline).await?;
        Ok(Some(Lease { connection, used: false, turn }))
    }

    /// A new connection.
    pub(super) async fn connect<P: Protocol<Connection = C>>(
        &self,
        protocol: &P,
        tls: &TlsClient,
        deadline: Instant,
    ) -> Result<C, Broken> {
        let until = deadline.min(Instant::now() + self.connect_timeout);
        let opened = async {
            let stream = tls.open(&self.address).await?;
            protocol.open(stream, &self.address).await
        };
        match tokio::time::timeout_at(until.into(), opened).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(why)) => Err(Broken::Unsent(why)),
            Err(_) => Err(Broken::Unsent("no connection in time".to_owned())),
        }
    }

    /// Keeps a connection for the next call.
    pub(super) fn give_back(&self, lease: Lease<'_, C>) {
        self.keep(lease.connection);
        drop(lease.turn);
    }

    pub(super) fn keep(&self, connection: C) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push_front((connection, Instant::now()));
    }

    fn take_idle(&self) -> Option<(C, Instant)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A caller that gives up waits no longer.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An error with its causes, in one line.
pub(super) fn describe(error: std::io::Error) -> String {
    if let Some(alert) = refused_us(&error) {
        return format!("the server refused our certificate ({alert:?})");
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
