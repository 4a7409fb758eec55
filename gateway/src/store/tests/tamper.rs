//! Somebody edits the database file behind our back, or puts an older one back.

use sqlx::AssertSqlSafe;

use super::*;

/// A copy of the database, as somebody could take one from a stopped server.
fn copy_database(from: &Path, to: &Path) {
    std::fs::copy(sqlite::path(from), to.join(sqlite::FILE_NAME)).expect("copied");
    for suffix in ["-wal", "-shm"] {
        let name = format!("{}{suffix}", sqlite::FILE_NAME);
        let _ = std::fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name)).expect("copied");
        }
    }
}

/// An older copy of the whole database is refused; the administrator can accept it, and then it is served and audited.
#[tokio::test]
async fn an_older_database_is_refused_until_accepted() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let key = fixture.columns();
    store.commit(insert(&store, key.clone(), b"key")).await.expect("committed");
    store.close().await.expect("closed");
    let older = tempfile::tempdir().expect("a directory");
    copy_database(fixture.path(), older.path());

    let store = fixture.open().await;
    store.commit(update(&store, &fetch(&store, key.id).await, 5, b"")).await.expect("destroyed");
    store.close().await.expect("closed");
    copy_database(older.path(), fixture.path());

    let refused = fixture.try_open(StoreOptions::default()).await.err().expect("refused");
    assert!(matches!(refused, OpenError::OlderThanAnchor { .. }), "{refused}");
    let store = fixture.try_open(StoreOptions { accept: true, ..Default::default() }).await.expect("accepted");
    assert_eq!(fetch(&store, key.id).await.state, 1);
    store.close().await.expect("closed");
    let store = fixture.open().await;
    let report = store.verify_audit().await.expect("verified");
    // The loss stays visible: heads noted before it name segments that are now others.
    assert!(!report.is_intact());
}

/// Without its anchor a database is refused; it might be any old copy.
#[tokio::test]
async fn a_missing_anchor_is_refused() {
    let fixture = Fixture::new();
    fixture.create().await.close().await.expect("closed");
    std::fs::remove_file(fixture.path().join("anchor")).expect("removed");
    assert!(matches!(fixture.try_open(StoreOptions::default()).await, Err(OpenError::NoAnchor)));
    // Trying does not make one.
    assert!(matches!(fixture.try_open(StoreOptions::default()).await, Err(OpenError::NoAnchor)));
    fixture
        .try_open(StoreOptions { accept: true, ..Default::default() })
        .await
        .expect("accepted")
        .close()
        .await
        .expect("closed");
    fixture.open().await;
}

struct OldRow {
    table: &'static str,
    columns: String,
}

/// SQL that puts an object's row back as it is now.
async fn remember_row(dir: &Path, id: ObjectId) -> OldRow {
    use sqlx::{ConnectOptions, Row};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(sqlite::path(dir));
    let mut connection = options.connect().await.expect("the database opens");
    let sql = "SELECT version, state, attributes, tokens, sealed FROM object WHERE id = ?";
    let row = sqlx::query(sql).bind(&id.as_bytes()[..]).fetch_one(&mut connection).await.expect("the row");
    let columns = format!(
        "version = {}, state = {}, attributes = {}, tokens = {}, sealed = {}",
        row.get::<i64, _>(0),
        row.get::<i64, _>(1),
        literal(row.get(2)),
        literal(row.get(3)),
        literal(row.get(4)),
    );
    OldRow { table: "object", columns }
}

async fn put_back(dir: &Path, old: &OldRow, id: ObjectId) {
    let sql = format!("UPDATE {} SET {} WHERE id = {}", old.table, old.columns, literal(id.as_bytes()));
    assert_eq!(tamper(dir, AssertSqlSafe(sql)).await, 1);
}

/// The row of a key as it was before it was revoked, put back: refused and named, at the next start and while running; other
/// keys are served.
#[tokio::test]
async fn an_older_row_is_refused_and_named() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (revoked, other) = (fixture.columns(), fixture.columns());
    store.commit(insert(&store, revoked.clone(), b"key")).await.expect("committed");
    store.commit(insert(&store, other.clone(), b"other")).await.expect("committed");
    let old = remember_row(fixture.path(), revoked.id).await;
    store.commit(update(&store, &fetch(&store, revoked.id).await, 4, b"key")).await.expect("revoked");

    put_back(fixture.path(), &old, revoked.id).await;
    store.flush_cache();
    let refused = store.object(revoked.id).await;
    assert!(matches!(refused, Err(ReadError::Refused { object }) if object == revoked.id));
    fetch(&store, other.id).await;
    let page = store.locate(&LocateQuery::owned_by(ORGANISATION, fixture.owner)).await.expect("located");
    assert_eq!((page.rows.len(), page.refused), (1, vec![revoked.id]));
    store.close().await.expect("closed");

    let store = fixture.open().await;
    assert_eq!(store.damage(), [format!("object {}", revoked.id)]);
    assert!(matches!(store.object(revoked.id).await, Err(ReadError::Refused { .. })));
    fetch(&store, other.id).await.open(store.keyring()).expect("authentic");
    // Still so at the start after: nothing was quietly accepted meanwhile.
    store.commit(insert(&store, fixture.columns(), b"")).await.expect("writes go on");
    store.close().await.expect("closed");
    let store = fixture.open().await;
    assert_eq!(store.damage().len(), 1);
    store.close().await.expect("closed");

    let store = fixture.try_open(StoreOptions { accept: true, ..Default::default() }).await.expect("accepted");
    fetch(&store, revoked.id).await.open(store.keyring()).expect("authentic");
    store.close().await.expect("closed");
    assert!(fixture.open().await.damage().is_empty());
}

