//! The configured keystores and policy, and the KMIP front over them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keygate_backends::group::{Group, GroupSettings, MemberState, Replica};
use keygate_backends::{Keystore, KeystoreId as KeystoreName, KsError, SecretBytes, local::LocalKeystore, pkcs11::Pkcs11Keystore};
use keygate_kmip::{ProtocolVersion, ttlv};

use super::{App, remote, token};
use crate::{
    admin::chain,
    config::{
        AuditReads, Config, Forbidden, GroupConfig, GroupDefault, KeystoreConfig, LocateOrder, NoEncoding, RngSeed, SplitKeyPolynomial,
    },
    kmip::KmipFront,
    keystores::{OpenFailure, component, component_state},
    operation::{self, AsynchronousPolicy, Gateway, InUse, Keystores, Policy},
    provisioning::ProvisioningError,
    sharing::Polynomial,
    seal::SecretText,
    telemetry::ComponentState,
};

/// How often the keystores' health is looked at; it does not touch the devices.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Rounds of the above between two attempts at what could not be reconciled.
const RECONCILE_ROUNDS: u32 = 60;

/// Rounds between two attempts to open a keystore that could not be opened.
const OPEN_ROUNDS: u32 = 6;

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
    /// The settings file names a keystore that commands have added.
    #[error(
        "keystore \"{0}\" was added by `keygate keystore add`, and keygate.toml names it too\nhint: take it out of keygate.toml, or \
         give it another name there"
    )]
    Managed(String),
    /// Rows of certificate provisioning.
    #[error("certificate provisioning cannot be read")]
    Provisioning(#[source] ProvisioningError),
    /// No keystore is configured by the default's name.
    #[error("no keystore is named \"{0}\"")]
    NoDefault(String),
}

/// Puts the configured keystores in place, and lets commands on managed objects in.
pub fn gateway(app: &App) -> Result<Arc<Gateway>, GatewayError> {
    let mut set: Option<Keystores> = None;
    for keystore in &app.config.keystores {
        let name = keystore.name();
        let id = app.keystore_id(name).ok_or_else(|| GatewayError::Unrecorded(name.into()))?;
        let checked = KeystoreName::new(name).map_err(|source| GatewayError::Keystore { name: name.into(), source })?;
        if app.keystores.find(name).is_ok_and(|found| found.row.managed.is_some()) {
            return Err(GatewayError::Managed(name.into()));
        }
        let keystore = match open_as(checked, keystore, None) {
            Ok(keystore) => app.keystores.observe(id, keystore),
            // A missing keystore does not keep the others from serving; readiness says which.
            Err(error) => {
                app.readiness.set(&component(name), ComponentState::Down { reason: chain(error.as_ref()) });
                continue;
            }
        };
        app.readiness.set(&component(name), component_state(name, false, keystore.health()));
        match set {
            None => set = Some(Keystores::new(id, name, keystore)),
            Some(ref set) => set.add(id, name, keystore),
        }
    }
    let no_default = || GatewayError::NoDefault(app.config.keystore_default.clone());
    let set = set.ok_or_else(no_default)?;
    set.set_default(app.keystore_id(&app.config.keystore_default).ok_or_else(no_default)?);
    let gateway = Arc::new(Gateway::new(app.store.clone(), app.store.keyring().clone(), set, policy(&app.config)));
    app.set_objects(gateway.clone());
    app.keystores.attach(&gateway);
    app.provisioning.set_gateway(gateway.clone()).map_err(GatewayError::Provisioning)?;
    Ok(gateway)
}

/// Opens a keystore that administrators added. May block for a second while its device is away.
pub(super) fn open(config: &KeystoreConfig, sealed: Option<&SecretText>) -> Result<Arc<dyn Keystore>, OpenFailure> {
    open_as(KeystoreName::new(config.name())?, config, sealed)
}

fn open_as(name: KeystoreName, config: &KeystoreConfig, sealed: Option<&SecretText>) -> Result<Arc<dyn Keystore>, OpenFailure> {
    Ok(match config {
        KeystoreConfig::Local { .. } => Arc::new(LocalKeystore::new(name)),
        KeystoreConfig::Pkcs11(config) => Arc::new(Pkcs11Keystore::new(name, token::keystore_token(config, sealed)?)),
        KeystoreConfig::Group(config) => Arc::new(group(&name, config, sealed)?),
        KeystoreConfig::Remote(config) => remote::keystore(name, config, sealed)?,
    })
}

/// Reads the PIN or password that settings say where to find.
pub(super) fn secret(config: &KeystoreConfig) -> Result<Option<SecretBytes>, OpenFailure> {
    let source = match config {
        KeystoreConfig::Local { .. } => None,
        KeystoreConfig::Pkcs11(config) => config.pin.as_ref(),
        // Its members read their own.
        KeystoreConfig::Group(_) => None,
        KeystoreConfig::Remote(config) => config.user.as_ref().and_then(|(_, source)| source.as_ref()),
    };
    Ok(source.map(|source| source.read()).transpose()?.map(|secret| SecretBytes::copy_of(secret.expose())))
}

/// How long the first client may wait for members that are there: longer only makes new keys go to fewer of them.
const GROUP_WAIT: Duration = Duration::from_secs(2);

