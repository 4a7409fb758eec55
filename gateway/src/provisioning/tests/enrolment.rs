//! Who gets a certificate for what, and who gets none.

use keygate_pki::{Reason, RequestError};
use keygate_pki::provisioning::LimitError;

use super::*;
use crate::store::{Quota, Serial};

/// Limits of a key hold; renewals are not counted; a successor takes renewals over.
#[tokio::test]
async fn limits_and_successors() {
    let world = World::enabled().await;
    let limited = NewKeyRequest {
        name: "limited".into(),
        uses_max: Some(2),
        sources: "192.0.2.0/24".into(),
        names: Some("door-*".into()),
        expires: Some(world.provisioning.now() + time::Duration::hours(1)),
        ..NewKeyRequest::default()
    };
    let (key, secret) = world.key_like(limited).await;
    let (_, csr) = request("door-1");
    let elsewhere = EnrolRequest {
        secret: &secret,
        organisation: None,
        source: IpAddr::from([198, 51, 100, 1]),
        request: &csr,
        names: &[],
        make_key: false,
    };
    let refused = world.provisioning.enrol(&elsewhere).await;
    assert!(matches!(refused, Err(EnrolRefusal::Limit(LimitError::Source { .. }))));
    let (_, window) = request("window-1");
    let refused = world.enrol(&secret, &window).await;
    assert!(matches!(refused, Err(EnrolRefusal::Request(RequestError::NameNotAllowed { .. }))));
    let first = world.enrol(&secret, &csr).await.expect("first use");
    let (_, csr) = request("door-2");
    world.enrol(&secret, &csr).await.expect("second use");
    let (_, csr) = request("door-3");
    assert!(matches!(world.enrol(&secret, &csr).await, Err(EnrolRefusal::Limit(LimitError::UsedUp { max: 2 }))));
    world.turn_clock(time::Duration::hours(2));
    assert!(matches!(world.enrol(&secret, &csr).await, Err(EnrolRefusal::Limit(_))));
    let (_, csr) = request("door-1");
    let renewed = world.renew(&first.certificate, &csr).await.expect("limits are for enrolments");

    let (heir, _) = world.key("heir").await;
    let patch = KeyPatch { successor: Some("heir".into()), ..KeyPatch::default() };
    let id = key.public_id.to_string();
    world.provisioning.change_key(&admin(), ORGANISATION, &id, &patch, None).await.expect("named");
    let circle = KeyPatch { successor: Some(id.clone()), ..KeyPatch::default() };
    let refused = world.provisioning.change_key(&admin(), ORGANISATION, "heir", &circle, None).await;
    assert!(matches!(refused, Err(ProvisioningError::Invalid(_))));
    let (_, csr) = request("door-1");
    let moved = world.renew(&renewed.certificate, &csr).await.expect("renewed under the successor");
    let told = Reason::Superseded;
    world.provisioning.revoke_key(&admin(), ORGANISATION, &id, &because("replaced"), told, None).await.expect("revoked");
    assert!(world.connects(&moved.certificate) && !world.connects(&renewed.certificate));
    assert_eq!(world.provisioning.counts(heir.row.id), (0, 1));
}

/// Revokes this one certificate.
async fn supersede(world: &World, certificate: &Certificate) {
    let serial = Serial::new(certificate.serial()).expect("a serial number");
    let (by, wish, told) = (admin(), because("replaced"), Reason::Superseded);
    world.provisioning.revoke_certificate(&by, ORGANISATION, &serial, &wish, told).await.expect("revoked");
}

/// A client has so many valid certificates and no more, an organisation so many at all; what ends makes room again.
#[tokio::test]
async fn quotas_of_certificates() {
    let world = World::with_quotas(CertificateQuotas { per_client: Some(2), per_organisation: Some(4) }).await;
    world.enable(KeyChoice::default()).await;
    let (_, secret) = world.key("k").await;
    let (_, csr) = request("a");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    let second = world.renew(&first.certificate, &request("a").1).await.expect("the second valid one");
    let used_up = |refused: Result<Enrolled, EnrolRefusal>| match refused {
        Err(EnrolRefusal::Quota { what, max }) => (what, max),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("issued"),
    };
    let refused = world.renew(&second.certificate, &request("a").1).await;
    assert_eq!(used_up(refused), (Quota::CertificatesPerClient, 2));
    // Enrolling again with the key it kept is the same client.
    assert_eq!(used_up(world.enrol(&secret, &csr).await), (Quota::CertificatesPerClient, 2));
    supersede(&world, &first.certificate).await;
    let third = world.renew(&second.certificate, &request("a").1).await.expect("the first one counts no longer");
    world.enrol(&secret, &request("b").1).await.expect("the fourth of the organisation");
    assert_eq!(used_up(world.enrol(&secret, &request("c").1).await), (Quota::CertificatesPerOrganisation, 4));
    supersede(&world, &second.certificate).await;
    let refused = world.renew(&third.certificate, &request("a").1).await;
    assert_eq!(used_up(refused), (Quota::CertificatesPerOrganisation, 4), "revoked ones stay on record");
    assert_eq!(world.provisioning.store.quota_refusals(Quota::CertificatesPerClient), 2);
}

