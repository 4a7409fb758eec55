//! The messages of EST (RFC 7030, corrected by RFC 8951): bodies, certs-only answers, CSR attributes.
//!
//! What it leaves to others: HTTP, who may enrol, the multipart answer of server-side key generation.

mod body;
mod certs_only;
mod csr_attributes;

pub use body::{EST_BODY_BYTES_MAX, decode_body, encode_body};
pub use certs_only::{CERTS_ONLY_MAX, certs_only, parse_certs_only};
pub use csr_attributes::{CsrAttribute, csr_attributes, parse_csr_attributes};

/// Why an EST message cannot be read. The peer is at fault in all of them.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// Larger than the limit.
    #[error("body of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Size given.
        bytes: usize,
        /// Size allowed.
        max: usize,
    },
    /// Neither base64 nor DER.
    #[error("body is neither base64 nor DER")]
    NotBase64,
    /// Not the structure that was expected.
    #[error("not a {what}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// Where the reader stopped.
        #[source]
        source: der::Error,
    },
    /// A message of another kind, or with more than may be in it.
    #[error("not a certs-only message: {0}")]
    NotCertsOnly(&'static str),
}
