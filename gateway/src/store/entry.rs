//! Small rows: clients, certificates, users, groups, grants, keystores, intents, settings, and those of `pki_rows` and `issued`.
//!
//! All live in one table, `entry(kind, id, version, sealed)`, whole row sealed: names, certificates and password hashes are not
//! readable in the database, and no row can be edited, moved or replaced by an older one (it would re-enable a disabled client).
//! They are few, so the store keeps them open in memory, values of settings in secret pages; [`Directory`] is
//! that snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::issued::IssuedCertificate;
use super::keystore_rows::{KeystoreEntry, Rehoming};
use super::pki_rows::{Admin, Authority, LastCrl, Organisation, ProvisioningKey, ProvisioningService};
use super::rest_users::RestUser;
use super::{ClientId, EntryId, KeystoreId, ObjectId, OrganisationId};
use crate::seal::SecretText;

/// What an entry is; the code is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum EntryKind {
    /// [`Client`]
    Client = 1,
    /// [`ClientCertificate`]
    Certificate = 2,
    /// [`ClientUser`]
    User = 3,
    /// [`ClientGroup`]
    Group = 4,
    /// [`GroupMember`]
    Member = 5,
    /// [`Grant`]
    Grant = 6,
    /// [`KeystoreEntry`]
    Keystore = 7,
    /// [`Intent`]
    Intent = 8,
    /// [`Setting`]
    Setting = 9,
    /// [`Organisation`]
    Organisation = 10,
    /// [`ProvisioningService`]
    Service = 11,
    /// [`ProvisioningKey`]
    ProvisioningKey = 12,
    /// [`Authority`]
    Authority = 13,
    /// [`IssuedCertificate`]: kept in the index of issued certificates, not in memory as a whole.
    Issued = 14,
    /// [`Admin`]
    Admin = 15,
    /// [`LastCrl`]
    LastCrl = 16,
    /// [`RestUser`]
    RestUser = 20,
    /// [`Rehoming`]
    Rehoming = 17,
}

impl EntryKind {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        use EntryKind::*;
        let entries = [Client, Certificate, User, Group, Member, Grant, Keystore, Intent, Setting];
        let provisioning = [Organisation, Service, ProvisioningKey, Authority, Issued, Admin, LastCrl, Rehoming, RestUser];
        entries.into_iter().chain(provisioning).find(|kind| *kind as u8 == code)
    }
}

/// A client: what a certificate identifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// A label; unique in the organisation, never used to identify a caller.
    pub name: String,
    /// Refused everything while true.
    pub disabled: bool,
    /// May use the admin protocols.
    #[serde(default)]
    pub admin: bool,
    /// Where its new keys go, unless the request says otherwise.
    #[serde(default)]
    pub keystore: Option<KeystoreId>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// How a certificate came to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateOrigin {
    /// Key and certificate made by us.
    Issued,
    /// Issued by us for the client's own request.
    Requested,
    /// Made elsewhere and pinned by its SHA-256.
    Pinned,
}

/// A certificate of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Whose it is.
    pub client: ClientId,
    /// SHA-256 of the certificate's DER; unique in the store.
    pub sha256: [u8; 32],
    /// SHA-256 of the issuer's SubjectPublicKeyInfo; absent for pinned certificates.
    pub issuer_key_sha256: Option<[u8; 32]>,
    /// Serial number, DER contents without leading zeros.
    pub serial: Vec<u8>,
    /// How it came here.
    pub origin: CertificateOrigin,
    /// notBefore, seconds since 1970.
    pub not_before: i64,
    /// notAfter, seconds since 1970.
    pub not_after: i64,
    /// The certificate it renews.
    #[serde(default)]
    pub renews: Option<EntryId>,
    /// No longer accepted.
    #[serde(default)]
    pub revoked: bool,
}

/// A KMIP user (Credential, Username and Password) of a client.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientUser {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Whose user.
    pub client: ClientId,
    /// Unique within the client.
    pub name: String,
    /// Hash in PHC string format, which names its algorithm and cost.
    pub password_hash: String,
    /// Refused while true.
    #[serde(default)]
    pub disabled: bool,
}

