//! What can go wrong while reading or making certificates, and who is at fault.

use crate::{public_key::KeyFault, signer::SignerError};

/// A certificate, key or name that cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The bytes are not what the caller says they are.
    #[error("not a {what} in DER")]
    Der {
        /// What was expected.
        what: &'static str,
        /// Where the reader stopped.
        #[source]
        source: der::Error,
    },
    /// The text holds no PEM block of the kind.
    #[error("no PEM block \"{label}\"")]
    NoPem {
        /// The label looked for.
        label: &'static str,
    },
    /// A common name that is empty or too long.
    #[error("common name must have 1 to {max} characters, it has {chars}")]
    CommonName {
        /// Characters given.
        chars: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A host that is neither an IP address nor a DNS name.
    #[error("\"{0}\" is neither an IP address nor a DNS name")]
    Host(String),
    /// A public key of a type or size that is not accepted.
    #[error("public key refused")]
    PublicKey(#[source] KeyFault),
    /// A private key that cannot be read, or is of another type.
    #[error("private key refused: {0}")]
    PrivateKey(&'static str),
    /// A validity that ends before it begins, or leaves the calendar.
    #[error("validity of {days} days is not possible here")]
    Validity {
        /// Days asked for.
        days: u32,
    },
    /// The issuer's certificate is not a CA certificate, or its key is another one.
    #[error("issuer refused: {0}")]
    Issuer(&'static str),
    /// The signing key failed.
    #[error("the issuer's key did not sign")]
    Signer(#[from] SignerError),
    /// The values could not be encoded.
    #[error("cannot encode the certificate")]
    Encode(#[source] der::Error),
    /// The random source failed.
    #[error("the random source failed")]
    Random,
}

/// Why a PKCS#10 request is refused. The requester is at fault in all of them.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Larger than [`crate::CSR_BYTES_MAX`].
    #[error("request of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Size given.
        bytes: usize,
        /// Size allowed.
        max: usize,
    },
    /// Neither PEM nor DER of a CertificationRequest.
    #[error("not a PKCS#10 certification request")]
    Malformed(#[source] der::Error),
    /// The key is of a type or size that is not accepted.
    #[error("public key refused")]
    PublicKey(#[source] KeyFault),
    /// The signature algorithm is unknown or does not fit the key.
    #[error("signature algorithm {0} is not accepted for this key")]
    SignatureAlgorithm(String),
    /// The signature does not verify: no proof of possession.
    #[error("the request's signature does not verify with its own key")]
    Signature,
    /// A subject alternative name that is not a DNS name or an IP address.
    #[error("subject alternative name refused: {0}")]
    SubjectAltName(&'static str),
}
