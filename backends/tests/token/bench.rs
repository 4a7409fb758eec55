//! Signatures per second through this layer and through bare `cryptoki`, one thread each. Run by hand:
//! `cargo test --release -p keygate-backends --test token -- --ignored --nocapture bench`.

use crate::soft::{cx, soft};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use keygate_backends::pkcs11::Pkcs11Keystore;
use keygate_backends::{CryptoOp, Held, Key, KeyId, Keystore, KeystoreId, PairSpec, SignInput, SignatureScheme};
use keygate_kmip::{HashingAlgorithm as H, RecommendedCurve};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(1000);
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn bench_ecdsa() {
    let Some((soft, _turn)) = soft() else { return };
    let keystore = Arc::new(Pkcs11Keystore::new(KeystoreId::new("hsm").unwrap(), soft.token("bench")));
    let id = KeyId::random().unwrap();
    let pair = keystore.generate_pair(id, &PairSpec::Ec { curve: RecommendedCurve::P256 }, cx()).await.unwrap();
    let Held::Reference(key) = pair.private else { panic!("the key stays in the token") };
    // The module is initialised already: the bare loop shares it and the login.
    let bare = Pkcs11::new(&soft.module).unwrap();
    let _ = bare.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slot = bare
        .get_slots_with_token()
        .unwrap()
        .into_iter()
        .find(|slot| bare.get_token_info(*slot).is_ok_and(|t| t.label() == "bench"))
        .unwrap();
    let session = bare.open_rw_session(slot).unwrap();
    let handle =
        session.find_objects(&[Attribute::Id(id.0.to_vec()), Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap()[0];
    for round in 0..ROUNDS {
        let until = Instant::now() + SLICE;
        let cpu = cpu_ticks();
        let mut count = 0u64;
        while Instant::now() < until {
            session.sign(&Mechanism::Ecdsa, handle, &[7; 32]).unwrap();
            count += 1;
        }
        let bare_rate = count as f64 / SLICE.as_secs_f64();
        let bare_cpu = (cpu_ticks() - cpu) as f64 * 10_000.0 / count as f64;
        let cpu = cpu_ticks();
        let through = many(&keystore, &key).await;
        let through_cpu = (cpu_ticks() - cpu) as f64 * 10_000.0 / (through * SLICE.as_secs_f64());
        println!(
            "round {round}: bare cryptoki {bare_rate:.0}/s {bare_cpu:.0} us, through the keystore {through:.0}/s {through_cpu:.0} us, ratio {:.2}",
            through / bare_rate
        );
    }
}

/// User and system time of this process in ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

async fn many(keystore: &Arc<Pkcs11Keystore>, key: &keygate_backends::KeyRef) -> f64 {
    let until = Instant::now() + SLICE;
    let total = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (keystore, key, total) = (Arc::clone(keystore), key.clone(), Arc::clone(&total));
            tokio::spawn(async move {
                while Instant::now() < until {
                    let op = CryptoOp::Sign(SignatureScheme::Ecdsa(H::Sha256), SignInput::Digest(&[7; 32]));
                    keystore.crypto(Key::Reference(&key), op, cx()).await.unwrap();
                    total.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    total.load(Ordering::Relaxed) as f64 / SLICE.as_secs_f64()
}
