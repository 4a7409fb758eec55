//! Query, Discover Versions, Ping, Log, Interop and Get Constraints: what the server says of itself. KMIP 2.1
//! §6.1.40, §6.1.15, §6.1.36, §6.1.31, §6.1.26, §6.1.22.

use keygate_backends::Custody;
use keygate_kmip::{
    Attribute, Attributes, CapabilityInformation, Constraints, DefaultsInformation, DestroyAction, DiscoverVersionsRequest, DiscoverVersionsResponse,
    GetConstraintsRequest, GetConstraintsResponse, InteropRequest, InteropResponse, LogRequest, LogResponse, OPERATIONS, ObjectDefaults, ObjectType,
    Operation, PingRequest, PingResponse,
    ProfileInformation, ProfileName, ProtectionStorageMask, ProtectionStorageMasks, ProtocolVersion, QueryFunction, QueryRequest, QueryResponse, RngMode,
    ServerInformation, ShreddingAlgorithm, UnwrapMode,
};

use super::{Exchange, OperationError, create};

/// Vendor Identification of this server.
const VENDOR: &str = "Keygate";

/// Answers each function asked; functions this server has nothing for add nothing.
pub(super) fn query(exchange: &Exchange<'_>, request: QueryRequest) -> QueryResponse {
    let mut response = QueryResponse::default();
    // A Query that asks nothing, as some clients send it, is told what most ask.
    let usual = [QueryFunction::QueryOperations, QueryFunction::QueryObjects];
    let asked = if request.functions.is_empty() { usual.to_vec() } else { request.functions };
    for function in asked {
        match function {
            QueryFunction::QueryOperations => response.operations = operations(exchange),
            QueryFunction::QueryObjects => response.object_types = object_types(exchange.version),
            QueryFunction::QueryServerInformation => {
                response.vendor_identification = Some(VENDOR.to_owned());
                response.server_information = Some(ServerInformation {
                    server_name: Some("keygate".to_owned()),
                    server_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                    product_name: Some(VENDOR.to_owned()),
                    ..ServerInformation::default()
                });
            }
            QueryFunction::QueryRnGs => response.rng_parameters = vec![create::rng()],
            QueryFunction::QueryCapabilities => response.capabilities = vec![capabilities()],
            QueryFunction::QueryStorageProtectionMasks => {
                response.protection_storage_masks = Some(ProtectionStorageMasks { masks: protection_storage_masks(exchange) });
            }
            QueryFunction::QueryProfiles => response.profiles = profiles(exchange),
            QueryFunction::QueryDefaultsInformation => response.defaults_information = Some(defaults(exchange.version)),
            // No application namespaces, extensions, attestation, validations or registration to tell of.
            QueryFunction::QueryApplicationNamespaces
            | QueryFunction::QueryExtensionList
            | QueryFunction::QueryExtensionMap
            | QueryFunction::QueryAttestationTypes
            | QueryFunction::QueryValidations
            | QueryFunction::QueryClientRegistrationMethods
            | QueryFunction::Extension(_) => {}
            // Functions of versions that this crate does not speak.
            _ => {}
        }
    }
    response
}

/// The profiles whose official cases all pass, of the versions up to the caller's. Since 2.0 a profile is named without
/// its version; those names are told when their cases are served too.
fn profiles(exchange: &Exchange<'_>) -> Vec<ProfileInformation> {
    let legacy = exchange.gateway.policy.legacy_algorithms;
    let claimed = PROFILES.iter().filter(|(_, version, needs_legacy)| *version <= exchange.version && (legacy || !needs_legacy));
    claimed.map(|(name, ..)| ProfileInformation { name: *name, server_uri: None, server_port: None, version: None }).collect()
}

