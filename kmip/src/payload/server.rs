//! Query, Discover Versions, Ping, Log, Interop, Get Constraints: KMIP 2.1 §6.1.40, §6.1.15, §6.1.36, §6.1.31, §6.1.26,
//! §6.1.22.

use crate::codec::{Field, OtherItem, structure};
use crate::ttlv::{DecodeError, Item, Writer};
use crate::{
    AttestationType, Attributes, ClientRegistrationMethod, DestroyAction, InteropFunction, ObjectType, Operation,
    ProfileName, ProtectionStorageMasks, ProtocolVersion, QueryFunction, RngMode, RngParameters, ShreddingAlgorithm,
    Tag, UnwrapMode, ValidationAuthorityType, ValidationType,
};

const V1_1: ProtocolVersion = ProtocolVersion::V1_1;
const V1_2: ProtocolVersion = ProtocolVersion::V1_2;
const V1_3: ProtocolVersion = ProtocolVersion::V1_3;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;
const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

impl Field for ProtocolVersion {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut fields = item.structure()?;
        let major = fields.required(Tag::PROTOCOL_VERSION_MAJOR)?.integer()?;
        let minor = fields.required(Tag::PROTOCOL_VERSION_MINOR)?.integer()?;
        fields.finish()?;
        Ok(Self { major, minor })
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.structure(tag, |writer| {
            writer.integer(Tag::PROTOCOL_VERSION_MAJOR, self.major);
            writer.integer(Tag::PROTOCOL_VERSION_MINOR, self.minor);
        });
    }
}

structure! {
    /// Discover Versions request.
    DiscoverVersionsRequest {
        /// Versions the client speaks; none asks for all of the server's.
        versions: repeated ProtocolVersion = PROTOCOL_VERSION;
    }
}

structure! {
    /// Discover Versions response.
    DiscoverVersionsResponse {
        /// Versions both speak, newest first.
        versions: repeated ProtocolVersion = PROTOCOL_VERSION;
    }
}

structure! {
    /// Query request.
    #[derive(Default)]
    QueryRequest {
        /// What is asked.
        functions: repeated QueryFunction = QUERY_FUNCTION;
        /// Object Groups that the defaults are asked for.
        object_groups: optional ObjectGroups = OBJECT_GROUPS in V2_1..;
    }
}

structure! {
    /// Object Groups, KMIP 2.1 §7.23.
    ObjectGroups {
        /// The groups.
        groups: repeated String = OBJECT_GROUP;
    }
}

