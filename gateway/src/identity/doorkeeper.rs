//! Who lets certificates in: the seam between TLS listeners and the record of those who may connect.
//!
//! [`DirectoryHandle`] is the doorkeeper of clients. Other kinds of callers (administrators) have doorkeepers of their own; a
//! listener asks exactly one. What a caller may do once inside is left to others.

use std::{fmt, sync::Arc};

use rustls_pki_types::{CertificateDer, UnixTime};

use super::{
    directory::{CredentialId, Directory, Refusal},
    handle::{DirectoryHandle, OnChange},
};

/// A certificate that is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// How it is looked up again.
    pub credential: CredentialId,
    /// Unix time at which it expires.
    pub not_after: i64,
}

/// Knows which certificates are let in, now and later.
///
/// Contract: answers come from memory and do not wait. `version` is one cheap read, and increases with every change that can
/// turn an answer of `recheck`; after a change is in force, and before whoever made it goes on, every subscriber is told.
pub trait Doorkeeper: fmt::Debug + Send + Sync + 'static {
    /// Recognises the chain a TLS client presents, leaf first. Not called without a certificate.
    ///
    /// # Errors
    /// Why it is not let in.
    fn identify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Known, Refusal>;

    /// Looks the certificate of an open connection up again.
    ///
    /// # Errors
    /// Why it is no longer let in.
    fn recheck(&self, credential: &CredentialId, now: UnixTime) -> Result<Known, Refusal>;

    /// Version of what the answers come from.
    fn version(&self) -> u64;

    /// Adds one that is told of each change.
    fn subscribe(&self, listener: Arc<dyn OnDoorChange>);
}

/// Told after a change of who is let in: flush TLS tickets, close connections.
pub trait OnDoorChange: Send + Sync {
    /// The doorkeeper answers by the new state from here on.
    fn door_changed(&self);
}

impl Doorkeeper for DirectoryHandle {
    fn identify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Known, Refusal> {
        let admitted = self.load().identify(chain, now)?;
        Ok(Known { credential: admitted.credential, not_after: admitted.not_after })
    }

    fn recheck(&self, credential: &CredentialId, now: UnixTime) -> Result<Known, Refusal> {
        let admitted = self.load().recheck(credential, now)?;
        Ok(Known { credential: admitted.credential, not_after: admitted.not_after })
    }

    fn version(&self) -> u64 {
        Self::version(self)
    }

    fn subscribe(&self, listener: Arc<dyn OnDoorChange>) {
        Self::subscribe(self, Arc::new(Told(listener)));
    }
}

struct Told(Arc<dyn OnDoorChange>);

impl OnChange for Told {
    fn directory_changed(&self, _: &Directory) {
        self.0.door_changed();
    }
}

/// Lets administrators in, by the certificates recorded of them.
#[derive(Debug, Clone)]
pub struct Administrators(pub Arc<DirectoryHandle>);

impl Doorkeeper for Administrators {
    fn identify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Known, Refusal> {
        let (_, credential, not_after) = self.0.load().identify_admin(chain, now)?;
        Ok(Known { credential, not_after })
    }

    fn recheck(&self, credential: &CredentialId, now: UnixTime) -> Result<Known, Refusal> {
        let (_, credential, not_after) = self.0.load().recheck_admin(credential, now)?;
        Ok(Known { credential, not_after })
    }

    fn version(&self) -> u64 {
        self.0.version()
    }

    fn subscribe(&self, listener: Arc<dyn OnDoorChange>) {
        self.0.subscribe(Arc::new(Told(listener)));
    }
}
