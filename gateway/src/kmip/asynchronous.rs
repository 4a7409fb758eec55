//! When a request is answered later, and Poll. KMIP 2.1 §6.1.38, §9.2, §11.3; KMIP 1.4 §4.28, §6.7.
//!
//! A client that allows a later answer gets it at once where it is there within `kmip.async_answer_ms`; what takes longer (making RSA keys,
//! a device, a Locate over many objects) is answered Operation Pending and goes on. A client that demands a later answer is answered
//! Operation Pending whatever it is.

use std::sync::Arc;
use std::time::Duration;

use keygate_kmip::ttlv::{Frame, Writer};
use keygate_kmip::{AsynchronousIndicator, ItemResult, Operation, PollRequest, RequestMessage, ResponseItem, ResultReason};
use zeroize::Zeroizing;

use super::{KmipFront, batch, refuse, unix_seconds, write_response};
use crate::identity::Caller;
use crate::listen::PeerInfo;
use crate::operation::OperationError;
use crate::operation::asynchronous::{Asynchronous, JobId, Polled, Submitted};

/// How long a Poll waits for what has not ended: whoever polls again and again is spared most of it.
const POLL_WAIT: Duration = Duration::from_secs(1);

/// Operations about pending requests, and about the connection itself. KMIP 2.1 §6.1.38 of Poll: "The response to this operation SHALL NOT
/// be asynchronous."
const ALWAYS_NOW: [Operation; 5] =
    [Operation::Cancel, Operation::Poll, Operation::Process, Operation::QueryAsynchronousRequests, Operation::SetEndpointRole];

/// When a message is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    /// "The server MAY process each batch item in the request either asynchronously [...] or synchronously."
    NowOrLater,
    /// "The server SHALL process all batch items in the request asynchronously".
    Later,
}

/// Executes a message and writes its response, or says that it comes later. True: the connection is turned round from here on.
pub(super) async fn perform(
    front: &KmipFront,
    caller: &Arc<Caller>,
    peer: PeerInfo,
    (bytes, message): (&[u8], &RequestMessage<'_>),
    now: i64,
    writer: &mut Writer,
) -> bool {
    let version = message.header.protocol_version;
    let when = match when(message) {
        Ok(when) => when,
        Err(text) => {
            refuse(writer, version, now, ResultReason::InvalidMessage, text);
            return false;
        }
    };
    // What is wrong with the message, or an item whose operation is not known, is told at once.
    let operations: Result<Vec<Operation>, u32> = message.items.iter().map(|item| item.operation).collect();
    let (Ok(operations), Ok(()), true) = (operations, batch::check(message), when != When::Now) else {
        return batch::perform(front, caller, peer, message, now, writer).await;
    };
    let asynchronous = front.gateway.asynchronous();
    let submitted = match asynchronous.submit(caller.principal(), &operations, bytes.len()) {
        Ok(submitted) => submitted,
        Err(_) if when == When::NowOrLater => return batch::perform(front, caller, peer, message, now, writer).await,
        Err(error) => {
            batch::refuse_all(front, peer, message, &error, now, writer);
            return false;
        }
    };
    let mut unannounced = Unannounced { asynchronous: Arc::clone(asynchronous), job: Some(submitted.job) };
    let started = writer.bytes().len();
    let pending = pending(message, &submitted);
    write_response(writer, version, now, &pending);
    if batch::is_too_large(message, writer.bytes().len() - started) {
        writer.truncate(started);
        batch::refuse_all(front, peer, message, &OperationError::ResponseTooLarge, now, writer);
        return false;
    }
    let policy = asynchronous.policy();
    let (job, mut ended) = (submitted.job, submitted.ended.clone());
    let is_waited_for = when == When::NowOrLater && !policy.answer_within.is_zero();
    let begin_after = if is_waited_for { Duration::ZERO } else { policy.begin_after };
    // What is answered later has no connection to turn round.
    let apart = PeerInfo { can_turn: false, ..peer };
    let work = Work { front: front.clone(), caller: Arc::clone(caller), peer: apart, bytes: Zeroizing::new(bytes.to_vec()), job };
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(begin_after) => {}
            () = submitted.wake.notified() => {}
        }
        work.run().await;
    });
    if is_waited_for
        && tokio::time::timeout(policy.answer_within, ended.wait_for(|ended| *ended)).await.is_ok()
        && let Some(results) = asynchronous.take(job)
    {
        writer.truncate(started);
        let items = message.items.iter().zip(results).map(|(item, result)| batch::answer(item, result));
        write_response(writer, version, now, &items.collect::<Vec<_>>());
        return false;
    }
    unannounced.job = None;
    false
}

