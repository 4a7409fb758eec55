//! The root key, what opens a slot, and what a slot says when it does not open.

use argon2::{Algorithm, Argon2, Params, Version};
use uuid::Uuid;

use super::record::RecordKey;
use super::{
    PageProtection, PassphraseCost, SealError, SecretBytes, SecretPage, SlotKey, SlotKeyError, SlotKind, Term,
};

/// Finds a token's slot key from the locator that was stored when the slot was made.
pub type OpenSlotKey<'a> = &'a dyn Fn(&serde_json::Value) -> Result<Box<dyn SlotKey>, SlotKeyError>;

/// What the operator gives a start to open slots with.
#[derive(Default)]
pub struct Openers<'a> {
    /// For passphrase slots: the bytes without the end of line. Each slot is tried with each.
    pub passphrases: Vec<SecretBytes>,
    /// For pkcs11 slots.
    pub pkcs11: Option<OpenSlotKey<'a>>,
}

/// A seal that has opened.
pub struct Unlocked {
    /// What the slots lead to.
    pub root: RootKey,
    /// The slots that opened it: as many as were needed.
    pub slots: Vec<Uuid>,
}

/// A token's slot, to be tried again while the server runs.
#[derive(Clone)]
pub struct TokenSlot {
    /// What finds the token and its key.
    pub locator: serde_json::Value,
    pub(super) wrapped: Vec<u8>,
    pub(super) aad: [u8; 32],
}

impl TokenSlot {
    /// Whether `key` still opens the slot: the token is there, lets us in, and has the key. What it unwraps is wiped at once.
    ///
    /// # Errors
    /// What the token says.
    pub fn check(&self, key: &dyn SlotKey) -> Result<(), SlotKeyError> {
        key.unwrap(&self.wrapped, &self.aad).map(drop)
    }
}

/// The root key of a store, in a secret page.
pub struct RootKey(SecretPage);

impl RootKey {
    pub(super) fn new(page: SecretPage) -> Self {
        Self(page)
    }

    /// A new one, for a copy of the store.
    ///
    /// # Errors
    /// The system has no page for it.
    pub fn generate() -> std::io::Result<Self> {
        super::record::fill_page(super::record::random_secret().as_slice()).map(Self)
    }

    /// The one that a backup holds: 32 bytes.
    ///
    /// # Errors
    /// Another length, or the system has no page for it.
    pub fn from_backup(secret: &[u8]) -> std::io::Result<Self> {
        if secret.len() != 32 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        super::record::fill_page(secret).map(Self)
    }

    /// Its 32 bytes, for the inside of an encrypted backup that it was generated for, and nothing else.
    pub fn expose_for_backup(&self) -> SecretBytes {
        SecretBytes::copy_from(self.expose())
    }

    /// How its memory is protected.
    pub fn protection(&self) -> PageProtection {
        self.0.protection()
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0.expose()[..32]
    }

    pub(super) fn record_key(&self, store: Uuid) -> RecordKey {
        RecordKey::derive(Term(0), store, self.expose())
    }

    pub(super) fn check(&self, store: Uuid) -> [u8; 32] {
        super::MacKey::derive(self.expose(), "root check").mac(&[store.as_bytes()])
    }
}

/// Why one slot did not open.
#[derive(Debug, thiserror::Error)]
pub enum SlotFailure {
    /// A passphrase slot, and no passphrase was given.
    #[error("passphrase slot: no passphrase given")]
    NoPassphrase,
    /// A pkcs11 slot, and no token is configured.
    #[error("pkcs11 slot: no PKCS#11 module and PIN given")]
    NoToken,
    /// It opens with something else.
    #[error("{0} slot: this is not what it was made with")]
    Wrong(SlotKind),
    /// The key file cannot be used.
    #[error("keyfile slot: {0}")]
    KeyFile(Box<SealError>),
    /// Argon2id refused its parameters or its memory.
    #[error("passphrase slot: Argon2id: {0}")]
    Passphrase(String),
    /// The tool is not installed.
    #[error("systemd-creds slot: the program systemd-creds is not installed")]
    NoSystemdCreds,
    /// The tool failed.
    #[error("systemd-creds slot: {0}")]
    SystemdCreds(String),
    /// The token failed.
    #[error("pkcs11 slot: {0}")]
    Token(SlotKeyError),
    /// Too few shares.
    #[error("shamir slot: {given} of {threshold} shares given")]
    Shares {
        /// How many were given.
        given: usize,
        /// How many open it.
        threshold: u8,
    },
    /// A share that was just dealt cannot be read.
    #[error("shamir slot: {0}")]
    Share(String),
}

impl SlotFailure {
    pub(super) fn wrong(kind: SlotKind) -> Self {
        Self::Wrong(kind)
    }

    /// What the operator should do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoPassphrase => "give the passphrase by file, file descriptor or systemd credential",
            Self::NoToken => {
                "configure the PKCS#11 module and give the PIN by file, file descriptor or systemd credential"
            }
            Self::Wrong(SlotKind::Passphrase) => "check the passphrase: wrong, or with a stray blank at its end",
            Self::Wrong(SlotKind::Keyfile) | Self::KeyFile(_) => {
                "put the key file back that this store was made with, readable by its owner only"
            }
            Self::Wrong(SlotKind::SystemdCreds) | Self::SystemdCreds(_) => {
                "run on the machine (and TPM) the slot was made on, or open with another slot"
            }
            Self::Wrong(SlotKind::Pkcs11) | Self::Token(SlotKeyError::Refused(_)) => {
                "check that the token and key label are those the slot was made with"
            }
            Self::Passphrase(_) => "free memory, or make the slot again with a lower cost",
            Self::NoSystemdCreds => "install systemd (systemd-creds), or open with another slot",
            Self::Shares { .. } | Self::Share(_) | Self::Wrong(SlotKind::Shamir) => {
                "give each share with --share-file, or start with --wait-for-unseal and give them with `keygate unseal`"
            }
            Self::Token(SlotKeyError::Absent(_)) => "plug in or start the token, then start again",
            Self::Token(SlotKeyError::PinRefused(_)) => {
                "correct the PIN file before trying again: tokens lock after a few wrong PINs"
            }
        }
    }
}

/// The highest cost of a passphrase slot: 4 GiB, 64 passes.
const COST_MAX: PassphraseCost = PassphraseCost { memory_kib: 4 << 20, passes: 64, lanes: 64 };

pub(super) fn passphrase_key(
    passphrase: &SecretBytes,
    salt: &[u8],
    cost: PassphraseCost,
) -> Result<SecretBytes, SlotFailure> {
    let refuse = |error: argon2::Error| SlotFailure::Passphrase(error.to_string());
    // The cost stands in a file that nothing has authenticated yet.
    if cost.memory_kib > COST_MAX.memory_kib || cost.passes > COST_MAX.passes || cost.lanes > COST_MAX.lanes {
        return Err(SlotFailure::Passphrase("its cost is beyond all that keygate writes: seal.json was changed".to_owned()));
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(refuse)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hashed = Ok(());
    let key = SecretBytes::fill_with(32, |out| hashed = argon2.hash_password_into(passphrase.expose(), salt, out));
    hashed.map_err(refuse)?;
    Ok(key)
}

/// Additional data of a token's wrap: store id, then slot id.
pub(super) fn slot_aad(store: Uuid, id: Uuid) -> [u8; 32] {
    let mut aad = [0; 32];
    aad[..16].copy_from_slice(store.as_bytes());
    aad[16..].copy_from_slice(id.as_bytes());
    aad
}
