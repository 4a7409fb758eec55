//! Why a certificate is revoked (RFC 5280 §5.3.1).

use std::{fmt, str::FromStr};

/// A reason for a revocation. `removeFromCRL` is left out, which only delta CRLs have, and `aACompromise`, which is about
/// attribute certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not said.
    Unspecified,
    /// The subject's private key is known to others.
    KeyCompromise,
    /// The key of the CA whose certificate this is, is known to others.
    CaCompromise,
    /// The subject's name or other information has changed.
    AffiliationChanged,
    /// Replaced by another certificate.
    Superseded,
    /// No longer needed for its purpose.
    CessationOfOperation,
    /// On hold: lifted by leaving the certificate out of the next list.
    CertificateHold,
    /// A privilege in the certificate has been withdrawn.
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
    ];

    /// CRLReason ::= ENUMERATED.
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// The reason of a CRLReason, if it is one of these.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The name in RFC 5280.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    /// The reason of a CA certificate whose provisioning key is revoked for this reason: what compromises the key of a CA
    /// compromises the CA.
    pub fn for_ca(self) -> Self {
        if self == Self::KeyCompromise { Self::CaCompromise } else { self }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of RFC 5280's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a revocation reason of RFC 5280")]
pub struct ReasonError(String);

impl FromStr for Reason {
    type Err = ReasonError;

    fn from_str(name: &str) -> Result<Self, ReasonError> {
        let found = Self::ALL.into_iter().find(|reason| reason.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| ReasonError(name.chars().take(40).collect()))
    }
}
