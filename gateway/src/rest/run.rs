//! A request as one unit of work: its operations, one commit, one answer. Executed again where another request was faster.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use keygate_kmip::{Operation, ProtocolVersion, RequestPayload, ResponsePayload};

use super::{Rest, answer::Refused, caller::May};
use crate::{
    identity::Caller,
    operation::{self, Exchange, OperationError},
    respond::result_reason,
};

/// The rules by which attributes are checked are those of the newest version.
const VERSION: ProtocolVersion = ProtocolVersion::V2_1;
/// How often a request is executed again because another one was faster.
const ATTEMPTS_MAX: u32 = 8;

/// What a request asks for, read and checked in form.
pub(super) trait Task: Send + Sync + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// The operation that is on record where it was refused before one began.
    fn operation(&self) -> Operation;

    /// Does it. May be called several times, each time on a new exchange.
    fn perform(&self, work: &mut Work<'_, '_>) -> impl Future<Output = Result<Self::Answer, OperationError>> + Send;
}

/// A request under way.
pub(super) struct Work<'w, 'g> {
    pub(super) exchange: &'w mut Exchange<'g>,
    rest: &'w Rest,
    connection: u64,
    /// Whether a refusal is on record.
    is_refused: bool,
}

impl Rest {
    /// Performs a task and commits what comes of it, all or nothing. What was refused is on record, too. It runs to its end whether
    /// or not its client still waits: a device has done by then what only the commit, and what follows it, makes known.
    pub(super) async fn run<N: Sync, T: Task>(&self, may: &May<N>, task: T) -> Result<T::Answer, Refused> {
        let (rest, caller, source, connection) = (self.clone(), may.caller().clone(), may.source, may.connection);
        let work = tokio::spawn(async move { rest.perform(&caller, source, connection, &task).await });
        work.await.map_err(|lost| OperationError::internal("a request of the REST front", lost))?
    }

    async fn perform<T: Task>(&self, caller: &Arc<Caller>, source: IpAddr, connection: u64, task: &T) -> Result<T::Answer, Refused> {
        let mut names_taken = false;
        for attempt in 1.. {
            let mut exchange = Exchange::new(&self.gateway, caller, source, VERSION, unix_seconds());
            if names_taken {
                exchange.check_names();
            }
            let mut work = Work { exchange: &mut exchange, rest: self, connection, is_refused: false };
            let outcome = task.perform(&mut work).await;
            if let Err(error) = &outcome {
                work.refused(task.operation(), error);
                exchange.undo();
            }
            match exchange.finish().await {
                Ok(()) => return outcome.map_err(Refused::from),
                Err(OperationError::Conflict) if attempt < ATTEMPTS_MAX => {}
                // Looked up beforehand, the refusal is on record.
                Err(OperationError::NameTaken) if !names_taken => names_taken = true,
                Err(error) => return Err(error.into()),
            }
        }
        Err(OperationError::Conflict.into())
    }
}

impl Work<'_, '_> {
    /// One operation, with its audit event, as a batch item of KMIP.
    pub(super) async fn item(&mut self, payload: RequestPayload) -> Result<ResponsePayload, OperationError> {
        let operation = payload.operation();
        self.exchange.begin_item();
        let done = match operation::perform(self.exchange, payload).await {
            Ok(answer) => self.exchange.check_names_of_item().await.and_then(|()| self.exchange.check_quotas_of_item()).map(|()| answer),
            Err(error) => Err(error),
        };
        match done {
            Ok(answer) => {
                self.exchange.item_done(operation::action(operation));
                self.rest.metrics.operation(self.connection, operation.code(), true);
                Ok(answer)
            }
            Err(error) => {
                self.failed(operation, &error);
                Err(error)
            }
        }
    }

    /// Records why the task ended, unless an operation of it says so.
    fn refused(&mut self, operation: Operation, error: &OperationError) {
        if !self.is_refused {
            self.exchange.begin_item();
            self.failed(operation, error);
        }
    }

    fn failed(&mut self, operation: Operation, error: &OperationError) {
        self.is_refused = true;
        self.exchange.item_failed(operation::action(operation), result_reason(error, VERSION).code());
        self.rest.metrics.operation(self.connection, operation.code(), false);
    }
}

/// An operation answered with another operation's payload: cannot happen, and is not the client's fault.
pub(super) fn mixed_up(answer: &ResponsePayload) -> OperationError {
    OperationError::internal("an operation of the REST front", format!("answered by {:?}", answer.operation()))
}

fn unix_seconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
