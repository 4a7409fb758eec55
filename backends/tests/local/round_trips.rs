//! What goes in comes out, for any data, in one piece or in parts, and for keys in every format.

use crate::helpers::{aes, key, open, seal};
use keygate_backends::local::{
    CipherStream, Direction, EcPublic, HashStream, KeyKind, KeyMaterial, KeyValueForm, MacStream, PreparedKey, Role,
    generate, generate_pair, hash, iv_len, mac, sign, verify,
};
use keygate_backends::{
    BlockPadding, EncryptionScheme as S, KeySpec, MacScheme, PairSpec, SecretBytes, SignInput, SignatureScheme,
};
use keygate_kmip::{CryptographicAlgorithm as A, HashingAlgorithm as H, KeyFormatType as F, RecommendedCurve as C};
use proptest::prelude::*;

fn schemes() -> Vec<S> {
    let paddings = [BlockPadding::Pkcs5, BlockPadding::AnsiX923, BlockPadding::Iso10126];
    let mut all: Vec<S> = paddings.iter().flat_map(|&p| [S::Ecb(p), S::Cbc(p)]).collect();
    all.extend([S::Ctr, S::Cfb, S::Ofb, S::Gcm { tag_len: 13 }, S::Ccm { tag_len: 10 }, S::KeyWrapPadded]);
    all
}

fn prepared(material: &KeyMaterial) -> PreparedKey {
    PreparedKey::new(material).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_data_in_any_mode(data in proptest::collection::vec(any::<u8>(), 1..200), key_len in prop::sample::select(vec![16usize, 24, 32]), iv in any::<[u8; 16]>()) {
        let key = aes(&hex::encode(vec![0x42; key_len]));
        for scheme in schemes() {
            let iv = &iv[..iv_len(key.kind(), &scheme)];
            let sealed = seal(&key, &scheme, iv, b"", &data).unwrap();
            let opened = open(&key, &scheme, iv, b"", &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &data[..], "{:?}", scheme);
        }
    }

    #[test]
    fn xts_of_any_length(data in proptest::collection::vec(any::<u8>(), 16..200), iv in any::<[u8; 16]>()) {
        for len in [32u8, 64] {
            let key = aes(&hex::encode((0..len).collect::<Vec<_>>()));
            let sealed = seal(&key, &S::Xts, &iv, b"", &data).unwrap();
            let opened = open(&key, &S::Xts, &iv, b"", &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &data[..]);
        }
    }

    #[test]
    fn streams_equal_whole_messages(data in proptest::collection::vec(any::<u8>(), 1..300), cut in 1usize..64) {
        let aes = aes(&"17".repeat(32));
        let chacha = key(A::ChaCha20, &"18".repeat(32));
        let mut cases: Vec<(&PreparedKey, S)> = schemes().into_iter().map(|scheme| (&aes, scheme)).collect();
        cases.extend([(&chacha, S::ChaCha20 { counter: 7 }), (&chacha, S::ChaCha20Poly1305 { tag_len: 16 })]);
        for (key, scheme) in cases {
            if matches!(scheme, S::Ccm { .. } | S::KeyWrapPadded | S::Ecb(BlockPadding::Iso10126) | S::Cbc(BlockPadding::Iso10126)) {
                continue;
            }
            let iv = vec![9; iv_len(key.kind(), &scheme)];
            let whole = seal(key, &scheme, &iv, b"", &data).unwrap();
            let mut stream = CipherStream::new(key, &scheme, Direction::Encrypt { legacy: false }, &iv, b"").unwrap();
            let mut out = Vec::new();
            for part in data.chunks(cut) {
                stream.update(part, &mut out).unwrap();
            }
            let tag = stream.finish_encrypt(&mut out).unwrap();
            prop_assert_eq!(&out, &whole.data, "{:?}", scheme);
            prop_assert_eq!(&tag, &whole.tag);
            let mut stream = CipherStream::new(key, &scheme, Direction::Decrypt, &iv, b"").unwrap();
            let mut plain = Vec::new();
            for part in out.chunks(cut) {
                stream.update(part, &mut plain).unwrap();
            }
            stream.finish_decrypt(tag.as_deref(), &mut plain).unwrap();
            prop_assert_eq!(&plain, &data, "{:?}", scheme);
        }
    }

    #[test]
    fn hashes_and_macs_in_parts(data in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..64) {
        let key = aes(&"17".repeat(16));
        let mut parts = HashStream::new(H::Sha3_512).unwrap();
        let mut hmac = MacStream::new(&key, MacScheme::Hmac(H::Sha512), b"").unwrap();
        for part in data.chunks(cut) {
            parts.update(part).unwrap();
            hmac.update(part).unwrap();
        }
        prop_assert_eq!(parts.finish().unwrap(), hash(H::Sha3_512, &data).unwrap());
        prop_assert_eq!(hmac.finish().unwrap(), mac(&key, MacScheme::Hmac(H::Sha512), b"", &data).unwrap());
    }

    #[test]
    fn parsers_survive_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (role, format) in [(Role::Private, F::Pkcs8), (Role::Private, F::Pkcs1), (Role::Private, F::EcPrivateKey), (Role::Public, F::X509), (Role::Public, F::Pkcs1)] {
            let _ = KeyMaterial::from_bytes(role, format, A::Rsa, Some(C::P256), &bytes);
        }
        let _ = EcPublic { curve: C::P384, q: bytes }.to_material(A::Ec);
    }
}

