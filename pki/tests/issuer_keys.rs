//! Issuers of every key type, as two foreign readers and OpenSSL see them.
//!
//! Method: for each algorithm make a root, an issuer and a client, check the chain with webpki, the encodings with
//! x509-parser, and the private key with OpenSSL where that knows the algorithm.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod common;

use common::{NOW, folder, now, printed, tool};
use keygate_pki::{
    Certificate, DistinguishedName, Issuer, Order, PkiError, PrivateKey, Profile, SignatureAlgorithm, Signer,
    SystemSerials,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::FromDer;

fn chain(algorithm: SignatureAlgorithm) -> [Certificate; 3] {
    let (root_key, issuer_key) = (PrivateKey::generate(algorithm).unwrap(), PrivateKey::generate(algorithm).unwrap());
    let leaf_key = PrivateKey::generate(algorithm).unwrap();
    let name = |text| DistinguishedName::new(None, text).unwrap();
    let root = Issuer::self_signed(Profile::RootCa, &name("root"), &root_key, now(), &mut SystemSerials).unwrap();
    let sign = |ca: &Certificate, key: &PrivateKey, profile, subject: &PrivateKey| {
        let order =
            Order { profile, subject: &name("subject"), public_key: subject.public_key(), names: &[], days: None };
        Issuer::new(ca, key).unwrap().issue(&order, now(), &mut SystemSerials).unwrap()
    };
    let issuer = sign(&root, &root_key, Profile::ClientIssuer, &issuer_key);
    let leaf = sign(&issuer, &issuer_key, Profile::ClientCertificate, &leaf_key);
    [root, issuer, leaf]
}

/// A relying party on rustls accepts a chain of each algorithm, and not with a signature of another issuer.
#[test]
fn rustls_accepts_chains_of_every_algorithm() {
    for algorithm in SignatureAlgorithm::ALL {
        let [root, issuer, leaf] = chain(algorithm);
        let verify = |root: &Certificate| {
            let (root, via, leaf) = (
                CertificateDer::from(root.der()),
                CertificateDer::from(issuer.der()),
                CertificateDer::from(leaf.der()),
            );
            let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unsigned_abs()));
            let usage = webpki::KeyUsage::client_auth();
            webpki::EndEntityCert::try_from(&leaf)
                .unwrap()
                .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[via], at, usage, None, None)
                .map(drop)
        };
        verify(&root).unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
        verify(&chain(algorithm)[0]).unwrap_err();
    }
}

/// Algorithm identifiers and keys stand as the RFCs say: RSA with NULL, all others without parameters, ML-DSA-65 with its
/// 1952-octet key and 3309-octet signature.
#[test]
fn encodings_follow_their_rfcs() {
    for algorithm in SignatureAlgorithm::ALL {
        let [_, _, leaf] = chain(algorithm);
        let (rest, read) = x509_parser::certificate::X509Certificate::from_der(leaf.der()).unwrap();
        assert!(rest.is_empty());
        let (oid, null) = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => ("1.2.840.10045.4.3.2", false),
            SignatureAlgorithm::EcdsaP384Sha384 => ("1.2.840.10045.4.3.3", false),
            SignatureAlgorithm::Ed25519 => ("1.3.101.112", false),
            SignatureAlgorithm::MlDsa65 => ("2.16.840.1.101.3.4.3.18", false),
            SignatureAlgorithm::RsaPkcs1Sha256 => ("1.2.840.113549.1.1.11", true),
        };
        assert_eq!(read.signature_algorithm.algorithm.to_id_string(), oid);
        assert_eq!(read.signature_algorithm.parameters.is_some(), null);
        assert_eq!(read.signature_algorithm, read.tbs_certificate.signature);
        if algorithm == SignatureAlgorithm::MlDsa65 {
            let spki = &read.tbs_certificate.subject_pki;
            assert_eq!(
                (spki.algorithm.algorithm.to_id_string().as_str(), spki.algorithm.parameters.is_none()),
                (oid, true)
            );
            assert_eq!((spki.subject_public_key.data.len(), read.signature_value.data.len()), (1952, 3309));
        }
    }
}

/// A private key of each kind survives its PKCS#8 and PEM forms, and OpenSSL agrees on the public half.
#[test]
fn private_keys_read_back_here_and_in_openssl() {
    let folder = folder("issuer-keys");
    for algorithm in SignatureAlgorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let pem = key.expose_pem().unwrap();
        for form in [pem.as_bytes(), key.expose_pkcs8()] {
            let read = PrivateKey::from_pem_or_der(form).unwrap();
            assert_eq!((read.public_key(), read.algorithm()), (key.public_key(), algorithm));
        }
        // OpenSSL 3.0 does not know ML-DSA.
        if algorithm == SignatureAlgorithm::MlDsa65 {
            continue;
        }
        std::fs::write(folder.join("key.pem"), pem.as_bytes()).unwrap();
        let Some(output) = tool("openssl", &folder, &["pkey", "-in", "key.pem", "-pubout", "-outform", "DER"]) else {
            return;
        };
        assert_eq!(output.stdout, key.public_key().spki_der(), "{algorithm:?}: {}", printed(&output));
    }
}

/// Keys as other programs write them (SEC 1, PKCS#1) are read; an encrypted one says so, rubbish is refused.
#[test]
fn older_key_files_are_read() {
    let folder = folder("older-keys");
    let make = [
        ("ec", &["ecparam", "-name", "prime256v1", "-genkey", "-out", "ec"][..], SignatureAlgorithm::EcdsaP256Sha256),
        ("rsa", &["genrsa", "-traditional", "-out", "rsa", "2048"][..], SignatureAlgorithm::RsaPkcs1Sha256),
    ];
    for (name, arguments, algorithm) in make {
        if tool("openssl", &folder, arguments).is_none() {
            return;
        }
        let key = PrivateKey::from_pem_or_der(&std::fs::read(folder.join(name)).unwrap()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        assert!(key.expose_pem().unwrap().contains("BEGIN PRIVATE KEY"));
    }
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(
        matches!(PrivateKey::from_pem_or_der(encrypted), Err(PkiError::PrivateKey(text)) if text.contains("encrypted"))
    );
    for bad in [&b"-----BEGIN EC PRIVATE KEY-----"[..], b"", &[0x30; 40_000]] {
        assert!(PrivateKey::from_pem_or_der(bad).is_err());
    }
}
