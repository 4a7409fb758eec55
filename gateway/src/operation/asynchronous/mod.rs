//! Requests that are answered later: what is pending and what came of it. Cancel, Process and Query Asynchronous Requests. KMIP 2.1
//! §6.1.5, §6.1.39, §6.1.41, §9.1, §9.2.
//!
//! A message is one unit of work, later as at once: its batch items begin together, in order, and end with one commit. Each has an
//! Asynchronous Correlation Value of its own, random, by which its caller, and nobody else, polls for it or cancels it. What is
//! kept is bounded in number, octets and time (`limits.async_*`) and is in memory only: a restart forgets what has not begun and
//! every answer; what was committed is in the store, and nothing is executed twice. A message that has begun is not canceled.
//!
//! Left to others: when a request is answered later, and Poll, whose answer is another operation's (the protocol front).

mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keygate_kmip::{
    AsynchronousRequest, CancelRequest, CancelResponse, DateTimeExtended, ItemResult, Operation, ProcessRequest, ProcessResponse,
    QueryAsynchronousRequestsRequest, QueryAsynchronousRequestsResponse,
};
use tokio::sync::{Notify, watch};

use super::{AsynchronousPolicy, Exchange, OperationError};
use crate::store::ClientId;
use table::Table;
pub(crate) use table::{CorrelationValue, JobId, Polled};

/// Requests that are answered later, of all callers.
pub(crate) struct Asynchronous {
    table: Mutex<Table>,
    policy: AsynchronousPolicy,
}

/// A message that was taken.
pub(crate) struct Submitted {
    /// Its number.
    pub(crate) job: JobId,
    /// The Asynchronous Correlation Values of its items, in order.
    pub(crate) correlation_values: Vec<CorrelationValue>,
    /// Told when it is to begin early.
    pub(crate) wake: Arc<Notify>,
    /// True once it has ended.
    pub(crate) ended: watch::Receiver<bool>,
}

/// What a message that begins must know.
pub(crate) struct Begun {
    /// Which of its items were canceled.
    pub(crate) canceled: Vec<bool>,
}

impl Asynchronous {
    /// None yet.
    pub(crate) fn new(policy: AsynchronousPolicy) -> Self {
        Self { table: Mutex::new(Table::new(policy)), policy }
    }

    /// The settings.
    pub(crate) fn policy(&self) -> &AsynchronousPolicy {
        &self.policy
    }

    /// Takes a message of so many octets.
    ///
    /// # Errors
    /// [`OperationError::LimitExceeded`], naming the limit.
    pub(crate) fn submit(&self, owner: ClientId, operations: &[Operation], octets: usize) -> Result<Submitted, OperationError> {
        self.table().submit(owner, operations, octets, super::now_ms() * 1000, Instant::now())
    }

    /// Begins a message; `None` if nobody wants any of it any more, or it began before.
    pub(crate) fn begin(&self, job: JobId) -> Option<Begun> {
        self.table().begin(job, Instant::now()).map(|canceled| Begun { canceled })
    }

    /// Sets octets aside for the answers of a message, before anything is committed.
    ///
    /// # Errors
    /// [`OperationError::LimitExceeded`].
    pub(crate) fn hold(&self, job: JobId, octets: usize) -> Result<(), OperationError> {
        self.table().hold(job, octets)
    }

    /// Ends a message: the results of its items as far as they were executed.
    pub(crate) fn end(&self, job: JobId, results: Vec<ItemResult>) {
        self.table().end(job, results, Instant::now());
    }

    /// The results of a message that has ended and whose caller was still waiting; nothing is kept of it.
    pub(crate) fn take(&self, job: JobId) -> Option<Vec<ItemResult>> {
        self.table().take(job)
    }

    /// Forgets a message that was not announced to its caller.
    pub(crate) fn forget(&self, job: JobId) {
        self.table().forget(job);
    }

    /// How far an item of a caller is. One that waits to begin begins: somebody wants it.
    pub(crate) fn poll(&self, owner: ClientId, correlation_value: &[u8]) -> Polled {
        self.table().poll(owner, correlation_value, Instant::now())
    }

    /// Begins an item of a caller early; what tells when it has ended.
    pub(crate) fn hurry(&self, owner: ClientId, correlation_value: &[u8]) -> Option<watch::Receiver<bool>> {
        self.table().hurry(owner, correlation_value, Instant::now())
    }

    /// Forgets every answer that waits to be polled for.
    pub(crate) fn flush(&self) {
        self.table().flush();
    }

    /// Takes no more messages, forgets those that have not begun, and waits for the others, not longer than this. How many were
    /// left.
    pub(crate) async fn drain(&self, longest: Duration) -> usize {
        let running = self.table().close();
        let until = tokio::time::Instant::now() + longest;
        let mut left = 0;
        for mut ended in running {
            let over = tokio::time::timeout_at(until, ended.wait_for(|ended| *ended)).await.is_ok();
            left += usize::from(!over);
        }
        left
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cancels a batch item that has not begun. It is not taken back with its batch.
pub(super) fn cancel(exchange: &Exchange<'_>, request: CancelRequest) -> CancelResponse {
    let owner = exchange.caller.principal();
    let asynchronous = exchange.gateway.asynchronous();
    let cancellation_result = asynchronous.table().cancel(owner, &request.asynchronous_correlation_value, Instant::now());
    CancelResponse { asynchronous_correlation_value: request.asynchronous_correlation_value, cancellation_result }
}

/// Begins a batch item now and waits until it has ended: "the next Poll for that asynchronous request SHALL NOT return a 'pending'
/// status".
///
/// # Errors
/// [`OperationError::UnknownCorrelation`].
pub(super) async fn process(exchange: &Exchange<'_>, request: ProcessRequest) -> Result<ProcessResponse, OperationError> {
    let owner = exchange.caller.principal();
    let ended = exchange.gateway.asynchronous().hurry(owner, &request.asynchronous_correlation_value);
    let mut ended = ended.ok_or(OperationError::UnknownCorrelation)?;
    // An error means that it is gone, which is not pending either.
    let _ = ended.wait_for(|ended| *ended).await;
    Ok(ProcessResponse {})
}

/// The caller's batch items whose results it has not had.
pub(super) fn query(exchange: &Exchange<'_>, request: &QueryAsynchronousRequestsRequest) -> QueryAsynchronousRequestsResponse {
    let outstanding = exchange.gateway.asynchronous().table().outstanding(exchange.caller.principal(), Instant::now());
    let wanted = |item: &table::Outstanding| {
        let by_value = request.correlation_values.as_ref().is_none_or(|list| list.values.iter().any(|value| **value == item.correlation_value));
        by_value && request.operations.as_ref().is_none_or(|list| list.operations.contains(&item.operation))
    };
    let requests = outstanding.into_iter().filter(wanted).map(|item| AsynchronousRequest {
        asynchronous_correlation_value: item.correlation_value.to_vec(),
        operation: item.operation,
        submission_date: DateTimeExtended(item.submitted_us),
        processing_stage: item.stage,
    });
    QueryAsynchronousRequestsResponse { requests: requests.collect() }
}
