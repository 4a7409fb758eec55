//! What servers send to clients, Notify and Put, and the operation that turns a connection round: KMIP 2.1 §6.2.2, §6.2.3,
//! §6.1.54; KMIP 1.4 §5.1, §5.2.
//!
//! KMIP 1.4 §5.1: "The client SHALL send a response in the form of a Response Message containing no payload". An empty
//! payload is read as well: the official cases have one.

use crate::codec::structure;
use crate::{AttributeName, Attributes, EndpointRole, ManagedObject, ProtocolVersion, PutFunction, UniqueIdentifier};

const V2_0: ProtocolVersion = ProtocolVersion::V2_0;

structure! {
    /// Notify request: attributes of an object were changed.
    NotifyRequest {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// "a list of the attributes whose changed values have triggered the notification".
        attributes: flat Attributes = ATTRIBUTES;
        /// Attributes that it has no longer. 1.x would name them without a value; that is neither read nor written.
        gone: repeated AttributeName = ATTRIBUTE_REFERENCE in V2_0..;
    }
}

structure! {
    /// Notify response.
    #[derive(Default)]
    NotifyResponse {}
}

structure! {
    /// Put request: an object is handed to a client that did not ask for it.
    PutRequest {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Whether it is new, or replaces another.
        put_function: required PutFunction = PUT_FUNCTION;
        /// The object that it replaces.
        replaced_unique_identifier: optional String = REPLACED_UNIQUE_IDENTIFIER;
        /// The object itself.
        object: object ManagedObject = SYMMETRIC_KEY;
        /// Attributes that are sent along.
        attributes: flat Attributes = ATTRIBUTES;
    }
}

structure! {
    /// Put response.
    #[derive(Default)]
    PutResponse {}
}

structure! {
    /// Set Endpoint Role request.
    SetEndpointRoleRequest {
        /// The role that the recipient is to take.
        endpoint_role: required EndpointRole = ENDPOINT_ROLE;
    }
}

structure! {
    /// Set Endpoint Role response.
    SetEndpointRoleResponse {
        /// The role that it has taken.
        endpoint_role: required EndpointRole = ENDPOINT_ROLE;
    }
}
