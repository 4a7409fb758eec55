//! A seal slot as asked for on the command line, by `init --seal` and by `seal add`.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_backends::pkcs11::Pkcs11Uri;

use super::{
    Failure,
    args::{ShamirArguments, TokenArguments},
    code, shares,
};
use crate::{
    admin::{NewSealSlot, Password, Recipients},
    app::{SecretInput, TokenName},
    config::PinSource,
};

/// What the arguments say; the passphrase is not read yet.
pub(super) enum SlotArguments {
    KeyFile(PathBuf),
    Passphrase(SecretInput),
    SystemdCreds(String),
    Token { module: PathBuf, token: TokenName, pin: PinSource },
    Shamir { threshold: u8, to: Recipients },
}

impl SlotArguments {
    /// Takes KIND, or KIND=VALUE. `passphrase` says where the passphrase of a passphrase slot comes from, `option` how to say so.
    pub(super) fn parse(
        text: &str,
        token: &TokenArguments,
        shamir: &ShamirArguments,
        passphrase: Option<SecretInput>,
        option: &str,
    ) -> Result<Self, Failure> {
        let (kind, value) = text.split_once('=').map_or((text, None), |(kind, value)| (kind, Some(value)));
        match (kind, value) {
            ("keyfile", value) => Ok(Self::KeyFile(value.unwrap_or("seal.key").into())),
            ("passphrase", None) => passphrase.map(Self::Passphrase).ok_or_else(|| {
                Failure::new(code::USAGE, format!("give the passphrase by {option}-file, {option}-fd or a systemd credential"))
            }),
            ("systemd-creds", value) => Ok(Self::SystemdCreds(value.unwrap_or("auto").to_owned())),
            ("pkcs11", None) => Self::token(token),
            ("shamir", None) => shares::wanted(shamir).map(|(threshold, to)| Self::Shamir { threshold, to }),
            _ => Err(Failure::new(
                code::USAGE,
                format!("{text} is none of keyfile[=PATH], passphrase, systemd-creds[=KEY], pkcs11, shamir"),
            )),
        }
    }

    fn token(arguments: &TokenArguments) -> Result<Self, Failure> {
        let missing = |what: &str| Failure::new(code::USAGE, format!("a pkcs11 slot needs {what}"));
        let uri = arguments.uri.as_deref().map(Pkcs11Uri::parse).transpose();
        let uri = uri.map_err(|why| Failure::new(code::USAGE, format!("--uri {why}")))?.unwrap_or_default();
        if arguments.uri.is_some() && uri.token.is_empty() {
            return Err(Failure::new(code::USAGE, "--uri names no token; give at least token, serial or slot-id"));
        }
        // What is said twice is said by the argument.
        let pin = match (arguments.pin_file.as_ref().or(uri.pin_file.as_ref()), &arguments.pin_credential) {
            (_, Some(name)) => PinSource::Credential(name.clone()),
            (Some(path), None) => PinSource::File(absolute(path)?),
            (None, None) => return Err(missing("--pin-file or --pin-credential, or pin-source in its URI")),
        };
        let module = arguments.module.as_ref().or(uri.module.as_ref()).ok_or_else(|| missing("--module, or module-path in its URI"))?;
        // A bare name is looked for by the system's loader.
        let is_path = module.components().count() > 1;
        Ok(Self::Token {
            module: if is_path { absolute(module)? } else { module.clone() },
            token: match (&arguments.uri, &arguments.token_label) {
                (Some(uri), _) => TokenName::Uri { token_uri: uri.clone() },
                (None, Some(label)) => TokenName::Label { token_label: label.clone() },
                (None, None) => return Err(missing("--token-label or --uri")),
            },
            pin,
        })
    }

    /// Reads the passphrase, where there is one.
    pub(super) fn read(self) -> Result<NewSealSlot, Failure> {
        Ok(match self {
            Self::KeyFile(path) => NewSealSlot::Keyfile { path },
            Self::Passphrase(input) => NewSealSlot::Passphrase { passphrase: Password(STANDARD.encode(input.read()?.expose())) },
            Self::SystemdCreds(with_key) => NewSealSlot::SystemdCreds { with_key },
            Self::Token { module, token, pin } => NewSealSlot::Pkcs11 { module, token, pin },
            Self::Shamir { threshold, to } => NewSealSlot::Shamir { threshold, to },
        })
    }
}

/// The server, and later starts, may have another working directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| Failure::new(code::USAGE, format!("cannot read {}: {error}", path.display())))
}
