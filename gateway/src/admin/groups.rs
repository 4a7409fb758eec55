//! Groups of clients.

use super::{Admin, AdminError, AdminReply, lookup::check_name, reply::GroupView};
use crate::{
    audit::{Action, Details},
    store::{Change, ClientGroup, Entry, EntryId, EntryKind, Grantee, GroupMember, OrganisationId},
};

impl Admin<'_> {
    /// Makes the group where it is missing, and adds the members it has not.
    pub(super) async fn group_add(&self, name: &str, members: &[String]) -> Result<AdminReply, AdminError> {
        check_name("a group's name", name)?;
        let existing = self.find_group(name);
        if existing.is_some() && members.is_empty() {
            return Err(AdminError::name(format!("there is a group \"{name}\" already")));
        }
        let id = existing.as_ref().map_or_else(EntryId::generate, |group| group.id);
        let mut changes = Vec::new();
        if existing.is_none() {
            let group = ClientGroup { id, organisation: OrganisationId::DEFAULT, name: name.into() };
            changes.push(Change::AddEntry(Entry::Group(group)));
        }
        let directory = self.app.store.directory();
        let mut added = Vec::new();
        for member in members {
            let client = self.client(member)?.id;
            let is_member = directory.members.iter().any(|known| known.group == id && known.client == client);
            if !is_member && !added.contains(&client) {
                added.push(client);
                let member = GroupMember { id: EntryId::generate(), organisation: OrganisationId::DEFAULT, group: id, client };
                changes.push(Change::AddEntry(Entry::Member(member)));
            }
        }
        if changes.is_empty() {
            return Ok(AdminReply::Done);
        }
        let action = if existing.is_some() { Action::GroupChanged } else { Action::GroupAdded };
        self.commit(changes, vec![self.event(action, Details::Entry { id, name: name.into() })]).await
    }

    /// Removes members; without any named, the group with its memberships and the grants to it.
    pub(super) async fn group_remove(&self, name: &str, members: &[String]) -> Result<AdminReply, AdminError> {
        let group = self.group(name)?;
        let directory = self.app.store.directory();
        let in_group = directory.members.iter().filter(|member| member.group == group.id);
        let mut changes = Vec::new();
        let action = if members.is_empty() {
            changes.extend(in_group.map(|member| Change::RemoveEntry(EntryKind::Member, member.id)));
            let grants = directory.grants.iter().filter(|grant| grant.grantee == Grantee::Group(group.id));
            changes.extend(grants.map(|grant| Change::RemoveEntry(EntryKind::Grant, grant.id)));
            changes.push(Change::RemoveEntry(EntryKind::Group, group.id));
            Action::GroupRemoved
        } else {
            let leaving = members.iter().map(|name| self.client(name).map(|client| client.id)).collect::<Result<Vec<_>, _>>()?;
            let leaving = in_group.filter(|member| leaving.contains(&member.client));
            changes.extend(leaving.map(|member| Change::RemoveEntry(EntryKind::Member, member.id)));
            Action::GroupChanged
        };
        if changes.is_empty() {
            return Ok(AdminReply::Done);
        }
        self.commit(changes, vec![self.event(action, Details::Entry { id: group.id, name: name.into() })]).await
    }

    pub(super) fn group_list(&self) -> AdminReply {
        let directory = self.app.store.directory();
        let members = |group: EntryId| {
            let members = directory.members.iter().filter(|member| member.group == group);
            let mut names: Vec<String> =
                members.filter_map(|member| directory.clients.get(&member.client)).map(|client| client.name.clone()).collect();
            names.sort();
            names
        };
        let mut groups: Vec<GroupView> = directory
            .groups
            .iter()
            .map(|group| GroupView { id: group.id.to_string(), name: group.name.clone(), members: members(group.id) })
            .collect();
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        AdminReply::Groups(groups)
    }
}
