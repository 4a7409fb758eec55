//! Everything provisioning decides by, parsed once per change of the store: services, keys and authorities.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroU64,
    sync::Arc,
};

use keygate_pki::{
    Certificate, OffsetDateTime, Reason, SpkiHash,
    provisioning::{EffectiveState, KeyId, KeyState, Limits, SecretHash, ServiceState},
};

use super::{
    authority::{Keys, LoadedAuthority},
    error::ProvisioningError,
};
use crate::store::{Directory, EntryId, OrganisationId, ProvisioningKey, ProvisioningService, Revocation, StoredTier, Versioned};

/// What is true as of one commit.
#[derive(Default)]
pub struct Snapshot {
    /// The commit.
    pub(crate) changed_at: u64,
    /// Organisations by id, with their names.
    pub(crate) organisations: BTreeMap<OrganisationId, String>,
    services: HashMap<OrganisationId, Versioned<ProvisioningService>>,
    pub(crate) keys: BTreeMap<EntryId, Arc<Key>>,
    by_public_id: HashMap<KeyId, EntryId>,
    pub(crate) authorities: BTreeMap<EntryId, Arc<LoadedAuthority>>,
    ca_keys: HashSet<SpkiHash>,
    /// Chains above the clients of each authority that issues now: made once, handed out with every certificate.
    chains: HashMap<EntryId, Arc<[Certificate]>>,
}

/// A provisioning key as it is used.
pub struct Key {
    /// The row.
    pub row: Versioned<ProvisioningKey>,
    /// The id that clients present.
    pub public_id: KeyId,
    /// Its own state.
    pub state: KeyState,
    /// What counts: its state and the service's.
    pub effective: EffectiveState,
    pub(crate) hash: SecretHash,
    /// Its limits.
    pub limits: Limits,
}

/// The name of the organisation that is there from the start.
pub const DEFAULT_ORGANISATION: &str = "default";

impl Snapshot {
    /// Parses the store's rows; authorities that have not changed are taken over from `before`.
    pub(crate) fn new(directory: &Directory, before: &Self, keys: &Keys<'_>) -> Result<Self, ProvisioningError> {
        let mut snapshot = Self { changed_at: directory.changed_at, ..Self::default() };
        snapshot.organisations.insert(OrganisationId::DEFAULT, DEFAULT_ORGANISATION.into());
        let named = directory.organisations.values().map(|row| (row.id, row.name.clone()));
        snapshot.organisations.extend(named);
        snapshot.services.extend(directory.services.iter().map(|(id, row)| (*id, row.clone())));
        for row in directory.provisioning_keys.values() {
            let key = Key::parse(row, snapshot.service_state(row.organisation))?;
            snapshot.by_public_id.insert(key.public_id, row.id);
            snapshot.keys.insert(row.id, Arc::new(key));
        }
        for row in directory.authorities.values() {
            let known = before.authorities.get(&row.id).filter(|known| known.row.version == row.version);
            let authority = match known {
                Some(known) if !known.is_away() => known.clone(),
                _ => Arc::new(LoadedAuthority::load(row, keys)?),
            };
            snapshot.ca_keys.extend(authority.certificates.iter().map(|held| held.certificate.spki_hash()));
            snapshot.authorities.insert(row.id, authority);
        }
        let issuing = snapshot.authorities.values().filter(|authority| authority.row.tier == StoredTier::Key);
        let chains = issuing.map(|authority| (authority.row.id, snapshot.make_chain(authority).into()));
        snapshot.chains = chains.collect();
        Ok(snapshot)
    }