structure! {
    /// Query response.
    #[derive(Default)]
    QueryResponse {
        /// Operations.
        operations: repeated Operation = OPERATION;
        /// Object Types.
        object_types: repeated ObjectType = OBJECT_TYPE;
        /// Vendor Identification.
        vendor_identification: optional String = VENDOR_IDENTIFICATION;
        /// Server Information.
        server_information: optional ServerInformation = SERVER_INFORMATION;
        /// Application Namespaces.
        application_namespaces: repeated String = APPLICATION_NAMESPACE;
        /// Extension Information.
        extensions: repeated ExtensionInformation = EXTENSION_INFORMATION in V1_1..;
        /// Attestation Types.
        attestation_types: repeated AttestationType = ATTESTATION_TYPE in V1_2..;
        /// RNG Parameters.
        rng_parameters: repeated RngParameters = RNG_PARAMETERS in V1_3..;
        /// Profile Information.
        profiles: repeated ProfileInformation = PROFILE_INFORMATION in V1_3..;
        /// Validation Information.
        validations: repeated ValidationInformation = VALIDATION_INFORMATION in V1_3..;
        /// Capability Information.
        capabilities: repeated CapabilityInformation = CAPABILITY_INFORMATION in V1_3..;
        /// Client Registration Methods.
        client_registration_methods: repeated ClientRegistrationMethod = CLIENT_REGISTRATION_METHOD in V1_3..;
        /// Defaults Information.
        defaults_information: optional DefaultsInformation = DEFAULTS_INFORMATION in V2_0..;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Defaults Information, KMIP 2.1 §7.11.
    DefaultsInformation {
        /// Defaults per object type.
        object_defaults: repeated ObjectDefaults = OBJECT_DEFAULTS;
    }
}

structure! {
    /// Object Defaults, KMIP 2.1 §7.22, of one object type.
    ObjectDefaults {
        /// Object Type.
        object_type: required ObjectType = OBJECT_TYPE;
        /// Attributes that an object gets where its request has none.
        attributes: flat Attributes = ATTRIBUTES;
        /// Object Groups it is for.
        object_groups: optional ObjectGroups = OBJECT_GROUPS in V2_1..;
    }
}

structure! {
    /// Server Information, KMIP 2.1 §7.37. In 1.x all of it is vendor-specific.
    #[derive(Default)]
    ServerInformation {
        /// Server name.
        server_name: optional String = SERVER_NAME in V2_0..;
        /// Server serial number.
        server_serial_number: optional String = SERVER_SERIAL_NUMBER in V2_0..;
        /// Server version.
        server_version: optional String = SERVER_VERSION in V2_0..;
        /// Server load.
        server_load: optional String = SERVER_LOAD in V2_0..;
        /// Product name.
        product_name: optional String = PRODUCT_NAME in V2_0..;
        /// Build level.
        build_level: optional String = BUILD_LEVEL in V2_0..;
        /// Build date.
        build_date: optional String = BUILD_DATE in V2_0..;
        /// Cluster info.
        cluster_info: optional String = CLUSTER_INFO in V2_0..;
        /// Alternative failover endpoints.
        alternative_failover_endpoints: repeated String = ALTERNATE_FAILOVER_ENDPOINTS in V2_0..;
        /// Vendor-specific items.
        vendor_specific: others Vec<OtherItem> = SERVER_INFORMATION;
    }
}

structure! {
    /// Extension Information, KMIP 1.4 §2.1.9, KMIP 2.1 §7.13.
    ExtensionInformation {
        /// Extension Name.
        name: required String = EXTENSION_NAME;
        /// Extension Tag.
        tag: optional i32 = EXTENSION_TAG;
        /// Extension Type.
        item_type: optional ExtensionType = EXTENSION_TYPE;
        /// Extension Enumeration: a tag whose enumeration the values are of.
        enumeration: optional i32 = EXTENSION_ENUMERATION in V2_0..;
        /// Extension Attribute: whether it is one.
        attribute: optional bool = EXTENSION_ATTRIBUTE in V2_0..;
        /// Extension Parent Structure Tag.
        parent_structure_tag: optional i32 = EXTENSION_PARENT_STRUCTURE_TAG in V2_0..;
        /// Extension Description.
        description: optional String = EXTENSION_DESCRIPTION in V2_0..;
    }
}

/// Extension Type: the code of an item type. An Integer up to 1.4, an Enumeration from 2.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionType(pub u32);

impl Field for ExtensionType {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        if version >= V2_0 {
            return item.enumeration().map(Self);
        }
        item.integer().map(|code| Self(code.cast_unsigned()))
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        if version >= V2_0 {
            return writer.enumeration(tag, self.0);
        }
        writer.integer(tag, self.0.cast_signed());
    }
}

structure! {
    /// Profile Version, KMIP 2.1 §7.32.
    ProfileVersion {
        /// Profile Version Major.
        major: required i32 = PROFILE_VERSION_MAJOR;
        /// Profile Version Minor.
        minor: required i32 = PROFILE_VERSION_MINOR;
    }
}

structure! {
    /// Profile Information, KMIP 2.1 §7.31.
    ProfileInformation {
        /// Profile Name.
        name: required ProfileName = PROFILE_NAME;
        /// Profile Version.
        version: optional ProfileVersion = PROFILE_VERSION in V2_0..;
        /// Server URI.
        server_uri: optional String = SERVER_URI;
        /// Server Port.
        server_port: optional i32 = SERVER_PORT;
    }
}

