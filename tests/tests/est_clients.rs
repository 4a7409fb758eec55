//! Goal: the EST clients of this harness work as their manuals say, so that a failure against the gateway is the gateway's.
//! Method: a small EST server over keygate-pki; curl and strongSwan fetch the CAs, enrol, renew, and are told to wait.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_pki::{
    DistinguishedName, Order, PrivateKey, Profile, SignatureAlgorithm, Signer as _, SubjectAltName, SystemSerials, est,
};
use keygate_tests::est::curl::{self, Shown};
use keygate_tests::est::{Account, Request, Server, csr, strongswan};
use keygate_tests::relying::own::{OwnPki, World};
use keygate_tests::relying::source::StateSource as _;
use keygate_tests::relying::{RelyingParty as _, openssl};
use keygate_tests::tools;
use keygate_tests::web::{self, Response, WebServer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::{TempDir, tempdir};

/// What the server answers who shows the right secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    Disabled,
    Suspended,
}

struct Est {
    folder: TempDir,
    pki: Arc<Mutex<OwnPki>>,
    state: Arc<Mutex<State>>,
    server: Server,
    account: Account,
    _web: WebServer,
}

impl Est {
    fn start() -> Self {
        let folder = tempdir().expect("a folder");
        let pki = OwnPki::start(SignatureAlgorithm::EcdsaP256Sha256).expect("a PKI");
        let tls = identity(&pki.world());
        let ca = folder.path().join("root.pem");
        fs::write(&ca, pki.world().root.certificate.to_pem().expect("PEM")).expect("written");
        let account = Account { id: "0123456789abcdef".to_owned(), secret: "a-secret-of-this-test".to_owned() };
        let (pki, state) = (Arc::new(Mutex::new(pki)), Arc::new(Mutex::new(State::Active)));
        let listener = WebServer::bind().expect("a port");
        let server = Server { url: format!("https://localhost:{}", listener.local_addr().expect("bound").port()), ca };
        let (shared, mode, expected) = (pki.clone(), state.clone(), account.clone());
        let web = WebServer::start(listener, Some(tls), move |request| {
            answer(&shared.lock().expect("unbroken"), *mode.lock().expect("unbroken"), &expected, request)
        });
        Self { folder, pki, state, server, account, _web: web.expect("a server") }
    }

    fn set(&self, state: State) {
        *self.state.lock().expect("unbroken") = state;
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn request(&self, name: &str) -> Request {
        Request::new(self.path(), name, "DNS:device.example,IP:192.0.2.1").expect("a request")
    }
}

/// A server certificate below the same root, and clients with or without a certificate.
fn identity(world: &World) -> Arc<ServerConfig> {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    let subject = DistinguishedName::new(None, "localhost").expect("a name");
    let names = ["localhost", "127.0.0.1"].map(|name| SubjectAltName::parse(name).expect("a name"));
    let profile = Profile::ServerCertificate;
    let order = Order { profile, subject: &subject, public_key: key.public_key(), names: &names, days: None };
    let issuer = world.root.issuer().expect("an issuer");
    let certificate = issuer.issue(&order, keygate_pki::OffsetDateTime::now_utc(), &mut SystemSerials).expect("issued");
    let der = |certificate: &keygate_pki::Certificate| CertificateDer::from(certificate.der().to_vec());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(der(&world.root.certificate)).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = verifier.allow_unauthenticated().build().expect("a verifier");
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose_pkcs8().to_vec()));
    Arc::new(config.with_client_cert_verifier(verifier).with_single_cert(vec![der(&certificate)], key).expect("fits"))
}

fn answer(pki: &OwnPki, state: State, account: &Account, request: &web::Request) -> Response {
    let world = pki.world();
    let certs_only = |certificates: &[&keygate_pki::Certificate]| {
        let der = est::certs_only(certificates).expect("certificates");
        Response::ok("application/pkcs7-mime; smime-type=certs-only", est::encode_body(&der).into_bytes())
            .with("Content-Transfer-Encoding", "base64")
    };
    let operation = request.path.strip_prefix("/.well-known/est/").unwrap_or_default();
    match operation {
        "cacerts" => certs_only(&[&world.key.certificate, &world.organisation.certificate, &world.root.certificate]),
        "simpleenroll" | "simplereenroll" => {
            let expected = format!("Basic {}", STANDARD.encode(format!("{}:{}", account.id, account.secret)));
            let known = request.header("authorization") == Some(&expected);
            if !known && (operation == "simpleenroll" || request.peer.is_empty()) {
                return Response::status(401).with("WWW-Authenticate", "Basic realm=\"est\"");
            }
            match state {
                State::Suspended => return Response::status(202).with("Retry-After", "1"),
                State::Disabled => return Response::status(503).with("Retry-After", "30"),
                State::Active => {}
            }
            let issued = est::decode_body(&request.body).map_err(|error| error.to_string());
            match issued.and_then(|csr| world.issue(&csr)) {
                Ok(issued) => certs_only(&[&issued]),
                Err(error) => Response { status: 400, ..Response::ok("text/plain", error.into_bytes()) },
            }
        }
        _ => Response::status(404),
    }
}

