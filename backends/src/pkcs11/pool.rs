//! The workers of a token and the requests between them: who does what, and what becomes of a dead worker's requests.
//!
//! Requests wait here, in one queue for traffic and one for what would hold it up, and go to the workers a few at a
//! time: enough that a worker never waits for the next one, few enough that little is in a worker that dies. Under load
//! several requests share one write, and several answers one read.
//!
//! All of this is bookkeeping under one lock; nothing here waits.

use super::job::Job;
use super::logins::Login;
use super::page::Page;
use super::wire::{After, Answer};
use crate::error::{Class, KsError, Result};
use crate::keystore::{Figures, Health};
use crate::secret::SecretBytes;
use rustix::net::SendFlags;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

/// The workers of a token.
pub(super) struct Pool {
    pub(super) members: Vec<Member>,
    traffic: VecDeque<Job>,
    slow: VecDeque<Job>,
    queue_max: usize,
    /// The user PIN, as last given.
    pub(super) pin: Option<SecretBytes>,
    /// What is offered to the token, for the memory of what was refused.
    pub(super) login: Login,
    /// Workers that have logged in so far.
    opened: u64,
    /// The PIN was refused: nobody logs in any more.
    pub(super) circuit: Option<KsError>,
    /// A login got no answer, and none succeeded since.
    pub(super) wary: bool,
    /// The token's serial number as first seen.
    pub(super) serial: Option<String>,
    /// What the token says of itself.
    pub(super) device: String,
    pub(super) closed: bool,
}

/// A worker's place, whether a process fills it or not.
pub(super) struct Member {
    takes: Takes,
    pub(super) phase: Phase,
    /// An answer that waits for the next process of this place to tell whether the token is there.
    doubtful: Option<(Job, KsError)>,
    /// When an empty token was last doubted.
    last_doubt: Option<Instant>,
}

/// Which requests a worker gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Everything,
    Slow,
    Traffic,
}

pub(super) enum Phase {
    /// About to serve, as far as anybody knows.
    Starting,
    Ready(Link),
    /// Could not start, and tries again.
    Away(KsError),
}

/// The way to a worker.
pub(super) struct Link {
    socket: Arc<UnixStream>,
    /// What the socket had no room for.
    out: Zeroizing<Vec<u8>>,
    sent: VecDeque<Sent>,
    next: u64,
    page: Page,
    /// The request under way as last looked at, and since when.
    watched: (u64, Instant),
    /// It has been at one request for long: it gets no more.
    stalled: bool,
    /// A new worker did not find the token: this one is replaced, to look again.
    suspect: Option<KsError>,
}

/// A request that a worker has not answered.
struct Sent {
    seq: u64,
    deadline: Instant,
    changes: bool,
    destroys: bool,
    is_slow: bool,
    /// `None`: somebody else does it.
    job: Option<Job>,
}

/// Answers to be given when the lock is released.
pub(super) type Answers = Vec<(Job, Result<super::message::Response>)>;

/// What an answer or a look at the clock means for the worker.
pub(super) enum Verdict {
    GoesOn,
    /// It must end.
    Ends(KsError),
}

/// Requests that a worker may have at once.
const WINDOW: usize = 8;
/// At one request for longer, a worker is left alone with it.
const STALL: Duration = Duration::from_millis(400);
/// How long after a deadline a call is taken for hung. Making a key may take long, and killing it may leave half of it.
const GRACE: Duration = Duration::from_secs(1);
const GRACE_CHANGE: Duration = Duration::from_secs(10);
/// How often a token that shows no key is doubted.
const DOUBT_INTERVAL: Duration = Duration::from_secs(5);

impl Pool {
    /// `workers` places for traffic, and from two on one more for what would hold it up.
    pub(super) fn new(workers: usize, queue_max: usize, pin: Option<SecretBytes>, login: Login) -> Self {
        let takes = match workers {
            0 | 1 => vec![Takes::Everything],
            more => [vec![Takes::Traffic; more], vec![Takes::Slow]].concat(),
        };
        let member = |takes| Member { takes, phase: Phase::Starting, doubtful: None, last_doubt: None };
        Self {
            members: takes.into_iter().map(member).collect(),
            traffic: VecDeque::new(),
            slow: VecDeque::new(),
            queue_max: queue_max.max(1),
            pin,
            login,
            opened: 0,
            circuit: None,
            wary: false,
            serial: None,
            device: String::new(),
            closed: false,
        }
    }

    pub(super) fn health(&self) -> Health {
        if let Some(reason) = &self.circuit {
            return Health::NeedsOperator(reason.to_string());
        }
        let reason = |member: &Member| match &member.phase {
            Phase::Away(reason) => Some(reason.to_string()),
            _ => None,
        };
        if self.members.iter().any(|member| matches!(member.phase, Phase::Ready(_))) {
            return Health::Up;
        }
        let reason = self.members.iter().find_map(reason);
        Health::Down(reason.unwrap_or_else(|| "the token is being opened".to_owned()))
    }

