//! Two endpoints of one service, the first of which dies under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keygate_backends::{
    BlockPadding, Class, CryptoOp, EncryptOp, EncryptionScheme, Held, Iv, Key, KeyId, KeyRef, KeySpec, Keystore, OpCx,
};
use keygate_kmip::CryptographicAlgorithm;
use keygate_tests::forwarder::Forwarder;
use keygate_tests::gateway::Setup;

use super::conformance::keystore;

const AES: KeySpec = KeySpec { algorithm: CryptographicAlgorithm::Aes, bits: 256 };

async fn encrypt(keystore: &dyn Keystore, key: &KeyRef) -> Result<(), keygate_backends::KsError> {
    let scheme = EncryptionScheme::Cbc(BlockPadding::Pkcs5);
    let op = EncryptOp { scheme: &scheme, iv: Iv::Random { len: None }, aad: b"", data: b"data", legacy: false };
    keystore.crypto(Key::Reference(key), CryptoOp::Encrypt(op), OpCx::within(Duration::from_secs(10))).await.map(drop)
}

/// No read fails, and none takes a second, when the endpoint that serves them dies.
#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_when_the_first_endpoint_dies_under_load() {
    let gateway = Setup::new().start();
    let (first, second) =
        (Forwarder::to(gateway.address("kmip")).unwrap(), Forwarder::to(gateway.address("kmip")).unwrap());
    let keystore = Arc::new(keystore(&[first.address(), second.address()], &gateway.client_folder("a"), false));
    let id = KeyId::random().unwrap();
    let Held::Reference(key) = keystore.generate(id, &AES, OpCx::within(Duration::from_secs(20))).await.unwrap() else {
        panic!("the key stays there")
    };
    let (served, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (keystore, key, served, stop) =
                (Arc::clone(&keystore), key.clone(), Arc::clone(&served), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    encrypt(keystore.as_ref(), &key).await.expect("no read fails");
                    longest = longest.max(begun.elapsed());
                    served.fetch_add(1, Ordering::SeqCst);
                }
                longest
            })
        })
        .collect();
    let until = |count: usize| {
        let served = Arc::clone(&served);
        async move {
            while served.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        }
    };
    until(50).await;
    assert!(first.accepted() > 0);
    first.cut();
    until(served.load(Ordering::SeqCst) + 200).await;
    stop.store(true, Ordering::SeqCst);
    for task in load {
        let longest = task.await.expect("no read fails");
        assert!(longest < Duration::from_secs(1), "a read took {longest:?}");
    }
    keystore.destroy(id, OpCx::within(Duration::from_secs(20))).await.expect("changes go to the second as well");
}

/// With both gone it is an error at once, not a wait; when one is back it serves again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_calls_fail_at_once_and_return_with_it() {
    let mut gateway = Setup::new().set("kmip.listen", "127.0.0.1:0").start();
    let address = gateway.address("kmip");
    let keystore = keystore(&[address], &gateway.client_folder("a"), false);
    let id = KeyId::random().unwrap();
    let Held::Reference(key) = keystore.generate(id, &AES, OpCx::within(Duration::from_secs(20))).await.unwrap() else {
        panic!("the key stays there")
    };
    gateway.kill().expect("killed");
    let error = encrypt(&keystore, &key).await.expect_err("nobody is there");
    assert_eq!(error.class(), Class::TokenLost, "{error}");
    let begun = Instant::now();
    let error = keystore.generate(KeyId::random().unwrap(), &AES, OpCx::within(Duration::from_secs(10))).await.err();
    assert_eq!(error.map(|error| error.class()), Some(Class::TokenLost));
    assert!(begun.elapsed() < Duration::from_secs(1));
    gateway.set("kmip.listen", &address.to_string());
    gateway.start().expect("starts again");
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = encrypt(&keystore, &key).await {
        assert!(Instant::now() < deadline, "does not serve again: {error}");
        tokio::task::yield_now().await;
    }
}
