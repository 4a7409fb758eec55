//! Quotas of objects, as a caller meets them.

use super::devices::{created_in_device, settled};
use super::*;
use crate::store::ObjectQuotas;

async fn world(per_client: u64) -> World {
    let quotas = ObjectQuotas { per_client: Some(per_client), per_organisation: None };
    World::with(StoreOptions { quotas, ..StoreOptions::default() }).await
}

/// Alice has one object left of her quota: of two items that create, the second fails alone, and an item that only reads is
/// answered. Bob has his own.
#[tokio::test]
async fn only_the_item_over_the_quota_fails() {
    let world = world(2).await;
    let first = created_in_device(&world).await;
    let mut exchange = world.exchange(&world.alice);
    perform(&mut exchange, create_aes(Vec::new())).await.expect("created");
    exchange.check_quotas_of_item().expect("within the quota");
    exchange.item_done(None);
    exchange.begin_item();
    perform(&mut exchange, create_aes(Vec::new())).await.expect("created");
    let refused = exchange.check_quotas_of_item().expect_err("over the quota");
    assert!(matches!(refused, OperationError::LimitExceeded(_)));
    assert_eq!(refused.to_string(), "the quota of 2 objects of a client is used up");
    exchange.item_failed(None, 1);
    exchange.begin_item();
    exchange.permit(Some(&named(&first)), Operation::GetAttributes).await.expect("hers");
    exchange.check_quotas_of_item().expect("it makes nothing");
    exchange.item_done(None);
    exchange.finish().await.expect("the first item is kept");
    assert_eq!(world.gateway.store.object_count(), 2);
    world.ask(&world.bob, create_aes(Vec::new())).await.expect("his quota is his own");
}

/// Where the commit refuses, the key in the device goes again; destroying an object makes room.
#[tokio::test]
async fn a_refused_key_leaves_the_device() {
    let world = world(1).await;
    let id = created_in_device(&world).await;
    let refused = world.ask(&world.alice, create_aes(vec![in_device()])).await;
    assert!(matches!(refused, Err(OperationError::LimitExceeded(_))));
    settled(&world).await;
    assert_eq!(world.device.key_count(), 1);
    let mut exchange = world.exchange(&world.alice);
    let permit = exchange.permit(Some(&named(&id)), Operation::Destroy).await.expect("hers");
    let object = exchange.change(&permit);
    object.lifecycle = object.lifecycle.deactivate().expect("it was active");
    exchange.item_done(None);
    exchange.finish().await.expect("deactivated, though at the quota");
    world.ask(&world.alice, destroy_request(&id)).await.expect("destroyed");
    created_in_device(&world).await;
}
