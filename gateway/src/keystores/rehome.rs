//! Jobs that move all keys of one keystore to another. One at a time for each source; started, watched and stopped by
//! administrators; the server's next start goes on with one that a crash has interrupted.
//!
//! Where the job stands goes into the commit of the keys it has moved: what the report says is what was done, also after `kill -9`.
//! The same keystore twice means a new term of the keyring: every record of the store is sealed again under it.
//!
//! A walk looks at every object once, oldest first. Objects that clients change at that moment are tried again; the job ends with a
//! walk that began at the first object and met none of those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keygate_backends::Health;
use tokio::sync::watch;

use super::{KeystoreError, KeystoreService, event, lock};
use crate::audit::{Action, Details, Event, Outcome};
use crate::operation::rehome::{Ready, Route, Stays, prepare, reseal};
use crate::operation::{Gateway, InUse, now_ms};
use crate::provisioning::Deciding;
use crate::store::{
    Change, Commit, CommitError, Entry, EntryId, KeystoreId, Left, ObjectId, ObjectRow, OrganisationId, Rehoming, RehomingState, ToMove,
};

/// Objects of one look, and of one commit where no device is asked.
const PAGE: u32 = 128;
/// Objects of one look where devices are asked: each is a commit of its own.
const DEVICE_PAGE: u32 = 32;
/// Attempts at an object that clients change all the time.
const TRIES_MAX: u32 = 8;
/// Walks over all objects.
const WALKS_MAX: u32 = 16;
/// Reasons that a report tells apart, and examples of each.
const REASONS_MAX: usize = 32;
const EXAMPLES_MAX: usize = 5;
/// Between two looks at a device that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Jobs of this process.
#[derive(Default)]
pub(super) struct Movers(Mutex<HashMap<EntryId, Running>>);

struct Running {
    stop: watch::Sender<bool>,
    begun: Instant,
    /// What had been looked at when it began here.
    before: u64,
}

/// A job as it stands.
pub struct Moving {
    /// Its row.
    pub row: Rehoming,
    /// Name of where the keys come from.
    pub from: String,
    /// Name of where they go.
    pub to: String,
    /// Keys a second since it began in this process; 0 if it does not run here.
    pub rate: f64,
}

impl Moving {
    /// Objects that have been looked at.
    pub fn seen(&self) -> u64 {
        seen(&self.row)
    }

    /// Seconds until its end, at this rate.
    pub fn seconds_left(&self) -> Option<u64> {
        let left = self.row.total.saturating_sub(self.seen());
        (self.rate > 0.0).then(|| (left as f64 / self.rate).ceil() as u64)
    }
}

fn seen(row: &Rehoming) -> u64 {
    let count = |list: &[Left]| list.iter().map(|left| left.count).sum::<u64>();
    row.moved + count(&row.kept) + count(&row.failed)
}

impl KeystoreService {
    /// Lets this process move keys, and goes on with what was interrupted. Called once the server serves.
    pub fn serve_moves(self: &Arc<Self>) {
        // Set once: a server starts once.
        let _ = self.serving.set(());
        for row in self.store.rehomings().iter().filter(|row| row.state == RehomingState::Running) {
            tracing::info!(from = self.name_of(row.from), to = self.name_of(row.to), moved = row.moved, "going on with moving keys");
            self.spawn(row.clone());
        }
    }

    /// All moves: under way, stopped, and the reports of those that are done; the newest first.
    pub fn moves(&self) -> Vec<Moving> {
        let mut moves: Vec<Moving> = self.store.rehomings().iter().map(|row| self.moving(row.clone())).collect();
        moves.sort_by_key(|moving| std::cmp::Reverse(moving.row.started_ms));
        moves
    }

    fn moving(&self, row: Rehoming) -> Moving {
        let rate = lock(&self.movers.0).get(&row.id).map_or(0.0, |running| {
            let done = seen(&row).saturating_sub(running.before);
            done as f64 / running.begun.elapsed().as_secs_f64().max(0.001)
        });
        Moving { from: self.name_of(row.from), to: self.name_of(row.to), rate, row }
    }

