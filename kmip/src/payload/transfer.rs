//! Import and Export: KMIP 2.1 §6.1.28, §6.1.19.

use crate::codec::structure;
use crate::{
    Attributes, KeyCompressionType, KeyFormatType, KeyWrapType, KeyWrappingSpecification, ManagedObject, ObjectType,
    ProtocolVersion, UniqueIdentifier,
};

const V2_0: ProtocolVersion = ProtocolVersion::V2_0;

structure! {
    /// Import request.
    ImportRequest {
        /// The identifier the object is to have.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Object Type; in 1.4 the object alone tells it.
        object_type: optional ObjectType = OBJECT_TYPE in V2_0..;
        /// Whether an object with this identifier is replaced; absent is no.
        replace_existing: optional bool = REPLACE_EXISTING;
        /// Whether a wrapped key is kept as it is or unwrapped.
        key_wrap_type: optional KeyWrapType = KEY_WRAP_TYPE;
        /// Every attribute of the object.
        attributes: flat Attributes = ATTRIBUTES;
        /// The object.
        object: object ManagedObject = SYMMETRIC_KEY;
    }
}

structure! {
    /// Import response.
    ImportResponse {
        /// The identifier the object has.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
    }
}

structure! {
    /// Export request.
    #[derive(Default)]
    ExportRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Key Format Type.
        key_format_type: optional KeyFormatType = KEY_FORMAT_TYPE;
        /// Key Wrap Type.
        key_wrap_type: optional KeyWrapType = KEY_WRAP_TYPE;
        /// Key Compression Type.
        key_compression_type: optional KeyCompressionType = KEY_COMPRESSION_TYPE;
        /// Key Wrapping Specification.
        key_wrapping_specification: optional KeyWrappingSpecification = KEY_WRAPPING_SPECIFICATION;
    }
}

structure! {
    /// Export response.
    ExportResponse {
        /// Object Type.
        object_type: required ObjectType = OBJECT_TYPE;
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Every attribute of the object.
        attributes: flat Attributes = ATTRIBUTES;
        /// The object itself.
        object: object ManagedObject = SYMMETRIC_KEY;
    }
}
