//! Switching an organisation's provisioning service on and off.

use keygate_pki::provisioning::{Decision, ServiceState};

use super::{
    Deciding, Provisioning, ProvisioningError, Reasoned, expect,
    hierarchy::{KeyChoice, Place},
    snapshot::Snapshot,
};
use crate::{
    audit::{Action, Details, Event},
    store::{
        Authority, Change, Entry, EntryId, EntryKind, OrganisationId, ProvisioningService, StoredGeneration, StoredTier,
        Versioned,
    },
};

impl Provisioning {
    /// Switches the service on. The first time it makes the root and the organisation's issuer with `choice`. `version`: of the
    /// row that was seen, if the caller has seen one.
    pub async fn enable_service(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        wish: &Reasoned,
        choice: KeyChoice,
        version: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let decision = Decision::new(self.now(), &wish.reason, wish.acknowledged)?;
        let snapshot = self.snapshot();
        self.organisation_name(&snapshot, organisation)?;
        let state = snapshot.service_state(organisation).enable(&decision);
        let state = state.ok_or_else(|| ProvisioningError::State("the service is enabled already".into()))?;
        let (mut changes, mut events) = self.switch(&snapshot, by, organisation, state, &decision, version)?;
        self.add_hierarchy(&snapshot, by, organisation, choice, &mut changes, &mut events).await?;
        self.commit(changes, events).await?;
        self.publish_change().await
    }

    /// Switches the service off: its clients are refused at once, no key's own state changes.
    pub async fn disable_service(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        wish: &Reasoned,
        version: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let decision = Decision::new(self.now(), &wish.reason, wish.acknowledged)?;
        let snapshot = self.snapshot();
        self.organisation_name(&snapshot, organisation)?;
        let state = snapshot.service_state(organisation).disable(&decision);
        let state = state.ok_or_else(|| ProvisioningError::State("the service is disabled already".into()))?;
        let (changes, events) = self.switch(&snapshot, by, organisation, state, &decision, version)?;
        self.commit(changes, events).await?;
        self.publish_change().await
    }

    /// An organisation's name.
    pub(super) fn organisation_name<'a>(
        &self,
        snapshot: &'a Snapshot,
        organisation: OrganisationId,
    ) -> Result<&'a str, ProvisioningError> {
        let name = snapshot.organisations.get(&organisation).map(String::as_str);
        name.ok_or_else(|| ProvisioningError::NotFound { what: "organisation", id: organisation.to_string() })
    }

    fn switch(
        &self,
        snapshot: &Snapshot,
        by: &Deciding,
        organisation: OrganisationId,
        state: ServiceState,
        decision: &Decision,
        seen: Option<u64>,
    ) -> Result<(Vec<Change>, Vec<Event>), ProvisioningError> {
        let row = snapshot.service(organisation);
        let version = row.map_or(0, |row| row.version);
        if seen.is_some_and(|seen| seen != version) {
            return Err(ProvisioningError::Changed);
        }
        let id = row.map_or_else(EntryId::generate, |row| row.id);
        let enabled = matches!(state, ServiceState::Enabled { .. });
        let service = ProvisioningService {
            id,
            organisation,
            enabled,
            since: decision.at().unix_timestamp(),
            reason: decision.reason().into(),
        };
        let change = if row.is_some() { Change::UpdateEntry } else { Change::AddEntry };
        let action = if enabled { Action::ServiceEnabled } else { Action::ServiceDisabled };
        let name = self.organisation_name(snapshot, organisation)?.to_owned();
        let details = Details::Decision { id, name, reason: decision.reason().into() };
        let changes = vec![expect(EntryKind::Service, id, version), change(Entry::Service(service))];
        Ok((changes, vec![self.event(by, organisation, action, details)]))
    }

    async fn add_hierarchy(
        &self,
        snapshot: &Snapshot,
        by: &Deciding,
        organisation: OrganisationId,
        choice: KeyChoice,
        changes: &mut Vec<Change>,
        events: &mut Vec<Event>,
    ) -> Result<(), ProvisioningError> {
        if snapshot.active(StoredTier::Organisation, organisation, None).is_some() {
            return Ok(());
        }
        let stage = StoredGeneration::Active { since: self.now().unix_timestamp() };
        let place = |tier, organisation| Place { organisation, tier, key: None, public_id: None };
        let mut made = None;
        if snapshot.active(StoredTier::Root, OrganisationId::DEFAULT, None).is_none() {
            let key = self.new_key(OrganisationId::DEFAULT, choice).await?;
            let place = place(StoredTier::Root, OrganisationId::DEFAULT);
            let row = self.new_authority(snapshot, place, &key, stage, None).await?;
            events.push(self.issuer_event(by, Action::IssuerCreated, &row));
            changes.extend(key.change());
            changes.push(Change::AddEntry(Entry::Authority(row.clone())));
            made = Some(self.load(row)?);
        }
        let root = made.as_ref().or_else(|| {
            snapshot.active(StoredTier::Root, OrganisationId::DEFAULT, None).map(AsRef::as_ref)
        });
        let key = self.new_key(organisation, choice).await?;
        let place = place(StoredTier::Organisation, organisation);
        let row = self.new_authority(snapshot, place, &key, stage, root).await?;
        events.push(self.issuer_event(by, Action::IssuerCreated, &row));
        changes.extend(key.change());
        changes.push(Change::AddEntry(Entry::Authority(row)));
        Ok(())
    }

    /// A row that is not stored yet, ready to sign.
    pub(super) fn load(&self, row: Authority) -> Result<super::authority::LoadedAuthority, ProvisioningError> {
        super::authority::LoadedAuthority::load(&Versioned { version: 0, entry: row.into() }, &self.keys())
    }

    pub(super) fn issuer_event(&self, by: &Deciding, action: Action, row: &Authority) -> Event {
        let name = row.certificates.last().and_then(|held| keygate_pki::Certificate::from_der(&held.der.0).ok());
        let name = name.map(|certificate| certificate.subject()).unwrap_or_default();
        self.event(by, row.organisation, action, Details::Entry { id: row.id, name })
    }
}
