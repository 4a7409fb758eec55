//! One message: its batch items in order, as one unit of work. KMIP 2.1 §9.6 (Batch Error Continuation Option), §9.17.

use std::sync::Arc;

use keygate_kmip::ttlv::Writer;
use keygate_kmip::{
    BatchErrorContinuationOption, EndpointRole, ItemResult, Operation, RequestItem, RequestMessage, RequestPayload, ResponseItem, ResponsePayload,
    ResultReason, ResultStatus,
};

use super::{KmipFront, asynchronous, decode_reason, refuse, write_response};
use crate::identity::Caller;
use crate::listen::PeerInfo;
use crate::operation::{Exchange, OperationError, perform as perform_operation};
use crate::respond::result_reason;

/// How often a message is executed again because another request was faster.
const ATTEMPTS_MAX: u32 = 8;

/// What a message is executed with besides.
pub(super) struct Run<'a> {
    /// Which items were canceled; none where it is empty.
    pub(super) canceled: &'a [bool],
    /// Whether there is room for an answer of so many octets. Nothing may have happened that the client is not told.
    pub(super) room: &'a (dyn Fn(usize) -> Result<(), OperationError> + Sync),
}

/// Executes a message and writes its response. True: the connection is turned round from here on.
pub(super) async fn perform(
    front: &KmipFront,
    caller: &Arc<Caller>,
    peer: PeerInfo,
    message: &RequestMessage<'_>,
    now: i64,
    writer: &mut Writer,
) -> bool {
    if let Err((reason, text)) = check(message) {
        refuse(writer, message.header.protocol_version, now, reason, text);
        return false;
    }
    // KMIP 2.1 §9.13: "Maximum Response Size [...] indicates the maximum size of a response that the requester will accept".
    let room = |octets: usize| if is_too_large(message, octets) { Err(OperationError::ResponseTooLarge) } else { Ok(()) };
    let items = run(front, caller, peer, message, now, &Run { canceled: &[], room: &room }, writer).await;
    matches!(&items[..], [item] if is_turned(item))
}

/// Executes a message: its answers, which are written, too.
pub(super) async fn run(
    front: &KmipFront,
    caller: &Arc<Caller>,
    peer: PeerInfo,
    message: &RequestMessage<'_>,
    now: i64,
    run: &Run<'_>,
    writer: &mut Writer,
) -> Vec<ResponseItem> {
    let version = message.header.protocol_version;
    let started = writer.bytes().len();
    let mut names_taken = false;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut exchange = Exchange::new(&front.gateway, caller, peer.address.ip(), version, now);
        if peer.can_turn && message.items.len() == 1 {
            exchange.let_turn();
        }
        if names_taken {
            exchange.check_names();
        }
        let mut items = execute(front, &mut exchange, message, run.canceled).await;
        write_response(writer, version, now, &items);
        if let Err(error) = (run.room)(writer.bytes().len() - started) {
            exchange.undo();
            items = fail_all(message, &error);
            writer.truncate(started);
            write_response(writer, version, now, &items);
        }
        let error = match exchange.finish().await {
            Ok(()) => {
                count(front, peer, &items);
                return items;
            }
            Err(error) => error,
        };
        writer.truncate(started);
        match error {
            OperationError::Conflict if attempt < ATTEMPTS_MAX => {}
            OperationError::NameTaken if !names_taken => names_taken = true,
            error => {
                let items = fail_all(message, &error);
                count(front, peer, &items);
                write_response(writer, version, now, &items);
                return items;
            }
        }
    }
}

/// KMIP 2.1 §6.1.54: "After successful completion of the operation the server assumes the client role".
fn is_turned(item: &ResponseItem) -> bool {
    match &item.result {
        ItemResult::Success(ResponsePayload::SetEndpointRole(answer)) => answer.endpoint_role == EndpointRole::Client,
        _ => false,
    }
}

/// Refuses a message, each of its items for the same reason. Nothing of it is executed.
pub(super) fn refuse_all(
    front: &KmipFront,
    peer: PeerInfo,
    message: &RequestMessage<'_>,
    error: &OperationError,
    now: i64,
    writer: &mut Writer,
) {
    let items = fail_all(message, error);
    count(front, peer, &items);
    write_response(writer, message.header.protocol_version, now, &items);
}

/// What must hold of the whole message.
pub(super) fn check(message: &RequestMessage<'_>) -> Result<(), (ResultReason, String)> {
    let items = &message.items;
    if items.is_empty() {
        return Err((ResultReason::InvalidMessage, "the message has no batch item".to_owned()));
    }
    // KMIP 2.1 §9.21: the identifier is "used to correlate a request item with its response item".
    let mut identifiers: Vec<&[u8]> = items.iter().filter_map(|item| item.unique_batch_item_id).collect();
    identifiers.sort_unstable();
    if identifiers.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err((ResultReason::InvalidMessage, "two batch items have the same Unique Batch Item ID".to_owned()));
    }
    Ok(())
}

