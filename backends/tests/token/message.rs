//! AES-GCM under keys that are used again and again, in a token with message functions.

use crate::soft::{cx, kryoptic};
use keygate_backends::pkcs11::{Pkcs11Keystore, TokenConfig};
use keygate_backends::{
    Class, CryptoOp, CryptoOut, DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Fault, Held, Iv, Key, KeyId,
    KeyRef, Keystore, KeystoreId, KsError, SecretBytes, local,
};
use keygate_kmip::CryptographicAlgorithm;
use std::collections::HashSet;

async fn encrypt(keystore: &Pkcs11Keystore, key: &KeyRef, op: EncryptOp<'_>) -> Result<Encrypted, KsError> {
    match keystore.crypto(Key::Reference(key), CryptoOp::Encrypt(op), cx()).await? {
        CryptoOut::Encrypted(sealed) => Ok(sealed),
        _ => panic!("a cipher text"),
    }
}

/// Every use of a key answers what software answers, the first as the tenth, with tags and texts of all lengths; a wrong tag is
/// refused and spoils nothing; and from the moment that Destroy is answered no worker encrypts any more.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_use_is_as_the_first() {
    let Some((soft, _turn)) = kryoptic() else { return };
    soft.make("messages");
    let token = soft.open_soon(TokenConfig { workers: 3, ..soft.config("messages") });
    let keystore = Pkcs11Keystore::new(KeystoreId::new("hsm").unwrap(), token);
    for round in 0..3u8 {
        let id = KeyId::random().unwrap();
        let known = local::KeyMaterial::symmetric(CryptographicAlgorithm::Aes, SecretBytes::new(vec![round; 32])).unwrap();
        let software = local::PreparedKey::new(&known).unwrap();
        let Held::Reference(key) = keystore.import(id, &known, cx()).await.unwrap() else { panic!("in the token") };
        for (number, len) in [0, 1, 15, 16, 17, 1000, 70_000, 3].into_iter().enumerate() {
            let (scheme, data) = (EncryptionScheme::Gcm { tag_len: [4, 12, 16][number % 3] }, vec![0x61; len]);
            let (iv, aad) = (vec![7; [12, 8, 16][number % 3]], vec![0x62; number]);
            let op = EncryptOp { scheme: &scheme, iv: Iv::Given(&iv), aad: &aad, data: &data, legacy: false };
            let sealed = encrypt(&keystore, &key, op).await.unwrap();
            assert_eq!(sealed, local::encrypt(&software, &op).unwrap(), "{len} octets");
            let tag = sealed.tag.as_deref();
            let op = DecryptOp { scheme: &scheme, iv: &iv, aad: &aad, data: &sealed.data, tag };
            for wrong in [false, true, false] {
                let op = DecryptOp { aad: if wrong { b"something else" } else { op.aad }, ..op };
                match keystore.crypto(Key::Reference(&key), CryptoOp::Decrypt(op), cx()).await {
                    Ok(CryptoOut::Decrypted(plain)) => assert!(!wrong && plain.expose() == data),
                    Ok(_) => panic!("a plain text"),
                    Err(error) => {
                        assert_eq!((wrong, error.class()), (true, Class::BadInput(Fault::Integrity)), "{error}");
                    }
                }
            }
        }
        // Nonces are drawn outside the token, and no two are the same.
        let mut nonces = HashSet::new();
        for _ in 0..50 {
            let scheme = EncryptionScheme::Gcm { tag_len: 16 };
            let op =
                EncryptOp { scheme: &scheme, iv: Iv::Random { len: None }, aad: b"", data: b"text", legacy: false };
            assert!(nonces.insert(encrypt(&keystore, &key, op).await.unwrap().iv));
        }
        keystore.destroy(id, cx()).await.unwrap();
        for _ in 0..10 {
            let scheme = EncryptionScheme::Gcm { tag_len: 16 };
            let op =
                EncryptOp { scheme: &scheme, iv: Iv::Random { len: None }, aad: b"", data: b"text", legacy: false };
            let error = encrypt(&keystore, &key, op).await.unwrap_err();
            assert_eq!(error.class(), Class::NotFound, "{error}");
        }
    }
}
