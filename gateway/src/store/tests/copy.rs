//! A copy holds what the store held, or is refused: goal and attacks of `store/copy`. Method: two data directories with seals of their
//! own, rows taken from one to the other by way of their octets.

use super::*;
use crate::seal::SealedTerm;
use crate::store::{CopyError, CopyHeader, CopyRecord, CopyTrailer};

/// A copy as it travels: kind and octets of each row.
struct Copy {
    header: CopyHeader,
    root: SecretBytes,
    terms: Vec<SealedTerm>,
    rows: Vec<(u8, Vec<u8>)>,
    trailer: CopyTrailer,
}

async fn copy_of(store: &Store) -> Copy {
    let mut snapshot = store.snapshot().await.expect("a snapshot");
    let mut rows = Vec::new();
    loop {
        let page = snapshot.next().await.expect("rows");
        if page.is_empty() {
            break;
        }
        rows.extend(page.iter().map(|record| (record.kind(), record.encode())));
    }
    Copy {
        header: snapshot.header().clone(),
        root: snapshot.expose_root(),
        terms: snapshot.terms().to_vec(),
        rows,
        trailer: snapshot.trailer().clone(),
    }
}

/// A new data directory with its own seal for the same store, filled from the copy.
async fn restored(copy: &Copy) -> Result<(TempDir, Store), CopyError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (seal, root) = Seal::create_for(dir.path(), copy.header.store, NewSlot::default()).expect("a new seal");
    let from = RootKey::from_backup(copy.root.expose()).expect("a key");
    let mut restoring = Restoring::begin(dir.path(), &copy.header, &from, &copy.terms, &root).await?;
    for (kind, octets) in &copy.rows {
        restoring.put(CopyRecord::decode(*kind, octets)?).await?;
    }
    restoring.finish(&copy.trailer, None).await?;
    let store =
        Store::open(dir.path(), seal.store_id(), Arc::new(root), StoreOptions::default()).await.expect("it opens");
    Ok((dir, store))
}

async fn filled(fixture: &Fixture) -> (Store, Vec<ObjectId>) {
    let store = fixture.create().await;
    let mut ids = Vec::new();
    for number in 0..300_u32 {
        let columns = fixture.named(&store, &format!("name {number}"));
        ids.push(columns.id);
        store.commit(insert(&store, columns, &number.to_be_bytes())).await.expect("committed");
    }
    let setting = Setting {
        id: EntryId::generate(),
        organisation: ORGANISATION,
        name: "secret".into(),
        value: SecretText::new("value").expect("a page"),
    };
    let changes = vec![Change::AddEntry(Entry::Setting(setting))];
    store.commit(Commit { changes, ..Commit::default() }).await.expect("committed");
    (store, ids)
}

/// Objects, their materials and names, entries and the audit chain are those of the store, in a later epoch, under another term.
#[tokio::test]
async fn a_copy_holds_everything() {
    let fixture = Fixture::new();
    let (store, ids) = filled(&fixture).await;
    let copy = copy_of(&store).await;
    assert!(copy.rows.iter().all(|(_, octets)| memchr_find(octets, b"value").is_none()), "nothing is in clear");
    let (_dir, other) = restored(&copy).await.expect("restored");
    for (number, id) in ids.iter().enumerate() {
        let (old, new) = (fetch(&store, *id).await, fetch(&other, *id).await);
        assert_eq!(old.columns(), new.columns());
        assert_ne!(old.sealed(), new.sealed(), "sealed again");
        assert_eq!(new.open(other.keyring()).expect("opens").expose(), (number as u32).to_be_bytes());
    }
    let mut query = LocateQuery::owned_by(ORGANISATION, fixture.owner);
    query.tokens = vec![other.keyring().index().token(&ORGANISATION.0, "Name", b"name 7")];
    let found = other.locate(&query).await.expect("a page");
    assert_eq!(found.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[7]], "names resolve");
    let value = other.directory().settings.values().next().expect("a setting").value.clone();
    assert_eq!(*value.expose(), "value");
    assert!(other.verify_audit().await.expect("readable").is_intact());
    assert!(!other.keyring().terms().iter().any(|term| store.keyring().terms().contains(term)), "a term of its own");
    let taken = insert(&other, fixture.named(&other, "name 7"), b"x");
    assert!(matches!(other.commit(taken).await, Err(CommitError::NameTaken { .. })), "names stay unique");
    other.commit(insert(&other, fixture.columns(), b"new")).await.expect("it takes commits");
}

