//! The hierarchy of provisioning keys as relying parties see it: issued, renewed, cross-signed, imported.
//!
//! Method: issue every tier with addresses, read it back with x509-parser, verify chains with webpki and OpenSSL.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod common;

use common::*;
use keygate_pki::{
    Certificate, Draft, ImportError, ImportedIssuer, Issuer, Locations, NewRequest, OffsetDateTime, PkiError,
    PrivateKey, Signer, SystemSerials, Tier, Window,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::Duration;
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

fn verify(leaf: &Certificate, via: &[&Certificate], anchor: &Certificate) -> Result<(), webpki::Error> {
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let (leaf, via, anchor) = (der(leaf), via.iter().map(|via| der(via)).collect::<Vec<_>>(), der(anchor));
    let anchors = [webpki::anchor_from_trusted_cert(&anchor).unwrap()];
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unsigned_abs()));
    webpki::EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &via,
            at,
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
}

/// The whole chain verifies with rustls and with OpenSSL's strict checks.
#[test]
fn a_client_chain_verifies() {
    let [root, organisation, key] = hierarchy();
    let leaf = leaf(&key, days(7));
    verify(&leaf, &[&key.certificate, &organisation.certificate], &root.certificate).unwrap();
    verify(&leaf, &[&key.certificate], &root.certificate).unwrap_err();

    let folder = folder("client-chain");
    write(&folder, "root.pem", &[&root.certificate]);
    write(&folder, "via.pem", &[&key.certificate, &organisation.certificate]);
    write(&folder, "leaf.pem", &[&leaf]);
    let at = NOW.to_string();
    let arguments = "verify -x509_strict -purpose sslclient -CAfile root.pem -untrusted via.pem -attime";
    let arguments: Vec<&str> = arguments.split(' ').chain([at.as_str(), "leaf.pem"]).collect();
    let Some(output) = tool("openssl", &folder, &arguments) else { return };
    assert!(output.status.success(), "{}", printed(&output));
}

/// Each tier says what it may do, and where its status is.
#[test]
fn every_tier_has_its_powers_and_addresses() {
    let [root, organisation, key] = hierarchy();
    let client = leaf(&key, days(7));
    for (certificate, path_len, addresses) in [
        (&root.certificate, Some(3), None),
        (&organisation.certificate, Some(1), Some("parent")),
        (&key.certificate, Some(0), Some("parent")),
        (&client, None, Some("shard-7")),
    ] {
        let (_, read) = x509_parser::certificate::X509Certificate::from_der(certificate.der()).unwrap();
        let constraints = read.basic_constraints().unwrap();
        assert_eq!(constraints.as_ref().and_then(|found| found.value.path_len_constraint), path_len);
        assert_eq!(constraints.is_some(), path_len.is_some());
        let usage = read.key_usage().unwrap().unwrap();
        assert!(usage.critical);
        assert_eq!(usage.value.key_cert_sign() && usage.value.crl_sign(), path_len.is_some());
        assert_eq!(usage.value.digital_signature(), path_len.is_none());
        let purposes = read.extended_key_usage().unwrap().map(|found| found.value);
        assert_eq!(purposes.is_some_and(|found| found.client_auth && !found.ocsp_signing), path_len != Some(3));
        let mut found = Vec::new();
        for extension in read.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::CRLDistributionPoints(points) => found.push(format!("{:?}", points.points)),
                ParsedExtension::AuthorityInfoAccess(access) => {
                    for description in &access.accessdescs {
                        let GeneralName::URI(uri) = &description.access_location else { panic!("not a URI") };
                        found.push(format!("{} {uri}", description.access_method));
                    }
                }
                _ => {}
            }
        }
        let Some(addresses) = addresses else {
            assert!(found.is_empty());
            continue;
        };
        assert!(found[0].contains(&format!("URI(\"http://pki.example/crl/{addresses}\")")), "{found:?}");
        assert_eq!(found[1], format!("1.3.6.1.5.5.7.48.1 http://pki.example/ocsp/{addresses}"));
        assert_eq!(found[2], format!("1.3.6.1.5.5.7.48.2 http://pki.example/ca/{addresses}"));
    }
    let names: Vec<String> = client.subject_alt_names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["IP: 192.0.2.1", "DNS: example.com", "IP: 2001:db8::1"]);
    assert_eq!(key.certificate.subject(), "CN=Issuing k7f3 G1,O=Example");
}

