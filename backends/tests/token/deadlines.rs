//! Full queues, passed deadlines, and finding out afterwards what became of a request.

use crate::soft::{cx, soft};
use keygate_backends::pkcs11::{Pkcs11Keystore, Token};
use keygate_backends::{Class, KeyId, Keystore, KeystoreId, OpCx, PairSpec};
use std::sync::Arc;
use std::time::Duration;

/// Slow enough to hold a worker while the test does its part.
const SLOW: PairSpec = PairSpec::Rsa { bits: 4096 };

fn hsm(token: Arc<Token>) -> Arc<Pkcs11Keystore> {
    Arc::new(Pkcs11Keystore::new(KeystoreId::new("hsm").unwrap(), token))
}

/// One request runs, one waits, the rest is told to come back; and what was refused was not done.
#[tokio::test(flavor = "multi_thread")]
async fn full_queue() {
    let Some((soft, _turn)) = soft() else { return };
    drop(soft.token("full"));
    let mut config = soft.config("full");
    config.queue_max = 1;
    let keystore = hsm(soft.open_soon(config));
    keystore.probe(cx()).await.unwrap();
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let keystore = Arc::clone(&keystore);
            tokio::spawn(async move { keystore.generate_pair(KeyId::random().unwrap(), &SLOW, cx()).await.map(|_| ()) })
        })
        .collect();
    let mut done = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => done += 1,
            Err(e) => assert_eq!(e.class(), Class::Busy, "{e}"),
        }
    }
    assert!((1..4).contains(&done), "{done} of 4 got through a queue of 1");
    assert_eq!(keystore.list(cx()).await.unwrap().len(), done);
}

/// A caller that stops waiting learns whether the request had begun; if it had, the key that nobody waits for is
/// destroyed again.
#[tokio::test(flavor = "multi_thread")]
async fn key_made_after_its_deadline() {
    let Some((soft, _turn)) = soft() else { return };
    let keystore = hsm(soft.token("unknown"));
    keystore.probe(cx()).await.unwrap();
    let id = KeyId::random().unwrap();
    let error = keystore
        .generate_pair(id, &SLOW, OpCx::within(Duration::from_millis(20)))
        .await
        .err()
        .expect("too slow for 20 ms");
    assert!(matches!(error.class(), Class::Busy | Class::OutcomeUnknown), "{error}");
    // The listing waits behind the generation in the same queue.
    assert!(keystore.list(cx()).await.unwrap().is_empty());
    assert_eq!(keystore.destroy(id, cx()).await.err().unwrap().class(), Class::NotFound);
}
