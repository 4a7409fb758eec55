//! Where passphrases and shares come from, and opening the seal with them. Never from an argument.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    os::fd::FromRawFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;
use zeroize::Zeroizing;

use super::token::TokenSlotKey;
use crate::{
    data_dir::{DataDir, DataDirError, check_rights},
    seal::{Openers, RootKey, Seal, SealError, SecretBytes, Share, ShareError, SlotKey, SlotKeyError, SlotKind, SlotStatus, Unlocked, Unlocking},
};

/// How often one passphrase is asked for.
const ASKED_MAX: u32 = 3;
/// Most passphrases: there are no more seal slots.
const SLOTS_MAX: usize = 16;
/// Longest passphrase or password that is read.
const SECRET_BYTES_MAX: u64 = 4096;

/// Name of the systemd credential that holds the passphrase.
pub const PASSPHRASE_CREDENTIAL: &str = "keygate-passphrase";

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretInput {
    /// A file of mode 0600 or narrower.
    File(PathBuf),
    /// An open file descriptor, which is closed after reading.
    Descriptor(i32),
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretInputError {
    /// The file's rights, or the file itself.
    #[error(transparent)]
    File(#[from] DataDirError),
    /// Not readable.
    #[error("cannot read the secret from {from}")]
    Io {
        /// Where it was to come from.
        from: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The service has no such systemd credential.
    #[error("there is no systemd credential \"{0}\" in $CREDENTIALS_DIRECTORY")]
    NoCredential(String),
    /// Standard streams are not taken for secrets by number.
    #[error("file descriptor {0} is not open for a secret; use 3 or higher, or 0 for standard input")]
    Descriptor(i32),
    /// Empty, or too long.
    #[error("the secret from {from} has {bytes} octets, it must have 1 to {max}")]
    Length {
        /// Where it came from.
        from: String,
        /// Its length.
        bytes: usize,
        /// The longest.
        max: u64,
    },
}

/// Why the seal does not open.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The seal.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The passphrase cannot be read.
    #[error(transparent)]
    Input(#[from] SecretInputError),
    /// A share is not taken.
    #[error("{from}")]
    Share {
        /// Where it came from.
        from: String,
        /// What is wrong with it.
        #[source]
        source: ShareError,
    },
    /// The blocking task ended early.
    #[error("opening the seal was interrupted")]
    Interrupted,
}

impl SecretInput {
    /// Reads the secret, without the end of its line.
    pub fn read(&self) -> Result<SecretBytes, SecretInputError> {
        match self {
            Self::File(path) => {
                check_rights(path)?;
                let from = path.display().to_string();
                let file = File::open(path).map_err(|source| SecretInputError::Io { from: from.clone(), source })?;
                read_line(file, from)
            }
            Self::Descriptor(number) => {
                if *number != 0 && *number < 3 {
                    return Err(SecretInputError::Descriptor(*number));
                }
                let from = format!("file descriptor {number}");
                // SAFETY: the number was given for this purpose and nothing else in this process uses it; whether it is
                // open is found out by reading. Standard streams other than input are refused above.
                let file = unsafe { File::from_raw_fd(*number) };
                read_line(file, from)
            }
        }
    }

    /// The systemd credential of this name, if the service has it (systemd.exec(5), `$CREDENTIALS_DIRECTORY`).
    pub fn credential(name: &str) -> Option<Self> {
        let path = Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
        path.exists().then_some(Self::File(path))
    }
}

fn read_line(file: File, from: String) -> Result<SecretBytes, SecretInputError> {
    let mut octets = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX as usize + 1));
    let read = file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut octets);
    read.map_err(|source| SecretInputError::Io { from: from.clone(), source })?;
    let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.len() as u64 > SECRET_BYTES_MAX {
        return Err(SecretInputError::Length { from, bytes: line.len(), max: SECRET_BYTES_MAX });
    }
    Ok(SecretBytes::copy_from(line))
}

/// Asks somebody for the passphrase of a slot; blocks. Told how often it was wrong already. `None`: there is none to be had.
pub type AskPassphrase = fn(&SlotStatus, u32) -> io::Result<Option<SecretBytes>>;

/// What an operator gives to open the seal with, beside what slots find by themselves.
#[derive(Default)]
pub struct Opening {
    /// Where passphrases come from; else the systemd credentials.
    pub passphrases: Vec<SecretInput>,
    /// Files (mode 0600) with a share each.
    pub shares: Vec<PathBuf>,
    /// Whoever can be asked for passphrases that are still missing.
    pub ask: Option<AskPassphrase>,
}

impl From<Option<SecretInput>> for Opening {
    fn from(passphrase: Option<SecretInput>) -> Self {
        Self { passphrases: passphrase.into_iter().collect(), ..Self::default() }
    }
}