    /// The PIN may be offered again, another one if given: once, for workers log in one after the other.
    pub(super) fn retry(&mut self, pin: Option<SecretBytes>) {
        // An operator asks for another try with the PIN that was refused, or brings another one.
        self.login.forget();
        if let Some(pin) = pin {
            // Without a hash nothing of it is remembered, which is what an operator asks for here.
            if let Ok(login) = self.login.with(&pin) {
                login.forget();
                self.login = login;
            }
            self.pin = Some(pin);
        }
        self.circuit = None;
        // That a wrong PIN is counted is known to whoever asks. The last try of all is still not taken.
        self.wary = false;
        let refused = |phase: &Phase| matches!(phase, Phase::Away(why) if why.class() == Class::AuthStop);
        self.members.iter_mut().filter(|member| refused(&member.phase)).for_each(|member| member.phase = Phase::Starting);
    }

    pub(super) fn figures(&self) -> Figures {
        let links: Vec<&Link> = self.members.iter().filter_map(|member| match &member.phase {
            Phase::Ready(link) => Some(link),
            _ => None,
        }).collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let searched: Vec<(u64, u64)> = links.iter().map(|link| link.page.finds()).filter(|(finds, _)| *finds > 0).collect();
        Figures {
            // One that is kept for the login, and one at work.
            sessions: Some(count(2 * links.len())),
            queued: Some(count(self.traffic.len() + self.slow.len())),
            generation: Some(self.opened),
            workers: Some(count(links.len())),
            finds: Some(searched.iter().map(|(finds, _)| finds).sum()),
            find_us: searched.iter().map(|(_, micros)| *micros).max(),
            locked: links.iter().filter_map(|link| link.page.locked()).min(),
        }
    }

    /// Whether somebody serves, or may within moments; or why not. `None` while that is not decided.
    pub(super) fn settled(&self) -> Option<Result<()>> {
        if self.members.iter().any(|member| matches!(member.phase, Phase::Ready(_))) {
            return Some(Ok(()));
        }
        self.unable(|_| true).map(Err)
    }

    /// Why none of these members serves; `None` if one does or may within moments.
    fn unable(&self, of: impl Fn(Takes) -> bool) -> Option<KsError> {
        let mut reason = None;
        for member in self.members.iter().filter(|member| of(member.takes)) {
            match &member.phase {
                Phase::Ready(_) => return None,
                Phase::Starting if self.circuit.is_none() => return None,
                Phase::Starting => {}
                Phase::Away(why) => reason = reason.or(Some(why)),
            }
        }
        if self.closed {
            return Some(KsError::new(Class::TokenLost, "the token is closed"));
        }
        let lost = || KsError::new(Class::TokenLost, "the token has no worker");
        Some(match &self.circuit {
            Some(refused) => refused.clone(),
            None => reason.map_or_else(lost, |reason| reason.clone().into_class(Class::TokenLost)),
        })
    }

    /// Queues a request and sends what can be sent.
    pub(super) fn submit(&mut self, job: Job) -> Result<()> {
        let to_slow = job.is_slow && self.unable(|takes| takes == Takes::Slow).is_none();
        if !to_slow && let Some(error) = self.unable(|takes| takes != Takes::Slow) {
            return Err(error);
        }
        let queue = if to_slow { &mut self.slow } else { &mut self.traffic };
        if queue.len() >= self.queue_max {
            return Err(KsError::new(Class::Busy, "the token's queue is full"));
        }
        queue.push_back(job);
        self.pump();
        Ok(())
    }

    /// Destroys a key that nobody has heard of, before anything else is done that is slow.
    pub(super) fn submit_undo(&mut self, job: Job) {
        if self.has_slow_place() { self.slow.push_front(job) } else { self.traffic.push_front(job) }
        self.pump();
    }

    fn has_slow_place(&self) -> bool {
        self.members.iter().any(|member| member.takes == Takes::Slow)
    }

    /// Sends what waits to whoever has room.
    fn pump(&mut self) {
        let Self { members, traffic, slow, .. } = self;
        while let Some(job) = traffic.front() {
            let Some(link) = least_busy(members, job, |takes| takes != Takes::Slow) else { break };
            link.queue(traffic);
        }
        while let Some(job) = slow.front() {
            let Some(link) = least_busy(members, job, |takes| takes == Takes::Slow) else { break };
            link.queue(slow);
        }
        for link in members.iter_mut().filter_map(Member::link) {
            link.flush();
        }
    }