structure! {
    /// Validation Information, KMIP 2.1 §7.41.
    ValidationInformation {
        /// Validation Authority Type.
        authority_type: required ValidationAuthorityType = VALIDATION_AUTHORITY_TYPE;
        /// Validation Authority Country.
        authority_country: optional String = VALIDATION_AUTHORITY_COUNTRY;
        /// Validation Authority URI.
        authority_uri: optional String = VALIDATION_AUTHORITY_URI;
        /// Validation Version Major.
        version_major: required i32 = VALIDATION_VERSION_MAJOR;
        /// Validation Version Minor.
        version_minor: optional i32 = VALIDATION_VERSION_MINOR;
        /// Validation Type.
        validation_type: required ValidationType = VALIDATION_TYPE;
        /// Validation Level.
        level: required i32 = VALIDATION_LEVEL;
        /// Validation Certificate Identifier.
        certificate_identifier: optional String = VALIDATION_CERTIFICATE_IDENTIFIER;
        /// Validation Certificate URI.
        certificate_uri: optional String = VALIDATION_CERTIFICATE_URI;
        /// Validation Vendor URI.
        vendor_uri: optional String = VALIDATION_VENDOR_URI;
        /// Validation Profiles.
        profiles: repeated String = VALIDATION_PROFILE;
    }
}

structure! {
    /// Capability Information, KMIP 2.1 §7.5.
    #[derive(Default)]
    CapabilityInformation {
        /// Streaming Capability.
        streaming: optional bool = STREAMING_CAPABILITY;
        /// Asynchronous Capability.
        asynchronous: optional bool = ASYNCHRONOUS_CAPABILITY;
        /// Attestation Capability.
        attestation: optional bool = ATTESTATION_CAPABILITY;
        /// Batch Undo Capability.
        batch_undo: optional bool = BATCH_UNDO_CAPABILITY in ProtocolVersion::V1_4..;
        /// Batch Continue Capability.
        batch_continue: optional bool = BATCH_CONTINUE_CAPABILITY in ProtocolVersion::V1_4..;
        /// Unwrap Mode.
        unwrap_mode: optional UnwrapMode = UNWRAP_MODE;
        /// Destroy Action.
        destroy_action: optional DestroyAction = DESTROY_ACTION;
        /// Shredding Algorithm.
        shredding_algorithm: optional ShreddingAlgorithm = SHREDDING_ALGORITHM;
        /// RNG Mode.
        rng_mode: optional RngMode = RNG_MODE;
        /// Quantum Safe Capability.
        quantum_safe: optional bool = QUANTUM_SAFE_CAPABILITY in V2_0..;
    }
}

structure! {
    /// Ping request.
    PingRequest {}
}

structure! {
    /// Ping response.
    PingResponse {}
}

structure! {
    /// Log request.
    LogRequest {
        /// Log Message.
        message: required String = LOG_MESSAGE;
    }
}

structure! {
    /// Log response.
    LogResponse {}
}

structure! {
    /// Interop request.
    InteropRequest {
        /// Interop Function.
        function: required InteropFunction = INTEROP_FUNCTION;
        /// Interop Identifier.
        identifier: optional String = INTEROP_IDENTIFIER;
    }
}

structure! {
    /// Interop response.
    InteropResponse {}
}

structure! {
    /// Get Constraints request.
    GetConstraintsRequest {}
}

structure! {
    /// Get Constraints response.
    GetConstraintsResponse {
        /// Constraints.
        constraints: required Constraints = CONSTRAINTS;
    }
}

structure! {
    /// Constraints, KMIP 2.1 §7.7.
    #[derive(Default)]
    Constraints {
        /// What new objects must be like.
        constraints: repeated Constraint = CONSTRAINT;
    }
}

structure! {
    /// Constraint, KMIP 2.1 §7.6.
    Constraint {
        /// Object Types it is for.
        object_types: optional ObjectTypes = OBJECT_TYPES;
        /// Object Groups it is for.
        object_groups: optional ObjectGroups = OBJECT_GROUPS;
        /// Attributes that such an object has.
        attributes: optional Attributes = ATTRIBUTES;
    }
}

structure! {
    /// Object Types, KMIP 2.1 §7.24.
    ObjectTypes {
        /// The types.
        object_types: repeated ObjectType = OBJECT_TYPE;
    }
}
