//! What proves that a key in a server is the one that was made, worked out from a value that is known here.

use crate::error::{Class, KsError, Result};
use crate::key::KeyCheck;
use crate::local::{self, KeyKind, KeyMaterial};
use crate::operation::{BlockPadding, EncryptOp, EncryptionScheme, Iv};
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm};

/// What proves a key whose value is known here.
pub(crate) fn check_of(key: &KeyMaterial) -> Result<KeyCheck> {
    match key.kind() {
        KeyKind::Symmetric(CryptographicAlgorithm::Aes) if key.expose_canonical().len() <= 32 => {
            let zero = EncryptOp {
                scheme: &EncryptionScheme::Ecb(BlockPadding::None),
                iv: Iv::Given(b""),
                aad: b"",
                data: &[0; 16],
                legacy: false,
            };
            let block = local::encrypt(&local::PreparedKey::new(key)?, &zero)?.data;
            match block.as_slice() {
                [a, b, c, ..] => Ok(KeyCheck::Kcv([*a, *b, *c])),
                _ => Ok(KeyCheck::None),
            }
        }
        KeyKind::Symmetric(_) => Ok(KeyCheck::None),
        KeyKind::Private(_) | KeyKind::Public(_) => {
            let digest = local::hash(HashingAlgorithm::Sha256, key.public_half()?.expose_canonical())?;
            let digest = digest.try_into().map_err(|_| KsError::new(Class::Corrupt, "SHA-256 is not of 32 octets"))?;
            Ok(KeyCheck::Public(digest))
        }
    }
}
