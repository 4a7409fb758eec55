//! Validate: whether a chain of certificates is valid at a moment. KMIP 2.1 §6.1.61, KMIP 1.4 §4.23.
//!
//! "The method or policy by which validation is conducted is a decision of the server": a chain is valid if each certificate is in
//! its time, is signed by the next one, which is a CA with room for it, none was revoked here, and the last is trusted: the CA of
//! Certify, or a root that the caller names as a managed object of its own. Without a trusted end nothing is known.

use keygate_kmip::{
    Certificate as KmipCertificate, CertificateType, ManagedObject, ObjectType, Operation, ValidateRequest, ValidateResponse, ValidityIndicator,
};
use keygate_pki::{Certificate, OffsetDateTime, PkiError, Profile};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::{Exchange, OperationError};
use crate::authority;
use crate::object::{Lifecycle, Material};

/// Certificates of a chain.
const CHAIN_MAX: usize = 16;

/// A certificate of the chain.
struct Member {
    certificate: Certificate,
    /// It is a managed object of the caller's, which may vouch for it.
    is_stored: bool,
    /// It was revoked here.
    is_revoked: bool,
}

/// What is found out about a chain; the worst decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Valid,
    Unknown,
    Invalid,
}

/// Validates a chain.
///
/// # Errors
/// No certificate or too many, one that is none or not X.509, an object that is not there for the caller.
pub(super) async fn validate(exchange: &mut Exchange<'_>, request: ValidateRequest) -> Result<ValidateResponse, OperationError> {
    let count = request.certificates.len() + request.unique_identifiers.len();
    if count == 0 {
        return Err(OperationError::InvalidMessage("there is no certificate to validate".to_owned()));
    }
    if count > CHAIN_MAX {
        return Err(OperationError::LimitExceeded(format!("a chain of {count} certificates is over the limit of {CHAIN_MAX}")));
    }
    let mut members = Vec::with_capacity(count);
    for certificate in &request.certificates {
        members.push(Member { certificate: read(certificate)?, is_stored: false, is_revoked: false });
    }
    for identifier in &request.unique_identifiers {
        members.push(stored(exchange, identifier).await?);
    }
    let at = request.validity_date.map_or(exchange.now, |date| date.0);
    let at = OffsetDateTime::from_unix_timestamp(at).map_err(|_| OperationError::InvalidField("Validity Date is out of range".to_owned()))?;
    let own = authority::certificate(&exchange.gateway.store.directory(), Profile::KmipCertifyCa).ok();
    let validity_indicator = match judge(members, own.as_ref(), at) {
        Verdict::Valid => ValidityIndicator::Valid,
        Verdict::Unknown => ValidityIndicator::Unknown,
        Verdict::Invalid => ValidityIndicator::Invalid,
    };
    Ok(ValidateResponse { validity_indicator })
}

fn read(certificate: &KmipCertificate) -> Result<Certificate, OperationError> {
    if certificate.certificate_type != CertificateType::X509 {
        return Err(OperationError::FeatureNotSupported("only X.509 certificates are validated".to_owned()));
    }
    Certificate::from_der(&certificate.value).map_err(|_| OperationError::InvalidField("Certificate Value is not an X.509 certificate".to_owned()))
}

async fn stored(exchange: &mut Exchange<'_>, identifier: &keygate_kmip::UniqueIdentifier) -> Result<Member, OperationError> {
    let permit = exchange.permit(Some(identifier), Operation::Validate).await?;
    let object = exchange.object(&permit);
    if object.object_type != ObjectType::Certificate {
        return Err(OperationError::InvalidField(format!("Validate takes certificates, not a {}", object.object_type)));
    }
    object.check_present()?;
    // What is deactivated or compromised was revoked: it is used for nothing new.
    let is_revoked = matches!(object.lifecycle, Lifecycle::Deactivated | Lifecycle::Compromised);
    match exchange.material(&permit)? {
        Material::Held(held) => match *held {
            ManagedObject::Certificate(certificate) => Ok(Member { certificate: read(&certificate)?, is_stored: true, is_revoked }),
            _ => Err(OperationError::Internal),
        },
        Material::Referenced(_) | Material::None => Err(OperationError::KeyValueNotPresent),
    }
}