/// An open seal, as what is opened next needs it.
#[derive(Clone)]
pub struct Unsealed {
    /// The root key.
    pub root: Arc<RootKey>,
    /// The slots that opened it.
    pub slots: Vec<Uuid>,
    /// Slots that have opened in this process, or were made by it.
    shown: Arc<Mutex<BTreeSet<Uuid>>>,
}

impl Unsealed {
    /// Opened by these slots, or made with them.
    pub fn new(root: RootKey, slots: Vec<Uuid>) -> Self {
        let shown = Arc::new(Mutex::new(slots.iter().copied().collect()));
        Self { root: Arc::new(root), slots, shown }
    }

    /// Slots that have opened in this process, or were made by it.
    pub fn shown(&self) -> BTreeSet<Uuid> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Slots have opened, or were made.
    pub fn show(&self, slots: &[Uuid]) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).extend(slots);
    }
}

impl From<Unlocked> for Unsealed {
    fn from(unlocked: Unlocked) -> Self {
        Self::new(unlocked.root, unlocked.slots)
    }
}

/// Opens the seal of a data directory with what the operator gives.
///
/// # Errors
/// What is given cannot be read, or does not open enough slots.
pub async fn unlock(dir: &DataDir, with: impl Into<Opening>) -> Result<Unsealed, UnlockError> {
    Ok(begin(dir, with.into()).await?.into_unlocked()?.into())
}

/// As [`unlock`], to be gone on with where slots are missing.
pub(super) async fn begin(dir: &DataDir, with: Opening) -> Result<Unlocking, UnlockError> {
    let seal = Seal::load(dir.path())?;
    let passphrases = if seal.kinds().contains(&SlotKind::Passphrase) {
        let given = if with.passphrases.is_empty() { credentials() } else { with.passphrases };
        given.iter().map(SecretInput::read).collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    let mut unlocking = Unlocking::new(seal);
    for path in with.shares {
        let taken = read_share(&path).and_then(|share| {
            let refused = |source| UnlockError::Share { from: path.display().to_string(), source };
            unlocking.add_share(share).map_err(refused)
        });
        taken?;
    }
    let unlocking = try_slots(unlocking, passphrases).await?;
    match with.ask {
        Some(ask) if !unlocking.is_open() => ask_for(unlocking, ask).await,
        _ => Ok(unlocking),
    }
}

/// `keygate-passphrase`, `keygate-passphrase-2`... as far as the service has them.
fn credentials() -> Vec<SecretInput> {
    let name = |number| if number == 1 { PASSPHRASE_CREDENTIAL.to_owned() } else { format!("{PASSPHRASE_CREDENTIAL}-{number}") };
    (1..=SLOTS_MAX).map_while(|number| SecretInput::credential(&name(number))).collect()
}

/// Asks for the passphrase of each slot that has one and is not open, until enough are.
async fn ask_for(mut unlocking: Unlocking, ask: AskPassphrase) -> Result<Unlocking, UnlockError> {
    let asked = tokio::task::spawn_blocking(move || {
        for slot in unlocking.seal().status().iter().filter(|slot| slot.kind == SlotKind::Passphrase) {
            for attempt in 0..ASKED_MAX {
                if unlocking.is_open() || unlocking.opened().contains(&slot.id) {
                    break;
                }
                let typed = ask(slot, attempt).map_err(|source| SecretInputError::Io { from: "the terminal".into(), source })?;
                let Some(passphrase) = typed else { break };
                unlocking.try_passphrase(slot.id, passphrase)?;
            }
        }
        Ok(unlocking)
    });
    asked.await.map_err(|_| UnlockError::Interrupted)?
}

fn read_share(path: &Path) -> Result<Share, UnlockError> {
    let text = SecretInput::File(path.to_owned()).read()?;
    let refused = |source| UnlockError::Share { from: path.display().to_string(), source };
    // What is no UTF-8 is no share either, and says so.
    Share::read(std::str::from_utf8(text.expose()).unwrap_or_default()).map_err(refused)
}

/// Tries what slots find by themselves, and the passphrases. Argon2id and tokens block, so it runs apart.
pub(super) async fn try_slots(mut unlocking: Unlocking, passphrases: Vec<SecretBytes>) -> Result<Unlocking, UnlockError> {
    let tried = tokio::task::spawn_blocking(move || {
        unlocking.try_slots(&Openers { passphrases, pkcs11: Some(&find_token) })?;
        Ok(unlocking)
    });
    tried.await.map_err(|_| UnlockError::Interrupted)?
}

/// The wrapping key on a token, as [`Openers`] wants it.
pub fn find_token(locator: &serde_json::Value) -> Result<Box<dyn SlotKey>, SlotKeyError> {
    TokenSlotKey::find(locator).map(|key| Box::new(key) as Box<dyn SlotKey>)
}
