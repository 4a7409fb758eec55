//! Bytes that are wiped when dropped and that nothing prints; text that stays, in secret pages.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::SecretPage;

/// Secret bytes: wiped on drop, compared in constant time, without `Debug`, `Display` or `Serialize`.
///
/// The buffer never grows, so no copy is left behind by a reallocation.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Box<[u8]>>);

impl SecretBytes {
    /// `len` bytes, zero at first, filled by `fill`.
    pub fn fill_with(len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = Zeroizing::new(vec![0; len].into_boxed_slice());
        fill(&mut bytes);
        Self(bytes)
    }

    /// Copies `bytes`; the caller wipes its own copy.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self::fill_with(bytes.len(), |out| out.copy_from_slice(bytes))
    }

    /// The bytes themselves: name the reason where you call this.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self::copy_from(&bytes)
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

/// Text that stays in memory while the server runs, such as an authority's private key: in secret pages, not in the heap.
///
/// `Serialize` is for the sealed record it is kept in, nothing else; there is no `Debug` and no `Display`.
#[derive(Clone)]
pub struct SecretText(Arc<Pages>);

struct Pages {
    pages: Vec<SecretPage>,
    len: usize,
}

impl SecretText {
    /// Copies `text` into pages of its own; the caller wipes its copy.
    ///
    /// # Errors
    /// The system has no page.
    pub fn new(text: &str) -> io::Result<Self> {
        let parts = text.as_bytes().chunks(SecretPage::LEN);
        let pages = parts.map(|part| SecretPage::new(|page| page[..part.len()].copy_from_slice(part)));
        Ok(Self(Arc::new(Pages { pages: pages.collect::<io::Result<_>>()?, len: text.len() })))
    }

    /// A copy for the moment it is used.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut octets = Zeroizing::new(Vec::with_capacity(self.0.pages.len() * SecretPage::LEN));
        self.0.pages.iter().for_each(|page| octets.extend_from_slice(page.expose()));
        octets.truncate(self.0.len);
        // Made from a `str`: it is one, and the buffer is taken over, not copied.
        Zeroizing::new(String::from_utf8(std::mem::take(&mut *octets)).unwrap_or_default())
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SecretText;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretText, E> {
                SecretText::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
