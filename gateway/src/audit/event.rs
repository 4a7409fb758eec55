//! The closed, versioned catalogue of audit events. Never a secret: ids, names and outcomes only.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::store::{ClientId, EntryId, ObjectId, OrganisationId};

/// One thing that was done or refused.
///
/// Written as one line of JSON with short field names (a busy server writes tens of thousands a second); absent fields are left
/// out. The catalogue only grows: a field or variant keeps its meaning for ever, because old lines are still read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, milliseconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "t")]
    pub at_ms: i64,
    /// Who.
    #[serde(rename = "by")]
    pub actor: Actor,
    /// From which address.
    #[serde(rename = "from", default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// In which organisation.
    #[serde(rename = "org", default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationId>,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
    /// To which managed object.
    #[serde(rename = "obj", default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// With what outcome.
    #[serde(rename = "out")]
    pub outcome: Outcome,
    /// More, by kind.
    #[serde(rename = "x", default, skip_serializing_if = "Details::is_none")]
    pub details: Details,
}

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// An enrolled client, perhaps as one of its KMIP users.
    #[serde(rename = "c")]
    Client(ClientId),
    /// A KMIP user of a client.
    #[serde(rename = "cu")]
    ClientUser(ClientId, EntryId),
    /// A local process over the admin socket or the command line, by its user id.
    #[serde(rename = "uid")]
    LocalUser(u32),
    /// A security administrator, by its certificate.
    #[serde(rename = "a")]
    Admin(EntryId),
    /// Whoever showed the secret of a provisioning key.
    #[serde(rename = "pk")]
    ProvisioningKey(EntryId),
    /// The server itself.
    #[serde(rename = "sys")]
    System,
    /// A peer that could not be identified.
    #[serde(rename = "anon")]
    Unidentified,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    #[serde(rename = "ok")]
    Done,
    /// Answered with a failure; the KMIP result reason's code where one was sent.
    #[serde(rename = "no")]
    Refused(u32),
    /// Undone with the rest of its batch.
    #[serde(rename = "undone")]
    Undone,
    /// A device may or may not have done it; reconciled later.
    #[serde(rename = "unknown")]
    Unknown,
}

/// What is audited: the operations of KMIP, and what administrators and the server itself do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the KMIP operations carry the specification's names")]
pub enum Action {
    // KMIP 2.1 section 6.1, in its order.
    Activate,
    AddAttribute,
    AdjustAttribute,
    Archive,
    Cancel,
    Certify,
    Check,
    Create,
    CreateKeyPair,
    CreateSplitKey,
    Deactivate,
    Decrypt,
    DelegatedLogin,
    DeleteAttribute,
    DeriveKey,
    Destroy,
    DiscoverVersions,
    Encrypt,
    Export,
    Get,
    GetAttributeList,
    GetAttributes,
    GetConstraints,
    GetUsageAllocation,
    Hash,
    Import,
    Interop,
    JoinSplitKey,
    Locate,
    Log,
    Login,
    Logout,
    Mac,
    MacVerify,
    ModifyAttribute,
    Notify,
    Obliterate,
    ObtainLease,
    Ping,
    Pkcs11,
    Poll,
    Process,
    Put,
    Query,
    QueryAsynchronousRequests,
    Recertify,
    Recover,
    Register,
    ReKey,
    ReKeyKeyPair,
    ReProvision,
    Revoke,
    RngRetrieve,
    RngSeed,
    SetAttribute,
    SetConstraints,
    SetDefaults,
    SetEndpointRole,
    Sign,
    SignatureVerify,
    Validate,
    // Administration.
    ClientAdded,
    ClientChanged,
    ClientDisabled,
    ClientEnabled,
    ClientRemoved,
    CertificateAdded,
    CertificateRemoved,
    CertificateRenewed,
    UserAdded,
    UserChanged,
    UserRemoved,
    GroupAdded,
    GroupChanged,
    GroupRemoved,
    GrantAdded,
    GrantRemoved,
    ObjectOwnerChanged,
    KeystoreAdded,
    KeystoreChanged,
    KeystoreRemoved,
    KeystoreTested,
    KeystoreActivated,
    KeystoreDrained,
    KeystoreRetried,
    RehomeStarted,
    RehomeStopped,
    RehomeEnded,
    KeyRehomed,
    SettingChanged,
    SealSlotAdded,
    SealSlotRemoved,
    SealPolicyChanged,
    UnsealShareGiven,
    Unsealed,
    TermAdded,
    TermDropped,
    // The server itself.
    ConnectionRefused,
    Initialised,
    Started,
    Stopped,
    ReadsMayBeLost,
    StoreAccepted,
    ObjectDamaged,
    KeystoreReconciled,
    SealTokenLost,
    SealTokenBack,
    CachesFlushed,
    // Certificate provisioning.
    ServiceEnabled,
    ServiceDisabled,
    ProvisioningKeyCreated,
    ProvisioningKeyChanged,
    ProvisioningKeyRenamed,
    ProvisioningKeySuspended,
    ProvisioningKeyReactivated,
    ProvisioningKeyRevoked,
    IssuerCreated,
    IssuerRenewed,
    IssuerRekeyed,
    IssuerPublished,
    IssuerActivated,
    IssuerCrossSigned,
    IssuerImported,
    IssuerRevoked,
    IssuerKeyDestroyed,
    IssuerRemoved,
    CertificateIssued,
    CertificateRefused,
    CertificateRevoked,
    CertificatesCleared,
    CrlPublished,
    // Administrators and tenants.
    AdminAdded,
    /// A change of role or a further certificate, before these had kinds of their own; not written any more.
    AdminChanged,
    AdminCertificateAdded,
    AdminDisabled,
    AdminEnabled,
    AdminRefused,
    AdminRoleChanged,
    OrganisationAdded,
    // Users of the REST key server.
    RestUserAdded,
    RestUserChanged,
    RestUserDisabled,
    RestUserEnabled,
    RestUserRemoved,
    // Copies of keys that leave, and what comes back.
    BackupMade,
    StoreRestored,
    KeysExported,
    KeysImported,
}