/// A group; members that are away come later.
fn group(name: &KeystoreName, config: &GroupConfig, sealed: Option<&SecretText>) -> Result<Group, OpenFailure> {
    let mut members: Vec<(String, Arc<dyn Replica>)> = Vec::new();
    for member in &config.members {
        let token = token::keystore_token(member, sealed)?;
        members.push((member.name.clone(), Arc::new(Pkcs11Keystore::new(name.clone(), token))));
    }
    let GroupConfig { copies_min, replication_key, .. } = config.clone();
    let group = Group::new(name.clone(), members, GroupSettings { copies_min, replication_key, ..GroupSettings::default() })?;
    group.wait_until_settled(GROUP_WAIT);
    Ok(group)
}

/// Follows the health of the keystores, so that readiness and log tell of a token that goes or returns. Device actions that
/// were begun and not finished are reconciled at the start, when a token is back, and now and then: a worker that died under one
/// leaves it behind while the token stays.
pub(super) async fn watch_keystores(app: Arc<App>, gateway: Arc<Gateway>) {
    let mut interval = tokio::time::interval(HEALTH_EVERY);
    let mut reconcile = true;
    let mut again_in = RECONCILE_ROUNDS;
    let mut rounds = 0;
    let mut reconciling: Option<tokio::task::JoinHandle<()>> = None;
    let mut next_check = Instant::now();
    loop {
        interval.tick().await;
        if let Some(every) = app.config.keystore_check
            && Instant::now() >= next_check
        {
            next_check = Instant::now() + every;
            app.keystores.check_all();
        }
        for InUse { id, name, keystore, .. } in gateway.keystores.all() {
            let added = !app.config.keystores.iter().any(|config| *config.name() == *name);
            let state = match component_state(&name, added, keystore.health()) {
                ComponentState::Up => degraded(keystore.as_ref()).map_or(ComponentState::Up, |reason| ComponentState::Degraded { reason }),
                down => down,
            };
            let is_up = state == ComponentState::Up;
            let is_back = app.readiness.set(&component(&name), state) && is_up;
            if is_back {
                app.keystores.came_back(id);
            }
            reconcile |= is_back;
        }
        rounds = (rounds + 1) % OPEN_ROUNDS;
        if rounds == 0 {
            app.keystores.open_missing().await;
        }
        again_in = again_in.saturating_sub(1);
        // Beside this: a device that answers slowly keeps neither readiness nor other keystores from being looked at.
        let is_free = reconciling.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        if is_free && (std::mem::take(&mut reconcile) || again_in == 0) {
            let gateway = Arc::clone(&gateway);
            reconciling = Some(tokio::spawn(async move {
                operation::reconcile(&gateway).await;
            }));
            again_in = RECONCILE_ROUNDS;
        }
    }
}

/// Which members of a group do not serve.
fn degraded(keystore: &dyn Keystore) -> Option<String> {
    let missing = keystore.members().into_iter().filter_map(|member| match member.state {
        MemberState::Serving | MemberState::Suspect => None,
        MemberState::Away(reason) | MemberState::Refused(reason) => Some(format!("{}: {reason}", member.name)),
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// The KMIP front over a gateway.
pub fn front(app: &App, gateway: Arc<Gateway>) -> KmipFront {
    let limits = &app.config.limits;
    let limits = ttlv::Limits { message_bytes_max: limits.message_bytes_max, depth_max: limits.depth_max, ..ttlv::Limits::default() };
    KmipFront::new(gateway, app.users.clone(), app.metrics.clone(), limits, app.request_quotas.clone())
}

fn policy(config: &Config) -> Policy {
    let (kmip, limits) = (&config.kmip, &config.limits);
    Policy {
        forbidden_is_denied: kmip.forbidden == Forbidden::PermissionDenied,
        reads_wait: config.audit_reads == AuditReads::Wait,
        interop: kmip.interop,
        log_operation: kmip.log_operation,
        legacy_algorithms: kmip.legacy_algorithms,
        unique_names: kmip.unique_names,
        wrapped_key_material: kmip.no_encoding == NoEncoding::KeyMaterial,
        endpoint_role: kmip.endpoint_role,
        locate_oldest_first: kmip.locate_order == LocateOrder::Oldest,
        group_default: match kmip.group_default {
            GroupDefault::Newest => operation::GroupDefault::Newest,
            GroupDefault::RoundRobin => operation::GroupDefault::RoundRobin,
        },
        hidden_operations: kmip.hidden_operations.clone(),
        rng_seed: match kmip.rng_seed {
            RngSeed::All => operation::RngSeed::All,
            RngSeed::AtMost(bytes) => operation::RngSeed::Some(i32::from(bytes)),
            RngSeed::None => operation::RngSeed::None,
            RngSeed::Refuse => operation::RngSeed::Refuse,
        },
        split_key_polynomial: match kmip.split_key_polynomial {
            SplitKeyPolynomial::P283 => Polynomial::P283,
            SplitKeyPolynomial::P285 => Polynomial::P285,
        },
        asynchronous: AsynchronousPolicy {
            answer_within: kmip.async_answer,
            begin_after: kmip.async_begin,
            items_per_caller_max: limits.async_per_caller,
            items_max: limits.async_total,
            bytes_max: limits.async_bytes_max,
            kept: limits.async_kept,
        },
        certify_days: kmip.certify.then_some(kmip.certify_days),
        ticket_seconds_max: kmip.ticket_seconds_max,
        version_min: ProtocolVersion::new(kmip.version_min.0, kmip.version_min.1),
        name_bytes_max: limits.name_bytes_max,
        attribute_bytes_max: limits.attribute_bytes_max,
        object_bytes_max: limits.object_bytes_max,
        locate_page_max: limits.locate_page_max,
        batch_items_max: limits.batch_items_max,
    }
}
