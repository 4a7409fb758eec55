//! The addresses in a certificate, what they serve, and which list is newer: read with x509-parser, not with our own code.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::{printed, run};
use crate::pem;

/// What a certificate says about where to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// CRL distribution point.
    pub crl: Option<String>,
    /// OCSP responder.
    pub ocsp: Option<String>,
    /// The issuer's certificate.
    pub issuer: Option<String>,
}

/// Reads the addresses of a certificate in DER.
///
/// # Errors
/// If it is not a certificate.
pub fn addresses(der: &[u8]) -> io::Result<Addresses> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(io::Error::other)?;
    let mut found = Addresses::default();
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => {
                found.crl = points.iter().find_map(|point| match &point.distribution_point {
                    Some(DistributionPointName::FullName(names)) => names.iter().find_map(uri),
                    _ => None,
                });
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for description in &access.accessdescs {
                    let address = uri(&description.access_location);
                    match description.access_method.to_id_string().as_str() {
                        "1.3.6.1.5.5.7.48.1" => found.ocsp = address,
                        "1.3.6.1.5.5.7.48.2" => found.issuer = address,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn uri(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    }
}

/// The serial number of a certificate in DER, as lower-case hexadecimal digits.
///
/// # Errors
/// If it is not a certificate.
pub fn serial(der: &[u8]) -> io::Result<String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(io::Error::other)?;
    Ok(hex::encode(certificate.raw_serial()))
}

/// Fetches a URL with curl; a status other than 200 is an error.
///
/// # Errors
/// If there is no answer, or not 200.
pub fn fetch(folder: &Path, url: &str) -> io::Result<Vec<u8>> {
    let mut arguments = vec!["--silent", "--show-error", "--fail", "--max-time", "20", "--noproxy", "*"];
    arguments.extend(["--output", "fetched", url]);
    let output = run("curl", folder, &arguments)?;
    if !output.status.success() {
        return Err(io::Error::other(format!("GET {url}: {}", printed(&output))));
    }
    std::fs::read(folder.join("fetched"))
}

/// The CRLs that stand at the distribution points of a chain, PEM; the addresses are followed, nothing else is known.
///
/// # Errors
/// If a certificate names none, or nothing is there.
pub fn crls_of_chain(folder: &Path, chain: &str) -> io::Result<String> {
    let mut lists = String::new();
    for certificate in pem::certificates(chain)? {
        let url = addresses(&certificate)?.crl.ok_or_else(|| io::Error::other("a certificate names no CRL"))?;
        lists += &pem::encode(pem::CRL, &fetch(folder, &url)?);
    }
    Ok(lists)
}

/// The CRL numbers seen so far. RFC 5280 §5.2.3: "a monotonically increasing sequence number for a given CRL scope and CRL
/// issuer".
#[derive(Debug, Default)]
pub struct Numbers {
    seen: HashMap<Scope, Seen>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scope {
    issuer: Vec<u8>,
    /// The extension's value; empty for a list of everything.
    distribution_point: Vec<u8>,
}

#[derive(Debug)]
struct Seen {
    number: Vec<u8>,
    der: Vec<u8>,
}

impl Numbers {
    /// Takes note of lists in PEM.
    ///
    /// # Errors
    /// If a number went down, or stayed for another list.
    pub fn note(&mut self, lists: &str) -> io::Result<()> {
        for der in pem::crls(lists)? {
            let (_, list) = CertificateRevocationList::from_der(&der).map_err(io::Error::other)?;
            let number = list.crl_number().ok_or_else(|| io::Error::other("a CRL without number"))?.to_bytes_be();
            let point = list.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.28");
            let distribution_point = point.map(|extension| extension.value.to_vec()).unwrap_or_default();
            let scope = Scope { issuer: list.tbs_cert_list.issuer.as_raw().to_vec(), distribution_point };
            if let Some(Seen { number: old, der: same }) = self.seen.get(&scope) {
                // Big-endian without leading zeros: the longer one is the larger.
                let newer = (number.len(), number.as_slice()) > (old.len(), old.as_slice());
                let unchanged = same.as_slice() == &*der;
                if !(newer || unchanged) {
                    let issuer = list.issuer();
                    return Err(io::Error::other(format!("CRL number of {issuer}: {number:?} after {old:?}")));
                }
            }
            self.seen.insert(scope, Seen { number, der: der.to_vec() });
        }
        Ok(())
    }
}
