//! Create Split Key and Join Split Key: KMIP 2.1 §6.1.10, §6.1.27; KMIP 1.4 §4.38, §4.39.

use crate::codec::{BigInteger, structure};
use crate::{Attributes, ObjectType, ProtectionStorageMasks, ProtocolVersion, SecretDataType, SplitKeyMethod, UniqueIdentifier};

const V1_2: ProtocolVersion = ProtocolVersion::V1_2;
const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;

structure! {
    /// Create Split Key request.
    CreateSplitKeyRequest {
        /// Object Type of what is made.
        object_type: required ObjectType = OBJECT_TYPE;
        /// The key to split; a new one if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// How many parts.
        parts: required i32 = SPLIT_KEY_PARTS;
        /// How many of them give the key.
        threshold: required i32 = SPLIT_KEY_THRESHOLD;
        /// Split Key Method.
        method: required SplitKeyMethod = SPLIT_KEY_METHOD;
        /// Prime Field Size.
        prime_field_size: optional BigInteger = PRIME_FIELD_SIZE;
        /// Attributes of the parts.
        attributes: template Attributes = TEMPLATE_ATTRIBUTE;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Create Split Key response.
    CreateSplitKeyResponse {
        /// Object Type of what was made.
        object_type: optional ObjectType = OBJECT_TYPE in ..=V1_2;
        /// The parts, by Key Part Identifier.
        unique_identifiers: repeated UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}

structure! {
    /// Join Split Key request.
    JoinSplitKeyRequest {
        /// Object Type of what the parts give.
        object_type: required ObjectType = OBJECT_TYPE;
        /// The parts, at least as many as their threshold.
        unique_identifiers: repeated UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Secret Data Type, where they give Secret Data.
        secret_data_type: optional SecretDataType = SECRET_DATA_TYPE;
        /// Attributes of the new object.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Join Split Key response.
    JoinSplitKeyResponse {
        /// Object Type of the new object.
        object_type: optional ObjectType = OBJECT_TYPE in ..=V1_2;
        /// The new object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}
