//! One slot's secret under what the operator holds: made, and opened again.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    NewSlot, Openers, SealError, SealedRecord, SecretBytes, SlotFailure, Term,
    contents::Copy,
    derive::hkdf,
    error::failed,
    record::{RecordKey, random, random_secret},
    shares,
    slot::{Base64, Slot, Wrapping},
    systemd,
    unlock::{passphrase_key, slot_aad},
};
use crate::data_dir::replace_file;

/// Where a slot is: its store, its data directory, its id.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) store: Uuid,
    pub(super) dir: &'a Path,
    pub(super) slot: Uuid,
}

impl Place<'_> {
    fn seal(self, key: &[u8], secret: &[u8]) -> Base64 {
        let key = RecordKey::derive(Term(0), self.store, key);
        Base64(key.seal(&Copy::Secret.of(self.slot), secret).as_bytes().to_vec())
    }

    /// Wraps a secret in a new slot. Blocks (Argon2id, token).
    pub(super) fn wrap(self, secret: &[u8], new: &mut NewSlot<'_>) -> Result<Wrapping, SealError> {
        Ok(match new {
            NewSlot::KeyFile { path } => {
                let file = read_or_make_key_file(&self.dir.join(&*path))?;
                Wrapping::Keyfile { path: path.clone(), wrapped: self.seal(self.file_key(&file).expose(), secret) }
            }
            NewSlot::Passphrase { passphrase, cost } => {
                let salt = random::<16>();
                let key = passphrase_key(passphrase, &salt, *cost).map_err(SealError::NewSlot)?;
                Wrapping::Passphrase { cost: *cost, salt: Base64(salt.to_vec()), wrapped: self.seal(key.expose(), secret) }
            }
            NewSlot::SystemdCreds { with_key } => {
                let wrapped = systemd::encrypt(self.slot, with_key, secret).map_err(SealError::NewSlot)?;
                Wrapping::SystemdCreds { with_key: with_key.clone(), wrapped }
            }
            NewSlot::Pkcs11 { locator, key } => {
                let wrapped = key.wrap(secret, &slot_aad(self.store, self.slot));
                let wrapped = wrapped.map_err(|error| SealError::NewSlot(SlotFailure::Token(error)))?;
                Wrapping::Pkcs11 { locator: locator.clone(), wrapped: Base64(wrapped) }
            }
            NewSlot::Shamir { sharing, dealt } => {
                **dealt = shares::split(self.store, self.slot, secret, *sharing);
                Wrapping::Shamir { threshold: sharing.threshold(), shares: sharing.count() }
            }
        })
    }

    fn file_key(self, file: &SecretBytes) -> SecretBytes {
        hkdf(file.expose(), self.slot.as_bytes(), &[b"key file slot"])
    }

    /// What a slot holds: its secret, or the root key where it is of format 1. Blocks (Argon2id, token). Whether it is the
    /// right one is for the caller to find out, save where the encryption tells.
    pub(super) fn open(self, slot: &Slot, openers: &Openers<'_>) -> Result<SecretBytes, SlotFailure> {
        let copy = if slot.secret.is_some() { Copy::Secret } else { Copy::RootInSlot };
        let with = |key: &[u8], wrapped: &Base64| {
            let record = SealedRecord::from_stored(wrapped.0.clone());
            let key = RecordKey::derive(Term(0), self.store, key);
            key.open(&copy.of(self.slot), &record).map_err(|_| SlotFailure::wrong(slot.kind()))
        };
        match &slot.wrapping {
            Wrapping::Keyfile { path, wrapped } => {
                let file = read_key_file(&self.dir.join(path)).map_err(|error| SlotFailure::KeyFile(Box::new(error)))?;
                with(self.file_key(&file).expose(), wrapped)
            }
            Wrapping::Passphrase { cost, salt, wrapped } => {
                let mut failure = SlotFailure::NoPassphrase;
                for passphrase in &openers.passphrases {
                    match passphrase_key(passphrase, &salt.0, *cost).and_then(|key| with(key.expose(), wrapped)) {
                        Ok(secret) => return Ok(secret),
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
            Wrapping::SystemdCreds { wrapped, .. } => systemd::decrypt(self.slot, wrapped),
            Wrapping::Pkcs11 { locator, wrapped } => {
                let open = openers.pkcs11.ok_or(SlotFailure::NoToken)?;
                let key = open(locator).map_err(SlotFailure::Token)?;
                key.unwrap(&wrapped.0, &slot_aad(self.store, self.slot)).map_err(SlotFailure::Token)
            }
            Wrapping::Shamir { threshold, .. } => Err(SlotFailure::Shares { given: 0, threshold: *threshold }),
        }
    }

    /// Wraps another secret in a slot, in the place of what it holds. Blocks (Argon2id, token).
    pub(super) fn rewrap(self, wrapping: &Wrapping, secret: &[u8], openers: &Openers<'_>) -> Result<Wrapping, SlotFailure> {
        let made = |result: Result<Wrapping, SealError>| {
            result.map_err(|error| match error {
                SealError::NewSlot(failure) => failure,
                other => SlotFailure::KeyFile(Box::new(other)),
            })
        };
        match wrapping {
            Wrapping::Keyfile { path, .. } => made(self.wrap(secret, &mut NewSlot::KeyFile { path: path.clone() })),
            Wrapping::Passphrase { cost, salt, wrapped } => {
                // The one that opens it, where several are given.
                let opens = |passphrase: &&SecretBytes| {
                    let record = SealedRecord::from_stored(wrapped.0.clone());
                    let key = passphrase_key(passphrase, &salt.0, *cost).map(|key| RecordKey::derive(Term(0), self.store, key.expose()));
                    key.is_ok_and(|key| key.open(&Copy::RootInSlot.of(self.slot), &record).is_ok())
                };
                let passphrase = openers.passphrases.iter().find(opens).cloned().ok_or(SlotFailure::NoPassphrase)?;
                made(self.wrap(secret, &mut NewSlot::Passphrase { passphrase, cost: *cost }))
            }
            Wrapping::SystemdCreds { with_key, .. } => {
                made(self.wrap(secret, &mut NewSlot::SystemdCreds { with_key: with_key.clone() }))
            }
            Wrapping::Pkcs11 { locator, .. } => {
                let key = openers.pkcs11.ok_or(SlotFailure::NoToken)?(locator).map_err(SlotFailure::Token)?;
                made(self.wrap(secret, &mut NewSlot::Pkcs11 { locator: locator.clone(), key: &*key }))
            }
            // There were none in format 1, and no other slot is wrapped anew.
            Wrapping::Shamir { threshold, .. } => Err(SlotFailure::Shares { given: 0, threshold: *threshold }),
        }
    }
}

fn read_or_make_key_file(path: &Path) -> Result<SecretBytes, SealError> {
    // Whole or not at all: half a key file would keep a repeated `init` from going on.
    if !path.try_exists().map_err(failed("look for", path))? {
        replace_file(path, random_secret().as_slice()).map_err(failed("write", path))?;
    }
    read_key_file(path)
}

fn read_key_file(path: &Path) -> Result<SecretBytes, SealError> {
    let mut file = File::open(path).map_err(failed("open", path))?;
    let rights = file.metadata().map_err(failed("read the rights of", path))?.permissions().mode();
    if rights & 0o077 != 0 {
        return Err(SealError::WideRights(path.to_owned()));
    }
    let mut read = Ok(());
    let bytes = SecretBytes::fill_with(32, |out| read = file.read_exact(out));
    read.map_err(failed("read 32 bytes from", path))?;
    Ok(bytes)
}

impl Default for NewSlot<'_> {
    fn default() -> Self {
        Self::KeyFile { path: PathBuf::from("seal.key") }
    }
}
