//! Quotas: how many objects and certificates a client or an organisation may have.
//!
//! They are exact because the writer alone decides: a unit of work is checked against what is committed and what goes into the
//! same transaction before it. Objects are counted in memory, and only where a quota is set; certificates are counted by the
//! index that is there anyway. Whoever asks earlier ([`super::Store::check_object_room`]) saves work, no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use super::issued::IssuedIndex;
use super::plan::Accepted;
use super::{Change, ClientId, CommitError, ObjectRow, OrganisationId};

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Certificates of an enrolled client that are valid at a time.
    CertificatesPerClient,
    /// Certificates of an organisation on record.
    CertificatesPerOrganisation,
    /// Objects of a client, destroyed ones not counted.
    ObjectsPerClient,
    /// Objects of an organisation, destroyed ones not counted.
    ObjectsPerOrganisation,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::CertificatesPerClient,
        Self::CertificatesPerOrganisation,
        Self::ObjectsPerClient,
        Self::ObjectsPerOrganisation,
    ];

    /// The last part of its setting's name, `objects_per_client` for instance.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CertificatesPerClient => "certificates_per_client",
            Self::CertificatesPerOrganisation => "certificates_per_organisation",
            Self::ObjectsPerClient => "objects_per_client",
            Self::ObjectsPerOrganisation => "objects_per_organisation",
        }
    }

    fn check(self, count: u64, max: Option<u64>) -> Result<(), CommitError> {
        match max {
            Some(max) if count > max => Err(CommitError::Quota { what: self, max }),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CertificatesPerClient => "valid certificates of a client",
            Self::CertificatesPerOrganisation => "certificates of an organisation",
            Self::ObjectsPerClient => "objects of a client",
            Self::ObjectsPerOrganisation => "objects of an organisation",
        })
    }
}

/// Most objects; `None`: no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectQuotas {
    /// Of a client.
    pub per_client: Option<u64>,
    /// Of an organisation.
    pub per_organisation: Option<u64>,
}

/// Most certificates; `None`: no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateQuotas {
    /// Of a client, valid at a time.
    pub per_client: Option<u64>,
    /// Of an organisation, on record.
    pub per_organisation: Option<u64>,
}

impl CertificateQuotas {
    /// Whether a client may have one more at `now`, with `staged` ones of the client and of the organisation on their way.
    pub(crate) fn check(
        &self,
        index: &IssuedIndex,
        (organisation, client): (OrganisationId, ClientId),
        now: i64,
        staged: (u64, u64),
    ) -> Result<(), CommitError> {
        if self.per_client.is_some() {
            let count = index.valid_of_client(client, now) as u64 + staged.0 + 1;
            Quota::CertificatesPerClient.check(count, self.per_client)?;
        }
        let count = index.of_organisation(organisation) + staged.1 + 1;
        Quota::CertificatesPerOrganisation.check(count, self.per_organisation)
    }
}

/// Certificates that a group of units of work adds.
#[derive(Default)]
pub(crate) struct StagedCertificates {
    of_client: HashMap<ClientId, u64>,
    of_organisation: HashMap<OrganisationId, u64>,
}

impl StagedCertificates {
    /// Checks the quotas of what a unit of work adds. Those it revokes or removes count until it is committed.
    pub(crate) fn check(&self, changes: &[Change], index: &IssuedIndex) -> Result<(), CommitError> {
        let mut own = Self::default();
        for change in changes {
            let Change::AddIssued { certificate, quotas, now, .. } = change else { continue };
            let holder = (certificate.organisation, certificate.client);
            let ((a, b), (c, d)) = (self.of(holder), own.of(holder));
            quotas.check(index, holder, *now, (a + c, b + d))?;
            own.add(holder);
        }
        Ok(())
    }

    /// Takes in what a unit of work adds.
    pub(crate) fn add(&mut self, (organisation, client): (OrganisationId, ClientId)) {
        *self.of_client.entry(client).or_default() += 1;
        *self.of_organisation.entry(organisation).or_default() += 1;
    }

    fn of(&self, (organisation, client): (OrganisationId, ClientId)) -> (u64, u64) {
        let count = |found: Option<&u64>| found.copied().unwrap_or_default();
        (count(self.of_client.get(&client)), count(self.of_organisation.get(&organisation)))
    }
}

/// Whose objects are counted: a client's, or (`None`) all of an organisation.
type Holder = (OrganisationId, Option<ClientId>);

