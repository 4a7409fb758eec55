//! An EST server for tests, on the gateway's own listener: a small hierarchy, real requests, real certificates.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use keygate_pki::{
    BlockList, Certificate, CertificateRequest, DistinguishedName, Draft, Issuer, Locations, OffsetDateTime, PrivateKey, Profile,
    RequestPolicy, SignatureAlgorithm, Signer as _, SystemSerials, Tier, Window,
    est::{certs_only, decode_body, encode_body},
    provisioning::{KeyId, PresentedSecret, ProvisioningSecret},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    http::{
        HttpsListener, Peer, Problem, Security,
        tests::fixture::{Identity, Running, World, issue},
    },
    identity::{ClientCertificates, CredentialId, Doorkeeper, Known, OnDoorChange, Refusal},
    listen::ServerIdentity,
};

/// Lets in whatever the issuer of the test has signed, until all of it is revoked.
#[derive(Debug)]
struct Door {
    key: keygate_pki::SpkiHash,
    issuer: Certificate,
    revoked: AtomicBool,
}

impl Doorkeeper for Door {
    fn identify(&self, chain: &[CertificateDer<'_>], _: UnixTime) -> Result<Known, Refusal> {
        let leaf = Certificate::from_der(&chain[0]).map_err(|_| Refusal::BadCertificate)?;
        leaf.verify_issued_by(&self.issuer).map_err(|_| Refusal::UnknownIssuer)?;
        if self.revoked.load(Ordering::Relaxed) {
            return Err(Refusal::Revoked);
        }
        let credential = CredentialId::Issued { issuer: self.key, serial: leaf.serial().into() };
        Ok(Known { credential, not_after: leaf.not_after().unix_timestamp() })
    }

    fn recheck(&self, credential: &CredentialId, _: UnixTime) -> Result<Known, Refusal> {
        Ok(Known { credential: credential.clone(), not_after: i64::MAX })
    }

    fn version(&self) -> u64 {
        1
    }

    fn subscribe(&self, _: Arc<dyn OnDoorChange>) {}
}

/// What the next requests are answered before certificates are issued.
pub(super) type Script = Mutex<VecDeque<Response>>;

struct Shared {
    root: Identity,
    issuer: Identity,
    key: (KeyId, ProvisioningSecret),
    script: Script,
    seen: Mutex<Vec<Seen>>,
}

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) path: &'static str,
    pub(super) has_authorization: bool,
    pub(super) has_certificate: bool,
}

/// The server.
pub(super) struct EstServer {
    shared: Arc<Shared>,
    door: Arc<Door>,
    running: Running,
}

impl EstServer {
    pub(super) fn start() -> Self {
        let world = World::new(&[]);
        let root = root();
        let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let issuer = Identity { certificate: sign_ca(&root, &key), key };
        let server = issue(&root, Profile::ServerCertificate, "localhost");
        let key = (KeyId::generate(&mut SystemSerials).unwrap(), ProvisioningSecret::generate(&mut SystemSerials).unwrap());
        let (key_hash, certificate) = (issuer.certificate.spki_hash(), issuer.certificate.clone());
        let door = Arc::new(Door { key: key_hash, issuer: certificate, revoked: AtomicBool::new(false) });
        let identity = Arc::new(ServerIdentity::new(&[server.certificate], &server.key).unwrap());
        let shared = Shared { root, issuer, key, script: Mutex::default(), seen: Mutex::default() };
        let shared = Arc::new(shared);
        let router = Router::new()
            .route("/.well-known/est/cacerts", get(ca_certificates))
            .route("/.well-known/est/simpleenroll", post(enrol))
            .route("/.well-known/est/simplereenroll", post(renew))
            .with_state(shared.clone());
        let security = Security { identity, door: door.clone(), certificates: ClientCertificates::Optional };
        let parts = world.parts(router, 64 * 1024, "");
        let listener = HttpsListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), security, parts).unwrap();
        Self { shared, door, running: Running::https(listener) }
    }

    /// Lets no certificate in any more.
    pub(super) fn revoke(&self) {
        self.door.revoked.store(true, Ordering::Relaxed);
    }

    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}", self.running.address.port())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.address
    }

    pub(super) fn root(&self) -> &Certificate {
        &self.shared.root.certificate
    }

    pub(super) fn issuer(&self) -> &Certificate {
        &self.shared.issuer.certificate
    }

    /// The provisioning key, as an administrator hands it over.
    pub(super) fn pair(&self) -> String {
        self.shared.key.1.expose_pair(self.shared.key.0).to_string()
    }

    /// A key that no server knows.
    pub(super) fn other_pair() -> String {
        let id = KeyId::generate(&mut SystemSerials).unwrap();
        ProvisioningSecret::generate(&mut SystemSerials).unwrap().expose_pair(id).to_string()
    }

    /// Answers the next request for a certificate with this.
    pub(super) fn answer_next(&self, response: Response) {
        self.shared.script.lock().unwrap().push_back(response);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }
}

