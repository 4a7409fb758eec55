//! PEM as tests need it: certificates and lists put into files for foreign tools, and taken out again (RFC 7468).

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

/// The label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a CRL.
pub const CRL: &str = "X509 CRL";

/// One PEM block, lines of 64 characters.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + &format!("-----END {label}-----\n")
}

/// The certificates of a text, in its order.
///
/// # Errors
/// If a block is not PEM.
pub fn certificates(text: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(io::Error::other)
}

/// The CRLs of a text, in its order.
///
/// # Errors
/// If a block is not PEM.
pub fn crls(text: &str) -> io::Result<Vec<CertificateRevocationListDer<'static>>> {
    CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(io::Error::other)
}
