//! Certify and Re-certify: a certificate for what a certificate request asks. KMIP 2.1 §6.1.6, §6.1.45; KMIP 1.4 §4.7, §4.8.
//!
//! Certificates are signed by a CA that an administrator turns on for this alone (`kmip.certify`); names are those of the request.
//! A request is always needed where no certificate of that CA is renewed: it proves that whoever asks has the private key.

use keygate_kmip::{
    Attribute, Attributes, Certificate as KmipCertificate, CertificateRequestType, CertificateType, CertifyRequest, CertifyResponse, DateTime, Link, LinkType,
    ManagedObject, ObjectType, Operation, ReCertifyRequest, ReCertifyResponse, UniqueIdentifier,
};
use keygate_pki::{BlockList, Certificate, CertificateRequest, OffsetDateTime, PkiError, Profile, PublicKey, RequestError, RequestPolicy};

use super::re_key::{hand_over, inherit, set_dates};
use super::{Exchange, OperationError, new_object, register};
use crate::audit::Details;
use crate::authority::{self, AuthorityError};
use crate::authorize::Permit;
use crate::object::{Material, Object, facts, key_block};
use crate::store::{Custody, ObjectId};

/// Certifies a public key.
///
/// # Errors
/// [`OperationError::OperationNotSupported`] where the server certifies nothing; [`OperationError::InvalidCsr`] for a request that is
/// malformed, weak, or asks for a CA; one for another key than the one named.
pub(super) async fn certify(exchange: &mut Exchange<'_>, request: CertifyRequest) -> Result<CertifyResponse, OperationError> {
    let days = days(exchange)?;
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Certify).await?;
    let named = exchange.object(&permit).clone();
    named.check_present()?;
    let given = given_request(exchange, request.request_type, request.request.or(request.request_value))?;
    let csr = match (named.object_type, given) {
        (ObjectType::PublicKey, Some(csr)) => {
            check_same_key(&csr, &public_key(exchange, &permit)?)?;
            csr
        }
        (ObjectType::PublicKey, None) => return Err(needs_request()),
        (ObjectType::CertificateRequest, None) => stored_request(exchange, &permit)?,
        (ObjectType::CertificateRequest, Some(_)) => {
            return Err(OperationError::InvalidMessage("the certificate request is named and given".to_owned()));
        }
        (other, _) => return Err(OperationError::InvalidField(format!("Certify takes a public key or a certificate request, not a {other}"))),
    };
    let certificate = sign(exchange, csr, days)?;
    let (mut record, material) = record_of(exchange, &certificate, request.attributes).await?;
    let id = record.id;
    let key = if named.object_type == ObjectType::PublicKey { Some(named.id) } else { linked(&named, LinkType::PublicKeyLink) };
    link_key(exchange, &mut record, key, Operation::Certify).await?;
    exchange.insert(record, material);
    exchange.note(Details::With { object: named.id });
    exchange.set_placeholder(Some(id));
    Ok(CertifyResponse { unique_identifier: id.to_string().into(), attributes: None })
}

/// Renews a certificate: a new one for the same key, to which names move as with Re-key.
///
/// # Errors
/// As Certify; without a request, a certificate that is not of this server's CA; a request for another key.
pub(super) async fn re_certify(exchange: &mut Exchange<'_>, request: ReCertifyRequest) -> Result<ReCertifyResponse, OperationError> {
    let days = days(exchange)?;
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::ReCertify).await?;
    let existing = exchange.object(&permit).clone();
    if existing.object_type != ObjectType::Certificate {
        return Err(OperationError::InvalidField(format!("Re-certify renews a certificate, not a {}", existing.object_type)));
    }
    existing.check_present()?;
    let held = held(exchange, &permit)?;
    let current = x509(&held)?;
    let given = given_request(exchange, request.request_type, request.request.or(request.request_value))?;
    let csr = match (given, request.request_unique_identifier) {
        (Some(_), Some(_)) => return Err(OperationError::InvalidMessage("the certificate request is named and given".to_owned())),
        (Some(csr), None) => csr,
        (None, Some(identifier)) => {
            let permit = exchange.permit(Some(&identifier), Operation::ReCertify).await?;
            stored_request(exchange, &permit)?
        }
        (None, None) => renewal_of(exchange, &current)?,
    };
    check_same_key(&csr, &current.public_key().map_err(not_usable)?)?;
    let certificate = sign(exchange, csr, days)?;
    let (mut replacement, material) = record_of(exchange, &certificate, request.attributes).await?;
    inherit(&mut replacement, &without_facts(&existing, &held)?);
    set_dates(&mut replacement, &existing, request.offset, exchange.now);
    replacement.advance(exchange.now);
    new_object::link(&mut replacement, LinkType::ReplacedObjectLink, existing.id);
    link_key(exchange, &mut replacement, linked(&existing, LinkType::PublicKeyLink), Operation::ReCertify).await?;
    let id = replacement.id;
    hand_over(exchange, &permit, &existing, id);
    exchange.insert(replacement, material);
    exchange.note(Details::With { object: existing.id });
    exchange.set_placeholder(Some(id));
    Ok(ReCertifyResponse { unique_identifier: id.to_string().into(), attributes: None })
}

