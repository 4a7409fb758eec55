//! The secret of a provisioning key: shown once, presented by every client that enrols.
//!
//! One pair of public id and secret serves every protocol (user and password, bearer token, challenge, MAC key). Stored:
//! the secret sealed by the gateway, and a hash by which it is checked without unsealing.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{error::PkiError, issue::SerialSource};

const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 8;

/// The public id of a provisioning key: 16 hexadecimal digits, lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_BYTES]);

/// The secret of a provisioning key: 32 random octets. No `Display`, wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ProvisioningSecret(Box<[u8; SECRET_BYTES]>);

/// An id and secret as a client presented them: well formed, not yet checked.
pub struct PresentedSecret {
    id: KeyId,
    secret: ProvisioningSecret,
}

/// What is stored to check a secret. The secret has 256 random bits: a plain hash cannot be searched.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

/// A text that is no id or secret. Says nothing of its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not 16 hexadecimal digits.
    #[error("not the id of a provisioning key")]
    Id,
    /// Not 43 characters of base64url.
    #[error("not the secret of a provisioning key")]
    Secret,
    /// Not `id.secret`.
    #[error("not of the form id.secret")]
    Pair,
}

impl KeyId {
    /// Draws an id. Unique with overwhelming likelihood; the store's index makes sure.
    pub fn generate(random: &mut impl SerialSource) -> Result<Self, PkiError> {
        let mut octets = [0; ID_BYTES];
        random.fill(&mut octets)?;
        Ok(Self(octets))
    }
}

impl FromStr for KeyId {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let mut octets = [0; ID_BYTES];
        hex::decode_to_slice(text, &mut octets).map_err(|_| SecretError::Id)?;
        Ok(Self(octets))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl ProvisioningSecret {
    /// Draws a secret.
    pub fn generate(random: &mut impl SerialSource) -> Result<Self, PkiError> {
        let mut secret = Self(Box::new([0; SECRET_BYTES]));
        random.fill(secret.0.as_mut_slice())?;
        Ok(secret)
    }

    /// A secret that was stored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        let mut secret = Self(Box::new([0; SECRET_BYTES]));
        if bytes.len() != SECRET_BYTES {
            return Err(SecretError::Secret);
        }
        secret.0.copy_from_slice(bytes);
        Ok(secret)
    }

    fn from_text(text: &[u8]) -> Result<Self, SecretError> {
        // 43 characters decode to 32 octets; the decoder wants room for 33.
        let mut decoded = Zeroizing::new([0; SECRET_BYTES + 1]);
        let length = URL_SAFE_NO_PAD.decode_slice(text, decoded.as_mut_slice()).map_err(|_| SecretError::Secret)?;
        Self::from_bytes(decoded.get(..length).unwrap_or_default())
    }

    /// The octets: to be sealed, or used as a MAC key.
    pub fn expose_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The text without the id, for protocols that carry the id as a user name.
    pub fn expose_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// The text `id.secret`, to be shown once.
    pub fn expose_pair(&self, id: KeyId) -> Zeroizing<String> {
        Zeroizing::new(format!("{id}.{}", self.expose_text().as_str()))
    }

    /// The hash to be stored beside the id.
    pub fn hash(&self, id: KeyId) -> SecretHash {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(HASH_LABEL);
        context.update(&id.0);
        context.update(self.0.as_slice());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        SecretHash(hash)
    }
}

impl fmt::Debug for ProvisioningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProvisioningSecret")
    }
}

impl PresentedSecret {
    /// Reads `id.secret`.
    pub fn from_pair(text: &str) -> Result<Self, SecretError> {
        let (id, secret) = text.split_once('.').ok_or(SecretError::Pair)?;
        Self::from_parts(id, secret)
    }

    /// Reads the id as user name, and as password the secret or the whole `id.secret`.
    pub fn from_parts(id: &str, secret: &str) -> Result<Self, SecretError> {
        let secret = secret.strip_prefix(id).and_then(|rest| rest.strip_prefix('.')).unwrap_or(secret);
        Ok(Self { id: id.parse()?, secret: ProvisioningSecret::from_text(secret.as_bytes())? })
    }

    /// Which key it is said to be for.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether it is the secret of `stored`. Takes the same time whatever the answer; for an id that does not exist, ask
    /// with [`SecretHash::ABSENT`], so that this takes the same time too.
    pub fn is(&self, stored: &SecretHash) -> bool {
        self.secret.hash(self.id).0.ct_eq(&stored.0).into()
    }
}

impl fmt::Debug for PresentedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedSecret({})", self.id)
    }
}

impl SecretHash {
    /// A value that nobody knows a secret for.
    pub const ABSENT: Self = Self([0; 32]);

    /// The octets, to be stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

const HASH_LABEL: &[u8] = b"keygate provisioning secret 1\0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::issue::SystemSerials;

    fn pair() -> (KeyId, ProvisioningSecret) {
        let draw = || {
            Ok::<_, PkiError>((KeyId::generate(&mut SystemSerials)?, ProvisioningSecret::generate(&mut SystemSerials)?))
        };
        draw().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_text_form_is_read_back_and_checked() {
        let (id, secret) = pair();
        let (hash, text) = (secret.hash(id), secret.expose_pair(id));
        assert_eq!(text.len(), 16 + 1 + 43);
        let read = |text: &str| PresentedSecret::from_pair(text).unwrap_or_else(|error| panic!("{error}"));
        assert!(read(&text).is(&hash));
        let user = id.to_string();
        for password in [secret.expose_text(), text.clone()] {
            assert!(PresentedSecret::from_parts(&user, &password).is_ok_and(|presented| presented.is(&hash)));
        }
        let (other_id, other) = pair();
        assert!(!read(&other.expose_pair(id)).is(&hash));
        assert!(!read(&secret.expose_pair(other_id)).is(&hash));
        assert!(!read(&text).is(&SecretHash::ABSENT));
        assert!(!format!("{secret:?}{:?}", read(&text)).contains(secret.expose_text().as_str()));
        let stored = ProvisioningSecret::from_bytes(secret.expose_bytes()).map(|stored| stored.hash(id));
        assert_eq!(stored.ok().map(|hash| *hash.as_bytes()), Some(*hash.as_bytes()));
    }

    #[test]
    fn wrong_and_truncated_texts_are_refused() {
        let (id, secret) = pair();
        let text = secret.expose_pair(id);
        for end in 0..text.len() {
            assert!(PresentedSecret::from_pair(&text[..end]).is_err(), "{end}");
        }
        for bad in [
            format!("{}A", text.as_str()),
            text.replace('.', ""),
            format!("x{}", text.as_str()),
            text.replace('.', ":"),
        ] {
            assert!(PresentedSecret::from_pair(&bad).is_err());
        }
        assert!(ProvisioningSecret::from_bytes(&[0; 31]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}", user in "\\PC{0,20}") {
            let _ = (PresentedSecret::from_pair(&text), PresentedSecret::from_parts(&user, &text));
        }

        /// No other text of the same length is accepted: base64 with stray bits at its end is refused.
        #[test]
        fn one_changed_character_is_another_secret(place in 0usize..60, letter in "[0-9a-zA-Z_-]") {
            let (id, secret) = pair();
            let hash = secret.hash(id);
            let mut text = secret.expose_pair(id).to_string();
            prop_assume!(place != 16 && !text[place..=place].eq_ignore_ascii_case(&letter));
            text.replace_range(place..=place, &letter);
            prop_assert!(!PresentedSecret::from_pair(&text).is_ok_and(|presented| presented.is(&hash)));
        }
    }
}
