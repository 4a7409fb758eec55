//! Keys in a device and objects in the store stay in step, whatever fails between them.

use super::device::Failure;
use super::*;

pub(super) async fn created_in_device(world: &World) -> String {
    match world.ask(&world.alice, create_aes(vec![in_device()])).await {
        Ok(ResponsePayload::Create(response)) => text(&response.unique_identifier),
        other => panic!("created: {:?}", other.map(|_| "another answer")),
    }
}

/// A key in the device that is not active yet, so that it can be destroyed.
async fn created_for_later(world: &World) -> UniqueIdentifier {
    let attributes = [in_device(), Attribute::ActivationDate(DateTime(NOW + 3600))];
    let RequestPayload::Create(mut request) = create_aes(Vec::new()) else { panic!("another request") };
    request.attributes.list.retain(|instance| !matches!(instance.attribute, Attribute::ActivationDate(_)));
    request.attributes.list.extend(attributes.into_iter().map(Into::into));
    match world.ask(&world.alice, RequestPayload::Create(request)).await {
        Ok(ResponsePayload::Create(response)) => response.unique_identifier,
        other => panic!("created: {:?}", other.map(|_| "another answer")),
    }
}

/// Waits until the background has nothing left to take back: each check lets it run.
pub(super) async fn settled(world: &World) {
    while !world.gateway.store.intents().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Alice makes a key in the device: it is there, no intent is left, its value does not leave, and Destroy removes it.
#[tokio::test]
async fn a_key_lives_and_dies_with_its_object() {
    let world = World::new().await;
    let id = created_in_device(&world).await;
    assert_eq!(world.device.key_count(), 1);
    assert!(world.gateway.store.intents().is_empty());
    assert!(matches!(world.get(&world.alice, &id).await, Err(OperationError::NotExtractable)));

    let permitted = {
        let mut exchange = world.exchange(&world.alice);
        let permit = exchange.permit(Some(&named(&id)), Operation::Destroy).await.expect("hers");
        let object = exchange.change(&permit);
        object.lifecycle = object.lifecycle.deactivate().expect("it was active");
        exchange.item_done(None);
        exchange.finish().await
    };
    permitted.expect("deactivated");
    world.ask(&world.alice, destroy_request(&id)).await.expect("destroyed");
    assert_eq!(world.device.key_count(), 0, "the device followed before the answer");
    settled(&world).await;
    assert!(matches!(world.get(&world.alice, &id).await, Err(OperationError::Destroyed)));
}

/// The message is undone, or its client goes away: the key that was made is not left in the device.
#[tokio::test]
async fn a_key_without_an_object_is_taken_back() {
    let world = World::new().await;
    let mut exchange = world.exchange(&world.alice);
    perform(&mut exchange, create_aes(vec![in_device()])).await.expect("made");
    assert_eq!((world.device.key_count(), world.gateway.store.intents().len()), (1, 1));
    exchange.item_done(None);
    exchange.undo();
    exchange.finish().await.expect("nothing to commit");
    settled(&world).await;
    assert_eq!(world.device.key_count(), 0);

    let mut exchange = world.exchange(&world.alice);
    perform(&mut exchange, create_aes(vec![in_device()])).await.expect("made");
    drop(exchange);
    settled(&world).await;
    assert_eq!(world.device.key_count(), 0);
}

/// The device refuses, or its answer is lost although the key exists: the client is told, and nothing remains.
#[tokio::test]
async fn a_failing_device_leaves_nothing_behind() {
    let world = World::new().await;
    for failure in [Failure::Refused, Failure::AnswerLost] {
        world.device.fail_next(failure);
        let refused = world.ask(&world.alice, create_aes(vec![in_device()])).await;
        assert!(matches!(refused, Err(OperationError::Unavailable(_))));
        settled(&world).await;
        assert_eq!(world.device.key_count(), 0);
        assert_eq!(world.gateway.store.object_count(), 0);
    }
}

/// The server dies between the device and the commit: the next start finds the intent and destroys the orphan.
#[tokio::test]
async fn an_orphan_is_destroyed_at_the_next_start() {
    let mut world = World::new().await;
    let kept = created_in_device(&world).await;
    {
        let mut exchange = world.exchange(&world.alice);
        perform(&mut exchange, create_aes(vec![in_device()])).await.expect("made");
        // A process that is killed runs no destructors.
        std::mem::forget(exchange);
    }
    assert_eq!(world.device.key_count(), 2);
    world.restart().await;
    assert_eq!(reconcile(&world.gateway).await, Reconciled { resolved: 1, left: 0 });
    assert_eq!(world.device.key_count(), 1, "the acknowledged key is still there");
    assert!(world.gateway.store.intents().is_empty());
    assert!(matches!(world.get(&world.alice, &kept).await, Err(OperationError::NotExtractable)));
}

/// The device is away when an object is destroyed: the object is gone at once, the key as soon as the device is back.
#[tokio::test]
async fn a_destroyed_key_is_destroyed_later_if_the_device_is_away() {
    let world = World::new().await;
    let id = text(&created_for_later(&world).await);
    world.device.fail_next(Failure::Refused);
    world.ask(&world.alice, destroy_request(&id)).await.expect("destroyed");
    assert_eq!((world.device.key_count(), world.gateway.store.intents().len()), (1, 1));
    assert!(matches!(world.get(&world.alice, &id).await, Err(OperationError::Destroyed)));
    assert_eq!(reconcile(&world.gateway).await, Reconciled { resolved: 1, left: 0 });
    assert_eq!(world.device.key_count(), 0);
}

/// A message commits its key while older leftovers are being reconciled: its key stays. Reconciliation looks at each intent when its turn
/// comes, not at the list it began with.
#[tokio::test]
async fn a_key_that_is_committed_meanwhile_is_not_reconciled() {
    let mut world = World::new().await;
    {
        let mut exchange = world.exchange(&world.alice);
        perform(&mut exchange, create_aes(vec![in_device()])).await.expect("made");
        // A process that is killed runs no destructors.
        std::mem::forget(exchange);
    }
    world.restart().await;
    // Many, so that some stand behind the one that is left, in whatever order intents are listed.
    let mut under_way = Vec::new();
    for _ in 0..16 {
        let mut exchange = world.exchange(&world.alice);
        perform(&mut exchange, create_aes(vec![in_device()])).await.expect("made");
        under_way.push(exchange);
    }
    world.device.hold(true);
    let committed = async {
        world.device.asked_to_destroy.notified().await;
        for mut exchange in under_way {
            exchange.item_done(None);
            exchange.finish().await.expect("committed");
        }
        world.device.hold(false);
    };
    let (reconciled, ()) = tokio::join!(reconcile(&world.gateway), committed);
    assert_eq!(reconciled, Reconciled { resolved: 1, left: 0 });
    assert_eq!(world.device.key_count(), 16, "what was acknowledged is there, and only that");
    assert!(world.gateway.store.intents().is_empty());
}

/// The client goes away after its Destroy was committed: the device follows all the same.
#[tokio::test]
async fn a_destroyed_key_goes_though_nobody_waits() {
    let world = World::new().await;
    let id = created_for_later(&world).await;
    let mut exchange = world.exchange(&world.alice);
    perform(&mut exchange, destroy_request(&text(&id))).await.expect("destroyed");
    exchange.item_done(None);
    world.device.hold(true);
    tokio::select! {
        _ = exchange.finish() => panic!("the device holds"),
        () = world.device.asked_to_destroy.notified() => {}
    }
    world.device.hold(false);
    settled(&world).await;
    assert_eq!(world.device.key_count(), 0);
}