/// Profile, its version, and whether its cases need legacy algorithms (3DES).
const PROFILES: &[(ProfileName, ProtocolVersion, bool)] = {
    use ProfileName as P;
    const V1_0: ProtocolVersion = ProtocolVersion::V1_0;
    const V1_1: ProtocolVersion = ProtocolVersion::V1_1;
    const V1_2: ProtocolVersion = ProtocolVersion::V1_2;
    const V1_3: ProtocolVersion = ProtocolVersion::V1_3;
    const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
    &[
        (P::SymmetricKeyLifecycleServerKmipv1_0, V1_0, false),
        (P::SymmetricKeyLifecycleServerKmipv1_1, V1_1, false),
        (P::SymmetricKeyLifecycleServerKmipv1_2, V1_2, false),
        (P::SymmetricKeyLifecycleServerKmipv1_3, V1_3, false),
        (P::SymmetricKeyLifecycleServerKmipv1_4, V1_4, false),
        (P::AsymmetricKeyLifecycleServerKmipv1_0, V1_0, false),
        (P::AsymmetricKeyLifecycleServerKmipv1_1, V1_1, false),
        (P::AsymmetricKeyLifecycleServerKmipv1_2, V1_2, false),
        (P::AsymmetricKeyLifecycleServerKmipv1_3, V1_3, false),
        (P::AsymmetricKeyLifecycleServerKmipv1_4, V1_4, false),
        (P::OpaqueManagedObjectStoreServerKmipv1_0, V1_0, false),
        (P::OpaqueManagedObjectStoreServerKmipv1_1, V1_1, false),
        (P::OpaqueManagedObjectStoreServerKmipv1_2, V1_2, false),
        (P::OpaqueManagedObjectStoreServerKmipv1_3, V1_3, false),
        (P::OpaqueManagedObjectStoreServerKmipv1_4, V1_4, false),
        (P::StorageArrayWithSelfEncryptingDriveServerKmipv1_0, V1_0, false),
        (P::StorageArrayWithSelfEncryptingDriveServerKmipv1_1, V1_1, false),
        (P::StorageArrayWithSelfEncryptingDriveServerKmipv1_2, V1_2, false),
        (P::StorageArrayWithSelfEncryptingDriveServerKmipv1_3, V1_3, false),
        (P::StorageArrayWithSelfEncryptingDriveServerKmipv1_4, V1_4, false),
        (P::SymmetricKeyFoundryServerKmipv1_0, V1_0, true),
        (P::SymmetricKeyFoundryServerKmipv1_1, V1_1, true),
        (P::SymmetricKeyFoundryServerKmipv1_2, V1_2, true),
        (P::SymmetricKeyFoundryServerKmipv1_3, V1_3, true),
        (P::SymmetricKeyFoundryServerKmipv1_4, V1_4, true),
        (P::AdvancedCryptographicServerKmipv1_2, V1_2, false),
        (P::AdvancedCryptographicServerKmipv1_3, V1_3, false),
        (P::AdvancedCryptographicServerKmipv1_4, V1_4, false),
        (P::RngCryptographicServerKmipv1_2, V1_2, false),
        (P::RngCryptographicServerKmipv1_3, V1_3, false),
        (P::RngCryptographicServerKmipv1_4, V1_4, false),
        (P::BasicCryptographicServerKmipv1_4, V1_4, true),
    ]
};

fn operations(exchange: &Exchange<'_>) -> Vec<Operation> {
    let policy = &exchange.gateway.policy;
    let served = |operation: Operation| match operation {
        Operation::Certify | Operation::ReCertify => policy.certify_days.is_some(),
        Operation::Interop => policy.interop,
        Operation::Log => policy.log_operation,
        // Sent by this server, where it has somebody to send them to.
        Operation::Notify | Operation::Put => policy.endpoint_role || exchange.gateway.notices.are_wanted(),
        Operation::SetEndpointRole => policy.endpoint_role,
        _ => true,
    };
    let known = OPERATIONS
        .iter()
        .filter(|(operation, first)| *first <= exchange.version && served(*operation) && !policy.hidden_operations.contains(operation));
    let mut list: Vec<Operation> = known.map(|(operation, _)| *operation).collect();
    list.sort_by_key(|operation| operation.code());
    list
}

