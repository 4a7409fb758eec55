//! The rival: `cfssl serve` of Debian's golang-cfssl, with TLS, with or without its sqlite certificate store.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use keygate_tests::relying::server::Server;
use keygate_tests::tools;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::load::Target;
use crate::sqlite;

/// A running server.
pub(crate) struct Cfssl {
    /// Ended before its folder goes.
    server: Server,
    ca: CertificateDer<'static>,
    _folder: TempDir,
}

/// What is asked of it: one certificate for the request in the JSON body.
pub(crate) const SIGN: &str = "/api/v1/cfssl/sign";

impl Cfssl {
    /// Starts one on a P-256 CA, below `folder`: the disk of its store is the one measured.
    pub(crate) fn start(folder: &Path, store: bool) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cfssl-").tempdir_in(folder)?;
        let path = folder.path();
        let ca = write_certificates(path)?;
        fs::write(path.join("config.json"), CONFIGURATION)?;
        let mut arguments = vec!["serve", "-address", "127.0.0.1", "-loglevel", "5", "-config", "config.json"];
        arguments.extend(["-ca", "ca.pem", "-ca-key", "ca.key", "-tls-cert", "server.pem", "-tls-key", "server.key"]);
        if store {
            sqlite::create(&path.join("certificates.sqlite"), SCHEMA)?;
            // Waiting for the lock is to its favour: without, it answers most requests with an error.
            let database = "file:certificates.sqlite?_busy_timeout=60000";
            fs::write(
                path.join("store.json"),
                format!("{{\"driver\": \"sqlite3\", \"data_source\": \"{database}\"}}"),
            )?;
            arguments.extend(["-db-config", "store.json"]);
        }
        let port_file = path.join("port");
        let command = || -> io::Result<Command> {
            let mut command = Command::new(tools::program("cfssl").map_err(install)?);
            command.args(&arguments).arg("-port").arg(fs::read_to_string(&port_file)?);
            Ok(command)
        };
        let server = Server::start(path, |port| fs::write(&port_file, port.to_string()), command)?;
        Ok(Self { server, ca, _folder: folder })
    }

    pub(crate) fn target(&self) -> io::Result<Target> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).map_err(io::Error::other)?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Target { address: self.server.address(), tls: Arc::new(tls), pid: self.server.pid() })
    }
}

fn install(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), "cfssl is not installed: run `tests/setup.sh bench`, or leave the row out with --only")
}

/// The CA it signs with, which also signs the certificate of its listener.
fn write_certificates(folder: &Path) -> io::Result<CertificateDer<'static>> {
    let make = || -> Result<_, rcgen::Error> {
        let (ca_key, server_key) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = ca_key.serialize_pem();
        let ca = CertifiedIssuer::self_signed(ca, ca_key)?;
        let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = server.signed_by(&server_key, &ca)?;
        Ok((ca.der().clone(), [ca.pem(), ca_pem, server.pem(), server_key.serialize_pem()]))
    };
    let (ca, pems) = make().map_err(io::Error::other)?;
    for (name, pem) in ["ca.pem", "ca.key", "server.pem", "server.key"].into_iter().zip(pems) {
        tools::write_secret(&folder.join(name), &pem)?;
    }
    Ok(ca)
}

/// A client certificate of a week, as ours.
const CONFIGURATION: &str =
    r#"{"signing": {"default": {"usages": ["digital signature", "client auth"], "expiry": "168h"}}}"#;

/// The tables that cfssl's own migrations make.
const SCHEMA: &std::ffi::CStr = c"CREATE TABLE certificates (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, \
    ca_label blob, status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL, \
    PRIMARY KEY(serial_number, authority_key_identifier)); \
    CREATE TABLE ocsp_responses (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, body blob NOT NULL, \
    expiry timestamp, PRIMARY KEY(serial_number, authority_key_identifier));";
