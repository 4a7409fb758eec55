//! Certificate provisioning: keys with states, the authorities that issue for them, enrolment, revocation for everybody.
//!
//! Knows no protocol: EST, the JSON API, the admin API and the command line call the same functions. What certificates, CRLs
//! and states *are* is `keygate_pki`'s business; rows are the store's; who a connection belongs to is `identity`'s.
//!
//! Every act is one commit with its audit event. It names the versions of the rows it was decided by, so of two acts at once
//! one is done again with what the other left: an issue is before or after a suspension, never half.

mod addresses;
mod admins;
mod authority;
mod bundle;
mod certificates;
mod enrol;
mod error;
mod hierarchy;
mod keys;
mod keystore_signer;
mod last;
mod ocsp;
mod publish;
mod rotate;
mod service;
mod snapshot;
mod waiting;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use keygate_pki::{BlockList, Certificate, HttpUrl, OffsetDateTime, provisioning::KeyId};

pub use admins::{AdminPatch, NewAdminCertificate};
pub use authority::{ALGORITHMS, algorithm, algorithm_name};
pub use bundle::Bundle;
pub use certificates::{CertificateFilter, CertificatePage, CertificateState, IssuedView};
pub use enrol::{EnrolRequest, Enrolled, Renewing};
pub use error::{EnrolRefusal, ProvisioningError};
pub use hierarchy::{CLIENT_DAYS_MAX, KeyChoice};
pub use keys::{CreatedKey, KeyPatch, NewKeyRequest};
pub use publish::{File, Published};
pub use rotate::{AuthorityView, ImportRequest};
pub(crate) use certificates::revocation;
pub(crate) use snapshot::effective_state;
pub use snapshot::{DEFAULT_ORGANISATION, Key, Snapshot};

use crate::{
    audit::{Action, Actor, Details, Event, Outcome, Refusals},
    identity::{DirectoryContent, DirectoryHandle},
    operation::{Gateway, Keystores},
    store::{CertificateQuotas, Change, ClientId, Commit, CommitReceipt, EntryId, EntryKind, OrganisationId, Store},
    throttle::{self, Throttle},
};
use authority::Keys;

/// Who decides, and from where.
#[derive(Debug, Clone)]
pub struct Deciding {
    /// Who.
    pub actor: Actor,
    /// From which address.
    pub source: Option<IpAddr>,
}

impl Deciding {
    /// What was decided and done, for the audit record; `at_ms`: milliseconds since 1970.
    pub fn event(&self, at_ms: i64, organisation: OrganisationId, action: Action, details: Details) -> Event {
        Event {
            at_ms,
            actor: self.actor.clone(),
            source: self.source,
            organisation: Some(organisation),
            action,
            object: None,
            outcome: Outcome::Done,
            details,
        }
    }
}

/// An acknowledged reason, as an administrator gives it.
#[derive(Debug, Clone)]
pub struct Reasoned {
    /// The administrator's words.
    pub reason: String,
    /// "I understand the impact of this action and want to proceed".
    pub acknowledged: bool,
}

/// The clock; another one in tests.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Provisioning of one gateway.
pub struct Provisioning {
    store: Store,
    directory: Arc<DirectoryHandle>,
    public_url: ArcSwap<HttpUrl>,
    /// CAs that are not of the hierarchy.
    other_cas: Vec<Certificate>,
    blocked: BlockList,
    gateway: OnceLock<Arc<Gateway>>,
    clock: Clock,
    /// Wrong secrets.
    throttle: Throttle<KeyId>,
    /// Revocations that clients ask for.
    giving_up: Throttle<ClientId>,
    refusals: Arc<Refusals>,
    quotas: CertificateQuotas,
    snapshot: ArcSwap<Snapshot>,
    /// Held while a snapshot is made.
    refreshing: Mutex<()>,
    published: ArcSwap<Published>,
    responders: ocsp::Responders,
    /// Held while lists are signed and put in place.
    publishing: tokio::sync::Mutex<()>,
    /// Why the newest lists are not in place, if they are not.
    unpublished: ArcSwapOption<String>,
}

