//! An immutable snapshot of all clients and their certificates, looked up at each handshake and request.

use std::{collections::HashMap, sync::Arc};

use keygate_pki::{Certificate, Fingerprint, OffsetDateTime, SpkiHash};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{
    caller::{Caller, CallerUser},
    enrolled::Enrolled,
    rest_users::{KnownRestUser, RestCaller, RestUserRecord},
    users::UserRecord,
};
use crate::store::{AdminCertificate, ClientId, EntryId, KeystoreId, OrganisationId, Role, Serial};

/// A client as stored.
#[derive(Debug, Clone)]
pub struct ClientRecord {
    /// The client's id.
    pub id: ClientId,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// Its name.
    pub name: String,
    /// Whether it may connect.
    pub enabled: bool,
    /// Keystore of its new keys, if it has one of its own.
    pub keystore_default: Option<KeystoreId>,
    /// Groups it belongs to.
    pub groups: Vec<EntryId>,
    /// Its KMIP users.
    pub users: Vec<UserRecord>,
}

/// A certificate as stored.
#[derive(Debug, Clone)]
pub struct CertificateRecord {
    /// The client it belongs to.
    pub client: ClientId,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// Issuer's key and serial number where our issuer signed it; `None` where it is pinned.
    pub issued: Option<(SpkiHash, Vec<u8>)>,
    /// Start of its validity.
    pub not_before: OffsetDateTime,
    /// End of its validity.
    pub not_after: OffsetDateTime,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What a [`Directory`] is made of.
#[derive(Debug, Clone, Default)]
pub struct DirectoryContent {
    /// The change of the store's directory that this is of.
    pub changed_at: u64,
    /// All clients.
    pub clients: Vec<ClientRecord>,
    /// All their certificates.
    pub certificates: Vec<CertificateRecord>,
    /// Certificates of the issuers whose clients are let in.
    pub issuers: Vec<Certificate>,
    /// Clients enrolled with provisioning keys.
    pub enrolled: Option<Enrolled>,
    /// Administrators.
    pub admins: Vec<AdminRecord>,
    /// Users of the REST key server.
    pub rest_users: Vec<RestUserRecord>,
}

/// An administrator as stored.
#[derive(Debug, Clone)]
pub struct AdminRecord {
    /// Who.
    pub identity: Arc<AdminIdentity>,
    /// Whether it is let in.
    pub enabled: bool,
    /// What it is recognised by.
    pub certificates: Vec<AdminCertificate>,
}

/// A verified administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminIdentity {
    /// Its entry in the store.
    pub id: EntryId,
    /// Its organisation; that of the default one is every organisation.
    pub organisation: OrganisationId,
    /// Its name.
    pub name: Box<str>,
    /// What it may do.
    pub role: Role,
}

/// How a certificate was recognised: the key under which a connection is looked up again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialId {
    /// Signed by an issuer of ours.
    Issued {
        /// SHA-256 of the issuer's SubjectPublicKeyInfo.
        issuer: SpkiHash,
        /// Serial number.
        serial: Box<[u8]>,
    },
    /// Pinned by an administrator.
    Pinned(Fingerprint),
    /// Issued with a provisioning key.
    Enrolled {
        /// Serial number.
        serial: Serial,
        /// Who it was recognised as.
        caller: Arc<Caller>,
    },
    /// An administrator's.
    Admin(Fingerprint),
}

/// Why a certificate is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not readable as a certificate.
    #[error("certificate cannot be read")]
    BadCertificate,
    /// Its client is disabled.
    #[error("client is disabled")]
    Disabled,
    /// After its end.
    #[error("certificate has expired")]
    Expired,
    /// Before its start.
    #[error("certificate is not valid yet")]
    NotYetValid,
    /// Withdrawn.
    #[error("certificate was revoked")]
    Revoked,
    /// Our issuer's, but of no client.
    #[error("certificate belongs to no client")]
    UnknownClient,
    /// Neither signed by our issuer nor pinned.
    #[error("certificate is neither of our issuer nor pinned")]
    UnknownIssuer,
}

impl Refusal {
    /// In words, as its audit event says it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadCertificate => "bad certificate",
            Self::Disabled => "client disabled",
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::Revoked => "certificate revoked",
            Self::UnknownClient => "unknown client",
            Self::UnknownIssuer => "unknown issuer",
        }
    }
}

/// A certificate that was let in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// How it is looked up again.
    pub credential: CredentialId,
    /// Whose it is.
    pub caller: Arc<Caller>,
    /// Unix time at which it expires.
    pub not_after: i64,
}

