//! KMIP users of a client: names and passwords sent in a request's Credential (KMIP 2.1 §8.9 and §11.12).
//!
//! A credential where the client has no users is ignored and counted; where it has users it must match.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    caller::{Caller, CallerUser},
    directory::Directory,
    handle::DirectoryHandle,
    password::{CheckError, PasswordChecks, PasswordVerifier},
};
use crate::store::EntryId;

/// A user as stored.
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// Its entry in the store.
    pub id: EntryId,
    /// The user name.
    pub name: String,
    /// What the password is checked against; `None` where the user is disabled.
    pub verifier: Option<PasswordVerifier>,
}

/// Why a credential was refused. The peer is told one and the same thing for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefused {
    /// The client has users and the request names none.
    #[error("client has users, the request has no credential")]
    Missing,
    /// Unknown user or wrong password.
    #[error("user name or password does not match")]
    Mismatch,
    /// Too many passwords are being checked.
    #[error("too many password checks at a time")]
    Busy,
}

/// Checks credentials of requests.
pub struct Users {
    directory: Arc<DirectoryHandle>,
    checks: PasswordChecks,
    ignored: AtomicU64,
    refused: AtomicU64,
}

impl Users {
    /// Checks against the users of the given directory. `None` if there is no randomness.
    pub fn new(directory: Arc<DirectoryHandle>) -> Option<Self> {
        Some(Self {
            directory,
            checks: PasswordChecks::new()?,
            ignored: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The caller a request is made for: the client itself, or its user named by the credential.
    pub async fn caller(&self, client: &Arc<Caller>, credential: Option<(&str, &[u8])>) -> Result<Arc<Caller>, CredentialRefused> {
        if !client.users_required {
            if credential.is_some() {
                self.ignored.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(client.clone());
        }
        let (name, password) = credential.ok_or(CredentialRefused::Missing).inspect_err(|_| self.count_refusal())?;
        let user = self.user(client, name, password).await.inspect_err(|_| self.count_refusal())?;
        Ok(Arc::new(Caller { user: Some(CallerUser { id: user, name: name.into(), owns: true }), ..Caller::clone(client) }))
    }

    /// Who is let in, as of now.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load()
    }

    /// Credentials ignored since the start.
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Credentials refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The user of this name and password.
    async fn user(&self, client: &Caller, name: &str, password: &[u8]) -> Result<EntryId, CredentialRefused> {
        let directory = self.directory.load();
        let user = directory.users(client.client).iter().find(|user| user.name == name);
        let verifier = user.and_then(|user| user.verifier.clone());
        let place = [client.client.as_bytes(), name.as_bytes()];
        match (self.checks.check(&place, verifier, password, || Ok(())).await, user) {
            (Ok(true), Some(user)) => Ok(user.id),
            (Err(CheckError::Busy), _) => Err(CredentialRefused::Busy),
            _ => Err(CredentialRefused::Mismatch),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
mod tests {
    use super::*;
    use crate::{
        identity::{ClientRecord, DirectoryContent},
        store::{ClientId, OrganisationId},
    };

    fn content(client: ClientId, users: Vec<UserRecord>) -> DirectoryContent {
        let record = ClientRecord {
            id: client,
            organisation: OrganisationId::DEFAULT,
            name: "client".into(),
            enabled: true,
            keystore_default: None,
            groups: Vec::new(),
            users,
        };
        DirectoryContent { clients: vec![record], ..DirectoryContent::default() }
    }

    fn caller(client: ClientId, users_required: bool) -> Arc<Caller> {
        Arc::new(Caller {
            client,
            organisation: OrganisationId::DEFAULT,
            name: "client".into(),
            user: None,
            users_required,
            groups: Box::default(),
            keystore_default: None,
            ticket: None,
        })
    }

    /// Where no users are, credentials are ignored and counted; where users are, one must match, also after a change.
    #[tokio::test]
    async fn credentials_count_only_where_users_are() {
        let client = ClientId::generate();
        let directory = Arc::new(DirectoryHandle::new(content(client, Vec::new())));
        let users = Users::new(directory.clone()).unwrap();
        let plain = caller(client, false);
        assert_eq!(users.caller(&plain, Some(("x", b"y"))).await, Ok(plain.clone()));
        assert_eq!(users.ignored(), 1);

        let id = EntryId::generate();
        let user = |password: &[u8]| UserRecord { id, name: "operator".into(), verifier: PasswordVerifier::new(password) };
        directory.replace_with(|| content(client, vec![user(b"old password")]));
        let with_users = caller(client, true);
        for _ in 0..2 {
            let accepted = users.caller(&with_users, Some(("operator", b"old password"))).await.unwrap();
            assert_eq!(accepted.user.as_ref().unwrap().id, id);
        }
        let refusals = [(None, CredentialRefused::Missing), (Some(("operator", &b"x"[..])), CredentialRefused::Mismatch), (Some(("other", b"old password")), CredentialRefused::Mismatch)];
        for (credential, expected) in refusals {
            assert_eq!(users.caller(&with_users, credential).await, Err(expected));
        }
        assert_eq!(users.refused(), 3);

        // A new password voids the old one at once, although the old one is remembered; a disabled user has none.
        directory.replace_with(|| content(client, vec![user(b"new password")]));
        assert_eq!(users.caller(&with_users, Some(("operator", b"old password"))).await, Err(CredentialRefused::Mismatch));
        assert!(users.caller(&with_users, Some(("operator", b"new password"))).await.is_ok());
        directory.replace_with(|| content(client, vec![UserRecord { verifier: None, ..user(b"") }]));
        assert_eq!(users.caller(&with_users, Some(("operator", b"new password"))).await, Err(CredentialRefused::Mismatch));
    }
}