    /// Moves all keys from one keystore to another, or goes on with it. The same twice: everything is sealed under a new term.
    ///
    /// # Errors
    /// Keystores that are not there, or do not take keys; another move from the same keystore; no server.
    pub async fn rehome(self: &Arc<Self>, by: &Deciding, from: &str, to: &str, per_second: u32) -> Result<Moving, KeystoreError> {
        let gateway = self.gateway()?;
        if self.serving.get().is_none() {
            return Err(KeystoreError::NotServing("keys are moved by the running server: start it, then ask again"));
        }
        let (source, target) = (self.find(from)?, self.find(to)?);
        // Who drains a keystore takes it, too.
        let _held = self.changing.lock().await;
        let route = self.route(source.row.id, target.row.id)?;
        if source.row.id == target.row.id && !route.is_within_the_store() {
            return Err(KeystoreError::Invalid("only keys that are sealed in the store can be sealed again where they are".into()));
        }
        route.check_takes_new(to)?;
        let known = self.store.rehomings();
        if let Some(other) = known.iter().find(|row| row.state == RehomingState::Running && row.from == source.row.id) {
            let same = other.to == target.row.id;
            return if same { Ok(self.moving(other.clone())) } else { Err(KeystoreError::Conflict(format!("keys of \"{from}\" are being moved already"))) };
        }
        let before = known.iter().find(|row| row.from == source.row.id && row.to == target.row.id).cloned();
        let row = self.row(by, (source.row.id, target.row.id), per_second, before.clone(), gateway).await?;
        let change = if before.is_some() { Change::UpdateEntry } else { Change::AddEntry };
        let details = Details::Rehome { from: row.from.into(), to: row.to.into() };
        let commit = Commit {
            changes: vec![change(Entry::Rehoming(row.clone()))],
            events: vec![event(by, Action::RehomeStarted, Outcome::Done, details)],
            erases: false,
        };
        self.store.commit(commit).await?;
        self.spawn(row.clone());
        Ok(self.moving(row))
    }

    /// The row of a job that begins, or goes on where it was stopped.
    async fn row(
        &self,
        by: &Deciding,
        (from, to): (KeystoreId, KeystoreId),
        per_second: u32,
        before: Option<Rehoming>,
        gateway: &Gateway,
    ) -> Result<Rehoming, KeystoreError> {
        let stopped = before.as_ref().is_some_and(|row| row.state == RehomingState::Stopped);
        if let (Some(row), true) = (&before, stopped) {
            let row = row.clone();
            return Ok(Rehoming { state: RehomingState::Running, per_second, by: by.actor.clone(), trouble: String::new(), ended_ms: None, ..row });
        }
        let total = if from == to {
            self.new_term(by).await?;
            gateway.store.object_count() as u64
        } else {
            self.store.keystore_objects().await?.get(&from).copied().unwrap_or_default()
        };
        Ok(Rehoming {
            id: before.map_or_else(EntryId::generate, |row| row.id),
            organisation: OrganisationId::DEFAULT,
            from,
            to,
            by: by.actor.clone(),
            state: RehomingState::Running,
            per_second,
            started_ms: now_ms(),
            ended_ms: None,
            after: None,
            total,
            moved: 0,
            kept: Vec::new(),
            failed: Vec::new(),
            trouble: String::new(),
        })
    }

    /// A new term, unless there is one that not everything is under yet.
    async fn new_term(&self, by: &Deciding) -> Result<(), KeystoreError> {
        let _changing = self.seal_changes.lock().await;
        if self.store.keyring().terms().len() > 1 {
            return Ok(());
        }
        let id = (self.store.keyring().newest_term().0 + 1).to_string();
        let events = vec![event(by, Action::TermAdded, Outcome::Done, Details::Seal { id })];
        self.store.commit(Commit { events, ..Commit::default() }).await?;
        self.store.add_term().await?;
        Ok(())
    }

