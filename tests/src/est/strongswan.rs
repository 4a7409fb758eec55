//! EST with strongSwan's `pki`: verifies the issued certificate itself, wants the request in DER and the answer's base64 in
//! one line, and polls where it is told to wait.

use std::fs;
use std::io;
use std::path::Path;

use super::{Account, Server, write_device};
use crate::relying::{Device, printed, run};
use crate::{pem, tools};

/// `pki --estca`: the CA certificates, DER.
///
/// # Errors
/// If `pki` fails; what it printed is in the error.
pub fn cacerts(server: &Server, folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let out = folder.join("estca");
    // It numbers its files from the name given; those of an earlier call must not be read.
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out)?;
    let ca = server.ca.display().to_string();
    let mut arguments = vec!["--estca", "--url", &server.url, "--cacert", &ca, "--caout", "estca/ca.pem"];
    arguments.extend(["--outform", "pem"]);
    let output = run("pki", folder, &arguments)?;
    if !output.status.success() {
        return Err(io::Error::other(format!("pki --estca: {}", printed(&output))));
    }
    let mut certificates = Vec::new();
    for file in fs::read_dir(&out)? {
        let text = fs::read_to_string(file?.path())?;
        certificates.extend(pem::certificates(&text)?.iter().map(|certificate| certificate.to_vec()));
    }
    Ok(certificates)
}

/// `pki --est` with user and password: the certificate, DER. `cas` are what `pki` verifies it with, the root among them.
///
/// Told to wait, it polls for `poll_seconds` and then gives up.
///
/// # Errors
/// If `pki` fails; what it printed is in the error.
pub fn enrol(
    server: &Server,
    folder: &Path,
    cas: &[Vec<u8>],
    account: &Account,
    csr: &[u8],
    poll_seconds: u32,
) -> io::Result<Vec<u8>> {
    fs::create_dir_all(folder)?;
    // Its options may stand in a file, which keeps the password out of the list of processes.
    tools::write_secret(&folder.join("options"), &format!("--userpass {}:{}\n", account.id, account.secret))?;
    let poll = poll_seconds.to_string();
    est(server, folder, cas, csr, &["--interval", "1", "--maxpolltime", &poll, "--options", "options"])
}

/// `pki --est` with the certificate that is to be renewed.
///
/// # Errors
/// If `pki` fails; what it printed is in the error.
pub fn renew(server: &Server, folder: &Path, cas: &[Vec<u8>], device: &Device, csr: &[u8]) -> io::Result<Vec<u8>> {
    write_device(folder, device)?;
    // It reads the first certificate of the file only.
    fs::write(folder.join("device.pem"), pem::encode(pem::CERTIFICATE, &device.leaf()?))?;
    est(server, folder, cas, csr, &["--cert", "device.pem", "--key", "device.key", "--maxpolltime", "1"])
}

fn est(server: &Server, folder: &Path, cas: &[Vec<u8>], csr: &[u8], more: &[&str]) -> io::Result<Vec<u8>> {
    fs::write(folder.join("request.der"), csr)?;
    let tls = server.ca.display().to_string();
    let mut arguments =
        vec!["--est", "--url", &server.url, "--in", "request.der", "--outform", "pem", "--cacert", &tls];
    let files: Vec<String> = (0..cas.len()).map(|number| format!("ca-{number}.pem")).collect();
    for (file, ca) in files.iter().zip(cas) {
        fs::write(folder.join(file), pem::encode(pem::CERTIFICATE, ca))?;
        arguments.extend(["--cacert", file]);
    }
    arguments.extend(more);
    let output = run("pki", folder, &arguments)?;
    let issued = pem::certificates(&String::from_utf8_lossy(&output.stdout))?;
    match issued.first() {
        Some(certificate) if output.status.success() => Ok(certificate.to_vec()),
        _ => Err(io::Error::other(format!("pki --est: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}
