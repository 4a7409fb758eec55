//! Keystores behind a network: their settings, files and passwords, put together.

use std::{sync::Arc, time::Duration};

use keygate_backends::{
    Keystore, KeystoreId, KsError, OpCx, SecretBytes,
    kmip::{KmipConfig, KmipKeystore},
    remote::{RemoteConfig, UserPassword},
    rest::{RestConfig, RestKeystore},
};

use super::unlock::SecretInputError;
use crate::{
    config::{RemoteKeystoreConfig, RemoteProtocol},
    keystores::{FileError, files},
    seal::SecretText,
};

/// Longest wait at the start for a key server that may be away.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// Why a keystore behind a network cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Password(#[from] SecretInputError),
    #[error("its password is not in the store")]
    NoPassword,
    #[error("the settings do not make a keystore")]
    Settings(#[source] KsError),
}

/// The keystore of its settings. Its server may be away.
pub(super) fn keystore(
    id: KeystoreId,
    config: &RemoteKeystoreConfig,
    sealed: Option<&SecretText>,
) -> Result<Arc<dyn Keystore>, RemoteError> {
    let mut remote = RemoteConfig::new(config.addresses.clone(), files::tls(config)?);
    (remote.connections, remote.connect_timeout, remote.call_timeout) =
        (config.connections, config.connect_timeout, config.call_timeout);
    let user = user(config, sealed)?;
    let keystore: Arc<dyn Keystore> = match &config.protocol {
        RemoteProtocol::Kmip => {
            let config = KmipConfig { remote, user, fetch: config.fetch };
            Arc::new(KmipKeystore::new(id, config).map_err(RemoteError::Settings)?)
        }
        RemoteProtocol::Rest { profile } => {
            let config = RestConfig { remote, user, fetch: config.fetch, profile: files::profile(profile)? };
            Arc::new(RestKeystore::new(id, config).map_err(RemoteError::Settings)?)
        }
    };
    meet(&keystore);
    Ok(keystore)
}

/// A server that is there is asked what it can do before the first client comes.
fn meet(keystore: &Arc<dyn Keystore>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if runtime.runtime_flavor() != tokio::runtime::RuntimeFlavor::MultiThread {
        return;
    }
    let probed = tokio::task::block_in_place(|| runtime.block_on(keystore.probe(OpCx::within(OPENING_MAX))));
    if let Err(error) = probed {
        tracing::warn!(keystore = %keystore.descriptor().id, cause = %error, "a key server behind us does not answer yet");
    }
}

fn user(config: &RemoteKeystoreConfig, sealed: Option<&SecretText>) -> Result<Option<UserPassword>, RemoteError> {
    let Some((user, source)) = &config.user else { return Ok(None) };
    let password = match (source, sealed) {
        (Some(source), _) => SecretBytes::copy_of(source.read()?.expose()),
        (None, Some(password)) => SecretBytes::copy_of(password.expose().as_bytes()),
        (None, None) => return Err(RemoteError::NoPassword),
    };
    Ok(Some(UserPassword { user: user.clone(), password }))
}
