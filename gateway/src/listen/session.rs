//! One client: handshake, identification, then frames until either side ends it; or HTTP, where it speaks that.

use std::{io, sync::Arc, time::Instant};

use rustls_pki_types::UnixTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    connection::{Connection, Phase},
    frame::{FrameBuffer, Unreadable, recycle},
    handler::{Disposition, FrameHandler, PeerInfo},
    handshake::Handshake,
    prefixed::Prefixed,
    registry::{Registered, Registry},
    tls::{ALPN_HTTP2, TlsSettings},
};
use crate::{
    audit::Refusals,
    http::{KmipOverHttp, serve_kmip},
    identity::{Admitted, Caller, DirectoryHandle, Refusal},
    telemetry::{HandshakeFailure, Metrics},
};

/// Octets that are still read and dropped after a last answer.
const LINGER_BYTES_MAX: usize = 4 << 20;

/// What all sessions of a listener share.
pub(super) struct Shared<H> {
    pub(super) tls: Arc<TlsSettings>,
    pub(super) directory: Arc<DirectoryHandle>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) handler: Arc<H>,
    pub(super) message_bytes_max: usize,
}

/// Serves one accepted socket to its end.
pub(super) async fn serve<H: FrameHandler>(shared: Arc<Shared<H>>, socket: TcpStream, registered: Registered) {
    let connection = registered.connection.clone();
    let Some((mut stream, session)) = handshake(&shared, socket, &connection).await else { return };
    shared.metrics.session_opened(connection.id);
    let mut input = FrameBuffer::new(shared.message_bytes_max);
    let ended = match session.begin(&shared.registry, &mut stream, &mut input).await {
        Ok(Spoken::Ttlv) => session.run(&shared, &mut stream, input).await,
        Ok(Spoken::Http { is_http2 }) => {
            let Shared { handler, registry, metrics, .. } = &*shared;
            let over = KmipOverHttp { handler: handler.clone(), registry: registry.clone(), metrics: metrics.clone() };
            return serve_kmip(over, Prefixed::new(input.take(), stream), is_http2, session).await;
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &ended {
        tracing::debug!(peer = %connection.address, connection = connection.id, %error, "connection ended");
    }
    if matches!(ended, Ok(Ended::LastAnswer)) {
        linger(&shared.registry, &connection, &mut stream).await;
    } else if ended.is_ok() {
        connection.enter(Phase::Write, Some(shared.registry.now() + shared.registry.timing.write));
        // The peer may be gone; close_notify is a courtesy.
        let _ = stream.shutdown().await;
    }
}

async fn handshake<H>(shared: &Shared<H>, socket: TcpStream, connection: &Arc<Connection>) -> Option<(TlsStream<TcpStream>, Session)> {
    let handshake = Handshake { registry: &shared.registry, refusals: &shared.refusals, connection };
    let stream = handshake.accept_either(&shared.tls, socket).await?;
    match identify(shared, &stream, connection) {
        Ok(session) => Some((stream, session)),
        Err(refusal) => {
            handshake.failed(HandshakeFailure::Refused, Some(refusal), &refusal);
            None
        }
    }
}

/// A resumed session has not passed the certificate verifier, so every session is identified here, from the certificates
/// the TLS stack holds for it.
fn identify<H>(shared: &Shared<H>, stream: &TlsStream<TcpStream>, connection: &Arc<Connection>) -> Result<Session, Refusal> {
    let directory = shared.directory.load();
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let admitted = directory.identify(chain, UnixTime::now())?;
    connection.identified(admitted.credential.clone(), admitted.not_after);
    let mut session = Session { connection: connection.clone(), directory: shared.directory.clone(), admitted, version: directory.version() };
    // From here on a change of the directory finds this connection in the registry; one made just before does not.
    session.recheck(&shared.directory)?;
    Ok(session)
}

/// How a session ended without an error.
enum Ended {
    /// The peer closed it, or we were asked to end it between requests.
    BetweenRequests,
    /// An answer was written after which nothing is read: an unreadable message, or the handler's wish.
    LastAnswer,
}

/// What a connection speaks.
enum Spoken {
    /// KMIP messages, bare.
    Ttlv,
    /// KMIP messages in HTTP.
    Http { is_http2: bool },
}

/// RFC 9113 §3.4: "the connection preface starts with the sequence" of which this is the beginning.
const HTTP2_PREFACE: &[u8] = b"PRI ";

/// An identified connection.
pub(crate) struct Session {
    connection: Arc<Connection>,
    directory: Arc<DirectoryHandle>,
    admitted: Admitted,
    version: u64,
}

impl Session {
    /// The connection it is of.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whose messages these are now.
    pub(crate) fn caller(&mut self) -> Result<Arc<Caller>, Refusal> {
        let directory = self.directory.clone();
        self.recheck(&directory)?;
        Ok(self.admitted.caller.clone())
    }

    /// Waits for the first octets and tells by them what is spoken: a TTLV message begins with 42, a method of HTTP with
    /// a letter. None of HTTP's methods that anyone sends begins with that of 42, B.
    async fn begin(&self, registry: &Registry, stream: &mut TlsStream<TcpStream>, input: &mut FrameBuffer) -> io::Result<Spoken> {
        self.connection.enter(Phase::Idle, Some(registry.now() + registry.timing.idle));
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
        loop {
            match input.first_octets() {
                [] => {}
                [b'A' | b'C'..=b'Z', ..] if is_http2 => return Ok(Spoken::Http { is_http2 }),
                first @ [b'A' | b'C'..=b'Z', ..] => {
                    let compared = first.len().min(HTTP2_PREFACE.len());
                    if first[..compared] != HTTP2_PREFACE[..compared] {
                        return Ok(Spoken::Http { is_http2: false });
                    }
                    if compared == HTTP2_PREFACE.len() {
                        return Ok(Spoken::Http { is_http2: true });
                    }
                }
                _ => return Ok(Spoken::Ttlv),
            }
            // Asked to end, or nothing more: `run` finds the same.
            if self.connection.is_closing() || stream.read_buf(input.room()).await? == 0 {
                return Ok(Spoken::Ttlv);
            }
            if !self.connection.is_in(Phase::Frame) {
                // The deadline runs from the first octet: sending slowly does not extend it.
                self.connection.enter(Phase::Frame, Some(registry.now() + registry.timing.frame));
            }
        }
    }

    async fn run<H: FrameHandler>(mut self, shared: &Shared<H>, stream: &mut TlsStream<TcpStream>, mut input: FrameBuffer) -> io::Result<Ended> {
        let connection = self.connection.clone();
        let peer = PeerInfo { address: connection.address, connection: connection.id, can_turn: true };
        let (registry, timing) = (&shared.registry, &shared.registry.timing);
        let mut response = ResponseBuffer::default();
        loop {
            let bytes = match self.receive(registry, stream, &mut input).await? {
                Received::Frame(bytes) => bytes,
                Received::End => return Ok(Ended::BetweenRequests),
                Received::Unreadable(reason) => {
                    shared.metrics.unreadable(connection.id);
                    shared.handler.unreadable(reason, &mut response.0);
                    return self.answer(registry, stream, &mut response).await.map(|()| Ended::LastAnswer);
                }
            };
            if self.recheck(&shared.directory).is_err() {
                return Ok(Ended::BetweenRequests);
            }
            connection.enter(Phase::Working, None);
            let started = Instant::now();
            let caller: &Arc<Caller> = &self.admitted.caller;
            let disposition = shared.handler.handle(caller, peer, input.frame(bytes), &mut response.0).await;
            input.consume(bytes);
            connection.enter(Phase::Write, Some(registry.now() + timing.write));
            self.answer(registry, stream, &mut response).await?;
            shared.metrics.message(connection.id, started.elapsed());
            match disposition {
                Disposition::KeepOpen => {}
                Disposition::Close => return Ok(Ended::LastAnswer),
                Disposition::Turn(version) => {
                    // Silence is what such a connection is mostly made of.
                    connection.enter(Phase::Working, None);
                    shared.handler.turned(&self.admitted.caller, version, stream).await;
                    return Ok(Ended::BetweenRequests);
                }
            }
        }
    }

    /// Waits for one whole message.
    async fn receive(&self, registry: &Registry, stream: &mut TlsStream<TcpStream>, input: &mut FrameBuffer) -> io::Result<Received> {
        let timing = &registry.timing;
        let mut begun = input.has_begun();
        // The first message of a connection has its deadline already.
        if !(begun && self.connection.is_in(Phase::Frame)) {
            let (phase, ticks) = if begun { (Phase::Frame, timing.frame) } else { (Phase::Idle, timing.idle) };
            self.connection.enter(phase, Some(registry.now() + ticks));
        }
        loop {
            // Asked to end between requests: what is already here is not begun.
            if self.connection.is_closing() {
                return Ok(Received::End);
            }
            match input.complete() {
                Ok(Some(bytes)) => return Ok(Received::Frame(bytes)),
                Ok(None) => {}
                Err(reason) => return Ok(Received::Unreadable(reason)),
            }
            if stream.read_buf(input.room()).await? == 0 {
                return Ok(Received::End);
            }
            if !begun {
                // The deadline runs from the first octet: sending slowly does not extend it.
                begun = true;
                self.connection.enter(Phase::Frame, Some(registry.now() + timing.frame));
            }
        }
    }

    async fn answer(&self, registry: &Registry, stream: &mut TlsStream<TcpStream>, response: &mut ResponseBuffer) -> io::Result<()> {
        if !self.connection.is_in(Phase::Write) {
            self.connection.enter(Phase::Write, Some(registry.now() + registry.timing.write));
        }
        stream.write_all(&response.0).await?;
        stream.flush().await?;
        recycle(&mut response.0);
        Ok(())
    }

    /// One atomic read where the directory has not changed.
    fn recheck(&mut self, directory: &DirectoryHandle) -> Result<(), Refusal> {
        if directory.version() != self.version {
            let current = directory.load();
            self.admitted = current.recheck(&self.admitted.credential, UnixTime::now())?;
            self.version = current.version();
        }
        Ok(())
    }
}

enum Received {
    Frame(usize),
    End,
    Unreadable(Unreadable),
}

/// An answer under construction: it may hold key material, and is wiped however the session ends.
#[derive(Default)]
struct ResponseBuffer(Vec<u8>);

impl Drop for ResponseBuffer {
    fn drop(&mut self) {
        recycle(&mut self.0);
    }
}

/// Ends our side and reads on for a moment: closing a socket with unread octets would reset the connection and could
/// destroy the answer on its way.
async fn linger(registry: &Registry, connection: &Connection, stream: &mut TlsStream<TcpStream>) {
    connection.enter(Phase::Linger, Some(registry.now() + 20));
    if stream.shutdown().await.is_err() {
        return;
    }
    let socket = stream.get_mut().0;
    let mut scratch = [0; 4096];
    let mut left = LINGER_BYTES_MAX;
    while let Ok(count) = socket.read(&mut scratch).await {
        left = left.saturating_sub(count);
        if count == 0 || left == 0 {
            return;
        }
    }
}
