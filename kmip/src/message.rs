//! Request and response messages: headers and batch items. KMIP 2.1 §8, §9; KMIP 1.4 §6, §7.
//!
//! A message is read in two steps, so that one bad item does not spoil its neighbours: [`RequestMessage::parse`]
//! reads the header and the frame of each item; [`RequestItem::payload`] reads one item's payload.

use crate::codec::{AnyValue, DateTime, Field, SecretText, structure};
use crate::ttlv::{DecodeError, DecodeErrorKind, Frame, Item, Type, Writer};
use crate::{
    AttestationType, BatchErrorContinuationOption, CredentialType, Operation, ProtocolVersion, RequestPayload,
    ResponsePayload, ResultReason, ResultStatus, Tag, Ticket,
};

const V1_2: ProtocolVersion = ProtocolVersion::V1_2;
const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;
const V3_0: ProtocolVersion = ProtocolVersion::V3_0;

structure! {
    /// Authentication, KMIP 2.1 §9.4.
    Authentication {
        /// Credentials; one in versions before 1.2.
        credentials: repeated Credential = CREDENTIAL;
    }
}

/// Credential, KMIP 2.1 §9.9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Username and Password.
    UsernameAndPassword {
        /// Username.
        username: String,
        /// Password.
        password: Option<SecretText>,
    },
    /// A ticket that Login or Delegated Login answered.
    Ticket(Ticket),
    /// A credential of another type, which is not looked into.
    Other(CredentialType),
}

impl Field for Credential {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut fields = item.structure()?;
        let credential_type = CredentialType::decode(fields.required(Tag::CREDENTIAL_TYPE)?, version)?;
        let value = fields.required(Tag::CREDENTIAL_VALUE)?;
        fields.finish()?;
        let mut fields = match credential_type {
            CredentialType::UsernameAndPassword => value.structure()?,
            CredentialType::Ticket if version >= V2_0 => {
                let mut fields = value.structure()?;
                let ticket = Ticket::decode(fields.required(Tag::TICKET)?, version)?;
                fields.finish()?;
                return Ok(Self::Ticket(ticket));
            }
            other => return Ok(Self::Other(other)),
        };
        let username = fields.required(Tag::USERNAME)?.text()?.to_owned();
        let password = fields.optional(Tag::PASSWORD).map(|item| SecretText::decode(item, version)).transpose()?;
        fields.finish()?;
        Ok(Self::UsernameAndPassword { username, password })
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        writer.structure(tag, |writer| match self {
            Self::UsernameAndPassword { username, password } => {
                CredentialType::UsernameAndPassword.encode(Tag::CREDENTIAL_TYPE, writer, version);
                writer.structure(Tag::CREDENTIAL_VALUE, |writer| {
                    writer.text_string(Tag::USERNAME, username);
                    if let Some(password) = password {
                        password.encode(Tag::PASSWORD, writer, version);
                    }
                });
            }
            Self::Ticket(ticket) => {
                CredentialType::Ticket.encode(Tag::CREDENTIAL_TYPE, writer, version);
                writer.structure(Tag::CREDENTIAL_VALUE, |writer| ticket.encode(Tag::TICKET, writer, version));
            }
            Self::Other(credential_type) => {
                credential_type.encode(Tag::CREDENTIAL_TYPE, writer, version);
                writer.structure(Tag::CREDENTIAL_VALUE, |_| {});
            }
        });
    }
}

/// Whether the client wants the answer later. A Boolean up to 1.4, an enumeration from 2.0 (KMIP 2.1 §9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsynchronousIndicator {
    /// The server must answer later.
    Mandatory,
    /// The server may answer later.
    Optional,
    /// The server must answer at once.
    #[default]
    Prohibited,
}

impl Field for AsynchronousIndicator {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        if item.item_type == Type::Boolean {
            return Ok(if item.boolean()? { Self::Optional } else { Self::Prohibited });
        }
        let code = item.enumeration()?;
        match crate::AsynchronousIndicatorEnumeration::from_code(code) {
            Some(crate::AsynchronousIndicatorEnumeration::Mandatory) => Ok(Self::Mandatory),
            Some(crate::AsynchronousIndicatorEnumeration::Optional) => Ok(Self::Optional),
            Some(crate::AsynchronousIndicatorEnumeration::Prohibited) => Ok(Self::Prohibited),
            _ => Err(item.error(DecodeErrorKind::UnknownValue { tag: item.tag, code })),
        }
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        if version < V2_0 {
            return writer.boolean(tag, *self != Self::Prohibited);
        }
        let value = match self {
            Self::Mandatory => crate::AsynchronousIndicatorEnumeration::Mandatory,
            Self::Optional => crate::AsynchronousIndicatorEnumeration::Optional,
            Self::Prohibited => crate::AsynchronousIndicatorEnumeration::Prohibited,
        };
        value.encode(tag, writer, version);
    }
}

