//! Growing waits after wrong secrets: per address, and per (address, id). Never per id alone, so nobody can lock a provisioning
//! key or a user that others use. An id is whatever names the secret: a provisioning key's id, the hash of a user's name.
//!
//! Bounded memory: the longest unused places go first. Time is passed in.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Wrong attempts for free, from one address for one key id.
const FREE_FOR_ID: u32 = 3;
/// Wrong attempts for free, from one address in all: many devices may share one.
const FREE_FOR_ADDRESS: u32 = 20;
/// The longest wait.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Addresses, and pairs, that are remembered.
const PLACES_MAX: usize = 10_000;

/// Counts of wrong attempts.
#[derive(Debug)]
pub(crate) struct Throttle<I> {
    tables: Mutex<Tables<I>>,
}

#[derive(Debug)]
struct Tables<I> {
    addresses: HashMap<IpAddr, Count>,
    pairs: HashMap<(IpAddr, I), Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    wrong: u32,
    last: Instant,
}

impl<I> Default for Throttle<I> {
    fn default() -> Self {
        Self { tables: Mutex::new(Tables { addresses: HashMap::new(), pairs: HashMap::new() }) }
    }
}

impl<I: Copy + Eq + Hash> Throttle<I> {
    /// How long this attempt has to wait; `None`: it may be made.
    pub(crate) fn wait(&self, address: IpAddr, id: I, now: Instant) -> Option<Duration> {
        let address = network(address);
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let by_address = tables.addresses.get(&address).and_then(|count| count.left(FREE_FOR_ADDRESS, now));
        let by_pair = tables.pairs.get(&(address, id)).and_then(|count| count.left(FREE_FOR_ID, now));
        by_address.max(by_pair)
    }

    /// A wrong attempt was made.
    pub(crate) fn wrong(&self, address: IpAddr, id: I, now: Instant) {
        let address = network(address);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut tables.addresses, address, now);
        count(&mut tables.pairs, (address, id), now);
    }

    /// The right secret was shown: its own count is void, the address keeps its.
    pub(crate) fn right(&self, address: IpAddr, id: I) {
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
    let entry = table.entry(key).or_insert(Count { wrong: 0, last: now });
    entry.wrong = entry.wrong.saturating_add(1);
    entry.last = now;
}

impl Count {
    /// 1 s after the free attempts, then twice as long each time.
    fn left(&self, free: u32, now: Instant) -> Option<Duration> {
        let beyond = self.wrong.checked_sub(free)?;
        let wait = Duration::from_secs(1u64.checked_shl(beyond.min(20)).unwrap_or(u64::MAX)).min(WAIT_MAX);
        wait.checked_sub(now.saturating_duration_since(self.last)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> u8 {
        n
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Waits grow to their bound; another address is never held up by them.
    #[test]
    fn waits_grow_per_address_and_id() {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        for _ in 0..FREE_FOR_ID {
            assert_eq!(throttle.wait(HERE, id(1), now), None);
            throttle.wrong(HERE, id(1), now);
        }
        let mut before = Duration::ZERO;
        for _ in 0..30 {
            let wait = throttle.wait(HERE, id(1), now).unwrap_or_default();
            assert!(wait > before || wait == WAIT_MAX);
            assert_eq!(throttle.wait(THERE, id(1), now), None, "an id is blocked for nobody else");
            before = wait;
            now += wait;
            assert_eq!(throttle.wait(HERE, id(1), now), None, "the wait ends");
            throttle.wrong(HERE, id(1), now);
        }
        throttle.right(HERE, id(1));
        assert!(throttle.wait(HERE, id(2), now).is_some(), "the address has tried often enough");
        assert_eq!(throttle.wait(THERE, id(2), now), None);
    }

    /// However many addresses come, memory is bounded.
    #[test]
    fn places_are_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..(PLACES_MAX as u32 + 500) {
            throttle.wrong(IpAddr::from(n.to_be_bytes()), id(1), now + Duration::from_millis(u64::from(n)));
        }
        let tables = throttle.tables.lock().expect("not poisoned");
        assert!(tables.addresses.len() <= PLACES_MAX && tables.pairs.len() <= PLACES_MAX);
    }
}
