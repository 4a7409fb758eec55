//! The HTTPS client of the commands: one server, its roots, perhaps a client certificate, perhaps a proxy.
//!
//! Does: bounds time and sizes, follows no redirect (a secret goes to the server it was meant for, or nowhere), tells apart what a
//! caller can act on. Blocking: commands have nothing else to do. Leaves to others: what is asked and what answers mean.
//!
//! No request goes out without TLS. Other ways than a chain to a root: the certificate itself, by its fingerprint
//! ([`Roots::pinned`]), and [`Roots::unverified`], for what is verified by other means before it is used.

mod pinned;

use std::{fmt, io, io::Read as _, sync::Arc, time::Duration};

use axum::http::{HeaderMap, Method, Request, Uri};
use keygate_pki::{Certificate, PrivateKey};
use rustls::{AlertDescription, crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use ureq::{
    Agent, Body, Proxy,
    tls::{ClientCert, RootCerts, TlsConfig, TlsProvider},
    unversioned::{
        resolver::DefaultResolver,
        transport::{ConnectProxyConnector, Connector as _, TcpConnector},
    },
};

pub use pinned::Fingerprint;
use pinned::{NotPinned, PinnedConnector};

/// Longest exchange: longer than a gateway lets its own handlers take.
const EXCHANGE: Duration = Duration::from_secs(90);
/// Longest exchange where the answer is a file, which is as long as it is.
const FILE_EXCHANGE: Duration = Duration::from_secs(24 * 3600);
/// Octets that are handed on at a time.
const CHUNK: usize = 64 * 1024;
/// Longest wait for a TCP connection.
const CONNECT: Duration = Duration::from_secs(15);
/// Most octets of an answer's header.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl std::str::FromStr for ServerUrl {
    type Err = HttpClientError;

    fn from_str(text: &str) -> Result<Self, HttpClientError> {
        let refused = || HttpClientError::Url(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(refused)?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if uri.scheme_str() != Some("https") || !is_bare {
            return Err(refused());
        }
        Ok(Self(format!("https://{authority}")))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which server certificates are trusted.
#[derive(Clone)]
pub struct Roots(Trust);

#[derive(Clone)]
enum Trust {
    Below(RootCerts),
    Pinned(Option<Fingerprint>),
    Unverified,
}

impl Roots {
    /// Those below these certificates.
    pub fn these(certificates: &[Certificate]) -> Self {
        let owned = |certificate: &Certificate| ureq::tls::Certificate::from_der(certificate.der()).to_owned();
        Self(Trust::Below(certificates.iter().map(owned).into()))
    }

    /// Those that this system trusts.
    ///
    /// # Errors
    /// If it trusts none.
    pub fn system() -> Result<Self, HttpClientError> {
        let loaded = rustls_native_certs::load_native_certs();
        if loaded.certs.is_empty() {
            return Err(HttpClientError::NoSystemRoots);
        }
        Ok(Self(Trust::Below(loaded.certs.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()).into())))
    }

    /// Any at all. Nothing secret may be sent, and nothing that is received used, before it is verified by other means.
    pub fn unverified() -> Self {
        Self(Trust::Unverified)
    }

    /// The certificate with this fingerprint, and no other. `None`: none at all; the refusal tells the fingerprint that was seen.
    pub fn pinned(fingerprint: Option<Fingerprint>) -> Self {
        Self(Trust::Pinned(fingerprint))
    }
}

/// How the server is reached.
#[derive(Clone)]
pub struct Route(Option<Proxy>);

impl Route {
    /// Through this proxy (`http://[USER:PASSWORD@]HOST:PORT`), by CONNECT: it does not see what is sent.
    ///
    /// # Errors
    /// If it is no such URL.
    pub fn through(proxy: &str) -> Result<Self, HttpClientError> {
        Proxy::new(proxy).map(|proxy| Self(Some(proxy))).map_err(|_| HttpClientError::Proxy)
    }

    /// As the environment says: `HTTPS_PROXY`, `ALL_PROXY` or their lower case, save for the hosts of `NO_PROXY`.
    ///
    /// # Errors
    /// If the variable holds no URL.
    pub fn from_environment() -> Result<Self, HttpClientError> {
        let variable = |names: &[&str]| names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.trim().is_empty());
        let Some(url) = variable(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) else { return Ok(Self(None)) };
        Self::through(url.trim())?.except(variable(&["NO_PROXY", "no_proxy"]).as_deref())
    }

    /// Straight.
    pub fn direct() -> Self {
        Self(None)
    }

    fn except(self, hosts: Option<&str>) -> Result<Self, HttpClientError> {
        let (Some(proxy), Some(hosts)) = (&self.0, hosts) else { return Ok(self) };
        let mut builder = Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port());
        for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            builder = builder.no_proxy(host);
        }
        if let Some(name) = proxy.username() {
            builder = builder.username(name);
        }
        if let Some(password) = proxy.password() {
            builder = builder.password(password);
        }
        builder.build().map(|proxy| Self(Some(proxy))).map_err(|_| HttpClientError::Proxy)
    }
}

