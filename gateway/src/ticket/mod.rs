//! Tickets: what Login and Delegated Login hand out, and who acts with one. KMIP 2.1 §6.1.31 to §6.1.33, §9.11.
//!
//! A ticket is 32 random bytes; here stands their SHA-256 and what they are good for: until when, for how many requests, for how
//! much, and of a delegated one for what. They are kept in memory only: after a restart clients log in again. A ticket
//! made with a ticket counts against both, so nothing grows by passing it on.
//!
//! Leaves to others: what a request may name ([`crate::operation::Exchange`] asks), what operations answer.

mod rights;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{digest, rand};
use keygate_kmip::Operation;

use crate::identity::{Caller, Directory};
use crate::object::Object;

pub(crate) use rights::{Allowance, Amounts, Right};

/// Octets of a ticket's value.
const VALUE_BYTES: usize = 32;
/// Tickets in force at a time, of one caller and of all.
const TICKETS_PER_CALLER_MAX: usize = 256;
const TICKETS_MAX: usize = 16_384;
/// How many tickets one was made with, one after the other.
const LINE_MAX: usize = 8;

/// What a ticket is to be good for.
pub(crate) struct NewTicket {
    /// Seconds since 1970 from which on it is good no more.
    pub(crate) until: i64,
    /// How many requests may be made with it; `None`: any number.
    pub(crate) requests: Option<i64>,
    /// How much may be done with it.
    pub(crate) allowance: Option<Allowance>,
    /// What may be done with it, and by any client of the organisation; `None`: all that its caller may, by that caller.
    pub(crate) rights: Option<Vec<Right>>,
}

/// A ticket in force.
pub(crate) struct Ticket {
    key: [u8; 32],
    caller: Caller,
    until: i64,
    requests_left: Option<AtomicI64>,
    allowance: Option<Allowance>,
    rights: Option<Vec<Right>>,
    /// The ticket it was made with.
    parent: Option<Arc<Self>>,
    is_withdrawn: AtomicBool,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("caller", &self.caller.name).field("until", &self.until).finish_non_exhaustive()
    }
}

/// The ticket that a caller acts with. Two are the same if they are the same ticket.
#[derive(Clone, Debug)]
pub struct ByTicket {
    pub(crate) ticket: Arc<Ticket>,
    /// The client that showed it, if it is not the ticket's own.
    pub(crate) shown_by: Option<crate::store::ClientId>,
}

impl PartialEq for ByTicket {
    fn eq(&self, other: &Self) -> bool {
        self.ticket.key == other.ticket.key && self.shown_by == other.shown_by
    }
}

impl Eq for ByTicket {}

impl std::hash::Hash for ByTicket {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.ticket.key.hash(state);
    }
}

/// Why a ticket is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketRefused {
    /// Unknown, expired, withdrawn, another caller's, or of a client that is not let in any more: these look alike.
    #[error("the ticket is not valid")]
    Invalid,
    /// It was good for so many requests, and they were made.
    #[error("the ticket's requests are used up")]
    UsedUp,
}

/// Why no ticket is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotIssued {
    /// There are too many.
    #[error("too many tickets are in force; log out of some")]
    TooMany,
    /// A ticket made with a ticket, and so on.
    #[error("the ticket was made with a ticket, too many times over")]
    TooLong,
    /// There is no randomness.
    #[error("no randomness")]
    Random,
}

/// The tickets in force.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<[u8; 32], Arc<Ticket>>>);

impl Tickets {
    /// Makes a ticket for a caller. It is in force once it is [put in](Self::put): after the commit of what says so.
    ///
    /// # Errors
    /// [`NotIssued`].
    pub(crate) fn issue(&self, caller: &Caller, new: NewTicket, now: i64) -> Result<(Vec<u8>, Arc<Ticket>), NotIssued> {
        let parent = caller.ticket.as_ref().map(|by| Arc::clone(&by.ticket));
        if parent.as_deref().is_some_and(|parent| parent.line().count() >= LINE_MAX) {
            return Err(NotIssued::TooLong);
        }
        self.make_room(caller, now)?;
        let mut value = vec![0; VALUE_BYTES];
        rand::fill(&mut value).map_err(|_| NotIssued::Random)?;
        let ticket = Ticket {
            key: key_of(&value),
            caller: Caller { ticket: None, ..caller.clone() },
            until: new.until,
            requests_left: new.requests.map(AtomicI64::new),
            allowance: new.allowance,
            rights: new.rights,
            parent,
            is_withdrawn: AtomicBool::new(false),
        };
        Ok((value, Arc::new(ticket)))
    }

