//! What is counted about the connections of a listener.

use std::net::SocketAddr;

use super::connection::Reason;
use crate::telemetry::{HandshakeFailure, Metrics};

/// Takes the counts of a listener. Called on the way of every connection: must not wait.
pub(crate) trait ConnectionCounts: Send + Sync + 'static {
    /// A connection was accepted.
    fn connection_accepted(&self);
    /// A connection beyond the bound was refused.
    fn connection_refused(&self);
    /// A connection from an address that is not allowed was dropped.
    fn connection_unwelcome(&self, address: SocketAddr);
    /// A connection was ended by us.
    fn connection_closed(&self, reason: Reason);
    /// A handshake did not finish.
    fn handshake_failed(&self, failure: HandshakeFailure);
}

/// Those of the KMIP listener.
impl ConnectionCounts for Metrics {
    fn connection_accepted(&self) {
        Self::connection_accepted(self);
    }

    fn connection_refused(&self) {
        Self::connection_refused(self);
    }

    /// The KMIP listener takes connections from every address.
    fn connection_unwelcome(&self, _: SocketAddr) {}

    fn connection_closed(&self, reason: Reason) {
        Self::connection_closed(self, reason);
    }

    fn handshake_failed(&self, failure: HandshakeFailure) {
        Self::handshake_failed(self, failure);
    }
}
