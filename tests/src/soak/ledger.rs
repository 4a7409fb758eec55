//! What clients were told, kept on their side.

/// A key that was acknowledged.
#[derive(Debug)]
pub(super) struct Key {
    /// Index of its keystore in `PLACES`; it may be moved meanwhile.
    pub(super) place: usize,
    /// Its name, unique in the soak.
    pub(super) name: String,
    /// Its Unique Identifier, of a pair the private key's.
    pub(super) id: String,
    pub(super) what: What,
    pub(super) life: Life,
}

/// What proves a key.
#[derive(Debug)]
pub(super) enum What {
    /// AES-256: its value where that is known, and what it made of [`PROBE`].
    Cipher { value: Option<[u8; 32]>, probe: Option<Vec<u8>> },
    /// P-256: its public point and the public key's identifier.
    Pair { point: Vec<u8>, public: String },
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Live,
    /// Revoked, or perhaps revoked. It is there, and its use may be refused.
    Retiring,
    /// Its destruction was asked for and not acknowledged.
    MaybeGone,
    Gone,
}

/// A key that was asked for and not acknowledged.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) place: usize,
    pub(super) name: String,
    /// The value that was to be registered.
    pub(super) value: Option<[u8; 32]>,
    /// The server refused it: then there is none. Without an answer there may be one.
    pub(super) refused: Option<String>,
}

/// A key of a REST user: name, and its material where it was handed out.
#[derive(Debug)]
pub(super) struct RestKey {
    pub(super) name: String,
    pub(super) material: Option<String>,
    pub(super) life: Life,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) keys: Vec<Key>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) rest: Vec<RestKey>,
    /// Certificates that enrollers hold, DER.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Ledger {
    pub(super) fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.attempts.extend(other.attempts);
        self.rest.extend(other.rest);
        self.certificates.extend(other.certificates);
    }
}

/// What every AES key encrypts, always with the same initialization vector.
pub(super) const PROBE: &[u8] = b"what every key of the soak encrypts, to tell it by";
/// That vector.
pub(super) const IV: [u8; 16] = [7; 16];
/// How the value of every registered key begins: one search finds any of them.
pub(super) const KNOWN: &[u8; 16] = b"soak-known-value";

/// PROBE under AES-256-CBC with PKCS#7 padding, by a program that is not under test.
pub(super) fn encrypted(value: &[u8; 32], data: &[u8]) -> Option<Vec<u8>> {
    use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, value).ok()?).ok()?;
    let mut text = data.to_vec();
    key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(IV.into())).ok()?;
    Some(text)
}
