//! REST users as administrators see and change them. Every change is committed with its audit event and in force when it is done.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    audit::{Action, Details, Event},
    identity::{DirectoryContent, DirectoryHandle, PasswordVerifier, REST_PASSWORD_BYTES_MAX},
    operation::now_ms,
    provisioning::Deciding,
    store::{
        Change, Client, ClientId, Commit, CommitError, Entry, EntryId, EntryKind, OrganisationId, RestPermission, RestUser, Store, Versioned,
    },
};

/// Longest name of a user, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Shortest password that is taken, in octets.
const PASSWORD_BYTES_MIN: usize = 12;

/// A user to be added.
pub struct NewRestUser {
    /// Its name.
    pub name: String,
    /// Name or id of the client it acts for; `None`: a new client of the user's name.
    pub client: Option<String>,
    /// What it may do.
    pub permissions: BTreeSet<RestPermission>,
    /// Its password; `None`: one is made.
    pub password: Option<Zeroizing<String>>,
}

/// What may be changed of a user. What is `None` stays.
#[derive(Default)]
pub struct RestUserPatch {
    /// What it may do.
    pub permissions: Option<BTreeSet<RestPermission>>,
    /// Refuse, or let in again.
    pub disabled: Option<bool>,
    /// Another password.
    pub password: Option<NewPassword>,
}

/// Another password.
pub enum NewPassword {
    /// This one.
    Given(Zeroizing<String>),
    /// One that is made here.
    Made,
}

/// A user, and the password that was made for it.
pub struct WithPassword {
    /// The user.
    pub user: Versioned<RestUser>,
    /// To be shown once; `None` where none was made.
    pub password: Option<Zeroizing<String>>,
}

