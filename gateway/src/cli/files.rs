//! Credentials in files: `ca.pem`, `cert.pem`, `key.pem`.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{PrivateKey, SignatureAlgorithm, Signer};
use zeroize::Zeroizing;

use super::{Failure, args::Credential, code};
use crate::{
    admin::{AdminReply, IssuedView, NewCredential},
    data_dir::{check_rights, make_dir, write_secret},
};

/// Largest certificate or request file.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// A credential that is being made: what to ask for, and where the answer goes.
pub(super) struct Making {
    folder: Option<PathBuf>,
    key: Option<PrivateKey>,
    pub(super) ask: NewCredential,
}

impl Making {
    /// Reads what the arguments name, or makes a key. `overwrite` lets a key that is there be replaced.
    pub(super) fn begin(arguments: &Credential, default_folder: &Path, overwrite: bool) -> Result<Self, Failure> {
        let days = arguments.days;
        if let Some(path) = &arguments.cert {
            let ask = NewCredential::Pin { certificate: text_of(path)? };
            return Self { folder: arguments.out.clone(), key: None, ask }.prepared(overwrite);
        }
        let folder = Some(arguments.out.clone().unwrap_or_else(|| default_folder.to_owned()));
        if let Some(path) = &arguments.csr {
            let ask = NewCredential::Request { request: text_of(path)?, days };
            return Self { folder, key: None, ask }.prepared(overwrite);
        }
        let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
        let ask = NewCredential::Issue { public_key: STANDARD.encode(key.public_key().spki_der()), days };
        Self { folder, key: Some(key), ask }.prepared(overwrite)
    }

    /// Finds out before anything is enrolled whether the answer can be written.
    fn prepared(self, overwrite: bool) -> Result<Self, Failure> {
        let Some(folder) = &self.folder else { return Ok(self) };
        make_dir(folder)?;
        let file = folder.join(if self.key.is_some() { "key.pem" } else { "cert.pem" });
        if file.exists() && !overwrite {
            return Err(Failure::new(code::NAME, format!("{} exists already\nhint: name another folder with --out", file.display())));
        }
        Ok(self)
    }

    /// Writes the answer.
    pub(super) fn write(self, reply: AdminReply) -> Result<(IssuedView, Option<PathBuf>), Failure> {
        let AdminReply::Issued(view) = reply else {
            return Err(Failure::new(code::FAILED, "the server answered something else"));
        };
        if let Some(folder) = &self.folder {
            write(folder, &view, self.key.as_ref())?;
        }
        Ok((view, self.folder))
    }
}

/// Writes a credential. The key comes first: a certificate without its key is of no use.
pub(super) fn write(folder: &Path, view: &IssuedView, key: Option<&PrivateKey>) -> Result<(), Failure> {
    if let Some(key) = key {
        write_secret(&folder.join("key.pem"), key.expose_pem()?.as_bytes())?;
    }
    write_secret(&folder.join("cert.pem"), view.chain.as_bytes())?;
    Ok(write_secret(&folder.join("ca.pem"), view.ca.as_bytes())?)
}

/// The text of a file that only its owner may read.
pub(super) fn secret_text_of(path: &Path) -> Result<Zeroizing<String>, Failure> {
    check_rights(path)?;
    text_of(path).map(Zeroizing::new)
}

/// A file's PEM as it is, or its DER in base64.
pub(super) fn text_of(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::new(code::USAGE, format!("cannot read {}: {error}", path.display()));
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(Failure::new(code::USAGE, format!("{} has {length} octets, at most {FILE_BYTES_MAX} are read", path.display())));
    }
    let octets = std::fs::read(path).map_err(failed)?;
    Ok(String::from_utf8(octets).unwrap_or_else(|error| STANDARD.encode(error.as_bytes())))
}
