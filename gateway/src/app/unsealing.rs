//! A sealed server's bookkeeping: what was given by whom, what was wrong, how long the next attempt waits, and when all of it is
//! forgotten. No sockets; the time is passed in.
//!
//! Shares and the passphrase are kept in secret pages by [`Unlocking`] and nowhere else. A wrong one changes nothing but a count.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    audit::{Action, Actor, Details, Event},
    seal::{Openers, Progress, Seal, SealError, SecretBytes, Share, ShareError, SlotKind, Unlocked, Unlocking},
};

/// After so long without a right share or slot, what was given is forgotten.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Wrong attempts without a wait: people mistype.
const FREE: u32 = 3;
/// Of so many peers wrong attempts are remembered; those longest ago give way.
const PEERS_MAX: usize = 1024;
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The state of a sealed server.
pub(super) struct Unsealing {
    unlocking: Option<Unlocking>,
    opened: Option<Unlocked>,
    /// Wrong attempts in a row, and the last one, by whoever made them: local users that may reach the socket, addresses.
    wrong: BTreeMap<String, (u32, Instant)>,
    /// Wrong attempts in all.
    wrong_in_all: u64,
    given: Vec<Given>,
    progress_at: Instant,
    sealed: Seal,
    /// Slots that opened without anything being given.
    at_start: Vec<Uuid>,
}

/// A right share or passphrase, for the audit record.
struct Given {
    actor: Actor,
    source: Option<IpAddr>,
    slot: Uuid,
    /// Number of the share; 0 for a passphrase.
    number: u8,
    at_ms: i64,
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error(transparent)]
    Share(#[from] ShareError),
    #[error("the passphrase opens no seal slot")]
    Passphrase,
    #[error("no seal slot of this store has a passphrase")]
    NoPassphraseSlot,
    #[error("too many wrong attempts: try again in {} s", .0.as_secs() + 1)]
    Wait(Duration),
    #[error("the store is open: there is nothing to unseal")]
    Open,
    #[error("the passphrase is not in base64")]
    NotBase64,
    #[error("the attempt was interrupted")]
    Interrupted,
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl NotTaken {
    /// How long to wait before the next attempt, where that is why.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Wait(left) => Some(*left),
            _ => None,
        }
    }
}

/// What a sealed server says of itself.
pub(super) struct Said {
    pub(super) open: bool,
    pub(super) progress: Option<Progress>,
    pub(super) wrong: u64,
}

/// Whom an attempt is made by, and when.
pub(super) struct Attempt<'a> {
    pub(super) actor: &'a Actor,
    /// The address, or the network, of an officer elsewhere.
    pub(super) source: Option<IpAddr>,
    pub(super) now: Instant,
    pub(super) at_ms: i64,
}

impl Attempt<'_> {
    fn key(&self) -> String {
        self.source.map_or_else(|| format!("{:?}", self.actor), |source| source.to_string())
    }
}

impl Unsealing {
    pub(super) fn new(unlocking: Unlocking, now: Instant) -> Self {
        let sealed = unlocking.seal().clone();
        Self {
            at_start: unlocking.opened(),
            unlocking: Some(unlocking),
            opened: None,
            wrong: BTreeMap::new(),
            wrong_in_all: 0,
            given: Vec::new(),
            progress_at: now,
            sealed,
        }
    }

    pub(super) fn said(&self) -> Said {
        let progress = self.unlocking.as_ref().map(Unlocking::progress);
        Said { open: self.opened.is_some(), progress, wrong: self.wrong_in_all }
    }

    pub(super) fn seal(&self) -> &Seal {
        &self.sealed
    }

    /// Slots that have opened.
    pub(super) fn slots(&self) -> Vec<Uuid> {
        self.unlocking.as_ref().map(Unlocking::opened).unwrap_or_default()
    }

    /// Takes a share as typed.
    pub(super) fn share(&mut self, attempt: &Attempt<'_>, text: &str) -> Result<Said, NotTaken> {
        self.check(attempt)?;
        let unlocking = self.unlocking.as_mut().ok_or(NotTaken::Open)?;
        let seal = unlocking.seal().clone();
        let taken = Share::read(text).and_then(|share| {
            let (number, slot) = (share.number(), seal.slot_of(&share));
            unlocking.add_share(share).map(|()| (number, slot))
        });
        match taken {
            Ok((number, slot)) => self.taken(attempt, slot.unwrap_or_default(), number),
            Err(error) => {
                // The same share twice is a muddle, not a guess.
                if !matches!(error, ShareError::Repeated { .. } | ShareError::Page(_)) {
                    self.count(attempt);
                }
                // Without the altered ones nobody knows which are right: all stay, a further share tells.
                Err(error.into())
            }
        }
    }

