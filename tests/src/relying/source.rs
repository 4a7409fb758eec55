//! Where a walk's certificates and lists come from: a PKI of the test's own ([`super::own`]) or a running gateway.

use std::io;

use super::{Device, Trust};

/// What an administrator does to a provisioning key, its issuing CA, or one certificate.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// The service is disabled: every client it enrolled is refused for now.
    Disable,
    /// The service is enabled again.
    Enable,
    /// The issuing CA of the key gets another certificate for the same key: new clients show that one.
    RenewIssuer,
    /// The key is active again after a suspension.
    Reactivate,
    /// One client's certificate is revoked, its key being compromised.
    RevokeDevice(&'a Device),
    /// The key is revoked, for good, because it is compromised.
    RevokeKey,
    /// The key issues and renews nothing for now; clients it enrolled go on.
    Suspend,
}

/// One provisioning key with what it enrols and what is published about it.
pub trait StateSource {
    /// Enrols a client and returns its credentials.
    ///
    /// # Errors
    /// If it is refused.
    fn enrol(&mut self, name: &str) -> io::Result<Device>;

    /// Does it; when this returns, it is published.
    ///
    /// # Errors
    /// If it is refused.
    fn apply(&mut self, act: Act<'_>) -> io::Result<()>;

    /// Trust anchors and every current CRL, as a relying party fetches them.
    ///
    /// # Errors
    /// If they cannot be fetched.
    fn trust(&self) -> io::Result<Trust>;
}
