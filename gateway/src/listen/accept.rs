//! The accept loop. It only accepts: everything that can wait happens in the client's own task.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use super::{
    handler::FrameHandler,
    registry::Registry,
    session::{self, Shared},
    tls::TlsSettings,
};
use crate::{audit::Refusals, identity::DirectoryHandle, telemetry::Metrics};

/// Handshakes the kernel holds ready.
const BACKLOG: u32 = 1024;
/// Wait after a failure to accept that is ours, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    listener: TcpListener,
    shared: Arc<Shared<H>>,
}

impl<H: FrameHandler> Listener<H> {
    /// Binds; connections wait in the kernel until [`Listener::run`].
    pub fn bind(address: SocketAddr, parts: ListenerParts<H>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let shared = Shared {
            acceptor: TlsAcceptor::from(parts.tls.server_config()),
            directory: parts.directory,
            registry: parts.registry,
            metrics: parts.metrics,
            refusals: parts.refusals,
            handler: parts.handler,
            message_bytes_max: parts.message_bytes_max,
        };
        Ok(Self { listener: socket.listen(BACKLOG)?, shared: Arc::new(shared) })
    }

    /// The bound address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until `stop` becomes true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, address)) => self.take(socket, address),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                // The sender is gone only when the process ends.
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
            }
        }
    }

    fn take(&self, socket: TcpStream, address: SocketAddr) {
        let address = session::canonical(address);
        self.shared.metrics.connection_accepted();
        // An answer is one write; waiting to fill a segment (Nagle) would cost 40 ms against delayed acknowledgements.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(peer = %address, %error, "connection is gone already");
            return;
        }
        match self.shared.registry.add(address, &socket) {
            Some(registered) => {
                tokio::spawn(session::serve(self.shared.clone(), socket, registered));
            }
            None => {
                self.shared.metrics.connection_refused();
                session::refuse_politely(socket);
            }
        }
    }
}
