//! Every wrong key, IV, tag, padding or combination is refused with a class and a text that names the rule.

use crate::helpers::{aes, key, open, seal};
use keygate_backends::local::{
    KeyKind, KeyMaterial, PairKind, PreparedKey, RsaPublic, generate, generate_pair, mac, sign,
};
use keygate_backends::resolve::{Parameters, encryption, signature};
use keygate_backends::{
    BlockPadding, Class, EncryptOp, EncryptionScheme as S, Fault, Iv, KeySpec, KsError, MacScheme, PairSpec,
    SecretBytes, SignInput, SignatureScheme,
};
use keygate_kmip::{
    BlockCipherMode, CryptographicAlgorithm as A, DigitalSignatureAlgorithm, HashingAlgorithm as H, PaddingMethod,
    RecommendedCurve,
};

fn refused(class: Class, text: &str, result: Result<impl Sized, KsError>) {
    let error = result.err().unwrap_or_else(|| panic!("not refused: {text}"));
    assert_eq!(error.class(), class, "{error}");
    assert!(error.text().contains(text), "{error:?} does not say {text:?}");
}

const PARAMETERS: Class = Class::BadInput(Fault::Parameters);
const DATA: Class = Class::BadInput(Fault::Data);
const KEY: Class = Class::BadInput(Fault::Key);
const INTEGRITY: Class = Class::BadInput(Fault::Integrity);

#[test]
fn ivs_of_wrong_length() {
    let key128 = aes(&"01".repeat(16));
    let xts = aes(&h2(32));
    let chacha = key(A::ChaCha20Poly1305, &"01".repeat(32));
    let stream = key(A::ChaCha20, &"01".repeat(32));
    let des = key(A::Des3, "0123456789abcdef23456789abcdef01456789abcdef0123");
    for (key, scheme, iv, text) in [
        (&key128, S::Cbc(BlockPadding::None), 12, "IV of 16 octets, 12 octets given"),
        (&key128, S::Cbc(BlockPadding::None), 0, "IV of 16 octets, 0 octets given"),
        (&key128, S::Ctr, 15, "IV of 16"),
        (&key128, S::Gcm { tag_len: 16 }, 0, "1 to 128 octets"),
        (&key128, S::Gcm { tag_len: 16 }, 129, "1 to 128 octets"),
        (&key128, S::Ccm { tag_len: 16 }, 14, "7 to 13 octets"),
        (&xts, S::Xts, 8, "data unit number of 16"),
        (&chacha, S::ChaCha20Poly1305 { tag_len: 16 }, 8, "nonce of 12"),
        (&stream, S::ChaCha20 { counter: 0 }, 9, "nonce of 8, 12 or 16"),
        (&des, S::Cbc(BlockPadding::None), 16, "IV of 8"),
    ] {
        refused(PARAMETERS, text, seal(key, &scheme, &vec![0; iv], b"", &[0; 32]));
    }
}

fn h2(len: usize) -> String {
    hex::encode((0..len as u8).collect::<Vec<_>>())
}

#[test]
fn keys_of_wrong_size_or_kind() {
    for (algorithm, len, rule) in [
        (A::Aes, 15, "16, 24, 32"),
        (A::Des3, 8, "16 or 24"),
        (A::ChaCha20, 16, "32"),
        (A::HmacSha256, 0, "at least 1"),
    ] {
        refused(KEY, rule, KeyMaterial::symmetric(algorithm, SecretBytes::new(vec![1; len])));
    }
    refused(KEY, "XTS key of 16", seal(&aes(&h2(16)), &S::Xts, &[0; 16], b"", &[0; 16]));
    refused(KEY, "halves of an XTS key are equal", seal(&aes(&"07".repeat(32)), &S::Xts, &[0; 16], b"", &[0; 16]));
    refused(KEY, "AES key of 64", seal(&aes(&h2(64)), &S::Ctr, &[0; 16], b"", &[0; 16]));
    let chacha = key(A::ChaCha20, &h2(32));
    refused(PARAMETERS, "does not go with a ChaCha20 key", seal(&chacha, &S::Ctr, &[0; 16], b"", b"x"));
    refused(PARAMETERS, "takes an AES key", seal(&chacha, &S::KeyWrap, b"", b"", &[0; 16]));
    let (private, public) = generate_pair(&PairSpec::Ec { curve: RecommendedCurve::P256 }).unwrap();
    let (private, public) = (PreparedKey::new(&private).unwrap(), PreparedKey::new(&public).unwrap());
    let ecdsa = SignatureScheme::Ecdsa(H::Sha256);
    refused(KEY, "a public key was given", sign(&public, ecdsa, SignInput::Message(b"x")));
    refused(KEY, "takes a key of a pair", sign(&aes(&h2(16)), ecdsa, SignInput::Message(b"x")));
    refused(
        KEY,
        "takes an RSA key, this one is for EC on P_256",
        sign(&private, SignatureScheme::RsaPkcs1(H::Sha256), SignInput::Message(b"x")),
    );
    refused(KEY, "takes a symmetric key", mac(&private, MacScheme::Cmac, b"", b"x"));
    refused(KEY, "PKCS#8 private key refused", KeyMaterial::from_pkcs8(b"not DER"));
    refused(KEY, "AES key of 64", mac(&aes(&h2(64)), MacScheme::Cmac, b"", b"x"));
}

