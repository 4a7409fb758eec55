//! How long the answers to clients and relying parties take: `cargo bench -p keygate-pki`.
//!
//! One certificate request from bytes to signed certificate, with every check; one OCSP answer. P-256 throughout.

use divan::{Bencher, black_box};
use keygate_pki::{
    BlockList, Certificate, CertificateRequest, DistinguishedName, Draft, Issuer, Locations, NewRequest, OcspRequest,
    OcspResponder, OcspTimes, OffsetDateTime, PrivateKey, RequestPolicy, SignatureAlgorithm, Signer, Status,
    SystemSerials, Tier, Window,
};

fn main() {
    divan::main();
}

struct World {
    ca: Certificate,
    key: PrivateKey,
    now: OffsetDateTime,
}

fn name(text: &str) -> DistinguishedName {
    DistinguishedName::new(Some("Example"), text).expect("a name")
}

fn world() -> World {
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a moment");
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    let window = Window::days(now, Tier::Root.days()).expect("a window");
    let ca = Issuer::root(&name("issuer"), &key, window, &mut SystemSerials).expect("a certificate");
    World { ca, key, now }
}

/// From the bytes of a request to the signed certificate of a client.
#[divan::bench]
fn enrol(bencher: Bencher<'_, '_>) {
    let world = world();
    let client = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    let request = NewRequest::client(&name("device"), &[]).sign(&client).expect("a request");
    let url = |path: &str| Some(format!("http://pki.example/{path}").parse().expect("a URL"));
    let locations = Locations { crl: url("crl/1.crl"), ocsp: url("ocsp"), issuer: url("ca.crt") };
    let nothing = BlockList::default();
    let policy = RequestPolicy { blocked: &nothing, is_ca_key: &|_| false, is_key_of_another: &|_| false, names: None };
    bencher.bench(|| {
        let request = CertificateRequest::from_pem_or_der(black_box(&request)).expect("a request");
        let checked = request.check(&policy).expect("a good request");
        let subject = name(checked.common_name().unwrap_or("device"));
        let window = Window::days(world.now, 7).expect("a window");
        let issuer = Issuer::new(&world.ca, &world.key).expect("an issuer");
        issuer
            .certify(&Draft::client(&subject, &checked, window, &locations), &mut SystemSerials)
            .expect("a certificate")
    });
}

/// From the bytes of an OCSP request to the signed answer.
#[divan::bench]
fn ocsp(bencher: Bencher<'_, '_>) {
    let world = world();
    let signer = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    let issuer = Issuer::new(&world.ca, &world.key).expect("an issuer");
    let window = Window::days(world.now, 30).expect("a window");
    let subject = name("OCSP");
    let draft = Draft::ocsp_responder(&subject, signer.public_key(), window);
    let certificate = issuer.certify(&draft, &mut SystemSerials).expect("a certificate");
    let responder = OcspResponder::delegated(&world.ca, certificate, std::sync::Arc::new(signer)).expect("a responder");
    let times = OcspTimes::new(world.now, world.now, world.now + time::Duration::HOUR).expect("times");
    let request = request(&responder);
    bencher.bench(|| {
        let request = OcspRequest::from_der(black_box(&request)).expect("a request");
        responder.respond(&request, times, |_| Status::Good).expect("an answer")
    });
}

/// A request by SHA-1 hashes for serial number 5.
fn request(responder: &OcspResponder) -> Vec<u8> {
    let (name, key) = responder.issuer_ids().sha1();
    let head =
        hex::decode("3042 3040 303e 303c 303a 3009 06052b0e03021a 0500 0414".replace(' ', "")).expect("hexadecimal");
    [&head[..], name, &[4, 20], key, &[2, 1, 5]].concat()
}
