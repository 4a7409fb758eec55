//! Refused handshakes as audit events, bounded: strangers must not be able to fill the disk.
//!
//! One event a minute for a reason and source address, with a count; of so many sources only, the others' together. A first refusal
//! is due at once. This module counts and says what is due; time is passed in; the app writes.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Action, Actor, Details, Event, Outcome};
use crate::store::EntryId;

/// Between two events of a reason and source.
const WINDOW: Duration = Duration::from_secs(60);
/// Pairs of reason and source that are told apart within a window.
const SOURCES_MAX: usize = 16;

/// Counts of refused handshakes that are not written yet.
#[derive(Debug, Default)]
pub struct Refusals {
    table: Mutex<HashMap<Key, Count>>,
}

/// Why, and from where; `None`: from sources beyond the bound.
type Key = (What, Option<IpAddr>);

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct What {
    action: Action,
    reason: &'static str,
    key: Option<EntryId>,
}

#[derive(Debug, Default)]
struct Count {
    unwritten: u64,
    written_at: Option<Instant>,
}

impl Refusals {
    /// Counts a refused connection. `reason` is from a fixed set of words.
    pub fn note(&self, reason: &'static str, source: IpAddr) {
        self.note_as(Action::ConnectionRefused, reason, None, source);
    }

    /// Counts a refusal of another kind, perhaps of who showed the secret of a provisioning key.
    pub fn note_as(&self, action: Action, reason: &'static str, key: Option<EntryId>, source: IpAddr) {
        let mut table = self.lock();
        let what = What { action, reason, key };
        let known = table.contains_key(&(what, Some(source)));
        let sources = table.keys().filter(|(_, source)| source.is_some()).count();
        let source = (known || sources < SOURCES_MAX).then_some(source);
        table.entry((what, source)).or_default().unwritten += 1;
    }

    /// The events that are due.
    pub fn due(&self, now: Instant, at_ms: i64) -> Vec<Event> {
        self.take(now, at_ms, |count| count.written_at.is_none_or(|written| now.duration_since(written) >= WINDOW))
    }

    /// Everything that is not written yet: nothing follows.
    pub fn rest(&self, now: Instant, at_ms: i64) -> Vec<Event> {
        self.take(now, at_ms, |_| true)
    }

    fn take(&self, now: Instant, at_ms: i64, is_due: impl Fn(&Count) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        self.lock().retain(|(what, source), count| {
            if !is_due(count) {
                return true;
            }
            if count.unwritten == 0 {
                return false;
            }
            events.push(event(what, *source, count.unwritten, at_ms));
            *count = Count { unwritten: 0, written_at: Some(now) };
            true
        });
        events
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Count>> {
        // A panic while it is held leaves the counts whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(what: &What, source: Option<IpAddr>, count: u64, at_ms: i64) -> Event {
    Event {
        at_ms,
        actor: what.key.map_or(Actor::Unidentified, Actor::ProvisioningKey),
        source,
        organisation: None,
        action: what.action,
        object: None,
        outcome: Outcome::Refused(0),
        details: Details::Counted { reason: what.reason.into(), count },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: &str = "no certificate";

    fn source(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn counts(events: &[Event]) -> Vec<(Option<IpAddr>, u64)> {
        let count = |event: &Event| match &event.details {
            Details::Counted { reason, count } if reason == REASON => (event.source, *count),
            other => panic!("{other:?}"),
        };
        events.iter().map(count).collect()
    }

    /// The first refusal is told at once, the next thousand once, a minute later; then there is nothing to tell.
    #[test]
    fn a_source_is_told_once_a_minute() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        refusals.note(REASON, source(1));
        assert_eq!(counts(&refusals.due(start, 0)), [(Some(source(1)), 1)]);
        (0..1000).for_each(|_| refusals.note(REASON, source(1)));
        assert!(refusals.due(start + Duration::from_secs(59), 0).is_empty());
        assert_eq!(counts(&refusals.due(start + WINDOW, 0)), [(Some(source(1)), 1000)]);
        assert!(refusals.due(start + 2 * WINDOW, 0).is_empty());
        assert!(refusals.lock().is_empty(), "a source that is quiet takes no room");
    }

    /// However many sources there are, the events of a minute are few, and no refusal goes uncounted.
    #[test]
    fn many_sources_share_an_event() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let mut total = 0;
        for second in 0..60 {
            (0..1000).for_each(|number| refusals.note(REASON, source(second * 1000 + number)));
            let events = counts(&refusals.due(start + Duration::from_secs(second.into()), 0));
            assert!(second == 0 || events.is_empty(), "second {second}: {} events", events.len());
            assert!(events.len() <= SOURCES_MAX + 1);
            total += events.iter().map(|(_, count)| count).sum::<u64>();
        }
        assert!(refusals.lock().len() <= SOURCES_MAX + 1);
        total += counts(&refusals.rest(start, 0)).iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(total, 60_000);
    }
}
