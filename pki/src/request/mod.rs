//! PKCS#10 certification requests (RFC 2986), checked before anything is issued for them.
//!
//! Taken over from a request: the public key and checked subject alternative names. Everything else it asks for
//! (subject, key usage, constraints) is ignored: the profile decides. Only KMIP's Certify takes the subject as it is asked for.

mod extensions;
mod policy;

use const_oid::db::rfc4519::COMMON_NAME;
use der::{
    Decode,
    asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef},
};
use x509_cert::{name::Name, request::CertReq};

pub use extensions::REQUEST_NAMES_MAX;
pub use policy::{CheckedRequest, RequestPolicy};

use crate::{
    certificate::Certificate,
    error::{PkiError, RequestError},
    name::{DistinguishedName, SubjectAltName},
    public_key::PublicKey,
    verification::{self, Sha1, SignatureFault},
    weak_key,
};

/// Largest request that is read.
pub const CSR_BYTES_MAX: usize = 16 * 1024;

/// A request whose signature proves possession of its key.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    public_key: PublicKey,
    names: Vec<SubjectAltName>,
    common_name: Option<String>,
    subject: Name,
    asks_to_be_ca: bool,
}

impl CertificateRequest {
    /// Reads and checks a request in PEM or DER.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read(bytes, Sha1::Refused)
    }

    /// The same, and one that an RSA key signed by SHA-1 too. Such a signature still proves possession of the key to whoever sees that the
    /// request was made for this: it is for programs of long ago, where an administrator allows it.
    pub fn from_pem_or_der_of_old(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read(bytes, Sha1::Accepted)
    }

    fn read(bytes: &[u8], sha1: Sha1) -> Result<Self, RequestError> {
        if bytes.len() > CSR_BYTES_MAX {
            return Err(RequestError::TooLarge { bytes: bytes.len(), max: CSR_BYTES_MAX });
        }
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        if !is_pem {
            return Self::from_der(bytes, sha1);
        }
        // RFC 7468 §7: parsers "MAY treat" the older label NEW CERTIFICATE REQUEST as equivalent.
        let text = String::from_utf8_lossy(bytes).replace("NEW CERTIFICATE REQUEST", "CERTIFICATE REQUEST");
        let text = text.find("-----BEGIN ").map_or(text.as_str(), |start| &text[start..]);
        let (label, der) =
            der::pem::decode_vec(text.as_bytes()).map_err(|error| RequestError::Malformed(error.into()))?;
        if label != "CERTIFICATE REQUEST" {
            return Err(RequestError::Malformed(der::ErrorKind::Failed.into()));
        }
        Self::from_der(&der, sha1)
    }

    fn from_der(der: &[u8], sha1: Sha1) -> Result<Self, RequestError> {
        let request = CertReq::from_der(der).map_err(RequestError::Malformed)?;
        let signed = verification::first_part(der).map_err(RequestError::Malformed)?;
        let public_key = PublicKey::check(request.info.public_key.clone()).map_err(RequestError::PublicKey)?;
        let signature = request.signature.as_bytes().ok_or(RequestError::Signature)?;
        verification::verify_with(&public_key, &request.algorithm, signed, signature, sha1).map_err(|fault| match fault {
            SignatureFault::Algorithm(oid) => RequestError::SignatureAlgorithm(oid.to_string()),
            SignatureFault::Wrong => RequestError::Signature,
        })?;
        weak_key::check_requested(&public_key).map_err(RequestError::PublicKey)?;
        Ok(Self {
            names: extensions::names(&request.info.attributes)?,
            asks_to_be_ca: extensions::asks_to_be_ca(&request.info.attributes)?,
            common_name: common_name(&request.info.subject),
            subject: request.info.subject,
            public_key,
        })
    }

    /// What the holder of `certificate` would ask for to renew it as it is: same key, same names. The caller has seen proof that
    /// the key is possessed, such as a TLS connection authenticated with it; its strength is checked by today's rules.
    pub fn of_certificate(certificate: &Certificate) -> Result<Self, RequestError> {
        let public_key = certificate.public_key().map_err(|error| match error {
            PkiError::PublicKey(fault) => RequestError::PublicKey(fault),
            _ => RequestError::Malformed(der::ErrorKind::Failed.into()),
        })?;
        weak_key::check_requested(&public_key).map_err(RequestError::PublicKey)?;
        Ok(Self {
            names: certificate.subject_alt_names(),
            common_name: certificate.common_name(),
            subject: certificate.subject_name().clone(),
            asks_to_be_ca: false,
            public_key,
        })
    }

    /// Adds names that are asked for beside the request; those it has already are not repeated.
    pub fn with_names(mut self, names: &[SubjectAltName]) -> Result<Self, RequestError> {
        for name in names {
            if !self.names.contains(name) {
                self.names.push(name.clone());
            }
        }
        if self.names.len() > REQUEST_NAMES_MAX {
            return Err(RequestError::TooManyNames { names: self.names.len(), max: REQUEST_NAMES_MAX });
        }
        Ok(self)
    }

    /// The key that signed the request.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The DNS names and addresses asked for.
    pub fn names(&self) -> &[SubjectAltName] {
        &self.names
    }

    /// The whole subject asked for. Certificates of clients of ours never carry it: their names are made from checked parts.
    pub fn subject(&self) -> DistinguishedName {
        DistinguishedName::from(self.subject.clone())
    }

    /// The common name asked for: the last one of the subject.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

pub(crate) fn common_name(subject: &Name) -> Option<String> {
    let value = &subject.iter().filter(|attribute| attribute.oid == COMMON_NAME).last()?.value;
    // RFC 5280 §4.1.2.4: DirectoryString; BMPString and UniversalString are long out of use.
    let text = value
        .decode_as::<Utf8StringRef<'_>>()
        .map(|text| text.as_str().to_owned())
        .or_else(|_| value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned()))
        .or_else(|_| value.decode_as::<TeletexStringRef<'_>>().map(|text| text.as_str().to_owned()))
        .ok()?;
    Some(text).filter(|text| !text.is_empty())
}
