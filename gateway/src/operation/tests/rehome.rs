//! Keys change their keystore and nothing else; whatever fails on the way, they can be used where they are.

use super::device::Failure;
use super::devices::{created_in_device, settled};
use super::*;
use crate::operation::rehome::{Ready, Route, Stays, prepare};
use crate::object::Object;
use crate::store::{Commit, CommitError, Custody, ObjectId, ObjectRow};

fn route(world: &World, from: &str, to: &str) -> Route {
    let all = world.gateway.keystores.all();
    let find = |name: &str| all.iter().find(|keystore| &*keystore.name == name).cloned().expect("in use");
    Route { from: find(from), to: find(to) }
}

async fn prepared(world: &World, id: &str, route: &Route) -> Result<Ready, Stays> {
    let id: ObjectId = id.parse().expect("an identifier");
    let row = world.gateway.store.object(id).await.expect("readable").expect("there");
    prepare(&world.gateway, route, row).await
}

async fn moved(world: &World, id: &str, from: &str, to: &str) {
    let ready = prepared(world, id, &route(world, from, to)).await.unwrap_or_else(|stays| panic!("{stays:?}"));
    world.gateway.commit_moves(vec![ready], Commit::default()).await.expect("committed");
}

/// A key that was registered goes into the device and comes back: the same key, the same attributes, another custody; the old copy in
/// the device goes when requests that hold it are through.
#[tokio::test]
async fn a_key_goes_to_a_device_and_back() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 32], Vec::new()).await;
    let object: ObjectId = id.parse().expect("an identifier");
    let row = |world: &World| {
        let store = world.gateway.store.clone();
        async move { store.object(object).await.expect("readable").expect("there") }
    };
    let before = row(&world).await;
    moved(&world, &id, "local", "device").await;
    let there = row(&world).await;
    assert_eq!((there.custody, there.keystore, world.device.key_count()), (Custody::InBackend, world.device_id, 1));
    let attributes = |row: &ObjectRow| Object::open(row, &world.gateway.keyring, NOW).expect("opens").0.attributes;
    assert_eq!((attributes(&there), there.state, &there.index), (attributes(&before), before.state, &before.index));
    assert!(world.gateway.store.intents().is_empty());

    world.device.allow_export();
    moved(&world, &id, "device", "local").await;
    assert_eq!((world.device.key_count(), world.gateway.store.intents().len()), (1, 1), "for requests under way");
    let back = row(&world).await;
    assert_eq!((back.custody, back.keystore), (Custody::Envelope, before.keystore));
    assert_eq!(attributes(&back), attributes(&before));
    assert_eq!(world.get(&world.alice, &id).await.expect("hers"), symmetric(CryptographicAlgorithm::Aes, &[7; 32]));
    settled(&world).await;
    assert_eq!(world.device.key_count(), 0);
}

/// A device that does not hand a key out keeps it: the report says why, and nothing is changed.
#[tokio::test]
async fn a_key_that_does_not_leave_stays() {
    let world = World::new().await;
    let id = created_in_device(&world).await;
    let stays = prepared(&world, &id, &route(&world, "device", "local")).await.err().expect("it stays");
    assert_eq!(stays, Stays::Kept("its keystore does not hand it out".into()));
    assert_eq!((world.device.key_count(), world.gateway.store.intents().len()), (1, 0));
}

/// The device refuses the key, or its answer is lost although it has it: the key stays in the store, nothing stays in the device.
#[tokio::test]
async fn a_failing_device_gets_no_key() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 32], Vec::new()).await;
    for failure in [Failure::Refused, Failure::AnswerLost] {
        world.device.fail_next(failure);
        let stays = prepared(&world, &id, &route(&world, "local", "device")).await.err().expect("it stays");
        assert!(matches!(stays, Stays::Failed(_)), "{stays:?}");
        settled(&world).await;
        assert_eq!(world.device.key_count(), 0);
        world.get(&world.alice, &id).await.expect("still hers");
    }
}

