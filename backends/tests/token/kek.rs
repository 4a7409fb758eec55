//! The wrapping key of a seal.

use crate::soft::{cx, soft};
use keygate_backends::pkcs11::Pkcs11Kek;
use keygate_backends::{Class, Fault, KekProvider, KeyId, SecretBytes};

#[test]
fn wraps_and_binds() {
    let Some((soft, _turn)) = soft() else { return };
    let token = soft.token("seal");
    let kek = Pkcs11Kek::create(&token, KeyId::random().unwrap(), cx()).unwrap();
    let root = SecretBytes::new(vec![0x11; 32]);
    let wrapped = kek.wrap_blocking(&root, b"store 1|slot 2", cx()).unwrap();
    assert!(!wrapped.windows(8).any(|part| part == [0x11; 8]));
    // Another handle on the same key, as after a restart.
    let again = Pkcs11Kek::existing(&token, kek.id());
    assert_eq!(again.unwrap_blocking(&wrapped, b"store 1|slot 2", cx()).unwrap(), root);
    let integrity = Class::BadInput(Fault::Integrity);
    assert_eq!(again.unwrap_blocking(&wrapped, b"store 1|slot 3", cx()).err().unwrap().class(), integrity);
    for at in [0, 1, 5, wrapped.len() - 1] {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        assert_eq!(
            again.unwrap_blocking(&altered, b"store 1|slot 2", cx()).err().unwrap().class(),
            integrity,
            "octet {at}"
        );
    }
    let other = Pkcs11Kek::create(&token, KeyId::random().unwrap(), cx()).unwrap();
    assert_eq!(other.unwrap_blocking(&wrapped, b"store 1|slot 2", cx()).err().unwrap().class(), integrity);
    let nobody = Pkcs11Kek::existing(&token, KeyId::random().unwrap());
    assert_eq!(nobody.unwrap_blocking(&wrapped, b"store 1|slot 2", cx()).err().unwrap().class(), Class::NotFound);
    other.destroy_blocking(cx()).unwrap();
    assert_eq!(other.wrap_blocking(&root, b"aad", cx()).err().unwrap().class(), Class::NotFound);
    assert!(kek.describe().name.contains("token seal ("));
}

#[tokio::test]
async fn wraps_from_a_runtime() {
    let Some((soft, _turn)) = soft() else { return };
    let token = soft.token("seal-async");
    let kek = tokio::task::spawn_blocking(move || Pkcs11Kek::create(&token, KeyId::random().unwrap(), cx()).unwrap())
        .await
        .unwrap();
    let root = SecretBytes::new(vec![0x22; 32]);
    let wrapped = kek.wrap(&root, b"aad", cx()).await.unwrap();
    assert_eq!(kek.unwrap(&wrapped, b"aad", cx()).await.unwrap(), root);
}
