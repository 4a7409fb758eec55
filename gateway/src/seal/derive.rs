//! Subkeys: HKDF (RFC 5869) and the HMAC keys of index, audit, set, state and anchor.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use uuid::Uuid;

use super::SecretBytes;

pub(super) struct Length(pub(super) usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// RFC 5869 section 2: extract with `salt`, expand with `info`, 32 bytes.
pub(super) fn hkdf(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> SecretBytes {
    let prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    SecretBytes::fill_with(32, |out| {
        // 32 bytes are below the limit of 255 blocks, the only failure HKDF has.
        #[expect(clippy::expect_used, reason = "a fixed, legal length")]
        prk.expand(info, Length(32)).and_then(|okm| okm.fill(out)).expect("32 bytes are a legal HKDF output");
    })
}

/// An HMAC-SHA-256 key (FIPS 198-1) for one purpose.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// Derives the key of `purpose` from `secret`.
    pub(super) fn derive(secret: &[u8], purpose: &str) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, hkdf(secret, b"keygate", &[purpose.as_bytes()]).expose()))
    }

    /// The MAC of the parts in order. Callers make the parts unambiguous: fixed lengths, or a length in front.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// Whether `mac` is the MAC of the parts, in constant time.
    pub fn verify(&self, parts: &[&[u8]], mac: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.mac(parts), mac).is_ok()
    }
}

/// Equality token of one indexed attribute value: says "equal" and nothing else to whoever reads the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexToken(pub [u8; 16]);

/// Token of a Name within its owner's names; unique in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameToken(pub [u8; 16]);

/// Makes index and name tokens: HMAC-SHA-256 truncated to 16 bytes.
#[derive(Clone)]
pub struct IndexKey(pub(super) MacKey);

impl IndexKey {
    /// Token of `attribute` = `value` (canonical bytes) in `organisation`.
    pub fn token(&self, organisation: &Uuid, attribute: &str, value: &[u8]) -> IndexToken {
        IndexToken(self.truncated(b"attribute", organisation.as_bytes(), attribute.as_bytes(), value))
    }

    /// Token of the Name `value` among the names of `owner`.
    pub fn name(&self, organisation: &Uuid, owner: &Uuid, value: &[u8]) -> NameToken {
        NameToken(self.truncated(b"name", organisation.as_bytes(), owner.as_bytes(), value))
    }

    fn truncated(&self, kind: &[u8], scope: &[u8], field: &[u8], value: &[u8]) -> [u8; 16] {
        let lengths = [kind.len() as u64, field.len() as u64].map(u64::to_be_bytes).concat();
        let mac = self.0.mac(&[&lengths, kind, scope, field, value]);
        let mut token = [0; 16];
        token.copy_from_slice(&mac[..16]);
        token
    }
}
