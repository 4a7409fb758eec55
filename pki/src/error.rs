//! What can go wrong while reading or making certificates, and who is at fault.

use const_oid::ObjectIdentifier;
use time::OffsetDateTime;

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
    /// A signature of a kind that is not verified here, or not with this key.
    #[error("signature algorithm {0} is not accepted for this key")]
    SignatureAlgorithm(ObjectIdentifier),
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
    /// A moment before 1970 or after 9999.
    #[error("{0} is outside the calendar of certificates")]
    Time(OffsetDateTime),
    /// A serial number of no octets, of zero, or longer than RFC 5280 allows.
    #[error("serial number of {octets} octets is zero or longer than 20")]
    Serial {
        /// Octets of the INTEGER.
        octets: usize,
    },
    /// A list or window that ends before it begins.
    #[error("nextUpdate {next} is not after thisUpdate {this}")]
    Times {
        /// Start.
        this: OffsetDateTime,
        /// End.
        next: OffsetDateTime,
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
    /// The key of a CA: whoever shows it would be taken for the CA.
    #[error("the request is for the key of a CA")]
    CaKey,
    /// Client certificates are never CA certificates.
    #[error("the request asks for a CA certificate")]
    AsksToBeCa,
    /// The key is certified for another client already.
    #[error("the key is certified for another client")]
    KeyOfAnother,
    /// An extension asked for twice.
    #[error("extension {0} is asked for twice")]
    DuplicateExtension(ObjectIdentifier),
    /// An extension that the requester calls critical, and that no certificate here has.
    #[error("critical extension {0} is not known here")]
    UnknownCriticalExtension(ObjectIdentifier),
    /// More than one list of extensions.
    #[error("extensionRequest must have one value")]
    RepeatedAttribute,
    /// More names than [`crate::REQUEST_NAMES_MAX`].
    #[error("request has {names} subject alternative names, more than {max}")]
    TooManyNames {
        /// Names given.
        names: usize,
        /// Names allowed.
        max: usize,
    },
    /// A name that the provisioning key does not allow.
    #[error("name \"{name}\" does not match the allowed pattern \"{pattern}\"")]
    NameNotAllowed {
        /// The name asked for.
        name: String,
        /// The pattern it does not match.
        pattern: String,
    },
}