    /// Whether a worker's socket had no room for all that is to be sent.
    pub(super) fn is_full(&self, index: usize) -> bool {
        matches!(&self.members[index].phase, Phase::Ready(link) if !link.out.is_empty())
    }

    /// Deals with a worker's answers. What the callers are to be told is added to `told`.
    pub(super) fn answered(&mut self, index: usize, answers: Vec<Answer>, told: &mut Answers) -> Verdict {
        let mut verdict = Verdict::GoesOn;
        for answer in answers {
            let member = &mut self.members[index];
            let Some(link) = member.link() else { break };
            let Some(sent) = link.sent.pop_front().filter(|sent| sent.seq == answer.seq) else {
                return Verdict::Ends(KsError::new(Class::Corrupt, "a worker answered what it was not asked"));
            };
            link.stalled = false;
            if sent.destroys {
                // Workers hold keys ready (`prepared.rs`). Whoever is told that a key is gone finds it gone with all of them.
                self.members.iter_mut().filter_map(Member::link).for_each(|link| link.page.note_destroyed());
            }
            let member = &mut self.members[index];
            let error = answer.result.as_ref().err().cloned();
            match (answer.after, error) {
                (After::Leaves, Some(error)) => {
                    if let Some(job) = sent.job {
                        self.lost_under(job, &error, answer.result, told);
                    }
                    verdict = Verdict::Ends(error);
                }
                (After::Doubts, Some(error)) if member.may_doubt() => {
                    member.last_doubt = Some(Instant::now());
                    member.doubtful = sent.job.map(|job| (job, error.clone()));
                    verdict = Verdict::Ends(error);
                }
                _ => told.extend(sent.job.map(|job| (job, answer.result))),
            }
        }
        self.pump();
        verdict
    }

    /// The token went away under a request: one that changes nothing is tried once more, by whoever is there.
    fn lost_under(&mut self, mut job: Job, error: &KsError, result: Result<super::message::Response>, told: &mut Answers) {
        job.tries += 1;
        if job.changes || job.tries > 1 || error.class() != Class::TokenLost {
            told.push((job, result));
        } else {
            self.put_back(job);
        }
    }

    fn put_back(&mut self, job: Job) {
        if !job.put_back() {
            return;
        }
        if job.is_slow && self.has_slow_place() { self.slow.push_front(job) } else { self.traffic.push_front(job) }
    }

    /// Looks whether a worker hangs, and takes from one that is at something long what others could do meanwhile.
    pub(super) fn look(&mut self, index: usize) -> Verdict {
        let now = Instant::now();
        let others = self.members.iter().enumerate().any(|(other, member)| {
            other != index && member.takes != Takes::Slow && matches!(&member.phase, Phase::Ready(link) if !link.stalled)
        });
        let Some(link) = self.members[index].link() else { return Verdict::GoesOn };
        if let Some(reason) = link.suspect.take() {
            return Verdict::Ends(reason);
        }
        link.flush();
        let Some(front) = link.sent.front() else { return Verdict::GoesOn };
        let grace = if front.changes { GRACE_CHANGE } else { GRACE };
        if now > front.deadline + grace {
            return Verdict::Ends(KsError::new(Class::RetryOther, "a call into the module did not return"));
        }
        let (seq, under_way) = link.page.begun();
        if !under_way || link.watched.0 != seq {
            link.watched = (seq, now);
        } else if now - link.watched.1 > STALL {
            link.stalled = true;
            let rescued = if others { link.rescue(seq) } else { Vec::new() };
            rescued.into_iter().for_each(|job| self.put_back(job));
            self.pump();
        }
        Verdict::GoesOn
    }

    /// The token was lost by one worker and not found by its successor: the others look for themselves.
    pub(super) fn suspect(&mut self, index: usize, reason: &KsError) {
        let others = self.members.iter_mut().enumerate().filter(|(other, _)| *other != index);
        others.filter_map(|(_, member)| member.link()).for_each(|link| link.suspect = Some(reason.clone()));
    }

    /// A process serves.
    pub(super) fn ready(&mut self, index: usize, socket: Arc<UnixStream>, page: Page, told: &mut Answers) {
        self.opened += 1;
        let member = &mut self.members[index];
        let doubtful = member.doubtful.take();
        member.phase = Phase::Ready(Link {
            socket,
            out: Zeroizing::default(),
            sent: VecDeque::new(),
            next: 1,
            page,
            watched: (0, Instant::now()),
            stalled: false,
            suspect: None,
        });
        // The token is there, but it may have come back only now: what was not found is looked for once more, in a process that has
        // seen it, and then believed. Nothing was done, so it may be done again.
        match doubtful {
            Some((mut job, _)) if job.tries == 0 => {
                job.tries += 1;
                self.put_back(job);
            }
            Some((job, error)) => told.push((job, Err(error))),
            None => {}
        }
        self.pump();
    }

