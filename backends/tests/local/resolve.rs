//! From KMIP Cryptographic Parameters to schemes.

use keygate_backends::local::{KeyKind, PairKind};
use keygate_backends::resolve::{Parameters, encryption, mac, signature, signature_of_digest};
use keygate_backends::{BlockPadding, EncryptionScheme as S, MacScheme, SignatureScheme as G};
use keygate_kmip::{
    BlockCipherMode as M, CryptographicAlgorithm as A, DigitalSignatureAlgorithm as D, HashingAlgorithm as H,
    PaddingMethod as P, RecommendedCurve,
};

const RSA: KeyKind = KeyKind::Private(PairKind::Rsa);
const EC: KeyKind = KeyKind::Public(PairKind::Ec(RecommendedCurve::P256));
const AES: KeyKind = KeyKind::Symmetric(A::Aes);

fn none() -> Parameters<'static> {
    Parameters::default()
}

#[test]
fn encryption_schemes() {
    let mode = |mode| Parameters { block_cipher_mode: Some(mode), ..none() };
    for (kind, p, expected) in [
        (AES, Parameters { padding_method: Some(P::Pkcs5), ..mode(M::Cbc) }, S::Cbc(BlockPadding::Pkcs5)),
        (AES, mode(M::Ecb), S::Ecb(BlockPadding::None)),
        (AES, Parameters { tag_length: Some(12), ..mode(M::Gcm) }, S::Gcm { tag_len: 12 }),
        (AES, mode(M::Gcm), S::Gcm { tag_len: 16 }),
        (AES, mode(M::NistKeyWrap), S::KeyWrap),
        (AES, mode(M::AesKeyWrapPadding), S::KeyWrapPadded),
        (
            KeyKind::Symmetric(A::ChaCha20),
            Parameters { initial_counter_value: Some(5), ..none() },
            S::ChaCha20 { counter: 5 },
        ),
        (KeyKind::Symmetric(A::ChaCha20Poly1305), mode(M::Aead), S::ChaCha20Poly1305 { tag_len: 16 }),
        (KeyKind::Symmetric(A::Des3), mode(M::Cbc), S::Cbc(BlockPadding::None)),
        (RSA, Parameters { padding_method: Some(P::Pkcs1v1_5), ..none() }, S::RsaPkcs1),
        (
            RSA,
            Parameters {
                padding_method: Some(P::Oaep),
                hashing_algorithm: Some(H::Sha256),
                p_source: Some(b"L"),
                ..none()
            },
            S::RsaOaep { hash: H::Sha256, mgf_hash: H::Sha256, label: b"L".to_vec() },
        ),
    ] {
        assert_eq!(encryption(kind, &p).unwrap(), expected);
    }
}

#[test]
fn signature_schemes() {
    let dsa = |algorithm| Parameters { digital_signature_algorithm: Some(algorithm), ..none() };
    for (kind, p, expected) in [
        (RSA, none(), G::RsaPkcs1(H::Sha256)),
        (RSA, dsa(D::Sha384WithRsaEncryption), G::RsaPkcs1(H::Sha384)),
        (
            RSA,
            Parameters { padding_method: Some(P::Pss), hashing_algorithm: Some(H::Sha256), ..none() },
            G::RsaPss { hash: H::Sha256, mgf_hash: H::Sha256, salt_len: None },
        ),
        (
            RSA,
            Parameters { salt_length: Some(8), hashing_algorithm: Some(H::Sha512), ..dsa(D::RsassaPss) },
            G::RsaPss { hash: H::Sha512, mgf_hash: H::Sha512, salt_len: Some(8) },
        ),
        (EC, dsa(D::EcdsaWithSha384), G::Ecdsa(H::Sha384)),
        (EC, none(), G::Ecdsa(H::Sha256)),
        (KeyKind::Private(PairKind::Ed25519), none(), G::Ed25519),
    ] {
        assert_eq!(signature(kind, &p).unwrap(), expected);
    }
    for (kind, len, expected) in [(RSA, 16, G::RsaPkcs1Bare), (EC, 48, G::Ecdsa(H::Sha384))] {
        assert_eq!(signature_of_digest(kind, &none(), len).unwrap(), expected);
    }
    assert!(signature_of_digest(EC, &none(), 33).is_err());
}

#[test]
fn mac_schemes() {
    let algorithm = |algorithm| Parameters { cryptographic_algorithm: Some(algorithm), ..none() };
    for (kind, p, expected) in [
        (AES, algorithm(A::HmacSha256), MacScheme::Hmac(H::Sha256)),
        (KeyKind::Symmetric(A::HmacSha512), none(), MacScheme::Hmac(H::Sha512)),
        (AES, none(), MacScheme::Cmac),
        (AES, Parameters { block_cipher_mode: Some(M::Cmac), ..none() }, MacScheme::Cmac),
        (AES, Parameters { hashing_algorithm: Some(H::Sha1), ..none() }, MacScheme::Hmac(H::Sha1)),
    ] {
        assert_eq!(mac(kind, &p).unwrap(), expected);
    }
    assert!(mac(RSA, &none()).is_err());
    assert!(mac(KeyKind::Symmetric(A::ChaCha20), &none()).is_err());
}
