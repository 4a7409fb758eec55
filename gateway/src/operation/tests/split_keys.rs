//! Split keys: a key in parts and back, and every way in which parts could give a wrong one.

use keygate_kmip::{
    BigInteger, CreateSplitKeyRequest, JoinSplitKeyRequest, ModifyAttributeRequest, Name, SecretData, SecretDataType, SplitKey,
    SplitKeyMethod,
};

use super::*;

const KEY: [u8; 32] = *b"a key that is only ever in parts";

const METHODS: [(SplitKeyMethod, i32, i32); 4] = [
    (SplitKeyMethod::Xor, 3, 3),
    (SplitKeyMethod::PolynomialSharingGf2_8, 2, 4),
    (SplitKeyMethod::PolynomialSharingGf2_16, 3, 5),
    (SplitKeyMethod::PolynomialSharingPrimeField, 2, 3),
];

fn split_request(base: Option<&str>, (method, threshold, parts): (SplitKeyMethod, i32, i32), attributes: Vec<Attribute>) -> RequestPayload {
    RequestPayload::CreateSplitKey(CreateSplitKeyRequest {
        object_type: ObjectType::SplitKey,
        unique_identifier: base.map(named),
        parts,
        threshold,
        method,
        prime_field_size: None,
        attributes: attributes.into_iter().collect(),
        protection_storage_masks: None,
    })
}

async fn split(world: &World, base: Option<&str>, how: (SplitKeyMethod, i32, i32), attributes: Vec<Attribute>) -> Result<Vec<String>, OperationError> {
    match world.ask(&world.alice, split_request(base, how, attributes)).await? {
        ResponsePayload::CreateSplitKey(response) => Ok(response.unique_identifiers.iter().map(text).collect()),
        _ => panic!("Create Split Key is answered by Create Split Key"),
    }
}

async fn join_as(world: &World, caller: &Caller, object_type: ObjectType, parts: &[&String], attributes: Vec<Attribute>) -> Result<String, OperationError> {
    let request = JoinSplitKeyRequest {
        object_type,
        unique_identifiers: parts.iter().map(|part| named(part)).collect(),
        secret_data_type: None,
        attributes: Some(attributes.into_iter().collect()),
        protection_storage_masks: None,
    };
    match world.ask(caller, RequestPayload::JoinSplitKey(request)).await? {
        ResponsePayload::JoinSplitKey(response) => Ok(text(&response.unique_identifier)),
        _ => panic!("Join Split Key is answered by Join Split Key"),
    }
}

async fn join(world: &World, parts: &[&String]) -> Result<String, OperationError> {
    join_as(world, &world.alice, ObjectType::SymmetricKey, parts, active(EVERY_USE)).await
}

async fn value(world: &World, id: &str) -> Vec<u8> {
    let object = world.get(&world.alice, id).await.expect("alice's");
    register::value_bytes(&object).expect("a value").to_vec()
}

/// A client takes a part out, changes it, and registers it again as another part.
async fn registered_again(world: &World, id: &str, change: impl FnOnce(&mut SplitKey, &mut Vec<u8>)) -> String {
    let Ok(ManagedObject::SplitKey(mut part)) = world.get(&world.alice, id).await else { panic!("a part") };
    let mut octets = value(world, id).await;
    change(&mut part, &mut octets);
    let material = KeyMaterial::Bytes(Secret::new(octets));
    part.key_block.key_value = Some(KeyValue::Plain { material, attributes: Attributes::default() });
    register_part(world, part).await.expect("registered")
}

async fn register_part(world: &World, part: SplitKey) -> Result<String, OperationError> {
    let request = RegisterRequest {
        object_type: ObjectType::SplitKey,
        attributes: active(EVERY_USE).into_iter().collect(),
        object: ManagedObject::SplitKey(part),
        protection_storage_masks: None,
    };
    match world.ask(&world.alice, RequestPayload::Register(request)).await? {
        ResponsePayload::Register(response) => Ok(text(&response.unique_identifier)),
        _ => panic!("Register is answered by Register"),
    }
}

