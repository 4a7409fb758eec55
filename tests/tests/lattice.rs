//! Goal: KMIP has codes for ML-DSA and ML-KEM from version 3.0 on, so clients of earlier versions neither make such keys nor bring
//! them in under another name. Method: the requests that would, in 1.4 and 2.1.

use keygate_backends::local::{KeyMaterial, generate_pair};
use keygate_backends::{MlDsa, MlKem, PairSpec};
use keygate_kmip::{Operation, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::Setup;
use keygate_tests::request::{self, bytes, enumeration, integer, structure};
use keygate_tests::ttlv::{Item, Value};

fn refused(client: &mut TlsKmipClient, version: (i32, i32), operation: Operation, payload: Vec<Item>) {
    let answer = client.request(&request::message(version, vec![(operation, payload)])).expect("an answer");
    let (reason, text) = request::outcome(&answer).expect_err("refused");
    assert_ne!(reason, 0, "{text}");
}

/// A PKCS#8 private key as an object to register, said to be of another algorithm.
fn register(version: (i32, i32), key: &KeyMaterial, algorithm: Option<u32>) -> Vec<Item> {
    let mut block = vec![
        enumeration(Tag::KEY_FORMAT_TYPE, 4),
        structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, key.expose_canonical())]),
    ];
    block.extend(algorithm.map(|code| enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, code)));
    block.extend(algorithm.map(|_| integer(Tag::CRYPTOGRAPHIC_LENGTH, 256)));
    let mask = vec![(Tag::CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", Value::Integer(1))];
    vec![
        enumeration(Tag::OBJECT_TYPE, 4),
        request::attributes_item(version, mask),
        structure(Tag::PRIVATE_KEY, vec![structure(Tag::KEY_BLOCK, block)]),
    ]
}

#[test]
fn earlier_versions_have_no_such_keys() {
    let gateway = Setup::new().start();
    for version in [(1, 4), (2, 1)] {
        for code in 0x39..=0x3E {
            let mut client = gateway.connect("a");
            let template = match version {
                (1, _) => structure(
                    Tag::COMMON_TEMPLATE_ATTRIBUTE,
                    vec![request::attribute("Cryptographic Algorithm", Value::Enumeration(code))],
                ),
                _ => structure(Tag::COMMON_ATTRIBUTES, vec![enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, code)]),
            };
            refused(&mut client, version, Operation::CreateKeyPair, vec![template]);
        }
        for spec in [PairSpec::MlDsa(MlDsa::MlDsa44), PairSpec::MlKem(MlKem::MlKem768)] {
            let (private, _) = generate_pair(&spec).expect("a pair");
            let mut client = gateway.connect("a");
            // A code that the version does not have.
            refused(&mut client, version, Operation::Register, register(version, &private, Some(0x3A)));
            // RSA, EC, ECDSA: what is registered is what the client says, and does not work as that.
            for algorithm in [4, 0x1A, 6] {
                let payload = register(version, &private, Some(algorithm));
                let answer = client.request(&request::message(version, vec![(Operation::Register, payload)])).expect("an answer");
                let Ok(registered) = request::outcome(&answer) else { continue };
                let sign = vec![
                    request::text(Tag::UNIQUE_IDENTIFIER, &request::identifier(&registered)),
                    structure(Tag::CRYPTOGRAPHIC_PARAMETERS, vec![enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, algorithm)]),
                    bytes(Tag::DATA, b"message"),
                ];
                refused(&mut client, version, Operation::Sign, sign);
            }
        }
    }
}
