//! Operations per second of this layer and of bare `aws-lc-rs`. Run by hand:
//! `cargo test --release -p keygate-backends --test local -- --ignored --nocapture bench`.

use crate::helpers::{aes, seal};
use aws_lc_rs::{aead, rand::SystemRandom, signature};
use keygate_backends::local::{PreparedKey, generate_pair, sign};
use keygate_backends::{EncryptionScheme, PairSpec, SignInput, SignatureScheme};
use keygate_kmip::{HashingAlgorithm as H, RecommendedCurve};
use std::time::{Duration, Instant};

fn rate(mut run: impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0u32);
    while start.elapsed() < Duration::from_millis(400) {
        run();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// The best of alternating slices, so that both sides see the machine at its quietest.
fn compare(what: &str, mut ours: impl FnMut(), mut bare: impl FnMut()) {
    let (mut best_ours, mut best_bare) = (0f64, 0f64);
    for _ in 0..5 {
        best_ours = best_ours.max(rate(&mut ours));
        best_bare = best_bare.max(rate(&mut bare));
    }
    println!("{what}: here {best_ours:.0}/s, bare aws-lc-rs {best_bare:.0}/s, ratio {:.2}", best_ours / best_bare);
}

#[test]
#[ignore = "a measurement, not a test"]
fn bench_against_the_library() {
    let (private, _) = generate_pair(&PairSpec::Ec { curve: RecommendedCurve::P256 }).unwrap();
    let key = PreparedKey::new(&private).unwrap();
    let rng = SystemRandom::new();
    let bare =
        signature::EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, private.expose_canonical())
            .unwrap();
    compare(
        "ECDSA P-256",
        || drop(sign(&key, SignatureScheme::Ecdsa(H::Sha256), SignInput::Message(b"message")).unwrap()),
        || drop(bare.sign(&rng, b"message").unwrap().as_ref().to_vec()),
    );
    let (private, _) = generate_pair(&PairSpec::Rsa { bits: 2048 }).unwrap();
    let key = PreparedKey::new(&private).unwrap();
    let bare = signature::RsaKeyPair::from_pkcs8(private.expose_canonical()).unwrap();
    let mut out = vec![0; 256];
    compare(
        "RSA 2048 PKCS#1",
        || drop(sign(&key, SignatureScheme::RsaPkcs1(H::Sha256), SignInput::Message(b"message")).unwrap()),
        || bare.sign(&signature::RSA_PKCS1_SHA256, &rng, b"message", &mut out).unwrap(),
    );
    let key = aes(&"07".repeat(32));
    let bare = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).unwrap());
    let data = vec![1u8; 1024];
    compare(
        "AES-256-GCM 1 KiB",
        || drop(seal(&key, &EncryptionScheme::Gcm { tag_len: 16 }, &[3; 12], b"", &data).unwrap()),
        || {
            let mut copy = data.clone();
            bare.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key([3; 12]), aead::Aad::empty(), &mut copy)
                .unwrap();
        },
    );
}
