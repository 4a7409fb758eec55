//! Subject names and subject alternative names, built from checked parts and never from a string that is parsed.

mod list;

use std::net::IpAddr;

use const_oid::db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME};
use der::{
    Any, Decode, Encode, Tag,
    asn1::{Ia5String, OctetString},
};
use x509_cert::{
    attr::AttributeTypeAndValue,
    ext::pkix::name::GeneralName,
    name::{Name, RdnSequence, RelativeDistinguishedName},
};

pub use list::NameListError;

use crate::error::PkiError;

/// RFC 5280 appendix A.1: `ub-common-name INTEGER ::= 64`.
pub const COMMON_NAME_CHARS_MAX: usize = 64;

/// A distinguished name of an organisation (if any) and a common name. A label, never an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName(Name);

impl DistinguishedName {
    /// A name of one organisation and one common name, both UTF-8.
    pub fn new(organisation: Option<&str>, common_name: &str) -> Result<Self, PkiError> {
        let mut sequence = RdnSequence::default();
        for (oid, value) in
            organisation.map(|value| (ORGANIZATION_NAME, value)).into_iter().chain([(COMMON_NAME, common_name)])
        {
            let chars = value.chars().count();
            if chars == 0 || chars > COMMON_NAME_CHARS_MAX {
                return Err(PkiError::CommonName { chars, max: COMMON_NAME_CHARS_MAX });
            }
            // RFC 5280 §4.1.2.4: "CAs ... MUST use either the PrintableString or UTF8String encoding of DirectoryString".
            let value = Any::new(Tag::Utf8String, value.as_bytes()).map_err(PkiError::Encode)?;
            let rdn = RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid, value }])
                .map_err(PkiError::Encode)?;
            sequence.push(rdn);
        }
        let der = sequence.to_der().map_err(PkiError::Encode)?;
        Name::from_der(&der).map(Self).map_err(PkiError::Encode)
    }

    /// The name of an issuing CA of one provisioning key: unique for each key and each generation of its CA key, so that
    /// no relying party takes one CA's CRL for another's.
    pub fn of_key_issuer(organisation: &str, key_id: &str, generation: u32) -> Result<Self, PkiError> {
        Self::new(Some(organisation), &format!("Issuing {key_id} G{generation}"))
    }

    /// The name of an organisation's issuer, unique for each generation of its key.
    pub fn of_organisation_issuer(organisation: &str, generation: u32) -> Result<Self, PkiError> {
        Self::new(Some(organisation), &format!("Issuer G{generation}"))
    }

    /// Whether it has no parts at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_name(&self) -> &Name {
        &self.0
    }
}

impl From<Name> for DistinguishedName {
    fn from(name: Name) -> Self {
        Self(name)
    }
}

/// A DNS name or an IP address of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A DNS name, in lower case.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl SubjectAltName {
    /// An IP address where `host` is one, else a DNS name of letters, digits and hyphens (RFC 1034 §3.5).
    pub fn parse(host: &str) -> Result<Self, PkiError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        if is_dns_name(host) { Ok(Self::Dns(host.to_ascii_lowercase())) } else { Err(PkiError::Host(host.into())) }
    }

    /// The bare name or address as text.
    pub fn value(&self) -> String {
        match self {
            Self::Dns(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }

    pub(crate) fn general_name(&self) -> Result<GeneralName, PkiError> {
        match self {
            Self::Dns(name) => Ok(GeneralName::DnsName(Ia5String::new(name).map_err(PkiError::Encode)?)),
            Self::Ip(ip) => Ok(GeneralName::from(*ip)),
        }
    }

    /// The name of a request's extension, if it is of a kind and form that is taken over.
    pub(crate) fn from_general_name(name: &GeneralName) -> Result<Self, &'static str> {
        match name {
            GeneralName::DnsName(name) => {
                if is_dns_name(name.as_ref()) {
                    Ok(Self::Dns(AsRef::<str>::as_ref(name).to_ascii_lowercase()))
                } else {
                    Err("not a DNS name of letters, digits and hyphens")
                }
            }
            GeneralName::IpAddress(octets) => ip_of(octets).ok_or("IP address of neither 4 nor 16 octets"),
            _ => Err("only DNS names and IP addresses are accepted"),
        }
    }
}

fn ip_of(octets: &OctetString) -> Option<SubjectAltName> {
    let bytes = octets.as_bytes();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SubjectAltName::Ip(ip))
}

fn is_dns_name(host: &str) -> bool {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let names_an_ip = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (1..=253).contains(&host.len()) && host.split('.').all(label_ok) && !names_an_ip
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts as an administrator types them: each is one of the two kinds, or refused by name.
    #[test]
    fn hosts_are_sorted_into_addresses_and_names() {
        assert!(matches!(SubjectAltName::parse("::1"), Ok(SubjectAltName::Ip(_))));
        assert!(matches!(SubjectAltName::parse("[::1]"), Ok(SubjectAltName::Ip(_))));
        assert!(matches!(SubjectAltName::parse("192.0.2.1"), Ok(SubjectAltName::Ip(_))));
        assert!(matches!(SubjectAltName::parse("Key.Example"), Ok(SubjectAltName::Dns(name)) if name == "key.example"));
        for bad in ["", "300.1.1.1", "a..b", "-a", "a b", "*.example", "x/y", &"a".repeat(64)] {
            assert!(SubjectAltName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    /// A name that would mean something in RFC 4514 text stays one literal value.
    #[test]
    fn a_common_name_is_never_parsed() {
        let name = DistinguishedName::new(None, "mallory,O=admins+CN=root").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(name.as_name().len(), 1);
        assert!(DistinguishedName::new(None, "").is_err());
        assert!(DistinguishedName::new(None, &"x".repeat(65)).is_err());
    }
}
