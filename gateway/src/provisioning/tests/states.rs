//! What each state of key and service does, to clients, to our listeners, and to everybody else.

use keygate_pki::Reason;

use super::*;
use crate::store::CommitError;

/// Off until enabled; then a client enrols, connects, renews and rekeys.
#[tokio::test]
async fn a_client_enrols_and_renews() {
    let world = World::new().await;
    let early = NewKeyRequest { name: "too early".into(), ..NewKeyRequest::default() };
    let early = world.provisioning.create_key(&admin(), ORGANISATION, &early).await;
    assert!(matches!(early, Err(ProvisioningError::State(_))));
    world.enable(KeyChoice::default()).await;
    let (key, secret) = world.key("Front desk").await;
    let (client_key, csr) = request("door-1");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    assert_eq!(first.certificate.common_name().as_deref(), Some("door-1"));
    assert_eq!(first.chain.len(), 2, "issuing CA and organisation issuer");
    assert!(world.connects(&first.certificate));

    let renewed = world.renew(&first.certificate, &request_of(&client_key, "door-1", &[])).await.expect("renewed");
    let (_, other) = request("door-1");
    let rekeyed = world.renew(&renewed.certificate, &other).await.expect("rekeyed");
    assert_eq!((renewed.client, rekeyed.client), (first.client, first.client));
    assert_ne!(renewed.certificate.spki_hash(), rekeyed.certificate.spki_hash());
    let (_, stranger) = request("door-2");
    assert!(matches!(world.renew(&first.certificate, &stranger).await, Err(EnrolRefusal::Asked(_))));
    assert_eq!(world.provisioning.counts(key.row.id), (1, 3));

    let world = world.restarted().await;
    assert!(world.connects(&first.certificate) && world.connects(&rekeyed.certificate));
    assert_eq!(world.provisioning.counts(key.row.id), (1, 3));
}

/// Suspended: no issue, no renewal, connections stay. Reactivated: as before. Only who shows the secret is told.
#[tokio::test]
async fn a_suspended_key_issues_nothing_and_connects() {
    let world = World::enabled().await;
    let (key, secret) = world.key("k").await;
    let (_, csr) = request("a");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    let id = key.public_id.to_string();
    let unsaid = Reasoned { acknowledged: false, ..because("x") };
    let refused = world.provisioning.suspend_key(&admin(), ORGANISATION, &id, &unsaid, None).await;
    assert!(matches!(refused, Err(ProvisioningError::Unacknowledged)));
    let stale = Some(key.row.version + 7);
    let refused = world.provisioning.suspend_key(&admin(), ORGANISATION, &id, &because("x"), stale).await;
    assert!(matches!(refused, Err(ProvisioningError::Changed)));
    world.provisioning.suspend_key(&admin(), ORGANISATION, &id, &because("audit"), None).await.expect("suspended");

    let (_, other) = request("b");
    assert!(matches!(world.enrol(&secret, &other).await, Err(EnrolRefusal::Suspended { .. })));
    let (_, again) = request("a");
    assert!(matches!(world.renew(&first.certificate, &again).await, Err(EnrolRefusal::Suspended { .. })));
    let wrong = PresentedSecret::from_parts(&id, &"A".repeat(43)).expect("well formed");
    assert!(matches!(world.enrol(&wrong, &other).await, Err(EnrolRefusal::Unauthorised)));
    assert!(world.connects(&first.certificate));
    assert_eq!(world.ocsp(&first.chain[0], &first.certificate).await, Said::Good);

    world.provisioning.reactivate_key(&admin(), ORGANISATION, &id, &because("done"), None).await.expect("active");
    world.enrol(&secret, &other).await.expect("enrolled");
    world.renew(&first.certificate, &again).await.expect("renewed");
}

