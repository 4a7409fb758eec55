//! `D/seal.json`: the seal slots of a store. Holds wrapped copies of the root key and nothing that is secret in clear.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::derive::hkdf;
use super::record::{RecordKey, fill_page, random, random_secret};
use super::slot::{Base64, Slot, Wrapping};
use super::unlock::{RootKey, SlotFailure, TokenSlot, Unlocked, passphrase_key, slot_aad, slot_binding};
use super::{NewSlot, Openers, PassphraseCost, SecretBytes, SlotKind, SlotStatus, Term, systemd};

/// Longest `seal.json` that is read: hundreds of slots.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Name of the slot file in the data directory.
const FILE_NAME: &str = "seal.json";

/// The slots of a data directory.
///
/// Durability: every change is written to a new file, synced, and renamed over the old one; a crash leaves one or the other.
/// Concurrency: whoever changes it holds the data directory's lock.
pub struct Seal {
    dir: PathBuf,
    contents: Contents,
}

/// The slots with one more or one fewer, not written yet.
pub struct SealChange {
    slot: Uuid,
    contents: Contents,
}

impl SealChange {
    /// The slot that comes or goes.
    pub fn slot(&self) -> Uuid {
        self.slot
    }
}

#[derive(Serialize, Deserialize, Clone)]
struct Contents {
    format: u32,
    store: Uuid,
    /// HKDF of the root key: tells a right root key from a wrong one.
    root_check: Base64,
    slots: Vec<Slot>,
}

/// Why the seal cannot be read, opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is a seal already.
    #[error("{} exists: this data directory is sealed already", .0.display())]
    Exists(PathBuf),
    /// There is none.
    #[error("{} does not exist\nhint: is this a data directory? `keygate init` makes one", .0.display())]
    Missing(PathBuf),
    /// The file is not ours, or damaged.
    #[error("{} is not a seal file of a known format", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read a secret file.
    #[error("{} is readable by others than its owner\nhint: chmod 600 it, and consider its contents known", .0.display())]
    WideRights(PathBuf),
    /// No slot opened.
    #[error("no seal slot opens: {}\nhint: {}", list(.0), hint(.0))]
    NoSlotOpens(Vec<SlotFailure>),
    /// The slot to be made did not work.
    #[error("cannot make the seal slot: {0}")]
    NewSlot(SlotFailure),
    /// No such slot.
    #[error("there is no seal slot {0}")]
    UnknownSlot(Uuid),
    /// A slot has this key file already.
    #[error("a seal slot uses {} already\nhint: name another key file", .0.display())]
    SameKeyFile(PathBuf),
    /// It is the last slot.
    #[error("seal slot {0} is the last one; add another before removing it")]
    LastSlot(Uuid),
}

