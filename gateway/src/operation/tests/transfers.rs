//! Stories of objects that leave by Export and come by Import.

use keygate_kmip::{
    Digest, ExportRequest, ExportResponse, HashingAlgorithm, ImportRequest, KeyWrapType, RevocationReason, RevocationReasonCode, RevokeRequest, State,
    Tag,
};

use super::*;

const KEY: [u8; 16] = [7; 16];

async fn export(world: &World, caller: &Caller, id: &str) -> Result<ExportResponse, OperationError> {
    let request = ExportRequest { unique_identifier: Some(named(id)), ..ExportRequest::default() };
    match world.ask(caller, RequestPayload::Export(request)).await? {
        ResponsePayload::Export(response) => Ok(response),
        _ => panic!("Export is answered by Export"),
    }
}

fn import_of(exported: &ExportResponse, replace_existing: Option<bool>) -> ImportRequest {
    ImportRequest {
        unique_identifier: exported.unique_identifier.clone(),
        object_type: Some(exported.object_type),
        replace_existing,
        key_wrap_type: None,
        attributes: exported.attributes.clone(),
        object: exported.object.clone(),
    }
}

async fn import(world: &World, caller: &Caller, request: ImportRequest) -> Result<String, OperationError> {
    match world.ask(caller, RequestPayload::Import(request)).await? {
        ResponsePayload::Import(response) => Ok(text(&response.unique_identifier)),
        _ => panic!("Import is answered by Import"),
    }
}

fn sorted(attributes: &Attributes) -> Vec<String> {
    let mut list: Vec<String> = attributes.list.iter().map(|instance| format!("{:?}", instance.attribute)).collect();
    list.sort();
    list
}

/// What is exported and imported again is the same object: state, dates, digests and identifier are as they were.
#[tokio::test]
async fn an_object_comes_back_as_it_left() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, vec![Attribute::Comment("mine".to_owned())]).await;
    let revoke = RevokeRequest {
        unique_identifier: Some(named(&id)),
        revocation_reason: RevocationReason { code: RevocationReasonCode::KeyCompromise, message: None },
        compromise_occurrence_date: None,
    };
    world.ask(&world.alice, RequestPayload::Revoke(revoke)).await.expect("revoked");
    let left = export(&world, &world.alice, &id).await.expect("exported");
    world.ask(&world.alice, destroy_request(&id)).await.expect("destroyed");
    assert_eq!(import(&world, &world.alice, import_of(&left, Some(true))).await.expect("imported"), id);
    let back = export(&world, &world.alice, &id).await.expect("exported again");
    assert_eq!(sorted(&back.attributes), sorted(&left.attributes));
    assert_eq!(back.object, left.object);
    assert!(back.attributes.list.iter().any(|instance| instance.attribute == Attribute::State(State::Compromised)));
}

/// An object that is there is replaced only where the request says so, and then wholly.
#[tokio::test]
async fn an_object_is_replaced_only_where_asked() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let left = export(&world, &world.alice, &id).await.expect("exported");
    for replace in [None, Some(false)] {
        assert!(matches!(import(&world, &world.alice, import_of(&left, replace)).await, Err(OperationError::ObjectExists)));
    }
    let mut changed = import_of(&left, Some(true));
    changed.object = symmetric(CryptographicAlgorithm::Aes, &[9; 16]);
    changed.attributes = active(EVERY_USE).into_iter().collect();
    assert_eq!(import(&world, &world.alice, changed).await.expect("replaced"), id);
    assert_eq!(world.get(&world.alice, &id).await.expect("got"), symmetric(CryptographicAlgorithm::Aes, &[9; 16]));
}

/// Another owner's object is as absent to Import as to everything else: with or without Replace Existing the import is made under an
/// identifier of its own, and the other object is what it was.
#[tokio::test]
async fn another_owners_object_is_left_alone() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let before = export(&world, &world.alice, &id).await.expect("exported");
    for replace in [None, Some(false), Some(true)] {
        let mut request = import_of(&before, replace);
        request.object = symmetric(CryptographicAlgorithm::Aes, &[9; 16]);
        let own = import(&world, &world.bob, request).await.expect("imported");
        assert_ne!(own, id);
        assert_eq!(world.get(&world.bob, &own).await.expect("bob's"), symmetric(CryptographicAlgorithm::Aes, &[9; 16]));
    }
    let after = export(&world, &world.alice, &id).await.expect("exported");
    assert_eq!((sorted(&after.attributes), after.object), (sorted(&before.attributes), before.object));
}

/// An identifier that this server could not have given is replaced by one of its own.
#[tokio::test]
async fn a_foreign_identifier_is_not_kept() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let left = export(&world, &world.alice, &id).await.expect("exported");
    for foreign in ["1", "key-of-elsewhere", "ffffffff-ffff-7fff-bfff-ffffffffffff", "7b2b6b0c-3f43-4b3e-9b5a-0f4c8f1f0a11"] {
        let mut request = import_of(&left, None);
        request.unique_identifier = named(foreign);
        let given = import(&world, &world.alice, request).await.expect("imported");
        assert_ne!(given, foreign);
        world.get(&world.alice, &given).await.expect("it is there");
    }
}

