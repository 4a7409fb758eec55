//! Authorities: of every algorithm, renewed, re-keyed, taken over, and at their end.

use keygate_pki::{Days, Draft, Issuer, Locations, Signer, SystemSerials, Tier, Window};

use super::*;
use crate::store::StoredTier;

fn active(world: &World, tier: StoredTier) -> String {
    world.provisioning.snapshot().active(tier, ORGANISATION, None).expect("an authority").path_name()
}

/// Issuers of all algorithms sign clients, lists and answers.
#[tokio::test]
async fn every_algorithm_issues() {
    for (name, algorithm) in ALGORITHMS {
        let world = World::new().await;
        let choice = KeyChoice { algorithm, keystore: None };
        world.enable(choice).await;
        let (_, secret) = world.key_like(NewKeyRequest { name: "k".into(), choice, ..NewKeyRequest::default() }).await;
        let (_, csr) = request("a");
        let first = world.enrol(&secret, &csr).await.expect(name);
        assert!(world.connects(&first.certificate), "{name}");
        first.certificate.verify_issued_by(&first.chain[0]).expect(name);
        first.chain[0].verify_issued_by(&first.chain[1]).expect(name);
        assert_eq!(world.ocsp(&first.chain[0], &first.certificate).await, Said::Good, "{name}");
    }
}

/// Re-keying an organisation's issuer: published, then active after the overlap; what stood below stands below the new one, and
/// what the old one signed stays good until it ends, when its key goes.
#[tokio::test]
async fn an_issuer_is_rekeyed() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let (_, csr) = request("a");
    let before = world.enrol(&secret, &csr).await.expect("enrolled");
    let old = active(&world, StoredTier::Organisation);
    let provisioning = &world.provisioning;
    let next = provisioning.rekey_authority(&admin(), ORGANISATION, &old, None, None).await.expect("re-keyed");
    let next = next.authority.path_name();
    assert!(provisioning.rekey_authority(&admin(), ORGANISATION, &old, None, None).await.is_err(), "one at a time");
    assert!(provisioning.activate_authority(&admin(), ORGANISATION, &next, None, None).await.is_err(), "not published");
    provisioning.publish_authority(&admin(), ORGANISATION, &next, None).await.expect("published");
    let early = provisioning.activate_authority(&admin(), ORGANISATION, &next, None, None).await;
    assert!(matches!(early, Err(ProvisioningError::State(_))), "the overlap is enforced");
    world.turn_clock(time::Duration::hours(26));
    provisioning.activate_authority(&admin(), ORGANISATION, &next, None, None).await.expect("active");
    assert_eq!(active(&world, StoredTier::Organisation), next);

    let (_, csr) = request("b");
    let after = world.enrol(&secret, &csr).await.expect("enrolled");
    assert_eq!(after.chain[0].spki_hash(), before.chain[0].spki_hash(), "the issuing CA keeps its key");
    assert_ne!(after.chain[1].spki_hash(), before.chain[1].spki_hash());
    after.chain[0].verify_issued_by(&after.chain[1]).expect("under the new issuer");
    assert!(world.connects(&before.certificate) && world.connects(&after.certificate));
    // A key revoked now is on both issuers' lists: each made a certificate for its CA.
    let key = provisioning.key(ORGANISATION, "k").expect("there").public_id.to_string();
    let told = keygate_pki::Reason::Unspecified;
    provisioning.revoke_key(&admin(), ORGANISATION, &key, &because("gone"), told, None).await.expect("revoked");
    for authority in provisioning.snapshot().authorities.values().filter(|a| a.row.tier == StoredTier::Organisation) {
        assert_eq!(world.listed(authority.row.id, None).len(), 1);
    }
    let retired = provisioning.authority(ORGANISATION, &old).expect("there");
    let refused = provisioning.revoke_authority(&admin(), ORGANISATION, &next, &because("x"), told, None).await;
    assert!(matches!(refused, Err(ProvisioningError::State(_))), "it signs");
    provisioning.revoke_authority(&admin(), ORGANISATION, &old, &because("old"), told, None).await.expect("revoked");
    let root = provisioning.snapshot().active(StoredTier::Root, ORGANISATION, None).expect("a root").row.id;
    assert_eq!(world.listed(root, None).len(), 1);
    world.turn_clock(time::Duration::days(3700));
    provisioning.maintain().await;
    let id = retired.authority.row.id;
    assert!(!provisioning.snapshot().authorities[&id].has_key(), "its key is destroyed at its end");
}

