//! KMIP users of a client: names and passwords sent in a request's Credential (KMIP 2.1 §8.9 and §11.12).
//!
//! A credential where the client has no users is ignored and counted; where it has users it must match. Passwords are
//! checked with Argon2id on a blocking thread; a match is remembered under a keyed hash that covers the stored verifier.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{
    caller::{Caller, CallerUser},
    handle::DirectoryHandle,
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

/// A salted Argon2id hash of a password, in PHC string format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordVerifier(String);

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

/// Cost of new hashes, and the only one read back: 19 MiB and two passes bound what a flood of guesses may occupy.
const SCHEME: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

impl PasswordVerifier {
    /// Hashes a new password. Takes tens of milliseconds.
    pub fn new(password: &[u8]) -> Option<Self> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let hash = argon2id(password, &salt)?;
        Some(Self(format!("{SCHEME}{}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash))))
    }

    /// Takes one back from the store; `None` if it is not of a known form.
    pub fn from_stored(text: &str) -> Option<Self> {
        let verifier = Self(text.to_owned());
        verifier.parts().is_some().then_some(verifier)
    }

    /// The form to be stored.
    pub fn as_stored(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Option<([u8; 16], [u8; 32])> {
        let (salt, hash) = self.0.strip_prefix(SCHEME)?.split_once('$')?;
        Some((STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?, STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?))
    }

    fn matches(&self, password: &[u8]) -> bool {
        let Some((salt, expected)) = self.parts() else { return false };
        argon2id(password, &salt).is_some_and(|hash| bool::from(hash.ct_eq(&expected)))
    }
}

/// RFC 9106, with the cost that [`SCHEME`] names.
fn argon2id(password: &[u8], salt: &[u8]) -> Option<[u8; 32]> {
    let params = Params::new(19 * 1024, 2, 1, Some(32)).ok()?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

/// Checks credentials of requests.
pub struct Users {
    directory: Arc<DirectoryHandle>,
    remember_key: hmac::Key,
    remembered: quick_cache::sync::Cache<[u8; 32], ()>,
    checks: Arc<Semaphore>,
    ignored: AtomicU64,
    refused: AtomicU64,
}

/// Most passwords that are hashed at a time: each takes a core for some 30 ms.
const CHECKS_MAX: usize = 4;
/// Longest wait for a turn.
const CHECK_WAIT: Duration = Duration::from_secs(5);
/// Most matches that are remembered.
const REMEMBERED_MAX: usize = 10_000;

impl Users {
    /// Checks against the users of the given directory. `None` if there is no randomness.
    pub fn new(directory: Arc<DirectoryHandle>) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut()).ok()?;
        Some(Self {
            directory,
            remember_key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            remembered: quick_cache::sync::Cache::new(REMEMBERED_MAX),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
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
        Ok(Arc::new(Caller { user: Some(CallerUser { id: user, name: name.into() }), ..Caller::clone(client) }))
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
        let memory = verifier.as_ref().map(|verifier| self.memory_of(client, name, verifier, password));
        if let (Some(user), Some(memory)) = (user, &memory)
            && self.remembered.get(memory).is_some()
        {
            return Ok(user.id);
        }
        let turn = tokio::time::timeout(CHECK_WAIT, self.checks.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(CredentialRefused::Busy) };
        let password = Zeroizing::new(password.to_vec());
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            match verifier {
                Some(verifier) => verifier.matches(&password),
                // An unknown name costs as much time as a wrong password.
                None => argon2id(&password, &[0; 16]).is_none(),
            }
        });
        match (checked.await, user, memory) {
            (Ok(true), Some(user), Some(memory)) => {
                self.remembered.insert(memory, ());
                Ok(user.id)
            }
            _ => Err(CredentialRefused::Mismatch),
        }
    }

    fn memory_of(&self, client: &Caller, name: &str, verifier: &PasswordVerifier, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.remember_key);
        context.update(client.client.as_bytes());
        for part in [name.as_bytes(), verifier.as_stored().as_bytes(), password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut memory = [0; 32];
        memory.copy_from_slice(context.sign().as_ref());
        memory
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

    /// A stored verifier is read back as it was written; other schemes and damaged text are not taken.
    #[test]
    fn verifiers_are_stored_in_phc_form() {
        let verifier = PasswordVerifier::new(b"password").unwrap();
        assert!(verifier.as_stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(PasswordVerifier::from_stored(verifier.as_stored()), Some(verifier.clone()));
        for bad in ["", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", &verifier.as_stored()[..60], "password"] {
            assert_eq!(PasswordVerifier::from_stored(bad), None, "{bad}");
        }
    }
}
