//! Growing waits after wrong secrets, and between revocations that clients ask for: per address, and per (address, id). Never per id
//! alone, so nobody can lock a provisioning key or a user that others use. An id is whatever names the secret: a provisioning key's id,
//! the hash of a user's name.
//!
//! Bounded memory: the longest unused places go first. Time is passed in.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Attempts for free.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Free {
    /// From one address for one id.
    pub(crate) for_id: u32,
    /// From one address in all: many devices may share one.
    pub(crate) for_address: u32,
}

/// Wrong secrets.
pub(crate) const WRONG_SECRETS: Free = Free { for_id: 3, for_address: 20 };
/// Revocations by clients. Each voids all TLS tickets; a site that is closed down retires many machines.
pub(crate) const GIVEN_UP: Free = Free { for_id: 3, for_address: 200 };
/// The longest wait.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Addresses, and pairs, that are remembered.
const PLACES_MAX: usize = 10_000;

/// Counts of attempts for ids of one kind.
#[derive(Debug)]
pub(crate) struct Throttle<Id> {
    free: Free,
    tables: Mutex<Tables<Id>>,
}

#[derive(Debug)]
struct Tables<Id> {
    addresses: HashMap<IpAddr, Count>,
    pairs: HashMap<(IpAddr, Id), Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    attempts: u32,
    last: Instant,
}

impl<Id: Copy + Eq + Hash> Throttle<Id> {
    /// Without attempts so far.
    pub(crate) fn new(free: Free) -> Self {
        Self { free, tables: Mutex::new(Tables { addresses: HashMap::new(), pairs: HashMap::new() }) }
    }

    /// How long this attempt has to wait; `None`: it may be made.
    pub(crate) fn wait(&self, address: IpAddr, id: Id, now: Instant) -> Option<Duration> {
        let address = network(address);
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let by_address = tables.addresses.get(&address).and_then(|count| count.left(self.free.for_address, now));
        let by_pair = tables.pairs.get(&(address, id)).and_then(|count| count.left(self.free.for_id, now));
        by_address.max(by_pair)
    }

    /// An attempt was made that counts.
    pub(crate) fn count(&self, address: IpAddr, id: Id, now: Instant) {
        let address = network(address);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut tables.addresses, address, now);
        count(&mut tables.pairs, (address, id), now);
    }

    /// The right secret was shown: its own count is void, the address keeps its.
    pub(crate) fn right(&self, address: IpAddr, id: Id) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if !tables.pairs.is_empty() {
            tables.pairs.remove(&(network(address), id));
        }
    }
}

/// An IPv6 client has a whole /64 to choose from (RFC 4291 §2.5.1): the network counts.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

fn count<K: Copy + Eq + Hash>(table: &mut HashMap<K, Count>, key: K, now: Instant) {
    if table.len() >= PLACES_MAX && !table.contains_key(&key) {
        // Whoever waited long enough starts anew anyway; without such, the longest silent one goes.
        table.retain(|_, count| now.saturating_duration_since(count.last) < WAIT_MAX);
        if table.len() >= PLACES_MAX
            && let Some(oldest) = table.iter().min_by_key(|(_, count)| count.last).map(|(key, _)| *key)
        {
            table.remove(&oldest);
        }
    }
    let entry = table.entry(key).or_insert(Count { attempts: 0, last: now });
    entry.attempts = entry.attempts.saturating_add(1);
    entry.last = now;
}

impl Count {
    /// 1 s after the free attempts, then twice as long each time.
    fn left(&self, free: u32, now: Instant) -> Option<Duration> {
        let beyond = self.attempts.checked_sub(free)?;
        let wait = Duration::from_secs(1u64.checked_shl(beyond.min(20)).unwrap_or(u64::MAX)).min(WAIT_MAX);
        wait.checked_sub(now.saturating_duration_since(self.last)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use keygate_pki::provisioning::KeyId;

    use super::*;

    fn id(n: u8) -> KeyId {
        format!("{n:016x}").parse().unwrap_or_else(|error| panic!("{error}"))
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Waits grow to their bound; another address is never held up by them.
    #[test]
    fn waits_grow_per_address_and_id() {
        let (throttle, mut now) = (Throttle::new(WRONG_SECRETS), Instant::now());
        for _ in 0..WRONG_SECRETS.for_id {
            assert_eq!(throttle.wait(HERE, id(1), now), None);
            throttle.count(HERE, id(1), now);
        }
        let mut before = Duration::ZERO;
        for _ in 0..30 {
            let wait = throttle.wait(HERE, id(1), now).unwrap_or_default();
            assert!(wait > before || wait == WAIT_MAX);
            assert_eq!(throttle.wait(THERE, id(1), now), None, "an id is blocked for nobody else");
            before = wait;
            now += wait;
            assert_eq!(throttle.wait(HERE, id(1), now), None, "the wait ends");
            throttle.count(HERE, id(1), now);
        }
        throttle.right(HERE, id(1));
        assert!(throttle.wait(HERE, id(2), now).is_some(), "the address has tried often enough");
        assert_eq!(throttle.wait(THERE, id(2), now), None);
    }

    /// However many addresses come, memory is bounded.
    #[test]
    fn places_are_bounded() {
        let (throttle, now) = (Throttle::new(WRONG_SECRETS), Instant::now());
        for n in 0..(PLACES_MAX as u32 + 500) {
            throttle.count(IpAddr::from(n.to_be_bytes()), id(1), now + Duration::from_millis(u64::from(n)));
        }
        let tables = throttle.tables.lock().expect("not poisoned");
        assert!(tables.addresses.len() <= PLACES_MAX && tables.pairs.len() <= PLACES_MAX);
    }
}
