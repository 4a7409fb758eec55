//! Goal: pkilint finds nothing of weight in any certificate, CRL or OCSP response, whatever the issuer's algorithm.
//! Method: a hierarchy of each algorithm made with keygate-pki, every kind of file, one pkilint process.

use std::fs;
use std::path::{Path, PathBuf};

use keygate_pki::{
    CertId, CrlScope, CrlTimes, HttpUrl, Issuer, NewCrl, OcspRequest, OcspResponder, OcspTimes, OffsetDateTime, Order,
    Profile, Reason, RevokedList, SignatureAlgorithm, Signer as _, Status, SubjectAltName, SystemSerials,
};
use keygate_tests::pkilint::{ACCEPTED, Kind, lint, unaccepted, unused};
use keygate_tests::relying::own::{OwnPki, World};
use keygate_tests::relying::source::StateSource as _;
use keygate_tests::relying::{Device, addresses, ocsp};
use keygate_tests::tools;
use tempfile::tempdir;
use time::Duration;

struct Files<'a> {
    folder: &'a Path,
    prefix: String,
    list: Vec<(Kind, PathBuf)>,
}

impl Files<'_> {
    fn add(&mut self, kind: Kind, name: &str, der: &[u8]) {
        let path = self.folder.join(format!("{}-{name}", self.prefix));
        fs::write(&path, der).expect("written");
        self.list.push((kind, path));
    }
}

#[test]
fn pkilint_accepts_everything_we_make() {
    if tools::skipped("pkilint") {
        return;
    }
    let folder = tempdir().expect("a folder");
    let mut files = Files { folder: folder.path(), prefix: String::new(), list: Vec::new() };
    for algorithm in SignatureAlgorithm::ALL {
        files.prefix = format!("{algorithm:?}");
        let mut pki = OwnPki::start(algorithm).expect("a PKI");
        let device = pki.enrol("device").expect("enrolled");
        let world = pki.world();
        provisioning(&mut files, &world, &device);
        built_in(&mut files, &world);
        lists(&mut files, &world);
        answers(&mut files, &world, &device);
    }
    let linted = lint(&files.list).expect("pkilint runs");
    println!("{} files linted", linted.len());
    let found = unaccepted(&linted, ACCEPTED);
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
    let unused = unused(&linted, ACCEPTED);
    assert!(unused.is_empty(), "accepted without need: {unused:?}");
}

/// The control: what is wrong is found, and nothing but the file it is accepted for may have it.
#[test]
fn pkilint_finds_what_is_wrong() {
    if tools::skipped("pkilint") {
        return;
    }
    let folder = tempdir().expect("a folder");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(vec!["not_a_name".to_owned()]).expect("parameters");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let path = folder.path().join("bad.cer");
    fs::write(&path, certificate.der()).expect("written");
    let linted = lint(&[(Kind::Cert, path.clone())]).expect("pkilint runs");
    let found = unaccepted(&linted, ACCEPTED);
    assert!(found.iter().any(|line| line.contains("pkix.invalid_domain_name_syntax")), "{found:?}");
    fs::write(&path, b"rubbish").expect("written");
    let refused = lint(&[(Kind::Cert, path)]).expect_err("no certificate");
    assert!(refused.to_string().contains("bad.cer"), "{refused}");
}

/// The hierarchy of provisioning keys.
fn provisioning(files: &mut Files<'_>, world: &World, device: &Device) {
    for (name, ca) in [("root", &world.root), ("organisation", &world.organisation), ("key", &world.key)] {
        files.add(Kind::Cert, &format!("{name}.cer"), ca.certificate.der());
    }
    files.add(Kind::Cert, "responder.cer", world.responder.certificate.der());
    files.add(Kind::Cert, "client.cer", &device.leaf().expect("a leaf"));
}

/// The gateway's own certificates: servers, administrators, clients added by hand.
fn built_in(files: &mut Files<'_>, world: &World) {
    let (now, names) = (OffsetDateTime::now_utc(), ["192.0.2.1", "2001:db8::1", "gateway.example", "localhost"]);
    let names = names.map(|name| SubjectAltName::parse(name).expect("a name"));
    let subject = keygate_pki::DistinguishedName::new(Some("Example"), "gateway").expect("a name");
    let key = world.responder.key.public_key();
    for profile in [Profile::ClientIssuer, Profile::ServerCa] {
        let order = Order { profile, subject: &subject, public_key: key, names: &[], days: None };
        let issuer = world.root.issuer().expect("an issuer");
        let certificate = issuer.issue(&order, now, &mut SystemSerials).expect("issued");
        files.add(Kind::Cert, &format!("{profile:?}.cer"), certificate.der());
        let leaves: &[(Profile, &[SubjectAltName])] = match profile {
            Profile::ServerCa => &[(Profile::ServerCertificate, &names)],
            _ => &[(Profile::ClientCertificate, &[])],
        };
        for (leaf, names) in leaves {
            let order =
                Order { profile: *leaf, subject: &subject, public_key: world.key.key.public_key(), names, days: None };
            let issuer = Issuer::new(&certificate, &*world.responder.key).expect("an issuer");
            let issued = issuer.issue(&order, now, &mut SystemSerials).expect("issued");
            files.add(Kind::Cert, &format!("{leaf:?}.cer"), issued.der());
        }
    }
}