/// A group of clients, to grant to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientGroup {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Unique in the organisation.
    pub name: String,
}

/// A client's membership in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// The group.
    pub group: EntryId,
    /// The member.
    pub client: ClientId,
}

/// What a grant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrantScope {
    /// One object.
    Object(ObjectId),
    /// Every object of an owner.
    Owner(ClientId),
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Grantee {
    /// A client.
    Client(ClientId),
    /// Every member of a group.
    Group(EntryId),
}

/// Permission for others than the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// On what.
    pub scope: GrantScope,
    /// To whom.
    pub grantee: Grantee,
    /// Operation names, as authorisation spells them.
    pub operations: Vec<String>,
}

/// What a device was about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntentAction {
    /// Make keys.
    Create,
    /// Destroy keys.
    Destroy,
}

/// Written before a device acts, removed with the result; what is left at start is reconciled with the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// The device.
    pub keystore: KeystoreId,
    /// What it was to do.
    pub action: IntentAction,
    /// The managed objects concerned.
    pub objects: Vec<ObjectId>,
    /// Stable references of the keys (for PKCS#11 the random CKA_ID).
    pub locators: Vec<Vec<u8>>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// A named value that must survive: issuer serial counters, CA material, versions of things.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Unique in the organisation.
    pub name: String,
    /// Its value, which may be secret.
    pub value: SecretText,
}

/// Any entry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant carries the type it is named after")]
pub enum Entry {
    Client(Client),
    Certificate(ClientCertificate),
    User(ClientUser),
    Group(ClientGroup),
    Member(GroupMember),
    Grant(Grant),
    Keystore(KeystoreEntry),
    Intent(Intent),
    Setting(Setting),
    Organisation(Organisation),
    Service(ProvisioningService),
    ProvisioningKey(ProvisioningKey),
    Authority(Authority),
    Issued(IssuedCertificate),
    Admin(Admin),
    LastCrl(LastCrl),
    RestUser(RestUser),
    Rehoming(Rehoming),
}

impl std::fmt::Debug for Entry {
    /// Kind and id only: settings may hold secrets and users hold password hashes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({:?} {})", self.kind(), self.id())
    }
}

impl std::fmt::Debug for ClientUser {
    /// Without the password's hash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientUser({} {:?})", self.id, self.name)
    }
}

impl std::fmt::Debug for Setting {
    /// Without the value, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Setting({} {:?})", self.id, self.name)
    }
}

