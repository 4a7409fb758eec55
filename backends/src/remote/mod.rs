//! What the keystores behind a network share: whom to trust, which of several addresses to ask, and what a failure means.
//!
//! - `address.rs`: where a server listens. `pem.rs`, `tls.rs`: certificates as operators paste them, and the TLS client.
//! - `check.rs`: what proves a key. `cluster.rs`: endpoints of one service with their health and pooled connections; reads go on to the next endpoint at
//!   once, changes only as long as nothing was sent. `guard.rs`: credentials that are wrong are offered once. `finder.rs`: looks
//!   for endpoints that are away.
//!
//! Leaves to others: what is said over a connection (`Protocol`: `kmip/`, `rest/`), files and settings (the gateway).

mod address;
mod check;
mod cluster;
mod endpoint;
mod finder;
mod guard;
mod pem;
mod tls;

pub use address::Address;
pub(crate) use check::check_of;
pub(crate) use cluster::{Broken, Cluster, Effect, Protocol};
pub use pem::{certificates_from_pem, private_key_from_pem};
pub(crate) use tls::refused_us;
pub use tls::{Identity, TlsClient, Trust};

use crate::secret::SecretBytes;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A user of a server, where certificates are not enough for it.
pub struct UserPassword {
    /// User name.
    pub user: String,
    /// Password, UTF-8.
    pub password: SecretBytes,
}

/// The user of a client, whose password may be replaced while it serves.
pub(crate) struct User(RwLock<Option<Arc<UserPassword>>>);

impl User {
    pub(crate) fn new(user: Option<UserPassword>) -> Self {
        Self(RwLock::new(user.map(Arc::new)))
    }

    pub(crate) fn now(&self) -> Option<Arc<UserPassword>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where there is no user there is no password.
    pub(crate) fn replace(&self, password: SecretBytes) {
        let mut user = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *user = user.as_ref().map(|user| Arc::new(UserPassword { user: user.user.clone(), password }));
    }
}

/// A remote service: where it is, and how long it may take.
pub struct RemoteConfig {
    /// Where it listens: several addresses are members of one cluster that hold the same keys, best first.
    pub addresses: Vec<Address>,
    /// Whom to trust and how to identify ourselves.
    pub tls: TlsClient,
    /// Longest wait for a connection, its TLS handshake included.
    pub connect_timeout: Duration,
    /// Longest wait for one endpoint's answer to a read while another endpoint could be asked.
    pub call_timeout: Duration,
    /// Connections per endpoint; further calls wait for one.
    pub connections: usize,
}

impl RemoteConfig {
    /// With the usual limits.
    pub fn new(addresses: Vec<Address>, tls: TlsClient) -> Self {
        Self {
            addresses,
            tls,
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
            connections: 8,
        }
    }
}
