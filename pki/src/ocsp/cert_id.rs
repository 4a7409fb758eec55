//! Which certificate is asked about: RFC 6960 §4.1.1, `CertID`.

use aws_lc_rs::digest;
use const_oid::{
    ObjectIdentifier,
    db::rfc5912::{ID_SHA_1, ID_SHA_256},
};
use der::{
    Encode, Sequence,
    asn1::{Int, OctetString},
};
use x509_cert::AlgorithmIdentifier;

use crate::{certificate::Certificate, error::PkiError};

/// A certificate by its issuer's hashed name and key, and its serial number.
#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub struct CertId {
    hash_algorithm: AlgorithmIdentifier,
    issuer_name_hash: OctetString,
    issuer_key_hash: OctetString,
    serial_number: Int,
}

impl CertId {
    /// The serial number's octets, as [`Certificate::serial`] gives them.
    pub fn serial(&self) -> &[u8] {
        self.serial_number.as_bytes()
    }

    /// Whether the certificate asked about is one of this issuer's.
    pub fn is_of(&self, issuer: &IssuerIds) -> bool {
        let hashes = match self.hash_algorithm.oid {
            ID_SHA_1 => &issuer.sha1,
            ID_SHA_256 => &issuer.sha256,
            _ => return false,
        };
        self.issuer_name_hash.as_bytes() == hashes.name && self.issuer_key_hash.as_bytes() == hashes.key
    }

    /// The algorithm of the hashes.
    pub fn hash_algorithm(&self) -> ObjectIdentifier {
        self.hash_algorithm.oid
    }
}

/// What names an issuer in a [`CertId`], computed once for each issuer. All certificates of one key and name share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerIds {
    sha1: Hashes,
    sha256: Hashes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hashes {
    name: Vec<u8>,
    key: Vec<u8>,
}

impl IssuerIds {
    /// The names of the CA whose certificate this is. SHA-1 is what most clients send; nothing depends on its strength.
    pub fn of(issuer: &Certificate) -> Result<Self, PkiError> {
        // RFC 6960 §4.1.1: "issuerNameHash is the hash of the issuer's distinguished name
        // (DN)"; "issuerKeyHash is the hash of
        // the issuer's public key. The hash shall be calculated over the value (excluding tag and length) of the subject
        // public key field in the issuer's certificate."
        let name = issuer.subject_name().to_der().map_err(PkiError::Encode)?;
        let key = issuer.spki().subject_public_key.raw_bytes();
        let hashes = |algorithm| {
            let hash = |data: &[u8]| digest::digest(algorithm, data).as_ref().to_vec();
            Hashes { name: hash(&name), key: hash(key) }
        };
        Ok(Self { sha1: hashes(&digest::SHA1_FOR_LEGACY_USE_ONLY), sha256: hashes(&digest::SHA256) })
    }

    /// The hashes of the name and of the key by SHA-1: what most requests carry, to look the issuer up by.
    pub fn sha1(&self) -> (&[u8], &[u8]) {
        (&self.sha1.name, &self.sha1.key)
    }

    /// The hashes of the name and of the key by SHA-256.
    pub fn sha256(&self) -> (&[u8], &[u8]) {
        (&self.sha256.name, &self.sha256.key)
    }
}