async fn execute(front: &KmipFront, exchange: &mut Exchange<'_>, message: &RequestMessage<'_>, canceled: &[bool]) -> Vec<ResponseItem> {
    // KMIP 2.1 §9.6: "If not specified, then Stop is assumed".
    let option = message.header.batch_error_continuation_option.unwrap_or(BatchErrorContinuationOption::Stop);
    let mut answers = Vec::with_capacity(message.items.len());
    for (number, item) in message.items.iter().enumerate() {
        let is_canceled = canceled.get(number).is_some_and(|canceled| *canceled);
        let (operation, result) = execute_item(front, exchange, item, is_canceled).await;
        let failed = matches!(result, ItemResult::Failed { .. });
        // A Poll is answered as the operation it asks about.
        answers.push(ResponseItem { operation: operation.or(item.operation.ok()), ..answer(item, result) });
        if failed && option == BatchErrorContinuationOption::Undo {
            undo(exchange, &mut answers);
            break;
        }
        if failed && option != BatchErrorContinuationOption::Continue {
            break;
        }
    }
    answers
}

/// The result of an item, and the operation it is of if that is not the item's.
async fn execute_item(
    front: &KmipFront,
    exchange: &mut Exchange<'_>,
    item: &RequestItem<'_>,
    is_canceled: bool,
) -> (Option<Operation>, ItemResult) {
    exchange.begin_item();
    let action = item.operation.ok().and_then(crate::operation::action);
    let version = exchange.version;
    let refused = |error: &OperationError| failed(result_reason(error, version), error.to_string());
    // KMIP 2.1 §9.14: "If the Criticality Indicator is true and the recipient does not understand the extension [...] the
    // operation SHALL fail".
    let critical = item.message_extensions.iter().any(|extension| extension.criticality_indicator);
    let outcome = if is_canceled {
        Err(refused(&OperationError::Canceled))
    } else if critical {
        Err(refused(&OperationError::UnknownExtension))
    } else {
        match item.payload() {
            Err(error) => Err(failed(decode_reason(&error, version), error.to_string())),
            Ok(payload) if exchange.gateway.policy.hidden_operations.contains(&payload.operation()) => {
                let message = format!("{} is not served here", payload.operation());
                Err(failed(ResultReason::OperationNotSupported, message))
            }
            Ok(RequestPayload::Poll(request)) => match asynchronous::poll(front, exchange.caller, &request).await {
                Ok((operation, result)) => {
                    exchange.item_done(action);
                    return (Some(operation), result);
                }
                Err(error) => Err(refused(&error)),
            },
            Ok(payload) => match perform_operation(exchange, payload).await {
                Ok(payload) => exchange.check_names_of_item().await.and_then(|()| exchange.check_quotas_of_item()).map(|()| payload),
                Err(error) => Err(error),
            }
            .map_err(|error| refused(&error)),
        }
    };
    match outcome {
        Ok(payload) => {
            exchange.item_done(action);
            (None, ItemResult::Success(payload))
        }
        Err((reason, result)) => {
            exchange.item_failed(action, reason.code());
            (None, result)
        }
    }
}

fn failed(reason: ResultReason, message: String) -> (ResultReason, ItemResult) {
    (reason, ItemResult::Failed { status: ResultStatus::OperationFailed, reason, message, payload: None })
}

pub(super) fn answer(item: &RequestItem<'_>, result: ItemResult) -> ResponseItem {
    ResponseItem {
        operation: item.operation.ok(),
        unique_batch_item_id: item.unique_batch_item_id.map(<[u8]>::to_vec),
        result,
    }
}

/// "Undo - If any operation in the request fails, then the server SHALL undo all the previous operations."
fn undo(exchange: &mut Exchange<'_>, answers: &mut [ResponseItem]) {
    exchange.undo();
    for answer in answers {
        answer.result = match std::mem::replace(&mut answer.result, placeholder()) {
            ItemResult::Success(payload) => ItemResult::Undone(payload),
            other => other,
        };
    }
}

/// Stands in for a result while it is turned into another.
fn placeholder() -> ItemResult {
    failed(ResultReason::GeneralFailure, String::new()).1
}

pub(super) fn is_too_large(message: &RequestMessage<'_>, bytes: usize) -> bool {
    message.header.maximum_response_size.is_some_and(|maximum| usize::try_from(maximum).is_ok_and(|maximum| bytes > maximum))
}

fn fail_all(message: &RequestMessage<'_>, error: &OperationError) -> Vec<ResponseItem> {
    let reason = result_reason(error, message.header.protocol_version);
    message.items.iter().map(|item| answer(item, failed(reason, error.to_string()).1)).collect()
}

fn count(front: &KmipFront, peer: PeerInfo, items: &[ResponseItem]) {
    for item in items {
        let code = item.operation.map_or(0, Operation::code);
        front.metrics.operation(peer.connection, code, matches!(item.result, ItemResult::Success(_)));
    }
}