fn judge(members: Vec<Member>, own: Option<&Certificate>, at: OffsetDateTime) -> Verdict {
    let Some(chain) = in_order(members) else { return Verdict::Invalid };
    let mut verdict = Verdict::Valid;
    for member in &chain {
        if member.is_revoked || !member.certificate.is_valid_at(at) {
            verdict = Verdict::Invalid;
        }
    }
    for (below, pair) in chain.windows(2).enumerate() {
        verdict = verdict.max(signed_by(&pair[0].certificate, &pair[1].certificate)).max(room_for(&pair[1].certificate, below));
    }
    let Some(last) = chain.last() else { return Verdict::Invalid };
    verdict.max(end(last, chain.len() - 1, own, at)).max(as_end_entity(&chain, own, at))
}

/// From the leaf up; `None` if they are not one chain. A self-signed certificate ends one.
fn in_order(mut members: Vec<Member>) -> Option<Vec<Member>> {
    let names = |member: &Member| (member.certificate.subject(), member.certificate.issuer());
    let is_issuer_of_another = |members: &[Member], at: usize| {
        let (subject, _) = names(&members[at]);
        members.iter().enumerate().any(|(other, member)| other != at && names(member).1 == subject && names(member).0 != subject)
    };
    let leaf = (0..members.len()).find(|at| !is_issuer_of_another(&members, *at))?;
    let mut chain = vec![members.swap_remove(leaf)];
    while !members.is_empty() {
        let (_, issuer) = chain.last().map(names)?;
        let next = members.iter().position(|member| names(member).0 == issuer)?;
        chain.push(members.swap_remove(next));
    }
    Some(chain)
}

fn signed_by(certificate: &Certificate, issuer: &Certificate) -> Verdict {
    match certificate.verify_issued_by(issuer) {
        Ok(()) => Verdict::Valid,
        // A key of a kind or size, or a way of signing, that is not judged here.
        Err(PkiError::PublicKey(_) | PkiError::SignatureAlgorithm(_)) => Verdict::Unknown,
        Err(_) => Verdict::Invalid,
    }
}

/// RFC 5280 §4.2.1.9: a path length is how many intermediate certificates may follow.
fn room_for(issuer: &Certificate, below: usize) -> Verdict {
    match issuer.ca_path_len() {
        Some(Some(most)) if below > usize::from(most) => Verdict::Invalid,
        _ => Verdict::Valid,
    }
}

/// Whether the end of the chain is trusted.
fn end(last: &Member, below: usize, own: Option<&Certificate>, at: OffsetDateTime) -> Verdict {
    let is_root = last.certificate.subject() == last.certificate.issuer();
    if is_root {
        let is_own = own.is_some_and(|own| own.fingerprint() == last.certificate.fingerprint());
        let trusted = if is_own || last.is_stored { Verdict::Valid } else { Verdict::Unknown };
        return signed_by(&last.certificate, &last.certificate).max(trusted);
    }
    match own.filter(|own| own.subject() == last.certificate.issuer()) {
        Some(own) if own.is_valid_at(at) => signed_by(&last.certificate, own).max(room_for(own, below)),
        Some(_) => Verdict::Invalid,
        None => Verdict::Unknown,
    }
}

/// What else path validation asks (name constraints, critical extensions), of a chain whose leaf is no CA and whose end is known.
fn as_end_entity(chain: &[Member], own: Option<&Certificate>, at: OffsetDateTime) -> Verdict {
    let Some((leaf, rest)) = chain.split_first().filter(|(leaf, _)| !leaf.certificate.is_ca()) else { return Verdict::Valid };
    let last = rest.last().filter(|last| last.certificate.subject() == last.certificate.issuer()).map(|last| &last.certificate);
    let Some(anchor) = last.or(own) else { return Verdict::Valid };
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let (leaf, anchor) = (der(&leaf.certificate), der(anchor));
    let between: Vec<_> = rest.iter().map(|member| der(&member.certificate)).collect();
    let Ok(seconds) = u64::try_from(at.unix_timestamp()) else { return Verdict::Unknown };
    let moment = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let (Ok(leaf), Ok(anchor)) = (EndEntityCert::try_from(&leaf), webpki::anchor_from_trusted_cert(&anchor)) else { return Verdict::Unknown };
    match leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[anchor], &between, moment, AnyPurpose, None, None) {
        Ok(_) => Verdict::Valid,
        Err(
            webpki::Error::NameConstraintViolation
            | webpki::Error::PathLenConstraintViolated
            | webpki::Error::EndEntityUsedAsCa
            | webpki::Error::UnsupportedCriticalExtension,
        ) => Verdict::Invalid,
        // Signatures, names and times were judged above; what webpki does not know of algorithms is no fault of the chain.
        Err(_) => Verdict::Valid,
    }
}

/// Validate asks for no purpose.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}
