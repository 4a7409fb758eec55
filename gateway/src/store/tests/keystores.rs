//! A keystore goes only when nothing refers to it, and nothing comes to one that has gone.

use super::*;

fn entry(id: KeystoreId) -> KeystoreEntry {
    KeystoreEntry { id, organisation: ORGANISATION, name: "vault".into(), kind: "local".into(), managed: None }
}

fn removal(id: KeystoreId) -> Commit {
    Commit { changes: vec![Change::RemoveEntry(EntryKind::Keystore, id.into())], ..Commit::default() }
}

/// Objects are counted by a reader, and from then on by each commit: what is there, what comes, what goes, what is only a record.
#[tokio::test]
async fn a_keystore_in_use_stays() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let id = KeystoreId::generate();
    let there = |columns: ObjectColumns| ObjectColumns { keystore: id, ..columns };
    let add = Commit { changes: vec![Change::AddEntry(Entry::Keystore(entry(id)))], ..Commit::default() };
    store.commit(add).await.expect("added");
    let first = there(fixture.columns());
    store.commit(insert(&store, first.clone(), b"one")).await.expect("stored");
    assert!(matches!(store.commit(removal(id)).await, Err(CommitError::Uncounted)));
    assert_eq!(store.keystore_objects().await.expect("counted").get(&id), Some(&1));
    let second = there(fixture.columns());
    store.commit(insert(&store, second.clone(), b"two")).await.expect("stored");
    let refused = store.commit(removal(id)).await;
    assert!(matches!(refused, Err(CommitError::KeystoreInUse { objects: 2, authorities: 0, clients: 0, intents: 0, moves: 0 })), "{refused:?}");

    let destroyed = fetch(&store, first.id).await;
    store.commit(update(&store, &destroyed, 5, b"")).await.expect("destroyed");
    let before = fetch(&store, second.id).await;
    store.commit(Commit { changes: vec![Change::DeleteObject { before }], ..Commit::default() }).await.expect("deleted");
    assert_eq!(store.known_keystore_objects().expect("known").get(&id), Some(&0));
    store.commit(removal(id)).await.expect("removed");
    let late = store.commit(insert(&store, there(fixture.columns()), b"three")).await;
    assert!(matches!(late, Err(CommitError::EntryMissing { kind: EntryKind::Keystore, .. })), "{late:?}");
}

/// The count is right whatever is committed while the reader looks: many commits beside many questions, then the truth from a new start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_beside_commits_is_exact() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let writing = async {
        for number in 0..40_u8 {
            store.commit(insert(&store, fixture.columns(), &[number])).await.expect("stored");
        }
    };
    let asking = async {
        for _ in 0..20 {
            store.keystore_objects().await.expect("counted");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writing, asking);
    let counted = store.keystore_objects().await.expect("counted");
    store.close().await.expect("closed");
    let again = fixture.open().await.keystore_objects().await.expect("counted");
    assert_eq!(counted, again);
    assert_eq!(again.values().sum::<u64>(), 40);
}

/// A row from before keystores could be added is one of the settings file.
#[test]
fn an_old_row_is_of_the_settings_file() {
    let id = KeystoreId::generate();
    let old = format!(r#"{{"id":"{id}","organisation":"{ORGANISATION}","name":"vault","kind":"local"}}"#);
    assert_eq!(serde_json::from_str::<KeystoreEntry>(&old).expect("read"), entry(id));
}