/// The snapshot.
#[derive(Debug, Default)]
pub struct Directory {
    version: u64,
    changed_at: u64,
    issuers: Vec<(SpkiHash, TrustAnchor<'static>)>,
    entries: Vec<Entry>,
    by_credential: HashMap<CredentialId, usize>,
    by_fingerprint: HashMap<Fingerprint, usize>,
    by_client: HashMap<ClientId, Vec<usize>>,
    users: HashMap<ClientId, Vec<UserRecord>>,
    enrolled: Option<Enrolled>,
    admins: HashMap<Fingerprint, AdminEntry>,
    rest_users: HashMap<String, KnownRestUser>,
}

#[derive(Debug)]
struct AdminEntry {
    identity: Arc<AdminIdentity>,
    enabled: bool,
    not_before: i64,
    not_after: i64,
}

#[derive(Debug)]
struct Entry {
    credential: CredentialId,
    enabled: bool,
    revoked: bool,
    not_before: i64,
    not_after: i64,
    caller: Arc<Caller>,
}

impl Directory {
    /// Builds a snapshot. Certificates without a client and issuers that are no CA are left out.
    pub fn new(version: u64, content: DirectoryContent) -> Self {
        let mut directory = Self { version, changed_at: content.changed_at, ..Self::default() };
        for issuer in content.issuers.iter().filter(|issuer| issuer.is_ca()) {
            let der = CertificateDer::from(issuer.der());
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(&der) {
                directory.issuers.push((issuer.spki_hash(), anchor.to_owned()));
            }
        }
        let mut clients: HashMap<ClientId, (bool, Arc<Caller>)> = HashMap::with_capacity(content.clients.len());
        for client in content.clients {
            let caller = Caller {
                client: client.id,
                organisation: client.organisation,
                name: client.name.into(),
                user: None,
                users_required: !client.users.is_empty(),
                groups: client.groups.into(),
                keystore_default: client.keystore_default,
                ticket: None,
            };
            clients.insert(client.id, (client.enabled, Arc::new(caller)));
            directory.users.insert(client.id, client.users);
        }
        for user in content.rest_users {
            if let Some((enabled, caller)) = clients.get(&user.client) {
                directory.insert_rest_user(user, *enabled, caller);
            }
        }
        directory.enrolled = content.enrolled;
        for admin in content.admins {
            for certificate in &admin.certificates {
                let (identity, enabled) = (admin.identity.clone(), admin.enabled);
                let (not_before, not_after) = (certificate.not_before, certificate.not_after);
                let entry = AdminEntry { identity, enabled, not_before, not_after };
                directory.admins.insert(Fingerprint(certificate.sha256), entry);
            }
        }
        for certificate in content.certificates {
            if let Some((enabled, caller)) = clients.get(&certificate.client) {
                directory.insert(&certificate, *enabled, caller.clone());
            }
        }
        directory
    }

    fn insert(&mut self, certificate: &CertificateRecord, enabled: bool, caller: Arc<Caller>) {
        let credential = match &certificate.issued {
            Some((issuer, serial)) => CredentialId::Issued { issuer: *issuer, serial: serial.as_slice().into() },
            None => CredentialId::Pinned(certificate.fingerprint),
        };
        let index = self.entries.len();
        self.by_credential.insert(credential.clone(), index);
        self.by_fingerprint.insert(certificate.fingerprint, index);
        self.by_client.entry(caller.client).or_default().push(index);
        self.entries.push(Entry {
            credential,
            enabled,
            revoked: certificate.revoked,
            not_before: certificate.not_before.unix_timestamp(),
            not_after: certificate.not_after.unix_timestamp(),
            caller,
        });
    }

    /// A user whose client is gone is none; one whose client is disabled has no password.
    fn insert_rest_user(&mut self, user: RestUserRecord, enabled: bool, client: &Caller) {
        let named = CallerUser { id: user.id, name: user.name.as_str().into(), owns: false };
        let caller = Arc::new(Caller { user: Some(named), ..client.clone() });
        let is = RestCaller { caller, permissions: Arc::new(user.permissions) };
        self.rest_users.insert(user.name, KnownRestUser { verifier: user.verifier.filter(|_| enabled), is });
    }

    /// Increases with each snapshot.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The change of the store's directory that this is of.
    pub fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// Users of a client.
    pub fn users(&self, client: ClientId) -> &[UserRecord] {
        self.users.get(&client).map_or(&[], Vec::as_slice)
    }

    /// Whether a client has this user, not disabled.
    pub fn has_user(&self, client: ClientId, user: EntryId) -> bool {
        self.users(client).iter().any(|known| known.id == user && known.verifier.is_some())
    }

