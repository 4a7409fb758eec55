//! Keystores behind a network: their settings, files and passwords, put together.

use std::{path::Path, sync::Arc, time::Duration};

use keygate_backends::{
    Keystore, KeystoreId, KsError, OpCx, SecretBytes,
    kmip::{KmipConfig, KmipKeystore},
    remote::{Identity, RemoteConfig, TlsClient, Trust, UserPassword, certificates_from_pem, private_key_from_pem},
    rest::{Profile, RestConfig, RestKeystore},
};
use zeroize::Zeroizing;

use super::unlock::SecretInputError;
use crate::{
    config::{RemoteKeystoreConfig, RemoteProtocol, TrustFile},
    data_dir::{DataDirError, check_rights},
    seal::SecretText,
};

/// Longest wait at the start for a key server that may be away.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// Why a keystore behind a network cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("{path} cannot be read")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Rights(#[from] DataDirError),
    #[error("{path} cannot be used")]
    Content {
        path: String,
        #[source]
        source: KsError,
    },
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
    let tls = TlsClient::new(trust(&config.trust)?, identity(config)?, config.server_name.as_deref());
    let mut remote = RemoteConfig::new(config.addresses.clone(), tls.map_err(RemoteError::Settings)?);
    (remote.connections, remote.connect_timeout, remote.call_timeout) =
        (config.connections, config.connect_timeout, config.call_timeout);
    let user = user(config, sealed)?;
    let keystore: Arc<dyn Keystore> = match &config.protocol {
        RemoteProtocol::Kmip => {
            let config = KmipConfig { remote, user, fetch: config.fetch };
            Arc::new(KmipKeystore::new(id, config).map_err(RemoteError::Settings)?)
        }
        RemoteProtocol::Rest { profile } => {
            let config = RestConfig { remote, user, fetch: config.fetch, profile: rest_profile(profile)? };
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

fn trust(file: &TrustFile) -> Result<Trust, RemoteError> {
    let certificates = |path: &Path| {
        certificates_from_pem(&read(path)?).map_err(|source| RemoteError::Content { path: path.display().to_string(), source })
    };
    Ok(match file {
        TrustFile::Authorities(path) => Trust::Authorities(certificates(path)?),
        TrustFile::Pinned(path) => Trust::Pinned(certificates(path)?),
    })
}

fn identity(config: &RemoteKeystoreConfig) -> Result<Option<Identity>, RemoteError> {
    let Some((certificate, key_path)) = &config.identity else { return Ok(None) };
    let content = |path: &Path, source| RemoteError::Content { path: path.display().to_string(), source };
    let chain = certificates_from_pem(&read(certificate)?).map_err(|source| content(certificate, source))?;
    check_rights(key_path)?;
    let text = Zeroizing::new(read(key_path)?);
    let key = private_key_from_pem(&SecretBytes::copy_of(text.as_bytes())).map_err(|source| content(key_path, source))?;
    Ok(Some(Identity { chain, key }))
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

/// A built-in profile by its name, or one in a file.
fn rest_profile(name: &str) -> Result<Profile, RemoteError> {
    let content = |source| RemoteError::Content { path: format!("profile {name}"), source };
    match Profile::built_in(name) {
        Some(profile) => profile.map_err(content),
        None if name.ends_with(".toml") => Profile::parse(&read(Path::new(name))?).map_err(content),
        None => Err(content(KsError::parameters(format!(
            "it is neither one of {} nor a path that ends in .toml",
            Profile::BUILT_IN.map(|(name, _)| name).join(", ")
        )))),
    }
}

fn read(path: &Path) -> Result<String, RemoteError> {
    std::fs::read_to_string(path).map_err(|source| RemoteError::File { path: path.display().to_string(), source })
}
