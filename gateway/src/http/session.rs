//! The certificate behind a connection: let in at the handshake, asked about again before each request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    identity::{CredentialId, Doorkeeper, Known, OnDoorChange, Refusal},
    listen::{Connection, Registry},
};

/// An identified connection.
pub(super) struct Session {
    door: Arc<dyn Doorkeeper>,
    credential: CredentialId,
    version: AtomicU64,
}

impl Session {
    /// A resumed TLS session has not passed the certificate verifier, so every session is identified here, from the
    /// certificates the TLS stack holds for it.
    pub(super) fn identify(door: &Arc<dyn Doorkeeper>, chain: &[CertificateDer<'_>], connection: &Connection) -> Result<Self, Refusal> {
        let version = door.version();
        let Known { credential, not_after } = door.identify(chain, UnixTime::now())?;
        connection.identified(credential.clone(), not_after);
        let session = Self { door: door.clone(), credential, version: AtomicU64::new(version) };
        // From here on a change finds this connection in the registry; one made just before does not.
        session.recheck()?;
        Ok(session)
    }

    /// One atomic read where nothing has changed.
    pub(super) fn recheck(&self) -> Result<(), Refusal> {
        // Read first: a change during the look-up makes the next request look again.
        let version = self.door.version();
        if version != self.version.load(Ordering::Acquire) {
            self.door.recheck(&self.credential, UnixTime::now())?;
            self.version.store(version, Ordering::Release);
        }
        Ok(())
    }
}

/// Ends the connections of those whom a doorkeeper no longer lets in.
pub(super) struct EndRefused {
    pub(super) registry: Arc<Registry>,
    pub(super) door: Arc<dyn Doorkeeper>,
}

impl OnDoorChange for EndRefused {
    fn door_changed(&self) {
        self.registry.end_refused(|credential, now| self.door.recheck(credential, now).is_ok());
    }
}