/// A client's certificate ends with its issuer; an issuer that has ended, or is too deep, issues nothing.
#[test]
fn validity_and_depth_are_kept() {
    let [root, organisation, key] = hierarchy();
    assert_eq!(leaf(&key, days(7)).not_after(), now() + Duration::days(7));
    assert_eq!(leaf(&key, days(100_000)).not_after(), key.certificate.not_after());
    let hour = Window::until(now(), now() + Duration::HOUR).unwrap();
    assert_eq!(leaf(&key, hour).not_after(), now() + Duration::HOUR);
    let late = Window::days(key.certificate.not_after() + Duration::DAY, 7).unwrap();
    let (subject, request) = (name("x"), checked(&common::key(), ""));
    let draft = Draft::client(&subject, &request, late, &Locations::NONE);
    assert!(matches!(key.issuer().certify(&draft, &mut SystemSerials), Err(PkiError::Issuer(_))));
    for (issuer, tier) in [(&key, Tier::Key), (&organisation, Tier::Organisation), (&root, Tier::Root)] {
        let draft = Draft::ca(tier, &subject, request.public_key(), days(1), &Locations::NONE);
        assert!(matches!(issuer.issuer().certify(&draft, &mut SystemSerials), Err(PkiError::Issuer(_))), "{tier:?}");
    }
    assert!(Window::days(now(), 0).is_err() && Window::until(now(), now()).is_err());
    let far = Window::until(now(), OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()).unwrap();
    let long = Issuer::root(&subject, &common::key(), far, &mut SystemSerials).unwrap();
    let (_, read) = x509_parser::certificate::X509Certificate::from_der(long.der()).unwrap();
    assert!(read.validity().not_before.is_utctime() && read.validity().not_after.is_generalizedtime());
}

/// A renewed CA has another serial number and the same key: chains through either verify, so a revocation lists both.
#[test]
fn a_renewed_issuer_stands_beside_the_old_one() {
    let [root, organisation, key] = hierarchy();
    let client = leaf(&key, days(7));
    let addresses = locations("parent");
    let renewed = organisation.issuer().renew(&key.certificate, days(100), &addresses, &mut SystemSerials).unwrap();
    assert_ne!(renewed.serial(), key.certificate.serial());
    assert_eq!(renewed.spki_hash(), key.certificate.spki_hash());
    assert_eq!(renewed.subject_key_identifier(), key.certificate.subject_key_identifier());
    assert_eq!((renewed.subject(), renewed.ca_path_len()), (key.certificate.subject(), Some(Some(0))));
    for via in [&key.certificate, &renewed] {
        verify(&client, &[via, &organisation.certificate], &root.certificate).unwrap();
    }
    assert!(root.issuer().renew(&key.certificate, days(1), &Locations::NONE, &mut SystemSerials).is_err());
    assert!(organisation.issuer().renew(&client, days(1), &Locations::NONE, &mut SystemSerials).is_err());
    let again = Issuer::renew_root(&root.certificate, &root.key, days(50), &mut SystemSerials).unwrap();
    verify(&client, &[&renewed, &organisation.certificate], &again).unwrap();
    assert!(Issuer::renew_root(&key.certificate, &key.key, days(50), &mut SystemSerials).is_err());
}

/// Root roll-over: the new root cross-signs the old one's issuer, and who trusts only the new root accepts its clients.
#[test]
fn a_cross_certificate_leads_to_the_other_root() {
    let [old_root, organisation, key] = hierarchy();
    let new_root = root("Root 2");
    let client = leaf(&key, days(7));
    verify(&client, &[&key.certificate, &organisation.certificate], &new_root.certificate).unwrap_err();
    let cross =
        |subject: &Certificate| new_root.issuer().cross_sign(subject, days(100), &locations("two"), &mut SystemSerials);
    let crossed = cross(&organisation.certificate).unwrap();
    verify(&client, &[&key.certificate, &crossed], &new_root.certificate).unwrap();
    assert_eq!(crossed.ca_path_len(), Some(Some(1)));
    // A root signed by another root keeps depth for both tiers below it, and whoever trusts the other one accepts its clients.
    let rolled = cross(&old_root.certificate).unwrap();
    assert_eq!(rolled.ca_path_len(), Some(Some(2)));
    verify(&client, &[&key.certificate, &organisation.certificate, &rolled], &new_root.certificate).unwrap();
    assert!(cross(&client).is_err() && cross(&new_root.certificate).is_err());
}

