//! The KMIP listener: its port, and a session for each connection.

use std::{io, net::SocketAddr, sync::Arc};

use keygate_pki::provisioning::SourceRanges;
use tokio::sync::watch;

use super::{
    handler::FrameHandler,
    handshake::BUSY_ALERT,
    port::Port,
    registry::Registry,
    session::{self, Shared},
    tls::TlsSettings,
};
use crate::{audit::Refusals, identity::DirectoryHandle, telemetry::Metrics};

/// What a listener is made of.
pub struct ListenerParts<H> {
    /// TLS.
    pub tls: Arc<TlsSettings>,
    /// Who is let in.
    pub directory: Arc<DirectoryHandle>,
    /// The connections.
    pub registry: Arc<Registry>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Refused handshakes to be recorded.
    pub refusals: Arc<Refusals>,
    /// What answers.
    pub handler: Arc<H>,
    /// Largest request.
    pub message_bytes_max: usize,
}

/// A bound KMIP listener.
pub struct Listener<H> {
    port: Port,
    shared: Arc<Shared<H>>,
}

impl<H: FrameHandler> Listener<H> {
    /// Binds; connections wait in the kernel until [`Listener::run`].
    pub fn bind(address: SocketAddr, parts: ListenerParts<H>) -> io::Result<Self> {
        let shared = Shared {
            tls: parts.tls,
            directory: parts.directory,
            registry: parts.registry,
            metrics: parts.metrics,
            refusals: parts.refusals,
            handler: parts.handler,
            message_bytes_max: parts.message_bytes_max,
        };
        Ok(Self { port: Port::bind(address, SourceRanges::default(), BUSY_ALERT)?, shared: Arc::new(shared) })
    }

    /// The bound address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.port.address()
    }

    /// Accepts until `stop` becomes true.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let shared = self.shared;
        let serve = |socket, registered| drop(tokio::spawn(session::serve(shared.clone(), socket, registered)));
        self.port.run(&shared.registry, stop, serve).await;
    }
}
