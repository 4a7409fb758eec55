//! Quotas: exact whoever races, right after a restart, and no hindrance to who gives up objects or changes them.

use super::issued::{certificate, of};
use super::*;

fn options(per_client: Option<u64>, per_organisation: Option<u64>) -> StoreOptions {
    let quotas = ObjectQuotas { per_client, per_organisation };
    StoreOptions { reserve_bytes: 64 << 10, quotas, ..StoreOptions::default() }
}

async fn create(fixture: &Fixture, per_client: Option<u64>, per_organisation: Option<u64>) -> Store {
    fixture.create().await.close().await.expect("closed");
    fixture.try_open(options(per_client, per_organisation)).await.expect("the store opens")
}

fn used_up(result: Result<CommitReceipt, CommitError>) -> (Quota, u64) {
    match result {
        Err(CommitError::Quota { what, max }) => (what, max),
        other => panic!("{other:?}"),
    }
}

/// Commits all at once; says which succeed, and that quotas alone refuse the others.
async fn race(store: &Store, commits: impl IntoIterator<Item = Commit>) -> usize {
    let tasks: Vec<_> = commits.into_iter().map(|commit| tokio::spawn(store.clone().commit_owned(commit))).collect();
    let mut done = 0;
    for task in tasks {
        match task.await.expect("joined") {
            Ok(_) => done += 1,
            Err(error) => assert!(matches!(error, CommitError::Quota { .. }), "{error}"),
        }
    }
    done
}

/// Many make objects at once: exactly as many as the quota has room for, for each client, and for all together.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_creations_stop_at_the_quota() {
    let fixture = Fixture::new();
    let store = create(&fixture, Some(20), Some(50)).await;
    let one = || insert(&store, fixture.columns(), b"key");
    assert_eq!(race(&store, (0..200).map(|_| one())).await, 20);
    assert_eq!(store.object_count(), 20);
    assert_eq!(store.quota_refusals(Quota::ObjectsPerClient), 180);
    let others: Vec<ClientId> = (0..4).map(|_| ClientId::generate()).collect();
    let many = (0..200).map(|n| insert(&store, ObjectColumns { owner: others[n % 4], ..fixture.columns() }, b"key"));
    let many: Vec<_> = many.collect();
    assert_eq!(race(&store, many).await, 30);
    assert_eq!(store.object_count(), 50);
    assert_eq!(used_up(store.commit(one()).await).1, 20);
}

/// A unit of work with several objects is all or nothing, and what it gives up makes room for what it takes.
#[tokio::test]
async fn a_unit_of_work_counts_as_a_whole() {
    let fixture = Fixture::new();
    let store = create(&fixture, Some(3), None).await;
    let columns: Vec<_> = (0..4).map(|_| fixture.columns()).collect();
    let merged = |columns: &[ObjectColumns]| {
        let changes = columns.iter().flat_map(|columns| insert(&store, columns.clone(), b"key").changes);
        Commit { changes: changes.collect(), ..Commit::default() }
    };
    assert_eq!(used_up(store.commit(merged(&columns)).await), (Quota::ObjectsPerClient, 3));
    assert_eq!(store.object_count(), 0);
    store.commit(merged(&columns[..3])).await.expect("as many as allowed");
    let old = fetch(&store, columns[0].id).await;
    let mut replaced = merged(&columns[3..]);
    replaced.changes.extend(update(&store, &old, 5, b"").changes);
    store.commit(replaced).await.expect("one goes, one comes");
    assert!(store.check_object_room(ORGANISATION, fixture.owner, 1).is_err());
    assert!(store.check_object_room(ORGANISATION, fixture.owner, 0).is_ok());
}

