//! What a certificate says about its subject as an issuer, and about its own issuer.

use const_oid::ObjectIdentifier;
use x509_cert::{
    SubjectPublicKeyInfo,
    ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier},
    name::Name,
};

use super::Certificate;
use crate::{
    error::PkiError,
    public_key::PublicKey,
    verification::{self, SignatureFault},
};

impl Certificate {
    /// Whether the certificate is a CA's.
    pub fn is_ca(&self) -> bool {
        self.ca_path_len().is_some()
    }

    /// `Some` for a CA; the inner value is its pathLenConstraint, `None` where it has no bound.
    pub fn ca_path_len(&self) -> Option<Option<u8>> {
        match self.inner.tbs_certificate().get_extension::<BasicConstraints>() {
            Ok(Some((_, constraints))) if constraints.ca => Some(constraints.path_len_constraint),
            _ => None,
        }
    }

    /// Whether the key usage, if any, lets the key sign certificates.
    pub fn may_sign_certificates(&self) -> bool {
        self.allows(KeyUsages::KeyCertSign)
    }

    /// Whether the key usage, if any, lets the key sign CRLs.
    pub fn may_sign_crls(&self) -> bool {
        self.allows(KeyUsages::CRLSign)
    }

    /// The subject's key, checked.
    pub fn public_key(&self) -> Result<PublicKey, PkiError> {
        PublicKey::check(self.spki().clone()).map_err(PkiError::PublicKey)
    }

    /// Whether `parent` issued the certificate: its subject is the issuer, it is a CA, and its key made the signature. The
    /// validity is not looked at.
    pub fn verify_issued_by(&self, parent: &Self) -> Result<(), PkiError> {
        if self.inner.tbs_certificate().issuer() != parent.subject_name() {
            return Err(PkiError::Issuer("its name is not the issuer's name in the certificate"));
        }
        if !parent.is_ca() || !parent.may_sign_certificates() {
            return Err(PkiError::Issuer("its certificate is not a CA certificate"));
        }
        let wrong = PkiError::Issuer("its key did not sign the certificate");
        let Ok(signed) = verification::first_part(&self.der) else { return Err(wrong) };
        let Some(signature) = self.inner.signature().as_bytes() else { return Err(wrong) };
        verification::verify(&parent.public_key()?, self.inner.signature_algorithm(), signed, signature)
            .map_err(|fault| match fault {
                SignatureFault::Algorithm(oid) => PkiError::SignatureAlgorithm(oid),
                SignatureFault::Wrong => wrong,
            })
    }

    /// The subject key identifier, if the certificate has one.
    pub fn subject_key_identifier(&self) -> Option<Vec<u8>> {
        match self.inner.tbs_certificate().get_extension::<SubjectKeyIdentifier>() {
            Ok(Some((_, identifier))) => Some(identifier.0.as_bytes().to_vec()),
            Ok(None) | Err(_) => None,
        }
    }

    pub(crate) fn subject_key_identifier_or_derived(&self) -> Vec<u8> {
        self.subject_key_identifier()
            .unwrap_or_else(|| crate::public_key::key_identifier(self.spki().subject_public_key.raw_bytes()))
    }

    pub(crate) fn subject_name(&self) -> &Name {
        self.inner.tbs_certificate().subject()
    }

    pub(crate) fn spki(&self) -> &SubjectPublicKeyInfo {
        self.inner.tbs_certificate().subject_public_key_info()
    }

    pub(crate) fn critical_extensions(&self) -> impl Iterator<Item = ObjectIdentifier> {
        let all = self.inner.tbs_certificate().extensions().into_iter().flatten();
        all.filter(|extension| extension.critical).map(|extension| extension.extn_id)
    }

    /// RFC 5280 §4.2.1.3: without the extension, no use of the key is ruled out.
    fn allows(&self, usage: KeyUsages) -> bool {
        match self.inner.tbs_certificate().get_extension::<KeyUsage>() {
            Ok(found) => found.is_none_or(|(_, usages)| usages.0.contains(usage)),
            Err(_) => false,
        }
    }
}
