//! Checks on an issuer's certificate that was made elsewhere: one that an outside CA returns for our request, or one that
//! comes with its key.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ANY_EXTENDED_KEY_USAGE, ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS,
        ID_CE_EXT_KEY_USAGE, ID_CE_INHIBIT_ANY_POLICY, ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS,
        ID_CE_POLICY_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME, ID_KP_CLIENT_AUTH,
    },
};
use time::OffsetDateTime;

use super::Tier;
use crate::{
    certificate::Certificate,
    error::PkiError,
    public_key::{KeyFault, PublicKey},
    weak_key,
};

/// A CA certificate from elsewhere that fits its key and its tier.
#[derive(Debug, Clone)]
pub struct ImportedIssuer(Certificate);

/// Why a certificate cannot be taken as an issuer's. Whoever made it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The certificate is for another key.
    #[error("the certificate is not for this issuer's key")]
    OtherKey,
    /// The certificate does not say that its subject is a CA.
    #[error("the certificate is not a CA certificate")]
    NotCa,
    /// The key usage leaves out what an issuer does.
    #[error("the certificate's key usage does not allow to sign {0}")]
    KeyUsage(&'static str),
    /// The extended key usage leaves out clients.
    #[error("the certificate's extended key usage leaves out client authentication")]
    Purpose,
    /// No room for the CAs below.
    #[error("the certificate's path length is {has}, this tier needs {needs}")]
    PathLength {
        /// What the certificate says.
        has: u8,
        /// What the tier needs.
        needs: u8,
    },
    /// Not valid now.
    #[error("the certificate is valid from {from} to {to}, not now")]
    NotValidNow {
        /// Start of its validity.
        from: OffsetDateTime,
        /// End of its validity.
        to: OffsetDateTime,
    },
    /// Ends before what it has to sign.
    #[error("the certificate ends on {to}, before {needed}")]
    TooShort {
        /// End of its validity.
        to: OffsetDateTime,
        /// End that is needed.
        needed: OffsetDateTime,
    },
    /// A critical extension that relying parties or we would stumble over.
    #[error("the certificate has the critical extension {0}, which is not known here")]
    UnknownCriticalExtension(ObjectIdentifier),
    /// A key that must not sign.
    #[error("the certificate's key is refused")]
    Key(#[source] KeyFault),
    /// Its signature or issuer does not belong to the CA that is said to have signed it.
    #[error("the certificate was not issued by its parent")]
    Parent(#[source] PkiError),
    /// The key cannot be read.
    #[error("the certificate's key cannot be read")]
    Unreadable(#[source] PkiError),
}

impl ImportedIssuer {
    /// Checks `certificate` for an issuer of `tier` that holds `key`, at `now`, and valid at least until `needed`.
    pub fn check(
        certificate: Certificate,
        key: &PublicKey,
        tier: Tier,
        now: OffsetDateTime,
        needed: OffsetDateTime,
    ) -> Result<Self, ImportError> {
        if certificate.spki_hash() != key.spki_hash() {
            return Err(ImportError::OtherKey);
        }
        check_powers(&certificate, tier)?;
        let (from, to) = (certificate.not_before(), certificate.not_after());
        if !certificate.is_valid_at(now) {
            return Err(ImportError::NotValidNow { from, to });
        }
        if to < needed {
            return Err(ImportError::TooShort { to, needed });
        }
        let read = certificate.public_key().map_err(ImportError::Unreadable)?;
        weak_key::check_strength(&read).map_err(ImportError::Key)?;
        Ok(Self(certificate))
    }

    /// Checks in addition that `parent` issued it.
    pub fn below(self, parent: &Certificate) -> Result<Self, ImportError> {
        self.0.verify_issued_by(parent).map_err(ImportError::Parent)?;
        Ok(self)
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0
    }

    /// The certificate, to be kept.
    pub fn into_certificate(self) -> Certificate {
        self.0
    }
}

fn check_powers(certificate: &Certificate, tier: Tier) -> Result<(), ImportError> {
    let Some(path_len) = certificate.ca_path_len() else { return Err(ImportError::NotCa) };
    // RFC 5280 §4.2.1.9: "the maximum number of non-self-issued intermediate certificates that may follow".
    if let Some(has) = path_len.filter(|has| *has < tier.path_len()) {
        return Err(ImportError::PathLength { has, needs: tier.path_len() });
    }
    if !certificate.may_sign_certificates() {
        return Err(ImportError::KeyUsage("certificates"));
    }
    if !certificate.may_sign_crls() {
        return Err(ImportError::KeyUsage("CRLs"));
    }
    let allows = |purpose: &ObjectIdentifier| [ID_KP_CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE].contains(purpose);
    if certificate.extended_key_usage().is_some_and(|purposes| !purposes.iter().any(allows)) {
        return Err(ImportError::Purpose);
    }
    match certificate.critical_extensions().find(|oid| !UNDERSTOOD.contains(oid)) {
        Some(unknown) => Err(ImportError::UnknownCriticalExtension(unknown)),
        None => Ok(()),
    }
}

/// Critical extensions that relying parties process (RFC 5280 §4.2) and that need nothing from us.
const UNDERSTOOD: [ObjectIdentifier; 9] = [
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_INHIBIT_ANY_POLICY,
    ID_CE_KEY_USAGE,
    ID_CE_NAME_CONSTRAINTS,
    ID_CE_POLICY_CONSTRAINTS,
    ID_CE_SUBJECT_ALT_NAME,
];
