//! The KMIP listener: TCP and TLS accept, limits and deadlines, one client's frame loop.
//!
//! Does: bounds connections, memory and time; finishes handshakes; identifies the caller at the handshake and again when
//! the directory has changed; cuts the byte stream into request messages (KMIP 2.1 §9, TTLV header) and hands each to a
//! [`FrameHandler`]; hands a connection whose first octets are HTTP to `http`, with the caller it has identified. Leaves to others:
//! what a message means, who may do what, what is answered.
//!
//! Deadlines cost the frame loop one relaxed store each: a [`Registry`] sweeps all connections ten times a second and
//! shuts the sockets of those overdue, which ends their pending read or write. The HTTP listeners (`http`) use the same port,
//! registry, handshake and TLS settings.

mod accept;
mod connection;
mod counts;
mod frame;
mod handler;
mod handshake;
mod port;
mod prefixed;
mod registry;
mod session;
mod tls;

pub(crate) use counts::ConnectionCounts;
pub(crate) use handshake::{BUSY_ALERT, Handshake};
pub(crate) use port::Port;
pub(crate) use registry::Registered;
pub(crate) use session::Session;
pub(crate) use tls::ALPN_HTTP2;

pub use accept::{Listener, ListenerParts};
pub use connection::{Connection, Phase, Reason};
pub use frame::{FrameBuffer, Unreadable};
pub use handler::{Disposition, FrameHandler, PeerInfo};
pub use registry::{Registry, Timing};
pub use tls::{ServerIdentity, TlsError, TlsSettings};