/// The root rolls over: new and old certify each other, and clients' chains end at the new one.
#[tokio::test]
async fn the_root_rolls_over() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let old = active(&world, StoredTier::Root);
    let provisioning = &world.provisioning;
    let choice = KeyChoice { algorithm: SignatureAlgorithm::EcdsaP384Sha384, keystore: None };
    let next = provisioning.rekey_authority(&admin(), ORGANISATION, &old, Some(choice), None).await.expect("re-keyed");
    let next = next.authority.path_name();
    provisioning.publish_authority(&admin(), ORGANISATION, &next, None).await.expect("published");
    provisioning.cross_sign_authority(&admin(), ORGANISATION, &next, &old, None).await.expect("new by old");
    provisioning.cross_sign_authority(&admin(), ORGANISATION, &old, &next, None).await.expect("old by new");
    let at_once = because("nothing relies on it yet");
    provisioning.activate_authority(&admin(), ORGANISATION, &next, Some(&at_once), None).await.expect("active");
    let (_, csr) = request("a");
    let done = world.enrol(&secret, &csr).await.expect("enrolled");
    let root = provisioning.authority(ORGANISATION, &next).expect("there").authority;
    done.chain[1].verify_issued_by(root.newest().expect("a certificate")).expect("under the new root");
    assert!(root.certificates.iter().any(|held| held.certificate.issuer() != held.certificate.subject()));
}

/// An issuer with its key, and one that another CA signs, are taken over, published and used.
#[tokio::test]
async fn issuers_come_from_elsewhere() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let provisioning = &world.provisioning;
    let own = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    let name = |text| DistinguishedName::new(Some("Elsewhere"), text).expect("a name");
    let window = |days: Days| Window::days(OffsetDateTime::now_utc(), days).expect("a window");
    let root = Issuer::root(&name("Root"), &own, window(3650), &mut SystemSerials).expect("a root");
    let issuer = Issuer::new(&root, &own).expect("an issuer");
    let key = PrivateKey::generate(SignatureAlgorithm::RsaPkcs1Sha256).expect("a key");
    let subject = name("Sub");
    let draft = Draft::ca(Tier::Organisation, &subject, key.public_key(), window(1000), &Locations::NONE);
    let certificate = issuer.certify(&draft, &mut SystemSerials).expect("a certificate");
    let pem = key.expose_pem().expect("PEM");
    let import = |key: &'static [u8]| ImportRequest { tier: StoredTier::Organisation, certificate: root.der(), key };
    assert!(provisioning.import_authority(&admin(), ORGANISATION, &import(b"no key")).await.is_err());
    let import = ImportRequest { tier: StoredTier::Organisation, certificate: certificate.der(), key: pem.as_bytes() };
    let taken = provisioning.import_authority(&admin(), ORGANISATION, &import).await.expect("imported");
    let id = taken.authority.path_name();
    provisioning.publish_authority(&admin(), ORGANISATION, &id, None).await.expect("published");
    provisioning.activate_authority(&admin(), ORGANISATION, &id, Some(&because("ours now")), None).await.expect("active");
    let (_, csr) = request("a");
    let done = world.enrol(&secret, &csr).await.expect("enrolled");
    done.chain[0].verify_issued_by(&certificate).expect("under the imported issuer");
    done.chain[1].verify_issued_by(&root).expect("which has its own root");

    let (view, csr) = provisioning.request_authority(&admin(), ORGANISATION, KeyChoice::default()).await.expect("a request");
    let id = view.authority.path_name();
    assert!(provisioning.publish_authority(&admin(), ORGANISATION, &id, None).await.is_err(), "no certificate yet");
    let asked = keygate_pki::CertificateRequest::from_pem_or_der(&csr).expect("a request");
    let draft = Draft::ca(Tier::Organisation, &subject, asked.public_key(), window(1000), &Locations::NONE);
    let signed = issuer.certify(&draft, &mut SystemSerials).expect("a certificate");
    let wrong = provisioning.complete_authority(&admin(), ORGANISATION, &id, certificate.der(), None).await;
    assert!(matches!(wrong, Err(ProvisioningError::Invalid(_))), "for another key");
    provisioning.complete_authority(&admin(), ORGANISATION, &id, signed.der(), None).await.expect("completed");
    provisioning.publish_authority(&admin(), ORGANISATION, &id, None).await.expect("published");
}