/// Revoked: for ever, for everybody; and thirty days on there are still lists and answers, though the key is gone.
#[tokio::test]
async fn a_revoked_key_is_refused_by_everybody() {
    let world = World::enabled().await;
    let wish = NewKeyRequest { name: "k".into(), days: Some(90), ..NewKeyRequest::default() };
    let (key, secret) = world.key_like(wish).await;
    let (other, other_secret) = world.key("other").await;
    let (_, csr) = request("a");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    let (_, csr) = request("b");
    let bystander = world.enrol(&other_secret, &csr).await.expect("enrolled");
    let id = key.public_id.to_string();
    let snapshot = world.provisioning.snapshot();
    let authority = snapshot.issuers_of(key.row.id).next().expect("an authority").clone();
    let parent = snapshot.parent_of(&authority).expect("a parent").row.id;
    // Renewed once with the same key: both serial numbers must go.
    world.provisioning.renew_authority(&admin(), ORGANISATION, &authority.path_name(), None).await.expect("renewed");
    let authority = world.provisioning.snapshot().authorities[&authority.row.id].clone();
    assert_eq!(authority.certificates.len(), 2);

    let told = Reason::KeyCompromise;
    let revoke = |id: String| {
        let provisioning = world.provisioning.clone();
        async move { provisioning.revoke_key(&admin(), ORGANISATION, &id, &because("stolen"), told, None).await }
    };
    revoke(id.clone()).await.expect("revoked");
    assert!(matches!(revoke(id.clone()).await, Err(ProvisioningError::State(_))));
    assert!(!world.connects(&first.certificate) && world.connects(&bystander.certificate));
    let (_, again) = request("c");
    assert!(matches!(world.enrol(&secret, &again).await, Err(EnrolRefusal::Unauthorised)));
    let (_, again) = request("a");
    assert!(matches!(world.renew(&first.certificate, &again).await, Err(EnrolRefusal::Unauthorised)));
    let listed = world.listed(parent, None);
    for held in &authority.certificates {
        let serial = held.certificate.serial().to_vec();
        assert!(listed.contains(&(serial, Some(2))), "cACompromise, every serial number");
    }
    assert_eq!(listed.len(), 2);
    let trusted = String::from_utf8(world.provisioning.published().bundles["default"].trust_pem.body.to_vec());
    assert_eq!(trusted.expect("text").matches("BEGIN").count(), 1);

    world.provisioning.maintain().await;
    assert!(!world.provisioning.snapshot().authorities[&authority.row.id].has_key(), "the CA key is destroyed");
    let world = world.restarted().await;
    world.turn_clock(time::Duration::days(30));
    world.provisioning.maintain().await;
    for shard in [None, Some(0)] {
        let expected = vec![(first.certificate.serial().to_vec(), Some(1))];
        assert_eq!(world.listed(authority.row.id, shard), expected, "the leaf is on the last lists");
        let file = world.provisioning.published().lists[&(authority.row.id, shard)].clone();
        assert!(file.next >= authority.not_after().expect("an end"));
    }
    assert_eq!(world.ocsp(&first.chain[0], &first.certificate).await, Said::Revoked);
    assert!(!world.connects(&first.certificate));
    assert!(world.listed(parent, None).len() == 2);
    assert!(other.effective.issues());
}

/// Disabled: the clients of all keys are refused, hold on the parent's list; enabled again, each key is what it was.
#[tokio::test]
async fn a_disabled_service_holds_all_its_keys() {
    let world = World::enabled().await;
    let (active, active_secret) = world.key("active").await;
    let (suspended, _) = world.key("suspended").await;
    let (_, csr) = request("a");
    let first = world.enrol(&active_secret, &csr).await.expect("enrolled");
    let id = suspended.public_id.to_string();
    world.provisioning.suspend_key(&admin(), ORGANISATION, &id, &because("later"), None).await.expect("suspended");
    let off = because("maintenance");
    world.provisioning.disable_service(&admin(), ORGANISATION, &off, None).await.expect("disabled");
    let twice = world.provisioning.disable_service(&admin(), ORGANISATION, &off, None).await;
    assert!(matches!(twice, Err(ProvisioningError::State(_))));

    assert!(!world.connects(&first.certificate));
    let (_, other) = request("b");
    assert!(matches!(world.enrol(&active_secret, &other).await, Err(EnrolRefusal::Disabled { .. })));
    let snapshot = world.provisioning.snapshot();
    let parent = snapshot.active(crate::store::StoredTier::Organisation, ORGANISATION, None).expect("issuer").row.id;
    let listed = world.listed(parent, None);
    assert_eq!(listed.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), [Some(6), Some(6)], "certificateHold");
    assert_eq!(world.ocsp(&first.chain[0], &first.certificate).await, Said::Revoked);
    assert!(world.provisioning.published().bundles["default"].trust_pem.body.is_empty());

    world.enable(KeyChoice::default()).await;
    assert!(world.connects(&first.certificate));
    world.enrol(&active_secret, &other).await.expect("enrolled");
    assert!(world.listed(parent, None).is_empty());
    assert_eq!(world.ocsp(&first.chain[0], &first.certificate).await, Said::Good);
    let states: Vec<_> = world.provisioning.snapshot().keys.values().map(|key| key.state.name()).collect();
    assert_eq!(states, ["active", "suspended"]);
    assert!(active.effective.issues());
}

