//! Get and Locate: KMIP 2.1 §6.1.20, §6.1.30.

use crate::codec::structure;
use crate::{
    Attributes, KeyCompressionType, KeyFormatType, KeyWrapType, KeyWrappingSpecification, ManagedObject,
    ObjectGroupMember, ObjectType, ProtocolVersion, StorageStatusMask, UniqueIdentifier,
};

const V1_1: ProtocolVersion = ProtocolVersion::V1_1;
const V1_3: ProtocolVersion = ProtocolVersion::V1_3;
const V1_4: ProtocolVersion = ProtocolVersion::V1_4;

structure! {
    /// Get request.
    #[derive(Default)]
    GetRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Key Format Type.
        key_format_type: optional KeyFormatType = KEY_FORMAT_TYPE;
        /// Key Wrap Type.
        key_wrap_type: optional KeyWrapType = KEY_WRAP_TYPE in V1_4..;
        /// Key Compression Type.
        key_compression_type: optional KeyCompressionType = KEY_COMPRESSION_TYPE;
        /// Key Wrapping Specification.
        key_wrapping_specification: optional KeyWrappingSpecification = KEY_WRAPPING_SPECIFICATION;
    }
}

structure! {
    /// Get response.
    GetResponse {
        /// Object Type.
        object_type: required ObjectType = OBJECT_TYPE;
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The object itself.
        object: object ManagedObject = SYMMETRIC_KEY;
    }
}

structure! {
    /// Locate request.
    #[derive(Default)]
    LocateRequest {
        /// Maximum Items.
        maximum_items: optional i32 = MAXIMUM_ITEMS;
        /// Offset Items: of 1.3, read in every version, because PyKMIP sends it in 1.2.
        offset_items: optional i32 = OFFSET_ITEMS;
        /// Storage Status Mask.
        storage_status_mask: optional StorageStatusMask = STORAGE_STATUS_MASK;
        /// Object Group Member.
        object_group_member: optional ObjectGroupMember = OBJECT_GROUP_MEMBER in V1_1..=ProtocolVersion::V2_1;
        /// Attributes that located objects have. FortiOS puts them into a Template-Attribute.
        attributes: filter Attributes = ATTRIBUTES;
    }
}

structure! {
    /// Locate response.
    LocateResponse {
        /// Located Items: how many there are, whatever the maximum.
        located_items: optional i32 = LOCATED_ITEMS in V1_3..;
        /// The objects.
        unique_identifiers: repeated UniqueIdentifier = UNIQUE_IDENTIFIER;
    }
}
