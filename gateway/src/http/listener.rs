//! The listeners: HTTP over TLS, with or without client certificates, and plain HTTP.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, http::Method};
use keygate_pki::provisioning::SourceRanges;
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    connection::Served,
    counts::HttpCounts,
    front::{Front, Peer, Requests},
    session::{EndRefused, Session},
};
use crate::{
    audit::Refusals,
    config::Limits,
    identity::{ClientCertificates, Doorkeeper, Refusal},
    listen::{ALPN_HTTP2, BUSY_ALERT, Handshake, Port, Registered, Registry, ServerIdentity, TlsError, TlsSettings},
    telemetry::HandshakeFailure,
};

/// For a connection beyond the bound of a plain listener.
const BUSY_RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n";
const PLAIN_METHODS: &[Method] = &[Method::GET, Method::HEAD, Method::POST];

/// What every HTTP listener is made of.
pub struct HttpParts<'a> {
    /// What answers. It sees [`Peer`] as an extension, and bodies that are whole and within the bound.
    pub router: Router,
    /// Bounds on connections and waits.
    pub limits: &'a Limits,
    /// Largest body.
    pub body_bytes_max: usize,
    /// From where connections are taken; others are dropped before a single octet is read.
    pub allow: SourceRanges,
    /// Refused peers to be recorded.
    pub refusals: Arc<Refusals>,
}

/// Who is let in to an HTTPS listener, and as whom it presents itself.
pub struct Security {
    /// The server's certificate.
    pub identity: Arc<ServerIdentity>,
    /// Knows the client certificates.
    pub door: Arc<dyn Doorkeeper>,
    /// Whether one must be presented.
    pub certificates: ClientCertificates,
}

/// Why a listener does not open.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot bind the address")]
    Bind(#[from] io::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A bound port with what answers behind it.
struct Base {
    port: Port,
    registry: Arc<Registry>,
    front: Arc<Front>,
    refusals: Arc<Refusals>,
}

impl Base {
    fn bind(address: SocketAddr, busy: &'static [u8], methods: &'static [Method], parts: HttpParts<'_>) -> io::Result<Self> {
        let counts = HttpCounts::new(parts.refusals.clone());
        let port = Port::bind(address, parts.allow, busy)?;
        let registry = Registry::http(parts.limits, counts.clone());
        let (body_bytes_max, body_wait) = (parts.body_bytes_max, parts.limits.frame);
        let front = Arc::new(Front { router: parts.router, methods, body_bytes_max, body_wait, counts });
        Ok(Self { port, registry, front, refusals: parts.refusals })
    }
}

/// An HTTPS listener (HTTP/1.1 and HTTP/2), bound.
pub struct HttpsListener {
    base: Base,
    acceptor: TlsAcceptor,
    door: Arc<dyn Doorkeeper>,
    certificates: ClientCertificates,
}

impl HttpsListener {
    /// Binds; connections wait in the kernel until [`HttpsListener::run`]. The registry's sweep is the caller's to run.
    ///
    /// # Errors
    /// If the address cannot be bound or TLS not be set up.
    pub fn bind(address: SocketAddr, security: Security, parts: HttpParts<'_>) -> Result<Self, ListenError> {
        let Security { identity, door, certificates } = security;
        let tls = TlsSettings::https(identity, door.clone(), certificates)?;
        let base = Base::bind(address, BUSY_ALERT, &[], parts)?;
        door.subscribe(Arc::new(EndRefused { registry: base.registry.clone(), door: door.clone() }));
        Ok(Self { base, acceptor: TlsAcceptor::from(tls.server_config()), door, certificates })
    }

    /// The bound address.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.base.port.address()
    }

    /// Its connections.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.base.registry
    }

    pub(super) fn counts(&self) -> &Arc<HttpCounts> {
        &self.base.front.counts
    }

    /// Accepts until `stop` becomes true.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let Base { port, registry, front, refusals } = self.base;
        let secured = Arc::new(Secured {
            acceptor: self.acceptor,
            door: self.door,
            certificates: self.certificates,
            registry: registry.clone(),
            front,
            refusals,
        });
        let serve = |socket, registered| drop(tokio::spawn(secured.clone().serve(socket, registered)));
        port.run(&registry, stop, serve).await;
    }
}

/// What the tasks of an HTTPS listener's connections share.
struct Secured {
    acceptor: TlsAcceptor,
    door: Arc<dyn Doorkeeper>,
    certificates: ClientCertificates,
    registry: Arc<Registry>,
    front: Arc<Front>,
    refusals: Arc<Refusals>,
}

impl Secured {
    async fn serve(self: Arc<Self>, socket: TcpStream, registered: Registered) {
        let connection = registered.connection.clone();
        let handshake = Handshake { registry: &self.registry, refusals: &self.refusals, connection: &connection };
        let Some(stream) = handshake.accept(&self.acceptor, socket).await else { return };
        let (certificates, session) = match self.identify(&stream, &registered) {
            Ok(identified) => identified,
            Err(refusal) => return handshake.failed(HandshakeFailure::Refused, Some(refusal), &refusal),
        };
        let peer = Peer { address: connection.address, connection: connection.id, certificates };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
        let served = Served { stream, is_http2, connection, registry: self.registry.clone() };
        Requests::serve(served, self.front.clone(), peer, session).await;
    }

    fn identify(&self, stream: &TlsStream<TcpStream>, registered: &Registered) -> Result<(Chain, Option<Session>), Refusal> {
        match stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty()) {
            Some(chain) => {
                let session = Session::identify(&self.door, chain, &registered.connection)?;
                Ok((Some(chain.iter().map(|der| der.clone().into_owned()).collect()), Some(session)))
            }
            None if self.certificates == ClientCertificates::Optional => Ok((None, None)),
            // The handshake does not end so; if it ever did, nobody would be let in.
            None => Err(Refusal::BadCertificate),
        }
    }
}

/// What a peer has presented, if anything.
type Chain = Option<Arc<[CertificateDer<'static>]>>;

/// A plain HTTP/1.1 listener, bound. GET, HEAD and POST only.
pub struct PlainListener {
    base: Base,
}

impl PlainListener {
    /// Binds; connections wait in the kernel until [`PlainListener::run`]. The registry's sweep is the caller's to run.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn bind(address: SocketAddr, parts: HttpParts<'_>) -> Result<Self, ListenError> {
        Ok(Self { base: Base::bind(address, BUSY_RESPONSE, PLAIN_METHODS, parts)? })
    }

    /// The bound address.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.base.port.address()
    }

    /// Its connections.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.base.registry
    }

    pub(super) fn counts(&self) -> &Arc<HttpCounts> {
        &self.base.front.counts
    }

    /// Accepts until `stop` becomes true.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let Base { port, registry, front, .. } = self.base;
        let serve = |stream, registered: Registered| {
            let (front, registry) = (front.clone(), registry.clone());
            tokio::spawn(async move {
                let connection = registered.connection.clone();
                let peer = Peer { address: connection.address, connection: connection.id, certificates: None };
                let served = Served { stream, is_http2: false, connection, registry };
                Requests::serve(served, front, peer, None).await;
                drop(registered);
            });
        };
        port.run(&registry, stop, serve).await;
    }
}
