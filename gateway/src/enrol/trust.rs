//! Which server certificates an enrolment trusts, settled before anything secret is sent.

use keygate_pki::{Certificate, Fingerprint};

use super::{EnrolError, est::{ANSWER_BYTES_MAX, EstClient}, folder::Credential};
use crate::http_client::{HttpClient, HttpClientError, HttpClientParts, Roots, Route, ServerUrl};

/// What was said about the server.
#[derive(Clone)]
pub enum Trust {
    /// It is below one of these certificates.
    These(Vec<Certificate>),
    /// It is below the certificate with this SHA-256, which it hands out itself.
    Fingerprint(Fingerprint),
    /// Nothing: as at the last enrolment into the same folder; at a first one, whatever the system trusts.
    Unstated,
}

/// What it comes to.
pub(super) struct Settled {
    pub(super) roots: Roots,
    /// Certificates for `ca.pem`; empty where the system's roots are meant.
    pub(super) certificates: Vec<Certificate>,
}

impl Trust {
    /// Settles which roots are meant; asks the server for the root where only its fingerprint is known.
    pub(super) fn settle(&self, server: &ServerUrl, route: &Route, stored: Option<&Credential>) -> Result<Settled, EnrolError> {
        let these = |certificates: Vec<Certificate>| Settled { roots: Roots::these(&certificates), certificates };
        match self {
            Self::These(certificates) => Ok(these(certificates.clone())),
            Self::Fingerprint(wanted) => {
                let known = stored.and_then(|stored| stored.roots.iter().find(|root| root.fingerprint() == *wanted));
                match known {
                    Some(root) => Ok(these(vec![root.clone()])),
                    None => fetch(*wanted, server, route).map(|root| these(vec![root])),
                }
            }
            Self::Unstated => match stored.filter(|stored| !stored.system_trust && !stored.roots.is_empty()) {
                Some(stored) => Ok(these(stored.roots.clone())),
                None => Ok(Settled { roots: Roots::system()?, certificates: Vec::new() }),
            },
        }
    }
}

/// RFC 7030 §4.1.1: a client without a trust anchor may fetch one over a connection it cannot verify, and must have it confirmed
/// out of band: here by its fingerprint. Nothing but the wish for CA certificates is sent, nothing else of the answer is used; every
/// later connection is verified against the certificate found.
fn fetch(wanted: Fingerprint, server: &ServerUrl, route: &Route) -> Result<Certificate, EnrolError> {
    let parts = HttpClientParts {
        server: server.clone(),
        roots: Roots::unverified(),
        identity: None,
        route: route.clone(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let offered = EstClient(HttpClient::new(parts)?).ca_certificates()?;
    let found = offered.into_iter().find(|certificate| certificate.fingerprint() == wanted && certificate.is_ca());
    found.ok_or_else(|| EnrolError::Fingerprint { server: server.clone(), wanted })
}

impl From<HttpClientError> for EnrolError {
    fn from(error: HttpClientError) -> Self {
        Self::Est(error.into())
    }
}
