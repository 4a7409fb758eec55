//! Provisioning keys: create, rename, limit, suspend, reactivate, revoke.

use std::sync::Arc;

use keygate_pki::{
    CLIENT_DAYS_DEFAULT, NamePattern, OffsetDateTime, Reason, SystemSerials,
    provisioning::{Decision, KeyId, KeyName, KeyState, ProvisioningSecret, SourceRanges},
};
use zeroize::Zeroizing;

use super::{
    CLIENT_DAYS_MAX, Deciding, Key, Provisioning, ProvisioningError, Reasoned, expect,
    hierarchy::{KeyChoice, Place},
    snapshot::Snapshot,
};
use crate::{
    audit::{Action, Details},
    seal::SecretText,
    store::{
        Change, CommitError, Entry, EntryId, EntryKind, OrganisationId, ProvisioningKey, StoredGeneration,
        StoredKeyState, StoredTier,
    },
};

/// A provisioning key as it is wished for.
#[derive(Debug, Clone, Default)]
pub struct NewKeyRequest {
    /// Its name.
    pub name: String,
    /// When the secret stops to work.
    pub expires: Option<OffsetDateTime>,
    /// How many clients may enrol.
    pub uses_max: Option<u64>,
    /// Networks that clients may enrol from, separated by commas; empty: anywhere.
    pub sources: String,
    /// Pattern of names that may be enrolled.
    pub names: Option<String>,
    /// Days of validity of clients' certificates.
    pub days: Option<u32>,
    /// The key that renews this one's clients, by public or internal id.
    pub successor: Option<String>,
    /// The key of its issuing CA.
    pub choice: KeyChoice,
}

/// What may be changed of a key at any time.
#[derive(Debug, Clone, Default)]
pub struct KeyPatch {
    /// Another name.
    pub name: Option<String>,
    /// The key that renews this one's clients; `Some("")`: none.
    pub successor: Option<String>,
}

/// A key that was made. The secret is shown this once.
pub struct CreatedKey {
    /// The key.
    pub key: Arc<Key>,
    /// `id.secret`.
    pub secret: Zeroizing<String>,
}

impl Provisioning {
    /// Makes a provisioning key and its issuing CA.
    pub async fn create_key(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        wish: &NewKeyRequest,
    ) -> Result<CreatedKey, ProvisioningError> {
        let name: KeyName = wish.name.parse()?;
        let snapshot = self.snapshot();
        let parent = snapshot.active(StoredTier::Organisation, organisation, None).ok_or_else(|| {
            ProvisioningError::State("the organisation has no issuer yet: enable the provisioning service first".into())
        })?;
        let public_id = KeyId::generate(&mut SystemSerials)?;
        let secret = ProvisioningSecret::generate(&mut SystemSerials)?;
        let row = self.new_row(&snapshot, organisation, wish, &name, public_id, &secret)?;
        // Asked again inside the transaction; here it spares a key pair that nobody needs.
        let states = snapshot.keys.values().filter(|key| key.row.organisation == organisation).map(|key| &key.state);
        keygate_pki::provisioning::check_room(states, keygate_pki::provisioning::CONCURRENT_KEYS_MAX)
            .map_err(|full| ProvisioningError::State(full.to_string()))?;
        let pair = self.new_key(organisation, wish.choice).await?;
        let place = Place { organisation, tier: StoredTier::Key, key: Some(row.id), public_id: Some(public_id) };
        let stage = StoredGeneration::Active { since: self.now().unix_timestamp() };
        let authority = self.new_authority(&snapshot, place, &pair, stage, Some(parent)).await?;
        let events = vec![
            self.key_event(by, Action::ProvisioningKeyCreated, &row, ""),
            self.issuer_event(by, Action::IssuerCreated, &authority),
        ];
        let id = row.id;
        let mut changes = vec![
            expect(EntryKind::Authority, parent.row.id, parent.row.version),
            Change::AddEntry(Entry::ProvisioningKey(row)),
            Change::AddEntry(Entry::Authority(authority)),
        ];
        changes.extend(pair.change());
        self.commit(changes, events).await.map_err(|error| taken(error, &name))?;
        // The secret is shown this once: a list that could not be signed, and is tried again, must not lose it.
        if let Err(error) = self.publish_change().await {
            tracing::warn!(error = crate::admin::chain(&error), "a provisioning key was made");
        }
        let key = self.snapshot().keys.get(&id).cloned();
        let key = key.ok_or(ProvisioningError::Damaged("provisioning key"))?;
        Ok(CreatedKey { key, secret: secret.expose_pair(public_id) })
    }

