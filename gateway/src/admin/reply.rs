//! What is answered, and how a refusal is classed so that a script can act on it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::keys::KeysPage;
use crate::{api::LocalAnswer, backup::BackupSummary, audit::VerifyReport, authority::AuthorityError, export::ExportSummary, seal::SealError, store::CommitError};

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are named as they are shown")]
pub enum AdminReply {
    /// What the admin API answers, refusals included.
    Api(LocalAnswer),
    /// The audit chain was walked.
    Audit { segments: u64, events: u64, findings: Vec<String> },
    /// A backup was written.
    Backup(BackupSummary),
    /// Clients.
    Clients(Vec<ClientView>),
    /// Done, nothing to show.
    Done,
    /// Endpoints of clients.
    Endpoints(Vec<EndpointView>),
    /// Keys have left.
    Exported(ExportSummary),
    /// Grants.
    Grants(Vec<GrantView>),
    /// Groups.
    Groups(Vec<GroupView>),
    /// A certificate was issued or pinned.
    Issued(IssuedView),
    /// One managed object, attributes by name.
    Key(serde_json::Value),
    /// Managed objects.
    Keys(KeysPage),
    /// A grant was added.
    Made { id: String },
    /// A KMIP message as XML.
    Message { xml: String },
    /// The keyring was rotated.
    Rotated(RotatedView),
    /// A seal slot was added.
    Seal(SealView),
    /// Seal slots and keyring terms.
    SealStatus(SealStatusView),
    /// A share was taken, or all were forgotten.
    Unseal(UnsealView),
    /// KMIP users.
    Users(Vec<UserView>),
}

/// A certificate for a client, with what it needs to use it.
#[derive(Debug, Serialize, Deserialize)]
pub struct IssuedView {
    /// The client's id.
    pub client: String,
    /// The client's name.
    pub name: String,
    /// Leaf and intermediates in PEM.
    pub chain: String,
    /// What verifies every listener, in PEM.
    pub ca: String,
    /// End of the validity, RFC 3339.
    pub not_after: String,
}

/// A client as listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClientView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it may connect.
    pub enabled: bool,
    /// Keystore of its new keys, if it has one of its own.
    pub keystore: Option<String>,
    /// Its certificates.
    pub certificates: Vec<CertificateView>,
}

/// A certificate as listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct CertificateView {
    /// `issued`, `requested` or `pinned`.
    pub origin: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub sha256: String,
    /// End of the validity, RFC 3339.
    pub not_after: String,
    /// Whether the end has passed.
    pub expired: bool,
    /// Whether it is accepted no longer.
    pub revoked: bool,
}

/// Where a client listens, as listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndpointView {
    /// The client's name.
    pub client: String,
    /// Host and port.
    pub address: String,
    /// The KMIP version in which it is called.
    pub version: String,
    /// Whether new objects are sent to it.
    pub put: bool,
    /// Whether it is told of changed attributes.
    pub notify: bool,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages that it has taken since the start.
    pub sent: u64,
    /// Messages that it refused, that were given up, or that found no room since the start.
    pub failed: u64,
    /// Why the last try did not do, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A KMIP user as listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct UserView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it may be used.
    pub enabled: bool,
}

/// A group as listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct GroupView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Names of the member clients.
    pub members: Vec<String>,
}

/// A grant as listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantView {
    /// Its id.
    pub id: String,
    /// `object ID` or `owner NAME`.
    pub on: String,
    /// `client NAME` or `group NAME`.
    pub to: String,
    /// The operations.
    pub operations: Vec<String>,
}

/// The seal as shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct SealStatusView {
    /// How many slots have to open the store, 1 or 2.
    pub needed: u8,
    /// The slots.
    pub slots: Vec<SealView>,
    /// Keyring terms, oldest first; more than one while a rotation is not finished. None while the store is sealed.
    pub terms: Vec<u32>,
    /// What is missing, while the store is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

/// How far unsealing is.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnsealView {
    /// Whether the store opens now.
    pub open: bool,
    /// What was given and what is missing, in words.
    pub progress: String,
    /// Wrong shares and passphrases since the start.
    pub wrong: u64,
}

/// What a rotation did.
#[derive(Debug, Serialize, Deserialize)]
pub struct RotatedView {
    /// The newest term.
    pub term: u32,
    /// Whether an interrupted rotation was taken up again, and no term added.
    pub resumed: bool,
    /// Managed objects sealed again.
    pub objects: u64,
    /// Objects that do not open: they keep their term.
    pub refused: Vec<String>,
    /// Whether all older terms are gone.
    pub done: bool,
}

/// A seal slot as listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct SealView {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Key file path, `--with-key` value, token, k of n.
    pub detail: String,
    /// When it was made, RFC 3339.
    pub made: Option<String>,
    /// Whether it has opened since the start, or was made since.
    pub shown: bool,
    /// What the operator should know.
    pub warning: Option<String>,
    /// The shares of a slot that was just made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<SharesView>,
}

/// Shares on their way to those that are to keep them; wiped when dropped, and shown by no `Debug`.
#[derive(Serialize, Deserialize)]
pub struct SharesView {
    /// The slot.
    pub slot: String,
    /// How many open it.
    pub threshold: u8,
    texts: Vec<String>,
}

impl SharesView {
    /// By number, in clear or encrypted.
    pub(super) fn new(slot: String, threshold: u8, texts: Vec<String>) -> Self {
        Self { slot, threshold, texts }
    }

    /// The shares by number, in clear or encrypted.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.texts.len()
    }
}

impl std::fmt::Debug for SharesView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharesView")
    }
}

impl Drop for SharesView {
    fn drop(&mut self) {
        self.texts.zeroize();
    }
}

/// A refusal.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// What kind.
    pub class: ErrorClass,
    /// What happened, what the rule is; hints on lines of their own.
    pub message: String,
}

/// Kinds of refusal; each is an exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// It failed, or was refused.
    Failed,
    /// An argument is wrong.
    Usage,
    /// What is named is not there, or is there already.
    Name,
}

impl AdminError {
    /// A failure, with its causes.
    pub fn failed(error: impl std::error::Error) -> Self {
        Self { class: ErrorClass::Failed, message: chain(&error) }
    }

    /// A wrong argument.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Usage, message: message.into() }
    }

    /// A name that is not there, or is taken.
    pub fn name(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Name, message: message.into() }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl From<CommitError> for AdminError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::EntryTaken { .. } | CommitError::EntryMissing { .. } => Self::name(error.to_string()),
            other => Self::failed(other),
        }
    }
}

impl From<std::io::Error> for AdminError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}

impl From<AuthorityError> for AdminError {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Pki(error) => Self::usage(chain(&error)),
            other => Self::failed(other),
        }
    }
}

impl From<SealError> for AdminError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::UnknownSlot(_) | SealError::SameKeyFile(_) => Self::name(error.to_string()),
            SealError::Needed(_) | SealError::Sharing { .. } | SealError::Officer(_) | SealError::OfficerTwice(_) => Self::usage(error.to_string()),
            other => Self::failed(other),
        }
    }
}

impl From<VerifyReport> for AdminReply {
    fn from(report: VerifyReport) -> Self {
        Self::Audit {
            segments: report.segments,
            events: report.events,
            findings: report.findings.iter().map(ToString::to_string).collect(),
        }
    }
}
