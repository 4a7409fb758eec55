//! The one writer: takes queued units of work, puts many in one transaction, answers when it is on disk.
//!
//! Order inside a group commit: plan (in memory) -> rows, audit segment, state row -> COMMIT (fsync) -> memory (versions, cache,
//! directory) -> `D/anchor` -> answers. A crash at any point leaves all of a unit of work or none of it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::disk::Disk;
use super::plan::{Committed, Entries, EntryKey, Plan, Prepared, Work};
use super::reads::Pending;
use super::set_hash::SetHash;
use super::shared::Shared;
use super::sqlite;
use super::state::{Anchor, Run, State};
use super::{Change, CommitError, CommitReceipt, EntryKind, KeystoreId};
use crate::audit::{Segment, append_head};
use crate::seal::{SealedTerm, Term};

/// Units of work in one transaction.
const GROUP_UNITS_MAX: usize = 256;
/// Bytes of rows in one transaction, about.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// Turns that a commit leaves to requests that are ready to run.
const GATHER_TURNS: usize = 8;
/// A turn that takes longer costs more than a commit that it saves.
const TURN_MAX: Duration = Duration::from_millis(5);
/// After such a turn none is left for so long.
const NO_TURNS: Duration = Duration::from_millis(250);
/// With so many requests underway a commit waits for some of them to join it.
const GATHER_REQUESTS: usize = 8;
/// But no longer than this. A timer of the runtime: it has milliseconds.
const GATHER: Duration = Duration::from_millis(1);
/// Deferred reads wait at most so long for a transaction.
const TICK: Duration = Duration::from_millis(250);
/// The chain's head is noted so often.
const HEAD_EVERY: Duration = Duration::from_secs(60);
/// Old sealed copies leave the WAL so soon after something was destroyed.
const ERASE_WITHIN: Duration = Duration::from_secs(1);
/// SQLite moves the WAL into the database as it grows; where a slow reader kept it from doing so, the writer does at this size.
const WAL_BYTES_MAX: u64 = 64 << 20;

type Reply<T> = oneshot::Sender<Result<T, CommitError>>;

/// What the writer is asked to do.
pub(crate) enum Job {
    Commit(Unit),
    PutTerm(SealedTerm, Reply<()>),
    /// Drop a term unless a row is under it; says whether it was dropped.
    DropTerm(Term, Reply<bool>),
    /// Seal these entries again under the newest term.
    Reseal(Vec<EntryKey>, Reply<()>),
    /// Names that were in the database when it was opened.
    Names(HashSet<u64>),
    /// Empty the WAL now.
    Erase(Reply<()>),
    /// Write what is queued, note the head, mark the store closed.
    Close(Reply<()>),
}

/// A queued unit of work; its events are serialised already.
pub(crate) struct Unit {
    pub(crate) work: Work,
    pub(crate) lines: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) erases: bool,
    pub(crate) reply: Reply<CommitReceipt>,
}

impl Unit {
    fn weight(&self) -> usize {
        self.lines.len() + self.work.len() * 1024
    }
}

/// The writer's own state; nobody else writes any of this.
pub(crate) struct Writer {
    pub(crate) dir: PathBuf,
    pub(crate) connection: SqliteConnection,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: State,
    pub(crate) total: SetHash,
    pub(crate) entries: Entries,
    pub(crate) names: Names,
    pub(crate) anchor: Anchor,
    pub(crate) disk: Disk,
    pub(crate) erase_by: Option<Instant>,
    pub(crate) no_turns_until: Instant,
    pub(crate) head_noted: Instant,
    pub(crate) head_noted_seq: u64,
}