    fn new_row(
        &self,
        snapshot: &Snapshot,
        organisation: OrganisationId,
        wish: &NewKeyRequest,
        name: &KeyName,
        public_id: KeyId,
        secret: &ProvisioningSecret,
    ) -> Result<ProvisioningKey, ProvisioningError> {
        let invalid = |text: String| Err(ProvisioningError::Invalid(text));
        let days = wish.days.unwrap_or(CLIENT_DAYS_DEFAULT);
        if days == 0 || days > CLIENT_DAYS_MAX {
            return invalid(format!("days must be 1 to {CLIENT_DAYS_MAX}"));
        }
        if wish.expires.is_some_and(|at| at <= self.now()) {
            return invalid("expires must be in the future".into());
        }
        if wish.uses_max == Some(0) {
            return invalid("uses must be 1 or more".into());
        }
        let names = wish.names.as_deref().map(str::parse::<NamePattern>).transpose()?;
        let sources: SourceRanges = wish.sources.parse()?;
        let successor = match &wish.successor {
            Some(id) => Some(self.successor(snapshot, organisation, None, id)?),
            None => None,
        };
        Ok(ProvisioningKey {
            id: EntryId::generate(),
            organisation,
            key_id: public_id.to_string(),
            name: name.as_str().into(),
            state: StoredKeyState {
                name: "active".into(),
                since: self.now().unix_timestamp(),
                reason: None,
                told: None,
            },
            secret: SecretText::new(&secret.expose_text()).map_err(ProvisioningError::Memory)?,
            secret_hash: hex::encode(secret.hash(public_id).as_bytes()),
            expires: wish.expires.map(OffsetDateTime::unix_timestamp),
            uses_max: wish.uses_max,
            sources: sources.to_string(),
            names: names.map(|pattern| pattern.to_string()),
            days,
            successor,
            uses_cleared: 0,
            created_ms: self.now_ms(),
        })
    }

    /// A key by its public id, its internal id, or its name.
    pub fn key(&self, organisation: OrganisationId, id: &str) -> Result<Arc<Key>, ProvisioningError> {
        find(&self.snapshot(), organisation, id)
    }

    /// Changes the name or the successor.
    pub async fn change_key(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        patch: &KeyPatch,
        seen: Option<u64>,
    ) -> Result<Arc<Key>, ProvisioningError> {
        let snapshot = self.snapshot();
        let key = find(&snapshot, organisation, id)?;
        if seen.is_some_and(|seen| seen != key.row.version) {
            return Err(ProvisioningError::Changed);
        }
        let name: KeyName = patch.name.as_deref().unwrap_or(&key.row.name).parse()?;
        let successor = match patch.successor.as_deref() {
            None => key.row.successor,
            Some("") => None,
            Some(other) => Some(self.successor(&snapshot, organisation, Some(key.row.id), other)?),
        };
        let row = ProvisioningKey { name: name.as_str().into(), successor, ..ProvisioningKey::clone(&key.row) };
        let mut events = Vec::new();
        if row.name != key.row.name {
            let details = Details::Decision { id: row.id, name: row.name.clone(), reason: format!("was {}", key.row.name) };
            events.push(self.event(by, organisation, Action::ProvisioningKeyRenamed, details));
        }
        if row.successor != key.row.successor {
            events.push(self.key_event(by, Action::ProvisioningKeyChanged, &row, "successor"));
        }
        if events.is_empty() {
            return Ok(key);
        }
        self.replace(&key, row, events, seen).await.map_err(|error| taken(error, &name))
    }

    /// Stops issuing and renewing; what was issued still connects.
    pub async fn suspend_key(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        wish: &Reasoned,
        seen: Option<u64>,
    ) -> Result<Arc<Key>, ProvisioningError> {
        let decision = Decision::new(self.now(), &wish.reason, wish.acknowledged)?;
        let key = self.key(organisation, id)?;
        let KeyState::Active(state) = key.state.clone() else { return Err(not_in(&key, "active")) };
        let state = KeyState::Suspended(state.suspend(&decision));
        self.transit(by, &key, &state, Action::ProvisioningKeySuspended, &decision, seen).await
    }

    /// Issues and renews again.
    pub async fn reactivate_key(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        wish: &Reasoned,
        seen: Option<u64>,
    ) -> Result<Arc<Key>, ProvisioningError> {
        let decision = Decision::new(self.now(), &wish.reason, wish.acknowledged)?;
        let key = self.key(organisation, id)?;
        let KeyState::Suspended(state) = key.state.clone() else { return Err(not_in(&key, "suspended")) };
        let state = KeyState::Active(state.reactivate(&decision));
        self.transit(by, &key, &state, Action::ProvisioningKeyReactivated, &decision, seen).await
    }