/// What a [`Provisioning`] is made of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// Who is let in.
    pub directory: Arc<DirectoryHandle>,
    /// The address that certificates name.
    pub public_url: HttpUrl,
    /// CAs that are not of the hierarchy: no client may have their keys.
    pub other_cas: Vec<Certificate>,
    /// Keys known to others.
    pub blocked: BlockList,
    /// Refused attempts to be recorded.
    pub refusals: Arc<Refusals>,
    /// How many certificates there may be.
    pub quotas: CertificateQuotas,
    /// The clock.
    pub clock: Clock,
}

impl Provisioning {
    /// Puts the parts together. Lists are published by [`Provisioning::publish_all`], keys in keystores used from
    /// [`Provisioning::set_gateway`] on.
    pub fn new(parts: Parts) -> Result<Self, ProvisioningError> {
        let provisioning = Self {
            store: parts.store,
            directory: parts.directory,
            public_url: ArcSwap::from_pointee(parts.public_url),
            other_cas: parts.other_cas,
            blocked: parts.blocked,
            gateway: OnceLock::new(),
            clock: parts.clock,
            throttle: Throttle::new(throttle::WRONG_SECRETS),
            giving_up: Throttle::new(throttle::GIVEN_UP),
            refusals: parts.refusals,
            quotas: parts.quotas,
            snapshot: ArcSwap::default(),
            refreshing: Mutex::new(()),
            published: ArcSwap::default(),
            responders: ocsp::Responders::default(),
            publishing: tokio::sync::Mutex::new(()),
            unpublished: ArcSwapOption::empty(),
        };
        provisioning.refresh(true)?;
        Ok(provisioning)
    }

    /// The object layer, where it is open.
    pub fn gateway(&self) -> Option<Arc<Gateway>> {
        self.gateway.get().cloned()
    }

    /// Lets keys in keystores sign. The first call counts.
    pub fn set_gateway(&self, gateway: Arc<Gateway>) -> Result<(), ProvisioningError> {
        // A second call would mean two sets of keystores over one store; the first stays.
        let _ = self.gateway.set(gateway);
        self.refresh(true)
    }

    /// The address that certificates name.
    pub fn public_url(&self) -> Arc<HttpUrl> {
        self.public_url.load_full()
    }

    /// Lets certificates name another address from now on; [`Provisioning::maintain`] makes those of the authorities anew.
    pub fn set_public_url(&self, url: HttpUrl) {
        self.public_url.store(Arc::new(url));
    }

    fn keystores(&self) -> Option<&Keystores> {
        self.gateway.get().map(|gateway| &gateway.keystores)
    }

    fn keys(&self) -> Keys<'_> {
        Keys { keystores: self.keystores() }
    }

    /// The time.
    pub fn now(&self) -> OffsetDateTime {
        (self.clock)()
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
    }

    /// What is true now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let current = self.snapshot.load_full();
        if current.changed_at == self.store.directory().changed_at {
            return current;
        }
        if let Err(error) = self.refresh(false) {
            tracing::error!(error = crate::admin::chain(&error), "a row of provisioning cannot be read: what was known stays");
        }
        self.snapshot.load_full()
    }

    fn refresh(&self, anew: bool) -> Result<(), ProvisioningError> {
        let _held = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let (directory, before) = (self.store.directory(), self.snapshot.load_full());
        if before.changed_at == directory.changed_at && !anew {
            return Ok(());
        }
        let mut fresh = Snapshot::new(&directory, &before, &self.keys())?;
        fresh.add_ca_keys(self.other_cas.iter());
        self.snapshot.store(Arc::new(fresh));
        Ok(())
    }

    /// Commits, and puts who is let in in force.
    async fn commit(&self, changes: Vec<Change>, events: Vec<Event>) -> Result<CommitReceipt, ProvisioningError> {
        let receipt = self.store.commit(Commit { changes, events, erases: false }).await?;
        self.put_in_force();
        Ok(receipt)
    }

    /// Tells listeners: tickets become void, connections of those who are let in no longer close.
    fn put_in_force(&self) {
        self.directory.replace_with(|| DirectoryContent::from_store(&self.store));
    }

    fn event(&self, by: &Deciding, organisation: OrganisationId, action: Action, details: Details) -> Event {
        by.event(self.now_ms(), organisation, action, details)
    }
}

/// The row must be the one that was read; 0: there must be none.
fn expect(kind: EntryKind, id: EntryId, version: u64) -> Change {
    Change::Expect { kind, id, version }
}