/// Attributes that contradict the object, or that it cannot have, are refused, and nothing is kept.
#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let left = export(&world, &world.alice, &id).await.expect("exported");
    let with = |attribute: Attribute| {
        let mut request = import_of(&left, Some(true));
        request.attributes.list.retain(|instance| instance.attribute.name() != attribute.name());
        request.attributes.list.push(attribute.into());
        request
    };
    for attribute in [Attribute::ObjectType(ObjectType::PublicKey), Attribute::State(State::Destroyed), Attribute::CertificateLength(3)] {
        let refused = import(&world, &world.alice, with(attribute)).await;
        assert!(matches!(refused, Err(OperationError::InvalidField(_))), "{refused:?}");
    }
    let mut twice = import_of(&left, Some(true));
    twice.attributes.list.push(Attribute::CryptographicLength(128).into());
    assert!(matches!(import(&world, &world.alice, twice).await, Err(OperationError::SingleValuedAttribute(_))));
    let mut other_type = import_of(&left, Some(true));
    other_type.object_type = Some(ObjectType::PublicKey);
    assert!(matches!(import(&world, &world.alice, other_type).await, Err(OperationError::InvalidField(_))));
    assert_eq!(export(&world, &world.alice, &id).await.expect("unchanged").object, left.object);
}

/// A key that must not leave does not leave by Export either; one that is sensitive leaves wrapped only.
#[tokio::test]
async fn what_must_not_leave_stays() {
    let world = World::new().await;
    let stays = world.registered(CryptographicAlgorithm::Aes, &KEY, vec![Attribute::Extractable(false)]).await;
    assert!(matches!(export(&world, &world.alice, &stays).await, Err(OperationError::NotExtractable)));
    let sensitive = world.registered(CryptographicAlgorithm::Aes, &KEY, vec![Attribute::Sensitive(true)]).await;
    assert!(matches!(export(&world, &world.alice, &sensitive).await, Err(OperationError::Sensitive)));
    assert!(matches!(export(&world, &world.bob, &sensitive).await, Err(OperationError::NotFound)));
}

/// Export is not what makes an object served: Fresh stays.
#[tokio::test]
async fn export_leaves_an_object_fresh() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    for _ in 0..2 {
        let exported = export(&world, &world.alice, &id).await.expect("exported");
        assert!(exported.attributes.list.iter().any(|instance| instance.attribute == Attribute::Fresh(true)));
    }
}

/// A replaced key that lived in a device is gone from it.
#[tokio::test]
async fn a_replaced_key_leaves_its_device() {
    let world = World::new().await;
    let created = world.ask(&world.alice, create_aes(vec![in_device()])).await;
    let Ok(ResponsePayload::Create(created)) = created else { panic!("created in the device") };
    let id = text(&created.unique_identifier);
    assert_eq!(world.device.key_count(), 1);
    let request = ImportRequest {
        unique_identifier: named(&id),
        object_type: None,
        replace_existing: Some(true),
        key_wrap_type: Some(KeyWrapType::NotWrapped),
        attributes: active(EVERY_USE).into_iter().collect(),
        object: symmetric(CryptographicAlgorithm::Aes, &KEY),
    };
    assert_eq!(import(&world, &world.alice, request).await.expect("replaced"), id);
    reconcile(&world.gateway).await;
    assert_eq!(world.device.key_count(), 0);
    world.get(&world.alice, &id).await.expect("the key that was brought");
}

/// Digests are kept as they are supplied, several of them too.
#[tokio::test]
async fn digests_are_kept() {
    let world = World::new().await;
    let digest = |octet: u8, format| {
        Attribute::Digest(Digest { hashing_algorithm: HashingAlgorithm::Sha256, digest_value: Some(vec![octet; 32]), key_format_type: Some(format) })
    };
    let supplied = [digest(1, KeyFormatType::Raw), digest(2, KeyFormatType::TransparentSymmetricKey)];
    let request = ImportRequest {
        unique_identifier: named("elsewhere"),
        object_type: None,
        replace_existing: None,
        key_wrap_type: None,
        attributes: active(EVERY_USE).into_iter().chain(supplied.clone()).collect(),
        object: symmetric(CryptographicAlgorithm::Aes, &KEY),
    };
    let id = import(&world, &world.alice, request).await.expect("imported");
    let exported = export(&world, &world.alice, &id).await.expect("exported");
    let digests: Vec<_> = exported.attributes.list.iter().filter(|instance| instance.attribute.tag() == Some(Tag::DIGEST)).collect();
    assert_eq!(digests.iter().map(|instance| instance.attribute.clone()).collect::<Vec<_>>(), supplied);
}
