//! Certificates of provisioning keys: indexed, kept, counted; and what holds over provisioning keys and administrators.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

pub(super) fn certificate(key: EntryId, authority: EntryId, seed: u64) -> IssuedCertificate {
    let sha256 = |salt: u8| {
        let mut octets = [0; 32];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[&[salt][..], &seed.to_be_bytes()].concat());
        octets.copy_from_slice(digest.as_ref());
        octets
    };
    IssuedCertificate {
        id: EntryId::generate(),
        organisation: ORGANISATION,
        client: ClientId::generate(),
        key,
        authority,
        shard: 0,
        serial: Serial::new(&sha256(0)[..17]).expect("a serial number"),
        sha256: sha256(1),
        public_key_sha256: sha256(2),
        not_before: 0,
        not_after: 1_000,
        renews: None,
        source: None,
        revoked: None,
        der: Blob::from(&b"certificate"[..]),
    }
}

fn add(certificate: &IssuedCertificate, uses_max: Option<u64>) -> Change {
    let quotas = CertificateQuotas::default();
    Change::AddIssued { certificate: Box::new(certificate.clone()), uses_max, renewed: None, quotas, now: 0 }
}

pub(super) fn of(change: Change) -> Commit {
    Commit { changes: vec![change], ..Commit::default() }
}

pub(super) fn provisioning_key(name: &str, state: &str) -> ProvisioningKey {
    ProvisioningKey {
        id: EntryId::generate(),
        organisation: ORGANISATION,
        key_id: format!("{:016x}", EntryId::generate().0.as_u128() as u64),
        name: name.into(),
        state: StoredKeyState { name: state.into(), since: 1, reason: None, told: None },
        secret: SecretText::new("secret").expect("a page"),
        secret_hash: String::new(),
        expires: None,
        uses_max: None,
        sources: String::new(),
        names: None,
        days: 7,
        successor: None,
        uses_cleared: 0,
        created_ms: 1,
    }
}

/// What is issued is there at once and after a restart, by serial number and by key; revoking shows; removing frees.
#[tokio::test]
async fn issued_certificates_are_kept() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (key, authority) = (EntryId::generate(), EntryId::generate());
    let certificates: Vec<_> = (0..5000).map(|seed| certificate(key, authority, seed)).collect();
    for chunk in certificates.chunks(1000) {
        let changes = chunk.iter().map(|certificate| add(certificate, None)).collect();
        store.commit(Commit { changes, ..Commit::default() }).await.expect("issued");
    }
    let first = &certificates[0];
    let found = store.issued(&first.serial).await.expect("readable").expect("there");
    assert_eq!(*found.entry, *first);
    let revoked = Some(Revocation { at: 5, reason: 1 });
    let after = IssuedCertificate { revoked, ..first.clone() };
    let change = |version| Change::UpdateIssued { certificate: Box::new(after.clone()), version };
    assert!(matches!(store.commit(of(change(found.version + 1))).await, Err(CommitError::Stale { .. })));
    store.commit(of(change(found.version))).await.expect("revoked");
    assert!(matches!(store.commit(of(change(found.version))).await, Err(CommitError::Stale { .. })));
    let last = &certificates[4999];
    store.commit(of(Change::RemoveIssued { id: last.id, serial: last.serial })).await.expect("removed");
    store.close().await.expect("closed");

    let store = fixture.open().await;
    assert!(store.damage().is_empty());
    store.with_issued(|index| {
        assert_eq!((index.len(), index.enrolled(key), index.issued_by(authority)), (4999, 4999, 4999));
        assert_eq!(index.revoked_of(authority).map(|facts| facts.serial).collect::<Vec<_>>(), [first.serial]);
        for certificate in &certificates[..4999] {
            let facts = index.by_serial(&certificate.serial).expect("there");
            assert_eq!((facts.id, facts.sha256), (certificate.id, certificate.sha256));
            assert_eq!(index.other_client(&certificate.public_key_sha256, None), Some(certificate.client));
            assert_eq!(index.other_client(&certificate.public_key_sha256, Some(certificate.client)), None);
        }
        assert!(index.by_serial(&last.serial).is_none() && index.other_client(&last.public_key_sha256, None).is_none());
    });
    assert_eq!(store.issued(&first.serial).await.expect("readable").expect("there").revoked, revoked);
    assert!(store.issued(&last.serial).await.expect("readable").is_none());
}

