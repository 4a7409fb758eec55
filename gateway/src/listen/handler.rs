//! The seam between the listener and the protocol.

use std::{future::Future, net::SocketAddr, sync::Arc};

use keygate_kmip::{ProtocolVersion, xml};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frame::Unreadable;
use crate::identity::Caller;

/// Where a frame came from.
#[derive(Debug, Clone, Copy)]
pub struct PeerInfo {
    /// The peer's address.
    pub address: SocketAddr,
    /// Number of the connection, unique in this process; also picks the metrics shard.
    pub connection: u64,
    /// Whether the connection can be turned round: bare TLS can, HTTP cannot.
    pub can_turn: bool,
}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The next frame may follow.
    KeepOpen,
    /// The answer is the last one.
    Close,
    /// The answer is the last one that we give: from here on we ask, in this version, and the peer answers.
    Turn(ProtocolVersion),
}

/// Answers request messages.
///
/// Contract: `frame` is one whole TTLV item, tag Request Message, whose length is within the limit; nothing inside has
/// been looked at. The answer is appended to `response`, which is empty on entry, is wiped by the listener after it has
/// been written, and keeps its capacity between requests. Frames of one connection come one at a time, in order.
pub trait FrameHandler: Send + Sync + 'static {
    /// Answers one frame.
    fn handle(
        &self,
        caller: &Arc<Caller>,
        peer: PeerInfo,
        frame: &[u8],
        response: &mut Vec<u8>,
    ) -> impl Future<Output = Disposition> + Send;

    /// Has a connection that was turned round, until it ends.
    fn turned<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        caller: &Arc<Caller>,
        version: ProtocolVersion,
        stream: &mut S,
    ) -> impl Future<Output = ()> + Send {
        // Handlers that never answer [`Disposition::Turn`] have nothing to do here.
        let _ = (caller, version, stream);
        std::future::ready(())
    }

    /// Answers what is no frame. Over bare TLS the connection is closed after it.
    fn unreadable(&self, reason: Unreadable, response: &mut Vec<u8>);

    /// What a message in a text encoding may cost.
    fn text_limits(&self) -> xml::Limits {
        xml::Limits::default()
    }
}
