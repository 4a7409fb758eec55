//! Users of the REST key server: name and password of HTTP Basic -> [`RestCaller`].
//!
//! A user acts for a client: what it makes is the client's. After wrong passwords an attempt has to wait, longer each time, for
//! this address and this user; never for the user as such, so that nobody can lock it for others. Left to others: HTTP (rest),
//! what a permission is for (rest), how users come to be (rest).

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    caller::Caller,
    handle::DirectoryHandle,
    password::{CheckError, PasswordChecks, PasswordVerifier, Renewed},
};
use crate::{
    store::{ClientId, EntryId, RestPermission},
    throttle::{Throttle, WRONG_SECRETS},
};

/// A user as stored.
#[derive(Debug, Clone)]
pub struct RestUserRecord {
    /// Its entry in the store.
    pub id: EntryId,
    /// The client it acts for.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// What the password is checked against; `None` where the user is disabled.
    pub verifier: Option<PasswordVerifier>,
    /// What it may do.
    pub permissions: BTreeSet<RestPermission>,
}

/// A verified user.
#[derive(Debug, Clone)]
pub struct RestCaller {
    /// The client it acts for, with the user's name.
    pub caller: Arc<Caller>,
    /// What it may do.
    pub permissions: Arc<BTreeSet<RestPermission>>,
}

/// A user in the directory's snapshot.
#[derive(Debug, Clone)]
pub(super) struct KnownRestUser {
    pub(super) verifier: Option<PasswordVerifier>,
    pub(super) is: RestCaller,
}

/// Why nobody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestRefusal {
    /// Unknown or disabled user, disabled client, or wrong password: the peer is told one and the same thing.
    #[error("user name or password does not match")]
    Mismatch,
    /// Too many wrong passwords from here.
    #[error("too many wrong passwords from this address")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many passwords are being checked.
    #[error("too many password checks at a time")]
    Busy,
}

/// Longest password that is looked at, in octets.
pub const REST_PASSWORD_BYTES_MAX: usize = 256;

/// Checks users of the REST key server.
pub struct RestUsers {
    directory: Arc<DirectoryHandle>,
    checks: PasswordChecks,
    throttle: Throttle<[u8; 32]>,
}

impl RestUsers {
    /// Checks against the users of the given directory. `None` if there is no randomness.
    pub fn new(directory: Arc<DirectoryHandle>) -> Option<Self> {
        Some(Self { directory, checks: PasswordChecks::new()?.renewing(), throttle: Throttle::new(WRONG_SECRETS) })
    }

    /// Whether there is any user, enabled or not.
    pub fn any(&self) -> bool {
        self.directory.load().has_rest_users()
    }

    /// Password hashes that are to be stored in place of old ones, each told once.
    pub fn take_renewed(&self) -> Vec<Renewed> {
        self.checks.take_renewed()
    }

    /// The user of this name and password.
    ///
    /// # Errors
    /// [`RestRefusal`].
    pub async fn authenticate(&self, source: IpAddr, name: &str, password: &[u8]) -> Result<RestCaller, RestRefusal> {
        // Names that are not there are throttled like others; only their hash is kept.
        let mut id = [0; 32];
        id.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes()).as_ref());
        let still = || self.throttle.wait(source, id, Instant::now()).map_or(Ok(()), Err);
        still().map_err(|retry_after| RestRefusal::Throttled { retry_after })?;
        if password.len() > REST_PASSWORD_BYTES_MAX {
            self.throttle.count(source, id, Instant::now());
            return Err(RestRefusal::Mismatch);
        }
        let user = self.directory.load().rest_user(name).cloned();
        let verifier = user.as_ref().and_then(|user| user.verifier.clone());
        match (self.checks.check(&[name.as_bytes()], verifier, password, still).await, user) {
            (Ok(true), Some(user)) => {
                self.throttle.right(source, id);
                Ok(user.is)
            }
            (Ok(_), _) => {
                self.throttle.count(source, id, Instant::now());
                Err(RestRefusal::Mismatch)
            }
            (Err(CheckError::Busy), _) => Err(RestRefusal::Busy),
            (Err(CheckError::Stopped(retry_after)), _) => Err(RestRefusal::Throttled { retry_after }),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        identity::{ClientRecord, DirectoryContent},
        store::OrganisationId,
    };

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn content(client: ClientId, enabled: bool, password: Option<&[u8]>) -> DirectoryContent {
        let record = ClientRecord {
            id: client,
            organisation: OrganisationId::DEFAULT,
            name: "files".into(),
            enabled,
            keystore_default: None,
            groups: Vec::new(),
            users: Vec::new(),
        };
        let user = RestUserRecord {
            id: EntryId::generate(),
            client,
            name: "lan".into(),
            verifier: password.and_then(PasswordVerifier::new),
            permissions: BTreeSet::from([RestPermission::KeysRead]),
        };
        DirectoryContent { clients: vec![record], rest_users: vec![user], ..DirectoryContent::default() }
    }

    /// A user acts for its client, which owns what is made; a new password, a disabled user, a disabled client count at once,
    /// though the password is remembered.
    #[tokio::test]
    async fn a_user_acts_for_its_client() {
        let client = ClientId::generate();
        let directory = Arc::new(DirectoryHandle::new(content(client, true, Some(b"old password"))));
        let users = RestUsers::new(directory.clone()).unwrap();
        for _ in 0..2 {
            let caller = users.authenticate(HERE, "lan", b"old password").await.unwrap();
            assert_eq!((caller.caller.principal(), caller.caller.label().as_str()), (client, "files/lan"));
            assert!(caller.permissions.contains(&RestPermission::KeysRead));
        }
        for changed in [content(client, true, Some(b"new password")), content(client, true, None), content(client, false, Some(b"old password"))] {
            directory.replace_with(|| changed);
            assert_eq!(users.authenticate(HERE, "lan", b"old password").await.unwrap_err(), RestRefusal::Mismatch);
            directory.replace_with(|| content(client, true, Some(b"old password")));
            assert!(users.authenticate(HERE, "lan", b"old password").await.is_ok());
        }
        let long = vec![b'x'; REST_PASSWORD_BYTES_MAX + 1];
        for (name, password) in [("LAN", &b"old password"[..]), ("nobody", b"old password"), ("lan", &long), ("lan", b"")] {
            assert_eq!(users.authenticate(HERE, name, password).await.unwrap_err(), RestRefusal::Mismatch);
        }
    }

    /// Wrong passwords make this address wait, and even the right one with it; the user is let in from elsewhere.
    #[tokio::test]
    async fn wrong_passwords_wait_where_they_come_from() {
        let directory = Arc::new(DirectoryHandle::new(content(ClientId::generate(), true, Some(b"right password"))));
        let users = RestUsers::new(directory).unwrap();
        let mut refusals = Vec::new();
        for _ in 0..5 {
            refusals.push(users.authenticate(HERE, "lan", b"wrong").await.unwrap_err());
        }
        assert_eq!(refusals[0], RestRefusal::Mismatch);
        assert!(matches!(refusals[4], RestRefusal::Throttled { .. }), "{refusals:?}");
        assert!(matches!(users.authenticate(HERE, "lan", b"right password").await, Err(RestRefusal::Throttled { .. })));
        assert!(users.authenticate(THERE, "lan", b"right password").await.is_ok());
    }
}
