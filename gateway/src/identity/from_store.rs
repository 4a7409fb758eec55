//! The store's entries as a [`DirectoryContent`].

use std::{collections::HashMap, sync::Arc};

use keygate_pki::{Certificate, Fingerprint, OffsetDateTime, Profile, SpkiHash};

use super::{
    directory::{AdminIdentity, AdminRecord, CertificateRecord, ClientRecord, DirectoryContent},
    enrolled::Enrolled,
    password::PasswordVerifier,
    rest_users::RestUserRecord,
    users::UserRecord,
};
use crate::{
    authority, provisioning,
    store::{self, ClientId, EntryId, Store},
};

impl DirectoryContent {
    /// Takes over the clients, certificates, users and groups of the store, and the client issuer.
    pub fn from_store(store: &Store) -> Self {
        let stored = &*store.directory();
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
        let clients = clients.collect();
        // Groups of clients that are not in the snapshot: enrolled ones.
        let enrolled = enrolled(store, stored, groups);
        Self {
            changed_at: stored.changed_at,
            clients,
            certificates: certificates.collect(),
            issuers,
            enrolled: Some(enrolled),
            admins: admins(stored),
            rest_users: rest_users(stored),
        }
    }
}

/// States of provisioning keys. A key whose row cannot be read lets nobody in.
fn enrolled(store: &Store, stored: &store::Directory, groups: HashMap<ClientId, Vec<EntryId>>) -> Enrolled {
    let keys = stored.provisioning_keys.values().filter_map(|row| Some((row.id, provisioning::effective_state(stored, row)?)));
    let revoked = stored.authorities.values().filter(|row| row.revoked.is_some() && row.provisioning_key.is_some());
    Enrolled {
        store: store.clone(),
        keys: keys.collect(),
        revoked_authorities: revoked.map(|row| row.id).collect(),
        groups,
    }
}

fn admins(stored: &store::Directory) -> Vec<AdminRecord> {
    let record = |admin: &store::Admin| AdminRecord {
        identity: Arc::new(AdminIdentity {
            id: admin.id,
            organisation: admin.organisation,
            name: admin.name.as_str().into(),
            role: admin.role,
        }),
        enabled: !admin.disabled,
        certificates: admin.certificates.clone(),
    };
    stored.admins.values().map(|admin| record(admin)).collect()
}

fn rest_users(stored: &store::Directory) -> Vec<RestUserRecord> {
    let record = |user: &store::RestUser| RestUserRecord {
        id: user.id,
        client: user.client,
        name: user.name.clone(),
        verifier: PasswordVerifier::from_stored(&user.password_hash).filter(|_| !user.disabled),
        permissions: user.permissions.clone(),
    };
    stored.rest_users.values().map(|user| record(user)).collect()
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