structure! {
    /// Request Header, KMIP 2.1 §8.2.
    RequestHeader {
        /// Protocol Version.
        protocol_version: required ProtocolVersion = PROTOCOL_VERSION;
        /// Maximum Response Size, bytes.
        maximum_response_size: optional i32 = MAXIMUM_RESPONSE_SIZE;
        /// Client Correlation Value.
        client_correlation_value: optional String = CLIENT_CORRELATION_VALUE in V1_4..;
        /// Server Correlation Value.
        server_correlation_value: optional String = SERVER_CORRELATION_VALUE in V1_4..;
        /// Asynchronous Indicator.
        asynchronous_indicator: optional AsynchronousIndicator = ASYNCHRONOUS_INDICATOR;
        /// Attestation Capable Indicator.
        attestation_capable_indicator: optional bool = ATTESTATION_CAPABLE_INDICATOR in V1_2..;
        /// Attestation Types.
        attestation_types: repeated AttestationType = ATTESTATION_TYPE in V1_2..;
        /// Authentication.
        authentication: optional Authentication = AUTHENTICATION;
        /// Batch Error Continuation Option; absent means Stop.
        batch_error_continuation_option: optional BatchErrorContinuationOption = BATCH_ERROR_CONTINUATION_OPTION;
        /// Batch Order Option.
        batch_order_option: optional bool = BATCH_ORDER_OPTION in ..V3_0;
        /// Time Stamp.
        time_stamp: optional DateTime = TIME_STAMP;
        /// Batch Count; required up to 2.1, gone in 3.0.
        batch_count: optional i32 = BATCH_COUNT in ..V3_0;
    }
}

impl RequestHeader {
    /// A header that asks for nothing special.
    #[must_use]
    pub fn new(protocol_version: ProtocolVersion, batch_count: i32) -> Self {
        Self {
            protocol_version,
            maximum_response_size: None,
            client_correlation_value: None,
            server_correlation_value: None,
            asynchronous_indicator: None,
            attestation_capable_indicator: None,
            attestation_types: Vec::new(),
            authentication: None,
            batch_error_continuation_option: None,
            batch_order_option: None,
            time_stamp: None,
            batch_count: batch_count_in(protocol_version, batch_count),
        }
    }
}

/// The Batch Count of a message, in versions that have it.
#[must_use]
pub fn batch_count_in(version: ProtocolVersion, count: i32) -> Option<i32> {
    (version < V3_0).then_some(count)
}

structure! {
    /// Message Extension, KMIP 2.1 §9.14.
    MessageExtension {
        /// Vendor Identification.
        vendor_identification: required String = VENDOR_IDENTIFICATION;
        /// Criticality Indicator: whether the operation must fail if the extension is not understood.
        criticality_indicator: required bool = CRITICALITY_INDICATOR;
        /// Vendor Extension.
        vendor_extension: required AnyValue = VENDOR_EXTENSION;
    }
}

/// A request whose header and item frames were read.
#[derive(Clone, Debug)]
pub struct RequestMessage<'a> {
    /// The header.
    pub header: RequestHeader,
    /// The batch items, in order.
    pub items: Vec<RequestItem<'a>>,
}

/// One batch item of a request, its payload not read yet. KMIP 2.1 §8.3.
#[derive(Clone, Debug)]
pub struct RequestItem<'a> {
    /// Operation; `Err` holds a code that no version knows.
    pub operation: Result<Operation, u32>,
    /// Unique Batch Item ID.
    pub unique_batch_item_id: Option<&'a [u8]>,
    /// Message Extensions.
    pub message_extensions: Vec<MessageExtension>,
    operation_item: Item<'a>,
    payload: Item<'a>,
    version: ProtocolVersion,
}