/// A key with a root certificate.
fn root() -> Identity {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let subject = DistinguishedName::new(None, "root").unwrap();
    let window = Window::days(OffsetDateTime::now_utc(), 100).unwrap();
    let certificate = Issuer::root(&subject, &key, window, &mut SystemSerials).unwrap();
    Identity { certificate, key }
}

fn sign_ca(root: &Identity, key: &PrivateKey) -> Certificate {
    let subject = DistinguishedName::new(None, "issuer").unwrap();
    let window = Window::days(OffsetDateTime::now_utc(), 100).unwrap();
    let draft = Draft::ca(Tier::Key, &subject, key.public_key(), window, &Locations::NONE);
    Issuer::new(&root.certificate, &root.key).unwrap().certify(&draft, &mut SystemSerials).unwrap()
}

fn message(certificates: &[&Certificate]) -> Response {
    let body = encode_body(&certs_only(certificates).unwrap());
    ([(header::CONTENT_TYPE, "application/pkcs7-mime; smime-type=certs-only")], body).into_response()
}

impl Shared {
    fn note(&self, path: &'static str, headers: &HeaderMap, peer: &Peer) {
        let (has_authorization, has_certificate) = (headers.contains_key(header::AUTHORIZATION), peer.certificates.is_some());
        self.seen.lock().unwrap().push(Seen { path, has_authorization, has_certificate });
    }

    /// The leaf alone: its issuer is among the CA certificates.
    fn issue(&self, body: &[u8]) -> Response {
        if let Some(response) = self.script.lock().unwrap().pop_front() {
            return response;
        }
        let request = CertificateRequest::from_pem_or_der(&decode_body(body).unwrap()).unwrap();
        let nobody: &(dyn Fn(&keygate_pki::SpkiHash) -> bool + Sync) = &|_| false;
        let blocked = BlockList::default();
        let policy = RequestPolicy { blocked: &blocked, is_ca_key: nobody, is_key_of_another: nobody, names: None };
        let checked = request.check(&policy).unwrap();
        let subject = DistinguishedName::new(Some("Tests"), checked.common_name().unwrap()).unwrap();
        let window = Window::days(OffsetDateTime::now_utc(), 7).unwrap();
        let draft = Draft::client(&subject, &checked, window, &Locations::NONE);
        let issuer = Issuer::new(&self.issuer.certificate, &self.issuer.key).unwrap();
        message(&[&issuer.certify(&draft, &mut SystemSerials).unwrap()])
    }
}

async fn ca_certificates(State(shared): State<Arc<Shared>>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    shared.note("cacerts", &headers, &peer);
    message(&[&shared.root.certificate, &shared.issuer.certificate])
}

async fn enrol(State(shared): State<Arc<Shared>>, Extension(peer): Extension<Peer>, headers: HeaderMap, body: Bytes) -> Response {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    shared.note("simpleenroll", &headers, &peer);
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let given = given.and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    let presented = given.as_deref().and_then(|text| text.split_once(':')).and_then(|(id, secret)| PresentedSecret::from_parts(id, secret).ok());
    let (id, secret) = &shared.key;
    if !presented.is_some_and(|presented| presented.id() == *id && presented.is(&secret.hash(*id))) {
        return Problem::new(StatusCode::UNAUTHORIZED, "unknown-key", "unauthorized", "unknown provisioning key").into_response();
    }
    shared.issue(&body)
}

async fn renew(State(shared): State<Arc<Shared>>, Extension(peer): Extension<Peer>, headers: HeaderMap, body: Bytes) -> Response {
    shared.note("simplereenroll", &headers, &peer);
    if peer.certificates.is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    shared.issue(&body)
}
