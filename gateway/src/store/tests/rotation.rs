//! New keyring terms: new writes use them, old records move over, the old term goes.

use super::*;

/// After a rotation old and new records open; after the rewrap nothing is under the old term and it is gone; a restart agrees.
#[tokio::test]
async fn an_old_term_is_dropped_when_nothing_is_under_it() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let setting = Setting { id: EntryId::generate(), organisation: ORGANISATION, name: "s".into(), value: "v".into() };
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

    let mut moved = 0;
    loop {
        let progress = store.rewrap(4).await.expect("rewrapped");
        moved += progress.objects;
        if progress.done {
            break;
        }
    }
    assert_eq!(moved, 10);
    assert_eq!(store.keyring().terms(), [newest]);
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
