//! One request to a client, and its answer, over any stream.

use std::time::Duration;

use keygate_kmip::ttlv::{Frame, Limits, frame_length};
use keygate_kmip::{
    ItemResult, ProtocolVersion, RequestHeader, RequestPayload, ResponseMessage, ResultReason, encode_request,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// What an answer may cost.
pub(super) const ANSWER_LIMITS: Limits = Limits { message_bytes_max: 1 << 20, depth_max: 32, items_max: 10_000 };

/// Why a client has not taken a message.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no connection, or it ended; another try may do.
    #[error("{0}")]
    Away(String),
    /// It answered that it will not; another try will not do.
    #[error("the client refuses: {reason}: {message}")]
    Refused {
        /// Result Reason.
        reason: ResultReason,
        /// Result Message.
        message: String,
    },
}

/// Sends a request and reads its answer: the bytes of a Response Message that says Success.
pub(super) async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    version: ProtocolVersion,
    payload: RequestPayload,
    within: Duration,
) -> Result<Zeroizing<Vec<u8>>, CallError> {
    let asked = payload.operation();
    // KMIP 1.4 §5.1: of the request header "Maximum Response Size, Asynchronous Indicator, Batch Error Continuation Option, and
    // Batch Order Option fields are not allowed".
    let message = encode_request(&RequestHeader::new(version, 1), &[payload]);
    let answer = match tokio::time::timeout(within, exchange(stream, &message)).await {
        Ok(answer) => answer?,
        Err(_) => return Err(CallError::Away("no answer in time".to_owned())),
    };
    let unreadable = |why: String| CallError::Away(format!("the answer cannot be read: {why}"));
    let frame = Frame::parse(&answer, &ANSWER_LIMITS).map_err(|error| unreadable(error.to_string()))?;
    let mut response = ResponseMessage::parse(&frame).map_err(|error| unreadable(error.to_string()))?;
    match (response.items.pop().map(|item| item.result), response.items.len()) {
        (Some(ItemResult::Success(answer)), 0) if answer.operation() == asked => {}
        (Some(ItemResult::Failed { reason, message, .. }), 0) => {
            let message = message.chars().filter(|character| !character.is_control()).take(200).collect();
            return Err(CallError::Refused { reason, message });
        }
        _ => return Err(unreadable(format!("it is not one answer to {asked}"))),
    }
    Ok(answer)
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    message: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CallError> {
    let away = |error: std::io::Error| CallError::Away(error.to_string());
    stream.write_all(message).await.map_err(away)?;
    stream.flush().await.map_err(away)?;
    let mut header = [0u8; 8];
    stream.read_exact(&mut header).await.map_err(away)?;
    let length = frame_length(header, &ANSWER_LIMITS)
        .map_err(|error| CallError::Away(format!("the answer is not KMIP: {error}")))?;
    // The length is within the limit, so this is a bounded allocation.
    let mut answer = Zeroizing::new(vec![0; length]);
    answer[..header.len()].copy_from_slice(&header);
    stream.read_exact(&mut answer[header.len()..]).await.map_err(away)?;
    Ok(answer)
}
