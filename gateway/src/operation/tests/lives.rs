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
