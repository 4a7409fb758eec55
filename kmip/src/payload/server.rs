//! Query, Discover Versions, Ping, Log, Interop: KMIP 2.1 §6.1.42, §6.1.13, §6.1.36, §6.1.31, §6.1.29.

use crate::codec::{Field, structure};
use crate::ttlv::{DecodeError, Item, Writer};
use crate::{
    AttestationType, ClientRegistrationMethod, DestroyAction, InteropFunction, ObjectType, Operation, ProfileName,
    ProtectionStorageMasks, ProtocolVersion, QueryFunction, RngMode, RngParameters, ShreddingAlgorithm, Tag, UnwrapMode,
    ValidationAuthorityType, ValidationType,
};

const V1_1: ProtocolVersion = ProtocolVersion::V1_1;
const V1_2: ProtocolVersion = ProtocolVersion::V1_2;
const V1_3: ProtocolVersion = ProtocolVersion::V1_3;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;

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
    QueryRequest {
        /// What is asked.
        functions: repeated QueryFunction = QUERY_FUNCTION;
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
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Server Information, KMIP 2.1 §7.37. In 1.x its fields are the vendor's; these are sent in 2.x only.
    #[derive(Default)]
    ServerInformation {
        /// Server name.
        server_name: optional String = SERVER_NAME in V2_0..;
        /// Server version.
        server_version: optional String = SERVER_VERSION in V2_0..;
        /// Product name.
        product_name: optional String = PRODUCT_NAME in V2_0..;
    }
}

structure! {
    /// Extension Information, KMIP 1.4 §2.1.9, KMIP 2.1 §7.13.
    ExtensionInformation {
        /// Extension Name.
        name: required String = EXTENSION_NAME;
        /// Extension Tag.
        tag: optional i32 = EXTENSION_TAG;
        /// Extension Type: item type code.
        item_type: optional i32 = EXTENSION_TYPE;
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