/// How many objects come (or go) by holder.
#[derive(Debug, Default)]
pub(crate) struct ObjectDeltas(HashMap<Holder, i64>);

impl ObjectDeltas {
    fn of(objects: &[Accepted]) -> Self {
        let mut deltas = Self::default();
        for object in objects {
            object.before.iter().for_each(|row| deltas.add_row(row, -1));
            object.after.iter().for_each(|row| deltas.add_row(row, 1));
        }
        deltas
    }

    fn add_row(&mut self, row: &ObjectRow, by: i64) {
        if counts(row.state) {
            self.add(row.organisation, row.owner, by);
        }
    }

    /// Notes that a client has so many objects more.
    pub(crate) fn add(&mut self, organisation: OrganisationId, owner: ClientId, by: i64) {
        for holder in [(organisation, Some(owner)), (organisation, None)] {
            *self.0.entry(holder).or_default() += by;
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (holder, by) in other.0 {
            *self.0.entry(holder).or_default() += by;
        }
    }
}

/// How many objects every holder has.
pub(crate) struct ObjectCounts {
    quotas: ObjectQuotas,
    counts: RwLock<HashMap<Holder, u64>>,
}

impl ObjectCounts {
    /// Starts from what the database holds.
    pub(crate) fn new(quotas: ObjectQuotas, stored: Vec<(OrganisationId, ClientId, u64)>) -> Self {
        let mut counts: HashMap<Holder, u64> = HashMap::new();
        for (organisation, owner, count) in stored {
            for holder in [(organisation, Some(owner)), (organisation, None)] {
                *counts.entry(holder).or_default() += count;
            }
        }
        Self { quotas, counts: RwLock::new(counts) }
    }

    /// What a unit of work adds, unless it is too much together with `staged`. Nobody is refused for giving up objects, or for
    /// changing those that are there.
    pub(crate) fn stage(&self, staged: &ObjectDeltas, objects: &[Accepted]) -> Result<ObjectDeltas, CommitError> {
        let deltas = ObjectDeltas::of(objects);
        self.check(staged, &deltas)?;
        Ok(deltas)
    }

    /// Whether there is room.
    pub(crate) fn check(&self, staged: &ObjectDeltas, deltas: &ObjectDeltas) -> Result<(), CommitError> {
        if deltas.0.values().all(|by| *by <= 0) {
            return Ok(());
        }
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        // Of two quotas that are used up the client's is told.
        let (clients, all): (Vec<_>, Vec<_>) =
            deltas.0.iter().filter(|(_, by)| **by > 0).partition(|(holder, _)| holder.1.is_some());
        for (holder, by) in clients.into_iter().chain(all) {
            let (what, max) = match holder.1 {
                Some(_) => (Quota::ObjectsPerClient, self.quotas.per_client),
                None => (Quota::ObjectsPerOrganisation, self.quotas.per_organisation),
            };
            let count = counts.get(holder).copied().unwrap_or_default();
            let staged = staged.0.get(holder).copied().unwrap_or_default();
            what.check(count.saturating_add_signed(staged + by), max)?;
        }
        Ok(())
    }

    /// Makes true what was committed.
    pub(crate) fn publish(&self, objects: &[Accepted]) {
        let deltas = ObjectDeltas::of(objects);
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        for (holder, by) in deltas.0.into_iter().filter(|(_, by)| *by != 0) {
            let count = counts.entry(holder).or_default();
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                counts.remove(&holder);
            }
        }
    }
}

/// KMIP State values whose objects do not count: Destroyed and Destroyed Compromised (KMIP 2.1 §4.57). Of those only the
/// record is left.
pub(crate) const UNCOUNTED_STATES: [u32; 2] = [5, 6];

/// Whether an object in this state counts.
pub(crate) fn counts(state: u32) -> bool {
    !UNCOUNTED_STATES.contains(&state)
}

/// How often each quota refused something since the start.
#[derive(Default)]
pub(crate) struct QuotaRefusals([AtomicU64; Quota::ALL.len()]);

impl QuotaRefusals {
    /// Counts the error if it is a quota's.
    pub(crate) fn count(&self, error: &CommitError) {
        if let CommitError::Quota { what, .. } = error {
            self.0[*what as usize].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn of(&self, quota: Quota) -> u64 {
        self.0[quota as usize].load(Relaxed)
    }
}
