//! PKCS#10 certification requests (RFC 2986), checked before anything is issued for them.
//!
//! Taken over from a request: the public key and checked subject alternative names. Everything else it asks for
//! (subject, key usage, constraints) is ignored: the profile decides.

use const_oid::db::{rfc5280::ID_CE_SUBJECT_ALT_NAME, rfc5912::ID_EXTENSION_REQ};
use der::{Decode, Reader, SliceReader};
use x509_cert::{
    ext::{Extension, pkix::SubjectAltName as SubjectAltNames},
    request::CertReq,
};

use crate::{
    error::RequestError,
    name::SubjectAltName,
    public_key::PublicKey,
    verification::{self, SignatureFault},
};

/// Largest request that is read.
pub const CSR_BYTES_MAX: usize = 16 * 1024;

/// A request whose signature proves possession of its key.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    public_key: PublicKey,
    names: Vec<SubjectAltName>,
    subject: String,
}

impl CertificateRequest {
    /// Reads and checks a request in PEM or DER.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > CSR_BYTES_MAX {
            return Err(RequestError::TooLarge { bytes: bytes.len(), max: CSR_BYTES_MAX });
        }
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        if !is_pem {
            return Self::from_der(bytes);
        }
        // RFC 7468 §7: parsers "MAY treat" the older label NEW CERTIFICATE REQUEST as equivalent.
        let text = String::from_utf8_lossy(bytes).replace("NEW CERTIFICATE REQUEST", "CERTIFICATE REQUEST");
        let text = text.find("-----BEGIN ").map_or(text.as_str(), |start| &text[start..]);
        let (label, der) =
            der::pem::decode_vec(text.as_bytes()).map_err(|error| RequestError::Malformed(error.into()))?;
        if label != "CERTIFICATE REQUEST" {
            return Err(RequestError::Malformed(der::ErrorKind::Failed.into()));
        }
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let request = CertReq::from_der(der).map_err(RequestError::Malformed)?;
        let signed = signed_bytes(der).map_err(RequestError::Malformed)?;
        let public_key = PublicKey::check(request.info.public_key.clone()).map_err(RequestError::PublicKey)?;
        let signature = request.signature.as_bytes().ok_or(RequestError::Signature)?;
        verification::verify(&public_key, &request.algorithm, signed, signature).map_err(|fault| match fault {
            SignatureFault::Algorithm(oid) => RequestError::SignatureAlgorithm(oid.to_string()),
            SignatureFault::Wrong => RequestError::Signature,
        })?;
        Ok(Self { names: names(&request)?, subject: request.info.subject.to_string(), public_key })
    }

    /// The key that signed the request.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The DNS names and addresses asked for.
    pub fn names(&self) -> &[SubjectAltName] {
        &self.names
    }

    /// The subject asked for, for messages only.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// The bytes of CertificationRequestInfo as they were sent: a signature is over these, not over a re-encoding.
fn signed_bytes(der: &[u8]) -> der::Result<&[u8]> {
    let mut outer = SliceReader::new(der)?;
    let header = der::Header::decode(&mut outer)?;
    header.tag().assert_eq(der::Tag::Sequence)?;
    outer.tlv_bytes()
}

fn names(request: &CertReq) -> Result<Vec<SubjectAltName>, RequestError> {
    let mut list = Vec::new();
    for attribute in request.info.attributes.iter().filter(|attribute| attribute.oid == ID_EXTENSION_REQ) {
        for value in attribute.values.iter() {
            let extensions: Vec<Extension> = value.decode_as().map_err(RequestError::Malformed)?;
            for extension in extensions.iter().filter(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME) {
                let names =
                    SubjectAltNames::from_der(extension.extn_value.as_bytes()).map_err(RequestError::Malformed)?;
                for name in &names.0 {
                    list.push(SubjectAltName::from_general_name(name).map_err(RequestError::SubjectAltName)?);
                }
            }
        }
    }
    Ok(list)
}