    /// Adds keys of CAs outside the hierarchy: no client may have one.
    pub(crate) fn add_ca_keys<'a>(&mut self, certificates: impl Iterator<Item = &'a Certificate>) {
        self.ca_keys.extend(certificates.map(Certificate::spki_hash));
    }

    /// Whether a key is that of a CA of this gateway.
    pub(crate) fn is_ca_key(&self, key: &SpkiHash) -> bool {
        self.ca_keys.contains(key)
    }

    /// The state of an organisation's service.
    pub fn service_state(&self, organisation: OrganisationId) -> ServiceState {
        service_state(self.services.get(&organisation))
    }

    /// The row of an organisation's service, once there is one.
    pub(crate) fn service(&self, organisation: OrganisationId) -> Option<&Versioned<ProvisioningService>> {
        self.services.get(&organisation)
    }

    /// A provisioning key by the id that clients present.
    pub(crate) fn key_by_public_id(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.by_public_id.get(&id).and_then(|id| self.keys.get(id))
    }

    /// The authorities of a provisioning key, oldest first.
    pub(crate) fn issuers_of(&self, key: EntryId) -> impl Iterator<Item = &Arc<LoadedAuthority>> {
        self.authorities.values().filter(move |authority| authority.row.provisioning_key == Some(key))
    }

    /// The authority that signs for a tier: of an organisation, or of a key.
    pub(crate) fn active(
        &self,
        tier: StoredTier,
        organisation: OrganisationId,
        key: Option<EntryId>,
    ) -> Option<&Arc<LoadedAuthority>> {
        self.authorities.values().rfind(|authority| {
            let row = &authority.row;
            let mine = tier == StoredTier::Root || row.organisation == organisation;
            row.tier == tier && mine && row.provisioning_key == key && authority.generation.signs_certificates()
        })
    }

    /// The authority above another one that now signs for it.
    pub(crate) fn parent_of(&self, authority: &LoadedAuthority) -> Option<&Arc<LoadedAuthority>> {
        match authority.row.tier {
            StoredTier::Root => None,
            StoredTier::Organisation => self.active(StoredTier::Root, OrganisationId::DEFAULT, None),
            StoredTier::Key => self.active(StoredTier::Organisation, authority.row.organisation, None),
        }
    }

    /// When and why the certificates of an authority are revoked; `None` where they are not.
    pub(crate) fn revocation_of(&self, authority: &LoadedAuthority) -> Option<(OffsetDateTime, Reason)> {
        if let Some(revoked) = authority.own_revocation() {
            return Some(revoked);
        }
        match self.keys.get(&authority.row.provisioning_key?) {
            Some(key) => key.effective.on_parent_crl(),
            // A key whose row cannot be read vouches for nobody, until it can.
            None => Some((moment(authority.row.created_ms / 1000)?, Reason::CertificateHold)),
        }
    }

    /// The chain above a leaf of `authority`, up to and without the root.
    pub(crate) fn chain_above(&self, authority: &LoadedAuthority) -> Arc<[Certificate]> {
        self.chains.get(&authority.row.id).cloned().unwrap_or_default()
    }

    fn make_chain(&self, authority: &LoadedAuthority) -> Vec<Certificate> {
        let mut chain = Vec::new();
        let mut current = authority;
        // Three tiers: the root is not sent.
        while current.row.tier != StoredTier::Root {
            let parent = self.parent_of(current);
            let Some(certificate) = current.certificate_under(parent.map(|parent| parent.row.id)) else { break };
            chain.push(certificate.clone());
            match parent {
                Some(parent) => current = parent,
                None => break,
            }
        }
        chain
    }
}

impl Key {
    fn parse(row: &Versioned<ProvisioningKey>, service: ServiceState) -> Result<Self, ProvisioningError> {
        let damaged = || ProvisioningError::Damaged("provisioning key");
        let state = key_state(row).ok_or_else(damaged)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(&row.secret_hash, &mut hash).map_err(|_| damaged())?;
        Ok(Self {
            public_id: row.key_id.parse().map_err(|_| damaged())?,
            effective: EffectiveState::of(service, &state),
            state,
            hash: SecretHash::from_bytes(hash),
            limits: limits(row).ok_or_else(damaged)?,
            row: row.clone(),
        })
    }
}

fn key_state(row: &ProvisioningKey) -> Option<KeyState> {
    let stored = &row.state;
    let told = match stored.told {
        Some(code) => Some(Reason::from_code(code)?),
        None => None,
    };
    KeyState::from_stored(&stored.name, moment(stored.since)?, stored.reason.clone(), told).ok()
}

fn service_state(row: Option<&Versioned<ProvisioningService>>) -> ServiceState {
    let moment = |seconds| moment(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    match row {
        None => ServiceState::NEW,
        Some(row) if row.enabled => ServiceState::Enabled { since: moment(row.since) },
        Some(row) => ServiceState::Disabled { since: Some(moment(row.since)) },
    }
}

/// What counts for the clients of a key; `None` where its row cannot be read.
pub(crate) fn effective_state(directory: &Directory, row: &ProvisioningKey) -> Option<EffectiveState> {
    Some(EffectiveState::of(service_state(directory.services.get(&row.organisation)), &key_state(row)?))
}

fn limits(row: &ProvisioningKey) -> Option<Limits> {
    Some(Limits {
        expires: match row.expires {
            Some(at) => Some(moment(at)?),
            None => None,
        },
        uses_max: row.uses_max.and_then(NonZeroU64::new),
        sources: row.sources.parse().ok()?,
        names: match &row.names {
            Some(pattern) => Some(pattern.parse().ok()?),
            None => None,
        },
    })
}

/// When and why something was revoked. What is stored is revoked, however it reads: a value of no known form counts as long ago,
/// for a reason that is not said.
pub(crate) fn when_and_why(by: Revocation) -> (OffsetDateTime, Reason) {
    let at = moment(by.at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (at, Reason::from_code(by.reason).unwrap_or(Reason::Unspecified))
}

/// A stored time, seconds since 1970.
pub(crate) fn moment(seconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}
