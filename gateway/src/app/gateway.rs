//! The configured keystores and policy, and the KMIP front over them.

use std::sync::Arc;

use keygate_backends::{KeystoreId as KeystoreName, KsError, local::LocalKeystore};
use keygate_kmip::{ProtocolVersion, ttlv};

use super::App;
use crate::{
    config::{AuditReads, Config, Forbidden, KeystoreConfig, RngSeed},
    kmip::KmipFront,
    operation::{self, Gateway, Keystores, Policy},
    telemetry::ComponentState,
};

/// Why the keystores are not in place.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A keystore has no id in the store.
    #[error("keystore \"{0}\" is not recorded in the store")]
    Unrecorded(String),
    /// A keystore's name is not accepted.
    #[error("keystore \"{name}\" cannot be used")]
    Keystore {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: KsError,
    },
    /// No keystore is configured by the default's name.
    #[error("no keystore is named \"{0}\"")]
    NoDefault(String),
}

/// Puts the configured keystores in place.
pub fn gateway(app: &App) -> Result<Arc<Gateway>, GatewayError> {
    let mut set: Option<Keystores> = None;
    for keystore in &app.config.keystores {
        let name = keystore.name();
        let id = app.keystore_id(name).ok_or_else(|| GatewayError::Unrecorded(name.into()))?;
        let checked = KeystoreName::new(name).map_err(|source| GatewayError::Keystore { name: name.into(), source })?;
        let keystore = match keystore {
            KeystoreConfig::Local { .. } => Arc::new(LocalKeystore::new(checked)),
            KeystoreConfig::Pkcs11(_) => {
                let reason = "PKCS#11 keystores are not opened by this version".into();
                app.readiness.set(&format!("keystore {name}"), ComponentState::Down { reason });
                continue;
            }
        };
        app.readiness.set(&format!("keystore {name}"), ComponentState::Up);
        match &mut set {
            None => set = Some(Keystores::new(id, name, keystore)),
            Some(set) => set.add(id, name, keystore),
        }
    }
    let no_default = || GatewayError::NoDefault(app.config.keystore_default.clone());
    let mut set = set.ok_or_else(no_default)?;
    set.set_default(app.keystore_id(&app.config.keystore_default).ok_or_else(no_default)?);
    Ok(Arc::new(Gateway::new(app.store.clone(), app.store.keyring().clone(), set, policy(&app.config))))
}

/// The KMIP front over a gateway.
pub fn front(app: &App, gateway: Arc<Gateway>) -> KmipFront {
    let limits = &app.config.limits;
    let limits = ttlv::Limits { message_bytes_max: limits.message_bytes_max, depth_max: limits.depth_max, ..ttlv::Limits::default() };
    KmipFront::new(gateway, app.users.clone(), app.metrics.clone(), limits)
}

fn policy(config: &Config) -> Policy {
    let (kmip, limits) = (&config.kmip, &config.limits);
    Policy {
        forbidden_is_denied: kmip.forbidden == Forbidden::PermissionDenied,
        reads_wait: config.audit_reads == AuditReads::Wait,
        interop: kmip.interop,
        log_operation: kmip.log_operation,
        legacy_algorithms: kmip.legacy_algorithms,
        rng_seed: match kmip.rng_seed {
            RngSeed::All => operation::RngSeed::All,
            RngSeed::AtMost(bytes) => operation::RngSeed::Some(i32::from(bytes)),
            RngSeed::None => operation::RngSeed::None,
            RngSeed::Refuse => operation::RngSeed::Refuse,
        },
        version_min: ProtocolVersion::new(kmip.version_min.0, kmip.version_min.1),
        name_bytes_max: limits.name_bytes_max,
        attribute_bytes_max: limits.attribute_bytes_max,
        object_bytes_max: limits.object_bytes_max,
        locate_page_max: limits.locate_page_max,
        batch_items_max: limits.batch_items_max,
    }
}
