//! A certificate as read: the values the gateway identifies a client and watches an expiry by.

use std::fmt;

use aws_lc_rs::digest;
use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH},
};
use der::{Decode, DecodePem, Encode, EncodePem, pem::LineEnding};
use time::OffsetDateTime;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName as SubjectAltNames};

use crate::{error::PkiError, name::SubjectAltName};

mod authority;

/// SHA-256 over a SubjectPublicKeyInfo: the lasting name of an issuer's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpkiHash(pub [u8; 32]);

/// SHA-256 over a whole certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl SpkiHash {
    /// Hashes a SubjectPublicKeyInfo in DER.
    pub fn of(spki_der: &[u8]) -> Self {
        Self(sha256(spki_der))
    }
}

impl Fingerprint {
    /// Hashes a certificate in DER.
    pub fn of(certificate_der: &[u8]) -> Self {
        Self(sha256(certificate_der))
    }
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    out
}

macro_rules! shown_in_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
shown_in_hex!(SpkiHash, Fingerprint);

/// A parsed certificate and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    inner: x509_cert::Certificate,
    der: Vec<u8>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, serial {})", self.subject(), hex::encode(self.serial()))
    }
}

impl Certificate {
    /// Reads one certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        x509_cert::Certificate::from_der(der)
            .map(|inner| Self { inner, der: der.to_vec() })
            .map_err(|source| PkiError::Der { what: "certificate", source })
    }

    /// Reads one certificate in PEM or DER, as an administrator hands it over. Of several PEM blocks, the first.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, PkiError> {
        const LABEL: &str = "-----BEGIN CERTIFICATE-----";
        const END: &str = "-----END CERTIFICATE-----";
        let Ok(text) = std::str::from_utf8(bytes) else { return Self::from_der(bytes) };
        let Some(start) = text.find(LABEL) else {
            return if text.contains("-----BEGIN") {
                Err(PkiError::NoPem { label: "CERTIFICATE" })
            } else {
                Self::from_der(bytes)
            };
        };
        let block = text[start..].find(END).map_or(&text[start..], |end| &text[start..start + end + END.len()]);
        let inner = x509_cert::Certificate::from_pem(block.as_bytes())
            .map_err(|source| PkiError::Der { what: "certificate", source })?;
        let der = inner.to_der().map_err(PkiError::Encode)?;
        Ok(Self { inner, der })
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate in PEM.
    pub fn to_pem(&self) -> Result<String, PkiError> {
        self.inner.to_pem(LineEnding::LF).map_err(PkiError::Encode)
    }

    /// SHA-256 over the DER.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// The serial number's octets as encoded.
    pub fn serial(&self) -> &[u8] {
        self.inner.tbs_certificate().serial_number().as_bytes()
    }

    /// SHA-256 over the subject's SubjectPublicKeyInfo.
    pub fn spki_hash(&self) -> SpkiHash {
        // Encoding what was just decoded cannot fail; an empty hash input would match no key.
        SpkiHash::of(&self.inner.tbs_certificate().subject_public_key_info().to_der().unwrap_or_default())
    }

    /// Start of the validity.
    pub fn not_before(&self) -> OffsetDateTime {
        moment(self.inner.tbs_certificate().validity().not_before)
    }

    /// End of the validity.
    pub fn not_after(&self) -> OffsetDateTime {
        moment(self.inner.tbs_certificate().validity().not_after)
    }

    /// Whether `now` lies within the validity, both ends included (RFC 5280 §4.1.2.5).
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before() <= now && now <= self.not_after()
    }

    /// The subject as text. A label: nothing may be decided by it.
    pub fn subject(&self) -> String {
        self.inner.tbs_certificate().subject().to_string()
    }

    /// The last common name of the subject.
    pub fn common_name(&self) -> Option<String> {
        crate::request::common_name(self.inner.tbs_certificate().subject())
    }

    /// The issuer's name as text. A label: nothing may be decided by it.
    pub fn issuer(&self) -> String {
        self.inner.tbs_certificate().issuer().to_string()
    }

    /// The purposes of the extended key usage; `None` where the extension is absent, hence no purpose is excluded.
    pub fn extended_key_usage(&self) -> Option<Vec<ObjectIdentifier>> {
        match self.inner.tbs_certificate().get_extension::<ExtendedKeyUsage>() {
            Ok(found) => found.map(|(_, usage)| usage.0),
            Err(_) => Some(Vec::new()),
        }
    }

    /// Whether the extended key usage, if any, lets the certificate authenticate a TLS client.
    pub fn allows_client_auth(&self) -> bool {
        self.extended_key_usage().is_none_or(|purposes| {
            purposes.iter().any(|purpose| [ID_KP_CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE].contains(purpose))
        })
    }

    /// The DNS names and IP addresses of the subject alternative name; names of other kinds are left out.
    pub fn subject_alt_names(&self) -> Vec<SubjectAltName> {
        match self.inner.tbs_certificate().get_extension::<SubjectAltNames>() {
            Ok(Some((_, names))) => {
                names.0.iter().filter_map(|name| SubjectAltName::from_general_name(name).ok()).collect()
            }
            Ok(None) | Err(_) => Vec::new(),
        }
    }
}

fn moment(time: x509_cert::time::Time) -> OffsetDateTime {
    // Both ASN.1 types end with the year 9999, within the calendar of `time`; the far end stands for anything else.
    i64::try_from(time.to_unix_duration().as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
