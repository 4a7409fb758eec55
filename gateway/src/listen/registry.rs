//! All connections of a listener: the bound on their number, their deadlines, and ending them from outside.

use std::{
    collections::HashMap,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustls_pki_types::UnixTime;
use tokio::sync::Notify;

use super::{
    connection::{Connection, Ending, Reason},
    counts::ConnectionCounts,
};
use crate::{
    config::Limits,
    identity::{CredentialId, Directory, OnChange},
    telemetry::Metrics,
};

/// Length of a tick: deadlines are kept to this precision.
const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_MINUTE: u64 = 600;
/// Failed handshakes logged in a minute.
const STRANGER_LINES_PER_MINUTE: u64 = 20;
/// Numbers connections, of all listeners.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Deadlines in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// TLS handshake.
    pub handshake: u64,
    /// Silence between requests.
    pub idle: u64,
    /// First to last octet of a request.
    pub frame: u64,
    /// Writing an answer.
    pub write: u64,
}

impl Timing {
    /// From the configured limits.
    pub fn new(limits: &Limits) -> Self {
        let ticks = |duration: Duration| u64::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX / 2).max(1);
        Self {
            handshake: ticks(limits.handshake),
            idle: ticks(limits.idle),
            frame: ticks(limits.frame),
            write: ticks(limits.write),
        }
    }
}

/// The connections of a listener.
pub struct Registry {
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    count: AtomicUsize,
    now: AtomicU64,
    started: Instant,
    connections_max: usize,
    ending: Ending,
    pub(crate) timing: Timing,
    pub(crate) counts: Arc<dyn ConnectionCounts>,
    emptied: Notify,
    /// Lines logged about strangers in the current minute.
    logged: AtomicU64,
}

/// Takes a connection off the registry when its task ends, however it ends.
pub(crate) struct Registered {
    registry: Arc<Registry>,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.remove(self.connection.id);
    }
}

impl Registry {
    /// An empty registry of KMIP connections.
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Self::with(limits, limits.connections_max, Ending::Read, metrics)
    }

    /// An empty registry of HTTP connections.
    pub(crate) fn http(limits: &Limits, counts: Arc<dyn ConnectionCounts>) -> Arc<Self> {
        Self::with(limits, limits.http_connections_max, Ending::Told, counts)
    }

    fn with(limits: &Limits, connections_max: usize, ending: Ending, counts: Arc<dyn ConnectionCounts>) -> Arc<Self> {
        Arc::new(Self {
            connections: Mutex::new(HashMap::new()),
            count: AtomicUsize::new(0),
            now: AtomicU64::new(0),
            started: Instant::now(),
            connections_max,
            ending,
            timing: Timing::new(limits),
            counts,
            emptied: Notify::new(),
            logged: AtomicU64::new(0),
        })
    }

    /// The current tick.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Connections at present.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether a stranger may still cause a log line: a few each minute help to set a client up, a flood helps nobody.
    pub(crate) fn may_log(&self) -> bool {
        self.logged.fetch_add(1, Ordering::Relaxed) < STRANGER_LINES_PER_MINUTE
    }

    /// Takes a connection on; `None` if the bound is reached and none can make room.
    pub(crate) fn add(self: &Arc<Self>, address: SocketAddr, socket: &impl AsFd) -> Option<Registered> {
        let socket = socket.as_fd().try_clone_to_owned().ok()?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::new(id, address, socket, self.now(), self.timing.handshake, self.ending));
        let mut connections = self.lock();
        if connections.len() >= self.connections_max && !self.make_room(&mut connections) {
            return None;
        }
        connections.insert(id, connection.clone());
        self.count.store(connections.len(), Ordering::Relaxed);
        drop(connections);
        Some(Registered { registry: self.clone(), connection })
    }

    /// Ends the oldest connection that may be evicted, so that peers that never prove who they are cannot keep clients out.
    fn make_room(&self, connections: &mut HashMap<u64, Arc<Connection>>) -> bool {
        let now = self.now();
        let oldest = connections
            .values()
            .filter(|connection| connection.is_evictable(now))
            .min_by_key(|connection| connection.opened)
            .map(|connection| connection.id);
        let Some(connection) = oldest.and_then(|id| connections.remove(&id)) else { return false };
        connection.close(Reason::Evicted, now, None);
        self.counts.connection_closed(Reason::Evicted);
        true
    }

    fn remove(&self, id: u64) {
        let mut connections = self.lock();
        connections.remove(&id);
        self.count.store(connections.len(), Ordering::Relaxed);
        if connections.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        // A panic while it is held leaves the map itself whole.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is overdue, ten times a second, until the task is dropped.
    pub async fn sweep(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            self.sweep_once();
        }
    }

    fn sweep_once(&self) {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        let now = u64::try_from(ticks).unwrap_or(u64::MAX);
        let before = self.now.swap(now, Ordering::Relaxed);
        if now / TICKS_PER_MINUTE != before / TICKS_PER_MINUTE {
            let dropped = self.logged.swap(0, Ordering::Relaxed).saturating_sub(STRANGER_LINES_PER_MINUTE);
            if dropped > 0 {
                tracing::info!(dropped, "more handshakes failed than were logged");
            }
        }
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let unix_now = i64::try_from(unix_now).unwrap_or(i64::MAX);
        for connection in self.lock().values() {
            if let Some(reason) = connection.sweep(now, unix_now) {
                self.counts.connection_closed(reason);
            }
        }
    }

    /// Asks every connection to end after the request under way, and waits until all have, at most `longest`.
    pub async fn drain(&self, longest: Duration) -> usize {
        let grace = u64::try_from(longest.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX / 2);
        let emptied = self.emptied.notified();
        tokio::pin!(emptied);
        emptied.as_mut().enable();
        for connection in self.lock().values() {
            connection.close(Reason::Shutdown, self.now(), Some(grace));
        }
        if self.count() > 0 {
            // One second beyond the grace: the sweeper has then shut what was left.
            let _ = tokio::time::timeout(longest + Duration::from_secs(1), emptied).await;
        }
        self.count()
    }

    /// Ends the connections of those who are no longer let in. Peers without a certificate stay.
    pub(crate) fn end_refused(&self, is_let_in: impl Fn(&CredentialId, UnixTime) -> bool) {
        let now = UnixTime::now();
        for connection in self.lock().values() {
            if connection.credential().is_some_and(|credential| !is_let_in(credential, now)) {
                connection.close(Reason::Refused, self.now(), None);
                self.counts.connection_closed(Reason::Refused);
            }
        }
    }
}

impl OnChange for Registry {
    /// Ends the connections of callers that are no longer let in.
    fn directory_changed(&self, directory: &Directory) {
        self.end_refused(|credential, now| directory.recheck(credential, now).is_ok());
    }
}