impl Entry {
    /// Its kind.
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Client(_) => EntryKind::Client,
            Self::Certificate(_) => EntryKind::Certificate,
            Self::User(_) => EntryKind::User,
            Self::Group(_) => EntryKind::Group,
            Self::Member(_) => EntryKind::Member,
            Self::Grant(_) => EntryKind::Grant,
            Self::Keystore(_) => EntryKind::Keystore,
            Self::Intent(_) => EntryKind::Intent,
            Self::Setting(_) => EntryKind::Setting,
            Self::Organisation(_) => EntryKind::Organisation,
            Self::Service(_) => EntryKind::Service,
            Self::ProvisioningKey(_) => EntryKind::ProvisioningKey,
            Self::Authority(_) => EntryKind::Authority,
            Self::Issued(_) => EntryKind::Issued,
            Self::Admin(_) => EntryKind::Admin,
            Self::LastCrl(_) => EntryKind::LastCrl,
            Self::RestUser(_) => EntryKind::RestUser,
            Self::Rehoming(_) => EntryKind::Rehoming,
        }
    }

    /// Its id.
    pub fn id(&self) -> EntryId {
        match self {
            Self::Client(entry) => entry.id.into(),
            Self::Certificate(entry) => entry.id,
            Self::User(entry) => entry.id,
            Self::Group(entry) => entry.id,
            Self::Member(entry) => entry.id,
            Self::Grant(entry) => entry.id,
            Self::Keystore(entry) => entry.id.into(),
            Self::Intent(entry) => entry.id,
            Self::Setting(entry) => entry.id,
            Self::Organisation(entry) => entry.id.into(),
            Self::Service(entry) => entry.id,
            Self::ProvisioningKey(entry) => entry.id,
            Self::Authority(entry) => entry.id,
            Self::Issued(entry) => entry.id,
            Self::Admin(entry) => entry.id,
            Self::LastCrl(entry) => entry.id,
            Self::RestUser(entry) => entry.id,
            Self::Rehoming(entry) => entry.id,
        }
    }

    /// Its tenant.
    pub fn organisation(&self) -> OrganisationId {
        match self {
            Self::Client(entry) => entry.organisation,
            Self::Certificate(entry) => entry.organisation,
            Self::User(entry) => entry.organisation,
            Self::Group(entry) => entry.organisation,
            Self::Member(entry) => entry.organisation,
            Self::Grant(entry) => entry.organisation,
            Self::Keystore(entry) => entry.organisation,
            Self::Intent(entry) => entry.organisation,
            Self::Setting(entry) => entry.organisation,
            Self::Organisation(entry) => entry.id,
            Self::Service(entry) => entry.organisation,
            Self::ProvisioningKey(entry) => entry.organisation,
            Self::Authority(entry) => entry.organisation,
            Self::Issued(entry) => entry.organisation,
            Self::Admin(entry) => entry.organisation,
            Self::LastCrl(entry) => entry.organisation,
            Self::RestUser(entry) => entry.organisation,
            Self::Rehoming(entry) => entry.organisation,
        }
    }

    /// What must be unique among entries of its kind.
    pub(crate) fn unique_keys(&self) -> impl Iterator<Item = UniqueKey> {
        let nil = uuid::Uuid::nil();
        let key = |scope: uuid::Uuid, name: &[u8]| [Some((self.kind(), scope, name.to_vec())), None];
        let keys = match self {
            Self::Client(entry) => key(entry.organisation.0, entry.name.as_bytes()),
            Self::Certificate(entry) => key(nil, &entry.sha256),
            Self::User(entry) => key(entry.client.0, entry.name.as_bytes()),
            Self::Group(entry) => key(entry.organisation.0, entry.name.as_bytes()),
            Self::Member(entry) => key(entry.group.0, entry.client.as_bytes()),
            Self::Keystore(entry) => key(entry.organisation.0, entry.name.as_bytes()),
            Self::Setting(entry) => key(entry.organisation.0, entry.name.as_bytes()),
            Self::Organisation(entry) => key(nil, entry.name.to_lowercase().as_bytes()),
            Self::Service(entry) => key(entry.organisation.0, &[]),
            Self::ProvisioningKey(entry) => {
                let [name, _] = key(entry.organisation.0, entry.name.to_lowercase().as_bytes());
                let [id, _] = key(nil, entry.key_id.as_bytes());
                [name, id]
            }
            Self::Authority(entry) => {
                let scope = entry.provisioning_key.map_or(entry.organisation.0, |key| key.0);
                key(scope, &[&[entry.tier as u8][..], &entry.generation.to_be_bytes()].concat())
            }
            Self::Admin(entry) => key(nil, entry.name.to_lowercase().as_bytes()),
            Self::LastCrl(entry) => key(entry.authority.0, format!("{:?}", entry.shard).as_bytes()),
            Self::RestUser(entry) => key(nil, entry.name.to_lowercase().as_bytes()),
            Self::Rehoming(entry) => key(entry.from.0, entry.to.as_bytes()),
            // The index of issued certificates sees to theirs.
            Self::Grant(_) | Self::Intent(_) | Self::Issued(_) => [None, None],
        };
        keys.into_iter().flatten()
    }
}

pub(crate) type UniqueKey = (EntryKind, uuid::Uuid, Vec<u8>);

/// An entry with the version of its row, which a change of it names: see [`super::Change::Expect`].
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    /// The commit that wrote it.
    pub version: u64,
    /// The entry.
    pub entry: Arc<T>,
}

