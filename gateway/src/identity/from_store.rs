//! The store's entries as a [`DirectoryContent`].

use std::collections::HashMap;

use keygate_pki::{Certificate, Fingerprint, OffsetDateTime, Profile, SpkiHash};

use super::{
    directory::{CertificateRecord, ClientRecord, DirectoryContent},
    users::{PasswordVerifier, UserRecord},
};
use crate::{
    authority,
    store::{self, ClientId, EntryId},
};

impl DirectoryContent {
    /// Takes over the clients, certificates, users and groups of the store, and the client issuer.
    pub fn from_store(stored: &store::Directory) -> Self {
        let issuers: Vec<Certificate> = authority::certificate(stored, Profile::ClientIssuer).into_iter().collect();
        let mut groups = groups(stored);
        let mut users = users(stored);
        let clients = stored.clients.values().map(|client| ClientRecord {
            id: client.id,
            organisation: client.organisation,
            name: client.name.clone(),
            enabled: !client.disabled,
            keystore_default: client.keystore,
            groups: groups.remove(&client.id).unwrap_or_default(),
            users: users.remove(&client.id).unwrap_or_default(),
        });
        let certificates = stored.certificates.iter().map(|certificate| CertificateRecord {
            client: certificate.client,
            fingerprint: Fingerprint(certificate.sha256),
            issued: certificate.issuer_key_sha256.map(|issuer| (SpkiHash(issuer), certificate.serial.clone())),
            not_before: moment(certificate.not_before),
            not_after: moment(certificate.not_after),
            revoked: certificate.revoked,
        });
        Self { changed_at: stored.changed_at, clients: clients.collect(), certificates: certificates.collect(), issuers }
    }
}

fn groups(stored: &store::Directory) -> HashMap<ClientId, Vec<EntryId>> {
    let mut groups: HashMap<ClientId, Vec<EntryId>> = HashMap::new();
    for member in &stored.members {
        groups.entry(member.client).or_default().push(member.group);
    }
    groups
}

/// A user that is disabled, or whose hash is of an unknown form, still makes the client one that has users.
fn users(stored: &store::Directory) -> HashMap<ClientId, Vec<UserRecord>> {
    let mut users: HashMap<ClientId, Vec<UserRecord>> = HashMap::new();
    for user in &stored.users {
        let verifier = PasswordVerifier::from_stored(&user.password_hash).filter(|_| !user.disabled);
        users.entry(user.client).or_default().push(UserRecord { id: user.id, name: user.name.clone(), verifier });
    }
    users
}

fn moment(unix: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
