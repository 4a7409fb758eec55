//! The TLS handshake of a connection, and the record of those that fail.

use std::{fmt::Display, io};

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};

use super::{connection::Connection, registry::Registry, tls::TlsSettings};
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
        self.outcome(with_refusal(acceptor.accept(socket)).await)
    }

    /// Runs it for a port that carries KMIP bare or in HTTP. A client that offers HTTP by ALPN gets its protocol; one that offers
    /// nothing, or something else, is not held to it: its first octet tells.
    pub(crate) async fn accept_either(&self, tls: &TlsSettings, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
        let accepting = async {
            let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
            let config = tls.config_for(&start.client_hello());
            start.into_stream(config).await
        };
        self.outcome(with_refusal(accepting).await)
    }

    fn outcome(&self, (accepted, refusal): (io::Result<TlsStream<TcpStream>>, Option<Refusal>)) -> Option<TlsStream<TcpStream>> {
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