/// A key is certified for one client: its own machine may enrol again, no other may use it; a CA's key never.
#[tokio::test]
async fn a_key_belongs_to_one_client() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let (key, csr) = request("a");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    let again = world.enrol(&secret, &csr).await.expect("the same machine, installed again");
    assert_eq!(first.client, again.client);
    let thief = world.enrol(&secret, &request_of(&key, "b", &[])).await;
    assert!(matches!(thief, Err(EnrolRefusal::Request(RequestError::KeyOfAnother))));
    let (other, csr) = request("c");
    let victim = world.enrol(&secret, &csr).await.expect("enrolled");
    let stolen = world.renew(&first.certificate, &request_of(&other, "a", &[])).await;
    assert!(matches!(stolen, Err(EnrolRefusal::Request(RequestError::KeyOfAnother))));
    assert_ne!(victim.client, first.client);

    let snapshot = world.provisioning.snapshot();
    let authority = snapshot.active(crate::store::StoredTier::Root, ORGANISATION, None).expect("a root");
    let crate::store::AuthorityKey::Local(stored) = &authority.row.key else { panic!("a local key") };
    let ca_key = authority::local_key(stored).expect("a key");
    let refused = world.enrol(&secret, &request_of(&ca_key, "ca", &[])).await;
    assert!(matches!(refused, Err(EnrolRefusal::Request(RequestError::CaKey))));
}

/// Names come from the request, and from beside it; a key made here comes with its certificate.
#[tokio::test]
async fn names_and_keys_made_here() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let names = SubjectAltName::parse_list("IP: 192.0.2.1, DNS: example.com, IP: 2001:db8::1").expect("names");
    let (key, _) = request("a");
    let csr = request_of(&key, "a", &names[..1]);
    let asked = EnrolRequest { secret: &secret, organisation: None, source: HERE, request: &csr, names: &names, make_key: true };
    let done = world.provisioning.enrol(&asked).await.expect("enrolled");
    assert_eq!(done.certificate.subject_alt_names(), names);
    let made = done.key.expect("a key");
    assert_eq!(keygate_pki::Signer::public_key(&made).spki_hash(), done.certificate.spki_hash());
    assert_ne!(done.certificate.spki_hash(), keygate_pki::Signer::public_key(&key).spki_hash());
}

/// Wrong secrets are waited for longer and longer, from that address; the right one from elsewhere is served.
#[tokio::test]
async fn guessing_is_slowed_down() {
    let world = World::enabled().await;
    let (key, secret) = world.key("k").await;
    let wrong = PresentedSecret::from_parts(&key.public_id.to_string(), &"A".repeat(43)).expect("well formed");
    let (_, csr) = request("a");
    for _ in 0..3 {
        assert!(matches!(world.enrol(&wrong, &csr).await, Err(EnrolRefusal::Unauthorised)));
    }
    assert!(matches!(world.enrol(&wrong, &csr).await, Err(EnrolRefusal::Throttled { .. })));
    assert!(matches!(world.enrol(&secret, &csr).await, Err(EnrolRefusal::Throttled { .. })), "from the same address");
    let elsewhere = EnrolRequest { secret: &secret, organisation: None, source: [198, 51, 100, 9].into(), request: &csr, names: &[], make_key: false };
    world.provisioning.enrol(&elsewhere).await.expect("nobody blocks an id for others");
}

/// Revocations void the tickets of all clients: one that gives certificates up all the time waits, others do not.
#[tokio::test]
async fn giving_up_is_slowed_down() {
    let world = World::enabled().await;
    let (_, secret) = world.key("device").await;
    let certificate = world.enrol(&secret, &request("device-1").1).await.expect("enrolled").certificate;
    let other = world.enrol(&secret, &request("device-2").1).await.expect("enrolled").certificate;
    let give_up = |certificate| world.provisioning.clone().give_up(certificate, HERE, Reason::Superseded);
    give_up(&certificate).await.expect("given up");
    // Again it changes nothing, and counts all the same.
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(give_up(&certificate).await);
    }
    let waits = |answer: &Result<usize, EnrolRefusal>| match answer {
        Err(EnrolRefusal::Throttled { retry_after }) => !retry_after.is_zero(),
        _ => false,
    };
    assert_eq!(answers.iter().map(waits).collect::<Vec<_>>(), [false, false, true], "{answers:?}");
    assert_eq!(give_up(&other).await.expect("given up"), 1);
}

/// Expired certificates renew nothing; long after their end their rows go, and their uses stay counted.
#[tokio::test]
async fn expired_certificates_go() {
    let world = World::enabled().await;
    let wish = NewKeyRequest { name: "k".into(), uses_max: Some(1), ..NewKeyRequest::default() };
    let (key, secret) = world.key_like(wish).await;
    let (_, csr) = request("a");
    let first = world.enrol(&secret, &csr).await.expect("enrolled");
    world.turn_clock(time::Duration::days(8));
    let (_, csr) = request("a");
    assert!(matches!(world.renew(&first.certificate, &csr).await, Err(EnrolRefusal::Unauthorised)));
    assert!(!world.connects(&first.certificate));
    world.turn_clock(time::Duration::days(95));
    world.provisioning.maintain().await;
    assert_eq!(world.provisioning.counts(key.row.id), (0, 0));
    let (_, csr) = request("b");
    assert!(matches!(world.enrol(&secret, &csr).await, Err(EnrolRefusal::Limit(LimitError::UsedUp { .. }))));
}