impl Writer {
    /// Runs until closed or until every handle of the store is gone.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let shared = self.shared.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut first = None;
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => first = Some(job),
                    None => break,
                },
                () = shared.reads.wake.notified() => if !shared.reads.is_urgent() { continue },
                _ = tick.tick() => self.housekeeping().await,
            }
            self.gather(&jobs).await;
            let mut units = Vec::new();
            let mut other = None;
            let mut bytes = 0;
            while let Some(job) = first.take().or_else(|| jobs.try_recv().ok()) {
                match job {
                    Job::Commit(unit) => {
                        bytes += unit.weight();
                        units.push(unit);
                    }
                    job => other = Some(job),
                }
                if other.is_some() || units.len() >= GROUP_UNITS_MAX || bytes >= GROUP_BYTES_MAX {
                    break;
                }
            }
            self.commit(units, shared.reads.take()).await;
            if let Some(job) = other
                && self.other(job).await.is_break()
            {
                return;
            }
        }
        // Every handle is gone: nobody can be told of a failure here.
        let _ = self.close().await;
    }

    /// Lets others join the group. Requests that are ready to run go first as long as each turn brings another one: with nobody
    /// else there it is one turn. And with many requests underway it is a moment: keys in devices answer one by one, and a
    /// commit for each would cost more than the keys do.
    ///
    /// Where requests are long (a certificate takes a quarter of a millisecond) a turn of all that are ready would put the processor
    /// and the disk to work one after the other: then the commit goes at once, and they are gathered while it is written.
    async fn gather(&mut self, jobs: &mpsc::Receiver<Job>) {
        let shared = self.shared.clone();
        let waiting = || jobs.len() + shared.reads.waiting();
        let (mut before, mut started) = (waiting(), Instant::now());
        for _ in 0..GATHER_TURNS {
            if started < self.no_turns_until {
                break;
            }
            tokio::task::yield_now().await;
            let ended = Instant::now();
            if ended.duration_since(started) > TURN_MAX {
                self.no_turns_until = ended + NO_TURNS;
            }
            let now = waiting();
            if now == before || now >= GROUP_UNITS_MAX {
                break;
            }
            (before, started) = (now, ended);
        }
        let until = tokio::time::Instant::now() + GATHER;
        while self.shared.underway() >= GATHER_REQUESTS {
            tokio::select! {
                () = self.shared.reads.wake.notified() => {}
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// One group: at most one transaction, unless the database refuses it as a whole.
    async fn commit(&mut self, units: Vec<Unit>, reads: Pending) {
        let low = self.disk.is_low();
        let (units, refused): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| !low || unit.work.len() == 0);
        let percent = self.disk.percent();
        refused.into_iter().for_each(|unit| answer(unit.reply, Err(CommitError::ReadOnlyLowDisk { percent })));
        if units.is_empty() && reads.count == 0 {
            return self.shared.reads.written(reads);
        }
        let names = match self.look_up_names(&units).await {
            Ok(names) => names,
            Err(error) => return self.fail(units.into_iter().map(|unit| unit.reply).collect(), reads, &error),
        };
        let mut plan = Plan::default();
        let mut accepted = Vec::with_capacity(units.len());
        let shared = self.shared.clone();
        let version = |id| shared.version(id);
        {
            // Nobody else writes the index: readers and this plan share it.
            let issued = shared.issued.read().unwrap_or_else(PoisonError::into_inner);
            let (entries, keyring) = (&self.entries, &shared.keyring);
            let (counts, keystores) = (shared.counts.as_ref(), &shared.keystore_counts);
            let committed = Committed { version: &version, entries, issued: &issued, counts, keystores, names, keyring };
            for unit in units {
                match plan.accept(&unit.work, &committed) {
                    Ok(()) => accepted.push(unit),
                    Err(error) => {
                        shared.quota_refusals.count(&error);
                        answer(unit.reply, Err(error));
                    }
                }
            }
        }
        let count = accepted.iter().map(|unit| unit.count).sum::<u32>() + reads.count;
        if accepted.is_empty() && count == 0 {
            return self.shared.reads.written(reads);
        }
        let mut lines =
            Vec::with_capacity(accepted.iter().map(|unit| unit.lines.len()).sum::<usize>() + reads.body.len());
        accepted.iter().for_each(|unit| lines.extend_from_slice(&unit.lines));
        lines.extend_from_slice(&reads.body);
        let prepared = self.prepare(plan);
        match self.write(prepared, lines, count).await {
            Ok(()) => {
                if accepted.iter().any(|unit| unit.erases) {
                    self.erase_by.get_or_insert_with(|| Instant::now() + ERASE_WITHIN);
                }
                let receipt = CommitReceipt { seq: self.state.commit };
                accepted.into_iter().for_each(|unit| answer(unit.reply, Ok(receipt)));
                self.shared.reads.written(reads);
            }
            Err(error) => self.after_failure(accepted, reads, error).await,
        }
    }

    /// The transaction was rolled back. Without space the units of work fail and reads get one more attempt, on the reserve.
    /// Anything else may be one unit's doing: each is tried by itself.
    async fn after_failure(&mut self, units: Vec<Unit>, reads: Pending, error: CommitError) {
        tracing::error!(error = &error as &dyn std::error::Error, "a group commit failed and was rolled back");
        self.disk.recheck();
        if !matches!(error, CommitError::DiskFull) && units.len() + usize::from(reads.count > 0) > 1 {
            for unit in units {
                Box::pin(self.commit(vec![unit], Pending::default())).await;
            }
            return Box::pin(self.commit(Vec::new(), reads)).await;
        }
        units.into_iter().for_each(|unit| answer(unit.reply, Err(error.clone())));
        if reads.count == 0 {
            return;
        }
        for spend_reserve in [false, true] {
            let room = if spend_reserve { self.disk.release_reserve() } else { self.empty_wal().await };
            if room && self.write(self.nothing(), reads.body.clone(), reads.count).await.is_ok() {
                return self.shared.reads.written(reads);
            }
        }
        self.shared.reads.failed(reads, &error);
    }

    /// A transaction without changes: it still carries events and state.
    fn nothing(&self) -> Prepared {
        self.prepare(Plan::default())
    }

    fn prepare(&self, plan: Plan) -> Prepared {
        let issued = self.shared.issued.read().unwrap_or_else(PoisonError::into_inner);
        plan.prepare(&self.shared.keyring, &self.entries, &issued, self.state.commit + 1)
    }

    fn fail(&self, replies: Vec<Reply<CommitReceipt>>, reads: Pending, error: &CommitError) {
        replies.into_iter().for_each(|reply| answer(reply, Err(error.clone())));
        if reads.count > 0 {
            self.shared.reads.failed(reads, error);
        }
    }

    async fn look_up_names(&mut self, units: &[Unit]) -> Result<HashMap<[u8; 16], super::ObjectId>, CommitError> {
        let mut names = Vec::new();
        units.iter().for_each(|unit| names.extend(unit.work.names_added()));
        names.retain(|name| self.names.may_exist(name));
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let taken = sqlite::taken_names(&mut self.connection, &names).await.map_err(|error| broken(&error))?;
        Ok(taken.into_iter().collect())
    }

    /// Writes the group and makes it true in memory. On error everything is as before.
    async fn write(&mut self, prepared: Prepared, lines: Vec<u8>, count: u32) -> Result<(), CommitError> {
        let keyring = self.shared.keyring.clone();
        let Prepared { mut write, objects, entries, issued, removed, added } = prepared;
        let mut state = State { commit: self.state.commit + 1, at_ms: now_ms(), ..self.state };
        if count > 0 {
            let segment = Segment::after(&state.head, keyring.audit(), state.store, count, state.at_ms, lines);
            state.head = segment.head();
            write.segment = Some(segment);
        }
        let names: Vec<_> = write.names_added.iter().map(|(name, _)| *name).collect();
        let mut total = self.total;
        removed.iter().for_each(|element| total.subtract(keyring.set(), element));
        added.iter().for_each(|element| total.add(keyring.set(), element));
        let mac = state.mac(keyring.state(), total);
        let shared = self.shared.clone();
        // From COMMIT until the versions in memory say the same, nobody may conclude that a row is not the newest.
        let publishing = shared.publishing.write().await;
        if let Err(error) = sqlite::write_group(&mut self.connection, write, &state, mac).await {
            // Fails when SQLite has rolled back by itself already, as it does on a full disk.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
            return Err(broken(&error));
        }
        self.state = state;
        self.total = total;
        names.iter().for_each(|name| self.names.add(name));
        shared.publish_objects(self.state.commit, objects);
        shared.publish_issued(self.state.commit, issued);
        drop(publishing);
        self.publish_entries(entries);
        if let Err(error) = self.anchor.write(&self.state) {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot write the anchor");
        }
        Ok(())
    }

    fn publish_entries(&mut self, changed: Vec<(EntryKey, Option<super::Entry>)>) {
        if changed.is_empty() {
            return;
        }
        let apart = [EntryKind::Intent, EntryKind::Rehoming];
        let directory = changed.iter().any(|((kind, _), _)| !apart.contains(kind));
        let gone = changed.iter().filter(|((kind, _), entry)| *kind == EntryKind::Keystore && entry.is_none());
        gone.for_each(|((_, id), _)| self.shared.keystore_counts.remove(KeystoreId(id.0)));
        for (key, _) in &changed {
            self.entries.damaged.remove(key);
            let before = self.entries.rows.remove(key);
            for unique in before.iter().flat_map(|(_, entry)| entry.unique_keys()) {
                self.entries.unique.remove(&unique);
            }
        }
        for (key, entry) in changed {
            let Some(entry) = entry else { continue };
            self.entries.unique.extend(entry.unique_keys().map(|unique| (unique, key.1)));
            self.entries.rows.insert(key, (self.state.commit, entry));
        }
        self.shared.publish_entries(self.state.commit, &self.entries, directory);
    }

    async fn other(&mut self, job: Job) -> std::ops::ControlFlow<()> {
        match job {
            Job::Commit(unit) => answer(unit.reply, Err(CommitError::Closed)),
            Job::PutTerm(term, reply) => {
                let result = sqlite::put_term(&mut self.connection, &term).await;
                answer(reply, result.map_err(|error| broken(&error)));
            }
            Job::DropTerm(term, reply) => {
                let result = self.drop_term(term).await;
                answer(reply, result);
            }
            Job::Reseal(keys, reply) => answer(reply, self.reseal(keys).await),
            Job::Names(read) => self.names.complete(read),
            Job::Erase(reply) => {
                self.erase().await;
                answer(reply, Ok(()));
            }
            Job::Close(reply) => {
                answer(reply, self.close().await);
                return std::ops::ControlFlow::Break(());
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Only the writer drops terms: nothing sealed under one can be on its way into the database behind this look.
    async fn drop_term(&mut self, term: Term) -> Result<bool, CommitError> {
        if sqlite::is_term_used(&mut self.connection, term).await.map_err(|error| broken(&error))? {
            return Ok(false);
        }
        sqlite::drop_term(&mut self.connection, term).await.map_err(|error| broken(&error))?;
        self.shared.keyring.retire_term(term);
        Ok(true)
    }

    async fn reseal(&mut self, keys: Vec<EntryKey>) -> Result<(), CommitError> {
        let entries = keys.iter().filter_map(|key| self.entries.rows.get(key).map(|(_, entry)| entry.clone()));
        let work = Work::new(entries.map(Change::UpdateEntry).collect());
        if work.len() == 0 {
            return Ok(());
        }
        let mut plan = Plan::default();
        let no_objects = |_| None;
        let names = HashMap::new();
        {
            let issued = self.shared.issued.read().unwrap_or_else(PoisonError::into_inner);
            let (entries, keyring) = (&self.entries, &self.shared.keyring);
            let (counts, keystores) = (self.shared.counts.as_ref(), &self.shared.keystore_counts);
            let committed = Committed { version: &no_objects, entries, issued: &issued, counts, keystores, names, keyring };
            plan.accept(&work, &committed)?;
        }
        let prepared = self.prepare(plan);
        self.write(prepared, Vec::new(), 0).await
    }

    async fn housekeeping(&mut self) {
        if self.head_noted.elapsed() >= HEAD_EVERY {
            self.note_head();
        }
        let due = self.erase_by.is_some_and(|by| by <= Instant::now());
        if due || self.wal_bytes() > WAL_BYTES_MAX {
            self.erase().await;
        }
    }

    async fn erase(&mut self) {
        // A reader in the way: the next tick tries again.
        self.erase_by = (!self.empty_wal().await).then(Instant::now);
    }

    async fn empty_wal(&mut self) -> bool {
        sqlite::truncate_wal(&mut self.connection).await.unwrap_or(false)
    }

    fn wal_bytes(&self) -> u64 {
        let mut path = sqlite::path(&self.dir).into_os_string();
        path.push("-wal");
        std::fs::metadata(path).map_or(0, |wal| wal.len())
    }

    fn note_head(&mut self) {
        self.head_noted = Instant::now();
        let head = self.state.head;
        if head.seq != self.head_noted_seq {
            match append_head(&self.dir, self.shared.keyring.audit(), self.state.store, &head, now_ms()) {
                Ok(()) => self.head_noted_seq = head.seq,
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "cannot note the audit head"),
            }
            tracing::info!(segment = head.seq, events = head.events, mac = hex::encode(head.mac), "audit head");
        }
        if let Err(error) = self.anchor.sync() {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot sync the anchor");
        }
    }

    async fn close(&mut self) -> Result<(), CommitError> {
        let shared = self.shared.clone();
        self.commit(Vec::new(), shared.reads.take()).await;
        self.state.run = Run::Closed;
        let closed = self.write(self.nothing(), Vec::new(), 0).await;
        self.erase().await;
        self.note_head();
        closed
    }
}

/// Which names may exist: the first bytes of every token. A name that is not here is free without a look into the database.
#[derive(Default)]
pub(crate) struct Names {
    prefixes: HashSet<u64>,
    /// Those of the time before this start have been read.
    complete: bool,
}

impl Names {
    fn may_exist(&self, name: &[u8; 16]) -> bool {
        !self.complete || self.prefixes.contains(&prefix(name))
    }

    fn add(&mut self, name: &[u8; 16]) {
        self.prefixes.insert(prefix(name));
    }

    fn complete(&mut self, read: HashSet<u64>) {
        self.prefixes.extend(read);
        self.complete = true;
    }
}

fn prefix(name: &[u8; 16]) -> u64 {
    name.first_chunk().map_or(0, |prefix| u64::from_be_bytes(*prefix))
}

pub(crate) fn now_ms() -> i64 {
    // A clock before 1970 gives 0: the chain orders events, not the clock.
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64)
}

pub(crate) fn broken(error: &sqlx::Error) -> CommitError {
    if sqlite::is_disk_full(error) { CommitError::DiskFull } else { CommitError::Broken(error.to_string()) }
}

fn answer<T>(reply: Reply<T>, result: Result<T, CommitError>) {
    // Whoever asked may be gone (its connection closed); what is written stays written.
    let _ = reply.send(result);
}
