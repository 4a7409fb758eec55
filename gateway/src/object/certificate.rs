//! What an X.509 certificate says, as KMIP attributes. KMIP 2.1 §4.6 and §4.61 to §4.63, KMIP 1.4 §3.9 to §3.15.
//!
//! Reads, and judges nothing: whether a certificate is valid or trusted is nobody's question here.

use der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Decode, Encode, Tagged};
use keygate_backends::local::KeyMaterial;
use keygate_kmip::{
    Attribute, CertificateIdentifier, CertificateIssuer, CertificateSubject, DigitalSignatureAlgorithm, Tag,
    X509CertificateIdentifier, X509CertificateIssuer, X509CertificateSubject,
};
use x509_cert::ext::pkix::{IssuerAltName, SubjectAltName, name::GeneralName};
use x509_cert::name::Name;

use super::facts::of_material;
use crate::operation::OperationError;

/// Type and value of the parts of a name that have an attribute of their own in 2.x (KMIP 2.1 §4.6), with the tags for
/// the subject and for the issuer.
const NAME_FIELDS: [(&str, Tag, Tag); 12] = [
    ("2.5.4.3", Tag::CERTIFICATE_SUBJECT_CN, Tag::CERTIFICATE_ISSUER_CN),
    ("2.5.4.10", Tag::CERTIFICATE_SUBJECT_O, Tag::CERTIFICATE_ISSUER_O),
    ("2.5.4.11", Tag::CERTIFICATE_SUBJECT_OU, Tag::CERTIFICATE_ISSUER_OU),
    ("1.2.840.113549.1.9.1", Tag::CERTIFICATE_SUBJECT_EMAIL, Tag::CERTIFICATE_ISSUER_EMAIL),
    ("2.5.4.6", Tag::CERTIFICATE_SUBJECT_C, Tag::CERTIFICATE_ISSUER_C),
    ("2.5.4.8", Tag::CERTIFICATE_SUBJECT_ST, Tag::CERTIFICATE_ISSUER_ST),
    ("2.5.4.7", Tag::CERTIFICATE_SUBJECT_L, Tag::CERTIFICATE_ISSUER_L),
    ("0.9.2342.19200300.100.1.1", Tag::CERTIFICATE_SUBJECT_UID, Tag::CERTIFICATE_ISSUER_UID),
    ("2.5.4.5", Tag::CERTIFICATE_SUBJECT_SERIAL_NUMBER, Tag::CERTIFICATE_ISSUER_SERIAL_NUMBER),
    ("2.5.4.12", Tag::CERTIFICATE_SUBJECT_TITLE, Tag::CERTIFICATE_ISSUER_TITLE),
    ("0.9.2342.19200300.100.1.25", Tag::CERTIFICATE_SUBJECT_DC, Tag::CERTIFICATE_ISSUER_DC),
    ("2.5.4.46", Tag::CERTIFICATE_SUBJECT_DN_QUALIFIER, Tag::CERTIFICATE_ISSUER_DN_QUALIFIER),
];

/// SubjectPublicKeyInfo DER of a certificate.
pub(super) fn public_key_info(value: &[u8]) -> Result<Vec<u8>, OperationError> {
    let certificate = parse(value)?;
    certificate.tbs_certificate().subject_public_key_info().to_der().map_err(malformed)
}

/// The attributes that a certificate tells, besides its type and length.
pub(super) fn facts(value: &[u8]) -> Result<Vec<Attribute>, OperationError> {
    let certificate = parse(value)?;
    let tbs = certificate.tbs_certificate();
    let (issuer, subject) = (tbs.issuer(), tbs.subject());
    let mut found = Vec::new();
    let issuer_der = issuer.to_der().map_err(malformed)?;
    found.push(Attribute::X509CertificateIdentifier(X509CertificateIdentifier {
        issuer_distinguished_name: issuer_der.clone(),
        certificate_serial_number: tbs.serial_number().to_der().map_err(malformed)?,
    }));
    found.push(Attribute::X509CertificateSubject(X509CertificateSubject {
        subject_distinguished_name: subject.to_der().map_err(malformed)?,
        subject_alternative_names: alternative_names(tbs.get_extension::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0)),
    }));
    found.push(Attribute::X509CertificateIssuer(X509CertificateIssuer {
        issuer_distinguished_name: issuer_der,
        issuer_alternative_names: alternative_names(tbs.get_extension::<IssuerAltName>().ok().flatten().map(|(_, names)| names.0)),
    }));
    found.extend(text_forms(&certificate));
    found.extend(fields(subject, |(_, subject, _)| subject));
    found.extend(fields(issuer, |(_, _, issuer)| issuer));
    if let Some(algorithm) = signature_algorithm(&certificate.signature_algorithm().oid) {
        found.push(Attribute::DigitalSignatureAlgorithm(algorithm));
    }
    // KMIP 2.1 §4.13: of a certificate it is the algorithm of the subject's public key. One we do not know is left out.
    let key = tbs.subject_public_key_info().to_der().ok().and_then(|spki| KeyMaterial::from_spki(&spki).ok());
    found.extend(key.map(|key| of_material(&key)).unwrap_or_default());
    Ok(found)
}