/// Every method: any parts that are enough give the key; too few, one twice, and parts of two keys do not.
#[tokio::test]
async fn parts_give_the_key_and_nothing_else() {
    let world = World::new().await;
    let key = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    for how in METHODS {
        let parts = split(&world, Some(&key), how, Vec::new()).await.expect("split");
        let others = split(&world, Some(&key), how, Vec::new()).await.expect("split again");
        assert_eq!(parts.len(), how.2 as usize);
        for (number, id) in (1..).zip(&parts) {
            let Ok(ManagedObject::SplitKey(part)) = world.get(&world.alice, id).await else { panic!("a part") };
            assert_eq!((part.parts, part.part_identifier, part.threshold, part.method), (how.2, number, how.1, how.0));
            assert_ne!(value(&world, id).await, KEY);
        }
        let threshold = how.1 as usize;
        let enough: Vec<&String> = parts.iter().rev().take(threshold).collect();
        let joined = join(&world, &enough).await.expect("enough parts");
        assert_eq!(value(&world, &joined).await, KEY, "{how:?}");
        let all: Vec<&String> = parts.iter().collect();
        let joined = join(&world, &all).await.expect("all parts");
        assert_eq!(value(&world, &joined).await, KEY, "{how:?}");
        let too_few = join(&world, &enough[1..]).await;
        assert!(matches!(too_few, Err(OperationError::CryptographicFailure(_))), "{how:?}: {too_few:?}");
        let mut twice = enough.clone();
        twice[0] = enough[1];
        let twice = join(&world, &twice).await;
        assert!(matches!(twice, Err(OperationError::InvalidField(_))), "{how:?}: {twice:?}");
        let mut mixed: Vec<&String> = parts.iter().take(threshold).collect();
        mixed[0] = &others[0];
        let mixed = join(&world, &mixed).await;
        assert!(matches!(mixed, Err(OperationError::CryptographicFailure(_))), "{how:?}: {mixed:?}");
    }
}

/// An altered part is told even where there are no more parts than needed, as long as one of them is the server's own.
#[tokio::test]
async fn an_altered_part_gives_no_key() {
    let world = World::new().await;
    let key = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    for how in METHODS {
        let parts = split(&world, Some(&key), how, Vec::new()).await.expect("split");
        let altered = registered_again(&world, &parts[0], |_, octets| *octets.last_mut().expect("octets") ^= 1).await;
        let mut given: Vec<&String> = parts.iter().take(how.1 as usize).collect();
        given[0] = &altered;
        let joined = join(&world, &given).await;
        assert!(matches!(joined, Err(OperationError::CryptographicFailure(_))), "{how:?}: {joined:?}");
        let renumbered = registered_again(&world, &parts[0], |part, _| part.part_identifier = how.2).await;
        given[0] = &renumbered;
        given.truncate(how.1 as usize);
        if how.0 != SplitKeyMethod::Xor {
            let joined = join(&world, &given).await;
            assert!(matches!(joined, Err(OperationError::CryptographicFailure(_))), "{how:?}: {joined:?}");
        }
        let shorter = registered_again(&world, &parts[0], |part, _| part.threshold -= 1).await;
        given[0] = &shorter;
        assert!(matches!(join(&world, &given).await, Err(OperationError::InvalidField(_))), "{how:?}");
    }
}

/// Parts that came back through a client have no origin here: they are joined, and compared as far as there are more than needed.
#[tokio::test]
async fn parts_of_unknown_origin_are_compared_with_each_other() {
    let world = World::new().await;
    let key = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    for how in METHODS {
        let parts = split(&world, Some(&key), how, Vec::new()).await.expect("split");
        let mut foreign = Vec::new();
        for part in &parts {
            foreign.push(registered_again(&world, part, |_, _| {}).await);
        }
        let joined = join(&world, &foreign.iter().collect::<Vec<_>>()).await.expect("all parts");
        assert_eq!(value(&world, &joined).await, KEY, "{how:?}");
        if how.1 < how.2 {
            let altered = registered_again(&world, &parts[1], |_, octets| octets[1] ^= 1).await;
            foreign[1] = altered;
            let joined = join(&world, &foreign.iter().collect::<Vec<_>>()).await;
            assert!(matches!(joined, Err(OperationError::CryptographicFailure(_))), "{how:?}: {joined:?}");
        }
    }
}