    /// Forgets those that are good no more; refuses where the rest are too many.
    fn make_room(&self, caller: &Caller, now: i64) -> Result<(), NotIssued> {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, ticket| ticket.is_good(now) && ticket.has_requests());
        let own = tickets.values().filter(|ticket| ticket.caller.principal() == caller.principal()).count();
        if own >= TICKETS_PER_CALLER_MAX || tickets.len() >= TICKETS_MAX { Err(NotIssued::TooMany) } else { Ok(()) }
    }

    /// Puts a ticket in force.
    pub(crate) fn put(&self, ticket: Arc<Ticket>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket.key, ticket);
    }

    fn find(&self, value: &[u8]) -> Option<Arc<Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key_of(value)).cloned()
    }

    /// The ticket with this value that a caller may withdraw: one of its own, or the one it acts with.
    pub(crate) fn withdrawable(&self, value: &[u8], caller: &Caller, now: i64) -> Result<Arc<Ticket>, TicketRefused> {
        let ticket = self.find(value).filter(|ticket| ticket.is_good(now)).ok_or(TicketRefused::Invalid)?;
        let acts_with_it = caller.ticket.as_ref().is_some_and(|by| by.ticket.key == ticket.key);
        let is_own = caller.ticket.is_none() && ticket.caller.principal() == caller.principal();
        if acts_with_it || is_own { Ok(ticket) } else { Err(TicketRefused::Invalid) }
    }

    /// Takes a ticket out of force, and with it those that were made with it.
    pub(crate) fn withdraw(&self, ticket: &Ticket) {
        ticket.is_withdrawn.store(true, Ordering::Release);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket.key);
    }

    /// Who a request with this ticket is made for. One of the ticket's requests is used up by asking.
    ///
    /// `connected` is the client whose connection shows it. A ticket of Login is good for the caller that logged in; a delegated
    /// one for any client of the organisation, as long as whoever delegated is let in itself.
    ///
    /// # Errors
    /// [`TicketRefused`].
    pub(crate) fn present(&self, value: &[u8], connected: &Arc<Caller>, directory: &Directory, now: i64) -> Result<Caller, TicketRefused> {
        let ticket = self.find(value).filter(|ticket| ticket.is_good(now)).ok_or(TicketRefused::Invalid)?;
        let is_same_client = ticket.caller.client == connected.client;
        let is_delegated = ticket.line().any(|ticket| ticket.rights.is_some());
        if ticket.caller.organisation != connected.organisation || !(is_same_client || is_delegated) {
            return Err(TicketRefused::Invalid);
        }
        let client = if is_same_client { Some((**connected).clone()) } else { directory.standing(&ticket.caller, now) };
        let client = client.ok_or(TicketRefused::Invalid)?;
        if ticket.caller.user.as_ref().is_some_and(|user| !directory.has_user(client.client, user.id)) {
            return Err(TicketRefused::Invalid);
        }
        ticket.take_request()?;
        let shown_by = (!is_same_client).then_some(connected.client);
        Ok(Caller { user: ticket.caller.user.clone(), ticket: Some(ByTicket { ticket, shown_by }), ..client })
    }
}

fn key_of(value: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, value).as_ref());
    key
}

impl Ticket {
    /// The ticket itself, the one it was made with, and so on.
    fn line(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |ticket| ticket.parent.as_deref())
    }

    fn is_good(&self, now: i64) -> bool {
        self.line().all(|ticket| now < ticket.until && !ticket.is_withdrawn.load(Ordering::Acquire))
    }

    fn has_requests(&self) -> bool {
        self.line().all(|ticket| ticket.requests_left.as_ref().is_none_or(|left| left.load(Ordering::Acquire) > 0))
    }

    fn take_request(&self) -> Result<(), TicketRefused> {
        let counted = || self.line().filter_map(|ticket| ticket.requests_left.as_ref());
        for (number, left) in counted().enumerate() {
            let one_less = |left: i64| (left > 0).then_some(left - 1);
            if left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_err() {
                for taken in counted().take(number) {
                    taken.fetch_add(1, Ordering::AcqRel);
                }
                return Err(TicketRefused::UsedUp);
            }
        }
        Ok(())
    }

    /// Seconds since 1970 from which on it, or a ticket it was made with, is good no more.
    pub(crate) fn until(&self) -> i64 {
        self.line().map(|ticket| ticket.until).min().unwrap_or(self.until)
    }

    /// Whether an operation may be begun with it, as far as that can be said before its object is known.
    pub(crate) fn allows(&self, operation: Operation) -> bool {
        self.line().all(|ticket| ticket.rights.as_ref().is_none_or(|rights| rights.iter().any(|right| right.allows(operation))))
    }

    /// Whether an operation may be done with it on an object.
    pub(crate) fn allows_on(&self, operation: Operation, object: &Object) -> bool {
        let allows = |rights: &Vec<Right>| rights.iter().any(|right| right.allows_on(operation, object));
        self.line().all(|ticket| ticket.rights.as_ref().is_none_or(allows))
    }

    /// Takes what a use of a key needs off everything that limits it; `None` if something is used up.
    pub(crate) fn spend(self: &Arc<Self>, operation: Operation, object: &Object, amounts: Amounts) -> Option<Spent> {
        let mut spent = Spent { taken: Vec::new(), amounts, is_kept: false };
        let mut next = Some(Arc::clone(self));
        while let Some(ticket) = next {
            if let Some(allowance) = &ticket.allowance {
                allowance.take(amounts).then_some(())?;
                spent.taken.push((Arc::clone(&ticket), None));
            }
            if let Some(rights) = &ticket.rights {
                let takes = |right: &&Right| right.allowance.as_ref().is_none_or(|allowance| allowance.take(amounts));
                let by = rights.iter().enumerate().filter(|(_, right)| right.allows_on(operation, object));
                let (number, _) = by.into_iter().find(|(_, right)| takes(right))?;
                spent.taken.push((Arc::clone(&ticket), Some(number)));
            }
            next = ticket.parent.clone();
        }
        Some(spent)
    }
}

/// What was taken off a ticket for a use of a key. It is given back when this is dropped, unless it is kept.
pub(crate) struct Spent {
    taken: Vec<(Arc<Ticket>, Option<usize>)>,
    amounts: Amounts,
    is_kept: bool,
}

impl Spent {
    /// The use has happened.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for (ticket, right) in &self.taken {
            let allowance = match right {
                None => ticket.allowance.as_ref(),
                Some(number) => ticket.rights.as_ref().and_then(|rights| rights.get(*number)).and_then(|right| right.allowance.as_ref()),
            };
            if let Some(allowance) = allowance {
                allowance.give_back(self.amounts);
            }
        }
    }
}
