//! Grants: what others than the owner may do.

use keygate_kmip::Operation;

use super::{Admin, AdminError, AdminReply, reply::GrantView, request::GrantTarget};
use crate::{
    audit::{Action, Details},
    store::{Change, Directory, Entry, EntryId, EntryKind, Grant, GrantScope, Grantee, ObjectId, OrganisationId},
};

/// Stands for every operation.
const ALL: &str = "all";

impl Admin<'_> {
    pub(super) async fn grant_add(&self, target: &GrantTarget, to: &str, operations: Vec<String>) -> Result<AdminReply, AdminError> {
        let operations = operations.iter().map(|name| operation(name)).collect::<Result<Vec<_>, _>>()?;
        if operations.is_empty() {
            return Err(AdminError::usage("a grant names at least one operation"));
        }
        let scope = match target {
            GrantTarget::Object(id) => GrantScope::Object(self.existing_object(id).await?),
            GrantTarget::Owner(name) => GrantScope::Owner(self.client(name)?.id),
        };
        let (grantee, grantee_id) = self.grantee(to)?;
        let grant = Grant { id: EntryId::generate(), organisation: OrganisationId::DEFAULT, scope, grantee, operations };
        let details = Details::Grant { id: grant.id, grantee: grantee_id, operations: grant.operations.clone() };
        let mut event = self.event(Action::GrantAdded, details);
        if let GrantScope::Object(object) = scope {
            event.object = Some(object);
        }
        let id = grant.id.to_string();
        self.commit(vec![Change::AddEntry(Entry::Grant(grant))], vec![event]).await?;
        Ok(AdminReply::Made { id })
    }

    pub(super) async fn grant_remove(&self, id: &str) -> Result<AdminReply, AdminError> {
        let directory = self.app.store.directory();
        let grant = directory.grants.iter().find(|grant| grant.id.to_string() == id);
        let grant = grant.ok_or_else(|| AdminError::name(format!("there is no grant {id}")))?;
        let grantee = match grant.grantee {
            Grantee::Client(client) => client.into(),
            Grantee::Group(group) => group,
        };
        let details = Details::Grant { id: grant.id, grantee, operations: grant.operations.clone() };
        let event = self.event(Action::GrantRemoved, details);
        self.commit(vec![Change::RemoveEntry(EntryKind::Grant, grant.id)], vec![event]).await
    }

    pub(super) fn grant_list(&self) -> AdminReply {
        let directory = self.app.store.directory();
        AdminReply::Grants(directory.grants.iter().map(|grant| view(&directory, grant)).collect())
    }

    pub(super) async fn existing_object(&self, id: &str) -> Result<ObjectId, AdminError> {
        let object = id.parse::<ObjectId>().map_err(|_| AdminError::usage(format!("\"{id}\" is not a Unique Identifier")))?;
        match self.app.store.object(object).await.map_err(AdminError::failed)? {
            Some(_) => Ok(object),
            None => Err(AdminError::name(format!("there is no object {id}"))),
        }
    }
}

/// The name as the standard spells it.
fn operation(name: &str) -> Result<String, AdminError> {
    if name.eq_ignore_ascii_case(ALL) {
        return Ok(ALL.into());
    }
    // "GetAttributes", "get-attributes" and "Get Attributes" are one operation.
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let known = Operation::ALL.iter().filter_map(|operation| operation.xml_name());
    let found = known.into_iter().find(|known| known.eq_ignore_ascii_case(&plain));
    found.map(str::to_owned).ok_or_else(|| AdminError::usage(format!("\"{name}\" is not a KMIP operation, nor \"{ALL}\"")))
}

fn view(directory: &Directory, grant: &Grant) -> GrantView {
    let client = |id| directory.clients.get(&id).map_or_else(|| format!("{id}"), |client| client.name.clone());
    let group = |id: EntryId| directory.groups.iter().find(|group| group.id == id).map_or_else(|| id.to_string(), |group| group.name.clone());
    GrantView {
        id: grant.id.to_string(),
        on: match grant.scope {
            GrantScope::Object(id) => format!("object {id}"),
            GrantScope::Owner(id) => format!("owner {}", client(id)),
        },
        to: match grant.grantee {
            Grantee::Client(id) => format!("client {}", client(id)),
            Grantee::Group(id) => format!("group {}", group(id)),
        },
        operations: grant.operations.clone(),
    }
}