/// One certificate is revoked: its whole lineage goes, its neighbours stay, its shard and OCSP say so.
#[tokio::test]
async fn one_client_is_revoked() {
    let world = World::enabled().await;
    let (key, secret) = world.key("k").await;
    let (_, csr) = request("a");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    let (_, csr) = request("a");
    let renewed = world.renew(&first.certificate, &csr).await.expect("renewed");
    let (_, csr) = request("b");
    let other = world.enrol(&secret, &csr).await.expect("enrolled");
    let serial = crate::store::Serial::new(first.certificate.serial()).expect("a serial number");
    let (by, lost) = (admin(), because("lost"));
    let revoke = |told| world.provisioning.revoke_certificate(&by, ORGANISATION, &serial, &lost, told);
    assert!(matches!(revoke(Reason::CertificateHold).await, Err(ProvisioningError::Invalid(_))));
    assert_eq!(revoke(Reason::KeyCompromise).await.expect("revoked"), 2);
    assert!(matches!(revoke(Reason::KeyCompromise).await, Err(ProvisioningError::State(_))));
    assert!(!world.connects(&first.certificate) && !world.connects(&renewed.certificate));
    assert!(world.connects(&other.certificate));
    let (_, csr) = request("a");
    assert!(matches!(world.renew(&renewed.certificate, &csr).await, Err(EnrolRefusal::Unauthorised)));
    let authority = world.provisioning.snapshot().issuers_of(key.row.id).next().expect("an authority").row.id;
    let mut expected = vec![(first.certificate.serial().to_vec(), Some(1)), (renewed.certificate.serial().to_vec(), Some(1))];
    expected.sort();
    for shard in [None, Some(0)] {
        let mut listed = world.listed(authority, shard);
        listed.sort();
        assert_eq!(listed, expected);
    }
    assert_eq!(world.ocsp(&first.chain[0], &renewed.certificate).await, Said::Revoked);
    assert_eq!(world.ocsp(&first.chain[0], &other.certificate).await, Said::Good);
    let filter = CertificateFilter { state: Some(CertificateState::Revoked), limit: 10, ..CertificateFilter::default() };
    let page = world.provisioning.certificates(ORGANISATION, &filter).await.expect("a page");
    assert_eq!(page.certificates.len(), 2);
}

/// A fourth key is refused; of two that race for the last place one is made; a revoked one makes room.
#[tokio::test]
async fn there_are_three_places() {
    let world = World::enabled().await;
    let (one, _) = world.key("one").await;
    world.key("two").await;
    let create = |name: &'static str| {
        let provisioning = world.provisioning.clone();
        tokio::spawn(async move {
            let wish = NewKeyRequest { name: name.into(), ..NewKeyRequest::default() };
            provisioning.create_key(&admin(), ORGANISATION, &wish).await.map(|made| made.key.row.id)
        })
    };
    let (left, right) = (create("left"), create("right"));
    let (left, right) = (left.await.expect("joined"), right.await.expect("joined"));
    assert!(left.is_ok() != right.is_ok(), "exactly one");
    assert!(matches!(create("four").await.expect("joined"), Err(ProvisioningError::State(text)) if text.contains("3")));
    let id = one.row.id.to_string();
    let told = Reason::CessationOfOperation;
    world.provisioning.revoke_key(&admin(), ORGANISATION, &id, &because("room"), told, None).await.expect("revoked");
    create("four").await.expect("joined").expect("room again");
    assert!(matches!(
        world.provisioning.change_key(&admin(), ORGANISATION, "two", &KeyPatch { name: Some("FOUR".into()), ..KeyPatch::default() }, None).await,
        Err(ProvisioningError::NameTaken { .. })
    ));
    for bad in ["", "1st", "has_underscore", "ü", "-x", &"a".repeat(65)] {
        let wish = NewKeyRequest { name: bad.into(), ..NewKeyRequest::default() };
        let refused = world.provisioning.create_key(&admin(), ORGANISATION, &wish).await;
        assert!(matches!(refused, Err(ProvisioningError::Invalid(_))), "{bad:?}");
    }
}

