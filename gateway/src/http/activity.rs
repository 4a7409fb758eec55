//! What an HTTP connection is doing, told to the registry, which keeps its deadlines.
//!
//! Requests report their beginning and end; the socket reports the first octet of a request and an answer that the peer does
//! not read. Over HTTP/2 octets come without a request (PING, WINDOW_UPDATE), so only requests count there: silence is bounded
//! from the end of the last one.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listen::{Connection, Phase, Registry};

/// One connection's part in the registry.
pub(super) struct Activity {
    pub(super) connection: Arc<Connection>,
    pub(super) registry: Arc<Registry>,
    under_way: AtomicUsize,
    counts_octets: bool,
    /// Deadline of a request in ticks, the writing of its answer apart.
    request_ticks: u64,
}

impl Activity {
    /// Of a connection that waits for its first request. `request`: longest time for one.
    pub(super) fn new(connection: Arc<Connection>, registry: Arc<Registry>, is_http2: bool, request: Duration) -> Arc<Self> {
        // A tick is 100 ms.
        let request_ticks = u64::try_from(request.as_millis() / 100).unwrap_or(u64::MAX / 2);
        let activity = Self { connection, registry, under_way: AtomicUsize::new(0), counts_octets: !is_http2, request_ticks };
        activity.rest();
        Arc::new(activity)
    }

    /// Whether no request is under way.
    pub(super) fn is_resting(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }

    fn rest(&self) {
        self.enter(Phase::Idle, self.registry.timing.idle);
    }

    fn work(&self) {
        self.enter(Phase::Working, self.request_ticks);
    }

    fn enter(&self, phase: Phase, ticks: u64) {
        self.connection.enter(phase, Some(self.registry.now().saturating_add(ticks)));
    }
}

/// A request under way; it ends when this is dropped, however it ends.
pub(super) struct UnderWay(Arc<Activity>);

impl UnderWay {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::AcqRel);
        activity.work();
        Self(activity.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.rest();
        }
    }
}

/// A stream that reports what its peer does.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S> Watched<S> {
    /// An answer waits for its peer: its deadline runs from the first time, reading slowly does not extend it.
    fn waits_for_reader<T>(&self, written: Poll<T>) -> Poll<T> {
        let activity = &self.activity;
        if written.is_pending() && !activity.connection.is_in(Phase::Write) {
            activity.enter(Phase::Write, activity.registry.timing.write);
        }
        written
    }

    fn is_written(&self) {
        if self.activity.connection.is_in(Phase::Write) {
            if self.activity.is_resting() { self.activity.rest() } else { self.activity.work() }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let activity = &self.activity;
        // The deadline runs from the first octet: sending slowly does not extend it.
        if activity.counts_octets && buffer.filled().len() > before && activity.connection.is_in(Phase::Idle) {
            activity.enter(Phase::Frame, activity.registry.timing.frame);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        self.waits_for_reader(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.waits_for_reader(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.is_written();
        }
        self.waits_for_reader(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.waits_for_reader(ended)
    }
}
