//! Shares encrypted to the officers that are to keep them: age files (age-encryption.org/v1), in armor, one share each.

use age::x25519::Recipient;

use super::SealError;

/// An officer's public key, as age prints it: `age1...`.
pub struct Officer(Recipient);

impl Officer {
    /// Reads a recipient.
    ///
    /// # Errors
    /// It is no X25519 recipient of age.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        text.parse().map(Self).map_err(|_| SealError::Officer(text.to_owned()))
    }

    /// A share that this officer alone can read, as text.
    ///
    /// # Errors
    /// The age library's.
    pub fn encrypt(&self, share: &str) -> Result<String, SealError> {
        age::encrypt_and_armor(&self.0, share.as_bytes()).map_err(|error| SealError::Encrypt(error.to_string()))
    }
}

/// Reads a list of officers, each of them once.
///
/// # Errors
/// One is no recipient, or is named twice.
pub fn officers(texts: &[String]) -> Result<Vec<Officer>, SealError> {
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = texts.iter().find(|text| !seen.insert(text.as_str())) {
        return Err(SealError::OfficerTwice(twice.clone()));
    }
    texts.iter().map(|text| Officer::parse(text)).collect()
}