/// The deprecated text attributes of KMIP 1.0 (1.4 §3.13 to §3.15): names by RFC 4514, the serial number in hexadecimal.
fn text_forms(certificate: &x509_cert::Certificate) -> [Attribute; 3] {
    let tbs = certificate.tbs_certificate();
    let (issuer, subject) = (tbs.issuer().to_string(), tbs.subject().to_string());
    let serial = tbs.serial_number().as_bytes();
    let magnitude = if serial.len() > 1 && serial[0] == 0 { &serial[1..] } else { serial };
    [
        Attribute::CertificateIdentifier(CertificateIdentifier {
            issuer: issuer.clone(),
            serial_number: Some(hex::encode_upper(magnitude)),
        }),
        Attribute::CertificateSubject(CertificateSubject { distinguished_name: subject, alternative_names: Vec::new() }),
        Attribute::CertificateIssuer(CertificateIssuer { distinguished_name: issuer, alternative_names: Vec::new() }),
    ]
}

fn fields(name: &Name, tag: impl Fn((&str, Tag, Tag)) -> Tag) -> Vec<Attribute> {
    let known = |oid: &ObjectIdentifier| {
        NAME_FIELDS.into_iter().find(|(known, ..)| ObjectIdentifier::new(known).is_ok_and(|known| known == *oid))
    };
    let parts = name.iter().filter_map(|part| Some(Attribute::CertificateField(tag(known(&part.oid)?), text(&part.value)?)));
    parts.collect()
}

fn text(value: &der::Any) -> Option<String> {
    let text = match value.tag() {
        der::Tag::PrintableString => PrintableStringRef::try_from(value).ok()?.as_str(),
        der::Tag::Utf8String => Utf8StringRef::try_from(value).ok()?.as_str(),
        der::Tag::Ia5String => Ia5StringRef::try_from(value).ok()?.as_str(),
        der::Tag::TeletexString => TeletexStringRef::try_from(value).ok()?.as_str(),
        _ => return None,
    };
    Some(text.to_owned())
}

fn alternative_names(names: Option<Vec<GeneralName>>) -> Vec<Vec<u8>> {
    names.unwrap_or_default().iter().filter_map(|name| name.to_der().ok()).collect()
}

fn signature_algorithm(oid: &ObjectIdentifier) -> Option<DigitalSignatureAlgorithm> {
    use DigitalSignatureAlgorithm as D;
    Some(match oid.to_string().as_str() {
        "1.2.840.113549.1.1.2" => D::Md2WithRsaEncryption,
        "1.2.840.113549.1.1.4" => D::Md5WithRsaEncryption,
        "1.2.840.113549.1.1.5" => D::Sha1WithRsaEncryption,
        "1.2.840.113549.1.1.14" => D::Sha224WithRsaEncryption,
        "1.2.840.113549.1.1.11" => D::Sha256WithRsaEncryption,
        "1.2.840.113549.1.1.12" => D::Sha384WithRsaEncryption,
        "1.2.840.113549.1.1.13" => D::Sha512WithRsaEncryption,
        "1.2.840.113549.1.1.10" => D::RsassaPss,
        "1.2.840.10040.4.3" => D::DsaWithSha1,
        "2.16.840.1.101.3.4.3.1" => D::DsaWithSha224,
        "2.16.840.1.101.3.4.3.2" => D::DsaWithSha256,
        "1.2.840.10045.4.1" => D::EcdsaWithSha1,
        "1.2.840.10045.4.3.1" => D::EcdsaWithSha224,
        "1.2.840.10045.4.3.2" => D::EcdsaWithSha256,
        "1.2.840.10045.4.3.3" => D::EcdsaWithSha384,
        "1.2.840.10045.4.3.4" => D::EcdsaWithSha512,
        _ => return None,
    })
}

fn parse(value: &[u8]) -> Result<x509_cert::Certificate, OperationError> {
    x509_cert::Certificate::from_der(value).map_err(malformed)
}

fn malformed(error: der::Error) -> OperationError {
    OperationError::InvalidField(format!("Certificate Value is not an X.509 certificate: {error}"))
}