#[test]
fn data_of_wrong_size() {
    let key = aes(&h2(16));
    refused(
        DATA,
        "not whole blocks of 16 and Padding Method is None",
        seal(&key, &S::Ecb(BlockPadding::None), b"", b"", &[0; 17]),
    );
    refused(DATA, "at least 16 octets in multiples of 8", seal(&key, &S::KeyWrap, b"", b"", &[0; 8]));
    refused(DATA, "at least 16 octets in multiples of 8", seal(&key, &S::KeyWrap, b"", b"", &[0; 17]));
    refused(DATA, "at least one octet", seal(&key, &S::KeyWrapPadded, b"", b"", b""));
    refused(DATA, "16 octets to 16 MiB", seal(&aes(&h2(32)), &S::Xts, &[0; 16], b"", &[0; 15]));
    refused(DATA, "2^16 octets", seal(&key, &S::Ccm { tag_len: 8 }, &[0; 13], b"", &vec![0; 65536]));
    let cbc = S::Cbc(BlockPadding::Pkcs5);
    let mut sealed = seal(&key, &cbc, &[0; 16], b"", b"hello").unwrap();
    sealed.data.pop();
    refused(DATA, "not whole blocks", open(&key, &cbc, &[0; 16], b"", &sealed));
    sealed.data.clear();
    refused(DATA, "not whole blocks", open(&key, &cbc, &[0; 16], b"", &sealed));
}

#[test]
fn failed_checks_say_no_more_than_that() {
    let key = aes(&h2(32));
    for scheme in [S::Gcm { tag_len: 12 }, S::Ccm { tag_len: 8 }] {
        let sealed = seal(&key, &scheme, &[1; 12], b"aad", b"data").unwrap();
        let text = "do not belong together";
        refused(INTEGRITY, text, open(&aes(&"99".repeat(32)), &scheme, &[1; 12], b"aad", &sealed));
        refused(INTEGRITY, text, open(&key, &scheme, &[2; 12], b"aad", &sealed));
        refused(INTEGRITY, text, open(&key, &scheme, &[1; 12], b"AAD", &sealed));
        let mut flipped = sealed.clone();
        flipped.data[0] ^= 1;
        refused(INTEGRITY, text, open(&key, &scheme, &[1; 12], b"aad", &flipped));
        let mut flipped = sealed.clone();
        flipped.tag.as_mut().unwrap()[0] ^= 1;
        refused(INTEGRITY, text, open(&key, &scheme, &[1; 12], b"aad", &flipped));
        let mut short = sealed.clone();
        short.tag.as_mut().unwrap().pop();
        refused(PARAMETERS, "where the Tag Length is", open(&key, &scheme, &[1; 12], b"aad", &short));
        short.tag = None;
        refused(PARAMETERS, "needs the authentication tag", open(&key, &scheme, &[1; 12], b"aad", &short));
    }
    let mut wrapped = seal(&key, &S::KeyWrap, b"", b"", &[5; 16]).unwrap();
    wrapped.data[3] ^= 1;
    refused(INTEGRITY, "unwrapping failed", open(&key, &S::KeyWrap, b"", b"", &wrapped));
    // A zero block decrypts to something whose last octet is not a PKCS#5 count, with this key.
    let cbc = S::Cbc(BlockPadding::Pkcs5);
    let mut sealed = seal(&key, &cbc, &[0; 16], b"", b"hello").unwrap();
    sealed.data = vec![0; 16];
    refused(INTEGRITY, "padding", open(&key, &cbc, &[0; 16], b"", &sealed));
}

