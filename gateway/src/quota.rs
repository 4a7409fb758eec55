//! Quotas of requests: how many batch items a client, and all clients of an organisation together, may send in a second, over all
//! protocols. A REST request counts as its operations do.
//!
//! A token bucket each, which holds two seconds' worth. A message passes when both buckets hold a token, and takes one for each of
//! its items: a large batch passes too, and is waited for afterwards. Nothing is held up: who is over the quota is told so
//! at once. Only buckets that are not full take memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::RequestQuotas;
use crate::identity::Caller;
use crate::store::{ClientId, OrganisationId};
use crate::telemetry::Whose;

/// What a full bucket holds, in time.
const BURST: Duration = Duration::from_secs(2);
/// Buckets that are full again are dropped when there are twice as many as were left the last time, and at least so many.
const SWEEP_AT: usize = 64;

/// The buckets of everybody who asked lately.
pub(crate) struct RequestBuckets(Mutex<Buckets>);

struct Buckets {
    clients: Option<Rate<ClientId>>,
    organisations: Option<Rate<OrganisationId>>,
}

/// A request came too soon.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quota of {max} requests a second of the {} is used up: wait {} ms", .whose.name(), .wait.as_micros().div_ceil(1000))]
pub(crate) struct OverQuota {
    /// Whose quota.
    pub(crate) whose: Whose,
    max: u64,
    /// Until a token is there.
    pub(crate) wait: Duration,
}

impl RequestBuckets {
    /// `None` where no quota is set.
    pub(crate) fn new(quotas: RequestQuotas) -> Option<Self> {
        let clients = quotas.per_client.map(Rate::new);
        let organisations = quotas.per_organisation.map(Rate::new);
        (clients.is_some() || organisations.is_some()).then(|| Self(Mutex::new(Buckets { clients, organisations })))
    }

    /// Takes a token for each item of a message, or none at all.
    pub(crate) fn take(&self, caller: &Caller, items: usize, now: Instant) -> Result<(), OverQuota> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { clients, organisations } = &mut *buckets;
        if let Some(rate) = clients.as_ref() {
            rate.check(&caller.client, Whose::Client, now)?;
        }
        if let Some(rate) = organisations.as_ref() {
            rate.check(&caller.organisation, Whose::Organisation, now)?;
        }
        let items = u32::try_from(items.max(1)).unwrap_or(u32::MAX);
        clients.iter_mut().for_each(|rate| rate.take(caller.client, items, now));
        organisations.iter_mut().for_each(|rate| rate.take(caller.organisation, items, now));
        Ok(())
    }
}

/// Buckets of one kind. A bucket is the moment at which it will be full again; one that is not here is full.
struct Rate<K> {
    max: u64,
    /// Time in which one token comes.
    every: Duration,
    full_at: HashMap<K, Instant>,
    sweep_at: usize,
}

impl<K: Eq + Hash> Rate<K> {
    fn new(max: u64) -> Self {
        let every = Duration::from_nanos(1_000_000_000 / max.max(1));
        Self { max, every, full_at: HashMap::new(), sweep_at: SWEEP_AT }
    }

    /// Whether a token is there.
    fn check(&self, key: &K, whose: Whose, now: Instant) -> Result<(), OverQuota> {
        let missing = self.full_at.get(key).map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        match (missing + self.every).checked_sub(BURST) {
            Some(wait) if !wait.is_zero() => Err(OverQuota { whose, max: self.max, wait }),
            _ => Ok(()),
        }
    }

    fn take(&mut self, key: K, tokens: u32, now: Instant) {
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = SWEEP_AT.max(2 * self.full_at.len());
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        *full_at = (*full_at).max(now) + self.every * tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller {
            client: ClientId::generate(),
            organisation: OrganisationId::DEFAULT,
            name: "client".into(),
            user: None,
            users_required: false,
            groups: Box::default(),
            keystore_default: None,
            ticket: None,
        }
    }

    fn passed(buckets: &RequestBuckets, caller: &Caller, tries: usize, now: Instant) -> usize {
        (0..tries).filter(|_| buckets.take(caller, 1, now).is_ok()).count()
    }

    fn buckets(per_client: Option<u64>, per_organisation: Option<u64>) -> RequestBuckets {
        RequestBuckets::new(RequestQuotas { per_client, per_organisation }).expect("a quota is set")
    }

    /// Two seconds' worth at once, then the rate; an idle client has its burst again, and others have their own.
    #[test]
    fn a_bucket_holds_two_seconds_and_fills_at_the_rate() {
        let (buckets, alice, bob) = (buckets(Some(5), None), caller(), caller());
        let start = Instant::now();
        assert_eq!(passed(&buckets, &alice, 100, start), 10);
        let over = buckets.take(&alice, 1, start).expect_err("over the quota");
        assert_eq!(over.to_string(), "the quota of 5 requests a second of the client is used up: wait 200 ms");
        assert_eq!(passed(&buckets, &bob, 100, start), 10);
        assert_eq!(passed(&buckets, &alice, 100, start + Duration::from_secs(1)), 5);
        let per_second = (2..12).map(|second| passed(&buckets, &alice, 100, start + Duration::from_secs(second)));
        assert_eq!(per_second.sum::<usize>(), 50);
        assert_eq!(passed(&buckets, &alice, 100, start + Duration::from_secs(60)), 10);
    }

    /// A batch passes whole, whatever its size, and is waited for; a refused one takes nothing.
    #[test]
    fn a_batch_is_paid_item_by_item() {
        let (buckets, alice) = (buckets(Some(10), None), caller());
        let start = Instant::now();
        assert!(buckets.take(&alice, 100, start).is_ok());
        // 80 over: eight seconds until the bucket is empty rather than in debt.
        let later = |ms| start + Duration::from_millis(ms);
        for _ in 0..1000 {
            assert!(buckets.take(&alice, 1, later(8_000)).is_err());
        }
        assert!(buckets.take(&alice, 1, later(8_100)).is_ok());
    }

    /// What the organisation's clients take together counts; who is refused for it pays nothing of its own.
    #[test]
    fn an_organisation_shares_its_bucket() {
        let (buckets, alice, bob) = (buckets(Some(4), Some(5)), caller(), caller());
        let start = Instant::now();
        assert_eq!(passed(&buckets, &alice, 100, start), 8);
        assert_eq!(passed(&buckets, &bob, 100, start), 2);
        assert_eq!(buckets.take(&bob, 1, start).expect_err("over the quota").whose, Whose::Organisation);
        let other = Caller { organisation: OrganisationId(uuid::Uuid::from_u128(7)), ..caller() };
        assert_eq!(passed(&buckets, &other, 100, start), 8);
        assert_eq!(passed(&buckets, &bob, 100, start + Duration::from_secs(1)), 5);
    }

    /// Buckets that are full again are dropped: a million clients, one after the other, leave few.
    #[test]
    fn idle_buckets_are_dropped() {
        let buckets = buckets(Some(1000), Some(1_000_000));
        let start = Instant::now();
        for n in 0..200_000u64 {
            assert!(buckets.take(&caller(), 1, start + Duration::from_micros(100 * n)).is_ok());
        }
        let buckets = buckets.0.lock().expect("not poisoned");
        let kept = buckets.clients.as_ref().map_or(0, |rate| rate.full_at.len());
        assert!(kept <= 2 * SWEEP_AT, "{kept} buckets");
    }

    /// Without a quota there is nothing to look at.
    #[test]
    fn no_quota_no_buckets() {
        assert!(RequestBuckets::new(RequestQuotas::default()).is_none());
    }
}
