//! What an object's sealed record holds.

use keygate_backends::KeyRef;
use keygate_kmip::ManagedObject;
use zeroize::Zeroizing;

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

impl Material {
    /// The plain text of the sealed record.
    #[must_use]
    pub fn to_record(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::None => Zeroizing::new(Vec::new()),
            Self::Held(object) => {
                let stored = object.to_stored_bytes();
                let mut record = Zeroizing::new(Vec::with_capacity(stored.len() + 1));
                record.push(HELD);
                record.extend_from_slice(&stored);
                record
            }
            Self::Referenced(key) => {
                let mut record = Zeroizing::new(vec![REFERENCED]);
                // A key reference always serialises: it has no maps and nothing that can fail.
                record.extend_from_slice(&serde_json::to_vec(key).unwrap_or_default());
                record
            }
        }
    }

    /// Reads the plain text of a sealed record.
    ///
    /// # Errors
    /// [`MaterialError`] if it holds what no build wrote.
    pub fn from_record(record: &[u8]) -> Result<Self, MaterialError> {
        match record.split_first() {
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
