//! New keyring terms: new writes use them, old records move over, the old term goes.

use super::*;

/// After a rotation old and new records open; after the rewrap nothing is under the old term and it is gone; a restart agrees.
#[tokio::test]
async fn an_old_term_is_dropped_when_nothing_is_under_it() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let setting = Setting { id: EntryId::generate(), organisation: ORGANISATION, name: "s".into(), value: SecretText::new("v").expect("a page") };
    let changes = vec![Change::AddEntry(Entry::Setting(setting))];
    store.commit(Commit { changes, ..Commit::default() }).await.expect("added");
    let mut ids = Vec::new();
    for number in 0..10u8 {
        let columns = fixture.columns();
        ids.push(columns.id);
        store.commit(insert(&store, columns, &[number])).await.expect("committed");
    }
    let newest = store.add_term().await.expect("a new term");
    let columns = fixture.columns();
    store.commit(insert(&store, columns.clone(), b"new")).await.expect("committed");
    assert_eq!(fetch(&store, columns.id).await.sealed().term(), Ok(newest));

    let held = fetch(&store, ids[0]).await;
    let rewrapped = store.rewrap().await.expect("rewrapped");
    assert_eq!(rewrapped, Rewrapped { objects: 10, refused: Vec::new(), done: true });
    assert_eq!(store.keyring().terms(), [newest]);

    // A request that read its row before still opens it, but may not write under the old term any more.
    assert!(held.open(store.keyring()).expect("a row read before").expose() == [0]);
    store.keyring().forget_retired(std::time::Duration::ZERO);
    assert!(held.open(store.keyring()).is_err(), "the old term's key is gone");
    store.close().await.expect("closed");
    let store = fixture.open().await;
    assert_eq!(store.keyring().terms(), [newest]);
    assert!(store.damage().is_empty());
    assert_eq!(store.directory().settings.len(), 1);
    for (number, id) in ids.into_iter().enumerate() {
        assert!(fetch(&store, id).await.open(store.keyring()).expect("authentic").expose() == [number as u8]);
    }
    assert!(store.verify_audit().await.expect("verified").is_intact());
}

/// A rotation that died half-way is finished by the next one: nothing is lost, whichever term a row is under.
#[tokio::test]
async fn a_rotation_that_died_is_finished_later() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let mut ids = Vec::new();
    for number in 0..200u8 {
        let columns = fixture.columns();
        ids.push(columns.id);
        store.commit(insert(&store, columns, &[number])).await.expect("committed");
    }
    let newest = store.add_term().await.expect("a new term");
    // Half of the objects have moved when everything stops.
    let before = fetch(&store, ids[7]).await;
    let columns = ObjectColumns { version: before.version.next(), ..before.columns().clone() };
    let after = ObjectRow::seal(store.keyring(), columns, &[7]);
    let changes = vec![Change::UpdateObject { before, after }];
    store.commit(Commit { changes, ..Commit::default() }).await.expect("moved");
    store.close().await.expect("closed");

    let store = fixture.open().await;
    assert_eq!(store.keyring().terms(), [Term(newest.0 - 1), newest]);
    assert_eq!(fetch(&store, ids[7]).await.sealed().term(), Ok(newest));
    assert_eq!(fetch(&store, ids[8]).await.sealed().term(), Ok(Term(newest.0 - 1)));
    let rewrapped = store.rewrap().await.expect("rewrapped");
    assert_eq!((rewrapped.objects, rewrapped.done), (199, true));
    for (number, id) in ids.into_iter().enumerate() {
        assert!(fetch(&store, id).await.open(store.keyring()).expect("authentic").expose() == [number as u8]);
    }
}

/// Rows sealed under a term that was dropped while their request was under way are not written: no start could open them.
#[tokio::test]
async fn nothing_is_written_under_a_dropped_term() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let late = insert(&store, fixture.columns(), b"late");
    store.add_term().await.expect("a new term");
    assert!(store.rewrap().await.expect("rewrapped").done);
    assert!(matches!(store.commit(late).await, Err(CommitError::Conflict { .. })));
}

/// An object that does not open keeps its term alive and is named; the others move.
#[tokio::test]
async fn a_damaged_object_keeps_its_term() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let mut ids = Vec::new();
    for number in 0..3u8 {
        let columns = fixture.columns();
        ids.push(columns.id);
        store.commit(insert(&store, columns, &[number])).await.expect("committed");
    }
    store.close().await.expect("closed");
    let sql = format!(
        "UPDATE object SET sealed = CAST(substr(sealed, 1, length(sealed) - 4) || x'5A5A5A5A' AS BLOB) WHERE id = {}",
        literal(ids[1].as_bytes())
    );
    assert_eq!(tamper(fixture.path(), sqlx::AssertSqlSafe(sql)).await, 1);
    let store = fixture.open().await;
    let newest = store.add_term().await.expect("a new term");
    let rewrapped = store.rewrap().await.expect("rewrapped");
    assert_eq!(rewrapped, Rewrapped { objects: 2, refused: vec![ids[1]], done: false });
    assert_eq!(store.keyring().terms(), [Term(newest.0 - 1), newest]);
}
