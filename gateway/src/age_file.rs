//! The age file format (age-encryption.org/v1): who a file is for, and what opens it.
//!
//! Leaves to others: what is in the file, where passphrases and identities come from. Recipients are X25519 and the
//! post-quantum hybrid; no plugins, no SSH keys.

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, Identity, IdentityFile, Recipient};
use serde::{Deserialize, Serialize};

use crate::admin::Password;

/// Most recipients of a file.
const RECIPIENTS_MAX: usize = 64;
/// log2 of the scrypt cost of new files: about a second, 256 MiB.
const SCRYPT_LOG_N: u8 = 18;
/// The highest that is computed to open a file: some 4 GiB of work would be more than anybody asks for.
const SCRYPT_LOG_N_MAX: u8 = 20;

/// Who a file is encrypted for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lock {
    /// Public keys, `age1...`.
    Recipients(Vec<String>),
    /// Whoever knows the passphrase.
    Passphrase(Password),
}

/// What opens a file.
pub enum Opener {
    /// Private keys.
    Identities(Vec<Box<dyn Identity + Send + Sync>>),
    /// A passphrase.
    Passphrase(SecretString),
}

/// Why a file is not written or does not open.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// Not a public key.
    #[error("\"{0}\" is no age recipient (age1...)")]
    Recipient(String),
    /// None, or too many.
    #[error("a file has 1 to {RECIPIENTS_MAX} recipients")]
    Count,
    /// They cannot be used together.
    #[error("these recipients cannot be used together: post-quantum ones are not mixed with others")]
    Mixed,
    /// No private key in the identity file.
    #[error("the identity file has no age identity (AGE-SECRET-KEY-...)")]
    Identity,
    /// Something else.
    #[error("this is not an age file, or its beginning was altered")]
    NotAge,
    /// It is for others.
    #[error("none of the given identities opens this file")]
    NotForUs,
    /// The passphrase.
    #[error("the passphrase does not open this file")]
    Passphrase,
    /// The wrong kind of opener.
    #[error("this file was encrypted {0}")]
    OtherKind(&'static str),
    /// A cost nobody asks for.
    #[error("the file asks for too much work to check its passphrase")]
    ExcessiveWork,
    /// Reading or writing failed.
    #[error("the file cannot be read")]
    Io(#[from] std::io::Error),
}

impl Lock {
    /// An encryptor. Blocks for about a second with a passphrase.
    ///
    /// # Errors
    /// A recipient that is none, none at all, too many.
    pub fn encryptor(&self) -> Result<Encryptor, AgeError> {
        match self {
            Self::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.0.as_str()));
                recipient.set_work_factor(SCRYPT_LOG_N);
                Encryptor::with_recipients(std::iter::once(&recipient as &dyn Recipient)).map_err(|_| AgeError::Count)
            }
            Self::Recipients(names) => {
                if names.is_empty() || names.len() > RECIPIENTS_MAX {
                    return Err(AgeError::Count);
                }
                let recipients = names.iter().map(|name| recipient(name)).collect::<Result<Vec<_>, _>>()?;
                Encryptor::with_recipients(recipients.iter().map(|recipient| &**recipient as &dyn Recipient))
                    .map_err(|_| AgeError::Mixed)
            }
        }
    }

    /// In words, for the audit record: public keys, or that there is a passphrase.
    pub fn label(&self) -> Vec<String> {
        match self {
            Self::Passphrase(_) => vec!["passphrase".to_owned()],
            Self::Recipients(names) => names.iter().map(|name| name.chars().take(120).collect()).collect(),
        }
    }
}

fn recipient(name: &str) -> Result<Box<dyn Recipient + Send>, AgeError> {
    let name = name.trim();
    if let Ok(recipient) = name.parse::<age::x25519::Recipient>() {
        return Ok(Box::new(recipient));
    }
    if let Ok(recipient) = name.parse::<age::tagpq::Recipient>() {
        return Ok(Box::new(recipient));
    }
    Err(AgeError::Recipient(name.chars().take(80).collect()))
}

impl Opener {
    /// The identities of a file's text, as `age-keygen` writes it.
    ///
    /// # Errors
    /// Text without any.
    pub fn from_identities(text: &str) -> Result<Self, AgeError> {
        let file = IdentityFile::from_buffer(text.as_bytes()).map_err(|_| AgeError::Identity)?;
        let identities = file.into_identities().map_err(|_| AgeError::Identity)?;
        if identities.is_empty() { Err(AgeError::Identity) } else { Ok(Self::Identities(identities)) }
    }

    /// The clear content of a file. Its end is checked by who reads to the end. Blocks with a passphrase.
    ///
    /// # Errors
    /// What is wrong with the file or the opener.
    pub fn open<'a, R: std::io::Read + 'a>(&self, input: R) -> Result<impl std::io::Read + use<'a, R>, AgeError> {
        let decryptor = Decryptor::new(input).map_err(refused)?;
        match self {
            Self::Passphrase(_) if !decryptor.is_scrypt() => {
                Err(AgeError::OtherKind("for recipients: give an identity"))
            }
            Self::Identities(_) if decryptor.is_scrypt() => Err(AgeError::OtherKind("with a passphrase: give it")),
            Self::Passphrase(passphrase) => {
                let mut identity = age::scrypt::Identity::new(passphrase.clone());
                identity.set_max_work_factor(SCRYPT_LOG_N_MAX);
                decryptor.decrypt(std::iter::once(&identity as &dyn Identity)).map_err(|error| match refused(error) {
                    AgeError::NotForUs => AgeError::Passphrase,
                    other => other,
                })
            }
            Self::Identities(identities) => {
                decryptor.decrypt(identities.iter().map(|identity| &**identity as &dyn Identity)).map_err(refused)
            }
        }
    }
}

fn refused(error: DecryptError) -> AgeError {
    match error {
        DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            AgeError::NotForUs
        }
        DecryptError::ExcessiveWork { .. } => AgeError::ExcessiveWork,
        DecryptError::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => AgeError::Io(error),
        _ => AgeError::NotAge,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn encrypted(lock: &Lock) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = lock.encryptor().expect("an encryptor").wrap_output(&mut file).expect("a header");
        writer.write_all(b"content").expect("written");
        writer.finish().expect("an end");
        file
    }

    /// A file opens with its identity and with no other, and not with a passphrase.
    #[test]
    fn files_open_for_their_recipients_only() {
        let (ours, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let file = encrypted(&Lock::Recipients(vec![ours.to_public().to_string()]));
        let opener = |identity: age::x25519::Identity| Opener::Identities(vec![Box::new(identity)]);
        let mut content = String::new();
        opener(ours).open(&file[..]).expect("opens").read_to_string(&mut content).expect("content");
        assert_eq!(content, "content");
        assert!(matches!(opener(other).open(&file[..]).err(), Some(AgeError::NotForUs)));
        assert!(matches!(Opener::Passphrase("x".into()).open(&file[..]).err(), Some(AgeError::OtherKind(_))));
        assert!(matches!(Opener::Passphrase("x".into()).open(&b"PK\x03\x04"[..]).err(), Some(AgeError::NotAge)));
    }

    /// What is no public key is refused by its name; so are too many.
    #[test]
    fn recipients_are_checked() {
        let refused = Lock::Recipients(vec!["age1nonsense".into()]).encryptor().err();
        assert!(matches!(refused, Some(AgeError::Recipient(name)) if name == "age1nonsense"));
        assert!(matches!(Lock::Recipients(Vec::new()).encryptor().err(), Some(AgeError::Count)));
    }
}