fn days(exchange: &Exchange<'_>) -> Result<u32, OperationError> {
    let off = || OperationError::OperationNotSupported("this server certifies nothing (kmip.certify)".to_owned());
    exchange.gateway.policy.certify_days.ok_or_else(off)
}

fn needs_request() -> OperationError {
    OperationError::InvalidMessage("a certificate request is needed: it proves possession of the private key".to_owned())
}

/// The request of a message.
fn given_request(exchange: &Exchange<'_>, request_type: Option<CertificateRequestType>, value: Option<Vec<u8>>) -> Result<Option<CertificateRequest>, OperationError> {
    match (request_type, value) {
        (None, None) => Ok(None),
        (Some(request_type), Some(value)) => read(exchange, request_type, &value).map(Some),
        (Some(_), None) => Err(OperationError::InvalidMessage("Certificate Request Type without a request".to_owned())),
        (None, Some(_)) => Err(OperationError::InvalidMessage("Certificate Request without its type".to_owned())),
    }
}

fn read(exchange: &Exchange<'_>, request_type: CertificateRequestType, value: &[u8]) -> Result<CertificateRequest, OperationError> {
    match request_type {
        // Signed by SHA-1, as programs of long ago do: where legacy algorithms are allowed.
        CertificateRequestType::Pkcs10 | CertificateRequestType::Pem if exchange.gateway.policy.legacy_algorithms => {
            CertificateRequest::from_pem_or_der_of_old(value).map_err(refused)
        }
        CertificateRequestType::Pkcs10 | CertificateRequestType::Pem => CertificateRequest::from_pem_or_der(value).map_err(refused),
        other => Err(OperationError::FeatureNotSupported(format!("certificate requests of type {other} are not read; PKCS_10 and PEM are"))),
    }
}

fn refused(error: RequestError) -> OperationError {
    OperationError::InvalidCsr(crate::admin::chain(&error))
}

/// The request in a managed object.
fn stored_request(exchange: &Exchange<'_>, permit: &Permit) -> Result<CertificateRequest, OperationError> {
    exchange.object(permit).check_present()?;
    match held(exchange, permit)? {
        ManagedObject::CertificateRequest(request) => read(exchange, request.request_type, &request.value),
        other => Err(OperationError::InvalidField(format!("a {} is no certificate request", other.object_type()))),
    }
}

fn held(exchange: &Exchange<'_>, permit: &Permit) -> Result<ManagedObject, OperationError> {
    match exchange.material(permit)? {
        Material::Held(held) => Ok(*held),
        Material::Referenced(_) | Material::None => Err(OperationError::KeyValueNotPresent),
    }
}

fn x509(held: &ManagedObject) -> Result<Certificate, OperationError> {
    match held {
        ManagedObject::Certificate(certificate) if certificate.certificate_type == CertificateType::X509 => {
            Certificate::from_der(&certificate.value).map_err(not_usable)
        }
        _ => Err(OperationError::FeatureNotSupported("only X.509 certificates are renewed".to_owned())),
    }
}

fn not_usable(error: PkiError) -> OperationError {
    OperationError::InvalidField(crate::admin::chain(&error))
}

/// The public key that is to be certified.
fn public_key(exchange: &Exchange<'_>, permit: &Permit) -> Result<PublicKey, OperationError> {
    let material = key_block::material_of(&held(exchange, permit)?, &exchange.object(permit).attributes)?;
    PublicKey::from_spki_der(material.public_half()?.expose_canonical()).map_err(not_usable)
}

fn check_same_key(csr: &CertificateRequest, key: &PublicKey) -> Result<(), OperationError> {
    if csr.public_key().spki_hash() == key.spki_hash() {
        return Ok(());
    }
    Err(OperationError::InvalidField("the certificate request is for another key than the one to be certified".to_owned()))
}

