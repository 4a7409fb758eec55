//! CRLs as relying parties use them: for each state of a provisioning key, who is let in.
//!
//! Method: build the lists, read them back with x509-parser, and let rustls (webpki), OpenSSL -crl_check_all and GnuTLS
//! decide on a chain root > organisation > key > client.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod common;

use std::path::Path;

use common::*;
use keygate_pki::{
    Certificate, Crl, CrlScope, CrlTimes, HttpUrl, Issuer, NewCrl, OffsetDateTime, PkiError, PrivateKey, Reason,
    RevokedList, SHARD_SERIALS_MAX, SignatureAlgorithm, SystemSerials,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::Duration;
use x509_parser::prelude::FromDer;

/// What a CA lists, and why.
type Listed<'a> = &'a [(&'a Certificate, Reason)];

fn shard() -> HttpUrl {
    "http://pki.example/crl/shard-7".parse().unwrap()
}

fn times() -> CrlTimes {
    CrlTimes::new(now(), now() + Duration::DAY).unwrap()
}

fn list(revoked: &[(&Certificate, Reason)]) -> RevokedList {
    let mut list = RevokedList::default();
    revoked.iter().for_each(|(certificate, reason)| list.push(certificate.serial(), now(), *reason).unwrap());
    list
}

fn crl(ca: &Ca, scope: CrlScope<'_>, number: u64, times: CrlTimes, revoked: &RevokedList) -> Crl {
    ca.issuer().crl(&NewCrl { scope, number, times, revoked }).unwrap()
}

struct World {
    root: Ca,
    organisation: Ca,
    key: Ca,
    client: Certificate,
}

impl World {
    fn new() -> Self {
        let [root, organisation, key] = hierarchy();
        let client = leaf(&key, days(60));
        Self { root, organisation, key, client }
    }

    /// CRLs of all three CAs, with these revoked by the organisation's issuer and by the key's.
    fn crls(&self, by_organisation: &[(&Certificate, Reason)], by_key: &[(&Certificate, Reason)]) -> [Crl; 3] {
        [
            crl(&self.root, CrlScope::All, 1, times(), &RevokedList::default()),
            crl(&self.organisation, CrlScope::All, 2, times(), &list(by_organisation)),
            crl(&self.key, CrlScope::Shard(&shard()), 3, times(), &list(by_key)),
        ]
    }

    fn rustls_accepts(&self, via: &Certificate, crls: &[Crl; 3], at: i64) -> Result<(), webpki::Error> {
        let crls: Vec<webpki::CertRevocationList<'_>> =
            crls.iter().map(|crl| webpki::BorrowedCertRevocationList::from_der(crl.der()).unwrap().into()).collect();
        let crls: Vec<_> = crls.iter().collect();
        let revocation = webpki::RevocationOptionsBuilder::new(&crls)
            .unwrap()
            .with_expiration_policy(webpki::ExpirationPolicy::Enforce)
            .build();
        let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
        let (leaf, via, anchor) =
            (der(&self.client), [der(via), der(&self.organisation.certificate)], der(&self.root.certificate));
        let anchors = [webpki::anchor_from_trusted_cert(&anchor).unwrap()];
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unsigned_abs()));
        let usage = webpki::KeyUsage::client_auth();
        webpki::EndEntityCert::try_from(&leaf)?
            .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &via, at, usage, Some(revocation), None)
            .map(drop)
    }

    /// `None` where OpenSSL is not installed.
    fn openssl_accepts(&self, folder: &Path, via: &Certificate, crls: &[Crl; 3]) -> Option<bool> {
        write(folder, "root.pem", &[&self.root.certificate]);
        write(folder, "via.pem", &[via, &self.organisation.certificate]);
        write(folder, "leaf.pem", &[&self.client]);
        let pems: String = crls.iter().map(|crl| crl.to_pem().unwrap()).collect();
        std::fs::write(folder.join("crls.pem"), pems).unwrap();
        let (at, arguments) = (
            NOW.to_string(),
            "verify -crl_check_all -x509_strict -CAfile root.pem -untrusted via.pem -CRLfile crls.pem -attime",
        );
        let arguments: Vec<&str> = arguments.split(' ').chain([at.as_str(), "leaf.pem"]).collect();
        tool("openssl", folder, &arguments).map(|output| output.status.success())
    }
}

