//! Refused handshakes, requests for certificates and acts of administrators as audit events, bounded: nobody must be able to fill
//! the disk by being refused.
//!
//! One event a minute for an actor, reason and source address, with a count; of so many sources only, the others' together. A first
//! refusal is due at once. This module counts and says what is due; time is passed in; the app writes.

use std::{
    borrow::Cow,
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Action, Actor, Details, Event, Outcome};
use crate::{
    identity::Caller,
    store::{EntryId, OrganisationId},
};

/// Between two events of a reason and source.
const WINDOW: Duration = Duration::from_secs(60);
/// Sources of refusals of one action that are told apart within a window.
const SOURCES_MAX: usize = 16;
/// Reasons in words of their own that are told apart within a window; of the others this is said.
const REASONS_MAX: usize = 64;
const MORE_REASONS: &str = "further acts";

/// Counts of refusals that are not written yet.
#[derive(Debug, Default)]
pub struct Refusals {
    table: Mutex<HashMap<Key, Count>>,
}

/// Why, and from where; `None`: from sources beyond the bound.
type Key = (What, Option<IpAddr>);

/// What was refused, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct What {
    action: Action,
    reason: Cow<'static, str>,
    actor: Actor,
    organisation: Option<OrganisationId>,
    /// The Result Reason of KMIP that was answered; 0 where no protocol's reason was.
    code: u32,
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
        let actor = key.map_or(Actor::Unidentified, Actor::ProvisioningKey);
        self.add(What { action, reason: reason.into(), actor, organisation: None, code: 0 }, Some(source));
    }

    /// Counts an act that an administrator was refused. `reason` is the permission that was missing, from a fixed set of words, or
    /// which act it was and why it could not be: of those, so many are told apart within a window.
    pub fn note_admin(
        &self,
        reason: impl Into<Cow<'static, str>>,
        actor: Actor,
        organisation: Option<OrganisationId>,
        source: Option<IpAddr>,
    ) {
        let mut reason = reason.into();
        if matches!(reason, Cow::Owned(_)) {
            let table = self.lock();
            let is_new = !table.keys().any(|(known, _)| known.action == Action::AdminRefused && known.reason == reason);
            if is_new && table.keys().filter(|(known, _)| matches!(known.reason, Cow::Owned(_))).count() >= REASONS_MAX {
                reason = MORE_REASONS.into();
            }
        }
        self.add(What { action: Action::AdminRefused, reason, actor, organisation, code: 0 }, source);
    }

    /// Counts what a user of the REST key server asked for without the permission; `code` is the reason it was answered.
    pub fn note_rest(&self, action: Action, permission: &'static str, caller: &Caller, code: u32, source: IpAddr) {
        let actor = caller.user.as_ref().map_or(Actor::Client(caller.client), |user| Actor::ClientUser(caller.client, user.id));
        self.add(What { action, reason: permission.into(), actor, organisation: Some(caller.organisation), code }, Some(source));
    }

    fn add(&self, what: What, source: Option<IpAddr>) {
        let mut table = self.lock();
        let key = (what, source);
        if let Some(count) = table.get_mut(&key) {
            count.unwritten += 1;
            return;
        }
        let (what, source) = key;
        // Strangers at one door do not hide where others come from.
        let sources = table.keys().filter(|(known, source)| known.action == what.action && source.is_some()).count();
        let source = source.filter(|_| sources < SOURCES_MAX);
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
        actor: what.actor.clone(),
        source,
        organisation: what.organisation,
        action: what.action,
        object: None,
        outcome: Outcome::Refused(what.code),
        details: Details::Counted { reason: what.reason.clone().into_owned(), count },
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

    /// Administrators are told apart, and their sources stay known while strangers knock at another door.
    #[test]
    fn administrators_keep_their_names_and_sources() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        (0..1000).for_each(|number| refusals.note(REASON, source(number)));
        let (a, b) = (Actor::Admin(EntryId::generate()), Actor::Admin(EntryId::generate()));
        for actor in [&a, &b, &a] {
            refusals.note_admin("security:write", actor.clone(), Some(OrganisationId::DEFAULT), Some(source(7)));
        }
        let events = refusals.due(start, 0);
        for (actor, times) in [(a, 2), (b, 1)] {
            let event = events.iter().find(|event| event.actor == actor).expect("an event");
            assert_eq!((event.action, event.source, event.outcome.clone()), (Action::AdminRefused, Some(source(7)), Outcome::Refused(0)));
            assert_eq!(event.details, Details::Counted { reason: "security:write".into(), count: times });
            assert_eq!(event.organisation, Some(OrganisationId::DEFAULT));
        }
    }

    /// However many reasons there are, a window tells so many apart, and counts the others together.
    #[test]
    fn many_reasons_share_an_event() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        for number in 0..1000 {
            refusals.note_admin(format!("POST /v1/x/{number}: no"), Actor::System, None, None);
        }
        let events = refusals.due(start, 0);
        assert_eq!(events.len(), REASONS_MAX + 1);
        let counted: u64 = events.iter().map(|event| if let Details::Counted { count, .. } = event.details { count } else { 0 }).sum();
        assert_eq!(counted, 1000);
        assert!(events.iter().any(|event| matches!(&event.details, Details::Counted { reason, .. } if reason == MORE_REASONS)));
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
