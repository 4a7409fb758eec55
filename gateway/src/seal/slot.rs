//! Kinds of seal slot: each wraps a secret of its own under something else the operator holds.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{SecretBytes, Sharing, contents::SecretOfSlot};

/// A non-extractable AES key on a PKCS#11 token, as a seal slot needs it. Implemented by the backends.
///
/// Contract: AES-GCM (or another AEAD) with `aad` authenticated; the nonce travels inside the returned bytes. Calls may block.
pub trait SlotKey: Send + Sync {
    /// Wraps `plaintext`.
    fn wrap(&self, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, SlotKeyError>;
    /// Undoes [`SlotKey::wrap`] with the same `aad`.
    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes, SlotKeyError>;
}

/// What a token said; the text carries the PKCS#11 function and code, never a PIN.
#[derive(Debug, thiserror::Error)]
pub enum SlotKeyError {
    /// The token or its key is not there, or cannot be reached.
    #[error("token or key not available: {0}")]
    Absent(String),
    /// The PIN was refused; it is not tried again.
    #[error("the token refused the PIN: {0}")]
    PinRefused(String),
    /// The token answered, and the answer is no.
    #[error("the token refused the operation: {0}")]
    Refused(String),
}

/// Cost of Argon2id (RFC 9106), stored with each slot so that it can be raised later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// 256 MiB, 3 passes, 4 lanes: about 0.8 s at start.
    fn default() -> Self {
        Self { memory_kib: 256 * 1024, passes: 3, lanes: 4 }
    }
}

/// A slot to be made.
pub enum NewSlot<'a> {
    /// Makes a file of 32 random bytes (0600), or uses it when it exists. Relative paths are inside the data directory.
    KeyFile {
        /// Where; `seal.key` by default.
        path: PathBuf,
    },
    /// A passphrase.
    Passphrase {
        /// Its bytes, without the end of line.
        passphrase: SecretBytes,
        /// Argon2id cost.
        cost: PassphraseCost,
    },
    /// `systemd-creds encrypt`.
    SystemdCreds {
        /// `--with-key`: `host`, `tpm2`, `host+tpm2` or `auto`.
        with_key: String,
    },
    /// A token's key.
    Pkcs11 {
        /// What [`super::Openers::pkcs11`] needs to find the key again: module, token, key label. No PIN.
        locator: serde_json::Value,
        /// The key.
        key: &'a dyn SlotKey,
    },
    /// Shamir's sharing among officers. Nothing of the secret is kept but in the shares.
    Shamir {
        /// How many of how many.
        sharing: Sharing,
        /// Where the texts of the shares are put, by number.
        dealt: &'a mut Vec<Zeroizing<String>>,
    },
}

/// The kind of a slot, as shown and as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotKind {
    /// A key file.
    Keyfile,
    /// A passphrase.
    Passphrase,
    /// systemd-creds.
    SystemdCreds,
    /// A PKCS#11 key.
    Pkcs11,
    /// Shares of officers.
    Shamir,
}

impl std::fmt::Display for SlotKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keyfile => "keyfile",
            Self::Passphrase => "passphrase",
            Self::SystemdCreds => "systemd-creds",
            Self::Pkcs11 => "pkcs11",
            Self::Shamir => "shamir",
        })
    }
}

/// One line of `seal status`.
#[derive(Clone, Debug, Serialize)]
pub struct SlotStatus {
    /// The slot's id.
    pub id: Uuid,
    /// Its kind.
    pub kind: SlotKind,
    /// Key file path, `--with-key` value, token locator, k of n.
    pub detail: String,
    /// When it was made, seconds since 1970.
    pub made: Option<i64>,
    /// What the operator should know about this kind, if anything.
    pub warning: Option<&'static str>,
}

/// A slot as written in `D/seal.json`. Nothing here is secret.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) id: Uuid,
    #[serde(flatten)]
    pub(super) wrapping: Wrapping,
    /// Absent in slots of format 1, which hold the root key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<SecretOfSlot>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Wrapping {
    Keyfile { path: PathBuf, wrapped: Base64 },
    Passphrase { cost: PassphraseCost, salt: Base64, wrapped: Base64 },
    SystemdCreds { with_key: String, wrapped: String },
    Pkcs11 { locator: serde_json::Value, wrapped: Base64 },
    Shamir { threshold: u8, shares: u8 },
}

impl Slot {
    pub(super) fn kind(&self) -> SlotKind {
        match self.wrapping {
            Wrapping::Keyfile { .. } => SlotKind::Keyfile,
            Wrapping::Passphrase { .. } => SlotKind::Passphrase,
            Wrapping::SystemdCreds { .. } => SlotKind::SystemdCreds,
            Wrapping::Pkcs11 { .. } => SlotKind::Pkcs11,
            Wrapping::Shamir { .. } => SlotKind::Shamir,
        }
    }

    pub(super) fn status(&self) -> SlotStatus {
        let detail = match &self.wrapping {
            Wrapping::Keyfile { path, .. } => path.display().to_string(),
            Wrapping::Passphrase { cost, .. } => {
                format!("Argon2id, {} MiB, {} passes", cost.memory_kib / 1024, cost.passes)
            }
            Wrapping::SystemdCreds { with_key, .. } => with_key.clone(),
            Wrapping::Pkcs11 { locator, .. } => locator.to_string(),
            Wrapping::Shamir { threshold, shares } => format!("{threshold} of {shares} shares"),
        };
        // RFC 9562 section 5.7: a UUIDv7 begins with the time it was made.
        let made = self.id.get_timestamp().and_then(|made| i64::try_from(made.to_unix().0).ok());
        SlotStatus { id: self.id, kind: self.kind(), detail, made, warning: self.kind().warning() }
    }
}

impl SlotKind {
    /// What this kind does not protect against.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Keyfile => Some(
                "whoever copies the data directory and the key file has every key; keep the key file elsewhere, or use another slot",
            ),
            Self::Passphrase | Self::SystemdCreds | Self::Pkcs11 | Self::Shamir => None,
        }
    }
}

/// Bytes written as base64 in JSON.
#[derive(Clone)]
pub(super) struct Base64(pub(super) Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = String::deserialize(deserializer)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}
