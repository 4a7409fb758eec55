//! KMIP users of a client.

use super::{Admin, AdminError, AdminReply, lookup::check_name, reply::UserView, request::Password};
use crate::{
    audit::{Action, Details},
    identity::PasswordVerifier,
    store::{Change, ClientUser, Entry, EntryId, EntryKind},
};

/// Shortest password of a KMIP user.
const PASSWORD_BYTES_MIN: usize = 6;

impl Admin<'_> {
    /// Adds a user, or gives an existing one a new password.
    pub(super) async fn user_add(&self, client: &str, user: &str, password: &Password) -> Result<AdminReply, AdminError> {
        check_name("a user's name", user)?;
        if password.0.len() < PASSWORD_BYTES_MIN {
            return Err(AdminError::usage(format!("a password must have at least {PASSWORD_BYTES_MIN} octets")));
        }
        let client = self.client(client)?;
        let verifier = PasswordVerifier::new(password.0.as_bytes()).ok_or_else(|| AdminError::usage("the password cannot be hashed"))?;
        let directory = self.app.store.directory();
        let existing = directory.users.iter().find(|known| known.client == client.id && known.name == user);
        let entry = ClientUser {
            id: existing.map_or_else(EntryId::generate, |known| known.id),
            organisation: client.organisation,
            client: client.id,
            name: user.into(),
            password_hash: verifier.as_stored().into(),
            disabled: false,
        };
        let action = if existing.is_some() { Action::UserChanged } else { Action::UserAdded };
        let event = self.event(action, Details::Entry { id: entry.id, name: user.into() });
        let entry = Entry::User(entry);
        let change = if existing.is_some() { Change::UpdateEntry(entry) } else { Change::AddEntry(entry) };
        self.commit(vec![change], vec![event]).await
    }

    pub(super) fn user_list(&self, client: &str) -> Result<AdminReply, AdminError> {
        let client = self.client(client)?;
        let directory = self.app.store.directory();
        let users = directory.users.iter().filter(|user| user.client == client.id);
        Ok(AdminReply::Users(
            users.map(|user| UserView { id: user.id.to_string(), name: user.name.clone(), enabled: !user.disabled }).collect(),
        ))
    }

    pub(super) async fn user_remove(&self, client: &str, user: &str) -> Result<AdminReply, AdminError> {
        let client = self.client(client)?;
        let directory = self.app.store.directory();
        let known = directory.users.iter().find(|known| known.client == client.id && known.name == user);
        let known = known.ok_or_else(|| AdminError::name(format!("client \"{}\" has no user \"{user}\"", client.name)))?;
        let event = self.event(Action::UserRemoved, Details::Entry { id: known.id, name: user.into() });
        self.commit(vec![Change::RemoveEntry(EntryKind::User, known.id)], vec![event]).await
    }
}
