//! The TLS handshake of a connection, and the record of those that fail.

use std::fmt::Display;

use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{connection::Connection, registry::Registry};
use crate::{
    audit::Refusals,
    identity::{Refusal, with_refusal},
    telemetry::HandshakeFailure,
};

/// RFC 8446 §6.2 internal_error, "an internal error unrelated to the peer or the correctness of the protocol", in the record
/// form every TLS version reads: for a connection beyond the bound.
pub(crate) const BUSY_ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 80];

/// One connection's handshake.
pub(crate) struct Handshake<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) refusals: &'a Refusals,
    pub(crate) connection: &'a Connection,
}

impl Handshake<'_> {
    /// Runs it; the registry ends it at its deadline.
    pub(crate) async fn accept(&self, acceptor: &TlsAcceptor, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
        let (accepted, refusal) = with_refusal(acceptor.accept(socket)).await;
        match accepted {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.failed(HandshakeFailure::of(&error, self.connection.is_closing()), refusal, &error);
                None
            }
        }
    }

    /// Counts a peer that is not let in, for the metrics, the audit record and, a few times a minute, the log.
    pub(crate) fn failed(&self, failure: HandshakeFailure, refusal: Option<Refusal>, error: &dyn Display) {
        self.registry.counts.handshake_failed(failure);
        let reason = refusal.map(Refusal::reason).or((failure == HandshakeFailure::NoCertificate).then_some("no certificate"));
        if let Some(reason) = reason {
            self.refusals.note(reason, self.connection.address.ip());
        }
        if self.registry.may_log() {
            let (peer, connection) = (self.connection.address, self.connection.id);
            tracing::info!(%peer, connection, cause = ?failure, %error, "handshake failed");
        }
    }
}
