//! OCSP as foreign clients ask: `openssl ocsp` by POST, curl by GET (RFC 5019), `ocsptool`.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::addresses::addresses;
use super::{Device, Trust, line_with, printed, run, write_files};

/// What the responder says of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not revoked.
    Good,
    /// Revoked, with the reason as RFC 5280 spells it; empty where none is given.
    Revoked(String),
    /// Never issued.
    Unknown,
}

/// Asks with `openssl ocsp` at the address in the certificate, and has it verify the answer.
///
/// # Errors
/// If there is no verified answer.
pub fn openssl(folder: &Path, trust: &Trust, device: &Device) -> io::Result<Status> {
    let url = prepare(folder, trust, device)?;
    read_openssl(&run("openssl", folder, &[&OPENSSL[..], &["-url", &url]].concat())?)
}

/// Asks with curl by GET, the request in the path as RFC 5019 §5 has it, and has `openssl ocsp` verify the answer.
///
/// # Errors
/// If there is no verified answer.
pub fn get(folder: &Path, trust: &Trust, device: &Device) -> io::Result<Status> {
    let url = prepare(folder, trust, device)?;
    let made = run("openssl", folder, &[&OPENSSL[..], &["-reqout", "ocsp.req"]].concat())?;
    let request =
        fs::read(folder.join("ocsp.req")).map_err(|error| io::Error::other(format!("{error}: {}", printed(&made))))?;
    // RFC 5019 §5: "url-encoding of base-64 encoding of the DER encoding of the OCSPRequest".
    let path = STANDARD.encode(request).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let url = format!("{}/{path}", url.trim_end_matches('/'));
    let mut arguments =
        vec!["--silent", "--show-error", "--fail", "--max-time", "20", "--noproxy", "*", "--output", "ocsp.rsp"];
    arguments.extend(["--write-out", "%{content_type}", &url]);
    let fetched = run("curl", folder, &arguments)?;
    // RFC 6960 A.2: "The value of the Content-Type header MUST be application/ocsp-response".
    if !fetched.status.success() || printed(&fetched) != "application/ocsp-response" {
        return Err(io::Error::other(format!("GET {url}: {}", printed(&fetched))));
    }
    read_openssl(&run("openssl", folder, &[&OPENSSL[..], &["-respin", "ocsp.rsp"]].concat())?)
}

/// Asks with GnuTLS's `ocsptool`, and has it verify the answer.
///
/// # Errors
/// If there is no verified answer.
pub fn ocsptool(folder: &Path, trust: &Trust, device: &Device) -> io::Result<Status> {
    let url = prepare(folder, trust, device)?;
    // It looks for the responder's issuer among the certificates it trusts, not in the answer.
    let trusted = fs::read_to_string(folder.join("issuers.pem"))? + &trust.anchors;
    fs::write(folder.join("ocsp-trust.pem"), trusted)?;
    let ask = format!("--ask={url}");
    let mut arguments = vec![ask.as_str(), "--load-issuer", "issuer.pem", "--load-cert", "leaf.pem"];
    arguments.extend(["--load-trust", "ocsp-trust.pem", "--outfile", "ocsptool.rsp"]);
    let asked = run("ocsptool", folder, &arguments)?;
    let text = printed(&asked);
    if !text.contains("Verifying OCSP Response: Success") {
        return Err(io::Error::other(format!("ocsptool: {text}")));
    }
    // With an output file it writes the answer there; it is printed by a second call.
    let shown = run("ocsptool", folder, &["--response-info", "--infile", "ocsptool.rsp"])?;
    let text = text + &printed(&shown);
    // "Certificate Status: revoked", then "Revocation time: ...". It does not print the reason.
    match line_with(&text, &["certificate status:"]).rsplit(' ').next() {
        Some("good") => Ok(Status::Good),
        Some("revoked") => Ok(Status::Revoked(String::new())),
        Some("unknown") => Ok(Status::Unknown),
        _ => Err(io::Error::other(format!("ocsptool: {text}"))),
    }
}

/// A request for a client's certificate in DER, as `openssl ocsp` writes it with these flags.
///
/// # Errors
/// If OpenSSL is not installed, or cannot read the certificates: 3.0 knows no ML-DSA keys.
pub fn request(folder: &Path, device: &Device, flags: &[&str]) -> io::Result<Vec<u8>> {
    for (file, der) in [("issuer.pem", device.issuer()?), ("leaf.pem", device.leaf()?)] {
        fs::write(folder.join(file), crate::pem::encode(crate::pem::CERTIFICATE, &der))?;
    }
    let file = ["-issuer", "issuer.pem", "-cert", "leaf.pem", "-reqout", "request.der"];
    // Flags such as the digest apply to the certificates that follow them.
    let made = run("openssl", folder, &[&["ocsp"], flags, &file].concat())?;
    let read = fs::read(folder.join("request.der"));
    read.map_err(|error| io::Error::other(format!("{error}: {}", printed(&made))))
}

/// The request's nonce is left out, as clients with caches do; `verify_other` is where the responder's issuer is found.
const OPENSSL: [&str; 11] = [
    "ocsp",
    "-issuer",
    "issuer.pem",
    "-cert",
    "leaf.pem",
    "-CAfile",
    "anchors.pem",
    "-verify_other",
    "issuers.pem",
    "-no_nonce",
    "-text",
];

fn prepare(folder: &Path, trust: &Trust, device: &Device) -> io::Result<String> {
    write_files(folder, trust, device)?;
    fs::write(folder.join("issuer.pem"), crate::pem::encode(crate::pem::CERTIFICATE, &device.issuer()?))?;
    addresses(&device.leaf()?)?.ocsp.ok_or_else(|| io::Error::other("the certificate names no OCSP responder"))
}

fn read_openssl(output: &std::process::Output) -> io::Result<Status> {
    let text = printed(output);
    if !text.contains("Response verify OK") {
        return Err(io::Error::other(format!("openssl ocsp: {text}")));
    }
    let reason = text.lines().find_map(|line| line.trim().strip_prefix("Reason: ")).unwrap_or_default();
    match text.lines().find_map(|line| line.strip_prefix("leaf.pem: ")).map(str::trim) {
        Some("good") => Ok(Status::Good),
        Some("revoked") => Ok(Status::Revoked(reason.to_owned())),
        Some("unknown") => Ok(Status::Unknown),
        _ => Err(io::Error::other(format!("openssl ocsp: {text}"))),
    }
}