/// A removed row is noticed: the object is refused, not absent.
#[tokio::test]
async fn a_removed_row_is_not_absent() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (gone, other) = (fixture.columns(), fixture.columns());
    store.commit(insert(&store, gone.clone(), b"key")).await.expect("committed");
    store.commit(insert(&store, other.clone(), b"key")).await.expect("committed");
    store.close().await.expect("closed");
    tamper(fixture.path(), AssertSqlSafe(format!("DELETE FROM object WHERE id = {}", literal(gone.id.as_bytes()))))
        .await;

    let store = fixture.open().await;
    assert_eq!(store.damage(), [format!("object {}", gone.id)]);
    assert!(matches!(store.object(gone.id).await, Err(ReadError::Refused { .. })));
    fetch(&store, other.id).await;
}

/// Every column of a row is authenticated: flip a byte in any, or swap the records of two rows, and the row does not open;
/// its neighbours do.
#[tokio::test]
async fn an_edited_row_does_not_open() {
    let edits = [
        "state = 3",
        "object_type = 7",
        "owner = zeroblob(16)",
        "organisation = zeroblob(16)",
        "keystore = zeroblob(16)",
        "custody = 2",
        "created_ms = created_ms + 1",
        "attributes = CAST(x'00' || attributes AS BLOB)",
        "tokens = CAST(x'00000001' || zeroblob(16) AS BLOB)",
        "sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS BLOB)",
        "sealed = CAST(substr(sealed, 1, 30) || x'00' || substr(sealed, 32) AS BLOB)",
        "sealed = x'00'",
        "sealed = (SELECT sealed FROM object o WHERE o.id <> object.id LIMIT 1)",
        "custody = 77",
        "tokens = x'ff'",
    ];
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let mut edited = Vec::new();
    for edit in edits {
        let columns = fixture.columns();
        store.commit(insert(&store, columns.clone(), b"key material")).await.expect("committed");
        edited.push((columns.id, edit));
    }
    let untouched = fixture.columns();
    store.commit(insert(&store, untouched.clone(), b"key material")).await.expect("committed");
    for (id, edit) in &edited {
        let sql = format!("UPDATE object SET {edit} WHERE id = {}", literal(id.as_bytes()));
        assert_eq!(tamper(fixture.path(), AssertSqlSafe(sql)).await, 1);
    }
    store.flush_cache();
    for (id, edit) in &edited {
        match store.object(*id).await {
            Ok(Some(row)) => assert!(row.open(store.keyring()).is_err(), "{edit}"),
            other => assert!(matches!(other, Err(ReadError::Refused { object }) if object == *id), "{edit}"),
        }
    }
    let row = fetch(&store, untouched.id).await;
    assert!(row.open(store.keyring()).expect("authentic").expose() == b"key material");
    // At the next start too: only rows whose id or version changed are known as damaged before they are read.
    store.close().await.expect("closed");
    let store = fixture.open().await;
    fetch(&store, untouched.id).await.open(store.keyring()).expect("authentic");
}

/// Rows, state and change log edited together, without the key: nothing is believed, the start is refused.
#[tokio::test]
async fn a_consistent_forgery_is_refused() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let key = fixture.columns();
    store.commit(insert(&store, key.clone(), b"key")).await.expect("committed");
    store.close().await.expect("closed");
    tamper(fixture.path(), "DELETE FROM object").await;
    tamper(fixture.path(), "DELETE FROM change_log").await;
    assert!(matches!(fixture.try_open(StoreOptions::default()).await, Err(OpenError::Altered)));
}

/// The database of another store is refused, and so is one opened under another seal.
#[tokio::test]
async fn another_stores_database_is_refused() {
    let (ours, theirs) = (Fixture::new(), Fixture::new());
    ours.create().await.close().await.expect("closed");
    theirs.create().await.close().await.expect("closed");
    copy_database(theirs.path(), ours.path());
    assert!(matches!(ours.try_open(StoreOptions::default()).await, Err(OpenError::OtherStore { .. })));
    let (_, our_root) = ours.root();
    let (their_id, _) = theirs.root();
    let opened = Store::open(ours.path(), their_id, our_root, StoreOptions::default()).await;
    assert!(matches!(opened, Err(OpenError::Keyring(_))));
}

/// After keys were used, destroyed and the log emptied, no file of the data directory holds a key's bytes raw, in hexadecimal or
/// in base64, and the sealed record of the destroyed key is gone as well.
#[tokio::test]
async fn no_file_holds_a_key() {
    use base64::Engine as _;
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let known = *b"0123456789abcdefKNOWN-KEY-BYTES!";
    let columns = fixture.named(&store, "known key");
    store.commit(insert(&store, columns.clone(), &known)).await.expect("committed");
    let row = fetch(&store, columns.id).await;
    let destroyed = Commit { erases: true, ..update(&store, &row, 5, b"") };
    store.commit(destroyed).await.expect("destroyed");
    store.erase_now().await.expect("erased");

    let needles = [
        known.to_vec(),
        hex::encode(known).into_bytes(),
        hex::encode_upper(known).into_bytes(),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(known).into_bytes(),
        row.sealed().as_bytes()[53..].to_vec(),
        b"known key".to_vec(),
    ];
    for file in files(fixture.path()) {
        let bytes = std::fs::read(&file).expect("readable");
        for needle in &needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{} holds it", file.display());
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Nobody else may read the database files.
#[tokio::test]
async fn database_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let _store = fixture.create().await;
    for file in files(fixture.path()) {
        let mode = std::fs::metadata(&file).expect("readable").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
}
