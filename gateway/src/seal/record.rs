//! Sealed records: AES-256-GCM-SIV (RFC 8452) under a key-committing header, bound to one row of one store.
//!
//! ```text
//! "KGR1" | suite 1 | term 4 | nonce 12 | commitment 32 | ciphertext | tag 16
//! ```
//! GCM-SIV survives a repeated nonce, so random nonces have no practical limit; it does not commit to its key, so the header
//! carries HMAC(commitment key, header so far), compared in constant time before anything is decrypted.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::derive::hkdf;
use super::{MacKey, SecretBytes, Term};

const MAGIC: &[u8; 4] = b"KGR1";
const SUITE_AES_256_GCM_SIV: u8 = 1;
const NONCE_AT: usize = 9;
const COMMITMENT_AT: usize = 21;
const CIPHERTEXT_AT: usize = 53;
const TAG_LEN: usize = 16;

/// What a record is; part of its binding, so a record of one kind never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RecordKind {
    /// A managed object's material.
    Object = 1,
    /// A row of table `entry`: clients, grants, settings...
    Entry = 2,
    /// A keyring term under the root key.
    Term = 3,
    /// The root key in a seal slot.
    Root = 4,
    /// A file in the data directory, such as a server's private key.
    File = 5,
}

/// Where a record belongs: it opens nowhere else.
#[derive(Clone, Copy)]
pub struct Binding {
    /// What it is.
    pub kind: RecordKind,
    /// Whose it is: object id, entry id...
    pub id: [u8; 16],
    /// The row's version.
    pub version: u64,
    /// SHA-256 of the row's clear columns.
    pub digest: [u8; 32],
}

/// A sealed record as stored. Its bytes are public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord(Vec<u8>);

/// Why a record does not open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// Shorter than a header, or the magic bytes or suite are unknown.
    #[error("sealed record has no known header")]
    Malformed,
    /// The keyring has no such term.
    #[error("sealed record is under term {0}, which the keyring does not hold")]
    UnknownTerm(u32),
    /// Not made under this key, or edited, or moved to another row.
    #[error("sealed record does not belong to this row, or was altered")]
    NotAuthentic,
}

impl SealedRecord {
    /// Takes stored bytes; they are judged when the record is opened.
    pub fn from_stored(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The term it says it is sealed under.
    pub fn term(&self) -> Result<Term, RecordError> {
        let header = self.0.get(..CIPHERTEXT_AT).ok_or(RecordError::Malformed)?;
        if header[..4] != MAGIC[..] || header[4] != SUITE_AES_256_GCM_SIV {
            return Err(RecordError::Malformed);
        }
        Ok(Term(u32::from_be_bytes([header[5], header[6], header[7], header[8]])))
    }
}

/// The keys of one term: encryption and commitment, both derived from the term's secret.
pub(super) struct RecordKey {
    term: Term,
    store: Uuid,
    encryption: LessSafeKey,
    commitment: MacKey,
}

impl RecordKey {
    pub(super) fn derive(term: Term, store: Uuid, secret: &[u8]) -> Self {
        let encryption = hkdf(secret, store.as_bytes(), &[b"record encryption"]);
        // The key is exactly 32 bytes, the only thing this constructor checks.
        #[expect(clippy::expect_used, reason = "a fixed, legal length")]
        let encryption = UnboundKey::new(&AES_256_GCM_SIV, encryption.expose()).expect("a 32-byte AES-256 key");
        let commitment = MacKey::derive(secret, "record commitment");
        Self { term, store, encryption: LessSafeKey::new(encryption), commitment }
    }

    pub(super) fn seal(&self, binding: &Binding, plaintext: &[u8]) -> SealedRecord {
        let mut bytes = Vec::with_capacity(CIPHERTEXT_AT + plaintext.len() + TAG_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.push(SUITE_AES_256_GCM_SIV);
        bytes.extend_from_slice(&self.term.0.to_be_bytes());
        bytes.extend_from_slice(&random::<12>());
        let commitment = self.commitment.mac(&[&bytes]);
        bytes.extend_from_slice(&commitment);
        let nonce = nonce_of(&bytes);
        // The plaintext exists once more in this buffer and is encrypted in place there.
        bytes.extend_from_slice(plaintext);
        #[expect(
            clippy::expect_used,
            reason = "the only failure is a length of 2^36 bytes, far above every message limit"
        )]
        let tag = self
            .encryption
            .seal_in_place_separate_tag(nonce, Aad::from(self.aad(binding)), &mut bytes[CIPHERTEXT_AT..])
            .expect("a record is far shorter than 2^36 bytes");
        bytes.extend_from_slice(tag.as_ref());
        SealedRecord(bytes)
    }

    pub(super) fn open(&self, binding: &Binding, record: &SealedRecord) -> Result<SecretBytes, RecordError> {
        let bytes = &record.0;
        if record.term()? != self.term || bytes.len() < CIPHERTEXT_AT + TAG_LEN {
            return Err(RecordError::Malformed);
        }
        if !self.commitment.verify(&[&bytes[..COMMITMENT_AT]], &bytes[COMMITMENT_AT..CIPHERTEXT_AT]) {
            return Err(RecordError::NotAuthentic);
        }
        let (ciphertext, tag) = bytes[CIPHERTEXT_AT..].split_at(bytes.len() - CIPHERTEXT_AT - TAG_LEN);
        let mut opened = Ok(());
        let plaintext = SecretBytes::fill_with(ciphertext.len(), |out| {
            let aad = Aad::from(self.aad(binding));
            opened = self.encryption.open_separate_gather(nonce_of(bytes), aad, ciphertext, tag, out);
        });
        opened.map_err(|_| RecordError::NotAuthentic)?;
        Ok(plaintext)
    }

    fn aad(&self, binding: &Binding) -> [u8; 78] {
        let mut aad = [0; 78];
        aad[..16].copy_from_slice(self.store.as_bytes());
        aad[16] = SUITE_AES_256_GCM_SIV;
        aad[17..21].copy_from_slice(&self.term.0.to_be_bytes());
        aad[21] = binding.kind as u8;
        aad[22..38].copy_from_slice(&binding.id);
        aad[38..46].copy_from_slice(&binding.version.to_be_bytes());
        aad[46..].copy_from_slice(&binding.digest);
        aad
    }
}

/// `N` bytes of the system's random generator.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill_random(&mut out);
    out
}

/// A fresh 32-byte secret.
pub(super) fn random_secret() -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    fill_random(out.as_mut_slice());
    out
}

fn fill_random(out: &mut [u8]) {
    // The library's generator is seeded from the kernel at start; it aborts rather than returning weak bytes.
    #[expect(clippy::expect_used, reason = "no key server can go on without randomness")]
    aws_lc_rs::rand::fill(out).expect("the system's random generator works");
}

fn nonce_of(header: &[u8]) -> Nonce {
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&header[NONCE_AT..COMMITMENT_AT]);
    Nonce::assume_unique_for_key(nonce)
}

/// A secret page that starts with `secret`.
pub(super) fn fill_page(secret: &[u8]) -> std::io::Result<super::SecretPage> {
    super::SecretPage::new(|page| page[..secret.len()].copy_from_slice(secret))
}
