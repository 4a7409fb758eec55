//! Whether a secret key that was taken in is the one that was given.

use super::keystore::{Pkcs11Keystore, mismatch};
use super::message::{KeyName, Request};
use crate::error::{Class, KsError, Result};
use crate::key::{Held, KeyCheck, KeyClass, KeyId};
use crate::keystore::OpCx;
use crate::local::{self, KeyKind, KeyMaterial, PreparedKey};
use crate::operation::{BlockPadding, CryptoOut, EncryptOp, EncryptionScheme, Iv, MacScheme};
use crate::remote::check_of;

/// Octets of a block of AES.
const BLOCK: usize = 16;

impl Pkcs11Keystore {
    /// Uses a secret key that was taken in, and compares with the value that is held here: a token that cut or padded it would
    /// encrypt what nobody else can decrypt.
    pub(super) async fn prove_secret(&self, held: &Held, material: &KeyMaterial, cx: OpCx) -> Result<()> {
        let Held::Reference(key) = held else { return Err(mismatch()) };
        let proof = match (check_of(material)?, key.check) {
            (KeyCheck::None, _) => self.compare_macs(key.id, material, cx).await,
            (expected, told @ KeyCheck::Kcv(_)) => same(expected == told),
            // The token tells no CKA_CHECK_VALUE: it is what the mechanism computes.
            (KeyCheck::Kcv(expected), _) => {
                self.zero_block(key.id, cx).await.and_then(|block| same(block.starts_with(&expected)))
            }
            (KeyCheck::Public(_), _) => Err(mismatch()),
        };
        self.keep(key.id, proof, cx).await
    }

    async fn compare_macs(&self, id: KeyId, material: &KeyMaterial, cx: OpCx) -> Result<()> {
        let hash = match material.kind() {
            KeyKind::Symmetric(algorithm) => crate::resolve::hmac_hash(algorithm).ok_or_else(mismatch)?,
            _ => return Err(mismatch()),
        };
        let scheme = MacScheme::Hmac(hash);
        let expected = local::mac(&PreparedKey::new(material)?, scheme, b"", &id.0)?;
        match self.mac(KeyName { id, class: KeyClass::Secret }, scheme, &id.0, cx).await? {
            CryptoOut::Mac(mac) => same(mac == expected),
            _ => Err(mismatch()),
        }
    }

    async fn zero_block(&self, id: KeyId, cx: OpCx) -> Result<Vec<u8>> {
        let scheme = EncryptionScheme::Ecb(BlockPadding::None);
        let zero = EncryptOp { scheme: &scheme, iv: Iv::Given(b""), aad: b"", data: &[0; BLOCK], legacy: false };
        match self.encrypt(KeyName { id, class: KeyClass::Secret }, zero, cx).await? {
            CryptoOut::Encrypted(encrypted) => Ok(encrypted.data),
            _ => Err(mismatch()),
        }
    }

    /// Keeps a key that was proven; one that was not is destroyed.
    pub(super) async fn keep(&self, id: KeyId, proof: Result<()>, cx: OpCx) -> Result<()> {
        let error = match proof {
            // A token that cannot use the key so is not asked to.
            Err(e) if e.class() != Class::Unsupported => e,
            _ => return Ok(()),
        };
        match self.token.call(Request::Destroy { id }, cx).await {
            Ok(_) => Err(error),
            Err(_) => Err(error.into_class(Class::OutcomeUnknown)),
        }
    }
}

fn same(is_same: bool) -> Result<()> {
    if is_same { Ok(()) } else { Err(KsError::new(Class::Corrupt, "the token took in another key than it was given")) }
}
