//! Certificates for Keygate: profile -> checked request -> signed certificate, over a [`Signer`].
//!
//! What it does: builds the certificates of the gateway's own small hierarchy and of the one that provisioning keys stand
//! in (RFC 5280), checks PKCS#10 requests (RFC 2986), makes CRLs and OCSP answers (RFC 6960), reads and writes EST messages
//! (RFC 7030), keeps the states of provisioning keys, and reads from any certificate what the gateway identifies a client by:
//! issuer key, serial number, fingerprint, validity.
//!
//! What it leaves to others: where keys and certificates are kept, chain building at the TLS handshake (webpki), the
//! clock and the random source. Every function that needs the time takes it as an argument; serial numbers come from
//! the caller's [`SerialSource`]. No I/O.
//!
//! Known limits: RSA issuers sign with PKCS#1 v1.5 and SHA-256 only.

mod certificate;
mod crl;
mod error;
pub mod est;
mod extension;
mod hierarchy;
mod issue;
mod name;
mod name_pattern;
mod ocsp;
mod private_key;
mod profile;
pub mod provisioning;
mod public_key;
mod request;
mod signer;
mod verification;
mod weak_key;

pub use certificate::{Certificate, Fingerprint, SpkiHash};
pub use crl::{Crl, CrlScope, CrlTimes, NewCrl, Reason, ReasonError, RevokedList, SHARD_SERIALS_MAX, UnsignedCrl};
pub use error::{PkiError, RequestError};
pub use hierarchy::{
    CLIENT_DAYS_DEFAULT, Draft, HTTP_URL_BYTES_MAX, HttpUrl, ImportError, ImportedIssuer, Locations, NewRequest, Tier,
    UrlError, Window, rotation,
};
pub use issue::{Issuer, Order, SerialSource, SystemSerials, Unsigned};
pub use name::{COMMON_NAME_CHARS_MAX, DistinguishedName, NameListError, SubjectAltName};
pub use name_pattern::{NAME_PATTERN_CHARS_MAX, NamePattern, NamePatternError};
pub use ocsp::{
    CertId, IssuerIds, OCSP_CERTS_MAX, OCSP_REQUEST_BYTES_MAX, OcspFailure, OcspRequest, OcspRequestError,
    OcspResponder, OcspTimes, Status,
};
pub use private_key::{PRIVATE_KEY_BYTES_MAX, PrivateKey};
pub use profile::{Days, Profile};
pub use public_key::{KeyFault, KeyType, PublicKey};
pub use request::{CSR_BYTES_MAX, CertificateRequest, CheckedRequest, REQUEST_NAMES_MAX, RequestPolicy};
pub use signer::{SignatureAlgorithm, Signer, SignerError};
pub use time::OffsetDateTime;
pub use weak_key::{BLOCK_LIST_ENTRIES_MAX, BlockList, BlockListError, REQUEST_RSA_BITS_MAX, REQUEST_RSA_BITS_MIN};
