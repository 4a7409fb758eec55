//! Request and response payloads, one file per group of operations, and the table of all of them.
//!
//! Field order is the specification's. A field that a version lacks is neither read nor written in it.

mod asynchronous;
mod attributes;
mod certify;
mod create;
mod cryptography;
mod lifecycle;
mod pkcs11;
mod push;
mod retrieve;
mod server;
mod split_key;
mod ticket;
mod transfer;

pub use asynchronous::*;
pub use attributes::*;
pub use certify::*;
pub use create::*;
pub use cryptography::*;
pub use lifecycle::*;
pub use pkcs11::*;
pub use push::*;
pub use retrieve::*;
pub use server::*;
pub use split_key::*;
pub use ticket::*;
pub use transfer::*;

use crate::codec::Field;
use crate::ttlv::{DecodeError, DecodeErrorKind, Item, Writer};
use crate::{Operation, ProtocolVersion, Tag};

macro_rules! operations {
    ($($operation:ident($request:ident, $response:ident) since $first:ident;)*) => {
        /// A request payload of any operation this crate speaks.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "one per batch item, moved once")]
        pub enum RequestPayload {
            $(#[doc = stringify!($operation)] $operation($request),)*
        }

        /// A response payload of any operation this crate speaks.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "one per batch item, moved once")]
        pub enum ResponsePayload {
            $(#[doc = stringify!($operation)] $operation($response),)*
        }

        /// The operations this crate speaks and the first version of each, those that servers send to clients among them.
        pub const OPERATIONS: &[(Operation, ProtocolVersion)] =
            &[$((Operation::$operation, ProtocolVersion::$first)),*];

        impl RequestPayload {
            /// The operation it asks for.
            #[must_use]
            pub fn operation(&self) -> Operation {
                match self {
                    $(Self::$operation(_) => Operation::$operation,)*
                }
            }

            /// Whether a version has the operation and this crate a payload for it.
            #[must_use]
            pub fn speaks(operation: Operation, version: ProtocolVersion) -> bool {
                match operation {
                    $(Operation::$operation => version >= ProtocolVersion::$first,)*
                    _ => false,
                }
            }

            /// Reads the payload of an operation. An operation that is unknown, or newer than the version, is an
            /// unknown value of Operation.
            ///
            /// # Errors
            /// What is wrong with it in this version.
            pub fn decode(operation: Operation, item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
                match operation {
                    $(Operation::$operation if version >= ProtocolVersion::$first => {
                        Field::decode(item, version).map(Self::$operation)
                    })*
                    other => Err(item.error(DecodeErrorKind::UnknownValue { tag: Tag::OPERATION, code: other.code() })),
                }
            }

            /// Appends it as Request Payload.
            pub fn encode(&self, writer: &mut Writer, version: ProtocolVersion) {
                match self {
                    $(Self::$operation(payload) => payload.encode(Tag::REQUEST_PAYLOAD, writer, version),)*
                }
            }
        }

        impl ResponsePayload {
            /// The operation it answers.
            #[must_use]
            pub fn operation(&self) -> Operation {
                match self {
                    $(Self::$operation(_) => Operation::$operation,)*
                }
            }

            /// Reads the payload of an operation's answer.
            ///
            /// # Errors
            /// What is wrong with it in this version.
            pub fn decode(operation: Operation, item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
                match operation {
                    $(Operation::$operation => Field::decode(item, version).map(Self::$operation),)*
                    other => Err(item.error(DecodeErrorKind::UnknownValue { tag: Tag::OPERATION, code: other.code() })),
                }
            }

            /// Appends it as Response Payload.
            pub fn encode(&self, writer: &mut Writer, version: ProtocolVersion) {
                match self {
                    $(Self::$operation(payload) => payload.encode(Tag::RESPONSE_PAYLOAD, writer, version),)*
                }
            }
        }

        #[cfg(any(test, feature = "samples"))]
        impl RequestPayload {
            /// A sample for every operation that the maker's version has.
            #[must_use]
            pub fn samples(maker: &mut crate::samples::Maker) -> Vec<Self> {
                let mut list = Vec::new();
                $(if maker.version() >= ProtocolVersion::$first {
                    list.push(Self::$operation(crate::samples::Sample::sample(maker)));
                })*
                list
            }
        }

        #[cfg(any(test, feature = "samples"))]
        impl ResponsePayload {
            /// A sample for every operation that the maker's version has.
            #[must_use]
            pub fn samples(maker: &mut crate::samples::Maker) -> Vec<Self> {
                let mut list = Vec::new();
                $(if maker.version() >= ProtocolVersion::$first {
                    list.push(Self::$operation(crate::samples::Sample::sample(maker)));
                })*
                list
            }
        }

        $(impl From<$response> for ResponsePayload {
            fn from(payload: $response) -> Self {
                Self::$operation(payload)
            }
        }

        impl From<$request> for RequestPayload {
            fn from(payload: $request) -> Self {
                Self::$operation(payload)
            }
        })*
    };
}

operations! {
    Activate(ActivateRequest, ActivateResponse) since V1_0;
    AddAttribute(AddAttributeRequest, AddAttributeResponse) since V1_0;
    AdjustAttribute(AdjustAttributeRequest, AdjustAttributeResponse) since V2_0;
    Archive(ArchiveRequest, ArchiveResponse) since V1_0;
    Cancel(CancelRequest, CancelResponse) since V1_0;
    Certify(CertifyRequest, CertifyResponse) since V1_0;
    Check(CheckRequest, CheckResponse) since V1_0;
    Create(CreateRequest, CreateResponse) since V1_0;
    CreateKeyPair(CreateKeyPairRequest, CreateKeyPairResponse) since V1_0;
    CreateSplitKey(CreateSplitKeyRequest, CreateSplitKeyResponse) since V1_2;
    Deactivate(DeactivateRequest, DeactivateResponse) since V3_0;
    Decrypt(DecryptRequest, DecryptResponse) since V1_2;
    DelegatedLogin(DelegatedLoginRequest, DelegatedLoginResponse) since V2_0;
    DeleteAttribute(DeleteAttributeRequest, DeleteAttributeResponse) since V1_0;
    DeriveKey(DeriveKeyRequest, DeriveKeyResponse) since V1_0;
    Destroy(DestroyRequest, DestroyResponse) since V1_0;
    DiscoverVersions(DiscoverVersionsRequest, DiscoverVersionsResponse) since V1_1;
    Encrypt(EncryptRequest, EncryptResponse) since V1_2;
    Export(ExportRequest, ExportResponse) since V1_4;
    Get(GetRequest, GetResponse) since V1_0;
    GetAttributeList(GetAttributeListRequest, GetAttributeListResponse) since V1_0;
    GetAttributes(GetAttributesRequest, GetAttributesResponse) since V1_0;
    GetConstraints(GetConstraintsRequest, GetConstraintsResponse) since V2_1;
    GetUsageAllocation(GetUsageAllocationRequest, GetUsageAllocationResponse) since V1_0;
    Hash(HashRequest, HashResponse) since V1_2;
    Import(ImportRequest, ImportResponse) since V1_4;
    Interop(InteropRequest, InteropResponse) since V2_0;
    JoinSplitKey(JoinSplitKeyRequest, JoinSplitKeyResponse) since V1_2;
    Locate(LocateRequest, LocateResponse) since V1_0;
    Log(LogRequest, LogResponse) since V2_0;
    Login(LoginRequest, LoginResponse) since V2_0;
    Logout(LogoutRequest, LogoutResponse) since V2_0;
    Mac(MacRequest, MacResponse) since V1_2;
    MacVerify(MacVerifyRequest, MacVerifyResponse) since V1_2;
    ModifyAttribute(ModifyAttributeRequest, ModifyAttributeResponse) since V1_0;
    Notify(NotifyRequest, NotifyResponse) since V1_0;
    Obliterate(ObliterateRequest, ObliterateResponse) since V3_0;
    ObtainLease(ObtainLeaseRequest, ObtainLeaseResponse) since V1_0;
    Ping(PingRequest, PingResponse) since V2_1;
    Pkcs11(Pkcs11Request, Pkcs11Response) since V2_0;
    Poll(PollRequest, PollResponse) since V1_0;
    Process(ProcessRequest, ProcessResponse) since V2_1;
    Put(PutRequest, PutResponse) since V1_0;
    Query(QueryRequest, QueryResponse) since V1_0;
    QueryAsynchronousRequests(QueryAsynchronousRequestsRequest, QueryAsynchronousRequestsResponse) since V2_1;
    ReCertify(ReCertifyRequest, ReCertifyResponse) since V1_0;
    ReKey(ReKeyRequest, ReKeyResponse) since V1_0;
    ReKeyKeyPair(ReKeyKeyPairRequest, ReKeyKeyPairResponse) since V1_1;
    Recover(RecoverRequest, RecoverResponse) since V1_0;
    Register(RegisterRequest, RegisterResponse) since V1_0;
    Revoke(RevokeRequest, RevokeResponse) since V1_0;
    RngRetrieve(RngRetrieveRequest, RngRetrieveResponse) since V1_2;
    RngSeed(RngSeedRequest, RngSeedResponse) since V1_2;
    SetAttribute(SetAttributeRequest, SetAttributeResponse) since V2_0;
    SetEndpointRole(SetEndpointRoleRequest, SetEndpointRoleResponse) since V2_0;
    Sign(SignRequest, SignResponse) since V1_2;
    SignatureVerify(SignatureVerifyRequest, SignatureVerifyResponse) since V1_2;
    Validate(ValidateRequest, ValidateResponse) since V1_0;
}
