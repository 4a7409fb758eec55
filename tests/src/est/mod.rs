//! EST clients from outside (RFC 7030): curl with OpenSSL, and strongSwan's `pki`.
//!
//! Each function takes the server, what the client shows, and a folder for its files. Secrets go to the clients in files that
//! only their owner can read, never in arguments.

pub mod csr;
pub mod curl;
pub mod strongswan;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::relying::{Device, printed, run};
use crate::{pem, tools};

/// An EST server as clients see it.
#[derive(Clone, Debug)]
pub struct Server {
    /// `https://localhost:PORT`, without a path. strongSwan compares the name with the server's certificate.
    pub url: String,
    /// PEM of what the server's certificate chains to.
    pub ca: PathBuf,
}

/// The provisioning key's pair that a client enrols with.
#[derive(Clone)]
pub struct Account {
    /// Its public id: the user name.
    pub id: String,
    /// The password.
    pub secret: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A key made by OpenSSL, and the request for a certificate.
#[derive(Clone)]
pub struct Request {
    /// The private key, PEM.
    pub key: String,
    /// The request, DER.
    pub csr: Vec<u8>,
}

impl Request {
    /// A P-256 key and a request with a common name and subject alternative names (`DNS:a,IP:192.0.2.1`, or empty).
    ///
    /// # Errors
    /// If OpenSSL is not installed or refuses.
    pub fn new(folder: &Path, common_name: &str, names: &str) -> io::Result<Self> {
        Self::with_key(folder, common_name, names, &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// The same with `openssl req` arguments that say how the key is made: `-newkey rsa:1024`.
    ///
    /// # Errors
    /// If OpenSSL is not installed or refuses.
    pub fn with_key(folder: &Path, common_name: &str, names: &str, key: &[&str]) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (subject, names) = (format!("/CN={common_name}"), format!("subjectAltName={names}"));
        let mut arguments =
            vec!["req", "-new", "-batch", "-nodes", "-subj", &subject, "-outform", "DER", "-out", "made.csr"];
        arguments.extend(["-keyout", "made.key"]);
        arguments.extend(key);
        if names != "subjectAltName=" {
            arguments.extend(["-addext", &names]);
        }
        let made = run("openssl", folder, &arguments)?;
        if !made.status.success() {
            return Err(io::Error::other(format!("openssl req: {}", printed(&made))));
        }
        Ok(Self { key: fs::read_to_string(folder.join("made.key"))?, csr: fs::read(folder.join("made.csr"))? })
    }

    /// A client that holds the key and a certificate, with the CAs of `/cacerts` between it and the root: those that are not
    /// self-signed, the issuer first.
    ///
    /// # Errors
    /// If no CA of the list issued it.
    pub fn device(&self, certificate: &[u8], cas: &[Vec<u8>]) -> io::Result<Device> {
        let mut chain = pem::encode(pem::CERTIFICATE, certificate);
        let mut wanted = Names::of(certificate)?.issuer;
        // Bounded by the list: each CA is used once.
        for _ in 0..cas.len() {
            let mut found: Option<(&[u8], Names)> = None;
            for ca in cas {
                let names = Names::of(ca)?;
                // Of several certificates of one CA, the newest.
                let newest = found.as_ref().is_none_or(|(_, other)| other.not_after <= names.not_after);
                if names.subject == wanted && names.issuer != names.subject && newest {
                    found = Some((ca, names));
                }
            }
            let Some((ca, names)) = found else { break };
            chain += &pem::encode(pem::CERTIFICATE, ca);
            wanted = names.issuer;
        }
        if pem::certificates(&chain)?.len() < 2 {
            return Err(io::Error::other("the CA list does not hold the issuer"));
        }
        Ok(Device { chain, key: self.key.clone() })
    }
}

struct Names {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    not_after: i64,
}

impl Names {
    fn of(der: &[u8]) -> io::Result<Self> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(io::Error::other)?;
        let (subject, issuer) = (certificate.subject().as_raw().to_vec(), certificate.issuer().as_raw().to_vec());
        Ok(Self { subject, issuer, not_after: certificate.validity().not_after.timestamp() })
    }
}

/// Writes a client's certificates and key as `device.pem` and `device.key`.
fn write_device(folder: &Path, device: &Device) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("device.pem"), &device.chain)?;
    tools::write_secret(&folder.join("device.key"), &device.key)
}