/// One key for two clients, one serial number twice, more uses than allowed: refused alone, also within one group of commits.
#[tokio::test]
async fn contradictions_are_refused_inside_the_transaction() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (key, authority) = (EntryId::generate(), EntryId::generate());
    let twins: Vec<_> = (0..8)
        .map(|n| IssuedCertificate { public_key_sha256: [7; 32], ..certificate(key, authority, n) })
        .map(|certificate| store.clone().commit_owned(of(add(&certificate, None))))
        .collect();
    let mut results = Vec::new();
    for task in twins.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
        results.push(task.await.expect("joined"));
    }
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(CommitError::KeyOfAnother))));

    let uses: Vec<_> = (100..120)
        .map(|n| store.clone().commit_owned(of(add(&certificate(key, authority, n), Some(5)))))
        .map(tokio::spawn)
        .collect();
    let mut done = 0;
    for task in uses {
        match task.await.expect("joined") {
            Ok(_) => done += 1,
            Err(error) => assert!(matches!(error, CommitError::UsedUp { max: 5 })),
        }
    }
    assert_eq!(done, 4, "one use was spent before");
    let one = certificate(key, authority, 200);
    let twin = IssuedCertificate { serial: one.serial, ..certificate(key, authority, 201) };
    store.commit(of(add(&one, None))).await.expect("issued");
    assert!(matches!(store.commit(of(add(&twin, None))).await, Err(CommitError::EntryTaken { .. })));
}

/// Two creations race for the third place: one wins, every time. Revoked keys take no place; none comes back over the limit.
#[tokio::test]
async fn three_keys_take_all_places() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let create = |key: ProvisioningKey| store.clone().commit_owned(of(Change::AddEntry(Entry::ProvisioningKey(key))));
    create(provisioning_key("gone", "revoked")).await.expect("revoked keys do not count");
    create(provisioning_key("one", "active")).await.expect("created");
    create(provisioning_key("two", "suspended")).await.expect("created");
    for round in 0..20 {
        let (a, b) = (provisioning_key(&format!("a{round}"), "active"), provisioning_key(&format!("b{round}"), "active"));
        let (first, second) = (tokio::spawn(create(a.clone())), tokio::spawn(create(b.clone())));
        let (first, second) = (first.await.expect("joined"), second.await.expect("joined"));
        assert!(first.is_ok() != second.is_ok(), "exactly one of two gets the last place");
        assert!([&first, &second].iter().any(|result| matches!(result, Err(CommitError::NoRoom(_)))));
        let won = if first.is_ok() { a } else { b };
        let version = store.directory().provisioning_keys[&won.id].version;
        let expect = |version| Change::Expect { kind: EntryKind::ProvisioningKey, id: won.id, version };
        let revoked = ProvisioningKey { state: provisioning_key("x", "revoked").state, ..won.clone() };
        let update = |version| {
            let changes = vec![expect(version), Change::UpdateEntry(Entry::ProvisioningKey(revoked.clone()))];
            Commit { changes, ..Commit::default() }
        };
        assert!(matches!(store.commit(update(version + 1)).await, Err(CommitError::Stale { .. })));
        store.commit(update(version)).await.expect("revoked");
    }
    let taken = create(provisioning_key("ONE", "revoked")).await;
    assert!(matches!(taken, Err(CommitError::EntryTaken { .. })), "names differ by more than case");
}

/// The last administrator that can act stays, also where two go at once.
#[tokio::test]
async fn the_last_administrator_stays() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let certificates = vec![AdminCertificate { sha256: [1; 32], serial: "01".into(), not_before: 0, not_after: i64::MAX }];
    let admin = |name: &str, role| Admin {
        id: EntryId::generate(),
        organisation: ORGANISATION,
        name: name.into(),
        role,
        disabled: false,
        certificates: certificates.clone(),
        created_ms: 0,
    };
    let (a, b) = (admin("a", Role::SecurityWrite), admin("b", Role::SecurityWrite));
    for one in [&a, &b, &admin("reader", Role::SecurityRead)] {
        store.commit(of(Change::AddEntry(Entry::Admin(one.clone())))).await.expect("added");
    }
    let disable = |admin: &Admin| of(Change::UpdateEntry(Entry::Admin(Admin { disabled: true, ..admin.clone() })));
    let tasks = [&a, &b].map(|admin| tokio::spawn(store.clone().commit_owned(disable(admin))));
    let mut refused = 0;
    for task in tasks {
        refused += usize::from(matches!(task.await.expect("joined"), Err(CommitError::LastAdmin)));
    }
    assert_eq!(refused, 1);
}

