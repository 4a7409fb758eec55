//! Units of work: all or nothing, apart from their neighbours, and there again after a restart.

use super::*;

/// A key that was acknowledged is there after a restart, byte for byte, and so are its index and name.
#[tokio::test]
async fn what_is_committed_survives_a_restart() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let columns = fixture.named(&store, "disk 1");
    store.commit(insert(&store, columns.clone(), b"sixteen byte key")).await.expect("committed");
    store.close().await.expect("closed");

    let store = fixture.open().await;
    let row = fetch(&store, columns.id).await;
    assert_eq!(row.columns(), &columns);
    assert!(row.open(store.keyring()).expect("authentic").expose() == b"sixteen byte key");
    let query = LocateQuery { tokens: columns.index.clone(), ..LocateQuery::owned_by(ORGANISATION, fixture.owner) };
    let page = store.locate(&query).await.expect("located");
    assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [columns.id]);
    assert_eq!(store.count(&query).await.expect("counted"), 1);
    assert!(store.verify_audit().await.expect("verified").is_intact());
}