/// The answer to a Poll: "This response SHALL be identical to the response that would have been sent if the operation had completed
/// synchronously."
pub(super) async fn poll(front: &KmipFront, caller: &Caller, request: &PollRequest) -> Result<(Operation, ItemResult), OperationError> {
    let value = &request.asynchronous_correlation_value;
    let (asynchronous, owner) = (front.gateway.asynchronous(), caller.principal());
    let mut polled = asynchronous.poll(owner, value);
    if let (Polled::Pending(_), Some(mut ended)) = (&polled, asynchronous.hurry(owner, value)) {
        // Whether it has ended is asked again.
        let _ = tokio::time::timeout(POLL_WAIT, ended.wait_for(|ended| *ended)).await;
        polled = asynchronous.poll(owner, value);
    }
    match polled {
        Polled::Unknown => Err(OperationError::UnknownCorrelation),
        // "If the operation has not completed, the response SHALL contain no payload and a Result Status of Pending."
        Polled::Pending(operation) => Ok((operation, ItemResult::Pending(value.clone()))),
        Polled::Ended(operation, result) => Ok((operation, *result)),
    }
}

fn when(message: &RequestMessage<'_>) -> Result<When, String> {
    let about_pending = message.items.iter().filter_map(|item| item.operation.ok()).find(|operation| ALWAYS_NOW.contains(operation));
    // "If not present in a request, then Prohibited is assumed."
    match (message.header.asynchronous_indicator.unwrap_or_default(), about_pending) {
        (AsynchronousIndicator::Prohibited, _) | (AsynchronousIndicator::Optional, Some(_)) => Ok(When::Now),
        (AsynchronousIndicator::Optional, None) => Ok(When::NowOrLater),
        (AsynchronousIndicator::Mandatory, None) => Ok(When::Later),
        (AsynchronousIndicator::Mandatory, Some(operation)) => Err(format!("{operation} is not answered asynchronously")),
    }
}

fn pending(message: &RequestMessage<'_>, submitted: &Submitted) -> Vec<ResponseItem> {
    let values = submitted.correlation_values.iter();
    message.items.iter().zip(values).map(|(item, value)| batch::answer(item, ItemResult::Pending(value.to_vec()))).collect()
}

/// A message whose caller has not been told its correlation values: nobody would ever poll for it.
struct Unannounced {
    asynchronous: Arc<Asynchronous>,
    job: Option<JobId>,
}

impl Drop for Unannounced {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            self.asynchronous.forget(job);
        }
    }
}

/// A message that is executed on its own.
struct Work {
    front: KmipFront,
    caller: Arc<Caller>,
    peer: PeerInfo,
    bytes: Zeroizing<Vec<u8>>,
    job: JobId,
}

impl Work {
    async fn run(self) {
        let asynchronous = Arc::clone(self.front.gateway.asynchronous());
        let Some(begun) = asynchronous.begin(self.job) else { return };
        let mut ending = Ending { asynchronous: Arc::clone(&asynchronous), job: self.job, results: Vec::new() };
        // The octets were read when they came.
        let Ok(frame) = Frame::parse(&self.bytes, &self.front.limits) else { return };
        let Ok(message) = RequestMessage::parse(&frame, self.front.gateway.policy.batch_items_max) else { return };
        let job = self.job;
        let room = |octets: usize| {
            if batch::is_too_large(&message, octets) {
                return Err(OperationError::ResponseTooLarge);
            }
            asynchronous.hold(job, octets)
        };
        let run = batch::Run { canceled: &begun.canceled, room: &room };
        let mut scratch = Writer::new();
        let items = batch::run(&self.front, &self.caller, self.peer, &message, unix_seconds(), &run, &mut scratch).await;
        ending.results = items.into_iter().map(|item| item.result).collect();
    }
}

/// Ends a message whatever happens to it: nobody polls for ever.
struct Ending {
    asynchronous: Arc<Asynchronous>,
    job: JobId,
    results: Vec<ItemResult>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.asynchronous.end(self.job, std::mem::take(&mut self.results));
    }
}