    /// Tries a passphrase. Blocks (Argon2id), for about a second.
    pub(super) fn passphrase(&mut self, attempt: &Attempt<'_>, passphrase: SecretBytes) -> Result<Said, NotTaken> {
        self.check(attempt)?;
        if !self.sealed.kinds().contains(&SlotKind::Passphrase) {
            return Err(NotTaken::NoPassphraseSlot);
        }
        let unlocking = self.unlocking.as_mut().ok_or(NotTaken::Open)?;
        let before = unlocking.opened();
        // No token is asked here: its PIN was offered at the start, and is not offered with each passphrase.
        unlocking.try_slots(&Openers { passphrases: vec![passphrase], pkcs11: None })?;
        let new = unlocking.opened().into_iter().find(|slot| !before.contains(slot));
        match new {
            Some(slot) => self.taken(attempt, slot, 0),
            None => {
                self.count(attempt);
                Err(NotTaken::Passphrase)
            }
        }
    }

    /// Forgets what was given so far; slots that had opened at the start stay open.
    pub(super) fn reset(&mut self, now: Instant) {
        if let Some(unlocking) = &mut self.unlocking {
            unlocking.forget(&self.at_start);
            self.progress_at = now;
            self.given.clear();
        }
    }

    /// Forgets everything after ten minutes without progress. Says whether there was anything.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let overdue = now.duration_since(self.progress_at) >= FORGET_AFTER && !self.given.is_empty() && self.opened.is_none();
        if overdue {
            self.reset(now);
        }
        overdue
    }

    /// The open seal, once, and what the audit record is to say of how it was opened.
    pub(super) fn into_opened(self, at_ms: i64) -> Option<(Unlocked, Vec<Event>)> {
        let opened = self.opened?;
        let last = self.given.last().map_or((Actor::System, None), |given| (given.actor.clone(), given.source));
        let event = |(actor, source), action, details| Event { actor, source, ..Event::system(at_ms, action, details) };
        let mut events: Vec<Event> = self.given.into_iter().map(|given| {
            let details = Details::Share { slot: given.slot.to_string(), number: given.number, given_ms: given.at_ms };
            event((given.actor, given.source), Action::UnsealShareGiven, details)
        }).collect();
        let wrong = Details::Counted { reason: "wrong shares or passphrases before".into(), count: self.wrong_in_all };
        events.push(event(last, Action::Unsealed, wrong));
        Some((opened, events))
    }

    fn check(&mut self, attempt: &Attempt<'_>) -> Result<(), NotTaken> {
        self.expire(attempt.now);
        if let Some((wrong, last)) = self.wrong.get(&attempt.key()) {
            let passed = attempt.now.duration_since(*last);
            if let Some(left) = wait_after(*wrong).checked_sub(passed).filter(|left| !left.is_zero()) {
                return Err(NotTaken::Wait(left));
            }
        }
        Ok(())
    }

    fn count(&mut self, attempt: &Attempt<'_>) {
        self.wrong_in_all += 1;
        if self.wrong.len() >= PEERS_MAX && !self.wrong.contains_key(&attempt.key()) {
            let oldest = self.wrong.iter().min_by_key(|(_, (_, last))| *last).map(|(peer, _)| peer.clone());
            oldest.and_then(|peer| self.wrong.remove(&peer));
        }
        let own = self.wrong.entry(attempt.key()).or_insert((0, attempt.now));
        *own = (own.0.saturating_add(1), attempt.now);
        tracing::warn!(actor = attempt.key(), wrong = self.wrong_in_all, "a wrong share or passphrase was given to unseal");
    }

    fn taken(&mut self, attempt: &Attempt<'_>, slot: Uuid, number: u8) -> Result<Said, NotTaken> {
        self.wrong.remove(&attempt.key());
        self.progress_at = attempt.now;
        self.given.push(Given { actor: attempt.actor.clone(), source: attempt.source, slot, number, at_ms: attempt.at_ms });
        if self.unlocking.as_ref().is_some_and(Unlocking::is_open) {
            self.opened = self.unlocking.take().and_then(|unlocking| unlocking.into_unlocked().ok());
        }
        Ok(self.said())
    }
}