impl RequestItem<'_> {
    /// Reads the payload.
    ///
    /// # Errors
    /// What is wrong with it, or that the operation is not known in this version.
    pub fn payload(&self) -> Result<RequestPayload, DecodeError> {
        let unknown =
            |code| Err(self.operation_item.error(DecodeErrorKind::UnknownValue { tag: Tag::OPERATION, code }));
        match self.operation {
            Ok(operation) if RequestPayload::speaks(operation, self.version) => {
                RequestPayload::decode(operation, self.payload, self.version)
            }
            Ok(operation) => unknown(operation.code()),
            Err(code) => unknown(code),
        }
    }
}

/// The protocol version that a message claims, read without regard to the rest: what an answer to a message that
/// cannot be read should be written in.
#[must_use]
pub fn claimed_version(frame: &Frame<'_>) -> Option<ProtocolVersion> {
    let mut message = frame.root().structure().ok()?;
    let mut header = message.next()?.structure().ok()?;
    Field::decode(header.optional(Tag::PROTOCOL_VERSION)?, ProtocolVersion::V1_0).ok()
}

impl<'a> RequestMessage<'a> {
    /// Reads the header and the frames of the items.
    ///
    /// The version must be one that this crate speaks ([`claimed_version`] tells it): fields are read by its rules.
    ///
    /// # Errors
    /// What is wrong with the header or an item's frame.
    pub fn parse(frame: &Frame<'a>, batch_items_max: usize) -> Result<Self, DecodeError> {
        let root = frame.root();
        if root.tag != Tag::REQUEST_MESSAGE {
            return Err(root.error(DecodeErrorKind::Unexpected { unexpected: root.tag, within: Tag::REQUEST_MESSAGE }));
        }
        let mut fields = root.structure()?;
        let header_item = fields.required(Tag::REQUEST_HEADER)?;
        let version = claimed_version(frame).ok_or_else(|| {
            header_item.error(DecodeErrorKind::Missing { missing: Tag::PROTOCOL_VERSION, within: header_item.tag })
        })?;
        let header = RequestHeader::decode(header_item, version)?;
        let mut items = Vec::new();
        while let Some(item) = fields.optional(Tag::BATCH_ITEM) {
            if items.len() == batch_items_max {
                return Err(item.error(DecodeErrorKind::BadValue {
                    tag: Tag::BATCH_COUNT,
                    rule: "more batch items than the server accepts",
                }));
            }
            items.push(RequestItem::parse(item, version)?);
        }
        fields.finish()?;
        // KMIP 2.1 §9.5: Batch Count "contains the number of Batch Items in a message". 3.0 counts the items themselves.
        let counted = match header.batch_count {
            Some(count) => usize::try_from(count).ok(),
            None if version >= V3_0 => Some(items.len()),
            None => {
                let kind = DecodeErrorKind::Missing { missing: Tag::BATCH_COUNT, within: header_item.tag };
                return Err(header_item.error(kind));
            }
        };
        if counted != Some(items.len()) {
            return Err(header_item.error(DecodeErrorKind::BadValue {
                tag: Tag::BATCH_COUNT,
                rule: "differs from the number of batch items",
            }));
        }
        Ok(Self { header, items })
    }
}

impl<'a> RequestItem<'a> {
    fn parse(item: Item<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut fields = item.structure()?;
        let operation_item = fields.required(Tag::OPERATION)?;
        let code = operation_item.enumeration()?;
        if version >= V2_0 {
            // Ephemeral (KMIP 2.1 §9.12) asks the server to forget the outcome of asynchronous operations; there is
            // nothing to forget in a synchronous answer.
            fields.optional(Tag::EPHEMERAL);
        }
        let unique_batch_item_id = match version < V3_0 {
            true => fields.optional(Tag::UNIQUE_BATCH_ITEM_ID).map(|id| id.byte_string()).transpose()?,
            false => None,
        };
        let payload = fields.required(Tag::REQUEST_PAYLOAD)?;
        let mut message_extensions = Vec::new();
        while let Some(extension) = fields.optional(Tag::MESSAGE_EXTENSION) {
            message_extensions.push(MessageExtension::decode(extension, version)?);
        }
        fields.finish()?;
        let operation = Operation::from_code(code).ok_or(code);
        Ok(Self { operation, unique_batch_item_id, message_extensions, operation_item, payload, version })
    }
}

