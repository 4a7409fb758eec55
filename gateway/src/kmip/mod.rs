//! The KMIP front: bytes of a request message -> operations -> bytes of a response message. It translates; it decides
//! nothing.
//!
//! Serves KMIP 2.1 §8 and §9 (1.4 §6, §7): versions, authentication, batches, ID placeholder, maximum response size, answers that come
//! later.

mod asynchronous;
mod batch;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use keygate_kmip::ttlv::{DecodeError, DecodeErrorKind, Frame, Limits, Writer};
use keygate_kmip::xml;
use keygate_kmip::{
    Credential, DateTime, Field, ItemResult, ProtocolVersion, RequestHeader, RequestMessage, ResponseHeader, ResponseItem,
    ResponseMessage, ResultReason, ResultStatus, Tag, Ticket, batch_count_in, claimed_version,
};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::identity::{Caller, Users};
use crate::listen::{Disposition, FrameHandler, PeerInfo, Unreadable};
use crate::notify::{Silence, serve_turned};
use crate::operation::{Gateway, OperationError};
use crate::quota::RequestBuckets;
use crate::telemetry::Metrics;
use crate::ticket::TicketRefused;

/// Answers KMIP request messages.
#[derive(Clone)]
pub struct KmipFront {
    gateway: Arc<Gateway>,
    users: Arc<Users>,
    metrics: Arc<Metrics>,
    limits: Limits,
    quotas: Option<Arc<RequestBuckets>>,
}

impl KmipFront {
    /// A front for a gateway.
    #[must_use]
    pub(crate) fn new(gateway: Arc<Gateway>, users: Arc<Users>, metrics: Arc<Metrics>, limits: Limits, quotas: Option<Arc<RequestBuckets>>) -> Self {
        Self { gateway, users, metrics, limits, quotas }
    }

    /// Writes the answer. The version in which the client is called from here on, if it turns the connection round.
    async fn answer(&self, caller: &Arc<Caller>, peer: PeerInfo, bytes: &[u8], writer: &mut Writer) -> Option<ProtocolVersion> {
        let now = unix_seconds();
        let refuse = |writer: &mut Writer, version, now, reason, message| {
            refuse(writer, version, now, reason, message);
            None
        };
        let frame = match Frame::parse(bytes, &self.limits) {
            Ok(frame) => frame,
            Err(error) => return refuse(writer, ProtocolVersion::V1_0, now, ResultReason::InvalidMessage, error.to_string()),
        };
        let Some(claimed) = claimed_version(&frame) else {
            let message = "the request header has no readable protocol version".to_owned();
            return refuse(writer, ProtocolVersion::V1_0, now, ResultReason::InvalidMessage, message);
        };
        let oldest = self.gateway.policy.version_min;
        if !claimed.is_supported() || claimed < oldest {
            // The answer is written in a version that both may know: the nearest one served that is no draft.
            let mut settled = ProtocolVersion::SUPPORTED.into_iter().filter(|version| *version < ProtocolVersion::V3_0);
            let nearest = settled.find(|version| *version <= claimed).unwrap_or(oldest).max(oldest);
            let reason = if nearest >= ProtocolVersion::V2_0 { ResultReason::UnsupportedProtocolVersion } else { ResultReason::InvalidMessage };
            return refuse(writer, nearest, now, reason, format!("protocol version {claimed} is not served"));
        }
        let message = match RequestMessage::parse(&frame, self.gateway.policy.batch_items_max) {
            Ok(message) => message,
            Err(error) => return refuse(writer, claimed, now, decode_reason(&error, claimed), error.to_string()),
        };
        // Before anything is done for it: a password check costs more than most operations.
        if let Some(quotas) = &self.quotas
            && let Err(over) = quotas.take(caller, message.items.len(), Instant::now())
        {
            self.metrics.request_over_quota(over.whose);
            batch::refuse_all(self, peer, &message, &OperationError::LimitExceeded(over.to_string()), now, writer);
            return None;
        }
        let caller = match self.authenticate(caller, &message.header, now).await {
            Ok(caller) => caller,
            Err((reason, text)) => return refuse(writer, claimed, now, reason, text),
        };
        let turned = asynchronous::perform(self, &caller, peer, (bytes, &message), now, writer).await;
        turned.then_some(claimed)
    }

    /// Who the request is made for: as its ticket says, if it shows one, else as its user name and password say.
    async fn authenticate(&self, caller: &Arc<Caller>, header: &RequestHeader, now: i64) -> Result<Arc<Caller>, (ResultReason, String)> {
        if let Some(ticket) = ticket(header) {
            let presented = self.gateway.tickets.present(ticket.value.expose_bytes(), caller, &self.users.directory(), now);
            return presented.map(Arc::new).map_err(|refused| match refused {
                TicketRefused::Invalid => (ResultReason::InvalidTicket, refused.to_string()),
                TicketRefused::UsedUp => (ResultReason::UsageLimitExceeded, refused.to_string()),
            });
        }
        let refused = |_| (ResultReason::AuthenticationNotSuccessful, "authentication not successful".to_owned());
        self.users.caller(caller, credential(header)).await.map_err(refused)
    }
}

