//! Certificate requests that must be refused, made with OpenSSL where it makes such, else by changing bytes.

use std::fs;
use std::io;
use std::path::Path;

use super::Request;
use crate::gateway::workspace;
use crate::relying::{printed, run};

/// A request whose signature is of other bytes: the last octet is changed.
///
/// # Errors
/// If OpenSSL is not installed.
pub fn bad_signature(folder: &Path) -> io::Result<Vec<u8>> {
    let mut csr = Request::new(folder, "device", "")?.csr;
    // The end of the DER of s: changed, it is another number and still DER.
    if let Some(last) = csr.last_mut() {
        *last ^= 1;
    }
    Ok(csr)
}

/// A request for a key of a kind that is refused: `openssl req` arguments.
///
/// # Errors
/// If OpenSSL is not installed or does not make such a key.
pub fn of_key(folder: &Path, key: &[&str]) -> io::Result<Vec<u8>> {
    Ok(Request::with_key(folder, "device", "", key)?.csr)
}

/// A weak or malformed request of the PKI's own tests, PEM as it stands there turned to DER.
///
/// # Errors
/// If there is none of that name.
pub fn fixture(name: &str) -> io::Result<Vec<u8>> {
    use rustls::pki_types::pem::PemObject as _;
    let path = workspace().join("pki/tests/requests").join(name).with_extension("csr");
    let bytes = fs::read(&path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    if bytes.starts_with(&[0x30]) {
        return Ok(bytes);
    }
    let request = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(&bytes).map_err(io::Error::other)?;
    Ok(request.to_vec())
}

/// A request for the public key of a certificate, without that key: signed by another.
///
/// # Errors
/// If OpenSSL is not installed or does not make it.
pub fn for_key_of(folder: &Path, certificate: &[u8]) -> io::Result<Vec<u8>> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("of.der"), certificate)?;
    let step = |arguments: &str| -> io::Result<Vec<u8>> {
        let output = run("openssl", folder, &arguments.split(' ').collect::<Vec<_>>())?;
        if output.status.success() { Ok(output.stdout) } else { Err(io::Error::other(printed(&output))) }
    };
    fs::write(folder.join("of.pub"), step("x509 -inform DER -in of.der -noout -pubkey")?)?;
    step("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.key")?;
    // `openssl req` has no such option; an unsigned request of `x509 -x509toreq` neither. The SubjectPublicKeyInfo is put in
    // place of the other's, which for two P-256 keys has the same length.
    let other = step("req -new -key other.key -subj /CN=device -outform DER")?;
    let wanted = step("pkey -pubin -in of.pub -outform DER")?;
    let replaced = step("pkey -in other.key -pubout -outform DER")?;
    let at = other.windows(replaced.len()).position(|part| part == replaced);
    match at {
        Some(at) if wanted.len() == replaced.len() => {
            let mut csr = other;
            csr[at..at + wanted.len()].copy_from_slice(&wanted);
            Ok(csr)
        }
        _ => Err(io::Error::other("the certificate's key is not P-256")),
    }
}

/// A request with extensions of an OpenSSL configuration: lines below `[ext]`.
///
/// # Errors
/// If OpenSSL is not installed or does not make it.
pub fn with_extensions(folder: &Path, lines: &str) -> io::Result<Vec<u8>> {
    fs::create_dir_all(folder)?;
    let configuration = format!(
        "[req]\ndistinguished_name = name\nreq_extensions = ext\nprompt = no\n[name]\nCN = device\n[ext]\n{lines}\n"
    );
    fs::write(folder.join("req.conf"), configuration)?;
    let arguments = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x.key -config req.conf -outform DER -out x.csr";
    let output = run("openssl", folder, &arguments.split(' ').collect::<Vec<_>>())?;
    if !output.status.success() {
        return Err(io::Error::other(printed(&output)));
    }
    fs::read(folder.join("x.csr"))
}

/// A request with two subjectAltName extensions.
///
/// # Errors
/// If OpenSSL is not installed or does not make it.
pub fn with_duplicate_extension(folder: &Path) -> io::Result<Vec<u8>> {
    // By name and by number, as OpenSSL drops one of two lines that begin alike: SEQUENCE { [2] "b.example" }.
    with_extensions(folder, "subjectAltName = DNS:a.example\n2.5.29.17 = DER:300b8209622e6578616d706c65")
}

/// A request with this many DNS names.
///
/// # Errors
/// If OpenSSL is not installed or does not make it.
pub fn with_names(folder: &Path, count: usize) -> io::Result<Vec<u8>> {
    let names: String = (0..count).map(|number| format!("DNS.{number} = d{number}.example\n")).collect();
    with_extensions(folder, &format!("subjectAltName = @names\n[names]\n{names}"))
}