fn object_types(version: ProtocolVersion) -> Vec<ObjectType> {
    let types = [
        ObjectType::Certificate,
        ObjectType::SymmetricKey,
        ObjectType::PublicKey,
        ObjectType::PrivateKey,
        ObjectType::SplitKey,
        ObjectType::Template,
        ObjectType::SecretData,
        ObjectType::OpaqueObject,
        ObjectType::PgpKey,
        ObjectType::CertificateRequest,
    ];
    let gone = |object_type: ObjectType| object_type == ObjectType::Template && version >= ProtocolVersion::V2_0;
    types.into_iter().filter(|object_type| object_type.first() <= version && !gone(*object_type)).collect()
}

/// Where keys are kept: in the store, and in devices where a keystore is one.
fn protection_storage_masks(exchange: &Exchange<'_>) -> Vec<ProtectionStorageMask> {
    let mut masks = vec![ProtectionStorageMask::SOFTWARE];
    if exchange.gateway.keystores.all().iter().any(|in_use| in_use.keystore.descriptor().custody == Custody::InBackend) {
        masks.push(ProtectionStorageMask::HARDWARE);
    }
    masks
}

/// KMIP 2.1 §7.11: what an object gets where its request does not say it ([`super::new_object`]).
fn defaults(version: ProtocolVersion) -> DefaultsInformation {
    let given = || Attributes::from_iter([Attribute::Sensitive(false), Attribute::Extractable(true)]);
    let of = |object_type| ObjectDefaults { object_type, attributes: given(), object_groups: None };
    DefaultsInformation { object_defaults: object_types(version).into_iter().map(of).collect() }
}

fn capabilities() -> CapabilityInformation {
    CapabilityInformation {
        streaming: Some(true),
        asynchronous: Some(true),
        attestation: Some(false),
        batch_undo: Some(true),
        batch_continue: Some(true),
        unwrap_mode: Some(UnwrapMode::NotProcessed),
        destroy_action: Some(DestroyAction::KeyMaterialDeleted),
        shredding_algorithm: Some(ShreddingAlgorithm::Unspecified),
        rng_mode: Some(RngMode::SharedInstantiation),
        quantum_safe: Some(false),
    }
}

/// The versions served, newest first; with a list, those of them that the client speaks as well.
pub(super) fn discover_versions(exchange: &Exchange<'_>, request: DiscoverVersionsRequest) -> DiscoverVersionsResponse {
    let oldest = exchange.gateway.policy.version_min;
    let served = ProtocolVersion::SUPPORTED.into_iter().filter(|version| *version >= oldest);
    let versions = served.filter(|version| request.versions.is_empty() || request.versions.contains(version));
    DiscoverVersionsResponse { versions: versions.collect() }
}

/// Answers.
pub(super) fn ping(_: PingRequest) -> PingResponse {
    PingResponse {}
}

/// Writes a client's message to the log, where the setting allows it.
///
/// # Errors
/// [`OperationError::OperationNotSupported`] where it does not.
pub(super) fn log(exchange: &Exchange<'_>, request: LogRequest) -> Result<LogResponse, OperationError> {
    if !exchange.gateway.policy.log_operation {
        return Err(OperationError::OperationNotSupported("the Log operation is off (kmip.log_operation)".to_owned()));
    }
    let message: String = request.message.chars().filter(|c| !c.is_control()).take(1024).collect();
    tracing::info!(caller = %exchange.caller.label(), message = %message, "client log message");
    Ok(LogResponse {})
}

/// Begins and ends a test, where the setting allows it. It changes nothing.
///
/// # Errors
/// [`OperationError::OperationNotSupported`] where it does not.
pub(super) fn interop(exchange: &Exchange<'_>, request: InteropRequest) -> Result<InteropResponse, OperationError> {
    if !exchange.gateway.policy.interop {
        return Err(OperationError::OperationNotSupported("the Interop operation is off (kmip.interop)".to_owned()));
    }
    tracing::debug!(function = %request.function, "interop");
    Ok(InteropResponse {})
}

/// The constraints on new objects: there are none, since nobody can set any here (Set Constraints is not served).
pub(super) fn get_constraints(_: GetConstraintsRequest) -> GetConstraintsResponse {
    GetConstraintsResponse { constraints: Constraints::default() }
}
