//! A listener over real sockets and TLS, with a small hierarchy of certificates, and a client for it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, http::{Request, Response}};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keygate_pki::{
    Certificate, DistinguishedName, Issuer, OffsetDateTime, Order, PrivateKey, Profile, SignatureAlgorithm, Signer as _, SubjectAltName,
    SystemSerials, provisioning::SourceRanges,
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    audit::Refusals,
    config::{FileConfig, Limits},
    http::{HttpParts, HttpsListener, PlainListener, Security},
    identity::{CertificateRecord, ClientCertificates, ClientRecord, DirectoryContent, DirectoryHandle},
    listen::{Registry, ServerIdentity},
    store::{ClientId, OrganisationId},
};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
}

pub(crate) fn self_signed(profile: Profile, name: &str) -> Identity {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let name = DistinguishedName::new(None, name).unwrap();
    let certificate = Issuer::self_signed(profile, &name, &key, OffsetDateTime::now_utc(), &mut SystemSerials).unwrap();
    Identity { certificate, key }
}

pub(crate) fn issue(by: &Identity, profile: Profile, name: &str) -> Identity {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let subject = DistinguishedName::new(None, name).unwrap();
    let names = ["localhost", "127.0.0.1"].map(|name| SubjectAltName::parse(name).unwrap());
    let order = Order { profile, subject: &subject, public_key: key.public_key(), names: &names, days: Some(1) };
    let issuer = Issuer::new(&by.certificate, &by.key).unwrap();
    let certificate = issuer.issue(&order, OffsetDateTime::now_utc(), &mut SystemSerials).unwrap();
    Identity { certificate, key }
}

/// Authorities, a directory with one client `a`, and limits.
pub(crate) struct World {
    pub(crate) server_ca: Identity,
    pub(crate) server: Arc<ServerIdentity>,
    pub(crate) issuer: Identity,
    pub(crate) client: Identity,
    pub(crate) directory: Arc<DirectoryHandle>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) limits: Limits,
    content: DirectoryContent,
}

impl World {
    pub(crate) fn new(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        let limits = FileConfig::parse("", &settings).unwrap().check().unwrap().limits;
        let server_ca = self_signed(Profile::RootCa, "servers");
        let issuer = self_signed(Profile::AdminCa, "clients");
        let server = issue(&server_ca, Profile::ServerCertificate, "localhost");
        let client = issue(&issuer, Profile::AdminCertificate, "a");
        let id = ClientId::generate();
        let record = ClientRecord {
            id,
            organisation: OrganisationId::DEFAULT,
            name: "a".into(),
            enabled: true,
            keystore_default: None,
            groups: Vec::new(),
            users: Vec::new(),
        };
        let certificate = CertificateRecord {
            client: id,
            fingerprint: client.certificate.fingerprint(),
            issued: Some((issuer.certificate.spki_hash(), client.certificate.serial().to_vec())),
            not_before: client.certificate.not_before(),
            not_after: client.certificate.not_after(),
            revoked: false,
        };
        let content = DirectoryContent {
            clients: vec![record],
            certificates: vec![certificate],
            issuers: vec![issuer.certificate.clone()],
            ..DirectoryContent::default()
        };
        let server = Arc::new(ServerIdentity::new(&[server.certificate], &server.key).unwrap());
        let directory = Arc::new(DirectoryHandle::new(content.clone()));
        Self { server_ca, server, issuer, client, directory, refusals: Arc::default(), limits, content }
    }

    /// Disables client `a`.
    pub(crate) fn disable(&self) {
        let mut content = self.content.clone();
        content.clients[0].enabled = false;
        self.directory.replace_with(|| content);
    }

    pub(crate) fn parts(&self, router: Router, body_bytes_max: usize, allow: &str) -> HttpParts<'_> {
        let allow: SourceRanges = allow.parse().unwrap();
        HttpParts { router, limits: &self.limits, body_bytes_max, allow, refusals: self.refusals.clone() }
    }

    pub(crate) fn https(&self, certificates: ClientCertificates, router: Router) -> Running {
        let security = Security { identity: self.server.clone(), door: self.directory.clone(), certificates };
        let listener = HttpsListener::bind(local(), security, self.parts(router, 1000, "")).unwrap();
        Running::https(listener)
    }

    pub(crate) fn plain(&self, router: Router, allow: &str) -> Running {
        let listener = PlainListener::bind(local(), self.parts(router, 1000, allow)).unwrap();
        let (address, registry, (stop, stopped)) = (listener.address().unwrap(), listener.registry().clone(), watch::channel(false));
        tokio::spawn(registry.clone().sweep());
        Running { address, registry, stop, accepting: tokio::spawn(listener.run(stopped)) }
    }

    /// A TLS connection, with or without a certificate.
    pub(crate) async fn connect(&self, address: SocketAddr, identity: Option<&Identity>, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.server_ca.certificate.der().to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from(identity.certificate.der().to_vec())];
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.expose_pkcs8().to_vec()));
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let socket = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A listener at work.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Arc<Registry>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) accepting: JoinHandle<()>,
}

impl Running {
    pub(crate) fn https(listener: HttpsListener) -> Self {
        let (address, registry, (stop, stopped)) = (listener.address().unwrap(), listener.registry().clone(), watch::channel(false));
        tokio::spawn(registry.clone().sweep());
        Self { address, registry, stop, accepting: tokio::spawn(listener.run(stopped)) }
    }
}

/// Sends requests over one connection.
pub(crate) enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    pub(crate) async fn http1(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    pub(crate) async fn http2(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    /// Sends a request and takes the head of its answer.
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> hyper::Result<Response<Incoming>> {
        let builder = Request::builder().method(method);
        let body = Full::new(Bytes::copy_from_slice(body));
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(builder.uri(path).header("host", "localhost").body(body).unwrap()).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(builder.uri(format!("https://localhost{path}")).body(body).unwrap()).await
            }
        }
    }

    /// Sends a request and takes status and body.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> hyper::Result<(u16, String)> {
        let response = self.send(method, path, body).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Fails the test where something takes longer than anything should.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("this takes too long"))
}