#[test]
fn combinations_that_do_not_exist() {
    let key = aes(&h2(16));
    refused(PARAMETERS, "goes with GCM", seal(&key, &S::Ctr, &[0; 16], b"aad", b"x"));
    refused(PARAMETERS, "4, 6, 8", seal(&key, &S::Ccm { tag_len: 5 }, &[0; 12], b"", b"x"));
    refused(PARAMETERS, "not 4 to 16", seal(&key, &S::Gcm { tag_len: 3 }, &[0; 12], b"", b"x"));
    let aes_kind = KeyKind::Symmetric(A::Aes);
    let with = |mode, padding, tag_length| Parameters {
        block_cipher_mode: mode,
        padding_method: padding,
        tag_length,
        ..Parameters::default()
    };
    refused(PARAMETERS, "needs a Block Cipher Mode", encryption(aes_kind, &with(None, None, None)));
    refused(
        PARAMETERS,
        "takes no padding",
        encryption(aes_kind, &with(Some(BlockCipherMode::Ctr), Some(PaddingMethod::Pkcs5), None)),
    );
    refused(
        PARAMETERS,
        "not one of block ciphers",
        encryption(aes_kind, &with(Some(BlockCipherMode::Cbc), Some(PaddingMethod::Oaep), None)),
    );
    refused(PARAMETERS, "Tag Length 17", encryption(aes_kind, &with(Some(BlockCipherMode::Gcm), None, Some(17))));
    refused(
        Class::Unsupported,
        "no AES in mode PCBC",
        encryption(aes_kind, &with(Some(BlockCipherMode::Pcbc), None, None)),
    );
    refused(PARAMETERS, "Padding Method (OAEP", encryption(KeyKind::Public(PairKind::Rsa), &with(None, None, None)));
    let contradiction = Parameters {
        hashing_algorithm: Some(H::Sha1),
        digital_signature_algorithm: Some(DigitalSignatureAlgorithm::Sha256WithRsaEncryption),
        ..Parameters::default()
    };
    refused(PARAMETERS, "contradicts", signature(KeyKind::Private(PairKind::Rsa), &contradiction));
}

#[test]
fn weak_or_unknown_generation() {
    refused(PARAMETERS, "RSA of 1536 bits", generate_pair(&PairSpec::Rsa { bits: 1536 }));
    refused(Class::Unsupported, "no curve", generate_pair(&PairSpec::Ec { curve: RecommendedCurve::Brainpoolp256r1 }));
    refused(PARAMETERS, "AES key of 100 bits", generate(&KeySpec { algorithm: A::Aes, bits: 100 }));
    refused(Class::Unsupported, "no generation of DES", generate(&KeySpec { algorithm: A::Des, bits: 56 }));
    refused(PARAMETERS, "Blowfish key of 24 bits", generate(&KeySpec { algorithm: A::Blowfish, bits: 24 }));
    assert_eq!(generate(&KeySpec { algorithm: A::Idea, bits: 128 }).unwrap().expose_canonical().len(), 16);
}

#[test]
fn des3_encrypts_only_as_legacy() {
    let des = key(A::Des3, "0123456789abcdef23456789abcdef01456789abcdef0123");
    let op =
        EncryptOp { scheme: &S::Cbc(BlockPadding::Pkcs5), iv: Iv::Given(&[0; 8]), aad: b"", data: b"x", legacy: false };
    refused(Class::Unsupported, "legacy", keygate_backends::local::encrypt(&des, &op));
}

/// A key that would hold a thread for long is registered, and not used.
#[test]
fn rsa_modulus_too_long_to_use() {
    let huge = RsaPublic { modulus: vec![0xff; 1025], public_exponent: vec![1, 0, 1] }.to_material().unwrap();
    assert_eq!(huge.bits().unwrap(), 8200);
    refused(Class::Unsupported, "RSA of 8200 bits", PreparedKey::new(&huge));
}

#[test]
fn rsa_limits() {
    let (private, _) = generate_pair(&PairSpec::Rsa { bits: 2048 }).unwrap();
    let key = PreparedKey::new(&private).unwrap();
    let oaep = S::RsaOaep { hash: H::Sha256, mgf_hash: H::Sha256, label: Vec::new() };
    refused(DATA, "more than the 190", seal(&key, &oaep, b"", b"", &[0; 191]));
    refused(DATA, "more than the 245", seal(&key, &S::RsaPkcs1, b"", b"", &[0; 246]));
    refused(DATA, "exactly 256 octets", seal(&key, &S::RsaRaw, b"", b"", &[0; 255]));
    let sealed = seal(&key, &oaep, b"", b"", b"secret").unwrap();
    let mut flipped = sealed.clone();
    flipped.data[9] ^= 1;
    refused(INTEGRITY, "RSA decryption failed", open(&key, &oaep, b"", b"", &flipped));
    let other_label = S::RsaOaep { hash: H::Sha256, mgf_hash: H::Sha256, label: b"other".to_vec() };
    refused(INTEGRITY, "RSA decryption failed", open(&key, &other_label, b"", b"", &sealed));
    let pss = SignatureScheme::RsaPss { hash: H::Sha256, mgf_hash: H::Sha256, salt_len: Some(223) };
    refused(DATA, "the RSA modulus has 256", sign(&key, pss, SignInput::Message(b"x")));
    refused(DATA, "Digested Data of 31", sign(&key, SignatureScheme::RsaPkcs1(H::Sha256), SignInput::Digest(&[0; 31])));
}