/// What an event says beyond its fixed fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Details {
    /// Nothing.
    #[default]
    None,
    /// The directory entry concerned, and its name where it has one.
    Entry {
        /// Its id.
        id: EntryId,
        /// Its name.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
    },
    /// A grant: to whom, which operations.
    Grant {
        /// The grant.
        id: EntryId,
        /// The client or group it is for.
        grantee: EntryId,
        /// The operations.
        operations: Vec<String>,
    },
    /// An attribute by name, never its value.
    Attribute {
        /// The attribute's name.
        name: String,
    },
    /// A second object: the wrapping key of a Get, the private key of a pair.
    With {
        /// The other object.
        object: ObjectId,
    },
    /// Done with a ticket that another client showed: the actor delegated it.
    Ticket {
        /// The client that showed it.
        shown_by: ClientId,
    },
    /// Reads released since then may be missing from the record.
    Since {
        /// Milliseconds since 1970.
        at_ms: i64,
    },
    /// A store was accepted as it was found.
    Accepted {
        /// Its commit sequence.
        commit: u64,
        /// The commit sequence its anchor knew.
        anchor: u64,
        /// Rows that did not match the store's record.
        rows: Vec<String>,
    },
    /// A keyring term or seal slot.
    Seal {
        /// Its number or id.
        id: String,
    },
    /// A share, or with number 0 a passphrase, that was given to a sealed server.
    Share {
        /// The seal slot's id.
        slot: String,
        /// The share's number.
        number: u8,
        /// When, milliseconds since 1970: before the store was open.
        given_ms: i64,
    },
    /// A decision of an administrator about an entry, with the reason given.
    Decision {
        /// The entry.
        id: EntryId,
        /// Its name.
        name: String,
        /// The administrator's words.
        reason: String,
    },
    /// A keystore, and what was found or done.
    Keystore {
        /// The keystore.
        id: EntryId,
        /// Its name.
        name: String,
        /// In words from a fixed set, and names of settings; never their values.
        what: String,
    },
    /// Keys go from one keystore to another.
    Rehome {
        /// Where they were.
        from: EntryId,
        /// Where they are now.
        to: EntryId,
    },
    /// A certificate that a provisioning key issued, or refused to.
    Certificate {
        /// The provisioning key.
        key: EntryId,
        /// The client; absent where none came to be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<ClientId>,
        /// Serial number in hexadecimal; absent where none was issued.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        serial: String,
        /// Why it was refused or revoked.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// CRLs by their common number.
    Published {
        /// How many.
        lists: u64,
    },
    /// An administrator's role.
    Role {
        /// The administrator.
        id: EntryId,
        /// Its name.
        name: String,
        /// `security:read` or `security:write`.
        role: String,
    },
    /// A user of the REST key server: what was changed of it, and what it might and may do.
    RestUser {
        /// The user.
        id: EntryId,
        /// Its name.
        name: String,
        /// Names of the fields that were changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
        /// Its permissions before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<String>,
        /// Its permissions from now on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        after: Vec<String>,
    },
    /// Keys that left or came, or a backup: how many, in which format, for whom. Never their names.
    Transfer {
        /// `backup`, `zip-json`...
        format: String,
        /// How many keys.
        count: u64,
        /// Public keys, or `passphrase`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        recipients: Vec<String>,
    },
    /// A reason in words from a fixed set.
    Reason(String),
    /// So many times since the last such event.
    Counted {
        /// A reason in words from a fixed set.
        reason: String,
        /// How often.
        count: u64,
    },
}

impl Details {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl Event {
    /// An event of the server itself.
    pub fn system(at_ms: i64, action: Action, details: Details) -> Self {
        Self {
            at_ms,
            actor: Actor::System,
            source: None,
            organisation: None,
            action,
            object: None,
            outcome: Outcome::Done,
            details,
        }
    }
}

/// Appends the event as one line of JSON. An event always serialises: its maps have string keys and nothing in it can fail.
pub(crate) fn append_line(body: &mut Vec<u8>, event: &Event) {
    let start = body.len();
    if serde_json::to_writer(&mut *body, event).is_err() {
        body.truncate(start);
        body.extend_from_slice(b"{}");
    }
    body.push(b'\n');
}
