//! Files that the settings of keystores behind a network name: certificates, our key for them, profiles. Looked at when settings
//! are checked, and read when a keystore is opened.
//!
//! Paths may come from afar, so what is read is bounded, nothing but a file is opened, and no error quotes what is in one: whoever
//! names a private file of the server learns that it is there, and that it is not of the kind that was expected.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keygate_backends::remote::{Identity, TlsClient, Trust, certificates_from_pem, private_key_from_pem};
use keygate_backends::rest::Profile;
use keygate_backends::{KsError, SecretBytes};
use zeroize::Zeroizing;

use crate::config::{KeystoreConfig, RemoteKeystoreConfig, RemoteProtocol, TrustFile};
use crate::data_dir::{DataDirError, check_rights};

/// Longest file that is read.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Why a file that settings name cannot be used. The setting is named as it is written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("`{setting}`: {path} cannot be read")]
    Read {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read a key.
    #[error("`{setting}`")]
    Rights {
        /// The setting.
        setting: &'static str,
        /// Which rights.
        #[source]
        source: DataDirError,
    },
    /// It is not what it should be. The backends' own words, which hold nothing of the file.
    #[error("`{setting}`: {path} cannot be used")]
    Content {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: KsError,
    },
    /// A profile that is none. What is wrong with it would quote it: that is for the server's log.
    #[error("`profile`: {path} is no profile of a REST key server; the server's log says where it is wrong")]
    Profile {
        /// The file.
        path: String,
        /// What is wrong, for whoever may read the file.
        wrong: String,
    },
    /// A profile of a name that there is not.
    #[error("`profile`: {0} is neither one of {known} nor a path ending in .toml", known = Profile::BUILT_IN.map(|(name, _)| name).join(", "))]
    UnknownProfile(String),
    /// It belongs to the server.
    #[error("`{setting}`: {path} is in the server's data directory: what is there is the server's own")]
    OfTheServer {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: String,
    },
    /// They do not fit together.
    #[error("the settings do not make a TLS client")]
    Tls(#[source] KsError),
}

/// Checks the files that settings name, without connecting to anything.
///
/// # Errors
/// The first file that cannot be used.
pub(crate) fn check(config: &KeystoreConfig) -> Result<(), FileError> {
    let KeystoreConfig::Remote(config) = config else { return Ok(()) };
    tls(config)?;
    match &config.protocol {
        RemoteProtocol::Kmip => Ok(()),
        RemoteProtocol::Rest { profile } => self::profile(profile).map(drop),
    }
}

/// Refuses private keys, profiles and modules in the data directory: the server's own keys are there, and what it writes.
/// Certificates are no secrets.
///
/// # Errors
/// The first such file.
pub(super) fn check_place(config: &KeystoreConfig, data_dir: &Path) -> Result<(), FileError> {
    let files: Vec<(&'static str, PathBuf)> = match config {
        KeystoreConfig::Remote(config) => {
            let key = config.identity.iter().map(|(_, key)| ("key-file", key.clone()));
            let profile = match &config.protocol {
                RemoteProtocol::Rest { profile } if profile.ends_with(".toml") => {
                    Some(("profile", PathBuf::from(profile)))
                }
                RemoteProtocol::Rest { .. } | RemoteProtocol::Kmip => None,
            };
            key.chain(profile).collect()
        }
        KeystoreConfig::Pkcs11(config) => vec![("module", config.module.clone())],
        KeystoreConfig::Group(config) => config.members.iter().map(|member| ("module", member.module.clone())).collect(),
        KeystoreConfig::Local { .. } => Vec::new(),
    };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let data_dir = real(data_dir);
    match files.into_iter().find(|(_, path)| real(path).starts_with(&data_dir)) {
        Some((setting, path)) => Err(FileError::OfTheServer { setting, path: path.display().to_string() }),
        None => Ok(()),
    }
}

/// The TLS client of the settings.
///
/// # Errors
/// Files that are none, or do not fit together.
pub(crate) fn tls(config: &RemoteKeystoreConfig) -> Result<TlsClient, FileError> {
    client(&config.trust, config.identity.as_ref(), config.server_name.as_deref())
}

/// The TLS client that these files make: whom it believes, what it shows, and the name that it looks for.
///
/// # Errors
/// The first file that cannot be used.
pub(crate) fn client(believed: &TrustFile, shown: Option<&(PathBuf, PathBuf)>, server_name: Option<&str>) -> Result<TlsClient, FileError> {
    TlsClient::new(trust(believed)?, identity(shown)?, server_name).map_err(FileError::Tls)
}

/// A built-in profile by its name, or one in a file.
///
/// # Errors
/// That there is none, or that it is wrong.
pub(crate) fn profile(name: &str) -> Result<Profile, FileError> {
    let wrong = |error: KsError| {
        tracing::warn!(profile = name, cause = %error, "this is no profile of a REST key server");
        FileError::Profile { path: name.to_owned(), wrong: error.to_string() }
    };
    match Profile::built_in(name) {
        Some(profile) => profile.map_err(wrong),
        None if name.ends_with(".toml") => Profile::parse(&read("profile", Path::new(name))?).map_err(wrong),
        None => Err(FileError::UnknownProfile(name.chars().take(80).collect())),
    }
}

fn trust(file: &TrustFile) -> Result<Trust, FileError> {
    Ok(match file {
        TrustFile::Authorities(path) => Trust::Authorities(certificates("ca-file", path)?),
        TrustFile::Pinned(path) => Trust::Pinned(certificates("pinned-file", path)?),
    })
}

fn identity(shown: Option<&(PathBuf, PathBuf)>) -> Result<Option<Identity>, FileError> {
    let Some((certificate, key_path)) = shown else { return Ok(None) };
    let chain = certificates("cert-file", certificate)?;
    check_rights(key_path).map_err(|source| FileError::Rights { setting: "key-file", source })?;
    let text = Zeroizing::new(read("key-file", key_path)?);
    let key = private_key_from_pem(&SecretBytes::copy_of(text.as_bytes()));
    Ok(Some(Identity { chain, key: key.map_err(|source| content("key-file", key_path, source))? }))
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<rustls_pki_types::CertificateDer<'static>>, FileError> {
    certificates_from_pem(&read(setting, path)?).map_err(|source| content(setting, path, source))
}

fn content(setting: &'static str, path: &Path, source: KsError) -> FileError {
    FileError::Content { setting, path: path.display().to_string(), source }
}

fn read(setting: &'static str, path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Read { setting, path: path.display().to_string(), source };
    // A pipe would keep us waiting.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is not a file")));
    }
    // Room for all of it, so that nothing of a key is left where a growing text was.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() > FILE_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} octets"))));
    }
    let read = std::str::from_utf8(&text).map_err(|_| failed(std::io::Error::other("it is not a text")))?;
    Ok(read.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::chain;

    /// What is no file, is endless or is something else is refused at once, and no word of it is told.
    #[test]
    fn no_error_quotes_a_file() {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = scratch.path().join("private.toml");
        std::fs::write(&file, "password = \"hunter2\"\n").expect("written");
        let long = scratch.path().join("long.toml");
        std::fs::write(&long, "x".repeat(FILE_BYTES_MAX + 1)).expect("written");
        let path = |path: &Path| path.display().to_string();
        for (found, word) in [
            (profile(&path(&file)).map(drop), "is no profile"),
            (profile(&path(&long)).map(drop), "longer"),
            (profile("nosuch").map(drop), "nosuch is neither"),
            (profile("/tmp/keygate-no-such-file.toml").map(drop), "cannot be read"),
            (certificates("ca-file", &file).map(drop), "`ca-file`"),
            (certificates("ca-file", Path::new("/dev/zero")).map(drop), "not a file"),
            (certificates("ca-file", scratch.path()).map(drop), "not a file"),
        ] {
            let told = chain(&found.expect_err(word));
            assert!(told.contains(word) && !told.contains("hunter2") && !told.contains("password"), "{word}: {told}");
        }
    }

    /// The server's own key is not lent to another server, wherever a link to it is.
    #[test]
    fn a_key_of_the_server_is_refused() {
        let scratch = tempfile::tempdir().expect("a directory");
        let data = scratch.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        std::fs::write(data.join("key.pem"), "").expect("written");
        let link = scratch.path().join("key.pem");
        std::os::unix::fs::symlink(data.join("key.pem"), &link).expect("a link");
        let settings = format!("addresses = 'a'\nca-file = 'ca'\ncert-file = 'c'\nkey-file = '{}'", link.display());
        let config = crate::config::check_one("far", "kmip", settings.parse().expect("TOML"), false).expect("settings");
        let told = check_place(&config, &data).expect_err("a key of the server").to_string();
        assert!(told.contains("`key-file`") && told.contains("data directory"), "{told}");
        check_place(&config, &scratch.path().join("elsewhere")).expect("a key of somebody else");
    }
}