    /// Ends the key and all its certificates, for everybody and for good.
    pub async fn revoke_key(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        wish: &Reasoned,
        told: Reason,
        seen: Option<u64>,
    ) -> Result<Arc<Key>, ProvisioningError> {
        if told == Reason::CertificateHold {
            return Err(ProvisioningError::Invalid(format!("a key is revoked for good: {} is no reason", told.name())));
        }
        let decision = Decision::new(self.now(), &wish.reason, wish.acknowledged)?;
        let key = self.key(organisation, id)?;
        let state = match key.state.clone() {
            KeyState::Active(state) => state.revoke(&decision, told),
            KeyState::Suspended(state) => state.revoke(&decision, told),
            KeyState::Revoked(_) => return Err(not_in(&key, "active or suspended")),
        };
        let state = KeyState::Revoked(state);
        let key = self.transit(by, &key, &state, Action::ProvisioningKeyRevoked, &decision, seen).await?;
        // Everybody is told first; the CA's last signatures and its end come after, and again soon if they fail.
        self.publish_change().await?;
        if let Err(error) = self.end_revoked().await {
            tracing::error!(error = crate::admin::chain(&error), "the CA of a revoked key could not be ended yet");
        }
        self.publish_change().await?;
        Ok(key)
    }

    async fn transit(
        &self,
        by: &Deciding,
        key: &Key,
        state: &KeyState,
        action: Action,
        decision: &Decision,
        seen: Option<u64>,
    ) -> Result<Arc<Key>, ProvisioningError> {
        let stored = StoredKeyState {
            name: state.name().into(),
            since: state.since().unix_timestamp(),
            reason: state.reason().map(str::to_owned),
            told: state.told().map(Reason::code),
        };
        let row = ProvisioningKey { state: stored, ..ProvisioningKey::clone(&key.row) };
        let event = self.key_event(by, action, &row, decision.reason());
        self.replace(key, row, vec![event], seen).await
    }

    async fn replace(
        &self,
        key: &Key,
        row: ProvisioningKey,
        events: Vec<crate::audit::Event>,
        seen: Option<u64>,
    ) -> Result<Arc<Key>, ProvisioningError> {
        if seen.is_some_and(|seen| seen != key.row.version) {
            return Err(ProvisioningError::Changed);
        }
        let id = row.id;
        let changes = vec![
            expect(EntryKind::ProvisioningKey, id, key.row.version),
            Change::UpdateEntry(Entry::ProvisioningKey(row)),
        ];
        self.commit(changes, events).await?;
        self.snapshot().keys.get(&id).cloned().ok_or(ProvisioningError::Damaged("provisioning key"))
    }

    /// Another key of the organisation that can take over, without a circle.
    fn successor(
        &self,
        snapshot: &Snapshot,
        organisation: OrganisationId,
        of: Option<EntryId>,
        id: &str,
    ) -> Result<EntryId, ProvisioningError> {
        let successor = find(snapshot, organisation, id)?;
        if !successor.state.takes_a_place() {
            return Err(ProvisioningError::State("a revoked key renews nothing: it cannot be a successor".into()));
        }
        let mut next = Some(successor.row.id);
        while let Some(id) = next {
            if Some(id) == of {
                return Err(ProvisioningError::Invalid("a key cannot be its own successor, not in a circle either".into()));
            }
            next = snapshot.keys.get(&id).and_then(|key| key.row.successor);
        }
        Ok(successor.row.id)
    }

    fn key_event(&self, by: &Deciding, action: Action, row: &ProvisioningKey, reason: &str) -> crate::audit::Event {
        let details = Details::Decision { id: row.id, name: row.name.clone(), reason: reason.into() };
        self.event(by, row.organisation, action, details)
    }
}

fn find(snapshot: &Snapshot, organisation: OrganisationId, id: &str) -> Result<Arc<Key>, ProvisioningError> {
    let by_id = id.parse::<KeyId>().ok();
    let (entry, folded) = (id.parse::<EntryId>().ok(), id.to_ascii_lowercase());
    let keys = || snapshot.keys.values().filter(|key| key.row.organisation == organisation);
    // A name may look like the id of another key: ids go first.
    let by_id = keys().find(|key| Some(key.public_id) == by_id || Some(key.row.id) == entry);
    let found = by_id.or_else(|| keys().find(|key| key.row.name.to_ascii_lowercase() == folded));
    let missing = || ProvisioningError::NotFound { what: "provisioning key", id: id.chars().take(80).collect() };
    found.cloned().ok_or_else(missing)
}

fn not_in(key: &Key, needed: &str) -> ProvisioningError {
    ProvisioningError::State(format!("provisioning key \"{}\" is {}, not {needed}", key.row.name, key.state.name()))
}

fn taken(error: ProvisioningError, name: &KeyName) -> ProvisioningError {
    match error {
        ProvisioningError::Store(CommitError::EntryTaken { kind: EntryKind::ProvisioningKey, .. }) => {
            ProvisioningError::NameTaken { what: "provisioning key", name: name.as_str().into() }
        }
        other => other,
    }
}
