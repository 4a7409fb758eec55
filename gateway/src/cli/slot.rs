//! A seal slot as asked for on the command line, by `init --seal` and by `seal add`.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Failure,
    args::{ShamirArguments, TokenArguments},
    code, shares,
};
use crate::{
    admin::{NewSealSlot, Password, Recipients},
    app::SecretInput,
    config::PinSource,
};

/// What the arguments say; the passphrase is not read yet.
pub(super) enum SlotArguments {
    KeyFile(PathBuf),
    Passphrase(SecretInput),
    SystemdCreds(String),
    Token { module: PathBuf, label: String, pin: PinSource },
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
        let pin = match (&arguments.pin_file, &arguments.pin_credential) {
            (Some(path), None) => PinSource::File(absolute(path)?),
            (None, Some(name)) => PinSource::Credential(name.clone()),
            _ => return Err(missing("--pin-file or --pin-credential")),
        };
        let module = arguments.module.as_ref().ok_or_else(|| missing("--module"))?;
        // A bare name is looked for by the system's loader.
        let is_path = module.components().count() > 1;
        Ok(Self::Token {
            module: if is_path { absolute(module)? } else { module.clone() },
            label: arguments.token_label.clone().ok_or_else(|| missing("--token-label"))?,
            pin,
        })
    }

    /// Reads the passphrase, where there is one.
    pub(super) fn read(self) -> Result<NewSealSlot, Failure> {
        Ok(match self {
            Self::KeyFile(path) => NewSealSlot::Keyfile { path },
            Self::Passphrase(input) => NewSealSlot::Passphrase { passphrase: Password(STANDARD.encode(input.read()?.expose())) },
            Self::SystemdCreds(with_key) => NewSealSlot::SystemdCreds { with_key },
            Self::Token { module, label, pin } => NewSealSlot::Pkcs11 { module, token_label: label, pin },
            Self::Shamir { threshold, to } => NewSealSlot::Shamir { threshold, to },
        })
    }
}

/// The server, and later starts, may have another working directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| Failure::new(code::USAGE, format!("cannot read {}: {error}", path.display())))
}
