//! Proof that a keystore has the key that we have: the key is used there, and gives what it gives here.
//!
//! A device need not have every use, so one after the other is tried. Where it has none of them the key itself is fetched and compared. That it
//! says it has a key is no proof.

use std::sync::Arc;

use keygate_backends::local::{self, KeyKind, KeyMaterial, PairKind, PreparedKey};
use keygate_backends::{
    BlockPadding, Class, CryptoOp, CryptoOut, DecryptOp, EncryptOp, EncryptionScheme, Iv, Key, KeyRef, Keystore, KsError, MacScheme, OpCx,
    SignInput, SignatureScheme, resolve,
};
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm};

use super::intent::DEVICE_DEADLINE;

/// What keys are used on for comparison: one block.
const SAMPLE: &[u8; 16] = b"keygate rehoming";

/// Uses the key in its keystore and compares.
///
/// # Errors
/// `Corrupt`: it is another key. `Unsupported`: the keystore neither uses it nor hands it out. Else what the keystore says.
pub(super) async fn prove(key: &KeyMaterial, keystore: &Arc<dyn Keystore>, reference: &KeyRef) -> Result<(), KsError> {
    let there = Copy { key: &PreparedKey::new(key)?, keystore, reference };
    let used = match key.kind() {
        KeyKind::Symmetric(algorithm) => there.same_secret(algorithm).await,
        KeyKind::Private(PairKind::Rsa) => there.signs(key, SignatureScheme::RsaPkcs1(HashingAlgorithm::Sha256)).await,
        KeyKind::Private(PairKind::Ec(_)) => there.signs(key, SignatureScheme::Ecdsa(HashingAlgorithm::Sha256)).await,
        KeyKind::Private(PairKind::Ed25519) => there.signs(key, SignatureScheme::Ed25519).await,
        KeyKind::Private(PairKind::MlDsa(_)) => there.signs(key, SignatureScheme::MlDsa).await,
        KeyKind::Private(PairKind::MlKem(_)) => there.decapsulates().await,
        KeyKind::Private(PairKind::X25519) | KeyKind::Public(_) => Err(KsError::unsupported("no use to compare")),
    };
    let same = match used {
        Err(error) if error.class() == Class::Unsupported && keystore.descriptor().can.export => {
            let there = keystore.export(Key::Reference(reference), OpCx::within(DEVICE_DEADLINE)).await?;
            // Constant time: both are secret.
            aws_lc_rs::constant_time::verify_slices_are_equal(there.expose_canonical(), key.expose_canonical()).is_ok()
        }
        used => used?,
    };
    if same { Ok(()) } else { Err(KsError::new(Class::Corrupt, "the key in the device is another one")) }
}

/// A key, and its copy in a keystore.
struct Copy<'a> {
    key: &'a PreparedKey,
    keystore: &'a Arc<dyn Keystore>,
    reference: &'a KeyRef,
}

impl Copy<'_> {
    async fn same_secret(&self, algorithm: CryptographicAlgorithm) -> Result<bool, KsError> {
        if let Some(hash) = resolve::hmac_hash(algorithm) {
            return self.same_mac(MacScheme::Hmac(hash)).await;
        }
        let ciphers = [
            EncryptionScheme::Ecb(BlockPadding::None),
            EncryptionScheme::Cbc(BlockPadding::None),
            EncryptionScheme::Gcm { tag_len: 16 },
            EncryptionScheme::ChaCha20Poly1305 { tag_len: 16 },
        ];
        for scheme in ciphers {
            let decrypted = self.decrypts(&scheme).await;
            if !is_unsupported(&decrypted) {
                return decrypted;
            }
        }
        self.same_mac(MacScheme::Cmac).await
    }

    /// Encrypts here; the keystore decrypts.
    async fn decrypts(&self, scheme: &EncryptionScheme) -> Result<bool, KsError> {
        // Vectors are drawn: none that a client has used with this key comes again.
        let iv = if matches!(scheme, EncryptionScheme::Ecb(_)) { Iv::Given(&[]) } else { Iv::Random { len: None } };
        let here = match local::encrypt(self.key, &EncryptOp { scheme, iv, aad: &[], data: SAMPLE, legacy: true }) {
            // The scheme is none for this algorithm.
            Err(error) if matches!(error.class(), Class::BadInput(_)) => return Err(KsError::unsupported("no use to compare")),
            here => here?,
        };
        let iv = here.iv.as_deref().unwrap_or_default();
        let op = DecryptOp { scheme, iv, aad: &[], data: &here.data, tag: here.tag.as_deref() };
        match self.used(CryptoOp::Decrypt(op)).await {
            Ok(CryptoOut::Decrypted(there)) => Ok(there.expose() == SAMPLE),
            Ok(_) => Ok(false),
            // The tag does not fit: another key.
            Err(error) if matches!(error.class(), Class::BadInput(_)) && scheme.is_aead() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn same_mac(&self, scheme: MacScheme) -> Result<bool, KsError> {
        let here = match local::mac(self.key, scheme, &[], SAMPLE) {
            Err(error) if matches!(error.class(), Class::BadInput(_)) => return Err(KsError::unsupported("no use to compare")),
            here => here?,
        };
        match self.used(CryptoOp::Mac { scheme, iv: &[], data: SAMPLE }).await? {
            CryptoOut::Mac(there) => Ok(there == here),
            _ => Ok(false),
        }
    }

    async fn signs(&self, key: &KeyMaterial, scheme: SignatureScheme) -> Result<bool, KsError> {
        let input = SignInput::Message(SAMPLE);
        match self.used(CryptoOp::Sign(scheme, input)).await? {
            CryptoOut::Signature(signature) => local::verify(&PreparedKey::new(&key.public_half()?)?, scheme, input, &signature),
            _ => Ok(false),
        }
    }

    async fn decapsulates(&self) -> Result<bool, KsError> {
        let sent = local::encapsulate(self.key)?;
        match self.used(CryptoOp::Decapsulate(&sent.ciphertext)).await? {
            CryptoOut::Decapsulated(secret) => Ok(secret == sent.secret),
            _ => Ok(false),
        }
    }

    async fn used(&self, op: CryptoOp<'_>) -> Result<CryptoOut, KsError> {
        self.keystore.crypto(Key::Reference(self.reference), op, OpCx::within(DEVICE_DEADLINE)).await
    }
}

fn is_unsupported(outcome: &Result<bool, KsError>) -> bool {
    outcome.as_ref().is_err_and(|error| error.class() == Class::Unsupported)
}