/// A new key is only ever in parts; they survive a restart, and so does what the server remembers of them.
#[tokio::test]
async fn a_new_key_is_made_in_parts() {
    let mut world = World::new().await;
    let attributes = || vec![Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes), Attribute::CryptographicLength(256), Attribute::CryptographicUsageMask(EVERY_USE)];
    let how = (SplitKeyMethod::PolynomialSharingGf2_8, 2, 3);
    let parts = split(&world, None, how, attributes()).await.expect("a new key");
    let altered = registered_again(&world, &parts[2], |_, octets| octets[0] ^= 1).await;
    world.restart().await;
    let one = join(&world, &[&parts[0], &parts[1]]).await.expect("joined");
    let other = join(&world, &[&parts[2], &parts[1]]).await.expect("joined");
    assert_eq!(value(&world, &one).await, value(&world, &other).await);
    assert_eq!(value(&world, &one).await.len(), 32);
    assert!(matches!(join(&world, &[&parts[0], &altered]).await, Err(OperationError::CryptographicFailure(_))));
    let refused = async |attributes: Vec<Attribute>| split(&world, None, how, attributes).await.expect_err("refused");
    assert!(matches!(refused(Vec::new()).await, OperationError::InvalidMessage(_)));
    assert!(matches!(refused(attributes()[..1].to_vec()).await, OperationError::InvalidMessage(_)));
    let mut odd = attributes();
    odd[1] = Attribute::CryptographicLength(255);
    assert!(matches!(refused(odd).await, OperationError::InvalidField(_)));
    let mut named_parts = attributes();
    named_parts.push(Attribute::Name(Name::text("one for all")));
    assert!(matches!(refused(named_parts).await, OperationError::InvalidField(_)));
}

/// What must not leave is not split; what leaves only wrapped stays so, in parts and joined.
#[tokio::test]
async fn secrecy_is_not_lost_by_splitting() {
    let world = World::new().await;
    let how = METHODS[1];
    let kept = world.registered(CryptographicAlgorithm::Aes, &KEY, vec![Attribute::Extractable(false)]).await;
    assert!(matches!(split(&world, Some(&kept), how, Vec::new()).await, Err(OperationError::NotExtractable)));
    let sensitive = world.registered(CryptographicAlgorithm::Aes, &KEY, vec![Attribute::Sensitive(true)]).await;
    let parts = split(&world, Some(&sensitive), how, vec![Attribute::Sensitive(false)]).await.expect("split");
    assert!(matches!(world.get(&world.alice, &parts[0]).await, Err(OperationError::Sensitive)));
    let mut attributes = active(EVERY_USE);
    attributes.push(Attribute::Sensitive(false));
    let joined = join_as(&world, &world.alice, ObjectType::SymmetricKey, &[&parts[0], &parts[1]], attributes).await.expect("joined");
    assert!(matches!(world.get(&world.alice, &joined).await, Err(OperationError::Sensitive)));
    // Others' keys and parts are as if they were absent.
    let key = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let asked = world.ask(&world.bob, split_request(Some(&key), how, Vec::new())).await;
    assert!(matches!(asked, Err(OperationError::NotFound)));
    let joined = join_as(&world, &world.bob, ObjectType::SymmetricKey, &[&parts[0], &parts[1]], active(EVERY_USE)).await;
    assert!(matches!(joined, Err(OperationError::NotFound)));
    // The server's memory of a part is not a client's to change.
    let name = keygate_kmip::AttributeName::Custom { vendor: "y".to_owned(), name: "keygate-split-key".to_owned() };
    let attribute = name.with_value(&AnyValue::octets(vec![0; 43]), ProtocolVersion::V2_1).expect("a custom attribute");
    let request = ModifyAttributeRequest { unique_identifier: Some(named(&parts[0])), current: None, attribute: attribute.into() };
    let changed = world.ask(&world.alice, RequestPayload::ModifyAttribute(request)).await;
    assert!(matches!(changed, Err(OperationError::ReadOnlyAttribute(_))));
    // A key in a device stays there.
    let Ok(ResponsePayload::Create(made)) = world.ask(&world.alice, create_aes(vec![in_device()])).await else { panic!("made") };
    let asked = split(&world, Some(&text(&made.unique_identifier)), how, Vec::new()).await;
    assert!(matches!(asked, Err(OperationError::NotExtractable | OperationError::FeatureNotSupported(_))));
}

