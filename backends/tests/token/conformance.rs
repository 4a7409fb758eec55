//! The one suite, over every keystore there is.

use crate::soft::{cx, kryoptic, soft};
use keygate_backends::faulty::{Break, Call, Faulty};
use keygate_backends::local::LocalKeystore;
use keygate_backends::pkcs11::{Pkcs11Keystore, TokenConfig};
use keygate_backends::{
    Class, CryptoOp, Held, Key, KeyId, KeySpec, Keystore, KeystoreId, OpCx, PairSpec, SignInput, SignatureScheme,
    conformance, local,
};
use keygate_kmip::{CryptographicAlgorithm as A, HashingAlgorithm as H, RecommendedCurve};
use std::sync::Arc;
use std::time::Duration;

fn id(name: &str) -> KeystoreId {
    KeystoreId::new(name).unwrap()
}

#[tokio::test]
async fn local_keystore() {
    conformance::check(&LocalKeystore::new(id("local"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pkcs11_keystore() {
    let Some((soft, _turn)) = soft() else { return };
    let keystore = Pkcs11Keystore::new(id("hsm"), soft.token("conformance"));
    conformance::check(&keystore).await;
    assert!(keystore.descriptor().device.contains("SoftHSM"), "{}", keystore.descriptor().device);
}

/// PKCS#11 3.2: other mechanisms, other errors, message functions; with one worker and with several.
#[tokio::test(flavor = "multi_thread")]
async fn kryoptic_keystore() {
    let Some((soft, _turn)) = kryoptic() else { return };
    for workers in [1, 2] {
        let label = format!("conformance-{workers}");
        soft.make(&label);
        let token = soft.open_soon(TokenConfig { workers, ..soft.config(&label) });
        let keystore = Pkcs11Keystore::new(id("hsm"), token);
        conformance::check(&keystore).await;
        assert!(keystore.descriptor().device.contains("Kryoptic"), "{}", keystore.descriptor().device);
    }
}

#[tokio::test]
async fn faulty_keystore_that_breaks_nothing() {
    conformance::check(&Faulty::new(Arc::new(LocalKeystore::new(id("local"))))).await;
}

#[tokio::test]
async fn faulty_keystore_breaks_what_it_is_told() {
    let faulty = Faulty::new(Arc::new(LocalKeystore::new(id("local"))));
    let spec = KeySpec { algorithm: A::Aes, bits: 128 };
    for (how, class) in [
        (Break::Fail(Class::TokenLost), Some(Class::TokenLost)),
        (Break::FailButHappened(Class::OutcomeUnknown), Some(Class::OutcomeUnknown)),
        (Break::Late(Duration::from_secs(5)), Some(Class::OutcomeUnknown)),
        (Break::Late(Duration::ZERO), None),
        (Break::Hang, Some(Class::OutcomeUnknown)),
    ] {
        faulty.break_next(Call::Generate, how);
        let result = faulty.generate(KeyId([7; 16]), &spec, OpCx::within(Duration::from_millis(50))).await;
        assert_eq!(result.err().map(|e| e.class()), class, "{how:?}");
    }
    assert!(faulty.is_used_up());
}

/// Many callers at once on one worker: every signature is right and belongs to its message.
#[tokio::test(flavor = "multi_thread")]
async fn many_callers() {
    let Some((soft, _turn)) = soft() else { return };
    let keystore = Arc::new(Pkcs11Keystore::new(id("hsm"), soft.token("callers")));
    let key_id = KeyId::random().unwrap();
    let pair = keystore.generate_pair(key_id, &PairSpec::Ec { curve: RecommendedCurve::P256 }, cx()).await.unwrap();
    let Held::Reference(key) = pair.private else { panic!("the key stays in the token") };
    let public = Arc::new(local::PreparedKey::new(&pair.public).unwrap());
    let scheme = SignatureScheme::Ecdsa(H::Sha256);
    let tasks: Vec<_> = (0..32u8)
        .map(|n| {
            let (keystore, key, public) = (Arc::clone(&keystore), key.clone(), Arc::clone(&public));
            tokio::spawn(async move {
                for m in 0..20u8 {
                    let message = [n, m];
                    let op = CryptoOp::Sign(scheme, SignInput::Message(&message));
                    let out = keystore.crypto(Key::Reference(&key), op, cx()).await.unwrap();
                    let keygate_backends::CryptoOut::Signature(signature) = out else { panic!("a signature") };
                    assert!(local::verify(&public, scheme, SignInput::Message(&message), &signature).unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    keystore.destroy(key_id, cx()).await.unwrap();
}