    /// Stops a move. What was moved stays moved; it can be started again.
    ///
    /// # Errors
    /// No such move is under way.
    pub async fn stop_rehome(&self, by: &Deciding, from: &str, to: &str) -> Result<Moving, KeystoreError> {
        let (source, target) = (self.find(from)?.row.id, self.find(to)?.row.id);
        let nothing = || KeystoreError::NotFound { what: "move of keys under way", name: format!("{from} to {to}") };
        let known = self.store.rehomings();
        let row = known.iter().find(|row| row.from == source && row.to == target && row.state == RehomingState::Running);
        let row = row.ok_or_else(nothing)?.clone();
        let details = Details::Rehome { from: row.from.into(), to: row.to.into() };
        let events = vec![event(by, Action::RehomeStopped, Outcome::Done, details)];
        self.store.commit(Commit { events, ..Commit::default() }).await?;
        let stop = lock(&self.movers.0).get(&row.id).map(|running| running.stop.clone());
        if let Some(stop) = stop {
            // Whoever runs it writes how it ended, and then drops its end.
            let _ = stop.send(true);
            stop.closed().await;
        } else {
            // It does not run in this process: the next start shall not go on with it.
            let stopped = Rehoming { state: RehomingState::Stopped, ended_ms: Some(now_ms()), ..row.clone() };
            let changes = vec![Change::UpdateEntry(Entry::Rehoming(stopped))];
            self.store.commit(Commit { changes, ..Commit::default() }).await?;
        }
        let known = self.store.rehomings();
        Ok(self.moving(known.iter().find(|known| known.id == row.id).cloned().unwrap_or(row)))
    }

    fn route(&self, from: KeystoreId, to: KeystoreId) -> Result<Route, KeystoreError> {
        let open = self.gateway()?.keystores.all();
        let find = |id: KeystoreId| -> Result<InUse, KeystoreError> {
            let found = open.iter().find(|keystore| keystore.id == id).cloned();
            found.ok_or_else(|| KeystoreError::Conflict(format!("keystore \"{}\" is not in use: activate it first", self.name_of(id))))
        };
        Ok(Route { from: find(from)?, to: find(to)? })
    }

    fn spawn(self: &Arc<Self>, row: Rehoming) {
        let (stop, stopped) = watch::channel(false);
        let running = Running { stop, begun: Instant::now(), before: seen(&row) };
        lock(&self.movers.0).insert(row.id, running);
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let id = row.id;
            let mut mover = Mover { service: &service, row, stopped, moved_here: 0, begun: Instant::now() };
            mover.run().await;
            lock(&service.movers.0).remove(&id);
        });
    }
}

/// A job at work.
struct Mover<'a> {
    service: &'a Arc<KeystoreService>,
    row: Rehoming,
    stopped: watch::Receiver<bool>,
    moved_here: u64,
    begun: Instant,
}

/// Why a job does not go on.
enum Halt {
    Stopped,
    Trouble(String),
    /// The store is closed: the next start goes on.
    Closing,
}

impl From<CommitError> for Halt {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed => Self::Closing,
            other => Self::Trouble(other.to_string()),
        }
    }
}