impl Store {
    pub(super) async fn commit_owned(self, commit: Commit) -> Result<CommitReceipt, CommitError> {
        self.commit(commit).await
    }
}

proptest! {
    /// The index says what a plain list says, whatever is put in, revoked and removed.
    #[test]
    fn the_index_agrees_with_a_list(steps in proptest::collection::vec((0u64..40, 0u8..3), 1..200)) {
        let (key, authority) = (EntryId::generate(), EntryId::generate());
        let pool: Vec<_> = (0..40).map(|seed| certificate(key, authority, seed)).collect();
        let (mut index, mut there, mut revoked) = (IssuedIndex::default(), HashSet::new(), HashSet::new());
        for (n, act) in steps {
            let one = &pool[n as usize];
            match act {
                0 if !there.contains(&n) => { index.put(one, 1); there.insert(n); }
                1 if there.contains(&n) => {
                    index.put(&IssuedCertificate { revoked: Some(Revocation { at: 1, reason: 1 }), ..one.clone() }, 2);
                    revoked.insert(n);
                }
                2 => { index.remove(&one.serial); there.remove(&n); revoked.remove(&n); }
                _ => {}
            }
        }
        prop_assert_eq!(index.len(), there.len());
        prop_assert_eq!(index.enrolled(key), there.len() as u64);
        prop_assert_eq!(index.iter().count(), there.len());
        prop_assert_eq!(index.of_organisation(ORGANISATION), there.len() as u64);
        let listed: HashSet<_> = index.revoked_of(authority).map(|facts| facts.serial).collect();
        prop_assert_eq!(listed.len(), revoked.len());
        for (n, one) in pool.iter().enumerate() {
            let n = n as u64;
            prop_assert_eq!(index.by_serial(&one.serial).is_some(), there.contains(&n));
            prop_assert_eq!(index.valid_of_client(one.client, one.not_after) == 1, there.contains(&n) && !revoked.contains(&n));
            prop_assert_eq!(index.valid_of_client(one.client, one.not_after + 1), 0);
            prop_assert_eq!(listed.contains(&one.serial), revoked.contains(&n));
            prop_assert_eq!(index.other_client(&one.public_key_sha256, None).is_some(), there.contains(&n));
        }
    }
}

proptest! {
    /// A key's count of valid certificates is what walking through all of them gives, whatever happens between the questions,
    /// and also where the clock is put back.
    #[test]
    fn valid_certificates_are_counted_without_walking(steps in proptest::collection::vec((0u64..30, 0u8..4, 0i64..12), 1..200)) {
        let keys = [EntryId::generate(), EntryId::generate()];
        let authorities = keys.map(|_| EntryId::generate());
        let of = |seed: u64| IssuedCertificate {
            not_after: (seed % 10) as i64,
            ..certificate(keys[seed as usize % 2], authorities[seed as usize % 2], seed)
        };
        let pool: Vec<_> = (0..30).map(of).collect();
        let mut index = IssuedIndex::default();
        for (n, act, now) in steps {
            let one = &pool[n as usize];
            match act {
                0 => index.put(one, 1),
                1 => index.put(&IssuedCertificate { revoked: Some(Revocation { at: 1, reason: 1 }), ..one.clone() }, 2),
                2 => index.remove(&one.serial),
                _ => for key in keys {
                    let mine = index.iter().filter(|facts| index.issuer(facts).1 == key);
                    let walked = mine.filter(|facts| facts.revoked.is_none() && now <= facts.not_after).count() as u64;
                    prop_assert_eq!(index.valid_of_key(key, now), walked);
                },
            }
        }
    }
}

/// After a restart, shards that are full stay full though rows of theirs were cleared away.
#[tokio::test]
async fn shards_are_counted_on_after_a_restart() {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    let (key, authority) = (EntryId::generate(), EntryId::generate());
    let late = IssuedCertificate { shard: 2, ..certificate(key, authority, 1) };
    store.commit(of(add(&late, None))).await.expect("issued");
    store.close().await.expect("closed");
    let store = fixture.open().await;
    assert_eq!(store.with_issued(|index| index.issued_by(authority)), 20_001);
}
