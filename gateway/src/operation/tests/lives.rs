//! Limits that are set aside, and pairs that are replaced.

use keygate_kmip::{
    AttributeName, CreateKeyPairRequest, GetAttributesRequest, GetUsageAllocationRequest, LinkType, Name, ReKeyKeyPairRequest, Tag,
    UsageLimits, UsageLimitsUnit,
};

use super::*;

async fn attributes(world: &World, id: &str, name: Tag) -> Vec<Attribute> {
    let names = vec![AttributeName::Standard(name)];
    let request = GetAttributesRequest { unique_identifier: Some(named(id)), names };
    match world.ask(&world.alice, RequestPayload::GetAttributes(request)).await {
        Ok(ResponsePayload::GetAttributes(response)) => response.attributes.list.into_iter().map(|instance| instance.attribute).collect(),
        _ => Vec::new(),
    }
}

/// What one client sets aside is gone for all; more than is left is refused and takes nothing.
#[tokio::test]
async fn usage_is_set_aside() {
    let world = World::new().await;
    let limits = Attribute::UsageLimits(UsageLimits { total: 1000, count: None, unit: UsageLimitsUnit::Byte });
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 16], vec![limits]).await;
    let allocate = async |caller: &Caller, id: &str, count| {
        let request = GetUsageAllocationRequest { unique_identifier: Some(named(id)), usage_limits_count: count };
        world.ask(caller, RequestPayload::GetUsageAllocation(request)).await
    };
    assert!(matches!(allocate(&world.bob, &id, 1).await, Err(OperationError::NotFound)));
    assert!(allocate(&world.alice, &id, 600).await.is_ok());
    assert!(matches!(allocate(&world.alice, &id, 600).await, Err(OperationError::UsageLimitExceeded)));
    assert!(matches!(allocate(&world.alice, &id, 0).await, Err(OperationError::InvalidField(_))));
    assert!(allocate(&world.alice, &id, 400).await.is_ok());
    let left = attributes(&world, &id, Tag::USAGE_LIMITS).await;
    assert!(matches!(left[..], [Attribute::UsageLimits(UsageLimits { count: Some(0), total: 1000, .. })]), "{left:?}");

    let unlimited = world.registered(CryptographicAlgorithm::Aes, &[8; 16], Vec::new()).await;
    assert!(matches!(allocate(&world.alice, &unlimited, 1).await, Err(OperationError::AttributeNotFound(_))));
}

/// Both halves get a successor that has their name and points back; the new halves belong together.
#[tokio::test]
async fn a_pair_is_replaced() {
    let world = World::new().await;
    let mask = CryptographicUsageMask(CryptographicUsageMask::SIGN.0 | CryptographicUsageMask::VERIFY.0);
    let mut common = active(mask);
    common.push(Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Ecdsa));
    common.push(Attribute::CryptographicLength(256));
    let name = Attribute::Name(Name::text("signer"));
    let request = CreateKeyPairRequest {
        common: Some(common.into_iter().collect()),
        private_key: Some(vec![name.clone()].into_iter().collect()),
        public_key: None,
        common_protection_storage_masks: None,
        private_protection_storage_masks: None,
        public_protection_storage_masks: None,
    };
    let Ok(ResponsePayload::CreateKeyPair(old)) = world.ask(&world.alice, RequestPayload::CreateKeyPair(request)).await else {
        panic!("a pair");
    };
    let replace = async |caller: &Caller, id: &UniqueIdentifier| {
        let request = ReKeyKeyPairRequest {
            private_key_unique_identifier: Some(id.clone()),
            offset: None,
            common: None,
            private_key: None,
            public_key: None,
            common_protection_storage_masks: None,
            private_protection_storage_masks: None,
            public_protection_storage_masks: None,
        };
        world.ask(caller, RequestPayload::ReKeyKeyPair(request)).await
    };
    assert!(matches!(replace(&world.bob, &old.private_key_unique_identifier).await, Err(OperationError::NotFound)));
    let of_public = replace(&world.alice, &old.public_key_unique_identifier).await;
    assert!(matches!(of_public, Err(OperationError::InvalidField(_))), "only the private half stands for the pair");
    let Ok(ResponsePayload::ReKeyKeyPair(new)) = replace(&world.alice, &old.private_key_unique_identifier).await else {
        panic!("replaced");
    };

    let (old_private, old_public) = (text(&old.private_key_unique_identifier), text(&old.public_key_unique_identifier));
    let (new_private, new_public) = (text(&new.private_key_unique_identifier), text(&new.public_key_unique_identifier));
    assert!(attributes(&world, &old_private, Tag::NAME).await.is_empty());
    assert_eq!(attributes(&world, &new_private, Tag::NAME).await, [name]);
    let link = async |id: &str, kind: LinkType| {
        let links = attributes(&world, id, Tag::LINK).await.into_iter();
        let of_kind = |attribute| match attribute {
            Attribute::Link(link) if link.link_type == kind => Some(text(&link.linked_object_identifier)),
            _ => None,
        };
        links.filter_map(of_kind).collect::<Vec<_>>()
    };
    assert_eq!(link(&new_private, LinkType::PublicKeyLink).await, std::slice::from_ref(&new_public));
    assert_eq!(link(&new_public, LinkType::PrivateKeyLink).await, std::slice::from_ref(&new_private));
    assert_eq!(link(&new_private, LinkType::ReplacedObjectLink).await, std::slice::from_ref(&old_private));
    assert_eq!(link(&old_public, LinkType::ReplacementObjectLink).await, [new_public]);
    assert_eq!(link(&old_private, LinkType::PublicKeyLink).await, [old_public], "the old pair stays one");
    assert_eq!(link(&old_private, LinkType::ReplacementObjectLink).await, [new_private]);
}

/// A key that must not leave, or only wrapped, is replaced by one of which the same holds, unless the request says otherwise.
#[tokio::test]
async fn a_replacement_is_as_guarded_as_what_it_replaces() {
    let world = World::new().await;
    let guarded = vec![Attribute::Sensitive(true), Attribute::Extractable(false)];
    let old = world.registered(CryptographicAlgorithm::Aes, &[7; 16], guarded).await;
    let replace = async |id: &str, given: Vec<Attribute>| {
        let list = given.into_iter().map(Into::into).collect();
        let request = keygate_kmip::ReKeyRequest {
            unique_identifier: Some(named(id)),
            offset: None,
            attributes: Some(Attributes { templates: Vec::new(), list }),
            protection_storage_masks: None,
        };
        match world.ask(&world.alice, RequestPayload::ReKey(request)).await {
            Ok(ResponsePayload::ReKey(response)) => text(&response.unique_identifier),
            _ => panic!("replaced"),
        }
    };
    let new = replace(&old, Vec::new()).await;
    assert_eq!(attributes(&world, &new, Tag::SENSITIVE).await, [Attribute::Sensitive(true)]);
    assert_eq!(attributes(&world, &new, Tag::EXTRACTABLE).await, [Attribute::Extractable(false)]);
    let get = GetRequest { unique_identifier: Some(named(&new)), ..GetRequest::default() };
    assert!(matches!(world.ask(&world.alice, RequestPayload::Get(get)).await, Err(OperationError::NotExtractable)));
    let open = replace(&new, vec![Attribute::Extractable(true)]).await;
    assert_eq!(attributes(&world, &open, Tag::EXTRACTABLE).await, [Attribute::Extractable(true)]);
    assert_eq!(attributes(&world, &open, Tag::SENSITIVE).await, [Attribute::Sensitive(true)]);
}