/// An issuer signed outside: OpenSSL signs our request, and what comes back is checked before it is used.
#[test]
fn an_issuer_signed_outside_is_checked_when_it_returns() {
    let folder = folder("outside");
    let key = key();
    let request = NewRequest::issuer(&name("Issuer G1"), Tier::Organisation).sign(&key).unwrap();
    std::fs::write(folder.join("issuer.csr"), &request).unwrap();
    let run = |arguments: &str| tool("openssl", &folder, &arguments.split(' ').collect::<Vec<_>>());
    let Some(made) =
        run("req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=Outside -days 4000")
    else {
        return;
    };
    assert!(made.status.success(), "{}", printed(&made));
    let sign = |text: &str| {
        std::fs::write(folder.join("ext"), text).unwrap();
        let output = run("x509 -req -in issuer.csr -inform DER -CA root.pem -CAkey root.key -CAcreateserial -days 3650 -extfile ext -out issuer.pem").unwrap();
        assert!(output.status.success(), "{}", printed(&output));
        Certificate::from_pem_or_der(&std::fs::read(folder.join("issuer.pem")).unwrap()).unwrap()
    };
    let outside = Certificate::from_pem_or_der(&std::fs::read(folder.join("root.pem")).unwrap()).unwrap();
    // What OpenSSL signs below begins at its own second, which may come after this one.
    let today = OffsetDateTime::now_utc() + Duration::minutes(5);
    let check = |certificate: Certificate, key: &PrivateKey| {
        ImportedIssuer::check(certificate, key.public_key(), Tier::Organisation, today, today + Duration::days(365))
    };
    const CA: &str = "basicConstraints=critical,CA:TRUE,pathlen:1\n";
    let good = sign(&format!("{CA}keyUsage=critical,keyCertSign,cRLSign\n"));
    let imported = check(good.clone(), &key).unwrap().below(&outside).unwrap();
    Issuer::new(imported.certificate(), &key).unwrap();
    assert!(matches!(check(good.clone(), &common::key()), Err(ImportError::OtherKey)));
    let orphan = check(good.clone(), &key).unwrap().below(&root("Other").certificate);
    assert!(matches!(orphan, Err(ImportError::Parent(_))));
    let at = |now, needed| ImportedIssuer::check(good.clone(), key.public_key(), Tier::Organisation, now, needed);
    assert!(matches!(at(today + Duration::days(5000), today), Err(ImportError::NotValidNow { .. })));
    assert!(matches!(at(today, today + Duration::days(5000)), Err(ImportError::TooShort { .. })));
    for (text, expected) in [
        ("basicConstraints=CA:FALSE\n", "not a CA"),
        ("basicConstraints=critical,CA:TRUE,pathlen:0\n", "path length is 0"),
        (&*format!("{CA}keyUsage=critical,digitalSignature,cRLSign\n"), "sign certificates"),
        (&*format!("{CA}keyUsage=critical,keyCertSign\n"), "sign CRLs"),
        (&*format!("{CA}extendedKeyUsage=serverAuth\n"), "client authentication"),
        (&*format!("{CA}1.3.6.1.4.1.32473.1=critical,DER:0500\n"), "1.3.6.1.4.1.32473.1"),
    ] {
        let refused = check(sign(text), &key).unwrap_err().to_string();
        assert!(refused.contains(expected), "{text}: {refused}");
    }
}

/// The delegated responder's certificate says what RFC 6960 asks for, and cannot be a client's.
#[test]
fn an_ocsp_responder_is_no_client() {
    let [root, organisation, key] = hierarchy();
    let (subject, signer) = (name("OCSP"), common::key());
    let draft = Draft::ocsp_responder(&subject, signer.public_key(), days(30));
    let certificate = key.issuer().certify(&draft, &mut SystemSerials).unwrap();
    let (_, read) = x509_parser::certificate::X509Certificate::from_der(certificate.der()).unwrap();
    assert!(read.extended_key_usage().unwrap().unwrap().value.ocsp_signing);
    let mut extensions = read.extensions().iter();
    let nocheck = extensions.find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.48.1.5").unwrap();
    assert_eq!((nocheck.critical, nocheck.value), (false, &[5u8, 0][..]));
    assert!(!certificate.allows_client_auth());
    verify(&certificate, &[&key.certificate, &organisation.certificate], &root.certificate).unwrap_err();
}