    /// A client as it stands now, if one of its certificates is let in at `now`, seconds since 1970.
    pub fn standing(&self, caller: &Caller, now: i64) -> Option<Caller> {
        let unix = u64::try_from(now).ok()?;
        let mut own = self.by_client.get(&caller.client).into_iter().flatten();
        if let Some(admitted) = own.find_map(|index| self.entries[*index].admit(unix).ok()) {
            return Some((*admitted.caller).clone());
        }
        self.enrolled.as_ref().and_then(|enrolled| enrolled.standing(&Arc::new(caller.clone()), unix))
    }

    /// A user of the REST key server.
    pub(super) fn rest_user(&self, name: &str) -> Option<&KnownRestUser> {
        self.rest_users.get(name)
    }

    /// Whether there is a user of the REST key server.
    pub fn has_rest_users(&self) -> bool {
        !self.rest_users.is_empty()
    }

    /// Recognises the certificate chain a TLS client presents, leaf first.
    ///
    /// Every certificate of ours is on record with its SHA-256, so the signature of one that is on record need not be
    /// verified again: it is that very certificate. Any other is refused; chain building then only finds the right alert.
    pub fn identify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Admitted, Refusal> {
        let leaf = chain.first().ok_or(Refusal::BadCertificate)?;
        let fingerprint = Fingerprint::of(leaf);
        if let Some(index) = self.by_fingerprint.get(&fingerprint) {
            return self.entries[*index].admit(now.as_secs());
        }
        match self.enrolled.as_ref().and_then(|enrolled| enrolled.identify(leaf, &fingerprint, now)) {
            Some(known) => known,
            None => self.identify_by_chain(leaf, &chain[1..], now),
        }
    }

    /// Recognises an administrator by the certificate it presents.
    pub fn identify_admin(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(Arc<AdminIdentity>, CredentialId, i64), Refusal> {
        let leaf = chain.first().ok_or(Refusal::BadCertificate)?;
        self.admit_admin(Fingerprint::of(leaf), now)
    }

    fn admit_admin(&self, fingerprint: Fingerprint, now: UnixTime) -> Result<(Arc<AdminIdentity>, CredentialId, i64), Refusal> {
        let entry = self.admins.get(&fingerprint).ok_or(Refusal::UnknownClient)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match () {
            () if !entry.enabled => Err(Refusal::Disabled),
            () if now < entry.not_before => Err(Refusal::NotYetValid),
            () if now > entry.not_after => Err(Refusal::Expired),
            () => Ok((entry.identity.clone(), CredentialId::Admin(fingerprint), entry.not_after)),
        }
    }

    /// Looks an administrator's connection up again.
    pub fn recheck_admin(&self, credential: &CredentialId, now: UnixTime) -> Result<(Arc<AdminIdentity>, CredentialId, i64), Refusal> {
        match credential {
            CredentialId::Admin(fingerprint) => self.admit_admin(*fingerprint, now),
            _ => Err(Refusal::UnknownClient),
        }
    }

    /// Looks a connection's certificate up again.
    pub fn recheck(&self, credential: &CredentialId, now: UnixTime) -> Result<Admitted, Refusal> {
        if let CredentialId::Enrolled { serial, caller } = credential {
            let enrolled = self.enrolled.as_ref().ok_or(Refusal::UnknownClient)?;
            return enrolled.recheck(serial, caller, now);
        }
        let index = self.by_credential.get(credential).ok_or(Refusal::UnknownClient)?;
        self.entries[*index].admit(now.as_secs())
    }

    fn identify_by_chain(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<Admitted, Refusal> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(|_| Refusal::BadCertificate)?;
        let mut refusal = Refusal::UnknownIssuer;
        for (issuer, anchor) in &self.issuers {
            let verified = end_entity.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                std::slice::from_ref(anchor),
                intermediates,
                now,
                KeyUsage::client_auth(),
                None,
                None,
            );
            match verified {
                Ok(_) => {
                    let serial = Certificate::from_der(leaf).map_err(|_| Refusal::BadCertificate)?.serial().into();
                    let credential = CredentialId::Issued { issuer: *issuer, serial };
                    return self.recheck(&credential, now);
                }
                Err(webpki::Error::CertExpired { .. }) => refusal = Refusal::Expired,
                Err(webpki::Error::CertNotValidYet { .. }) => refusal = Refusal::NotYetValid,
                Err(_) => {}
            }
        }
        Err(refusal)
    }
}

impl Entry {
    fn admit(&self, now: u64) -> Result<Admitted, Refusal> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        match () {
            () if !self.enabled => Err(Refusal::Disabled),
            () if self.revoked => Err(Refusal::Revoked),
            () if now < self.not_before => Err(Refusal::NotYetValid),
            () if now > self.not_after => Err(Refusal::Expired),
            () => Ok(Admitted { credential: self.credential.clone(), caller: self.caller.clone(), not_after: self.not_after }),
        }
    }
}
