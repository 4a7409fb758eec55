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

/// A unit of work whose object was changed by somebody faster fails alone, with nothing of it done; its neighbour is done.
#[tokio::test]
async fn a_conflict_fails_alone() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (contested, free) = (fixture.columns(), fixture.columns());
    store.commit(insert(&store, contested.clone(), b"1")).await.expect("committed");
    let before = fetch(&store, contested.id).await;

    let late = update(&store, &before, 3, b"3");
    let mut late_and_more = insert(&store, fixture.columns(), b"never");
    let never = late_and_more.changes[0].clone();
    late_and_more.changes.extend(late.changes);
    let (first, second, third) = tokio::join!(
        store.commit(update(&store, &before, 2, b"2")),
        store.commit(late_and_more),
        store.commit(insert(&store, free.clone(), b"free")),
    );
    first.expect("the first one wins");
    assert!(matches!(second, Err(CommitError::Conflict { object }) if object == contested.id));
    third.expect("a neighbour is not touched");

    let Change::InsertObject(never) = never else { panic!("made as an insert") };
    assert!(store.object(never.id).await.expect("readable").is_none());
    assert_eq!(fetch(&store, contested.id).await.state, 2);
    assert_eq!(fetch(&store, contested.id).await.version, Version(2));
}

/// A unit of work that the database itself refuses, for a reason nobody foresaw, fails alone as well.
#[tokio::test]
async fn an_unforeseen_failure_fails_alone() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (gone, free) = (fixture.columns(), fixture.columns());
    store.commit(insert(&store, gone.clone(), b"1")).await.expect("committed");
    let before = fetch(&store, gone.id).await;
    tamper(fixture.path(), "DELETE FROM object").await;
    let (broken, done, read) = tokio::join!(
        store.commit(update(&store, &before, 2, b"2")),
        store.commit(insert(&store, free.clone(), b"free")),
        async { store.append_reads(&[event(Action::Get, None)], true).await },
    );
    assert!(matches!(broken, Err(CommitError::Broken(_))));
    done.expect("a neighbour is not touched");
    read.expect("nor is a read");
    fetch(&store, free.id).await;
    assert!(store.verify_audit().await.expect("verified").is_intact());
}

/// Names are unique per owner; a name that was given up can be taken, also within one unit of work.
#[tokio::test]
async fn names_are_unique_per_owner() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let first = fixture.named(&store, "backup");
    store.commit(insert(&store, first.clone(), b"1")).await.expect("committed");
    let second = fixture.named(&store, "backup");
    let refused = store.commit(insert(&store, second.clone(), b"2")).await;
    assert!(matches!(refused, Err(CommitError::NameTaken { object }) if object == first.id));

    // Two at once: one of them gets it.
    let (left, right) = (fixture.named(&store, "other"), fixture.named(&store, "other"));
    let (left, right) = tokio::join!(store.commit(insert(&store, left, b"")), store.commit(insert(&store, right, b"")));
    assert!(left.is_ok() != right.is_ok());

    let before = fetch(&store, first.id).await;
    let columns = ObjectColumns { version: before.version.next(), names: Vec::new(), ..before.columns().clone() };
    let nameless = Change::UpdateObject { before, after: ObjectRow::seal(store.keyring(), columns, b"1") };
    let mut handover = insert(&store, second.clone(), b"2");
    handover.changes.push(nameless);
    store.commit(handover).await.expect("the name passes on");
    let third = store.commit(insert(&store, fixture.named(&store, "backup"), b"3")).await;
    assert!(matches!(third, Err(CommitError::NameTaken { object }) if object == second.id));
}

/// Sixty-four tasks change eight objects, each redoing its work on conflict: no change is lost, none is done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_are_neither_lost_nor_doubled() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        let columns = fixture.columns();
        ids.push(columns.id);
        store.commit(insert(&store, columns, b"0")).await.expect("committed");
    }
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64 {
        let (store, id) = (store.clone(), ids[task % 8]);
        tasks.spawn(async move {
            loop {
                let before = fetch(&store, id).await;
                let count = before.state + 1;
                match store.commit(update(&store, &before, count, &count.to_be_bytes())).await {
                    Ok(_) => return,
                    Err(CommitError::Conflict { .. }) => continue,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("no task fails");
    }
    for id in ids {
        let row = fetch(&store, id).await;
        assert_eq!((row.state, row.version), (9, Version(9)));
        assert!(row.open(store.keyring()).expect("authentic").expose() == 9u32.to_be_bytes());
    }
    assert!(store.verify_audit().await.expect("verified").is_intact());
}

/// Locate pages through what the caller may see, newest first, each object once though visible for two reasons.
#[tokio::test]
async fn locate_pages_in_order_and_after_authorisation() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let stranger = ClientId::generate();
    let (mut own, mut foreign) = (Vec::new(), Vec::new());
    for number in 0..30u32 {
        let owner = if number % 3 == 0 { stranger } else { fixture.owner };
        let columns = ObjectColumns { owner, state: 1 + number % 2, ..fixture.columns() };
        if owner == stranger {
            foreign.push(columns.id)
        } else {
            own.push(columns.id)
        }
        store.commit(insert(&store, columns, b"")).await.expect("committed");
    }
    let query = LocateQuery {
        objects: vec![foreign[0], own[0]],
        limit: 7,
        ..LocateQuery::owned_by(ORGANISATION, fixture.owner)
    };
    let mut expected = own.clone();
    expected.push(foreign[0]);
    expected.sort_by(|left, right| right.cmp(left));
    assert_eq!(store.count(&query).await.expect("counted"), expected.len() as u64);
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.locate(&LocateQuery { after, ..query.clone() }).await.expect("located");
        found.extend(page.rows.iter().map(|row| row.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);

    let active = LocateQuery { states: vec![2], limit: 100, ..query.clone() };
    assert!(store.locate(&active).await.expect("located").rows.iter().all(|row| row.state == 2));
    let other = LocateQuery { organisation: OrganisationId::generate(), ..query };
    assert_eq!(store.count(&other).await.expect("counted"), 0);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 8, ..Default::default() })]

    /// Whatever is inserted, changed and deleted, in whatever order and by however many at once: a restart finds the same rows
    /// and the set hash agrees with them.
    #[test]
    fn any_history_survives_a_restart(steps in proptest::collection::vec((0usize..6, 0u8..4), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let fixture = Fixture::new();
            let store = fixture.create().await;
            let mut model: Vec<Option<(ObjectId, u32)>> = vec![None; 6];
            for (slot, step) in steps {
                match (model[slot], step) {
                    (None, _) => {
                        let columns = fixture.named(&store, &format!("slot {slot}"));
                        model[slot] = Some((columns.id, 1));
                        store.commit(insert(&store, columns, &[slot as u8])).await.expect("inserted");
                    }
                    (Some((id, _)), 0) => {
                        let changes = vec![Change::DeleteObject { before: fetch(&store, id).await }];
                        store.commit(Commit { changes, ..Commit::default() }).await.expect("deleted");
                        model[slot] = None;
                    }
                    (Some((id, state)), _) => {
                        store.commit(update(&store, &fetch(&store, id).await, state + 1, b"new")).await.expect("updated");
                        model[slot] = Some((id, state + 1));
                    }
                }
            }
            store.close().await.expect("closed");
            let store = fixture.open().await;
            assert!(store.damage().is_empty());
            assert_eq!(store.object_count(), model.iter().flatten().count());
            for (id, state) in model.into_iter().flatten() {
                let row = fetch(&store, id).await;
                assert_eq!(row.state, state);
                row.open(store.keyring()).expect("authentic");
            }
        });
    }
}