/// Writes a request with these payloads: what a client sends.
#[must_use]
pub fn encode_request(header: &RequestHeader, payloads: &[RequestPayload]) -> zeroize::Zeroizing<Vec<u8>> {
    let version = header.protocol_version;
    let mut writer = Writer::new();
    writer.structure(Tag::REQUEST_MESSAGE, |writer| {
        header.encode(Tag::REQUEST_HEADER, writer, version);
        for (number, payload) in payloads.iter().enumerate() {
            writer.structure(Tag::BATCH_ITEM, |writer| {
                payload.operation().encode(Tag::OPERATION, writer, version);
                if payloads.len() > 1 && version < V3_0 {
                    writer.byte_string(Tag::UNIQUE_BATCH_ITEM_ID, &number.to_be_bytes());
                }
                payload.encode(writer, version);
            });
        }
    });
    writer.into_bytes()
}

structure! {
    /// Response Header, KMIP 2.1 §8.5.
    ResponseHeader {
        /// Protocol Version.
        protocol_version: required ProtocolVersion = PROTOCOL_VERSION;
        /// Time Stamp.
        time_stamp: required DateTime = TIME_STAMP;
        /// Client Correlation Value, as the request had it.
        client_correlation_value: optional String = CLIENT_CORRELATION_VALUE in V1_4..;
        /// Server Correlation Value.
        server_correlation_value: optional String = SERVER_CORRELATION_VALUE in V1_4..;
        /// Batch Count; required up to 2.1, gone in 3.0.
        batch_count: optional i32 = BATCH_COUNT in ..V3_0;
    }
}

/// One batch item of a response. KMIP 2.1 §8.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseItem {
    /// Operation, as the request had it.
    pub operation: Option<Operation>,
    /// Unique Batch Item ID, as the request had it.
    pub unique_batch_item_id: Option<Vec<u8>>,
    /// How it ended.
    pub result: ItemResult,
}

/// How a batch item ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemResult {
    /// Success.
    Success(ResponsePayload),
    /// Operation Undone: it had succeeded with this payload, and was taken back with its batch.
    Undone(ResponsePayload),
    /// Operation Pending: the answer is had by Poll, under this Asynchronous Correlation Value.
    Pending(Vec<u8>),
    /// Operation Failed.
    Failed {
        /// Result Status.
        status: ResultStatus,
        /// Result Reason.
        reason: ResultReason,
        /// Result Message.
        message: String,
        /// The payload some failures carry.
        payload: Option<ResponsePayload>,
    },
}

impl Field for ResponseItem {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut fields = item.structure()?;
        let operation = fields.optional(Tag::OPERATION).map(|item| Operation::decode(item, version)).transpose()?;
        let unique_batch_item_id =
            fields.optional(Tag::UNIQUE_BATCH_ITEM_ID).map(|item| Vec::<u8>::decode(item, version)).transpose()?;
        let status_item = fields.required(Tag::RESULT_STATUS)?;
        let status = ResultStatus::decode(status_item, version)?;
        let reason = fields.optional(Tag::RESULT_REASON).map(|item| ResultReason::decode(item, version)).transpose()?;
        let message = fields.optional(Tag::RESULT_MESSAGE).map(|item| String::decode(item, version)).transpose()?;
        let correlation = fields.optional(Tag::ASYNCHRONOUS_CORRELATION_VALUE);
        let correlation = correlation.map(|item| Vec::<u8>::decode(item, version)).transpose()?;
        let payload = match (operation, fields.optional(Tag::RESPONSE_PAYLOAD)) {
            (Some(operation), Some(payload)) => Some(ResponsePayload::decode(operation, payload, version)?),
            _ => None,
        };
        while fields.optional(Tag::MESSAGE_EXTENSION).is_some() {}
        fields.finish()?;
        if let (ResultStatus::OperationPending, Some(correlation)) = (status, correlation) {
            return Ok(Self { operation, unique_batch_item_id, result: ItemResult::Pending(correlation) });
        }
        let result = match (status, payload) {
            (ResultStatus::Success, Some(payload)) => ItemResult::Success(payload),
            (ResultStatus::OperationUndone, Some(payload)) => ItemResult::Undone(payload),
            // KMIP 1.4 §5.1: "a Response Message containing no payload".
            (ResultStatus::Success, None) if operation == Some(Operation::Notify) => {
                ItemResult::Success(crate::NotifyResponse::default().into())
            }
            (ResultStatus::Success, None) if operation == Some(Operation::Put) => {
                ItemResult::Success(crate::PutResponse::default().into())
            }
            (ResultStatus::Success, None) => {
                return Err(
                    status_item.error(DecodeErrorKind::Missing { missing: Tag::RESPONSE_PAYLOAD, within: item.tag })
                );
            }
            (status, payload) => ItemResult::Failed {
                status,
                reason: reason.unwrap_or(ResultReason::GeneralFailure),
                message: message.unwrap_or_default(),
                payload,
            },
        };
        Ok(Self { operation, unique_batch_item_id, result })
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        writer.structure(tag, |writer| {
            if let Some(operation) = self.operation {
                operation.encode(Tag::OPERATION, writer, version);
            }
            if let Some(id) = self.unique_batch_item_id.as_ref().filter(|_| version < V3_0) {
                writer.byte_string(Tag::UNIQUE_BATCH_ITEM_ID, id);
            }
            match &self.result {
                ItemResult::Success(payload) => {
                    ResultStatus::Success.encode(Tag::RESULT_STATUS, writer, version);
                    payload.encode(writer, version);
                }
                ItemResult::Undone(payload) => {
                    ResultStatus::OperationUndone.encode(Tag::RESULT_STATUS, writer, version);
                    payload.encode(writer, version);
                }
                // KMIP 2.1 §8.6: the Asynchronous Correlation Value is "REQUIRED if Result Status is Pending".
                ItemResult::Pending(correlation) => {
                    ResultStatus::OperationPending.encode(Tag::RESULT_STATUS, writer, version);
                    writer.byte_string(Tag::ASYNCHRONOUS_CORRELATION_VALUE, correlation);
                }
                ItemResult::Failed { status, reason, message, payload } => {
                    status.encode(Tag::RESULT_STATUS, writer, version);
                    reason_in(*reason, version).encode(Tag::RESULT_REASON, writer, version);
                    writer.text_string(Tag::RESULT_MESSAGE, message);
                    if let Some(payload) = payload {
                        payload.encode(writer, version);
                    }
                }
            }
        });
    }
}