/// 0, 0, 0, then 1 s doubling to a minute.
fn wait_after(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE) {
        None | Some(0) => Duration::ZERO,
        Some(over) => Duration::from_secs(1 << (over - 1).min(6)).min(WAIT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{NewSlot, Sharing};

    fn shared(dir: &std::path::Path) -> (Vec<String>, Unsealing, Instant) {
        let mut dealt = Vec::new();
        let sharing = Sharing::new(2, 3).expect("2 of 3");
        let (seal, _) = Seal::create(dir, NewSlot::Shamir { sharing, dealt: &mut dealt }).expect("made");
        let now = Instant::now();
        (dealt.iter().map(|text| text.to_string()).collect(), Unsealing::new(Unlocking::new(seal), now), now)
    }

    fn at(now: Instant) -> Attempt<'static> {
        Attempt { actor: &Actor::LocalUser(7), source: None, now, at_ms: 5 }
    }

    /// Wrong shares cost nothing that was given, are counted, and make the next attempt wait; right ones open, and are on record.
    #[test]
    fn wrong_shares_are_counted_and_right_ones_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let (shares, mut unsealing, now) = shared(dir.path());
        unsealing.share(&at(now), &shares[0]).map(drop).expect("the first share");
        let mistyped = shares[1].replacen(&shares[1][8..9], if &shares[1][8..9] == "A" { "B" } else { "A" }, 1);
        for _ in 0..4 {
            assert!(matches!(unsealing.share(&at(now), &mistyped), Err(NotTaken::Share(ShareError::Text(_)))));
        }
        let Err(NotTaken::Wait(left)) = unsealing.share(&at(now), &shares[1]) else { panic!("the fifth has to wait") };
        assert_eq!(left, Duration::from_secs(1));
        let other = Attempt { actor: &Actor::LocalUser(0), source: None, now, at_ms: 5 };
        assert!(matches!(unsealing.share(&other, &shares[0]), Err(NotTaken::Share(ShareError::Repeated { number: 1 }))));
        assert_eq!(unsealing.said().progress.map(|progress| progress.to_string()).as_deref(), Some("1 of 2 shares given"));
        let said = unsealing.share(&at(now + left), &shares[2]).expect("after the wait");
        assert!(said.open && said.wrong == 4);
        let (_, events) = unsealing.into_opened(9).expect("open");
        let numbers: Vec<u8> = events.iter().filter_map(|event| match &event.details {
            Details::Share { number, given_ms: 5, .. } => Some(*number),
            _ => None,
        }).collect();
        assert_eq!(numbers, [1, 3]);
        assert!(matches!(&events[2], Event { action: Action::Unsealed, details: Details::Counted { count: 4, .. }, .. }));
    }

    /// Peers wait each for themselves, those of a network together, and only so many are remembered; the record names the address.
    #[test]
    fn peers_elsewhere_are_counted_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let (shares, mut unsealing, now) = shared(dir.path());
        let peer = |number: u16| Attempt { actor: &Actor::Unidentified, source: Some(IpAddr::from([10, 0, (number >> 8) as u8, number as u8])), now, at_ms: 5 };
        for _ in 0..4 {
            assert!(matches!(unsealing.share(&peer(1), "KGS1-A"), Err(NotTaken::Share(_))));
        }
        assert!(matches!(unsealing.share(&peer(1), &shares[0]), Err(NotTaken::Wait(_))));
        unsealing.share(&peer(2), &shares[0]).map(drop).expect("another address does not wait");
        for number in 3..2000 {
            assert!(matches!(unsealing.share(&peer(number), "x"), Err(NotTaken::Share(_))));
        }
        assert_eq!(unsealing.wrong.len(), PEERS_MAX);
        assert!(unsealing.share(&at(now), &shares[1]).expect("taken").open);
        let (_, events) = unsealing.into_opened(9).expect("open");
        assert_eq!((&events[0].actor, events[0].source), (&Actor::Unidentified, Some(IpAddr::from([10, 0, 0, 2]))));
        assert_eq!(events[1].source, None);
    }

    #[test]
    fn what_was_given_is_forgotten_after_ten_minutes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (shares, mut unsealing, now) = shared(dir.path());
        unsealing.share(&at(now), &shares[0]).map(drop).expect("taken");
        assert!(!unsealing.expire(now + FORGET_AFTER - Duration::from_secs(1)));
        assert!(unsealing.expire(now + FORGET_AFTER) && !unsealing.expire(now + FORGET_AFTER));
        let said = unsealing.share(&at(now + FORGET_AFTER), &shares[1]).expect("taken");
        assert!(!said.open, "the first share is forgotten");
        unsealing.reset(now);
        assert_eq!(unsealing.said().progress.map(|progress| progress.shares[0].given), Some(0));
    }

    #[test]
    fn waits_double_to_a_minute() {
        let waits: Vec<u64> = (0..12).map(|wrong| wait_after(wrong).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait_after(u32::MAX), WAIT_MAX);
    }
}
