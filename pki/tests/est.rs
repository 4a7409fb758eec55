//! EST messages as OpenSSL reads and writes them.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod common;

use common::*;
use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, SECP_256_R_1};
use keygate_pki::{
    Certificate,
    est::{
        CsrAttribute, EstError, certs_only, csr_attributes, decode_body, encode_body, parse_certs_only,
        parse_csr_attributes,
    },
};
use proptest::prelude::*;

fn certificates() -> Vec<Certificate> {
    hierarchy().into_iter().map(|ca| ca.certificate).collect()
}

/// OpenSSL finds every certificate in our message, and we find every one in OpenSSL's, sorted or not.
#[test]
fn certs_only_messages_are_exchanged_with_openssl() {
    let (folder, all) = (folder("est"), certificates());
    let message = certs_only(&all.iter().collect::<Vec<_>>()).unwrap();
    let mut read = parse_certs_only(&message).unwrap();
    let mut expected = all.clone();
    read.sort_by_key(Certificate::fingerprint);
    expected.sort_by_key(Certificate::fingerprint);
    assert_eq!(read, expected);
    assert!(parse_certs_only(&certs_only(&[]).unwrap()).unwrap().is_empty());

    std::fs::write(folder.join("message.der"), &message).unwrap();
    let run = |arguments: &str| tool("openssl", &folder, &arguments.split(' ').collect::<Vec<_>>());
    let Some(output) = run("pkcs7 -inform DER -in message.der -print_certs -noout") else { return };
    assert_eq!(printed(&output).matches("subject=").count(), all.len(), "{}", printed(&output));
    write(&folder, "all.pem", &all.iter().collect::<Vec<_>>());
    run("crl2pkcs7 -nocrl -certfile all.pem -outform DER -out theirs.der").unwrap();
    let theirs = parse_certs_only(&decode_body(&std::fs::read(folder.join("theirs.der")).unwrap()).unwrap()).unwrap();
    assert_eq!(theirs.len(), all.len());
    assert!(all.iter().all(|certificate| theirs.contains(certificate)));
}

#[test]
fn other_messages_are_refused() {
    let all = certificates();
    let malformed =
        |der: &[u8]| matches!(parse_certs_only(der), Err(EstError::Malformed { .. } | EstError::NotCertsOnly(_)));
    assert!(malformed(all[0].der()) && malformed(&[]) && malformed(&[0x30, 0]));
    let many: Vec<_> = (0..65).map(|_| &all[0]).collect();
    // A set has no duplicates: the same certificate 65 times is one.
    assert!(certs_only(&many).is_err() || parse_certs_only(&certs_only(&many).unwrap()).is_err());
}

/// The hints survive their encoding, in the form of RFC 7030's example.
#[test]
fn csr_attributes_read_back() {
    let hints = vec![
        CsrAttribute::Oid("1.2.840.113549.1.9.7".parse().unwrap()),
        CsrAttribute::EcKey(SECP_256_R_1),
        CsrAttribute::RsaKey(3072),
        CsrAttribute::Oid(ECDSA_WITH_SHA_256),
    ];
    let der = csr_attributes(&hints).unwrap();
    assert_eq!(parse_csr_attributes(&der).unwrap(), hints);
    assert_eq!(decode_body(encode_body(&der).as_bytes()).unwrap(), der);
    assert_eq!(csr_attributes(&[]).unwrap(), [0x30, 0]);
    // RFC 7030 §4.5.2's own example: challengePassword, secp384r1, an extension request of macAddress, ecdsa-with-SHA384.
    let example = "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==";
    let read = parse_csr_attributes(&decode_body(example.as_bytes()).unwrap()).unwrap();
    let oid = |text: &str| text.parse().unwrap();
    assert_eq!(
        read,
        [
            CsrAttribute::Oid(oid("1.2.840.113549.1.9.7")),
            CsrAttribute::EcKey(oid("1.3.132.0.34")),
            CsrAttribute::Other(oid("1.2.840.113549.1.9.14")),
            CsrAttribute::Oid(oid("1.2.840.10045.4.3.3")),
        ]
    );
}

proptest! {
    #[test]
    fn random_and_damaged_messages_are_survived(
        octets in proptest::collection::vec(any::<u8>(), 0..300),
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let _ = (parse_certs_only(&octets), parse_csr_attributes(&octets));
        let hint = CsrAttribute::EcKey(SECP_256_R_1);
        for mut real in [MESSAGE.with(Clone::clone), csr_attributes(&[hint]).unwrap()] {
            for (place, octet) in &places {
                let place = place.index(real.len());
                real[place] = *octet;
            }
            let _ = (parse_certs_only(&real), parse_csr_attributes(&real));
        }
    }
}

thread_local! {
    static MESSAGE: Vec<u8> = certs_only(&[&root("x").certificate]).unwrap();
}
