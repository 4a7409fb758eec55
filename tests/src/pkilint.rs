//! pkilint over everything we make: certificates, CRLs, OCSP responses.
//!
//! One Python process lints all files of a call (`tests/pkilint_many.py`), through the same command lines a person would type.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::gateway::workspace;
use crate::tools;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A CRL that lists CAs.
    Arl,
    /// A certificate.
    Cert,
    /// A CRL that lists clients.
    Crl,
    /// An OCSP response.
    Ocsp,
}

/// Something that pkilint finds at least worth a warning.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// `WARNING`, `ERROR` or `FATAL`.
    pub severity: String,
    /// Such as `pkix.subject_key_identifier_extension_absent`.
    pub code: String,
    /// More words, or none.
    pub message: String,
    /// Where in the file.
    pub node: String,
}

/// The findings of one file.
#[derive(Clone, Debug, Deserialize)]
pub struct Linted {
    /// The file.
    pub path: PathBuf,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A finding that we live with.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The finding's code.
    pub code: &'static str,
    /// Part of the file's name: where it is accepted and nowhere else.
    pub file: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The findings that are accepted, everywhere.
pub const ACCEPTED: &[Accepted] = &[Accepted {
    code: "pkix.invalid_domain_name_syntax",
    file: "ServerCertificate",
    reason: "clients on the same machine call the server `localhost`: RFC 1034 §3.5 allows a name of one label, pkilint does not",
}];

/// Lints files. Which of the findings are accepted is for [`unaccepted`].
///
/// # Errors
/// If pkilint does not run, or cannot load a file.
pub fn lint(files: &[(Kind, PathBuf)]) -> io::Result<Vec<Linted>> {
    let mut command = Command::new(tools::pkilint_python());
    command.arg(workspace().join("tests/pkilint_many.py"));
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = process.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
    let lines: String = files.iter().map(|(kind, path)| format!("{} {}\n", kind.word(), path.display())).collect();
    // Written beside the reading: an answer longer than a pipe must not stop both.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = process.wait_with_output()?;
    let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer failed")));
    if !output.status.success() {
        return Err(io::Error::other(format!("pkilint: {}", String::from_utf8_lossy(&output.stderr))));
    }
    written?;
    let linted: Vec<Linted> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).map_err(io::Error::other))
        .collect::<Result<_, _>>()?;
    if linted.len() != files.len() {
        return Err(io::Error::other(format!("{} of {} files were linted", linted.len(), files.len())));
    }
    Ok(linted)
}

/// The findings that no entry of the list accepts, one line each.
#[must_use]
pub fn unaccepted(linted: &[Linted], accepted: &[Accepted]) -> Vec<String> {
    let mut lines = Vec::new();
    for Linted { path, findings } in linted {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for finding in findings {
            if !accepted.iter().any(|accepted| accepted.code == finding.code && name.contains(accepted.file)) {
                let Finding { severity, code, message, node } = finding;
                lines.push(format!("{name}: {severity} {code} at {node} {message}"));
            }
        }
    }
    lines
}

/// The entries of the list that accept nothing: the list must not outlive its reasons.
#[must_use]
pub fn unused(linted: &[Linted], accepted: &[Accepted]) -> Vec<&'static str> {
    let used = |entry: &&Accepted| {
        linted.iter().any(|Linted { path, findings }| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains(entry.file) && findings.iter().any(|finding| finding.code == entry.code)
        })
    };
    accepted.iter().filter(|entry| !used(entry)).map(|entry| entry.code).collect()
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Arl => "arl",
            Self::Cert => "cert",
            Self::Crl => "crl",
            Self::Ocsp => "ocsp",
        }
    }
}