/// The device stores another value, or has no use to compare and does not hand the key out: the key stays in the store. One that hands it
/// out can be compared, and is taken for what it keeps.
#[tokio::test]
async fn a_key_that_cannot_be_proved_stays() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 32], Vec::new()).await;
    world.device.only_keep();
    let stays = prepared(&world, &id, &route(&world, "local", "device")).await.err().expect("it stays");
    assert!(matches!(&stays, Stays::Kept(why) if why.contains("cannot be proved")), "{stays:?}");
    settled(&world).await;
    assert_eq!(world.device.key_count(), 0);

    world.device.allow_export();
    world.device.alter();
    let stays = prepared(&world, &id, &route(&world, "local", "device")).await.err().expect("it stays");
    assert!(matches!(stays, Stays::Failed(_)), "{stays:?}");
    settled(&world).await;
    assert_eq!(world.get(&world.alice, &id).await.expect("still hers"), symmetric(CryptographicAlgorithm::Aes, &[7; 32]));

    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 32], Vec::new()).await;
    world.device.alter();
    let stays = prepared(&world, &id, &route(&world, "local", "device")).await.err().expect("it stays");
    assert!(matches!(stays, Stays::Failed(_)), "used, it gives something else: {stays:?}");

    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 32], Vec::new()).await;
    world.device.only_keep();
    world.device.allow_export();
    moved(&world, &id, "local", "device").await;
    let row = world.gateway.store.object(id.parse().expect("ours")).await.expect("readable").expect("there");
    assert_eq!(row.custody, Custody::Reference, "it leaves as its attributes say");
}

/// A client changes the object between the device and the commit: its change stands, and the device's copy goes.
#[tokio::test]
async fn a_change_in_between_wins() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 32], Vec::new()).await;
    let ready = prepared(&world, &id, &route(&world, "local", "device")).await.unwrap_or_else(|stays| panic!("{stays:?}"));
    assert_eq!((world.device.key_count(), world.gateway.store.intents().len()), (1, 1));
    // Serving it for the first time is a change too.
    world.get(&world.alice, &id).await.expect("hers");
    let late = world.gateway.commit_moves(vec![ready], Commit::default()).await;
    assert!(matches!(late, Err(CommitError::Conflict { .. })), "{late:?}");
    settled(&world).await;
    assert_eq!(world.device.key_count(), 0);
    world.get(&world.alice, &id).await.expect("still hers");
}

/// The gateway dies between the device and the commit: the next start destroys what is in the device, the key is where it was.
#[tokio::test]
async fn a_crash_in_between_leaves_the_key_where_it_was() {
    let mut world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 32], Vec::new()).await;
    let ready = prepared(&world, &id, &route(&world, "local", "device")).await.unwrap_or_else(|stays| panic!("{stays:?}"));
    // A process that is killed runs no destructors.
    std::mem::forget(ready);
    world.restart().await;
    assert_eq!(reconcile(&world.gateway).await, Reconciled { resolved: 1, left: 0 });
    assert_eq!(world.device.key_count(), 0);
    world.get(&world.alice, &id).await.expect("still hers");
}

/// A keystore that is being drained takes no new keys and serves the ones it has.
#[tokio::test]
async fn a_drained_keystore_serves_and_takes_nothing() {
    let world = World::new().await;
    let id = created_in_device(&world).await;
    world.gateway.keystores.set_takes_new(world.device_id, false);
    let refused = world.ask(&world.alice, create_aes(vec![in_device()])).await;
    assert!(matches!(refused, Err(OperationError::InvalidField(text)) if text.contains("drained")));
    let mut exchange = world.exchange(&world.alice);
    let permit = exchange.permit(Some(&named(&id)), Operation::Encrypt).await.expect("hers");
    assert!(world.gateway.keystores.get(exchange.object(&permit).keystore).is_ok());
    exchange.item_done(None);
    exchange.finish().await.expect("served");
}