/// A reason that the version knows: others become General Failure.
fn reason_in(reason: ResultReason, version: ProtocolVersion) -> ResultReason {
    let listed = reason.first() <= version && reason.last().is_none_or(|last| version <= last);
    if listed { reason } else { ResultReason::GeneralFailure }
}

/// A whole response, as a client reads it. Servers append item by item: [`ResponseItem`] and [`ResponseHeader`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseMessage {
    /// The header.
    pub header: ResponseHeader,
    /// The batch items, in order.
    pub items: Vec<ResponseItem>,
}

impl ResponseMessage {
    /// Reads a response.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let root = frame.root();
        let mut fields = root.structure()?;
        let header_item = fields.required(Tag::RESPONSE_HEADER)?;
        let version = claimed_version(frame).ok_or_else(|| {
            header_item.error(DecodeErrorKind::Missing { missing: Tag::PROTOCOL_VERSION, within: header_item.tag })
        })?;
        // Fields that a server need not send, and that nothing here reads, are passed over.
        let mut header_fields = header_item.structure()?;
        let protocol_version = Field::decode(header_fields.required(Tag::PROTOCOL_VERSION)?, version)?;
        let mut header = ResponseHeader {
            protocol_version,
            time_stamp: DateTime(0),
            client_correlation_value: None,
            server_correlation_value: None,
            batch_count: None,
        };
        for field in header_fields {
            match field.tag {
                Tag::TIME_STAMP => header.time_stamp = Field::decode(field, version)?,
                Tag::CLIENT_CORRELATION_VALUE => header.client_correlation_value = Some(Field::decode(field, version)?),
                Tag::SERVER_CORRELATION_VALUE => header.server_correlation_value = Some(Field::decode(field, version)?),
                Tag::BATCH_COUNT => header.batch_count = Some(Field::decode(field, version)?),
                _ => {}
            }
        }
        let mut items = Vec::new();
        while let Some(item) = fields.optional(Tag::BATCH_ITEM) {
            items.push(ResponseItem::decode(item, version)?);
        }
        fields.finish()?;
        Ok(Self { header, items })
    }

    /// Appends the message.
    pub fn encode(&self, writer: &mut Writer) {
        let version = self.header.protocol_version;
        writer.structure(Tag::RESPONSE_MESSAGE, |writer| {
            self.header.encode(Tag::RESPONSE_HEADER, writer, version);
            for item in &self.items {
                item.encode(Tag::BATCH_ITEM, writer, version);
            }
        });
    }
}
