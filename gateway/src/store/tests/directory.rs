//! Clients, grants and the like: kept, unique, watched, and protected from being put back.

use sqlx::AssertSqlSafe;

use super::*;

fn client(name: &str) -> Client {
    Client {
        id: ClientId::generate(),
        organisation: ORGANISATION,
        name: name.to_owned(),
        disabled: false,
        admin: false,
        keystore: None,
        created_ms: 0,
    }
}

fn of(change: Change) -> Commit {
    Commit { changes: vec![change], events: vec![event(Action::ClientChanged, None)], erases: false }
}

/// Entries are there at once and after a restart; each change is announced; names are unique; what is absent cannot be changed.
#[tokio::test]
async fn entries_are_kept_unique_and_announced() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let mut changes = store.directory_changes();
    let alice = client("alice");
    let receipt = store.commit(of(Change::AddEntry(Entry::Client(alice.clone())))).await.expect("added");
    changes.changed().await.expect("announced");
    assert_eq!(*changes.borrow(), receipt.seq);
    assert_eq!(*store.directory().clients[&alice.id], alice);

    let twin = store.commit(of(Change::AddEntry(Entry::Client(client("alice"))))).await;
    assert!(matches!(twin, Err(CommitError::EntryTaken { holder, .. }) if holder == alice.id.into()));
    let absent = store.commit(of(Change::UpdateEntry(Entry::Client(client("bob"))))).await;
    assert!(matches!(absent, Err(CommitError::EntryMissing { .. })));

    let renamed = Client { name: "alicia".to_owned(), ..alice.clone() };
    let twin = client("alice");
    let both = vec![Change::UpdateEntry(Entry::Client(renamed.clone())), Change::AddEntry(Entry::Client(twin.clone()))];
    store.commit(Commit { changes: both, ..Commit::default() }).await.expect("the name passes on");
    store.close().await.expect("closed");

    let store = fixture.open().await;
    assert_eq!(*store.directory().clients[&alice.id], renamed);
    assert_eq!(*store.directory().clients[&twin.id], twin);
    store.commit(of(Change::RemoveEntry(EntryKind::Client, twin.id.into()))).await.expect("removed");
    assert_eq!(store.directory().clients.len(), 1);
}

/// Every kind of entry comes back as it was written; intents are kept apart.
#[tokio::test]
async fn every_kind_comes_back() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (owner, id) = (client("owner"), EntryId::generate);
    let (organisation, group) = (ORGANISATION, id());
    let entries = vec![
        Entry::Client(owner.clone()),
        Entry::Certificate(ClientCertificate {
            id: id(),
            organisation,
            client: owner.id,
            sha256: [7; 32],
            issuer_key_sha256: Some([8; 32]),
            serial: vec![1, 2, 3],
            origin: CertificateOrigin::Issued,
            not_before: 0,
            not_after: 1,
            renews: None,
            revoked: false,
        }),
        Entry::User(ClientUser {
            id: id(),
            organisation,
            client: owner.id,
            name: "u".into(),
            password_hash: "$argon2id$".into(),
            disabled: false,
        }),
        Entry::Group(ClientGroup { id: group, organisation, name: "g".into() }),
        Entry::Member(GroupMember { id: id(), organisation, group, client: owner.id }),
        Entry::Grant(Grant {
            id: id(),
            organisation,
            scope: GrantScope::Owner(owner.id),
            grantee: Grantee::Group(group),
            operations: vec!["Get".into()],
        }),
        Entry::Keystore(KeystoreEntry {
            id: KeystoreId::generate(),
            organisation,
            name: "k".into(),
            kind: "local".into(),
            managed: Some(Box::new(ManagedKeystore {
                state: KeystoreState::Draft { since_ms: 1 },
                settings: "workers = 2\n".into(),
                secret: Some(SecretText::new("pin").expect("a page")),
                secret_since_ms: 1,
                secret_refused: false,
                token_serial: None,
                test: None,
                default_since_ms: None,
                created_ms: 1,
            })),
        }),
        Entry::Intent(Intent {
            id: id(),
            organisation,
            keystore: KeystoreId::generate(),
            action: IntentAction::Create,
            objects: vec![ObjectId::generate()],
            locators: vec![vec![1; 16]],
            at_ms: 0,
        }),
        Entry::Setting(Setting { id: id(), organisation, name: "s".into(), value: SecretText::new("v").expect("a page") }),
    ];
    let changes = entries.iter().cloned().map(Change::AddEntry).collect();
    store.commit(Commit { changes, ..Commit::default() }).await.expect("added");
    store.close().await.expect("closed");
    let store = fixture.open().await;
    let directory = store.directory();
    assert_eq!(directory.certificates.len() + directory.users.len() + directory.groups.len(), 3);
    assert_eq!(directory.members.len() + directory.grants.len() + directory.keystores.len(), 3);
    let managed = directory.keystores[0].managed.as_ref().expect("managed");
    assert_eq!(managed.secret.as_ref().expect("a secret").expose().as_str(), "pin");
    assert!(!format!("{managed:?}").contains("pin"));
    assert_eq!(directory.settings[&(organisation, "s".to_owned())].value.expose().as_str(), "v");
    assert_eq!(store.intents().len(), 1);
    assert!(entries.contains(&Entry::Intent(store.intents()[0].clone())));
}

/// The row of a client from before it was disabled, put back: the client is not enabled, it is gone, and named.
#[tokio::test]
async fn a_disabled_client_stays_out() {
    use sqlx::{ConnectOptions, Row};
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (alice, bob) = (client("alice"), client("bob"));
    for entry in [&alice, &bob] {
        store.commit(of(Change::AddEntry(Entry::Client(entry.clone())))).await.expect("added");
    }
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(sqlite::path(fixture.path()));
    let mut connection = options.connect().await.expect("the database opens");
    let sql = "SELECT version, sealed FROM entry WHERE id = ?";
    let old = sqlx::query(sql).bind(&alice.id.as_bytes()[..]).fetch_one(&mut connection).await.expect("the row");
    let (version, sealed): (i64, Vec<u8>) = (old.get(0), old.get(1));
    let disabled = Client { disabled: true, ..alice.clone() };
    store.commit(of(Change::UpdateEntry(Entry::Client(disabled)))).await.expect("disabled");
    store.close().await.expect("closed");

    let id = literal(alice.id.as_bytes());
    let sql = format!("UPDATE entry SET version = {version}, sealed = {} WHERE id = {id}", literal(&sealed));
    assert_eq!(tamper(fixture.path(), AssertSqlSafe(sql)).await, 1);
    let store = fixture.open().await;
    assert_eq!(store.damage(), [format!("Client {}", alice.id)]);
    assert_eq!(store.directory().clients.keys().copied().collect::<Vec<_>>(), [bob.id]);

    // The administrator makes it anew; from then on the store agrees with itself again.
    store.commit(of(Change::AddEntry(Entry::Client(alice.clone())))).await.expect("made anew");
    store.close().await.expect("closed");
    let store = fixture.open().await;
    assert!(store.damage().is_empty());
    assert_eq!(store.directory().clients.len(), 2);
}