/// Passwords are split and joined as well; the kind that is asked for is checked.
#[tokio::test]
async fn secret_data_and_other_types() {
    let world = World::new().await;
    let key_block = KeyBlock {
        key_format_type: KeyFormatType::Opaque,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain { material: KeyMaterial::Bytes(Secret::new(b"sesame".to_vec())), attributes: Attributes::default() }),
        cryptographic_algorithm: None,
        cryptographic_length: None,
        key_wrapping_data: None,
    };
    let request = RegisterRequest {
        object_type: ObjectType::SecretData,
        attributes: active(EVERY_USE).into_iter().collect(),
        object: ManagedObject::SecretData(SecretData { data_type: SecretDataType::Password, key_block }),
        protection_storage_masks: None,
    };
    let Ok(ResponsePayload::Register(made)) = world.ask(&world.alice, RequestPayload::Register(request)).await else { panic!("registered") };
    let password = text(&made.unique_identifier);
    let parts = split(&world, Some(&password), METHODS[2], Vec::new()).await.expect("split");
    let given: Vec<&String> = parts.iter().take(3).collect();
    let joined = join_as(&world, &world.alice, ObjectType::SecretData, &given, active(EVERY_USE)).await.expect("joined");
    assert_eq!(value(&world, &joined).await, b"sesame");
    let mut as_key = active(EVERY_USE);
    as_key.push(Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes));
    let wrong = join_as(&world, &world.alice, ObjectType::SymmetricKey, &given, as_key).await;
    assert!(matches!(wrong, Err(OperationError::CryptographicFailure(_))), "six octets are no AES key: {wrong:?}");
    let wrong = join_as(&world, &world.alice, ObjectType::PublicKey, &given, Vec::new()).await;
    assert!(matches!(wrong, Err(OperationError::InvalidField(_))));
    let wrong = join_as(&world, &world.alice, ObjectType::SecretData, &[&password], Vec::new()).await;
    assert!(matches!(wrong, Err(OperationError::InvalidField(_))), "a password is no part");
    let none = join_as(&world, &world.alice, ObjectType::SecretData, &[], Vec::new()).await;
    assert!(matches!(none, Err(OperationError::InvalidMessage(_))));
}

/// Numbers, primes and parts that cannot be are refused.
#[tokio::test]
async fn impossible_requests_are_refused() {
    let world = World::new().await;
    let key = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    for numbers in [(0, 3), (4, 3), (2, 256), (2, 0), (-1, -1)] {
        let refused = split(&world, Some(&key), (SplitKeyMethod::PolynomialSharingGf2_8, numbers.0, numbers.1), Vec::new()).await;
        assert!(matches!(refused, Err(OperationError::InvalidField(_))), "{numbers:?}: {refused:?}");
    }
    let refused = split(&world, Some(&key), (SplitKeyMethod::Xor, 2, 3), Vec::new()).await;
    assert!(matches!(refused, Err(OperationError::BadCryptographicParameters(_))), "{refused:?}");
    let with_prime = async |method, prime: Vec<u8>| {
        let RequestPayload::CreateSplitKey(mut request) = split_request(Some(&key), (method, 2, 3), Vec::new()) else { unreachable!() };
        request.prime_field_size = Some(BigInteger::from_unsigned(&prime));
        world.ask(&world.alice, RequestPayload::CreateSplitKey(request)).await.map(drop)
    };
    let field = SplitKeyMethod::PolynomialSharingPrimeField;
    assert!(matches!(with_prime(field, vec![0xFF; 33]).await, Err(OperationError::BadCryptographicParameters(_))), "a multiple of 255");
    assert!(matches!(with_prime(field, vec![1, 1]).await, Err(OperationError::BadCryptographicParameters(_))), "smaller than the key");
    assert!(matches!(with_prime(field, vec![0xFF; 200]).await, Err(OperationError::BadCryptographicParameters(_))), "too large");
    assert!(matches!(with_prime(SplitKeyMethod::Xor, vec![1, 1]).await, Err(OperationError::InvalidField(_))));
    let wrong_type = RequestPayload::CreateSplitKey(CreateSplitKeyRequest {
        object_type: ObjectType::SymmetricKey,
        unique_identifier: Some(named(&key)),
        parts: 3,
        threshold: 2,
        method: SplitKeyMethod::PolynomialSharingGf2_8,
        prime_field_size: None,
        attributes: Attributes::default(),
        protection_storage_masks: None,
    });
    assert!(matches!(world.ask(&world.alice, wrong_type).await, Err(OperationError::InvalidField(_))));
    let parts = split(&world, Some(&key), METHODS[3], Vec::new()).await.expect("split");
    let Ok(ManagedObject::SplitKey(part)) = world.get(&world.alice, &parts[0]).await else { panic!("a part") };
    for wrong in [
        SplitKey { part_identifier: 0, ..part.clone() },
        SplitKey { part_identifier: 4, ..part.clone() },
        SplitKey { threshold: 4, ..part.clone() },
        SplitKey { prime_field_size: None, ..part },
    ] {
        let refused = register_part(&world, wrong).await;
        assert!(matches!(refused, Err(OperationError::InvalidField(_) | OperationError::InvalidMessage(_))), "{refused:?}");
    }
}
