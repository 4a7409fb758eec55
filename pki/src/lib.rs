//! Certificates for Keygate: profile -> checked request -> signed certificate, over a [`Signer`].
//!
//! What it does: builds the certificates of the gateway's own small hierarchy (RFC 5280), checks PKCS#10 requests
//! (RFC 2986), and reads from any certificate what the gateway identifies a client by: issuer key, serial number,
//! fingerprint, validity.
//!
//! What it leaves to others: where keys and certificates are kept, chain building at the TLS handshake (webpki), the
//! clock and the random source. Every function that needs the time takes it as an argument; serial numbers come from
//! the caller's [`SerialSource`]. No I/O.
//!
//! Known limits: no CRLs and no OCSP yet; issuers sign with ECDSA P-256 or P-384.

mod certificate;
mod error;
mod issue;
mod name;
mod profile;
mod public_key;
mod request;
mod signer;

pub use certificate::{Certificate, Fingerprint, SpkiHash};
pub use error::{PkiError, RequestError};
pub use issue::{Issuer, Order, SerialSource, SystemSerials, Unsigned};
pub use name::{COMMON_NAME_CHARS_MAX, DistinguishedName, SubjectAltName};
pub use profile::{Days, Profile};
pub use public_key::{KeyType, PublicKey};
pub use request::{CSR_BYTES_MAX, CertificateRequest};
pub use signer::{PrivateKey, Signer, SignerError, SignatureAlgorithm};
pub use time::OffsetDateTime;
