//! PKCS#10 certification requests (RFC 2986), checked before anything is issued for them.
//!
//! Taken over from a request: the public key and checked subject alternative names. Everything else it asks for
//! (subject, key usage, constraints) is ignored: the profile decides.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::ID_CE_SUBJECT_ALT_NAME,
        rfc5912::{
            ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_EXTENSION_REQ, ID_RSASSA_PSS, ID_SHA_256, ID_SHA_384,
            ID_SHA_512, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
        },
        rfc8410::ID_ED_25519,
    },
};
use der::{Decode, Reader, Sequence, SliceReader};
use x509_cert::{
    AlgorithmIdentifier,
    ext::{Extension, pkix::SubjectAltName as SubjectAltNames},
    request::CertReq,
};

use crate::{
    error::RequestError,
    name::SubjectAltName,
    public_key::{KeyType, PublicKey},
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
        let (label, der) = der::pem::decode_vec(text.as_bytes()).map_err(|error| RequestError::Malformed(error.into()))?;
        if label != "CERTIFICATE REQUEST" {
            return Err(RequestError::Malformed(der::ErrorKind::Failed.into()));
        }
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let request = CertReq::from_der(der).map_err(RequestError::Malformed)?;
        let signed = signed_bytes(der).map_err(RequestError::Malformed)?;
        let public_key = PublicKey::check(request.info.public_key.clone()).map_err(RequestError::PublicKey)?;
        let algorithm = verification(public_key.key_type(), &request.algorithm)
            .ok_or_else(|| RequestError::SignatureAlgorithm(request.algorithm.oid.to_string()))?;
        let signature = request.signature.as_bytes().ok_or(RequestError::Signature)?;
        UnparsedPublicKey::new(algorithm, public_key.raw())
            .verify(signed, signature)
            .map_err(|_| RequestError::Signature)?;
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
                let names = SubjectAltNames::from_der(extension.extn_value.as_bytes()).map_err(RequestError::Malformed)?;
                for name in &names.0 {
                    list.push(SubjectAltName::from_general_name(name).map_err(RequestError::SubjectAltName)?);
                }
            }
        }
    }
    Ok(list)
}

/// RFC 4055 §3.1: `RSASSA-PSS-params`. A mask of another hash than the signature's fails to verify.
#[derive(Sequence)]
struct RsaPssHash {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifier>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt: Option<u32>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u32>,
}

fn verification(key: KeyType, algorithm: &AlgorithmIdentifier) -> Option<&'static dyn VerificationAlgorithm> {
    const SHA256: ObjectIdentifier = ECDSA_WITH_SHA_256;
    const SHA384: ObjectIdentifier = ECDSA_WITH_SHA_384;
    const SHA512: ObjectIdentifier = ECDSA_WITH_SHA_512;
    Some(match (key, algorithm.oid) {
        (KeyType::EcP256, SHA256) => &ECDSA_P256_SHA256_ASN1,
        (KeyType::EcP256, SHA384) => &ECDSA_P256_SHA384_ASN1,
        (KeyType::EcP256, SHA512) => &ECDSA_P256_SHA512_ASN1,
        (KeyType::EcP384, SHA256) => &ECDSA_P384_SHA256_ASN1,
        (KeyType::EcP384, SHA384) => &ECDSA_P384_SHA384_ASN1,
        (KeyType::EcP384, SHA512) => &ECDSA_P384_SHA512_ASN1,
        (KeyType::EcP521, SHA256) => &ECDSA_P521_SHA256_ASN1,
        (KeyType::EcP521, SHA384) => &ECDSA_P521_SHA384_ASN1,
        (KeyType::EcP521, SHA512) => &ECDSA_P521_SHA512_ASN1,
        (KeyType::Ed25519, ID_ED_25519) => &ED25519,
        (KeyType::Rsa, SHA_256_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA256,
        (KeyType::Rsa, SHA_384_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA384,
        (KeyType::Rsa, SHA_512_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA512,
        (KeyType::Rsa, ID_RSASSA_PSS) => {
            let parameters: RsaPssHash = algorithm.parameters.as_ref()?.decode_as().ok()?;
            // RFC 4055 §3.1: "the recommended value is the number of octets in the hash value"; no other is verified here.
            match (parameters.hash?.oid, parameters.salt?) {
                (ID_SHA_256, 32) => &RSA_PSS_2048_8192_SHA256,
                (ID_SHA_384, 48) => &RSA_PSS_2048_8192_SHA384,
                (ID_SHA_512, 64) => &RSA_PSS_2048_8192_SHA512,
                _ => return None,
            }
        }
        _ => return None,
    })
}
