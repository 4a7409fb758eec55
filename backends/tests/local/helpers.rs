//! Short forms for tests.

use keygate_backends::local::{KeyMaterial, PreparedKey, decrypt, encrypt};
use keygate_backends::{DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Iv, Result, SecretBytes};
use keygate_kmip::CryptographicAlgorithm;

pub(crate) fn h(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

pub(crate) fn key(algorithm: CryptographicAlgorithm, hex: &str) -> PreparedKey {
    PreparedKey::new(&KeyMaterial::symmetric(algorithm, SecretBytes::new(h(hex))).unwrap()).unwrap()
}

pub(crate) fn aes(hex: &str) -> PreparedKey {
    key(CryptographicAlgorithm::Aes, hex)
}

pub(crate) fn seal(
    key: &PreparedKey,
    scheme: &EncryptionScheme,
    iv: &[u8],
    aad: &[u8],
    data: &[u8],
) -> Result<Encrypted> {
    encrypt(key, &EncryptOp { scheme, iv: Iv::Given(iv), aad, data, legacy: true })
}

pub(crate) fn open(
    key: &PreparedKey,
    scheme: &EncryptionScheme,
    iv: &[u8],
    aad: &[u8],
    sealed: &Encrypted,
) -> Result<SecretBytes> {
    decrypt(key, &DecryptOp { scheme, iv, aad, data: &sealed.data, tag: sealed.tag.as_deref() })
}