/// A certificate that this server's CA signed is renewed as it is: its request was seen then.
fn renewal_of(exchange: &Exchange<'_>, current: &Certificate) -> Result<CertificateRequest, OperationError> {
    let directory = exchange.gateway.store.directory();
    let own = authority::certificate(&directory, Profile::KmipCertifyCa).map_err(not_signed)?;
    if current.verify_issued_by(&own).is_err() {
        return Err(needs_request());
    }
    CertificateRequest::of_certificate(current).map_err(refused)
}

fn sign(exchange: &Exchange<'_>, csr: CertificateRequest, days: u32) -> Result<Certificate, OperationError> {
    let subject = csr.subject();
    if subject.is_empty() && csr.names().is_empty() {
        return Err(OperationError::InvalidCsr("the certificate request names nothing".to_owned()));
    }
    // Keys of clients of this server's listeners are none of this CA's business: nobody is let in by what it signs.
    let policy = RequestPolicy { blocked: &BlockList::default(), is_ca_key: &|_| false, is_key_of_another: &|_| false, names: None };
    let checked = csr.check(&policy).map_err(refused)?;
    let now = OffsetDateTime::from_unix_timestamp(exchange.now).map_err(|error| OperationError::internal("clock", error))?;
    authority::certify(&exchange.gateway.store.directory(), &subject, &checked, days, now).map_err(not_signed)
}

fn not_signed(error: AuthorityError) -> OperationError {
    match error {
        AuthorityError::Missing(_) => OperationError::OperationNotSupported("this server certifies nothing (kmip.certify)".to_owned()),
        error => OperationError::internal("certificate of a client's request", crate::admin::chain(&error)),
    }
}

/// The managed object of a new certificate.
async fn record_of(exchange: &mut Exchange<'_>, certificate: &Certificate, given: Option<Attributes>) -> Result<(Object, Material), OperationError> {
    let given = new_object::expand(exchange, given.unwrap_or_default()).await?;
    let keystore = new_object::keystore_of(exchange, &given)?;
    let mut record = new_object::build(exchange, ObjectType::Certificate, given, (keystore, Custody::Envelope))?;
    record.attributes.set(Attribute::OriginalCreationDate(DateTime(exchange.now)));
    let object = KmipCertificate { certificate_type: CertificateType::X509, value: certificate.der().to_vec() };
    register::keep(exchange, record, ManagedObject::Certificate(object)).await
}

/// An object's attributes without those that its certificate tells: a new certificate tells its own.
fn without_facts(existing: &Object, held: &ManagedObject) -> Result<Object, OperationError> {
    let mut existing = existing.clone();
    for fact in facts(held)? {
        if let Some(tag) = fact.tag() {
            existing.attributes.remove_tag(tag);
        }
    }
    Ok(existing)
}

fn linked(object: &Object, wanted: LinkType) -> Option<ObjectId> {
    object.attributes.find(|attribute| match attribute {
        Attribute::Link(link) if link.link_type == wanted => link.linked_object_identifier.as_text()?.parse().ok(),
        _ => None,
    })
}

/// KMIP 2.1 §6.1.6: the server links the certificate to the public key and the public key to the certificate, to the newest one.
async fn link_key(exchange: &mut Exchange<'_>, certificate: &mut Object, key: Option<ObjectId>, operation: Operation) -> Result<(), OperationError> {
    let Some(key) = key else { return Ok(()) };
    new_object::link(certificate, LinkType::PublicKeyLink, key);
    let permit = match exchange.permit_id(key, operation).await {
        Ok(permit) => permit,
        // It is gone, or somebody else's meanwhile.
        Err(OperationError::NotFound | OperationError::PermissionDenied(_) | OperationError::NotAuthorised) => return Ok(()),
        Err(error) => return Err(error),
    };
    let link = Attribute::Link(Link {
        link_type: LinkType::CertificateLink,
        linked_object_identifier: UniqueIdentifier::Text(certificate.id.to_string()),
    });
    let attributes = &mut exchange.change(&permit).attributes;
    let is_old = |attribute: &Attribute| matches!(attribute, Attribute::Link(link) if link.link_type == LinkType::CertificateLink);
    let old = attributes.iter().find(|instance| is_old(&instance.attribute)).and_then(|instance| instance.index);
    match old {
        Some(index) => drop(attributes.replace(index, link)),
        None => drop(attributes.add(link)),
    }
    Ok(())
}
