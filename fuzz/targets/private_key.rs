//! A private key as another authority hands it over: one that is read signs, and is read again.
#![no_main]

use keygate_pki::{PrivateKey, Signer};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(key) = PrivateKey::from_pem_or_der(bytes) else { return };
    let pem = key.expose_pem().expect("what was read can be written");
    let again = PrivateKey::from_pem_or_der(pem.as_bytes()).expect("its own PEM");
    assert_eq!(again.public_key().spki_hash(), key.public_key().spki_hash());
    let _ = key.sign(b"to be signed").expect("a key that was read signs");
});