/// Authorities renew themselves in time, parents first, and lists are signed anew each time with a higher number.
#[tokio::test]
async fn authorities_renew_themselves() {
    let world = World::enabled().await;
    let (key, secret) = world.key("k").await;
    let certificates = |world: &World| -> usize {
        world.provisioning.snapshot().authorities.values().map(|authority| authority.certificates.len()).sum()
    };
    assert_eq!(certificates(&world), 3);
    world.provisioning.maintain().await;
    assert_eq!(certificates(&world), 3, "nothing is due");
    world.turn_clock(time::Duration::days(1300));
    world.provisioning.maintain().await;
    assert_eq!(certificates(&world), 4, "the issuing CA of the key is due");
    let (_, csr) = request("a");
    let done = world.enrol(&secret, &csr).await.expect("enrolled");
    assert!(world.connects(&done.certificate));
    let id = key.public_id.to_string();
    let told = keygate_pki::Reason::CessationOfOperation;
    world.provisioning.revoke_key(&admin(), ORGANISATION, &id, &because("end"), told, None).await.expect("revoked");
    world.turn_clock(time::Duration::days(600));
    world.provisioning.maintain().await;
    let count = certificates(&world);
    world.turn_clock(time::Duration::days(1));
    world.provisioning.maintain().await;
    assert_eq!(certificates(&world), count, "a revoked key's CA is not renewed");
}

/// Lists go by the address of today, and by earlier ones for as long as certificates live that name them; also after a restart.
#[tokio::test]
async fn lists_keep_their_earlier_addresses() {
    let mut world = World::enabled().await;
    let (key, secret) = world.key("k").await;
    world.enrol(&secret, &request("a").1).await.expect("enrolled");
    let names = |world: &World| {
        let snapshot = world.provisioning.snapshot();
        let authority = snapshot.active(StoredTier::Key, ORGANISATION, Some(key.row.id)).expect("a CA");
        let (id, published) = (authority.row.id, world.provisioning.published());
        let text = String::from_utf8_lossy(&published.lists[&(id, Some(0))].body).into_owned();
        let path = format!("/crl/{}/0.crl", authority.path_name());
        ["pki", "second", "third"].map(|host| text.contains(&format!("http://{host}.example{}{path}", if host == "pki" { ":8080" } else { "" })))
    };
    let move_to = |world: &World, url: &str| world.provisioning.set_public_url(url.parse().expect("a URL"));
    assert_eq!(names(&world), [true, false, false]);
    move_to(&world, "http://second.example");
    world.provisioning.maintain().await;
    assert_eq!(names(&world), [true, true, false]);
    world.turn_clock(time::Duration::days(4));
    move_to(&world, "http://third.example");
    world.provisioning.maintain().await;
    assert_eq!(names(&world), [true, true, true]);
    world = world.restarted().await;
    // The address of a restarted test is the first one again: the list of names is as long, and no name stands in it twice.
    assert_eq!(names(&world), [true, true, true]);
    move_to(&world, "http://third.example");
    world.turn_clock(time::Duration::days(30));
    world.provisioning.maintain().await;
    // Two renewals, for the addresses: what named the others has ended.
    assert_eq!(names(&world), [true, false, true]);
    world.turn_clock(time::Duration::days(30));
    world.provisioning.maintain().await;
    assert_eq!(names(&world), [false, false, true]);
}

/// A generation that was revoked before it signed anything is never used: another is made, and its key goes.
#[tokio::test]
async fn a_revoked_generation_is_not_activated() {
    let world = World::enabled().await;
    let provisioning = &world.provisioning;
    let old = active(&world, StoredTier::Organisation);
    let next = provisioning.rekey_authority(&admin(), ORGANISATION, &old, None, None).await.expect("re-keyed");
    let (id, next) = (next.authority.row.id, next.authority.path_name());
    provisioning.publish_authority(&admin(), ORGANISATION, &next, None).await.expect("published");
    let told = keygate_pki::Reason::KeyCompromise;
    provisioning.revoke_authority(&admin(), ORGANISATION, &next, &because("leaked"), told, None).await.expect("revoked");
    let wish = because("in spite of it");
    assert!(provisioning.activate_authority(&admin(), ORGANISATION, &next, Some(&wish), None).await.is_err());
    assert!(provisioning.revoke_authority(&admin(), ORGANISATION, &next, &wish, told, None).await.is_err(), "once");
    provisioning.rekey_authority(&admin(), ORGANISATION, &old, None, None).await.expect("another one");
    world.turn_clock(time::Duration::minutes(1));
    provisioning.maintain().await;
    assert!(!provisioning.snapshot().authorities[&id].has_key(), "its key is destroyed");
}