fn list(failures: &[SlotFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn hint(failures: &[SlotFailure]) -> &'static str {
    failures.first().map_or("the seal file has no slots; restore it from a backup", SlotFailure::hint)
}

impl Seal {
    /// Seals a new store: a fresh root key in one first slot.
    pub fn create(dir: &Path, first: NewSlot<'_>) -> Result<(Self, RootKey), SealError> {
        Self::create_for(dir, Uuid::now_v7(), first)
    }

    /// Seals a copy of a store, which keeps its id: a fresh root key in one first slot.
    pub fn create_for(dir: &Path, store: Uuid, first: NewSlot<'_>) -> Result<(Self, RootKey), SealError> {
        let path = dir.join(FILE_NAME);
        if path.exists() {
            return Err(SealError::Exists(path));
        }
        let secret = random_secret();
        let root = new_root(secret.as_slice())?;
        let root_check = Base64(root.check(store).to_vec());
        let contents = Contents { format: 1, store, root_check, slots: Vec::new() };
        let mut seal = Self { dir: dir.to_owned(), contents };
        let change = seal.with_slot(&root, first)?;
        seal.apply(change)?;
        Ok((seal, root))
    }

    /// Reads the slots of `dir`.
    pub fn load(dir: &Path) -> Result<Self, SealError> {
        let path = dir.join(FILE_NAME);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SealError::Missing(path)),
            other => other.map_err(failed("open", &path))?,
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed("read", &path))?;
        match serde_json::from_slice::<Contents>(&text) {
            Ok(contents) if contents.format == 1 => Ok(Self { dir: dir.to_owned(), contents }),
            Ok(_) => Err(SealError::Unreadable { path, source: None }),
            Err(source) => Err(SealError::Unreadable { path, source: Some(source) }),
        }
    }

    /// Whether `dir` has a seal file.
    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE_NAME).exists()
    }

    /// The store this seal belongs to.
    pub fn store_id(&self) -> Uuid {
        self.contents.store
    }

    /// Tries each slot in turn; the first that opens gives the root key. Blocks (Argon2id, token).
    pub fn unlock(&self, openers: &Openers<'_>) -> Result<RootKey, SealError> {
        self.unlock_by_slot(openers).map(|unlocked| unlocked.root)
    }

    /// As [`Seal::unlock`], and tells which slot opened.
    pub fn unlock_by_slot(&self, openers: &Openers<'_>) -> Result<Unlocked, SealError> {
        let mut failures = Vec::new();
        for slot in &self.contents.slots {
            match self.open_slot(slot, openers) {
                Ok(secret) => {
                    let root = new_root(secret.expose())?;
                    if aws_lc_rs::constant_time::verify_slices_are_equal(
                        &root.check(self.contents.store),
                        &self.contents.root_check.0,
                    )
                    .is_ok()
                    {
                        return Ok(Unlocked { root, slot: slot.id });
                    }
                    failures.push(SlotFailure::wrong(slot.kind()));
                }
                Err(failure) => failures.push(failure),
            }
        }
        Err(SealError::NoSlotOpens(failures))
    }

    /// Makes a slot and opens it once, to be added by [`Seal::apply`]. Blocks (Argon2id, token).
    pub fn with_slot(&self, root: &RootKey, new: NewSlot<'_>) -> Result<SealChange, SealError> {
        let id = Uuid::now_v7();
        let slot = Slot { id, wrapping: self.wrap(id, root, &new)? };
        let secret = self.open_new_slot(&slot, new).map_err(SealError::NewSlot)?;
        if secret != SecretBytes::copy_from(root.expose()) {
            return Err(SealError::NewSlot(SlotFailure::wrong(slot.kind())));
        }
        let mut contents = self.contents.clone();
        contents.slots.push(slot);
        Ok(SealChange { slot: id, contents })
    }

    /// Leaves a slot out, to be removed by [`Seal::apply`]; the last one stays.
    pub fn without_slot(&self, id: Uuid) -> Result<SealChange, SealError> {
        let mut contents = self.contents.clone();
        contents.slots.retain(|slot| slot.id != id);
        match (contents.slots.len(), self.contents.slots.len()) {
            (left, all) if left == all => Err(SealError::UnknownSlot(id)),
            (0, _) => Err(SealError::LastSlot(id)),
            _ => Ok(SealChange { slot: id, contents }),
        }
    }

    /// Writes the file as changed.
    pub fn apply(&mut self, change: SealChange) -> Result<(), SealError> {
        self.write(change.contents)
    }

    /// The slots, for `seal status`.
    pub fn status(&self) -> Vec<SlotStatus> {
        self.contents.slots.iter().map(Slot::status).collect()
    }

    /// The slot of this id, if there is one and a token opens it.
    pub fn token_slot(&self, id: Uuid) -> Option<TokenSlot> {
        let slot = self.contents.slots.iter().find(|slot| slot.id == id)?;
        let Wrapping::Pkcs11 { locator, wrapped } = &slot.wrapping else { return None };
        let aad = slot_aad(self.contents.store, id);
        Some(TokenSlot { locator: locator.clone(), wrapped: wrapped.0.clone(), aad })
    }

    /// Kinds of the slots: says what a start needs (a passphrase to ask for, a token to open).
    pub fn kinds(&self) -> Vec<SlotKind> {
        self.contents.slots.iter().map(Slot::kind).collect()
    }

    fn wrap(&self, id: Uuid, root: &RootKey, new: &NewSlot<'_>) -> Result<Wrapping, SealError> {
        let store = self.contents.store;
        let under = |key: &[u8]| {
            let key = RecordKey::derive(Term(0), store, key);
            Base64(key.seal(&slot_binding(id), root.expose()).as_bytes().to_vec())
        };
        Ok(match new {
            NewSlot::KeyFile { path } => {
                if self.uses_key_file(path) {
                    return Err(SealError::SameKeyFile(path.clone()));
                }
                let file = read_or_make_key_file(&self.dir.join(path))?;
                let wrapped = under(hkdf(file.expose(), id.as_bytes(), &[b"key file slot"]).expose());
                Wrapping::Keyfile { path: path.clone(), wrapped }
            }
            NewSlot::Passphrase { passphrase, cost } => {
                let salt = random::<16>();
                let key = passphrase_key(passphrase, &salt, *cost).map_err(SealError::NewSlot)?;
                Wrapping::Passphrase { cost: *cost, salt: Base64(salt.to_vec()), wrapped: under(key.expose()) }
            }
            NewSlot::SystemdCreds { with_key } => {
                let wrapped = systemd::encrypt(id, with_key, root.expose()).map_err(SealError::NewSlot)?;
                Wrapping::SystemdCreds { with_key: with_key.clone(), wrapped }
            }
            NewSlot::Pkcs11 { locator, key } => {
                let wrapped = key
                    .wrap(root.expose(), &slot_aad(store, id))
                    .map_err(|error| SealError::NewSlot(SlotFailure::Token(error)))?;
                Wrapping::Pkcs11 { locator: locator.clone(), wrapped: Base64(wrapped) }
            }
        })
    }

    fn uses_key_file(&self, path: &Path) -> bool {
        let path = self.dir.join(path);
        let uses = |slot: &Slot| matches!(&slot.wrapping, Wrapping::Keyfile { path: other, .. } if self.dir.join(other) == path);
        self.contents.slots.iter().any(uses)
    }

    /// Opens a slot with what it was just made from.
    fn open_new_slot(&self, slot: &Slot, new: NewSlot<'_>) -> Result<SecretBytes, SlotFailure> {
        match (new, &slot.wrapping) {
            (NewSlot::Pkcs11 { key, .. }, Wrapping::Pkcs11 { wrapped, .. }) => {
                key.unwrap(&wrapped.0, &slot_aad(self.contents.store, slot.id)).map_err(SlotFailure::Token)
            }
            (NewSlot::Passphrase { passphrase, .. }, _) => {
                self.open_slot(slot, &Openers { passphrase: Some(passphrase), pkcs11: None })
            }
            _ => self.open_slot(slot, &Openers::default()),
        }
    }

    fn open_slot(&self, slot: &Slot, openers: &Openers<'_>) -> Result<SecretBytes, SlotFailure> {
        let store = self.contents.store;
        let with = |key: &[u8], wrapped: &Base64| {
            let record = super::SealedRecord::from_stored(wrapped.0.clone());
            let key = RecordKey::derive(Term(0), store, key);
            key.open(&slot_binding(slot.id), &record).map_err(|_| SlotFailure::wrong(slot.kind()))
        };
        match &slot.wrapping {
            Wrapping::Keyfile { path, wrapped } => {
                let path = self.dir.join(path);
                let file = read_key_file(&path).map_err(|error| SlotFailure::KeyFile(Box::new(error)))?;
                with(hkdf(file.expose(), slot.id.as_bytes(), &[b"key file slot"]).expose(), wrapped)
            }
            Wrapping::Passphrase { cost, salt, wrapped } => {
                let passphrase = openers.passphrase.as_ref().ok_or(SlotFailure::NoPassphrase)?;
                with(passphrase_key(passphrase, &salt.0, *cost)?.expose(), wrapped)
            }
            Wrapping::SystemdCreds { wrapped, .. } => systemd::decrypt(slot.id, wrapped),
            Wrapping::Pkcs11 { locator, wrapped } => {
                let open = openers.pkcs11.ok_or(SlotFailure::NoToken)?;
                let key = open(locator).map_err(SlotFailure::Token)?;
                key.unwrap(&wrapped.0, &slot_aad(store, slot.id)).map_err(SlotFailure::Token)
            }
        }
    }

    fn write(&mut self, contents: Contents) -> Result<(), SealError> {
        let path = self.dir.join(FILE_NAME);
        let text = serde_json::to_vec_pretty(&contents)
            .map_err(|source| SealError::Unreadable { path: path.clone(), source: Some(source) })?;
        replace_file(&path, &text).map_err(failed("write", &path))?;
        self.contents = contents;
        Ok(())
    }
}

impl Default for NewSlot<'_> {
    fn default() -> Self {
        Self::KeyFile { path: PathBuf::from("seal.key") }
    }
}

impl NewSlot<'_> {
    /// A passphrase slot with the default cost.
    pub fn passphrase(passphrase: SecretBytes) -> Self {
        Self::Passphrase { passphrase, cost: PassphraseCost::default() }
    }
}

/// Replaces a file by writing a new one beside it: 0600, synced, renamed, directory synced.
pub(crate) fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn new_root(secret: &[u8]) -> Result<RootKey, SealError> {
    let page = fill_page(secret).map_err(failed("map a memory page for", Path::new(FILE_NAME)))?;
    Ok(RootKey::new(page))
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

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SealError + 'a {
    move |source| SealError::Io { action, path: path.to_owned(), source }
}
