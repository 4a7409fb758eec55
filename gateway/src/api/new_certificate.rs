//! A certificate for an administrator: made elsewhere and taken as it is, or issued for a key that stays with its owner.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{COMMON_NAME_CHARS_MAX, Certificate, CertificateRequest, OffsetDateTime, Profile, PublicKey};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Api, admins::IssuedCredential, error, view::pem};
use crate::{authority, http::Problem, provisioning::NewAdminCertificate, store::AdminCertificate};

/// Longest validity of an administrator's certificate.
const DAYS_MAX: u32 = 825;

/// What an administrator is to be recognised by: exactly one of the first three.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCertificate {
    /// A certificate made elsewhere, taken as it is: PEM, or DER in base64.
    #[serde(default)]
    pub(super) certificate: Option<String>,
    /// Public key to certify: SubjectPublicKeyInfo, DER in base64.
    #[serde(default)]
    pub(super) public_key: Option<String>,
    /// PKCS#10 request to certify: PEM, or DER in base64.
    #[serde(default)]
    pub(super) request: Option<String>,
    /// Days of validity of what is issued.
    #[serde(default)]
    pub(super) days: Option<u32>,
}

impl NewCertificate {
    /// What is recorded, and what its owner gets.
    pub(super) fn make(self, api: &Api, name: &str) -> Result<(NewAdminCertificate, IssuedCredential), Problem> {
        let now = api.provisioning.now();
        let leaf = match (self.certificate, self.public_key, self.request) {
            (Some(text), None, None) => taken(&text, now)?,
            (None, Some(text), None) => {
                let der = STANDARD.decode(text.trim()).map_err(|_| error::invalid("public_key is not base64"))?;
                issued(api, name, &PublicKey::from_spki_der(&der).map_err(refused)?, self.days, now)?
            }
            (None, None, Some(text)) => {
                let request = CertificateRequest::from_pem_or_der(&pem_or_base64(&text)).map_err(refused)?;
                issued(api, name, request.public_key(), self.days, now)?
            }
            _ => return Err(error::invalid("give one of certificate, public_key and request")),
        };
        let sha256 = leaf.fingerprint().0;
        let directory = api.store.directory();
        let mut known = directory.admins.values().flat_map(|admin| &admin.certificates);
        if known.any(|known| known.sha256 == sha256) {
            return Err(error::invalid("this certificate belongs to an administrator already"));
        }
        // The server certificate is verified by the root, whoever the administrator is.
        let ca = authority::certificate(&directory, Profile::RootCa)?;
        let credential = IssuedCredential { chain: pem(&leaf)?, ca: pem(&ca)?, not_after: leaf.not_after() };
        Ok((NewAdminCertificate(AdminCertificate::of(&leaf)), credential))
    }
}

fn taken(text: &str, now: OffsetDateTime) -> Result<Certificate, Problem> {
    let leaf = Certificate::from_pem_or_der(&pem_or_base64(text)).map_err(refused)?;
    if leaf.not_after() < now {
        return Err(error::invalid("the certificate has expired"));
    }
    Ok(leaf)
}

fn issued(api: &Api, name: &str, key: &PublicKey, days: Option<u32>, now: OffsetDateTime) -> Result<Certificate, Problem> {
    if days.is_some_and(|days| days == 0 || days > DAYS_MAX) {
        return Err(error::invalid(format!("days must be 1 to {DAYS_MAX}")));
    }
    // A label in the certificate; the record in the store says whose it is.
    let label: String = name.chars().take(COMMON_NAME_CHARS_MAX).collect();
    let chain = authority::issue_leaf(&api.store.directory(), Profile::AdminCertificate, &label, key, &[], days, now)?;
    chain.into_iter().next().ok_or_else(|| error::internal(&authority::AuthorityError::Missing("administrator's certificate")))
}

fn refused(failure: impl std::error::Error) -> Problem {
    error::invalid(crate::admin::chain(&failure))
}

/// PEM goes as text; DER goes as base64.
fn pem_or_base64(text: &str) -> Vec<u8> {
    let decoded = || STANDARD.decode(text.trim()).unwrap_or_else(|_| text.as_bytes().to_vec());
    if text.contains("-----BEGIN") { text.as_bytes().to_vec() } else { decoded() }
}
