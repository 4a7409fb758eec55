//! TLS of the listeners: versions, tickets that can be made void, a server certificate that can be swapped.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use keygate_pki::{Certificate, PrivateKey};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::identity::{CertificateVerifier, ClientCertificates, DirectoryHandle, Doorkeeper, OnDoorChange};

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server certificate or its key was refused.
    #[error("server certificate or key is not usable")]
    Certificate(#[source] rustls::Error),
    /// The TLS library refused its configuration.
    #[error("TLS cannot be configured")]
    Config(#[source] rustls::Error),
}

/// The server's certificate chain and key, swapped while connections go on.
#[derive(Debug)]
pub struct ServerIdentity {
    current: ArcSwap<CertifiedKey>,
}

impl ServerIdentity {
    /// Starts with a chain, leaf first, and its key.
    pub fn new(chain: &[Certificate], key: &PrivateKey) -> Result<Self, TlsError> {
        certified_key(chain, key).map(|key| Self { current: ArcSwap::from_pointee(key) })
    }

    /// Presents another chain from the next handshake on.
    pub fn replace(&self, chain: &[Certificate], key: &PrivateKey) -> Result<(), TlsError> {
        self.current.store(Arc::new(certified_key(chain, key)?));
        Ok(())
    }
}

fn certified_key(chain: &[Certificate], key: &PrivateKey) -> Result<CertifiedKey, TlsError> {
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose_pkcs8().to_vec()));
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(TlsError::Certificate)
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Session tickets whose keys are thrown away when who is let in changes: a resumed session skips the certificate
/// verifier, so none may outlive a change of who is let in.
struct Tickets {
    current: ArcSwap<Arc<dyn ProducesTickets>>,
}

impl Tickets {
    fn new() -> Result<Self, rustls::Error> {
        Ok(Self { current: ArcSwap::from_pointee(aws_lc_rs::Ticketer::new()?) })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.current.load().lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.current.load().encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.current.load().decrypt(cipher)
    }
}

impl OnDoorChange for Tickets {
    fn door_changed(&self) {
        match aws_lc_rs::Ticketer::new() {
            Ok(fresh) => self.current.store(Arc::new(fresh)),
            // The old keys stay; resumed sessions are identified after their handshake in any case.
            Err(error) => tracing::error!(%error, "cannot make new TLS ticket keys"),
        }
    }
}

/// RFC 9113 §3.1: "The string "h2" identifies the protocol where HTTP/2 uses TLS".
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
/// RFC 7301 §6.
const ALPN_HTTP1: &[u8] = b"http/1.1";
const HTTP: [&[u8]; 2] = [ALPN_HTTP2, ALPN_HTTP1];

/// The TLS configuration of a listener.
pub struct TlsSettings {
    config: Arc<ServerConfig>,
    /// For clients that offer HTTP.
    http: Arc<ServerConfig>,
}

impl TlsSettings {
    /// Mutual TLS 1.2 and 1.3 for the KMIP clients of `directory`.
    pub fn new(identity: Arc<ServerIdentity>, directory: &Arc<DirectoryHandle>) -> Result<Self, TlsError> {
        Self::with_alpn(identity, directory.clone(), ClientCertificates::Required, &[])
    }

    /// TLS 1.2 and 1.3 of an HTTP listener for those whom `door` lets in.
    pub fn https(identity: Arc<ServerIdentity>, door: Arc<dyn Doorkeeper>, certificates: ClientCertificates) -> Result<Self, TlsError> {
        Self::with_alpn(identity, door, certificates, &HTTP)
    }

    fn with_alpn(
        identity: Arc<ServerIdentity>,
        door: Arc<dyn Doorkeeper>,
        certificates: ClientCertificates,
        alpn: &[&[u8]],
    ) -> Result<Self, TlsError> {
        // The provider's TLS 1.2 suites are all ECDHE with an AEAD.
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(CertificateVerifier::new(door.clone(), certificates, provider.clone()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Config)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(identity);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // RFC 7627 §5.3: without the extended master secret, resumption can be bound to another peer's session. Machines that
        // enrol come with TLS stacks that lack it (strongSwan 5.9): where certificates are optional no session is resumed.
        if certificates == ClientCertificates::Required {
            let tickets = Arc::new(Tickets::new().map_err(TlsError::Config)?);
            door.subscribe(tickets.clone());
            config.require_ems = true;
            config.ticketer = tickets;
            config.send_tls13_tickets = 1;
        }
        // 0-RTT requests can be replayed (RFC 8446 §8): never.
        config.max_early_data_size = 0;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let mut http = config.clone();
        http.alpn_protocols = HTTP.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { config: Arc::new(config), http: Arc::new(http) })
    }

    /// For a client of a port that carries KMIP bare or in HTTP: with HTTP's protocols if it offers one of them. KMIP itself has no
    /// name in ALPN, and a client that offers none or others must not fail for it.
    pub(super) fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let offers_http = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| HTTP.contains(&protocol)));
        if offers_http { self.http.clone() } else { self.config.clone() }
    }

    /// For the TLS acceptor.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}
