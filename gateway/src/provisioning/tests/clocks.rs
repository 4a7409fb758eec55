//! Clocks that go back, databases that are older than they should be, and tenants that mix.

use super::*;
use crate::store::{OpenError, StoredTier};

/// A clock that was set back makes no list look older than the one before it, and issues nothing that its CA cannot sign.
#[tokio::test]
async fn a_clock_is_set_back() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let issuer = world.provisioning.snapshot().active(StoredTier::Organisation, ORGANISATION, None).expect("one").row.id;
    let before = world.provisioning.published().lists[&(issuer, None)].clone();
    world.turn_clock(time::Duration::hours(-3));
    world.provisioning.publish_all().await.expect("published");
    let after = world.provisioning.published().lists[&(issuer, None)].clone();
    assert!(after.made >= before.made && number(&after.body) > number(&before.body));
    let (_, csr) = request("a");
    let refused = world.enrol(&secret, &csr).await;
    assert!(matches!(refused, Err(EnrolRefusal::Unavailable { .. })), "the CA is not valid yet");
    world.turn_clock(time::Duration::hours(3));
    world.enrol(&secret, &csr).await.expect("enrolled");
}

/// An older copy of the database is refused; taken on purpose, its lists have numbers above all that were ever published.
#[tokio::test]
async fn an_older_database_is_refused() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let issuer = world.provisioning.snapshot().active(StoredTier::Organisation, ORGANISATION, None).expect("one").row.id;
    world.provisioning.store.close().await.expect("closed");
    let database = world.dir.path().join("store.db");
    let copy = std::fs::read(&database).expect("a copy");
    let world = world.restarted().await;
    let (_, csr) = request("lost");
    let lost = world.enrol(&secret, &csr).await.expect("enrolled");
    for _ in 0..5 {
        world.provisioning.publish_all().await.expect("published");
    }
    let last = number(&world.provisioning.published().lists[&(issuer, None)].body);
    world.provisioning.store.close().await.expect("closed");
    std::fs::write(&database, copy).expect("put back");
    let refused = open(world.dir.path(), false).await;
    assert!(matches!(refused, Err(OpenError::OlderThanAnchor { .. })));
    let store = open(world.dir.path(), true).await.expect("accepted");
    let World { dir, .. } = world;
    let world = World::over(dir, store, Arc::default());
    world.provisioning.publish_all().await.expect("published");
    assert!(number(&world.provisioning.published().lists[&(issuer, None)].body) > last);
    assert!(!world.connects(&lost.certificate), "it is on no record");
    let (_, again) = request("lost");
    assert!(matches!(world.renew(&lost.certificate, &again).await, Err(EnrolRefusal::Unauthorised)));
}

/// What is addressed to one organisation is not served with the key or certificate of another; their keys and limits are apart.
#[tokio::test]
async fn organisations_are_apart() {
    let world = World::enabled().await;
    let (_, secret) = world.key("k").await;
    let provisioning = &world.provisioning;
    let other = provisioning.add_organisation(&admin(), "other").await.expect("added");
    assert!(matches!(provisioning.add_organisation(&admin(), "other").await, Err(ProvisioningError::NameTaken { .. })));
    for bad in ["", "Other", "a b", "../x", "1st"] {
        assert!(matches!(provisioning.add_organisation(&admin(), bad).await, Err(ProvisioningError::Invalid(_))), "{bad}");
    }
    let wish = because("we begin");
    provisioning.enable_service(&admin(), other, &wish, KeyChoice::default(), None).await.expect("enabled");
    let wish = NewKeyRequest { name: "k".into(), ..NewKeyRequest::default() };
    let made = provisioning.create_key(&admin(), other, &wish).await.expect("the same name, elsewhere");
    let other_secret = PresentedSecret::from_pair(&made.secret).expect("a pair");
    let (_, csr) = request("a");
    let asked = |secret, organisation| EnrolRequest { secret, organisation, source: HERE, request: &csr, names: &[], make_key: false };
    let refused = provisioning.enrol(&asked(&secret, Some(other))).await;
    assert!(matches!(refused, Err(EnrolRefusal::Unauthorised)));
    let done = provisioning.enrol(&asked(&other_secret, Some(other))).await.expect("enrolled");
    let (_, again) = request("a");
    let renewing = Renewing {
        certificate: done.certificate.der(),
        organisation: Some(ORGANISATION),
        source: HERE,
        request: Some(&again),
        keep_names: false, same_key: None,
    };
    assert!(matches!(provisioning.renew(&renewing).await, Err(EnrolRefusal::Unauthorised)));
    let off = because("closed");
    provisioning.disable_service(&admin(), ORGANISATION, &off, None).await.expect("disabled");
    assert!(world.connects(&done.certificate), "the other organisation goes on");
    let id = made.key.public_id.to_string();
    assert!(matches!(provisioning.key(ORGANISATION, &id), Err(ProvisioningError::NotFound { .. })));
}

/// The CRL number of a list.
fn number(der: &[u8]) -> u64 {
    use der::Decode;
    let list: x509_cert::crl::CertificateList = x509_cert::crl::CertificateList::from_der(der).expect("a CRL");
    let extensions = list.tbs_cert_list.crl_extensions.expect("extensions");
    let oid = "2.5.29.20".parse().expect("an OID");
    let number = extensions.iter().find(|extension| extension.extn_id == oid).expect("a number");
    let octets = der::asn1::Uint::from_der(number.extn_value.as_bytes()).expect("an integer");
    octets.as_bytes().iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}
