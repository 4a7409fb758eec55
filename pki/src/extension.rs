//! The extensions of certificates, each with its criticality and the sentence of RFC 5280 behind it.

use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::{
            ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_CRL_DISTRIBUTION_POINTS,
            ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
            ID_PE_AUTHORITY_INFO_ACCESS,
        },
        rfc5912::{ID_AD_CA_ISSUERS, ID_AD_OCSP},
        rfc6960::ID_PKIX_OCSP_NOCHECK,
    },
};
use der::{
    Encode,
    asn1::{Ia5String, Null, OctetString},
    flagset::FlagSet,
};
use x509_cert::ext::{
    Extension,
    pkix::{
        AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints,
        ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
        crl::dp::DistributionPoint,
        name::{DistributionPointName, GeneralName},
    },
};

use crate::{
    error::PkiError,
    hierarchy::{HttpUrl, Locations},
    name::SubjectAltName,
};

/// What a certificate lets its key do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Powers {
    /// `Some` for a CA; the inner value is its pathLenConstraint.
    pub(crate) ca: Option<Option<u8>>,
    pub(crate) usages: &'static [KeyUsages],
    pub(crate) purposes: Vec<ObjectIdentifier>,
    pub(crate) ocsp_nocheck: bool,
}

impl Powers {
    /// RFC 5280 §4.2.1.3: "If the keyCertSign bit is asserted, then the cA bit in the basic constraints extension
    /// (Section 4.2.1.9) MUST also be asserted."
    pub(crate) fn ca(path_len: Option<u8>, purposes: Vec<ObjectIdentifier>) -> Self {
        let usages = &[KeyUsages::KeyCertSign, KeyUsages::CRLSign];
        Self { ca: Some(path_len), usages, purposes, ocsp_nocheck: false }
    }

    pub(crate) fn leaf(purposes: Vec<ObjectIdentifier>) -> Self {
        Self { ca: None, usages: &[KeyUsages::DigitalSignature], purposes, ocsp_nocheck: false }
    }
}

/// What the extensions of a certificate say.
pub(crate) struct Stated<'a> {
    pub(crate) powers: &'a Powers,
    pub(crate) subject_key: Vec<u8>,
    pub(crate) authority_key: Vec<u8>,
    pub(crate) names: &'a [SubjectAltName],
    pub(crate) locations: &'a Locations,
}

impl Stated<'_> {
    pub(crate) fn extensions(&self) -> Result<Vec<Extension>, PkiError> {
        let mut list = Vec::with_capacity(9);
        // RFC 5280 §4.2.1.9: "Conforming CAs MUST include this extension in all CA certificates ... and MUST mark the
        // extension as critical in such certificates."
        if let Some(path_len) = self.powers.ca {
            let constraints = BasicConstraints { ca: true, path_len_constraint: path_len };
            list.push(extension(ID_CE_BASIC_CONSTRAINTS, true, &constraints)?);
        }
        list.push(extension(ID_CE_KEY_USAGE, true, &key_usage(self.powers.usages))?);
        if !self.powers.purposes.is_empty() {
            list.push(extension(ID_CE_EXT_KEY_USAGE, false, &ExtendedKeyUsage(self.powers.purposes.clone()))?);
        }
        let subject = SubjectKeyIdentifier(octets(self.subject_key.clone())?);
        list.push(extension(ID_CE_SUBJECT_KEY_IDENTIFIER, false, &subject)?);
        list.push(authority_key_identifier(&self.authority_key)?);
        if !self.names.is_empty() {
            let names = self.names.iter().map(SubjectAltName::general_name).collect::<Result<Vec<_>, _>>()?;
            list.push(extension(ID_CE_SUBJECT_ALT_NAME, false, &names)?);
        }
        if let Some(url) = &self.locations.crl {
            // RFC 5280 §4.2.1.13: "either distributionPoint or cRLIssuer MUST be present."
            let point =
                DistributionPoint { distribution_point: Some(full_name([url])?), reasons: None, crl_issuer: None };
            list.push(extension(ID_CE_CRL_DISTRIBUTION_POINTS, false, &CrlDistributionPoints(vec![point]))?);
        }
        if let Some(access) = access(self.locations)? {
            list.push(extension(ID_PE_AUTHORITY_INFO_ACCESS, false, &access)?);
        }
        if self.powers.ocsp_nocheck {
            // RFC 6960 §4.2.2.2.1: "This extension SHOULD be a non-critical extension. The value of the extension SHALL be NULL."
            list.push(extension(ID_PKIX_OCSP_NOCHECK, false, &Null)?);
        }
        Ok(list)
    }
}

/// RFC 5280 §4.2.1.3: "When present, conforming CAs SHOULD mark this extension as critical."
pub(crate) fn key_usage(usages: &[KeyUsages]) -> KeyUsage {
    KeyUsage(usages.iter().fold(FlagSet::default(), |set, usage| set | *usage))
}

/// RFC 5280 §4.2.1.1: "The keyIdentifier field of the authorityKeyIdentifier extension MUST be included in all
/// certificates"; §5.2.1: "in all CRLs issued".
pub(crate) fn authority_key_identifier(identifier: &[u8]) -> Result<Extension, PkiError> {
    let value = AuthorityKeyIdentifier {
        key_identifier: Some(octets(identifier.to_vec())?),
        ..AuthorityKeyIdentifier::default()
    };
    extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &value)
}

pub(crate) fn full_name<'a>(urls: impl IntoIterator<Item = &'a HttpUrl>) -> Result<DistributionPointName, PkiError> {
    Ok(DistributionPointName::FullName(urls.into_iter().map(uri).collect::<Result<_, _>>()?))
}

pub(crate) fn extension(oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> Result<Extension, PkiError> {
    Ok(Extension { extn_id: oid, critical, extn_value: octets(value.to_der().map_err(PkiError::Encode)?)? })
}

fn access(locations: &Locations) -> Result<Option<AuthorityInfoAccessSyntax>, PkiError> {
    let describe = |method, url: &HttpUrl| Ok(AccessDescription { access_method: method, access_location: uri(url)? });
    let ocsp = locations.ocsp.iter().map(|url| describe(ID_AD_OCSP, url));
    let issuer = locations.issuer.iter().map(|url| describe(ID_AD_CA_ISSUERS, url));
    let list = ocsp.chain(issuer).collect::<Result<Vec<_>, PkiError>>()?;
    Ok(if list.is_empty() { None } else { Some(AuthorityInfoAccessSyntax(list)) })
}

fn uri(url: &HttpUrl) -> Result<GeneralName, PkiError> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(url.as_str()).map_err(PkiError::Encode)?))
}

fn octets(bytes: Vec<u8>) -> Result<OctetString, PkiError> {
    OctetString::new(bytes).map_err(PkiError::Encode)
}
