//! The `local` keystore: Envelope custody behind the common seam.
//!
//! It keeps nothing: what it makes goes back as material, which the caller seals and stores. So it finds, lists and
//! destroys nothing.

use super::{KeyMaterial, PreparedKey};
use crate::error::{Class, KsError, Result};
use crate::key::{Held, HeldPair, Key, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
use crate::keystore::{BoxFuture, Capabilities, Custody, Descriptor, Health, KeyInfo, Keystore, OpCx};
use crate::operation::{CryptoOp, CryptoOut};
use crate::secret::SecretBytes;

/// Software cryptography in this process.
pub struct LocalKeystore {
    id: KeystoreId,
}

impl LocalKeystore {
    /// The keystore under its configured name.
    pub fn new(id: KeystoreId) -> Self {
        Self { id }
    }

    fn material<'a>(&self, key: Key<'a>) -> Result<&'a PreparedKey> {
        match key {
            Key::Material(key) => Ok(key),
            Key::Reference(key) => Err(KsError::not_found(format!("keystore {} holds no key {}", self.id, key.id))),
        }
    }
}

/// Uses a key whose material is here.
pub(crate) fn apply(key: &PreparedKey, op: CryptoOp<'_>) -> Result<CryptoOut> {
    match op {
        CryptoOp::Encrypt(op) => super::encrypt(key, &op).map(CryptoOut::Encrypted),
        CryptoOp::Decrypt(op) => super::decrypt(key, &op).map(CryptoOut::Decrypted),
        CryptoOp::Sign(scheme, input) => super::sign(key, scheme, input).map(CryptoOut::Signature),
        CryptoOp::Verify(scheme, input, signature) => {
            super::verify(key, scheme, input, signature).map(CryptoOut::Valid)
        }
        CryptoOp::Mac { scheme, iv, data } => super::mac(key, scheme, iv, data).map(CryptoOut::Mac),
        CryptoOp::Encapsulate => super::encapsulate(key).map(CryptoOut::Encapsulated),
        CryptoOp::Decapsulate(ciphertext) => super::decapsulate(key, ciphertext).map(CryptoOut::Decapsulated),
    }
}

impl Keystore for LocalKeystore {
    fn descriptor(&self) -> Descriptor {
        Descriptor { id: self.id.clone(), kind: "local", custody: Custody::Envelope, can: ALL, device: String::new() }
    }

    fn probe(&self, _cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(async { Ok(self.descriptor()) })
    }

    fn generate<'a>(&'a self, _id: KeyId, spec: &'a KeySpec, _cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(async { super::generate(spec).map(Held::Material) })
    }

    fn generate_pair<'a>(&'a self, _id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        let spec = *spec;
        Box::pin(async move {
            let (private, public) = match spec {
                PairSpec::Rsa { .. } => off_the_runtime(move || super::generate_pair(&spec), cx).await?,
                _ => super::generate_pair(&spec)?,
            };
            Ok(HeldPair { private: Held::Material(private), public })
        })
    }

    fn import<'a>(&'a self, _id: KeyId, material: &'a KeyMaterial, _cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(async { Ok(Held::Material(material.clone())) })
    }

    fn export<'a>(&'a self, key: Key<'a>, _cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(async move { self.material(key)?.to_material() })
    }

    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, _cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        Box::pin(async move { apply(self.material(key)?, op) })
    }

    fn random(&self, len: usize, _cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        Box::pin(async move { super::random(len) })
    }

    fn info<'a>(&'a self, key: &'a KeyRef, _cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        Box::pin(async move { Err(KsError::not_found(format!("keystore {} holds no key {}", self.id, key.id))) })
    }

    fn destroy<'a>(&'a self, id: KeyId, _cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { Err(KsError::not_found(format!("keystore {} holds no key {id}", self.id))) })
    }

    fn list(&self, _cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn health(&self) -> Health {
        Health::Up
    }
}

/// Runs something long on a blocking thread. Material of a run that came too late is dropped, and so wiped.
async fn off_the_runtime<T: Send + 'static>(run: impl FnOnce() -> Result<T> + Send + 'static, cx: OpCx) -> Result<T> {
    match tokio::time::timeout(cx.remaining(), tokio::task::spawn_blocking(run)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(KsError::new(Class::RetrySame, "key generation was interrupted")),
        Err(_) => Err(KsError::new(Class::Busy, "key generation did not finish before the deadline")),
    }
}

const ALL: Capabilities = Capabilities {
    generate_aes: true,
    generate_des3: true,
    generate_hmac: true,
    generate_chacha20: true,
    generate_rsa: true,
    generate_ec: true,
    generate_ed25519: true,
    generate_ml_dsa: true,
    generate_ml_kem: true,
    import: true,
    export: true,
    sign_ecdsa: true,
    sign_rsa_pkcs1: true,
    sign_rsa_pss: true,
    sign_ed25519: true,
    sign_ml_dsa: true,
    decapsulate_ml_kem: true,
    decrypt_rsa_pkcs1: true,
    decrypt_rsa_oaep: true,
    aes_ecb: true,
    aes_cbc: true,
    aes_ctr: true,
    aes_gcm: true,
    aes_key_wrap: true,
    hmac: true,
    cmac: true,
    random: true,
};