/// Whatever happens while a certificate is being issued: it was issued before the suspension, or not at all.
#[tokio::test]
async fn a_state_changes_before_or_after_an_issue() {
    let world = World::enabled().await;
    let (key, secret) = world.key("k").await;
    let secret = Arc::new(secret);
    let id = key.public_id.to_string();
    let enrol = |n: usize| {
        let (provisioning, secret) = (world.provisioning.clone(), secret.clone());
        tokio::spawn(async move {
            let (_, csr) = request(&format!("c{n}"));
            let asked = EnrolRequest { secret: &secret, organisation: None, source: HERE, request: &csr, names: &[], make_key: false };
            provisioning.enrol(&asked).await
        })
    };
    let tasks: Vec<_> = (0..64).map(enrol).collect();
    tokio::task::yield_now().await;
    world.provisioning.suspend_key(&admin(), ORGANISATION, &id, &because("now"), None).await.expect("suspended");
    let counted = world.provisioning.counts(key.row.id).0;
    let mut issued = 0;
    for task in tasks {
        match task.await.expect("joined") {
            Ok(_) => issued += 1,
            Err(refusal) => assert!(matches!(refusal, EnrolRefusal::Suspended { .. }), "{refusal}"),
        }
    }
    assert_eq!(world.provisioning.counts(key.row.id).0, issued, "an answer for each that is counted");
    assert_eq!(counted, issued, "none after the suspension was durable");
    assert!(!matches!(world.provisioning.store.close().await, Err(CommitError::Broken(_))));
}

/// Renewals race against the revocation of their client, again and again: nothing that was issued for it lives on, and the key it
/// kept opens nothing any more.
#[tokio::test]
async fn no_renewal_outlives_its_client() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let (kept, csr) = request("a");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    let renewals: Vec<_> = (0..24)
        .map(|_| {
            let (provisioning, present) = (world.provisioning.clone(), first.certificate.clone());
            tokio::spawn(async move {
                let (_, csr) = request("a");
                let asked = Renewing {
                    certificate: present.der(),
                    organisation: None,
                    source: HERE,
                    request: Some(&csr),
                    keep_names: false,
                    same_key: None,
                };
                provisioning.renew(&asked).await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let serial = crate::store::Serial::new(first.certificate.serial()).expect("a serial number");
    let (by, wish) = (admin(), because("stolen"));
    let done = world.provisioning.revoke_certificate(&by, ORGANISATION, &serial, &wish, Reason::KeyCompromise).await;
    assert!(done.expect("revoked") >= 1);
    for renewal in renewals {
        if let Ok(issued) = renewal.await.expect("joined") {
            assert!(!world.connects(&issued.certificate));
        }
    }
    world.turn_clock(time::Duration::days(8));
    let again = world.enrol(&secret, &request_of(&kept, "a", &[])).await;
    assert!(again.is_err(), "an expired key of a revoked client is no way back");
}

/// Two keys are made each other's successors at once: one of the changes is refused, whichever comes second.
#[tokio::test]
async fn successors_make_no_circle() {
    let world = World::enabled().await;
    world.key("a").await;
    world.key("b").await;
    let change = |key: &'static str, to: &'static str| {
        let provisioning = world.provisioning.clone();
        tokio::spawn(async move {
            let patch = KeyPatch { successor: Some(to.into()), ..KeyPatch::default() };
            provisioning.change_key(&admin(), ORGANISATION, key, &patch, None).await.map(drop)
        })
    };
    let (left, right) = (change("a", "b"), change("b", "a"));
    let (left, right) = (left.await.expect("joined"), right.await.expect("joined"));
    assert!(left.is_ok() != right.is_ok(), "exactly one");
}
