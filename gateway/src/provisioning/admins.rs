//! Security administrators and organisations.

use super::{Deciding, Provisioning, ProvisioningError, expect};
use crate::{
    audit::{Action, Details},
    store::{Admin, AdminCertificate, Change, CommitError, Entry, EntryId, EntryKind, Organisation, OrganisationId, Role, Versioned},
};

/// Longest name of an organisation or administrator, characters.
const NAME_CHARS_MAX: usize = 64;

/// A certificate that an administrator shall be recognised by.
#[derive(Debug, Clone)]
pub struct NewAdminCertificate(pub AdminCertificate);

/// What may be changed of an administrator.
#[derive(Debug, Clone, Default)]
pub struct AdminPatch {
    /// Another role.
    pub role: Option<Role>,
    /// Refuse, or let in again.
    pub disabled: Option<bool>,
    /// A further certificate; expired ones are forgotten.
    pub certificate: Option<NewAdminCertificate>,
}

impl Provisioning {
    /// All administrators, oldest first.
    pub fn admins(&self) -> Vec<Versioned<Admin>> {
        self.store.directory().admins.values().cloned().collect()
    }

    /// An administrator by name or id.
    pub fn admin(&self, name: &str) -> Result<Versioned<Admin>, ProvisioningError> {
        let directory = self.store.directory();
        let id = name.parse::<EntryId>().ok();
        let is = |admin: &&Versioned<Admin>| Some(admin.id) == id || admin.name.to_lowercase() == name.to_lowercase();
        let found = directory.admins.values().find(is).cloned();
        found.ok_or_else(|| ProvisioningError::NotFound { what: "administrator", id: name.chars().take(80).collect() })
    }

    /// Adds an administrator.
    pub async fn add_admin(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        name: &str,
        role: Role,
        certificate: NewAdminCertificate,
    ) -> Result<Versioned<Admin>, ProvisioningError> {
        check_name("an administrator's name", name)?;
        let admin = Admin {
            id: EntryId::generate(),
            organisation,
            name: name.into(),
            role,
            disabled: false,
            certificates: vec![certificate.0],
            created_ms: self.now_ms(),
        };
        let id = admin.id;
        let event = self.event(by, organisation, Action::AdminAdded, Details::Entry { id, name: name.into() });
        let added = self.commit(vec![Change::AddEntry(Entry::Admin(admin))], vec![event]).await;
        added.map_err(|error| taken(error, "administrator", name))?;
        self.admin(&id.to_string())
    }

    /// Changes an administrator. The last one that can act stays one.
    pub async fn change_admin(
        &self,
        by: &Deciding,
        name: &str,
        patch: AdminPatch,
        seen: Option<u64>,
    ) -> Result<Versioned<Admin>, ProvisioningError> {
        let admin = self.admin(name)?;
        if seen.is_some_and(|seen| seen != admin.version) {
            return Err(ProvisioningError::Changed);
        }
        let mut row = Admin::clone(&admin);
        row.role = patch.role.unwrap_or(row.role);
        row.disabled = patch.disabled.unwrap_or(row.disabled);
        if let Some(certificate) = patch.certificate {
            let now = self.now().unix_timestamp();
            row.certificates.retain(|certificate| certificate.not_after >= now);
            row.certificates.push(certificate.0);
        }
        if row == *admin.entry {
            return Ok(admin);
        }
        let (id, organisation) = (row.id, row.organisation);
        let events = changed(&admin, &row).into_iter().map(|(action, details)| self.event(by, organisation, action, details)).collect();
        let changes = vec![expect(EntryKind::Admin, id, admin.version), Change::UpdateEntry(Entry::Admin(row))];
        self.commit(changes, events).await?;
        self.admin(&id.to_string())
    }

    /// All organisations by id, with their names.
    pub fn organisations(&self) -> Vec<(OrganisationId, String)> {
        self.snapshot().organisations.iter().map(|(id, name)| (*id, name.clone())).collect()
    }

    /// An organisation by name or id.
    pub fn organisation(&self, name: &str) -> Result<OrganisationId, ProvisioningError> {
        let found = self.organisations().into_iter().find(|(id, known)| known == name || id.to_string() == name);
        let missing = || ProvisioningError::NotFound { what: "organisation", id: name.chars().take(80).collect() };
        found.map(|(id, _)| id).ok_or_else(missing)
    }

    /// Adds an organisation. Its name stands in addresses: letters, digits and dashes.
    pub async fn add_organisation(&self, by: &Deciding, name: &str) -> Result<OrganisationId, ProvisioningError> {
        let fine = !name.is_empty()
            && name.len() <= NAME_CHARS_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !fine {
            let rule = "an organisation's name has 1 to 64 small letters, digits and dashes, and begins with a letter";
            return Err(ProvisioningError::Invalid(rule.into()));
        }
        if self.snapshot().organisations.values().any(|known| known == name) {
            return Err(ProvisioningError::NameTaken { what: "organisation", name: name.into() });
        }
        let id = OrganisationId::generate();
        let entry = Organisation { id, name: name.into(), created_ms: self.now_ms() };
        let event = self.event(by, id, Action::OrganisationAdded, Details::Entry { id: id.into(), name: name.into() });
        let added = self.commit(vec![Change::AddEntry(Entry::Organisation(entry))], vec![event]).await;
        added.map_err(|error| taken(error, "organisation", name))?;
        self.publish_change().await?;
        Ok(id)
    }
}

/// One event for each thing that changes.
fn changed(before: &Admin, after: &Admin) -> Vec<(Action, Details)> {
    let (id, name) = (after.id, &after.name);
    let entry = || Details::Entry { id, name: name.clone() };
    let role = || Details::Role { id, name: name.clone(), role: after.role.name().into() };
    let what = [
        (before.role != after.role).then(|| (Action::AdminRoleChanged, role())),
        (before.certificates != after.certificates).then(|| (Action::AdminCertificateAdded, entry())),
        (!before.disabled && after.disabled).then(|| (Action::AdminDisabled, entry())),
        (before.disabled && !after.disabled).then(|| (Action::AdminEnabled, entry())),
    ];
    what.into_iter().flatten().collect()
}

fn check_name(what: &str, name: &str) -> Result<(), ProvisioningError> {
    let chars = name.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX || name.trim() != name || name.chars().any(char::is_control) {
        let rule = format!("{what} must have 1 to {NAME_CHARS_MAX} characters, no control characters, no blanks around it");
        return Err(ProvisioningError::Invalid(rule));
    }
    Ok(())
}

fn taken(error: ProvisioningError, what: &'static str, name: &str) -> ProvisioningError {
    match error {
        ProvisioningError::Store(CommitError::EntryTaken { .. }) => ProvisioningError::NameTaken { what, name: name.into() },
        other => other,
    }
}