impl Mover<'_> {
    async fn run(&mut self) {
        let (state, trouble) = match self.walks().await {
            Ok(()) => (RehomingState::Done, String::new()),
            Err(Halt::Stopped) => (RehomingState::Stopped, String::new()),
            Err(Halt::Trouble(trouble)) => (RehomingState::Stopped, trouble),
            Err(Halt::Closing) => return,
        };
        self.row.state = state;
        self.row.trouble = trouble;
        self.row.ended_ms = Some(now_ms());
        tracing::info!(
            from = self.service.name_of(self.row.from), to = self.service.name_of(self.row.to), moved = self.row.moved,
            trouble = self.row.trouble, "moving keys has ended"
        );
        let details = Details::Rehome { from: self.row.from.into(), to: self.row.to.into() };
        let ended = Event { actor: self.row.by.clone(), ..Event::system(now_ms(), Action::RehomeEnded, details) };
        let events = vec![ended];
        let commit = Commit { events, ..self.noted(&[]) };
        if let Err(error) = self.service.store.commit(commit).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the end of moving keys cannot be recorded");
        }
    }

    async fn walks(&mut self) -> Result<(), Halt> {
        for _ in 0..WALKS_MAX {
            let whole = self.row.after.is_none();
            let calm = self.walk().await?;
            if whole && calm {
                break;
            }
            // Another look at everything that is left; what this walk found to stay is found again.
            (self.row.after, self.row.kept, self.row.failed) = (None, Vec::new(), Vec::new());
        }
        if self.row.from == self.row.to {
            let _changing = self.service.seal_changes.lock().await;
            // Small rows and certificates, and what clients have changed meanwhile; then older terms go.
            let rest = self.service.store.rewrap().await?;
            self.row.moved += rest.objects;
            if !rest.done {
                return Err(Halt::Trouble("older terms stay: some rows under them do not open".into()));
            }
        }
        Ok(())
    }

    /// One walk over what is left; whether clients changed none of it under our hands.
    async fn walk(&mut self) -> Result<bool, Halt> {
        let (of, mut calm) = (self.to_move(), true);
        loop {
            self.pace().await?;
            let route = self.route().await?;
            let within = route.is_within_the_store();
            let after = self.row.after.unwrap_or(ObjectId(uuid::Uuid::nil()));
            let page = self.page(if within { PAGE } else { DEVICE_PAGE });
            let found = self.service.store.objects_to_move(of, after, page).await;
            let (rows, altered) = found.map_err(|error| Halt::Trouble(error.to_string()))?;
            let last = rows.iter().map(|row| row.id).chain(altered.iter().copied()).max();
            let Some(last) = last else { return Ok(calm) };
            altered.into_iter().for_each(|id| note(&mut self.row.failed, "its row was altered", id));
            calm &= if within { self.page_within(&route, rows, last).await? } else { self.page_of_devices(rows, last).await? };
        }
    }

    /// Both keystores, when both serve: a device that is away is waited for, its keys are not reported as lost.
    async fn route(&mut self) -> Result<Route, Halt> {
        loop {
            let is_up = |keystore: &InUse| keystore.keystore.health() == Health::Up;
            let route = self.service.route(self.row.from, self.row.to);
            if let Ok(route) = &route {
                let to = self.service.name_of(self.row.to);
                route.check_takes_new(&to).map_err(|error| Halt::Trouble(error.to_string()))?;
            }
            match route {
                Ok(route) if is_up(&route.from) && is_up(&route.to) => return Ok(route),
                // One that could not be opened is tried again by the watch over keystores.
                Ok(_) | Err(_) => tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    _ = self.stopped.wait_for(|stop| *stop) => return Err(Halt::Stopped),
                },
            }
        }
    }

    /// No more than may be moved in a quarter of a second.
    fn page(&self, most: u32) -> u32 {
        if self.row.per_second == 0 { most } else { (self.row.per_second / 4).clamp(1, most) }
    }

    /// Waits until another page is due.
    async fn pace(&mut self) -> Result<(), Halt> {
        if *self.stopped.borrow() {
            return Err(Halt::Stopped);
        }
        if self.row.per_second == 0 {
            return Ok(());
        }
        let due = self.begun + Duration::from_secs_f64(self.moved_here as f64 / f64::from(self.row.per_second));
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => Ok(()),
            _ = self.stopped.wait_for(|stop| *stop) => Err(Halt::Stopped),
        }
    }

    /// A page that stays in the store: sealed again on another thread, committed as one.
    async fn page_within(&mut self, route: &Route, rows: Vec<Arc<ObjectRow>>, last: ObjectId) -> Result<bool, Halt> {
        let (gateway, to, start) = (self.gateway()?, self.target(), self.row.after);
        let work = move || rows.into_iter().map(|row| (row.id, reseal(&gateway, row, to))).collect::<Vec<_>>();
        let sealed = tokio::task::spawn_blocking(work).await.map_err(|error| Halt::Trouble(error.to_string()))?;
        let mut ready = Vec::with_capacity(sealed.len());
        for (id, sealed) in sealed {
            match sealed {
                Ok(object) => ready.push(object),
                Err(stays) => self.stays(id, stays),
            }
        }
        let count = ready.len() as u64;
        (self.row.after, self.row.moved) = (Some(last), self.row.moved + count);
        let commit = self.noted(&ready);
        match self.gateway()?.commit_moves(ready, commit).await {
            Ok(()) => {
                self.moved_here += count;
                Ok(true)
            }
            Err(CommitError::Conflict { .. }) => {
                // One of them was changed: each by itself, with what it is now.
                self.row.moved -= count;
                self.one_by_one(route, start, last).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The page once more, each object by itself. The place of the walk moves with the last of them.
    async fn one_by_one(&mut self, route: &Route, start: Option<ObjectId>, last: ObjectId) -> Result<bool, Halt> {
        let all = self.service.store.objects_to_move(self.to_move(), start.unwrap_or(ObjectId(uuid::Uuid::nil())), PAGE).await;
        let (rows, _) = all.map_err(|error| Halt::Trouble(error.to_string()))?;
        for row in rows.into_iter().filter(|row| row.id <= last) {
            self.one(route, row).await?;
        }
        Ok(false)
    }

    async fn page_of_devices(&mut self, rows: Vec<Arc<ObjectRow>>, last: ObjectId) -> Result<bool, Halt> {
        let mut calm = true;
        for row in rows {
            self.pace().await?;
            let route = self.route().await?;
            self.row.after = Some(row.id);
            calm &= self.one(&route, row).await?;
        }
        self.row.after = Some(last);
        // What stays where it is is on record too.
        self.service.store.commit(self.noted(&[])).await?;
        Ok(calm)
    }

    /// One object, as often as clients change it under our hands; whether they left it alone.
    async fn one(&mut self, route: &Route, row: Arc<ObjectRow>) -> Result<bool, Halt> {
        let id = row.id;
        let mut next = Some(row);
        for tries in 0..TRIES_MAX {
            let Some(row) = next.take() else { return Ok(tries == 0) };
            let gateway = self.gateway()?;
            let prepared: Result<Ready, Stays> = if route.is_within_the_store() {
                reseal(&gateway, row, self.target())
            } else {
                prepare(&gateway, route, row).await
            };
            let ready = match prepared {
                Ok(ready) => ready,
                Err(stays) => {
                    self.stays(id, stays);
                    return Ok(true);
                }
            };
            self.row.moved += 1;
            let ready = vec![ready];
            let commit = self.noted(&ready);
            match gateway.commit_moves(ready, commit).await {
                Ok(()) => {
                    self.moved_here += 1;
                    return Ok(tries == 0);
                }
                Err(CommitError::Conflict { .. }) => {
                    self.row.moved -= 1;
                    let again = self.service.store.object(id).await.map_err(|error| Halt::Trouble(error.to_string()))?;
                    // It may have been destroyed, or moved by its owner's request.
                    next = again.filter(|row| row.keystore == self.row.from && ![5, 6].contains(&row.state));
                }
                Err(error) => return Err(error.into()),
            }
        }
        note(&mut self.row.failed, "it is changed all the time", id);
        Ok(true)
    }

    fn stays(&mut self, id: ObjectId, stays: Stays) {
        match stays {
            Stays::Kept(reason) => note(&mut self.row.kept, &reason, id),
            Stays::Failed(reason) => note(&mut self.row.failed, &reason, id),
        }
    }

    /// What is left to do.
    fn to_move(&self) -> ToMove {
        if self.row.from == self.row.to {
            return ToMove::NotUnder(self.service.store.keyring().newest_term());
        }
        ToMove::Keystore(self.row.from)
    }

    /// Where moved objects are to be; `None`: where they are.
    fn target(&self) -> Option<KeystoreId> {
        (self.row.from != self.row.to).then_some(self.row.to)
    }

    fn gateway(&self) -> Result<Arc<Gateway>, Halt> {
        self.service.gateway().cloned().map_err(|error| Halt::Trouble(error.to_string()))
    }

    /// A commit that notes where the job stands, with an event for each object that gets another keystore.
    fn noted(&self, moved: &[Ready]) -> Commit {
        let at_ms = now_ms();
        let rehomed = |ready: &Ready| Event {
            at_ms,
            actor: self.row.by.clone(),
            source: None,
            // The record of whoever owns the key: keystores are the whole gateway's, keys are not.
            organisation: Some(ready.before.organisation),
            action: Action::KeyRehomed,
            object: Some(ready.before.id),
            outcome: Outcome::Done,
            details: Details::Rehome { from: self.row.from.into(), to: self.row.to.into() },
        };
        let events = if self.row.from == self.row.to { Vec::new() } else { moved.iter().map(rehomed).collect() };
        // Old copies under another term, or of a key that is in a device now, leave the files.
        Commit { changes: vec![Change::UpdateEntry(Entry::Rehoming(self.row.clone()))], events, erases: true }
    }
}

fn note(list: &mut Vec<Left>, reason: &str, id: ObjectId) {
    let reason = if list.len() < REASONS_MAX || list.iter().any(|left| left.reason == reason) { reason } else { "other reasons" };
    match list.iter_mut().find(|left| left.reason == reason) {
        Some(left) => {
            left.count += 1;
            if left.examples.len() < EXAMPLES_MAX {
                left.examples.push(id);
            }
        }
        None => list.push(Left { reason: reason.into(), count: 1, examples: vec![id] }),
    }
}