/// Zeros lose trailing zeros of the data by definition, so they have their own test.
#[test]
fn zero_padding() {
    let key = aes(&"17".repeat(16));
    let scheme = S::Cbc(BlockPadding::Zeros);
    let sealed = seal(&key, &scheme, &[0; 16], b"", b"abc").unwrap();
    assert_eq!(open(&key, &scheme, &[0; 16], b"", &sealed).unwrap().expose(), b"abc");
    assert_eq!(seal(&key, &scheme, &[0; 16], b"", &[1; 32]).unwrap().data.len(), 32);
}

#[test]
fn pairs_in_every_format() {
    let formats = [
        F::Raw,
        F::Pkcs1,
        F::Pkcs8,
        F::X509,
        F::EcPrivateKey,
        F::TransparentRsaPrivateKey,
        F::TransparentRsaPublicKey,
        F::TransparentEcPrivateKey,
        F::TransparentEcPublicKey,
        F::TransparentEcdsaPrivateKey,
        F::TransparentEcdhPublicKey,
    ];
    for (spec, algorithm, expected) in [
        (PairSpec::Rsa { bits: 2048 }, A::Rsa, 6),
        (PairSpec::Ec { curve: C::P224 }, A::Ec, 9),
        (PairSpec::Ec { curve: C::P256 }, A::Ecdsa, 9),
        (PairSpec::Ec { curve: C::P384 }, A::Ecdh, 9),
        (PairSpec::Ec { curve: C::P521 }, A::Ec, 9),
        (PairSpec::Ec { curve: C::Secp256k1 }, A::Ec, 9),
        (PairSpec::Ed25519, A::Ed25519, 8),
        (PairSpec::X25519, A::Ecdh, 8),
    ] {
        let (private, public) = generate_pair(&spec).unwrap();
        let curve = private.ec_public().ok().map(|key| key.curve);
        assert_eq!(private.public_half().unwrap().expose_canonical(), public.expose_canonical());
        let mut read = 0;
        for (material, role) in [(&private, Role::Private), (&public, Role::Public)] {
            assert_eq!(
                KeyMaterial::from_canonical(material.kind(), material.expose_canonical()).unwrap().kind(),
                material.kind()
            );
            for format in formats {
                let again = match material.to_form(format) {
                    Err(_) => continue,
                    Ok(KeyValueForm::Bytes(bytes)) => {
                        KeyMaterial::from_bytes(role, format, algorithm, curve, bytes.expose())
                    }
                    Ok(KeyValueForm::RsaPrivate(key)) => key.to_material(),
                    Ok(KeyValueForm::RsaPublic(key)) => key.to_material(),
                    Ok(KeyValueForm::EcPrivate(key)) => key.to_material(algorithm),
                    Ok(KeyValueForm::EcPublic(key)) => key.to_material(algorithm),
                };
                let again = again.unwrap_or_else(|e| panic!("{spec:?} {format:?}: {e}"));
                assert_eq!(again.expose_canonical(), material.expose_canonical(), "{spec:?} {format:?}");
                read += 1;
            }
        }
        assert_eq!(read, expected, "{spec:?}");
    }
}

