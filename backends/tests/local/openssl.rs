//! Keys, signatures and RSA cipher texts exchanged with the OpenSSL command line, both ways.

use crate::helpers::{open, seal};
use keygate_backends::local::{KeyMaterial, KeyValueForm, PreparedKey, sign, verify};
use keygate_backends::{EncryptionScheme, SignInput, SignatureScheme};
use keygate_kmip::{HashingAlgorithm as H, KeyFormatType as F};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs `openssl` with paths written as `@name`.
    fn openssl(&self, line: &str) {
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).display().to_string(),
            None => word.to_owned(),
        });
        let out = Command::new("openssl").args(words).output().expect("openssl is installed");
        assert!(out.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// A PKCS#8 key in `@key` (`genpkey -outform DER` writes the traditional form).
    fn generate(&self, options: &str) {
        self.openssl(&format!("genpkey {options} -out @pem"));
        self.openssl("pkcs8 -topk8 -nocrypt -in @pem -outform DER -out @key");
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

fn private(path: &Path) -> KeyMaterial {
    KeyMaterial::from_pkcs8(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn rsa_signatures() {
    let desk = Desk::new();
    desk.generate("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    desk.openssl("pkey -inform DER -in @key -pubout -outform DER -out @pub");
    desk.put("message", b"the message");
    let key = PreparedKey::new(&private(&desk.path("key"))).unwrap();
    for (scheme, options) in [
        (SignatureScheme::RsaPkcs1(H::Sha256), "-sha256"),
        (SignatureScheme::RsaPkcs1(H::Sha1), "-sha1"),
        (
            SignatureScheme::RsaPss { hash: H::Sha256, mgf_hash: H::Sha256, salt_len: Some(17) },
            "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:17",
        ),
        (
            SignatureScheme::RsaPss { hash: H::Sha384, mgf_hash: H::Sha1, salt_len: None },
            "-sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha1 -sigopt rsa_pss_saltlen:48",
        ),
    ] {
        desk.put("ours", &sign(&key, scheme, SignInput::Message(b"the message")).unwrap());
        desk.openssl(&format!("dgst {options} -keyform DER -verify @pub -signature @ours @message"));
        desk.openssl(&format!("dgst {options} -keyform DER -sign @key -out @theirs @message"));
        assert!(verify(&key, scheme, SignInput::Message(b"the message"), &desk.get("theirs")).unwrap(), "{scheme:?}");
    }
}

#[test]
fn ecdsa_and_ed25519_signatures() {
    let desk = Desk::new();
    desk.put("message", b"the message");
    for (curve, hash, option) in [
        ("P-256", H::Sha256, "-sha256"),
        ("P-384", H::Sha384, "-sha384"),
        ("P-521", H::Sha512, "-sha512"),
        ("secp256k1", H::Sha256, "-sha256"),
    ] {
        desk.generate(&format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}"));
        desk.openssl("pkey -inform DER -in @key -pubout -outform DER -out @pub");
        let key = PreparedKey::new(&private(&desk.path("key"))).unwrap();
        let scheme = SignatureScheme::Ecdsa(hash);
        desk.put("ours", &sign(&key, scheme, SignInput::Message(b"the message")).unwrap());
        desk.openssl(&format!("dgst {option} -keyform DER -verify @pub -signature @ours @message"));
        desk.openssl(&format!("dgst {option} -keyform DER -sign @key -out @theirs @message"));
        let public = PreparedKey::new(&KeyMaterial::from_spki(&desk.get("pub")).unwrap()).unwrap();
        assert!(verify(&public, scheme, SignInput::Message(b"the message"), &desk.get("theirs")).unwrap(), "{curve}");
    }
    desk.generate("-algorithm ED25519");
    desk.openssl("pkey -inform DER -in @key -pubout -outform DER -out @pub");
    let key = PreparedKey::new(&private(&desk.path("key"))).unwrap();
    desk.put("ours", &sign(&key, SignatureScheme::Ed25519, SignInput::Message(b"the message")).unwrap());
    desk.openssl("pkeyutl -verify -rawin -keyform DER -pubin -inkey @pub -in @message -sigfile @ours");
}

#[test]
fn rsa_encryption() {
    let desk = Desk::new();
    desk.generate("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    desk.put("message", b"the message");
    let key = PreparedKey::new(&private(&desk.path("key"))).unwrap();
    let oaep = |hash, mgf_hash, label: &[u8]| EncryptionScheme::RsaOaep { hash, mgf_hash, label: label.to_vec() };
    for (scheme, options) in [
        (EncryptionScheme::RsaPkcs1, "-pkeyopt rsa_padding_mode:pkcs1"),
        (oaep(H::Sha1, H::Sha1, b""), "-pkeyopt rsa_padding_mode:oaep"),
        (
            oaep(H::Sha256, H::Sha1, b"label"),
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha1 -pkeyopt rsa_oaep_label:6c6162656c",
        ),
        (
            oaep(H::Sha512, H::Sha256, b""),
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512 -pkeyopt rsa_mgf1_md:sha256",
        ),
    ] {
        desk.put("ours", &seal(&key, &scheme, b"", b"", b"the message").unwrap().data);
        desk.openssl(&format!("pkeyutl -decrypt -keyform DER -inkey @key {options} -in @ours -out @plain"));
        assert_eq!(desk.get("plain"), b"the message", "{scheme:?}");
        desk.openssl(&format!("pkeyutl -encrypt -keyform DER -inkey @key {options} -in @message -out @theirs"));
        let theirs = keygate_backends::Encrypted { data: desk.get("theirs"), iv: None, tag: None };
        assert_eq!(open(&key, &scheme, b"", b"", &theirs).unwrap().expose(), b"the message", "{scheme:?}");
    }
}

/// OpenSSL reads the PKCS#1 and SEC 1 forms that are written here.
#[test]
fn key_formats() {
    let desk = Desk::new();
    for (options, format) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", F::Pkcs1),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", F::EcPrivateKey),
    ] {
        desk.generate(options);
        let Ok(KeyValueForm::Bytes(der)) = private(&desk.path("key")).to_form(format) else {
            panic!("{format:?} is a byte string")
        };
        desk.put("form", der.expose());
        desk.openssl("pkey -inform DER -in @form -pubout -outform DER -out @pub1");
        desk.openssl("pkey -inform DER -in @key -pubout -outform DER -out @pub2");
        assert_eq!(desk.get("pub1"), desk.get("pub2"));
    }
}
