//! The table of what is pending and what came of it. No I/O; time is passed in.
//!
//! A job is a message. It is submitted, begins once, ends once; its items can be canceled only before it begins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use keygate_kmip::{CancellationResult, ItemResult, Operation, ProcessingStage, ResultReason, ResultStatus};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::{AsynchronousPolicy, OperationError, Submitted};
use crate::store::ClientId;

/// Names a batch item to its caller.
pub(crate) type CorrelationValue = [u8; 16];

/// Names a message here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JobId(u64);

/// What a Poll finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// No such item of this caller.
    Unknown,
    /// It has not ended.
    Pending(Operation),
    /// What came of it.
    Ended(Operation, Box<ItemResult>),
}

/// An item whose result its caller has not had.
pub(super) struct Outstanding {
    pub(super) correlation_value: CorrelationValue,
    pub(super) operation: Operation,
    /// Microseconds since 1970.
    pub(super) submitted_us: i64,
    pub(super) stage: ProcessingStage,
}

pub(super) struct Table {
    policy: AsynchronousPolicy,
    jobs: HashMap<JobId, Job>,
    items: HashMap<CorrelationValue, (JobId, usize)>,
    per_owner: HashMap<ClientId, usize>,
    octets: usize,
    last: u64,
    /// The server ends.
    closed: bool,
}

struct Job {
    owner: ClientId,
    submitted_us: i64,
    stage: Stage,
    items: Vec<Item>,
    /// Of the request until it ends, of the answers from then on.
    octets: usize,
    held: usize,
    /// How many items were executed.
    executed: usize,
    wake: Arc<Notify>,
    ended: watch::Sender<bool>,
}

struct Item {
    correlation_value: CorrelationValue,
    operation: Operation,
    canceled: bool,
    polled: bool,
    result: Option<ItemResult>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Submitted,
    InProcess,
    Completed(Instant),
}

impl Table {
    pub(super) fn new(policy: AsynchronousPolicy) -> Self {
        Self { policy, jobs: HashMap::new(), items: HashMap::new(), per_owner: HashMap::new(), octets: 0, last: 0, closed: false }
    }

    pub(super) fn submit(
        &mut self,
        owner: ClientId,
        operations: &[Operation],
        octets: usize,
        submitted_us: i64,
        now: Instant,
    ) -> Result<Submitted, OperationError> {
        if self.closed {
            return Err(OperationError::Unavailable("the server is shutting down".to_owned()));
        }
        self.sweep(now);
        let of_owner = self.per_owner.get(&owner).copied().unwrap_or_default();
        let full = |what: &str, limit: usize| Err(OperationError::LimitExceeded(format!("{what} are pending or wait to be polled for: the limit is {limit}")));
        if of_owner + operations.len() > self.policy.items_per_caller_max {
            return full("too many batch items of this caller", self.policy.items_per_caller_max);
        }
        if self.items.len() + operations.len() > self.policy.items_max {
            return full("too many batch items", self.policy.items_max);
        }
        if self.octets.saturating_add(octets) > self.policy.bytes_max {
            return full("too many octets", self.policy.bytes_max);
        }
        self.last += 1;
        let id = JobId(self.last);
        let item = |operation: &Operation| Item {
            // 122 random bits from the system.
            correlation_value: *Uuid::new_v4().as_bytes(),
            operation: *operation,
            canceled: false,
            polled: false,
            result: None,
        };
        let items: Vec<Item> = operations.iter().map(item).collect();
        let correlation_values: Vec<CorrelationValue> = items.iter().map(|item| item.correlation_value).collect();
        for (number, value) in correlation_values.iter().enumerate() {
            self.items.insert(*value, (id, number));
        }
        *self.per_owner.entry(owner).or_default() += items.len();
        self.octets += octets;
        let (wake, (ended, receiver)) = (Arc::new(Notify::new()), watch::channel(false));
        let job = Job { owner, submitted_us, stage: Stage::Submitted, items, octets, held: 0, executed: 0, wake: Arc::clone(&wake), ended };
        self.jobs.insert(id, job);
        Ok(Submitted { job: id, correlation_values, wake, ended: receiver })
    }

