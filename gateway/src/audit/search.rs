//! Searching the record, newest first, a page at a time: by period, action, actor and what it was about.
//!
//! A page reads so many segments and octets at most, whatever it finds; it says where to go on. Nothing is verified here. Known
//! limit: the period's end is found by the times of segments, which the clock's being set back by more than an hour disturbs.

use std::collections::HashSet;

use super::{Action, Actor, Details, Event};
use crate::store::{AuditSegment, OrganisationId, ReadError, Store};

/// Segments read at a time.
const SEGMENTS_AT_ONCE: u32 = 64;
/// Segments read for one page.
const SEGMENTS_MAX: usize = 4096;
/// Octets read for one page; the read that passes it is the last.
const BYTES_MAX: usize = 16 << 20;
/// An event is written at most so long after it happened, and a clock is off by less.
const SLACK_MS: i64 = 3_600_000;

/// What is looked for. What is `None` or empty does not matter.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Not before, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Not after, milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// This action.
    pub action: Option<Action>,
    /// One of these spellings of who acted: see [`actor_names`].
    pub actors: HashSet<String>,
    /// One of these ids, serial numbers or names is what it was about.
    pub objects: HashSet<String>,
    /// In this organisation.
    pub organisation: Option<OrganisationId>,
}

/// Where an event stands in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Segment.
    pub seq: u64,
    /// Which event of it.
    pub index: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.seq, self.index)
    }
}

/// A text that is no [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in the audit record is SEGMENT.EVENT, as a page's next")]
pub struct PositionError;

impl std::str::FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (seq, index) = text.split_once('.').ok_or(PositionError)?;
        let index = index.parse().map_err(|_| PositionError)?;
        Ok(Self { seq: seq.parse().map_err(|_| PositionError)?, index })
    }
}

/// A page, newest first.
#[derive(Debug, Default)]
pub struct Found {
    /// The events.
    pub events: Vec<(Position, Event)>,
    /// Where the next page begins, if there may be one. A page that found nothing may still have one.
    pub next: Option<Position>,
}

/// One page: events before `after`, at most `limit`.
///
/// # Errors
/// If the store cannot be read.
pub async fn search(store: &Store, wanted: &Search, after: Option<Position>, limit: usize) -> Result<Found, ReadError> {
    let mut before = match wanted.until_ms {
        Some(until) => store.audit_end(until.saturating_add(SLACK_MS)).await?,
        None => u64::MAX,
    };
    if let Some(after) = after {
        // The segment of the last event is read again: it may hold older ones.
        before = before.min(after.seq.saturating_add(1));
    }
    let (mut found, mut segments, mut bytes) = (Found::default(), 0, 0);
    loop {
        let read = store.audit_before(before, SEGMENTS_AT_ONCE).await?;
        let Some(last) = read.last().map(|segment| segment.seq) else { return Ok(found) };
        for segment in &read {
            if wanted.since_ms.is_some_and(|since| segment.at_ms < since.saturating_sub(SLACK_MS)) {
                return Ok(found);
            }
            if take(wanted, segment, after, limit, &mut found) {
                return Ok(found);
            }
        }
        before = last;
        segments += read.len();
        bytes += read.iter().map(|segment| segment.body.len()).sum::<usize>();
        if segments >= SEGMENTS_MAX || bytes >= BYTES_MAX {
            found.next = Some(Position { seq: last, index: 0 });
            return Ok(found);
        }
        // Others get their turn between two readings.
        tokio::task::yield_now().await;
    }
}

/// Takes what fits from a segment. Says whether the page is full and there is more.
fn take(wanted: &Search, segment: &AuditSegment, after: Option<Position>, limit: usize, found: &mut Found) -> bool {
    let lines: Vec<&[u8]> = segment.body.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()).collect();
    for (index, line) in lines.into_iter().enumerate().rev() {
        let position = Position { seq: segment.seq, index };
        if after.is_some_and(|after| position >= after) {
            continue;
        }
        // A line that cannot be read is the verifier's finding.
        let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
        if !wanted.is(&event) {
            continue;
        }
        if found.events.len() == limit {
            found.next = found.events.last().map(|(position, _)| *position);
            return true;
        }
        found.events.push((position, event));
    }
    false
}

impl Search {
    fn is(&self, event: &Event) -> bool {
        self.since_ms.is_none_or(|since| event.at_ms >= since)
            && self.until_ms.is_none_or(|until| event.at_ms <= until)
            && self.action.is_none_or(|action| event.action == action)
            && self.organisation.is_none_or(|organisation| event.organisation == Some(organisation))
            && (self.actors.is_empty() || actor_names(&event.actor).iter().any(|name| self.actors.contains(name)))
            && (self.objects.is_empty() || objects(event).iter().any(|name| self.objects.contains(name)))
    }
}

/// How an actor may be named: its kind, and its id where it has one.
pub fn actor_names(actor: &Actor) -> Vec<String> {
    match actor {
        Actor::Client(id) => vec!["client".into(), id.to_string()],
        Actor::ClientUser(id, user) => vec!["client".into(), id.to_string(), user.to_string()],
        Actor::LocalUser(uid) => vec!["local".into(), format!("local:{uid}")],
        Actor::Admin(id) => vec!["administrator".into(), id.to_string()],
        Actor::ProvisioningKey(id) => vec!["provisioning-key".into(), id.to_string()],
        Actor::System => vec!["system".into()],
        Actor::Unidentified => vec!["unidentified".into()],
    }
}

/// Ids, serial numbers and names of what an event was about.
fn objects(event: &Event) -> Vec<String> {
    let mut names: Vec<String> = event.object.iter().map(ToString::to_string).collect();
    match &event.details {
        Details::Entry { id, name } | Details::Decision { id, name, .. } | Details::Role { id, name, .. } | Details::RestUser { id, name, .. } => names.extend([id.to_string(), name.clone()]),
        Details::Grant { id, grantee, .. } => names.extend([id.to_string(), grantee.to_string()]),
        Details::Attribute { name } => names.push(name.clone()),
        Details::With { object } => names.push(object.to_string()),
        Details::Ticket { shown_by } => names.push(shown_by.to_string()),
        Details::Seal { id } | Details::Share { slot: id, .. } => names.push(id.clone()),
        Details::Keystore { id, name, .. } => names.extend([id.to_string(), name.clone()]),
        Details::Rehome { from, to } => names.extend([from.to_string(), to.to_string()]),
        Details::Certificate { key, client, serial, .. } => {
            names.extend([key.to_string(), serial.clone()]);
            names.extend(client.iter().map(ToString::to_string));
        }
        Details::None
        | Details::Since { .. }
        | Details::Accepted { .. }
        | Details::Published { .. }
        | Details::Transfer { .. }
        | Details::Reason(_)
        | Details::Counted { .. } => {}
    }
    names
}