/// Active, suspended: accepted. Revoked, on hold, one client revoked: refused, by rustls and by OpenSSL. Lifted: accepted.
#[test]
fn relying_parties_follow_the_state_of_the_key() {
    let world = World::new();
    let folder = folder("crls");
    let (key, client) = (&world.key.certificate, &world.client);
    let cases: [(&str, Listed<'_>, Listed<'_>, bool); 5] = [
        ("active", &[], &[], true),
        ("revoked", &[(key, Reason::CaCompromise)], &[], false),
        ("service disabled", &[(key, Reason::CertificateHold)], &[], false),
        ("service enabled again", &[], &[], true),
        ("one client revoked", &[], &[(client, Reason::KeyCompromise)], false),
    ];
    for (state, by_organisation, by_key, accepted) in cases {
        let crls = world.crls(by_organisation, by_key);
        assert_eq!(world.rustls_accepts(key, &crls, NOW + 60).is_ok(), accepted, "{state}");
        if let Some(answer) = world.openssl_accepts(&folder, key, &crls) {
            assert_eq!(answer, accepted, "{state}");
        }
    }
}

/// GnuTLS decides the same.
#[test]
fn gnutls_follows_the_state_of_the_key() {
    live_today();
    let (world, folder) = (World::new(), folder("crls-gnutls"));
    let (key, client) = (&world.key.certificate, &world.client);
    let cases: [(&str, Listed<'_>, Listed<'_>, bool); 4] = [
        ("active", &[], &[], true),
        ("revoked", &[(key, Reason::CaCompromise)], &[], false),
        ("service disabled", &[(key, Reason::CertificateHold)], &[], false),
        ("one client revoked", &[], &[(client, Reason::KeyCompromise)], false),
    ];
    write(&folder, "root.pem", &[&world.root.certificate]);
    write(&folder, "chain.pem", &[client, key, &world.organisation.certificate]);
    for (state, by_organisation, by_key, accepted) in cases {
        let pems: String = world.crls(by_organisation, by_key).iter().map(|crl| crl.to_pem().unwrap()).collect();
        std::fs::write(folder.join("crls.pem"), pems).unwrap();
        let arguments = "--verify --load-ca-certificate root.pem --load-crl crls.pem --infile chain.pem";
        let Some(output) = tool("certtool", &folder, &arguments.split(' ').collect::<Vec<_>>()) else { return };
        assert_eq!(output.status.success(), accepted, "{state}: {}", printed(&output));
        assert_eq!(printed(&output).contains("revoked"), !accepted, "{state}: {}", printed(&output));
    }
}

/// After a renewal with the same key, a list with one of the two serial numbers lets the other through: both must be on it.
#[test]
fn a_renewed_key_is_revoked_only_when_every_serial_is_listed() {
    let world = World::new();
    let folder = folder("crls-renewed");
    let issuer = world.organisation.issuer();
    let renewed = issuer.renew(&world.key.certificate, days(90), &locations("parent"), &mut SystemSerials).unwrap();
    let reason = Reason::KeyCompromise.for_ca();
    let (old, new) = ((&world.key.certificate, reason), (&renewed, reason));
    let one = world.crls(&[old], &[]);
    let both = world.crls(&[old, new], &[]);
    assert!(world.rustls_accepts(&renewed, &one, NOW + 60).is_ok());
    assert!(matches!(world.rustls_accepts(&renewed, &both, NOW + 60), Err(webpki::Error::CertRevoked)));
    if let Some(answer) = world.openssl_accepts(&folder, &renewed, &both) {
        assert!(!answer);
    }
}

/// Before a key is destroyed it signs its last lists: thirty days on, and until its certificates end, they still count.
#[test]
fn the_last_lists_outlive_the_key() {
    let world = World::new();
    let issuer = world.organisation.issuer();
    let renewed = issuer.renew(&world.key.certificate, days(3000), &locations("parent"), &mut SystemSerials).unwrap();
    let all = [world.key.certificate.clone(), renewed];
    let last = CrlTimes::last(now(), &all).unwrap();
    assert_eq!(last.next(), all[1].not_after());
    let month = NOW + 30 * 86_400;
    let [_, _, ordinary] = world.crls(&[], &[]);
    let fresh = |ca: &Ca| {
        let later = CrlTimes::new(now(), now() + Duration::days(40)).unwrap();
        crl(ca, CrlScope::All, 9, later, &RevokedList::default())
    };
    let lists = |shard| [fresh(&world.root), fresh(&world.organisation), shard];
    let revoked = list(&[(&world.client, Reason::CessationOfOperation)]);
    let stale = world.rustls_accepts(&world.key.certificate, &lists(ordinary), month);
    assert!(matches!(stale, Err(webpki::Error::CrlExpired { .. })), "{stale:?}");
    let empty = crl(&world.key, CrlScope::Shard(&shard()), 4, last, &RevokedList::default());
    world.rustls_accepts(&world.key.certificate, &lists(empty), month).unwrap();
    let listed = crl(&world.key, CrlScope::Shard(&shard()), 4, last, &revoked);
    let answer = world.rustls_accepts(&world.key.certificate, &lists(listed), month);
    assert!(matches!(answer, Err(webpki::Error::CertRevoked)));
    assert!(CrlTimes::last(now(), &[]).is_err());
    assert!(matches!(CrlTimes::new(now(), now()), Err(PkiError::Times { .. })));
}