/// An RSA key known by n, e and d alone (KMIP requires no more of Transparent RSA Private Key) gets its primes back.
#[test]
fn rsa_primes_are_recovered() {
    let (private, _) = generate_pair(&PairSpec::Rsa { bits: 2048 }).unwrap();
    let mut numbers = private.rsa_private().unwrap();
    for number in [
        &mut numbers.p,
        &mut numbers.q,
        &mut numbers.prime_exponent_p,
        &mut numbers.prime_exponent_q,
        &mut numbers.crt_coefficient,
    ] {
        number.clear();
    }
    let again = prepared(&numbers.to_material().unwrap());
    let scheme = SignatureScheme::RsaPkcs1(H::Sha256);
    let signature = sign(&again, scheme, SignInput::Message(b"x")).unwrap();
    assert_eq!(signature, sign(&prepared(&private), scheme, SignInput::Message(b"x")).unwrap());
    let numbers = again.to_material().unwrap().rsa_private().unwrap();
    assert!(!numbers.p.is_empty() && !numbers.crt_coefficient.is_empty());
}

#[test]
fn generated_keys_have_their_kind_and_length() {
    for (algorithm, bits, counted) in [
        (A::Aes, 192, 192),
        (A::Des3, 168, 168),
        (A::Des3, 112, 112),
        (A::ChaCha20, 256, 256),
        (A::HmacSha512, 512, 512),
    ] {
        let key = generate(&KeySpec { algorithm, bits }).unwrap();
        assert_eq!((key.kind(), key.bits().unwrap()), (KeyKind::Symmetric(algorithm), counted));
    }
    let des = generate(&KeySpec { algorithm: A::Des3, bits: 168 }).unwrap();
    assert!(des.expose_canonical().iter().all(|octet| octet.count_ones() % 2 == 1));
}

#[test]
fn signatures_verify_with_the_public_half_only_for_what_was_signed() {
    let rsa = generate_pair(&PairSpec::Rsa { bits: 2048 }).unwrap();
    let p521 = generate_pair(&PairSpec::Ec { curve: C::P521 }).unwrap();
    for ((private, public), scheme) in [
        (&rsa, SignatureScheme::RsaPkcs1(H::Sha512)),
        (&rsa, SignatureScheme::RsaPkcs1(H::Sha3_256)),
        (&rsa, SignatureScheme::RsaPss { hash: H::Sha256, mgf_hash: H::Sha1, salt_len: Some(0) }),
        (&rsa, SignatureScheme::RsaPss { hash: H::Sha384, mgf_hash: H::Sha384, salt_len: None }),
        (&p521, SignatureScheme::Ecdsa(H::Sha512)),
        (&p521, SignatureScheme::Ecdsa(H::Sha1)),
    ] {
        let (private, public) = (prepared(private), prepared(public));
        let signature = sign(&private, scheme, SignInput::Message(b"message")).unwrap();
        let digest = hash(scheme.hash().unwrap(), b"message").unwrap();
        assert!(verify(&public, scheme, SignInput::Message(b"message"), &signature).unwrap(), "{scheme:?}");
        assert!(verify(&public, scheme, SignInput::Digest(&digest), &signature).unwrap(), "{scheme:?}");
        assert!(!verify(&public, scheme, SignInput::Message(b"massage"), &signature).unwrap(), "{scheme:?}");
        assert!(!verify(&public, scheme, SignInput::Message(b"message"), b"").unwrap(), "{scheme:?}");
    }
}

#[test]
fn secrets_print_as_their_type() {
    assert_eq!(format!("{:?}", SecretBytes::new(vec![1, 2, 3])), "SecretBytes");
}