/// Destroyed objects do not count, deleted ones neither, an object that changes its owner counts there; so it is also after
/// a restart, and after one with a lower quota nobody is kept from changing or destroying what is there.
#[tokio::test]
async fn what_is_given_up_makes_room() {
    let fixture = Fixture::new();
    let store = create(&fixture, Some(3), None).await;
    let columns: Vec<_> = (0..3).map(|_| fixture.columns()).collect();
    for columns in &columns {
        store.commit(insert(&store, columns.clone(), b"key")).await.expect("made");
    }
    let more = |store: &Store| insert(store, fixture.columns(), b"key");
    used_up(store.commit(more(&store)).await);
    for (columns, state) in columns.iter().zip([2, 5, 6]) {
        let before = fetch(&store, columns.id).await;
        store.commit(update(&store, &before, state, b"")).await.expect("changed");
    }
    store.commit(more(&store)).await.expect("the second");
    let before = fetch(&store, columns[0].id).await;
    let heir = ClientId::generate();
    let after = ObjectColumns { owner: heir, version: before.version.next(), ..before.columns().clone() };
    let after = ObjectRow::seal(store.keyring(), after, b"key");
    store.commit(of(Change::UpdateObject { before, after })).await.expect("given away");
    assert!(
        store.check_object_room(ORGANISATION, heir, 2).is_ok()
            && store.check_object_room(ORGANISATION, heir, 3).is_err()
    );
    store.commit(more(&store)).await.expect("the second");
    store.commit(more(&store)).await.expect("the third");
    used_up(store.commit(more(&store)).await);
    let given = fetch(&store, columns[0].id).await;
    let back = ObjectColumns { owner: fixture.owner, version: given.version.next(), ..given.columns().clone() };
    let back = ObjectRow::seal(store.keyring(), back, b"key");
    used_up(store.commit(of(Change::UpdateObject { before: given, after: back })).await);
    store.close().await.expect("closed");

    let store = fixture.try_open(options(Some(3), Some(4))).await.expect("the store opens");
    assert_eq!(used_up(store.commit(more(&store)).await), (Quota::ObjectsPerClient, 3));
    let other = insert(&store, ObjectColumns { owner: heir, ..fixture.columns() }, b"key");
    assert_eq!(used_up(store.commit(other).await), (Quota::ObjectsPerOrganisation, 4));
    let before = fetch(&store, columns[0].id).await;
    store.commit(of(Change::DeleteObject { before })).await.expect("deleted");
    assert!(store.check_object_room(ORGANISATION, heir, 1).is_ok());
    store.close().await.expect("closed");

    let store = fixture.try_open(options(Some(1), Some(1))).await.expect("the store opens");
    let page = store.locate(&LocateQuery::owned_by(ORGANISATION, fixture.owner)).await.expect("readable");
    let live = page.rows.iter().find(|row| row.state == 1).expect("one is alive");
    store.commit(update(&store, live, 2, b"key")).await.expect("changed, though over the quota");
    used_up(store.commit(more(&store)).await);
}

/// Renewals that race at a client's quota, and enrolments at an organisation's: exactly as many as allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_certificates_stop_at_the_quota() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (key, authority, client) = (EntryId::generate(), EntryId::generate(), ClientId::generate());
    let quotas = CertificateQuotas { per_client: Some(5), per_organisation: Some(12) };
    let issue = |certificate: IssuedCertificate, now| {
        of(Change::AddIssued { certificate: Box::new(certificate), uses_max: None, renewed: None, quotas, now })
    };
    let own: Vec<_> = (0..40).map(|n| IssuedCertificate { client, ..certificate(key, authority, n) }).collect();
    assert_eq!(race(&store, own.iter().map(|certificate| issue(certificate.clone(), 0))).await, 5);
    assert_eq!(store.with_issued(|index| index.valid_of_client(client, 0)), 5);
    assert_eq!(race(&store, (100..140).map(|n| issue(certificate(key, authority, n), 0))).await, 7);
    assert_eq!(store.with_issued(|index| index.of_organisation(ORGANISATION)), 12);
    let (client_refused, all_refused) = (Quota::CertificatesPerClient, Quota::CertificatesPerOrganisation);
    assert_eq!((store.quota_refusals(client_refused), store.quota_refusals(all_refused)), (35, 33));
    // Their end (second 1000) makes room for the client, and only removal for the organisation.
    let late = IssuedCertificate { client, not_after: 5_000, ..certificate(key, authority, 200) };
    assert_eq!(used_up(store.commit(issue(late.clone(), 1_000)).await).0, client_refused);
    assert_eq!(used_up(store.commit(issue(late.clone(), 1_001)).await).0, all_refused);
    let gone = store.with_issued(|index| index.iter().find(|facts| facts.client == client).cloned()).expect("there");
    store.commit(of(Change::RemoveIssued { id: gone.id, serial: gone.serial })).await.expect("removed");
    store.commit(issue(late, 1_001)).await.expect("room again");
    // In one unit of work its own certificates count, too.
    let changes =
        (300..303).flat_map(|n| issue(IssuedCertificate { client, ..certificate(key, authority, n) }, 1_001).changes);
    let commit = Commit { changes: changes.collect(), ..Commit::default() };
    assert_eq!(used_up(store.commit(commit).await).0, all_refused);
}