/// The CAs, a certificate by secret, another by the first one; OpenSSL accepts both chains.
#[test]
fn curl_and_openssl_enrol_and_renew() {
    let est = Est::start();
    let cas = curl::cacerts(&est.server, est.path()).expect("an answer").certificates(est.path()).expect("CAs");
    assert_eq!(cas.len(), 3);
    let trust = est.pki.lock().expect("unbroken").trust().expect("lists");
    let accepted = |device| {
        let verdict = openssl::Verify::whole_chain().judge(est.path(), &trust, device).expect("a verdict");
        assert!(verdict.accepted(), "{verdict:?}");
    };
    let request = est.request("device");
    let shown = Shown::Account(&est.account);
    let answer = curl::simpleenroll(&est.server, est.path(), shown, &request.csr).expect("an answer");
    let issued = answer.certificates(est.path()).expect("a certificate");
    let device = request.device(&issued[0], &cas).expect("a chain");
    accepted(&device);
    let request = est.request("device");
    let answer =
        curl::simplereenroll(&est.server, est.path(), Shown::Device(&device), &request.csr).expect("an answer");
    let renewed = answer.certificates(est.path()).expect("a certificate");
    assert_ne!(renewed, issued);
    accepted(&request.device(&renewed[0], &cas).expect("a chain"));
}

/// What curl sees of each state, and of wrong credentials and requests.
#[test]
fn curl_sees_each_refusal() {
    let est = Est::start();
    let csr = est.request("device").csr;
    let enrol = |shown, csr: &[u8]| curl::simpleenroll(&est.server, est.path(), shown, csr).expect("an answer");
    let right = Shown::Account(&est.account);
    assert_eq!(enrol(right, &csr).status, 200);
    let wrong = Account { secret: "another".to_owned(), ..est.account.clone() };
    assert_eq!(enrol(Shown::Account(&wrong), &csr).status, 401);
    assert_eq!(enrol(Shown::Nothing, &csr).status, 401);
    assert_eq!(enrol(right, b"not a request").status, 400);
    est.set(State::Suspended);
    let answer = enrol(right, &csr);
    assert_eq!((answer.status, answer.retry_after()), (202, Some(1)));
    assert!(answer.certificates(est.path()).is_err());
    est.set(State::Disabled);
    assert_eq!((enrol(right, &csr).status, enrol(right, &csr).retry_after()), (503, Some(30)));
    let elsewhere = Server { ca: est.path().join("other.pem"), ..est.server.clone() };
    let other = OwnPki::start(SignatureAlgorithm::Ed25519).expect("a PKI");
    fs::write(&elsewhere.ca, other.world().root.certificate.to_pem().expect("PEM")).expect("written");
    let refused: io::Error = curl::cacerts(&elsewhere, est.path()).expect_err("another root");
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

/// strongSwan fetches the CAs, enrols, renews; waits while suspended and gives up when told to.
#[test]
fn strongswan_enrols_renews_and_waits() {
    if tools::skipped("strongswan") {
        return;
    }
    let est = Est::start();
    let cas = strongswan::cacerts(&est.server, est.path()).expect("CAs");
    assert_eq!(cas.len(), 3);
    let request = est.request("device");
    let enrol = |csr: &[u8], seconds| strongswan::enrol(&est.server, est.path(), &cas, &est.account, csr, seconds);
    let issued = enrol(&request.csr, 1).expect("a certificate");
    let device = request.device(&issued, &cas).expect("a chain");
    let renewed = strongswan::renew(&est.server, est.path(), &cas, &device, &est.request("device").csr);
    assert_ne!(renewed.expect("a certificate"), issued);
    est.set(State::Suspended);
    let refused = enrol(&est.request("late").csr, 1).expect_err("suspended");
    assert!(refused.to_string().contains("poll"), "{refused}");
    // It is asked to wait, polls, and is served once the key is active again.
    let late = est.request("late");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| enrol(&late.csr, 60));
        est.set(State::Active);
        waiting.join().expect("no panic").expect("a certificate");
    });
}

/// The bad requests that other tests send are bad for the reason they are meant to be, as the issuing code sees it.
#[test]
fn bad_requests_are_bad_for_their_reason() {
    let pki = OwnPki::start(SignatureAlgorithm::EcdsaP256Sha256).expect("a PKI");
    let folder = tempdir().expect("a folder");
    let path = folder.path();
    let ca = pki.world().key.certificate.der().to_vec();
    let p192 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime192v1"];
    for (made, reason) in [
        (csr::bad_signature(path), "signature"),
        (csr::of_key(path, &["-newkey", "rsa:1024"]), "1024 bits"),
        (csr::of_key(path, &p192), "curve"),
        (csr::for_key_of(path, &ca), "signature"),
        (csr::with_names(path, 10_000), "bytes"),
        (csr::with_names(path, 101), "names"),
        (csr::with_extensions(path, "1.3.6.1.4.1.32473.1 = critical,DER:0500"), "1.3.6.1.4.1.32473.1"),
        (csr::with_duplicate_extension(path), "twice"),
        (csr::fixture("fermat"), "close"),
    ] {
        let refused = pki.world().issue(&made.expect("a request")).expect_err("a bad request");
        assert!(refused.contains(reason), "{reason}: {refused}");
    }
    assert!(pki.world().issue(&csr::with_names(path, 20).expect("a request")).is_ok());
}
