//! EST with curl, and OpenSSL to read what comes back: what a shell script on a device does.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Account, Server, write_device};
use crate::relying::{Device, printed, run};
use crate::{pem, tools};

/// What the client shows.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// User and password.
    Account(&'a Account),
    /// A client certificate.
    Device(&'a Device),
    /// Neither.
    Nothing,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The seconds of `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.parse().ok()
    }

    /// The body as text, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The certificates of a certs-only answer, DER, as OpenSSL reads them.
    ///
    /// # Errors
    /// If the status is not 200, the content type is another, or OpenSSL does not read the body.
    pub fn certificates(&self, folder: &Path) -> io::Result<Vec<Vec<u8>>> {
        // RFC 7030 §4.2.3: "the HTTP content-type of "application/pkcs7-mime" with an smime-type parameter "certs-only"".
        let kind = self.header("content-type").unwrap_or_default();
        if self.status != 200 || !kind.starts_with("application/pkcs7-mime") {
            return Err(io::Error::other(format!("status {}, {kind}: {}", self.status, self.text())));
        }
        // Line breaks are allowed in base64 that is read.
        let text: Vec<u8> = self.body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
        fs::write(folder.join("answer.p7"), STANDARD.decode(text).map_err(io::Error::other)?)?;
        let read = run("openssl", folder, &["pkcs7", "-inform", "DER", "-in", "answer.p7", "-print_certs"])?;
        if !read.status.success() {
            return Err(io::Error::other(format!("openssl pkcs7: {}", printed(&read))));
        }
        let certificates = pem::certificates(&String::from_utf8_lossy(&read.stdout))?;
        Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
    }
}

/// `GET /.well-known/est/cacerts`.
///
/// # Errors
/// If there is no answer.
pub fn cacerts(server: &Server, folder: &Path) -> io::Result<Answer> {
    call(server, folder, "/.well-known/est/cacerts", Shown::Nothing, None)
}

/// `GET /.well-known/est/csrattrs`.
///
/// # Errors
/// If there is no answer.
pub fn csrattrs(server: &Server, folder: &Path, shown: Shown<'_>) -> io::Result<Answer> {
    call(server, folder, "/.well-known/est/csrattrs", shown, None)
}

/// `POST /.well-known/est/simpleenroll` with a request in DER.
///
/// # Errors
/// If there is no answer.
pub fn simpleenroll(server: &Server, folder: &Path, shown: Shown<'_>, csr: &[u8]) -> io::Result<Answer> {
    enrol(server, folder, "simpleenroll", shown, csr)
}

/// `POST /.well-known/est/simplereenroll` with a request in DER.
///
/// # Errors
/// If there is no answer.
pub fn simplereenroll(server: &Server, folder: &Path, shown: Shown<'_>, csr: &[u8]) -> io::Result<Answer> {
    enrol(server, folder, "simplereenroll", shown, csr)
}

/// `POST /.well-known/est/serverkeygen` with a request in DER.
///
/// # Errors
/// If there is no answer.
pub fn serverkeygen(server: &Server, folder: &Path, shown: Shown<'_>, csr: &[u8]) -> io::Result<Answer> {
    enrol(server, folder, "serverkeygen", shown, csr)
}

fn enrol(server: &Server, folder: &Path, what: &str, shown: Shown<'_>, csr: &[u8]) -> io::Result<Answer> {
    let body = STANDARD.encode(csr);
    call(server, folder, &format!("/.well-known/est/{what}"), shown, Some(("application/pkcs10", body.as_bytes())))
}

/// Any request to the server: GET, or POST with a content type and a body.
///
/// # Errors
/// If there is no answer, such as when the TLS handshake fails; curl's words are in the error.
pub fn call(
    server: &Server,
    folder: &Path,
    path: &str,
    shown: Shown<'_>,
    body: Option<(&str, &[u8])>,
) -> io::Result<Answer> {
    call_with(server, folder, path, shown, body, &[])
}

/// [`call`] with more request headers, such as `Authorization: Bearer ...`; they go to curl in a file too.
///
/// # Errors
/// As [`call`].
pub fn call_with(
    server: &Server,
    folder: &Path,
    path: &str,
    shown: Shown<'_>,
    body: Option<(&str, &[u8])>,
    headers: &[&str],
) -> io::Result<Answer> {
    call_as(server, folder, None, path, shown, body, headers)
}

/// [`call_with`] with a method of its own. Quotes in headers are to be escaped with a backslash: the file is read by curl.
///
/// # Errors
/// As [`call`].
pub fn call_as(
    server: &Server,
    folder: &Path,
    method: Option<&str>,
    path: &str,
    shown: Shown<'_>,
    body: Option<(&str, &[u8])>,
    headers: &[&str],
) -> io::Result<Answer> {
    fs::create_dir_all(folder)?;
    let mut options = format!("url = \"{}{path}\"\ncacert = \"{}\"\n", server.url, server.ca.display());
    if let Some(method) = method {
        options += &format!("request = \"{method}\"\n");
    }
    match shown {
        Shown::Account(account) => options += &format!("basic\nuser = \"{}:{}\"\n", account.id, account.secret),
        Shown::Device(device) => {
            write_device(folder, device)?;
            options += "cert = \"device.pem\"\nkey = \"device.key\"\n";
        }
        Shown::Nothing => {}
    }
    if let Some((kind, body)) = body {
        fs::write(folder.join("body"), body)?;
        options += &format!("header = \"Content-Type: {kind}\"\ndata-binary = \"@body\"\n");
    }
    for header in headers {
        options += &format!("header = \"{header}\"\n");
    }
    tools::write_secret(&folder.join("curl.conf"), &options)?;
    let mut arguments = vec!["--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--config", "curl.conf"];
    arguments.extend(["--dump-header", "headers", "--output", "answer", "--write-out", "%{http_code}"]);
    // curl leaves the file of an earlier answer where this one has no body.
    let _ = fs::remove_file(folder.join("answer"));
    let output = run("curl", folder, &arguments)?;
    if !output.status.success() {
        return Err(io::Error::other(format!("curl: {}", printed(&output).trim())));
    }
    let status = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(io::Error::other)?;
    let headers = fs::read_to_string(folder.join("headers"))?;
    let headers = headers.lines().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Ok(Answer { status, headers, body: fs::read(folder.join("answer")).unwrap_or_default() })
}
