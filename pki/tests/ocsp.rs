//! OCSP as OpenSSL and GnuTLS ask and read it, and requests that no honest client sends.
//!
//! Method: OpenSSL writes a request, we read it and answer with a delegated responder, OpenSSL verifies the answer.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod common;

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::*;
use keygate_pki::{
    Certificate, Draft, Issuer, IssuerIds, OcspFailure, OcspRequest, OcspRequestError, OcspResponder, OcspTimes,
    OffsetDateTime, PrivateKey, Reason, SignatureAlgorithm, Signer, Status, SystemSerials, Window,
};
use proptest::prelude::*;
use time::Duration;

/// A request with SHA-1 hashes and a nonce of 16 octets, as OpenSSL 3.0 writes it.
const REQUEST: &str = "3071 306f 3045 3043 3041 3009 0605 2b0e03021a 0500 0414 1111111111111111111111111111111111111111 \
    0414 2222222222222222222222222222222222222222 0208 0123456789abcdef a2 26 30 24 30 22 06 09 2b0601050507300102 \
    04 15 04 13 00112233445566778899aabbccddeeff010203";

fn request(hex_text: &str) -> Vec<u8> {
    hex::decode(hex_text.replace(' ', "")).unwrap()
}

struct World {
    chain: [Ca; 3],
    client: Certificate,
    responder: Certificate,
    responder_key: Arc<PrivateKey>,
}

impl World {
    fn new(algorithm: SignatureAlgorithm) -> Self {
        let chain = hierarchy();
        let responder_key = PrivateKey::generate(algorithm).unwrap();
        let subject = name("OCSP");
        let draft = Draft::ocsp_responder(&subject, responder_key.public_key(), days(365));
        let responder = chain[2].issuer().certify(&draft, &mut SystemSerials).unwrap();
        Self { client: leaf(&chain[2], days(60)), chain, responder, responder_key: Arc::new(responder_key) }
    }

    fn responder(&self) -> OcspResponder {
        OcspResponder::delegated(&self.chain[2].certificate, self.responder.clone(), self.responder_key.clone()).unwrap()
    }

    fn write(&self, folder: &Path) {
        write(folder, "root.pem", &[&self.chain[0].certificate, &self.chain[1].certificate]);
        write(folder, "key.pem", &[&self.chain[2].certificate]);
        write(folder, "leaf.pem", &[&self.client]);
    }
}

/// Times around the real present, which OpenSSL compares with its own clock.
fn times() -> OcspTimes {
    let now = OffsetDateTime::now_utc();
    OcspTimes::new(now, now, now + Duration::HOUR).unwrap()
}

/// Every status, asked with SHA-1 and SHA-256, with and without a nonce, answered by a responder of each algorithm.
#[test]
fn openssl_verifies_every_answer() {
    let folder = folder("ocsp");
    let run = |arguments: &str| tool("openssl", &folder, &arguments.split_whitespace().collect::<Vec<_>>());
    let at = now() - Duration::DAY;
    for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|algorithm| *algorithm != SignatureAlgorithm::MlDsa65) {
        let world = World::new(algorithm);
        world.write(&folder);
        for (flags, status, expected) in [
            ("", Status::Good, "leaf.pem: good"),
            ("-sha256", Status::Revoked { at, reason: Reason::KeyCompromise }, "Reason: keyCompromise"),
            ("-sha256 -no_nonce", Status::Revoked { at, reason: Reason::CertificateHold }, "Reason: certificateHold"),
            ("-no_nonce", Status::Revoked { at, reason: Reason::Unspecified }, "leaf.pem: revoked"),
            ("", Status::Unknown, "leaf.pem: unknown"),
        ] {
            // The digest applies to the certificates that follow it.
            let Some(made) = run(&format!("ocsp {flags} -issuer key.pem -cert leaf.pem -reqout request.der")) else {
                return;
            };
            assert!(made.status.success(), "{}", printed(&made));
            let request = OcspRequest::from_der(&std::fs::read(folder.join("request.der")).unwrap()).unwrap();
            assert_eq!(request.has_nonce(), !flags.contains("no_nonce"));
            let answer = world.responder().respond(&request, times(), |serial| {
                assert_eq!(serial, world.client.serial());
                status
            });
            std::fs::write(folder.join("response.der"), answer.unwrap()).unwrap();
            let checked = run(&format!(
                "ocsp {flags} -no_nonce -issuer key.pem -cert leaf.pem -reqin request.der -respin response.der -CAfile root.pem -attime {NOW}"
            ))
            .unwrap();
            let text = printed(&checked);
            assert!(text.contains("Response verify OK") && text.contains(expected), "{algorithm:?} {status:?}: {text}");
            assert!(!text.contains("WARNING"), "{text}");
            if matches!(status, Status::Revoked { reason: Reason::Unspecified, .. }) {
                assert!(!text.contains("Reason:"), "{text}");
            }
        }
    }
}

