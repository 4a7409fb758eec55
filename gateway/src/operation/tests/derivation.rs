//! Deriving keys: from what, how, and what is left behind.

use keygate_kmip::{
    CryptographicParameters, DerivationMethod, DerivationParameters, DeriveKeyRequest, GetAttributesRequest, HashingAlgorithm, LinkType,
};

use super::*;

const BASE: &[u8] = b"sixteen octets..";

fn sha256() -> Option<CryptographicParameters> {
    Some(CryptographicParameters { hashing_algorithm: Some(HashingAlgorithm::Sha256), ..CryptographicParameters::default() })
}

fn request(base: &str, method: DerivationMethod, parameters: DerivationParameters, bits: i32) -> DeriveKeyRequest {
    let mut attributes = active(EVERY_USE);
    attributes.push(Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes));
    attributes.push(Attribute::CryptographicLength(bits));
    DeriveKeyRequest {
        object_type: ObjectType::SymmetricKey,
        unique_identifiers: vec![named(base)],
        derivation_method: method,
        derivation_parameters: parameters,
        attributes: attributes.into_iter().collect(),
    }
}

fn hmac(data: &[u8]) -> DerivationParameters {
    DerivationParameters {
        cryptographic_parameters: sha256(),
        initialization_vector: None,
        derivation_data: vec![data.to_vec()],
        salt: None,
        iteration_count: None,
    }
}

async fn derived(world: &World, caller: &Caller, request: DeriveKeyRequest) -> Result<String, OperationError> {
    match world.ask(caller, RequestPayload::DeriveKey(request)).await? {
        ResponsePayload::DeriveKey(response) => Ok(text(&response.unique_identifier)),
        _ => panic!("Derive Key is answered by Derive Key"),
    }
}

async fn base(world: &World) -> String {
    let mask = CryptographicUsageMask(EVERY_USE.0 | CryptographicUsageMask::DERIVE_KEY.0);
    world.registered(CryptographicAlgorithm::HmacSha256, BASE, vec![Attribute::CryptographicUsageMask(mask)]).await
}

fn octets(object: &ManagedObject) -> Vec<u8> {
    match object.key_block().and_then(|block| block.key_value.as_ref()) {
        Some(KeyValue::Plain { material: KeyMaterial::Bytes(bytes), .. }) => bytes.expose_bytes().to_vec(),
        _ => panic!("a key in octets"),
    }
}

async fn links(world: &World, id: &str) -> Vec<(LinkType, String)> {
    let request = GetAttributesRequest { unique_identifier: Some(named(id)), names: Vec::new() };
    let Ok(ResponsePayload::GetAttributes(response)) = world.ask(&world.alice, RequestPayload::GetAttributes(request)).await else {
        panic!("attributes");
    };
    let of_link = |attribute: &Attribute| match attribute {
        Attribute::Link(link) => Some((link.link_type, text(&link.linked_object_identifier))),
        _ => None,
    };
    response.attributes.list.iter().filter_map(|instance| of_link(&instance.attribute)).collect()
}

/// The derived key is the HMAC, both objects know each other, and the same request gives the same key again.
#[tokio::test]
async fn base_and_derived_key_know_each_other() {
    let world = World::new().await;
    let base = base(&world).await;
    let id = derived(&world, &world.alice, request(&base, DerivationMethod::Hmac, hmac(b"disk 1"), 256)).await.expect("derived");
    let again = derived(&world, &world.alice, request(&base, DerivationMethod::Hmac, hmac(b"disk 1"), 256)).await.expect("derived");
    let other = derived(&world, &world.alice, request(&base, DerivationMethod::Hmac, hmac(b"disk 2"), 256)).await.expect("derived");

    let expected = aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, BASE), b"disk 1");
    assert_eq!(octets(&world.get(&world.alice, &id).await.expect("got")), expected.as_ref());
    assert_eq!(octets(&world.get(&world.alice, &again).await.expect("got")), expected.as_ref());
    assert_ne!(octets(&world.get(&world.alice, &other).await.expect("got")), expected.as_ref());

    assert_eq!(links(&world, &id).await, [(LinkType::DerivationBaseObjectLink, base.clone())]);
    let expected: Vec<_> = [id, again, other].into_iter().map(|id| (LinkType::DerivedKeyLink, id)).collect();
    assert_eq!(links(&world, &base).await, expected);
}

/// Nothing is derived from another's key, without the usage, or from too little.
#[tokio::test]
async fn what_is_not_derived() {
    let world = World::new().await;
    let base = base(&world).await;
    let ask = async |caller: &Caller, request| derived(&world, caller, request).await.expect_err("refused");

    let foreign = ask(&world.bob, request(&base, DerivationMethod::Hmac, hmac(b"x"), 256)).await;
    assert!(matches!(foreign, OperationError::NotFound), "{foreign}");
    let unfit = world.registered(CryptographicAlgorithm::Aes, BASE, Vec::new()).await;
    let unfit = ask(&world.alice, request(&unfit, DerivationMethod::Hmac, hmac(b"x"), 256)).await;
    assert!(matches!(unfit, OperationError::UsageNotAllowed(_)), "{unfit}");

    let too_long = ask(&world.alice, request(&base, DerivationMethod::Hmac, hmac(b"x"), 512)).await;
    assert_eq!(too_long.to_string(), "the method gives at most 32 octets, 64 are asked for");
    let odd = ask(&world.alice, request(&base, DerivationMethod::Hmac, hmac(b"x"), 129)).await;
    assert_eq!(odd.to_string(), "Cryptographic Length of 129 bits is not whole octets");
    let of_data = ask(&world.alice, request(&base, DerivationMethod::Hash, hmac(b"x"), 128)).await;
    assert_eq!(of_data.to_string(), "HASH is of the derivation key; it takes no Derivation Data");
    let no_data = DerivationParameters { derivation_data: Vec::new(), ..hmac(b"") };
    let no_data = ask(&world.alice, request(&base, DerivationMethod::Hmac, no_data, 128)).await;
    assert_eq!(no_data.to_string(), "HMAC needs Derivation Data in the Derivation Parameters");
    let no_salt = ask(&world.alice, request(&base, DerivationMethod::Pbkdf2, hmac(b"x"), 128)).await;
    assert_eq!(no_salt.to_string(), "PBKDF2 needs a Salt in the Derivation Parameters");
    let feedback = ask(&world.alice, request(&base, DerivationMethod::Nist800_108F, hmac(b"x"), 128)).await;
    assert!(matches!(feedback, OperationError::FeatureNotSupported(_)), "{feedback}");
    assert!(links(&world, &base).await.is_empty(), "what was refused leaves nothing behind");
}
