//! Published vectors: RFC 5869, 6070, FIPS 197, SP 800-38A/B/C/D, IEEE 1619, RFC 2202, 3394, 4231, 5649, 8032, 8439, FIPS 180-4 and
//! 202.

use crate::helpers::{aes, h, key, open, seal};
use keygate_backends::local::{Derivation, EcPrivate, PreparedKey, derive, hash, mac, sign, verify};
use keygate_backends::{BlockPadding, EncryptionScheme as S, MacScheme, SecretBytes, SignInput, SignatureScheme};
use keygate_kmip::{CryptographicAlgorithm as A, HashingAlgorithm as H, RecommendedCurve};

#[test]
fn block_modes() {
    let fips197 = aes("000102030405060708090a0b0c0d0e0f");
    let sp38a = aes("2b7e151628aed2a6abf7158809cf4f3c");
    let none = BlockPadding::None;
    for (key, scheme, iv, plain, cipher) in [
        (&fips197, S::Ecb(none), "", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
        (
            &sp38a,
            S::Cbc(none),
            "000102030405060708090a0b0c0d0e0f",
            "6bc1bee22e409f96e93d7e117393172a",
            "7649abac8119b246cee98e9b12e9197d",
        ),
        (
            &sp38a,
            S::Ctr,
            "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "6bc1bee22e409f96e93d7e117393172a",
            "874d6191b620e3261bef6864990db6ce",
        ),
        (
            &sp38a,
            S::Cfb,
            "000102030405060708090a0b0c0d0e0f",
            "6bc1bee22e409f96e93d7e117393172a",
            "3b3fd92eb72dad20333449f8e83cfb4a",
        ),
        (
            &sp38a,
            S::Ofb,
            "000102030405060708090a0b0c0d0e0f",
            "6bc1bee22e409f96e93d7e117393172a",
            "3b3fd92eb72dad20333449f8e83cfb4a",
        ),
    ] {
        let sealed = seal(key, &scheme, &h(iv), b"", &h(plain)).unwrap();
        assert_eq!(hex::encode(&sealed.data), cipher, "{scheme:?}");
        assert_eq!(open(key, &scheme, &h(iv), b"", &sealed).unwrap().expose(), h(plain), "{scheme:?}");
    }
}

/// GCM specification, test cases 4 to 6: IVs of 12, 8 and 60 octets, and every legal tag length.
#[test]
fn gcm_with_odd_ivs_and_cut_tags() {
    let key = aes("feffe9928665731c6d6a8f9467308308");
    let plain = h(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let aad = h("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let long = "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b";
    for (iv, tag) in [
        ("cafebabefacedbaddecaf888", "5bc94fbc3221a5db94fae95ae7121a47"),
        ("cafebabefacedbad", "3612d2e79e3b0785561be14aaca2fccb"),
        (long, "619cc5aefffe0bfa462af43c1699d050"),
    ] {
        for tag_len in 4..=16 {
            let scheme = S::Gcm { tag_len };
            let sealed = seal(&key, &scheme, &h(iv), &aad, &plain).unwrap();
            assert_eq!(sealed.tag.as_deref(), Some(&h(tag)[..tag_len]));
            assert_eq!(open(&key, &scheme, &h(iv), &aad, &sealed).unwrap().expose(), plain);
        }
    }
}

/// SP 800-38C examples 1 and 2.
#[test]
fn ccm() {
    let key = aes("404142434445464748494a4b4c4d4e4f");
    for (tag_len, nonce, aad, plain, cipher, tag) in [
        (4, "10111213141516", "0001020304050607", "20212223", "7162015b", "4dac255d"),
        (
            6,
            "1011121314151617",
            "000102030405060708090a0b0c0d0e0f",
            "202122232425262728292a2b2c2d2e2f",
            "d2a1f0e051ea5f62081a7792073d593d",
            "1fc64fbfaccd",
        ),
    ] {
        let scheme = S::Ccm { tag_len };
        let sealed = seal(&key, &scheme, &h(nonce), &h(aad), &h(plain)).unwrap();
        assert_eq!((hex::encode(&sealed.data).as_str(), sealed.tag.as_deref()), (cipher, Some(&h(tag)[..])));
        assert_eq!(open(&key, &scheme, &h(nonce), &h(aad), &sealed).unwrap().expose(), h(plain));
    }
}

/// IEEE 1619 annex B, vectors 2 and 15 (ciphertext stealing); SP 800-38E's XTS-AES-256 by round trip with stealing.
#[test]
fn xts() {
    for (key, iv, plain, cipher) in [
        (
            "1111111111111111111111111111111122222222222222222222222222222222",
            "33333333330000000000000000000000",
            "4444444444444444444444444444444444444444444444444444444444444444",
            "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0",
        ),
        (
            "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0bfbebdbcbbbab9b8b7b6b5b4b3b2b1b0",
            "9a785634120000000000000000000000",
            "000102030405060708090a0b0c0d0e0f10",
            "6c1625db4671522d3d7599601de7ca09ed",
        ),
    ] {
        let key = aes(key);
        let sealed = seal(&key, &S::Xts, &h(iv), b"", &h(plain)).unwrap();
        assert_eq!(hex::encode(&sealed.data), cipher);
        assert_eq!(open(&key, &S::Xts, &h(iv), b"", &sealed).unwrap().expose(), h(plain));
    }
}

#[test]
fn key_wrap() {
    let rfc3394 = aes("000102030405060708090a0b0c0d0e0f");
    let rfc5649 = aes("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
    for (key, scheme, plain, wrapped) in [
        (&rfc3394, S::KeyWrap, "00112233445566778899aabbccddeeff", "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
        (
            &rfc5649,
            S::KeyWrapPadded,
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        (&rfc5649, S::KeyWrapPadded, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ] {
        let sealed = seal(key, &scheme, b"", b"", &h(plain)).unwrap();
        assert_eq!(hex::encode(&sealed.data), wrapped);
        assert_eq!(open(key, &scheme, b"", b"", &sealed).unwrap().expose(), h(plain));
    }
}

#[test]
fn chacha20() {
    let zero = key(A::ChaCha20, &"00".repeat(32));
    let stream = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586";
    for nonce in [8, 12, 16] {
        let sealed = seal(&zero, &S::ChaCha20 { counter: 0 }, &vec![0; nonce], b"", &[0; 64]).unwrap();
        assert_eq!(hex::encode(sealed.data), stream, "nonce of {nonce}");
    }
    let rfc = key(A::ChaCha20, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let sealed = seal(&rfc, &S::ChaCha20 { counter: 1 }, &h("000000000000004a00000000"), b"", plain).unwrap();
    assert_eq!(hex::encode(&sealed.data[..16]), "6e2e359a2568f98041ba0728dd0d6981");
    assert_eq!(hex::encode(&sealed.data[sealed.data.len() - 16..]), "0bbf74a35be6b40b8eedf2785e42874d");
}

#[test]
fn chacha20_poly1305() {
    let bytes = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    for (algorithm, tag_len) in [(A::ChaCha20Poly1305, 16), (A::ChaCha20Poly1305, 12), (A::ChaCha20, 16)] {
        let key = key(algorithm, bytes);
        let scheme = S::ChaCha20Poly1305 { tag_len };
        let (nonce, aad) = (h("070000004041424344454647"), h("50515253c0c1c2c3c4c5c6c7"));
        let sealed = seal(&key, &scheme, &nonce, &aad, plain).unwrap();
        assert_eq!(hex::encode(&sealed.data[..16]), "d31a8d34648e60db7b86afbc53ef7ec2");
        assert_eq!(sealed.tag.as_deref(), Some(&h("1ae10b594f09e26a7e902ecbd0600691")[..tag_len]));
        assert_eq!(open(&key, &scheme, &nonce, &aad, &sealed).unwrap().expose(), plain);
    }
}

#[test]
fn macs() {
    let twenty = key(A::HmacSha256, &"0b".repeat(20));
    let sixteen = key(A::HmacMd5, &"0b".repeat(16));
    let cmac = aes("2b7e151628aed2a6abf7158809cf4f3c");
    for (key, scheme, data, expected) in [
        (
            &twenty,
            MacScheme::Hmac(H::Sha256),
            "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (&twenty, MacScheme::Hmac(H::Sha1), "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
        (&twenty, MacScheme::Hmac(H::Sha224), "Hi There", "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22"),
        (&sixteen, MacScheme::Hmac(H::Md5), "Hi There", "9294727a3638bb1c13f48ef8158bfc9d"),
        (&cmac, MacScheme::Cmac, "", "bb1d6929e95937287fa37d129b756746"),
    ] {
        assert_eq!(hex::encode(mac(key, scheme, b"", data.as_bytes()).unwrap()), expected, "{scheme:?}");
    }
    // GCM specification, test case 1: no data at all.
    let gmac = mac(&aes(&"00".repeat(16)), MacScheme::Gmac { tag_len: 16 }, &[0; 12], b"").unwrap();
    assert_eq!(hex::encode(gmac), "58e2fccefa7e3061367f1d57a4e7455a");
}

#[test]
fn hashes_of_abc() {
    for (algorithm, expected) in [
        (H::Md5, "900150983cd24fb0d6963f7d28e17f72"),
        (H::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (H::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (H::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (H::Sha384, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
        (H::Sha512_224, "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"),
        (H::Sha512_256, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
        (H::Sha3_224, "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"),
        (H::Sha3_256, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        (H::Ripemd160, "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
    ] {
        assert_eq!(hex::encode(hash(algorithm, b"abc").unwrap()), expected, "{algorithm:?}");
    }
}

/// RFC 8032 section 7.1, test 1.
#[test]
fn ed25519() {
    let seed = SecretBytes::new(h("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
    let private = EcPrivate { curve: RecommendedCurve::Curve25519, d: seed, q: None }.to_material(A::Ed25519).unwrap();
    let public = private.public_half().unwrap();
    assert_eq!(
        hex::encode(public.ec_public().unwrap().q),
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    );
    let signature =
        sign(&PreparedKey::new(&private).unwrap(), SignatureScheme::Ed25519, SignInput::Message(b"")).unwrap();
    assert_eq!(
        hex::encode(&signature),
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );
    let public = PreparedKey::new(&public).unwrap();
    assert!(verify(&public, SignatureScheme::Ed25519, SignInput::Message(b""), &signature).unwrap());
    assert!(!verify(&public, SignatureScheme::Ed25519, SignInput::Message(b"x"), &signature).unwrap());
}

/// SP 800-67 examples' key and FIPS 81's text; two keys are K1 K2 K1.
#[test]
fn des3() {
    let three = key(A::Des3, "0123456789abcdef23456789abcdef01456789abcdef0123");
    let plain = h("54686520717566636b2062726f776e20666f78206a756d70");
    let sealed = seal(&three, &S::Ecb(BlockPadding::None), b"", b"", &plain).unwrap();
    assert_eq!(hex::encode(&sealed.data), "a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900");
    assert_eq!(open(&three, &S::Ecb(BlockPadding::None), b"", b"", &sealed).unwrap().expose(), plain);
    let two = key(A::Des3, "0123456789abcdef23456789abcdef01");
    let same = key(A::Des3, "0123456789abcdef23456789abcdef010123456789abcdef");
    let cbc = S::Cbc(BlockPadding::Pkcs5);
    assert_eq!(seal(&two, &cbc, &[7; 8], b"", &plain).unwrap(), seal(&same, &cbc, &[7; 8], b"", &plain).unwrap());
}

#[test]
fn derivation() {
    // RFC 6070, 4096 iterations; RFC 5869 A.1 and A.7.
    let password = b"password";
    let pbkdf2 = Derivation::Pbkdf2 { salt: b"salt", iterations: 4096 };
    for (secret, how, hash, expected) in [
        (&password[..], pbkdf2, H::Sha1, "4b007901b765489abead49d926f721d065a429c1"),
        (
            &[0x0b; 22],
            Derivation::Hkdf { salt: &h("000102030405060708090a0b0c"), info: &h("f0f1f2f3f4f5f6f7f8f9") },
            H::Sha256,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            &[0x0c; 22],
            Derivation::Hkdf { salt: b"", info: b"" },
            H::Sha1,
            "2c91117204d745f3500d636a62f64f0ab3bae548aa53d423b0d1f27ebba6f5e5673a081d70cce7acfc48",
        ),
        (b"abc", Derivation::Hash, H::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        // RFC 4231 §4.3.
        (
            b"Jefe",
            Derivation::Hmac { data: b"what do ya want for nothing?" },
            H::Sha256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
    ] {
        let expected = h(expected);
        assert_eq!(derive(secret, how, hash, expected.len()).unwrap().expose(), expected, "{how:?}");
    }
}

#[test]
fn the_counter_mode_is_hmac_of_counter_and_fixed_data() {
    // NIST SP 800-108r1 §4.1: K(i) = PRF(K_IN, [i] || fixed), computed here by HMAC itself.
    let block = |counter: u8| {
        let data = [&[0, 0, 0, counter][..], b"label and context"].concat();
        derive(b"key", Derivation::Hmac { data: &data }, H::Sha512, 64).unwrap().expose().to_vec()
    };
    let derived = derive(b"key", Derivation::Counter { fixed: b"label and context" }, H::Sha512, 100).unwrap();
    assert_eq!(derived.expose(), &[block(1), block(2)].concat()[..100]);
}

#[test]
fn derivation_has_limits() {
    for (how, len) in [
        (Derivation::Hash, 33),
        (Derivation::Hash, 0),
        (Derivation::Hmac { data: b"" }, 33),
        (Derivation::Hkdf { salt: b"", info: b"" }, 255 * 32 + 1),
        (Derivation::Counter { fixed: b"" }, 8193),
        (Derivation::Pbkdf2 { salt: b"salt", iterations: 0 }, 16),
        (Derivation::Pbkdf2 { salt: b"salt", iterations: 10_000_001 }, 16),
    ] {
        assert!(derive(b"key", how, H::Sha256, len).is_err(), "{how:?} of {len}");
    }
}