/// What was under way with devices when the copy was made is forgotten, and a move of keys waits to be asked for again: the store that was
/// copied may go on beside this one, and both know the same devices.
#[tokio::test]
async fn nothing_that_touches_devices_goes_on_by_itself() {
    let fixture = Fixture::new();
    let (store, _) = filled(&fixture).await;
    let keystore = KeystoreId::generate();
    let intent = Intent {
        id: EntryId::generate(),
        organisation: ORGANISATION,
        keystore,
        action: IntentAction::Create,
        objects: Vec::new(),
        locators: vec![vec![7; 16]],
        at_ms: 1,
    };
    let rehoming = Rehoming {
        id: EntryId::generate(),
        organisation: ORGANISATION,
        from: keystore,
        to: KeystoreId::generate(),
        by: Actor::System,
        state: RehomingState::Running,
        per_second: 0,
        started_ms: 1,
        ended_ms: None,
        after: None,
        total: 5,
        moved: 2,
        kept: Vec::new(),
        failed: Vec::new(),
        trouble: String::new(),
    };
    let changes = vec![Change::AddEntry(Entry::Intent(intent)), Change::AddEntry(Entry::Rehoming(rehoming.clone()))];
    store.commit(Commit { changes, ..Commit::default() }).await.expect("committed");
    let (_dir, other) = restored(&copy_of(&store).await).await.expect("restored");
    assert!(other.intents().is_empty());
    assert_eq!(*other.rehomings(), [Rehoming { state: RehomingState::Stopped, ..rehoming }]);
    assert!(other.verify_audit().await.expect("readable").is_intact());
}

fn memchr_find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

/// A row less, a row twice, two rows whose contents are swapped, a changed octet, an older version, a shorter audit record, another
/// trailer, another key: each is refused.
#[tokio::test]
async fn an_altered_copy_is_refused() {
    let fixture = Fixture::new();
    let (store, ids) = filled(&fixture).await;
    let before = fetch(&store, ids[3]).await;
    let old = copy_of(&store).await;
    store.commit(update(&store, &before, 2, b"newer")).await.expect("committed");
    let whole = copy_of(&store).await;
    let refused = async |change: &dyn Fn(&mut Copy)| {
        let mut copy = Copy {
            header: whole.header.clone(),
            root: whole.root.clone(),
            terms: whole.terms.clone(),
            rows: whole.rows.clone(),
            trailer: whole.trailer.clone(),
        };
        change(&mut copy);
        assert!(restored(&copy).await.is_err(), "an altered copy was restored");
    };
    let object = whole.rows.iter().position(|(kind, _)| *kind == 1).expect("an object");
    let segment = whole.rows.iter().position(|(kind, _)| *kind == 3).expect("a segment");
    refused(&|copy| drop(copy.rows.remove(object))).await;
    refused(&|copy| copy.rows.push(copy.rows[object].clone())).await;
    refused(&|copy| {
        // The sealed parts of two rows, behind clear columns of equal length.
        let (one, two) = (copy.rows[object].1.clone(), copy.rows[object + 1].1.clone());
        let at = one.len() - 80;
        copy.rows[object].1.splice(at.., two[two.len() - 80..].iter().copied());
    })
    .await;
    refused(&|copy| *copy.rows[object].1.last_mut().expect("octets") ^= 1).await;
    refused(&|copy| copy.rows[object].1[16] ^= 1).await;
    refused(&|copy| copy.rows[segment].1[80] ^= 1).await;
    refused(&|copy| drop(copy.rows.pop())).await;
    refused(&|copy| copy.trailer.counts[0] += 1).await;
    refused(&|copy| copy.header.commit += 1).await;
    refused(&|copy| copy.header = old.header.clone()).await;
    refused(&|copy| copy.rows.clone_from(&old.rows)).await;
    refused(&|copy| copy.root = SecretBytes::copy_from(&[7; 32])).await;
    assert!(restored(&whole).await.is_ok(), "unaltered it is taken");
}

/// A row that was altered in the database is left out and said to be; rows that were removed stop the copy.
#[tokio::test]
async fn damage_is_told() {
    let fixture = Fixture::new();
    let (store, ids) = filled(&fixture).await;
    let statement = format!("UPDATE object SET state = 4 WHERE id = {}", literal(ids[0].as_bytes()));
    assert_eq!(tamper(fixture.path(), sqlx::AssertSqlSafe(statement)).await, 1);
    let copy = copy_of(&store).await;
    assert_eq!((copy.trailer.lost, copy.trailer.counts[0]), (1, 299));
    let (_dir, other) = restored(&copy).await.expect("the others are restored");
    assert!(other.object(ids[0]).await.expect("readable").is_none());
    assert!(other.damage().is_empty());
    let statement = format!("DELETE FROM object WHERE id = {}", literal(ids[1].as_bytes()));
    assert_eq!(tamper(fixture.path(), sqlx::AssertSqlSafe(statement)).await, 1);
    let mut snapshot = store.snapshot().await.expect("a snapshot");
    let ended = loop {
        match snapshot.next().await {
            Ok(page) if page.is_empty() => break None,
            Ok(_) => {}
            Err(error) => break Some(error),
        }
    };
    assert!(matches!(ended, Some(CopyError::Altered)), "{ended:?}");
}