/// Why a user was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such user, client or organisation.
    #[error("there is no {what} \"{name}\"")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// As it was named.
        name: String,
    },
    /// A name that is taken.
    #[error("the name \"{name}\" is taken by another {what}")]
    NameTaken {
        /// What kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An argument that is not accepted.
    #[error("{0}")]
    Invalid(&'static str),
    /// Somebody else was faster.
    #[error("it was changed by somebody else meanwhile")]
    Changed,
    /// No randomness, or no memory to hash in.
    #[error("a password cannot be made or hashed now")]
    Password,
    /// The store.
    #[error(transparent)]
    Store(#[from] CommitError),
}

/// REST users of an open data directory.
#[derive(Clone)]
pub struct RestAccounts {
    /// Where they are kept.
    pub store: Store,
    /// Where they are put in force.
    pub directory: Arc<DirectoryHandle>,
}

impl RestAccounts {
    /// All users, oldest first.
    pub fn list(&self) -> Vec<Versioned<RestUser>> {
        self.store.directory().rest_users.values().cloned().collect()
    }

    /// A user by name or id.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub fn find(&self, name: &str) -> Result<Versioned<RestUser>, AccountError> {
        let id = name.parse::<EntryId>().ok();
        let is = |user: &&Versioned<RestUser>| Some(user.id) == id || user.name.to_lowercase() == name.to_lowercase();
        let found = self.store.directory().rest_users.values().find(is).cloned();
        found.ok_or_else(|| AccountError::NotFound { what: "REST user", name: short(name) })
    }

    /// Adds a user.
    ///
    /// # Errors
    /// A name or password that is not accepted, a name that is taken, a client that is not there.
    pub async fn add(&self, by: &Deciding, organisation: OrganisationId, wanted: NewRestUser) -> Result<WithPassword, AccountError> {
        check_name(&wanted.name)?;
        // Before the client of the same name is found to be there, which is not what the caller did wrong.
        if self.find(&wanted.name).is_ok() {
            return Err(AccountError::NameTaken { what: "REST user", name: wanted.name });
        }
        let (password, made) = match wanted.password {
            Some(given) => (checked(given)?, false),
            None => (generated()?, true),
        };
        let password_hash = hashed(&password).await?;
        let (name, at) = (wanted.name, now_ms());
        let mut changes = Vec::new();
        let mut events = Vec::new();
        let client = match wanted.client {
            Some(named) => self.client(organisation, &named)?,
            None => {
                let id = ClientId::generate();
                let client = Client { id, organisation, name: name.clone(), disabled: false, admin: false, keystore: None, created_ms: at };
                changes.push(Change::AddEntry(Entry::Client(client)));
                events.push(event(by, organisation, Action::ClientAdded, id.into(), &name));
                id
            }
        };
        let id = EntryId::generate();
        let user = RestUser { id, organisation, client, name, password_hash, permissions: wanted.permissions, disabled: false, created_ms: at };
        let name = user.name.clone();
        events.push(on_user(by, Action::RestUserAdded, &user, Vec::new(), (None, Some(&user))));
        changes.push(Change::AddEntry(Entry::RestUser(user)));
        self.commit(changes, events).await.map_err(|error| taken(error, &name))?;
        Ok(WithPassword { user: self.find(&id.to_string())?, password: made.then_some(password) })
    }

    /// Changes a user; `seen` is the version that the change is for.
    ///
    /// # Errors
    /// A password that is not accepted, a user that is not there or was changed.
    pub async fn change(&self, by: &Deciding, name: &str, patch: RestUserPatch, seen: Option<u64>) -> Result<WithPassword, AccountError> {
        let user = self.find(name)?;
        if seen.is_some_and(|seen| seen != user.version) {
            return Err(AccountError::Changed);
        }
        let mut row = RestUser::clone(&user);
        row.disabled = patch.disabled.unwrap_or(row.disabled);
        if let Some(permissions) = patch.permissions {
            row.permissions = permissions;
        }
        let mut made = None;
        match patch.password {
            None => {}
            Some(NewPassword::Given(given)) => row.password_hash = hashed(&checked(given)?).await?,
            Some(NewPassword::Made) => {
                let password = generated()?;
                row.password_hash = hashed(&password).await?;
                made = Some(password);
            }
        }
        if row == *user.entry {
            return Ok(WithPassword { user, password: None });
        }
        let action = match (user.disabled, row.disabled) {
            (false, true) => Action::RestUserDisabled,
            (true, false) => Action::RestUserEnabled,
            _ => Action::RestUserChanged,
        };
        let id = row.id;
        let fields = [
            ("disabled", user.disabled != row.disabled),
            ("password", user.password_hash != row.password_hash),
            ("permissions", user.permissions != row.permissions),
        ];
        let changed = fields.into_iter().filter(|(_, is_changed)| *is_changed).map(|(field, _)| field.to_owned()).collect();
        let events = vec![on_user(by, action, &row, changed, (Some(&*user), Some(&row)))];
        let expected = Change::Expect { kind: EntryKind::RestUser, id, version: user.version };
        self.commit(vec![expected, Change::UpdateEntry(Entry::RestUser(row))], events).await.map_err(changed_meanwhile)?;
        Ok(WithPassword { user: self.find(&id.to_string())?, password: made })
    }

    /// Removes a user. Its client and the keys of that client stay.
    ///
    /// # Errors
    /// A user that is not there or was changed.
    pub async fn remove(&self, by: &Deciding, name: &str, seen: Option<u64>) -> Result<(), AccountError> {
        let user = self.find(name)?;
        if seen.is_some_and(|seen| seen != user.version) {
            return Err(AccountError::Changed);
        }
        let expected = Change::Expect { kind: EntryKind::RestUser, id: user.id, version: user.version };
        let events = vec![on_user(by, Action::RestUserRemoved, &user, Vec::new(), (Some(&*user), None))];
        let changes = vec![expected, Change::RemoveEntry(EntryKind::RestUser, user.id)];
        self.commit(changes, events).await.map_err(changed_meanwhile)
    }

    fn client(&self, organisation: OrganisationId, named: &str) -> Result<ClientId, AccountError> {
        let directory = self.store.directory();
        let id = named.parse::<ClientId>().ok();
        let found = directory.clients.values().find(|client| client.organisation == organisation && (client.name == named || Some(client.id) == id));
        found.map(|client| client.id).ok_or_else(|| AccountError::NotFound { what: "client", name: short(named) })
    }

    async fn commit(&self, changes: Vec<Change>, events: Vec<Event>) -> Result<(), CommitError> {
        self.store.commit(Commit { changes, events, erases: false }).await?;
        self.directory.replace_with(|| DirectoryContent::from_store(&self.store));
        Ok(())
    }
}

fn event(by: &Deciding, organisation: OrganisationId, action: Action, id: EntryId, name: &str) -> Event {
    by.event(now_ms(), organisation, action, Details::Entry { id, name: name.into() })
}

/// What was done to a user. Rights that were given and taken are on record by their names.
fn on_user(by: &Deciding, action: Action, user: &RestUser, changed: Vec<String>, (before, after): (Option<&RestUser>, Option<&RestUser>)) -> Event {
    let names = |user: Option<&RestUser>| user.into_iter().flat_map(|user| &user.permissions).map(ToString::to_string).collect();
    let details = Details::RestUser { id: user.id, name: user.name.clone(), changed, before: names(before), after: names(after) };
    by.event(now_ms(), user.organisation, action, details)
}

fn changed_meanwhile(error: CommitError) -> AccountError {
    match error {
        CommitError::Stale { .. } | CommitError::Conflict { .. } => AccountError::Changed,
        other => other.into(),
    }
}

fn taken(error: CommitError, name: &str) -> AccountError {
    match error {
        CommitError::EntryTaken { kind: EntryKind::Client, .. } => AccountError::NameTaken { what: "client: name the client that the user acts for", name: name.into() },
        CommitError::EntryTaken { .. } => AccountError::NameTaken { what: "REST user", name: name.into() },
        other => other.into(),
    }
}

/// RFC 7617 §2: "a user-id containing a colon character is invalid". The rest keeps it one word on a command line.
fn check_name(name: &str) -> Result<(), AccountError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('-') {
        Ok(())
    } else {
        Err(AccountError::Invalid("a REST user's name has 1 to 64 letters, digits and any of _ . @ -, and does not begin with -"))
    }
}

/// RFC 7617 §2: "The user-id and password MUST NOT contain any control characters".
fn checked(password: Zeroizing<String>) -> Result<Zeroizing<String>, AccountError> {
    let fits = (PASSWORD_BYTES_MIN..=REST_PASSWORD_BYTES_MAX).contains(&password.len());
    if fits && !password.chars().any(char::is_control) {
        Ok(password)
    } else {
        Err(AccountError::Invalid("a REST user's password has 12 to 256 octets and no control characters"))
    }
}

/// 192 random bits as 32 letters, digits, - and _.
fn generated() -> Result<Zeroizing<String>, AccountError> {
    let mut octets = Zeroizing::new([0; 24]);
    aws_lc_rs::rand::fill(octets.as_mut()).map_err(|_| AccountError::Password)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(octets.as_slice())))
}

async fn hashed(password: &Zeroizing<String>) -> Result<String, AccountError> {
    let password = password.clone();
    let verifier = tokio::task::spawn_blocking(move || PasswordVerifier::new(password.as_bytes())).await;
    verifier.ok().flatten().map(|verifier| verifier.as_stored().to_owned()).ok_or(AccountError::Password)
}

fn short(name: &str) -> String {
    name.chars().take(80).collect()
}