impl<T> std::ops::Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entry
    }
}

/// All entries but intents, moves of keys and issued certificates, as of one commit. Cheap to clone and to keep.
#[derive(Clone, Default)]
pub struct Directory {
    /// Commit sequence of the newest change in it.
    pub changed_at: u64,
    /// Clients by id.
    pub clients: BTreeMap<ClientId, Arc<Client>>,
    /// Certificates.
    pub certificates: Vec<Arc<ClientCertificate>>,
    /// KMIP users.
    pub users: Vec<Arc<ClientUser>>,
    /// Groups.
    pub groups: Vec<Arc<ClientGroup>>,
    /// Memberships.
    pub members: Vec<Arc<GroupMember>>,
    /// Grants.
    pub grants: Vec<Arc<Grant>>,
    /// Keystores.
    pub keystores: Vec<Versioned<KeystoreEntry>>,
    /// Settings by organisation and name.
    pub settings: BTreeMap<(OrganisationId, String), Arc<Setting>>,
    /// Organisations, but for the default one where nothing was changed of it.
    pub organisations: BTreeMap<OrganisationId, Versioned<Organisation>>,
    /// Provisioning services by organisation.
    pub services: BTreeMap<OrganisationId, Versioned<ProvisioningService>>,
    /// Provisioning keys, oldest first.
    pub provisioning_keys: BTreeMap<EntryId, Versioned<ProvisioningKey>>,
    /// Authorities, oldest first.
    pub authorities: BTreeMap<EntryId, Versioned<Authority>>,
    /// Administrators, oldest first.
    pub admins: BTreeMap<EntryId, Versioned<Admin>>,
    /// Users of the REST key server, oldest first.
    pub rest_users: BTreeMap<EntryId, Versioned<RestUser>>,
    /// CRLs of destroyed keys.
    pub last_crls: Vec<Arc<LastCrl>>,
}

impl Directory {
    pub(crate) fn collect<'a>(changed_at: u64, entries: impl Iterator<Item = (u64, &'a Entry)>) -> Self {
        let mut directory = Self { changed_at, ..Self::default() };
        for (version, entry) in entries {
            directory.add(version, entry);
        }
        directory
    }

    fn add(&mut self, version: u64, entry: &Entry) {
        fn versioned<T>(version: u64, entry: T) -> Versioned<T> {
            Versioned { version, entry: Arc::new(entry) }
        }
        match entry.clone() {
            Entry::Client(entry) => drop(self.clients.insert(entry.id, Arc::new(entry))),
            Entry::Certificate(entry) => self.certificates.push(Arc::new(entry)),
            Entry::User(entry) => self.users.push(Arc::new(entry)),
            Entry::Group(entry) => self.groups.push(Arc::new(entry)),
            Entry::Member(entry) => self.members.push(Arc::new(entry)),
            Entry::Grant(entry) => self.grants.push(Arc::new(entry)),
            Entry::Keystore(entry) => self.keystores.push(versioned(version, entry)),
            Entry::Setting(entry) => {
                drop(self.settings.insert((entry.organisation, entry.name.clone()), Arc::new(entry)));
            }
            Entry::Organisation(entry) => drop(self.organisations.insert(entry.id, versioned(version, entry))),
            Entry::Service(entry) => drop(self.services.insert(entry.organisation, versioned(version, entry))),
            Entry::ProvisioningKey(entry) => {
                drop(self.provisioning_keys.insert(entry.id, versioned(version, entry)));
            }
            Entry::Authority(entry) => drop(self.authorities.insert(entry.id, versioned(version, entry))),
            Entry::Admin(entry) => drop(self.admins.insert(entry.id, versioned(version, entry))),
            Entry::LastCrl(entry) => self.last_crls.push(Arc::new(entry)),
            Entry::RestUser(entry) => drop(self.rest_users.insert(entry.id, versioned(version, entry))),
            Entry::Intent(_) | Entry::Issued(_) | Entry::Rehoming(_) => {}
        }
    }
}
