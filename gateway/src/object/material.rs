//! What an object's sealed record holds: its attributes and its value.
//!
//! Attributes are sealed, too: a Name tells whose key it is, and the Digest of a password is as good as the password to somebody who tries
//! guesses. Rows of earlier versions have their attributes in a column in clear; they are read, and sealed when they are next written.

use keygate_backends::KeyRef;
use keygate_kmip::ManagedObject;
use zeroize::Zeroizing;

use crate::seal::SecretBytes;

/// The secret part of an object.
#[derive(Clone, Debug)]
pub enum Material {
    /// The object itself (Envelope custody, and all that is not a key).
    Held(Box<ManagedObject>),
    /// The stable name of a key that stays in its keystore, and, for one of a pair, SubjectPublicKeyInfo DER.
    Referenced(KeyRef),
    /// Nothing: the material was destroyed, or was never here.
    None,
}

/// A sealed record that this build cannot read.
#[derive(Debug, thiserror::Error)]
#[error("sealed record cannot be read: {0}")]
pub struct MaterialError(String);

const HELD: u8 = 1;
const REFERENCED: u8 = 2;
/// In front of the others: four octets of length, big-endian, and so many of attributes.
const ATTRIBUTES: u8 = 3;
const HEAD: usize = 5;

impl Material {
    /// The plain text of the sealed record of an object with these attributes.
    #[must_use]
    pub fn to_record(&self, attributes: &[u8]) -> Zeroizing<Vec<u8>> {
        match self {
            Self::None => record(attributes, None, &[]),
            Self::Held(object) => record(attributes, Some(HELD), &object.to_stored_bytes()),
            // A key reference always serialises: it has no maps and nothing that can fail.
            Self::Referenced(key) => record(attributes, Some(REFERENCED), &serde_json::to_vec(key).unwrap_or_default()),
        }
    }

    fn from_value(value: &[u8]) -> Result<Self, MaterialError> {
        match value.split_first() {
            None => Ok(Self::None),
            Some((&HELD, stored)) => ManagedObject::from_stored_bytes(stored)
                .map(|object| Self::Held(Box::new(object)))
                .map_err(|error| MaterialError(error.to_string())),
            Some((&REFERENCED, stored)) => {
                serde_json::from_slice(stored).map(Self::Referenced).map_err(|error| MaterialError(error.to_string()))
            }
            Some((kind, _)) => Err(MaterialError(format!("kind {kind}"))),
        }
    }
}

fn record(attributes: &[u8], kind: Option<u8>, value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut record = Zeroizing::new(Vec::with_capacity(HEAD + attributes.len() + 1 + value.len()));
    record.push(ATTRIBUTES);
    // An object's attributes and value together are far below the 4 GiB that a message cannot reach either.
    record.extend_from_slice(&u32::try_from(attributes.len()).unwrap_or(u32::MAX).to_be_bytes());
    record.extend_from_slice(attributes);
    record.extend(kind);
    record.extend_from_slice(value);
    record
}

/// A sealed record that was opened.
pub struct OpenedRecord {
    plain: SecretBytes,
    /// Where the value begins, after the attributes.
    value_at: usize,
}

impl OpenedRecord {
    /// # Errors
    /// [`MaterialError`] if the attributes' length is beyond the end.
    pub(super) fn new(plain: SecretBytes) -> Result<Self, MaterialError> {
        let value_at = match plain.expose() {
            [ATTRIBUTES, rest @ ..] => {
                let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| MaterialError("it is cut off".to_owned()))?;
                let length = u32::from_be_bytes(*length) as usize;
                rest.get(..length).ok_or_else(|| MaterialError("it is cut off".to_owned()))?;
                HEAD + length
            }
            _ => 0,
        };
        Ok(Self { plain, value_at })
    }

    /// The attributes; `None` in a row of an earlier version, which has them in clear.
    pub(super) fn attributes(&self) -> Option<&[u8]> {
        self.plain.expose()[..self.value_at].get(HEAD..)
    }

    /// The value.
    ///
    /// # Errors
    /// [`MaterialError`] if it holds what no build wrote.
    pub fn material(&self) -> Result<Material, MaterialError> {
        Material::from_value(&self.plain.expose()[self.value_at..])
    }

    /// The record as it is written now; `clear` are the attributes of a row that has them in clear.
    #[must_use]
    pub fn rewritten(&self, clear: &[u8]) -> Zeroizing<Vec<u8>> {
        match self.attributes() {
            Some(_) => Zeroizing::new(self.plain.expose().to_vec()),
            None => record(clear, None, self.plain.expose()),
        }
    }
}