/// GnuTLS accepts the delegated responder. It has no clock to set: the certificates are of today.
#[test]
fn gnutls_verifies_an_answer() {
    let folder = folder("ocsp-gnutls");
    let today = Window::days(OffsetDateTime::now_utc(), 30).unwrap();
    let ca_key = key();
    let certificate = Issuer::root(&name("CA"), &ca_key, today, &mut SystemSerials).unwrap();
    let ca = Ca { certificate, key: ca_key };
    let (client, responder_key, subject) = (leaf(&ca, today), key(), name("OCSP"));
    let draft = Draft::ocsp_responder(&subject, responder_key.public_key(), today);
    let responder = ca.issuer().certify(&draft, &mut SystemSerials).unwrap();
    write(&folder, "key.pem", &[&ca.certificate]);
    write(&folder, "leaf.pem", &[&client]);
    let run = |arguments: &str| tool("ocsptool", &folder, &arguments.split(' ').collect::<Vec<_>>());
    let Some(_) = run("--generate-request --load-issuer key.pem --load-cert leaf.pem --outfile request.der") else {
        return;
    };
    let request = OcspRequest::from_der(&std::fs::read(folder.join("request.der")).unwrap()).unwrap();
    let answering = OcspResponder::delegated(&ca.certificate, responder, Arc::new(responder_key)).unwrap();
    std::fs::write(folder.join("response.der"), answering.respond(&request, times(), |_| Status::Good).unwrap())
        .unwrap();
    let verified = run("--verify-response --load-response response.der --load-trust key.pem").unwrap();
    let text = printed(&verified);
    assert!(text.contains("Certificate Status: good") && text.contains("Verifying OCSP Response: Success"), "{text}");
}

/// A responder answers only for the issuer that named it, and only with the certificate meant for it.
#[test]
fn a_responder_is_bound_to_its_issuer() {
    let world = World::new(SignatureAlgorithm::EcdsaP256Sha256);
    let key = &world.chain[2];
    let other = &world.chain[1].certificate;
    let delegated = |issuer: &Certificate, certificate: &Certificate, signer: Arc<PrivateKey>| {
        OcspResponder::delegated(issuer, certificate.clone(), signer).is_ok()
    };
    assert!(!delegated(other, &world.responder, world.responder_key.clone()));
    assert!(!delegated(&key.certificate, &world.client, world.responder_key.clone()));
    assert!(!delegated(&key.certificate, &world.responder, Arc::new(common::key())));
    let foreign = OcspRequest::from_der(&request(REQUEST)).unwrap();
    assert!(!foreign.certificates()[0].is_of(&IssuerIds::of(&key.certificate).unwrap()));
    let answer = world.responder().respond(&foreign, times(), |_| panic!("not ours")).unwrap();
    assert_eq!(answer, OcspFailure::Unauthorized.response());
}

/// Requests are read from a GET path in every spelling clients use, and refused with their reason otherwise.
#[test]
fn requests_are_read_or_refused() {
    let der = request(REQUEST);
    let read = OcspRequest::from_der(&der).unwrap();
    assert_eq!(read.certificates()[0].serial(), hex::decode("0123456789abcdef").unwrap());
    assert!(read.has_nonce());
    let base64 = STANDARD.encode(&der);
    let escaped = base64.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    for path in [base64.as_str(), base64.trim_end_matches('='), &escaped] {
        assert_eq!(OcspRequest::from_get_path(path).unwrap(), read);
    }
    for bad in ["%", "%4", "%zz", "!!!", "ä"] {
        assert!(matches!(OcspRequest::from_get_path(bad), Err(OcspRequestError::Path)), "{bad}");
    }
    assert!(matches!(OcspRequest::from_der(&[0x30; 5000]), Err(OcspRequestError::TooLarge { .. })));
    assert!(matches!(OcspRequest::from_der(&[]), Err(OcspRequestError::Malformed(_))));
    let empty = OcspRequest::from_der(&request("3004 3002 3000")).unwrap_err();
    assert!(matches!(empty, OcspRequestError::Certs { certs: 0, .. }), "{empty}");
    assert_eq!(empty.failure().response(), [0x30, 3, 10, 1, 1]);
    assert_eq!(OcspFailure::TryLater.response(), [0x30, 3, 10, 1, 3]);
    let nonce = |octets: usize| {
        let tlv = |tag: u8, body: Vec<u8>| {
            let length = u8::try_from(body.len()).unwrap();
            let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
            [head, body].concat()
        };
        let id = tlv(
            0x30,
            [request("300906052b0e03021a05000414"), vec![1; 20], vec![4, 20], vec![2; 20], vec![2, 1, 5]].concat(),
        );
        let list = tlv(0x30, tlv(0x30, id));
        let value = tlv(4, tlv(4, vec![7; octets]));
        let extension = tlv(0x30, [request("06092b0601050507300102"), value].concat());
        let extensions = tlv(0xa2, tlv(0x30, extension));
        let long = |body: Vec<u8>| {
            [vec![0x30, 0x82], u16::try_from(body.len()).unwrap().to_be_bytes().to_vec(), body].concat()
        };
        let body = [list, extensions].concat();
        OcspRequest::from_der(&if body.len() < 250 { tlv(0x30, tlv(0x30, body)) } else { long(long(body)) })
    };
    for octets in [1, 16, 32, 80] {
        assert!(nonce(octets).unwrap().has_nonce(), "{octets}");
    }
    assert!(matches!(nonce(0), Err(OcspRequestError::Nonce { bytes: 0, max: 128 })));
    let critical =
        REQUEST.replace("30 24 30 22 06 09 2b0601050507300102 04 15", "30 24 30 22 06 06 2b0601050507 0101ff 04 15");
    let refused = OcspRequest::from_der(&request(&critical)).unwrap_err();
    assert!(matches!(refused, OcspRequestError::CriticalExtension(_)), "{refused}");
    assert!(
        OcspTimes::new(now(), now(), now()).is_err()
            && OcspTimes::new(now() - Duration::DAY, now(), now() + Duration::DAY).is_err()
    );
}

proptest! {
    #[test]
    fn random_and_damaged_requests_are_survived(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        path in "[A-Za-z0-9+/=%]{0,200}",
    ) {
        let _ = OcspRequest::from_der(&octets);
        let mut damaged = request(REQUEST);
        for (place, octet) in places {
            let place = place.index(damaged.len());
            damaged[place] = octet;
        }
        let _ = OcspRequest::from_der(&damaged);
        let _ = OcspRequest::from_get_path(&path);
    }
}
