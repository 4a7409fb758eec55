//! What a request must also satisfy before a certificate is issued for a client that enrols.

use super::CertificateRequest;
use crate::{
    certificate::SpkiHash,
    error::RequestError,
    name::SubjectAltName,
    name_pattern::NamePattern,
    private_key::PrivateKey,
    public_key::{KeyFault, PublicKey},
    signer::Signer,
    weak_key::BlockList,
};

/// What the gateway knows of keys and names that a request cannot tell.
pub struct RequestPolicy<'a> {
    /// Keys known to others.
    pub blocked: &'a BlockList,
    /// Whether a key is that of a CA: a client that shows a CA's key would be taken for it.
    pub is_ca_key: &'a (dyn Fn(&SpkiHash) -> bool + Sync),
    /// Whether a key is certified for another client already.
    pub is_key_of_another: &'a (dyn Fn(&SpkiHash) -> bool + Sync),
    /// The pattern that the common name and every subject alternative name must match; any name where `None`.
    pub names: Option<&'a NamePattern>,
}

/// A request that a client certificate may be issued for: its key is possessed, strong, its own, and its names are allowed.
#[derive(Debug, Clone)]
pub struct CheckedRequest {
    public_key: PublicKey,
    names: Vec<SubjectAltName>,
    common_name: Option<String>,
}

impl CertificateRequest {
    /// Checks the key and the names against `policy`.
    pub fn check(self, policy: &RequestPolicy<'_>) -> Result<CheckedRequest, RequestError> {
        let hash = self.public_key.spki_hash();
        if policy.blocked.contains(&self.public_key) {
            return Err(RequestError::PublicKey(KeyFault::Blocked));
        }
        if self.asks_to_be_ca {
            return Err(RequestError::AsksToBeCa);
        }
        if (policy.is_ca_key)(&hash) {
            return Err(RequestError::CaKey);
        }
        if (policy.is_key_of_another)(&hash) {
            return Err(RequestError::KeyOfAnother);
        }
        if let Some(pattern) = policy.names {
            let asked = self.common_name.iter().cloned().chain(self.names.iter().map(SubjectAltName::value));
            if let Some(name) = asked.into_iter().find(|name| !pattern.matches(name)) {
                return Err(RequestError::NameNotAllowed { name, pattern: pattern.to_string() });
            }
        }
        Ok(CheckedRequest { public_key: self.public_key, names: self.names, common_name: self.common_name })
    }
}

impl CheckedRequest {
    /// The key to certify.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The DNS names and addresses to certify.
    pub fn names(&self) -> &[SubjectAltName] {
        &self.names
    }

    /// The common name asked for, if any.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The same names for a key made here (RFC 7030 §4.4 serverkeygen): the key of the request only carried the names.
    pub fn with_generated_key(self, key: &PrivateKey) -> Self {
        Self { public_key: key.public_key().clone(), ..self }
    }
}
