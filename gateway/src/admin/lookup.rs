//! Names as administrators type them -> entries of the store.

use std::sync::Arc;

use super::{Admin, AdminError};
use crate::store::{Client, ClientGroup, ClientId, EntryId, Grantee, KeystoreId, OrganisationId};

/// Longest name of a client, user or group.
const NAME_BYTES_MAX: usize = 255;

impl Admin<'_> {
    pub(super) fn client(&self, name: &str) -> Result<Arc<Client>, AdminError> {
        let directory = self.app.store.directory();
        let by_id = name.parse::<ClientId>().ok();
        let found = directory.clients.values().find(|client| {
            client.organisation == OrganisationId::DEFAULT && (client.name == name || Some(client.id) == by_id)
        });
        found.cloned().ok_or_else(|| AdminError::name(format!("there is no client \"{name}\"")))
    }

    pub(super) fn group(&self, name: &str) -> Result<Arc<ClientGroup>, AdminError> {
        self.find_group(name).ok_or_else(|| AdminError::name(format!("there is no group \"{name}\"")))
    }

    pub(super) fn find_group(&self, name: &str) -> Option<Arc<ClientGroup>> {
        self.app.store.directory().groups.iter().find(|group| group.name == name).cloned()
    }

    /// A client or a group; a name that is both must be said more exactly.
    pub(super) fn grantee(&self, name: &str) -> Result<(Grantee, EntryId), AdminError> {
        let (kind, bare) = match name.split_once(':') {
            Some((kind @ ("client" | "group"), bare)) => (Some(kind), bare),
            _ => (None, name),
        };
        let client = if kind == Some("group") { None } else { self.client(bare).ok() };
        let group = if kind == Some("client") { None } else { self.find_group(bare) };
        match (client, group) {
            (Some(_), Some(_)) => {
                Err(AdminError::name(format!("\"{bare}\" is a client and a group: say client:{bare} or group:{bare}")))
            }
            (Some(client), None) => Ok((Grantee::Client(client.id), client.id.into())),
            (None, Some(group)) => Ok((Grantee::Group(group.id), group.id)),
            (None, None) => Err(AdminError::name(format!("there is no client or group \"{bare}\""))),
        }
    }

    /// A keystore for the new keys of a client. One that takes none would refuse each of them.
    pub(super) fn keystore(&self, name: &str) -> Result<KeystoreId, AdminError> {
        let directory = self.app.store.directory();
        let found = directory.keystores.iter().find(|keystore| keystore.name == name);
        let found = found.ok_or_else(|| AdminError::name(format!("there is no keystore \"{name}\"")))?;
        match found.managed.as_ref().map(|managed| managed.state) {
            Some(state) if !state.takes_new() => {
                Err(AdminError::usage(format!("keystore \"{name}\" takes no new keys: it is {}, not active", state.name())))
            }
            _ => Ok(found.id),
        }
    }
}

/// A name that can be shown on one line and typed again.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), AdminError> {
    let fine = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.trim() == name && !name.chars().any(char::is_control);
    if fine {
        Ok(())
    } else {
        Err(AdminError::usage(format!("{what} must have 1 to {NAME_BYTES_MAX} octets, no control characters, no blanks around it")))
    }
}