    /// Which items were canceled; `None` if all were, or the job does not begin any more.
    pub(super) fn begin(&mut self, id: JobId, now: Instant) -> Option<Vec<bool>> {
        let job = self.jobs.get_mut(&id).filter(|job| job.stage == Stage::Submitted)?;
        let canceled: Vec<bool> = job.items.iter().map(|item| item.canceled).collect();
        if canceled.iter().all(|canceled| *canceled) {
            self.end(id, Vec::new(), now);
            return None;
        }
        job.stage = Stage::InProcess;
        Some(canceled)
    }

    pub(super) fn hold(&mut self, id: JobId, octets: usize) -> Result<(), OperationError> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        let others = self.octets - job.held;
        if others.saturating_add(octets) > self.policy.bytes_max {
            let limit = self.policy.bytes_max;
            return Err(OperationError::LimitExceeded(format!("answers that wait to be polled for take too many octets: the limit is {limit}")));
        }
        self.octets = others + octets;
        job.held = octets;
        Ok(())
    }

    pub(super) fn end(&mut self, id: JobId, results: Vec<ItemResult>, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !matches!(job.stage, Stage::Completed(_))) else { return };
        job.executed = results.len();
        job.stage = Stage::Completed(now);
        let mut results = results.into_iter();
        for item in &mut job.items {
            let result = results.next();
            item.result = Some(match result {
                _ if item.canceled => failed(ResultReason::OperationCanceledByRequester, &OperationError::Canceled.to_string()),
                Some(result) => result,
                None => failed(ResultReason::GeneralFailure, "not executed: an earlier batch item failed"),
            });
        }
        // The request is not needed any more.
        self.octets -= job.octets;
        job.octets = 0;
        // Nobody may be waiting.
        let _ = job.ended.send(true);
    }

    pub(super) fn take(&mut self, id: JobId) -> Option<Vec<ItemResult>> {
        let job = self.jobs.get(&id).filter(|job| matches!(job.stage, Stage::Completed(_)))?;
        let executed = job.executed;
        let job = self.remove(id)?;
        Some(job.items.into_iter().take(executed).filter_map(|item| item.result).collect())
    }

    pub(super) fn poll(&mut self, owner: ClientId, value: &[u8], now: Instant) -> Polled {
        self.sweep(now);
        let Some((job, number)) = self.find(owner, value) else { return Polled::Unknown };
        let stage = job.stage;
        let wake = Arc::clone(&job.wake);
        let item = &mut job.items[number];
        match (&item.result, item.canceled) {
            (Some(result), _) => {
                item.polled = true;
                Polled::Ended(item.operation, Box::new(result.clone()))
            }
            // What is canceled has ended, whatever the others of its message do.
            (None, true) => {
                let result = failed(ResultReason::OperationCanceledByRequester, &OperationError::Canceled.to_string());
                Polled::Ended(item.operation, Box::new(result))
            }
            (None, false) => {
                if stage == Stage::Submitted {
                    wake.notify_one();
                }
                Polled::Pending(item.operation)
            }
        }
    }

    pub(super) fn cancel(&mut self, owner: ClientId, value: &[u8], now: Instant) -> CancellationResult {
        self.sweep(now);
        // "Unavailable - The specified correlation value did not match any recently pending or completed asynchronous operations."
        let Some((job, number)) = self.find(owner, value) else { return CancellationResult::Unavailable };
        if job.items[number].canceled {
            return CancellationResult::Canceled;
        }
        match (job.stage, &job.items[number].result) {
            (Stage::Submitted, _) => {
                job.items[number].canceled = true;
                if job.items.iter().all(|item| item.canceled) {
                    // Whoever keeps the request lets go of it.
                    job.wake.notify_one();
                }
                CancellationResult::Canceled
            }
            // "Completed - The pending operation completed successfully before the cancellation operation was able to cancel it."
            (_, Some(ItemResult::Success(_))) => CancellationResult::Completed,
            // "Failed - The pending operation completed with a failure before the cancellation operation was able to cancel it."
            (_, Some(_)) => CancellationResult::Failed,
            // "Unable to Cancel - The cancel operation is unable to cancel the pending operation."
            (_, None) => CancellationResult::UnableToCancel,
        }
    }

    /// Begins a job early; what tells when it has ended.
    pub(super) fn hurry(&mut self, owner: ClientId, value: &[u8], now: Instant) -> Option<watch::Receiver<bool>> {
        self.sweep(now);
        let (job, number) = self.find(owner, value)?;
        let ended = job.ended.subscribe();
        if job.items[number].canceled {
            // It ended when it was canceled.
            let (_, over) = watch::channel(true);
            return Some(over);
        }
        job.wake.notify_one();
        Some(ended)
    }

    pub(super) fn outstanding(&mut self, owner: ClientId, now: Instant) -> Vec<Outstanding> {
        self.sweep(now);
        let mut found = Vec::new();
        let mut jobs: Vec<(&JobId, &Job)> = self.jobs.iter().filter(|(_, job)| job.owner == owner).collect();
        jobs.sort_by_key(|(JobId(number), _)| *number);
        for (_, job) in jobs {
            let stage = match job.stage {
                Stage::Submitted => ProcessingStage::Submitted,
                Stage::InProcess => ProcessingStage::InProcess,
                Stage::Completed(_) => ProcessingStage::Completed,
            };
            let items = job.items.iter().filter(|item| !item.polled && !item.canceled);
            found.extend(items.map(|item| Outstanding {
                correlation_value: item.correlation_value,
                operation: item.operation,
                submitted_us: job.submitted_us,
                stage,
            }));
        }
        found
    }

    /// Forgets every job that has ended.
    pub(super) fn flush(&mut self) {
        let ended: Vec<JobId> = self.jobs.iter().filter(|(_, job)| matches!(job.stage, Stage::Completed(_))).map(|(id, _)| *id).collect();
        for id in ended {
            self.remove(id);
        }
    }

    /// Forgets answers that nobody has polled for in time.
    fn sweep(&mut self, now: Instant) {
        let kept = self.policy.kept;
        let is_old = |job: &Job| matches!(job.stage, Stage::Completed(at) if now.saturating_duration_since(at) >= kept);
        let old: Vec<JobId> = self.jobs.iter().filter(|(_, job)| is_old(job)).map(|(id, _)| *id).collect();
        for id in old {
            self.remove(id);
        }
    }

    /// Takes no more jobs and forgets those that have not begun; what tells when the others have ended.
    pub(super) fn close(&mut self) -> Vec<watch::Receiver<bool>> {
        self.closed = true;
        let waiting: Vec<JobId> = self.jobs.iter().filter(|(_, job)| job.stage == Stage::Submitted).map(|(id, _)| *id).collect();
        for id in waiting {
            self.remove(id);
        }
        let running = self.jobs.values().filter(|job| job.stage == Stage::InProcess);
        running.map(|job| job.ended.subscribe()).collect()
    }

    /// Forgets a job.
    pub(super) fn forget(&mut self, id: JobId) {
        self.remove(id);
    }

    fn find(&mut self, owner: ClientId, value: &[u8]) -> Option<(&mut Job, usize)> {
        let value: CorrelationValue = value.try_into().ok()?;
        let (id, number) = *self.items.get(&value)?;
        // Another caller's is as if it were absent.
        let job = self.jobs.get_mut(&id).filter(|job| job.owner == owner)?;
        Some((job, number))
    }

    fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        for item in &job.items {
            self.items.remove(&item.correlation_value);
        }
        if let Some(count) = self.per_owner.get_mut(&job.owner) {
            *count -= job.items.len();
            if *count == 0 {
                self.per_owner.remove(&job.owner);
            }
        }
        self.octets -= job.octets + job.held;
        // Whoever waits is told.
        let _ = job.ended.send(true);
        Some(job)
    }

    /// Items and octets that are kept: 0 when everything was forgotten.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.items.len(), self.octets)
    }
}

fn failed(reason: ResultReason, message: &str) -> ItemResult {
    ItemResult::Failed { status: ResultStatus::OperationFailed, reason, message: message.to_owned(), payload: None }
}
