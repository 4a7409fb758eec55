//! Relying parties: programs that let a client in, or refuse it, by what we publish and nothing else.
//!
//! Each gets files: trust anchors, CRLs, the client's chain and key. Each answers with a [`Verdict`]. [`source`] is where
//! certificates and lists come from (a PKI of the test's own, or a running gateway), [`walk`] goes through the states of a
//! provisioning key and says what every party must answer in each.

pub mod addresses;
pub mod gnutls;
pub mod haproxy;
pub mod nginx;
pub mod ocsp;
pub mod openssl;
pub mod own;
pub mod server;
pub mod source;
pub mod walk;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{pem, tools};

/// What a relying party is configured with.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Certificates of the trust anchors, PEM.
    pub anchors: String,
    /// Every CRL it knows, PEM.
    pub crls: String,
}

/// A client that wants to be let in.
#[derive(Clone)]
pub struct Device {
    /// Its certificates, PEM, leaf first, without the anchor.
    pub chain: String,
    /// Its private key, PEM.
    pub key: String,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Device {
    /// Its own certificate, DER.
    ///
    /// # Errors
    /// If the chain has none.
    pub fn leaf(&self) -> io::Result<Vec<u8>> {
        self.at(0)
    }

    /// The certificate of the CA that issued it, DER.
    ///
    /// # Errors
    /// If the chain has none.
    pub fn issuer(&self) -> io::Result<Vec<u8>> {
        self.at(1)
    }

    fn at(&self, index: usize) -> io::Result<Vec<u8>> {
        let chain = pem::certificates(&self.chain)?;
        let found = chain.get(index).ok_or_else(|| io::Error::other(format!("no certificate {index} in the chain")))?;
        Ok(found.to_vec())
    }
}

/// What a relying party decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client is let in.
    Accepted,
    /// It is not; in the party's own words.
    Refused(String),
}

impl Verdict {
    /// Whether the client is let in.
    #[must_use]
    pub fn accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }

    /// Whether the refusal says that something is revoked, rather than that a list is missing or a tool is broken.
    #[must_use]
    pub fn says_revoked(&self) -> bool {
        matches!(self, Self::Refused(why) if why.to_ascii_lowercase().contains("revoked"))
    }
}

/// A program that decides on clients.
pub trait RelyingParty {
    /// Its name, and in `KEYGATE_TEST_SKIP` the word that leaves it out.
    fn name(&self) -> &'static str;

    /// Decides on `device`. Files go to `folder`, which is the call's own.
    ///
    /// # Errors
    /// If the program is not installed or fails for a reason that is not the client's.
    fn judge(&self, folder: &Path, trust: &Trust, device: &Device) -> io::Result<Verdict>;
}

/// Every party that looks at the whole chain, without those left out by `KEYGATE_TEST_SKIP`.
#[must_use]
pub fn parties() -> Vec<Box<dyn RelyingParty>> {
    let all: Vec<Box<dyn RelyingParty>> = vec![
        Box::new(openssl::Verify::whole_chain()),
        Box::new(gnutls::Certtool),
        Box::new(nginx::Nginx),
        Box::new(haproxy::Haproxy),
    ];
    all.into_iter().filter(|party| !tools::skipped(party.name())).collect()
}

/// The files most parties read: `anchors.pem`, `crls.pem`, `chain.pem`, `leaf.pem`, `issuers.pem` (the chain without its leaf).
pub(crate) fn write_files(folder: &Path, trust: &Trust, device: &Device) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let blocks: Vec<String> =
        pem::certificates(&device.chain)?.iter().map(|der| pem::encode(pem::CERTIFICATE, der)).collect();
    let Some((leaf, issuers)) = blocks.split_first() else { return Err(io::Error::other("an empty chain")) };
    for (name, text) in [
        ("anchors.pem", &trust.anchors),
        ("crls.pem", &trust.crls),
        ("chain.pem", &device.chain),
        ("leaf.pem", leaf),
        ("issuers.pem", &issuers.concat()),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// The private key, for its owner only.
pub(crate) fn write_key(folder: &Path, device: &Device) -> io::Result<PathBuf> {
    let path = folder.join("device.key");
    tools::write_secret(&path, &device.key)?;
    Ok(path)
}

/// Runs a tool in `folder` with nothing to read; its failure is for the caller to judge.
pub(crate) fn run(program: &str, folder: &Path, arguments: &[&str]) -> io::Result<Output> {
    let path = tools::program(program)?;
    Command::new(path).args(arguments).current_dir(folder).stdin(Stdio::null()).output()
}

/// Both streams of a tool.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The first line that holds one of the words, else all of it.
pub(crate) fn line_with(text: &str, words: &[&str]) -> String {
    let found = text.lines().find(|line| words.iter().any(|word| line.to_ascii_lowercase().contains(word)));
    found.unwrap_or(text).trim().to_owned()
}
