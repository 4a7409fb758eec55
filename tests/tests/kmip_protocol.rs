//! Goal: a second, independent client works: the `kmip-protocol` crate (KMIP 1.0 to 1.2).
//! It runs over our TLS client; its own TLS is rustls 0.19.
//! Method: a session by hand over its public API. Get Attributes is left out: the crate aborts the process on structured
//! attributes that it does not know.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use keygate_tests::gateway::Setup;
use keygate_tests::tools;
use kmip_protocol::client::ClientBuilder;
use kmip_protocol::types::common::{
    CryptographicAlgorithm, CryptographicUsageMask, KeyMaterial, ObjectType, UniqueIdentifier,
};
use kmip_protocol::types::request::{Attribute, RequestPayload, TemplateAttribute};
use kmip_protocol::types::response::{ManagedObject, ResponsePayload};

#[test]
fn a_session_of_the_kmip_protocol_crate_works() {
    if tools::skipped("kmip-protocol") {
        return;
    }
    let gateway = Setup::new().start();
    let stream = gateway.connect("a").into_stream();
    let client = ClientBuilder::new(stream).build();

    let query = client.query().expect("Query");
    assert!(query.operations.is_some_and(|operations| operations.len() > 15));

    let create = RequestPayload::Create(
        ObjectType::SymmetricKey,
        TemplateAttribute::unnamed(vec![
            Attribute::Name("crate-key".into()),
            Attribute::CryptographicAlgorithm(CryptographicAlgorithm::AES),
            Attribute::CryptographicLength(256),
            Attribute::CryptographicUsageMask(CryptographicUsageMask::Encrypt | CryptographicUsageMask::Decrypt),
        ]),
    );
    let ResponsePayload::Create(created) = client.do_request(create).expect("Create") else {
        panic!("not a Create answer")
    };
    let key = created.unique_identifier.0;
    let got = client.get_key(&key).expect("Get");
    assert_eq!(got.unique_identifier.0, key);
    let ManagedObject::SymmetricKey(symmetric) = got.cryptographic_object else { panic!("not a symmetric key") };
    let KeyMaterial::Bytes(material) = symmetric.key_block.key_value.key_material else { panic!("not raw") };
    assert_eq!(material.len(), 32);

    let locate = RequestPayload::Locate(vec![Attribute::Name("crate-key".into())]);
    let ResponsePayload::Locate(located) = client.do_request(locate).expect("Locate") else {
        panic!("not a Locate answer")
    };
    assert_eq!(located.unique_identifiers, [UniqueIdentifier(key.clone())]);

    let renamed = client.rename_key(&key, "crate-key-2".into()).expect("Modify Attribute");
    assert_eq!(renamed.unique_identifier.0, key);

    let (private, public) =
        client.create_rsa_key_pair(2048, "crate-private".into(), "crate-public".into()).expect("Create Key Pair");
    client.activate_key(&private).expect("Activate");
    let signed = client.sign(&private, b"to be signed").expect("Sign");
    let got = client
        .do_request(RequestPayload::Get(
            Some(UniqueIdentifier(public.clone())),
            Some(kmip_protocol::types::common::KeyFormatType::PKCS1),
            None,
            None,
        ))
        .expect("Get of the public key");
    let ResponsePayload::Get(got) = got else { panic!("not a Get answer") };
    let ManagedObject::PublicKey(public_key) = got.cryptographic_object else { panic!("not a public key") };
    let KeyMaterial::Bytes(der) = public_key.key_block.key_value.key_material else { panic!("not PKCS#1") };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
        .verify(b"to be signed", &signed.signature_data)
        .expect("the signature verifies");

    let random = client.rng_retrieve(64).expect("RNG Retrieve").data;
    assert_eq!(random.len(), 64);
    assert_ne!(random, client.rng_retrieve(64).expect("RNG Retrieve").data);

    client.revoke_key(&private).expect("Revoke");
    for object in [&private, &public, &key] {
        client.destroy_key(object).expect("Destroy");
    }
    assert!(client.get_key(&key).is_err(), "a destroyed key is not given");
}
