//! What can be asked, as it goes over the admin socket: one JSON object a line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroize;

use crate::{age_file::Lock, api::LocalRequest, app::TokenName, config::PinSource, export::ExportFormat};

/// A request of an administrator.
#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the arguments of the commands they are named after")]
pub enum AdminRequest {
    /// A request to the admin API.
    Api(LocalRequest),
    /// Checks the audit chain.
    AuditVerify,
    /// A backup of the whole store; answered by a stream.
    Backup { lock: Lock },
    /// Forgets keys and rows that are kept in memory.
    CacheFlush,
    /// Enrols a client.
    ClientAdd { name: String, credential: NewCredential, keystore: Option<String> },
    /// Cuts a client off.
    ClientDisable { name: String },
    /// Lets a client in again.
    ClientEnable { name: String },
    /// Says where a client's new keys go; `None`: the server's default.
    ClientKeystore { name: String, keystore: Option<String> },
    /// All clients and their certificates.
    ClientList,
    /// Gives a client a further certificate.
    ClientRenew { name: String, credential: NewCredential },
    /// Where clients listen for what they are sent unasked, and how that goes.
    EndpointList,
    /// Asks a client's endpoint by Query.
    EndpointQuery { client: String, functions: Vec<String> },
    /// Asks a client's endpoint by Discover Versions.
    EndpointVersions { client: String },
    /// An export of an organisation's keys; answered by a stream.
    Export { organisation: Option<String>, format: ExportFormat },
    /// Grants operations to a client or group.
    GrantAdd { target: GrantTarget, to: String, operations: Vec<String> },
    /// All grants.
    GrantList,
    /// Withdraws a grant.
    GrantRemove { id: String },
    /// Makes a group, or adds members.
    GroupAdd { name: String, members: Vec<String> },
    /// All groups.
    GroupList,
    /// Removes members, or without any the group.
    GroupRemove { name: String, members: Vec<String> },
    /// Gives an object to another client.
    KeysChown { id: String, to: String },
    /// Managed objects, a page at a time.
    KeysList { owner: Option<String>, after: Option<String>, limit: u32 },
    /// One managed object's attributes.
    KeysShow { id: String },
    /// Adds a seal slot.
    SealAdd { slot: NewSealSlot },
    /// Says how many seal slots have to open; in base64 the passphrases of slots that have not opened since the start.
    SealPolicy { needed: u8, passphrases: Vec<Password> },
    /// Removes a seal slot.
    SealRemove { id: Uuid },
    /// Seals everything under a new keyring term.
    SealRotate,
    /// The seal slots and keyring terms.
    SealStatus,
    /// Gives a sealed server a share, as typed.
    Unseal { share: Password },
    /// Gives a sealed server the passphrase of a slot, in base64.
    UnsealPassphrase { passphrase: Password },
    /// Makes a sealed server forget what was given.
    UnsealReset,
    /// Adds a KMIP user, or gives one a new password.
    UserAdd { client: String, user: String, password: Password },
    /// KMIP users of a client.
    UserList { client: String },
    /// Removes a KMIP user.
    UserRemove { client: String, user: String },
}

impl AdminRequest {
    /// Whether the object layer must be open for it.
    pub fn is_about_objects(&self) -> bool {
        match self {
            // What changes may sign with keys in keystores.
            Self::Api(request) => request.method != "GET",
            _ => self.is_about_managed_objects(),
        }
    }

    /// Whether it is answered by a stream.
    pub fn is_streamed(&self) -> bool {
        matches!(self, Self::Backup { .. } | Self::Export { .. })
    }

    fn is_about_managed_objects(&self) -> bool {
        matches!(
            self,
            Self::CacheFlush
                | Self::Export { .. }
                | Self::KeysChown { .. }
                | Self::KeysList { .. }
                | Self::KeysShow { .. }
        )
    }
}

/// A seal slot to be made.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum NewSealSlot {
    /// A key file; a relative path is inside the data directory.
    Keyfile {
        /// Where it is, or is to be made.
        path: PathBuf,
    },
    /// A passphrase.
    Passphrase {
        /// In base64: it need not be text.
        passphrase: Password,
    },
    /// The system's own tool.
    SystemdCreds {
        /// `--with-key`.
        with_key: String,
    },
    /// A wrapping key to be made on a token.
    Pkcs11 {
        /// Path of the PKCS#11 module.
        module: PathBuf,
        /// The token.
        #[serde(flatten)]
        token: TokenName,
        /// Where the PIN comes from.
        pin: PinSource,
    },
    /// Shares of officers.
    Shamir {
        /// How many open it.
        threshold: u8,
        /// Who gets them.
        to: Recipients,
    },
}

/// Who gets the shares of a shamir slot.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipients {
    /// One for each of these age recipients, encrypted to it.
    Officers(Vec<String>),
    /// So many, in clear, for whoever sits at the terminal.
    Terminal(u8),
}

/// What a client is to be recognised by.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewCredential {
    /// A certificate for a key that the command has made: the private key never reaches the server.
    Issue {
        /// SubjectPublicKeyInfo, DER in base64.
        public_key: String,
        /// Days of validity.
        days: Option<u32>,
    },
    /// A certificate made elsewhere, taken as it is.
    Pin {
        /// PEM, or DER in base64.
        certificate: String,
    },
    /// A certificate for a PKCS#10 request.
    Request {
        /// PEM, or DER in base64.
        request: String,
        /// Days of validity.
        days: Option<u32>,
    },
}

/// What a grant is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantTarget {
    /// One managed object, by Unique Identifier.
    Object(String),
    /// All objects of a client.
    Owner(String),
}

/// A password on its way; wiped when dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