/// A full shard holds what was put in, in DER, with its number, key identifier and distribution point.
#[test]
fn a_full_shard_reads_back() {
    let world = World::new();
    let mut revoked = RevokedList::with_capacity(SHARD_SERIALS_MAX);
    for n in 0..SHARD_SERIALS_MAX {
        let mut serial = [0x40; 17];
        serial[9..].copy_from_slice(&n.to_be_bytes());
        revoked.push(&serial, now(), Reason::ALL[n % Reason::ALL.len()]).unwrap();
    }
    let made = crl(&world.key, CrlScope::Shard(&shard()), 1 << 40, times(), &revoked);
    assert_eq!((made.number(), made.this_update(), made.next_update()), (1 << 40, now(), now() + Duration::DAY));
    let (rest, read) = x509_parser::revocation_list::CertificateRevocationList::from_der(made.der()).unwrap();
    assert!(rest.is_empty());
    assert_eq!(read.crl_number().unwrap().to_string(), (1u64 << 40).to_string());
    assert_eq!(read.iter_revoked_certificates().count(), SHARD_SERIALS_MAX);
    for (n, entry) in read.iter_revoked_certificates().enumerate() {
        let reason = Reason::ALL[n % Reason::ALL.len()];
        let code = entry.reason_code().map(|(_, code)| code.0);
        assert_eq!(code, Some(reason.code()).filter(|_| reason != Reason::Unspecified));
    }
    let point = read.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.28").unwrap();
    assert!(point.critical);
    use der::{Decode, Encode};
    let list = x509_cert::crl::CertificateList::<x509_cert::certificate::Rfc5280>::from_der(made.der()).unwrap();
    assert_eq!(list.to_der().unwrap(), made.der());
}

/// A shard whose address has changed goes by all of them, today's first, in a critical extension.
#[test]
fn a_moved_shard_has_all_its_names() {
    use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
    let world = World::new();
    let earlier: Vec<HttpUrl> = ["http://old.example/crl/7.crl", "http://older.example/7.crl"].map(|url| url.parse().unwrap()).into();
    let now = shard();
    let made = crl(&world.key, CrlScope::MovedShard { url: &now, earlier: &earlier }, 5, times(), &RevokedList::default());
    let (_, read) = x509_parser::revocation_list::CertificateRevocationList::from_der(made.der()).unwrap();
    let point = read.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.28").unwrap();
    assert!(point.critical);
    let ParsedExtension::IssuingDistributionPoint(parsed) = point.parsed_extension() else { panic!("{point:?}") };
    let Some(DistributionPointName::FullName(names)) = &parsed.distribution_point else { panic!("{parsed:?}") };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        other => panic!("{other:?}"),
    };
    let wanted: Vec<_> = std::iter::once(&now).chain(&earlier).map(|url| url.as_str().to_owned()).collect();
    assert_eq!(names.iter().map(uri).collect::<Vec<_>>(), wanted);
}

/// Lists of every signature algorithm verify, and GnuTLS reads one.
#[test]
fn lists_of_every_algorithm_are_signed() {
    for algorithm in SignatureAlgorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let certificate = Issuer::root(&name("x"), &key, days(10), &mut SystemSerials).unwrap();
        let ca = Ca { certificate, key };
        let made = crl(&ca, CrlScope::All, 7, times(), &list(&[(&ca.certificate, Reason::Superseded)]));
        let folder = folder("crl-algorithms");
        write(&folder, "ca.pem", &[&ca.certificate]);
        std::fs::write(folder.join("crl.pem"), made.to_pem().unwrap()).unwrap();
        if algorithm == SignatureAlgorithm::MlDsa65 {
            continue;
        }
        let arguments = ["crl", "-in", "crl.pem", "-CAfile", "ca.pem", "-noout"];
        let Some(output) = tool("openssl", &folder, &arguments) else { return };
        assert!(printed(&output).contains("verify OK"), "{algorithm:?}: {}", printed(&output));
        let Some(output) = tool("certtool", &folder, &["--crl-info", "--infile", "crl.pem"]) else { continue };
        assert!(printed(&output).contains("Revoked certificates (1)"), "{algorithm:?}: {}", printed(&output));
    }
    assert!(RevokedList::default().push(&[0; 5], now(), Reason::Unspecified).is_err());
    assert!(RevokedList::default().push(&[1; 21], now(), Reason::Unspecified).is_err());
    assert!(
        RevokedList::default()
            .push(&[1], OffsetDateTime::from_unix_timestamp(-1).unwrap(), Reason::Unspecified)
            .is_err()
    );
    for reason in Reason::ALL {
        assert_eq!((reason.name().parse(), Reason::from_code(reason.code())), (Ok(reason), Some(reason)));
    }
    assert!("removeFromCRL".parse::<Reason>().is_err() && Reason::from_code(8).is_none());
}
