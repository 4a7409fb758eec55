//! What each kind of certificate of the hierarchy says, in one table.
//!
//! root CA -> server CA -> server certificate; root CA -> client issuer -> client certificate; admin CA -> admin
//! certificate. The admin CA is a root of its own and signs nothing else; so is the CA of KMIP's Certify.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
};

use crate::extension::Powers;

/// A number of days.
pub type Days = u32;

/// A kind of certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Self-signed CA of the administrators.
    AdminCa,
    /// An administrator.
    AdminCertificate,
    /// A KMIP client.
    ClientCertificate,
    /// The built-in issuer of client certificates.
    ClientIssuer,
    /// Self-signed CA of what KMIP clients ask to be certified. It signs nothing else, and nobody of ours trusts it.
    KmipCertifyCa,
    /// Self-signed CA on top of the server CA and the client issuer.
    RootCa,
    /// The issuer of the gateway's own server certificates.
    ServerCa,
    /// A listener of the gateway.
    ServerCertificate,
}

impl Profile {
    /// `Some(pathLenConstraint)` for a CA.
    fn path_len(self) -> Option<u8> {
        match self {
            // The root leaves room for an organisation's issuer and the issuing CAs of its provisioning keys.
            Self::RootCa => Some(2),
            Self::AdminCa | Self::ClientIssuer | Self::KmipCertifyCa | Self::ServerCa => Some(0),
            Self::AdminCertificate | Self::ClientCertificate | Self::ServerCertificate => None,
        }
    }

    /// Whether a certificate of the profile signs others.
    pub fn is_ca(self) -> bool {
        self.path_len().is_some()
    }

    /// The profile whose key signs this one; itself where self-signed.
    pub fn signed_by(self) -> Self {
        match self {
            Self::AdminCa | Self::AdminCertificate => Self::AdminCa,
            Self::ClientCertificate => Self::ClientIssuer,
            Self::ClientIssuer | Self::RootCa | Self::ServerCa => Self::RootCa,
            Self::KmipCertifyCa => Self::KmipCertifyCa,
            Self::ServerCertificate => Self::ServerCa,
        }
    }

    /// Days of validity where nothing else is asked for.
    pub fn days(self) -> Days {
        match self {
            Self::AdminCa | Self::KmipCertifyCa | Self::RootCa => 7300,
            Self::ClientIssuer | Self::ServerCa => 3650,
            Self::AdminCertificate | Self::ClientCertificate => 397,
            Self::ServerCertificate => 90,
        }
    }

    /// The extended key usage, if the profile has one. On an issuer it narrows what its certificates are good for.
    fn extended_key_usage(self) -> Option<ObjectIdentifier> {
        match self {
            Self::AdminCertificate | Self::ClientCertificate | Self::ClientIssuer => Some(ID_KP_CLIENT_AUTH),
            Self::ServerCa | Self::ServerCertificate => Some(ID_KP_SERVER_AUTH),
            Self::AdminCa | Self::KmipCertifyCa | Self::RootCa => None,
        }
    }

    pub(crate) fn powers(self) -> Powers {
        let purposes = self.extended_key_usage().into_iter().collect();
        match self.path_len() {
            Some(path_len) => Powers::ca(Some(path_len), purposes),
            None => Powers::leaf(purposes),
        }
    }
}
