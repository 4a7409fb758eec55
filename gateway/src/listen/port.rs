//! A bound TCP port and its accept loop. It only accepts: everything that can wait happens in the connection's own task.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use keygate_pki::provisioning::SourceRanges;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

use super::registry::{Registered, Registry};

/// Handshakes the kernel holds ready.
const BACKLOG: u32 = 1024;
/// Wait after a failure to accept that is ours, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound port. Connections wait in the kernel until [`Port::run`].
pub(crate) struct Port {
    listener: TcpListener,
    /// From where connections are taken.
    allow: SourceRanges,
    /// What a peer beyond the bound is sent, in one attempt, before its connection is closed.
    busy: &'static [u8],
}

impl Port {
    /// Binds. Connections from addresses outside `allow` are dropped.
    pub(crate) fn bind(address: SocketAddr, allow: SourceRanges, busy: &'static [u8]) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { listener: socket.listen(BACKLOG)?, allow, busy })
    }

    /// The bound address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until `stop` becomes true. `serve` is given each connection that `registry` takes on, and must not wait.
    pub(crate) async fn run(self, registry: &Arc<Registry>, mut stop: watch::Receiver<bool>, mut serve: impl FnMut(TcpStream, Registered)) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, address)) => {
                        if let Some((socket, registered)) = self.take(registry, socket, canonical(address)) {
                            serve(socket, registered);
                        }
                    }
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

    fn take(&self, registry: &Arc<Registry>, socket: TcpStream, address: SocketAddr) -> Option<(TcpStream, Registered)> {
        if !self.allow.allow(address.ip()) {
            registry.counts.connection_unwelcome(address);
            return None;
        }
        registry.counts.connection_accepted();
        // An answer is one write; waiting to fill a segment (Nagle) would cost 40 ms against delayed acknowledgements.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(peer = %address, %error, "connection is gone already");
            return None;
        }
        match registry.add(address, &socket) {
            Some(registered) => Some((socket, registered)),
            None => {
                registry.counts.connection_refused();
                // The kernel buffer of a new socket is empty. Nothing may wait here.
                let _ = socket.try_write(self.busy);
                None
            }
        }
    }
}

/// Address of a peer, IPv4 in its own form.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