    /// A process has ended: what it had not begun others do, what it was at is told as what it is.
    pub(super) fn buried(&mut self, index: usize, told: &mut Answers) {
        let Phase::Ready(link) = std::mem::replace(&mut self.members[index].phase, Phase::Starting) else { return };
        let (begun, under_way) = link.page.begun();
        for sent in link.sent.into_iter().rev() {
            let Some(mut job) = sent.job else { continue };
            // To destroy twice is to destroy once.
            if sent.seq <= begun && job.makes.is_some() {
                told.push((job, Err(died(Class::OutcomeUnknown))));
                continue;
            }
            job.tries += u8::from(sent.seq == begun && under_way);
            if job.tries > 1 {
                told.push((job, Err(died(Class::RetryOther))));
            } else {
                self.put_back(job);
            }
        }
        self.pump();
    }

    /// A process could not start. Callers who wait in vain are told.
    pub(super) fn away(&mut self, index: usize, reason: KsError, told: &mut Answers) {
        let member = &mut self.members[index];
        told.extend(member.doubtful.take().map(|(job, _)| (job, Err(reason.clone().into_class(Class::TokenLost)))));
        member.phase = Phase::Away(reason);
        if self.has_slow_place() && self.unable(|takes| takes == Takes::Slow).is_some() {
            // Those for traffic can do it too.
            self.traffic.append(&mut self.slow);
        }
        if let Some(error) = self.unable(|takes| takes != Takes::Slow) {
            let waiting = self.traffic.drain(..);
            told.extend(waiting.filter(Job::begin).map(|job| (job, Err(error.clone()))));
        }
        self.pump();
    }

    /// Whoever waits learns from the loss of the answer's sender that the token was closed.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.traffic.clear();
        self.slow.clear();
        for link in self.members.iter_mut().filter_map(Member::link) {
            // The worker may be gone already.
            let _ = link.socket.shutdown(std::net::Shutdown::Write);
        }
    }
}

impl Member {
    fn link(&mut self) -> Option<&mut Link> {
        match &mut self.phase {
            Phase::Ready(link) => Some(link),
            _ => None,
        }
    }

    /// A token that shows no key is empty, or it is gone and the module has not noticed (SoftHSM lists its tokens at
    /// C_Initialize alone). A new process tells; a token that has just been looked for is believed.
    fn may_doubt(&self) -> bool {
        self.last_doubt.is_none_or(|at| at.elapsed() > DOUBT_INTERVAL)
    }
}

impl Link {
    /// One slow request at a time: another one waits where its caller can take it back.
    fn has_room(&self, job: &Job) -> bool {
        !self.stalled && self.sent.len() < WINDOW && !(job.is_slow && self.sent.iter().any(|sent| sent.is_slow))
    }

    /// Takes the next request of a queue.
    fn queue(&mut self, queue: &mut VecDeque<Job>) {
        let Some(job) = queue.pop_front().filter(Job::begin) else { return };
        let left = job.deadline.saturating_duration_since(Instant::now());
        let budget = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        let seq = self.next;
        self.next += 1;
        job.frame.append(seq, budget, &mut self.out);
        let (deadline, changes, is_slow) = (job.deadline, job.changes, job.is_slow);
        let destroys = changes && job.makes.is_none();
        self.sent.push_back(Sent { seq, deadline, changes, destroys, is_slow, job: Some(job) });
    }

    /// Sends as much as the socket takes. A dead worker shows when its answers are read.
    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let sent = rustix::net::send(&*self.socket, &self.out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap_or(0);
        let rest = self.out.len() - sent;
        self.out.copy_within(sent.., 0);
        self.out[rest..].zeroize();
        self.out.truncate(rest);
    }

    /// The requests behind one that takes long, which others may do as well.
    fn rescue(&mut self, seq: u64) -> Vec<Job> {
        let behind = self.sent.iter_mut().rev().filter(|sent| sent.seq != seq && !sent.changes);
        behind.filter_map(|sent| sent.job.take()).collect()
    }
}

/// The member with the fewest requests; among equals one by the key, which then knows its handle.
fn least_busy<'a>(members: &'a mut [Member], job: &Job, takes: impl Fn(Takes) -> bool) -> Option<&'a mut Link> {
    let count = members.len();
    let with_room = members.iter_mut().enumerate().filter_map(|(index, member)| {
        let fits = takes(member.takes);
        let link = member.link().filter(|link| fits && link.has_room(job))?;
        Some((link.sent.len(), (index + job.affinity) % count, link))
    });
    with_room.min_by_key(|(busy, turn, _)| (*busy, *turn)).map(|(_, _, link)| link)
}

fn died(class: Class) -> KsError {
    KsError::new(class, "the worker process died in the call")
}