/// What a [`HttpClient`] is made of.
pub struct HttpClientParts<'a> {
    /// The server.
    pub server: ServerUrl,
    /// Which certificates it may have.
    pub roots: Roots,
    /// The chain, leaf first, and key to present.
    pub identity: Option<(&'a [Certificate], &'a PrivateKey)>,
    /// How it is reached.
    pub route: Route,
    /// Largest body of an answer.
    pub answer_bytes_max: usize,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// Not a URL of a server.
    #[error("\"{0}\" is not of the form https://HOST[:PORT]")]
    Url(String),
    /// Not a URL of a proxy.
    #[error("the proxy is not of the form http://HOST:PORT")]
    Proxy,
    /// The certificate and the key to present do not fit.
    #[error("the client certificate is not usable with its key")]
    Identity(#[source] rustls::Error),
    /// The key to present cannot be written.
    #[error("the client key is not usable")]
    Key(#[source] keygate_pki::PkiError),
    /// The system has no roots.
    #[error("this system has no root certificates: name the server's")]
    NoSystemRoots,
    /// A header field or a method that is none.
    #[error("the request cannot be written")]
    Request(#[source] axum::http::Error),
    /// The server, or the proxy, is not there, or breaks off.
    #[error("cannot reach {server}")]
    Unreachable {
        /// The server.
        server: ServerUrl,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The proxy does not let us through.
    #[error("the proxy refuses to connect to {server}: {reason}")]
    ProxyRefused {
        /// The server.
        server: ServerUrl,
        /// What it says.
        reason: String,
    },
    /// TLS: the server's certificate, or ours.
    #[error("no TLS connection to {server}")]
    Tls {
        /// The server.
        server: ServerUrl,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The server's certificate is not the one that was named.
    #[error("{server} has a certificate with the SHA-256 fingerprint {seen}, which is {}", if *was_named { "not the one given" } else { "taken only if it is given" })]
    Fingerprint {
        /// The server.
        server: ServerUrl,
        /// What was seen.
        seen: Fingerprint,
        /// Whether one was named.
        was_named: bool,
    },
    /// What is done with the answer's octets failed.
    #[error("the answer cannot be written")]
    Sink(#[source] io::Error),
    /// No answer in time.
    #[error("{server} does not answer in time")]
    Timeout {
        /// The server.
        server: ServerUrl,
    },
    /// An answer larger than is read.
    #[error("the answer of {server} has more than {max} octets")]
    TooLarge {
        /// The server.
        server: ServerUrl,
        /// Octets read.
        max: usize,
    },
    /// Not HTTP.
    #[error("{server} does not speak HTTP: {reason}")]
    Protocol {
        /// The server.
        server: ServerUrl,
        /// What is wrong.
        reason: String,
    },
}

impl HttpClientError {
    /// Whether the same request may be answered later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::ProxyRefused { .. })
    }

    /// Whether the server has ended the TLS handshake: it does not let our certificate in.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Tls { source: rustls::Error::AlertReceived(_), .. })
    }

    /// Whether it said that our certificate is revoked.
    pub fn is_revoked(&self) -> bool {
        matches!(self, Self::Tls { source: rustls::Error::AlertReceived(AlertDescription::CertificateRevoked), .. })
    }
}

/// Talks to one server. Connections are kept between requests.
pub struct HttpClient {
    agent: Agent,
    server: ServerUrl,
    answer_bytes_max: usize,
}

impl HttpClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// If the certificate and key to present do not fit.
    pub fn new(parts: HttpClientParts<'_>) -> Result<Self, HttpClientError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = TlsConfig::builder().provider(TlsProvider::Rustls).unversioned_rustls_crypto_provider(provider);
        let mut pinned = None;
        match parts.roots.0 {
            Trust::Pinned(fingerprint) => {
                let identity = parts.identity.map(|(chain, key)| ders(chain, key));
                pinned = Some(PinnedConnector::new(fingerprint, identity).map_err(HttpClientError::Identity)?);
            }
            other => {
                tls = tls.client_cert(parts.identity.map(|(chain, key)| client_cert(chain, key)).transpose()?);
                tls = match other {
                    Trust::Below(roots) => tls.root_certs(roots),
                    _ => tls.disable_verification(true),
                };
            }
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(parts.route.0)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(HEAD_BYTES_MAX)
            .timeout_global(Some(EXCHANGE))
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("keygate/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = match pinned {
            None => config.new_agent(),
            Some(pinned) => {
                let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(pinned);
                Agent::with_parts(config, connector, DefaultResolver::default())
            }
        };
        Ok(Self { agent, server: parts.server, answer_bytes_max: parts.answer_bytes_max })
    }

    /// Sends a request and takes the whole answer. `path` begins with a slash. Header fields with a secret are to be marked
    /// sensitive.
    ///
    /// # Errors
    /// Why there is no answer; an answer of any status is none.
    pub fn request(&self, method: Method, path: &str, headers: HeaderMap, body: &[u8]) -> Result<Reply, HttpClientError> {
        let mut request = Request::builder().method(method.clone()).uri(format!("{}{path}", self.server)).body(()).map_err(HttpClientError::Request)?;
        *request.headers_mut() = headers;
        // A request of these methods has no body (RFC 9110 §9.3.1), and no Content-Length of zero.
        let answered = if method == Method::GET || method == Method::HEAD || (method == Method::DELETE && body.is_empty()) {
            self.agent.run(request)
        } else {
            self.agent.run(request.map(|()| body))
        };
        let (head, body) = answered.map_err(|error| self.failure(error))?.into_parts();
        self.whole(head, body)
    }

    /// Posts `body`; of an answer with a status of 2xx the octets go to `take` as they come, and [`Reply::body`] is empty. Such a file
    /// is whole when this returns.
    ///
    /// # Errors
    /// Why there is no answer, or no whole one; what `take` says.
    pub fn fetch(
        &self,
        path: &str,
        headers: HeaderMap,
        body: &[u8],
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Reply, HttpClientError> {
        let request = Request::post(format!("{}{path}", self.server)).body(body).map_err(HttpClientError::Request)?;
        let (mut head, body) = request.into_parts();
        head.headers = headers;
        let request = Request::from_parts(head, body);
        let config = self.agent.configure_request(request).timeout_global(Some(FILE_EXCHANGE)).timeout_per_read(Some(EXCHANGE));
        let (head, body) = self.agent.run(config.build()).map_err(|error| self.failure(error))?.into_parts();
        if !head.status.is_success() {
            return self.whole(head, body);
        }
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: Vec::new() }),
                Ok(read) => take(&chunk[..read]).map_err(HttpClientError::Sink)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(ureq::Error::from(error))),
            }
        }
    }

    fn whole(&self, head: axum::http::response::Parts, body: Body) -> Result<Reply, HttpClientError> {
        let limit = u64::try_from(self.answer_bytes_max).unwrap_or(u64::MAX);
        let body = body.into_with_config().limit(limit).read_to_vec().map_err(|error| self.failure(error))?;
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    fn failure(&self, error: ureq::Error) -> HttpClientError {
        let server = self.server.clone();
        match error {
            ureq::Error::Io(source) => match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => of_tls(server, tls.clone()),
                None => HttpClientError::Unreachable { server, source },
            },
            ureq::Error::Rustls(source) => of_tls(server, source),
            ureq::Error::HostNotFound => HttpClientError::Unreachable { server, source: io::Error::other("its name is not known") },
            ureq::Error::ConnectionFailed => HttpClientError::Unreachable { server, source: io::Error::other("no connection") },
            ureq::Error::Timeout(_) => HttpClientError::Timeout { server },
            ureq::Error::BodyExceedsLimit(_) => HttpClientError::TooLarge { server, max: self.answer_bytes_max },
            ureq::Error::ConnectProxyFailed(reason) => HttpClientError::ProxyRefused { server, reason },
            other => HttpClientError::Protocol { server, reason: other.to_string() },
        }
    }
}

fn of_tls(server: ServerUrl, source: rustls::Error) -> HttpClientError {
    match NotPinned::of(&source) {
        Some(NotPinned { seen, was_named }) => HttpClientError::Fingerprint { server, seen: *seen, was_named: *was_named },
        None => HttpClientError::Tls { server, source },
    }
}

fn ders(chain: &[Certificate], key: &PrivateKey) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    (chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose_pkcs8().to_vec())))
}

/// The library takes any pair and panics over one that does not fit.
fn client_cert(chain: &[Certificate], key: &PrivateKey) -> Result<ClientCert, HttpClientError> {
    let (certificates, pkcs8) = ders(chain, key);
    CertifiedKey::from_der(certificates, pkcs8, &aws_lc_rs::default_provider()).map_err(HttpClientError::Identity)?;
    let chain: Vec<_> = chain.iter().map(|certificate| ureq::tls::Certificate::from_der(certificate.der()).to_owned()).collect();
    let pem = key.expose_pem().map_err(HttpClientError::Key)?;
    let key = ureq::tls::PrivateKey::from_pem(pem.as_bytes()).map_err(|_| HttpClientError::Identity(rustls::Error::General("the key is no PEM".into())))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}