impl FrameHandler for KmipFront {
    async fn handle(&self, caller: &Arc<Caller>, peer: PeerInfo, frame: &[u8], response: &mut Vec<u8>) -> Disposition {
        let mut writer = Writer::continuing(std::mem::take(response).into());
        let turned = self.answer(caller, peer, frame, &mut writer).await;
        *response = std::mem::take(&mut *writer.into_bytes());
        turned.map_or(Disposition::KeepOpen, Disposition::Turn)
    }

    fn unreadable(&self, reason: Unreadable, response: &mut Vec<u8>) {
        let (result, message) = match reason {
            Unreadable::NotARequest { .. } => (ResultReason::InvalidMessage, "not a KMIP request message".to_owned()),
            Unreadable::TooLarge { bytes, max } => {
                (ResultReason::InvalidMessage, format!("message of {bytes} bytes is over the limit of {max}"))
            }
            Unreadable::NotUtf8 { at } => (ResultReason::InvalidMessage, format!("the text is not UTF-8 (byte {at})")),
            Unreadable::Text(error) => (ResultReason::InvalidMessage, error.to_string()),
        };
        let mut writer = Writer::new();
        refuse(&mut writer, ProtocolVersion::V1_0, unix_seconds(), result, message);
        response.extend_from_slice(writer.bytes());
    }

    async fn turned<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, caller: &Arc<Caller>, version: ProtocolVersion, stream: &mut S) {
        serve_turned(&self.gateway, caller, version, stream, Silence::USUAL).await;
    }

    fn text_limits(&self) -> xml::Limits {
        xml::Limits::of(&self.limits)
    }
}

/// A response that answers no item in particular: one failed batch item without an operation.
fn refuse(writer: &mut Writer, version: ProtocolVersion, now: i64, reason: ResultReason, message: String) {
    let result = ItemResult::Failed { status: ResultStatus::OperationFailed, reason, message, payload: None };
    let items = vec![ResponseItem { operation: None, unique_batch_item_id: None, result }];
    ResponseMessage { header: response_header(version, now, 1), items }.encode(writer);
}

fn response_header(protocol_version: ProtocolVersion, now: i64, batch_count: usize) -> ResponseHeader {
    ResponseHeader {
        protocol_version,
        time_stamp: DateTime(now),
        client_correlation_value: None,
        server_correlation_value: None,
        batch_count: batch_count_in(protocol_version, i32::try_from(batch_count).unwrap_or(i32::MAX)),
    }
}

/// Writes a response message whose items are appended by a closure, which returns how many there are.
fn write_response(writer: &mut Writer, version: ProtocolVersion, now: i64, items: &[ResponseItem]) {
    writer.structure(Tag::RESPONSE_MESSAGE, |writer| {
        response_header(version, now, items.len()).encode(Tag::RESPONSE_HEADER, writer, version);
        for item in items {
            item.encode(Tag::BATCH_ITEM, writer, version);
        }
    });
}

/// The result reason of a message or payload that cannot be read.
fn decode_reason(error: &DecodeError, version: ProtocolVersion) -> ResultReason {
    let in_two = version >= ProtocolVersion::V2_0;
    match &error.kind {
        DecodeErrorKind::UnknownValue { tag: Tag::OPERATION, .. } => ResultReason::OperationNotSupported,
        DecodeErrorKind::UnknownValue { tag: Tag::PKCS_11_FUNCTION, .. } if in_two => ResultReason::Pkcs11InvalidFunction,
        DecodeErrorKind::UnknownValue { .. } if in_two => ResultReason::UnknownEnumeration,
        DecodeErrorKind::UnknownValue { .. } | DecodeErrorKind::BadValue { .. } => ResultReason::InvalidField,
        DecodeErrorKind::UnknownAttribute(_) if in_two => ResultReason::UnsupportedAttribute,
        DecodeErrorKind::UnknownAttribute(_) => ResultReason::InvalidField,
        DecodeErrorKind::WrongType { .. } if in_two => ResultReason::InvalidDataType,
        _ => ResultReason::InvalidMessage,
    }
}

/// The first user name and password of the request. KMIP 2.1 §9.4.
fn credential(header: &RequestHeader) -> Option<(&str, &[u8])> {
    header.authentication.as_ref()?.credentials.iter().find_map(|credential| match credential {
        Credential::UsernameAndPassword { username, password } => {
            let password = password.as_ref().map_or(&b""[..], |password| password.expose_text().as_bytes());
            Some((username.as_str(), password))
        }
        Credential::Ticket(_) | Credential::Other(_) => None,
    })
}

/// The first ticket of the request.
fn ticket(header: &RequestHeader) -> Option<&Ticket> {
    header.authentication.as_ref()?.credentials.iter().find_map(|credential| match credential {
        Credential::Ticket(ticket) => Some(ticket),
        Credential::UsernameAndPassword { .. } | Credential::Other(_) => None,
    })
}

fn unix_seconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