/// Every scope: empty, with each reason, a shard, a final list.
fn lists(files: &mut Files<'_>, world: &World) {
    let now = OffsetDateTime::now_utc();
    let shard: HttpUrl = "http://pki.example/crl/key/7.crl".parse().expect("an address");
    let earlier: [HttpUrl; 1] = ["http://old.example/crl/key/7.crl".parse().expect("an address")];
    let times = CrlTimes::new(now, now + Duration::DAY).expect("times");
    let last = CrlTimes::last(now, &world.key_certificates).expect("times");
    let nothing = RevokedList::default();
    let mut every_reason = RevokedList::default();
    for (number, reason) in Reason::ALL.into_iter().enumerate() {
        let serial = [0x40, u8::try_from(number).expect("few")];
        every_reason.push(&serial, now, reason).expect("listed");
    }
    let mut cas = RevokedList::default();
    cas.push(world.key.certificate.serial(), now, Reason::CaCompromise).expect("listed");
    for (kind, name, ca, scope, times, revoked) in [
        (Kind::Arl, "root-empty.crl", &world.root, CrlScope::All, times, &nothing),
        (Kind::Arl, "organisation-empty.crl", &world.organisation, CrlScope::All, times, &nothing),
        (Kind::Arl, "organisation.crl", &world.organisation, CrlScope::All, times, &cas),
        (Kind::Crl, "key-empty.crl", &world.key, CrlScope::All, times, &nothing),
        (Kind::Crl, "key.crl", &world.key, CrlScope::All, times, &every_reason),
        (Kind::Crl, "shard-empty.crl", &world.key, CrlScope::Shard(&shard), times, &nothing),
        (Kind::Crl, "shard.crl", &world.key, CrlScope::Shard(&shard), times, &every_reason),
        (Kind::Crl, "shard-moved.crl", &world.key, CrlScope::MovedShard { url: &shard, earlier: &earlier }, times, &every_reason),
        (Kind::Crl, "shard-last.crl", &world.key, CrlScope::Shard(&shard), last, &every_reason),
    ] {
        let wish = NewCrl { scope, number: 7, times, revoked };
        files.add(kind, name, ca.issuer().expect("an issuer").crl(&wish).expect("a list").der());
    }
}

/// Every status, asked with and without a nonce.
fn answers(files: &mut Files<'_>, world: &World, device: &Device) {
    let at = OffsetDateTime::now_utc();
    let times = OcspTimes::new(at, at, at + Duration::HOUR).expect("times");
    let responder = &world.responder;
    let delegated =
        OcspResponder::delegated(&world.key.certificate, responder.certificate.clone(), responder.key.clone()).expect("one");
    let mut requests =
        vec![("", request(&delegated, &addresses::serial(&device.leaf().expect("a leaf")).expect("one")))];
    // OpenSSL 3.0 knows no ML-DSA keys.
    if world.key.key.algorithm() != SignatureAlgorithm::MlDsa65 {
        requests.push(("-nonce", ocsp::request(files.folder, device, &["-nonce", "-sha256"]).expect("a request")));
    }
    for (nonce, request) in requests {
        let request = OcspRequest::from_der(&request).expect("a request");
        assert!(request.certificates().iter().any(|id: &CertId| id.is_of(delegated.issuer_ids())));
        for (name, status) in [
            ("good", Status::Good),
            ("revoked", Status::Revoked { at, reason: Reason::KeyCompromise }),
            ("hold", Status::Revoked { at, reason: Reason::CertificateHold }),
            ("unspecified", Status::Revoked { at, reason: Reason::Unspecified }),
            ("unknown", Status::Unknown),
        ] {
            let answer = delegated.respond(&request, times, |_| status).expect("an answer");
            files.add(Kind::Ocsp, &format!("{name}{nonce}.ocsp"), &answer);
        }
    }
}

/// A request without nonce, by SHA-1 (RFC 6960 §4.1.1), every length below 128.
fn request(responder: &OcspResponder, serial: &str) -> Vec<u8> {
    let tlv = |tag: u8, parts: &[&[u8]]| {
        let contents = parts.concat();
        [&[tag, u8::try_from(contents.len()).expect("short")][..], &contents].concat()
    };
    let sha1 = [0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0];
    let (name, key) = responder.issuer_ids().sha1();
    let serial = hex::decode(serial).expect("digits");
    let id = tlv(0x30, &[&sha1, &tlv(4, &[name]), &tlv(4, &[key]), &tlv(2, &[&serial])]);
    // OCSPRequest { TBSRequest { requestList { Request { reqCert } } } }
    (0..4).fold(id, |inner, _| tlv(0x30, &[&inner]))
}
